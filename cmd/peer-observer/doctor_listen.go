package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/peerobserver/peerobserver/exporters/nats"
)

// listening is an address that the agent would listen on.
type listening struct {
	subject string
	address string
	// flag names what changes the address.
	flag string
	// ours tells whether a peer-observer listens there, and in which state it is; nil
	// where nothing can be asked.
	ours func(ctx context.Context, address string) (state string, is bool)
}

// check tries whether the address can be had. Taken by an agent that runs, it is where
// it should be (beside), unless another agent is to be started with these flags.
func (l listening) check(ctx context.Context, beside bool) finding {
	listener, err := net.Listen("tcp", l.address)
	if err == nil {
		return finding{subject: l.subject, detail: listener.Addr().String() + " is free", err: listener.Close(), code: exitListen}
	}
	f := finding{subject: l.subject, err: err, code: exitListen, fix: "choose another address with " + l.flag}
	if !errors.Is(err, syscall.EADDRINUSE) {
		f.fix = "the address must be HOST:PORT of this machine: " + l.flag
		return f
	}
	if l.ours == nil {
		return f
	}
	state, is := l.ours(ctx, l.address)
	switch {
	case is && beside:
		return finding{subject: l.subject, detail: l.address + " is taken by a peer-observer that runs" + state}
	case is:
		f.fix = "a peer-observer that runs listens there: end it, or " + f.fix
	}
	return f
}

// greetingTimeout is how long somebody who listens may take to say who that is.
const greetingTimeout = 2 * time.Second

// maxGreeting bounds what is read of it, in bytes.
const maxGreeting = 16 << 10

// ourWebServer asks a web server whether it is a peer-observer's. One that wants a
// password, or a client's certificate, doesn't say.
func ourWebServer(ctx context.Context, address string) (state string, is bool) {
	ctx, cancel := context.WithTimeout(ctx, greetingTimeout)
	defer cancel()
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // nothing is entrusted to it: it's only asked for its name
	}
	client := http.Client{Transport: transport}
	for _, scheme := range []string{"http", "https"} {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://localhost/-/ready", nil)
		if err != nil {
			return "", false
		}
		response, err := client.Do(request)
		if err != nil {
			continue
		}
		body, _ := io.ReadAll(io.LimitReader(response.Body, maxGreeting))
		_ = response.Body.Close()
		// Its own words only: what a stranger says doesn't get onto a terminal.
		switch text := string(body); {
		case strings.HasPrefix(text, "peer-observer is ready"):
			return " and is ready", true
		case strings.HasPrefix(text, "peer-observer is not ready"):
			return " and isn't ready: /-/ready says why", true
		}
	}
	return "", false
}

// ourNATSServer reads a NATS server's greeting, which has its name.
func ourNATSServer(ctx context.Context, address string) (state string, is bool) {
	ctx, cancel := context.WithTimeout(ctx, greetingTimeout)
	defer cancel()
	connection, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return "", false
	}
	defer connection.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := connection.SetDeadline(deadline); err != nil {
			return "", false
		}
	}
	line, err := bufio.NewReader(io.LimitReader(connection, maxGreeting)).ReadString('\n')
	text, isInfo := strings.CutPrefix(line, "INFO ")
	if err != nil || !isInfo {
		return "", false
	}
	var info struct {
		ServerName string `json:"server_name"`
	}
	if err := json.Unmarshal([]byte(text), &info); err != nil {
		return "", false
	}
	return "", info.ServerName == nats.EmbeddedServerName
}

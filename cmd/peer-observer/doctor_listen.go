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
	// who tells who listens there, and in which state a peer-observer is; nil where nothing
	// can be asked.
	who func(ctx context.Context, address string) (state string, w who)
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
	if l.who == nil {
		return f
	}
	state, w := l.who(ctx, l.address)
	switch {
	case w == ours && beside:
		return finding{subject: l.subject, detail: l.address + " is taken by a peer-observer that runs" + state}
	case w == ours:
		f.fix = "a peer-observer that runs listens there: end it, or " + f.fix
	case w == closed && beside:
		return finding{subject: l.subject, detail: l.address + " is taken by a web server that asks for a password, as a peer-observer does with --web.config.file; if it is another program, " + f.fix}
	case w == closed:
		f.fix = "a web server that asks for a password listens there: end it, or " + f.fix
	}
	return f
}

// who is somebody who listens.
type who int

const (
	stranger who = iota
	ours
	// closed doesn't say who it is before it is given a password.
	closed
)

// greetingTimeout is how long somebody who listens may take to say who that is.
const greetingTimeout = 2 * time.Second

// maxGreeting bounds what is read of it, in bytes.
const maxGreeting = 16 << 10

// whoIsWeb asks a web server who it is. One that wants a client's certificate isn't told
// from a stranger.
func whoIsWeb(ctx context.Context, address string) (state string, w who) {
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
			return "", stranger
		}
		response, err := client.Do(request)
		if err != nil {
			continue
		}
		body, _ := io.ReadAll(io.LimitReader(response.Body, maxGreeting))
		_ = response.Body.Close()
		if response.StatusCode == http.StatusUnauthorized {
			return "", closed
		}
		// Its own words only: what a stranger says doesn't get onto a terminal.
		switch text := string(body); {
		case strings.HasPrefix(text, "peer-observer is ready"):
			return " and is ready", ours
		case strings.HasPrefix(text, "peer-observer is not ready"):
			return " and isn't ready: /-/ready says why", ours
		}
	}
	return "", stranger
}

// whoIsNATS reads a NATS server's greeting, which has its name.
func whoIsNATS(ctx context.Context, address string) (state string, w who) {
	ctx, cancel := context.WithTimeout(ctx, greetingTimeout)
	defer cancel()
	connection, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return "", stranger
	}
	defer connection.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := connection.SetDeadline(deadline); err != nil {
			return "", stranger
		}
	}
	line, err := bufio.NewReader(io.LimitReader(connection, maxGreeting)).ReadString('\n')
	text, isInfo := strings.CutPrefix(line, "INFO ")
	if err != nil || !isInfo {
		return "", stranger
	}
	var info struct {
		ServerName string `json:"server_name"`
	}
	if err := json.Unmarshal([]byte(text), &info); err != nil {
		return "", stranger
	}
	if info.ServerName != nats.EmbeddedServerName {
		return "", stranger
	}
	return "", ours
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// watch is a subscriber that keeps account of what it got of each source.
type watch struct {
	t      *testing.T
	events chan *eventpb.Event
}

// subscribe connects to a NATS server and hands over every event; connections that
// break come back.
func subscribe(t *testing.T, address string) *watch {
	t.Helper()
	w := &watch{t: t, events: make(chan *eventpb.Event, 1<<20)}
	connection, err := nats.Connect("nats://"+address, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectWait(50*time.Millisecond), nats.ReconnectJitter(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(connection.Close)
	for _, subject := range event.Subjects() {
		if _, err := connection.Subscribe(subject, func(m *nats.Msg) {
			e := new(eventpb.Event)
			if err := proto.Unmarshal(m.Data, e); err != nil {
				t.Errorf("%s: %v", m.Subject, err)
				return
			}
			w.events <- e
		}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// next waits for an event that fits.
func (w *watch) next(what string, fits func(*eventpb.Event) bool) *eventpb.Event {
	w.t.Helper()
	deadline := time.After(60 * time.Second)
	seen := 0
	for {
		select {
		case e := <-w.events:
			seen++
			if fits(e) {
				return e
			}
		case <-deadline:
			w.t.Fatalf("no event that fits: %s; %d others", what, seen)
		}
	}
}

func blockConnected(e *eventpb.Event) bool {
	return e.GetEbpfExtractor().GetValidation().GetBlockConnected() != nil
}

// The agent runs on while the node is restarted five times with a new cookie each time,
// while its log is truncated, and while its P2P port gets garbage; after each it sees
// the node again with every source.
func TestAgentSurvivesItsNode(t *testing.T) {
	node := regtest.WithTracepoints(t, regtest.Config{V2: true, Debug: []string{"net"}})
	p2pAddress := freeAddress(t)
	o := observe(t, node, nil, "--extractor.rpc.interval.uptime=200ms", "--extractor.p2p.ping-interval=200ms", "--extractor.p2p.listen-address="+p2pAddress)
	o.ready()
	events := subscribe(t, o.nats)

	alive := func(what string) {
		t.Helper()
		o.ready()
		height := 0
		if err := node.Call(t.Context(), "getblockcount", nil, &height); err != nil {
			t.Fatal(err)
		}
		if _, err := node.Mine(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		got := events.next("a block seen by tracepoint "+what, blockConnected)
		if h := got.GetEbpfExtractor().GetValidation().GetBlockConnected().GetHeight(); int(h) != height+1 {
			t.Errorf("%s: block of height %d, want %d", what, h, height+1)
		}
		events.next("a log line "+what, func(e *eventpb.Event) bool { return e.GetLogExtractor() != nil })
		events.next("an RPC answer "+what, func(e *eventpb.Event) bool { return e.GetRpcExtractor() != nil })
		events.next("a ping over the link "+what, func(e *eventpb.Event) bool { return e.GetP2PExtractor().GetPingDuration() != nil })
	}
	alive("at the start")
	for i := range 5 {
		before := node.PID()
		cookie, err := os.ReadFile(node.CookieFile())
		if err != nil {
			t.Fatal(err)
		}
		if err := node.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		after, err := os.ReadFile(node.CookieFile())
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(cookie, after) || before == node.PID() {
			t.Fatal("the restart changed neither cookie nor process: this proves nothing")
		}
		alive(fmt.Sprintf("after restart %d", i+1))
	}
	if err := os.Truncate(node.LogFile(), 0); err != nil {
		t.Fatal(err)
	}
	alive("after the log was truncated")

	// What comes to the port is not the node: garbage, silence, and a header that
	// announces far too much.
	var silent []net.Conn
	for i := range 100 {
		connection, err := net.DialTimeout("tcp", p2pAddress, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, connection)
		switch i % 3 {
		case 0:
			_, _ = io.WriteString(connection, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		case 1:
			_, _ = connection.Write(append([]byte{0xfa, 0xbf, 0xb5, 0xda}, bytes.Repeat([]byte{0xff}, 20)...))
		}
	}
	alive("with garbage on the P2P port")
	for _, connection := range silent {
		_ = connection.Close()
	}
	if code := o.stop(); code != exitOK {
		t.Errorf("exit code %d, want 0", code)
	}
}

// An external NATS server is stopped for a while. What a subscriber that was there
// before and after misses is exactly what the agent counts as lost.
func TestLossesDuringOutageOfNATS(t *testing.T) {
	for _, c := range []struct {
		name   string
		buffer string
		loses  bool
	}{
		{"everything fits the buffer", "33554432", false},
		{"a small buffer overflows", "131072", true},
	} {
		t.Run(c.name, func(t *testing.T) { testOutage(t, c.buffer, c.loses) })
	}
}

func testOutage(t *testing.T, buffer string, loses bool) {
	node := regtest.ForTest(t, regtest.Config{V2: true, Debug: []string{"net", "mempool"}})
	address := freeAddress(t)
	server := startNATS(t, address)
	o := observe(t, node, nil, "--nats.url=nats://"+address, "--nats.buffer-size="+buffer)
	events := subscribe(t, address)
	o.ready()
	account := newTally(t)
	account.add(events.next("something", func(*eventpb.Event) bool { return true }))

	server.kill()
	eventually(t, "the agent to notice", func() error {
		code, _, err := get("http://" + o.web + "/-/ready")
		if err == nil && code == http.StatusOK {
			return errors.New("ready without NATS")
		}
		return err
	})
	// Something for every source, more than the small buffer holds.
	if _, err := node.SendTransactions(t.Context(), 1000); err != nil {
		t.Fatal(err)
	}
	startNATS(t, address)
	restarted := uint64(time.Now().UnixNano())
	o.ready()
	if _, err := node.Mine(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for {
		e := events.next("what happened after the outage", func(*eventpb.Event) bool { return true })
		account.add(e)
		if e.GetReceiveTimeNs() > restarted {
			break
		}
	}
	if code := o.stop(); code != exitOK {
		t.Errorf("exit code %d, want 0", code)
	}

	for done := false; !done; {
		select {
		case e := <-events.events:
			account.add(e)
		case <-time.After(8 * time.Second):
			// The agent has ended, and with it what is under way.
			done = true
		}
	}
	account.compare(loses)
}

// tally is what a subscriber knows of the events it got, by source.
type tally struct {
	t      *testing.T
	seen   map[string]map[uint64]bool
	status *eventpb.Status
}

func newTally(t *testing.T) *tally { return &tally{t: t, seen: map[string]map[uint64]bool{}} }

func (a *tally) add(e *eventpb.Event) {
	a.t.Helper()
	header, err := headerOf(e)
	if err != nil {
		a.t.Fatal(err)
	}
	source := header.Source.String()
	if a.seen[source] == nil {
		a.seen[source] = map[uint64]bool{}
	}
	a.seen[source][header.Sequence] = true
	if s := e.GetObserver().GetStatus(); s != nil {
		a.status = s
	}
}

// compare holds the numbers that are missing against what the last status counts.
func (a *tally) compare(loses bool) {
	a.t.Helper()
	if a.status == nil {
		a.t.Fatal("no status event")
	}
	counted, total := map[string]uint64{}, uint64(0)
	for _, l := range a.status.GetLosses() {
		if s := event.Stage(l.GetStage()); s == event.StageQueue || s == event.StagePublish {
			counted[l.GetSource()] += l.GetCount()
			total += l.GetCount()
		}
	}
	for _, s := range a.status.GetSources() {
		source := s.GetSource()
		first, emitted := ^uint64(0), s.GetEvents()
		for n := range a.seen[source] {
			first = min(first, n)
		}
		if source == event.SourceObserver.String() {
			emitted++ // the status itself
		}
		if first == ^uint64(0) {
			continue
		}
		missing := emitted - first + 1 - uint64(len(a.seen[source]))
		if counted[source] != missing {
			a.t.Errorf("%s: %d events counted as lost, but a subscriber misses %d of %d", source, counted[source], missing, emitted)
		}
	}
	a.t.Logf("lost: %v", counted)
	if loses != (total > 0) {
		a.t.Errorf("%d events lost; want some: %v", total, loses)
	}
}

func headerOf(e *eventpb.Event) (event.Header, error) {
	data, err := proto.Marshal(e)
	if err != nil {
		return event.Header{}, err
	}
	return event.Parse(data)
}

// natsServer is a NATS server in a process of its own.
type natsServer struct{ cmd *exec.Cmd }

func startNATS(t *testing.T, address string) *natsServer {
	t.Helper()
	_, port, _ := net.SplitHostPort(address)
	config := t.TempDir() + "/nats.conf"
	if err := os.WriteFile(config, []byte(fmt.Sprintf("max_payload: %d\nmax_pending: %d\n", event.MaxSize, 4*event.MaxSize)), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &natsServer{exec.Command(natsServerBinary(t), "-a", "127.0.0.1", "-p", port, "-c", config)}
	var out output
	s.cmd.Stdout, s.cmd.Stderr = &out, &out
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	eventually(t, "the NATS server", func() error {
		connection, err := net.Dial("tcp", address)
		if err != nil {
			return fmt.Errorf("%w: %s", err, &out)
		}
		return connection.Close()
	})
	return s
}

func (s *natsServer) kill() {
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	}
}

// natsServerBinary builds the server of the version that this module requires.
func natsServerBinary(t *testing.T) string {
	t.Helper()
	path := t.TempDir() + "/nats-server"
	build := exec.CommandContext(context.Background(), "go", "build", "-o", path, "github.com/nats-io/nats-server/v2")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building nats-server: %v\n%s", err, out)
	}
	return path
}

// The logger works at the end of a pipe, in both formats, and filters.
func TestLoggerCommand(t *testing.T) {
	node := regtest.ForTest(t, regtest.Config{V2: true})
	o := observe(t, node, nil, "--extractor.rpc.interval.uptime=200ms")
	o.ready()
	lines := start(t, nil, "logger", "--nats.url=nats://"+o.nats, "--format=json", "--event=rpc.uptime")
	eventually(t, "JSON lines", func() error {
		text := lines.stdout.String()
		end := strings.LastIndexByte(text, '\n')
		if strings.Count(text, "\n") < 3 {
			return fmt.Errorf("printed %q", text)
		}
		for line := range strings.Lines(text[:end+1]) {
			var e struct {
				RPC struct {
					Uptime *int `json:"uptime"`
				} `json:"rpc_extractor"`
				Node string `json:"node_name"`
			}
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%q is no JSON: %v", line, err)
			}
			if e.RPC.Uptime == nil || e.Node != "test" {
				t.Fatalf("%q is not what was asked for", line)
			}
		}
		return nil
	})
	// A reader that goes away is no error.
	pipe := start(t, nil, "logger", "--nats.url=nats://"+o.nats, "--source=rpc")
	eventually(t, "text lines", func() error {
		if text := pipe.stdout.String(); !strings.Contains(text, "rpc uptime") && !strings.Contains(text, "rpc.uptime") {
			return fmt.Errorf("printed %q", text)
		}
		return nil
	})
	if code := pipe.stop(); code != exitOK {
		t.Errorf("exit code %d, want 0", code)
	}
}

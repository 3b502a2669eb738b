package nats_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	natsgo "github.com/nats-io/nats.go"

	"github.com/peerobserver/peerobserver/exporters/nats"
	"github.com/peerobserver/peerobserver/proto/event"
)

func newServer(t testing.TB, cfg nats.ServerConfig) (*nats.Server, *logBuffer) {
	t.Helper()
	logger, log := newLogger(t)
	if cfg.ListenAddress == "" {
		cfg.ListenAddress = "127.0.0.1:0"
	}
	s, err := nats.NewServer(cfg, logger)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s, log
}

func TestEmbeddedServerEndToEnd(t *testing.T) {
	s, log := newServer(t, nats.ServerConfig{})
	if !strings.HasPrefix(s.Address(), "127.0.0.1:") {
		t.Errorf("listens on %s", s.Address())
	}
	observer := newPlain(t, s.URL(), "node1.rpc")
	r := newRig(t, nats.PublisherConfig{Connection: nats.Config{InProcess: s}, SubjectPrefix: "node1."})
	sender := start(t, r.publisher)
	for range 1000 {
		r.emit()
	}
	eventually(t, "all events", func() bool { return observer.seen() == 1000 })
	sender.stop(t)
	for i, sequence := range observer.order {
		if sequence != uint64(i)+1 {
			t.Fatalf("event %d came as number %d", sequence, i+1)
		}
	}
	if strings.Contains(log.String(), "level=WARN") {
		t.Error("the server warns of what is as it must be")
	}
}

func TestLargestEventPasses(t *testing.T) {
	s, _ := newServer(t, nats.ServerConfig{})
	observer := newPlain(t, s.URL(), event.SubjectLog)
	r := newRig(t, nats.PublisherConfig{Connection: nats.Config{InProcess: s}})
	start(t, r.publisher)
	emitter := event.NewEmitter(event.SourceLog, event.Origin{BootID: 1}, event.NewStream(r.publisher), r.ledger)
	const size = event.MaxSize - 100
	// One after the other: a few of them are more than the buffer holds at once.
	const events = 3
	for i := range events {
		emitter.Emit(large(size), event.Times{})
		eventually(t, "a large event", func() bool { return observer.received() == i+1 })
	}
	if observer.bytes < events*size {
		t.Errorf("%d bytes came", observer.bytes)
	}
}

func TestPortInUseNamesTheFlags(t *testing.T) {
	s, _ := newServer(t, nats.ServerConfig{})
	logger, _ := newLogger(t)
	_, err := nats.NewServer(nats.ServerConfig{ListenAddress: s.Address()}, logger)
	if err == nil {
		t.Fatal("a second server started on the port")
	}
	for _, want := range []string{s.Address(), "in use", "--nats.listen-address", "--nats.url"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in: %v", want, err)
		}
	}
	// What can't be listened on for another reason is said too.
	_, err = nats.NewServer(nats.ServerConfig{ListenAddress: "192.0.2.1:4222"}, logger)
	if err == nil || !strings.Contains(err.Error(), "--nats.listen-address") {
		t.Errorf("error: %v", err)
	}
}

func TestServerConfigIsChecked(t *testing.T) {
	logger, _ := newLogger(t)
	for _, cfg := range []nats.ServerConfig{
		{ListenAddress: "4222"},
		{ListenAddress: "127.0.0.1:x"},
		{ListenAddress: "127.0.0.1:70000"},
		{ListenAddress: "127.0.0.1:0", User: "u"},
		{ListenAddress: "127.0.0.1:0", MaxPending: 1000},
		{ListenAddress: "127.0.0.1:0", User: "u", PasswordFile: "/nonexistent"},
	} {
		if s, err := nats.NewServer(cfg, logger); err == nil {
			s.Shutdown()
			t.Errorf("%+v was accepted", cfg)
		}
	}
}

func TestNobodyElsePublishesToTheEmbeddedServer(t *testing.T) {
	s, _ := newServer(t, nats.ServerConfig{})
	observer := newPlain(t, s.URL(), event.SubjectRPC)
	denied := make(chan error, 10)
	forger, err := natsgo.Connect(s.URL(), natsgo.ErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) { denied <- err }))
	if err != nil {
		t.Fatal(err)
	}
	defer forger.Close()
	if err := forger.Publish(event.SubjectRPC, []byte("forged")); err != nil {
		t.Fatal(err)
	}
	if err := <-denied; !strings.Contains(err.Error(), "Permissions Violation") {
		t.Errorf("error %v", err)
	}
	r := newRig(t, nats.PublisherConfig{Connection: nats.Config{InProcess: s}})
	start(t, r.publisher)
	r.emit()
	eventually(t, "the agent's event", func() bool { return observer.seen() == 1 })
	if observer.bad != 0 {
		t.Error("the forged message came")
	}
}

func TestAllowPublishLetsOtherExtractorsIn(t *testing.T) {
	s, _ := newServer(t, nats.ServerConfig{AllowPublish: true})
	observer := newPlain(t, s.URL(), event.SubjectRPC)
	other := newRig(t, nats.PublisherConfig{Connection: nats.Config{URL: s.URL()}})
	start(t, other.publisher)
	other.emit()
	eventually(t, "event", func() bool { return observer.seen() == 1 })
}

func TestEmbeddedServerWithPassword(t *testing.T) {
	s, _ := newServer(t, nats.ServerConfig{User: "reader", PasswordFile: writeFile(t, "secret\n")})
	if _, err := natsgo.Connect(s.URL()); err == nil {
		t.Error("a client without password got in")
	}
	newPlain(t, s.URL(), event.SubjectRPC, natsgo.UserInfo("reader", "secret"))
	_, err := nats.Check(t.Context(), nats.Config{URL: s.URL(), User: "reader", PasswordFile: writeFile(t, "wrong")})
	if err == nil || !strings.Contains(err.Error(), "--nats.password-file") || strings.Contains(err.Error(), "wrong") {
		t.Errorf("error: %v", err)
	}
}

func TestBeyondLoopbackWithoutPasswordIsWarnedOf(t *testing.T) {
	_, log := newServer(t, nats.ServerConfig{ListenAddress: "0.0.0.0:0"})
	if !strings.Contains(log.String(), "open to everybody") {
		t.Error("no warning")
	}
}

// TestSlowSubscriberStallsNobody has one subscriber that never reads.
func TestSlowSubscriberStallsNobody(t *testing.T) {
	s, log := newServer(t, nats.ServerConfig{MaxPending: event.MaxSize})
	conn, err := net.Dial("tcp", s.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := fmt.Fprint(conn, "CONNECT {\"verbose\":false}\r\nSUB > 1\r\nPING\r\n"); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 4096)
	for answer := ""; !strings.Contains(answer, "PONG"); {
		n, err := conn.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		answer += string(buffer[:n])
	}
	observer := newPlain(t, s.URL(), event.SubjectLog)
	r := newRig(t, nats.PublisherConfig{Connection: nats.Config{InProcess: s}})
	start(t, r.publisher)
	emitter := event.NewEmitter(event.SourceLog, event.Origin{BootID: 1}, event.NewStream(r.publisher), r.ledger)
	sent := 0
	e := large(1 << 20)
	for s.SlowConsumers() == 0 && sent < 1000 {
		emitter.Emit(e, event.Times{})
		sent++
		eventually(t, "event at the good subscriber", func() bool { return observer.seen() == sent })
	}
	if s.SlowConsumers() == 0 {
		t.Error("the slow subscriber was never disconnected")
	}
	eventually(t, "it is said in the log", func() bool { return strings.Contains(log.String(), "Slow Consumer") })
	if lost := losses(r.ledger, event.SourceLog, event.StageQueue, event.StagePublish); lost != 0 {
		t.Errorf("%d events lost", lost)
	}
}

// TestGarbageOnThePort sends the server what isn't its protocol.
func TestGarbageOnThePort(t *testing.T) {
	s, log := newServer(t, nats.ServerConfig{})
	for i := range 100 {
		conn, err := net.Dial("tcp", s.Address())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write(bytes.Repeat([]byte{byte(i), 0x1b, '\n'}, 5000))
		_ = conn.Close()
	}
	observer := newPlain(t, s.URL(), event.SubjectRPC)
	r := newRig(t, nats.PublisherConfig{Connection: nats.Config{InProcess: s}})
	start(t, r.publisher)
	r.emit()
	eventually(t, "event", func() bool { return observer.seen() == 1 })
	if n := strings.Count(log.String(), "level=WARN"); n > 25 {
		t.Errorf("%d warnings", n)
	}
}

func TestConnectionLimitKeepsRoomForTheAgent(t *testing.T) {
	s, _ := newServer(t, nats.ServerConfig{MaxConnections: 3})
	r := newRig(t, nats.PublisherConfig{Connection: nats.Config{InProcess: s}})
	start(t, r.publisher)
	eventually(t, "connected", r.connected)
	for range 3 {
		newPlain(t, s.URL(), event.SubjectRPC)
	}
	_, err := nats.Check(t.Context(), nats.Config{URL: s.URL()})
	if err == nil || !strings.Contains(err.Error(), "max_connections") {
		t.Errorf("error: %v", err)
	}
	if n := s.Clients(); n > 4 {
		t.Errorf("%d clients", n)
	}
}

// writeFile writes a file and gives its name.
func writeFile(t testing.TB, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

package nats_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/peerobserver/peerobserver/exporters/nats"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// serverBinary is a real nats-server, built from the module that this one depends on.
var serverBinary string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "nats-server-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	serverBinary = filepath.Join(dir, "nats-server")
	build := exec.Command("go", "build", "-o", serverBinary, "github.com/nats-io/nats-server/v2")
	if output, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building nats-server: %v\n%s", err, output)
		return 1
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// logBuffer collects log lines.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// newLogger gives a logger whose lines are shown when the test fails.
func newLogger(t testing.TB) (*slog.Logger, *logBuffer) {
	t.Helper()
	buffer := new(logBuffer)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("log:\n" + buffer.String())
		}
	})
	return slog.New(slog.NewTextHandler(buffer, &slog.HandlerOptions{Level: slog.LevelDebug})), buffer
}

// eventually polls until condition holds.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func freePort(t testing.TB) int {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port
}

// external is a nats-server in a process of its own.
type external struct {
	t       testing.TB
	port    int
	config  string
	command *exec.Cmd
	log     *logBuffer
}

// newExternal prepares a server; config is more text for its configuration file.
func newExternal(t testing.TB, config string) *external {
	t.Helper()
	x := &external{t: t, port: freePort(t), config: filepath.Join(t.TempDir(), "server.conf"), log: new(logBuffer)}
	text := fmt.Sprintf("host: 127.0.0.1\nport: %d\n%s\n", x.port, config)
	if err := os.WriteFile(x.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.kill)
	return x
}

func (x *external) start() {
	x.t.Helper()
	x.command = exec.Command(serverBinary, "-c", x.config)
	x.command.Stdout, x.command.Stderr = x.log, x.log
	if err := x.command.Start(); err != nil {
		x.t.Fatal(err)
	}
	eventually(x.t, "nats-server listens", func() bool {
		conn, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", x.port))
		if err != nil {
			return false
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		line, err := bufio.NewReader(conn).ReadString('\n')
		return err == nil && strings.HasPrefix(line, "INFO")
	})
}

// kill ends the server at once, as a crash would.
func (x *external) kill() {
	if x.command == nil {
		return
	}
	_ = x.command.Process.Kill()
	_ = x.command.Wait()
	x.command = nil
}

// signal sends a signal to the server.
func (x *external) signal(s os.Signal) {
	x.t.Helper()
	if err := x.command.Process.Signal(s); err != nil {
		x.t.Fatal(err)
	}
}

func (x *external) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", x.port) }

// running is something that runs until it is stopped.
type running struct {
	cancel context.CancelFunc
	done   chan error
}

func start(t testing.TB, runner event.Runner) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- runner.Run(ctx) }()
	t.Cleanup(func() { r.stop(t) })
	return r
}

func (r *running) stop(t testing.TB) {
	t.Helper()
	r.cancel()
	select {
	case err := <-r.done:
		r.done <- nil
		if err != nil {
			t.Errorf("Run returned %v", err)
		}
	case <-time.After(60 * time.Second):
		t.Fatal("Run doesn't end")
	}
}

// rig is the sending side: an emitter, a stream and a publisher.
type rig struct {
	ledger    *event.Ledger
	publisher *nats.Publisher
	log       *logBuffer
	emitter   *event.Emitter
	sequence  uint64
}

func newRig(t testing.TB, cfg nats.PublisherConfig) *rig {
	t.Helper()
	logger, log := newLogger(t)
	r := &rig{ledger: event.NewLedger(), log: log}
	var err error
	r.publisher, err = nats.NewPublisher(cfg, r.ledger, logger)
	if err != nil {
		t.Fatal(err)
	}
	origin := event.Origin{NodeName: "node", BootID: 0xb007}
	r.emitter = event.NewEmitter(event.SourceRPC, origin, event.NewStream(r.publisher), r.ledger)
	return r
}

// emit emits an event whose uptime is its number.
func (r *rig) emit() {
	r.sequence++
	r.emitter.Emit(uptime(r.sequence), event.Times{})
}

func uptime(n uint64) *eventpb.Event {
	return &eventpb.Event{PeerObserverEvent: &eventpb.Event_RpcExtractor{
		RpcExtractor: &eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_Uptime{Uptime: uint32(n)}},
	}}
}

// large makes an event of about size bytes.
func large(size int) *eventpb.Event {
	text := strings.Repeat("x", size)
	return &eventpb.Event{PeerObserverEvent: &eventpb.Event_LogExtractor{
		LogExtractor: &eventpb.LogExtractor{LogEvent: &eventpb.LogExtractor_UnknownLogMessage{
			UnknownLogMessage: &eventpb.UnknownLogMessage{RawMessage: &text},
		}},
	}}
}

func (r *rig) connected() bool {
	up, _ := r.publisher.State()
	return up
}

func (r *rig) queued() uint64 {
	return r.ledger.Status().GetQueues()[0].GetEvents()
}

// losses are the counted losses of a source in the ledger at the given stages.
func losses(ledger *event.Ledger, source event.Source, stages ...event.Stage) uint64 {
	var n uint64
	for _, loss := range ledger.Status().GetLosses() {
		for _, stage := range stages {
			if loss.GetSource() == source.String() && loss.GetStage() == string(stage) {
				n += loss.GetCount()
			}
		}
	}
	return n
}

// plain is a subscriber with nothing of ours but the header.
type plain struct {
	mu    sync.Mutex
	conn  *natsgo.Conn
	times map[uint64]int
	order []uint64
	bad   int
	bytes int
}

func newPlain(t testing.TB, url, subject string, options ...natsgo.Option) *plain {
	t.Helper()
	p := &plain{times: map[uint64]int{}}
	closed := make(chan struct{})
	options = append(options,
		natsgo.MaxReconnects(-1),
		natsgo.ReconnectWait(50*time.Millisecond),
		natsgo.ReconnectJitter(10*time.Millisecond, 10*time.Millisecond),
		natsgo.ClosedHandler(func(*natsgo.Conn) { close(closed) }))
	conn, err := natsgo.Connect(url, options...)
	if err != nil {
		t.Fatal(err)
	}
	p.conn = conn
	t.Cleanup(func() {
		conn.Close()
		<-closed
	})
	subscription, err := conn.Subscribe(subject, func(m *natsgo.Msg) {
		h, err := event.Parse(m.Data)
		p.mu.Lock()
		defer p.mu.Unlock()
		if err != nil {
			p.bad++
			return
		}
		p.times[h.Sequence]++
		p.order = append(p.order, h.Sequence)
		p.bytes += len(m.Data)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := subscription.SetPendingLimits(-1, -1); err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	return p
}

// seen is the number of different events.
func (p *plain) seen() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.times)
}

func (p *plain) has(sequence uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.times[sequence] > 0
}

// received is the number of all events, repeated ones too.
func (p *plain) received() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.order)
}

// recorder is a sink that keeps what it gets.
type recorder struct {
	mu     sync.Mutex
	events []event.Event
}

func (r *recorder) HandleEvent(e *event.Event) {
	kept := *e
	kept.Data = bytes.Clone(e.Data)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, kept)
}

func (r *recorder) list() []event.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events[:len(r.events):len(r.events)]
}

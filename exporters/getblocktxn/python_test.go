package getblocktxn

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/peerobserver/peerobserver/proto/event"
)

// TestPythonGivesTheSameRows sends the same events to this sink and, over a real NATS
// server, to the tool in Python: ordinary ones in random order, damage, and more open
// requests than are followed. The files have to be the same byte for byte.
func TestPythonGivesTheSameRows(t *testing.T) {
	connection, url := startServer(t)
	var stops []func()
	files, sinks := map[string]*output{}, []event.Sink{}
	ledger := event.NewLedger()
	for _, format := range []Format{FormatJSON, FormatCSV} {
		path := filepath.Join(t.TempDir(), "rows")
		stops = append(stops, startPython(t, url, path, map[Format]string{FormatJSON: "json", FormatCSV: "csv"}[format]))
		out := new(output)
		sink, _ := newSink(t, Config{Output: out, Format: format, Header: true, Timeout: 20 * time.Second, Buffer: 64 << 20})
		files[path] = out
		sinks = append(sinks, sink)
	}
	stream := event.NewStream(append(sinks, natsSink{t, connection})...)
	alice, bob := newSource("alice", stream, ledger), newSource("bob \u00e9", stream, ledger)
	random := rand.New(rand.NewPCG(1, 2))
	for range 4000 {
		s := alice
		if random.IntN(3) == 0 {
			s = bob
		}
		randomEvent(random, s)
		alice.now = alice.now.Add(time.Duration(random.Int64N(int64(500 * time.Millisecond))))
		bob.now = alice.now
	}
	flood(alice)
	alice.getBlockTxn(0, true, []byte("the last"))
	// The rows that Python has by now show that it has seen all events.
	for path := range files {
		eventually(t, path, func() error {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			lines := strings.Split(strings.TrimSpace(string(content)), "\n")
			if last := lines[len(lines)-1]; !strings.Contains(last, "malformed") {
				return fmt.Errorf("%d lines, the last %.200q", len(lines), last)
			}
			return nil
		})
	}
	for _, stop := range stops {
		stop()
	}
	for _, s := range sinks {
		sink, ok := s.(*Sink)
		if !ok {
			t.Fatalf("%T is no sink of ours", s)
		}
		run(t, sink)()
		if full := sink.full.Value(); full != 0 {
			t.Errorf("%d rows found no room", full)
		}
	}
	for path, out := range files {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, string(content), out.String())
	}
}

// compare compares two files of rows; what follows the first difference tells nothing.
func compare(t *testing.T, python, ours string) {
	t.Helper()
	a, b := strings.Split(python, "\n"), strings.Split(ours, "\n")
	counts := map[string]int{}
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			t.Errorf("line %d of %d and %d: Python\n%.400q\nGo\n%.400q", i, len(a), len(b), a[min(i, len(a)-1)], b[min(i, len(b)-1)])
			return
		}
		for _, o := range outcomes() {
			if strings.Contains(a[i], `"outcome":"`+string(o)+`"`) || strings.Contains(a[i], ","+string(o)+",") {
				counts[string(o)]++
			}
		}
	}
	t.Logf("%d lines, %d bytes: %v", len(a), len(python), counts)
	for _, o := range outcomes() {
		if counts[string(o)] == 0 {
			t.Errorf("no request ended with %s", o)
		}
	}
}

func outcomes() []Outcome {
	return []Outcome{
		OutcomeBlockTxn, OutcomeBlock, OutcomeClosed, OutcomeRepeated, OutcomeTimeout, OutcomeDropped, OutcomeMalformed, OutcomeEnd,
	}
}

func randomEvent(random *rand.Rand, s *source) {
	peer, inbound, h := random.Uint64N(4), random.IntN(2) == 0, hash(byte(random.IntN(6)))
	switch random.IntN(12) {
	case 0, 1, 2, 3:
		indexes := make([]uint64, random.IntN(6))
		for i := range indexes {
			indexes[i] = random.Uint64() >> random.IntN(64)
		}
		s.getBlockTxn(peer, inbound, h, indexes...)
	case 4, 5, 6:
		s.blockTxn(peer, inbound, h, random.IntN(4))
	case 7:
		s.block(peer, inbound, h)
	case 8:
		s.closed(peer)
	case 9:
		s.getBlockTxn(peer, inbound, h[:random.IntN(32)], 1, 2)
	case 10:
		s.blockTxn(peer, inbound, h[:31], 1)
	default:
		s.ping(peer)
	}
}

// flood opens more requests, with more indexes, than are followed.
func flood(s *source) {
	for i := range maxOpen + 50 {
		s.getBlockTxn(uint64(100+i), true, hash(9), uint64(i))
	}
	long := make([]uint64, MaxIndexes+1000)
	for i := range long {
		long[i] = uint64(i)
	}
	for i := range maxOpenIndexes/MaxIndexes + 1 {
		s.getBlockTxn(uint64(10_000+i), false, hash(9), long...)
	}
}

// natsSink publishes every event.
type natsSink struct {
	t          *testing.T
	connection *nats.Conn
}

func (s natsSink) HandleEvent(e *event.Event) {
	if err := s.connection.Publish(e.Subject, e.Data); err != nil {
		s.t.Error(err)
	}
}

func startServer(t *testing.T) (connection *nats.Conn, url string) {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, MaxPayload: event.MaxSize})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the NATS server does not answer")
	}
	connection, err = nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(connection.Close)
	return connection, s.ClientURL()
}

// startPython starts the tool in Python and waits until it is subscribed; stop ends it in
// order.
func startPython(t *testing.T, url, output, format string) (stop func()) {
	t.Helper()
	command := exec.Command(interpreter(t), "../../proto/python/examples/record_getblocktxn.py",
		"--url", url, "--output", output, "--format", format, "--answer-timeout", "20")
	notes, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	t.Cleanup(func() {
		if !stopped {
			_ = command.Process.Kill()
			_ = command.Wait()
		}
	})
	lines := bufio.NewReader(notes)
	if first, err := lines.ReadString('\n'); err != nil || first != "subscribed\n" {
		rest, _ := lines.ReadString(0)
		t.Fatalf("the tool does not subscribe: %s%s (%v)", first, rest, err)
	}
	return func() {
		stopped = true
		if err := command.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		rest, _ := lines.ReadString(0)
		if err := command.Wait(); err != nil || rest != "" {
			t.Errorf("the tool in Python ended with %v: %s", err, rest)
		}
	}
}

// interpreter finds a Python that has the protobuf package: the first one, or the
// system's.
func interpreter(t *testing.T) string {
	t.Helper()
	for _, candidate := range []string{"python3", "/usr/bin/python3"} {
		if err := exec.Command(candidate, "-c", "import google.protobuf").Run(); err == nil {
			return candidate
		} else if !errors.As(err, new(*exec.ExitError)) && !errors.Is(err, exec.ErrNotFound) && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	t.Fatal("no python3 with the protobuf package: run `make setup` or install python3-protobuf")
	return ""
}

// Package python_test checks the generated Python types and their example against the
// Go types, over a real NATS server.
package python_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/event"
	pb "github.com/peerobserver/peerobserver/proto/eventpb"
)

const deadline = 60 * time.Second

// TestSubscribe publishes one event on every subject and reads what the example makes
// of them.
func TestSubscribe(t *testing.T) {
	url := startServer(t)
	events := examples(t)
	for _, subject := range event.Subjects() {
		if events[subject] == nil {
			t.Errorf("no example for subject %s", subject)
		}
	}
	lines := run(t, url, len(events)+1)

	publish(t, url, "foreign", []byte("\x07 not an event"))
	for subject, e := range events {
		publish(t, url, subject, encode(t, e))
	}
	got, broken := parse(t, lines)
	for subject, want := range events {
		if !proto.Equal(got[subject], want) {
			t.Errorf("%s:\n got %v\nwant %v", subject, got[subject], want)
		}
	}
	if !slices.Equal(broken, []string{"foreign"}) {
		t.Errorf("payloads reported as no events: %q", broken)
	}
}

// TestSubjects subscribes to some subjects behind a prefix.
func TestSubjects(t *testing.T) {
	url := startServer(t)
	events := examples(t)
	wanted := []string{event.SubjectConnections, "utxo_cache.add", "utxo_cache.flush", "utxo_cache.spent", "utxo_cache.uncache"}
	lines := run(t, url, len(wanted), "--prefix", "node1.", "--subject", event.SubjectConnections, "utxo_cache.*")
	for subject, e := range events {
		data := encode(t, e)
		for _, prefix := range []string{"", "node1.", "node2."} {
			publish(t, url, prefix+subject, data)
		}
	}
	got, broken := parse(t, lines)
	for _, subject := range wanted {
		if !proto.Equal(got["node1."+subject], events[subject]) {
			t.Errorf("%s:\n got %v\nwant %v", subject, got["node1."+subject], events[subject])
		}
	}
	if len(got) != len(wanted) || len(broken) > 0 {
		t.Errorf("%d events and %d others, want %d events", len(got), len(broken), len(wanted))
	}
}

// parse reads what the example prints: events by subject, and the subjects of payloads
// that are none.
func parse(t *testing.T, lines <-chan string) (events map[string]*pb.Event, broken []string) {
	t.Helper()
	events = map[string]*pb.Event{}
	for line := range lines {
		var printed struct {
			Subject string
			Error   string
			Event   json.RawMessage
		}
		if err := json.Unmarshal([]byte(line), &printed); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if printed.Error != "" {
			broken = append(broken, printed.Subject)
			continue
		}
		e := new(pb.Event)
		if err := protojson.Unmarshal(printed.Event, e); err != nil {
			t.Errorf("%s: %v", printed.Subject, err)
		}
		events[printed.Subject] = e
	}
	return events, broken
}

// TestDecodeRaw reads an event with nothing but field numbers.
func TestDecodeRaw(t *testing.T) {
	url := startServer(t)
	lines := run(t, url, 1, "--decode-raw", "--subject", event.SubjectMempool)
	publish(t, url, event.SubjectMempool, encode(t, examples(t)[event.SubjectMempool]))
	var all strings.Builder
	for line := range lines {
		all.WriteString(line + "\n")
	}
	// event 1, ebpf 4, mempool 3, removed: reason 2; event: timestamp 10.
	for _, want := range []string{"1 {\n  4 {\n    3 {\n", "2: \"sizelimit\"", "\n10: 1700000000123\n"} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("no %q in\n%s", want, all.String())
		}
	}
}

func encode(t *testing.T, e *pb.Event) []byte {
	t.Helper()
	data, err := proto.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// run starts the example and returns its lines once it is subscribed.
func run(t *testing.T, url string, count int, arguments ...string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	arguments = append([]string{"examples/subscribe.py", "--url", url, "--count", strconv.Itoa(count)}, arguments...)
	command := exec.CommandContext(ctx, interpreter(t), arguments...)
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	notes, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	first, err := bufio.NewReader(notes).ReadString('\n')
	if err != nil || first != "subscribed\n" {
		rest, _ := io.ReadAll(notes)
		t.Fatalf("the example did not subscribe to %s: %s%s (%v)", url, first, rest, err)
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(out)
		for scanner.Scan() {
			lines <- scanner.Text()
		}
		if err := command.Wait(); err != nil {
			t.Errorf("the example ended with %v", err)
		}
	}()
	return lines
}

// interpreter finds a Python that has the protobuf package: the first one, or the
// system's.
func interpreter(t *testing.T) string {
	t.Helper()
	for _, candidate := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(candidate, "-c", "import google.protobuf").Run() == nil {
			return candidate
		}
	}
	t.Fatal("no python3 with the protobuf package: run `make setup` or install python3-protobuf")
	return ""
}

func startServer(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, MaxPayload: event.MaxSize,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(deadline) {
		t.Fatal("the NATS server does not answer")
	}
	return s.ClientURL()
}

func publish(t *testing.T, url, subject string, data []byte) {
	t.Helper()
	connection, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if err := connection.Publish(subject, data); err != nil {
		t.Fatal(err)
	}
	if err := connection.Flush(); err != nil {
		t.Fatal(err)
	}
}

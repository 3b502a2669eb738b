package metrics_test

import (
	"bytes"
	"context"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"

	"github.com/peerobserver/peerobserver/exporters/archive"
	"github.com/peerobserver/peerobserver/exporters/metrics"
	"github.com/peerobserver/peerobserver/exporters/nats"
	"github.com/peerobserver/peerobserver/proto/event"
)

// recorder keeps the subjects and bytes of a stream, as an archive does.
type recorder struct {
	subjects []string
	data     [][]byte
}

func (r *recorder) HandleEvent(e *event.Event) {
	r.subjects = append(r.subjects, e.Subject)
	r.data = append(r.data, bytes.Clone(e.Data))
}

// replay puts the recorded bytes on a stream. Now and then it calls pace, which may be
// nil, with the number of those that are on it.
func (r *recorder) replay(t *testing.T, stream *event.Stream, pace func(sent int)) {
	t.Helper()
	for i, data := range r.data {
		if pace != nil && i%1000 == 0 {
			pace(i)
		}
		header, err := event.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		stream.Publish(&event.Event{Header: header, Subject: r.subjects[i], Data: data})
	}
}

// exposition is what a scrape gives.
func exposition(t *testing.T, sink *metrics.Sink) string {
	t.Helper()
	families, err := sink.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			t.Fatal(err)
		}
	}
	return text.String()
}

// bothExpositions is what a scrape gives in the two text formats: one has the exemplars.
func bothExpositions(t *testing.T, sink *metrics.Sink) string {
	t.Helper()
	families, err := sink.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToOpenMetrics(&text, f); err != nil {
			t.Fatal(err)
		}
	}
	return exposition(t, sink) + text.String()
}

func replaySink(t *testing.T) *metrics.Sink {
	t.Helper()
	sink, err := metrics.New(metrics.Config{Replay: true, Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	return sink
}

// TestEqualEverywhere holds the metrics of one stream in the agent, over NATS, from an
// archive and from recorded bytes against each other.
func TestEqualEverywhere(t *testing.T) {
	record := new(recorder)
	live := newRig(t, metrics.Config{Replay: true, Seed: seed}, record)
	live.normalLife(3)
	live.hostile(2000)
	live.normalLife(1)
	want := bothExpositions(t, live.sink)
	if !strings.Contains(want, `# {trace_id="`) {
		t.Error("there is no exemplar")
	}

	archived := replaySink(t)
	record.replay(t, event.NewStream(archived), nil)
	compare(t, "from recorded bytes", bothExpositions(t, archived), want)

	fromArchive := replaySink(t)
	throughArchive(t, record, fromArchive)
	compare(t, "from an archive", bothExpositions(t, fromArchive), want)

	remote := replaySink(t)
	overNATS(t, record, remote)
	compare(t, "over NATS", bothExpositions(t, remote), want)
}

func compare(t *testing.T, where, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	lines := func(text string) map[string]bool {
		set := map[string]bool{}
		for line := range bytes.Lines([]byte(text)) {
			set[string(line)] = true
		}
		return set
	}
	a, b := lines(got), lines(want)
	for _, line := range slices.Sorted(maps.Keys(a)) {
		if !b[line] {
			t.Errorf("%s only: %s", where, line)
		}
	}
	for _, line := range slices.Sorted(maps.Keys(b)) {
		if !a[line] {
			t.Errorf("not %s: %s", where, line)
		}
	}
}

// throughArchive writes the recorded stream to files and replays them to a sink.
func throughArchive(t *testing.T, record *recorder, sink event.Sink) {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	dir := t.TempDir()
	ledger := event.NewLedger()
	writer, err := archive.New(archive.Config{Dir: dir}, ledger, logger)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- writer.Run(ctx) }()
	record.replay(t, event.NewStream(writer), nil)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.zst"))
	if err != nil {
		t.Fatal(err)
	}
	replayer, err := archive.NewReplayer(archive.ReplayConfig{Paths: files}, event.NewStream(sink), ledger, logger)
	if err != nil {
		t.Fatal(err)
	}
	if err := replayer.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := replayer.Events(); n != uint64(len(record.data)) || replayer.Damages() != 0 {
		t.Fatalf("%d events replayed of %d, %d places damaged", n, len(record.data), replayer.Damages())
	}
}

// overNATS sends the recorded stream through a real NATS server to a sink.
func overNATS(t *testing.T, record *recorder, sink *metrics.Sink) {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	server, err := nats.NewServer(nats.ServerConfig{ListenAddress: "127.0.0.1:0", AllowPublish: true}, logger)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Shutdown()
	connection := nats.Config{URL: server.URL()}
	subscriber, err := nats.NewSubscriber(nats.SubscriberConfig{Connection: connection}, event.NewStream(sink), event.NewLedger(), logger)
	if err != nil {
		t.Fatal(err)
	}
	publisher, err := nats.NewPublisher(nats.PublisherConfig{Connection: connection, Buffer: 256 << 20}, event.NewLedger(), logger)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- subscriber.Run(ctx) }()
	go func() { done <- publisher.Run(ctx) }()
	defer func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}()
	until(t, "connected", func() bool {
		a, _ := subscriber.State()
		b, _ := publisher.State()
		return a && b
	})
	// NATS drops what a subscriber doesn't take in time: nothing is sent faster.
	received := func(sent int) {
		until(t, "received everything", func() bool { return subscriber.Received() >= uint64(sent) })
	}
	record.replay(t, event.NewStream(publisher), received)
	received(len(record.data))
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not in time: " + what)
		}
	}
}

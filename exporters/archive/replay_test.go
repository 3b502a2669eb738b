package archive

import (
	"bytes"
	"context"
	"hash/maphash"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"

	"github.com/peerobserver/peerobserver/exporters/metrics"
	"github.com/peerobserver/peerobserver/proto/event"
)

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

func replayed(t *testing.T, cfg ReplayConfig, sinks ...event.Sink) *Replayer {
	t.Helper()
	r, err := NewReplayer(cfg, event.NewStream(sinks...), event.NewLedger(), discard())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

// The metrics of a replay are those that were made live, to the byte.
func TestReplayGivesTheSameMetrics(t *testing.T) {
	seed := maphash.MakeSeed()
	newMetrics := func() *metrics.Sink {
		s, err := metrics.New(metrics.Config{Replay: true, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	live := newMetrics()
	paths := archived(t, Config{BlockSize: 16 << 10, MaxFileSize: 256 << 10}, func(sink event.Sink) {
		newTraffic("alpha", 14, live, sink).live(2000)
	})
	again := newMetrics()
	r := replayed(t, ReplayConfig{Paths: paths}, again)
	if r.Events() != 2000 || len(paths) < 2 {
		t.Errorf("%d events of %d files", r.Events(), len(paths))
	}
	want := exposition(t, live)
	if got := exposition(t, again); got != want || len(got) < 10_000 {
		t.Errorf("metrics differ:\n%s\nwant:\n%s", got, want)
	}
}

// testClock is a clock that moves only when it is waited for.
type testClock struct {
	at     time.Time
	waited []time.Duration
}

func (c *testClock) now() time.Time { return c.at }

func (c *testClock) wait(ctx context.Context, d time.Duration) error {
	c.at = c.at.Add(d)
	c.waited = append(c.waited, d)
	return ctx.Err()
}

func TestSpeed(t *testing.T) {
	record := new(recorder)
	paths := archived(t, Config{}, func(sink event.Sink) { newTraffic("alpha", 15, sink, record).live(1000) })
	first, err := event.Parse(record.data[0])
	if err != nil {
		t.Fatal(err)
	}
	latest := first.Time()
	for _, data := range record.data {
		h, err := event.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		if h.Time().After(latest) {
			latest = h.Time()
		}
	}
	life := latest.Sub(first.Time())
	for speed, want := range map[float64]time.Duration{1: life, 10: life / 10, 0.5: 2 * life, 0: 0} {
		clock := &testClock{at: time.Unix(1000, 0)}
		again := new(recorder)
		r, err := NewReplayer(ReplayConfig{Paths: paths, Speed: speed}, event.NewStream(again), event.NewLedger(), discard())
		if err != nil {
			t.Fatal(err)
		}
		r.pace.clock = clock
		if err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		same(t, "replayed", again.data, record.data)
		if took := clock.at.Sub(time.Unix(1000, 0)); took < want-time.Millisecond || took > want+time.Millisecond {
			t.Errorf("speed %g: took %v, want %v", speed, took, want)
		}
	}
}

// Pauses are bounded, whatever times the events claim, and a slow sink isn't rushed.
func TestPace(t *testing.T) {
	clock := &testClock{at: time.Unix(1000, 0)}
	p := pace{speed: 1, maxPause: time.Minute, clock: clock}
	at := began
	step := func(d time.Duration) time.Duration {
		t.Helper()
		before := clock.at
		at = at.Add(d)
		if err := p.wait(t.Context(), at); err != nil {
			t.Fatal(err)
		}
		return clock.at.Sub(before)
	}
	for _, c := range []struct{ step, want time.Duration }{
		{0, 0}, {time.Second, time.Second}, {-10 * time.Millisecond, 0}, {10 * time.Millisecond, 0},
		{24 * time.Hour, time.Minute}, {time.Second, time.Second},
		{200 * 365 * 24 * time.Hour, time.Minute}, {-200 * 365 * 24 * time.Hour, 0}, {time.Second, time.Second},
	} {
		if got := step(c.step); got != c.want {
			t.Errorf("after %v it waits %v, want %v", c.step, got, c.want)
		}
	}
	clock.at = clock.at.Add(10 * time.Second) // a slow sink
	if got := step(3 * time.Second); got != 0 {
		t.Errorf("when late it waits %v", got)
	}
	if got := step(8 * time.Second); got != time.Second {
		t.Errorf("when no longer late it waits %v, want 1s", got)
	}
}

// The replay waits for full queues, ends with its context, and filters.
func TestReplayWaitsForSinks(t *testing.T) {
	paths := archived(t, Config{}, func(sink event.Sink) { newTraffic("alpha", 16, sink).live(2000) })
	var full atomic.Bool
	full.Store(true)
	again := new(recorder)
	r, err := NewReplayer(ReplayConfig{Paths: paths, Fill: func() float64 {
		if full.Load() {
			return 0.9
		}
		return 0.1
	}}, event.NewStream(again), event.NewLedger(), discard())
	if err != nil {
		t.Fatal(err)
	}
	waits := &signalClock{waiting: make(chan struct{}, 1)}
	r.pace.clock = waits
	done := make(chan error, 1)
	go func() { done <- r.Run(t.Context()) }()
	<-waits.waiting
	if n := r.Events(); n == 0 || n >= 500 {
		t.Errorf("%d events came before the queues were looked at", n)
	}
	full.Store(false)
	if err := <-done; err != nil || r.Events() != 2000 {
		t.Errorf("%d events, %v", r.Events(), err)
	}

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	r, err = NewReplayer(ReplayConfig{Paths: paths, Speed: 1}, event.NewStream(again), event.NewLedger(), discard())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(cancelled); err != nil || r.Events() != 0 {
		t.Errorf("interrupted: %d events, %v", r.Events(), err)
	}

	only := new(recorder)
	replayed(t, ReplayConfig{Paths: paths, Filter: Filter{Sources: []event.Source{event.SourceRPC}}}, only)
	for _, data := range only.data {
		if h, err := event.Parse(data); err != nil || h.Source != event.SourceRPC {
			t.Fatalf("source %v, %v", h.Source, err)
		}
	}
	if len(only.data) == 0 {
		t.Error("the filter lets nothing through")
	}
}

// signalClock tells that somebody waits.
type signalClock struct {
	realClock
	waiting chan struct{}
}

func (c *signalClock) wait(ctx context.Context, d time.Duration) error {
	select {
	case c.waiting <- struct{}{}:
	default:
	}
	return c.realClock.wait(ctx, d)
}

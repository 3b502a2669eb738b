package backtest_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/alerts"
	"github.com/peerobserver/peerobserver/alerts/backtest"
	"github.com/peerobserver/peerobserver/exporters/archive"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// start is a time at which there is a scrape.
var start = time.Unix(1_700_000_100, 0).UTC()

// recorder writes an archive of events with times of its own.
type recorder struct {
	emitter *event.Emitter
}

// record gives the files of an archive.
func record(t *testing.T, events func(r *recorder)) []string {
	t.Helper()
	dir := t.TempDir()
	ledger := event.NewLedger()
	sink, err := archive.New(archive.Config{Dir: dir, Buffer: 64 << 20}, ledger, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- sink.Run(ctx) }()
	events(&recorder{event.NewEmitter(event.SourceObserver, event.Origin{NodeName: "alpha", BootID: 1}, event.NewStream(sink), ledger)})
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.zst"))
	if err != nil || len(files) == 0 {
		t.Fatalf("files %v, %v", files, err)
	}
	return files
}

// status is what an agent says of its node, at a time after the start.
func (r *recorder) status(after time.Duration, up bool) {
	st := &eventpb.Status{}
	if up {
		st.Node = &eventpb.NodeStatus{Chain: proto.String("main"), StartTimeNs: proto.Int64(start.UnixNano())}
	}
	at := start.Add(after).UnixNano()
	r.emitter.Emit(&eventpb.Event{PeerObserverEvent: &eventpb.Event_Observer{Observer: &eventpb.Observer{ObserverEvent: &eventpb.Observer_Status{Status: st}}}},
		event.Times{Receive: at})
}

func (r *recorder) statuses(from, to time.Duration, up bool) {
	for at := from; at < to; at += 10 * time.Second {
		r.status(at, up)
	}
}

func run(t *testing.T, config backtest.Config) *backtest.Result {
	t.Helper()
	result, err := backtest.Run(t.Context(), config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// A node is down for five minutes. The alert begins when a minute of scrapes has seen it
// down, fires a minute later and ends with the first scrape that sees it up: to the second
// as in a server. After a gap nothing is known, and nothing fires.
func TestNodeDown(t *testing.T) {
	files := record(t, func(r *recorder) {
		r.statuses(0, 2*time.Minute, true)
		r.statuses(2*time.Minute, 7*time.Minute, false)
		r.statuses(7*time.Minute, 9*time.Minute, true)
		r.statuses(29*time.Minute, 31*time.Minute, true)
	})
	result := run(t, backtest.Config{Paths: files})
	if len(result.Alerts) != 1 || result.Gaps != 1 || result.Damages != 0 || result.Events != 66 {
		t.Fatalf("the result is %+v", result)
	}
	a := result.Alerts[0]
	if a.Alert != "PeerObserverNodeDown" || a.ID != "I01" || a.Severity != "page" || a.Node != "alpha" {
		t.Errorf("the alert is %+v", a)
	}
	// The scrape at two minutes is before the first event that says that it is down.
	for what, x := range map[string]struct{ got, want time.Time }{
		"began": {a.Began, start.Add(3 * time.Minute)}, "fired": {a.Fired, start.Add(4 * time.Minute)}, "ended": {*a.Ended, start.Add(7*time.Minute + 15*time.Second)},
		"first scrape": {result.From, start.Add(15 * time.Second)}, "last scrape": {result.To, start.Add(31 * time.Minute)},
	} {
		if !x.got.Equal(x.want) {
			t.Errorf("%s at %v, want %v", what, x.got, x.want)
		}
	}
	// Part of the archive, and rules that wait for less.
	result = run(t, backtest.Config{
		Paths: files, Options: archive.Options{From: start.Add(2 * time.Minute), Until: start.Add(3 * time.Minute)},
		Rules: alerts.Options{TimeScale: 60}, Interval: time.Second,
	})
	if len(result.Alerts) != 1 || result.Alerts[0].Ended != nil || result.Alerts[0].Fired.After(start.Add(2*time.Minute+5*time.Second)) {
		t.Errorf("of a part: %+v", result)
	}
}

// Nothing happens: no alert.
func TestQuiet(t *testing.T) {
	files := record(t, func(r *recorder) { r.statuses(0, 10*time.Minute, true) })
	if result := run(t, backtest.Config{Paths: files}); len(result.Alerts) != 0 || result.Scrapes != 10*4 {
		t.Errorf("the result is %+v", result)
	}
}

// Times that nobody can have don't keep it busy.
func TestImpossibleTimes(t *testing.T) {
	files := record(t, func(r *recorder) {
		r.status(0, true)
		r.status(200*365*24*time.Hour, true)
		r.status(time.Minute, true)
		r.status(-40*365*24*time.Hour, true)
		r.status(2*time.Minute, false)
	})
	if result := run(t, backtest.Config{Paths: files}); result.Scrapes > 20 || result.Gaps != 4 || len(result.Alerts) != 0 {
		t.Errorf("the result is %+v", result)
	}
}

func TestMistakes(t *testing.T) {
	other := filepath.Join(t.TempDir(), "no archive")
	if err := os.WriteFile(other, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := record(t, func(r *recorder) { r.status(0, true) })
	for what, config := range map[string]backtest.Config{
		"no files":                  {},
		"no such file":              {Paths: []string{other + "!"}},
		"a short interval":          {Paths: files, Interval: time.Nanosecond},
		"a threshold that isn't":    {Paths: files, Rules: alerts.Options{Thresholds: map[string]float64{"nonsense": 1}}},
		"an interval below nothing": {Paths: files, Interval: -time.Second},
		"a long interval":           {Paths: files, Interval: 1_000_000 * time.Hour},
		"a rule that isn't":         {Paths: files, IDs: []string{"I01", "Z99"}},
		"a rule without a name":     {Paths: files, IDs: []string{""}},
	} {
		if result, err := backtest.Run(t.Context(), config, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s: %+v", what, result)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := backtest.Run(ctx, backtest.Config{Paths: files}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("an interrupted run gives no error")
	}
}

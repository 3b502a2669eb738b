package metrics_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/peerobserver/peerobserver/exporters/metrics"
	"github.com/peerobserver/peerobserver/exporters/netgroup"
)

// The budget of series of one node: in normal life, and whatever its peers do.
const (
	normalSeries  = 1500
	hostileSeries = 3000
)

// TestLint holds every metric against the naming rules of promlint, with all of them
// having values.
func TestLint(t *testing.T) {
	r := newRig(t, metrics.Config{ProcessMetrics: true})
	r.normalLife(2)
	problems, err := testutil.GatherAndLint(r.sink.Registry())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestSeriesInNormalLife(t *testing.T) {
	r := newRig(t, metrics.Config{ProcessMetrics: true})
	r.normalLife(10)
	samples := gather(t, r.sink.Registry())
	for name, value := range samples {
		if strings.HasPrefix(name, "peerobserver_label_overflow_total") && value != 0 {
			t.Errorf("%s is %v: something normal has no label value of its own", name, value)
		}
	}
	// gather leaves out the +Inf bucket of each histogram.
	series := len(samples)
	for name := range samples {
		if strings.Contains(name, "_count") {
			series++
		}
	}
	t.Logf("%d series", series)
	if series > normalSeries {
		t.Errorf("%d series, the budget is %d", series, normalSeries)
	}
}

// TestHostile sends many events with values that their senders chose (fewer with the
// race detector).
func TestHostile(t *testing.T) {
	n := hostileEvents
	if testing.Short() {
		n = min(n, 50_000)
	}
	// As many prefix lists as there can be, and everybody on all of them.
	lists := map[string]string{}
	for i := range netgroup.MaxLists - 1 {
		path := filepath.Join(t.TempDir(), "list")
		if err := os.WriteFile(path, []byte("0.0.0.0/0\n::/0\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		lists[fmt.Sprintf("list_%d", i)] = path
	}
	networks, err := netgroup.Load(netgroup.Config{Lists: lists}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, metrics.Config{ProcessMetrics: true, Networks: networks})
	r.normalLife(1)
	r.hostile(n / 2)
	middle := memory()
	r.hostile(n / 2)
	after := memory()
	// The node is still polled and lives on.
	r.normalLife(1)
	samples := gather(t, r.sink.Registry())
	series, messages := len(samples), 0.0
	for name, value := range samples {
		if strings.Contains(name, "_count") {
			series++
		}
		if strings.HasPrefix(name, "peerobserver_p2p_messages_total") {
			messages += value
		}
	}
	t.Logf("%d series; heap %d MiB after half of the events, %d MiB after all", series, middle>>20, after>>20)
	if series > hostileSeries {
		t.Errorf("%d series, the budget is %d", series, hostileSeries)
	}
	// The sums are right, whatever was folded.
	if want := samples[`peerobserver_events_total{event="message",source="ebpf"}`]; messages != want {
		t.Errorf("%v messages by type, %v in all", messages, want)
	}
	if samples[`peerobserver_label_overflow_total{label="message"}`] < float64(n)/20 {
		t.Error("folded message types are not counted")
	}
	if after > 96<<20 {
		t.Errorf("%d MiB of heap", after>>20)
	}
	runtime.KeepAlive(r)
}

func memory() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

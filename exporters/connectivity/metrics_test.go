package connectivity

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}

// checkCounts holds the metrics against the script.
func checkCounts(t *testing.T, registry *prometheus.Registry, s *script) {
	t.Helper()
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := map[string]float64{}
	series := 0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			series++
			switch {
			case m.GetCounter() != nil:
				sum[f.GetName()] += m.GetCounter().GetValue()
			case m.GetGauge() != nil:
				sum[f.GetName()] += m.GetGauge().GetValue()
			}
		}
	}
	announced, checks := sum["peerobserver_connectivity_announced_addresses_total"], sum["peerobserver_connectivity_checks_total"]
	// Four times: twice, by two sources.
	if want := float64(4 * len(s.addresses)); announced != want {
		t.Errorf("%v addresses announced, want %v", announced, want)
	}
	if checks != float64(len(s.want)) {
		t.Errorf("%v checks, want %d", checks, len(s.want))
	}
	if skipped := sum["peerobserver_connectivity_skipped_addresses_total"]; skipped+checks != announced {
		t.Errorf("%v skipped and %v checked, but %v announced", skipped, checks, announced)
	}
	if n := sum["peerobserver_connectivity_waiting_addresses"] + sum["peerobserver_connectivity_checks_in_progress"]; n != 0 {
		t.Errorf("%v wait or are being dialed in the end", n)
	}
	if series > 150 {
		t.Errorf("%d series", series)
	}
}

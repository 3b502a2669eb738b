package evidence_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/peerobserver/peerobserver/exporters/evidence"
)

// left gives how much of one kind the sink counts as left out.
func (r *rig) left(what string) float64 {
	return r.metric("peerobserver_evidence_left_out_total", what)
}

// metric gives the value of a metric of the sink; what is the value of its label, empty for
// none.
func (r *rig) metric(name, what string) float64 {
	r.t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name && (what == "" || m.GetLabel()[0].GetValue() == what) {
				return m.GetCounter().GetValue()
			}
		}
	}
	r.t.Fatalf("no metric %s %s", name, what)
	return 0
}

// What is left out is counted, under names that don't depend on what was sent.
func TestLeftOutIsCounted(t *testing.T) {
	series := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "peerobserver_peer_activity_max_per_minute", Help: "x"}, []string{"a"})
	for i := range 700 {
		series.WithLabelValues(fmt.Sprint(i)).Set(1)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(series)
	r := newRig(t, func(c *evidence.Config) { c.Metrics, c.SampleInterval = registry, time.Hour })
	for id := range uint64(1100) {
		r.message(id, "198.51.100.7:4000", "ping", 8)
	}
	var list []string
	for i := range 300 {
		list = append(list, alert("B04", fmt.Sprintf("A%d", i), instance, "firing", began, "1"))
	}
	r.alerts(list...)
	r.eventually("events", func(answer, string) bool { return len(r.events()) == 64 && r.left("sample") > 0 })
	if n := r.left("sample"); n != 700-512 {
		t.Errorf("%v samples, want 188", n)
	}
	if n := r.left("peer"); n < 1100-1024 {
		t.Errorf("%v peers", n)
	}
	if r.left("alert") < 300-256 || r.left("record") < 256-64 {
		t.Errorf("%v alerts, %v records", r.left("alert"), r.left("record"))
	}
	if problems, err := testutil.GatherAndLint(r.registry); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
	if n, err := testutil.GatherAndCount(r.registry); err != nil || n != 6 {
		t.Errorf("%d series, %v", n, err)
	}
}

// Alerts of one rule that began at once are told apart by their labels.
func TestAlertsOfOneRule(t *testing.T) {
	r := newRig(t, nil)
	of := func(source, state string) string {
		return strings.Replace(alert("I06", "PeerObserverSourceDown", instance, state, began, "1"), `{"labels":{`, `{"labels":{"source":"`+source+`",`, 1)
	}
	r.alerts(of("rpc", "firing"), of("log", "pending"))
	r.eventually("both", func(a answer, _ string) bool { return len(a.Records) == 2 })
	r.alerts(of("rpc", "firing"))
	a := r.eventually("one", func(a answer, _ string) bool { return len(a.Records) == 1 })
	if a.Records[0].Labels["source"] != "rpc" || a.Records[0].State != "firing" {
		t.Errorf("the record is %+v", a.Records[0])
	}
	if n := len(r.events()); n != 1 {
		t.Errorf("%d events", n)
	}
}

// The last messages are those that made the alert fire: neither other messages, nor what
// the peer sends afterwards, nor other peers push them out.
func TestMessagesAreThoseOfTheAlert(t *testing.T) {
	r := newRig(t, nil)
	for i := range 100 {
		r.message(7, "198.51.100.7:4000", "ping", uint64(1000+i))
	}
	for range 50 {
		r.message(7, "198.51.100.7:4000", "inv", 37)
		r.message(7, "198.51.100.7:4000", "tx", 200)
	}
	sizes := func(p int, a answer) (list []uint64) {
		for _, m := range a.Records[0].Peers[p].Last {
			if m.Type != "ping" || !m.Inbound {
				t.Errorf("a message that doesn't count: %+v", m)
			}
			list = append(list, m.Size)
		}
		return list
	}
	want := fmt.Sprint([]int{1092, 1093, 1094, 1095, 1096, 1097, 1098, 1099})
	firing := alert("B04", "PeerObserverPingFlood", instance, "firing", began, "100")
	r.alerts(firing)
	a := r.eventually("firing", func(a answer, _ string) bool { return len(a.Records) == 1 && a.Records[0].Fired != nil })
	if got := fmt.Sprint(sizes(0, a)); got != want {
		t.Errorf("the last messages are %s, want %s", got, want)
	}
	// It goes on, and others join in with more.
	for range 500 {
		r.message(7, "198.51.100.7:4000", "ping", 1)
	}
	for id := range uint64(8) {
		for range 2000 {
			r.message(100+id, fmt.Sprintf("203.0.113.%d:1", id), "ping", 2)
		}
	}
	a = r.eventually("the others", func(a answer, _ string) bool {
		return len(a.Records[0].Peers) == 6 && a.Records[0].Peers[4].Measure == 2000 && a.Records[0].Peers[5].Measure == 600
	})
	for i, p := range a.Records[0].Peers {
		if p.AfterFiring != (i < 5) || (p.ID == 7) != (i == 5) {
			t.Errorf("peer %d is %+v", i, p)
		}
	}
	if got := fmt.Sprint(sizes(5, a)); got != want {
		t.Errorf("once it fired, the last messages become %s, want %s", got, want)
	}
	r.alerts()
	r.eventually("its end", func(answer, string) bool { return len(r.events()) == 2 })
	for _, p := range r.events() {
		m := evidenceOf(t, p)
		peer := m.GetPeers()[len(m.GetPeers())-1]
		if peer.GetPeerId() != 7 || peer.GetLastMessages()[0].GetSize() != 1092 || peer.GetLastMessages()[7].GetSize() != 1099 {
			t.Errorf("published is %v", peer)
		}
	}
}

// The clock may be set as it likes: what was counted in a future that never came is
// dropped and counted, newcomers are still remembered, and nothing is counted twice.
func TestClockJumps(t *testing.T) {
	var now atomic.Int64
	now.Store(1_800_000_000)
	r := newRig(t, func(c *evidence.Config) { c.Clock = func() time.Time { return time.Unix(now.Load(), 0) } })
	flood := func(id uint64, n int) {
		for range n {
			r.message(id, fmt.Sprintf("198.51.100.%d:4000", id), "ping", 8)
		}
	}
	measures := func(n int) map[uint64]float64 {
		r.alerts(alert("B04", "PeerObserverPingFlood", instance, "firing", fmt.Sprintf("2026-01-02T03:04:%02dZ", n), "100"))
		a := r.eventually("the record", func(a answer, _ string) bool {
			return len(a.Records) > 0 && a.Records[0].Began.Second() == n && a.Records[0].State == "firing" && len(a.Records[0].Peers) > 0
		})
		got := map[uint64]float64{}
		for _, p := range a.Records[0].Peers {
			got[p.ID] = p.Measure
		}
		return got
	}
	flood(1, 10)
	now.Add(10 * 365 * 86400)
	flood(2, 20)
	if got := measures(1); len(got) != 1 || got[2] != 20 {
		t.Errorf("ten years later: %v", got)
	}
	now.Add(-10 * 365 * 86400)
	flood(3, 30)
	if got := measures(2); len(got) != 1 || got[3] != 30 {
		t.Errorf("back again: %v", got)
	}
	// Some minutes more or less are nothing.
	now.Add(-120)
	flood(3, 5)
	if got := measures(3); got[3] != 35 {
		t.Errorf("two minutes back: %v", got)
	}
	// Windows end as ever.
	now.Add(600)
	flood(4, 1)
	if got := measures(4); len(got) != 1 || got[4] != 1 {
		t.Errorf("ten minutes later: %v", got)
	}
	now.Store(-86400)
	flood(5, 7)
	if got := measures(5); got[5] != 7 {
		t.Errorf("before 1970: %v", got)
	}
	if n := r.metric("peerobserver_evidence_clock_steps_total", ""); n != 2 {
		t.Errorf("%v steps are counted, want 2", n)
	}
	// Those who come after a step back are not the first to be forgotten.
	now.Store(1_700_000_000)
	for id := range uint64(1100) {
		flood(1000+id, 1)
	}
	now.Add(-86400)
	flood(5000, 3)
	for id := range uint64(100) {
		flood(6000+id, 1)
	}
	if got := measures(6); got[5000] != 3 {
		t.Errorf("a newcomer after a step back: %v", got)
	}
	if len(r.events()) == 0 {
		t.Error("nothing is published")
	}
}

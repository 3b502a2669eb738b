package evidence

import (
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/peerobserver/peerobserver/alerts/needs"
)

// Every rule says by what the peers behind it are known, or that none is to blame.
func TestEveryRuleHasMeasure(t *testing.T) {
	rules := map[string]bool{}
	for _, rule := range needs.Rules() {
		rules[rule.ID] = true
		if _, ok := measures()[rule.ID]; !ok {
			t.Errorf("rule %s is missing in exporters/evidence/measure.go: add a line such as\n\t%q: nobody(),\nor with what tells the peers that are to blame, such as opened(), misbehaviours(), cpuTime() or received(…)",
				rule.ID, rule.ID)
		}
	}
	for id := range measures() {
		if !rules[id] {
			t.Errorf("%s is in exporters/evidence/measure.go, and there is no such rule: take its line out", id)
		}
	}
	if measureOf(measures(), "Z99").of == nil {
		t.Error("the operator's own rules have no measure")
	}
}

// Counts are those of the last minutes, whatever the clock does.
func TestWindow(t *testing.T) {
	var w window
	minute := func(n int64) time.Time { return time.Unix(60*n, 0) }
	w.add(minute(100), count{messages: 1})
	w.add(minute(102), count{messages: 2})
	if n := w.sum().messages; n != 3 {
		t.Errorf("%d messages, want 3", n)
	}
	w.add(minute(99), count{messages: 4}) // the clock was put right
	if n := w.sum().messages; n != 7 {
		t.Errorf("%d messages after the clock was put right, want 7", n)
	}
	w.advance(105)
	if n := w.sum().messages; n != 6 {
		t.Errorf("%d messages three minutes later, want 6", n)
	}
	w.advance(1 << 40)
	if n := w.sum().messages; n != 0 {
		t.Errorf("%d messages long after, want 0", n)
	}
	// What was counted in a future that never came doesn't stay for ever.
	w.add(minute(1<<20), count{messages: 1})
	w.add(minute(106), count{messages: 2})
	if n := w.sum().messages; n != 2 {
		t.Errorf("%d messages after the clock came back from the future, want 2", n)
	}
	w.add(time.Unix(-1<<40, 0), count{messages: 3})
	w.advance(4)
	if n := w.sum().messages; n != 3 {
		t.Errorf("%d messages of before 1970, want 3", n)
	}
	w.advance(5)
	if n := w.sum().messages; n != 0 {
		t.Errorf("%d messages of before 1970 five minutes after it, want 0", n)
	}
}

// What is usual is the median of the samples; of a counter that of its growth a second, and
// a restart of it is none.
func TestValues(t *testing.T) {
	var v values
	v.init(map[string]bool{"c": true, "g": true})
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "c", Help: "x"}, []string{"a"})
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "g", Help: "x"})
	registry.MustRegister(counter, gauge)
	now := time.Unix(1_700_000_000, 0)
	sample := func() {
		v.sample(registry, now)
		now = now.Add(time.Minute)
	}
	gauge.Set(3)
	counter.WithLabelValues("b").Add(1)
	sample()
	for range 100 {
		counter.WithLabelValues("b").Add(600)
		sample()
	}
	now = now.Add(-50 * time.Second)
	counter.WithLabelValues("b").Add(5000)
	counter.WithLabelValues("new").Add(20)
	gauge.Set(4)
	want := []value{
		{Series: `c{a="b"}`, PerSecond: true, Now: 500, Usual: 10, Samples: samples},
		{Series: `c{a="new"}`, PerSecond: true, Now: 2},
		{Series: "g", Now: 4, Usual: 3, Samples: samples},
	}
	if list := v.of([]string{"c", "g"}, v.gather(registry), now); !slices.Equal(list, want) {
		t.Errorf("values: %+v, want %+v", list, want)
	}
	counter.Reset()
	counter.WithLabelValues("b").Add(1)
	if list := v.of([]string{"c"}, v.gather(registry), now); len(list) != 1 || list[0].Now != 0 || list[0].Usual != 10 {
		t.Errorf("after a restart: %+v", list)
	}
	for i := range 2 * maxSeries {
		counter.WithLabelValues(time.Duration(i).String()).Add(1)
	}
	sample()
	if len(v.series) != maxSeries || v.left.Value() == 0 {
		t.Errorf("%d series, %d left out", len(v.series), v.left.Value())
	}
}

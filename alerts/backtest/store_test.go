package backtest

import (
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/peerobserver/peerobserver/alerts"
)

// What is kept is what the rules look back to, whatever is scraped for how long.
func TestStoreIsBounded(t *testing.T) {
	rules, err := loadRules(alerts.Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	week := (7*24*time.Hour + lookback).Milliseconds()
	for name, keep := range map[string]int64{
		"peerobserver:stale_tips": week, "peerobserver_orphans": lookback.Milliseconds(), "peerobserver_link_up": (lookback + time.Minute).Milliseconds(),
	} {
		if rules.keep[name] != keep {
			t.Errorf("%s is kept for %d ms, want %d", name, rules.keep[name], keep)
		}
	}
	st := newStore(map[string]int64{"a": time.Minute.Milliseconds()}, 0)
	one := st.create("a", []byte("x"), labels.FromStrings(model.MetricNameLabel, "a", "x", "y"))
	for round := range uint64(10_000) {
		t := int64(round) * 15_000
		one.append(sample{t, 1}, t-st.keep["a"])
		one.round = round
		st.end([]string{"a"}, t, round)
	}
	if len(st.series) != 1 || len(st.series["a"]) != 1 {
		t.Fatalf("%d metrics", len(st.series))
	}
	for _, one := range st.series["a"] {
		if len(one.samples) > 12 {
			t.Errorf("%d samples of a minute", len(one.samples))
		}
	}
	// A series that has gone is marked once, and forgotten after a while.
	for round := range uint64(3) {
		st.end([]string{"a"}, 150_000_000+int64(round), 20_000+round)
	}
	for _, one := range st.series["a"] {
		if n := len(one.samples); one.samples[n-1].t != 150_000_000 {
			t.Errorf("the last sample is of %d", one.samples[n-1].t)
		}
	}
	st.end([]string{"a"}, 151_000_000, 30_000)
	if len(st.series["a"]) != 0 {
		t.Error("what has gone is kept")
	}
}

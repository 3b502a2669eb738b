package backtest

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// An alert that is kept goes on through a pause of its condition that is shorter than that,
// and ends so long after the last time; one that is pending isn't kept.
func TestKeepFiring(t *testing.T) {
	r := &rule{Alert: "Kept", Expr: "x > 0", For: "1m", Keep: "3m"}
	if err := r.parse(); err != nil {
		t.Fatal(err)
	}
	begin, result := time.Unix(1_700_000_000, 0).UTC(), &Result{}
	l := labels.FromStrings(labels.AlertName, r.Alert)
	for minute, holds := range []bool{
		true, false, // pending
		true, true, true, false, false, true, true, false, false, false, false, // fires from 3 to 12
		true, true, true, // fires again
	} {
		at := begin.Add(time.Duration(minute) * time.Minute)
		if holds {
			r.holds(l, 1, at, result)
		}
		r.rest(at, result)
	}
	if len(result.Alerts) != 2 {
		t.Fatalf("fired %d times: %+v", len(result.Alerts), result.Alerts)
	}
	for i, want := range []struct{ began, fired, ended int }{{2, 3, 12}, {13, 14, 0}} {
		a := result.Alerts[i]
		minutes := func(at time.Time) int { return int(at.Sub(begin) / time.Minute) }
		ended := 0
		if a.Ended != nil {
			ended = minutes(*a.Ended)
		}
		if minutes(a.Began) != want.began || minutes(a.Fired) != want.fired || ended != want.ended {
			t.Errorf("%d: began %d, fired %d, ended %d, want %+v", i, minutes(a.Began), minutes(a.Fired), ended, want)
		}
	}
	if err := (&rule{Expr: "x", Keep: "soon"}).parse(); err == nil {
		t.Error("a span that isn't one was taken")
	}
}

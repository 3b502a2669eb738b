package peerstate

import (
	"math"
	"testing"
	"time"
)

// An honest peer pings the node twice a minute, whatever the clock does: its rate stays what
// it is, every step is told once, and the peer is known again.
func TestClockIsSet(t *testing.T) {
	f := newFeeder(t)
	steps := map[Step]int{}
	live := func(d time.Duration) (highest float64) {
		for end := f.now.Add(d); f.now.Before(end); f.now = f.now.Add(time.Second) {
			command := "inv"
			if f.now.Unix()%30 == 0 {
				command = "ping"
			}
			o := f.message(7, true, command, 8)
			if o.Stepped != 0 {
				steps[o.Stepped]++
			}
			if o.Summary != nil {
				highest = max(highest, o.Summary.Activity[ActivityPings])
			}
		}
		return highest
	}
	usual := live(20 * time.Minute)
	if usual < 1 || usual > 5 {
		t.Fatalf("%v pings a minute before anything happens", usual)
	}
	for name, d := range map[string]time.Duration{
		"a day back": -24 * time.Hour, "an hour ahead": time.Hour, "ten years back": -10 * 365 * 24 * time.Hour, "30 years ahead": 30 * 365 * 24 * time.Hour,
	} {
		f.now = f.now.Add(d)
		// Until the step is believed, what comes counts for the last minute that there was.
		live(3 * time.Minute)
		if highest := live(time.Hour); highest < 1 || highest > 5 {
			t.Errorf("%s: %v pings a minute", name, highest)
		}
		if at := f.state.Now(); f.now.UnixNano()-at > int64(time.Minute) || f.now.UnixNano() < at {
			t.Errorf("%s: the clock is %v, it is %v", name, time.Unix(0, at), f.now)
		}
		if f.state.Peer(7) == nil || f.state.lossEpoch != 0 {
			t.Errorf("%s: the peer is unknown, or a loss is seen that is none", name)
		}
	}
	if steps[StepBack] != 2 || steps[StepForward] != 1 {
		t.Errorf("steps %v", steps)
	}
}

// Odd times, however many, move the clock no further than one of them may, and no step is
// made of times that don't agree.
func TestOddTimes(t *testing.T) {
	f := newFeeder(t)
	began := f.now
	f.message(7, true, "ping", 8)
	odd := []time.Time{
		time.Unix(0, math.MaxInt64), time.Unix(0, math.MinInt64), time.Unix(0, 0), time.Unix(0, -1), began.Add(-time.Hour), began.Add(-2 * time.Hour),
		began.Add(2 * 366 * 24 * time.Hour),
	}
	for i := range 10_000 {
		f.now = odd[i%len(odd)]
		if o := f.message(7, true, "ping", 8); o.Stepped != 0 {
			t.Fatalf("event %d: a step", i)
		}
	}
	if at := f.state.Now(); at != began.UnixNano() {
		t.Errorf("the clock is %v", time.Unix(0, at))
	}
	// Fewer than it takes, and the clock goes on.
	for range stepEvents - 1 {
		f.now = began.Add(-time.Hour)
		f.message(7, true, "ping", 8)
	}
	f.now = began.Add(time.Second)
	if o := f.message(7, true, "ping", 8); o.Stepped != 0 || f.state.Now() != f.now.UnixNano() {
		t.Errorf("step %d, the clock is %v", o.Stepped, time.Unix(0, f.state.Now()))
	}
}

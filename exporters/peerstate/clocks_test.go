package peerstate

import (
	"math"
	"testing"
	"time"
)

func TestClocks(t *testing.T) {
	const start = int64(1_700_000_000e9)
	var c clocks
	now := start
	say := func(count int, ahead int64) {
		for range count {
			now += int64(time.Second)
			c.add(Outbound, now/1e9+ahead, now, now)
		}
	}
	want := func(what string, low, high float64) {
		t.Helper()
		if got := c.offset(Outbound, now); !(got >= low && got <= high) {
			t.Errorf("%s: offset %v, want %v to %v", what, got, low, high)
		}
	}
	say(fewestClocks-1, 0)
	if got := c.offset(Outbound, now); !math.IsNaN(got) {
		t.Errorf("of %d peers: offset %v, want none", fewestClocks-1, got)
	}
	say(10, 0)
	want("right", -0.5, 0.5)
	say(8, math.MaxInt64-now/1e9-100)
	say(8, math.MinInt64)
	want("some have no idea", -0.5, 0.5)
	if got := c.offset(Inbound, now); !math.IsNaN(got) {
		t.Errorf("of no inbound peer: offset %v, want none", got)
	}
	say(clockSamples, 0)
	say(clockSamples/2, 120)
	want("half", -0.5, 0.5)
	say(1, 120)
	want("more than half", 119.5, 120.5)
	say(clockSamples, -7)
	want("behind", -7.5, -6.5)
	now += clockMemory + int64(time.Second)
	if got := c.offset(Outbound, now); !math.IsNaN(got) {
		t.Errorf("an hour later: offset %v, want none", got)
	}
}

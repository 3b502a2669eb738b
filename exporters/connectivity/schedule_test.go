package connectivity

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/exporters/netgroup"
)

func at(text string, port uint16) *announcement {
	return &announcement{target: target{netgroup.FromIP(netip.MustParseAddr(text)), port}}
}

func scheduleOf(t *testing.T, c Config) *schedule {
	t.Helper()
	c.Output = "unused"
	if err := c.validate(); err != nil {
		t.Fatal(err)
	}
	return newSchedule(&c)
}

func wantSkip(t *testing.T, got, want skipReason) {
	t.Helper()
	if got != want {
		t.Errorf("skipped for %q, want %q", got, want)
	}
}

// One of a group at a time, fair between groups, whatever one of them has announced.
func TestGroupsTakeTurns(t *testing.T) {
	s := scheduleOf(t, Config{NetgroupInterval: time.Second})
	now := time.Unix(1_700_000_000, 0)
	for i := range 100 {
		wantSkip(t, s.offer(at(fmt.Sprintf("8.8.1.%d", i), 8333), now), "")
	}
	wantSkip(t, s.offer(at("9.9.9.9", 8333), now), "")
	wantSkip(t, s.offer(at("9.9.9.9", 8333), now), skipWaiting)
	var taken []string
	for step := range 4 {
		for {
			a, ok := s.take(now.Add(time.Duration(step) * time.Second))
			if !ok {
				break
			}
			taken = append(taken, fmt.Sprint(step, " ", a.hostPort()))
		}
	}
	want := []string{"0 8.8.1.0:8333", "0 9.9.9.9:8333", "1 8.8.1.1:8333", "2 8.8.1.2:8333", "3 8.8.1.3:8333"}
	if fmt.Sprint(taken) != fmt.Sprint(want) {
		t.Errorf("taken %q, want %q", taken, want)
	}
	if n := s.next(now.Add(3 * time.Second)); n != time.Second {
		t.Errorf("next in %v", n)
	}
	if f := s.fill(); f.waiting != 96 || f.dialing != 5 || len(s.groups) != 1 {
		t.Errorf("%+v, %d groups", f, len(s.groups))
	}
}

// Neither one group nor all together grow beyond their bounds, and a group that has
// nothing left is forgotten.
func TestScheduleIsBounded(t *testing.T) {
	s := scheduleOf(t, Config{Queue: 160})
	now := time.Unix(1_700_000_000, 0)
	count := map[skipReason]int{}
	for i := range 250 {
		count[s.offer(at(fmt.Sprintf("8.8.1.%d", i), 8333), now)]++
	}
	if count[""] != 10 || count[skipGroupFull] != 240 {
		t.Errorf("%v", count)
	}
	for i := range 100_000 {
		count[s.offer(at(fmt.Sprintf("%d.%d.1.1", 20+i%200, i/200%250), uint16(1024+i%60000)), now)]++
	}
	if s.fill().waiting != 160 || len(s.known) != 160 || len(s.groups) != 151 || count[skipQueueFull] < 90_000 {
		t.Errorf("%+v, %d known, %d groups, %v", s.fill(), len(s.known), len(s.groups), count)
	}
	for range 400 {
		now = now.Add(time.Second)
		for a, ok := s.take(now); ok; a, ok = s.take(now) {
			s.done(a.target, ResultRefused, now)
		}
	}
	if s.fill().waiting != 0 || len(s.known) != 0 || len(s.groups) != 0 || len(s.due) != 0 {
		t.Errorf("%+v, %d known, %d groups, %d due", s.fill(), len(s.known), len(s.groups), len(s.due))
	}
}

// What was dialed isn't dialed again for its time; what says nothing of the address is.
func TestRecentResultsAreKept(t *testing.T) {
	s := scheduleOf(t, Config{SuccessTTL: time.Hour, FailureTTL: 10 * time.Minute, HostInterval: time.Minute})
	now := time.Unix(1_700_000_000, 0)
	dial := func(a *announcement, r Result) {
		t.Helper()
		wantSkip(t, s.offer(a, now), "")
		taken, ok := s.take(now)
		if !ok || taken.target != a.target {
			t.Fatalf("took %v, %v", taken, ok)
		}
		s.done(taken.target, r, now)
	}
	yes, no, unknown := at("8.1.1.1", 8333), at("8.2.1.1", 8333), at("8.3.1.1", 8333)
	dial(yes, ResultSuccess)
	dial(no, ResultTooMuch)
	dial(unknown, ResultProxy)
	now = now.Add(59 * time.Second)
	wantSkip(t, s.offer(at("8.1.1.1", 8334), now), skipRecentHost)
	wantSkip(t, s.offer(unknown, now), skipRecentHost)
	now = now.Add(time.Second)
	wantSkip(t, s.offer(yes, now), skipRecentSuccess)
	wantSkip(t, s.offer(no, now), skipRecentFailure)
	dial(unknown, ResultSuccess)
	now = now.Add(9 * time.Minute)
	dial(no, ResultRefused)
	wantSkip(t, s.offer(yes, now), skipRecentSuccess)
	now = now.Add(50 * time.Minute)
	dial(yes, ResultSuccess)
}

// Two ports of one host that were announced at once are not both dialed.
func TestHostsAreNotScanned(t *testing.T) {
	s := scheduleOf(t, Config{NetgroupInterval: time.Millisecond})
	now := time.Unix(1_700_000_000, 0)
	for port := range uint16(50) {
		wantSkip(t, s.offer(at("8.1.1.1", 8000+port), now), "")
	}
	dialed := 0
	for range 200 {
		now = now.Add(10 * time.Millisecond)
		if _, ok := s.take(now); ok {
			dialed++
		}
	}
	if dialed != 1 || s.fill().waiting != 0 || len(s.known) != 1 {
		t.Errorf("%d ports dialed, %+v", dialed, s.fill())
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache[int](time.Minute, 100)
	now := time.Unix(1_700_000_000, 0)
	for i := range 10_000 {
		c.add(i, now.Add(time.Duration(i)*time.Millisecond))
	}
	now = now.Add(10 * time.Second)
	if c.len() != 100 || len(c.order) > 400 || c.has(9_899, now) || !c.has(9_900, now) {
		t.Errorf("%d entries, %d in order", c.len(), len(c.order))
	}
	c.add(9_900, now) // keeps its time
	if now = now.Add(59_900 * time.Millisecond); c.has(9_900, now) || !c.has(9_950, now) && c.len() != 50 {
		t.Errorf("%d entries", c.len())
	}
	if c.has(9_999, now.Add(time.Minute)) || c.len() != 0 {
		t.Errorf("%d entries in the end", c.len())
	}
}

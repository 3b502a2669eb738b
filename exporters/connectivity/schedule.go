package connectivity

import (
	"container/heap"
	"sync"
	"time"

	"github.com/peerobserver/peerobserver/exporters/netgroup"
)

// groupShare is the part of the queue that one group of addresses may fill: whoever
// has one network shall not crowd out the others.
const groupShare = 16

// skipReason is why an announced address isn't dialed.
type skipReason string

// The reasons; they are label values.
const (
	skipMalformed     skipReason = "malformed"
	skipNotRoutable   skipReason = "not_routable"
	skipExcluded      skipReason = "excluded"
	skipPort          skipReason = "port"
	skipNoProxy       skipReason = "no_proxy"
	skipWaiting       skipReason = "waiting"
	skipRecentSuccess skipReason = "recent_success"
	skipRecentFailure skipReason = "recent_failure"
	skipRecentHost    skipReason = "recent_host"
	skipQueueFull     skipReason = "queue_full"
	skipGroupFull     skipReason = "group_full"
)

func skipReasons() []skipReason {
	return []skipReason{
		skipMalformed, skipNotRoutable, skipExcluded, skipPort, skipNoProxy, skipWaiting,
		skipRecentSuccess, skipRecentFailure, skipRecentHost, skipQueueFull, skipGroupFull,
	}
}

// schedule is the bounded queue of targets without duplicates. It gives out one of a
// group at a time, and the next one not before an interval has passed; between groups
// it is fair.
type schedule struct {
	max, groupMax          int
	interval, hostInterval time.Duration

	mu sync.Mutex
	// known holds the targets that wait or are being dialed.
	known            map[target]struct{}
	groups           map[netgroup.Group]*group
	due              groupHeap
	waiting, dialing int
	success, failure *cache[target]
	hosts            *cache[netgroup.Address]
	// changed wakes one that waits in take.
	changed chan struct{}
}

// group is the targets of one group that wait.
type group struct {
	key     netgroup.Group
	targets []announcement
	// next is when the next one may be dialed, number decides between equal times.
	next   time.Time
	number uint64
	index  int
}

func newSchedule(c *Config) *schedule {
	return &schedule{
		max: c.Queue, groupMax: max(1, c.Queue/groupShare), interval: c.NetgroupInterval, hostInterval: c.HostInterval,
		known: map[target]struct{}{}, groups: map[netgroup.Group]*group{},
		success: newCache[target](c.SuccessTTL, c.CacheEntries),
		failure: newCache[target](c.FailureTTL, c.CacheEntries),
		hosts:   newCache[netgroup.Address](c.HostInterval, c.CacheEntries),
		changed: make(chan struct{}, 1),
	}
}

// offer takes a target into the queue, or says why not.
func (s *schedule) offer(a *announcement, now time.Time) skipReason {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.known[a.target]; ok {
		return skipWaiting
	}
	switch {
	case s.success.has(a.target, now):
		return skipRecentSuccess
	case s.failure.has(a.target, now):
		return skipRecentFailure
	case s.hosts.has(a.address, now):
		return skipRecentHost
	case s.waiting >= s.max:
		return skipQueueFull
	}
	key := netgroup.GroupOf(&a.address, nil)
	g := s.groups[key]
	if g == nil {
		g = &group{key: key, next: now, number: uint64(len(s.groups))}
		s.groups[key] = g
		heap.Push(&s.due, g)
	}
	if len(g.targets) >= s.groupMax {
		return skipGroupFull
	}
	g.targets = append(g.targets, *a)
	s.known[a.target] = struct{}{}
	s.waiting++
	s.wake()
	return ""
}

func (s *schedule) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// next is when to ask again; zero for when something has changed.
func (s *schedule) next(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.due) == 0 {
		return 0
	}
	return max(s.due[0].next.Sub(now), time.Millisecond)
}

// take gives the next target that may be dialed now.
func (s *schedule) take(now time.Time) (a announcement, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.due) > 0 {
		g := s.due[0]
		if now.Before(g.next) {
			return a, false
		}
		if len(g.targets) == 0 {
			// Its interval has passed: nothing needs to be remembered of it.
			heap.Pop(&s.due)
			delete(s.groups, g.key)
			continue
		}
		a = g.targets[0]
		g.targets[0] = announcement{}
		g.targets = g.targets[1:]
		s.waiting--
		g.next = now.Add(s.interval)
		heap.Fix(&s.due, g.index)
		// Another port of the host may have been dialed since it was taken in.
		if s.hosts.has(a.address, now) {
			delete(s.known, a.target)
			continue
		}
		s.hosts.add(a.address, now)
		s.dialing++
		return a, true
	}
	return a, false
}

// done ends the dialing of a target. A result that says nothing of it isn't kept.
func (s *schedule) done(t target, result Result, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, t)
	s.dialing--
	switch {
	case result == ResultSuccess:
		s.success.add(t, now)
	case result.aboutTarget():
		s.failure.add(t, now)
	}
}

// fill is what the queue and the caches hold.
type fill struct{ waiting, dialing, success, failure int }

func (s *schedule) fill() fill {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fill{s.waiting, s.dialing, s.success.len(), s.failure.len()}
}

// groupHeap is ordered by time.
type groupHeap []*group

func (h groupHeap) Len() int { return len(h) }
func (h groupHeap) Less(i, j int) bool {
	if c := h[i].next.Compare(h[j].next); c != 0 {
		return c < 0
	}
	return h[i].number < h[j].number
}
func (h groupHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *groupHeap) Push(x any) {
	if g, ok := x.(*group); ok {
		g.index = len(*h)
		*h = append(*h, g)
	}
}

// Pop implements heap.Interface.
func (h *groupHeap) Pop() any {
	last := (*h)[len(*h)-1]
	(*h)[len(*h)-1] = nil
	*h = (*h)[:len(*h)-1]
	return last
}

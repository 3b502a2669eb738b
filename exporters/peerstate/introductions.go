package peerstate

import (
	"slices"
	"time"

	"github.com/peerobserver/peerobserver/exporters/netgroup"
)

const (
	// introducedGroups is the number of network groups whose introductions are counted at
	// a time. When there are more, the group with the smallest count gives way.
	introducedGroups = 512
	// introductionWindow is the length of a window of introductions in nanoseconds; this one
	// and the one before are looked at together.
	introductionWindow = int64(30 * time.Minute)
	// agentsPerGroup bounds the user agents that are remembered of a group.
	agentsPerGroup = 64
	// rotatingVersions is from how many connections of a group on its user agents say that
	// they are rotated: fewer may be as many people behind one address.
	rotatingVersions = 20
)

// introductions follows how inbound peers introduce themselves and what they ask for, by
// network group: a /16 of IPv4 or a /32 of IPv6. An autonomous system is too coarse here,
// because large hosters have hundreds of nodes of all versions.
type introductions struct {
	current, previous introduced
	window            int64
}

// introduced is what groups did in one window.
type introduced struct {
	index  map[netgroup.Group]int
	groups []introduction
}

// introduction is what one group did.
type introduction struct {
	group netgroup.Group
	// rank is what is counted of the group and, when it took the place of another one, of
	// that: with it no number of groups that appear once drives out one that comes often
	// (Metwally, Agrawal, El Abbadi 2005: Space-Saving).
	rank uint64
	// versions and getAddrs are messages of these types since the group is counted.
	versions, getAddrs uint64
	// agents are the hashes of its user agents, in order.
	agents []uint64
}

func (w *introduced) init() {
	w.index = make(map[netgroup.Group]int)
}

func (w *introduced) reset() {
	clear(w.index)
	clear(w.groups)
	w.groups = w.groups[:0]
}

// of gives the counts of a group in this window, making them.
func (w *introduced) of(g netgroup.Group) *introduction {
	if i, ok := w.index[g]; ok {
		return &w.groups[i]
	}
	if len(w.groups) < introducedGroups {
		w.index[g] = len(w.groups)
		w.groups = append(w.groups, introduction{group: g})
		return &w.groups[len(w.groups)-1]
	}
	least := 0
	for i := range w.groups {
		if w.groups[i].rank < w.groups[least].rank {
			least = i
		}
	}
	place := &w.groups[least]
	delete(w.index, place.group)
	w.index[g] = least
	*place = introduction{group: g, rank: place.rank}
	return place
}

func (s *introductions) init() {
	s.current.init()
	s.previous.init()
}

func (s *introductions) advance(now int64) {
	window := now / introductionWindow
	switch {
	case window == s.window:
		return
	case window == s.window+1:
		s.current, s.previous = s.previous, s.current
	default:
		s.previous.reset()
	}
	s.current.reset()
	s.window = window
}

// introducedGroup is the group under which the introductions of a peer are counted; false
// for an outbound peer, and for one of an overlay network: its group says nothing about who
// somebody is.
func introducedGroup(p *Peer) (g netgroup.Group, ok bool) {
	if !p.Inbound || !p.HasAddress || p.Network == netgroup.Onion || p.Network == netgroup.I2P {
		return g, false
	}
	g = netgroup.GroupOf(&p.Address, nil)
	return g, g.Class == netgroup.IPv4 || g.Class == netgroup.IPv6
}

// version notes what a peer calls itself.
func (s *introductions) version(p *Peer, now int64) {
	g, ok := introducedGroup(p)
	if !ok {
		return
	}
	s.advance(now)
	of := s.current.of(g)
	of.rank++
	of.versions++
	if i, known := slices.BinarySearch(of.agents, p.UserAgent); !known && len(of.agents) < agentsPerGroup {
		of.agents = slices.Insert(of.agents, i, p.UserAgent)
	}
}

// getAddr notes that a peer asks for addresses.
func (s *introductions) getAddr(p *Peer, now int64) {
	g, ok := introducedGroup(p)
	if !ok {
		return
	}
	s.advance(now)
	of := s.current.of(g)
	of.rank++
	of.getAddrs++
}

// introductionsOfGroups is the most that one group did within the last half hour to hour.
type introductionsOfGroups struct {
	// agents are user agents, rotated those of a group with rotatingVersions connections or
	// more; both at most agentsPerGroup.
	agents, rotated int
	getAddrs        uint64
}

// most gives the largest numbers of any group.
func (s *introductions) most(now int64) introductionsOfGroups {
	s.advance(now)
	var m introductionsOfGroups
	note := func(a, b *introduction) {
		agents := min(united(a.agents, b.agents), agentsPerGroup)
		m.agents = max(m.agents, agents)
		if a.versions+b.versions >= rotatingVersions {
			m.rotated = max(m.rotated, agents)
		}
		m.getAddrs = max(m.getAddrs, a.getAddrs+b.getAddrs)
	}
	var none introduction
	for i := range s.current.groups {
		current, before := &s.current.groups[i], &none
		if j, both := s.previous.index[current.group]; both {
			before = &s.previous.groups[j]
		}
		note(current, before)
	}
	for i := range s.previous.groups {
		if before := &s.previous.groups[i]; !s.current.has(before.group) {
			note(before, &none)
		}
	}
	return m
}

func (w *introduced) has(g netgroup.Group) bool {
	_, ok := w.index[g]
	return ok
}

// united is how many values are in one of two lists, which are in order.
func united(a, b []uint64) int {
	n := len(a) + len(b)
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] < b[j]:
			i++
		case a[i] > b[j]:
			j++
		default:
			i, j, n = i+1, j+1, n-1
		}
	}
	return n
}

package peerstate

import (
	"math"
	"slices"
	"time"

	"github.com/peerobserver/peerobserver/exporters/netgroup"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// Reach is what tells an eclipse: who holds the connections that the node opened itself,
// and whether few networks hold those of others. NaN where it can't be known.
type Reach struct {
	// OldestOutbound is how long the oldest connection that the node opened itself and
	// keeps (full-relay or block-relay-only) has been open, in seconds.
	OldestOutbound float64
	// AddressAge is the median, over these connections, of the time since their address
	// was first heard of, in seconds.
	AddressAge float64
	// Memory is since when addresses are remembered, in seconds: AddressAge can't be more.
	Memory float64
	// Clearnet counts the inbound peers of IPv4 and IPv6, ClearnetTop is the share of the
	// largest network group among them.
	Clearnet    int
	ClearnetTop float64
}

// heard remembers when the addresses of the node's address manager were first heard of.
// It is filled from getrawaddrman and getpeerinfo, never from what peers send, and holds
// what the address manager does: at most 81,920 addresses.
type heard struct {
	// since is when the first answer of getrawaddrman came, in UNIX nanoseconds; 0 before.
	since int64
	// first is by hash of the address without its port, in UNIX seconds; last what the
	// answers since then have added to replace it.
	first map[uint64]int64
	next  map[uint64]int64
}

// maxHeard bounds the addresses, should an answer hold more than an address manager can.
const maxHeard = (newBuckets + triedBuckets) * bucketSize

// begin starts a pass over all addresses of the address manager.
func (h *heard) begin() { h.next = make(map[uint64]int64, len(h.first)+len(h.first)/8) }

// entry notes an address of the pass.
func (h *heard) entry(address uint64, now int64) {
	if _, there := h.next[address]; !there && len(h.next) < maxHeard {
		first, known := h.first[address]
		if !known {
			first = now
		}
		h.next[address] = first
	}
}

// end forgets the addresses that the pass didn't find.
func (h *heard) end(now int64) {
	h.first, h.next = h.next, nil
	if h.since == 0 {
		h.since = now
	}
}

// reachOf describes the connections of an answer of getpeerinfo.
func (s *State) reachOf(infos []*eventpb.PeerInfo) Reach {
	r := Reach{OldestOutbound: math.NaN(), AddressAge: math.NaN(), Memory: math.NaN(), ClearnetTop: math.NaN()}
	now := s.now / int64(time.Second)
	if s.heard.since != 0 {
		r.Memory = float64(s.now-s.heard.since) / 1e9
	}
	var ages []int64
	groups := map[netgroup.Group]int{}
	for _, info := range infos {
		switch {
		case info.GetInbound():
			if n := networkNamed(info.GetNetwork()); n == netgroup.IPv4 || n == netgroup.IPv6 {
				groups[s.groupOf(info)]++
			}
		case info.GetConnectionType() == "outbound-full-relay" || info.GetConnectionType() == "block-relay-only":
			r.OldestOutbound = max(zeroIfNaN(r.OldestOutbound), float64(now-info.GetConnectionTime()))
			host, _ := netgroup.SplitHostPort([]byte(info.GetAddress()))
			ages = append(ages, now-s.heardOf(s.hash(host), now))
		}
	}
	if s.heard.since != 0 && len(ages) > 0 {
		slices.Sort(ages)
		r.AddressAge = float64(ages[len(ages)/2])
	}
	if c := concentrationOf(groups); c.Total > 0 {
		r.Clearnet, r.ClearnetTop = c.Total, c.Top
	}
	return r
}

// heardOf is when an address was first heard of; now when it wasn't.
func (s *State) heardOf(address uint64, now int64) int64 {
	if first, known := s.heard.first[address]; known {
		return first
	}
	if s.heard.first != nil && len(s.heard.first) < maxHeard {
		s.heard.first[address] = now
	}
	return now
}

// groupOf gives the network group of a peer, the autonomous system where it is known.
func (s *State) groupOf(info *eventpb.PeerInfo) netgroup.Group {
	address, group, ok := s.placeOf(info)
	as := info.GetMappedAs()
	if ok {
		if own := s.networks.Current().ASOf(&address); own != 0 {
			as = own
		}
	}
	if as != 0 {
		return netgroup.Group{Class: netgroup.IPv6, AS: as}
	}
	return group
}

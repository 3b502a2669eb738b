package peerstate

import (
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// What is known of an address counts from the first poll that has it, and is forgotten with
// the poll that hasn't.
func TestReach(t *testing.T) {
	s := New(Config{})
	begin := time.Unix(1_700_000_000, 0)
	at := func(d time.Duration) { s.now = begin.Add(d).UnixNano() }
	poll := func(hosts ...string) {
		s.heard.begin()
		for _, host := range hosts {
			s.heard.entry(s.hash([]byte(host)), s.now/int64(time.Second))
		}
		s.heard.end(s.now)
	}
	peer := func(address, kind string, since time.Duration) *eventpb.PeerInfo {
		inbound, network, connected := kind == "inbound", "ipv4", begin.Add(since).Unix()
		return &eventpb.PeerInfo{Address: &address, Network: &network, Inbound: &inbound, ConnectionType: &kind, ConnectionTime: &connected}
	}
	at(0)
	r := s.reachOf([]*eventpb.PeerInfo{peer("20.1.0.1:8333", "outbound-full-relay", -time.Hour)})
	if r.OldestOutbound != 3600 || r.AddressAge == r.AddressAge || r.Memory == r.Memory || r.ClearnetTop == r.ClearnetTop {
		t.Errorf("before a poll: %+v, want no age of addresses", r)
	}
	poll("20.1.0.1", "20.2.0.1")
	at(time.Hour)
	poll("20.1.0.1", "20.2.0.1", "20.3.0.1")
	at(2 * time.Hour)
	r = s.reachOf([]*eventpb.PeerInfo{
		peer("20.1.0.1:8333", "outbound-full-relay", 0),
		peer("20.3.0.1:8333", "block-relay-only", time.Hour),
		peer("20.4.0.1:8333", "outbound-full-relay", time.Hour),
		peer("20.9.0.1:8333", "feeler", -time.Hour),
		peer("20.5.0.1:5000", "inbound", 0),
		peer("20.5.0.2:5000", "inbound", 0),
		peer("20.6.0.1:5000", "inbound", 0),
	})
	if r.OldestOutbound != 7200 || r.AddressAge != 3600 || r.Memory != 7200 {
		t.Errorf("%+v, want 7200, 3600, 7200", r)
	}
	if r.Clearnet != 3 || r.ClearnetTop < 0.66 || r.ClearnetTop > 0.67 {
		t.Errorf("%d inbound, top %v, want 3 and two thirds", r.Clearnet, r.ClearnetTop)
	}
	poll("20.1.0.1")
	if _, there := s.heard.first[s.hash([]byte("20.3.0.1"))]; there || len(s.heard.first) != 1 {
		t.Errorf("%d addresses remembered, want the one of the last poll", len(s.heard.first))
	}
}

// No poll and no peer make the memory larger than an address manager.
func TestReachIsBounded(t *testing.T) {
	s := New(Config{})
	s.heard.begin()
	for i := range uint64(maxHeard) + 1000 {
		s.heard.entry(i, 1)
	}
	s.heard.end(1)
	if len(s.heard.first) != maxHeard {
		t.Errorf("%d addresses, want %d", len(s.heard.first), maxHeard)
	}
	if s.heardOf(1<<63, 7); len(s.heard.first) != maxHeard {
		t.Errorf("%d addresses after a peer, want %d", len(s.heard.first), maxHeard)
	}
}

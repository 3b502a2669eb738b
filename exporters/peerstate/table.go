package peerstate

import (
	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/exporters/netgroup"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// table holds the peers, in the order of their last sign of life.
type table struct {
	peers map[peerKey]*Peer
	// ends is before the newest and behind the oldest peer.
	ends Peer
	// last is the peer of the last look-up, which the next one often asks for too.
	last *Peer
}

func (t *table) init() {
	t.peers = make(map[peerKey]*Peer, 256)
	t.ends.newer, t.ends.older = &t.ends, &t.ends
}

// find gives the peer with the key, nil when there is none.
func (t *table) find(key peerKey) *Peer {
	if t.last != nil && t.last.key == key {
		return t.last
	}
	p := t.peers[key]
	if p != nil {
		t.last = p
	}
	return p
}

func (t *table) touch(p *Peer, now int64) {
	p.lastSeen = now
	if t.ends.older == p {
		return
	}
	p.newer.older, p.older.newer = p.older, p.newer
	t.link(p)
}

// link puts p in front.
func (t *table) link(p *Peer) {
	p.newer, p.older = &t.ends, t.ends.older
	p.older.newer = p
	t.ends.older = p
}

// add makes a peer, forgetting the most silent one when there are too many.
func (t *table) add(key peerKey, now int64) (p, forgotten *Peer) {
	if len(t.peers) >= maxPeers {
		forgotten = t.ends.newer
		t.remove(forgotten)
	}
	p = &Peer{key: key, lastSeen: now, Opened: now, addrTokens: 1, addrTime: now}
	t.peers[key] = p
	t.link(p)
	t.last = p
	return p, forgotten
}

func (t *table) remove(p *Peer) {
	delete(t.peers, p.key)
	p.newer.older, p.older.newer = p.older, p.newer
	p.newer, p.older = nil, nil
	if t.last == p {
		t.last = nil
	}
}

// each calls f for every peer, the newest sign of life first; f may remove the peer.
func (t *table) each(f func(*Peer)) {
	for p := t.ends.older; p != &t.ends; {
		next := p.older
		f(p)
		p = next
	}
}

// describe fills in what a message or connection event says of a peer.
func (s *State) describe(p *Peer, address []byte, connectionType eventpb.ConnectionType, inbound bool) {
	p.ConnectionType, p.Inbound = connectionType, inbound
	host, _ := netgroup.SplitHostPort(address)
	if a, ok := netgroup.Parse(host); ok {
		p.Address, p.HasAddress = a, true
		p.Network = a.Network
	}
	s.locate(p)
}

// locate finds group and lists of a peer's address.
func (s *State) locate(p *Peer) {
	if !p.HasAddress {
		p.Group, p.Lists = netgroup.Group{Class: p.Network}, 0
		return
	}
	networks := s.networks.Current()
	p.Lists = networks.Lists(&p.Address)
	p.Group = networks.Group(&p.Address)
	if p.Network != p.Address.Network && (p.Network == netgroup.Onion || p.Network == netgroup.I2P) {
		// Inbound over Tor or I2P: the address is that of the local proxy.
		p.Group = netgroup.Group{Class: p.Network}
	}
}

// peerOf gives the peer of a message, making it when its opening wasn't seen.
func (s *State) peerOf(start int64, m *decode.Message) *Peer {
	key := peerKey{start, m.PeerID}
	p := s.table.find(key)
	if p == nil {
		p = s.newPeer(key)
		s.describe(p, m.Address, m.ConnectionType, m.ConnectionType == eventpb.ConnectionType_CONNECTION_TYPE_INBOUND)
	} else if p.ConnectionType == eventpb.ConnectionType_CONNECTION_TYPE_UNKNOWN {
		p.ConnectionType = m.ConnectionType
	}
	s.table.touch(p, s.now)
	return p
}

func (s *State) newPeer(key peerKey) *Peer {
	p, forgotten := s.table.add(key, s.now)
	if forgotten != nil {
		s.finish(forgotten)
	}
	return p
}

// finish settles what is open when a peer goes.
func (s *State) finish(p *Peer) {
	s.wire.settle(p)
}

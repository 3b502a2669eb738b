package metrics

import (
	"cmp"
	"slices"
	"time"

	"github.com/peerobserver/peerobserver/exporters/peerstate"
	"github.com/peerobserver/peerobserver/proto/event"
)

// HeaviestPeers are the peers of a node for whose messages its message thread worked
// most. That is evidence for who looks for a cause, not a metric: peers come and go, and
// choose how many they are.
type HeaviestPeers struct {
	// Node is the name of the node, empty when it has none.
	Node string `json:"node"`
	// Time is the end of the minute that it is about.
	Time  time.Time   `json:"time"`
	Peers []HeavyPeer `json:"peers"`
}

// HeavyPeer is one of them.
type HeavyPeer struct {
	// ID is Bitcoin Core's id of the peer, as getpeerinfo has it.
	ID             uint64 `json:"peer_id"`
	Direction      string `json:"direction"`
	ConnectionType string `json:"connection_type"`
	// CPU is the CPU time of the last minute in seconds, Share its part of that for all
	// peers.
	CPU   float64 `json:"cpu_seconds"`
	Share float64 `json:"cpu_share"`
	// Message is the type of message with the most CPU time.
	Message    string  `json:"message"`
	MessageCPU float64 `json:"message_cpu_seconds"`
}

func (s *Sink) keepHeaviest(e *event.Event, list []peerstate.Heavy) {
	h := HeaviestPeers{Node: e.NodeName, Time: e.Time(), Peers: make([]HeavyPeer, 0, len(list))}
	for i := range list {
		p := &list[i]
		direction := "outbound"
		if p.Inbound {
			direction = "inbound"
		}
		h.Peers = append(h.Peers, HeavyPeer{
			ID: p.ID, Direction: direction, ConnectionType: connectionTypeName(p.ConnectionType),
			CPU: p.CPU, Share: p.Share, Message: p.Type.String(), MessageCPU: p.TypeCPU,
		})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// Without node labels all events belong to one node.
	name := ""
	if s.config.NodeLabel {
		name = e.NodeName
	}
	s.heaviest[name] = h
}

// Heaviest gives the heaviest peers of each node, by the names of the nodes. They are as
// old as their time says.
func (s *Sink) Heaviest() []HeaviestPeers {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]HeaviestPeers, 0, len(s.heaviest))
	for _, h := range s.heaviest {
		list = append(list, h)
	}
	slices.SortFunc(list, func(a, b HeaviestPeers) int { return cmp.Compare(a.Node, b.Node) })
	return list
}

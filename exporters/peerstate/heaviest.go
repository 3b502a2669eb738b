package peerstate

import (
	"cmp"
	"slices"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// maxHeaviest is the number of peers that are named as the heaviest.
const maxHeaviest = 5

// Heavy is a peer for whose messages the node's message thread worked much in the last
// minute. It is evidence for who looks for a cause; peers are no labels of metrics.
type Heavy struct {
	// ID is Bitcoin Core's id of the peer, as getpeerinfo has it.
	ID             uint64
	Inbound        bool
	ConnectionType eventpb.ConnectionType
	// CPU is the CPU time in seconds, Share that part of the CPU time for all peers.
	CPU, Share float64
	// Type is the type of message with the most CPU time, TypeCPU that time in seconds.
	Type    decode.MessageType
	TypeCPU float64
}

// heaviest lists the peers with the most CPU time, the heaviest first.
func (s *State) heaviest() []Heavy {
	var list []Heavy
	all := 0.0
	s.table.each(func(p *Peer) {
		cpu := p.cpu.rate(s.now) / 1e6
		if cpu == 0 {
			return
		}
		all += cpu
		h := Heavy{ID: p.ID(), Inbound: p.Inbound, ConnectionType: p.ConnectionType, CPU: cpu}
		for t := range p.cpuOf {
			if v := p.cpuOf[t].rate(s.now) / 1e6; v > h.TypeCPU {
				h.Type, h.TypeCPU = decode.MessageType(t), v
			}
		}
		list = append(list, h)
	})
	slices.SortFunc(list, func(a, b Heavy) int {
		return cmp.Or(cmp.Compare(b.CPU, a.CPU), cmp.Compare(a.ID, b.ID))
	})
	list = list[:min(len(list), maxHeaviest)]
	for i := range list {
		list[i].Share = list[i].CPU / all
	}
	return list
}

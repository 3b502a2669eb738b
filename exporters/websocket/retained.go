package websocket

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/proto/event"
)

// Limits of what is retained. A stream from NATS may have any number of nodes.
const (
	maxNodes = 64
	// maxBlockEvents are the events about blocks that are kept of a node.
	maxBlockEvents = 1024
	// maxRetained is the largest event that is kept, in bytes: getpeerinfo with a
	// thousand peers fits.
	maxRetained = 2 << 20
)

// retained is what a page needs that is opened now: the last word of each node on its
// state, and the events about its last blocks. Everything is kept in brief.
type retained struct {
	nodes map[string]*nodeEvents
}

type nodeEvents struct {
	state  map[event.Kind]*delivery
	blocks []*delivery
	// oldest is the place of the oldest event in blocks once that is full.
	oldest int
}

func newRetained() *retained { return &retained{nodes: map[string]*nodeEvents{}} }

// stateKind says whether the last event of a kind tells the state of its node.
func stateKind(kind event.Kind) bool {
	switch kind {
	case event.KindObserverStatus, event.KindRPCPeerInfos, event.KindRPCNetworkInfo, event.KindRPCBlockchainInfo,
		event.KindRPCMempoolInfo, event.KindRPCNetTotals, event.KindRPCUptime, event.KindP2PPingDuration, event.KindP2PLinkState:
		return true
	default:
		return false
	}
}

// note keeps an event if it is of that sort. decoded is what a tracepoint's event holds, nil
// for others and for what is damaged.
func (r *retained) note(d *delivery, decoded *decode.Event) {
	e := d.event
	state := stateKind(e.Kind)
	if !state && !aboutBlock(e, decoded) || e.Kind != event.KindMessage && len(e.Data) > maxRetained {
		return
	}
	node := r.nodes[e.NodeName]
	if node == nil {
		if len(r.nodes) >= maxNodes {
			return
		}
		node = &nodeEvents{state: map[event.Kind]*delivery{}}
		r.nodes[strings.Clone(e.NodeName)] = node
	}
	short := d.json(true)
	if d.err != nil {
		return
	}
	// The event's bytes belong to the queue; filters find the same in the short ones.
	data, err := proto.Marshal(d.shortened)
	if err != nil {
		d.err = err
		return
	}
	kept := *e
	kept.Data = data
	k := &delivery{event: &kept, short: short}
	switch {
	case state:
		node.state[e.Kind] = k
	case len(node.blocks) < maxBlockEvents:
		node.blocks = append(node.blocks, k)
	default:
		node.blocks[node.oldest] = k
		node.oldest = (node.oldest + 1) % maxBlockEvents
	}
}

// aboutBlock says whether an event tells how a block came.
func aboutBlock(e *event.Event, decoded *decode.Event) bool {
	switch e.Kind {
	case event.KindValidationBlockConnected, event.KindValidationBlockHeader, event.KindValidationCompactBlockReconstructed:
		return true
	case event.KindMessage:
	default:
		return false
	}
	if decoded == nil {
		return false
	}
	m := &decoded.Message
	switch m.Type {
	case decode.MessageBlock, decode.MessageCmpctBlock, decode.MessageGetBlockTxn, decode.MessageBlockTxn:
		return true
	case decode.MessageHeaders:
		// More are an answer to getheaders.
		count := 0
		for headers := decode.HeadersOf(m.Body); headers.Next() && count <= briefHeaders; {
			count++
		}
		return count > 0 && count <= briefHeaders
	case decode.MessageInv, decode.MessageGetData:
		// Announcements and requests of blocks are short.
		for items := decode.ItemsOf(m.Body); items.Next(); {
			if items.Type.IsBlock() {
				return true
			}
		}
	}
	return false
}

// each calls f with everything, node by node, oldest first.
func (r *retained) each(f func(d *delivery)) {
	for _, node := range r.nodes {
		kinds := make([]event.Kind, 0, len(node.state))
		for kind := range node.state {
			kinds = append(kinds, kind)
		}
		slices.Sort(kinds)
		for _, kind := range kinds {
			f(node.state[kind])
		}
		for i := range node.blocks {
			f(node.blocks[(node.oldest+i)%len(node.blocks)])
		}
	}
}

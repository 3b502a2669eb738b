package peerstate

import (
	"time"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// Places of the directions in arrays.
const (
	Inbound = iota
	Outbound
	Directions
)

// otherType is the name under which the node counts the bytes of messages that it
// doesn't know or can't read (NET_MESSAGE_TYPE_OTHER).
const otherType = "*other*"

// Comparison of what the tracepoints saw with what the node counted itself.
const (
	// compareWindow is the time over which they are compared, in nanoseconds.
	compareWindow = int64(10 * time.Minute)
	// maxSamples bounds the samples of a window.
	maxSamples = 128
)

// wire adds up the bytes on the wire and holds them against the node's own numbers.
type wire struct {
	// settled is the sum over all messages whose transport is known.
	settled [Directions]uint64
	// peers compares with getpeerinfo, totals with getnettotals.
	peers, totals comparison
	// pending is the last answer of getpeerinfo until all events are there that
	// happened before it, backlog what came out of the one before.
	pending struct {
		asked int64
		peers []peerCount
	}
	backlog Backlog
	// lastTotals is the last answer of getnettotals with what was settled then.
	lastTotals struct {
		valid             bool
		start             int64
		counted, observed [Directions]uint64
	}
}

// peerCount is what the node had counted for a peer: complete messages by direction.
type peerCount struct {
	key   peerKey
	bytes [Directions]uint64
	// lastSend is when the node last sent something, in UNIX seconds.
	lastSend int64
}

// comparison holds the growth of two quantities over a window.
type comparison struct {
	samples []growth
}

type growth struct {
	at                int64
	observed, counted [Directions]uint64
}

func (c *comparison) add(g growth) {
	keep := 0
	for keep < len(c.samples) && (g.at-c.samples[keep].at > compareWindow || len(c.samples)-keep >= maxSamples) {
		keep++
	}
	c.samples = append(c.samples[:0], c.samples[keep:]...)
	c.samples = append(c.samples, g)
}

// ratio is what was observed by what the node counted, in the window; ok is false when
// it counted nothing.
func (c *comparison) ratio(direction int) (ratio float64, ok bool) {
	observed, counted := uint64(0), uint64(0)
	for i := range c.samples {
		observed += c.samples[i].observed[direction]
		counted += c.samples[i].counted[direction]
	}
	if counted == 0 {
		return 0, false
	}
	return float64(observed) / float64(counted), true
}

// message adds a message.
func (w *wire) message(p *Peer, m *decode.Message) {
	t, direction := &p.sent, Outbound
	if m.Inbound {
		t, direction = &p.received, Inbound
	}
	before := t.of(p.transport)
	t.add(m)
	if p.transport != transportUnknown {
		w.settled[direction] += t.of(p.transport) - before
	}
}

// learn notes the transport of a connection.
func (w *wire) learn(p *Peer, v transport) {
	if p.transport != transportUnknown || v == transportUnknown {
		return
	}
	p.transport = v
	w.settled[Inbound] += p.received.of(v)
	w.settled[Outbound] += p.sent.of(v)
}

// settle counts a connection that is gone and whose transport never became known.
func (w *wire) settle(p *Peer) { w.learn(p, transportV1) }

// NetTotals takes an answer of getnettotals.
func (s *State) NetTotals(t *eventpb.NetTotals) {
	w := &s.wire
	last := &w.lastTotals
	if !s.watched {
		// What the node exchanged before somebody looked was not missed.
		last.valid = false
		return
	}
	counted := [Directions]uint64{t.GetTotalBytesReceived(), t.GetTotalBytesSent()}
	observed := w.settled
	// What isn't settled yet is taken for v1: it is little, and of new connections.
	s.table.each(func(p *Peer) {
		if p.transport == transportUnknown {
			observed[Inbound] += p.received.v1
			observed[Outbound] += p.sent.v1
		}
	})
	grown := last.valid && last.start == s.start
	for d := range counted {
		grown = grown && counted[d] >= last.counted[d] && observed[d] >= last.observed[d]
	}
	if grown {
		g := growth{at: s.now}
		for d := range counted {
			g.counted[d] = counted[d] - last.counted[d]
			g.observed[d] = observed[d] - last.observed[d]
		}
		w.totals.add(g)
	}
	last.valid, last.start, last.counted, last.observed = true, s.start, counted, observed
}

// knownBytes adds up the bytes of complete messages of a direction, without those that
// the node could not read.
func knownBytes(perMessage map[string]uint64) (sum uint64) {
	for name, n := range perMessage {
		if name != otherType {
			sum += n
		}
	}
	return sum
}

// await notes what the node had counted for a peer. It can be compared when the events
// of the tracepoints have come that far: they take longer than an answer over RPC.
func (s *State) await(info *eventpb.PeerInfo) {
	key := peerKey{s.start, uint64(info.GetId())}
	if p := s.table.find(key); p != nil {
		switch info.GetTransportProtocolType() {
		case "v1":
			s.wire.learn(p, transportV1)
		case "v2":
			s.wire.learn(p, transportV2)
		}
	}
	if info.GetBytesReceivedPerMessage() == nil || info.GetBytesSentPerMessage() == nil {
		return
	}
	s.wire.pending.peers = append(s.wire.pending.peers, peerCount{key, [Directions]uint64{
		Inbound: knownBytes(info.GetBytesReceivedPerMessage()), Outbound: knownBytes(info.GetBytesSentPerMessage()),
	}, info.GetLastSend()})
}

// compare holds what was observed so far against the answer that is pending.
func (s *State) compare() {
	pending := &s.wire.pending
	if pending.asked == 0 {
		return
	}
	g := growth{at: s.now}
	b := Backlog{}
	for _, c := range pending.peers {
		p := s.table.find(c.key)
		if p == nil || p.transport == transportUnknown {
			continue
		}
		b.Compared++
		received := p.rpc[Inbound].compare(s, p, p.received.of(p.transport), c.bytes[Inbound], Inbound, &g)
		// Of what is sent the tracepoint comes first, the node's count when it is on
		// its way.
		sent := -p.rpc[Outbound].compare(s, p, p.sent.of(p.transport), c.bytes[Outbound], Outbound, &g)
		b.Receive += uint64(max(received, 0))
		b.Send += uint64(max(sent, 0))
		b.ReceiveMax = max(b.ReceiveMax, uint64(max(received, 0)))
		b.SendMax = max(b.SendMax, uint64(max(sent, 0)))
		b.stalled(sent, c.lastSend, pending.asked)
	}
	s.wire.peers.add(g)
	s.wire.backlog = b
	pending.asked, pending.peers = 0, pending.peers[:0]
}

// compare holds one direction of a peer against what RPC counted, adds the growth to g
// and gives by how many bytes the first of a and b is ahead of the second.
func (r *rpcTraffic) compare(s *State, p *Peer, observed, counted uint64, direction int, g *growth) (ahead int64) {
	if !r.based || r.epoch != s.lossEpoch {
		// Seen from the start there is nothing that was missed.
		r.base = 0
		if !p.SeenOpening || r.based || s.lossEpoch != 0 {
			r.base = int64(counted) - int64(observed)
		}
		r.based, r.epoch = true, s.lossEpoch
	} else if counted >= r.counted && observed >= r.observed {
		g.counted[direction] += counted - r.counted
		g.observed[direction] += observed - r.observed
	}
	r.counted, r.observed = counted, observed
	return int64(counted) - int64(observed) - r.base
}

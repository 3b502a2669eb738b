package trace

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/proto/event"
)

// sessionKey names a peer of one run of a node.
type sessionKey struct {
	node  string
	start int64
	peer  uint64
}

// session is the open trace of a peer. Its root span is kept open: a session may last
// for weeks, and its handshake shall be seen before.
type session struct {
	root *span
	// handshake and its ends: our and their version and verack.
	begun       int64
	seen        [4]bool
	handshake   bool
	misbehaving int
	last        int64
	// unseen says that the connection was there before we looked.
	unseen bool
}

// maxMisbehaving bounds the events of one session.
const maxMisbehaving = 16

// sessionID is the trace id of a session. It is derived from what names it, so that the
// same events give the same trace.
func sessionID(key sessionKey, established int64) event.TraceID {
	material := append(make([]byte, 0, 320), "peer"...)
	material = binary.BigEndian.AppendUint64(material, uint64(key.start))
	material = binary.BigEndian.AppendUint64(material, key.peer)
	material = binary.BigEndian.AppendUint64(material, uint64(established))
	sum := sha256.Sum256(append(material, key.node...))
	return event.TraceID(sum[:16])
}

func (t *Tracer) sessionStep(s *step) {
	key := sessionKey{node: s.node, start: s.start, peer: s.peer}
	current, ok := t.sessions.get(key)
	switch s.kind {
	case event.KindConnectionInbound, event.KindConnectionOutbound:
		if ok {
			// The id counts again from 0 where the node's start isn't known.
			t.sessions.remove(key)
			t.endSession(current, endEvicted)
		}
		t.openSession(key, s)
	case event.KindMessage:
		if ok {
			current.message(s)
		}
	case event.KindConnectionMisbehaving:
		if ok && current.misbehaving < maxMisbehaving {
			current.misbehaving++
			current.last = s.at
			current.root.event("misbehaving", s.at, attrReason.String(s.text))
		}
	case event.KindConnectionInboundEvicted:
		if ok {
			current.last = s.at
			current.root.event("evicted", s.at)
			current.root.span.SetAttributes(attribute.Bool("bitcoin.peer.evicted", true))
		}
	case event.KindConnectionClosed:
		t.closeSession(key, current, s)
	}
}

func (t *Tracer) openSession(key sessionKey, s *step) {
	direction := "inbound"
	if s.kind == event.KindConnectionOutbound {
		direction = "outbound"
	}
	root := t.tree(sessionID(key, s.at), s.node, s.at).start(nil, "peer session", s.at,
		append(s.sessionAttributes(), attribute.String("bitcoin.peer.direction", direction))...)
	current := &session{root: root, begun: s.at, last: s.at}
	if evicted, was := t.sessions.put(key, current); was {
		t.endSession(evicted, endEvicted)
	}
}

func (s *step) sessionAttributes() []attribute.KeyValue {
	attributes := append(s.peerAttributes(), attrNetwork.String(networkName(s.network)))
	if s.address != "" {
		attributes = append(attributes, attrAddress.String(s.address))
	}
	return attributes
}

// closeSession ends the session of a peer, or tells of one whose beginning wasn't seen.
func (t *Tracer) closeSession(key sessionKey, current *session, s *step) {
	if current != nil {
		t.sessions.remove(key)
		current.last = s.at
		t.endSession(current, endClosed)
		return
	}
	// The closing event says when it was opened, to the second: both ends are known.
	from := int64(min(s.established, 1<<33)) * int64(time.Second)
	if from <= 0 || from > s.at {
		return
	}
	root := t.tree(sessionID(key, from), s.node, from).start(nil, "peer session", from, s.sessionAttributes()...)
	t.endSession(&session{root: root, begun: from, last: s.at, unseen: true}, endClosed)
}

// message takes the messages of the handshake.
func (c *session) message(s *step) {
	i := 0
	if s.inbound {
		i = 1
	}
	if s.message == decode.MessageVerAck {
		i += 2
	}
	if c.handshake || c.seen[i] {
		return
	}
	c.seen[i] = true
	c.last = s.at
	c.root.event(s.message.String(), s.at, attribute.Bool("bitcoin.message.inbound", s.inbound))
	if i == 1 {
		c.root.span.SetAttributes(attrUserAgent.String(s.text), attrVersion.Int64(int64(s.version)))
	}
	if c.seen == [4]bool{true, true, true, true} {
		c.handshake = true
		c.root.between("handshake", c.begun, s.at)
	}
}

// endSession ends the root span: at the last thing that was seen.
func (t *Tracer) endSession(c *session, why end) {
	attributes := []attribute.KeyValue{
		attrEnd.String(string(why)),
		attribute.Bool("bitcoin.peer.misbehaving", c.misbehaving > 0),
	}
	var missing []string
	if c.unseen {
		missing = append(missing, "connect")
	}
	if !c.handshake {
		missing = append(missing, "handshake")
	}
	if len(missing) > 0 {
		attributes = append(attributes, attrMissing.StringSlice(missing))
	}
	c.root.span.SetAttributes(attributes...)
	t.metrics.traces.WithLabelValues(subjectPeer.String(), string(why)).Inc()
	c.root.end(c.last)
}

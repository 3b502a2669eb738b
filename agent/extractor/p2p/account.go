package p2p

import (
	"errors"
	"os"

	"github.com/peerobserver/peerobserver/proto/event"
)

// StageAccept is where connections are turned away. What is counted here is no event
// of the node, but what came to the port instead, or as well.
const StageAccept event.Stage = "accept"

// The reasons for what is lost or turned away.
const (
	// Stage read: a message of the node that could not be used.
	reasonChecksum       event.Reason = "checksum"
	reasonTransport      event.Reason = "transport"
	reasonUnexpectedPong event.Reason = "unexpected_pong"
	// Stage accept: a connection that never was the node's link.
	reasonConnectionLimit  event.Reason = "connection_limit"
	reasonHandshakeTimeout event.Reason = "handshake_timeout"
	reasonHandshake        event.Reason = "handshake"
	reasonNotObserved      event.Reason = "not_observed_node"
	reasonUnverified       event.Reason = "unverified"
	reasonDuplicate        event.Reason = "duplicate"
	reasonAccept           event.Reason = "accept_failed"
)

// counters are the source's entries in the ledger.
type counters struct {
	malformed, tooLarge, checksum, transport, unexpectedPong *event.Counter

	connectionLimit, handshakeTimeout, handshake, notObserved, unverified, duplicate, accept *event.Counter
}

func newCounters(ledger *event.Ledger) counters {
	read := func(reason event.Reason) *event.Counter {
		return ledger.Loss(event.SourceP2P, event.StageRead, reason)
	}
	accept := func(reason event.Reason) *event.Counter {
		return ledger.Loss(event.SourceP2P, StageAccept, reason)
	}
	return counters{
		malformed:        read(event.ReasonMalformed),
		tooLarge:         read(event.ReasonTooLarge),
		checksum:         read(reasonChecksum),
		transport:        read(reasonTransport),
		unexpectedPong:   read(reasonUnexpectedPong),
		connectionLimit:  accept(reasonConnectionLimit),
		handshakeTimeout: accept(reasonHandshakeTimeout),
		handshake:        accept(reasonHandshake),
		notObserved:      accept(reasonNotObserved),
		unverified:       accept(reasonUnverified),
		duplicate:        accept(reasonDuplicate),
		accept:           accept(reasonAccept),
	}
}

// turnedAway counts a connection that ended with err before it was the link.
func (c *counters) turnedAway(err error) {
	switch {
	case errors.Is(err, errEvicted):
		c.connectionLimit.Add(1)
	case errors.Is(err, errDuplicate):
		c.duplicate.Add(1)
	case errors.Is(err, errNotObserved):
		c.notObserved.Add(1)
	case errors.Is(err, errUnverified):
		c.unverified.Add(1)
	case isTimeout(err):
		c.handshakeTimeout.Add(1)
	default:
		c.handshake.Add(1)
	}
}

// linkLost counts what is lost when the node's link ends with err, and says why it
// ended in words that no peer chose.
func (c *counters) linkLost(err error) string {
	switch {
	case errors.Is(err, errTooLarge):
		c.tooLarge.Add(1)
		return "message too large"
	case errors.Is(err, errMagic), errors.Is(err, errDecrypt):
		c.transport.Add(1)
		return "transport error"
	case errors.Is(err, errPingTimeout):
		return "no answer to pings"
	case errors.Is(err, errGone):
		return "the node no longer has this connection"
	case errors.Is(err, errReplaced):
		return "replaced by a newer connection of the node"
	case isTimeout(err):
		return "the node reads nothing"
	default:
		return "the node closed it"
	}
}

// isTimeout says that a deadline of ours passed. Other errors call themselves timeouts
// too, such as that of TCP's keep-alive, but end the connection.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

package metrics

import (
	"bytes"
	"time"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/exporters/netgroup"
	"github.com/peerobserver/peerobserver/exporters/peerstate"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// connections counts connections as they come and go.
type connections struct {
	labels      *labels
	opened      *counters
	closed      *counters
	evicted     *counters
	duration    *histograms
	misbehaving *counters
	reason      *label

	misbehavingNetwork *counters
	listed             *counters
	unversioned        *counters
	tracked            *gauges
	halfOpen           *gauges
	topGroup           *gauges
	topAgents, rotated *gauges
	topGetAddrs        *gauges
	existing           *gauges
}

func newConnections(r *registry, l *labels, summary, last *age) *connections {
	c := &connections{labels: l}
	c.opened = r.counter(spec{
		name: "connections_opened_total", events: "connection.inbound, connection.outbound", unit: "connections",
		help: "Connections that were opened, by who opened them and network.",
	}, l.direction, l.network)
	c.closed = r.counter(spec{
		name: "connections_closed_total", events: "connection.closed", unit: "connections",
		help: "Connections that were closed.",
	}, l.direction, l.network)
	c.evicted = r.counter(spec{
		name: "connections_evicted_total", events: "connection.inbound_evicted", unit: "connections",
		help: "Inbound connections that the node evicted to make room for another one; they are also counted as closed.",
	}, l.network)
	c.duration = r.histogram(spec{
		name: "connection_duration_seconds", events: "connection.closed", unit: "seconds",
		help: "How long connections had been open when they were closed.",
	}, wholeSeconds, []int64{10, 60, 3600, 86_400}, l.direction)
	c.reason = r.bounded("reason", misbehaviours()...)
	c.misbehaving = r.counter(spec{
		name: "peers_misbehaving_total", events: "connection.misbehaving", unit: "events",
		help: "Misbehaviour that the node found in its peers, by reason without the numbers in it.",
	}, c.reason)
	c.misbehavingNetwork = r.sparseCounter(spec{
		name: "peers_misbehaving_by_network_total", events: "connection.misbehaving", unit: "events",
		help: "Misbehaviour by the network of the peer; of peers that are not known from another event it isn't known.",
	}, l.network)
	c.listed = r.counter(spec{
		name: "connections_listed_opened_total", events: "connection.inbound, connection.outbound", unit: "connections",
		help: "Connections with addresses on a prefix list that were opened.",
	}, l.list, l.direction)
	c.unversioned = r.counter(spec{
		name: "connections_closed_before_version_total", events: "connection.closed", unit: "connections",
		help: "Inbound connections that were closed without a version message having come: port scanners and other protocols.",
	})
	c.tracked = r.gauge(spec{
		name: "connections_tracked", events: "ebpf.*", unit: "connections",
		help: "Connections that are known from tracepoints.",
	}, summary)
	c.halfOpen = r.gauge(spec{
		name: "connections_half_open", events: "ebpf.*", unit: "connections",
		help: "Inbound connections that are open for more than ten seconds without a version message.",
	}, summary)
	c.topGroup = r.gauge(spec{
		name: "connections_opened_top_netgroup", events: "connection.inbound", unit: "connections",
		help: "Inbound connections that were opened from one network group of IPv4 or IPv6 within five minutes: the largest number of any group.",
	}, summary)
	c.topAgents = r.gauge(spec{
		name: "peers_user_agents_per_netgroup_max", events: "message", unit: "user agents",
		help: "Distinct user agents of inbound peers of one network group" + introducedGroup + ": the largest number of any group, up to 64.",
	}, summary)
	c.rotated = r.gauge(spec{
		name: "connections_user_agents_top_netgroup", events: "message", unit: "user agents",
		help: "Distinct user agents of inbound peers of one network group" + introducedGroup + ": the largest number, up to 64, of the groups that said who they are on 20 connections or more; 0 without one.",
	}, summary)
	c.topGetAddrs = r.gauge(spec{
		name: "p2p_getaddr_top_netgroup", events: "message", unit: "messages",
		help: "getaddr messages from inbound peers of one network group" + introducedGroup + ": the largest number of any group.",
	}, summary)
	c.existing = r.gauge(spec{
		name: "connections_existing", events: "connection.inbound, connection.outbound", unit: "connections",
		help: "Connections of the direction that existed when the last one was opened, as the node counts; it doesn't fall when connections are closed.",
	}, last, l.direction)
	return c
}

// introducedGroup says by what user agents and questions are counted.
const introducedGroup = " (a /16 of IPv4, a /32 of IPv6) within the last half hour to hour"

// misbehaviours are the reasons of Misbehaving in net_processing.cpp, without numbers.
// Reasons of a block or transaction that is invalid come with the text of its
// validation state and are recognised by the prefix before it.
func misbehaviours() []string {
	return []string{
		"addr message size", "addrv2 message size", "bad filteradd message", "getblocktxn with out-of-bounds tx indices",
		"getdata message size", "header with invalid proof of work", "headers message size", "inv message size",
		"invalid compact block", "invalid compact block/non-matching block transactions",
		"invalid header received", "invalid header via cmpctblock", "invalid sendcmpct announce field",
		"mutated block", "non-continuous headers sequence", "previous compact block reconstruction attempt failed",
		"too-large bloom filter",
	}
}

// misbehaviour reduces the text of a misbehaving event to one of the known reasons:
// what follows " = " or ":" varies.
func misbehaviour(text []byte) []byte {
	if i := bytes.Index(text, []byte(" = ")); i >= 0 {
		text = text[:i]
	}
	if i := bytes.IndexByte(text, ':'); i >= 0 {
		text = text[:i]
	}
	return bytes.TrimSpace(text)
}

func (c *connections) handle(e *event.Event, kind event.Kind, conn *decode.Connection, o *peerstate.Observation) {
	switch kind {
	case event.KindConnectionMisbehaving:
		c.misbehaving.inc(c.reason.ofBytes(misbehaviour(conn.Reason)))
		network := c.labels.network.rest
		if o.Peer != nil {
			network = int(o.Peer.Network)
		}
		c.misbehavingNetwork.inc(network)
	case event.KindConnectionInbound:
		c.open(e, inbound, conn, o)
	case event.KindConnectionOutbound:
		c.open(e, outbound, conn, o)
	case event.KindConnectionInboundEvicted:
		c.evicted.inc(c.labels.networkIndex(conn.Network))
	case event.KindConnectionClosed:
		direction := directionIndex(conn.ConnectionType == eventpb.ConnectionType_CONNECTION_TYPE_INBOUND)
		c.closed.inc2(direction, c.labels.networkIndex(conn.Network))
		if p := o.Peer; p != nil && p.Inbound && p.SeenOpening && !p.Version {
			c.unversioned.add(1)
		}
		if conn.Established != 0 {
			c.duration.observe2(direction, 0, e.Time().Unix()-int64(min(conn.Established, uint64(maxUnix))))
		}
	}
}

func (c *connections) open(e *event.Event, direction int, conn *decode.Connection, o *peerstate.Observation) {
	c.opened.inc2(direction, c.labels.networkIndex(conn.Network))
	c.existing.at(direction).set(float64(conn.Existing))
	c.existing.age.touch(e.Time().UnixNano())
	if o.Peer == nil || o.Peer.Lists == 0 {
		return
	}
	for i := range netgroup.MaxLists {
		if o.Peer.Lists&(1<<i) != 0 {
			c.listed.inc2(i, direction)
		}
	}
}

func (c *connections) summarise(u *peerstate.Summary) {
	c.tracked.set(float64(u.Tracked))
	c.halfOpen.set(float64(u.HalfOpen))
	c.topGroup.set(float64(u.TopOpenings))
	c.topAgents.set(float64(u.MostAgents))
	c.rotated.set(float64(u.RotatedAgents))
	c.topGetAddrs.set(float64(u.MostGetAddrs))
}

// maxUnix is the largest UNIX time in seconds that a time in nanoseconds can hold.
const maxUnix = int64(1<<63-1) / int64(time.Second)

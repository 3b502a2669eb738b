package incident

import (
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// The everyday traffic of a node, as in lab/scenario.
const (
	companyPeers  = 100  // inbound peers that stay
	inboundSlots  = 114  // of a node with 125 connections
	quietRate     = 5.0  // transactions a second
	busyRate      = 15.0 // the same in busy times
	quietArrivals = 3.0  // peers a minute
	busyArrivals  = 10.0
	quietVisit    = 2 * time.Minute
	usualFee      = 1.0 // satoshi per vbyte
	feelerEvery   = 2 * time.Minute
)

// How often an honest peer does what it does all the time: means of exponential distributions.
const (
	announceEvery = 5 * time.Second
	addressEvery  = 30 * time.Second
	pingEvery     = 120 * time.Second
	filterEvery   = 10 * time.Minute

	announceAtOnce = 70 // entries of an inv message
	addressAtOnce  = 3  // entries of an addr message
)

// day is a life in which the node's peers say what peers say: the traffic of a day on which
// nothing happens, second by second.
type day struct {
	*life
	end time.Time
	// limit is of how many of the peers that stay it is recorded what they send and get.
	limit   int
	members []*member
	// rate is how many transactions come a second, fee the lowest that is accepted in satoshi
	// per vbyte, and arrivals how many peers come a minute, for a visit, or until they are
	// evicted when that is 0.
	rate, fee, arrivals float64
	visit               time.Duration
	// noBlocks: none come by themselves. stopped: there is no node.
	noBlocks, stopped bool
	// cold is until when the mempool lacks most of what is in a block.
	cold time.Time

	tasks    []task
	pool     []transaction
	orphaned int
	shared   tables
	// known is the number of the next address that peers tell of.
	known int
	total traffic
	// worked is the CPU time of the node's message thread.
	worked time.Duration
}

// task is something to do at a time.
type task struct {
	at time.Time
	do func()
}

// traffic is bytes by direction.
type traffic struct{ received, sent uint64 }

// transaction is one in the mempool.
type transaction struct {
	txid  []byte
	vsize int32
	at    time.Time
}

// member is a peer that takes part.
type member struct {
	*peer
	kind eventpb.ConnectionType
	// told: what it sends and gets is recorded. quiet: it gives nothing. visits: it doesn't
	// stay. gone: its connection has ended.
	told, quiet, visits, gone bool
	// lacks is how many blocks of the chain it doesn't have.
	lacks int32
	// Times of what it does next, and of what it did last.
	announce, listen, tell, ping, pinged, filter time.Time
	announced, listened                          time.Time
	leaves                                       time.Time
}

// newDay gives the node peers that came days ago.
func newDay(l *life, span time.Duration, told int) *day {
	d := &day{life: l, end: l.now.Add(span), limit: told, rate: quietRate, fee: usualFee, arrivals: quietArrivals, visit: quietVisit}
	d.usage = maxMempool / 20
	for i := range 10 {
		kind := fullRelay
		if i >= 8 {
			kind = blockRelayOnly
		}
		d.settled(ipv4, kind).told = d.tells(i * companyPeers / 10)
	}
	for i := range companyPeers {
		d.settled(ipv4, inbound).told = d.tells(i)
	}
	for _, m := range d.members[:3] {
		// The node chooses three of those that it connects to.
		m.info.Bip152HbTo = proto.Bool(true)
	}
	d.shared.fill(d)
	d.link(eventpb.LinkState_STATE_UP)
	d.again(feelerEvery, d.feeler)
	return d
}

// tells is whether what the ith of the peers that stay sends and gets is recorded.
func (d *day) tells(i int) bool { return i < d.limit }

// settled adds a peer that came three days ago.
func (d *day) settled(network, kind string) *member {
	now := d.now
	d.now = now.Add(-72 * time.Hour)
	m := d.newMember(network, kind)
	d.now = now
	const once = 130
	m.info.BytesReceivedPerMessage = map[string]uint64{"version": once, "ping": 70_000, "pong": 70_000, "inv": 8_000_000, "tx": 3_000_000, "addrv2": 400_000, "feefilter": 14_000}
	m.info.BytesSentPerMessage = map[string]uint64{"version": once, "ping": 70_000, "pong": 70_000, "inv": 8_000_000, "tx": 5_000_000, "addrv2": 400_000, "feefilter": 14_000}
	m.info.BytesReceived, m.info.BytesSent = proto.Uint64(sum(m.info.GetBytesReceivedPerMessage())), proto.Uint64(sum(m.info.GetBytesSentPerMessage()))
	m.info.LastSend = proto.Int64(d.now.Unix())
	d.spread(m)
	return m
}

// spread lets a peer of three days do what it does next at a time of its own.
func (d *day) spread(m *member) {
	for _, t := range []*time.Time{&m.announce, &m.listen, &m.tell, &m.ping, &m.pinged, &m.filter} {
		*t = d.now.Add(d.exponential(announceEvery))
	}
	m.ping, m.pinged = d.now.Add(d.within(pingEvery)), d.now.Add(d.within(pingEvery))
	m.tell, m.filter = d.now.Add(d.within(addressEvery)), d.now.Add(d.within(filterEvery))
	m.announced, m.listened = d.now, d.now
}

func sum(bytes map[string]uint64) (n uint64) {
	for _, x := range bytes {
		n += x
	}
	return n
}

// makeQuiet makes a peer of three days one that gave nothing in them.
func (m *member) makeQuiet() {
	m.quiet = true
	for _, command := range []string{"inv", "tx", "addrv2"} {
		m.info.BytesReceived = proto.Uint64(m.info.GetBytesReceived() - m.info.GetBytesReceivedPerMessage()[command])
		delete(m.info.GetBytesReceivedPerMessage(), command)
	}
}

// newMember adds a peer that is connected, as getpeerinfo tells of it.
func (d *day) newMember(network, kind string) *member {
	m := &member{peer: d.newPeer(network, kind), kind: kindNamed(kind), told: true}
	m.info.TransportProtocolType = proto.String("v1")
	m.info.BytesSentPerMessage, m.info.BytesReceivedPerMessage = map[string]uint64{}, map[string]uint64{}
	m.info.BytesSent, m.info.BytesReceived, m.info.LastSend = proto.Uint64(0), proto.Uint64(0), proto.Int64(d.now.Unix())
	m.info.Minfeefilter = proto.Float64(d.fee / 1e5)
	m.info.TimeOffset = proto.Int64(d.random.Int64N(5) - 2)
	m.info.AddrRelayEnabled = proto.Bool(kind != blockRelayOnly)
	d.members = append(d.members, m)
	return m
}

// kindNamed is the connection type that getpeerinfo names.
func kindNamed(name string) eventpb.ConnectionType {
	switch name {
	case inbound:
		return eventpb.ConnectionType_CONNECTION_TYPE_INBOUND
	case fullRelay:
		return eventpb.ConnectionType_CONNECTION_TYPE_OUTBOUND_FULL_RELAY
	case blockRelayOnly:
		return eventpb.ConnectionType_CONNECTION_TYPE_BLOCK_RELAY_ONLY
	case feeler:
		return eventpb.ConnectionType_CONNECTION_TYPE_FEELER
	default:
		return eventpb.ConnectionType_CONNECTION_TYPE_ADDR_FETCH
	}
}

// left is how much of the day is left.
func (d *day) left() time.Duration { return d.end.Sub(d.now) }

// pass lets time pass.
func (d *day) pass(span time.Duration) {
	for end := d.now.Add(span); d.now.Before(end) && d.ctx.Err() == nil; {
		d.second()
	}
}

// second is a second of it.
func (d *day) second() {
	at := d.now
	for len(d.tasks) > 0 && !d.tasks[0].at.After(at) {
		next := d.tasks[0]
		d.tasks = d.tasks[1:]
		next.do()
	}
	if !d.stopped {
		d.spend()
		d.visitors()
		for _, m := range d.members {
			d.talk(m, at)
		}
		d.members = slices.DeleteFunc(d.members, func(m *member) bool { return m.gone })
		for !d.noBlocks && !d.nextBlock.After(at) {
			d.block()
			d.nextBlock = d.nextBlock.Add(d.blockGap())
		}
	}
	d.now = at
	if at.Unix()%int64(step/time.Second) == 0 {
		d.lookAround()
	}
	d.now = at.Add(time.Second)
}

// at does something after some time, in no more than a second of it.
func (d *day) at(after time.Duration, do func()) {
	t := task{at: d.now.Add(after), do: do}
	i, _ := slices.BinarySearchFunc(d.tasks, t, func(a, b task) int {
		if a.at.After(b.at) {
			return 1
		}
		return -1
	})
	d.tasks = slices.Insert(d.tasks, i, t)
}

// again does something again and again, at random times.
func (d *day) again(mean time.Duration, do func()) {
	d.at(d.exponential(mean), func() {
		do()
		d.again(mean, do)
	})
}

func (d *day) exponential(mean time.Duration) time.Duration {
	return time.Duration(d.random.ExpFloat64() * float64(mean))
}

// within is a part of a span of time.
func (d *day) within(span time.Duration) time.Duration {
	return time.Duration(d.random.Int64N(int64(span)))
}

// many is the number of things that happen at random, of which so many do on average.
func (d *day) many(mean float64) int {
	const large = 30
	if mean > large {
		return max(0, int(mean+math.Sqrt(mean)*d.random.NormFloat64()+0.5))
	}
	n, p := 0, d.random.Float64()
	for limit := math.Exp(-mean); p > limit; n++ {
		p *= d.random.Float64()
	}
	return n
}

// inboundMembers counts the inbound peers.
func (d *day) inboundMembers() (n int) {
	for _, m := range d.members {
		if !m.gone && m.kind == eventpb.ConnectionType_CONNECTION_TYPE_INBOUND {
			n++
		}
	}
	return n
}

// visitors lets peers come that nobody knows.
func (d *day) visitors() {
	for range d.many(d.arrivals / 60) {
		d.makeRoom()
		m := d.accepted(ipv4, nil)
		m.visits, m.quiet = true, true
		if d.visit > 0 {
			m.leaves = d.now.Add(d.visit)
		}
	}
}

// makeRoom lets the node evict a visitor when its slots are full.
func (d *day) makeRoom() {
	if d.inboundMembers() < inboundSlots {
		return
	}
	var visitors []*member
	for _, m := range d.members {
		if m.visits && !m.gone {
			visitors = append(visitors, m)
		}
	}
	if len(visitors) > 0 {
		d.evicted(visitors[d.random.IntN(len(visitors))])
	}
}

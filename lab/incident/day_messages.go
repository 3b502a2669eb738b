package incident

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// feeler is a connection that only tries an address.
const feeler = "feeler"

// headerSize is what the transport adds to a message (v1).
const headerSize = 24

// between is the time between two hits of tracepoints in one second, in which the node's message
// thread works.
const between = 50 * time.Microsecond

// hit records a hit of a tracepoint, a little later than the last.
func (d *day) hit(x *eventpb.EbpfExtractor) {
	d.now, d.worked = d.now.Add(between), d.worked+between
	x.Hit = &eventpb.TracepointHit{Pid: proto.Uint32(1000), Tid: proto.Uint32(1010), Cpu: proto.Uint32(0), ThreadCpuTimeNs: proto.Uint64(uint64(d.worked))}
	d.tracepoint(x)
}

func (d *day) received(m *member, command string, size int, body *eventpb.MessageEvent) {
	m.info.BytesReceivedPerMessage[command] += uint64(size + headerSize)
	m.info.BytesReceived = proto.Uint64(m.info.GetBytesReceived() + uint64(size+headerSize))
	d.total.received += uint64(size + headerSize)
	d.exchanged(m, command, size, true, body)
}

func (d *day) sent(m *member, command string, size int, body *eventpb.MessageEvent) {
	m.info.BytesSentPerMessage[command] += uint64(size + headerSize)
	m.info.BytesSent = proto.Uint64(m.info.GetBytesSent() + uint64(size+headerSize))
	m.info.LastSend = proto.Int64(d.now.Unix())
	d.total.sent += uint64(size + headerSize)
	d.exchanged(m, command, size, false, body)
}

func (d *day) exchanged(m *member, command string, size int, received bool, body *eventpb.MessageEvent) {
	if !m.told {
		return
	}
	body.Meta = &eventpb.Metadata{
		PeerId: proto.Uint64(m.id), Addr: proto.String(m.address), ConnType: m.kind.ConnType().Enum(), ConnectionType: m.kind.Enum(),
		Command: proto.String(command), Inbound: proto.Bool(received), Size: proto.Uint64(uint64(size)),
	}
	d.hit(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Message{Message: body}})
}

// counted is the content of a message of which there is the number of its elements, and not
// the elements.
func counted(n int) *eventpb.MessageEvent {
	return &eventpb.MessageEvent{
		ElementCount: proto.Uint64(uint64(n)), PayloadState: eventpb.PayloadState_PAYLOAD_STATE_TRUNCATED.Enum(), CapturedSize: proto.Uint64(0),
	}
}

func (d *day) connectionOf(m *member) *eventpb.Connection {
	network := uint32(1)
	if m.info.GetNetwork() == onion {
		network = 3
	}
	return &eventpb.Connection{
		PeerId: proto.Uint64(m.id), Addr: proto.String(m.address), ConnType: m.kind.ConnType().Enum(), ConnectionType: m.kind.Enum(), Network: proto.Uint32(network),
	}
}

func (d *day) connectionEvent(c *eventpb.ConnectionEvent) {
	d.hit(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Connection{Connection: c}})
}

// opened is the beginning of a connection.
func (d *day) opened(m *member) {
	m.opened = d.now
	m.info.ConnectionTime = proto.Int64(d.now.Unix())
	others := proto.Uint64(uint64(len(d.members) - 1))
	if m.kind == eventpb.ConnectionType_CONNECTION_TYPE_INBOUND {
		d.line(eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_NET, eventpb.LogTemplate_LOG_TEMPLATE_CONNECTION_ACCEPTED)
		d.connectionEvent(&eventpb.ConnectionEvent{Event: &eventpb.ConnectionEvent_Inbound{Inbound: &eventpb.InboundConnection{Conn: d.connectionOf(m), ExistingConnections: others}}})
	} else {
		d.line(eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_NET, eventpb.LogTemplate_LOG_TEMPLATE_TRYING_CONNECTION)
		d.connectionEvent(&eventpb.ConnectionEvent{Event: &eventpb.ConnectionEvent_Outbound{Outbound: &eventpb.OutboundConnection{Conn: d.connectionOf(m), ExistingConnections: others}}})
	}
}

// introduced is the exchange of versions.
func (d *day) introduced(m *member) {
	version := func(agent string, number uint32) *eventpb.MessageEvent {
		return &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Version{Version: &eventpb.Version{
			Version: proto.Uint32(number), UserAgent: proto.String(agent), StartHeight: proto.Int32(d.height),
			Timestamp: proto.Int64(d.now.Unix() + m.info.GetTimeOffset()), Relay: proto.Bool(m.info.GetRelayTransactions()),
		}}}
	}
	told := m.told
	m.told = true
	const size = 110
	d.received(m, "version", size, version(m.info.GetSubversion(), m.info.GetVersion()))
	d.sent(m, "version", size, version("/Satoshi:30.0.0/", 70016))
	d.received(m, "verack", 0, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Verack{Verack: true}})
	d.sent(m, "verack", 0, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Verack{Verack: true}})
	m.told = told
	d.line(eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_NET, eventpb.LogTemplate_LOG_TEMPLATE_NEW_PEER)
	now := d.now
	m.announce, m.listen, m.tell = now.Add(d.exponential(announceEvery)), now.Add(d.exponential(announceEvery)), now.Add(d.exponential(addressEvery))
	m.ping, m.pinged, m.filter = now.Add(d.exponential(pingEvery)), now.Add(time.Second), now.Add(time.Second)
	m.announced, m.listened = now, now
}

// accepted lets an inbound peer come, say who it is, ask for addresses and tell its own; as
// changes it before, and may be nil.
func (d *day) accepted(network string, as func(*member)) *member {
	m := d.newMember(network, inbound)
	if as != nil {
		as(m)
	}
	d.opened(m)
	d.introduced(m)
	d.received(m, "getaddr", 0, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Getaddr{Getaddr: true}})
	d.sent(m, "addrv2", 14*1000, counted(1000))
	if network == ipv4 {
		var a, b, x, y, port int
		if _, err := fmt.Sscanf(m.address, "%d.%d.%d.%d:%d", &a, &b, &x, &y, &port); err == nil {
			d.addressesOf(m, []*eventpb.Address{address(fmt.Sprintf("%d.%d.%d.%d", a, b, x, y), d.now)})
		}
	}
	return m
}

// connected lets the node open a connection, and ask for addresses where it does.
func (d *day) connected(kind, to string) *member {
	m := d.newMember(ipv4, kind)
	if to != "" {
		m.address = to
		m.info.Address = proto.String(to)
	}
	d.opened(m)
	d.introduced(m)
	if kind == fullRelay {
		d.sent(m, "getaddr", 0, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Getaddr{Getaddr: true}})
	}
	return m
}

// feeler lets the node try an address: a connection that ends when it is one.
func (d *day) feeler() {
	m := d.newMember(ipv4, feeler)
	d.opened(m)
	d.introduced(m)
	d.closed(m)
}

// closed is the end of a connection.
func (d *day) closed(m *member) {
	if m.gone {
		return
	}
	m.gone = true
	d.connectionEvent(&eventpb.ConnectionEvent{Event: &eventpb.ConnectionEvent_Closed{Closed: &eventpb.ClosedConnection{
		Conn: d.connectionOf(m), TimeEstablished: proto.Uint64(uint64(m.opened.Unix()))}}})
	d.line(eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_NET, eventpb.LogTemplate_LOG_TEMPLATE_SOCKET_CLOSED)
}

// evicted is one that the node ends to make room.
func (d *day) evicted(m *member) {
	d.line(eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_NET, eventpb.LogTemplate_LOG_TEMPLATE_EVICTED)
	d.connectionEvent(&eventpb.ConnectionEvent{Event: &eventpb.ConnectionEvent_InboundEvicted{InboundEvicted: &eventpb.EvictedInboundConnection{
		Conn: d.connectionOf(m), TimeEstablished: proto.Uint64(uint64(m.opened.Unix()))}}})
	d.closed(m)
}

// misbehaves lets a peer break the protocol, for which the node leaves it.
func (d *day) misbehaves(m *member, how string) {
	d.line(eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_NET, eventpb.LogTemplate_LOG_TEMPLATE_MISBEHAVING)
	d.connectionEvent(&eventpb.ConnectionEvent{Event: &eventpb.ConnectionEvent_Misbehaving{Misbehaving: &eventpb.MisbehavingConnection{
		Id: proto.Uint64(m.id), Message: proto.String(how)}}})
	d.line(eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_NET, eventpb.LogTemplate_LOG_TEMPLATE_DISCOURAGED)
	d.closed(m)
}

// addressesOf is an addrv2 message.
func (d *day) addressesOf(m *member, list []*eventpb.Address) {
	d.received(m, "addrv2", 1+14*len(list), &eventpb.MessageEvent{
		Msg: &eventpb.MessageEvent_Addrv2{Addrv2: &eventpb.AddrV2{Addresses: list}}, ElementCount: proto.Uint64(uint64(len(list))),
	})
	m.info.AddrProcessed = proto.Uint64(m.info.GetAddrProcessed() + uint64(len(list)))
	if m.told {
		d.line(eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_NET, eventpb.LogTemplate_LOG_TEMPLATE_ADDR_RECEIVED)
	}
}

// rumours are addresses that go round.
func (d *day) rumours(n int) []*eventpb.Address {
	list := make([]*eventpb.Address, n)
	for i := range list {
		// Each goes round for some hours; over a day there are tens of thousands.
		d.known++
		k := d.known/20 + d.random.IntN(usualAddresses/4)
		list[i] = address(fmt.Sprintf("%d.%d.%d.8", 20+k%60, k/60%250, k/15_000%250), d.now.Add(-d.within(10*time.Minute)))
	}
	return list
}

// line is a line of debug.log with a known meaning.
func (d *day) line(category eventpb.LogDebugCategory, template eventpb.LogTemplate) {
	d.logged(category, &eventpb.KnownLogMessage{Template: template.Enum()})
}

func (d *day) logged(category eventpb.LogDebugCategory, known *eventpb.KnownLogMessage) {
	level := eventpb.LogLevel_LOG_LEVEL_DEBUG
	if category == eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_UNKNOWN {
		level = eventpb.LogLevel_LOG_LEVEL_INFO
	}
	d.log(&eventpb.LogExtractor{
		LogTimestamp: proto.Uint64(uint64(d.now.UnixMicro())), Category: category.Enum(), LogLevel: level.Enum(), LogLineBytes: proto.Uint64(100),
		LogEvent: &eventpb.LogExtractor_KnownLogMessage{KnownLogMessage: known},
	})
}

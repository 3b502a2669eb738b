package evidence

import (
	"cmp"
	"net"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/exporters/peerstate"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// Bounds of what is remembered of peers.
const (
	// maxPeers are remembered, those that are gone included; the one that has been silent
	// longest is forgotten for a new one.
	maxPeers = 1024
	// maxMessages are the last messages that are remembered of each.
	maxMessages = 8
	// maxSuspects are in a record.
	maxSuspects = 5
	// maxAddress and maxAgent bound texts of strangers in bytes.
	maxAddress = 128
	maxAgent   = 256
)

// windowMinutes is over how many minutes messages are counted, the present one included.
const windowMinutes = 5

// count is what a peer sent of one type of message. Entries are those of lists.
type count struct{ messages, bytes, entries uint64 }

// head is time and size of a message.
type head struct {
	at   int64 // UNIX time, ns
	size uint64
}

// window counts the messages of one type by the minute, and has the heads of the last.
type window struct {
	counts [windowMinutes]count
	// minute is the newest minute, in UNIX minutes.
	minute int64
	// last are the heads, the newest is that of number next-1.
	last [maxMessages]head
	next uint64
}

// minuteOf is a time in UNIX minutes; before 1970 there is only one.
func minuteOf(now time.Time) int64 { return max(now.Unix(), 0) / 60 }

// advance moves the window to a minute. What was counted in a future that the clock has
// come back from is dropped: it would never get old.
func (w *window) advance(minute int64) {
	if minute <= w.minute-windowMinutes {
		w.counts, w.minute = [windowMinutes]count{}, minute
		return
	}
	for m := max(w.minute+1, minute-windowMinutes+1); m <= minute; m++ {
		w.counts[m%windowMinutes] = count{}
	}
	w.minute = max(w.minute, minute)
}

func (w *window) add(now time.Time, c count) {
	w.advance(minuteOf(now))
	w.last[w.next%maxMessages] = head{now.UnixNano(), c.bytes}
	w.next++
	at := &w.counts[w.minute%windowMinutes]
	at.messages += c.messages
	at.bytes += c.bytes
	at.entries += c.entries
}

func (w *window) sum() (sum count) {
	for _, c := range w.counts {
		sum.messages += c.messages
		sum.bytes += c.bytes
		sum.entries += c.entries
	}
	return sum
}

// lastMessage is the head of a message.
type lastMessage struct {
	Time    time.Time `json:"time"`
	Type    string    `json:"type"`
	Inbound bool      `json:"received"`
	Size    uint64    `json:"bytes"`
}

// facts are what getpeerinfo says that is of use.
type facts struct {
	UserAgent      string  `json:"user_agent,omitempty"`
	Network        string  `json:"network,omitempty"`
	MappedAS       uint32  `json:"mapped_as,omitempty"`
	BytesReceived  uint64  `json:"bytes_received,omitempty"`
	BytesSent      uint64  `json:"bytes_sent,omitempty"`
	UnknownBytes   uint64  `json:"bytes_of_unread_messages,omitempty"`
	Incomplete     uint64  `json:"bytes_of_unfinished_message,omitempty"`
	Inflight       int     `json:"blocks_in_flight,omitempty"`
	TimeOffset     int64   `json:"time_offset_seconds,omitempty"`
	MinimumPing    float64 `json:"minimum_ping_seconds,omitempty"`
	AddrLimited    uint64  `json:"addresses_rate_limited,omitempty"`
	Unsent         float64 `json:"seconds_since_last_send,omitempty"`
	InvToSend      uint64  `json:"announcements_waiting,omitempty"`
	ConnectionTime int64   `json:"connection_time,omitempty"` // UNIX time, s
	// listened are the bytes of announcements that an inbound peer got which gave nothing.
	listened uint64
}

// peer is what is remembered of a connection.
type peer struct {
	ID             uint64
	Address        string
	Inbound        bool
	ConnectionType eventpb.ConnectionType
	Closed         time.Time
	facts          facts

	received      map[decode.MessageType]*window
	last          [maxMessages]lastMessage
	messages      uint64
	misbehaviours uint64
	// reason is that of the last misbehaviour.
	reason string
	// greeted: a version message came.
	greeted bool
	// seen is the number of the last event about it.
	seen uint64
	// ofHost is the number of remembered connections of its host, when it was ranked.
	ofHost int
}

// peerTable is the peers by Bitcoin Core's id. After a restart of the node ids begin anew;
// what is remembered of an old peer is then replaced with its opening.
type peerTable struct {
	peers map[uint64]*peer
	// events is the number of events about peers.
	events    uint64
	forgotten event.Counter
	// minute is the newest that there was, steps how often the clock went back from it
	// by so much that what was counted is dropped.
	minute int64
	steps  event.Counter
}

func (t *peerTable) init() { t.peers = map[uint64]*peer{} }

// tick notes the time.
func (t *peerTable) tick(now time.Time) {
	minute := minuteOf(now)
	if minute <= t.minute-windowMinutes {
		t.steps.Add(1)
		t.minute = minute
	}
	t.minute = max(t.minute, minute)
}

func (t *peerTable) of(id uint64) *peer {
	p := t.peers[id]
	if p == nil {
		if len(t.peers) >= maxPeers {
			t.forget()
		}
		p = &peer{ID: id, received: map[decode.MessageType]*window{}}
		t.peers[id] = p
	}
	t.events++
	p.seen = t.events
	return p
}

// forget forgets the peer that has been silent longest, with some more so that the next
// new ones needn't look again.
func (t *peerTable) forget() {
	all := make([]*peer, 0, len(t.peers))
	for _, p := range t.peers {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *peer) int { return cmp.Compare(a.seen, b.seen) })
	for _, p := range all[:maxPeers/16] {
		delete(t.peers, p.ID)
		t.forgotten.Add(1)
	}
}

func (p *peer) describe(address []byte, kind eventpb.ConnectionType, inbound bool) {
	if len(address) > 0 && string(address) != p.Address {
		p.Address = cut(string(address[:min(len(address), maxAddress)]), maxAddress)
	}
	if kind != 0 {
		p.ConnectionType = kind
	}
	p.Inbound = inbound
}

func (t *peerTable) message(m *decode.Message, now time.Time) {
	p := t.of(m.PeerID)
	p.describe(m.Address, m.ConnectionType, m.ConnectionType == eventpb.ConnectionType_CONNECTION_TYPE_INBOUND)
	p.last[p.messages%maxMessages] = lastMessage{Time: now, Type: m.Type.String(), Inbound: m.Inbound, Size: m.Size}
	p.messages++
	if !m.Inbound {
		return
	}
	if m.Type == decode.MessageVersion {
		p.greeted = true
	}
	w := p.received[m.Type]
	if w == nil {
		w = new(window)
		p.received[m.Type] = w
	}
	w.add(now, count{messages: 1, bytes: m.Size, entries: entriesOf(m)})
}

// entriesOf is the number of list elements of a message, by the size of its payload, which
// is known also where the payload wasn't kept whole.
func entriesOf(m *decode.Message) uint64 {
	if m.HasCount {
		return m.ElementCount
	}
	var each uint64
	switch m.Type {
	case decode.MessageInv, decode.MessageGetData, decode.MessageNotFound:
		each = 36
	case decode.MessageHeaders:
		each = 81
	case decode.MessageAddr:
		each = 30
	case decode.MessageAddrV2:
		// Of an IPv4 address; others are longer.
		each = 16
	default:
		return 0
	}
	return m.Size / each
}

func (t *peerTable) opened(c *decode.Connection, inbound bool) {
	delete(t.peers, c.PeerID)
	t.of(c.PeerID).describe(c.Address, c.ConnectionType, inbound)
}

func (t *peerTable) closed(c *decode.Connection, now time.Time) {
	p := t.of(c.PeerID)
	p.describe(c.Address, c.ConnectionType, c.ConnectionType == eventpb.ConnectionType_CONNECTION_TYPE_INBOUND)
	p.Closed = now
}

func (t *peerTable) misbehaving(c *decode.Connection) {
	p := t.of(c.PeerID)
	p.misbehaviours++
	p.reason = cut(string(c.Reason[:min(len(c.Reason), maxAddress)]), maxAddress)
}

// infos takes an answer of getpeerinfo.
func (t *peerTable) infos(data []byte, now time.Time) {
	var body eventpb.Event
	if err := proto.Unmarshal(data, &body); err != nil {
		return
	}
	for i, info := range body.GetRpcExtractor().GetPeerInfos().GetInfos() {
		if i >= maxPeers {
			t.forgotten.Add(1)
			continue
		}
		p := t.of(uint64(info.GetId()))
		p.describe([]byte(info.GetAddress()), connectionType(info.GetConnectionType()), info.GetInbound())
		if info.GetVersion() != 0 {
			p.greeted = true
		}
		complete := uint64(0)
		for _, n := range info.GetBytesReceivedPerMessage() {
			complete += n
		}
		p.facts = facts{
			UserAgent: cut(info.GetSubversion(), maxAgent), Network: cut(info.GetNetwork(), 32), MappedAS: info.GetMappedAs(),
			BytesReceived: info.GetBytesReceived(), BytesSent: info.GetBytesSent(),
			UnknownBytes: info.GetBytesReceivedPerMessage()["*other*"],
			Inflight:     len(info.GetInflight()), TimeOffset: info.GetTimeOffset(), MinimumPing: finite(info.GetMinimumPing()),
			AddrLimited: info.GetAddrRateLimited(), InvToSend: info.GetInvToSend(), ConnectionTime: info.GetConnectionTime(),
		}
		if info.GetInbound() && peerstate.GivesNothing(info) {
			p.facts.listened = info.GetBytesSentPerMessage()["inv"]
		}
		if complete > 0 && info.GetBytesReceived() > complete {
			p.facts.Incomplete = info.GetBytesReceived() - complete
		}
		if last := info.GetLastSend(); last > 0 {
			p.facts.Unsent = max(0, float64(now.Unix()-last))
		}
	}
}

// connectionType reads the name that getpeerinfo gives.
func connectionType(name string) eventpb.ConnectionType {
	for t := range eventpb.ConnectionType_name {
		if connectionTypeName(eventpb.ConnectionType(t)) == name {
			return eventpb.ConnectionType(t)
		}
	}
	return 0
}

// Directions of a connection.
const (
	directionInbound  = "inbound"
	directionOutbound = "outbound"
)

// suspect is a peer in a record.
type suspect struct {
	ID             uint64  `json:"peer_id"`
	Address        string  `json:"address"`
	Direction      string  `json:"direction"`
	ConnectionType string  `json:"connection_type"`
	Measure        float64 `json:"measure"`
	// AfterFiring: it came among the suspects after the rule fired.
	AfterFiring   bool              `json:"after_firing,omitempty"`
	Closed        *time.Time        `json:"closed,omitempty"`
	Misbehaviours uint64            `json:"misbehaviours,omitempty"`
	Reason        string            `json:"misbehaviour,omitempty"`
	Received      map[string]uint64 `json:"received_messages"`
	Facts         facts             `json:"getpeerinfo"`
	// Last are the last messages that count for the measure, or of all when it doesn't
	// count messages, the oldest first. They are never changed.
	Last []lastMessage `json:"last_messages"`
}

// suspects are the peers with the largest measure, the largest first; cpu is the CPU time
// by peer.
func (t *peerTable) suspects(m measure, cpu map[uint64]float64, now time.Time) (name string, list []suspect) {
	if m.of == nil {
		return "", nil
	}
	hosts := map[string]int{}
	for _, p := range t.peers {
		if p.Inbound {
			hosts[host(p.Address)]++
		}
	}
	type ranked struct {
		*peer
		measure float64
	}
	var all []ranked
	for _, p := range t.peers {
		for _, w := range p.received {
			w.advance(minuteOf(now))
		}
		p.ofHost = hosts[host(p.Address)]
		if v := m.of(p, cpu[p.ID]); v > 0 {
			all = append(all, ranked{p, v})
		}
	}
	slices.SortFunc(all, func(a, b ranked) int { return cmp.Or(cmp.Compare(b.measure, a.measure), cmp.Compare(a.ID, b.ID)) })
	for _, r := range all[:min(len(all), maxSuspects)] {
		list = append(list, r.suspect(r.measure, m.types))
	}
	return m.name, list
}

// suspect is the peer as it is now, with the last messages of some types; of all when nil.
func (p *peer) suspect(measure float64, types []decode.MessageType) suspect {
	s := suspect{
		ID: p.ID, Address: p.Address, Direction: directionOutbound, ConnectionType: connectionTypeName(p.ConnectionType), Measure: measure,
		Misbehaviours: p.misbehaviours, Reason: p.reason, Received: map[string]uint64{}, Facts: p.facts,
	}
	if p.Inbound {
		s.Direction = directionInbound
	}
	if !p.Closed.IsZero() {
		closed := p.Closed
		s.Closed = &closed
	}
	for t, w := range p.received {
		if n := w.sum().messages; n > 0 {
			s.Received[t.String()] = n
		}
	}
	if types != nil {
		s.Last = p.lastOf(types)
		return s
	}
	for i := p.messages - min(p.messages, maxMessages); i < p.messages; i++ {
		s.Last = append(s.Last, p.last[i%maxMessages])
	}
	return s
}

// lastOf gives the last messages of some types that the node got, the oldest first. Other
// messages don't push them out.
func (p *peer) lastOf(types []decode.MessageType) (list []lastMessage) {
	for _, t := range types {
		w := p.received[t]
		if w == nil {
			continue
		}
		for i := w.next - min(w.next, maxMessages); i < w.next; i++ {
			h := w.last[i%maxMessages]
			list = append(list, lastMessage{Time: time.Unix(0, h.at), Type: t.String(), Inbound: true, Size: h.size})
		}
	}
	slices.SortStableFunc(list, func(a, b lastMessage) int { return a.Time.Compare(b.Time) })
	return slices.Clone(list[max(len(list)-maxMessages, 0):])
}

// host is the address without its port.
func host(address string) string {
	h, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return h
}

var _ event.Sink = (*Sink)(nil)

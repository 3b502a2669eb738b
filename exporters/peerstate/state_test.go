package peerstate

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/exporters/netgroup"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// feeder gives events to a state.
type feeder struct {
	t        testing.TB
	state    *State
	now      time.Time
	start    int64
	sequence uint64
	decoded  decode.Event
}

func newFeeder(t testing.TB) *feeder {
	return &feeder{t: t, state: New(Config{Seed: testSeed}), now: time.Unix(1_700_000_000, 0), start: 1}
}

func (f *feeder) send(x *eventpb.EbpfExtractor) *Observation {
	f.t.Helper()
	f.sequence++
	data, err := proto.Marshal(&eventpb.Event{PeerObserverEvent: &eventpb.Event_EbpfExtractor{EbpfExtractor: x}})
	if err != nil {
		f.t.Fatal(err)
	}
	if !f.decoded.Decode(event.SourceEBPF, data) {
		f.t.Fatalf("%v is not decoded", x)
	}
	e := f.event()
	e.Data = data
	return f.state.Observe(e, &f.decoded)
}

// event is the event that was sent last, without its data.
func (f *feeder) event() *event.Event {
	return &event.Event{Header: event.Header{
		Source: event.SourceEBPF, KernelTime: f.now.UnixNano(), NodeStartTime: f.start, BootID: 1, Sequence: f.sequence,
	}}
}

func (f *feeder) open(id uint64, addr string) *Observation {
	f.t.Helper()
	return f.send(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Connection{Connection: &eventpb.ConnectionEvent{
		Event: &eventpb.ConnectionEvent_Inbound{Inbound: &eventpb.InboundConnection{Conn: &eventpb.Connection{
			PeerId: proto.Uint64(id), Addr: proto.String(addr), ConnType: eventpb.ConnType_CONN_TYPE_INBOUND.Enum(), Network: proto.Uint32(1)}}}}}})
}

func (f *feeder) message(id uint64, in bool, command string, size int) *Observation {
	f.t.Helper()
	return f.send(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Message{Message: &eventpb.MessageEvent{Meta: &eventpb.Metadata{
		PeerId: proto.Uint64(id), Addr: proto.String("8.8.8.8:1"), Command: proto.String(command), Inbound: proto.Bool(in), Size: proto.Uint64(uint64(size))}}}})
}

// The peers that are remembered are bounded; those that were silent longest go first.
func TestPeersAreBounded(t *testing.T) {
	f := newFeeder(t)
	for i := range uint64(3 * maxPeers) {
		f.open(i, fmt.Sprintf("%d.%d.8.8:1", 1+i%200, i/200))
		if i > 0 {
			f.message(0, true, "ping", 8)
		}
	}
	if n := len(f.state.table.peers); n != maxPeers {
		t.Errorf("%d peers", n)
	}
	if f.state.Peer(0) == nil || f.state.Peer(1) != nil || f.state.Peer(3*maxPeers-1) == nil {
		t.Error("the wrong peers were forgotten")
	}
	n := 0
	f.state.table.each(func(*Peer) { n++ })
	if n != maxPeers {
		t.Errorf("%d peers in the list", n)
	}
}

// Ids begin anew with the node's process; late events of the old one count for nothing.
func TestNodeRestart(t *testing.T) {
	f := newFeeder(t)
	f.open(1, "8.8.8.8:1")
	f.start = 2
	if o := f.message(1, true, "ping", 8); o.Peer == nil || o.Peer.SeenOpening {
		t.Error("a peer of the new process is taken for one of the old")
	}
	f.start = 1
	if o := f.message(7, true, "ping", 8); o.Peer != nil || f.state.Peer(7) != nil {
		t.Error("an event of the old process makes a peer")
	}
	if len(f.state.table.peers) != 1 {
		t.Errorf("%d peers", len(f.state.table.peers))
	}
}

// A clock that runs away must not put everything out of date.
func TestClock(t *testing.T) {
	f := newFeeder(t)
	f.message(1, true, "ping", 8)
	before := f.state.Now()
	f.now = f.now.Add(1000 * 24 * time.Hour)
	f.message(1, true, "ping", 8)
	if f.state.Now() != before {
		t.Error("an event set the clock forward by years")
	}
	f.now = time.Unix(0, before).Add(-time.Hour)
	f.message(1, true, "ping", 8)
	if f.state.Now() != before {
		t.Error("the clock went back")
	}
}

// Summaries come by the clock, however the events do.
func TestSummary(t *testing.T) {
	f := newFeeder(t)
	n := 0
	for range 100 {
		f.now = f.now.Add(time.Second)
		if f.message(1, true, "ping", 8).Summary != nil {
			n++
		}
	}
	if n != 11 {
		t.Errorf("%d summaries in 100 s", n)
	}
	u := f.state.Summarise()
	if u.Activity[ActivityPings] < 55 || u.Activity[ActivityPings] > 65 {
		t.Errorf("%v pings a minute", u.Activity[ActivityPings])
	}
}

// Requests never take more room than they have, and every one ends once.
func TestRequestsAreBounded(t *testing.T) {
	f := newFeeder(t)
	f.open(1, "8.8.8.8:1")
	p := f.state.Peer(1)
	var q requests
	q.init(100, int64(time.Minute))
	var o RequestObservation
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 10_000 {
		f.state.now += int64(r.IntN(2)) * int64(time.Second)
		q.expire(f.state, &o)
		switch r.IntN(4) {
		case 0:
			q.deliver(f.state, &o, uint64(r.IntN(300)))
		case 1:
			q.notFound(f.state, uint64(r.IntN(300)), &o)
		default:
			q.ask(f.state, uint64(r.IntN(300)), p, &o)
		}
		if len(q.index) > 100 || q.count > 100 {
			t.Fatalf("%d requests in a ring of %d after %d", len(q.index), q.count, i)
		}
		if p.outstanding != len(q.index) {
			t.Fatalf("the peer has %d open requests, the ring %d", p.outstanding, len(q.index))
		}
	}
	f.state.now += int64(time.Hour)
	q.expire(f.state, &o)
	if len(q.index) != 0 || p.outstanding != 0 {
		t.Errorf("%d requests are left", len(q.index))
	}
}

// A gap in the numbers ends what is measured across it.
func TestGap(t *testing.T) {
	f := newFeeder(t)
	hit := func(command string, cpu uint64) *Observation {
		return f.send(&eventpb.EbpfExtractor{
			Hit: &eventpb.TracepointHit{Pid: proto.Uint32(1), Tid: proto.Uint32(2), ThreadCpuTimeNs: proto.Uint64(cpu)},
			EbpfEvent: &eventpb.EbpfExtractor_Message{Message: &eventpb.MessageEvent{Meta: &eventpb.Metadata{
				PeerId: proto.Uint64(1), Command: proto.String(command), Inbound: proto.Bool(true)}}}})
	}
	hit("tx", 1)
	f.now = f.now.Add(time.Millisecond)
	if o := hit("tx", 1_000_001); !o.Service.Valid || o.Service.Wall != 1_000_000 {
		t.Errorf("service %+v", o.Service)
	}
	f.sequence++
	f.now = f.now.Add(time.Millisecond)
	if o := hit("tx", 2_000_001); o.Service.Valid {
		t.Error("a message is measured across a gap")
	}
}

// An inbound connection over Tor has a local address; its group is that of all of Tor.
func TestOnionGroup(t *testing.T) {
	f := newFeeder(t)
	o := f.send(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Connection{Connection: &eventpb.ConnectionEvent{
		Event: &eventpb.ConnectionEvent_Inbound{Inbound: &eventpb.InboundConnection{Conn: &eventpb.Connection{
			PeerId: proto.Uint64(1), Addr: proto.String("127.0.0.1:5555"), Network: proto.Uint32(3)}}}}}})
	if o.Peer.Group != (netgroup.Group{Class: netgroup.Onion}) {
		t.Errorf("group %+v", o.Peer.Group)
	}
}

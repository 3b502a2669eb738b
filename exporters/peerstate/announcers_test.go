package peerstate

import (
	"bytes"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// announce lets a peer announce a block by an inv message.
func (f *feeder) announce(id uint64, block byte) *Observation {
	f.t.Helper()
	item := &eventpb.InventoryItem{Item: &eventpb.InventoryItem_Block{Block: bytes.Repeat([]byte{block}, 32)}}
	return f.send(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Message{Message: &eventpb.MessageEvent{
		Meta: &eventpb.Metadata{PeerId: proto.Uint64(id), Addr: proto.String("8.8.8.8:1"), Command: proto.String("inv"), Inbound: proto.Bool(true), Size: proto.Uint64(37)},
		Msg:  &eventpb.MessageEvent_Inv{Inv: &eventpb.Inv{Items: []*eventpb.InventoryItem{item}}},
	}}})
}

// Each peer has one place in the order in which a block is announced, and late
// announcements and those of too many peers have none.
func TestOrderOfAnnouncements(t *testing.T) {
	f := newFeeder(t)
	for id := range uint64(2 * maxAnnouncers) {
		f.now = f.now.Add(time.Second)
		o := f.announce(id, 1)
		if counts := id < maxAnnouncers; o.Announced != counts || counts && (o.AnnounceRank != int(id)+1 || o.First != (id == 0) || o.AnnounceDelay != int64(id)*1e9) {
			t.Fatalf("peer %d: %+v", id, o)
		}
		if o := f.announce(id, 1); o.Announced {
			t.Fatalf("peer %d announces again: rank %d", id, o.AnnounceRank)
		}
	}
	// Another block has an order of its own, up to ten minutes after its first.
	if o := f.announce(7, 2); !o.First || o.AnnounceRank != 1 {
		t.Errorf("%+v", o)
	}
	f.now = f.now.Add(10 * time.Minute)
	if o := f.announce(8, 2); !o.Announced || o.AnnounceRank != 2 {
		t.Errorf("%+v", o)
	}
	f.now = f.now.Add(time.Second)
	if o := f.announce(9, 2); o.Announced {
		t.Errorf("late: %+v", o)
	}
	// The places of forgotten blocks are used again, without their announcers.
	for block := range maxBlocks {
		f.announce(1, byte(3+block%250))
		f.state.chain.add(uint64(block) + 1<<32)
	}
	if o := f.announce(7, 2); !o.First || o.AnnounceRank != 1 {
		t.Errorf("after the block was forgotten: %+v", o)
	}
}

// The work for peers is counted as State counts it, and forgotten with them.
func TestWorkTimes(t *testing.T) {
	f := newFeeder(t)
	f.now = time.Unix(1_700_000_040, 0)
	w := NewWorkTimes()
	cpu := uint64(1e9)
	hit := func(after time.Duration, id uint64, in bool, command string) {
		f.now = f.now.Add(after)
		cpu += uint64(after)
		f.send(&eventpb.EbpfExtractor{
			Hit: &eventpb.TracepointHit{Pid: proto.Uint32(1), Tid: proto.Uint32(1), Cpu: proto.Uint32(0), ThreadCpuTimeNs: proto.Uint64(cpu)},
			EbpfEvent: &eventpb.EbpfExtractor_Message{Message: &eventpb.MessageEvent{Meta: &eventpb.Metadata{
				PeerId: proto.Uint64(id), Addr: proto.String("8.8.8.8:1"), Command: proto.String(command), Inbound: proto.Bool(in), Size: proto.Uint64(8)}}},
		})
		w.Observe(f.event(), &f.decoded)
	}
	hit(0, 1, true, "ping")
	hit(2*time.Millisecond, 1, false, "pong")
	hit(time.Millisecond, 2, true, "inv")
	hit(5*time.Millisecond, 1, true, "ping")
	list := w.Peers()
	if len(list) != 2 || list[0].ID != 2 || list[0].Messages != 1 || list[0].Wall != 0.005 || list[1].Wall != 0.003 || !list[1].HasCPU || list[1].CPU != 0.003 {
		t.Errorf("%+v", list)
	}
	if p := f.state.Peer(2); p.cpu.rate(f.state.now) != 5000 {
		t.Errorf("State counts %v µs", p.cpu.rate(f.state.now))
	}
	// The thread turns to another peer and sleeps for two minutes; then nothing is left of
	// the old ones.
	hit(time.Millisecond, 5, false, "inv")
	f.now = f.now.Add(2 * time.Minute)
	hit(0, 3, true, "ping")
	hit(time.Millisecond, 3, true, "ping")
	if list = w.Peers(); len(list) != 1 || list[0].ID != 3 {
		t.Errorf("%+v", list)
	}
	// A new process of the node has new peers; what is left of the old one counts for
	// nothing.
	f.start = 2
	hit(time.Millisecond, 4, true, "ping")
	hit(time.Millisecond, 4, true, "ping")
	f.start = 1
	hit(time.Millisecond, 3, true, "ping")
	f.start = 2
	if list = w.Peers(); len(list) != 1 || list[0].ID != 4 {
		t.Errorf("%+v", list)
	}
	// A gap in the numbers interrupts what was under way.
	hit(time.Millisecond, 4, true, "ping")
	f.sequence++
	hit(time.Millisecond, 4, true, "ping")
	if again := w.Peers(); again[0].Messages != list[0].Messages {
		t.Errorf("work over a gap is counted: %+v", again)
	}
}

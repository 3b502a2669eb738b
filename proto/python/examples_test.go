package python_test

import (
	"math"
	"strings"
	"testing"

	"github.com/peerobserver/peerobserver/proto/event"
	pb "github.com/peerobserver/peerobserver/proto/eventpb"
)

// examples is one event for each subject, with values at the edges of their types.
func examples(t *testing.T) map[string]*pb.Event {
	t.Helper()
	all := map[string]*pb.Event{}
	for _, e := range append(ebpfExamples(), otherExamples()...) {
		e.Timestamp = new(uint64(1_700_000_000_123))
		e.BootId = new(uint64(math.MaxUint64))
		subject := event.KindOf(encode(t, e)).Subject()
		if subject == "" || all[subject] != nil {
			t.Fatalf("subject %q of an example is empty or taken: %v", subject, e)
		}
		all[subject] = e
	}
	return all
}

func exampleHash() []byte { return []byte(strings.Repeat("\xff\x00\x7f\x80", 8)) }

func ebpfExamples() []*pb.Event {
	ebpf := func(e *pb.EbpfExtractor) *pb.Event {
		return &pb.Event{PeerObserverEvent: &pb.Event_EbpfExtractor{EbpfExtractor: e}}
	}
	validation := func(e *pb.ValidationEvent) *pb.Event {
		return ebpf(&pb.EbpfExtractor{EbpfEvent: &pb.EbpfExtractor_Validation{Validation: e}})
	}
	utxoCache := func(e *pb.UtxoCacheEvent) *pb.Event {
		return ebpf(&pb.EbpfExtractor{EbpfEvent: &pb.EbpfExtractor_UtxoCache{UtxoCache: e}})
	}
	hash := exampleHash()
	return []*pb.Event{
		ebpf(&pb.EbpfExtractor{EbpfEvent: &pb.EbpfExtractor_Message{Message: &pb.MessageEvent{
			Meta: &pb.Metadata{
				PeerId: new(uint64(math.MaxUint64)), Addr: new("[fc00::1]:8333"), ConnType: pb.ConnType_CONN_TYPE_UNKNOWN.Enum(),
				Command: new("feefilter"), Inbound: new(false), Size: new(uint64(0)),
			},
			Msg: &pb.MessageEvent_Feefilter{Feefilter: &pb.FeeFilter{Fee: new(int64(math.MinInt64))}},
		}}}),
		ebpf(&pb.EbpfExtractor{EbpfEvent: &pb.EbpfExtractor_Connection{Connection: &pb.ConnectionEvent{
			Event: &pb.ConnectionEvent_Misbehaving{Misbehaving: &pb.MisbehavingConnection{Id: new(uint64(0)), Message: new("\u2028 \" \\ \uFFFD")}},
		}}}),
		ebpf(&pb.EbpfExtractor{EbpfEvent: &pb.EbpfExtractor_Mempool{Mempool: &pb.MempoolEvent{
			Event: &pb.MempoolEvent_Removed{Removed: &pb.Removed{
				Txid: hash, Reason: new("sizelimit"), Vsize: new(int32(-1)), Fee: new(int64(-1)), EntryTime: new(uint64(1)),
			}},
		}}}),
		validation(&pb.ValidationEvent{Event: &pb.ValidationEvent_BlockConnected{
			BlockConnected: &pb.BlockConnected{Hash: hash, Height: new(int32(math.MaxInt32))},
		}}),
		validation(&pb.ValidationEvent{Event: &pb.ValidationEvent_BlockHeader{
			BlockHeader: &pb.BlockHeaderSeen{Hash: hash, Height: new(int32(0))},
		}}),
		validation(&pb.ValidationEvent{Event: &pb.ValidationEvent_CompactBlockReconstructed{
			CompactBlockReconstructed: &pb.CompactBlockReconstructed{Hash: hash, RequestedBytes: new(uint64(math.MaxUint64))},
		}}),
		utxoCache(&pb.UtxoCacheEvent{Event: &pb.UtxoCacheEvent_Flush{Flush: &pb.UtxoCacheFlush{Duration: new(int64(math.MaxInt64))}}}),
		utxoCache(&pb.UtxoCacheEvent{Event: &pb.UtxoCacheEvent_Add{Add: &pb.UtxoCacheCoin{OutputIndex: new(uint32(math.MaxUint32))}}}),
		utxoCache(&pb.UtxoCacheEvent{Event: &pb.UtxoCacheEvent_Spent{Spent: &pb.UtxoCacheCoin{Txid: hash, Value: new(int64(21_000_000_00000000))}}}),
		utxoCache(&pb.UtxoCacheEvent{Event: &pb.UtxoCacheEvent_Uncache{Uncache: &pb.UtxoCacheCoin{IsCoinbase: new(true)}}}),
	}
}

func otherExamples() []*pb.Event {
	rpc := func(e *pb.RpcExtractor) *pb.Event {
		return &pb.Event{PeerObserverEvent: &pb.Event_RpcExtractor{RpcExtractor: e}}
	}
	p2p := func(e *pb.P2PExtractor) *pb.Event {
		return &pb.Event{PeerObserverEvent: &pb.Event_P2PExtractor{P2PExtractor: e}}
	}
	log := func(e *pb.LogExtractor) *pb.Event {
		return &pb.Event{PeerObserverEvent: &pb.Event_LogExtractor{LogExtractor: e}}
	}
	hash := exampleHash()
	return []*pb.Event{
		rpc(&pb.RpcExtractor{RpcEvent: &pb.RpcExtractor_Addrman{Addrman: &pb.Addrman{New: map[uint32]*pb.AddrmanBucket{
			1023: {Entries: map[uint32]*pb.AddrmanEntry{0: {Address: new("a"), Time: new(int64(-1))}}},
		}}}}),
		rpc(&pb.RpcExtractor{RpcEvent: &pb.RpcExtractor_ChainTips{ChainTips: &pb.ChainTips{
			Tips: []*pb.ChainTip{{Height: new(int32(-1)), Status: new("valid-fork")}, {}},
		}}}),
		rpc(&pb.RpcExtractor{RpcEvent: &pb.RpcExtractor_BannedList{BannedList: &pb.BannedList{Count: new(uint64(0))}}}),
		p2p(&pb.P2PExtractor{P2PEvent: &pb.P2PExtractor_FeefilterAnnouncement{FeefilterAnnouncement: -1}}),
		p2p(&pb.P2PExtractor{P2PEvent: &pb.P2PExtractor_BlockAnnouncement{BlockAnnouncement: &pb.BlockAnnouncement{
			Via: pb.BlockAnnouncement_VIA_COMPACT_BLOCK.Enum(), Headers: []*pb.BlockHeader{{Version: new(int32(math.MinInt32)), Hash: hash}},
		}}}),
		p2p(&pb.P2PExtractor{P2PEvent: &pb.P2PExtractor_LinkState{LinkState: &pb.LinkState{State: pb.LinkState_STATE_DOWN.Enum()}}}),
		p2p(&pb.P2PExtractor{P2PEvent: &pb.P2PExtractor_PingTimeout{PingTimeout: &pb.PingTimeout{Waited: new(uint64(math.MaxUint64))}}}),
		log(&pb.LogExtractor{
			Category: pb.LogDebugCategory_LOG_DEBUG_CATEGORY_ZMQ.Enum(),
			LogEvent: &pb.LogExtractor_UnknownLogMessage{UnknownLogMessage: &pb.UnknownLogMessage{RawMessage: new("")}},
		}),
		log(&pb.LogExtractor{LogEvent: &pb.LogExtractor_KnownLogMessage{KnownLogMessage: &pb.KnownLogMessage{
			PeerId: new(uint64(0)), Height: new(int32(-1)),
		}}}),
		{PeerObserverEvent: &pb.Event_IpcExtractor{IpcExtractor: &pb.IpcExtractor{
			IpcEvent: &pb.IpcExtractor_BlockTip{BlockTip: &pb.BlockTip{Height: new(int32(-1)), Hash: hash}},
		}}},
		{PeerObserverEvent: &pb.Event_Observer{Observer: &pb.Observer{
			ObserverEvent: &pb.Observer_Status{Status: &pb.Status{Losses: []*pb.Loss{{Count: new(uint64(math.MaxUint64))}}}},
		}}},
		{PeerObserverEvent: &pb.Event_Observer{Observer: &pb.Observer{
			ObserverEvent: &pb.Observer_AlertEvidence{AlertEvidence: &pb.AlertEvidence{
				State: pb.AlertEvidence_STATE_ENDED.Enum(), Labels: map[string]string{"id": "B04"}, ValueLargest: new(math.MaxFloat64),
				Peers: []*pb.EvidencePeer{{Address: new("a"), ReceivedMessages: map[string]uint64{"ping": math.MaxUint64}, LastMessages: []*pb.EvidenceMessage{{}}}},
			}},
		}}},
	}
}

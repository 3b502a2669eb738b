package compatibility_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/peerobserver/peerobserver/proto/compatibility"
	"github.com/peerobserver/peerobserver/proto/event"
	pb "github.com/peerobserver/peerobserver/proto/eventpb"
	"github.com/peerobserver/peerobserver/proto/field"
)

// collect keeps a copy of every event.
type collect struct{ events [][]byte }

func (c *collect) HandleEvent(e *event.Event) {
	c.events = append(c.events, append([]byte(nil), e.Data...))
}

// TestEmittedEventsAreStrict emits events as sources do and reads them as a strict
// reader of the existing format does.
func TestEmittedEventsAreStrict(t *testing.T) {
	checker, err := compatibility.NewChecker()
	if err != nil {
		t.Fatal(err)
	}
	var got collect
	emitter := event.NewEmitter(event.SourceEBPF, event.Origin{NodeName: "n", BootID: 1}, event.NewStream(&got), event.NewLedger())

	cold := func(e *pb.Event) []byte {
		got.events = nil
		emitter.Emit(e, event.Times{Kernel: 1, NodeStart: 1})
		return got.events[0]
	}
	connection := func(conn *pb.Connection) *pb.Event {
		return &pb.Event{PeerObserverEvent: &pb.Event_EbpfExtractor{EbpfExtractor: &pb.EbpfExtractor{
			EbpfEvent: &pb.EbpfExtractor_Connection{Connection: &pb.ConnectionEvent{
				Event: &pb.ConnectionEvent_Outbound{Outbound: &pb.OutboundConnection{Conn: conn, ExistingConnections: new(uint64(0))}},
			}},
			Hit: &pb.TracepointHit{Pid: new(uint32(1))},
		}}}
	}
	complete := func() *pb.Connection {
		return &pb.Connection{
			PeerId: new(uint64(0)), Addr: new(""), ConnType: pb.ConnType_CONN_TYPE_UNKNOWN.Enum(), Network: new(uint32(0)),
			ConnectionType: pb.ConnectionType_CONNECTION_TYPE_PRIVATE_BROADCAST.Enum(),
		}
	}

	if err := checker.Check(cold(connection(complete()))); err != nil {
		t.Errorf("an event with zero values: %v", err)
	}
	manual := complete()
	manual.ConnType = pb.ConnType(pb.ConnectionType_CONNECTION_TYPE_MANUAL).Enum()
	if err := checker.Check(cold(connection(manual))); err == nil || !strings.Contains(err.Error(), "conn_type") {
		t.Errorf("a connection type that the existing tools don't know: %v, want an error that names it", err)
	}
	partial := complete()
	partial.Network = nil
	if err := checker.Check(cold(connection(partial))); err == nil || !strings.Contains(err.Error(), "network") {
		t.Errorf("an event without Connection.network: %v, want an error that names it", err)
	}
	level := pb.LogLevel(99)
	strange := &pb.Event{PeerObserverEvent: &pb.Event_LogExtractor{LogExtractor: &pb.LogExtractor{
		LogTimestamp: new(uint64(0)), Category: pb.LogDebugCategory_LOG_DEBUG_CATEGORY_NET.Enum(), Threadname: new(""),
		LogEvent: &pb.LogExtractor_UnknownLogMessage{UnknownLogMessage: &pb.UnknownLogMessage{RawMessage: new("")}},
		LogLevel: &level, LogLineBytes: new(uint64(0)),
	}}}
	if err := checker.Check(cold(strange)); err == nil || !strings.Contains(err.Error(), "log_level") {
		t.Errorf("an unknown log level: %v, want an error that names the field", err)
	}
	status := &pb.Event{PeerObserverEvent: &pb.Event_Observer{Observer: &pb.Observer{
		ObserverEvent: &pb.Observer_Status{Status: &pb.Status{}},
	}}}
	if err := checker.Check(cold(status)); !errors.Is(err, compatibility.ErrAddition) {
		t.Errorf("a status: %v, want ErrAddition", err)
	}
	flush := &pb.Event{PeerObserverEvent: &pb.Event_EbpfExtractor{EbpfExtractor: &pb.EbpfExtractor{
		EbpfEvent: &pb.EbpfExtractor_UtxoCache{UtxoCache: &pb.UtxoCacheEvent{}},
	}}}
	if err := checker.Check(cold(flush)); !errors.Is(err, compatibility.ErrAddition) {
		t.Errorf("a utxocache event: %v, want ErrAddition", err)
	}

	// The same through the path that writes bytes without structs.
	b := event.NewBuffer(64)
	body := event.AppendBytesField(b.Grow(), field.AddedTxid, hash(1))
	body = event.AppendVarintField(body, field.AddedVsize, 100)
	body = event.AppendVarintField(body, field.AddedFee, 1000)
	b.SetGrown(body)
	b.Enclose(field.MempoolEventAdded)
	b.Enclose(field.EbpfExtractorMempool)
	b.Enclose(field.EventEbpfExtractor)
	got.events = nil
	emitter.EmitEncoded(b, event.Times{})
	if err := checker.Check(got.events[0]); err != nil {
		t.Errorf("an event of encoded bytes: %v", err)
	}

	if err := checker.Check([]byte{0x0a}); err == nil {
		t.Error("half a field passes")
	}
	if err := checker.Check(nil); err == nil {
		t.Error("nothing passes, although timestamp is required")
	}
}

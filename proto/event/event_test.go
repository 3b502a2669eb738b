package event_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
	"github.com/peerobserver/peerobserver/proto/field"
)

// keep is a sink that keeps copies.
type keep struct{ events []event.Event }

func (k *keep) HandleEvent(e *event.Event) {
	c := *e
	c.Data = append([]byte(nil), e.Data...)
	k.events = append(k.events, c)
}

func ptr[T any](v T) *T { return &v }

// inv is a P2P message with 5 items.
func inv() *eventpb.Event {
	m := &eventpb.Inv{}
	for range 5 {
		m.Items = append(m.Items, &eventpb.InventoryItem{Item: &eventpb.InventoryItem_Wtx{Wtx: make([]byte, 32)}})
	}
	return &eventpb.Event{PeerObserverEvent: &eventpb.Event_EbpfExtractor{EbpfExtractor: &eventpb.EbpfExtractor{
		EbpfEvent: &eventpb.EbpfExtractor_Message{Message: &eventpb.MessageEvent{
			Meta: &eventpb.Metadata{PeerId: ptr(uint64(3)), Addr: ptr("198.51.100.1:8333"), Command: ptr("inv"), Inbound: ptr(true)},
			Msg:  &eventpb.MessageEvent_Inv{Inv: m},
		}},
	}}}
}

// sampleEvent is the encoding of a whole event, as an emitter makes it.
func sampleEvent(t testing.TB) []byte {
	t.Helper()
	sink := new(keep)
	m := event.NewEmitter(event.SourceEBPF, event.Origin{NodeName: "node", BootID: 7}, event.NewStream(sink), event.NewLedger())
	m.Emit(inv(), event.Times{Kernel: 1_700_000_000_123_456_789, NodeStart: 5})
	if len(sink.events) != 1 {
		t.Fatal("nothing emitted")
	}
	return sink.events[0].Data
}

func TestEmitStampsAndParseReads(t *testing.T) {
	sink := new(keep)
	stream := event.NewStream(sink)
	ledger := event.NewLedger()
	origin := event.Origin{NodeName: "nöde", BootID: 1 << 63}
	m := event.NewEmitter(event.SourceEBPF, origin, stream, ledger)
	times := event.Times{Kernel: 1_700_000_000_123_456_789, Receive: 1_700_000_001_000_000_001, NodeStart: 1_600_000_000_000_000_000}
	m.Emit(inv(), times)
	m.Emit(inv(), event.Times{Receive: 1_700_000_001_999_999_999})
	before := time.Now().UnixNano()
	m.Emit(inv(), event.Times{})
	after := time.Now().UnixNano()

	want := []event.Header{
		{
			Source: event.SourceEBPF, Timestamp: 1_700_000_000_123, NodeName: "nöde", BootID: 1 << 63, Sequence: 1,
			KernelTime: times.Kernel, ReceiveTime: times.Receive, NodeStartTime: times.NodeStart,
		},
		{
			Source: event.SourceEBPF, Timestamp: 1_700_000_001_999, NodeName: "nöde", BootID: 1 << 63, Sequence: 2,
			ReceiveTime: 1_700_000_001_999_999_999,
		},
	}
	for i, e := range sink.events {
		parsed, err := event.Parse(e.Data)
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind != event.KindMessage || e.Subject != event.SubjectMessages {
			t.Errorf("event %d: kind %s on %s", i, e.Kind, e.Subject)
		}
		if parsed != e.Header {
			t.Errorf("event %d: header %+v, parsed %+v", i, e.Header, parsed)
		}
		if i < len(want) && parsed != want[i] {
			t.Errorf("event %d: %+v, want %+v", i, parsed, want[i])
		}
		// The generated code reads the same.
		decoded := new(eventpb.Event)
		if err := proto.Unmarshal(e.Data, decoded); err != nil {
			t.Fatal(err)
		}
		if got := headerOf(decoded); got != parsed {
			t.Errorf("event %d: %+v, the generated code reads %+v", i, parsed, got)
		}
		body := &eventpb.Event{PeerObserverEvent: decoded.GetPeerObserverEvent()}
		if !proto.Equal(body, inv()) {
			t.Errorf("event %d: the body is another", i)
		}
	}
	last := sink.events[2].Header
	if last.ReceiveTime < before || last.ReceiveTime > after || last.Timestamp != uint64(last.ReceiveTime/1e6) {
		t.Errorf("receive time %d, timestamp %d", last.ReceiveTime, last.Timestamp)
	}
	status := ledger.Status().GetSources()[0]
	if status.GetEvents() != 3 || status.GetLastEventTimeNs() != last.ReceiveTime {
		t.Errorf("account: %v", status)
	}
}

// headerOf is the header as the generated code reads it.
func headerOf(e *eventpb.Event) event.Header {
	h := event.Header{
		Timestamp: e.GetTimestamp(), NodeName: e.GetNodeName(), BootID: e.GetBootId(), Sequence: e.GetSequence(),
		KernelTime: int64(e.GetKernelTimeNs()), ReceiveTime: int64(e.GetReceiveTimeNs()), NodeStartTime: int64(e.GetNodeStartTimeNs()),
	}
	switch e.GetPeerObserverEvent().(type) {
	case *eventpb.Event_EbpfExtractor:
		h.Source = event.SourceEBPF
	case *eventpb.Event_RpcExtractor:
		h.Source = event.SourceRPC
	case *eventpb.Event_P2PExtractor:
		h.Source = event.SourceP2P
	case *eventpb.Event_LogExtractor:
		h.Source = event.SourceLog
	case *eventpb.Event_IpcExtractor:
		h.Source = event.SourceIPC
	case *eventpb.Event_Observer:
		h.Source = event.SourceObserver
	}
	return h
}

func TestEverySourceOfTheDescriptorIsKnown(t *testing.T) {
	oneof := (&eventpb.Event{}).ProtoReflect().Descriptor().Oneofs().ByName("peer_observer_event")
	seen := map[event.Source]bool{}
	for i := range oneof.Fields().Len() {
		f := oneof.Fields().Get(i)
		h, err := event.Parse(event.AppendBytesField(nil, f.Number(), nil))
		if err != nil {
			t.Fatal(err)
		}
		want := strings.TrimSuffix(string(f.Name()), "_extractor")
		if h.Source.String() != want {
			t.Errorf("%s is source %s", f.Name(), h.Source)
		}
		if back, err := event.ParseSource(want); err != nil || back != h.Source {
			t.Errorf("%s is read as %s, %v", want, back, err)
		}
		seen[h.Source] = true
	}
	if seen[event.SourceUnknown] || len(seen) != oneof.Fields().Len() {
		t.Errorf("sources: %v", seen)
	}
	for _, name := range []string{"", "unknown", "EBPF"} {
		if _, err := event.ParseSource(name); err == nil {
			t.Errorf("%q is accepted as a source", name)
		}
	}
	if event.Source(200).String() != "unknown" {
		t.Error("a number that is no source")
	}
}

func TestParseRefuses(t *testing.T) {
	good := sampleEvent(t)
	for name, data := range map[string][]byte{
		"cut":                 good[:len(good)-1],
		"bad tag":             append(good[:len(good):len(good)], 0),
		"wire type 7":         append(good[:len(good):len(good)], 0x0f),
		"length beyond end":   {0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f},
		"endless varint":      {0x50, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
		"end of no group":     {0x0c},
		"long node name":      event.AppendStringField(nil, field.EventNodeName, strings.Repeat("n", 256)),
		"node name not UTF-8": event.AppendBytesField(nil, field.EventNodeName, []byte{0xff}),
	} {
		h, err := event.Parse(data)
		if !errors.Is(err, event.ErrMalformed) {
			t.Errorf("%s: error %v", name, err)
		}
		if h != (event.Header{}) {
			t.Errorf("%s: header %+v beside an error", name, h)
		}
	}
}

func TestParseSkipsWhatItDoesNotKnow(t *testing.T) {
	data := sampleEvent(t)
	want, err := event.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	more := event.AppendStringField(nil, 4711, "x")
	more = event.AppendVarintField(more, 4712, 1)
	more = event.AppendFixed64Field(more, 4713, 1)
	more = protowire.AppendFixed32(protowire.AppendTag(more, 4714, protowire.Fixed32Type), 1)
	more = protowire.AppendTag(protowire.AppendTag(more, 4715, protowire.StartGroupType), 4715, protowire.EndGroupType)
	// Known numbers with another wire type are unknown fields, as in protobuf.
	more = event.AppendFixed64Field(more, field.EventSequence, 99)
	more = event.AppendVarintField(more, field.EventBootId, 99)
	more = event.AppendVarintField(more, field.EventNodeName, 99)
	more = event.AppendVarintField(more, field.EventRpcExtractor, 99)
	for _, data := range [][]byte{append(more[:len(more):len(more)], data...), append(data[:len(data):len(data)], more...)} {
		got, err := event.Parse(data)
		if err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
}

// FuzzParse holds Parse and KindOf against the generated code.
func FuzzParse(f *testing.F) {
	f.Add(sampleEvent(f))
	for _, p := range kindPaths() {
		data, err := proto.Marshal(p.build())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte{0x0a, 0x00, 0x12, 0x02, 0x18, 0x01})
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := event.Parse(data)
		kind := event.KindOf(data)
		decoded := new(eventpb.Event)
		if proto.Unmarshal(data, decoded) != nil {
			return
		}
		// What the generated code reads, Parse reads, and the same, apart from the
		// limit on names.
		if len(decoded.GetNodeName()) > 255 {
			return
		}
		if err != nil {
			t.Fatalf("Parse: %v", err)
		}
		if want := headerOf(decoded); h != want {
			t.Fatalf("Parse %+v, generated code %+v", h, want)
		}
		// Split messages are put together only by the generated code, so the kind is
		// compared in the canonical encoding.
		canonical, err := proto.Marshal(decoded)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := event.KindOf(canonical), kindOf(decoded); got != want {
			t.Fatalf("KindOf %s, generated code %s", got, want)
		}
		if kind != event.KindUnknown && kind.Source() != h.Source {
			t.Fatalf("kind %s of source %s", kind, h.Source)
		}
	})
}

// kindOf is the kind as the generated code reads it.
func kindOf(e *eventpb.Event) event.Kind {
	for _, p := range kindPaths() {
		m := e.ProtoReflect()
		found := true
		for _, f := range p {
			if found = m.WhichOneof(f.ContainingOneof()) == f; !found {
				break
			}
			if f.Kind() == protoreflect.MessageKind {
				m = m.Get(f).Message()
			}
		}
		if found {
			kind, _ := event.ParseKind(p.name())
			return kind
		}
	}
	return event.KindUnknown
}

func TestEmitEncodedIsEmit(t *testing.T) {
	sink := new(keep)
	stream := event.NewStream(sink)
	origin := event.Origin{NodeName: "node", BootID: 7}
	times := event.Times{Kernel: 5e18, Receive: 6e18, NodeStart: 1}
	cold := event.NewEmitter(event.SourceRPC, origin, stream, event.NewLedger())
	hot := event.NewEmitter(event.SourceRPC, origin, stream, event.NewLedger())
	cold.Emit(&eventpb.Event{PeerObserverEvent: &eventpb.Event_RpcExtractor{
		RpcExtractor: &eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_Uptime{Uptime: 300}},
	}}, times)
	b := event.NewBuffer(16)
	b.SetGrown(event.AppendVarintField(b.Grow(), field.RpcExtractorUptime, 300))
	b.Enclose(field.EventRpcExtractor)
	hot.EmitEncoded(b, times)
	if len(sink.events) != 2 || !reflect.DeepEqual(sink.events[0], sink.events[1]) {
		t.Errorf("got %+v", sink.events)
	}
}

func TestOversizeEventsUseANumber(t *testing.T) {
	sink := new(keep)
	ledger := event.NewLedger()
	m := event.NewEmitter(event.SourceLog, event.Origin{}, event.NewStream(sink), ledger)
	emit := func(size int) {
		m.Emit(&eventpb.Event{PeerObserverEvent: &eventpb.Event_LogExtractor{LogExtractor: &eventpb.LogExtractor{
			LogEvent: &eventpb.LogExtractor_UnknownLogMessage{UnknownLogMessage: &eventpb.UnknownLogMessage{RawMessage: ptr(strings.Repeat("x", size))}},
		}}}, event.Times{})
	}
	emit(1)
	emit(event.MaxSize)
	emit(event.MaxSize - 1000)
	if len(sink.events) != 2 || sink.events[0].Sequence != 1 || sink.events[1].Sequence != 3 {
		t.Fatalf("%d events", len(sink.events))
	}
	if n := ledger.Loss(event.SourceLog, event.StageEmit, event.ReasonTooLarge).Value(); n != 1 {
		t.Errorf("%d counted as too large", n)
	}
}

func TestTextThatIsNotUTF8IsCounted(t *testing.T) {
	sink := new(keep)
	ledger := event.NewLedger()
	m := event.NewEmitter(event.SourceLog, event.Origin{}, event.NewStream(sink), ledger)
	bad := &eventpb.Event{PeerObserverEvent: &eventpb.Event_LogExtractor{LogExtractor: &eventpb.LogExtractor{Threadname: ptr("\xff")}}}
	m.Emit(bad, event.Times{})
	m.Emit(&eventpb.Event{PeerObserverEvent: &eventpb.Event_LogExtractor{LogExtractor: &eventpb.LogExtractor{}}}, event.Times{})
	if n := ledger.Loss(event.SourceLog, event.StageEmit, event.ReasonEncode).Value(); n != 1 {
		t.Errorf("%d counted", n)
	}
	// As with every lost event, its number is missing.
	if len(sink.events) != 1 || sink.events[0].Sequence != 2 {
		t.Errorf("events: %+v", sink.events)
	}
}

func TestNodeNameThatNobodyCouldRead(t *testing.T) {
	for _, name := range []string{strings.Repeat("ü", 200), "a\xffb"} {
		sink := new(keep)
		m := event.NewEmitter(event.SourceRPC, event.Origin{NodeName: name}, event.NewStream(sink), event.NewLedger())
		m.Emit(&eventpb.Event{}, event.Times{})
		h, err := event.Parse(sink.events[0].Data)
		if err != nil || h.NodeName != sink.events[0].NodeName || h.NodeName == "" {
			t.Errorf("%q: %v, %q", name, err, h.NodeName)
		}
	}
}

// TestStreamOrder has several emitters and producers at once: every sink sees one order,
// and the numbers of each source in it without a gap.
func TestStreamOrder(t *testing.T) {
	a, b := new(keep), new(keep)
	stream := event.NewStream(a, b)
	ledger := event.NewLedger()
	var wg sync.WaitGroup
	const each = 500
	for _, source := range []event.Source{event.SourceRPC, event.SourceLog, event.SourceP2P} {
		m := event.NewEmitter(source, event.Origin{NodeName: "n", BootID: 1}, stream, ledger)
		for range 2 {
			wg.Go(func() {
				for range each {
					m.Emit(&eventpb.Event{}, event.Times{})
				}
			})
		}
	}
	wg.Wait()
	if !reflect.DeepEqual(a.events, b.events) {
		t.Error("the sinks saw different orders")
	}
	last := map[event.Source]uint64{}
	for _, e := range a.events {
		last[e.Source]++
		if e.Sequence != last[e.Source] {
			t.Fatalf("%s: number %d where %d was due", e.Source, e.Sequence, last[e.Source])
		}
	}
	for source, n := range last {
		if n != 2*each {
			t.Errorf("%s: %d events", source, n)
		}
	}
}

func TestTimeIsTheBestThereIs(t *testing.T) {
	for _, test := range []struct {
		h    event.Header
		want int64
	}{
		{event.Header{KernelTime: 3, ReceiveTime: 2, Timestamp: 1}, 3},
		{event.Header{ReceiveTime: 2, Timestamp: 1}, 2},
		{event.Header{Timestamp: 1}, 1e6},
	} {
		if got := test.h.Time().UnixNano(); got != test.want {
			t.Errorf("%+v: %d", test.h, got)
		}
	}
}

func TestEmitEncodedAllocatesNothing(t *testing.T) {
	m := event.NewEmitter(event.SourceRPC, event.Origin{NodeName: "node", BootID: 1}, event.NewStream(nothing{}), event.NewLedger())
	b := event.NewBuffer(1024)
	allocs := testing.AllocsPerRun(1000, func() {
		b.Reset()
		b.SetGrown(event.AppendVarintField(b.Grow(), field.RpcExtractorUptime, 300))
		b.Enclose(field.EventRpcExtractor)
		m.EmitEncoded(b, event.Times{Receive: 1})
	})
	if allocs != 0 {
		t.Errorf("%v allocations an event", allocs)
	}
}

type nothing struct{}

func (nothing) HandleEvent(*event.Event) {}

func BenchmarkParse(b *testing.B) {
	data := sampleEvent(b)
	b.ReportAllocs()
	for range b.N {
		if _, err := event.Parse(data); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleKindOf() {
	data := event.AppendBytesField(nil, field.EventRpcExtractor, event.AppendVarintField(nil, field.RpcExtractorUptime, 60))
	fmt.Println(event.KindOf(data))
	// Output: rpc.uptime
}

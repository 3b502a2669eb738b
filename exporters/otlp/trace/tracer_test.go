package trace

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	oteltrace "go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// base is the time of the first event of a script.
const base = int64(1_800_000_000_000_000_000)

const ms = int64(time.Millisecond)

// script feeds a tracer with events at chosen times.
type script struct {
	t        *testing.T
	tracer   *Tracer
	exporter *tracetest.InMemoryExporter
	ledger   *event.Ledger
	emitters map[string]*event.Emitter
	stream   *event.Stream
	now      time.Time
}

func newScript(t *testing.T, config Config) *script {
	t.Helper()
	s := &script{t: t, exporter: tracetest.NewInMemoryExporter(), ledger: event.NewLedger(), emitters: map[string]*event.Emitter{}, now: time.Unix(0, base)}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(s.exporter), sdktrace.WithIDGenerator(IDGenerator()))
	config.Clock = func() time.Time { return s.now }
	config.Registerer = prometheus.NewPedanticRegistry()
	var err error
	if s.tracer, err = New(config, provider, s.ledger); err != nil {
		t.Fatal(err)
	}
	s.stream = event.NewStream(s.tracer)
	return s
}

// at emits an event of a node at milliseconds after base, and handles it.
func (s *script) at(node string, milliseconds int64, e *eventpb.EbpfExtractor) {
	s.t.Helper()
	m := s.emitters[node]
	if m == nil {
		m = event.NewEmitter(event.SourceEBPF, event.Origin{NodeName: node, BootID: 1}, s.stream, s.ledger)
		s.emitters[node] = m
	}
	m.Emit(&eventpb.Event{PeerObserverEvent: &eventpb.Event_EbpfExtractor{EbpfExtractor: e}}, event.Times{Kernel: base + milliseconds*ms})
	for len(s.tracer.queue) > 0 {
		step := <-s.tracer.queue
		s.tracer.handle(&step)
	}
}

// end makes everything idle, and gives all spans.
func (s *script) end() tracetest.SpanStubs {
	s.now = s.now.Add(DefaultIdle)
	s.tracer.sweep()
	return s.exporter.GetSpans()
}

func message(peer uint64, inbound bool, command string, body func(*eventpb.MessageEvent)) *eventpb.EbpfExtractor {
	m := &eventpb.MessageEvent{Meta: &eventpb.Metadata{
		PeerId: proto.Uint64(peer), Command: proto.String(command), Inbound: proto.Bool(inbound), Size: proto.Uint64(100),
		Addr: proto.String("192.0.2.7:8333"), ConnectionType: eventpb.ConnectionType_CONNECTION_TYPE_INBOUND.Enum(),
	}}
	body(m)
	return &eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Message{Message: m}}
}

func blockHeader(h hash) *eventpb.BlockHeader {
	return &eventpb.BlockHeader{Hash: h[:], Time: proto.Uint32(uint32(base / int64(time.Second)))}
}

func headers(peer uint64, inbound bool, hashes ...hash) *eventpb.EbpfExtractor {
	return message(peer, inbound, "headers", func(m *eventpb.MessageEvent) {
		list := new(eventpb.Headers)
		for _, h := range hashes {
			list.Headers = append(list.Headers, blockHeader(h))
		}
		m.Msg = &eventpb.MessageEvent_Headers{Headers: list}
	})
}

func compact(peer uint64, inbound bool, h hash) *eventpb.EbpfExtractor {
	return message(peer, inbound, "cmpctblock", func(m *eventpb.MessageEvent) {
		m.Msg = &eventpb.MessageEvent_Compactblock{Compactblock: &eventpb.CompactBlock{Header: blockHeader(h)}}
	})
}

func block(peer uint64, inbound bool, h hash) *eventpb.EbpfExtractor {
	return message(peer, inbound, "block", func(m *eventpb.MessageEvent) {
		m.Msg = &eventpb.MessageEvent_Block{Block: &eventpb.Block{Header: blockHeader(h)}}
	})
}

func getData(peer uint64, inbound bool, items ...*eventpb.InventoryItem) *eventpb.EbpfExtractor {
	return message(peer, inbound, "getdata", func(m *eventpb.MessageEvent) {
		m.Msg = &eventpb.MessageEvent_Getdata{Getdata: &eventpb.GetData{Items: items}}
	})
}

func inv(peer uint64, inbound bool, items ...*eventpb.InventoryItem) *eventpb.EbpfExtractor {
	return message(peer, inbound, "inv", func(m *eventpb.MessageEvent) { m.Msg = &eventpb.MessageEvent_Inv{Inv: &eventpb.Inv{Items: items}} })
}

func tx(peer uint64, inbound bool, txid, wtxid hash) *eventpb.EbpfExtractor {
	return message(peer, inbound, "tx", func(m *eventpb.MessageEvent) {
		m.Msg = &eventpb.MessageEvent_Tx{Tx: &eventpb.Tx{Tx: &eventpb.Transaction{Txid: txid[:], Wtxid: wtxid[:]}}}
	})
}

func blockItem(h hash) *eventpb.InventoryItem {
	return &eventpb.InventoryItem{Item: &eventpb.InventoryItem_WitnessBlock{WitnessBlock: h[:]}}
}

func wtxItem(h hash) *eventpb.InventoryItem {
	return &eventpb.InventoryItem{Item: &eventpb.InventoryItem_Wtx{Wtx: h[:]}}
}

func connected(h hash, duration int64) *eventpb.EbpfExtractor {
	return &eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Validation{Validation: &eventpb.ValidationEvent{
		Event: &eventpb.ValidationEvent_BlockConnected{BlockConnected: &eventpb.BlockConnected{
			Hash: h[:], Height: proto.Int32(101), Transactions: proto.Int64(3), ConnectionTime: proto.Uint64(uint64(duration * ms)),
		}},
	}}}
}

func blockTxn(peer uint64, h hash) *eventpb.EbpfExtractor {
	return message(peer, true, "blocktxn", func(m *eventpb.MessageEvent) {
		m.Msg = &eventpb.MessageEvent_Blocktxn{Blocktxn: &eventpb.BlockTxn{BlockHash: h[:]}}
	})
}

func getBlockTxn(peer uint64, h hash) *eventpb.EbpfExtractor {
	return message(peer, false, "getblocktxn", func(m *eventpb.MessageEvent) {
		m.Msg = &eventpb.MessageEvent_Getblocktxn{Getblocktxn: &eventpb.GetBlockTxn{BlockHash: h[:]}}
	})
}

// shape writes spans down as a tree: name, time from base in milliseconds, events.
func shape(spans tracetest.SpanStubs) string {
	slices.SortStableFunc(spans, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	var out strings.Builder
	var write func(parent oteltrace.SpanID, indent string)
	write = func(parent oteltrace.SpanID, indent string) {
		for _, s := range spans {
			if s.Parent.SpanID() != parent {
				continue
			}
			fmt.Fprintf(&out, "%s%s %d-%d", indent, s.Name, (s.StartTime.UnixNano()-base)/ms, (s.EndTime.UnixNano()-base)/ms)
			for _, e := range s.Events {
				fmt.Fprintf(&out, " %s@%d", e.Name, (e.Time.UnixNano()-base)/ms)
			}
			out.WriteString("\n")
			write(s.SpanContext.SpanID(), indent+"  ")
		}
	}
	write(oteltrace.SpanID{}, "")
	return out.String()
}

func value(t *testing.T, s tracetest.SpanStub, key attribute.Key) string {
	t.Helper()
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.String()
		}
	}
	return ""
}

func named(t *testing.T, spans tracetest.SpanStubs, name string) tracetest.SpanStub {
	t.Helper()
	for _, s := range spans {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no span %s", name)
	return tracetest.SpanStub{}
}

func same(t *testing.T, got, want string) {
	t.Helper()
	if want = strings.TrimLeft(want, "\n"); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}

// A block that is announced by headers, asked for and delivered; and a second node that
// mined it.
func TestBlockOnTwoNodesIsOneTrace(t *testing.T) {
	h := hash{1, 2, 3}
	s := newScript(t, Config{Blocks: true})
	s.at("miner", 0, connected(h, 0))
	s.at("miner", 1, headers(4, false, h))
	s.at("miner", 3, getData(4, true, blockItem(h)))
	s.at("miner", 4, block(4, false, h))
	s.at("alice", 2, headers(1, true, h))
	s.at("alice", 2, getData(1, false, blockItem(h)))
	s.at("alice", 5, headers(2, true, h))
	s.at("alice", 12, block(1, true, h))
	s.at("alice", 40, connected(h, 20))
	s.at("alice", 41, headers(3, false, h))
	s.at("alice", 43, headers(5, false, h))
	s.at("alice", 50, inv(6, true, blockItem(h)))
	spans := s.end()
	same(t, shape(spans), `
block 0-4 validation@0 relay@1
  serving 3-4
block 2-50 announcement@2 announcement@5 announcement@50
  delivery 2-12
    request 2-12
  validation 20-40
  relay 41-43 relay@41 relay@43
`)
	ids := map[oteltrace.SpanID]bool{}
	want := oteltrace.TraceID(event.BlockTraceID(h[:]))
	for _, span := range spans {
		if span.SpanContext.TraceID() != want {
			t.Errorf("span %s has trace id %s, want %s", span.Name, span.SpanContext.TraceID(), want)
		}
		ids[span.SpanContext.SpanID()] = true
		node := value(t, span, attrNode)
		if span.Name != "block" {
			continue
		}
		if origin := value(t, span, attrOrigin); origin != map[string]string{"miner": "local", "alice": "peer"}[node] {
			t.Errorf("%s: origin %q", node, origin)
		}
		if got := value(t, span, attrMissing); got != "" {
			t.Errorf("%s: missing %s", node, got)
		}
		if got := value(t, span, attrBlock); !strings.HasSuffix(got, "030201") {
			t.Errorf("hash %q", got)
		}
		for i, e := range span.Events {
			late := slices.Contains(e.Attributes, attrLate.Bool(true))
			if node == "alice" && late != (i == 2) {
				t.Errorf("announcement %d is late: %v", i, late)
			}
		}
	}
	if len(ids) != len(spans) {
		t.Errorf("%d spans have %d ids", len(spans), len(ids))
	}
	// The same events give the same ids.
	again := newScript(t, Config{Blocks: true})
	again.at("miner", 0, connected(h, 0))
	again.at("miner", 1, headers(4, false, h))
	if first := again.end()[0]; !ids[first.SpanContext.SpanID()] {
		t.Error("the same events have other ids")
	}
	// What comes when the trace is finished is no new trace.
	s.exporter.Reset()
	s.at("alice", 60_000, headers(7, true, h))
	s.at("alice", 60_001, getData(7, false, blockItem(h)))
	if n := len(s.end()); n != 0 {
		t.Errorf("%d spans of a finished block", n)
	}
}

// Compact blocks, complete and incomplete, with and without a tracepoint for it.
func TestReconstruction(t *testing.T) {
	told := &eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Validation{Validation: &eventpb.ValidationEvent{
		Event: &eventpb.ValidationEvent_CompactBlockReconstructed{CompactBlockReconstructed: &eventpb.CompactBlockReconstructed{
			Hash: func() []byte { h := hash{4}; return h[:] }(), PeerId: proto.Uint64(1), MempoolTransactions: proto.Uint64(2),
		}},
	}}}
	s := newScript(t, Config{Blocks: true})
	// High-bandwidth mode, complete from the mempool: inferred.
	h := hash{1}
	s.at("n", 0, compact(1, true, h))
	s.at("n", 10, connected(h, 4))
	// Two transactions are missing.
	h = hash{2}
	s.at("n", 100, compact(1, true, h))
	s.at("n", 101, getBlockTxn(1, h))
	s.at("n", 120, blockTxn(1, h))
	s.at("n", 130, connected(h, 4))
	// The request isn't answered, another peer sends the block: nothing is inferred.
	h = hash{3}
	s.at("n", 200, compact(1, true, h))
	s.at("n", 201, getBlockTxn(1, h))
	s.at("n", 210, getData(2, false, blockItem(h)))
	s.at("n", 220, block(2, true, h))
	s.at("n", 230, connected(h, 4))
	// The node tells.
	h = hash{4}
	s.at("n", 300, compact(1, true, h))
	s.at("n", 305, told)
	s.at("n", 310, connected(h, 4))
	spans := s.end()
	same(t, shape(spans), `
block 0-10 announcement@0
  reconstruction 0-6
  validation 6-10
block 100-130 announcement@100
  reconstruction 100-120
  request 101-120
  validation 126-130
block 200-230 announcement@200 request@201
  request 210-220
  validation 226-230
block 300-310 announcement@300
  reconstruction 300-305
  validation 306-310
`)
	var inferred []string
	for _, span := range spans {
		if span.Name == "reconstruction" {
			inferred = append(inferred, value(t, span, attrInferred))
		}
		if span.Name == "block" && value(t, span, attrMissing) != `["relay"]` {
			t.Errorf("missing: %s", value(t, span, attrMissing))
		}
	}
	if !slices.Equal(inferred, []string{"true", "true", ""}) {
		t.Errorf("inferred: %q", inferred)
	}
}

// What isn't seen isn't drawn.
func TestMissingStepsAreNotInvented(t *testing.T) {
	s := newScript(t, Config{Blocks: true})
	h := hash{1}
	s.at("n", 0, headers(1, true, h))
	s.at("n", 1, getData(1, false, blockItem(h)))
	// A download of old blocks, and one of a long chain.
	old := message(1, true, "cmpctblock", func(m *eventpb.MessageEvent) {
		m.Msg = &eventpb.MessageEvent_Compactblock{Compactblock: &eventpb.CompactBlock{Header: &eventpb.BlockHeader{
			Hash: slices.Repeat([]byte{9}, 32), Time: proto.Uint32(uint32(base/int64(time.Second)) - 100_000),
		}}}
	})
	s.at("n", 2, old)
	s.at("n", 3, connected(hash(slices.Repeat([]byte{9}, 32)), 1))
	var chain []hash
	for i := range 9 {
		chain = append(chain, hash{8, byte(i)})
	}
	s.at("n", 4, headers(1, true, chain...))
	s.at("n", 5, getData(1, false, blockItem(chain[0])))
	// Nobody announced this one, and nobody asked for that one.
	s.at("n", 6, connected(hash{7}, 1))
	s.at("n", 7, headers(1, true, hash{6}))
	spans := s.end()
	same(t, shape(spans), `
block 0-1 announcement@0 request@1
`)
	if got := value(t, spans[0], attrMissing); got != `["delivery","validation","relay"]` {
		t.Errorf("missing %s", got)
	}
}

func TestTransaction(t *testing.T) {
	s := newScript(t, Config{Transactions: 2})
	txid, wtxid, other := hash{0xff, 1}, hash{1}, hash{0xff}
	s.at("n", 0, inv(1, true, wtxItem(wtxid), wtxItem(other)))
	s.at("n", 2, getData(1, false, wtxItem(wtxid), wtxItem(other)))
	s.at("n", 3, inv(2, true, wtxItem(wtxid)))
	s.at("n", 9, tx(1, true, txid, wtxid))
	s.at("n", 11, &eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Mempool{Mempool: &eventpb.MempoolEvent{
		Event: &eventpb.MempoolEvent_Added{Added: &eventpb.Added{Txid: txid[:], Vsize: proto.Int32(200), Fee: proto.Int64(1000)}},
	}}})
	s.at("n", 20, inv(3, false, wtxItem(wtxid)))
	s.at("n", 25, getData(3, true, wtxItem(wtxid)))
	s.at("n", 26, tx(3, false, txid, wtxid))
	spans := s.end()
	same(t, shape(spans), `
transaction 0-26 announcement@0 announcement@3 relay@20
  delivery 0-9
    request 2-9
  acceptance 9-11
  serving 25-26
`)
	if got := spans[0].SpanContext.TraceID(); got != oteltrace.TraceID(event.TransactionTraceID(wtxid[:])) {
		t.Errorf("trace id %s", got)
	}
	if got := value(t, named(t, spans, "transaction"), attrResult); got != "added" {
		t.Errorf("result %q", got)
	}
	if len(s.tracer.byTxID) != 0 || s.tracer.stored != 0 {
		t.Errorf("%d transactions and %d steps are left", len(s.tracer.byTxID), s.tracer.stored)
	}
	rejected := hash{2}
	s.exporter.Reset()
	s.at("n", 100, getData(1, false, wtxItem(rejected)))
	s.at("n", 110, tx(1, true, rejected, rejected))
	s.at("n", 111, &eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Mempool{Mempool: &eventpb.MempoolEvent{
		Event: &eventpb.MempoolEvent_Rejected{Rejected: &eventpb.Rejected{Txid: rejected[:], Reason: proto.String("dust\x1b[31m" + strings.Repeat("é", 500))}},
	}}})
	spans = s.end()
	same(t, shape(spans), `
transaction 110-111 delivery@110
  acceptance 110-111
`)
	if got := value(t, named(t, spans, "acceptance"), attrReason); !strings.HasPrefix(got, "dust?[31m??") || len(got) != maxText+3 {
		t.Errorf("reason %q", got)
	}
}

func TestPeerSession(t *testing.T) {
	for _, addresses := range []bool{false, true} {
		s := newScript(t, Config{Peers: 2, Addresses: addresses})
		connection := func(id uint64) *eventpb.Connection {
			return &eventpb.Connection{PeerId: proto.Uint64(id), Addr: proto.String("192.0.2.7:8333"), Network: proto.Uint32(3), ConnectionType: eventpb.ConnectionType_CONNECTION_TYPE_OUTBOUND_FULL_RELAY.Enum()}
		}
		event := func(e *eventpb.ConnectionEvent) *eventpb.EbpfExtractor {
			return &eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Connection{Connection: e}}
		}
		opened := func(id uint64) *eventpb.EbpfExtractor {
			return event(&eventpb.ConnectionEvent{Event: &eventpb.ConnectionEvent_Outbound{Outbound: &eventpb.OutboundConnection{Conn: connection(id)}}})
		}
		closed := func(id uint64) *eventpb.EbpfExtractor {
			return event(&eventpb.ConnectionEvent{Event: &eventpb.ConnectionEvent_Closed{Closed: &eventpb.ClosedConnection{Conn: connection(id), TimeEstablished: proto.Uint64(uint64(base / int64(time.Second)))}}})
		}
		version := func(m *eventpb.MessageEvent) {
			m.Msg = &eventpb.MessageEvent_Version{Version: &eventpb.Version{Version: proto.Uint32(70016), UserAgent: proto.String("/x\n\xc3\xa9/")}}
		}
		verack := func(m *eventpb.MessageEvent) { m.Msg = &eventpb.MessageEvent_Verack{Verack: true} }
		s.at("n", 0, opened(2))
		s.at("n", 0, opened(3)) // not one in two
		s.at("n", 1, message(2, false, "version", version))
		s.at("n", 5, message(2, true, "version", version))
		s.at("n", 6, message(2, true, "verack", verack))
		s.at("n", 7, message(2, false, "verack", verack))
		s.at("n", 8, message(3, false, "verack", verack))
		s.at("n", 50, event(&eventpb.ConnectionEvent{Event: &eventpb.ConnectionEvent_Misbehaving{Misbehaving: &eventpb.MisbehavingConnection{Id: proto.Uint64(2), Message: proto.String("non-continuous headers")}}}))
		s.at("n", 60, closed(2))
		s.at("n", 61, closed(3))
		s.at("n", 70, closed(4)) // whose opening wasn't seen
		spans := s.end()
		same(t, shape(spans), `
peer session 0-60 version@1 version@5 verack@6 verack@7 misbehaving@50
  handshake 0-7
peer session 0-70
`)
		for _, span := range spans {
			if span.Name != "peer session" {
				continue
			}
			if got, want := value(t, span, attrAddress), map[bool]string{true: "192.0.2.7:8333"}[addresses]; got != want {
				t.Errorf("address %q, want %q", got, want)
			}
			if got := value(t, span, attrNetwork); got != "onion" {
				t.Errorf("network %q", got)
			}
			seen := span.EndTime.UnixNano() == base+60*ms
			if got, want := value(t, span, attrUserAgent), map[bool]string{true: "/x???/"}[seen]; got != want {
				t.Errorf("user agent %q, want %q", got, want)
			}
			if got, want := value(t, span, attrMissing), map[bool]string{false: `["connect","handshake"]`}[seen]; got != want {
				t.Errorf("missing %q, want %q", got, want)
			}
		}
	}
}

// Peers that claim without end fill nothing: all that is kept is bounded, and what the
// node didn't act on isn't exported.
func TestHostilePeers(t *testing.T) {
	s := newScript(t, Config{Blocks: true, Transactions: 1, Peers: 1})
	mined := hash{0xaa}
	s.at("n", 0, headers(1, true, mined))
	s.at("n", 1, getData(1, false, blockItem(mined)))
	const rounds = 600
	n := uint64(0)
	fresh := func() hash {
		n++
		var h hash
		binary.LittleEndian.PutUint64(h[8:], n)
		return h
	}
	for i := range rounds {
		var items []*eventpb.InventoryItem
		for range 100 {
			items = append(items, blockItem(fresh()), wtxItem(fresh()))
		}
		s.at("n", 2, inv(uint64(i), true, items...))
		s.at("n", 2, headers(uint64(i), true, fresh()))
		// The same block again and again.
		s.at("n", 2, headers(uint64(i), true, mined))
		s.at("n", 3, &eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Connection{Connection: &eventpb.ConnectionEvent{
			Event: &eventpb.ConnectionEvent_Inbound{Inbound: &eventpb.InboundConnection{Conn: &eventpb.Connection{PeerId: proto.Uint64(uint64(i) + 10_000)}}},
		}}})
	}
	if got := s.tracer.claimed.len(); got != maxClaimed {
		t.Errorf("%d claims are kept", got)
	}
	if s.tracer.stored > maxStored || s.tracer.sessions.len() > maxSessions {
		t.Errorf("%d steps and %d sessions are kept", s.tracer.stored, s.tracer.sessions.len())
	}
	if got := s.ledger.Loss(event.SourceEBPF, event.StageQueue, ReasonTraceFull).Value(); got != rounds+2-maxSteps {
		t.Errorf("%d steps of the block were lost", got)
	}
	spans := s.end()
	if len(spans) != 1 || spans[0].Name != "block" || len(spans[0].Events) > maxEvents || value(t, spans[0], attrDropped) == "" {
		t.Fatalf("%d spans:\n%s", len(spans), shape(spans))
	}
	for _, span := range spans {
		if len(span.Attributes) > 20 {
			t.Errorf("%d attributes", len(span.Attributes))
		}
	}
	s.tracer.finishAll()
	if got := s.exporter.GetSpans(); len(got) != 1+rounds || s.tracer.sessions.len() != 0 {
		t.Errorf("%d spans at the end", len(got))
	}
}

// A provider that takes nothing holds nobody up: what finds no room is counted.
func TestQueueIsBounded(t *testing.T) {
	s := newScript(t, Config{Blocks: true, Queue: 4})
	m := event.NewEmitter(event.SourceEBPF, event.Origin{NodeName: "n", BootID: 1}, s.stream, s.ledger)
	for i := range 10 {
		m.Emit(&eventpb.Event{PeerObserverEvent: &eventpb.Event_EbpfExtractor{EbpfExtractor: headers(1, true, hash{byte(i)})}}, event.Times{Kernel: base})
	}
	if got := s.ledger.Loss(event.SourceEBPF, event.StageQueue, ReasonQueueFull).Value(); got != 6 {
		t.Errorf("%d events were counted as lost", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.tracer.Run(ctx); err != nil {
		t.Error(err)
	}
	if got := s.tracer.claimed.len(); got != 4 {
		t.Errorf("%d of the queued events were handled at the end", got)
	}
	m.Emit(&eventpb.Event{PeerObserverEvent: &eventpb.Event_EbpfExtractor{EbpfExtractor: headers(1, true, hash{99})}}, event.Times{Kernel: base})
	if got := s.ledger.Loss(event.SourceEBPF, event.StageQueue, ReasonQueueFull).Value(); got != 7 {
		t.Errorf("an event after the end wasn't counted: %d", got)
	}
}

// One in n is chosen, and the choice depends on the hash alone.
func TestSampling(t *testing.T) {
	count := 0
	for i := range uint32(100_000) {
		var h hash
		binary.BigEndian.PutUint32(h[:], i*42_949)
		if sampled(h[:], 100) {
			count++
		}
	}
	if count < 990 || count > 1010 {
		t.Errorf("%d of 100,000 were chosen", count)
	}
	if sampled(make([]byte, 32), 0) || sampled(make([]byte, 31), 1) || !sampled(slices.Repeat([]byte{0xff}, 32), 1) {
		t.Error("none, all or half a hash")
	}
}

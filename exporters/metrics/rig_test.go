package metrics_test

import (
	"fmt"
	"hash/maphash"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/metrics"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// start is when the events of the tests begin.
var start = time.Unix(1_700_000_000, 0)

// nodeStart is when the observed node of the tests was started.
var nodeStart = start.Add(-time.Hour).UnixNano()

// rig feeds events to a sink, at times of its own.
type rig struct {
	t        testing.TB
	sink     *metrics.Sink
	now      time.Time
	stream   *event.Stream
	ledger   *event.Ledger
	emitters map[event.Source]*event.Emitter
	// cpu is the CPU time of the node's message thread.
	cpu time.Duration
}

// message thread of the node in the tests.
const (
	messagePID    = 100
	messageThread = 101
)

func newRig(t testing.TB, config metrics.Config, more ...event.Sink) *rig {
	t.Helper()
	r := &rig{t: t, now: start, ledger: event.NewLedger(), emitters: map[event.Source]*event.Emitter{}}
	if config.Clock == nil && !config.Replay {
		config.Clock = func() time.Time { return r.now }
	}
	sink, err := metrics.New(config)
	if err != nil {
		t.Fatal(err)
	}
	r.sink = sink
	r.stream = event.NewStream(append([]event.Sink{sink}, more...)...)
	return r
}

func (r *rig) emitter(s event.Source) *event.Emitter {
	m := r.emitters[s]
	if m == nil {
		m = event.NewEmitter(s, event.Origin{NodeName: "alpha", BootID: 7}, r.stream, r.ledger)
		r.emitters[s] = m
	}
	return m
}

// after moves the time of the next event.
func (r *rig) after(d time.Duration) *rig {
	r.now = r.now.Add(d)
	return r
}

// work lets the node's message thread work for a time.
func (r *rig) work(d time.Duration) *rig {
	r.cpu += d
	return r.after(d)
}

func (r *rig) ebpf(subject string, x *eventpb.EbpfExtractor) {
	r.t.Helper()
	x.Hit = &eventpb.TracepointHit{
		Pid: proto.Uint32(messagePID), Tid: proto.Uint32(messageThread),
		ThreadCpuTimeNs: proto.Uint64(uint64(time.Hour + r.cpu)),
	}
	r.emitter(event.SourceEBPF).Emit(&eventpb.Event{PeerObserverEvent: &eventpb.Event_EbpfExtractor{EbpfExtractor: x}}, event.Times{
		Kernel: r.now.UnixNano(), Receive: r.now.Add(time.Millisecond).UnixNano(), NodeStart: nodeStart,
	})
}

// peer is a peer of the node in the tests.
type peer struct {
	id      uint64
	addr    string
	kind    eventpb.ConnectionType
	network uint32
}

var (
	alice = peer{1, "8.8.8.8:41000", eventpb.ConnectionType_CONNECTION_TYPE_INBOUND, 1}
	bob   = peer{2, "9.9.9.9:8333", eventpb.ConnectionType_CONNECTION_TYPE_OUTBOUND_FULL_RELAY, 1}
	carol = peer{3, "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion:8333", eventpb.ConnectionType_CONNECTION_TYPE_BLOCK_RELAY_ONLY, 3}
)

// message is a message from (in) or to a peer; body is set by the caller.
func (r *rig) message(p peer, in bool, command string, size int, body *eventpb.MessageEvent) {
	r.t.Helper()
	if body == nil {
		body = &eventpb.MessageEvent{}
	}
	body.Meta = &eventpb.Metadata{
		PeerId: proto.Uint64(p.id), Addr: proto.String(p.addr), ConnType: p.kind.ConnType().Enum(), ConnectionType: p.kind.Enum(),
		Command: proto.String(command), Inbound: proto.Bool(in), Size: proto.Uint64(uint64(size)),
	}
	r.ebpf(event.SubjectMessages, &eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Message{Message: body}})
}

func connectionOf(p peer) *eventpb.Connection {
	return &eventpb.Connection{PeerId: proto.Uint64(p.id), Addr: proto.String(p.addr), ConnType: p.kind.ConnType().Enum(), ConnectionType: p.kind.Enum(), Network: proto.Uint32(p.network)}
}

func (r *rig) connection(c *eventpb.ConnectionEvent) {
	r.t.Helper()
	r.ebpf(event.SubjectConnections, &eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Connection{Connection: c}})
}

func (r *rig) open(p peer) {
	r.t.Helper()
	if p.kind == eventpb.ConnectionType_CONNECTION_TYPE_INBOUND {
		r.connection(&eventpb.ConnectionEvent{Event: &eventpb.ConnectionEvent_Inbound{Inbound: &eventpb.InboundConnection{
			Conn: connectionOf(p), ExistingConnections: proto.Uint64(5)}}})
		return
	}
	r.connection(&eventpb.ConnectionEvent{Event: &eventpb.ConnectionEvent_Outbound{Outbound: &eventpb.OutboundConnection{
		Conn: connectionOf(p), ExistingConnections: proto.Uint64(3)}}})
}

func (r *rig) close(p peer, established time.Time) {
	r.t.Helper()
	r.connection(&eventpb.ConnectionEvent{Event: &eventpb.ConnectionEvent_Closed{Closed: &eventpb.ClosedConnection{
		Conn: connectionOf(p), TimeEstablished: proto.Uint64(uint64(established.Unix()))}}})
}

func (r *rig) misbehaving(p peer, text string) {
	r.t.Helper()
	r.connection(&eventpb.ConnectionEvent{Event: &eventpb.ConnectionEvent_Misbehaving{Misbehaving: &eventpb.MisbehavingConnection{
		Id: proto.Uint64(p.id), Message: proto.String(text)}}})
}

func (r *rig) mempool(m *eventpb.MempoolEvent) {
	r.t.Helper()
	r.ebpf(event.SubjectMempool, &eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Mempool{Mempool: m}})
}

func (r *rig) validation(v *eventpb.ValidationEvent) {
	r.t.Helper()
	r.ebpf(event.SubjectValidation, &eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Validation{Validation: v}})
}

func (r *rig) other(source event.Source, subject string, e *eventpb.Event) {
	r.t.Helper()
	r.emitter(source).Emit(e, event.Times{Receive: r.now.UnixNano(), NodeStart: nodeStart})
}

func (r *rig) rpc(x *eventpb.RpcExtractor) {
	r.t.Helper()
	r.other(event.SourceRPC, event.SubjectRPC, &eventpb.Event{PeerObserverEvent: &eventpb.Event_RpcExtractor{RpcExtractor: x}})
}

func (r *rig) p2p(x *eventpb.P2PExtractor) {
	r.t.Helper()
	r.other(event.SourceP2P, event.SubjectP2P, &eventpb.Event{PeerObserverEvent: &eventpb.Event_P2PExtractor{P2PExtractor: x}})
}

func (r *rig) log(x *eventpb.LogExtractor) {
	r.t.Helper()
	r.other(event.SourceLog, event.SubjectLog, &eventpb.Event{PeerObserverEvent: &eventpb.Event_LogExtractor{LogExtractor: x}})
}

func (r *rig) status(s *eventpb.Status) {
	r.t.Helper()
	r.other(event.SourceObserver, event.KindObserverStatus.Subject(), &eventpb.Event{PeerObserverEvent: &eventpb.Event_Observer{
		Observer: &eventpb.Observer{ObserverEvent: &eventpb.Observer_Status{Status: s}}}})
}

// inventory makes the items of an inv, getdata or notfound message.
func inventory(n int, item func(i int) *eventpb.InventoryItem) []*eventpb.InventoryItem {
	items := make([]*eventpb.InventoryItem, n)
	for i := range items {
		items[i] = item(i)
	}
	return items
}

func wtx(hash []byte) *eventpb.InventoryItem {
	return &eventpb.InventoryItem{Item: &eventpb.InventoryItem_Wtx{Wtx: hash}}
}

func blockItem(hash []byte) *eventpb.InventoryItem {
	return &eventpb.InventoryItem{Item: &eventpb.InventoryItem_WitnessBlock{WitnessBlock: hash}}
}

// hash makes a hash that is told apart by a name.
func hash(name string, i int) []byte {
	h := make([]byte, 32)
	copy(h, fmt.Sprintf("%s/%d", name, i))
	return h
}

func inv(items ...*eventpb.InventoryItem) *eventpb.MessageEvent {
	return &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Inv{Inv: &eventpb.Inv{Items: items}}, ElementCount: proto.Uint64(uint64(len(items)))}
}

func getData(items ...*eventpb.InventoryItem) *eventpb.MessageEvent {
	return &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Getdata{Getdata: &eventpb.GetData{Items: items}}, ElementCount: proto.Uint64(uint64(len(items)))}
}

func notFound(items ...*eventpb.InventoryItem) *eventpb.MessageEvent {
	return &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Notfound{Notfound: &eventpb.NotFound{Items: items}}, ElementCount: proto.Uint64(uint64(len(items)))}
}

func txMessage(wtxid []byte) *eventpb.MessageEvent {
	return &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Tx{Tx: &eventpb.Tx{Tx: &eventpb.Transaction{Txid: hash("txid", int(wtxid[0])), Wtxid: wtxid, Raw: make([]byte, 250)}}}}
}

func addrV2(list ...*eventpb.Address) *eventpb.MessageEvent {
	return &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Addrv2{Addrv2: &eventpb.AddrV2{Addresses: list}}, ElementCount: proto.Uint64(uint64(len(list)))}
}

func ipv4(text string, at time.Time, services uint64) *eventpb.Address {
	return &eventpb.Address{
		Timestamp: proto.Uint32(uint32(at.Unix())), Address: &eventpb.Address_Ipv4{Ipv4: text},
		Services: proto.Uint64(services), Port: proto.Uint32(8333),
	}
}

func version(agent string) *eventpb.MessageEvent {
	return &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Version{Version: &eventpb.Version{
		Version: proto.Uint32(70016), UserAgent: proto.String(agent), StartHeight: proto.Int32(100)}}}
}

func headers(list ...*eventpb.BlockHeader) *eventpb.MessageEvent {
	return &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Headers{Headers: &eventpb.Headers{Headers: list}}, ElementCount: proto.Uint64(uint64(len(list)))}
}

func header(hash []byte, at time.Time) *eventpb.BlockHeader {
	return &eventpb.BlockHeader{Hash: hash, Time: proto.Uint32(uint32(at.Unix())), PrevBlockhash: make([]byte, 32), MerkleRoot: make([]byte, 32)}
}

// gather collects every sample as text "name{labels}" with its value; histograms give
// their count, sum and buckets.
func gather(t testing.TB, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	samples := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			name := func(suffix string, more ...string) string {
				all := append(append([]string(nil), labels...), more...)
				sort.Strings(all)
				if len(all) == 0 {
					return f.GetName() + suffix
				}
				return f.GetName() + suffix + "{" + strings.Join(all, ",") + "}"
			}
			switch {
			case m.Counter != nil:
				samples[name("")] = m.GetCounter().GetValue()
			case m.Gauge != nil:
				samples[name("")] = m.GetGauge().GetValue()
			case m.Histogram != nil:
				h := m.GetHistogram()
				samples[name("_count")] = float64(h.GetSampleCount())
				samples[name("_sum")] = h.GetSampleSum()
				for _, b := range h.GetBucket() {
					samples[name("_bucket", fmt.Sprintf("le=%q", fmt.Sprint(b.GetUpperBound())))] = float64(b.GetCumulativeCount())
				}
				checkNative(t, f.GetName(), h)
			case m.Summary != nil:
				// Of the Go runtime.
				samples[name("")] = float64(m.GetSummary().GetSampleCount())
			default:
				t.Errorf("%s has a type that isn't expected", f.GetName())
			}
		}
	}
	return samples
}

// checkNative holds the native buckets of a histogram against its count, as Prometheus
// does.
func checkNative(t testing.TB, name string, h *dto.Histogram) {
	t.Helper()
	total, count, buckets := h.GetZeroCount(), int64(0), 0
	for _, d := range h.GetPositiveDelta() {
		count += d
		if count < 0 {
			t.Errorf("%s: negative native bucket", name)
		}
		total += uint64(count)
		buckets++
	}
	length := uint32(0)
	for _, s := range h.GetPositiveSpan() {
		length += s.GetLength()
	}
	if total != h.GetSampleCount() || int(length) != buckets || buckets > 100 {
		t.Errorf("%s: native buckets hold %d of %d values in %d buckets, spans of %d", name, total, h.GetSampleCount(), buckets, length)
	}
}

// want checks samples; a value below zero stands for absent.
func (r *rig) want(samples map[string]float64) {
	r.t.Helper()
	got := gather(r.t, r.sink.Registry())
	for name, value := range samples {
		v, ok := got["peerobserver_"+name]
		switch {
		case value < 0 && ok:
			r.t.Errorf("%s is %v, it should be absent", name, v)
		case value >= 0 && !ok:
			r.t.Errorf("%s is absent, want %v", name, value)
		case value >= 0 && (v-value > 1e-9 || value-v > 1e-9):
			r.t.Errorf("%s is %v, want %v", name, v, value)
		}
	}
}

// absent is the value of want for a sample that must not be there.
const absent = -1

// seed makes estimates repeatable within a test run.
var seed = maphash.MakeSeed()

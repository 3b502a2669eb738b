package archive

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

func TestMain(m *testing.M) {
	if os.Getenv(smallDisk) != "" {
		os.Exit(mountAndRun(m))
	}
	goleak.VerifyTestMain(m)
}

// began is when the events of the tests begin.
var began = time.Unix(1_700_000_000, 0)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// recorder keeps what is on a stream.
type recorder struct{ data [][]byte }

func (r *recorder) HandleEvent(e *event.Event) { r.data = append(r.data, bytes.Clone(e.Data)) }

// traffic makes events of a node, at times of its own.
type traffic struct {
	now      time.Time
	random   *rand.Rand
	emitters map[event.Source]*event.Emitter
	origin   event.Origin
	stream   *event.Stream
	ledger   *event.Ledger
}

func newTraffic(name string, seed uint64, sinks ...event.Sink) *traffic {
	return &traffic{
		now: began, random: rand.New(rand.NewPCG(seed, 1)), emitters: map[event.Source]*event.Emitter{},
		origin: event.Origin{NodeName: name, BootID: seed}, stream: event.NewStream(sinks...), ledger: event.NewLedger(),
	}
}

func (f *traffic) emitter(s event.Source) *event.Emitter {
	m := f.emitters[s]
	if m == nil {
		m = event.NewEmitter(s, f.origin, f.stream, f.ledger)
		f.emitters[s] = m
	}
	return m
}

func (f *traffic) emit(s event.Source, e *eventpb.Event) {
	f.now = f.now.Add(time.Duration(f.random.IntN(20)) * time.Millisecond)
	times := event.Times{Receive: f.now.UnixNano(), NodeStart: began.UnixNano()}
	if s == event.SourceEBPF {
		times.Kernel = f.now.Add(-time.Duration(f.random.IntN(3)) * time.Millisecond).UnixNano()
	}
	f.emitter(s).Emit(e, times)
}

func (f *traffic) bytes(n int) []byte {
	b := make([]byte, n)
	for i := 0; i < n; i += 8 {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], f.random.Uint64())
		copy(b[i:], word[:])
	}
	return b
}

func (f *traffic) ebpf(x *eventpb.EbpfExtractor) {
	f.emit(event.SourceEBPF, &eventpb.Event{PeerObserverEvent: &eventpb.Event_EbpfExtractor{EbpfExtractor: x}})
}

func (f *traffic) transaction(size int) *eventpb.Transaction {
	return &eventpb.Transaction{Txid: f.bytes(32), Wtxid: f.bytes(32), Raw: f.bytes(size)}
}

// message makes a P2P message of any type.
func (f *traffic) message() {
	id := f.random.Uint64N(100)
	m := &eventpb.MessageEvent{}
	var command string
	var size int
	items := func() (list []*eventpb.InventoryItem) {
		for range 1 + f.random.IntN(20) {
			list = append(list, &eventpb.InventoryItem{Item: &eventpb.InventoryItem_Wtx{Wtx: f.bytes(32)}})
		}
		return list
	}
	switch f.random.IntN(8) {
	case 0, 1, 2:
		list := items()
		command, size = "inv", 37*len(list)
		m.Msg, m.ElementCount = &eventpb.MessageEvent_Inv{Inv: &eventpb.Inv{Items: list}}, proto.Uint64(uint64(len(list)))
	case 3:
		list := items()
		command, size = "getdata", 37*len(list)
		m.Msg, m.ElementCount = &eventpb.MessageEvent_Getdata{Getdata: &eventpb.GetData{Items: list}}, proto.Uint64(uint64(len(list)))
	case 4:
		size = 200 + f.random.IntN(400)
		command, m.Msg = "tx", &eventpb.MessageEvent_Tx{Tx: &eventpb.Tx{Tx: f.transaction(size)}}
	case 5:
		command, size = "ping", 8
		m.Msg = &eventpb.MessageEvent_Ping{Ping: &eventpb.Ping{Value: proto.Uint64(f.random.Uint64())}}
	case 6:
		command, size = "addrv2", 30
		m.Msg = &eventpb.MessageEvent_Addrv2{Addrv2: &eventpb.AddrV2{Addresses: []*eventpb.Address{{
			Timestamp: proto.Uint32(uint32(f.now.Unix())), Address: &eventpb.Address_Ipv4{Ipv4: fmt.Sprintf("8.8.%d.%d", f.random.IntN(256), f.random.IntN(256))},
			Services: proto.Uint64(9), Port: proto.Uint32(8333),
		}}}}
	default:
		command, size = "nonsense", 20
		m.Msg = &eventpb.MessageEvent_Unknown{Unknown: &eventpb.Unknown{Command: proto.String("nonsense"), Payload: f.bytes(20)}}
	}
	inbound := eventpb.ConnectionType_CONNECTION_TYPE_INBOUND
	m.Meta = &eventpb.Metadata{
		PeerId: proto.Uint64(id), Addr: proto.String(fmt.Sprintf("10.0.0.%d:8333", id)), ConnType: inbound.ConnType().Enum(), ConnectionType: inbound.Enum(),
		Command: &command, Inbound: proto.Bool(f.random.IntN(2) == 0), Size: proto.Uint64(uint64(size)),
	}
	f.ebpf(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Message{Message: m}})
}

// live emits n events of all sources.
func (f *traffic) live(n int) *traffic {
	for range n {
		switch f.random.IntN(20) {
		case 0:
			c := &eventpb.Connection{PeerId: proto.Uint64(f.random.Uint64N(100)), Addr: proto.String("9.9.9.9:8333"),
				ConnectionType: eventpb.ConnectionType_CONNECTION_TYPE_INBOUND.Enum(), Network: proto.Uint32(1)}
			f.ebpf(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Connection{Connection: &eventpb.ConnectionEvent{
				Event: &eventpb.ConnectionEvent_Inbound{Inbound: &eventpb.InboundConnection{Conn: c, ExistingConnections: proto.Uint64(5)}}}}})
		case 1:
			f.ebpf(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Mempool{Mempool: &eventpb.MempoolEvent{
				Event: &eventpb.MempoolEvent_Added{Added: &eventpb.Added{Txid: f.bytes(32), Vsize: proto.Int32(140), Fee: proto.Int64(300)}}}}})
		case 2:
			f.emit(event.SourceRPC, &eventpb.Event{PeerObserverEvent: &eventpb.Event_RpcExtractor{RpcExtractor: &eventpb.RpcExtractor{
				RpcEvent: &eventpb.RpcExtractor_MempoolInfo{MempoolInfo: &eventpb.MempoolInfo{Size: proto.Int64(f.random.Int64N(1000))}}}}})
		case 3:
			f.emit(event.SourceLog, &eventpb.Event{PeerObserverEvent: &eventpb.Event_LogExtractor{LogExtractor: &eventpb.LogExtractor{
				LogLineBytes: proto.Uint64(90), LogEvent: &eventpb.LogExtractor_UnknownLogMessage{UnknownLogMessage: &eventpb.UnknownLogMessage{RawMessage: proto.String("UpdateTip: new best")}}}}})
		case 4:
			f.emit(event.SourceP2P, &eventpb.Event{PeerObserverEvent: &eventpb.Event_P2PExtractor{P2PExtractor: &eventpb.P2PExtractor{
				P2PEvent: &eventpb.P2PExtractor_PingDuration{PingDuration: &eventpb.PingDuration{Duration: proto.Uint64(f.random.Uint64N(1e6))}}}}})
		case 5:
			f.emit(event.SourceObserver, &eventpb.Event{PeerObserverEvent: &eventpb.Event_Observer{Observer: &eventpb.Observer{
				ObserverEvent: &eventpb.Observer_Status{Status: f.ledger.Status()}}}})
		default:
			f.message()
		}
	}
	return f
}

// block emits a block of about size bytes.
func (f *traffic) block(size int) {
	b := &eventpb.Block{Header: &eventpb.BlockHeader{Hash: f.bytes(32)}}
	for ; size > 0; size -= 100_000 {
		b.Transactions = append(b.Transactions, f.transaction(min(size, 100_000)))
	}
	f.ebpf(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Message{Message: &eventpb.MessageEvent{
		Meta: &eventpb.Metadata{Command: proto.String("block"), Inbound: proto.Bool(true)}, Msg: &eventpb.MessageEvent_Block{Block: b}}}})
}

// running is a sink that runs.
type running struct {
	*Sink
	t      *testing.T
	ledger *event.Ledger
	cancel context.CancelFunc
	done   chan error
}

func run(t *testing.T, cfg Config) *running {
	t.Helper()
	ledger := event.NewLedger()
	s, err := New(cfg, ledger, discard())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Sink: s, t: t, ledger: ledger, cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- s.Run(ctx) }()
	t.Cleanup(func() {
		if r.cancel != nil {
			r.stop()
		}
	})
	return r
}

// stop ends the sink in order.
func (r *running) stop() {
	r.t.Helper()
	r.cancel()
	r.cancel = nil
	select {
	case err := <-r.done:
		if err != nil {
			r.t.Error(err)
		}
	case <-time.After(time.Minute):
		r.t.Fatal("the archive doesn't end")
	}
}

// lost sums the losses of a stage.
func lost(ledger *event.Ledger, stage event.Stage) (n uint64) {
	for _, loss := range ledger.Status().GetLosses() {
		if loss.GetStage() == string(stage) {
			n += loss.GetCount()
		}
	}
	return n
}

// files lists the archive files of a directory.
func files(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// archived writes events into a directory and gives its files.
func archived(t *testing.T, cfg Config, events func(sink event.Sink)) []string {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	if cfg.Buffer == 0 {
		cfg.Buffer = 256 << 20
	}
	r := run(t, cfg)
	events(r)
	r.stop()
	if n := lost(r.ledger, event.StageQueue) + lost(r.ledger, event.StageWrite); n > 0 {
		t.Fatalf("lost %d events", n)
	}
	return files(t, cfg.Dir)
}

// nexter is a Reader or a Set.
type nexter interface {
	Next() (*event.Event, error)
}

// readAll gives the bytes of all events, and the damage.
func readAll(t testing.TB, in nexter) (data [][]byte, damage []*Damage) {
	t.Helper()
	for {
		e, err := in.Next()
		d := new(Damage)
		switch {
		case errors.As(err, &d):
			damage = append(damage, d)
		case errors.Is(err, io.EOF):
			return data, damage
		case err != nil:
			t.Fatal(err)
		default:
			data = append(data, bytes.Clone(e.Data))
		}
	}
}

// readFile reads one file to its end.
func readFile(t testing.TB, path string, options Options) (data [][]byte, damage []*Damage) {
	t.Helper()
	r, err := Open(path, options)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	return readAll(t, r)
}

// readSet reads files as one stream.
func readSet(t testing.TB, paths []string, options Options) (data [][]byte, damage []*Damage) {
	t.Helper()
	s, err := OpenSet(paths, options)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return readAll(t, s)
}

// same compares events.
func same(t *testing.T, what string, got, want [][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d events, want %d", what, len(got), len(want))
	}
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("%s: event %d differs", what, i)
		}
	}
}

// isSubsequence tells whether all of part are in whole, in its order.
func isSubsequence(part, whole [][]byte) bool {
	for _, p := range part {
		i := slices.IndexFunc(whole, func(w []byte) bool { return bytes.Equal(p, w) })
		if i < 0 {
			return false
		}
		whole = whole[i+1:]
	}
	return true
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not in time: " + what)
		}
	}
}

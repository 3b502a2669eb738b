package getblocktxn

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start is when the events of the tests begin.
var start = time.Date(2026, 1, 31, 12, 0, 0, 5, time.UTC)

// source makes the events of one node.
type source struct {
	emitter *event.Emitter
	now     time.Time
}

func newSource(name string, stream *event.Stream, ledger *event.Ledger) *source {
	return &source{
		emitter: event.NewEmitter(event.SourceEBPF, event.Origin{NodeName: name, BootID: 7}, stream, ledger),
		now:     start,
	}
}

func (s *source) emit(e *eventpb.EbpfExtractor) {
	s.emitter.Emit(&eventpb.Event{PeerObserverEvent: &eventpb.Event_EbpfExtractor{EbpfExtractor: e}}, event.Times{
		Kernel: s.now.UnixNano(), Receive: s.now.UnixNano() + 1000, NodeStart: start.Add(-time.Hour).UnixNano(),
	})
}

func (s *source) message(peer uint64, inbound bool, command string, size uint64, m *eventpb.MessageEvent) {
	m.Meta = &eventpb.Metadata{
		PeerId: proto.Uint64(peer), Addr: proto.String("[2001:db8::7]:8333"), ConnType: eventpb.ConnType_CONN_TYPE_UNKNOWN.Enum(),
		ConnectionType: eventpb.ConnectionType_CONNECTION_TYPE_MANUAL.Enum(),
		Command:        proto.String(command), Inbound: proto.Bool(inbound), Size: proto.Uint64(size),
	}
	s.emit(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Message{Message: m}})
}

func (s *source) getBlockTxn(peer uint64, inbound bool, hash []byte, indexes ...uint64) {
	s.message(peer, inbound, "getblocktxn", 40, &eventpb.MessageEvent{
		Msg: &eventpb.MessageEvent_Getblocktxn{Getblocktxn: &eventpb.GetBlockTxn{BlockHash: hash, TxIndexes: indexes}},
	})
}

func (s *source) blockTxn(peer uint64, inbound bool, hash []byte, transactions int) {
	content := &eventpb.BlockTxn{BlockHash: hash}
	for range transactions {
		content.Transactions = append(content.Transactions, &eventpb.Transaction{Raw: []byte{1, 2, 3}})
	}
	s.message(peer, inbound, "blocktxn", 33+uint64(3*transactions), &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Blocktxn{Blocktxn: content}})
}

func (s *source) block(peer uint64, inbound bool, hash []byte) {
	s.message(peer, inbound, "block", 1000, &eventpb.MessageEvent{
		Msg: &eventpb.MessageEvent_Block{Block: &eventpb.Block{Header: &eventpb.BlockHeader{Hash: hash}}},
	})
}

func (s *source) ping(peer uint64) {
	s.message(peer, true, "ping", 8, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Ping{Ping: &eventpb.Ping{Value: proto.Uint64(1)}}})
}

func (s *source) closed(peer uint64) {
	s.emit(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Connection{Connection: &eventpb.ConnectionEvent{
		Event: &eventpb.ConnectionEvent_Closed{Closed: &eventpb.ClosedConnection{Conn: &eventpb.Connection{PeerId: proto.Uint64(peer)}}},
	}}})
}

func hash(b byte) []byte { return append(bytes.Repeat([]byte{b}, 31), 0xee) }

// output collects what is written.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	// fail is what the next writes fail with.
	fail error
	// room is how many bytes still fit while it fails.
	room int
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fail != nil {
		n := min(o.room, len(p))
		o.room -= n
		o.text.Write(p[:n])
		return n, o.fail
	}
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func (o *output) set(fail error, room int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fail, o.room = fail, room
}

func newSink(t *testing.T, config Config) (*Sink, *event.Ledger) {
	t.Helper()
	if config.ShutdownTimeout == 0 {
		config.ShutdownTimeout = time.Minute // the machine may be busy
	}
	ledger := event.NewLedger()
	s, err := New(config, ledger, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s, ledger
}

// run runs a sink; stop ends it and waits.
func run(t *testing.T, s *Sink) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := regtest.Eventually(ctx, check); err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}

// rowsOf reads JSON lines.
func rowsOf(t *testing.T, text string) []Row {
	t.Helper()
	var rows []Row
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.DisallowUnknownFields()
	for decoder.More() {
		var r Row
		if err := decoder.Decode(&r); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		rows = append(rows, r)
	}
	return rows
}

package ebpf

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/bpf"
	"github.com/peerobserver/peerobserver/exporters/metrics"
	"github.com/peerobserver/peerobserver/exporters/nats"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// messageSample is a message for benchmarks.
type messageSample struct {
	label, command string
	payload        []byte
	// weight is how many of 10,000 messages that a node relays are like this one: a
	// guess, not a recording.
	weight int
}

func messageSamples(t testing.TB) []messageSample {
	t.Helper()
	random := rand.New(rand.NewPCG(42, 1))
	randomBytes := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	hash := func() chainhash.Hash { return chainhash.Hash(randomBytes(32)) }
	encode := func(m wire.Message) []byte {
		var b bytes.Buffer
		if err := m.BtcEncode(&b, wire.ProtocolVersion, wire.WitnessEncoding); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	inventory := func(n int) (list []*wire.InvVect) {
		for range n {
			h := hash()
			list = append(list, wire.NewInvVect(5, &h)) // MSG_WTX, BIP339
		}
		return list
	}
	inv := func(n int) []byte { return encode(&wire.MsgInv{InvList: inventory(n)}) }
	getData := func(n int) []byte { return encode(&wire.MsgGetData{InvList: inventory(n)}) }
	// Inputs that spend P2WPKH, two outputs: 222 bytes with one input.
	transaction := func(inputs int) *wire.MsgTx {
		m := wire.NewMsgTx(2)
		for range inputs {
			h := hash()
			m.AddTxIn(wire.NewTxIn(wire.NewOutPoint(&h, 1), nil, wire.TxWitness{randomBytes(72), randomBytes(33)}))
		}
		for range 2 {
			m.AddTxOut(wire.NewTxOut(100_000, randomBytes(22)))
		}
		return m
	}
	header := func() wire.BlockHeader {
		prev, root := hash(), hash()
		return *wire.NewBlockHeader(0x20000000, &prev, &root, 0x17034219, random.Uint32())
	}
	headers := func(n int) []byte {
		m := &wire.MsgHeaders{}
		for range n {
			h := header()
			m.Headers = append(m.Headers, &h)
		}
		return encode(m)
	}
	block := wire.NewMsgBlock(func() *wire.BlockHeader { h := header(); return &h }())
	for range 3000 {
		if err := block.AddTransaction(transaction(1 + random.IntN(4))); err != nil {
			t.Fatal(err)
		}
	}
	// Networks as on mainnet: 60 % IPv4, 18 % IPv6, 22 % Tor.
	addresses := func(n int) []byte {
		m := wire.NewMsgAddrV2()
		for range n {
			var host []byte
			switch k := random.IntN(100); {
			case k < 60:
				host = net.IP(randomBytes(4))
			case k < 78:
				host = append([]byte{0x20, 1}, randomBytes(14)...)
			default:
				host = randomBytes(wire.TorV3Size)
			}
			at := time.Unix(1_700_000_000+random.Int64N(1e6), 0)
			m.AddrList = append(m.AddrList, wire.NetAddressV2FromBytes(at, 1033, host, 8333))
		}
		return encode(m)
	}
	nonce := binary.LittleEndian.AppendUint64(nil, 0x1122334455667788)
	return []messageSample{
		{"inv1", "inv", inv(1), 1500},
		{"inv5", "inv", inv(5), 2500},
		{"inv35", "inv", inv(35), 1200},
		{"inv1000", "inv", inv(1000), 5},
		{"inv50000", "inv", inv(50_000), 0},
		{"tx222", "tx", encode(transaction(1)), 1500},
		{"tx20k", "tx", encode(transaction(135)), 30},
		{"addrv2_1", "addrv2", addresses(1), 500},
		{"addrv2_10", "addrv2", addresses(10), 60},
		{"addrv2_1000", "addrv2", addresses(1000), 3},
		{"headers1", "headers", headers(1), 60},
		{"headers2000", "headers", headers(2000), 0},
		{"ping", "ping", nonce, 600},
		{"pong", "pong", nonce, 600},
		{"getdata1", "getdata", getData(1), 900},
		{"getdata16", "getdata", getData(16), 400},
		{"block3000", "block", encode(block), 0},
		{"feefilter", "feefilter", binary.LittleEndian.AppendUint64(nil, 1000), 100},
	}
}

// captured gives the record of each message as the kernel made it.
func captured(t testing.TB, samples []messageSample) []bpf.Record {
	t.Helper()
	dir := t.TempDir()
	var commands []string
	for _, s := range samples {
		file := filepath.Join(dir, s.label)
		if err := os.WriteFile(file, s.payload, 0o600); err != nil {
			t.Fatal(err)
		}
		commands = append(commands, fmt.Sprintf("net:inbound_message type=%s file=%s peer=12 connection=outbound-full-relay", s.command, file))
	}
	return records(t, commands...)
}

// pipeline is everything behind the tracepoint as the agent has it: metrics and NATS with
// the embedded server.
type pipeline struct {
	ledger    *event.Ledger
	publisher *nats.Publisher
	sinks     []event.Sink
}

func newPipeline(t testing.TB, retention time.Duration) *pipeline {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	p := &pipeline{ledger: event.NewLedger()}
	sink, err := metrics.New(metrics.Config{Ledger: p.ledger})
	if err != nil {
		t.Fatal(err)
	}
	server, err := nats.NewServer(nats.ServerConfig{ListenAddress: "127.0.0.1:0"}, logger)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	p.publisher, err = nats.NewPublisher(nats.PublisherConfig{Connection: nats.Config{InProcess: server}, Retention: retention}, p.ledger, logger)
	if err != nil {
		t.Fatal(err)
	}
	p.sinks = []event.Sink{sink, p.publisher}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.publisher.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(10 * time.Second); server.Clients() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the publisher doesn't connect")
		}
	}
	return p
}

// queued is the number of bytes in the publisher's queue, with those that the server
// hasn't confirmed, and those that are kept for a while after that.
func (p *pipeline) queued() uint64 { return p.ledger.Status().GetQueues()[0].GetBytes() }

// lost is what was lost behind the kernel.
func (p *pipeline) lost() (n uint64) {
	for _, l := range p.ledger.Status().GetLosses() {
		if l.GetStage() != string(event.StageKernel) {
			n += l.GetCount()
		}
	}
	return n
}

// settle waits until the server has everything.
func (p *pipeline) settle() {
	// Not often: asking costs CPU time, which is what is measured.
	for p.queued() > 0 {
		time.Sleep(50 * time.Millisecond)
	}
}

// usualWay is how a program does it that takes the libraries as they are: decode with
// btcd, build the generated structs, marshal them, look the counters up by their label
// values, publish. It does less than ours: one connection's counters, no times, no
// numbers, no resending.
type usualWay struct {
	t               testing.TB
	conn            *natsgo.Conn
	messages, bytes *prometheus.CounterVec
	items           *prometheus.CounterVec
}

func newUsualWay(t testing.TB) *usualWay {
	t.Helper()
	bus, err := natsserver.NewServer(&natsserver.Options{DontListen: true, NoSigs: true, NoLog: true, MaxPayload: event.MaxSize, MaxPending: 2 * event.MaxSize})
	if err != nil {
		t.Fatal(err)
	}
	bus.Start()
	t.Cleanup(func() { bus.Shutdown(); bus.WaitForShutdown() })
	if !bus.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server doesn't start")
	}
	conn, err := natsgo.Connect("", natsgo.InProcessServer(bus))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	labels := []string{"message", "direction", "connection_type"}
	return &usualWay{
		t: t, conn: conn,
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "messages_total"}, labels),
		bytes:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "bytes_total"}, labels),
		items:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "items_total"}, []string{"message", "type"}),
	}
}

func (u *usualWay) handle(r *bpf.Record) {
	command, connection := r.Text(3), r.Text(2)
	body, err := decodeUsually(command, r.Payload())
	if err != nil {
		u.t.Fatal(err)
	}
	body.Meta = &eventpb.Metadata{
		PeerId: proto.Uint64(r.Uint(0)), Addr: proto.String(r.Text(1)), Command: proto.String(command),
		ConnType: eventpb.ConnType_CONN_TYPE_OUTBOUND_FULL_RELAY.Enum(), Inbound: proto.Bool(true), Size: proto.Uint64(r.PayloadSize()),
	}
	data, err := proto.Marshal(&eventpb.Event{
		Timestamp: proto.Uint64(uint64(time.Now().UnixMilli())),
		PeerObserverEvent: &eventpb.Event_EbpfExtractor{EbpfExtractor: &eventpb.EbpfExtractor{
			EbpfEvent: &eventpb.EbpfExtractor_Message{Message: body},
		}},
	})
	if err != nil {
		u.t.Fatal(err)
	}
	u.messages.WithLabelValues(command, "inbound", connection).Inc()
	u.bytes.WithLabelValues(command, "inbound", connection).Add(float64(r.PayloadSize()))
	for _, item := range body.GetInv().GetItems() {
		if item.GetWtx() != nil {
			u.items.WithLabelValues(command, "wtx").Inc()
		}
	}
	if err := u.conn.Publish(event.SubjectMessages, data); err != nil {
		u.t.Fatal(err)
	}
}

func decodeUsually(command string, payload []byte) (*eventpb.MessageEvent, error) {
	e := new(eventpb.MessageEvent)
	decode := func(m wire.Message) error {
		return m.BtcDecode(bytes.NewBuffer(payload), wire.ProtocolVersion, wire.WitnessEncoding)
	}
	items := func(list []*wire.InvVect) (out []*eventpb.InventoryItem) {
		for _, i := range list {
			out = append(out, &eventpb.InventoryItem{Item: &eventpb.InventoryItem_Wtx{Wtx: i.Hash[:]}})
		}
		return out
	}
	header := func(h *wire.BlockHeader) *eventpb.BlockHeader {
		id := h.BlockHash()
		return &eventpb.BlockHeader{
			Version: proto.Int32(h.Version), PrevBlockhash: h.PrevBlock[:], MerkleRoot: h.MerkleRoot[:],
			Time: proto.Uint32(uint32(h.Timestamp.Unix())), Bits: proto.Uint32(h.Bits), Nonce: proto.Uint32(h.Nonce), Hash: id[:],
		}
	}
	transaction := func(m *wire.MsgTx) (*eventpb.Transaction, error) {
		var raw bytes.Buffer
		raw.Grow(m.SerializeSize())
		err := m.Serialize(&raw)
		txid, wtxid := m.TxHash(), m.WitnessHash()
		return &eventpb.Transaction{Txid: txid[:], Wtxid: wtxid[:], Raw: raw.Bytes()}, err
	}
	switch command {
	case "inv":
		var m wire.MsgInv
		err := decode(&m)
		e.Msg = &eventpb.MessageEvent_Inv{Inv: &eventpb.Inv{Items: items(m.InvList)}}
		return e, err
	case "getdata":
		var m wire.MsgGetData
		err := decode(&m)
		e.Msg = &eventpb.MessageEvent_Getdata{Getdata: &eventpb.GetData{Items: items(m.InvList)}}
		return e, err
	case "ping":
		var m wire.MsgPing
		err := decode(&m)
		e.Msg = &eventpb.MessageEvent_Ping{Ping: &eventpb.Ping{Value: &m.Nonce}}
		return e, err
	case "pong":
		var m wire.MsgPong
		err := decode(&m)
		e.Msg = &eventpb.MessageEvent_Pong{Pong: &eventpb.Pong{Value: &m.Nonce}}
		return e, err
	case "feefilter":
		var m wire.MsgFeeFilter
		err := decode(&m)
		e.Msg = &eventpb.MessageEvent_Feefilter{Feefilter: &eventpb.FeeFilter{Fee: &m.MinFee}}
		return e, err
	case "headers":
		var m wire.MsgHeaders
		err := decode(&m)
		list := &eventpb.Headers{}
		for _, h := range m.Headers {
			list.Headers = append(list.Headers, header(h))
		}
		e.Msg = &eventpb.MessageEvent_Headers{Headers: list}
		return e, err
	case "tx":
		var m wire.MsgTx
		if err := decode(&m); err != nil {
			return nil, err
		}
		tx, err := transaction(&m)
		e.Msg = &eventpb.MessageEvent_Tx{Tx: &eventpb.Tx{Tx: tx}}
		return e, err
	case "block":
		var m wire.MsgBlock
		if err := decode(&m); err != nil {
			return nil, err
		}
		b := &eventpb.Block{Header: header(&m.Header)}
		for _, one := range m.Transactions {
			tx, err := transaction(one)
			if err != nil {
				return nil, err
			}
			b.Transactions = append(b.Transactions, tx)
		}
		e.Msg = &eventpb.MessageEvent_Block{Block: b}
		return e, nil
	case "addrv2":
		var m wire.MsgAddrV2
		err := decode(&m)
		list := &eventpb.AddrV2{}
		for _, a := range m.AddrList {
			out := &eventpb.Address{
				Timestamp: proto.Uint32(uint32(a.Timestamp.Unix())), Services: proto.Uint64(uint64(a.Services)), Port: proto.Uint32(uint32(a.Port)),
			}
			switch text := a.Addr.String(); {
			case a.IsTorV3():
				out.Address = &eventpb.Address_Torv3{Torv3: text}
			case net.ParseIP(text).To4() != nil:
				out.Address = &eventpb.Address_Ipv4{Ipv4: text}
			default:
				out.Address = &eventpb.Address_Ipv6{Ipv6: text}
			}
			list.Addresses = append(list.Addresses, out)
		}
		e.Msg = &eventpb.MessageEvent_Addrv2{Addrv2: list}
		return e, err
	default:
		return nil, fmt.Errorf("no message %q", command)
	}
}

// cpuTime is the CPU time that this process used so far, of all its threads.
func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// quantile of values between 0 and 1; 0.5 is the median.
func quantile(values []float64, q float64) float64 {
	values = slices.Sorted(slices.Values(values))
	return values[int(q*float64(len(values)-1)+0.5)]
}

// The two ways that the benchmarks compare tell the same of every message: the type,
// and as many elements.
func TestBenchmarkedWaysAgree(t *testing.T) {
	samples := messageSamples(t)
	var events []*eventpb.MessageEvent
	list := captured(t, samples)
	r := newTestRecorder(t, event.NewLedger(), sinkFunc(func(e *event.Event) {
		body := new(eventpb.Event)
		if err := proto.Unmarshal(e.Data, body); err != nil {
			t.Error(err)
		}
		events = append(events, body.GetEbpfExtractor().GetMessage())
	}))
	for i, s := range samples {
		r.handle(t.Context(), &list[i])
		want, err := decodeUsually(s.command, s.payload)
		if err != nil {
			t.Errorf("%s: %v", s.label, err)
			continue
		}
		got := events[i]
		if got.PayloadState != nil || got.TrailingBytes != nil || got.GetMeta().GetCommand() != s.command {
			t.Errorf("%s: state %v, %d trailing bytes", s.label, got.GetPayloadState(), got.GetTrailingBytes())
		}
		got.Meta, got.ElementCount = nil, nil
		if s.command == "addrv2" {
			// Texts of addresses have two spellings here.
			if n, m := len(got.GetAddrv2().GetAddresses()), len(want.GetAddrv2().GetAddresses()); n != m || n == 0 {
				t.Errorf("%s: %d addresses, want %d", s.label, n, m)
			}
			continue
		}
		if !proto.Equal(got, want) {
			t.Errorf("%s: the two differ", s.label)
		}
	}
}

type sinkFunc func(e *event.Event)

func (f sinkFunc) HandleEvent(e *event.Event) { f(e) }

package ebpf

import (
	"bufio"
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/bpf"
	"github.com/peerobserver/peerobserver/bpf/emitter"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
	"github.com/peerobserver/peerobserver/proto/field"
)

// startEmitter builds the emitter, which is a program file of its own for each test,
// and starts it.
func startEmitter(t testing.TB) (p *emitter.Process, path string) {
	t.Helper()
	path, err := emitter.Build(t.Context(), t.TempDir(), emitter.Dynamic)
	if err != nil {
		t.Fatal(err)
	}
	p, err = emitter.Start(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	return p, path
}

func fire(t testing.TB, p *emitter.Process, format string, args ...any) emitter.Result {
	t.Helper()
	r, err := p.Fire(format, args...)
	if err != nil {
		t.Fatal(err)
	}
	if r.Skipped != 0 {
		t.Fatalf("%d hits of a tracepoint that isn't attached", r.Skipped)
	}
	return r
}

// waitFor waits until there are n events.
func (o *observation) waitFor(n int) []*eventpb.Event {
	o.t.Helper()
	eventually(o.t, fmt.Sprintf("%d events", n), func() error {
		if got := len(o.all()); got < n {
			return fmt.Errorf("%d events", got)
		}
		return nil
	})
	return o.all()
}

const (
	testAddress = "192.0.2.1:8333"
	testReason  = "some reason"
)

// wanted is what the event of the first hit with peer, size and seed 5 holds, by the
// emitter's own description of what it fires.
func wanted(id bpf.ID, peer, size int64) *eventpb.EbpfExtractor {
	one, two := emitter.Hash(5, 1), emitter.Hash(5, 2)
	hash, hash2 := one[:], two[:]
	connection := &eventpb.Connection{
		PeerId: proto.Uint64(uint64(peer)), Addr: proto.String(testAddress), Network: proto.Uint32(3),
		ConnType:       eventpb.ConnType_CONN_TYPE_BLOCK_RELAY_ONLY.Enum(),
		ConnectionType: eventpb.ConnectionType_CONNECTION_TYPE_BLOCK_RELAY_ONLY.Enum(),
	}
	number, number32 := proto.Uint64(uint64(size)), proto.Int32(int32(size))
	coin := &eventpb.UtxoCacheCoin{
		Txid: hash, OutputIndex: proto.Uint32(uint32(size)), Height: proto.Uint32(uint32(size + 1)), Value: &peer, IsCoinbase: proto.Bool(false),
	}
	x := &eventpb.EbpfExtractor{}
	message := func(inbound bool) {
		x.EbpfEvent = &eventpb.EbpfExtractor_Message{Message: &eventpb.MessageEvent{
			Meta: &eventpb.Metadata{
				PeerId: proto.Uint64(uint64(peer)), Addr: proto.String(testAddress), Command: proto.String("ping"), Inbound: &inbound,
				ConnType: connection.ConnType, ConnectionType: connection.ConnectionType, Size: number,
			},
			// The n-th hit has n in its first eight bytes.
			Msg:           &eventpb.MessageEvent_Ping{Ping: &eventpb.Ping{Value: proto.Uint64(0)}},
			TrailingBytes: proto.Uint64(uint64(size - 8)),
		}}
	}
	connectionEvent := func(e *eventpb.ConnectionEvent) {
		x.EbpfEvent = &eventpb.EbpfExtractor_Connection{Connection: e}
	}
	mempool := func(e *eventpb.MempoolEvent) { x.EbpfEvent = &eventpb.EbpfExtractor_Mempool{Mempool: e} }
	validation := func(e *eventpb.ValidationEvent) { x.EbpfEvent = &eventpb.EbpfExtractor_Validation{Validation: e} }
	cache := func(e *eventpb.UtxoCacheEvent) { x.EbpfEvent = &eventpb.EbpfExtractor_UtxoCache{UtxoCache: e} }
	switch id {
	case bpf.NetInboundMessage:
		message(true)
	case bpf.NetOutboundMessage:
		message(false)
	case bpf.NetInboundConnection:
		connectionEvent(&eventpb.ConnectionEvent{Event: &eventpb.ConnectionEvent_Inbound{Inbound: &eventpb.InboundConnection{Conn: connection, ExistingConnections: number}}})
	case bpf.NetOutboundConnection:
		connectionEvent(&eventpb.ConnectionEvent{Event: &eventpb.ConnectionEvent_Outbound{Outbound: &eventpb.OutboundConnection{Conn: connection, ExistingConnections: number}}})
	case bpf.NetClosedConnection:
		connectionEvent(&eventpb.ConnectionEvent{Event: &eventpb.ConnectionEvent_Closed{Closed: &eventpb.ClosedConnection{Conn: connection, TimeEstablished: number}}})
	case bpf.NetEvictedInboundConnection:
		connectionEvent(&eventpb.ConnectionEvent{Event: &eventpb.ConnectionEvent_InboundEvicted{InboundEvicted: &eventpb.EvictedInboundConnection{Conn: connection, TimeEstablished: number}}})
	case bpf.NetMisbehavingConnection:
		connectionEvent(&eventpb.ConnectionEvent{Event: &eventpb.ConnectionEvent_Misbehaving{Misbehaving: &eventpb.MisbehavingConnection{
			Id: proto.Uint64(uint64(peer)), Message: proto.String(testReason)}}})
	case bpf.NetBlockHeader:
		validation(&eventpb.ValidationEvent{Event: &eventpb.ValidationEvent_BlockHeader{BlockHeader: &eventpb.BlockHeaderSeen{
			Hash: hash, Height: number32, PeerId: proto.Uint64(uint64(peer)), ViaCompactBlock: proto.Bool(false)}}})
	case bpf.NetCompactBlockReconstructed:
		validation(&eventpb.ValidationEvent{Event: &eventpb.ValidationEvent_CompactBlockReconstructed{CompactBlockReconstructed: &eventpb.CompactBlockReconstructed{
			Hash: hash, PeerId: proto.Uint64(uint64(peer)), PrefilledTransactions: number, MempoolTransactions: proto.Uint64(uint64(size + 1)),
			ExtraPoolTransactions: proto.Uint64(uint64(size + 2)), RequestedTransactions: proto.Uint64(uint64(size + 3)), RequestedBytes: proto.Uint64(uint64(size + 4))}}})
	case bpf.MempoolAdded:
		mempool(&eventpb.MempoolEvent{Event: &eventpb.MempoolEvent_Added{Added: &eventpb.Added{Txid: hash, Vsize: number32, Fee: &peer}}})
	case bpf.MempoolRemoved:
		mempool(&eventpb.MempoolEvent{Event: &eventpb.MempoolEvent_Removed{Removed: &eventpb.Removed{
			Txid: hash, Reason: proto.String(testReason), Vsize: number32, Fee: &peer, EntryTime: proto.Uint64(uint64(size + 1))}}})
	case bpf.MempoolReplaced:
		mempool(&eventpb.MempoolEvent{Event: &eventpb.MempoolEvent_Replaced{Replaced: &eventpb.Replaced{
			ReplacedTxid: hash, ReplacedVsize: number32, ReplacedFee: &peer, ReplacedEntryTime: proto.Uint64(uint64(size + 1)),
			ReplacementId: hash2, ReplacementVsize: proto.Int32(int32(size + 2)), ReplacementFee: proto.Int64(peer + 3), ReplacedByTransaction: proto.Bool(false)}}})
	case bpf.MempoolRejected:
		mempool(&eventpb.MempoolEvent{Event: &eventpb.MempoolEvent_Rejected{Rejected: &eventpb.Rejected{Txid: hash, Reason: proto.String(testReason)}}})
	case bpf.ValidationBlockConnected:
		validation(&eventpb.ValidationEvent{Event: &eventpb.ValidationEvent_BlockConnected{BlockConnected: &eventpb.BlockConnected{
			Hash: hash, Height: number32, Transactions: proto.Int64(size + 1), Inputs: proto.Int32(int32(size + 2)),
			Sigops: proto.Int64(size + 3), ConnectionTime: proto.Uint64(uint64(peer))}}})
	case bpf.UTXOCacheFlush:
		cache(&eventpb.UtxoCacheEvent{Event: &eventpb.UtxoCacheEvent_Flush{Flush: &eventpb.UtxoCacheFlush{
			Duration: &peer, Mode: proto.Uint32(uint32(size)), Coins: proto.Uint64(uint64(size + 1)), MemoryUsage: proto.Uint64(uint64(size + 2)), ForPrune: proto.Bool(false)}}})
	case bpf.UTXOCacheAdd:
		cache(&eventpb.UtxoCacheEvent{Event: &eventpb.UtxoCacheEvent_Add{Add: coin}})
	case bpf.UTXOCacheSpent:
		cache(&eventpb.UtxoCacheEvent{Event: &eventpb.UtxoCacheEvent_Spent{Spent: coin}})
	case bpf.UTXOCacheUncache:
		cache(&eventpb.UtxoCacheEvent{Event: &eventpb.UtxoCacheEvent_Uncache{Uncache: coin}})
	}
	return x
}

// Every tracepoint of the table becomes an event of its own kind with every argument in
// its field, also those that no released version has.
func TestEveryTracepointBecomesItsEvent(t *testing.T) {
	const peer, size = -3_000_000_000, 4_000_007
	p, path := startEmitter(t)
	o, stop := observe(t, Config{Node: noNode, Binary: path, All: true, Probes: bpf.Options{Groups: bpf.Groups()}})
	o.waitUp(true)
	start := time.Now()
	for _, tracepoint := range bpf.Tracepoints() {
		fire(t, p, "%v peer=%d size=%d seed=5 connection=block-relay-only type=ping address=%s reason=%s", tracepoint, peer, size, testAddress, testReason)
	}
	stop()
	o.conserved()
	events := o.all()
	if len(events) != len(bpf.Tracepoints()) {
		t.Fatalf("%d events of %d tracepoints", len(events), len(bpf.Tracepoints()))
	}
	kinds := map[event.Kind]bpf.Tracepoint{}
	threads := map[uint32]bool{}
	for i, tracepoint := range bpf.Tracepoints() {
		e := events[i]
		x := e.GetEbpfExtractor()
		hit := x.GetHit()
		if hit.GetPid() != uint32(p.PID()) || threads[hit.GetTid()] || hit.ThreadCpuTimeNs == nil {
			t.Errorf("%v: hit %v of process %d", tracepoint, hit, p.PID())
		}
		threads[hit.GetTid()] = true
		if at := time.Unix(0, int64(e.GetKernelTimeNs())); at.Before(start.Add(-2*time.Millisecond)) || at.After(time.Now().Add(2*time.Millisecond)) {
			t.Errorf("%v: at %v, fired after %v", tracepoint, at, start)
		}
		x.Hit = nil
		if want := wanted(tracepoint.ID, peer, size); !proto.Equal(x, want) {
			t.Errorf("%v: event {%v}, want {%v}", tracepoint, x, want)
		}
		data, err := proto.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		kind := event.KindOf(data)
		// The two directions of messages are one kind.
		if other, taken := kinds[kind]; kind == event.KindUnknown || taken && kind != event.KindMessage {
			t.Errorf("%v: kind %v, as %v", tracepoint, kind, other)
		}
		kinds[kind] = tracepoint
	}
}

// What can't be read from the node's memory is left empty and counted, text that isn't
// UTF-8 is cleaned, and numbers keep their sign.
func TestDamagedArguments(t *testing.T) {
	path := filepath.Join(t.TempDir(), "faults")
	if out, err := exec.CommandContext(t.Context(), "cc", "-O1", "-o", path, "testdata/faults.c").CombinedOutput(); err != nil {
		t.Fatalf("compiling (needs gcc and systemtap-sdt-dev): %v: %s", err, out)
	}
	faults := exec.Command(path)
	in, err := faults.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := faults.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := faults.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = faults.Wait() })
	o, stop := observe(t, Config{Node: noNode, Binary: path, All: true})
	o.waitUp(true)
	lines := bufio.NewScanner(out)
	if _, err := in.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ready", "fired"} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("the program said %q, want %q", lines.Text(), want)
		}
	}
	stop()
	o.conserved()
	events := o.all()
	if len(events) != 5 {
		t.Fatalf("%d events, want 5", len(events))
	}
	hash := append([]byte{1, 2, 3}, make([]byte, 29)...)
	unknown := eventpb.ConnectionType_CONNECTION_TYPE_UNKNOWN.Enum()
	for i, want := range []*eventpb.EbpfExtractor{
		{EbpfEvent: &eventpb.EbpfExtractor_Message{Message: &eventpb.MessageEvent{
			Meta: &eventpb.Metadata{PeerId: proto.Uint64(1<<64 - 1), Addr: proto.String(""), ConnType: eventpb.ConnType_CONN_TYPE_UNKNOWN.Enum(),
				Command: proto.String(""), Inbound: proto.Bool(true), Size: proto.Uint64(5), ConnectionType: unknown},
			Msg: &eventpb.MessageEvent_Unknown{Unknown: &eventpb.Unknown{Command: proto.String(""), Payload: []byte("hello")}},
		}}},
		{EbpfEvent: &eventpb.EbpfExtractor_Message{Message: &eventpb.MessageEvent{
			Meta: &eventpb.Metadata{PeerId: proto.Uint64(1<<64 - 2), Addr: proto.String(testAddress), ConnType: eventpb.ConnType_CONN_TYPE_INBOUND.Enum(),
				Command: proto.String("ping"), Inbound: proto.Bool(true), Size: proto.Uint64(8), ConnectionType: eventpb.ConnectionType_CONNECTION_TYPE_INBOUND.Enum()},
			Msg:          &eventpb.MessageEvent_Unknown{Unknown: &eventpb.Unknown{Command: proto.String("ping"), Payload: []byte{}}},
			PayloadState: eventpb.PayloadState_PAYLOAD_STATE_UNREADABLE.Enum(), CapturedSize: proto.Uint64(0),
		}}},
		{EbpfEvent: &eventpb.EbpfExtractor_Connection{Connection: &eventpb.ConnectionEvent{Event: &eventpb.ConnectionEvent_Misbehaving{
			Misbehaving: &eventpb.MisbehavingConnection{Id: proto.Uint64(1<<64 - 3), Message: proto.String("")}}}}},
		{EbpfEvent: &eventpb.EbpfExtractor_Mempool{Mempool: &eventpb.MempoolEvent{Event: &eventpb.MempoolEvent_Added{
			Added: &eventpb.Added{Txid: []byte{}, Vsize: proto.Int32(-5), Fee: proto.Int64(-7)}}}}},
		{EbpfEvent: &eventpb.EbpfExtractor_Validation{Validation: &eventpb.ValidationEvent{Event: &eventpb.ValidationEvent_BlockConnected{
			BlockConnected: &eventpb.BlockConnected{Hash: hash, Height: proto.Int32(-1), Transactions: proto.Int64(2), Inputs: proto.Int32(-3),
				Sigops: proto.Int64(4), ConnectionTime: proto.Uint64(1<<64 - 6)}}}}},
	} {
		got := events[i].GetEbpfExtractor()
		got.Hit = nil
		if !proto.Equal(got, want) {
			t.Errorf("event %d: {%v}, want {%v}", i, got, want)
		}
	}
	for _, s := range o.extractor.Status() {
		wantArguments, wantPayloads := uint64(0), uint64(0)
		switch s.GetName() {
		case "net:inbound_message":
			wantArguments, wantPayloads = 1, 1
		case "net:misbehaving_connection", "mempool:added":
			wantArguments = 1
		}
		if s.GetArgumentFaults() != wantArguments || s.GetPayloadFaults() != wantPayloads {
			t.Errorf("%s: %d argument faults and %d payload faults, want %d and %d", s.GetName(), s.GetArgumentFaults(), s.GetPayloadFaults(), wantArguments, wantPayloads)
		}
	}
}

func TestTextIsCleaned(t *testing.T) {
	p, path := startEmitter(t)
	o, stop := observe(t, Config{Node: noNode, Binary: path, All: true})
	o.waitUp(true)
	long := strings.Repeat("ä", 600) // 1200 bytes, of which 1023 are kept: half a letter at the end
	for _, probe := range []string{"net:misbehaving_connection", "mempool:rejected", "mempool:removed"} {
		for _, reason := range []string{"a\xffb\xc3", "\xed\xa0\x80", "", long} {
			fire(t, p, "%s reason=%s", probe, reason)
		}
	}
	// An address that isn't text.
	fire(t, p, "net:closed_connection address=a\xfe:1 connection=whatever")
	stop()
	o.conserved()
	var got []string
	for _, e := range o.all() {
		x := e.GetEbpfExtractor()
		if c := x.GetConnection().GetClosed().GetConn(); c != nil {
			if c.GetAddr() != "a\uFFFD:1" || c.GetConnectionType() != eventpb.ConnectionType_CONNECTION_TYPE_UNKNOWN {
				t.Errorf("connection %v", c)
			}
			continue
		}
		got = append(got, x.GetConnection().GetMisbehaving().GetMessage()+x.GetMempool().GetRejected().GetReason()+x.GetMempool().GetRemoved().GetReason())
	}
	want := []string{"a\uFFFDb\uFFFD", "\uFFFD", "", strings.Repeat("ä", 511) + "\uFFFD"}
	for i, text := range got {
		if text != want[i%len(want)] {
			t.Errorf("reason %d is %q, want %q", i, text, want[i%len(want)])
		}
	}
	if len(got) != 3*len(want) {
		t.Errorf("%d reasons, want %d", len(got), 3*len(want))
	}
	for _, s := range o.extractor.Status() {
		if s.GetName() == "mempool:rejected" && s.GetStringsCut() != 1 {
			t.Errorf("%d strings cut, want 1", s.GetStringsCut())
		}
	}
}

// A payload that the operator's limit cuts, and one that found no room in the ring.
func TestPayloadStates(t *testing.T) {
	p, path := startEmitter(t)
	policy := bpf.KeepAll()
	policy.Rules = []bpf.Rule{{Direction: bpf.Inbound, MessageType: "inv", Limit: 1 + 2*36 + 7}, {Direction: bpf.Inbound, MessageType: "tx", Drop: true}}
	o, stop := observe(t, Config{Node: noNode, Binary: path, All: true, Program: bpf.Config{RingSize: 64 << 10, Policy: &policy}})
	o.waitUp(true)
	inv := []byte{5}
	for range 5 {
		inv = append(inv, append([]byte{5, 0, 0, 0}, make([]byte, 32)...)...)
	}
	fire(t, p, "net:inbound_message type=inv hex=%x", inv)
	fire(t, p, "net:outbound_message type=inv hex=%x", inv)
	fire(t, p, "net:inbound_message type=tx size=100")
	// Larger than the whole ring: the payload is shed, the rest recorded.
	fire(t, p, "net:inbound_message type=block size=100000")
	stop()
	o.conserved()
	events := o.all()
	if len(events) != 3 {
		t.Fatalf("%d events, want 3", len(events))
	}
	cut, whole, shed := events[0].GetEbpfExtractor().GetMessage(), events[1].GetEbpfExtractor().GetMessage(), events[2].GetEbpfExtractor().GetMessage()
	truncated := eventpb.PayloadState_PAYLOAD_STATE_TRUNCATED
	if n := len(cut.GetInv().GetItems()); n != 2 || cut.GetPayloadState() != truncated || cut.GetCapturedSize() != 1+2*36+7 || cut.GetMeta().GetSize() != uint64(len(inv)) || cut.GetElementCount() != 5 {
		t.Errorf("cut inv: %d items, %v", n, cut)
	}
	if n := len(whole.GetInv().GetItems()); n != 5 || whole.PayloadState != nil || whole.CapturedSize != nil {
		t.Errorf("whole inv: %d items, %v", n, whole)
	}
	if shed.GetPayloadState() != truncated || shed.CapturedSize == nil || shed.GetCapturedSize() != 0 || shed.GetMeta().GetSize() != 100_000 || shed.GetMeta().GetCommand() != "block" {
		t.Errorf("shed block: %v", shed)
	}
	for _, s := range o.extractor.Status() {
		if s.GetName() == "net:inbound_message" && (s.GetPayloadShed() != 1 || s.GetPayloadTruncated() != 1 || s.GetFiltered() != 1) {
			t.Errorf("%v: want one shed, one truncated, one filtered", s)
		}
	}
}

// The fields of numbers, by themselves: what of an argument counts, and its sign.
func TestNumberFields(t *testing.T) {
	for _, test := range []struct {
		name string
		got  fieldValue
		want uint64
	}{
		{"int32", int32Field(1, 0xffff_fffb), 0xffff_ffff_ffff_fffb},
		{"int32 with rubbish above", int32Field(1, 0x1234_5678_0000_0005), 5},
		{"largest int32", int32Field(1, 1<<31-1), 1<<31 - 1},
		{"true", boolean(1, 1), 1},
		{"false with rubbish above", boolean(1, 0xff00), 0},
		{"int64", varint(1, 1<<64-7), 1<<64 - 7},
	} {
		if test.got.value != test.want {
			t.Errorf("%s: %#x, want %#x", test.name, test.got.value, test.want)
		}
	}
	e := newEncoder()
	e.fields(int32Field(field.AddedVsize, 0xffff_fffb), varint(field.AddedFee, 1<<64-7))
	var back eventpb.Added
	if err := proto.Unmarshal(e.buffer.Bytes(), &back); err != nil || back.GetVsize() != -5 || back.GetFee() != -7 {
		t.Errorf("vsize %d, fee %d, %v", back.GetVsize(), back.GetFee(), err)
	}
	want := protowire.AppendVarint(protowire.AppendTag(nil, field.AddedVsize, protowire.VarintType), 0xffff_ffff_ffff_fffb)
	if !bytes.HasPrefix(e.buffer.Bytes(), want) {
		t.Errorf("encoded %x, want it to begin with %x", e.buffer.Bytes(), want)
	}
}

// records fires commands and gives one record for each. They stay valid as long as
// nothing else is fired.
func records(t testing.TB, commands ...string) []bpf.Record {
	t.Helper()
	p, path := startEmitter(t)
	program, err := bpf.Load(bpf.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := program.Close(); err != nil {
			t.Error(err)
		}
	})
	executable, err := bpf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer executable.Close()
	if _, err := program.Attach(executable, bpf.Options{Groups: bpf.Groups()}); err != nil {
		t.Fatal(err)
	}
	var list []bpf.Record
	for _, command := range commands {
		if fired := fire(t, p, "%s", command); fired.Fired != 1 {
			t.Fatalf("%d hits", fired.Fired)
		}
		var r bpf.Record
		if err := program.Reader().Read(&r); err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
	}
	// The records are in the memory of the reader's ring.
	t.Cleanup(func() { program.Reader().Stats() })
	return list
}

// newTestRecorder makes the hot path without a kernel in front of it.
func newTestRecorder(t testing.TB, ledger *event.Ledger, sinks ...event.Sink) *recorder {
	t.Helper()
	emitter := event.NewEmitter(event.SourceEBPF, event.Origin{NodeName: "test", BootID: 1}, event.NewStream(sinks...), ledger)
	x := New(Config{Node: noNode, All: true}, emitter, ledger, nil)
	c, err := newClock()
	if err != nil {
		t.Fatal(err)
	}
	return newRecorder(x, nil, c)
}

type countingSink struct{ events, bytes int }

func (s *countingSink) HandleEvent(e *event.Event) {
	s.events++
	s.bytes += len(e.Data)
}

// A hit costs no allocation on its way from the ring to the sinks, of whatever kind.
func TestRecordsAllocateNothing(t *testing.T) {
	commands := []string{"net:inbound_message type=inv hex=01" + "05000000" + strings.Repeat("ab", 32), "net:outbound_message type=block size=2000000"}
	names := []string{"inv", "block that can't be decoded"}
	for _, tracepoint := range bpf.Tracepoints() {
		commands = append(commands, fmt.Sprintf("%v size=8 peer=-5 type=ping", tracepoint))
		names = append(names, tracepoint.String())
	}
	list := records(t, commands...)
	sink := new(countingSink)
	r := newTestRecorder(t, event.NewLedger(), sink)
	handled := 0
	for i := range list {
		n := testing.AllocsPerRun(20, func() {
			r.handle(t.Context(), &list[i])
			handled++
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", names[i], n)
		}
	}
	if sink.events != handled || sink.bytes == 0 {
		t.Errorf("%d events of %d records, %d bytes", sink.events, handled, sink.bytes)
	}
}

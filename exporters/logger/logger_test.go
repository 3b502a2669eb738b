package logger_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/peerobserver/peerobserver/exporters/logger"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// hostile is text that a peer could send to harm a terminal or a log.
const hostile = "x\x1b[2J\r\n\u009b31m\u202e evil=\"1\" \x00\x7f"

// fill sets every field of a message, oneofs to the case that choose gives.
func fill(m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() && m.WhichOneof(o) != nil {
			continue
		}
		if f.Name() == "absent_fields" {
			continue
		}
		fillField(m, f, depth)
	}
}

func fillField(m protoreflect.Message, f protoreflect.FieldDescriptor, depth int) {
	switch {
	case f.IsMap():
		entries := m.Mutable(f).Map()
		v := entries.NewValue()
		if f.MapValue().Kind() == protoreflect.MessageKind {
			fill(v.Message(), depth+1)
		} else {
			v = sample(f.MapValue())
		}
		entries.Set(sample(f.MapKey()).MapKey(), v)
	case f.IsList():
		list := m.Mutable(f).List()
		for range 5 {
			v := list.NewElement()
			if f.Kind() == protoreflect.MessageKind {
				fill(v.Message(), depth+1)
			} else {
				v = sample(f)
			}
			list.Append(v)
		}
	case f.Kind() == protoreflect.MessageKind:
		if depth < 6 {
			fill(m.Mutable(f).Message(), depth+1)
		}
	default:
		m.Set(f, sample(f))
	}
}

func sample(f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		values := f.Enum().Values()
		return protoreflect.ValueOfEnum(values.Get(values.Len() - 1).Number())
	case protoreflect.Int32Kind, protoreflect.Sint32Kind:
		return protoreflect.ValueOfInt32(-7)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind:
		return protoreflect.ValueOfInt64(-7)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(7)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(7)
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(0.5)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(hostile)
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(bytes.Repeat([]byte{0x1b}, 32))
	default:
		panic("kind " + f.Kind().String())
	}
}

// everyEvent makes an event for each way through the oneofs, full of hostile text.
func everyEvent() map[string]*eventpb.Event {
	all := map[string]*eventpb.Event{}
	var descend func(path []protoreflect.FieldDescriptor, d protoreflect.MessageDescriptor)
	descend = func(path []protoreflect.FieldDescriptor, d protoreflect.MessageDescriptor) {
		for i := range d.Oneofs().Len() {
			o := d.Oneofs().Get(i)
			if o.IsSynthetic() {
				continue
			}
			for j := range o.Fields().Len() {
				f := o.Fields().Get(j)
				next := append(path[:len(path):len(path)], f)
				if f.Kind() == protoreflect.MessageKind {
					descend(next, f.Message())
				} else {
					build(all, next)
				}
			}
			return
		}
		build(all, path)
	}
	descend(nil, (&eventpb.Event{}).ProtoReflect().Descriptor())
	return all
}

func build(all map[string]*eventpb.Event, path []protoreflect.FieldDescriptor) {
	e := new(eventpb.Event)
	m := e.ProtoReflect()
	var messages []protoreflect.Message
	var names []string
	for _, f := range path {
		messages = append(messages, m)
		names = append(names, string(f.Name()))
		if f.Kind() == protoreflect.MessageKind {
			m = m.Mutable(f).Message()
			if f == path[len(path)-1] {
				fill(m, 0)
			}
		} else {
			m.Set(f, sample(f))
		}
	}
	for _, m := range messages {
		fill(m, 0)
	}
	name := "node"
	e.NodeName = &name
	all[strings.Join(names, ".")] = e
}

func encode(t testing.TB, e *eventpb.Event) *event.Event {
	t.Helper()
	data, err := proto.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	h, err := event.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	kind := event.KindOf(data)
	return &event.Event{Header: h, Kind: kind, Subject: kind.Subject(), Data: data}
}

// printable fails when a line could do more than be read.
func printable(t *testing.T, line string) {
	t.Helper()
	for _, r := range line {
		if !unicode.IsPrint(r) {
			t.Errorf("character %U in %q", r, line)
			return
		}
	}
}

func TestEveryEventHasALine(t *testing.T) {
	all := everyEvent()
	kinds := map[event.Kind]bool{}
	for path, decoded := range all {
		e := encode(t, decoded)
		kind := e.Kind
		if kind == event.KindUnknown {
			t.Errorf("%s: kind unknown", path)
			continue
		}
		kinds[kind] = true
		line := string(logger.AppendText(nil, "node", e, decoded))
		printable(t, line)
		if len(line) > 5000 {
			t.Errorf("%s: line of %d bytes", path, len(line))
		}
		want := " node " + e.Source.String() + " " + strings.TrimPrefix(kind.String(), e.Source.String()+".")
		if !strings.Contains(line, want) {
			t.Errorf("%s: no %q in %q", path, want, line)
		}
		if kind == event.KindMessage {
			want = " <- "
		} else {
			want = "="
		}
		if !strings.Contains(line, want) {
			t.Errorf("%s: no %q in %q", path, want, line)
		}
		t.Log(path, "\n", line)
	}
	for _, kind := range event.Kinds() {
		if !kinds[kind] {
			t.Errorf("no event of kind %s was tried", kind)
		}
	}
}

func TestJSONIsTheMapping(t *testing.T) {
	for path, decoded := range everyEvent() {
		line, err := logger.AppendJSON(nil, decoded)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		printable(t, string(line))
		back := new(eventpb.Event)
		if err := protojson.Unmarshal(line, back); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if !proto.Equal(back, decoded) {
			t.Errorf("%s: JSON doesn't give the same event: %s", path, line)
		}
	}
}

func TestJSONNamesAndZeroValues(t *testing.T) {
	zero, text := uint64(0), ""
	e := &eventpb.Event{
		NodeName: &text,
		PeerObserverEvent: &eventpb.Event_EbpfExtractor{EbpfExtractor: &eventpb.EbpfExtractor{
			EbpfEvent: &eventpb.EbpfExtractor_Message{Message: &eventpb.MessageEvent{
				Meta: &eventpb.Metadata{PeerId: &zero, Command: &text},
				Msg:  &eventpb.MessageEvent_Verack{Verack: true},
			}},
		}},
	}
	line, err := logger.AppendJSON(nil, e)
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatal(err)
	}
	const expected = `{"ebpf_extractor":{"message":{"meta":{"peer_id":"0","command":""},"verack":true}},"node_name":""}`
	if err := json.Unmarshal([]byte(expected), &want); err != nil {
		t.Fatal(err)
	}
	if a, b := mustJSON(got), mustJSON(want); a != b {
		t.Errorf("got %s, want %s", a, b)
	}
}

func mustJSON(v any) string {
	encoded, _ := json.Marshal(v)
	return string(encoded)
}

func TestTextOfAnInv(t *testing.T) {
	hash := make([]byte, 32)
	for i := range hash {
		hash[i] = byte(i)
	}
	line := textOf(t, messageEvent(12, "198.51.100.7:8333", "inv", true, &eventpb.MessageEvent{
		Msg: &eventpb.MessageEvent_Inv{Inv: &eventpb.Inv{Items: []*eventpb.InventoryItem{
			{Item: &eventpb.InventoryItem_Wtx{Wtx: hash}},
			{Item: &eventpb.InventoryItem_Block{Block: hash}},
		}}},
	}))
	want := "2026-01-02T03:04:05.000000Z ebpf message <- inv peer=12 198.51.100.7:8333 inbound 73B items=2 " +
		"[wtx:1f1e1d1c1b1a191817161514131211100f0e0d0c0b0a09080706050403020100 " +
		"block:1f1e1d1c1b1a191817161514131211100f0e0d0c0b0a09080706050403020100]"
	if line != want {
		t.Errorf("got  %s\nwant %s", line, want)
	}
}

func TestTextOfAConnection(t *testing.T) {
	blockRelay, manual := eventpb.ConnType_CONN_TYPE_BLOCK_RELAY_ONLY, eventpb.ConnectionType_CONNECTION_TYPE_MANUAL
	unknown := eventpb.ConnType_CONN_TYPE_UNKNOWN
	testTextOfAConnection(t, &blockRelay, nil, "block-relay-only")
	testTextOfAConnection(t, &unknown, &manual, "manual")
}

func testTextOfAConnection(t *testing.T, old *eventpb.ConnType, given *eventpb.ConnectionType, name string) {
	t.Helper()
	id, addr, network, existing := uint64(3), "[2001:db8::1]:8333", uint32(2), uint64(9)
	line := textOf(t, &eventpb.Event{Timestamp: timestamp(), PeerObserverEvent: &eventpb.Event_EbpfExtractor{EbpfExtractor: &eventpb.EbpfExtractor{
		EbpfEvent: &eventpb.EbpfExtractor_Connection{Connection: &eventpb.ConnectionEvent{
			Event: &eventpb.ConnectionEvent_Outbound{Outbound: &eventpb.OutboundConnection{
				Conn:                &eventpb.Connection{PeerId: &id, Addr: &addr, ConnType: old, ConnectionType: given, Network: &network},
				ExistingConnections: &existing,
			}},
		}},
	}}})
	want := "2026-01-02T03:04:05.000000Z ebpf connection.outbound peer=3 [2001:db8::1]:8333 " + name + " conn.network=ipv6 existing_connections=9"
	if line != want {
		t.Errorf("got  %s\nwant %s", line, want)
	}
}

func TestAbsentFieldsAreNotShown(t *testing.T) {
	zero, size := int64(0), int64(5)
	line := textOf(t, &eventpb.Event{Timestamp: timestamp(), PeerObserverEvent: &eventpb.Event_RpcExtractor{RpcExtractor: &eventpb.RpcExtractor{
		RpcEvent: &eventpb.RpcExtractor_MempoolInfo{MempoolInfo: &eventpb.MempoolInfo{Size: &size, Unbroadcastcount: &zero, AbsentFields: []uint32{10}}},
	}}})
	const want = "2026-01-02T03:04:05.000000Z rpc mempool_info size=5"
	if line != want {
		t.Errorf("got  %s\nwant %s", line, want)
	}
}

func timestamp() *uint64 {
	ms := uint64(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixMilli())
	return &ms
}

func textOf(t *testing.T, e *eventpb.Event) string {
	t.Helper()
	return string(logger.AppendText(nil, "", encode(t, e), e))
}

// messageEvent makes a P2P message of 73 bytes.
func messageEvent(id uint64, addr, command string, inbound bool, m *eventpb.MessageEvent) *eventpb.Event {
	size, connType := uint64(73), eventpb.ConnType_CONN_TYPE_INBOUND
	m.Meta = &eventpb.Metadata{PeerId: &id, Addr: &addr, Command: &command, Inbound: &inbound, Size: &size, ConnType: &connType}
	return &eventpb.Event{Timestamp: timestamp(), PeerObserverEvent: &eventpb.Event_EbpfExtractor{
		EbpfExtractor: &eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Message{Message: m}},
	}}
}

func verack(id uint64, addr string, inbound bool) *eventpb.Event {
	return messageEvent(id, addr, "verack", inbound, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Verack{Verack: true}})
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// show runs a logger over events and gives what it printed.
func show(t *testing.T, cfg logger.Config, events ...*eventpb.Event) string {
	t.Helper()
	var out bytes.Buffer
	cfg.Output = &out
	l, err := logger.New(cfg, event.NewLedger(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		l.HandleEvent(encode(t, e))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestFilters(t *testing.T) {
	uptime := &eventpb.Event{PeerObserverEvent: &eventpb.Event_RpcExtractor{RpcExtractor: &eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_Uptime{Uptime: 1}}}}
	id := uint64(7)
	misbehaving := &eventpb.Event{PeerObserverEvent: &eventpb.Event_EbpfExtractor{EbpfExtractor: &eventpb.EbpfExtractor{
		EbpfEvent: &eventpb.EbpfExtractor_Connection{Connection: &eventpb.ConnectionEvent{
			Event: &eventpb.ConnectionEvent_Misbehaving{Misbehaving: &eventpb.MisbehavingConnection{Id: &id}},
		}},
	}}}
	ping := messageEvent(7, "[2001:db8::1]:1", "ping", false, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Ping{Ping: &eventpb.Ping{}}})
	events := []*eventpb.Event{
		verack(1, "198.51.100.7:8333", true), verack(2, "abc.onion:8333", false), ping, misbehaving, uptime,
	}
	names := []string{"verack1", "verack2", "ping", "misbehaving", "uptime"}
	for _, test := range []struct {
		sources, events, messages []string
		direction                 string
		peers                     []string
		want                      string
	}{
		{want: "verack1 verack2 ping misbehaving uptime"},
		{sources: []string{"rpc"}, want: "uptime"},
		{sources: []string{"rpc", "ebpf"}, events: []string{"message"}, want: "verack1 verack2 ping"},
		{events: []string{"connection"}, want: "misbehaving"},
		{events: []string{"connection.inbound", "rpc"}, want: "uptime"},
		{messages: []string{"ping"}, want: "ping"},
		{direction: "inbound", want: "verack1"},
		{direction: "outbound", messages: []string{"verack"}, want: "verack2"},
		{peers: []string{"7"}, want: "ping misbehaving"},
		{peers: []string{"198.51.100.7", "abc.onion"}, want: "verack1 verack2"},
		{peers: []string{"198.51.100.0/24"}, want: "verack1"},
		{peers: []string{"[2001:db8::1]:1"}, want: "ping"},
		{peers: []string{"2001:db8::1"}, want: "ping"},
		{peers: []string{"abc.onion:8333"}, want: "verack2"},
		{peers: []string{"abc.onion:8334"}, want: ""},
	} {
		filter, err := logger.ParseFilter(test.sources, test.events, test.messages, test.direction, test.peers)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i, e := range events {
			if show(t, logger.Config{Filter: filter}, e) != "" {
				got = append(got, names[i])
			}
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%+v: got %s", test, got)
		}
	}
}

func TestFilterErrorsNameWhatThereIs(t *testing.T) {
	for _, test := range []struct {
		sources, events []string
		direction, want string
	}{
		{sources: []string{"nope"}, want: "known: ebpf, rpc"},
		{events: []string{"nope"}, want: "connection.inbound"},
		{direction: "sideways", want: "inbound, outbound"},
	} {
		_, err := logger.ParseFilter(test.sources, test.events, nil, test.direction, nil)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: error %v", test, err)
		}
	}
}

func TestCountTable(t *testing.T) {
	got := show(t, logger.Config{Count: true},
		verack(1, "a:1", true), verack(2, "b:1", true), verack(1, "a:1", false),
		messageEvent(1, "a:1", "\x1b]0;evil", true, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Unknown{Unknown: &eventpb.Unknown{}}}))
	lines := strings.Split(strings.TrimSpace(got), "\n")
	if len(lines) != 5 {
		t.Fatalf("got:\n%s", got)
	}
	for i, want := range []string{
		"COUNT BYTES SOURCE EVENT MESSAGE DIRECTION",
		"2 74 ebpf message verack inbound",
		`1 39 ebpf message "\x1b]0;evil" inbound`,
		"1 37 ebpf message verack outbound",
		"4 150 all",
	} {
		if fields := strings.Join(strings.Fields(lines[i]), " "); fields != want {
			t.Errorf("line %d: got %q, want %q", i, fields, want)
		}
	}
}

func TestCountTableIsBounded(t *testing.T) {
	var events []*eventpb.Event
	for i := range 2000 {
		command := string([]byte{'a' + byte(i%26), 'a' + byte(i/26%26), 'a' + byte(i/676)})
		events = append(events, messageEvent(1, "a:1", command, true, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Unknown{Unknown: &eventpb.Unknown{}}}))
	}
	got := show(t, logger.Config{Count: true}, events...)
	if n := strings.Count(got, "\n"); n > 510 {
		t.Errorf("%d lines", n)
	}
	if !strings.Contains(got, "(other)") || !strings.Contains(got, "\n2000 ") {
		t.Errorf("got:\n%s", got)
	}
}

func TestNodeIsShownOnceThereAreSeveral(t *testing.T) {
	named := func(name string) *eventpb.Event {
		e := verack(1, "a:1", true)
		e.NodeName = &name
		return e
	}
	lines := strings.Split(show(t, logger.Config{}, named("one"), named("one"), named("two"), named("one")), "\n")
	for i, want := range []string{"Z ebpf", "Z ebpf", "Z two ebpf", "Z one ebpf"} {
		if !strings.Contains(lines[i], want) {
			t.Errorf("line %d: no %q in %q", i, want, lines[i])
		}
	}
}

func TestUndecodableIsCounted(t *testing.T) {
	ledger := event.NewLedger()
	var out bytes.Buffer
	l, err := logger.New(logger.Config{Output: &out}, ledger, quiet())
	if err != nil {
		t.Fatal(err)
	}
	bad := encode(t, verack(1, "a:1", true))
	// The address becomes text that isn't UTF-8, which the header doesn't show.
	bad.Data = bytes.Replace(bad.Data, []byte("a:1"), []byte{0xff, 0xfe, 0xfd}, 1)
	l.HandleEvent(bad)
	l.HandleEvent(encode(t, verack(1, "a:1", true)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Errorf("%d lines", n)
	}
	if n := ledger.Loss(event.SourceUnknown, event.StageDecode, event.ReasonMalformed).Value(); n != 1 {
		t.Errorf("%d counted", n)
	}
}

// TestClosedPipeIsACleanEnd closes the reading end of a real pipe.
func TestClosedPipeIsACleanEnd(t *testing.T) {
	reader, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	l, err := logger.New(logger.Config{Output: out}, event.NewLedger(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- l.Run(t.Context()) }()
	l.HandleEvent(encode(t, verack(1, "a:1", true)))
	// The line comes although there is no second one to push it out.
	buffer := make([]byte, 1000)
	if n, err := reader.Read(buffer); err != nil || !strings.HasSuffix(string(buffer[:n]), "73B\n") {
		t.Fatalf("read %q, %v", buffer[:n], err)
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	l.HandleEvent(encode(t, verack(1, "a:1", true)))
	select {
	case err := <-done:
		if !errors.Is(err, logger.ErrOutputClosed) {
			t.Fatalf("Run returned %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("Run goes on")
	}
}

// TestStuckOutputBlocksNothing fills a pipe that nobody reads.
func TestStuckOutputBlocksNothing(t *testing.T) {
	reader, out := io.Pipe()
	ledger := event.NewLedger()
	l, err := logger.New(logger.Config{Output: out, Buffer: 64 << 10}, ledger, quiet())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := l.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	e := encode(t, verack(1, "a:1", true))
	lost := func() uint64 { return ledger.Loss(event.SourceEBPF, event.StageQueue, "logger_full").Value() }
	for deadline := time.Now().Add(30 * time.Second); lost() == 0; {
		if time.Now().After(deadline) {
			t.Fatal("nothing was skipped")
		}
		l.HandleEvent(e)
	}
	cancel()
	// Run leaves the stuck write behind.
	wg.Wait()
	_ = reader.Close()
}

func BenchmarkText(b *testing.B) {
	decoded := verack(1, "198.51.100.7:8333", true)
	e := encode(b, decoded)
	var line []byte
	b.ReportAllocs()
	for range b.N {
		line = logger.AppendText(line[:0], "", e, decoded)
	}
}

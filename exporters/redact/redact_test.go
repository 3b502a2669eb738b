package redact_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/peerobserver/peerobserver/exporters/archive"
	"github.com/peerobserver/peerobserver/exporters/logger"
	"github.com/peerobserver/peerobserver/exporters/redact"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func redactor(t testing.TB, key string) *redact.Redactor {
	t.Helper()
	r, err := redact.New([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const testKey = "0123456789abcdef0123456789abcdef"

// filler fills events: texts with addresses in them, bytes with addresses where strangers
// choose them, hashes where there are hashes.
type filler struct {
	random *rand.Rand
	list   []inPlay
	set    map[protoreflect.FullName]int
}

func (f *filler) address() inPlay { return f.list[f.random.IntN(len(f.list))] }

// text writes an address as nodes and people do.
func (f *filler) text() string {
	a := f.address().text
	if strings.Contains(a, ":") {
		return []string{
			"[" + a + "]:8333", a, "connect to [" + a + "]:18444 failed", "addr=" + a + ", peer=7", "addr:" + a + " next", "from " + a + ".",
			strings.ToUpper(a), "(" + a + ")", "[" + a + "%eth0]:1", a + "/64", "12:30:55 " + a,
		}[f.random.IntN(11)]
	}
	return []string{
		a + ":8333", a, "peeraddr=" + a + ":8333", "New outbound peer: " + a + ":50000, v2", "x" + a + "y", "at 12:30:55.1 from " + a + ":", strings.ToUpper(a),
		"::ffff:" + a, "/agent:1.0(" + a + ")/", "http://" + a + "/path", a + "," + f.address().text, "1." + a, "v" + a + ".", "peer-" + a + "-x", a + ":" + "x",
	}[f.random.IntN(15)]
}

func (f *filler) value(field protoreflect.FieldDescriptor, depth int) protoreflect.Value {
	switch field.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(field.Enum().Values().Get(f.random.IntN(field.Enum().Values().Len())).Number())
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(f.random.Int32N(1000))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(f.random.Int64N(1000))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(f.random.Uint32N(1000))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(f.random.Uint64N(1000))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(1.5)
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(1.5)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(f.text())
	case protoreflect.BytesKind:
		name := string(field.Name())
		if name == "address" || name == "payload" || name == "alert" || name == "signature" || name == "feature_data" || name == "raw" ||
			field.FullName() == "peerobserver.v1.FilterAdd.filter" || field.FullName() == "peerobserver.v1.FilterLoad.filter" {
			return protoreflect.ValueOfBytes(f.address().raw)
		}
		hash := make([]byte, 32)
		for i := range hash {
			hash[i] = byte(f.random.Uint32())
		}
		return protoreflect.ValueOfBytes(hash)
	default:
		panic(field.Kind())
	}
}

func (f *filler) fill(m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if oneof := field.ContainingOneof(); oneof != nil && !oneof.IsSynthetic() {
			continue
		}
		f.fillField(m, field, depth)
	}
	oneofs := m.Descriptor().Oneofs()
	for i := range oneofs.Len() {
		if oneof := oneofs.Get(i); !oneof.IsSynthetic() {
			// The case that came least for all that is in it.
			least := oneof.Fields().Get(0)
			for j := range oneof.Fields().Len() {
				if field := oneof.Fields().Get(j); f.set[field.FullName()]*cases(least) < f.set[least.FullName()]*cases(field) {
					least = field
				}
			}
			f.fillField(m, least, depth)
		}
	}
}

// cases is the number of cases in the oneofs of a field's message.
func cases(field protoreflect.FieldDescriptor) (n int) {
	if field.Kind() == protoreflect.MessageKind {
		oneofs := field.Message().Oneofs()
		for i := range oneofs.Len() {
			if oneof := oneofs.Get(i); !oneof.IsSynthetic() {
				for j := range oneof.Fields().Len() {
					n += cases(oneof.Fields().Get(j))
				}
			}
		}
	}
	return max(n, 1)
}

func (f *filler) fillField(m protoreflect.Message, field protoreflect.FieldDescriptor, depth int) {
	f.set[field.FullName()]++
	switch {
	case field.IsMap():
		entries := m.Mutable(field).Map()
		for range 2 {
			key := f.value(field.MapKey(), depth).MapKey()
			f.set[field.MapKey().FullName()]++
			if field.MapValue().Kind() != protoreflect.MessageKind {
				entries.Set(key, f.value(field.MapValue(), depth))
				f.set[field.MapValue().FullName()]++
				continue
			}
			f.fill(entries.Mutable(key).Message(), depth+1)
		}
	case field.IsList():
		list := m.Mutable(field).List()
		for range 2 {
			if field.Kind() == protoreflect.MessageKind {
				f.fill(list.AppendMutable().Message(), depth+1)
			} else {
				list.Append(f.value(field, depth))
			}
		}
	case field.Kind() == protoreflect.MessageKind:
		f.fill(m.Mutable(field).Message(), depth+1)
	default:
		m.Set(field, f.value(field, depth))
	}
}

// events makes events of all kinds.
func (f *filler) events(n int) (list []event.Event) {
	for range n {
		e := &eventpb.Event{}
		f.fill(e.ProtoReflect(), 0)
		data, err := proto.Marshal(e)
		if err != nil {
			panic(err)
		}
		header, err := event.Parse(data)
		if err != nil {
			panic(err)
		}
		kind := event.KindOf(data)
		list = append(list, event.Event{Header: header, Kind: kind, Subject: kind.Subject(), Data: data})
	}
	return list
}

// outputs gives what the sinks make of events: archive, text and JSON.
func outputs(t *testing.T, list []event.Event, wrap func(event.Sink, *event.Ledger) event.Sink) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for name, format := range map[string]logger.Format{"text": logger.FormatText, "JSON": logger.FormatJSON} {
		ledger := event.NewLedger()
		var out bytes.Buffer
		sink, err := logger.New(logger.Config{Output: &out, Format: format, Buffer: 256 << 20, ShowNode: true}, ledger, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		feed(list, wrap(sink, ledger))
		runUntilEmpty(t, sink, ledger)
		if lines := bytes.Count(out.Bytes(), []byte("\n")); lines != len(list) {
			t.Errorf("%s: %d lines of %d events", name, lines, len(list))
		}
		all[name] = out.Bytes()
	}
	ledger := event.NewLedger()
	dir := t.TempDir()
	sink, err := archive.New(archive.Config{Dir: dir, Buffer: 256 << 20}, ledger, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	feed(list, wrap(sink, ledger))
	runUntilEmpty(t, sink, ledger)
	paths, err := filepath.Glob(filepath.Join(dir, "*.zst"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no archive: %v", err)
	}
	all["archive"] = archived(t, paths, len(list))
	return all
}

// runUntilEmpty runs a sink until its queue is empty.
func runUntilEmpty(t *testing.T, sink event.Runner, ledger *event.Ledger) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- sink.Run(ctx) }()
	for deadline := time.Now().Add(time.Minute); ledger.Status().GetQueues()[0].GetEvents() > 0; {
		if time.Now().After(deadline) {
			t.Fatal("the queue doesn't get empty")
		}
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func feed(list []event.Event, sink event.Sink) {
	for i := range list {
		sink.HandleEvent(&list[i])
	}
}

// archived gives the bytes of all events in files.
func archived(t *testing.T, paths []string, want int) []byte {
	t.Helper()
	set, err := archive.OpenSet(paths, archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	var all []byte
	n := 0
	for {
		e, err := set.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e.Data...)
		n++
	}
	if n != want {
		t.Errorf("%d events in the archive, want %d", n, want)
	}
	return all
}

// Not one address is left in any output, in any form, wherever in an event it was.
func TestNoAddressIsLeft(t *testing.T) {
	f := &filler{random: rand.New(rand.NewPCG(1, 2)), list: addressesInPlay(), set: map[protoreflect.FullName]int{}}
	list := f.events(500)
	missing := 0
	seen := map[protoreflect.FullName]bool{}
	eachField((&eventpb.Event{}).ProtoReflect().Descriptor(), seen, func(field protoreflect.FieldDescriptor) {
		if f.set[field.FullName()] == 0 {
			missing++
			t.Logf("not filled: %s", field.FullName())
		}
	})
	if missing > 0 {
		t.Errorf("%d fields of text or bytes were never filled", missing)
	}

	// The scan finds what is there: without redaction, nearly every form of text, and bytes.
	plain := outputs(t, list, func(s event.Sink, _ *event.Ledger) event.Sink { return s })
	for name, output := range plain {
		if all := found(output, f.list); len(all) < 2*len(f.list) {
			t.Errorf("%s: only %d forms are found without redaction: %q", name, len(all), all)
		}
	}
	r := redactor(t, testKey)
	redacted := outputs(t, list, func(s event.Sink, l *event.Ledger) event.Sink { return r.Sink(s, l) })
	for name, output := range redacted {
		for _, form := range found(output, f.list) {
			t.Errorf("%s: %s", name, form)
		}
		if len(output) < len(plain[name])/2 {
			t.Errorf("%s: %d bytes of %d are left", name, len(output), len(plain[name]))
		}
	}
	for i := range list {
		e, ok := r.Event(nil, &list[i])
		if !ok || event.KindOf(e.Data) != list[i].Kind || e.Sequence != list[i].Sequence || e.Source != list[i].Source {
			t.Fatalf("%v becomes %v, %v", list[i].Header, e.Header, ok)
		}
		if err := proto.Unmarshal(e.Data, new(eventpb.Event)); err != nil {
			t.Fatalf("%v: %v", list[i].Kind, err)
		}
	}
}

func eachField(m protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool, see func(protoreflect.FieldDescriptor)) {
	if seen[m.FullName()] {
		return
	}
	seen[m.FullName()] = true
	for i := range m.Fields().Len() {
		switch field := m.Fields().Get(i); field.Kind() {
		case protoreflect.MessageKind:
			eachField(field.Message(), seen, see)
		case protoreflect.StringKind, protoreflect.BytesKind:
			see(field)
		}
	}
}

// The same address has the same pseudonym in every form and place, another one with
// another key, and one of its own network.
func TestPseudonymsAreStable(t *testing.T) {
	r, other := redactor(t, testKey), redactor(t, testKey+"x")
	text := func(r *redact.Redactor, s string) string { return string(r.AppendText(nil, []byte(s))) }
	four := text(r, "8.23.45.67")
	six := text(r, "2a00:1450:4001:81b::200e")
	onion := text(r, "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion")
	for in, want := range map[string]string{
		"8.23.45.67:8333":                       four + ":8333",
		"::ffff:8.23.45.67":                     four,
		"[::ffff:817:2d43]:1":                   "[" + four + "]:1",
		"a 8.23.45.67, b":                       "a " + four + ", b",
		"[2A00:1450:4001:081b:0:0:0:200E]:8333": "[" + six + "]:8333",
		"2a00:1450:4001:81b::200e%eth0 x":       six + " x",
		"addr:2a00:1450:4001:81b::200e.":        "addr:" + six + ".",
		"PG6MMJIYJMCRSSLVYKFWNNTLARU7P5SVN6Y2YMMJU6NUBXNDF4PSCRYD.onion:1": onion + ":1",
		"0.0.0.0:0": "0.0.0.0:0", "[::]:0": "[::]:0",
		"2026-11-23T12:07:31.731901Z [net:debug] version 31.99.0: msg": "2026-11-23T12:07:31.731901Z [net:debug] version 31.99.0: msg",
		"[net.cpp:3000] [CConnman::ThreadMessageHandler] x":            "[net.cpp:3000] [CConnman::ThreadMessageHandler] x",
		strings.Repeat("1.", 300):                                      "redacted", strings.Repeat("a:", 40): "redacted", strings.Repeat("ab", 900): strings.Repeat("ab", 900),
		"height=5 hash=00ab:": "height=5 hash=00ab:", "": "", "...": "...", ":::": ":::",
	} {
		if got := text(r, in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
	if cut := text(r, "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4ps.onion"); !strings.HasPrefix(onion, strings.TrimSuffix(cut, ".onion")) {
		t.Errorf("the short form becomes %s, the long one %s", cut, onion)
	}
	if !strings.HasPrefix(four, "24") && !strings.HasPrefix(four, "25") || !strings.HasPrefix(six, "4000:") || len(onion) != 62 {
		t.Errorf("%s %s %s", four, six, onion)
	}
	for _, s := range []string{"8.23.45.67", "2a00:1450:4001:81b::200e", "x.onion.example.org:8333"} {
		if text(other, s) == text(r, s) {
			t.Errorf("%q has the same pseudonym with another key", s)
		}
	}
	// Names that were given to the node.
	address := func(s string) string { return string(r.AppendAddress(nil, []byte(s))) }
	name := address("node.example.org:8333")
	if strings.Contains(name, "example") || !strings.HasSuffix(name, ".invalid:8333") || address("Node.example.org:8333") != name || text(r, "trying node.example.org:8333 lastseen") != "trying "+name+" lastseen" {
		t.Errorf("name: %q", name)
	}
	if got := address("seednode"); strings.Contains(got, "seed") || got == "" {
		t.Errorf("name without a dot: %q", got)
	}
	for _, s := range []string{"", "0.0.0.0:0", "[::]:8333"} {
		if got := address(s); got != s {
			t.Errorf("%q becomes %q", s, got)
		}
	}
}

// What can't be read is lost and counted, not handed on; what a newer producer adds is left
// out.
func TestUnreadableEvents(t *testing.T) {
	r := redactor(t, testKey)
	ledger := event.NewLedger()
	var got []event.Event
	sink := r.Sink(handler(func(e *event.Event) { got = append(got, *e) }), ledger)
	sink.HandleEvent(&event.Event{Header: event.Header{Source: event.SourceLog}, Data: []byte{0x0a, 0x05, '8'}})
	if len(got) != 0 || ledger.Loss(event.SourceLog, event.StageDecode, redact.ReasonRedaction).Value() != 1 {
		t.Errorf("%d handed on", len(got))
	}
	data, err := proto.Marshal(&eventpb.Event{NodeName: proto.String("x")})
	if err != nil {
		t.Fatal(err)
	}
	out, err := r.AppendEvent(nil, append(bytes.Clone(data), 0xfa, 0xff, 0x03, 0x0a, '8', '.', '2', '3', '.', '4', '5', '.', '6', '7'))
	if err != nil || !bytes.Equal(out, data) {
		t.Errorf("%q, %v", out, err)
	}
}

type handler func(e *event.Event)

// HandleEvent implements event.Sink.
func (h handler) HandleEvent(e *event.Event) { h(e) }

func TestKeys(t *testing.T) {
	if _, err := redact.New([]byte("short")); err == nil || !strings.Contains(err.Error(), "at least 16") {
		t.Errorf("short key: %v", err)
	}
	dir := t.TempDir()
	for name, content := range map[string]int{"empty": 0, "short": 15, "large": 5000, "good": 32} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, bytes.Repeat([]byte("k"), content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := redact.FromFile(path); (err == nil) != (name == "good") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := redact.FromFile(filepath.Join(dir, "none")); err == nil {
		t.Error("no file is a key")
	}
}

// FuzzText: no text makes it panic, and no address gets through by what is around it.
func FuzzText(f *testing.F) {
	for _, s := range []string{"8.23.45.67", "1.8.23.45.67.9", "::ffff:8.23.45.67", "a:b:c::d.onion", "[fe80::1%x]:1", strings.Repeat(":", 100), "1:2:3:4:5:6:7:8:9"} {
		f.Add(s, s)
	}
	r := redactor(f, testKey)
	f.Fuzz(func(t *testing.T, before, after string) {
		for _, address := range []string{"8.23.45.67", "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion"} {
			in := before + " " + address + " " + after
			if strings.Contains(before, address) || strings.Contains(after, address) {
				return
			}
			out := string(r.AppendText(nil, []byte(in)))
			if strings.Contains(out, address) {
				t.Fatalf("%q becomes %q", in, out)
			}
		}
		_ = r.AppendText(nil, []byte(before+after))
		_ = r.AppendAddress(nil, []byte(before))
		_, _ = r.AppendEvent(nil, []byte(before))
	})
}

func BenchmarkEvent(b *testing.B) {
	r := redactor(b, testKey)
	for name, e := range map[string]*eventpb.Event{
		"inv": {PeerObserverEvent: &eventpb.Event_EbpfExtractor{EbpfExtractor: &eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Message{Message: &eventpb.MessageEvent{
			Meta: &eventpb.Metadata{Addr: proto.String("8.23.45.67:8333"), Command: proto.String("inv")},
			Msg:  &eventpb.MessageEvent_Inv{Inv: &eventpb.Inv{Items: []*eventpb.InventoryItem{{Item: &eventpb.InventoryItem_Wtx{Wtx: make([]byte, 32)}}}}},
		}}}}},
		"log": {PeerObserverEvent: &eventpb.Event_LogExtractor{LogExtractor: &eventpb.LogExtractor{LogEvent: &eventpb.LogExtractor_UnknownLogMessage{
			UnknownLogMessage: &eventpb.UnknownLogMessage{RawMessage: proto.String("received: inv (37 bytes) peer=7, peeraddr=8.23.45.67:8333")},
		}}}},
	} {
		data, err := proto.Marshal(e)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var buffer []byte
			for b.Loop() {
				if buffer, err = r.AppendEvent(buffer[:0], data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

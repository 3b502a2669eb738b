package event_test

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
	"github.com/peerobserver/peerobserver/proto/field"
)

// path is a way through the oneofs from Event to what an event tells.
type path []protoreflect.FieldDescriptor

// kindPaths finds all of them in the descriptors. The type of a P2P message is below a
// kind and isn't followed.
func kindPaths() []path {
	var all []path
	var descend func(p path, d protoreflect.MessageDescriptor)
	descend = func(p path, d protoreflect.MessageDescriptor) {
		for i := range d.Oneofs().Len() {
			o := d.Oneofs().Get(i)
			if o.IsSynthetic() || d.Name() == "MessageEvent" {
				continue
			}
			for j := range o.Fields().Len() {
				f := o.Fields().Get(j)
				next := append(p[:len(p):len(p)], f)
				if f.Kind() == protoreflect.MessageKind {
					descend(next, f.Message())
				} else {
					all = append(all, next)
				}
			}
			return
		}
		all = append(all, p)
	}
	descend(nil, (&eventpb.Event{}).ProtoReflect().Descriptor())
	return all
}

// build makes an event with the cases of a path, empty otherwise.
func (p path) build() *eventpb.Event {
	e := new(eventpb.Event)
	m := e.ProtoReflect()
	for _, f := range p {
		switch f.Kind() {
		case protoreflect.MessageKind:
			m = m.Mutable(f).Message()
		case protoreflect.Uint32Kind:
			m.Set(f, protoreflect.ValueOfUint32(7))
		case protoreflect.Sint64Kind:
			m.Set(f, protoreflect.ValueOfInt64(7))
		default:
			panic(f.FullName())
		}
	}
	return e
}

// name is the kind's name that follows from the names in the .proto files.
func (p path) name() string {
	parts := make([]string, len(p))
	for i, f := range p {
		parts[i] = string(f.Name())
	}
	name := strings.Join(parts, ".")
	name = strings.TrimPrefix(name, "ebpf_extractor.")
	name = strings.ReplaceAll(name, "_extractor.", ".")
	name = strings.TrimSuffix(name, "_log")
	return strings.TrimSuffix(name, "_log_message")
}

func TestKindsAreThoseOfTheDescriptors(t *testing.T) {
	seen := map[event.Kind]bool{}
	for _, p := range kindPaths() {
		data, err := proto.Marshal(p.build())
		if err != nil {
			t.Fatal(err)
		}
		kind := event.KindOf(data)
		if kind.String() != p.name() {
			t.Errorf("%s: kind %s", p.name(), kind)
		}
		if seen[kind] {
			t.Errorf("%s: kind %s has several paths", p.name(), kind)
		}
		seen[kind] = true
		header, err := event.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		if kind.Source() != header.Source {
			t.Errorf("%s: source %s, the header says %s", kind, kind.Source(), header.Source)
		}
		back, err := event.ParseKind(kind.String())
		if err != nil || back != kind {
			t.Errorf("%s is read as %s, %v", kind, back, err)
		}
	}
	for _, kind := range event.Kinds() {
		if !seen[kind] {
			t.Errorf("kind %s isn't in the descriptors", kind)
		}
	}
	if len(event.Kinds()) != int(event.KindCount)-1 {
		t.Errorf("%d kinds, KindCount %d", len(event.Kinds()), event.KindCount)
	}
}

// TestSubjects holds the subjects against the wire format of the existing tools: what
// they know, whose numbers are below 1000, is on their subjects; the rest is where a
// subscription to * doesn't find it.
func TestSubjects(t *testing.T) {
	theirs := map[string]string{
		"message": "netmsg", "connection": "netconn", "mempool": "mempool", "validation": "validation",
		"rpc": "rpc", "p2p": "p2p-extractor", "log": "log-extractor", "ipc": "ipc",
	}
	for _, p := range kindPaths() {
		kind, err := event.ParseKind(p.name())
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(p.name(), ".")
		want := theirs[first]
		for _, f := range p {
			if f.Number() >= 1000 {
				want = p.name()
			}
		}
		if kind.Subject() != want {
			t.Errorf("%s: subject %q, want %q", kind, kind.Subject(), want)
		}
		if want == p.name() && strings.Count(want, ".") != 1 {
			t.Errorf("%s: subject %q hasn't two parts", kind, want)
		}
		if !slices.Contains(event.Subjects(), kind.Subject()) {
			t.Errorf("%s: subject %q isn't listed", kind, kind.Subject())
		}
	}
	if event.KindUnknown.Subject() != "" || event.Kind(60000).Subject() != "" {
		t.Error("what is no kind has a subject")
	}
}

func TestKindOfP2PMessages(t *testing.T) {
	d := (&eventpb.MessageEvent{}).ProtoReflect().Descriptor().Oneofs().ByName("msg")
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		m := new(eventpb.MessageEvent)
		if f.Kind() == protoreflect.MessageKind {
			m.ProtoReflect().Mutable(f)
		} else {
			m.ProtoReflect().Set(f, protoreflect.ValueOfBool(true))
		}
		data, err := proto.Marshal(&eventpb.Event{PeerObserverEvent: &eventpb.Event_EbpfExtractor{
			EbpfExtractor: &eventpb.EbpfExtractor{
				EbpfEvent: &eventpb.EbpfExtractor_Message{Message: m},
				Hit:       &eventpb.TracepointHit{},
			},
		}})
		if err != nil {
			t.Fatal(err)
		}
		if kind := event.KindOf(data); kind != event.KindMessage {
			t.Errorf("%s: kind %s", f.Name(), kind)
		}
	}
}

func TestKindOfOddBytes(t *testing.T) {
	uptime := event.AppendVarintField(nil, field.RpcExtractorUptime, 1)
	rpc := event.AppendBytesField(nil, field.EventRpcExtractor, uptime)
	for name, test := range map[string]struct {
		data []byte
		want event.Kind
	}{
		"nothing":          {nil, event.KindUnknown},
		"no oneof":         {event.AppendVarintField(nil, field.EventTimestamp, 1), event.KindUnknown},
		"empty extractor":  {event.AppendBytesField(nil, field.EventRpcExtractor, nil), event.KindUnknown},
		"unknown case":     {event.AppendBytesField(nil, field.EventRpcExtractor, event.AppendVarintField(nil, 999, 1)), event.KindUnknown},
		"wrong wire type":  {event.AppendBytesField(nil, field.EventRpcExtractor, event.AppendBytesField(nil, field.RpcExtractorUptime, nil)), event.KindUnknown},
		"cut":              {rpc[:len(rpc)-1], event.KindUnknown},
		"garbage after":    {append(rpc[:len(rpc):len(rpc)], 0xff), event.KindUnknown},
		"unknown fields":   {append(event.AppendBytesField(nil, 5000, []byte("x")), rpc...), event.KindRPCUptime},
		"last case counts": {append(event.AppendBytesField(nil, field.EventLogExtractor, nil), rpc...), event.KindRPCUptime},
		"group around it":  {protowire.AppendTag(append(protowire.AppendTag(nil, 99, protowire.StartGroupType), rpc...), 99, protowire.EndGroupType), event.KindUnknown},
	} {
		if got := event.KindOf(test.data); got != test.want {
			t.Errorf("%s: kind %s, want %s", name, got, test.want)
		}
	}
	if event.Kind(60000).String() != "unknown" || event.Kind(60000).Source() != event.SourceUnknown {
		t.Error("a number that is no kind")
	}
	if _, err := event.ParseKind("unknown"); err == nil {
		t.Error("unknown is accepted as a kind")
	}
}

func TestKindOfAllocatesNothing(t *testing.T) {
	data := sampleEvent(t)
	if n := testing.AllocsPerRun(100, func() { event.KindOf(data) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkKindOf(b *testing.B) {
	data := sampleEvent(b)
	b.ReportAllocs()
	for range b.N {
		event.KindOf(data)
	}
}

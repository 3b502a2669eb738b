package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/peerobserver/peerobserver/exporters/archive"
	"github.com/peerobserver/peerobserver/exporters/logger"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// The archive of a release has an event of every kind and message type with every field
// that it had; the other file has the same events as JSON.
const (
	archiveFixture = "archive.bin.zst"
	jsonFixture    = "events.jsonl"
)

// keepsArchive reads a release's archive with the code of today, as its own verification,
// the kinds and the JSON of its events.
func keepsArchive(t *testing.T, dir string) {
	t.Helper()
	verified, err := archive.Verify(t.Context(), []string{filepath.Join(dir, archiveFixture)})
	if err != nil || !verified.Sound() || verified.Missing() != 0 {
		t.Errorf("%s does not pass verification: %+v (%v). Promised: archives stay readable", archiveFixture, verified, err)
	}
	today := readArchive(t, filepath.Join(dir, archiveFixture))
	content, err := os.ReadFile(filepath.Join(dir, jsonFixture))
	if err != nil {
		t.Fatal(err)
	}
	promised := strings.Split(strings.TrimSuffix(string(content), "\n"), "\n")
	if len(promised) != len(today) {
		t.Fatalf("%s has %d events, it had %d. Promised: archives stay readable", archiveFixture, len(today), len(promised))
	}
	for i, line := range promised {
		var was, is any
		if err := errors.Join(json.Unmarshal([]byte(line), &was), json.Unmarshal([]byte(today[i]), &is)); err != nil {
			t.Fatal(err)
		}
		if missing := lacks(was, is, ""); missing != "" {
			t.Errorf("event %d reads otherwise: %s. Promised: fields keep their names and values in JSON", i+1, missing)
		}
	}
}

// lacks names the first thing of was that is has not; empty when it has all.
func lacks(was, is any, path string) string {
	switch was := was.(type) {
	case map[string]any:
		object, ok := is.(map[string]any)
		if !ok {
			return fmt.Sprintf("%s was an object and is %v", path, is)
		}
		for _, name := range slices.Sorted(maps.Keys(was)) {
			value, ok := object[name]
			if !ok {
				return path + "." + name + " is gone"
			}
			if missing := lacks(was[name], value, path+"."+name); missing != "" {
				return missing
			}
		}
	case []any:
		list, ok := is.([]any)
		if !ok || len(list) != len(was) {
			return fmt.Sprintf("%s had %d elements and is %v", path, len(was), is)
		}
		for i := range was {
			if missing := lacks(was[i], list[i], fmt.Sprintf("%s[%d]", path, i)); missing != "" {
				return missing
			}
		}
	default:
		if was != is {
			return fmt.Sprintf("%s was %v and is %v", path, was, is)
		}
	}
	return ""
}

// readArchive gives the events of a file as JSON, one each.
func readArchive(t *testing.T, path string) []string {
	t.Helper()
	reader, err := archive.Open(path, archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	var lines []string
	for {
		e, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == event.KindUnknown {
			t.Errorf("%s: event %d is of no kind that is known today", path, len(lines)+1)
		}
		decoded := new(eventpb.Event)
		if err := proto.Unmarshal(e.Data, decoded); err != nil {
			t.Fatal(err)
		}
		line, err := logger.AppendJSON(nil, decoded)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(line))
	}
}

// writeArchive writes the archive of a release as the program writes one.
func writeArchive(t *testing.T, dir string) {
	t.Helper()
	temporary := t.TempDir()
	ledger := event.NewLedger()
	sink, err := archive.New(archive.Config{Dir: temporary}, ledger, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sink.Run(ctx) }()
	emitComplete(event.NewStream(sink), ledger)
	cancel() // it writes what is queued first
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	written, err := filepath.Glob(filepath.Join(temporary, "*.bin.zst"))
	if err != nil || len(written) != 1 {
		t.Fatalf("the archive wrote %v (%v)", written, err)
	}
	content, err := os.ReadFile(written[0])
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Join(readArchive(t, written[0]), "\n") + "\n"
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, archiveFixture), content, 0o644),
		os.WriteFile(filepath.Join(dir, jsonFixture), []byte(lines), 0o644),
	); err != nil {
		t.Fatal(err)
	}
}

// emitComplete emits an event for each case that an event can have, with every field of
// it set.
func emitComplete(stream *event.Stream, ledger *event.Ledger) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	emitters := map[event.Source]*event.Emitter{}
	for _, m := range complete(new(eventpb.Event).ProtoReflect().Type()) {
		e := m.Interface().(*eventpb.Event)
		data, err := proto.Marshal(&eventpb.Event{PeerObserverEvent: e.GetPeerObserverEvent()})
		if err != nil {
			continue // can't be: every text is ASCII
		}
		source := event.KindOf(data).Source()
		if emitters[source] == nil {
			emitters[source] = event.NewEmitter(source, event.Origin{NodeName: "node", BootID: 7}, stream, ledger)
		}
		at += int64(time.Second)
		times := event.Times{Receive: at, NodeStart: 1}
		if source == event.SourceEBPF {
			times.Kernel = at - 1
		}
		emitters[source].Emit(e, times)
	}
}

// complete gives messages of a type that have every field set, one for each case of its
// oneofs and of those below. Lists have an element for each case.
func complete(kind protoreflect.MessageType) []protoreflect.Message {
	list := []protoreflect.Message{kind.New()}
	fields := kind.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
			continue
		}
		for _, m := range list {
			m.Set(f, value(m, f)[0])
		}
	}
	oneofs := kind.Descriptor().Oneofs()
	for i := range oneofs.Len() {
		if oneofs.Get(i).IsSynthetic() {
			continue
		}
		cases := oneofs.Get(i).Fields()
		var more []protoreflect.Message
		for _, m := range list {
			for j := range cases.Len() {
				for _, v := range value(m, cases.Get(j)) {
					one := proto.Clone(m.Interface()).ProtoReflect()
					one.Set(cases.Get(j), v)
					more = append(more, one)
				}
			}
		}
		list = more
	}
	return list
}

// value gives values for a field, several for a message with oneofs.
func value(m protoreflect.Message, f protoreflect.FieldDescriptor) []protoreflect.Value {
	switch {
	case f.IsMap():
		entries := m.NewField(f).Map()
		key := scalar(f.MapKey()).MapKey()
		if f.MapValue().Message() == nil {
			entries.Set(key, scalar(f.MapValue()))
		} else {
			entries.Set(key, protoreflect.ValueOfMessage(complete(entries.NewValue().Message().Type())[0]))
		}
		return []protoreflect.Value{protoreflect.ValueOfMap(entries)}
	case f.IsList():
		list := m.NewField(f).List()
		if f.Message() == nil {
			list.Append(scalar(f))
		} else {
			for _, element := range complete(list.NewElement().Message().Type()) {
				list.Append(protoreflect.ValueOfMessage(element))
			}
		}
		return []protoreflect.Value{protoreflect.ValueOfList(list)}
	case f.Message() != nil:
		var values []protoreflect.Value
		for _, one := range complete(m.NewField(f).Message().Type()) {
			values = append(values, protoreflect.ValueOfMessage(one))
		}
		return values
	default:
		return []protoreflect.Value{scalar(f)}
	}
}

// scalar gives a value that tells the field by its number.
func scalar(f protoreflect.FieldDescriptor) protoreflect.Value {
	n := int64(f.Number())
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		values := f.Enum().Values()
		return protoreflect.ValueOfEnum(values.Get(values.Len() - 1).Number())
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(-n))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(n))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(-n << 32)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(uint64(n) << 32)
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(n) / 2)
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(n) / 2)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(fmt.Sprintf("%s %d", f.Name(), n))
	default: // bytes; messages are not scalars
		return protoreflect.ValueOfBytes(bytes.Repeat([]byte{byte(n)}, 32))
	}
}

// Every field and every kind is in the events that fixtures are made of.
func TestCompleteEvents(t *testing.T) {
	seen := map[string]bool{}
	var look func(m protoreflect.Message)
	look = func(m protoreflect.Message) {
		m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			seen[fmt.Sprintf("%s\t%d", m.Descriptor().FullName(), f.Number())] = true
			switch {
			case f.IsMap():
				v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
					if f.MapValue().Message() != nil {
						look(v.Message())
					}
					return true
				})
			case f.IsList() && f.Message() != nil:
				for i := range v.List().Len() {
					look(v.List().Get(i).Message())
				}
			case f.Message() != nil:
				look(v.Message())
			}
			return true
		})
	}
	collected := new(kindCounter)
	emitComplete(event.NewStream(collected), event.NewLedger())
	for _, k := range event.Kinds() {
		if collected.count[k] == 0 {
			t.Errorf("there is no event of kind %v", k)
		}
	}
	for _, m := range complete(new(eventpb.Event).ProtoReflect().Type()) {
		look(m)
	}
	for key, row := range fieldTable(t) {
		message, _, _ := strings.Cut(key, "\t")
		// The messages of archive.proto are around events; values of enums have no type.
		inEvents := !strings.HasPrefix(message, "peerobserver.v1.Archive") && !strings.HasSuffix(message, "Entry") && strings.Contains(row, " ")
		if inEvents && !seen[key] {
			t.Errorf("no event has %s (%s)", strings.ReplaceAll(key, "\t", " "), row)
		}
	}
}

// kindCounter is a sink that counts.
type kindCounter struct{ count [event.KindCount]int }

func (c *kindCounter) HandleEvent(e *event.Event) { c.count[e.Kind]++ }

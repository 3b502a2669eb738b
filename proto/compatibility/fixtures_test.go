package compatibility_test

import (
	"bytes"
	"encoding/hex"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/peerobserver/peerobserver/proto/compatibility"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// fixture is a message as the existing tools write it, and what we must read in it.
type fixture struct {
	wire [][]byte
	want proto.Message
}

func fixtures() []fixture {
	return slices.Concat(
		eventFixtures(), primitiveFixtures(), messageEventFixtures(), payloadFixtures(),
		connectionFixtures(), mempoolFixtures(), rpcFixtures(), p2pFixtures(), logFixtures(),
	)
}

// TestFixtures decodes messages that were encoded by hand from the field tables.
func TestFixtures(t *testing.T) {
	for _, f := range fixtures() {
		name := nameOf(f.want.ProtoReflect().Descriptor())
		got := f.want.ProtoReflect().New().Interface()
		if err := proto.Unmarshal(slices.Concat(f.wire...), got); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !proto.Equal(got, f.want) {
			t.Errorf("%s:\n got %v\nwant %v", name, got, f.want)
		}
		if unknown := got.ProtoReflect().GetUnknown(); len(unknown) > 0 {
			t.Errorf("%s: unknown fields %x", name, []byte(unknown))
		}
	}
}

// TestFixturesAreComplete fails when a field of the existing format occurs in no
// fixture.
func TestFixturesAreComplete(t *testing.T) {
	type key struct {
		message string
		number  protowire.Number
	}
	seen := map[key]bool{}
	for _, f := range fixtures() {
		name := nameOf(f.want.ProtoReflect().Descriptor())
		f.want.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
			seen[key{name, field.Number()}] = true
			return true
		})
	}
	for _, f := range existingFields(t) {
		if !seen[key{f.Message, f.Number}] {
			t.Errorf("no fixture has %s.%s", f.Message, f.Name)
		}
	}
}

// TestFixturesAreStrict holds the fixtures, and what our types write of them, against
// the schema that strict readers use; and a fixture without one of its required fields
// must not pass, or the check would be worth nothing.
func TestFixturesAreStrict(t *testing.T) {
	schema, err := compatibility.Schema()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fixtures() {
		name := nameOf(f.want.ProtoReflect().Descriptor())
		descriptor := schema.Messages().ByName(protoreflect.Name(name))
		if descriptor == nil {
			t.Errorf("%s is no message of the existing format", name)
			continue
		}
		strict := func(data []byte) error {
			return proto.Unmarshal(data, dynamicpb.NewMessage(descriptor))
		}
		if err := strict(slices.Concat(f.wire...)); err != nil {
			t.Errorf("%s: the fixture: %v", name, err)
		}
		ours, err := proto.Marshal(f.want)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := strict(ours); err != nil {
			t.Errorf("%s: as we write it: %v", name, err)
		}
		for i := range descriptor.Fields().Len() {
			field := descriptor.Fields().Get(i)
			if field.Cardinality() == protoreflect.Required && strict(without(t, ours, field.Number())) == nil {
				t.Errorf("%s: passes without the required %s", name, field.Name())
			}
		}
	}
}

// without removes a top-level field from an encoded message.
func without(t *testing.T, data []byte, number protowire.Number) []byte {
	t.Helper()
	var out []byte
	for len(data) > 0 {
		num, _, n := protowire.ConsumeField(data)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		if num != number {
			out = append(out, data[:n]...)
		}
		data = data[n:]
	}
	return out
}

// TestEventInHex decodes a whole event that no encoder has touched: an inv of one
// item of unknown type from peer 5, 3 seconds into 1970.
func TestEventInHex(t *testing.T) {
	data, err := hex.DecodeString("" +
		"0a4e" + // 1, 78 bytes: ebpf_extractor
		"0a4c" + // 1, 76 bytes: message
		"0a20" + // 1, 32 bytes: meta
		"0805" + // 1, varint 5: peer_id
		"1211" + "3230332e302e3131332e32303a38333333" + // 2, 17 bytes: addr
		"1801" + // 3, varint 1: conn_type, inbound
		"2203" + "696e76" + // 4, 3 bytes: command
		"2801" + // 5, varint 1: inbound
		"3025" + // 6, varint 37: size
		"2228" + // 4, 40 bytes: inv
		"0a26" + // 1, 38 bytes: items
		"3a24" + // 7, 36 bytes: unknown
		"0807" + // 1, varint 7: inv_type
		"1220" + "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f" + // 2, 32 bytes: hash
		"50b817") // 10, varint 3000: timestamp
	if err != nil {
		t.Fatal(err)
	}
	got := new(eventpb.Event)
	if err := proto.Unmarshal(data, got); err != nil {
		t.Fatal(err)
	}
	if got.GetTimestamp() != 3000 {
		t.Errorf("timestamp %d, want 3000", got.GetTimestamp())
	}
	message := got.GetEbpfExtractor().GetMessage()
	meta := message.GetMeta()
	if meta.GetPeerId() != 5 || meta.GetAddr() != "203.0.113.20:8333" || meta.GetCommand() != "inv" ||
		meta.GetConnType() != eventpb.ConnType_CONN_TYPE_INBOUND || !meta.GetInbound() || meta.GetSize() != 37 {
		t.Errorf("meta %v", meta)
	}
	item := message.GetInv().GetItems()[0].GetUnknown()
	if item.GetInvType() != 7 || !bytes.Equal(item.GetHash()[:3], []byte{0, 1, 2}) {
		t.Errorf("item %v", item)
	}
}

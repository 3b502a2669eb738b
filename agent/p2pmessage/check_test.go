package p2pmessage

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// wholeMessage is a message of which everything was captured.
func wholeMessage(name string, payload []byte) *Message {
	return &Message{
		PeerID:         7,
		Address:        []byte("203.0.113.9:8333"),
		ConnectionType: []byte("inbound"),
		Type:           []byte(name),
		Inbound:        true,
		Size:           uint64(len(payload)),
		Payload:        payload,
	}
}

// transcode runs the decoder and Google's protobuf over its output.
func transcode(t testing.TB, coder *Transcoder, m *Message, hit Hit) (*eventpb.EbpfExtractor, State) {
	t.Helper()
	b := event.NewBuffer(256)
	state := coder.AppendEvent(b, m, hit)
	if b.Len() > event.MaxSize {
		t.Fatalf("%s of %d bytes made an event of %d bytes", m.Type, m.Size, b.Len())
	}
	var e eventpb.Event
	if err := proto.Unmarshal(b.Bytes(), &e); err != nil {
		t.Fatalf("%s %x: %v", m.Type, m.Payload, err)
	}
	if err := missingField(e.GetEbpfExtractor().ProtoReflect()); err != nil {
		t.Fatalf("%s %x: %v in\n%s", m.Type, m.Payload, err, prototext.Format(&e))
	}
	if len(e.GetEbpfExtractor().GetMessage().ProtoReflect().GetUnknown()) > 0 {
		t.Fatalf("%s %x: unknown fields written", m.Type, m.Payload)
	}
	return e.GetEbpfExtractor(), state
}

// missingField finds a field that older readers demand: everything of their format
// that isn't repeated, a oneof case or the oneof's owner.
func missingField(m protoreflect.Message) error {
	if len(m.GetUnknown()) > 0 {
		return fmt.Errorf("%s has unknown fields", m.Descriptor().Name())
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		oneof := f.ContainingOneof() != nil && !f.ContainingOneof().IsSynthetic()
		if f.Number() < 1000 && !f.IsList() && !oneof && !m.Has(f) {
			return fmt.Errorf("%s is absent", f.FullName())
		}
		if f.Number() < 1000 && f.Kind() == protoreflect.EnumKind {
			if n := m.Get(f).Enum(); n >= 1000 || f.Enum().Values().ByNumber(n) == nil {
				return fmt.Errorf("%s has the value %d, which older readers take for absent", f.FullName(), n)
			}
		}
	}
	oneofs := m.Descriptor().Oneofs()
	for i := range oneofs.Len() {
		if o := oneofs.Get(i); !o.IsSynthetic() && m.WhichOneof(o) == nil {
			return fmt.Errorf("no case of %s", o.FullName())
		}
	}
	var err error
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Kind() != protoreflect.MessageKind:
		case f.IsList():
			for i := range v.List().Len() {
				err = errors.Join(err, missingField(v.List().Get(i).Message()))
			}
		default:
			err = missingField(v.Message())
		}
		return err == nil
	})
	return err
}

// check decodes a payload, of which the first captured bytes are seen, and holds
// everything that the event says against the payload. It gives the event.
func check(t testing.TB, coder *Transcoder, name string, whole []byte, captured int) *eventpb.MessageEvent {
	t.Helper()
	m := wholeMessage(name, whole)
	m.Payload = m.Payload[:captured:captured]
	extractor, state := transcode(t, coder, m, Hit{})
	e := extractor.GetMessage()
	fail := func(format string, args ...any) {
		t.Helper()
		t.Fatalf("%s %x (%d captured): %s\n%s", name, whole, captured, fmt.Sprintf(format, args...), prototext.Format(e))
	}

	if state != e.GetPayloadState() {
		fail("AppendEvent says %v", state)
	}
	if e.GetMeta().GetSize() != uint64(len(whole)) || e.GetMeta().GetPeerId() != m.PeerID ||
		!e.GetMeta().GetInbound() || e.GetMeta().GetAddr() != string(m.Address) {
		fail("wrong metadata")
	}
	if utf8.ValidString(name) && len(name) <= maxTypeText && e.GetMeta().GetCommand() != name {
		fail("command %q", e.GetMeta().GetCommand())
	}
	if cut := captured < len(whole); cut != (e.CapturedSize != nil) || cut && e.GetCapturedSize() != uint64(captured) {
		fail("wrong captured size")
	}

	known := slices.ContainsFunc(messageTypes(), func(mt messageType) bool { return mt.name == name })
	if unknown := e.GetUnknown(); unknown != nil {
		if unknown.GetCommand() != e.GetMeta().GetCommand() || !bytes.Equal(unknown.GetPayload(), whole[:captured]) {
			fail("payload not carried")
		}
		if known && state == stateWhole {
			fail("a known type is unknown")
		}
		if !known && state == stateMalformed {
			fail("an unknown type is malformed")
		}
		if state == stateTruncated && captured == len(whole) {
			fail("nothing is truncated")
		}
		if e.TrailingBytes != nil {
			fail("trailing bytes")
		}
		return e
	}
	if !known || state == stateMalformed || state == stateUnreadable || state == stateTooLarge {
		fail("decoded")
	}
	checkContent(e, whole[:captured], len(whole), fail)
	return e
}

// checkContent encodes the message again and compares it with the payload.
func checkContent(e *eventpb.MessageEvent, captured []byte, size int, fail func(string, ...any)) {
	again, err := reencode(e)
	if err != nil {
		fail("%v", err)
	}
	if text := rawText(e); strings.ContainsRune(text, utf8.RuneError) {
		return // cleaned
	}
	if e.GetPayloadState() == stateTruncated {
		if e.GetCompactblock() != nil && e.ElementCount == nil {
			again = again[:blockHeaderSize+8] // the counts of ids aren't known
		}
		if !bytes.HasPrefix(normalise(e, captured), again) {
			fail("encoded again it is %x", again)
		}
		return
	}
	consumed := size - int(e.GetTrailingBytes())
	if consumed > len(captured) {
		fail("%d bytes read", consumed)
	}
	if want := normalise(e, captured[:consumed]); !bytes.Equal(want, again) {
		if e.GetReject() != nil && bytes.Equal(want, append(again, make([]byte, hashSize)...)) {
			return // a hash of zeros is no hash
		}
		fail("encoded again it is %x", again)
	}
}

// rawText is the peer's text in a message.
func rawText(e *eventpb.MessageEvent) string {
	return e.GetVersion().GetUserAgent() + e.GetReject().GetRejectedCommand() + e.GetReject().GetReasonDetails() +
		e.GetFeature().GetFeatureId()
}

// normalise removes from a payload what events don't tell.
func normalise(e *eventpb.MessageEvent, payload []byte) []byte {
	payload = slices.Clone(payload)
	switch {
	case e.GetVersion() != nil && len(e.GetVersion().GetAbsentFields()) == 0 && payload[len(payload)-1] > 1:
		payload[len(payload)-1] = 1 // any relay byte but 0 is true
	case e.GetInv() != nil:
		clearErrorHashes(payload, e.GetInv().GetItems())
	case e.GetGetdata() != nil:
		clearErrorHashes(payload, e.GetGetdata().GetItems())
	case e.GetNotfound() != nil:
		clearErrorHashes(payload, e.GetNotfound().GetItems())
	case e.GetHeaders() != nil:
		return withoutTransactionCounts(payload, len(e.GetHeaders().GetHeaders()))
	}
	return payload
}

// clearErrorHashes zeroes the hashes of items of type error.
func clearErrorHashes(payload []byte, items []*eventpb.InventoryItem) {
	r := reader{b: payload}
	r.compactSize()
	for _, i := range items {
		if item := r.take(inventorySize); i.GetError() {
			clear(item[4:])
		}
	}
}

// withoutTransactionCounts sets the counts after n headers to zero.
func withoutTransactionCounts(payload []byte, n int) []byte {
	r := reader{b: payload}
	r.compactSize()
	out := slices.Clone(payload[:len(payload)-len(r.b)])
	for range n {
		out = append(append(out, r.take(blockHeaderSize)...), 0)
		r.compactSize()
	}
	return out
}

// checkAgainstBtcd compares a decoded message with what btcd makes of the payload.
func checkAgainstBtcd(t testing.TB, name string, payload []byte, e *eventpb.MessageEvent) {
	t.Helper()
	theirs, rest, err := decodeWithBtcd(name, payload)
	if errors.Is(err, errNotInBtcd) {
		return
	}
	if e.GetUnknown() != nil {
		if err == nil && e.GetPayloadState() == stateMalformed && !stricterThanBtcd(name, payload) {
			t.Fatalf("%s %x: malformed, but btcd made of it\n%s", name, payload, prototext.Format(theirs))
		}
		return
	}
	if err != nil {
		if !stricterBtcd(e, err) {
			t.Fatalf("%s %x: %v, but we made of it\n%s", name, payload, err, prototext.Format(e))
		}
		return
	}
	ours := &eventpb.MessageEvent{Msg: e.GetMsg(), ElementCount: e.ElementCount}
	switch {
	case e.GetAddrv2() != nil:
		ours = proto.CloneOf(ours)
		list := slices.DeleteFunc(ours.GetAddrv2().Addresses, droppedByBtcd)
		ours.GetAddrv2().Addresses = list
		ours.ElementCount = proto.Uint64(uint64(len(list)))
	case len(e.GetVersion().GetAbsentFields()) > 0:
		return // btcd has other defaults
	case strings.ContainsRune(rawText(e), utf8.RuneError):
		return // cleaned
	case e.GetReject() != nil && bytes.Equal(theirs.GetReject().GetHash(), make([]byte, hashSize)):
		return // btcd reads the hash of blocks and transactions only
	}
	if !proto.Equal(ours, theirs) {
		t.Fatalf("%s %x: we have\n%s\nbtcd has\n%s", name, payload, prototext.Format(ours), prototext.Format(theirs))
	}
	if uint64(rest) != e.GetTrailingBytes() {
		t.Fatalf("%s %x: %d trailing bytes, btcd has %d", name, payload, e.GetTrailingBytes(), rest)
	}
}

// droppedByBtcd are addresses that btcd reads over.
func droppedByBtcd(a *eventpb.Address) bool {
	switch text := a.GetAddress().(type) {
	case *eventpb.Address_I2P, *eventpb.Address_Cjdns, *eventpb.Address_Unknown:
		return true
	case *eventpb.Address_Ipv6:
		return strings.HasPrefix(text.Ipv6, "fd87:d87e:eb43:") || strings.HasPrefix(text.Ipv6, "::ffff:")
	default:
		return false
	}
}

// stricterThanBtcd: what Bitcoin Core refuses and btcd takes.
func stricterThanBtcd(name string, payload []byte) bool {
	switch name {
	case "version":
		// Ends between the sender's address and the nonce.
		return len(payload) == 4+8+8+26+26
	case "reject":
		// Bitcoin Core had limits for these texts while it had the message.
		r := reader{b: payload}
		command := len(r.varBytes(0))
		code := r.uint8()
		return command > maxRejectCommand || len(r.varBytes(0)) > maxRejectDetails ||
			code == 0 || code&0xf0 != 0x00 && code&0xf0 != 0x10 && code&0xf0 != 0x40 // no class of BIP61
	default:
		return false
	}
}

// stricterBtcd: what btcd refuses and Bitcoin Core takes.
func stricterBtcd(e *eventpb.MessageEvent, err error) bool {
	if e.GetEmptyaddrv2() || e.GetOldping() {
		return true
	}
	text := err.Error()
	if strings.Contains(text, "invalid address size") {
		// Core takes Tor v2 for an unknown network, of any length.
		return slices.ContainsFunc(e.GetAddrv2().GetAddresses(), func(a *eventpb.Address) bool {
			return a.GetUnknown().GetId() == uint32(NetworkTorV2)
		})
	}
	for _, known := range []string{
		"too many", "larger than the max", "too large", "max allowed", "user agent too long",
		"witness tx but flag byte is",                // transactions without inputs and outputs
		"block headers may not contain transactions", // a count that Core ignores
	} {
		if strings.Contains(text, known) {
			return true
		}
	}
	return false
}

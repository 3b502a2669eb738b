package p2pmessage

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
	"github.com/peerobserver/peerobserver/proto/field"
)

// Every well-formed payload is decoded, says all that the payload says, and equals what
// btcd makes of it.
func TestWellFormedPayloads(t *testing.T) {
	for _, mt := range messageTypes() {
		t.Run(mt.name, func(t *testing.T) {
			coder := New()
			rapid.Check(t, func(rt *rapid.T) {
				p := mt.generate(rapidChooser{rt})
				e := check(t, coder, mt.name, p, len(p))
				if e.GetUnknown() != nil || e.PayloadState != nil || e.TrailingBytes != nil {
					rt.Fatalf("%x: %v", []byte(p), e)
				}
				checkAgainstBtcd(t, mt.name, p, e)
			})
		})
	}
}

// Damaged payloads: bytes changed, removed, added, the end missing.
func TestDamagedPayloads(t *testing.T) {
	for _, mt := range messageTypes() {
		t.Run(mt.name, func(t *testing.T) {
			coder := New()
			rapid.Check(t, func(rt *rapid.T) {
				c := rapidChooser{rt}
				p := slices.Clone(mt.generate(c))
				for range 1 + c.intn(3) {
					switch at := c.intn(len(p) + 1); c.intn(4) {
					case 0:
						if at < len(p) {
							p[at] = c.bytes(1)[0]
						}
					case 1:
						p = slices.Insert(p, at, c.bytes(1)...)
					case 2:
						p = slices.Delete(p, at, min(len(p), at+1+c.intn(4)))
					default:
						p = p[:at]
					}
				}
				e := check(t, coder, mt.name, p, len(p))
				checkAgainstBtcd(t, mt.name, p, e)
				check(t, coder, mt.name, p, c.intn(len(p)+1))
			})
		})
	}
}

// The table has all message types that an event can hold.
func TestTableIsComplete(t *testing.T) {
	seen := map[protoreflect.Name]bool{
		"unknown": true, "oldping": true, "emptyaddrv2": true, // cases of other types
	}
	coder := New()
	for _, mt := range messageTypes() {
		p := mt.generate(newSeeded(1))
		e := check(t, coder, mt.name, p, len(p)).ProtoReflect()
		seen[e.WhichOneof(e.Descriptor().Oneofs().ByName("msg")).Name()] = true
	}
	cases := (&eventpb.MessageEvent{}).ProtoReflect().Descriptor().Oneofs().ByName("msg").Fields()
	for i := range cases.Len() {
		if name := cases.Get(i).Name(); !seen[name] {
			t.Errorf("no message type makes a %s", name)
		}
	}
	if len(seen) != cases.Len() {
		t.Errorf("%d cases seen, there are %d", len(seen), cases.Len())
	}
}

// A payload that was sent without its end is malformed, unless the message may end
// there; one that was captured without its end is truncated.
func TestMissingEnd(t *testing.T) {
	coder := New()
	for _, mt := range messageTypes() {
		for seed := range uint64(2) {
			p := mt.generate(newSeeded(seed))
			for n := range p {
				e := check(t, coder, mt.name, p[:n], n)
				legal := mt.shorter || n == 0 && (mt.name == "ping" || mt.name == "addrv2")
				if !legal && e.GetPayloadState() != stateMalformed {
					t.Fatalf("%s %x: not malformed", mt.name, []byte(p[:n]))
				}
				e = check(t, coder, mt.name, p, n)
				if state := e.GetPayloadState(); state != stateTruncated && mt.name != "alert" {
					t.Fatalf("%s %x: state %v of %d bytes", mt.name, []byte(p), state, n)
				}
			}
		}
	}
}

// Of lists the elements that were captured whole are decoded.
func TestTruncatedLists(t *testing.T) {
	c := newSeeded(3)
	items := payload{}.repeat(c, 20, func(p payload) payload { return p.inventoryItem(c) })
	tests := []struct {
		name         string
		payload      payload
		start, size  int // of the first element, of each
		elements     func(*eventpb.MessageEvent) int
		announcement uint64
	}{
		{"inv", items, 1, inventorySize, func(e *eventpb.MessageEvent) int { return len(e.GetInv().GetItems()) }, 20},
		{"getdata", items, 1, inventorySize, func(e *eventpb.MessageEvent) int { return len(e.GetGetdata().GetItems()) }, 20},
		{"notfound", items, 1, inventorySize, func(e *eventpb.MessageEvent) int { return len(e.GetNotfound().GetItems()) }, 20},
		{"addr", payload{}.repeat(c, 12, func(p payload) payload { return p.addrEntry(c) }), 1, addrEntrySize,
			func(e *eventpb.MessageEvent) int { return len(e.GetAddr().GetAddresses()) }, 12},
		{"addrv2", payload{}.repeat(c, 12, func(p payload) payload {
			return p.u32(1).compact(1).u8(1).varBytes(c.bytes(4)).port(1)
		}), 1, 13, func(e *eventpb.MessageEvent) int { return len(e.GetAddrv2().GetAddresses()) }, 12},
		{"headers", payload{}.repeat(c, 20, func(p payload) payload { return p.header(c).u8(0) }), 1, blockHeaderSize + 1,
			func(e *eventpb.MessageEvent) int { return len(e.GetHeaders().GetHeaders()) }, 20},
		{"block", payload{}.header(c).repeat(c, 9, func(p payload) payload {
			return p.u32(1).repeat(c, 1, func(p payload) payload { return p.hash(c).u32(0).varBytes(nil).u32(0) }).u8(0).u32(0)
		}), blockHeaderSize + 1, 51, func(e *eventpb.MessageEvent) int { return len(e.GetBlock().GetTransactions()) }, 9},
		{"cfheaders", payload{}.u8(0).hash(c).hash(c).repeat(c, 9, func(p payload) payload { return p.hash(c) }),
			1 + 2*hashSize + 1, hashSize, func(e *eventpb.MessageEvent) int { return len(e.GetCfheaders().GetFilterHashes()) }, 9},
	}
	coder := New()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for n := range test.payload {
				e := check(t, coder, test.name, test.payload, n)
				if e.GetPayloadState() != stateTruncated {
					t.Fatalf("%d bytes: %v", n, e.GetPayloadState())
				}
				if n < test.start {
					if e.GetUnknown() == nil || e.ElementCount != nil {
						t.Fatalf("%d bytes: %v", n, e)
					}
					continue
				}
				if got, want := test.elements(e), (n-test.start)/test.size; got != want || e.GetElementCount() != test.announcement {
					t.Fatalf("%d bytes: %d elements, want %d; %d announced", n, got, want, e.GetElementCount())
				}
			}
		})
	}
}

// Lists for which Bitcoin Core punishes the sender are decoded all the same.
func TestOverlongLists(t *testing.T) {
	c := newSeeded(4)
	inv := payload{}.repeat(c, 60_000, func(p payload) payload { return p.u32(5).raw(make([]byte, 32)...) })
	if n := len(check(t, New(), "inv", inv, len(inv)).GetInv().GetItems()); n != 60_000 {
		t.Errorf("%d items", n)
	}
	addr := payload{}.repeat(c, 1_500, func(p payload) payload { return p.addrV2Entry(c) })
	if n := len(check(t, New(), "addrv2", addr, len(addr)).GetAddrv2().GetAddresses()); n != 1_500 {
		t.Errorf("%d addresses", n)
	}
	headers := payload{}.repeat(c, 2_001, func(p payload) payload { return p.header(c).u8(0) })
	if n := len(check(t, New(), "headers", headers, len(headers)).GetHeaders().GetHeaders()); n != 2_001 {
		t.Errorf("%d headers", n)
	}
}

// maxMessageSize is the largest payload that Bitcoin Core takes
// (MAX_PROTOCOL_MESSAGE_LENGTH).
const maxMessageSize = 4_000_000

// Payloads of the largest size that grow most when they are decoded.
func TestEventsFitWhateverPeersSend(t *testing.T) {
	fill := func(p payload, n int, element []byte) payload {
		p = p.compact(uint64(n))
		return append(p, bytes.Repeat(element, n)...)
	}
	c := newSeeded(5)
	coder := New()
	smallest := payload{}.u32(1).raw(0, 0).u32(0)
	tests := []struct {
		what, name string
		payload    payload
		want       State
	}{
		{"a block of the smallest transactions", "block", fill(payload{}.header(c), 390_000, smallest), stateTooLarge},
		{"as many of them as fit", "block", fill(payload{}.header(c), maxBody/minTransactionEvent-20, smallest), stateWhole},
		{"blocktxn of them", "blocktxn", fill(payload{}.hash(c), 390_000, smallest), stateTooLarge},
		{"small transactions", "block", fill(payload{}.header(c), 64_000,
			payload{}.u32(1).u8(1).hash(c).u32(0).varBytes(nil).u32(0).u8(1).u64(0).varBytes(nil).u32(0)), stateWhole},
		{"a Merkle block of flags", "merkleblock", payload{}.header(c).u32(9).u8(0).varBytes(c.bytes(3_990_000)), stateTooLarge},
		{"the smallest addresses", "addrv2", fill(nil, 440_000, payload{}.u32(1<<31).raw(0, 9, 0).port(9)), stateWhole},
		{"IPv4", "addrv2", fill(nil, 300_000, payload{}.u32(1<<31).raw(0, 1, 4, 255, 255, 255, 255).port(9999)), stateWhole},
		{"Tor v3", "addrv2", fill(nil, 97_000, payload{}.u32(1<<31).raw(0, 4, 32).hash(c).port(9999)), stateWhole},
		{"CJDNS", "addrv2", fill(nil, 150_000, payload{}.u32(1<<31).raw(0, 6, 16).raw(bytes.Repeat([]byte{0xff}, 16)...).port(9999)), stateWhole},
		{"IPv6", "addr", fill(nil, 133_000, payload{}.u32(1<<31).u64(1<<63).raw(bytes.Repeat([]byte{0xff}, 16)...).port(9999)), stateWhole},
		{"unknown items", "inv", fill(nil, 111_000, payload{}.u32(1<<31).hash(c)), stateWhole},
		{"headers", "headers", fill(nil, 49_000, payload{}.raw(bytes.Repeat([]byte{0xff}, 80)...).u8(0)), stateWhole},
		{"short ids", "cmpctblock", fill(payload{}.header(c).u64(1), 600_000, c.bytes(6)).u8(0), stateMalformed},
		{"hashes", "cfheaders", fill(payload{}.u8(0).hash(c).hash(c), 124_000, c.bytes(32)), stateWhole},
		{"noise", "noise", c.bytes(maxMessageSize), stateWhole},
	}
	for _, test := range tests {
		if len(test.payload) > maxMessageSize {
			t.Fatalf("%s: %d bytes are more than Bitcoin Core takes", test.what, len(test.payload))
		}
		b := event.NewBuffer(64)
		state := coder.AppendEvent(b, wholeMessage(test.name, test.payload), Hit{})
		if state != test.want || b.Len() > event.MaxSize {
			t.Errorf("%s: %v, %d bytes; want %v", test.what, state, b.Len(), test.want)
		}
		if h, err := event.Parse(b.Bytes()); err != nil || h.Source != event.SourceEBPF {
			t.Errorf("%s: %v", test.what, err)
		}
	}
	// More than any node takes.
	huge := make([]byte, 2*event.MaxSize)
	extractor, state := transcode(t, coder, wholeMessage("noise", huge), Hit{})
	if state != stateTruncated || extractor.GetMessage().GetMeta().GetSize() != uint64(len(huge)) ||
		extractor.GetMessage().GetCapturedSize() != maxBody {
		t.Errorf("%v, %d bytes captured", state, extractor.GetMessage().GetCapturedSize())
	}
}

func TestUnreadablePayload(t *testing.T) {
	m := wholeMessage("inv", nil)
	m.Size, m.Unreadable = 37, true
	extractor, state := transcode(t, New(), m, Hit{})
	e := extractor.GetMessage()
	if state != stateUnreadable || e.GetPayloadState() != stateUnreadable || e.GetUnknown().GetCommand() != "inv" ||
		e.CapturedSize == nil || e.GetCapturedSize() != 0 {
		t.Errorf("%v", e)
	}
}

// A capture that has more bytes than the message is cut to the message.
func TestCaptureLongerThanMessage(t *testing.T) {
	m := wholeMessage("ping", payload{}.u64(5).u64(6))
	m.Size = 8
	extractor, _ := transcode(t, New(), m, Hit{})
	if e := extractor.GetMessage(); e.GetPing().GetValue() != 5 || e.TrailingBytes != nil || e.CapturedSize != nil {
		t.Errorf("%v", e)
	}
}

func TestHit(t *testing.T) {
	m := wholeMessage("verack", nil)
	extractor, _ := transcode(t, New(), m, Hit{})
	if extractor.GetHit() != nil {
		t.Errorf("no hit, but %v", extractor.GetHit())
	}
	extractor, _ = transcode(t, New(), m, Hit{PID: 1, TID: 2, CPU: 3, ThreadCPUTime: 4, HasThreadCPUTime: true})
	want := &eventpb.TracepointHit{
		Pid: proto.Uint32(1), Tid: proto.Uint32(2), Cpu: proto.Uint32(3), ThreadCpuTimeNs: proto.Uint64(4),
	}
	if !proto.Equal(extractor.GetHit(), want) {
		t.Errorf("%v", extractor.GetHit())
	}
}

func TestTextsAreCleanedAndBounded(t *testing.T) {
	m := wholeMessage(strings.Repeat("é", 20), nil)
	m.Address = append([]byte("\xff:"), bytes.Repeat([]byte("a"), 1000)...)
	extractor, _ := transcode(t, New(), m, Hit{})
	meta := extractor.GetMessage().GetMeta()
	if want := "\ufffd:" + strings.Repeat("a", maxAddressText-4); meta.GetAddr() != want {
		t.Errorf("address %q", meta.GetAddr())
	}
	if want := strings.Repeat("é", maxTypeText/2); meta.GetCommand() != want {
		t.Errorf("type %q", meta.GetCommand())
	}
}

// The lists that the p2p extractor takes are those of the events.
func TestListsOfTheirOwn(t *testing.T) {
	coder := New()
	type appendList func(dst []byte, num protowire.Number, payload []byte) ([]byte, int, error)
	tests := []struct {
		name     string
		append   appendList
		elements func(*eventpb.MessageEvent, *eventpb.P2PExtractor) (want, got []proto.Message)
	}{
		{"addr", coder.AppendAddresses, func(e *eventpb.MessageEvent, p *eventpb.P2PExtractor) (want, got []proto.Message) {
			return messages(e.GetAddr().GetAddresses()), messages(p.GetAddressAnnouncement().GetAddresses())
		}},
		{"addrv2", coder.AppendAddressesV2, func(e *eventpb.MessageEvent, p *eventpb.P2PExtractor) (want, got []proto.Message) {
			return messages(e.GetAddrv2().GetAddresses()), messages(p.GetAddressAnnouncement().GetAddresses())
		}},
		{"inv", coder.AppendInventory, func(e *eventpb.MessageEvent, p *eventpb.P2PExtractor) (want, got []proto.Message) {
			return messages(e.GetInv().GetItems()), messages(p.GetInventoryAnnouncement().GetInventory())
		}},
		{"headers", coder.AppendHeaders, func(e *eventpb.MessageEvent, p *eventpb.P2PExtractor) (want, got []proto.Message) {
			return messages(e.GetHeaders().GetHeaders()), messages(p.GetBlockAnnouncement().GetHeaders())
		}},
	}
	outer := map[string]protowire.Number{
		"addr": field.P2pExtractorAddressAnnouncement, "addrv2": field.P2pExtractorAddressAnnouncement,
		"inv": field.P2pExtractorInventoryAnnouncement, "headers": field.P2pExtractorBlockAnnouncement,
	}
	inner := map[string]protowire.Number{
		"addr": field.AddressAnnouncementAddresses, "addrv2": field.AddressAnnouncementAddresses,
		"inv": field.InventoryAnnouncementInventory, "headers": field.BlockAnnouncementHeaders,
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			types := messageTypes()
			mt := types[slices.IndexFunc(types, func(mt messageType) bool { return mt.name == test.name })]
			for seed := range uint64(20) {
				p := mt.generate(newSeeded(seed))
				list, n, err := test.append(nil, inner[test.name], p)
				if err != nil {
					t.Fatal(err)
				}
				var extractor eventpb.P2PExtractor
				if err := proto.Unmarshal(event.AppendBytesField(nil, outer[test.name], list), &extractor); err != nil {
					t.Fatal(err)
				}
				want, got := test.elements(check(t, coder, test.name, p, len(p)), &extractor)
				if len(want) != n || !slices.EqualFunc(want, got, proto.Equal) {
					t.Fatalf("%d elements %v, want %v", n, got, want)
				}
			}
			dst, n, err := test.append([]byte("before"), 1, []byte{2, 1, 2, 3})
			if !errors.Is(err, ErrMalformed) || n != 0 || string(dst) != "before" {
				t.Errorf("%q, %d, %v", dst, n, err)
			}
		})
	}
}

func messages[M proto.Message](list []M) []proto.Message {
	var out []proto.Message
	for _, m := range list {
		out = append(out, m)
	}
	return out
}

func TestHeaderOfItsOwn(t *testing.T) {
	coder := New()
	p := fromHex(t, genesisBlock)
	header, err := coder.AppendBlockHeader(nil, field.BlockHeader, p)
	if err != nil {
		t.Fatal(err)
	}
	var block eventpb.Block
	if err := proto.Unmarshal(header, &block); err != nil {
		t.Fatal(err)
	}
	if want := check(t, coder, "block", p, len(p)).GetBlock().GetHeader(); !proto.Equal(block.GetHeader(), want) {
		t.Errorf("%v, want %v", block.GetHeader(), want)
	}
	if _, err := coder.AppendBlockHeader(nil, 1, p[:79]); !errors.Is(err, ErrMalformed) {
		t.Errorf("%v", err)
	}
}

func TestConnectionType(t *testing.T) {
	// All names that Bitcoin Core has.
	for text, want := range map[string]eventpb.ConnectionType{
		"inbound":             eventpb.ConnectionType_CONNECTION_TYPE_INBOUND,
		"outbound-full-relay": eventpb.ConnectionType_CONNECTION_TYPE_OUTBOUND_FULL_RELAY,
		"block-relay-only":    eventpb.ConnectionType_CONNECTION_TYPE_BLOCK_RELAY_ONLY,
		"feeler":              eventpb.ConnectionType_CONNECTION_TYPE_FEELER,
		"manual":              eventpb.ConnectionType_CONNECTION_TYPE_MANUAL,
		"addr-fetch":          eventpb.ConnectionType_CONNECTION_TYPE_ADDR_FETCH,
		"private-broadcast":   eventpb.ConnectionType_CONNECTION_TYPE_PRIVATE_BROADCAST,
		"":                    eventpb.ConnectionType_CONNECTION_TYPE_UNKNOWN,
		"Inbound":             eventpb.ConnectionType_CONNECTION_TYPE_UNKNOWN,
	} {
		if got := ConnectionType([]byte(text)); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// TestMetadataConnectionType looks at both fields that an event has for the type: the
// older one must hold a value that older readers know.
func TestMetadataConnectionType(t *testing.T) {
	coder := New()
	for text, want := range map[string]eventpb.ConnectionType{
		"feeler":            eventpb.ConnectionType_CONNECTION_TYPE_FEELER,
		"private-broadcast": eventpb.ConnectionType_CONNECTION_TYPE_PRIVATE_BROADCAST,
	} {
		m := wholeMessage("verack", nil)
		m.ConnectionType = []byte(text)
		extractor, _ := transcode(t, coder, m, Hit{})
		meta := extractor.GetMessage().GetMeta()
		if meta.GetConnectionType() != want || meta.ConnType == nil || meta.GetConnType() != want.ConnType() {
			t.Errorf("%s: %v", text, meta)
		}
	}
}

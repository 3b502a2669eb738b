// Package p2pmessage turns the payloads of Bitcoin P2P messages into protobuf. It does no
// I/O and makes no message structs: the bytes of the payload are walked once and the
// bytes of the event written, without allocating.
//
// What Bitcoin Core's decoder accepts is decoded, also where Core then punishes the
// sender (an inv of 60,000 items); what it throws on is malformed and carried as it
// is. Payloads come from anybody: every count is checked against the bytes that are
// left before it is used.
package p2pmessage

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
	"github.com/peerobserver/peerobserver/proto/field"
)

// State says how well a payload could be decoded.
type State = eventpb.PayloadState

const (
	stateWhole      = eventpb.PayloadState_PAYLOAD_STATE_UNSPECIFIED
	stateMalformed  = eventpb.PayloadState_PAYLOAD_STATE_MALFORMED
	stateTruncated  = eventpb.PayloadState_PAYLOAD_STATE_TRUNCATED
	stateUnreadable = eventpb.PayloadState_PAYLOAD_STATE_UNREADABLE
	stateTooLarge   = eventpb.PayloadState_PAYLOAD_STATE_TOO_LARGE
)

const (
	// maxBody bounds what a message adds to an event in bytes; the envelope and the
	// emitter's fields have the rest.
	maxBody = event.MaxSize - 64<<10
	// maxAddressText and maxTypeText bound the texts of the tracepoint in bytes. A
	// host name, which a peer may have been added by, has at most 253 characters, a
	// message type 12.
	maxAddressText = 300
	maxTypeText    = 32
)

// Message is one message as the tracepoint gave it. Texts are Bitcoin Core's, without
// a NUL at the end.
type Message struct {
	PeerID         uint64
	Address        []byte
	ConnectionType []byte
	// Type is the message type, such as "inv".
	Type []byte
	// Inbound is true for a message that the node received.
	Inbound bool
	// Size is the size of the payload in bytes.
	Size uint64
	// Payload is what was captured of it, from its beginning.
	Payload []byte
	// Unreadable says that the payload could not be read from the node's memory.
	Unreadable bool
}

// Hit is what the kernel knows of one hit of a tracepoint. The zero value is for
// messages that don't come from one.
type Hit struct {
	// PID and TID are numbers in the initial pid namespace.
	PID, TID, CPU uint32
	// ThreadCPUTime is the CPU time that the thread used so far, in nanoseconds.
	ThreadCPUTime    uint64
	HasThreadCPUTime bool
}

// AppendFields appends the hit as a field EbpfExtractor.hit, or nothing for the zero
// value.
func (h *Hit) AppendFields(dst []byte) []byte {
	if *h == (Hit{}) {
		return dst
	}
	dst, start := beginField(dst, field.EbpfExtractorHit)
	dst = appendUint(dst, field.TracepointHitPid, uint64(h.PID))
	dst = appendUint(dst, field.TracepointHitTid, uint64(h.TID))
	dst = appendUint(dst, field.TracepointHitCpu, uint64(h.CPU))
	if h.HasThreadCPUTime {
		dst = appendUint(dst, field.TracepointHitThreadCpuTimeNs, h.ThreadCPUTime)
	}
	return endField(dst, start)
}

// Transcoder turns P2P payloads into the fields of eventpb.MessageEvent. It is not safe
// for concurrent use.
type Transcoder struct {
	hasher hasher
	torV3  torV3Cache
	meta   []byte
}

// New makes a transcoder.
func New() *Transcoder {
	return &Transcoder{
		hasher: newHasher(),
		torV3:  make(torV3Cache, torV3CacheSlots),
		meta:   make([]byte, 0, maxAddressText+maxTypeText+64),
	}
}

// AppendEvent builds the field Event.ebpf_extractor with the message and the hit into
// b, which must be empty, and says how well the payload could be decoded.
//
// A payload of an unknown type, or one that can't be decoded, is carried as Unknown.
// Of a truncated one the elements that are whole are decoded, where the message is a
// list.
func (t *Transcoder) AppendEvent(b *event.Buffer, m *Message, hit Hit) State {
	captured := m.Payload
	if limit := min(m.Size, maxBody); uint64(len(captured)) > limit {
		captured = captured[:limit]
	}
	r := reader{b: captured, unseen: m.Size - uint64(len(captured))}

	dst := b.Grow()
	start := len(dst)
	dst = slices.Grow(dst, len(captured)+len(captured)/8+256)
	var number protowire.Number
	var trailing uint64
	if m.Unreadable {
		r.fail(stateUnreadable)
	} else {
		dst, number = t.decode(dst, m.Type, &r)
		trailing = r.left()
		if number == 0 && r.unseen > 0 {
			r.fail(stateTruncated)
		}
	}
	if number == 0 || !r.ok() && !(r.state == stateTruncated && r.keep) {
		number = field.MessageEventUnknown
		dst = appendText(dst[:start], field.UnknownCommand, m.Type, maxTypeText)
		dst = appendBytes(dst, field.UnknownPayload, captured)
	}
	if !r.ok() || number == field.MessageEventUnknown {
		trailing = 0
	}

	if isFlag(number) {
		b.SetGrown(appendUint(dst, number, 1))
	} else {
		b.SetGrown(dst)
		b.Enclose(number)
	}
	dst = b.Grow()
	if !r.ok() {
		dst = appendUint(dst, field.MessageEventPayloadState, uint64(r.state))
	}
	if uint64(len(captured)) < m.Size {
		dst = appendUint(dst, field.MessageEventCapturedSize, uint64(len(captured)))
	}
	if trailing > 0 {
		dst = appendUint(dst, field.MessageEventTrailingBytes, trailing)
	}
	if r.counted {
		dst = appendUint(dst, field.MessageEventElementCount, r.count)
	}
	b.SetGrown(dst)
	b.PrependBytesField(field.MessageEventMeta, t.metadata(m))
	b.Enclose(field.EbpfExtractorMessage)
	b.SetGrown(hit.AppendFields(b.Grow()))
	b.Enclose(field.EventEbpfExtractor)
	return r.state
}

// metadata encodes a Metadata, valid until the next call.
func (t *Transcoder) metadata(m *Message) []byte {
	inbound := uint64(0)
	if m.Inbound {
		inbound = 1
	}
	dst := appendUint(t.meta[:0], field.MetadataPeerId, m.PeerID)
	dst = appendText(dst, field.MetadataAddr, m.Address, maxAddressText)
	connectionType := ConnectionType(m.ConnectionType)
	dst = appendUint(dst, field.MetadataConnType, uint64(connectionType.ConnType()))
	dst = appendText(dst, field.MetadataCommand, m.Type, maxTypeText)
	dst = appendUint(dst, field.MetadataInbound, inbound)
	dst = appendUint(dst, field.MetadataSize, m.Size)
	dst = appendUint(dst, field.MetadataConnectionType, uint64(connectionType))
	t.meta = dst
	return dst
}

package event

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// headRoom is the space in front of a buffer's content for envelopes that are
// written once their length is known. The envelopes of a P2P message need less than
// 450 bytes: five tags with lengths, an address of at most maxHeadText bytes and a
// message type.
const headRoom = 512

// Buffer builds the encoding of one event without moving bytes: the body is appended,
// then envelopes are put in front of it. It is reused from event to event; the zero
// value is not usable.
type Buffer struct {
	// b[start:] is the content, b[:start] the head room left.
	b     []byte
	start int
}

// NewBuffer makes a buffer for bodies of about capacity bytes; it grows as needed.
func NewBuffer(capacity int) *Buffer {
	b := &Buffer{b: make([]byte, headRoom, headRoom+capacity)}
	b.start = headRoom
	return b
}

// maxKept is the largest capacity that a buffer keeps from one event to the next, so
// that one large block doesn't hold its memory for ever.
const maxKept = 4 << 20

// Reset empties the buffer.
func (b *Buffer) Reset() {
	if cap(b.b) > maxKept {
		b.b = make([]byte, headRoom, headRoom+4096)
	}
	b.b = b.b[:headRoom]
	b.start = headRoom
}

// Bytes is the content, valid until the next change.
func (b *Buffer) Bytes() []byte { return b.b[b.start:] }

// Len is the length of the content in bytes.
func (b *Buffer) Len() int { return len(b.b) - b.start }

// Grow gives the content for appending; the caller hands the result of its appends
// to SetGrown. The slice begins with the head room, so only appending is allowed.
func (b *Buffer) Grow() []byte { return b.b }

// SetGrown takes the slice that Grow gave back, with bytes appended.
func (b *Buffer) SetGrown(grown []byte) { b.b = grown }

// Enclose puts the tag of a length-delimited field and the content's length in front
// of the content, which makes it a sub-message.
func (b *Buffer) Enclose(num protowire.Number) {
	b.PrependVarint(uint64(b.Len()))
	b.PrependVarint(protowire.EncodeTag(num, protowire.BytesType))
}

// PrependVarint puts a varint in front of the content.
func (b *Buffer) PrependVarint(v uint64) {
	if v < 1<<7 && b.start > 0 {
		// Nearly all lengths and many values are this short.
		b.start--
		b.b[b.start] = byte(v)
		return
	}
	n := protowire.SizeVarint(v)
	b.reserve(n)
	b.start -= n
	protowire.AppendVarint(b.b[b.start:b.start], v)
}

// PrependVarintField puts a whole varint field in front of the content.
func (b *Buffer) PrependVarintField(num protowire.Number, v uint64) {
	b.PrependVarint(v)
	b.PrependVarint(protowire.EncodeTag(num, protowire.VarintType))
}

// PrependBytesField puts a whole length-delimited field in front of the content.
func (b *Buffer) PrependBytesField(num protowire.Number, v []byte) {
	b.reserve(len(v))
	b.start -= len(v)
	copy(b.b[b.start:], v)
	b.PrependVarint(uint64(len(v)))
	b.PrependVarint(protowire.EncodeTag(num, protowire.BytesType))
}

// reserve makes sure that n bytes fit in front of the content. It moves the content
// only when an envelope is larger than any that the extractors write.
func (b *Buffer) reserve(n int) {
	if b.start >= n {
		return
	}
	more := n + headRoom
	moved := make([]byte, b.start+more+b.Len(), b.start+more+cap(b.b))
	copy(moved[b.start+more:], b.b[b.start:])
	b.b = moved
	b.start += more
}

// AppendVarintField appends a varint field to dst.
func AppendVarintField(dst []byte, num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(dst, num, protowire.VarintType), v)
}

// AppendSintField appends a zigzag-encoded (sint32, sint64) field to dst.
func AppendSintField(dst []byte, num protowire.Number, v int64) []byte {
	return AppendVarintField(dst, num, protowire.EncodeZigZag(v))
}

// AppendFixed64Field appends a fixed64 field to dst.
func AppendFixed64Field(dst []byte, num protowire.Number, v uint64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(dst, num, protowire.Fixed64Type), v)
}

// AppendBytesField appends a length-delimited field to dst.
func AppendBytesField(dst []byte, num protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(dst, num, protowire.BytesType), v)
}

// AppendStringField appends a string field to dst. The string must be valid UTF-8.
func AppendStringField(dst []byte, num protowire.Number, v string) []byte {
	return protowire.AppendString(protowire.AppendTag(dst, num, protowire.BytesType), v)
}

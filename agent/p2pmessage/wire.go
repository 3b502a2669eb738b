package p2pmessage

import (
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/proto/event"
)

// appendUint appends a varint field. Nearly all have a number and a value of one byte.
func appendUint(dst []byte, num protowire.Number, v uint64) []byte {
	if num < 16 && v < 0x80 {
		return append(dst, byte(num<<3), byte(v))
	}
	return event.AppendVarintField(dst, num, v)
}

// appendBytes appends a length-delimited field. Nearly all have a number and a length of
// one byte.
func appendBytes(dst []byte, num protowire.Number, v []byte) []byte {
	if num < 16 && len(v) < 0x80 {
		return append(append(dst, byte(num<<3|2), byte(len(v))), v...)
	}
	return event.AppendBytesField(dst, num, v)
}

// appendText appends a string field holding at most limit bytes of text, which may
// come from a peer. Protobuf strings are UTF-8, so bytes that aren't are replaced by
// U+FFFD. Text is cut before the first character that doesn't fit.
func appendText(dst []byte, num protowire.Number, text []byte, limit int) []byte {
	if len(text) <= limit && utf8.Valid(text) {
		return appendBytes(dst, num, text)
	}
	dst, start := beginField(dst, num)
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if len(dst)-start+utf8.RuneLen(r) > limit {
			break
		}
		dst = utf8.AppendRune(dst, r)
		text = text[size:]
	}
	return endField(dst, start)
}

// beginField starts a length-delimited field whose length isn't known yet. It leaves
// one byte for the length and gives the place where the content starts.
func beginField(dst []byte, num protowire.Number) ([]byte, int) {
	if num < 16 {
		dst = append(dst, byte(num<<3|2), 0)
	} else {
		dst = append(protowire.AppendTag(dst, num, protowire.BytesType), 0)
	}
	return dst, len(dst)
}

// endField fills in the length of a field that beginField started. Content of 128
// bytes or more is moved, so this is for small things.
func endField(dst []byte, start int) []byte {
	n := len(dst) - start
	if n < 0x80 {
		dst[start-1] = byte(n)
		return dst
	}
	more := protowire.SizeVarint(uint64(n)) - 1
	for range more {
		dst = append(dst, 0)
	}
	copy(dst[start+more:], dst[start:start+n])
	protowire.AppendVarint(dst[:start-1], uint64(n))
	return dst
}

// appendMessageTag appends tag and length of a length-delimited field.
func appendMessageTag(dst []byte, num protowire.Number, length int) []byte {
	dst = protowire.AppendTag(dst, num, protowire.BytesType)
	return protowire.AppendVarint(dst, uint64(length))
}

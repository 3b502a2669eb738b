// Package decode reads the events that come in great numbers (P2P messages,
// connections, mempool and validation events) from their bytes, without building the
// generated structs and without allocating: a tenth of the cost, because a sink that
// counts needs little of what an event carries.
//
// Data may come from anybody. Every length is checked against the bytes that are
// there, unknown fields are skipped, and nothing is kept: what a decoded value refers
// to is valid as long as the bytes are. A differential test holds this package against
// the generated types.
package decode

import (
	"encoding/binary"

	"google.golang.org/protobuf/encoding/protowire"
)

// fields walks the fields of one encoded message.
type fields struct {
	rest []byte
	// num, typ and the value of the current field; value holds varints and fixed
	// numbers, bytes the length-delimited content.
	num   protowire.Number
	typ   protowire.Type
	value uint64
	bytes []byte
	bad   bool
}

// maxFieldNumber is the largest field number that protobuf allows.
const maxFieldNumber = 1<<29 - 1

// varint takes a varint off the front of b; n is 0 when there is none.
func varint(b []byte) (v uint64, n int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	v, n = binary.Uvarint(b)
	return v, max(n, 0)
}

// next moves to the next field; false at the end and at damage, which sets bad.
func (f *fields) next() bool {
	if len(f.rest) == 0 || f.bad {
		return false
	}
	tag, n := varint(f.rest)
	if n == 0 {
		return f.fail()
	}
	f.rest = f.rest[n:]
	num := tag >> 3
	if num == 0 || num > maxFieldNumber {
		return f.fail()
	}
	f.num, f.typ = protowire.Number(num), protowire.Type(tag&7)
	switch f.typ {
	case protowire.VarintType:
		if f.value, n = varint(f.rest); n == 0 {
			return f.fail()
		}
		f.rest = f.rest[n:]
	case protowire.BytesType:
		length, n := varint(f.rest)
		if n == 0 || length > uint64(len(f.rest)-n) {
			return f.fail()
		}
		end := n + int(length)
		f.bytes, f.rest = f.rest[n:end], f.rest[end:]
	case protowire.Fixed64Type:
		if len(f.rest) < 8 {
			return f.fail()
		}
		f.value, f.rest = binary.LittleEndian.Uint64(f.rest), f.rest[8:]
	case protowire.Fixed32Type:
		if len(f.rest) < 4 {
			return f.fail()
		}
		f.value, f.rest = uint64(binary.LittleEndian.Uint32(f.rest)), f.rest[4:]
	default:
		// Groups, which no producer writes.
		n := protowire.ConsumeFieldValue(f.num, f.typ, f.rest)
		if n < 0 {
			return f.fail()
		}
		f.rest = f.rest[n:]
	}
	return true
}

func (f *fields) fail() bool {
	f.bad = true
	return false
}

// is tells whether the current field has this number and type.
func (f *fields) is(num protowire.Number, typ protowire.Type) bool {
	return f.num == num && f.typ == typ
}

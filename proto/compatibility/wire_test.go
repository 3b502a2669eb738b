package compatibility_test

import (
	"encoding/binary"
	"math"
	"slices"
)

// A second encoder of the protobuf wire format, which knows nothing of descriptors:
// the fixtures name field numbers and wire types themselves.

// varint is a field of wire type 0.
func varint(number int, v uint64) []byte {
	return binary.AppendUvarint(tag(number, 0), v)
}

// zigzag is a field of wire type 0 that holds a sint32 or sint64.
func zigzag(number int, v int64) []byte {
	return varint(number, uint64(v)<<1^uint64(v>>63))
}

// fixed64 is a field of wire type 1.
func fixed64(number int, v uint64) []byte {
	return binary.LittleEndian.AppendUint64(tag(number, 1), v)
}

// double is a field of wire type 1 that holds a double.
func double(number int, v float64) []byte {
	return fixed64(number, math.Float64bits(v))
}

// chunk is a field of wire type 2: bytes, a string or a message of the given parts.
func chunk(number int, parts ...[]byte) []byte {
	content := slices.Concat(parts...)
	out := binary.AppendUvarint(tag(number, 2), uint64(len(content)))
	return append(out, content...)
}

func text(number int, s string) []byte { return chunk(number, []byte(s)) }

func tag(number, wireType int) []byte {
	return binary.AppendUvarint(nil, uint64(number)<<3|uint64(wireType))
}

// hash is 32 bytes of one value.
func hash(b byte) []byte {
	out := make([]byte, 32)
	for i := range out {
		out[i] = b
	}
	return out
}

package p2pmessage

import (
	"encoding/binary"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/proto/field"
)

const (
	hashSize = 32
	// inventorySize: type and hash of an inv, getdata or notfound item.
	inventorySize = 4 + hashSize
)

// Inventory types (GetDataMsg in Bitcoin Core's protocol.h). MSG_FILTERED_BLOCK (3) has
// no field of its own and is unknown, as with the existing tools.
const (
	inventoryError              = 0
	inventoryTransaction        = 1
	inventoryBlock              = 2
	inventoryCompactBlock       = 4
	inventoryWtx                = 5
	inventoryWitnessTransaction = 1<<30 | inventoryTransaction
	inventoryWitnessBlock       = 1<<30 | inventoryBlock
)

// inventory writes the list of an inv, getdata or notfound message.
func (t *Transcoder) inventory(dst []byte, num protowire.Number, r *reader) []byte {
	items := r.run(r.elements(inventorySize), inventorySize)
	r.keep = r.counted

	// Most items are a hash in a field in an item.
	const bodySize = 2 + hashSize
	dst = slices.Grow(dst, len(items)/inventorySize*(2+bodySize))
	for ; len(items) > 0; items = items[inventorySize:] {
		kind := binary.LittleEndian.Uint32(items)
		hash := items[4:inventorySize]
		var item protowire.Number
		switch kind {
		case inventoryWtx:
			item = field.InventoryItemWtx
		case inventoryTransaction:
			item = field.InventoryItemTransaction
		case inventoryWitnessTransaction:
			item = field.InventoryItemWitnessTransaction
		case inventoryBlock:
			item = field.InventoryItemBlock
		case inventoryWitnessBlock:
			item = field.InventoryItemWitnessBlock
		case inventoryCompactBlock:
			item = field.InventoryItemCompactBlock
		default:
			dst = appendOddItem(dst, num, kind, hash)
			continue
		}
		if num < 16 {
			dst = append(dst, byte(num<<3|2), bodySize, byte(item<<3|2), hashSize)
		} else {
			dst = append(appendMessageTag(dst, num, bodySize), byte(item<<3|2), hashSize)
		}
		dst = append(dst, hash...)
	}
	return dst
}

// appendOddItem appends an InventoryItem of type error or of an unknown type.
func appendOddItem(dst []byte, num protowire.Number, kind uint32, hash []byte) []byte {
	dst, start := beginField(dst, num)
	if kind == inventoryError {
		dst = appendUint(dst, field.InventoryItemError, 1)
		return endField(dst, start)
	}
	dst, inner := beginField(dst, field.InventoryItemUnknown)
	dst = appendUint(dst, field.UnknownItemInvType, uint64(kind))
	dst = appendBytes(dst, field.UnknownItemHash, hash)
	dst = endField(dst, inner)
	return endField(dst, start)
}

// hashes writes n hashes as a repeated bytes field.
func hashes(dst []byte, num protowire.Number, r *reader, n int) []byte {
	return appendEach(dst, num, r.run(n, hashSize), hashSize)
}

// appendEach appends the elements of a list, size bytes each, as a repeated bytes field.
func appendEach(dst []byte, num protowire.Number, list []byte, size int) []byte {
	var scratch [16]byte
	front := appendMessageTag(scratch[:0], num, size)
	at, stride := len(dst), len(front)+size
	added := len(list) / size * stride
	dst = slices.Grow(dst, added)[:at+added]
	for ; len(list) > 0; list = list[size:] {
		copy(dst[at:], front)
		copy(dst[at+len(front):at+stride], list)
		at += stride
	}
	return dst
}

package decode

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/proto/field"
)

// ItemType is the type of an inventory item.
type ItemType uint8

// The types of inventory items (BIP37, BIP144, BIP152, BIP339).
const (
	ItemUnknown ItemType = iota
	ItemError
	ItemTransaction
	ItemWTX
	ItemWitnessTransaction
	ItemBlock
	ItemWitnessBlock
	ItemCompactBlock
	// ItemTypes is the number of types, for arrays indexed by them.
	ItemTypes
)

// IsTransaction is whether the item is a transaction in one of its forms.
func (t ItemType) IsTransaction() bool {
	return t == ItemTransaction || t == ItemWTX || t == ItemWitnessTransaction
}

// IsBlock is whether the item is a block in one of its forms.
func (t ItemType) IsBlock() bool {
	return t == ItemBlock || t == ItemWitnessBlock || t == ItemCompactBlock
}

// Items walks the items of an inv, getdata, notfound or inventory announcement, all of
// which have them as field 1.
type Items struct {
	f fields
	// Type and Hash (32 bytes in internal byte order) are those of the current item.
	Type ItemType
	Hash []byte
}

// ItemsOf starts a walk over the body of such a message.
func ItemsOf(body []byte) Items { return Items{f: fields{rest: body}} }

// Next moves to the next item; false at the end and at damage.
func (it *Items) Next() bool {
	for it.f.next() {
		if !it.f.is(field.InvItems, protowire.BytesType) {
			continue
		}
		it.Type, it.Hash = ItemUnknown, nil
		item := fields{rest: it.f.bytes}
		for item.next() {
			switch item.num {
			case field.InventoryItemTransaction:
				it.Type, it.Hash = ItemTransaction, item.bytes
			case field.InventoryItemBlock:
				it.Type, it.Hash = ItemBlock, item.bytes
			case field.InventoryItemWtx:
				it.Type, it.Hash = ItemWTX, item.bytes
			case field.InventoryItemWitnessTransaction:
				it.Type, it.Hash = ItemWitnessTransaction, item.bytes
			case field.InventoryItemWitnessBlock:
				it.Type, it.Hash = ItemWitnessBlock, item.bytes
			case field.InventoryItemCompactBlock:
				it.Type, it.Hash = ItemCompactBlock, item.bytes
			case field.InventoryItemUnknown:
				it.Type, it.Hash = ItemUnknown, nil
			case field.InventoryItemError:
				it.Type, it.Hash = ItemError, nil
			}
		}
		if item.bad {
			it.f.bad = true
			return false
		}
		return true
	}
	return false
}

// Header is what counts of a block header.
type Header struct {
	// Hash and Previous are block hashes, 32 bytes in internal byte order.
	Hash, Previous []byte
	// Time is the miner's, in UNIX seconds.
	Time uint32
}

// header reads a BlockHeader.
func (h *Header) decode(data []byte) bool {
	*h = Header{}
	f := fields{rest: data}
	for f.next() {
		switch {
		case f.is(field.BlockHeaderPrevBlockhash, protowire.BytesType):
			h.Previous = f.bytes
		case f.is(field.BlockHeaderTime, protowire.VarintType):
			h.Time = uint32(f.value)
		case f.is(field.BlockHeaderHash, protowire.BytesType):
			h.Hash = f.bytes
		}
	}
	return !f.bad
}

// Headers walks the headers of a headers message.
type Headers struct {
	f fields
	Header
}

// HeadersOf starts a walk over the body of a headers message.
func HeadersOf(body []byte) Headers { return Headers{f: fields{rest: body}} }

// Next moves to the next header.
func (it *Headers) Next() bool {
	for it.f.next() {
		if it.f.is(field.HeadersHeaders, protowire.BytesType) {
			return it.decode(it.f.bytes)
		}
	}
	return false
}

// BlockHeaderOf reads the header of a block or cmpctblock message, field 1 of both;
// ok is false when there is none. The rest of the message isn't looked at.
func BlockHeaderOf(body []byte) (h Header, ok bool) {
	f := fields{rest: body}
	for f.next() {
		if f.is(field.CompactBlockHeader, protowire.BytesType) {
			return h, h.decode(f.bytes) && h.Hash != nil
		}
	}
	return h, false
}

package p2pmessage

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrMalformed is returned for a payload that isn't what its type demands.
var ErrMalformed = errors.New("malformed P2P payload")

// AppendAddresses appends the addresses of an addr payload as repeated Address field
// num. Like the other Append methods it gives the number of elements, and dst as it
// was with ErrMalformed for a payload that isn't well-formed and whole.
func (t *Transcoder) AppendAddresses(dst []byte, num protowire.Number, payload []byte) ([]byte, int, error) {
	r := reader{b: payload}
	return result(dst, t.addr(dst, num, &r), &r)
}

// AppendAddressesV2 appends the addresses of an addrv2 payload (BIP155) as repeated
// Address field num.
func (t *Transcoder) AppendAddressesV2(dst []byte, num protowire.Number, payload []byte) ([]byte, int, error) {
	r := reader{b: payload}
	return result(dst, t.addrV2(dst, num, &r), &r)
}

// AppendInventory appends the items of an inv, getdata or notfound payload as repeated
// InventoryItem field num.
func (t *Transcoder) AppendInventory(dst []byte, num protowire.Number, payload []byte) ([]byte, int, error) {
	r := reader{b: payload}
	return result(dst, t.inventory(dst, num, &r), &r)
}

// AppendHeaders appends the headers of a headers payload as repeated BlockHeader field
// num.
func (t *Transcoder) AppendHeaders(dst []byte, num protowire.Number, payload []byte) ([]byte, int, error) {
	r := reader{b: payload}
	return result(dst, t.headers(dst, num, &r), &r)
}

// AppendBlockHeader appends the header that a block, cmpctblock or merkleblock payload
// begins with as BlockHeader field num. The rest isn't looked at.
func (t *Transcoder) AppendBlockHeader(dst []byte, num protowire.Number, payload []byte) ([]byte, error) {
	if len(payload) < blockHeaderSize {
		return dst, ErrMalformed
	}
	return appendBlockHeader(dst, num, payload[:blockHeaderSize]), nil
}

func result(before, after []byte, r *reader) ([]byte, int, error) {
	if !r.ok() {
		return before, 0, ErrMalformed
	}
	return after, int(r.count), nil
}

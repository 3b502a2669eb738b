package decode

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/proto/eventpb"
	"github.com/peerobserver/peerobserver/proto/field"
)

// NonceOf reads the nonce of a ping or pong, field 1 of both.
func NonceOf(body []byte) (nonce uint64, ok bool) {
	f := fields{rest: body}
	for f.next() {
		if f.is(field.PingValue, protowire.Fixed64Type) {
			nonce, ok = f.value, true
		}
	}
	return nonce, ok && !f.bad
}

// FeeFilterOf reads the fee rate of a feefilter in satoshi per 1,000 vbytes.
func FeeFilterOf(body []byte) (fee int64, ok bool) {
	f := fields{rest: body}
	for f.next() {
		if f.is(field.FeeFilterFee, protowire.VarintType) {
			fee, ok = protowire.DecodeZigZag(f.value), true
		}
	}
	return fee, ok && !f.bad
}

// Version is what counts of a version message.
type Version struct {
	Version   uint32
	Services  uint64
	Timestamp int64 // the sender's clock, in UNIX seconds
	Nonce     uint64
	UserAgent []byte
	Height    int32
	Relay     bool
}

// VersionOf reads a version message.
func VersionOf(body []byte) (v Version, ok bool) {
	f := fields{rest: body}
	for f.next() {
		switch {
		case f.is(field.VersionVersion, protowire.VarintType):
			v.Version = uint32(f.value)
		case f.is(field.VersionServices, protowire.VarintType):
			v.Services = f.value
		case f.is(field.VersionTimestamp, protowire.VarintType):
			v.Timestamp = protowire.DecodeZigZag(f.value)
		case f.is(field.VersionNonce, protowire.VarintType):
			v.Nonce = f.value
		case f.is(field.VersionUserAgent, protowire.BytesType):
			v.UserAgent = f.bytes
		case f.is(field.VersionStartHeight, protowire.VarintType):
			v.Height = int32(protowire.DecodeZigZag(f.value & 0xffffffff))
		case f.is(field.VersionRelay, protowire.VarintType):
			v.Relay = f.value != 0
		}
	}
	return v, !f.bad
}

// RejectOf reads what a reject message rejected and why.
func RejectOf(body []byte) (command []byte, reason eventpb.Reject_RejectReason, ok bool) {
	f := fields{rest: body}
	for f.next() {
		switch {
		case f.is(field.RejectRejectedCommand, protowire.BytesType):
			command = f.bytes
		case f.is(field.RejectReason, protowire.VarintType):
			reason = eventpb.Reject_RejectReason(f.value)
		}
	}
	return command, reason, !f.bad
}

// HighBandwidthOf reads whether a sendcmpct message asks for high-bandwidth mode.
func HighBandwidthOf(body []byte) (high, ok bool) {
	f := fields{rest: body}
	for f.next() {
		if f.is(field.SendCompactSendCompact, protowire.VarintType) {
			high = f.value != 0
		}
	}
	return high, !f.bad
}

// TransactionOf reads the ids (32 bytes in internal byte order) and the size in bytes
// of the transaction in a tx message.
func TransactionOf(body []byte) (txid, wtxid []byte, size int, ok bool) {
	f := fields{rest: body}
	for f.next() {
		if !f.is(field.TxTx, protowire.BytesType) {
			continue
		}
		tx := fields{rest: f.bytes}
		for tx.next() {
			switch {
			case tx.is(field.TransactionTxid, protowire.BytesType):
				txid = tx.bytes
			case tx.is(field.TransactionWtxid, protowire.BytesType):
				wtxid = tx.bytes
			case tx.is(field.TransactionRaw, protowire.BytesType):
				size = len(tx.bytes)
			}
		}
		ok = !tx.bad
	}
	return txid, wtxid, size, ok && !f.bad
}

// BlockHashOf reads the block hash of a getblocktxn or blocktxn message, field 1 of
// both.
func BlockHashOf(body []byte) (hash []byte, ok bool) {
	f := fields{rest: body}
	for f.next() {
		if f.is(field.BlockTxnBlockHash, protowire.BytesType) {
			return f.bytes, true
		}
	}
	return nil, false
}

// AddressNetwork is the network of an announced address as its message encodes it.
type AddressNetwork uint8

// The networks of BIP155.
const (
	AddressUnknown AddressNetwork = iota
	AddressIPv4
	AddressIPv6
	AddressTorV2
	AddressTorV3
	AddressI2P
	AddressCJDNS
	// AddressNetworks is the number of networks, for arrays indexed by them.
	AddressNetworks
)

// Address is one announced address.
type Address struct {
	Network AddressNetwork
	// Text is the address as text; for an unknown network the raw bytes.
	Text []byte
	// Time is when the sender says it was last seen, in UNIX seconds.
	Time     uint32
	Services uint64
	Port     uint16
}

// Addresses walks the entries of an addr or addrv2 message or of an address
// announcement, field 1 of all.
type Addresses struct {
	f fields
	Address
}

// AddressesOf starts a walk over the body of such a message.
func AddressesOf(body []byte) Addresses { return Addresses{f: fields{rest: body}} }

// Next moves to the next entry; false at the end and at damage.
func (it *Addresses) Next() bool {
	for it.f.next() {
		if !it.f.is(field.AddrAddresses, protowire.BytesType) {
			continue
		}
		if !it.decode(it.f.bytes) {
			it.f.bad = true
			return false
		}
		return true
	}
	return false
}

func (a *Address) decode(data []byte) bool {
	*a = Address{}
	f := fields{rest: data}
	for f.next() {
		switch f.typ {
		case protowire.VarintType:
			switch f.num {
			case field.AddressTimestamp:
				a.Time = uint32(f.value)
			case field.AddressServices:
				a.Services = f.value
			case field.AddressPort:
				a.Port = uint16(f.value)
			}
		case protowire.BytesType:
			switch f.num {
			case field.AddressIpv4:
				a.Network, a.Text = AddressIPv4, f.bytes
			case field.AddressIpv6:
				a.Network, a.Text = AddressIPv6, f.bytes
			case field.AddressTorv2:
				a.Network, a.Text = AddressTorV2, f.bytes
			case field.AddressTorv3:
				a.Network, a.Text = AddressTorV3, f.bytes
			case field.AddressI2p:
				a.Network, a.Text = AddressI2P, f.bytes
			case field.AddressCjdns:
				a.Network, a.Text = AddressCJDNS, f.bytes
			case field.AddressUnknown:
				a.Network, a.Text = AddressUnknown, nil
				u := fields{rest: f.bytes}
				for u.next() {
					if u.is(field.UnknownAddressAddress, protowire.BytesType) {
						a.Text = u.bytes
					}
				}
				if u.bad {
					return false
				}
			}
		}
	}
	return !f.bad
}

package p2pmessage

import (
	"encoding/binary"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/proto/field"
)

const (
	// addrEntrySize: time, services, address and port of an addr message.
	addrEntrySize = 4 + 8 + ipv6Size + 2
	// addrV2MinSize: time, one byte each of services, network and length, an address
	// of no bytes, port.
	addrV2MinSize = 4 + 1 + 1 + 1 + 2
)

// Networks that addr messages embed in IPv6 addresses.
const (
	ipv4Prefix  = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff"
	torV2Prefix = "\xfd\x87\xd8\x7e\xeb\x43"
)

// endpoint is an address with what belongs to it, as version, addr and addrv2
// messages give it.
type endpoint struct {
	time     uint32
	services uint64
	network  Network
	address  []byte
	port     uint16
}

// setLegacy takes a 16-byte address of a version or addr message.
func (e *endpoint) setLegacy(address []byte) {
	switch {
	case string(address[:len(ipv4Prefix)]) == ipv4Prefix:
		e.network, e.address = NetworkIPv4, address[len(ipv4Prefix):]
	case string(address[:len(torV2Prefix)]) == torV2Prefix:
		e.network, e.address = NetworkTorV2, address[len(torV2Prefix):]
	default:
		e.network, e.address = NetworkIPv6, address
	}
}

// addr writes the list of an addr message.
func (t *Transcoder) addr(dst []byte, num protowire.Number, r *reader) []byte {
	entries := r.run(r.elements(addrEntrySize), addrEntrySize)
	r.keep = r.counted
	for ; len(entries) > 0; entries = entries[addrEntrySize:] {
		e := endpoint{
			time:     binary.LittleEndian.Uint32(entries),
			services: binary.LittleEndian.Uint64(entries[4:]),
			port:     binary.BigEndian.Uint16(entries[12+ipv6Size:]),
		}
		e.setLegacy(entries[12 : 12+ipv6Size])
		dst = t.appendAddress(dst, num, &e)
	}
	return dst
}

// addrV2 writes the list of an addrv2 message (BIP155). As in Bitcoin Core an address
// that hasn't its network's length makes the message malformed, and addresses of
// unknown networks may have up to 512 bytes.
func (t *Transcoder) addrV2(dst []byte, num protowire.Number, r *reader) []byte {
	n := r.elements(addrV2MinSize)
	r.keep = r.counted
	for range n {
		var e endpoint
		e.time = r.uint32()
		e.services = r.compactUint64()
		e.network = Network(r.uint8())
		e.address = r.varBytes(maxAddressSize)
		// Tor v2 is gone; Bitcoin Core takes its id for an unknown one.
		if size := e.network.size(); size != len(e.address) && size != 0 && e.network != NetworkTorV2 {
			r.fail(stateMalformed)
		}
		e.port = r.port()
		if !r.ok() {
			break
		}
		dst = t.appendAddress(dst, num, &e)
	}
	return dst
}

// appendAddress appends an Address.
func (t *Transcoder) appendAddress(dst []byte, num protowire.Number, e *endpoint) []byte {
	dst, start := beginField(dst, num)
	dst = appendUint(dst, field.AddressTimestamp, uint64(e.time))
	if size := e.network.size(); size == 0 || size != len(e.address) {
		dst = appendUnknownAddress(dst, e.network, e.address)
	} else {
		var text int
		switch e.network {
		case NetworkIPv4:
			dst, text = beginField(dst, field.AddressIpv4)
			dst = appendIPv4(dst, e.address)
		case NetworkIPv6:
			dst, text = beginField(dst, field.AddressIpv6)
			dst = appendIPv6(dst, e.address)
		case NetworkTorV3:
			dst, text = beginField(dst, field.AddressTorv3)
			dst = appendTorV3(dst, e.address, t.torV3.checksum(e.address))
		case NetworkTorV2:
			dst, text = beginField(dst, field.AddressTorv2)
			dst, _ = AppendAddressText(dst, e.network, e.address)
		case NetworkI2P:
			dst, text = beginField(dst, field.AddressI2p)
			dst, _ = AppendAddressText(dst, e.network, e.address)
		case NetworkCJDNS:
			dst, text = beginField(dst, field.AddressCjdns)
			dst = appendIPv6(dst, e.address)
		}
		dst = endField(dst, text)
	}
	dst = appendUint(dst, field.AddressServices, e.services)
	dst = appendUint(dst, field.AddressPort, uint64(e.port))
	return endField(dst, start)
}

// appendUnknownAddress appends an address that has no text form.
func appendUnknownAddress(dst []byte, network Network, address []byte) []byte {
	dst, start := beginField(dst, field.AddressUnknown)
	dst = appendUint(dst, field.UnknownAddressId, uint64(network))
	dst = appendBytes(dst, field.UnknownAddressAddress, address)
	return endField(dst, start)
}

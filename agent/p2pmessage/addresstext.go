package p2pmessage

import (
	"bytes"
	"crypto/sha3"
	"strconv"
)

// Network is a network id of BIP155.
type Network uint8

// The networks that BIP155 defines.
const (
	NetworkIPv4  Network = 1
	NetworkIPv6  Network = 2
	NetworkTorV2 Network = 3
	NetworkTorV3 Network = 4
	NetworkI2P   Network = 5
	NetworkCJDNS Network = 6
)

// Sizes of addresses in bytes, by network (BIP155).
const (
	ipv4Size  = 4
	ipv6Size  = 16
	torV2Size = 10
	torV3Size = 32
	i2pSize   = 32
	cjdnsSize = 16
	// maxAddressSize bounds addresses of any network.
	maxAddressSize = 512
)

// size is the length that an address of the network must have, 0 for networks that
// aren't known.
func (n Network) size() int {
	switch n {
	case NetworkIPv4:
		return ipv4Size
	case NetworkIPv6:
		return ipv6Size
	case NetworkTorV2:
		return torV2Size
	case NetworkTorV3:
		return torV3Size
	case NetworkI2P:
		return i2pSize
	case NetworkCJDNS:
		return cjdnsSize
	default:
		return 0
	}
}

// AppendAddressText appends the text of an address as Bitcoin Core prints it, without
// port and brackets: dotted IPv4; IPv6 and CJDNS as in RFC 5952; Tor v2 and v3 with
// ".onion", v3 with checksum and version in its 56 characters; I2P with ".b32.i2p".
// It is false, and nothing is appended, for a network that isn't known or an address
// that hasn't the network's length.
func AppendAddressText(dst []byte, network Network, address []byte) ([]byte, bool) {
	if size := network.size(); size == 0 || size != len(address) {
		return dst, false
	}
	switch network {
	case NetworkIPv4:
		return appendIPv4(dst, address), true
	case NetworkIPv6, NetworkCJDNS:
		return appendIPv6(dst, address), true
	case NetworkTorV2:
		return append(appendBase32(dst, address), ".onion"...), true
	case NetworkTorV3:
		return appendTorV3(dst, address, torV3Checksum(address)), true
	case NetworkI2P:
		return append(appendBase32(dst, address), ".b32.i2p"...), true
	default:
		return dst, false
	}
}

// AddressText is AppendAddressText for callers that want a string.
func AddressText(network Network, address []byte) (string, bool) {
	text, ok := AppendAddressText(make([]byte, 0, 64), network, address)
	return string(text), ok
}

func appendIPv4(dst, a []byte) []byte {
	for i, octet := range a[:ipv4Size] {
		if i > 0 {
			dst = append(dst, '.')
		}
		dst = strconv.AppendUint(dst, uint64(octet), 10)
	}
	return dst
}

// appendIPv6 writes the shortest form of RFC 5952. IPv4-mapped addresses get no
// dotted tail: Bitcoin Core would print none.
func appendIPv6(dst, a []byte) []byte {
	const groups = ipv6Size / 2
	// The longest run of two or more zero groups, the first of equal ones, is
	// written as "::".
	from, to := groups, groups
	for i := 0; i < groups; {
		j := i
		for j < groups && a[2*j] == 0 && a[2*j+1] == 0 {
			j++
		}
		if j-i >= 2 && j-i > to-from {
			from, to = i, j
		}
		i = j + 1
	}
	for i := 0; i < groups; i++ {
		if i == from {
			dst = append(dst, "::"...)
			if i = to; i == groups {
				break
			}
		} else if i > 0 {
			dst = append(dst, ':')
		}
		dst = appendHexGroup(dst, a[2*i], a[2*i+1])
	}
	return dst
}

const hexDigits = "0123456789abcdef"

// appendHexGroup appends a 16-bit number without leading zeros.
func appendHexGroup(dst []byte, high, low byte) []byte {
	switch {
	case high >= 0x10:
		return append(dst, hexDigits[high>>4], hexDigits[high&15], hexDigits[low>>4], hexDigits[low&15])
	case high > 0:
		return append(dst, hexDigits[high], hexDigits[low>>4], hexDigits[low&15])
	case low >= 0x10:
		return append(dst, hexDigits[low>>4], hexDigits[low&15])
	default:
		return append(dst, hexDigits[low])
	}
}

const base32Digits = "abcdefghijklmnopqrstuvwxyz234567"

// appendBase32 appends RFC 4648 base32 in lower case, without padding.
func appendBase32(dst, src []byte) []byte {
	var bits uint64
	held := 0
	for _, b := range src {
		bits = bits<<8 | uint64(b)
		held += 8
		for held >= 5 {
			held -= 5
			dst = append(dst, base32Digits[bits>>held&31])
		}
	}
	if held > 0 {
		dst = append(dst, base32Digits[bits<<(5-held)&31])
	}
	return dst
}

const (
	torV3Version      = 3
	torV3ChecksumSize = 2
)

// appendTorV3 appends base32(key | checksum | version) and ".onion" (Tor's
// rend-spec-v3, "Encoding onion addresses").
func appendTorV3(dst, key []byte, checksum [torV3ChecksumSize]byte) []byte {
	var whole [torV3Size + torV3ChecksumSize + 1]byte
	copy(whole[:], key)
	copy(whole[torV3Size:], checksum[:])
	whole[torV3Size+torV3ChecksumSize] = torV3Version
	return append(appendBase32(dst, whole[:]), ".onion"...)
}

// torV3Checksum is the start of SHA3-256(".onion checksum" | key | version).
func torV3Checksum(key []byte) [torV3ChecksumSize]byte {
	const prefix = ".onion checksum"
	var input [len(prefix) + torV3Size + 1]byte
	copy(input[:], prefix)
	copy(input[len(prefix):], key)
	input[len(input)-1] = torV3Version
	sum := sha3.Sum256(input[:])
	return [torV3ChecksumSize]byte{sum[0], sum[1]}
}

// torV3Cache remembers checksums of Tor v3 keys. Addresses are gossiped again and
// again, and the checksum costs more than everything else about them. Each key has
// one slot that it may take, so a peer that sends new keys only makes us compute.
type torV3Cache []torV3Entry

type torV3Entry struct {
	key      [torV3Size]byte
	checksum [torV3ChecksumSize]byte
	used     bool
}

// torV3CacheSlots bounds the cache to 140 KiB; a power of two.
const torV3CacheSlots = 4096

func (c torV3Cache) checksum(key []byte) [torV3ChecksumSize]byte {
	// Keys of real services are spread evenly.
	e := &c[(int(key[0])<<8|int(key[1]))%torV3CacheSlots]
	if !e.used || !bytes.Equal(e.key[:], key) {
		e.key = [torV3Size]byte(key)
		e.checksum = torV3Checksum(key)
		e.used = true
	}
	return e.checksum
}

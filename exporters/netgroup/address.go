// Package netgroup knows what Bitcoin Core knows of an address: its network, whether it
// can be reached from everywhere, the group that it belongs to, and the autonomous
// system, from the same asmap file that the node uses. It follows netaddress.cpp,
// netgroup.cpp and util/asmap.cpp of Bitcoin Core, so that a concentration that is
// measured here is the one that the node's own limits work with.
package netgroup

import (
	"bytes"
	"crypto/sha3"
	"encoding/base32"
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Network is Bitcoin Core's enum Network, with its values.
type Network uint8

// The networks. NotPubliclyRoutable is also what can't be understood.
const (
	NotPubliclyRoutable Network = iota
	IPv4
	IPv6
	Onion
	I2P
	CJDNS
	Internal
	// Networks is the number of networks, for arrays indexed by them.
	Networks
)

var networkNames = [Networks]string{"not_publicly_routable", "ipv4", "ipv6", "onion", "i2p", "cjdns", "internal"}

// String is Bitcoin Core's name of the network.
func (n Network) String() string {
	if n < Networks {
		return networkNames[n]
	}
	return networkNames[NotPubliclyRoutable]
}

// Address is an address without its port. It can be compared.
type Address struct {
	// Network is how the address is written; an IPv4 address that isn't routable is
	// still IPv4 here.
	Network Network
	// bytes holds 4 (IPv4), 16 (IPv6, CJDNS) or 32 (onion, I2P) bytes.
	bytes [32]byte
}

// maxHostText bounds the text of a host, in bytes: an onion name has 62.
const maxHostText = 100

// SplitHostPort splits host:port or [host]:port as Bitcoin Core prints it. Without a
// port everything is host.
func SplitHostPort(text []byte) (host []byte, port uint16) {
	if len(text) > maxHostText {
		return nil, 0
	}
	colon := bytes.LastIndexByte(text, ':')
	if colon < 0 {
		return text, 0
	}
	host = text[:colon]
	if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
		return host[1 : len(host)-1], parsePort(text[colon+1:])
	}
	if bytes.IndexByte(host, ':') >= 0 {
		// An IPv6 address without brackets has no port.
		return text, 0
	}
	return host, parsePort(text[colon+1:])
}

func parsePort(text []byte) uint16 {
	n := uint32(0)
	for _, c := range text {
		if c < '0' || c > '9' || n > 65535 {
			return 0
		}
		n = n*10 + uint32(c-'0')
	}
	if n > 65535 {
		return 0
	}
	return uint16(n)
}

// Parse reads the text of a host; ok is false for what isn't an address.
func Parse(host []byte) (a Address, ok bool) {
	if len(host) == 0 || len(host) > maxHostText {
		return Address{}, false
	}
	if ip, ok := parseIPv4(host); ok {
		a.Network = IPv4
		copy(a.bytes[:], ip[:])
		return a, true
	}
	if bytes.HasSuffix(host, []byte(".onion")) {
		return parseOnion(host[:len(host)-len(".onion")])
	}
	if bytes.HasSuffix(host, []byte(".b32.i2p")) {
		a.Network = I2P
		return a, a.decode32(host[:len(host)-len(".b32.i2p")], 32)
	}
	if bytes.IndexByte(host, ':') < 0 {
		return Address{}, false
	}
	ip, err := netip.ParseAddr(string(host))
	if err != nil {
		return Address{}, false
	}
	return FromIP(ip), true
}

// FromIP makes an Address of an IP address. An address in fc00::/8 is taken for CJDNS,
// as Bitcoin Core does with -cjdnsreachable; without that nobody has such a peer.
func FromIP(ip netip.Addr) Address {
	var a Address
	ip = ip.WithZone("").Unmap()
	if ip.Is4() {
		a.Network = IPv4
		b := ip.As4()
		copy(a.bytes[:], b[:])
		return a
	}
	a.Network = IPv6
	b := ip.As16()
	copy(a.bytes[:], b[:])
	if b[0] == 0xfc {
		a.Network = CJDNS
	}
	return a
}

// parseIPv4 reads dotted decimal without allocating.
func parseIPv4(text []byte) (ip [4]byte, ok bool) {
	if len(text) < 7 || len(text) > 15 {
		return ip, false
	}
	part, digits, value := 0, 0, 0
	for _, c := range text {
		switch {
		case c == '.':
			if digits == 0 || part == 3 {
				return ip, false
			}
			ip[part] = byte(value)
			part, digits, value = part+1, 0, 0
		case c >= '0' && c <= '9':
			if digits > 0 && value == 0 {
				return ip, false
			}
			value = value*10 + int(c-'0')
			digits++
			if value > 255 {
				return ip, false
			}
		default:
			return ip, false
		}
	}
	if part != 3 || digits == 0 {
		return ip, false
	}
	ip[3] = byte(value)
	return ip, true
}

// parseOnion reads the name of a Tor v3 service: 56 characters, or 52 where the
// existing eBPF extractor left out checksum and version.
func parseOnion(name []byte) (a Address, ok bool) {
	a.Network = Onion
	switch len(name) {
	case 52:
		return a, a.decode32(name, 32)
	case 56:
		var whole [35]byte
		if !decodeBase32(whole[:], name) {
			return Address{}, false
		}
		copy(a.bytes[:], whole[:32])
		return a, true
	default:
		return Address{}, false
	}
}

func (a *Address) decode32(text []byte, size int) bool {
	if len(text) != base32.StdEncoding.WithPadding(base32.NoPadding).EncodedLen(size) {
		return false
	}
	return decodeBase32(a.bytes[:size], text)
}

// decodeBase32 reads lower- or upper-case base32 without padding.
func decodeBase32(dst, text []byte) bool {
	buffer, n, at := uint32(0), 0, 0
	for _, c := range text {
		var v uint32
		switch {
		case c >= 'a' && c <= 'z':
			v = uint32(c - 'a')
		case c >= 'A' && c <= 'Z':
			v = uint32(c - 'A')
		case c >= '2' && c <= '7':
			v = uint32(c-'2') + 26
		default:
			return false
		}
		buffer = buffer<<5 | v
		n += 5
		if n >= 8 {
			n -= 8
			if at < len(dst) {
				dst[at] = byte(buffer >> n)
				at++
			}
		}
	}
	return at == len(dst)
}

// IP is the IP address; ok is false for onion and I2P.
func (a *Address) IP() (ip netip.Addr, ok bool) {
	switch a.Network {
	case IPv4:
		return netip.AddrFrom4([4]byte(a.bytes[:4])), true
	case IPv6, CJDNS:
		return netip.AddrFrom16([16]byte(a.bytes[:16])), true
	default:
		return netip.Addr{}, false
	}
}

// String is the address as text.
func (a *Address) String() string {
	if ip, ok := a.IP(); ok {
		return ip.String()
	}
	switch a.Network {
	case Onion:
		// A name of Tor v3 is key, checksum and version (rend-spec-v3, section 6).
		const version = 3
		sum := sha3.Sum256(append(append([]byte(".onion checksum"), a.bytes[:]...), version))
		return base32Text(append(slices.Clone(a.bytes[:]), sum[0], sum[1], version)) + ".onion"
	case I2P:
		return base32Text(a.bytes[:]) + ".b32.i2p"
	default:
		return a.Network.String()
	}
}

func base32Text(b []byte) string {
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}

func (a *Address) prefix(b ...byte) bool { return bytes.HasPrefix(a.bytes[:16], b) }

// Local is whether it is the machine itself.
func (a *Address) Local() bool {
	switch a.Network {
	case IPv4:
		return a.bytes[0] == 127 || a.bytes[0] == 0
	case IPv6:
		return a.prefix(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)
	default:
		return false
	}
}

// Routable is whether the address can be reached from everywhere, as Bitcoin Core's
// IsRoutable.
func (a *Address) Routable() bool {
	b := &a.bytes
	switch a.Network {
	case IPv4:
		switch {
		case a.Local(),
			b[0] == 255 && b[1] == 255 && b[2] == 255 && b[3] == 255,
			b[0] == 10, b[0] == 192 && b[1] == 168, b[0] == 172 && b[1]&0xf0 == 16, // RFC1918
			b[0] == 198 && b[1]&0xfe == 18,   // RFC2544
			b[0] == 169 && b[1] == 254,       // RFC3927
			b[0] == 100 && b[1]&0xc0 == 0x40, // RFC6598
			b[0] == 192 && b[1] == 0 && b[2] == 2, b[0] == 198 && b[1] == 51 && b[2] == 100,
			b[0] == 203 && b[1] == 0 && b[2] == 113: // RFC5737
			return false
		}
		return true
	case IPv6:
		switch {
		case a.Local(), [16]byte(b[:16]) == [16]byte{},
			a.prefix(0x20, 0x01, 0x0d, 0xb8),             // RFC3849
			a.prefix(0xfe, 0x80, 0, 0, 0, 0, 0, 0),       // RFC4862
			b[0]&0xfe == 0xfc,                            // RFC4193
			a.prefix(0x20, 0x01, 0) && b[3]&0xf0 == 0x10, // RFC4843
			a.prefix(0x20, 0x01, 0) && b[3]&0xf0 == 0x20: // RFC7343
			return false
		}
		return true
	case CJDNS:
		return b[0] == 0xfc
	case Onion, I2P:
		return true
	default:
		return false
	}
}

// linkedIPv4 is the IPv4 address inside an IPv6 address of a transition mechanism, or
// the IPv4 address itself. The address must be routable.
func (a *Address) linkedIPv4() (ip [4]byte, ok bool) {
	switch {
	case a.Network == IPv4:
		return [4]byte(a.bytes[:4]), true
	case a.Network != IPv6:
		return ip, false
	case a.prefix(0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0), // RFC6145
		a.prefix(0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0): // RFC6052
		return [4]byte(a.bytes[12:16]), true
	case a.prefix(0x20, 0x02): // RFC3964, 6to4
		return [4]byte(a.bytes[2:6]), true
	case a.prefix(0x20, 0x01, 0, 0): // RFC4380, Teredo
		binary.BigEndian.PutUint32(ip[:], ^binary.BigEndian.Uint32(a.bytes[12:16]))
		return ip, true
	default:
		return ip, false
	}
}

// Class is the network that Bitcoin Core groups the address by: NotPubliclyRoutable for
// what can't be reached, IPv4 for IPv6 addresses that stand for an IPv4 address.
func (a *Address) Class() Network {
	if !a.Routable() {
		return NotPubliclyRoutable
	}
	if _, ok := a.linkedIPv4(); ok {
		return IPv4
	}
	return a.Network
}

// Group is the group of an address: /16 for IPv4, /32 for IPv6, the autonomous system
// where an asmap knows it. It can be compared and used as a key.
type Group struct {
	// Class is the address's class, IPv6 for an autonomous system.
	Class Network
	// AS is the autonomous system number, 0 when unknown.
	AS uint32
	// prefix holds the leading bytes and their number of bits.
	prefix [5]byte
	bits   uint8
}

// Subnet is the text of a group: a prefix, AS and number, or the class.
func (g Group) Subnet() string {
	switch {
	case g.AS != 0:
		return "AS" + strconv.FormatUint(uint64(g.AS), 10)
	case g.Class == IPv4:
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{g.prefix[0], g.prefix[1]}), 16).String()
	case g.Class == IPv6:
		var b [16]byte
		copy(b[:], g.prefix[:])
		if p, err := netip.AddrFrom16(b).Prefix(int(g.bits)); err == nil {
			return p.String()
		}
	}
	return g.Class.String()
}

// GroupOf gives the group of an address, by autonomous system where m (which may be
// nil) has one.
func GroupOf(a *Address, m *ASMap) Group {
	class := a.Class()
	if as := m.ASOf(a); as != 0 {
		return Group{Class: IPv6, AS: as}
	}
	g := Group{Class: class}
	if class == NotPubliclyRoutable {
		return g
	}
	if ip, ok := a.linkedIPv4(); ok {
		copy(g.prefix[:], ip[:2])
		g.bits = 16
		return g
	}
	switch a.Network {
	case Onion, I2P:
		g.bits = 4
	case CJDNS:
		// The first byte of a CJDNS address is always the same.
		g.bits = 12
	default:
		g.bits = 32
		if a.prefix(0x20, 0x01, 0x04, 0x70) {
			// Hurricane Electric gives its tunnels away in small pieces.
			g.bits = 36
		}
	}
	n := copy(g.prefix[:], a.bytes[:(g.bits+7)/8])
	if rest := g.bits % 8; rest != 0 {
		g.prefix[n-1] |= 0xff >> rest
	}
	return g
}

// AdjacentSubnet is whether two addresses are neighbours: the same /24 of IPv4 or /64 of
// IPv6, and not the same address.
func AdjacentSubnet(a, b *Address) bool {
	if a.Network != b.Network || a.bytes == b.bytes {
		return false
	}
	switch a.Network {
	case IPv4:
		return [3]byte(a.bytes[:3]) == [3]byte(b.bytes[:3])
	case IPv6:
		return [8]byte(a.bytes[:8]) == [8]byte(b.bytes[:8])
	default:
		return false
	}
}

// Bytes are the bytes of the address, for hashing.
func (a *Address) Bytes() []byte {
	switch a.Network {
	case IPv4:
		return a.bytes[:4]
	case IPv6, CJDNS:
		return a.bytes[:16]
	default:
		return a.bytes[:]
	}
}

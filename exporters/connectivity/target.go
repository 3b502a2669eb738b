package connectivity

import (
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/exporters/netgroup"
)

// serviceP2PV2 is NODE_P2P_V2: the node speaks the transport of BIP324.
const serviceP2PV2 = 1 << 11

// target is an address with its port. It can be compared.
type target struct {
	address netgroup.Address
	port    uint16
}

// hostPort is the text of a target.
func (t *target) hostPort() string {
	return net.JoinHostPort(t.address.String(), strconv.Itoa(int(t.port)))
}

// announcement is a target and what was said of it.
type announcement struct {
	target
	// at is when it was announced.
	at time.Time
	// seen is when the node was last seen, in UNIX seconds, and services its services,
	// as whoever announced it claims.
	seen     uint32
	services uint64
}

// parseAnnouncement reads an entry of an addr or addrv2 message; ok is false for what
// is no address.
func parseAnnouncement(a *decode.Address, at time.Time) (n announcement, ok bool) {
	n.address, ok = netgroup.Parse(a.Text)
	if !ok {
		return n, false
	}
	switch a.Network {
	case decode.AddressIPv4:
		ok = n.address.Network == netgroup.IPv4
	case decode.AddressIPv6:
		// With an address in fc00::/8, which nobody can reach either.
		ok = n.address.Network == netgroup.IPv6 || n.address.Network == netgroup.CJDNS
	case decode.AddressTorV3:
		ok = n.address.Network == netgroup.Onion
	case decode.AddressI2P:
		ok = n.address.Network == netgroup.I2P
	case decode.AddressCJDNS:
		ok = n.address.Network == netgroup.CJDNS
	default:
		ok = false
	}
	n.port, n.at, n.seen, n.services = a.Port, at, a.Time, a.Services
	return n, ok
}

// policy says what may be dialed.
type policy struct {
	exclude, allow  []netip.Prefix
	tor, i2p        bool
	privilegedPorts bool
}

// skip says why a target isn't dialed, and is empty when it may be.
func (p *policy) skip(t *target) skipReason {
	switch t.address.Network {
	case netgroup.Onion:
		if !p.tor {
			return skipNoProxy
		}
	case netgroup.I2P:
		// I2P has no ports; SAM 3.1 uses 0.
		if !p.i2p {
			return skipNoProxy
		}
		return ""
	case netgroup.IPv4, netgroup.IPv6, netgroup.CJDNS:
		ip, ok := t.address.IP()
		if !ok {
			return skipNotRoutable
		}
		if within(p.exclude, ip) {
			return skipExcluded
		}
		if !within(p.allow, ip) && !reachable(ip) {
			return skipNotRoutable
		}
	default:
		return skipNotRoutable
	}
	if t.port == 0 || t.port < firstPort && !p.privilegedPorts {
		return skipPort
	}
	return ""
}

func within(prefixes []netip.Prefix, ip netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// reachable is whether an address belongs to one host on the Internet. It is stricter
// than Bitcoin Core's IsRoutable: multicast and reserved addresses are left out (IANA's
// registries of special-purpose addresses), and IPv6 addresses that only stand for an
// IPv4 address, because a router on the way may translate them into a private one.
func reachable(ip netip.Addr) bool {
	a := netgroup.FromIP(ip)
	if !a.Routable() || a.Network == netgroup.CJDNS {
		return false
	}
	b := a.Bytes()
	if a.Network == netgroup.IPv4 {
		switch {
		case b[0] >= 224, // multicast, reserved, broadcast
			b[0] == 192 && b[1] == 0 && b[2] == 0,    // RFC6890
			b[0] == 192 && b[1] == 88 && b[2] == 99,  // RFC7526
			b[0] == 192 && b[1] == 31 && b[2] == 196, // RFC7535
			b[0] == 192 && b[1] == 52 && b[2] == 193, // RFC7450
			b[0] == 192 && b[1] == 175 && b[2] == 48: // RFC7534
			return false
		}
		return true
	}
	switch {
	case b[0]&0xe0 != 0x20, // 2000::/3 is what is assigned
		b[0] == 0x20 && b[1] == 0x02,                              // 6to4
		b[0] == 0x20 && b[1] == 0x01 && b[2] < 2,                  // 2001::/23: Teredo, benchmarking and the like
		b[0] == 0x3f && b[1] == 0xff && b[2]&0xf0 == 0,            // RFC9637, documentation
		b[0] == 0x26 && b[1] == 0x20 && b[2] == 0 && b[3] == 0x4f: // RFC7534
		return false
	}
	return true
}

// ownAddresses are the addresses of this machine, which are never dialed: a node that
// is dialed from its own address learns of its observer.
func ownAddresses() ([]netip.Prefix, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var own []netip.Prefix
	for _, a := range list {
		network, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		if ip, ok := netip.AddrFromSlice(network.IP); ok {
			ip = ip.Unmap()
			// Loopback is a matter of Allow.
			if !ip.IsLoopback() {
				own = append(own, netip.PrefixFrom(ip, ip.BitLen()))
			}
		}
	}
	return own, nil
}

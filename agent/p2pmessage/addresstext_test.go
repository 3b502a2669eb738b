package p2pmessage

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

// Texts agree with other implementations of them.
func TestAddressTexts(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := rapidChooser{rt}
		ip := c.bytes(ipv6Size)
		// Runs of zeros, whose compression is all there is to it.
		for range c.intn(4) {
			from := c.intn(ipv6Size)
			clear(ip[from:min(ipv6Size, from+1+c.intn(6))])
		}
		key := c.bytes(torV3Size)
		wantIPv6 := netip.AddrFrom16([16]byte(ip)).String()
		for _, test := range []struct {
			network Network
			address []byte
			want    string
		}{
			{NetworkIPv4, ip[:4], netip.AddrFrom4([4]byte(ip[:4])).String()},
			{NetworkIPv6, ip, wantIPv6},
			{NetworkCJDNS, ip, wantIPv6},
			{NetworkTorV2, key[:torV2Size], lowerBase32(key[:torV2Size]) + ".onion"},
			{NetworkTorV3, key, torV3Text(key)},
			{NetworkI2P, key, lowerBase32(key) + ".b32.i2p"},
		} {
			got, ok := AddressText(test.network, test.address)
			if ip := netip.AddrFrom16([16]byte(ip)); ip.Is4In6() && (test.network == NetworkIPv6 || test.network == NetworkCJDNS) {
				continue // netip writes a dotted tail
			}
			if !ok || got != test.want {
				rt.Errorf("network %d, %x: %q, want %q", test.network, test.address, got, test.want)
			}
		}
	})
}

func TestAddressesWithoutText(t *testing.T) {
	for _, test := range []struct {
		network Network
		size    int
	}{
		{NetworkIPv4, 5}, {NetworkIPv4, 0}, {NetworkIPv6, 4}, {NetworkTorV3, 10}, {NetworkI2P, 31}, {0, 0}, {7, 32}, {255, 4},
	} {
		if text, ok := AddressText(test.network, make([]byte, test.size)); ok || text != "" {
			t.Errorf("network %d of %d bytes has the text %q", test.network, test.size, text)
		}
	}
}

// Tor v3 keys that fall on the same place of the cache don't get each other's checksum.
func TestTorV3ChecksumsOfNeighbours(t *testing.T) {
	c := newSeeded(7)
	a, b := c.bytes(torV3Size), c.bytes(torV3Size)
	b[0], b[1] = a[0], a[1]
	coder := New()
	for range 2 {
		for _, key := range [][]byte{a, b, make([]byte, torV3Size)} {
			p := payload{}.u8(1).u32(1).u8(1).u8(uint8(NetworkTorV3)).varBytes(key).port(1)
			addresses := check(t, coder, "addrv2", p, len(p)).GetAddrv2().GetAddresses()
			if got := addresses[0].GetTorv3(); got != torV3Text(key) {
				t.Errorf("%x: %s, want %s", key, got, torV3Text(key))
			}
		}
	}
}

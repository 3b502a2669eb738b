package connectivity

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/exporters/netgroup"
)

// Only what can be a node of somebody else on the Internet is dialed.
func TestPolicy(t *testing.T) {
	p := policy{
		exclude: masked([]netip.Prefix{netip.MustParsePrefix("8.8.0.0/16"), netip.MustParsePrefix("::ffff:9.9.0.0/112")}),
		allow:   []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("8.8.0.0/16"), netip.MustParsePrefix("fc12::/16")},
	}
	for text, want := range map[string]skipReason{
		"8.7.1.1": "", "8.8.1.1": skipExcluded, "9.9.1.1": skipExcluded, "10.1.1.1": "", "10.2.1.1": skipNotRoutable,
		"127.0.0.1": skipNotRoutable, "169.254.169.254": skipNotRoutable, "224.0.0.251": skipNotRoutable, "250.1.1.1": skipNotRoutable,
		"192.88.99.1": skipNotRoutable, "192.0.0.8": skipNotRoutable,
		"2a00:1:2::3": "", "::1": skipNotRoutable, "fe80::1": skipNotRoutable, "fec0::1": skipNotRoutable, "ff02::1": skipNotRoutable,
		"fc12::1": "", "fc13::1": skipNotRoutable, "fd00::1": skipNotRoutable, "64:ff9b::a01:1": skipNotRoutable, "2002:a01:1::": skipNotRoutable,
		"2001:0:1::1": skipNotRoutable, "2001:470::1": "", "2001:db8::1": skipNotRoutable, "3fff:1::1": skipNotRoutable, "::a01:1": skipNotRoutable,
		"4000::1": skipNotRoutable,
	} {
		a := at(text, 8333)
		if got := p.skip(&a.target); got != want {
			t.Errorf("%s: skipped for %q, want %q", text, got, want)
		}
	}
	for port, want := range map[uint16]skipReason{0: skipPort, 25: skipPort, 1023: skipPort, 1024: "", 65535: ""} {
		a := at("8.7.1.1", port)
		if got := p.skip(&a.target); got != want {
			t.Errorf("port %d: skipped for %q, want %q", port, got, want)
		}
	}
	p.privilegedPorts = true
	zero, https := at("8.7.1.1", 0), at("8.7.1.1", 443)
	if p.skip(&zero.target) != skipPort || p.skip(&https.target) != "" {
		t.Error("privileged ports")
	}
	onion, ok := netgroup.Parse([]byte(onionName("x")))
	if tor := (target{onion, 8333}); !ok || p.skip(&tor) != skipNoProxy {
		t.Error("onion without a proxy")
	}
	if internal := (target{netgroup.Address{Network: netgroup.Internal}, 8333}); p.skip(&internal) != skipNotRoutable {
		t.Error("internal address")
	}
}

// The text of an address is what is dialed, so it must be what was announced.
func TestParseAnnouncement(t *testing.T) {
	name := onionName("service")
	for _, c := range []struct {
		network decode.AddressNetwork
		text    string
		want    string
	}{
		{decode.AddressIPv4, "8.1.2.3", "8.1.2.3:8333"},
		{decode.AddressIPv6, "2a00::1", "[2a00::1]:8333"},
		{decode.AddressTorV3, name, name + ":8333"},
		{decode.AddressI2P, name32("x") + ".b32.i2p", name32("x") + ".b32.i2p:8333"},
		{decode.AddressCJDNS, "fc00::1", "[fc00::1]:8333"},
		{decode.AddressIPv4, "2a00::1", ""},
		{decode.AddressIPv6, "8.1.2.3", ""},
		{decode.AddressIPv6, "::ffff:10.0.0.1", ""},
		{decode.AddressTorV2, "expyuzz4wqqyqhjn.onion", ""},
		{decode.AddressTorV3, "example.org", ""},
		{decode.AddressTorV3, strings.Repeat("!", 56) + ".onion", ""},
		{decode.AddressUnknown, "\x01\x02", ""},
		{decode.AddressIPv4, "", ""},
	} {
		a, ok := parseAnnouncement(&decode.Address{Network: c.network, Text: []byte(c.text), Port: 8333}, time.Unix(1, 0))
		if ok != (c.want != "") || ok && a.hostPort() != c.want {
			t.Errorf("%q: %q, %v, want %q", c.text, a.hostPort(), ok, c.want)
		}
	}
}

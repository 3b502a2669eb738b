package netgroup

import (
	"bytes"
	"strings"
	"testing"
)

func parse(t *testing.T, text string) *Address {
	t.Helper()
	a, ok := Parse([]byte(text))
	if !ok {
		t.Fatalf("%q is not understood", text)
	}
	return &a
}

// The addresses and groups of Bitcoin Core's own test netbase_getgroup.
func TestGroupAsBitcoinCore(t *testing.T) {
	for text, want := range map[string]Group{
		"127.0.0.1":                               {},
		"10.0.0.1":                                {},
		"169.254.1.1":                             {},
		"1.2.3.4":                                 {Class: IPv4, prefix: [5]byte{1, 2}, bits: 16},
		"::FFFF:0:102:304":                        {Class: IPv4, prefix: [5]byte{1, 2}, bits: 16},
		"64:FF9B::102:304":                        {Class: IPv4, prefix: [5]byte{1, 2}, bits: 16},
		"2002:102:304:9999:9999:9999:9999:9999":   {Class: IPv4, prefix: [5]byte{1, 2}, bits: 16},
		"2001:0:9999:9999:9999:9999:FEFD:FCFB":    {Class: IPv4, prefix: [5]byte{1, 2}, bits: 16},
		"2001:470:abcd:9999:9999:9999:9999:9999":  {Class: IPv6, prefix: [5]byte{32, 1, 4, 112, 175}, bits: 36},
		"2001:2001:9999:9999:9999:9999:9999:9999": {Class: IPv6, prefix: [5]byte{32, 1, 32, 1}, bits: 32},
		// 12 bits of which the first eight are the same for all.
		"fc32:17ea:e415:c3bf:9808:149d:b5a2:c9aa": {Class: CJDNS, prefix: [5]byte{0xfc, 0x3f}, bits: 12},
	} {
		if got := GroupOf(parse(t, text), nil); got != want {
			t.Errorf("%s: group %+v, want %+v", text, got, want)
		}
	}
	// The first four bits of the key of an onion or I2P address make its group.
	onion := parse(t, "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion")
	if got := GroupOf(onion, nil); got.Class != Onion || got.bits != 4 || got.prefix[0] != onion.bytes[0]|0x0f {
		t.Errorf("onion: %+v", got)
	}
}

func TestParse(t *testing.T) {
	for text, network := range map[string]Network{
		"0.0.0.0": IPv4, "255.255.255.255": IPv4, "2a01:4f8::1": IPv6, "fe80::1%eth0": IPv6, "fc00::1": CJDNS, "::ffff:1.2.3.4": IPv4,
		"pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion": Onion,
		"pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4ps.onion":     Onion,
		"ukeu3k5oycgaauneqgtnvselmt4yemvoilkln7jpvamvfx7dnkdq.b32.i2p":   I2P,
		"UKEU3K5OYCGAAUNEQGTNVSELMT4YEMVOILKLN7JPVAMVFX7DNKDQ.b32.i2p":   I2P,
	} {
		if a := parse(t, text); a.Network != network {
			t.Errorf("%s: network %s, want %s", text, a.Network, network)
		}
	}
	for _, text := range []string{
		"", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1..3.4", "1.2.3.", "example.org", "abc.onion", ".b32.i2p", ":", "::g",
		strings.Repeat("a", 55) + "!.onion", strings.Repeat("1", 1000), strings.Repeat("a", 52) + ".b32.i2p.",
	} {
		if a, ok := Parse([]byte(text)); ok {
			t.Errorf("%q is understood as %s", text, a.String())
		}
	}
	whole, cut := parse(t, "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion"), parse(t, "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4ps.onion")
	if bytes.Equal(whole.Bytes()[:31], make([]byte, 31)) || !bytes.Equal(whole.Bytes()[:31], cut.Bytes()[:31]) {
		t.Error("the two forms of an onion name differ in their key")
	}
}

func TestSplitHostPort(t *testing.T) {
	for text, want := range map[string]struct {
		host string
		port uint16
	}{
		"1.2.3.4:8333":           {"1.2.3.4", 8333},
		"[2001:db8::1]:65535":    {"2001:db8::1", 65535},
		"2001:db8::1":            {"2001:db8::1", 0},
		"abc.onion:833":          {"abc.onion", 833},
		"1.2.3.4":                {"1.2.3.4", 0},
		"1.2.3.4:":               {"1.2.3.4", 0},
		"1.2.3.4:70000":          {"1.2.3.4", 0},
		"1.2.3.4:x":              {"1.2.3.4", 0},
		strings.Repeat("1", 200): {"", 0},
	} {
		host, port := SplitHostPort([]byte(text))
		if string(host) != want.host || port != want.port {
			t.Errorf("%q: %q %d, want %q %d", text, host, port, want.host, want.port)
		}
	}
}

func TestRoutable(t *testing.T) {
	for text, want := range map[string]bool{
		"8.8.8.8": true, "0.1.2.3": false, "127.1.1.1": false, "10.1.1.1": false, "172.15.0.1": true, "172.16.0.1": false,
		"172.31.255.255": false, "172.32.0.1": true, "192.168.0.1": false, "198.17.0.1": true, "198.18.0.1": false, "198.19.0.1": false,
		"169.254.0.1": false, "100.63.0.1": true, "100.64.0.1": false, "100.127.0.1": false, "192.0.2.1": false, "198.51.100.1": false,
		"203.0.113.1": false, "255.255.255.255": false, "::": false, "::1": false, "2001:db8::1": false, "fe80::1": false,
		"fd00::1": false, "fc00::1": true, "2001:10::1": false, "2001:20::1": false, "2001:30::1": true, "2a01::1": true,
	} {
		if got := parse(t, text).Routable(); got != want {
			t.Errorf("%s: routable %v, want %v", text, got, want)
		}
	}
}

func TestAdjacentSubnet(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"1.2.3.4", "1.2.3.5", true}, {"1.2.3.4", "1.2.3.4", false}, {"1.2.3.4", "1.2.4.4", false},
		{"2a01::1", "2a01::2", true}, {"2a01::1", "2a01:0:0:1::1", false}, {"1.2.3.4", "2a01::1", false},
	} {
		if got := AdjacentSubnet(parse(t, test.a), parse(t, test.b)); got != test.want {
			t.Errorf("%s and %s: %v", test.a, test.b, got)
		}
	}
}

// A name that is parsed and printed parses to the same address.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"1.2.3.4", "2a01::1", "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4ps.onion", "::ffff:1.2.3.4", "x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		host, _ := SplitHostPort(text)
		a, ok := Parse(host)
		if !ok {
			return
		}
		again, ok := Parse([]byte(a.String()))
		if !ok || again != a {
			t.Fatalf("%q becomes %q becomes %q", text, a.String(), again.String())
		}
		GroupOf(&a, nil)
	})
}

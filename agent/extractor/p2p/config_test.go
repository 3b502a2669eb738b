package p2p

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/proto/event"
)

func TestConfigIsChecked(t *testing.T) {
	valid := func() Config {
		return Config{Client: func() Caller { return nil }, Chain: func() string { return "main" }}
	}
	for name, test := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no client":         {func(c *Config) { c.Client = nil }, "required"},
		"no chain":          {func(c *Config) { c.Chain = nil }, "required"},
		"listen address":    {func(c *Config) { c.ListenAddress = "localhost" }, "--extractor.p2p.listen-address"},
		"advertise address": {func(c *Config) { c.AdvertiseAddress = ":8333" }, "--extractor.p2p.advertise-address"},
		"negative interval": {func(c *Config) { c.PingInterval = -time.Second }, "negative"},
		"long user agent":   {func(c *Config) { c.UserAgent = strings.Repeat("a", 257) }, "256"},
		"odd user agent":    {func(c *Config) { c.UserAgent = "/a\n/" }, "printable"},
	} {
		t.Run(name, func(t *testing.T) {
			config := valid()
			test.change(&config)
			ledger := event.NewLedger()
			emitter := event.NewEmitter(event.SourceP2P, event.Origin{}, event.NewStream(), ledger)
			if _, err := New(config, emitter, ledger, nil); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestAdvertisedAddress(t *testing.T) {
	for _, test := range []struct{ configured, listener, want string }{
		{"", "127.0.0.1:5000", "127.0.0.1:5000"},
		{"", "[::1]:5000", "[::1]:5000"},
		{"", "0.0.0.0:5000", "127.0.0.1:5000"},
		{"", "[::]:5000", "127.0.0.1:5000"},
		{"10.0.0.1:0", "0.0.0.0:5000", "10.0.0.1:5000"},
		{"host.example:9333", "127.0.0.1:5000", "host.example:9333"},
		{"[fd00::1]:0", "127.0.0.1:5000", "[fd00::1]:5000"},
	} {
		addr := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(test.listener))
		if got := advertisedAddress(test.configured, addr); got != test.want {
			t.Errorf("%q on %s: %s, want %s", test.configured, test.listener, got, test.want)
		}
	}
}

// A connection is the node's only if the node says so in every respect.
func TestIdentity(t *testing.T) {
	address := netip.MustParseAddrPort
	v1 := identity{local: address("127.0.0.1:9333"), remote: address("127.0.0.1:40000"), advertised: "observer.example:9333"}
	v2 := identity{session: "aa11", local: v1.local, remote: v1.remote, advertised: v1.advertised}
	for _, test := range []struct {
		name string
		id   identity
		peer nodePeer
		want bool
	}{
		{"v1 by address", v1, nodePeer{Address: "127.0.0.1:9333", BoundTo: "127.0.0.1:40000"}, true},
		{"v1 by name", v1, nodePeer{Address: "observer.example:9333", BoundTo: "127.0.0.1:40000"}, true},
		{"v1 mapped into IPv6", v1, nodePeer{Address: "[::ffff:127.0.0.1]:9333", BoundTo: "[::ffff:127.0.0.1]:40000"}, true},
		{"v1 inbound", v1, nodePeer{Address: "127.0.0.1:9333", BoundTo: "127.0.0.1:40000", Inbound: true}, false},
		{"v1 other port", v1, nodePeer{Address: "127.0.0.1:9333", BoundTo: "127.0.0.1:40001"}, false},
		{"v1 same port to somebody else", v1, nodePeer{Address: "192.0.2.1:9333", BoundTo: "127.0.0.1:40000"}, false},
		{"v1 where the node has v2", v1, nodePeer{Address: "127.0.0.1:9333", BoundTo: "127.0.0.1:40000", SessionID: "aa11"}, false},
		{"v1 without addresses", identity{}, nodePeer{}, false},
		{"v2", v2, nodePeer{SessionID: "aa11"}, true},
		{"v2 inbound", v2, nodePeer{SessionID: "aa11", Inbound: true}, false},
		{"v2 other session", v2, nodePeer{SessionID: "bb22", Address: "127.0.0.1:9333", BoundTo: "127.0.0.1:40000"}, false},
		{"v2 where the node has v1", v2, nodePeer{Address: "127.0.0.1:9333", BoundTo: "127.0.0.1:40000"}, false},
	} {
		if _, got := test.id.find([]nodePeer{{ID: 1, Address: "192.0.2.7:8333"}, test.peer}); got != test.want {
			t.Errorf("%s: %t, want %t", test.name, got, test.want)
		}
	}
}

// Package connectivity dials the addresses that peers announce and records which of them
// are Bitcoin nodes: whether they answer, on which transport, and what they say they
// are.
//
// Peers choose what is announced, so nothing here follows them blindly: only addresses
// and ports are dialed at which a node can be, each at most once in a while, few in one
// part of the network, and what answers is read within bounds of bytes and time.
package connectivity

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/btcsuite/btcd/wire/v2"
)

// Defaults of Config.
const (
	DefaultUserAgent        = "/peer-observer-connectivity-check:1.0/"
	DefaultConcurrency      = 64
	DefaultQueue            = 20_000
	DefaultConnectTimeout   = 5 * time.Second
	DefaultHandshakeTimeout = 15 * time.Second
	DefaultProxyTimeout     = 60 * time.Second
	DefaultSuccessTTL       = time.Hour
	DefaultFailureTTL       = 20 * time.Minute
	DefaultHostInterval     = time.Minute
	DefaultNetgroupInterval = time.Second
	DefaultCacheEntries     = 100_000
	DefaultBuffer           = 8 << 20
)

const (
	// maxConcurrency bounds what the handshakes take together: about 64 KiB each.
	maxConcurrency = 1024
	// maxQueue and maxCacheEntries bound memory, at about 200 bytes an entry.
	maxQueue        = 1_000_000
	maxCacheEntries = 2_000_000
	// maxUserAgent is Bitcoin Core's MAX_SUBVERSION_LENGTH (net.h).
	maxUserAgent = 256
	// firstPort is the first port that doesn't belong to a service of the operating
	// system. Whoever announces a mail server as a node wants others to attack it.
	firstPort = 1024
)

// Transport says which transport is tried.
type Transport uint8

// The choices.
const (
	// TransportAuto tries v2 where it is announced, and v1 where that isn't understood.
	TransportAuto Transport = iota
	// TransportV1 and TransportV2 try only that.
	TransportV1
	TransportV2
)

// ParseTransport reads auto, v1 or v2.
func ParseTransport(name string) (Transport, error) {
	switch name {
	case "auto":
		return TransportAuto, nil
	case "v1":
		return TransportV1, nil
	case "v2":
		return TransportV2, nil
	default:
		return 0, fmt.Errorf("unknown transport %q (known: auto, v1, v2)", name)
	}
}

// ParseChain gives the network of a chain by Bitcoin Core's name of it.
func ParseChain(name string) (wire.BitcoinNet, error) {
	switch name {
	case "main":
		return wire.MainNet, nil
	case "test":
		return wire.TestNet3, nil
	case "testnet4":
		return wire.TestNet4, nil
	case "signet":
		return wire.SigNet, nil
	case "regtest":
		return wire.TestNet, nil
	default:
		return 0, fmt.Errorf("unknown chain %q (known: main, test, testnet4, signet, regtest)", name)
	}
}

// Config describes a check. Zero stands for the default.
type Config struct {
	// Network is the chain's magic; MainNet when zero.
	Network wire.BitcoinNet
	// UserAgent is what is sent in version messages (BIP14). It should say who asks.
	UserAgent string
	// Transport says which transports are tried.
	Transport Transport
	// TorProxy and I2PProxy are host:port of SOCKS5 proxies; without them addresses of
	// these networks are passed over.
	TorProxy, I2PProxy string
	// Exclude is what is never dialed: the operator's own ranges. Allow permits
	// addresses that are otherwise not dialed because nobody can reach them from
	// elsewhere. Exclude counts more.
	Exclude, Allow []netip.Prefix
	// PrivilegedPorts permits ports below 1024.
	PrivilegedPorts bool
	// Concurrency is how many are dialed at one time.
	Concurrency int
	// Queue bounds the addresses that wait.
	Queue int
	// ConnectTimeout bounds connecting, HandshakeTimeout all that follows.
	// ConnectTimeout is ProxyTimeout with a proxy.
	ConnectTimeout, HandshakeTimeout, ProxyTimeout time.Duration
	// SuccessTTL and FailureTTL are how long an address isn't dialed again.
	SuccessTTL, FailureTTL time.Duration
	// HostInterval is how long another port of the same host isn't dialed: nobody shall
	// scan hosts by means of this program.
	HostInterval time.Duration
	// NetgroupInterval is the time between two dials into the same group of addresses
	// (/16 of IPv4, /32 of IPv6).
	NetgroupInterval time.Duration
	// CacheEntries bounds each of the caches.
	CacheEntries int
	// Buffer bounds the events that wait, in bytes.
	Buffer int64
	// Output is the file that is appended to, Format how.
	Output string
	Format Format
}

func (c *Config) validate() error {
	setDefault(&c.Network, wire.MainNet)
	setDefault(&c.UserAgent, DefaultUserAgent)
	setDefault(&c.Concurrency, DefaultConcurrency)
	setDefault(&c.Queue, DefaultQueue)
	setDefault(&c.ConnectTimeout, DefaultConnectTimeout)
	setDefault(&c.HandshakeTimeout, DefaultHandshakeTimeout)
	setDefault(&c.ProxyTimeout, DefaultProxyTimeout)
	setDefault(&c.SuccessTTL, DefaultSuccessTTL)
	setDefault(&c.FailureTTL, DefaultFailureTTL)
	setDefault(&c.HostInterval, DefaultHostInterval)
	setDefault(&c.NetgroupInterval, DefaultNetgroupInterval)
	setDefault(&c.CacheEntries, DefaultCacheEntries)
	setDefault(&c.Buffer, DefaultBuffer)
	switch {
	case c.Output == "":
		return errors.New("no file to write to is given (--output)")
	case len(c.UserAgent) > maxUserAgent || strings.ContainsFunc(c.UserAgent, func(r rune) bool { return r < ' ' || r > '~' }):
		return fmt.Errorf("the user agent has %d bytes: use at most %d, of printable ASCII", len(c.UserAgent), maxUserAgent)
	case c.Concurrency < 1 || c.Concurrency > maxConcurrency:
		return fmt.Errorf("%d dials at one time: choose 1 to %d", c.Concurrency, maxConcurrency)
	case c.Queue < 1 || c.Queue > maxQueue:
		return fmt.Errorf("a queue of %d addresses: choose 1 to %d", c.Queue, maxQueue)
	case c.CacheEntries < 1 || c.CacheEntries > maxCacheEntries:
		return fmt.Errorf("caches of %d addresses: choose 1 to %d", c.CacheEntries, maxCacheEntries)
	}
	for _, d := range []time.Duration{
		c.ConnectTimeout, c.HandshakeTimeout, c.ProxyTimeout, c.SuccessTTL, c.FailureTTL, c.HostInterval, c.NetgroupInterval,
	} {
		if d < 0 {
			return errors.New("a time is negative")
		}
	}
	return nil
}

func setDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

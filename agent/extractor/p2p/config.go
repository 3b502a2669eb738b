// Package p2p is the source that sees the node as one of its peers does.
//
// It listens, asks the node by RPC to connect to it, verifies that what connects is
// that node, and then is a quiet, well-behaved peer: it measures the round trip of
// pings and publishes what the node announces.
//
// # How the node is told to connect
//
// By `addnode ADDRESS onetry`, once and whenever the link is down. The connection
// is a manual one like that of `addnode ADDRESS add` (never evicted, never
// discouraged, Bitcoin Core's net.cpp), but it comes at once, not after up to a
// minute; it takes none of the operator's eight addnode slots; and nothing stays
// behind in the node, also when the agent is killed: `add` would leave it dialling a
// dead port until its next start. Taking it back is closing the connection.
// An `addnode=` line with our address in bitcoin.conf does no harm and isn't needed.
//
// # How it behaves
//
// It offers protocol 70016 without services, negotiates wtxidrelay (BIP339),
// addrv2 (BIP155), header announcements (BIP130) and high-bandwidth compact blocks
// (BIP152; the node keeps no count of peers that ask for them, and all are sent one
// serialisation), answers pings, and answers getheaders with no headers. It never
// asks for transactions, blocks or addresses and announces none; getaddr stays
// unanswered, as by every peer without addresses to share. The one thing it
// requests is the header of the node's tip, at the start and after a block came by
// inv: Bitcoin Core announces a block by header or compact block only to peers that
// are known to have its parent.
package p2p

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// Defaults of Config.
const (
	DefaultListenAddress    = "127.0.0.1:0"
	DefaultPingInterval     = 10 * time.Second
	DefaultPingTimeout      = 30 * time.Second
	DefaultHandshakeTimeout = 30 * time.Second
	DefaultMaxConnections   = 128
	DefaultUserAgent        = "/peer-observer/"
)

// maxUserAgent is Bitcoin Core's MAX_SUBVERSION_LENGTH in bytes.
const maxUserAgent = 256

// Caller calls an RPC method of the node; params and result as in encoding/json.
type Caller interface {
	Call(ctx context.Context, method string, params, result any) error
}

// Config describes the source. Client and Chain are required.
type Config struct {
	// ListenAddress is the HOST:PORT to listen on for the node's connection;
	// DefaultListenAddress when empty. Port 0 is a free one.
	ListenAddress string
	// AdvertiseAddress is the HOST:PORT that the node is told to connect to, for a
	// node on another host or in another network namespace; the listener's address
	// when empty. Port 0 is the listener's port.
	AdvertiseAddress string
	// Client gives the RPC client of the observed node, nil as long as there is
	// none.
	Client func() Caller
	// Chain gives the node's chain as Bitcoin Core names it (main, test, testnet4,
	// signet, regtest), empty as long as it isn't known.
	Chain func() string
	// NodeStart gives the start time of the node's process in UNIX nanoseconds,
	// zero as long as it isn't known; nil is always zero. It's called for every event.
	NodeStart func() int64
	// PingInterval is the time between two pings; DefaultPingInterval when zero.
	// The next ping waits for the answer to the one before.
	PingInterval time.Duration
	// PingTimeout is the time without an answer after which a PingTimeout is
	// published, and again after every further PingTimeout; DefaultPingTimeout when
	// zero.
	PingTimeout time.Duration
	// HandshakeTimeout is the time from the TCP connection to the verified link;
	// DefaultHandshakeTimeout when zero. A node whose message thread is saturated
	// takes seconds for each message, and that is when the link matters most.
	HandshakeTimeout time.Duration
	// MaxConnections bounds the connections open at once, of which one is the
	// node's; DefaultMaxConnections when zero. Beyond it the oldest connection that
	// isn't verified is closed. Before it's verified one takes at most 64 KiB.
	MaxConnections int
	// UserAgent is sent to the node (BIP14), such as "/peer-observer:1.0.0/";
	// DefaultUserAgent when empty.
	UserAgent string
}

// withDefaults checks c and fills in what is empty.
func (c Config) withDefaults() (Config, error) {
	if c.Client == nil || c.Chain == nil {
		return c, errors.New("p2p: Config.Client and Config.Chain are required")
	}
	if c.NodeStart == nil {
		c.NodeStart = func() int64 { return 0 }
	}
	if c.ListenAddress == "" {
		c.ListenAddress = DefaultListenAddress
	}
	if _, _, err := net.SplitHostPort(c.ListenAddress); err != nil {
		return c, fmt.Errorf("p2p listen address %q is not HOST:PORT (flag --extractor.p2p.listen-address): %w", c.ListenAddress, err)
	}
	if c.AdvertiseAddress != "" {
		host, _, err := net.SplitHostPort(c.AdvertiseAddress)
		if err != nil || host == "" {
			return c, fmt.Errorf("p2p advertise address %q is not HOST:PORT (flag --extractor.p2p.advertise-address)", c.AdvertiseAddress)
		}
	}
	setDefault(&c.PingInterval, DefaultPingInterval)
	setDefault(&c.PingTimeout, DefaultPingTimeout)
	setDefault(&c.HandshakeTimeout, DefaultHandshakeTimeout)
	setDefault(&c.MaxConnections, DefaultMaxConnections)
	setDefault(&c.UserAgent, DefaultUserAgent)
	if c.PingInterval < 0 || c.PingTimeout < 0 || c.HandshakeTimeout < 0 || c.MaxConnections < 0 {
		return c, errors.New("p2p: intervals, timeouts and MaxConnections can't be negative")
	}
	if len(c.UserAgent) > maxUserAgent || strings.ContainsFunc(c.UserAgent, func(r rune) bool { return r < ' ' || r > '~' }) {
		return c, fmt.Errorf("p2p user agent %q must be at most %d printable ASCII characters", c.UserAgent, maxUserAgent)
	}
	return c, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

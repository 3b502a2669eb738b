package p2p

import (
	"context"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"time"
)

// peerListAge is the least time between two getpeerinfo calls in all, so that
// strangers who connect can't make the node work.
const peerListAge = 250 * time.Millisecond

var (
	errNoNode      = errors.New("no RPC connection to the node")
	errNoChain     = errors.New("the node's chain isn't known, as its process isn't seen here: give --bitcoin.chain")
	errNotObserved = errors.New("not a connection of the observed node")
)

// nodePeer is what getpeerinfo says of one connection.
type nodePeer struct {
	ID        uint64 `json:"id"`
	Address   string `json:"addr"`
	BoundTo   string `json:"addrbind"`
	Inbound   bool   `json:"inbound"`
	SessionID string `json:"session_id"`
}

// peerList asks the node for its connections, for everybody who waits at once.
type peerList struct {
	client func() Caller
	// turn is held while asking; what follows belongs to its holder.
	turn    chan struct{}
	asked   time.Time
	peers   []nodePeer
	lastErr error
}

func newPeerList(client func() Caller) *peerList {
	return &peerList{client: client, turn: make(chan struct{}, 1)}
}

// fresh returns a list that the node was asked for after this call.
func (l *peerList) fresh(ctx context.Context) ([]nodePeer, error) {
	called := time.Now()
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if l.asked.After(called) {
		return l.peers, l.lastErr
	}
	if err := sleep(ctx, time.Until(l.asked.Add(peerListAge))); err != nil {
		return nil, err
	}
	caller := l.client()
	if caller == nil {
		return nil, errNoNode
	}
	asked := time.Now()
	var peers []nodePeer
	err := caller.Call(ctx, "getpeerinfo", nil, &peers)
	if ctx.Err() != nil {
		// The next one in turn has more time.
		return nil, ctx.Err()
	}
	l.asked, l.peers, l.lastErr = asked, peers, err
	return peers, err
}

// identity is what a connection has in common with the node's entry for it.
type identity struct {
	// session is the BIP324 session id in hex, empty for v1.
	session string
	// local and remote are our addresses; advertised is what the node was told.
	local, remote netip.AddrPort
	advertised    string
}

func identityOf(conn net.Conn, t transport, advertised string) identity {
	return identity{
		session:    hex.EncodeToString(t.sessionID()),
		local:      addrPort(conn.LocalAddr().String()),
		remote:     addrPort(conn.RemoteAddr().String()),
		advertised: advertised,
	}
}

// find looks for the node's entry of this connection. With BIP324 both ends must have
// derived the same session id, which nobody between them can arrange. Without it both
// ends of the TCP connection must agree: on one host no two connections have the same
// pair of addresses. That fails where addresses are translated on the way.
func (i identity) find(peers []nodePeer) (nodePeer, bool) {
	for _, p := range peers {
		if p.Inbound {
			continue
		}
		if i.session != "" {
			if p.SessionID == i.session {
				return p, true
			}
			continue
		}
		if p.SessionID == "" && i.remote.IsValid() && addrPort(p.BoundTo) == i.remote &&
			(p.Address == i.advertised || addrPort(p.Address) == i.local) {
			return p, true
		}
	}
	return nodePeer{}, false
}

// addrPort reads HOST:PORT with a numeric host; the zero value for anything else.
func addrPort(s string) netip.AddrPort {
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// sleep waits for d, or returns ctx's error when it ends first.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

package scenario

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/btcsuite/btcd/wire/v2"
)

// crowd is a number of scripted peers.
type crowd []*peer

// gather connects count peers, some at a time.
func (t *Target) gather(ctx context.Context, count int, who func(i int) persona) (crowd, error) {
	const together = 8
	peers := make(crowd, count)
	failed := make([]error, count)
	var group sync.WaitGroup
	slots := make(chan struct{}, together)
	for i := range count {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			peers[i], failed[i] = t.enter(ctx, who(i))
		})
	}
	group.Wait()
	for i, err := range failed {
		if err != nil {
			peers.close()
			return nil, fmt.Errorf("peer %d of %d: %w", i+1, count, err)
		}
	}
	return peers, nil
}

// attempts is how often a peer tries: a node whose slots are full may evict it before it has
// done what it came for.
const attempts = 10

// enter connects a peer.
func (t *Target) enter(ctx context.Context, who persona) (*peer, error) {
	var failed error
	for range attempts {
		p, err := t.connectAs(ctx, who)
		if err == nil {
			return p, nil
		}
		failed = err
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
	}
	return nil, failed
}

// visit has a peer come, do something, and leave when the node has handled it.
func (t *Target) visit(ctx context.Context, who persona, do func(*peer) error) error {
	var failed error
	for range attempts {
		p, err := t.enter(ctx, who)
		if err != nil {
			return err
		}
		if err = do(p); err == nil {
			err = p.handled(ctx)
		}
		p.close()
		if err == nil || ctx.Err() != nil {
			return err
		}
		failed = err
	}
	return failed
}

// close ends all connections.
func (c crowd) close() {
	for _, p := range c {
		if p != nil {
			p.close()
		}
	}
}

// spread is peers that each come from a network group of their own, from a first one on.
func spread(first int) func(i int) persona {
	return func(i int) persona { return persona{from: source(first+i, 0x0105)} }
}

// outside is the network beyond the node, as far as the node itself connects to it: a
// listener that answers on every address of the namespace, as a scripted peer.
type outside struct {
	port uint16
	// told counts the addresses that the node was told of.
	told int
	// peers and the goroutines that listen.
	peers sync.WaitGroup

	mu sync.Mutex
	// listener is nil while no address can be reached.
	listener net.Listener
	// answers says which addresses can be reached; nil for all.
	answers func(netip.Addr) bool
	open    map[*peer]netip.Addr
	// gossips are what single addresses answer when they are asked for addresses.
	gossips map[netip.Addr]gossip
	// replies is how many addresses the others answer with.
	replies int
	// relay is what they know together.
	relay *relay
}

// beyond is what a target has around it, once that is needed, and until Close.
type beyond struct {
	mu      sync.Mutex
	outside *outside
	company company // from everywhere
	onions  company // through Tor
	// audience are peers of which some only listen.
	audience company
	relay    *relay // what they know
}

// Close ends what scenarios leave running for one another on this target.
func (t *Target) Close() {
	t.beyond.company.part(all)
	t.beyond.onions.part(all)
	t.beyond.audience.part(all)
	t.beyond.mu.Lock()
	defer t.beyond.mu.Unlock()
	if t.beyond.outside != nil {
		t.beyond.outside.close()
		t.beyond.outside = nil
	}
}

// company is honest inbound peers, each from a network group of its own, that stay from one
// scenario to the next: that all leave at the end of each would itself be conspicuous.
type company struct {
	mu    sync.Mutex
	peers crowd
	came  int       // peers that came since the beginning
	since time.Time // when it had as many as now
}

// accompany has the node keep company of count peers from everywhere at least for a span of
// a rule's time.
func (t *Target) accompany(ctx context.Context, count int, span time.Duration) error {
	return t.beyond.company.keep(ctx, t, count, span, func(i int) persona { return persona{from: source(companyGroups+i, 0x0105)} })
}

// keep fills a company up to count peers, and waits until they have been there for a span of
// a rule's time.
func (c *company) keep(ctx context.Context, t *Target, count int, span time.Duration, who func(i int) persona) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.peers = slices.DeleteFunc(c.peers, (*peer).isClosed)
	if missing := count - len(c.peers); missing > 0 {
		first := c.came
		peers, err := t.gather(ctx, missing, func(i int) persona { return who(first + i) })
		if err != nil {
			return err
		}
		c.came += missing
		c.peers = append(c.peers, peers...)
		c.since = time.Now()
	}
	return pause(ctx, t.span(span)-time.Since(c.since))
}

// all is as many as there are.
const all = math.MaxInt

// part has count peers of a company leave.
func (c *company) part(count int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	count = min(count, len(c.peers))
	c.peers[:count].close()
	c.peers = slices.Delete(c.peers, 0, count)
}

// count is how many there are, with those whose connection has ended.
func (c *company) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.peers)
}

// companyGroups is the first group of /16 of the company.
const companyGroups = 200

// outsider starts the network beyond the node, once, or gives the one that runs.
func (t *Target) outsider() (*outside, error) {
	t.beyond.mu.Lock()
	defer t.beyond.mu.Unlock()
	if t.beyond.outside != nil {
		return t.beyond.outside, nil
	}
	if err := CheckNamespace(); err != nil {
		return nil, err
	}
	if t.beyond.relay == nil {
		t.beyond.relay = newRelay()
	}
	o := &outside{open: map[*peer]netip.Addr{}, gossips: map[netip.Addr]gossip{}, replies: honestAddresses, relay: t.beyond.relay}
	if err := o.listen(); err != nil {
		return nil, err
	}
	t.beyond.outside = o
	return o, nil
}

// listen answers on all addresses, if that isn't done already.
func (o *outside) listen() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.listener != nil {
		return nil
	}
	listener, err := net.Listen("tcp4", fmt.Sprintf("0.0.0.0:%d", o.port))
	if err != nil {
		return err
	}
	o.listener = listener
	o.port = listener.Addr().(*net.TCPAddr).AddrPort().Port()
	o.peers.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			o.peers.Go(func() { o.accept(conn) })
		}
	})
	return nil
}

// refuse makes all addresses refuse the node, and ends its connections.
func (o *outside) refuse() {
	o.mu.Lock()
	if o.listener != nil {
		_ = o.listener.Close()
		o.listener = nil
	}
	o.mu.Unlock()
	o.cut()
}

// accept answers the node on the address that it dialled.
func (o *outside) accept(conn net.Conn) {
	address := addressOf(conn.LocalAddr())
	if !o.reachable(address) {
		_ = conn.Close()
		return
	}
	p, err := newPeer(conn, persona{answer: o.answer, relay: o.relay})
	if err != nil {
		return // a feeler, or the node has changed its mind
	}
	o.mu.Lock()
	if o.listener == nil || o.answers != nil && !o.answers(address) {
		o.mu.Unlock()
		p.close()
		return
	}
	o.open[p] = address
	o.mu.Unlock()
	<-p.closed
	_ = conn.Close()
	o.mu.Lock()
	delete(o.open, p)
	o.mu.Unlock()
}

func (o *outside) reachable(address netip.Addr) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.answers == nil || o.answers(address)
}

// only makes all addresses unreachable but those for which answers is true, and ends the
// connections of the others; nil makes all reachable.
func (o *outside) only(answers func(netip.Addr) bool) {
	o.mu.Lock()
	o.answers = answers
	var gone crowd
	for p, address := range o.open {
		if answers != nil && !answers(address) {
			gone = append(gone, p)
		}
	}
	o.mu.Unlock()
	gone.close()
}

// cut ends all connections; the addresses stay reachable.
func (o *outside) cut() {
	o.mu.Lock()
	var gone crowd
	for p := range o.open {
		gone = append(gone, p)
	}
	o.mu.Unlock()
	gone.close()
}

func (o *outside) close() {
	o.refuse()
	o.peers.Wait()
}

// tell has the node know addresses: with tried as if it had connected to them before, and
// just now, so that it prefers others.
func (o *outside) tell(ctx context.Context, t *Target, addresses []netip.Addr, tried bool) error {
	for _, address := range addresses {
		if err := t.RPC.Call(ctx, "addpeeraddress", []any{address.String(), o.port, tried}, nil); err != nil {
			return err
		}
		o.told++
	}
	return nil
}

// answer is what the peers beyond the node do: they give addresses when asked for some,
// always the same ones.
func (o *outside) answer(p *peer, message wire.Message) (bool, error) {
	if _, asked := message.(*wire.MsgGetAddr); !asked {
		return true, nil
	}
	address := addressOf(p.conn.LocalAddr())
	o.mu.Lock()
	special, found := o.gossips[address]
	delete(o.gossips, address)
	count := o.replies
	o.mu.Unlock()
	if found {
		list, err := addrMessage(special.addresses(), time.Now().Add(-time.Hour), gossipPort, gossipServices)
		if err == nil {
			err = p.send(list)
		}
		special.answered <- err
		return false, err
	}
	addresses := make([]netip.Addr, 0, count)
	for i := range count {
		at := i
		if count > honestAddresses {
			// Of more each peer knows others, which overlap.
			at = (i + int(address.As4()[1])*differentAddresses) % manyAddresses
		}
		addresses = append(addresses, remote(honestAddresses+at%groupsOfMany, 0x0203+at/groupsOfMany))
	}
	list, err := addrMessage(addresses, time.Now().Add(-time.Hour), o.port, fullServices)
	if err != nil {
		return false, err
	}
	return false, p.send(list)
}

// answerWith sets how many addresses are in an answer.
func (o *outside) answerWith(count int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.replies = count
}

// gossip is what an address tells, once.
type gossip struct {
	addresses func() []netip.Addr
	// answered gets the error of sending it, nil for none.
	answered chan<- error
}

// gossip has an address tell the node of others when it asks the next time. The channel
// gives the error of doing so, nil for none.
func (o *outside) gossip(from netip.Addr, addresses func() []netip.Addr) <-chan error {
	answered := make(chan error, 1)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.gossips[from] = gossip{addresses: addresses, answered: answered}
	return answered
}

// addressOf is the IP address of a TCP connection's end.
func addressOf(a net.Addr) netip.Addr { return a.(*net.TCPAddr).AddrPort().Addr().Unmap() }

// fullOutbound is the number of connections that the node opens and keeps: eight for all
// purposes and two for blocks only (net.h).
const fullOutbound = 10

// Populate gives the node a network beyond it to connect to, and waits until it has all
// its outbound connections. The node must be one that connects by itself (not -connect).
func (t *Target) Populate(ctx context.Context) error {
	o, err := t.outsider()
	if err != nil {
		return err
	}
	honest := make([]netip.Addr, 0, honestAddresses)
	for i := range honestAddresses {
		honest = append(honest, remote(i, 0x0203))
	}
	if err := o.tell(ctx, t, honest, true); err != nil {
		return err
	}
	return t.waitOutbound(ctx, fullOutbound)
}

// honestAddresses is how many addresses Populate gives the node.
const honestAddresses = 200

// Where honest peers answer with more addresses, these are of so many, in so many groups of
// /16 below those of an adversary, and two peers' differ in some.
const (
	manyAddresses      = 5000
	groupsOfMany       = adversaryGroups - honestAddresses
	differentAddresses = 500
)

// waitOutbound waits until the node has so many outbound connections, feelers and others
// that come and go not counted.
func (t *Target) waitOutbound(ctx context.Context, want int) error {
	deadline := time.Now().Add(time.Minute)
	for {
		peers, err := t.peers(ctx)
		if err != nil {
			return err
		}
		have := 0
		for _, p := range peers {
			if p.ConnectionType == "outbound-full-relay" || p.ConnectionType == "block-relay-only" {
				have++
			}
		}
		if have >= want {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the node has %d outbound connections, want %d", have, want)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

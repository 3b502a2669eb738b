package scenario

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/btcsuite/btcd/wire/v2"
)

// Background is honest traffic, of which no page and no ticket may come.
type Background struct {
	// Name is how it is chosen, such as "BG1", and Title what it is.
	Name, Title string
	// Does says what happens beside the everyday traffic of BG1.
	Does string
	// May are alerts that it may give rise to: of severity info, or as the catalogue of
	// attacks allows.
	May []string
	// Least is how long it takes at least, in the rules' time.
	Least time.Duration
	// Needs is what it needs of the target beside its RPC and P2P addresses.
	Needs Needs

	play func(context.Context, *everyday, time.Duration) error
}

// Backgrounds lists them.
func Backgrounds() []Background {
	all := []Background{
		{
			Name: "BG1", Title: "quiet",
			Does: "A hundred inbound peers from a hundred networks and ten outbound ones announce transactions (5 a second), tell of addresses, and ping; three more inbound peers come a minute and leave; a block comes every ten minutes.",
			play: func(ctx context.Context, e *everyday, span time.Duration) error { return e.t.wait(ctx, span) },
		},
		{
			Name: "BG2", Title: "busy",
			Does: "All inbound slots are full, and ten peers come a minute, for each of which the node evicts one; two of five peers give nothing; a wallet pings every two seconds; a crawler a minute asks for addresses and leaves; a peer downloads 2,000 blocks; transactions come three times as often.",
			play: playBusy,
		},
		{
			Name: "BG3", Title: "restart",
			Does:  "The node stops and starts again; its peers come back within five minutes, and those that it connects to answer with 1,000 addresses each.",
			Least: 15 * time.Minute, Needs: NeedsProcess | NeedsRestart, play: playRestart,
		},
		{
			Name: "BG4", Title: "luck",
			Does:  "No block comes for 55 minutes, then four within three minutes, and one of them replaces another.",
			Least: 60 * time.Minute, May: []string{"PeerObserverReorganization"}, play: playLuck,
		},
		{
			Name: "BG5", Title: "fee rush",
			Does: "5,000 transactions of mixed sizes come, a fifth of them replaced for a higher fee, with 300 that arrive before their parents, while fees and the peers' fee filters treble.",
			play: playRush,
		},
		{
			Name: "BG6", Title: "release day",
			Does: "Two of five peers leave and come back with another program, protocol version and fee filter; five of them break the protocol in the same way.",
			play: playRelease,
		},
		{
			Name: "BG7", Title: "operator leaves",
			Does:  "35 of the hundred inbound peers are of one operator, in five /20, and leave within five minutes; half as many come instead.",
			Least: 25 * time.Minute,
			// A node alone can't tell that other nodes have lost the operator's peers too.
			May: []string{"PeerObserverInboundDrop"}, play: playDeparture,
		},
		{
			Name: "BG8", Title: "noise",
			Does: "Ten connections a minute speak HTTP, TLS or the protocol of another chain, two a minute say nothing, and one peer sends a mutated block.",
			// 600 an hour are as many as the ticket begins with.
			May:  []string{"PeerObserverMutatedBlock", "PeerObserverPortScanned", "PeerObserverPortScannedMuch"},
			play: playNoise,
		},
		{
			Name: "BG9", Title: "Tor flap",
			Does:  "Eight peers that have come through Tor for twenty minutes leave, and come back after five.",
			Least: 10 * time.Minute, Needs: NeedsOnion, play: playFlap,
		},
	}
	for i := range all {
		all[i].Needs |= NeedsNamespace
	}
	return all
}

// FindBackground gives the one of a name.
func FindBackground(name string) (Background, error) {
	for _, b := range Backgrounds() {
		if b.Name == name {
			return b, nil
		}
	}
	return Background{}, fmt.Errorf("there is no background %q, see `peer-observer lab list`", name)
}

// Run goes on for a span of the rules' time, or for as long as it takes at least. The
// inbound peers stay for the next one, until Target.Close.
func (b Background) Run(ctx context.Context, t *Target, span time.Duration) error {
	if err := t.check(ctx, b.Needs); err != nil {
		return fmt.Errorf("background %s: %w", b.Name, err)
	}
	e, err := t.everyday(ctx, b.Name)
	if err != nil {
		return fmt.Errorf("background %s: preparing: %w", b.Name, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e.start(ctx)
	err = b.play(ctx, e, max(span, b.Least))
	cancel()
	if err := errors.Join(err, e.end()); err != nil {
		return fmt.Errorf("background %s: %w", b.Name, err)
	}
	return nil
}

// everyday is the traffic of a day without events, on which all others go on.
type everyday struct {
	t       *Target
	outside *outside
	relay   *relay
	random  *random

	running sync.WaitGroup
	failed  chan error // the first failure

	mu sync.Mutex
	// rate is how many transactions come a second; not scaled, as the node announces no more
	// than 14 a second to an inbound peer, and holds back the others.
	rate float64
	// fee is what a transaction pays, and the peers' filter, in satoshi per 1,000 vbytes.
	fee int64
	// outputs is how many outputs the largest transaction has.
	outputs int
	// arrivals is how many peers come a minute of the rules' time, and visit how long they stay;
	// until the node evicts them when that is 0.
	arrivals float64
	visit    time.Duration
	// noBlocks: none come by themselves.
	noBlocks bool
	// quiet says which peers give nothing.
	quiet func(netip.Addr) bool
}

// The everyday traffic, as in ATTACKS.
const (
	quietRate     = 5.0 // transactions a second
	busyRate      = 15.0
	quietArrivals = 3.0 // peers a minute
	busyArrivals  = 10.0
	quietVisit    = 2 * time.Minute
	usualFee      = 1000 // satoshi per 1,000 vbytes
	blockEvery    = 10 * time.Minute
	// longestInterval cuts the distribution of the time between blocks, of which BG4 has the
	// long ones.
	longestInterval = 55 * time.Minute
	// needCoins is what the traffic spends between two blocks, at most.
	needCoins = 3000
)

// random is a source of random numbers for several goroutines.
type random struct {
	mu sync.Mutex
	r  *rand.Rand
}

func newRandom(seed string) *random {
	h := fnv.New64a()
	_, _ = h.Write([]byte(seed)) // never fails
	return &random{r: rand.New(rand.NewPCG(2009, h.Sum64()))}
}

func (r *random) exponential(mean time.Duration) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return exponential(r.r, mean)
}

func (r *random) intN(n int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.r.IntN(n)
}

// everyday prepares the node for it: a chain with coins, outbound and inbound peers.
func (t *Target) everyday(ctx context.Context, seed string) (*everyday, error) {
	t.beyond.mu.Lock()
	if t.beyond.relay == nil {
		t.beyond.relay = newRelay()
	}
	e := &everyday{
		t: t, relay: t.beyond.relay, random: newRandom(seed), failed: make(chan error, 1),
		rate: quietRate, fee: usualFee, outputs: 2, arrivals: quietArrivals, visit: quietVisit,
		quiet: func(netip.Addr) bool { return false },
	}
	t.beyond.mu.Unlock()
	if err := t.history(ctx); err != nil {
		return nil, fmt.Errorf("making a chain: %w", err)
	}
	if err := t.recover(ctx); err != nil {
		return nil, err
	}
	t.purse.mu.Lock()
	missing := needCoins - len(t.purse.coins)
	t.purse.mu.Unlock()
	if missing > 0 {
		coins, err := t.take(ctx, needCoins)
		if err != nil {
			return nil, err
		}
		t.purse.mu.Lock()
		t.purse.coins = append(t.purse.coins, coins...)
		t.purse.mu.Unlock()
	}
	var err error
	if e.relay.tipHeader() == nil {
		// Old blocks alone would leave the node in initial block download.
		made, err := t.generate(ctx, 1, "raw(51)")
		if err != nil {
			return nil, err
		}
		if err := t.tell(ctx, made); err != nil {
			return nil, err
		}
	}
	if e.outside, err = t.populated(ctx); err != nil {
		return nil, err
	}
	return e, e.accompany(ctx, fullCompany)
}

// tell has the peers know blocks that the node made.
func (t *Target) tell(ctx context.Context, hashes []string) error {
	for _, hash := range hashes {
		var text string
		if err := t.RPC.Call(ctx, "getblock", []any{hash, 0}, &text); err != nil {
			return err
		}
		raw, err := hex.DecodeString(text)
		if err != nil {
			return err
		}
		block := new(wire.MsgBlock)
		if err := block.Deserialize(bytes.NewReader(raw)); err != nil {
			return err
		}
		t.beyond.relay.mined(block)
		t.collect(block)
	}
	return nil
}

// accompany has the node keep company of peers that take part.
func (e *everyday) accompany(ctx context.Context, count int) error {
	return e.t.beyond.company.keep(ctx, e.t, count, 0, func(i int) persona {
		return persona{from: source(companyGroups+i, 0x0105), relay: e.relay}
	})
}

// exchange has one of the company leave and another come.
func (e *everyday) exchange(ctx context.Context, who persona) error {
	e.t.beyond.company.part(1)
	return e.t.beyond.company.keep(ctx, e.t, fullCompany, 0, func(int) persona { return who })
}

// change sets what the traffic is like.
func (e *everyday) change(how func(*everyday)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	how(e)
}

// start begins the traffic, until ctx ends.
func (e *everyday) start(ctx context.Context) {
	talk := &conversation{
		relay: e.relay, rand: rand.New(rand.NewPCG(2009, 2)), quiet: e.isQuiet, floor: e.floor,
	}
	e.running.Go(func() { talk.converse(ctx, e.peers) })
	for _, run := range []func(context.Context) error{e.spend, e.mine, e.receive} {
		e.running.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				select {
				case e.failed <- err:
				default:
				}
			}
		})
	}
}

func (e *everyday) isQuiet(address netip.Addr) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.quiet(address)
}

// floor is the fee filter of a peer.
func (e *everyday) floor(p *peer) int64 {
	if p.who.userAgent == releaseAgent {
		return releaseFilter
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.fee
}

// end waits for the end of the traffic and gives the first thing that failed.
func (e *everyday) end() error {
	e.running.Wait()
	select {
	case err := <-e.failed:
		return err
	default:
		return nil
	}
}

// peers lists the peers that take part, with their addresses.
func (e *everyday) peers() map[*peer]netip.Addr {
	list := map[*peer]netip.Addr{}
	e.t.beyond.company.mu.Lock()
	for _, p := range e.t.beyond.company.peers {
		list[p] = p.who.from
	}
	e.t.beyond.company.mu.Unlock()
	e.outside.mu.Lock()
	maps.Copy(list, e.outside.open)
	e.outside.mu.Unlock()
	return list
}

// spend makes transactions, one after the other.
func (e *everyday) spend(ctx context.Context) error {
	for {
		e.mu.Lock()
		rate, fee, outputs := e.rate, e.fee, e.outputs
		e.mu.Unlock()
		if err := pause(ctx, e.random.exponential(time.Duration(float64(time.Second)/rate))); err != nil {
			return err
		}
		// None is left while those that are spent wait for a block.
		if source, ok := e.t.some(); ok {
			e.relay.add(pay(source, fee, 1+e.random.intN(outputs)))
		}
	}
}

// mine has a block come every ten minutes.
func (e *everyday) mine(ctx context.Context) error {
	for {
		if err := e.t.wait(ctx, min(e.random.exponential(blockEvery), longestInterval)); err != nil {
			return err
		}
		e.mu.Lock()
		skip := e.noBlocks
		e.mu.Unlock()
		if skip {
			continue
		}
		if err := e.block(ctx); err != nil {
			return err
		}
	}
}

// receive has peers come that nobody knows, introduce themselves, and leave after a while.
func (e *everyday) receive(ctx context.Context) error {
	var visits sync.WaitGroup
	defer visits.Wait()
	for i := 0; ; i++ {
		e.mu.Lock()
		arrivals, visit := e.arrivals, e.visit
		e.mu.Unlock()
		if err := e.t.wait(ctx, e.random.exponential(time.Duration(float64(time.Minute)/arrivals))); err != nil {
			return err
		}
		from := source(visitorGroups+i, 0x0106+i/visitorsOfGroups)
		visits.Go(func() {
			p, err := e.t.connectAs(ctx, persona{from: from})
			if err != nil {
				return // the node is full, or restarts
			}
			defer p.close()
			if own, err := addrMessage([]netip.Addr{from}, time.Now(), gossipPort, gossipServices); err == nil {
				_ = p.send(own)
			}
			if visit == 0 {
				select {
				case <-p.closed:
				case <-ctx.Done():
				}
				return
			}
			_ = e.t.wait(ctx, visit)
		})
	}
}

// The visitors' groups of /16, after which they begin again.
const (
	visitorGroups    = 400
	visitorsOfGroups = Sources
)

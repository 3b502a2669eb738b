package scenario

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

// relay is what honest peers know together: the transactions and blocks that go round.
type relay struct {
	mu           sync.Mutex
	transactions map[chainhash.Hash]*wire.MsgTx
	// replaced are those that are given when somebody asks, but not announced any more.
	replaced map[chainhash.Hash]bool
	// order is that of the transactions, from the first on; those that are mined stay in it.
	order []chainhash.Hash
	last  *wire.MsgBlock // the last block; nil before the first

	// known are the peers that take part, for the one conversation that goes on.
	known map[*peer]*chatter
}

func newRelay() *relay {
	return &relay{transactions: map[chainhash.Hash]*wire.MsgTx{}, replaced: map[chainhash.Hash]bool{}, known: map[*peer]*chatter{}}
}

// find gives a transaction or the last block by its hash, or nil.
func (r *relay) find(hash chainhash.Hash) wire.Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	if tx := r.transactions[hash]; tx != nil {
		return tx
	}
	if r.last != nil && r.last.BlockHash() == hash {
		return r.last
	}
	return nil
}

// add has the peers know a transaction; they announce it when their time comes.
func (r *relay) add(tx *wire.MsgTx) {
	hash := tx.TxHash()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.transactions[hash] = tx
	r.order = append(r.order, hash)
}

// know has the peers have a transaction that they don't announce, but give when asked.
func (r *relay) know(tx *wire.MsgTx) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.transactions[tx.TxHash()] = tx
}

// replace has the peers know a transaction that replaces another one.
func (r *relay) replace(of, by *wire.MsgTx) {
	r.mu.Lock()
	_, waits := r.transactions[of.TxHash()]
	r.replaced[of.TxHash()] = true
	r.mu.Unlock()
	if waits { // it isn't mined already
		r.add(by)
	}
}

// mined has the peers know a block and forget the transactions in it.
func (r *relay) mined(block *wire.MsgBlock) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = block
	for _, tx := range block.Transactions {
		delete(r.transactions, tx.TxHash())
	}
	// What was replaced can't be mined any more.
	for hash := range r.replaced {
		delete(r.transactions, hash)
	}
	clear(r.replaced)
}

// since gives transactions from a number on, at most a number of them, and the number of the
// next. Those that are mined are left out.
func (r *relay) since(first, most int) (hashes []chainhash.Hash, next int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for next = first; next < len(r.order) && len(hashes) < most; next++ {
		if hash := r.order[next]; r.transactions[hash] != nil && !r.replaced[hash] {
			hashes = append(hashes, r.order[next])
		}
	}
	return hashes, next
}

func (r *relay) length() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.order)
}

// tipHeader is the headers message of the last block; nil before the first.
func (r *relay) tipHeader() *wire.MsgHeaders {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil {
		return nil
	}
	headers := wire.NewMsgHeaders()
	headers.Headers = append(headers.Headers, &r.last.Header)
	return headers
}

// How often an honest peer does what it does all the time: means of exponential distributions.
// None of it goes faster with the time scale, because the node's limits and its answers don't.
const (
	announceEvery = 5 * time.Second
	addressEvery  = 30 * time.Second
	pingEvery     = 120 * time.Second
	filterEvery   = 10 * time.Minute

	announceAtOnce = 70 // entries of an inv message
	addressAtOnce  = 3  // entries of an addr message
)

// chatter is when a peer does each of it the next time.
type chatter struct {
	announce, address, ping, filter time.Time
	// announced is the number of the next transaction to announce.
	announced int
	// floor is the fee filter that it sent last.
	floor int64
}

// conversation keeps honest peers talking.
type conversation struct {
	relay *relay
	rand  *rand.Rand
	// quiet says which peers give nothing.
	quiet func(netip.Addr) bool
	// floor is the lowest fee that they take, in satoshi per 1,000 vbytes.
	floor func(*peer) int64
}

// exponential is a random span of time with a mean.
func exponential(random *rand.Rand, mean time.Duration) time.Duration {
	return time.Duration(random.ExpFloat64() * float64(mean))
}

// writeTime bounds how long a peer waits for the node to read.
const writeTime = 10 * time.Second

// step has each of the peers do what is due. A peer whose connection has ended is forgotten.
func (c *conversation) step(peers map[*peer]netip.Addr, now time.Time) {
	known := c.relay.known
	for p := range known {
		if _, still := peers[p]; !still {
			delete(known, p)
		}
	}
	for p, address := range peers {
		if p.isClosed() {
			continue
		}
		_ = p.conn.SetWriteDeadline(now.Add(writeTime))
		state := known[p]
		if state == nil {
			state = c.welcome(p, address, now)
			known[p] = state
		}
		// What can't be written is the end of the connection, which shows itself.
		_ = c.talk(p, state, c.quiet(address), now)
	}
}

// welcome is what a peer does when it is new.
func (c *conversation) welcome(p *peer, address netip.Addr, now time.Time) *chatter {
	state := &chatter{
		announce: now.Add(exponential(c.rand, announceEvery)), address: now.Add(exponential(c.rand, addressEvery)),
		ping:      now.Add(exponential(c.rand, pingEvery)),
		announced: c.relay.length(),
	}
	if c.quiet(address) {
		return state
	}
	if own, err := addrMessage([]netip.Addr{address}, now, gossipPort, gossipServices); err == nil {
		_ = p.send(own)
	}
	if headers := c.relay.tipHeader(); headers != nil {
		_ = p.send(headers)
	}
	return state
}

func (c *conversation) talk(p *peer, state *chatter, quiet bool, now time.Time) error {
	if now.After(state.ping) {
		state.ping = now.Add(exponential(c.rand, pingEvery))
		if err := p.send(wire.NewMsgPing(randomNonce())); err != nil {
			return err
		}
	}
	if floor := c.floor(p); floor != state.floor || now.After(state.filter) {
		state.filter, state.floor = now.Add(exponential(c.rand, filterEvery)), floor
		if err := p.sendRaw(message("feefilter", binary.LittleEndian.AppendUint64(nil, uint64(floor)))); err != nil {
			return err
		}
	}
	if quiet {
		return nil
	}
	if now.After(state.announce) {
		state.announce = now.Add(exponential(c.rand, announceEvery))
		hashes, next := c.relay.since(state.announced, max(announceAtOnce, (c.relay.length()-state.announced)/4))
		state.announced = next
		if len(hashes) > 0 {
			if err := p.sendRaw(inventory("inv", wire.InvTypeTx, len(hashes), func(i int) chainhash.Hash { return hashes[i] })); err != nil {
				return err
			}
		}
	}
	if now.After(state.address) {
		state.address = now.Add(exponential(c.rand, addressEvery))
		addresses := make([]netip.Addr, 1+c.rand.IntN(addressAtOnce))
		for i := range addresses {
			addresses[i] = remote(c.rand.IntN(knownAddresses), 0x0203)
		}
		list, err := addrMessage(addresses, now.Add(-time.Hour), gossipPort, gossipServices)
		if err != nil {
			return err
		}
		return p.send(list)
	}
	return nil
}

// knownAddresses is how many addresses honest peers tell of one another.
const knownAddresses = 1000

// converse keeps the peers that a function lists talking until ctx ends.
func (c *conversation) converse(ctx context.Context, peers func() map[*peer]netip.Addr) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			c.step(peers(), now)
		}
	}
}

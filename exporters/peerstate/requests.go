package peerstate

import (
	"time"

	"github.com/peerobserver/peerobserver/exporters/decode"
)

// RequestObservation is what happened to requests of the node.
type RequestObservation struct {
	// Requested counts what was asked for now.
	Requested uint64
	// Delivered says that something arrived that was asked for, Delay nanoseconds ago;
	// Unrequested that it wasn't.
	Delivered, Unrequested bool
	Delay                  int64
	// NotFound counts what a peer says it doesn't have, TimedOut what nobody sent in
	// time, Disconnected what was still open when the peer was gone.
	NotFound, TimedOut, Disconnected uint64
	// Forgotten counts requests that were dropped because too many are open.
	Forgotten uint64
}

const (
	maxTxRequests    = 65_536
	maxBlockRequests = 4096
)

// The times after which the node asks another peer (txrequest's GETDATA_TX_INTERVAL)
// or gives up on one (BLOCK_DOWNLOAD_TIMEOUT_BASE), in nanoseconds.
const (
	txTimeout    = int64(60 * time.Second)
	blockTimeout = int64(10 * time.Minute)
)

// requests follows what the node asked its peers for: a ring in the order of time,
// found by hash.
type requests struct {
	ring    []request
	index   map[uint64]int32
	head    int
	count   int
	timeout int64
}

type request struct {
	hash uint64
	peer peerKey
	at   int64
	open bool
}

func (r *requests) init(size int, timeout int64) {
	r.ring = make([]request, size)
	r.index = make(map[uint64]int32)
	r.timeout = timeout
}

// ask notes a request.
func (r *requests) ask(s *State, hash uint64, p *Peer, o *RequestObservation) {
	o.Requested++
	if i, ok := r.index[hash]; ok {
		// The node asks another peer, or the same again: the old request has failed.
		r.close(int(i))
		r.lost(s, int(i), o)
	}
	if r.count == len(r.ring) {
		if r.ring[r.head].open {
			o.Forgotten++
			r.close(r.head)
			r.release(s, r.head)
		}
		r.head, r.count = (r.head+1)%len(r.ring), r.count-1
	}
	i := (r.head + r.count) % len(r.ring)
	r.ring[i] = request{hash: hash, peer: p.key, at: s.at, open: true}
	r.index[hash] = int32(i)
	r.count++
	p.outstanding++
}

func (r *requests) close(i int) {
	r.ring[i].open = false
	delete(r.index, r.ring[i].hash)
}

// release takes a request off the peer's account; nil when the peer is gone.
func (r *requests) release(s *State, i int) *Peer {
	p := s.table.find(r.ring[i].peer)
	if p != nil {
		p.outstanding--
	}
	return p
}

// lost settles a request that was not fulfilled.
func (r *requests) lost(s *State, i int, o *RequestObservation) {
	if p := r.release(s, i); p != nil {
		o.TimedOut++
		p.count(ActivityMissedTransactions, s.now, 1)
	} else {
		o.Disconnected++
	}
}

// deliver settles a request by one of the hashes that it may have been made with.
func (r *requests) deliver(s *State, o *RequestObservation, hashes ...uint64) bool {
	for _, hash := range hashes {
		i, ok := r.index[hash]
		if !ok {
			continue
		}
		o.Delivered = true
		o.Delay = max(s.at-r.ring[i].at, 0)
		r.close(int(i))
		r.release(s, int(i))
		return true
	}
	o.Unrequested = true
	return false
}

// notFound settles a request that the peer can't fulfil.
func (r *requests) notFound(s *State, hash uint64, o *RequestObservation) {
	if i, ok := r.index[hash]; ok {
		r.close(int(i))
		r.release(s, int(i))
		o.NotFound++
	}
}

// maxExpire bounds the requests that one event lets expire.
const maxExpire = 256

// expire settles the requests that are too old.
func (r *requests) expire(s *State, o *RequestObservation) {
	for range maxExpire {
		if r.count == 0 {
			return
		}
		q := &r.ring[r.head]
		if q.open {
			if s.now-q.at < r.timeout {
				return
			}
			r.close(r.head)
			r.lost(s, r.head, o)
		}
		r.head, r.count = (r.head+1)%len(r.ring), r.count-1
	}
}

// countItems counts the items of a message and calls f, which may be nil, for each that
// is there.
func (s *State) countItems(m *decode.Message, o *Observation, f func(t decode.ItemType, hash []byte)) {
	there := uint64(0)
	for it := decode.ItemsOf(m.Body); it.Next(); there++ {
		o.Items[it.Type]++
		if f != nil {
			f(it.Type, it.Hash)
		}
	}
	o.ItemTotal = max(m.ElementCount, there)
	// What was cut off is counted as unknown, so that the sum is right.
	o.Items[decode.ItemUnknown] += o.ItemTotal - there
}

func (s *State) receivedInv(p *Peer, m *decode.Message, o *Observation) {
	s.countItems(m, o, func(t decode.ItemType, hash []byte) {
		if t.IsBlock() {
			s.chain.announced(s, hash, ViaInv, 0, o)
		}
	})
	p.count(ActivityInvEntries, s.now, o.ItemTotal)
}

func (s *State) receivedGetData(p *Peer, m *decode.Message, o *Observation) {
	s.countItems(m, o, func(t decode.ItemType, hash []byte) {
		switch {
		case t.IsBlock():
			if p.servedBlocks == nil {
				p.servedBlocks = new(served)
			}
			if p.servedBlocks.ask(s.hash(hash), s.now) {
				o.RepeatedBlocks++
			}
		case t.IsTransaction():
			if p.servedTxs == nil {
				p.servedTxs = new(served)
			}
			if p.servedTxs.ask(s.hash(hash), s.now) {
				o.RepeatedTxs++
			}
		}
	})
	p.count(ActivityGetDataEntries, s.now, o.ItemTotal)
	p.count(ActivityRepeatedBlocks, s.now, o.RepeatedBlocks)
	p.count(ActivityRepeatedTransactions, s.now, o.RepeatedTxs)
}

func (s *State) sentGetData(p *Peer, m *decode.Message, o *Observation) {
	s.countItems(m, o, func(t decode.ItemType, hash []byte) {
		switch {
		case t.IsBlock():
			s.blocks.ask(s, s.hash(hash), p, &o.Block)
			s.chain.requested(s, hash)
		case t.IsTransaction():
			s.txs.ask(s, s.hash(hash), p, &o.Tx)
		}
	})
}

func (s *State) receivedNotFound(m *decode.Message, o *Observation) {
	s.countItems(m, o, func(t decode.ItemType, hash []byte) {
		switch {
		case t.IsBlock():
			s.blocks.notFound(s, s.hash(hash), &o.Block)
		case t.IsTransaction():
			s.txs.notFound(s, s.hash(hash), &o.Tx)
		}
	})
}

func (s *State) receivedTx(m *decode.Message, o *Observation) {
	txid, wtxid, _, ok := decode.TransactionOf(m.Body)
	if !ok || !intact(m) {
		return
	}
	s.txs.deliver(s, &o.Tx, s.hash(wtxid), s.hash(txid))
}

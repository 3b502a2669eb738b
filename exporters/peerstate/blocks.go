package peerstate

import (
	"slices"
	"time"

	"github.com/peerobserver/peerobserver/exporters/decode"
)

// Via is how a block was announced.
type Via uint8

// The ways.
const (
	ViaInv Via = iota
	ViaHeaders
	ViaCompactBlock
	// Vias is the number of ways.
	Vias
)

var viaNames = [Vias]string{"inv", "headers", "cmpctblock"}

// String is the name of the message type.
func (v Via) String() string { return viaNames[v] }

// Phase is a part of a block's way into the node's chain.
type Phase uint8

// The phases. The first announcement is that of any peer.
const (
	// PhaseRequest: from the first announcement to the node's request.
	PhaseRequest Phase = iota
	// PhaseDownload: from the request to the arrival of the block.
	PhaseDownload
	// PhaseDelivery: from the first announcement to the arrival of the whole block.
	PhaseDelivery
	// PhaseReconstruction: from a compact block to the missing transactions.
	PhaseReconstruction
	// PhaseConnect: from the arrival of the whole block to its connection.
	PhaseConnect
	// PhaseTotal: from the first announcement to the connection.
	PhaseTotal
	// PhaseRelay: from the first announcement by a peer to the first by the node.
	PhaseRelay
	// Phases is the number of phases.
	Phases
)

var phaseNames = [Phases]string{
	"announcement_to_request", "request_to_delivery", "announcement_to_delivery", "compact_block_to_transactions",
	"delivery_to_connection", "announcement_to_connection", "announcement_to_relay",
}

// String is the name of the phase.
func (p Phase) String() string { return phaseNames[p] }

// CompactObservation is a compact block that became whole.
type CompactObservation struct {
	// HasOutcome says that it became whole now, as far as was known before.
	HasOutcome bool
	// HighBandwidth says that it came without being asked for.
	HighBandwidth bool
	// Requested says that transactions had to be requested.
	Requested bool
	// Duration is the time in nanoseconds from the compact block to the whole one; 0
	// when the compact block wasn't seen.
	Duration int64
	// Transactions by where they came from, and the bytes that were requested. They are
	// known (HasCounts) from a tracepoint or a log line only.
	HasCounts                                 bool
	Prefilled, FromMempool, FromExtra, Missed uint64
	MissedBytes                               uint64
}

const (
	// maxBlocks bounds the blocks that are followed at a time.
	maxBlocks = 256
	// maxAnnouncedHeaders is the largest number of headers that announces blocks
	// (MAX_BLOCKS_TO_ANNOUNCE); more are an answer to getheaders.
	maxAnnouncedHeaders = 8
	// freshHeader is the age of a header's time up to which its first sight is taken
	// for the announcement of a new block, in nanoseconds.
	freshHeader = int64(2 * time.Hour)
	// lateAnnouncement is the time after which the announcement of a block says
	// nothing about how it spread, in nanoseconds.
	lateAnnouncement = int64(10 * time.Minute)
	// maxAnnouncers bounds the peers whose announcement of a block is remembered. A
	// node has 125 connections by default.
	maxAnnouncers = 128
)

// block is the way of one block. Times are UNIX nanoseconds, 0 when not seen.
type block struct {
	hash                          uint64
	announced, requested, compact int64
	missing, transactions, whole  int64
	connected, relayed            int64
	highBandwidth                 bool
	// announcers are the ids of the peers that announced it, in the order in which they
	// did.
	announcers []uint64
	// outcome, counts and duration say what was reported of its reconstruction.
	outcome, counts, duration bool
}

// propagation follows blocks on their way.
type propagation struct {
	ring  [maxBlocks]block
	index map[uint64]int
	next  int
	// height of the last connected block, -1 when not known.
	height int32
}

func (c *propagation) init() {
	c.index = make(map[uint64]int, maxBlocks)
	c.height = -1
}

// restart forgets the chain's height: the node may connect blocks again.
func (c *propagation) restart() { c.height = -1 }

func (c *propagation) find(hash uint64) *block {
	if i, ok := c.index[hash]; ok {
		return &c.ring[i]
	}
	return nil
}

func (c *propagation) add(hash uint64) *block {
	b := &c.ring[c.next]
	if b.hash != 0 {
		delete(c.index, b.hash)
	}
	*b = block{hash: hash, announcers: b.announcers[:0]}
	c.index[hash] = c.next
	c.next = (c.next + 1) % maxBlocks
	return b
}

// announced takes the announcement of a block by a peer. headerTime is the miner's, in
// UNIX seconds, 0 when not known.
func (c *propagation) announced(s *State, hash []byte, via Via, headerTime uint32, o *Observation) {
	key := s.hash(hash)
	offset := s.at - int64(headerTime)*int64(time.Second)
	b := c.find(key)
	if b == nil {
		if headerTime != 0 && offset > freshHeader {
			return
		}
		b = c.add(key)
		b.announced = s.at
		o.Announced, o.First, o.Via, o.BlockHash = true, true, via, hash
	} else if s.at-b.announced <= lateAnnouncement && b.announced != 0 && b.newAnnouncer(o.Peer) {
		o.Announced, o.Via, o.BlockHash = true, via, hash
		o.AnnounceDelay = max(s.at-b.announced, 0)
	}
	if o.First && o.Peer != nil {
		b.announcers = append(b.announcers, o.Peer.ID())
	}
	if o.Announced {
		o.AnnounceRank = len(b.announcers)
	}
	if o.First && headerTime != 0 {
		o.HasHeaderTime, o.HeaderTimeOffset = true, offset
	}
}

// newAnnouncer notes that a peer announced the block; false when it has done so before, or
// when too many have.
func (b *block) newAnnouncer(p *Peer) bool {
	if p == nil || len(b.announcers) >= maxAnnouncers || slices.Contains(b.announcers, p.ID()) {
		return false
	}
	b.announcers = append(b.announcers, p.ID())
	return true
}

// requested notes that the node asks for a block.
func (c *propagation) requested(s *State, hash []byte) {
	if b := c.find(s.hash(hash)); b != nil && b.requested == 0 {
		b.requested = s.at
	}
}

// relayed notes that the node announces a block.
func (c *propagation) relayed(s *State, hash []byte, o *Observation) {
	b := c.find(s.hash(hash))
	if b == nil || b.relayed != 0 {
		return
	}
	b.relayed = s.at
	o.BlockHash = hash
	c.clearPhases(o)
	o.Phases[PhaseRelay] = between(b.announced, b.relayed)
}

func (c *propagation) clearPhases(o *Observation) {
	if o.HasPhases {
		return
	}
	o.HasPhases = true
	for i := range o.Phases {
		o.Phases[i] = -1
	}
}

// arrived notes that a whole block is there.
func (c *propagation) arrived(s *State, key uint64) {
	if b := c.find(key); b != nil && b.whole == 0 {
		b.whole = s.at
	}
}

func (c *propagation) getBlockTxn(s *State, m *decode.Message) {
	if hash, ok := decode.BlockHashOf(m.Body); ok {
		if b := c.find(s.hash(hash)); b != nil && b.missing == 0 {
			b.missing = s.at
		}
	}
}

func (c *propagation) blockTxn(s *State, m *decode.Message) {
	if hash, ok := decode.BlockHashOf(m.Body); ok {
		if b := c.find(s.hash(hash)); b != nil && b.transactions == 0 {
			b.transactions = s.at
			c.arrived(s, b.hash)
		}
	}
}

// between is the time from one station to another, -1 when one of them wasn't seen.
func between(from, to int64) int64 {
	if from == 0 || to == 0 || to < from {
		return -1
	}
	return to - from
}

// connected takes a block that the node connected to its chain.
func (c *propagation) connected(s *State, v *decode.Validation, o *Observation) {
	if c.height >= 0 && v.Height <= c.height {
		o.ReorgDepth = c.height - v.Height + 1
	}
	c.height = v.Height
	o.BlockHash = v.Hash
	b := c.find(s.hash(v.Hash))
	if b == nil || b.connected != 0 {
		return
	}
	b.connected = s.at
	whole := b.whole
	if whole == 0 && b.missing == 0 {
		// Nothing had to be requested: the compact block was all.
		whole = b.compact
	}
	requested := b.requested
	if b.highBandwidth {
		requested = 0
	}
	c.clearPhases(o)
	o.Phases[PhaseRequest] = between(b.announced, requested)
	o.Phases[PhaseDownload] = between(requested, max(b.compact, b.whole))
	o.Phases[PhaseDelivery] = between(b.announced, whole)
	o.Phases[PhaseReconstruction] = between(b.compact, b.transactions)
	// The tracepoint is hit after connecting, which took this long.
	o.Phases[PhaseConnect] = between(whole, b.connected)
	o.Phases[PhaseTotal] = between(b.announced, b.connected)
	if b.compact != 0 && !b.outcome {
		b.outcome = true
		o.Compact = CompactObservation{
			HasOutcome: true, HighBandwidth: b.highBandwidth, Requested: b.missing != 0,
			// When nothing was missing, only who reports the reconstruction knows when
			// it was done.
			Duration: max(between(b.compact, whole), 0),
		}
		b.duration = o.Compact.Duration > 0
	}
}

// reconstructed takes a compact block that became whole, as the node says itself.
func (s *State) reconstructed(v *decode.Validation, o *Observation) {
	o.Peer = s.table.find(peerKey{s.start, v.PeerID})
	s.Reconstructed(v.Hash, CompactObservation{
		Requested: v.Requested > 0,
		Prefilled: v.Prefilled, FromMempool: v.FromMempool, FromExtra: v.FromExtraPool, Missed: v.Requested,
		MissedBytes: v.RequestedBytes,
	}, s.at, o)
}

// Reconstructed takes a reconstruction that some other event tells of, such as a line
// of debug.log. The hash has internal byte order; at is when it was done, in UNIX
// nanoseconds, 0 when that isn't known exactly. Each block counts once.
func (s *State) Reconstructed(hash []byte, c CompactObservation, at int64, o *Observation) {
	key := s.hash(hash)
	b := s.chain.find(key)
	if b == nil {
		b = s.chain.add(key)
	}
	if b.counts {
		return
	}
	b.counts = true
	c.HasCounts = true
	c.HasOutcome = !b.outcome
	b.outcome = true
	c.HighBandwidth = b.highBandwidth
	if !b.duration {
		c.Duration = max(between(b.compact, at), 0)
		b.duration = c.Duration > 0
	}
	s.chain.arrived(s, key)
	o.Compact, o.BlockHash = c, hash
}

// headerBytes is the size of a header in a headers message: 80 bytes and an empty list
// of transactions.
const headerBytes = 81

// headerCount is the number of headers of a headers message, by its size where the
// producer doesn't say.
func headerCount(m *decode.Message) uint64 {
	if m.HasCount {
		return m.ElementCount
	}
	return m.Size / headerBytes
}

func (s *State) receivedHeaders(m *decode.Message, o *Observation) {
	if headerCount(m) > maxAnnouncedHeaders || !intact(m) {
		return
	}
	for it := decode.HeadersOf(m.Body); it.Next(); {
		s.chain.announced(s, it.Hash, ViaHeaders, it.Time, o)
	}
}

func (s *State) receivedCompactBlock(m *decode.Message, o *Observation) {
	h, ok := decode.BlockHeaderOf(m.Body)
	if !ok {
		return
	}
	key := s.hash(h.Hash)
	o.BlockHash = h.Hash
	asked := s.blocks.deliver(s, &o.Block, key)
	// A compact block that nobody asked for is an announcement, not a surprise.
	o.Block.Unrequested = false
	if !asked {
		s.chain.announced(s, h.Hash, ViaCompactBlock, h.Time, o)
	}
	if b := s.chain.find(key); b != nil && b.compact == 0 {
		b.compact = s.at
		b.highBandwidth = !asked
	}
}

func (s *State) receivedBlock(m *decode.Message, o *Observation) {
	h, ok := decode.BlockHeaderOf(m.Body)
	if !ok {
		return
	}
	key := s.hash(h.Hash)
	o.BlockHash = h.Hash
	s.blocks.deliver(s, &o.Block, key)
	s.chain.arrived(s, key)
}

// Package peerstate follows what a node's peers do, from the events alone: which peers
// there are, what they were asked for and delivered, how blocks arrive, which addresses
// are rumoured, how much the node's message thread works for whom. It is shared by the
// sinks that need more than counting.
//
// Its clock is the time of the events, so that live, over NATS and from an archive it
// comes to the same result. What it holds is bounded: exact for the few peers of a
// node, in sketches for everything that peers can make up. The work for an event is
// bounded too, but for the lists that a message carries.
package peerstate

import (
	"encoding/binary"
	"hash/maphash"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/exporters/netgroup"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// Config says how the state is kept.
type Config struct {
	// Networks knows groups, autonomous systems and prefix lists; netgroup.Builtin when
	// nil.
	Networks *netgroup.Data
	// Seed is that of all hashes; random when zero. States with the same seed come to
	// equal estimates.
	Seed maphash.Seed
}

// tickEvery is how often the summary is computed, in nanoseconds of the clock.
const tickEvery = int64(10e9)

// State is what is known of the peers of one node. It belongs to one goroutine.
type State struct {
	networks *netgroup.Data
	seed     maphash.Seed

	// now is the time of the newest event, in UNIX nanoseconds; nextTick the time of
	// the next summary.
	now, nextTick int64
	// at is the time of the event that is being observed. It may lie before now: the
	// sources take different times to deliver. What is measured between two events of
	// the tracepoints is measured with it.
	at    int64
	steps steps
	// start is the start of the node's process, watched whether its tracepoints are
	// known to have been looked at since.
	start   int64
	watched bool
	// sequence is the number of the last event of the eBPF source in a run of the
	// agent, lossEpoch counts the gaps in it.
	bootID, sequence, lossEpoch uint64

	table       table
	wire        wire
	service     service
	txs, blocks requests
	chain       propagation
	gossip      gossip
	mempool     mempool
	openings    openings
	introduced  introductions
	clocks      clocks
	// inflight is since when each height is being downloaded.
	inflight map[uint64]int64
	addrman  addrman
	heard    heard

	seen Observation
}

// New makes an empty state.
func New(config Config) *State {
	if config.Networks == nil {
		config.Networks = netgroup.Builtin()
	}
	if config.Seed == (maphash.Seed{}) {
		config.Seed = maphash.MakeSeed()
	}
	s := new(State)
	s.init(config.Networks, config.Seed)
	return s
}

// init makes an empty state of any.
func (s *State) init(networks *netgroup.Data, seed maphash.Seed) {
	*s = State{networks: networks, seed: seed, inflight: map[uint64]int64{}}
	s.table.init()
	s.txs.init(maxTxRequests, txTimeout)
	s.blocks.init(maxBlockRequests, blockTimeout)
	s.service.init()
	s.chain.init()
	s.gossip.init()
	s.mempool.init()
	s.openings.init()
	s.introduced.init()
}

// Observation is what one event added to the state. It is valid until the next event.
type Observation struct {
	// Peer is the peer that the event is about, nil when it is about none. After the
	// event that it was closed the state no longer holds it.
	Peer *Peer

	// Stepped says that the clock of the events was set; the state has begun anew.
	Stepped Step

	// Items counts the inventory items of an inv, getdata or notfound message by type;
	// ItemTotal all of them, as announced, also when the list was cut off.
	Items     [decode.ItemTypes]uint64
	ItemTotal uint64
	// Repeated counts the items of a received getdata that the peer had asked for
	// before.
	RepeatedBlocks, RepeatedTxs uint64

	// Addr is what an addr or addrv2 message holds.
	Addr AddrObservation

	// Service is the work for a message that has ended with this event.
	Service Service

	// Requests that the node made, and how they ended.
	Tx, Block RequestObservation

	// Announced says that a received message announced a block, which its peer had not
	// done before: First that it was the first to do so, with its way; otherwise
	// AnnounceDelay is the time since the first. AnnounceRank is the peer's place in the
	// order of announcements, 1 for the first.
	Announced     bool
	First         bool
	Via           Via
	AnnounceDelay int64
	AnnounceRank  int
	// HeaderTimeOffset is the time of the first announcement minus the header's, in
	// nanoseconds; HasHeaderTime says that it is known.
	HeaderTimeOffset int64
	HasHeaderTime    bool
	// Phases are the times between the stations of a block that was connected, in
	// nanoseconds; negative when a station wasn't seen.
	Phases     [Phases]int64
	HasPhases  bool
	ReorgDepth int32
	// BlockHash is that of the block which the event is about, in internal byte order;
	// nil when it is about none.
	BlockHash []byte
	// Compact is a compact block that became whole.
	Compact CompactObservation

	// Replacement is the number of replacements that led to a transaction that was
	// replaced now, counting this one. Readded says that a transaction entered the
	// mempool that had been replaced before.
	Replacement uint32
	Readded     bool

	// Summary is set when it was computed anew.
	Summary *Summary
}

// hash gives the seeded hash of bytes.
func (s *State) hash(b []byte) uint64 { return maphash.Bytes(s.seed, b) }

// hashWithPort gives the seeded hash of an address and a port. Both go through the hash: were the
// port mixed in after it, whoever chooses ports would know how the hashes of one address differ,
// whatever the seed.
func (s *State) hashWithPort(address []byte, port uint32) uint64 {
	const longest = 80 // an address of Tor or I2P as text, and the port
	var room [longest]byte
	return s.hash(binary.LittleEndian.AppendUint32(append(room[:0], address...), port))
}

// Now is the state's clock: the time of the newest event in UNIX nanoseconds.
func (s *State) Now() int64 { return s.now }

// maxLeap bounds how far an event may set the clock forward when it isn't the first,
// in nanoseconds: a time from a broken clock must not put everything out of date.
const maxLeap = int64(366 * 86_400e9)

// Advance sets the clock to a time in UNIX nanoseconds; it never goes back.
func (s *State) Advance(at int64) {
	if at > s.now && (s.now == 0 || at-s.now < maxLeap) {
		s.now = at
	}
}

// Observe takes the next event, with what decode made of it when it is of a kind that
// decode reads.
func (s *State) Observe(e *event.Event, d *decode.Event) *Observation {
	o := &s.seen
	at, stepped := e.Time().UnixNano(), Step(0)
	if s.steps.set(s.now, at) {
		stepped = StepForward
		if at < s.now {
			stepped = StepBack
		}
		s.step(at)
	}
	*o = Observation{Stepped: stepped}
	s.at = at
	s.Advance(s.at)
	if e.NodeStartTime != 0 && e.NodeStartTime < s.start {
		// What is left of a process that has ended.
		return o
	}
	s.begin(e.NodeStartTime)
	if e.Source == event.SourceEBPF {
		s.watched = true
		s.gaps(e)
		if asked := s.wire.pending.asked; asked != 0 && s.at > asked {
			s.compare()
		}
		s.hits(e, d, o)
	}
	switch d.Kind {
	case event.KindMessage:
		s.message(&d.Message, o)
	case event.KindConnectionInbound, event.KindConnectionOutbound:
		s.opened(d.Kind, &d.Connection, o)
	case event.KindConnectionClosed:
		s.closed(&d.Connection, o)
	case event.KindConnectionMisbehaving, event.KindConnectionInboundEvicted:
		o.Peer = s.table.find(peerKey{s.start, d.Connection.PeerID})
	case event.KindMempoolAdded:
		s.mempool.added(s, &d.Mempool, o)
	case event.KindMempoolReplaced:
		s.mempool.replaced(s, &d.Mempool, o)
	case event.KindValidationBlockConnected:
		s.chain.connected(s, &d.Validation, o)
	case event.KindValidationCompactBlockReconstructed:
		s.reconstructed(&d.Validation, o)
	}
	s.tick(o)
	return o
}

// gaps notices events of the tracepoints that were lost on the way.
func (s *State) gaps(e *event.Event) {
	if e.Sequence == 0 {
		return
	}
	if e.BootID == s.bootID && e.Sequence > s.sequence+1 {
		s.lossEpoch++
		s.service.interrupt()
	}
	s.bootID, s.sequence = e.BootID, e.Sequence
}

// begin forgets what ended with the node's process.
func (s *State) begin(start int64) {
	if start == 0 || start == s.start {
		return
	}
	if s.start != 0 {
		s.table.each(func(p *Peer) {
			s.finish(p)
			s.table.remove(p)
		})
		s.service.interrupt()
		s.chain.restart()
	}
	s.start, s.watched = start, false
}

// Watching notes that the agent looks at the tracepoints of the node's process that was
// started at a time in UNIX nanoseconds. From then on, seeing nothing means that
// something is wrong.
func (s *State) Watching(start int64) {
	if start == s.start {
		s.watched = true
	}
}

// Peer gives the peer with an id of the node that runs now, nil when it isn't known.
func (s *State) Peer(id uint64) *Peer { return s.table.find(peerKey{s.start, id}) }

func (s *State) opened(kind event.Kind, c *decode.Connection, o *Observation) {
	key := peerKey{s.start, c.PeerID}
	p := s.table.find(key)
	if p == nil {
		p = s.newPeer(key)
	}
	s.describe(p, c.Address, c.ConnectionType, kind == event.KindConnectionInbound)
	if c.Network < uint32(netgroup.Networks) {
		p.Network = netgroup.Network(c.Network)
		s.locate(p)
	}
	p.Opened, p.SeenOpening = s.at, true
	s.table.touch(p, s.now)
	if p.Inbound {
		s.openings.add(p.Group, s.now)
	}
	o.Peer = p
}

func (s *State) closed(c *decode.Connection, o *Observation) {
	p := s.table.find(peerKey{s.start, c.PeerID})
	if p == nil {
		return
	}
	s.finish(p)
	s.table.remove(p)
	o.Peer = p
}

// message takes a P2P message.
func (s *State) message(m *decode.Message, o *Observation) {
	p := s.peerOf(s.start, m)
	o.Peer = p
	s.wire.message(p, m)
	if m.Inbound {
		p.count(ActivityBytesReceived, s.now, m.Size)
		s.receivedMessage(p, m, o)
	} else {
		p.count(ActivityBytesSent, s.now, m.Size)
		s.sentMessage(p, m, o)
	}
}

// intact is whether the content of a message is there to be read.
func intact(m *decode.Message) bool {
	return m.PayloadState == eventpb.PayloadState_PAYLOAD_STATE_UNSPECIFIED
}

func (s *State) receivedMessage(p *Peer, m *decode.Message, o *Observation) {
	switch m.Type {
	case decode.MessagePing:
		p.count(ActivityPings, s.now, 1)
	case decode.MessageInv:
		s.receivedInv(p, m, o)
	case decode.MessageGetData:
		s.receivedGetData(p, m, o)
	case decode.MessageNotFound:
		s.receivedNotFound(m, o)
	case decode.MessageTx:
		s.receivedTx(m, o)
	case decode.MessageHeaders:
		s.receivedHeaders(m, o)
	case decode.MessageCmpctBlock:
		s.receivedCompactBlock(m, o)
	case decode.MessageBlock:
		s.receivedBlock(m, o)
	case decode.MessageBlockTxn:
		s.chain.blockTxn(s, m)
	case decode.MessageAddr, decode.MessageAddrV2:
		s.gossip.message(s, p, m, o)
	case decode.MessageVersion:
		s.receivedVersion(p, m)
	case decode.MessageGetAddr:
		s.introduced.getAddr(p, s.now)
	case decode.MessageGetHeaders, decode.MessageGetBlocks:
		p.count(ActivityHeaderQueries, s.now, 1)
	case decode.MessageGetCFilters, decode.MessageGetCFHeaders, decode.MessageGetCFCheckpt:
		p.count(ActivityFilterQueries, s.now, 1)
	case decode.MessageMempool, decode.MessageFilterLoad:
		p.count(ActivityMempoolQueries, s.now, 1)
	}
}

func (s *State) sentMessage(p *Peer, m *decode.Message, o *Observation) {
	switch m.Type {
	case decode.MessageInv:
		s.countItems(m, o, func(t decode.ItemType, hash []byte) {
			if t.IsBlock() {
				s.chain.relayed(s, hash, o)
			}
		})
	case decode.MessageGetData:
		s.sentGetData(p, m, o)
	case decode.MessageNotFound:
		s.countItems(m, o, nil)
		p.count(ActivityNotFoundEntries, s.now, o.ItemTotal)
	case decode.MessageHeaders:
		if headerCount(m) <= maxAnnouncedHeaders {
			for it := decode.HeadersOf(m.Body); it.Next(); {
				s.chain.relayed(s, it.Hash, o)
			}
		}
	case decode.MessageCmpctBlock:
		if h, ok := decode.BlockHeaderOf(m.Body); ok {
			s.chain.relayed(s, h.Hash, o)
		}
	case decode.MessageGetBlockTxn:
		s.chain.getBlockTxn(s, m)
	case decode.MessageAddr, decode.MessageAddrV2:
		s.gossip.sent(s, p, m, o)
	case decode.MessageGetAddr:
		p.getAddrSent = true
		p.addrTokens += addrBurst
	}
}

func (s *State) receivedVersion(p *Peer, m *decode.Message) {
	v, ok := decode.VersionOf(m.Body)
	if !ok {
		return
	}
	p.UserAgent = s.hash(v.UserAgent)
	if !p.Version {
		// The node ignores all but the first.
		s.introduced.version(p, s.now)
		direction := Outbound
		if p.Inbound {
			direction = Inbound
		}
		s.clocks.add(direction, v.Timestamp, s.at, s.now)
	}
	p.Version = true
}

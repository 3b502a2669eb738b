package peerstate

import (
	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/exporters/netgroup"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// maxPeers bounds the peers that are remembered; a node has 125 connections by
// default. When there are more, the one that has been silent longest is forgotten.
const maxPeers = 2048

// Activity is something a peer does that is counted by the minute, because much of it
// is a sign of abuse.
type Activity uint8

// The activities.
const (
	// ActivityPings: pings that the peer sent.
	ActivityPings Activity = iota
	// ActivityInvEntries: inventory items that it announced.
	ActivityInvEntries
	// ActivityGetDataEntries: inventory items that it asked for.
	ActivityGetDataEntries
	// ActivityNotFoundEntries: items that it asked for and the node didn't have.
	ActivityNotFoundEntries
	// ActivityRepeatedBlocks: blocks that it asked for more than once.
	ActivityRepeatedBlocks
	// ActivityRepeatedTransactions: transactions that it asked for more than once.
	ActivityRepeatedTransactions
	// ActivityAddrMessages: addr and addrv2 messages that it sent.
	ActivityAddrMessages
	// ActivityAddrLimited: addresses beyond the node's rate limit.
	ActivityAddrLimited
	// ActivityHeaderQueries: getheaders and getblocks messages.
	ActivityHeaderQueries
	// ActivityFilterQueries: getcfilters, getcfheaders and getcfcheckpt messages.
	ActivityFilterQueries
	// ActivityMempoolQueries: mempool and filterload messages.
	ActivityMempoolQueries
	// ActivityMissedTransactions: transactions that the node asked it for and didn't
	// get.
	ActivityMissedTransactions
	// ActivityBytesSent: payload bytes that the node sent to it.
	ActivityBytesSent
	// ActivityBytesReceived: payload bytes that it sent.
	ActivityBytesReceived
	// Activities is the number of activities.
	Activities
)

var activityNames = [Activities]string{
	"pings", "inv_entries", "getdata_entries", "notfound_entries", "repeated_blocks", "repeated_transactions",
	"addr_messages", "addr_rate_limited", "header_queries", "filter_queries", "mempool_queries",
	"missed_transactions", "bytes_sent", "bytes_received",
}

// String is the name of the activity.
func (a Activity) String() string { return activityNames[a] }

// transport is the transport protocol of a connection.
type transport uint8

const (
	transportUnknown transport = iota
	transportV1
	transportV2
)

// traffic is the wire bytes of one direction of a connection, as they would be with
// each transport, because which one it is becomes known later.
type traffic struct{ v1, v2 uint64 }

func (t *traffic) of(v transport) uint64 {
	if v == transportV2 {
		return t.v2
	}
	return t.v1
}

// Peer is what is known of one connection of the node.
type Peer struct {
	key peerKey
	// Address is the peer's, when HasAddress says that it could be read.
	Address    netgroup.Address
	HasAddress bool
	// Network is the network that the connection came over: an inbound connection over
	// Tor has a local address.
	Network        netgroup.Network
	Group          netgroup.Group
	ConnectionType eventpb.ConnectionType
	Inbound        bool
	// Lists are the prefix lists that the address is on, as bits.
	Lists uint8
	// Opened is when the connection was made, in UNIX nanoseconds. SeenOpening says
	// that its opening was observed, and so everything since.
	Opened      int64
	SeenOpening bool
	// Version is whether the peer has sent its version message, UserAgent a hash of
	// what it called itself there.
	Version   bool
	UserAgent uint64

	lastSeen  int64
	transport transport
	received  traffic
	sent      traffic
	// counted is what RPC said at its last answer, base the difference to what was
	// observed when the observation began.
	rpc [2]rpcTraffic

	// The address rate limit of the node for this peer, as net_processing.cpp keeps it.
	addrTokens  float64
	addrTime    int64
	getAddrSent bool

	// cpu is the time that the node's message thread spent for this peer: this window
	// and the one before, in microseconds.
	cpu minuteCount
	// cpuOf is the same by message type.
	cpuOf [decode.MessageTypes]minuteCount
	// minutes counts the activities.
	minutes [Activities]minuteCount
	// outstanding counts what the node asked it for and didn't get yet.
	outstanding int
	// served remembers what it asked for.
	servedBlocks, servedTxs *served

	// Neighbours in the order of the last sign of life.
	newer, older *Peer
}

// ID is Bitcoin Core's id of the peer.
func (p *Peer) ID() uint64 { return p.key.id }

// peerKey identifies a connection: ids begin anew with the node's process.
type peerKey struct {
	start int64
	id    uint64
}

// rpcTraffic follows one direction of a connection by RPC.
type rpcTraffic struct {
	// base is what RPC had counted more than was observed when the two were first
	// compared; based says that they were, in the loss epoch given.
	base  int64
	based bool
	epoch uint64
	// observed and counted are the values at the last comparison.
	observed, counted uint64
}

// minuteCount counts in a window that slides in steps of a minute.
type minuteCount struct {
	minute            int32
	current, previous uint32
}

func minuteOf(now int64) int32 { return int32(now / 60e9) }

func (m *minuteCount) add(now int64, n uint64) {
	m.move(minuteOf(now))
	m.current = uint32(min(uint64(m.current)+n, 1<<32-1))
}

func (m *minuteCount) move(minute int32) {
	switch {
	case minute == m.minute || minute < m.minute:
	case minute == m.minute+1:
		m.minute, m.previous, m.current = minute, m.current, 0
	default:
		m.minute, m.previous, m.current = minute, 0, 0
	}
}

// rate is the count of the last minute: the current one, and of the one before the
// share that still lies within 60 seconds.
func (m *minuteCount) rate(now int64) float64 {
	m.move(minuteOf(now))
	part := float64(now%60e9) / 60e9
	return float64(m.current) + float64(m.previous)*(1-part)
}

// count notes that the peer did something n times.
func (p *Peer) count(a Activity, now int64, n uint64) { p.minutes[a].add(now, n) }

// served remembers which things a peer asked for, to see repetition.
type served struct {
	asked uint64
	seen  *seen
}

// The memory of one peer's requests: 1,024 of them in two kilobytes, for at most an
// hour.
const (
	servedCapacity = 1024
	servedLifetime = int64(3600e9)
	servedErrors   = 0.001
	// servedAfter is the number of requests from which on they are remembered: most
	// peers ask for nothing.
	servedAfter = 8
)

// ask notes a request; it gives true when the same was asked for before.
func (s *served) ask(hash uint64, now int64) (repeated bool) {
	s.asked++
	if s.seen == nil {
		if s.asked < servedAfter {
			return false
		}
		s.seen = newSeen(servedCapacity, servedErrors, servedLifetime)
	}
	return !s.seen.add(hash, now)
}

// hasShortID is whether BIP324 has a one-byte id for the message type.
func hasShortID(t decode.MessageType) bool {
	switch t {
	case decode.MessageAddr, decode.MessageBlock, decode.MessageBlockTxn, decode.MessageCmpctBlock,
		decode.MessageFeeFilter, decode.MessageFilterAdd, decode.MessageFilterClear, decode.MessageFilterLoad,
		decode.MessageGetBlocks, decode.MessageGetBlockTxn, decode.MessageGetData, decode.MessageGetHeaders,
		decode.MessageHeaders, decode.MessageInv, decode.MessageMempool, decode.MessageMerkleBlock,
		decode.MessageNotFound, decode.MessagePing, decode.MessagePong, decode.MessageSendCmpct, decode.MessageTx,
		decode.MessageGetCFilters, decode.MessageCFilter, decode.MessageGetCFHeaders, decode.MessageCFHeaders,
		decode.MessageGetCFCheckpt, decode.MessageCFCheckpt, decode.MessageAddrV2, decode.MessageFeature:
		return true
	default:
		return false
	}
}

// Bytes that a transport adds to a payload: the header of v1; of v2 (BIP324) length,
// flags and authentication tag, and the message type as one byte or thirteen.
const (
	overheadV1      = 24
	overheadV2      = 20
	overheadShortID = 1
	overheadLongID  = 13
)

// add counts a message.
func (t *traffic) add(m *decode.Message) {
	t.v1 += m.Size + overheadV1
	if hasShortID(m.Type) {
		t.v2 += m.Size + overheadV2 + overheadShortID
	} else {
		t.v2 += m.Size + overheadV2 + overheadLongID
	}
}

package trace

import (
	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// Limits of what one message may say. Peers choose how much they announce; the node
// announces and requests no more than this (net_processing.cpp:
// MAX_BLOCKS_TO_ANNOUNCE 8, MAX_BLOCKS_IN_TRANSIT_PER_PEER 16). A longer headers
// message is a chain that is being downloaded.
const (
	maxHeaders      = 8
	maxBlockItems   = 16
	maxTransactions = 64
)

// subject is what a step belongs to.
type subject uint8

const (
	subjectBlock subject = iota
	subjectTransaction
	subjectPeer
)

// hash is a block hash or wtxid in internal byte order.
type hash [32]byte

// step is what one event says about one block, transaction or peer. It has a fixed
// size but for its text, so that the queue of steps is bounded in bytes.
type step struct {
	subject subject
	kind    event.Kind
	// at is the time of the event, start that of the node's process, in UNIX
	// nanoseconds.
	at, start int64
	// node is the name of the node.
	node string

	// Of a message.
	message    decode.MessageType
	inbound    bool
	size       uint64
	connection eventpb.ConnectionType
	// headerTime is the miner's time in UNIX seconds, zero when not known.
	headerTime uint32

	peer uint64
	hash hash
	// txid is that of a transaction, hash its wtxid where that is known.
	txid hash
	// text is a reason, address or user agent: cut and cleaned.
	text string
	// address is that of a peer; empty unless addresses may be shown.
	address string
	network uint32
	// established is when a connection was opened, in UNIX seconds.
	established uint64
	// validation is what a validation event tells; its Hash isn't set.
	validation decode.Validation
	version    uint32
	vsize      int32
	fee        int64
}

// sampled says whether a hash is one of those that are traced when one in n is. It
// depends on nothing else, so that all nodes choose the same ones. Hashes of
// transactions are evenly distributed.
func sampled(h []byte, n int) bool {
	if n <= 0 || len(h) != len(hash{}) {
		return false
	}
	v := uint64(h[0])<<24 | uint64(h[1])<<16 | uint64(h[2])<<8 | uint64(h[3])
	return v*uint64(n)>>32 == 0
}

// steps calls f with each step that an event is about. The event was decoded into d.
func (t *Tracer) steps(e *event.Event, d *decode.Event, f func(*step)) {
	s := step{kind: e.Kind, at: e.Time().UnixNano(), start: e.NodeStartTime, node: e.NodeName}
	switch e.Kind {
	case event.KindMessage:
		t.messageSteps(&s, &d.Message, f)
	case event.KindConnectionInbound, event.KindConnectionOutbound, event.KindConnectionClosed,
		event.KindConnectionInboundEvicted, event.KindConnectionMisbehaving:
		if !t.peerSampled(d.Connection.PeerID) {
			return
		}
		c := &d.Connection
		s.subject, s.peer, s.connection, s.network, s.established = subjectPeer, c.PeerID, c.ConnectionType, c.Network, c.Established
		s.text = clean(c.Reason)
		if t.config.Addresses {
			s.address = clean(c.Address)
		}
		f(&s)
	case event.KindMempoolAdded, event.KindMempoolReplaced, event.KindMempoolRemoved, event.KindMempoolRejected:
		if t.config.Transactions <= 0 || len(d.Mempool.TxID) != len(hash{}) {
			return
		}
		m := &d.Mempool
		s.subject, s.txid, s.text, s.vsize, s.fee = subjectTransaction, hash(m.TxID), clean(m.Reason), m.VSize, m.Fee
		f(&s)
	case event.KindValidationBlockConnected, event.KindValidationBlockHeader, event.KindValidationCompactBlockReconstructed:
		if !t.config.Blocks || len(d.Validation.Hash) != len(hash{}) {
			return
		}
		s.subject, s.hash, s.peer, s.validation = subjectBlock, hash(d.Validation.Hash), d.Validation.PeerID, d.Validation
		// What it refers to is gone when the step is handled.
		s.validation.Hash = nil
		f(&s)
	}
}

func (t *Tracer) messageSteps(s *step, m *decode.Message, f func(*step)) {
	s.message, s.inbound, s.size, s.connection, s.peer = m.Type, m.Inbound, m.Size, m.ConnectionType, m.PeerID
	if m.Body == nil && m.Type != decode.MessageVerAck {
		return
	}
	block := func(h []byte) {
		if t.config.Blocks && len(h) == len(hash{}) {
			s.subject, s.hash = subjectBlock, hash(h)
			f(s)
		}
	}
	switch m.Type {
	case decode.MessageInv, decode.MessageGetData, decode.MessageNotFound:
		t.itemSteps(s, m.Body, f)
	case decode.MessageHeaders:
		if !t.config.Blocks || m.ElementCount > maxHeaders {
			return
		}
		count := 0
		for it := decode.HeadersOf(m.Body); it.Next(); count++ {
		}
		if count > maxHeaders {
			return
		}
		for it := decode.HeadersOf(m.Body); it.Next(); {
			s.headerTime = it.Time
			block(it.Hash)
		}
	case decode.MessageCmpctBlock, decode.MessageBlock:
		if h, ok := decode.BlockHeaderOf(m.Body); ok {
			s.headerTime = h.Time
			block(h.Hash)
		}
	case decode.MessageGetBlockTxn, decode.MessageBlockTxn:
		if h, ok := decode.BlockHashOf(m.Body); ok {
			block(h)
		}
	case decode.MessageTx:
		txid, wtxid, _, ok := decode.TransactionOf(m.Body)
		if ok && len(txid) == len(hash{}) && sampled(wtxid, t.config.Transactions) {
			s.subject, s.hash, s.txid = subjectTransaction, hash(wtxid), hash(txid)
			f(s)
		}
	case decode.MessageVersion, decode.MessageVerAck:
		if !t.peerSampled(m.PeerID) {
			return
		}
		s.subject = subjectPeer
		if m.Type == decode.MessageVersion {
			v, ok := decode.VersionOf(m.Body)
			if !ok {
				return
			}
			s.text, s.version = clean(v.UserAgent), v.Version
		}
		f(s)
	}
}

// itemSteps reads the items of an inv, getdata or notfound. Transactions count by
// wtxid (BIP339): the hash of another item isn't that of the trace.
func (t *Tracer) itemSteps(s *step, body []byte, f func(*step)) {
	blocks, transactions := 0, 0
	for it := decode.ItemsOf(body); it.Next(); {
		if len(it.Hash) != len(hash{}) {
			continue
		}
		switch {
		case it.Type.IsBlock() && t.config.Blocks:
			if blocks++; blocks > maxBlockItems {
				continue
			}
			s.subject = subjectBlock
		case it.Type == decode.ItemWTX && sampled(it.Hash, t.config.Transactions):
			if transactions++; transactions > maxTransactions {
				continue
			}
			s.subject = subjectTransaction
		default:
			continue
		}
		s.hash = hash(it.Hash)
		f(s)
	}
}

// peerSampled says whether the session of a peer is traced. The node counts the ids
// up, so that no peer chooses its own.
func (t *Tracer) peerSampled(id uint64) bool {
	return t.config.Peers > 0 && id%uint64(t.config.Peers) == 0
}

// maxText bounds foreign text in bytes.
const maxText = 120

// clean makes foreign text fit for an attribute: printable ASCII of bounded length.
func clean(text []byte) string {
	if len(text) == 0 {
		return ""
	}
	cut := len(text) > maxText
	if cut {
		text = text[:maxText]
	}
	out := make([]byte, 0, maxText+3)
	for _, c := range text {
		if c < ' ' || c > '~' {
			c = '?'
		}
		out = append(out, c)
	}
	if cut {
		out = append(out, "..."...)
	}
	return string(out)
}

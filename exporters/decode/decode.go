package decode

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
	"github.com/peerobserver/peerobserver/proto/field"
)

// Hit is where and when a tracepoint was hit.
type Hit struct {
	PID, TID, CPU uint32
	// ThreadCPUTime is the CPU time that the thread had used, in nanoseconds; 0 when
	// the kernel didn't give it.
	ThreadCPUTime uint64
}

// Message is a P2P message.
type Message struct {
	PeerID uint64
	// Address is host:port of the peer as the node prints it.
	Address []byte
	// ConnectionType is derived from conn_type in events of the existing tools.
	ConnectionType eventpb.ConnectionType
	// Command is the message type as the peer sent it: foreign text.
	Command []byte
	Type    MessageType
	Inbound bool
	// Size is the length of the payload in bytes.
	Size uint64
	// Case is the oneof case of the content (a field number of MessageEvent), 0 when
	// there is none; Body is its encoding.
	Case protowire.Number
	Body []byte

	PayloadState eventpb.PayloadState
	// CapturedSize is the number of bytes that were captured when that is less than
	// Size, TrailingBytes what follows a well-formed message; 0 when absent.
	CapturedSize, TrailingBytes uint64
	// ElementCount is the number of list elements that the sender announced; HasCount
	// says that the producer gave it.
	ElementCount uint64
	HasCount     bool
}

// Connection is an event of a connection's life.
type Connection struct {
	PeerID  uint64
	Address []byte
	// ConnectionType is derived from conn_type in events of the existing tools.
	ConnectionType eventpb.ConnectionType
	// Network is Bitcoin Core's enum Network (netaddress.h).
	Network uint32
	// Established is the UNIX time in seconds at which the connection was made (closed
	// and evicted connections).
	Established uint64
	// Existing is the number of connections of this direction (opened connections).
	Existing uint64
	// Reason is the text of a misbehaving event.
	Reason []byte
}

// Mempool is a change of the mempool. Sizes are in vbytes, fees in satoshi, times in
// UNIX seconds.
type Mempool struct {
	TxID      []byte
	VSize     int32
	Fee       int64
	EntryTime uint64
	// Reason is why the transaction was removed or rejected: foreign text.
	Reason []byte
	// The replacement of a replaced transaction.
	ReplacementID    []byte
	ReplacementVSize int32
	ReplacementFee   int64
	// ByTransaction is false when a package replaced it.
	ByTransaction bool
}

// Validation is an event of a block.
type Validation struct {
	Hash   []byte
	Height int32
	PeerID uint64
	// Of a connected block.
	Transactions, SigOps int64
	Inputs               int32
	// ConnectTime is how long connecting took, in nanoseconds.
	ConnectTime uint64
	// ViaCompactBlock is how a header came.
	ViaCompactBlock bool
	// Of a reconstructed compact block: where its transactions came from, and the
	// bytes that had to be requested.
	Prefilled, FromMempool, FromExtraPool, Requested, RequestedBytes uint64
}

// Event is the last event that was decoded. It is reused from event to event; which of
// its parts are valid depends on Kind.
type Event struct {
	Kind       event.Kind
	Hit        Hit
	Message    Message
	Connection Connection
	Mempool    Mempool
	Validation Validation
}

// Decode reads an event. For the kinds of the eBPF source the part that belongs to the
// kind is filled; for all others only Kind is set. It gives false for what is damaged
// or unknown, with Kind set as far as it is known.
func (e *Event) Decode(source event.Source, data []byte) bool {
	if source != event.SourceEBPF {
		e.Kind = event.KindOf(data)
		return e.Kind != event.KindUnknown
	}
	e.Kind = event.KindUnknown
	e.Hit = Hit{}
	var body []byte
	f := fields{rest: data}
	for f.next() {
		if f.is(field.EventEbpfExtractor, protowire.BytesType) {
			body = f.bytes
		}
	}
	if f.bad || body == nil {
		return false
	}
	return e.ebpf(body)
}

func (e *Event) ebpf(data []byte) bool {
	var body []byte
	var num protowire.Number
	f := fields{rest: data}
	for f.next() {
		if f.typ != protowire.BytesType {
			continue
		}
		switch f.num {
		case field.EbpfExtractorMessage, field.EbpfExtractorConnection, field.EbpfExtractorMempool,
			field.EbpfExtractorValidation, field.EbpfExtractorUtxoCache:
			num, body = f.num, f.bytes
		case field.EbpfExtractorHit:
			if !e.hit(f.bytes) {
				return false
			}
		}
	}
	if f.bad {
		return false
	}
	switch num {
	case field.EbpfExtractorMessage:
		e.Kind = event.KindMessage
		return e.Message.decode(body)
	case field.EbpfExtractorConnection:
		return e.connection(body)
	case field.EbpfExtractorMempool:
		return e.mempool(body)
	case field.EbpfExtractorValidation:
		return e.validation(body)
	case field.EbpfExtractorUtxoCache:
		return e.utxoCache(body)
	}
	return false
}

func (e *Event) hit(data []byte) bool {
	f := fields{rest: data}
	for f.next() {
		if f.typ != protowire.VarintType {
			continue
		}
		switch f.num {
		case field.TracepointHitPid:
			e.Hit.PID = uint32(f.value)
		case field.TracepointHitTid:
			e.Hit.TID = uint32(f.value)
		case field.TracepointHitCpu:
			e.Hit.CPU = uint32(f.value)
		case field.TracepointHitThreadCpuTimeNs:
			e.Hit.ThreadCPUTime = f.value
		}
	}
	return !f.bad
}

func (m *Message) decode(data []byte) bool {
	*m = Message{}
	f := fields{rest: data}
	for f.next() {
		switch {
		case f.num == field.MessageEventMeta:
			if f.typ == protowire.BytesType && !m.meta(f.bytes) {
				return false
			}
		case f.num == field.MessageEventPayloadState && f.typ == protowire.VarintType:
			m.PayloadState = eventpb.PayloadState(f.value)
		case f.num == field.MessageEventCapturedSize && f.typ == protowire.VarintType:
			m.CapturedSize = f.value
		case f.num == field.MessageEventTrailingBytes && f.typ == protowire.VarintType:
			m.TrailingBytes = f.value
		case f.num == field.MessageEventElementCount && f.typ == protowire.VarintType:
			m.ElementCount, m.HasCount = f.value, true
		case f.num <= field.MessageEventOldping || f.num == field.MessageEventSendtxrcncl || f.num == field.MessageEventFeature:
			switch f.typ {
			case protowire.BytesType:
				m.Case, m.Body = f.num, f.bytes
			case protowire.VarintType:
				// The messages without content are a bool.
				m.Case, m.Body = f.num, nil
			}
		}
	}
	m.Type = typeOf(m.Command)
	return !f.bad
}

func (m *Message) meta(data []byte) bool {
	hasType := false
	f := fields{rest: data}
	for f.next() {
		switch {
		case f.is(field.MetadataPeerId, protowire.VarintType):
			m.PeerID = f.value
		case f.is(field.MetadataAddr, protowire.BytesType):
			m.Address = f.bytes
		case f.is(field.MetadataConnType, protowire.VarintType):
			if !hasType {
				m.ConnectionType = eventpb.ConnType(f.value).ConnectionType()
			}
		case f.is(field.MetadataConnectionType, protowire.VarintType):
			m.ConnectionType, hasType = eventpb.ConnectionType(f.value), true
		case f.is(field.MetadataCommand, protowire.BytesType):
			m.Command = f.bytes
		case f.is(field.MetadataInbound, protowire.VarintType):
			m.Inbound = f.value != 0
		case f.is(field.MetadataSize, protowire.VarintType):
			m.Size = f.value
		}
	}
	return !f.bad
}

// oneof gives the last length-delimited field of a message whose number is in list.
func oneof(data []byte, list ...protowire.Number) (num protowire.Number, body []byte, ok bool) {
	f := fields{rest: data}
	for f.next() {
		if f.typ != protowire.BytesType {
			continue
		}
		for _, n := range list {
			if f.num == n {
				num, body = n, f.bytes
			}
		}
	}
	return num, body, !f.bad && body != nil
}

func (e *Event) connection(data []byte) bool {
	num, body, ok := oneof(data, field.ConnectionEventClosed, field.ConnectionEventInboundEvicted,
		field.ConnectionEventInbound, field.ConnectionEventOutbound, field.ConnectionEventMisbehaving)
	if !ok {
		return false
	}
	c := &e.Connection
	*c = Connection{}
	f := fields{rest: body}
	if num == field.ConnectionEventMisbehaving {
		e.Kind = event.KindConnectionMisbehaving
		for f.next() {
			switch {
			case f.is(field.MisbehavingConnectionId, protowire.VarintType):
				c.PeerID = f.value
			case f.is(field.MisbehavingConnectionMessage, protowire.BytesType):
				c.Reason = f.bytes
			}
		}
		return !f.bad
	}
	switch num {
	case field.ConnectionEventClosed:
		e.Kind = event.KindConnectionClosed
	case field.ConnectionEventInboundEvicted:
		e.Kind = event.KindConnectionInboundEvicted
	case field.ConnectionEventInbound:
		e.Kind = event.KindConnectionInbound
	default:
		e.Kind = event.KindConnectionOutbound
	}
	opened := e.Kind == event.KindConnectionInbound || e.Kind == event.KindConnectionOutbound
	for f.next() {
		// All four have the connection as field 1 and a number as field 2.
		switch {
		case f.is(field.ClosedConnectionConn, protowire.BytesType):
			if !c.conn(f.bytes) {
				return false
			}
		case f.is(field.ClosedConnectionTimeEstablished, protowire.VarintType):
			if opened {
				c.Existing = f.value
			} else {
				c.Established = f.value
			}
		}
	}
	return !f.bad
}

func (c *Connection) conn(data []byte) bool {
	hasType := false
	f := fields{rest: data}
	for f.next() {
		switch {
		case f.is(field.ConnectionPeerId, protowire.VarintType):
			c.PeerID = f.value
		case f.is(field.ConnectionAddr, protowire.BytesType):
			c.Address = f.bytes
		case f.is(field.ConnectionConnType, protowire.VarintType):
			if !hasType {
				c.ConnectionType = eventpb.ConnType(f.value).ConnectionType()
			}
		case f.is(field.ConnectionConnectionType, protowire.VarintType):
			c.ConnectionType, hasType = eventpb.ConnectionType(f.value), true
		case f.is(field.ConnectionNetwork, protowire.VarintType):
			c.Network = uint32(f.value)
		}
	}
	return !f.bad
}

func (e *Event) mempool(data []byte) bool {
	num, body, ok := oneof(data, field.MempoolEventAdded, field.MempoolEventReplaced,
		field.MempoolEventRemoved, field.MempoolEventRejected)
	if !ok {
		return false
	}
	m := &e.Mempool
	*m = Mempool{}
	f := fields{rest: body}
	switch num {
	case field.MempoolEventAdded:
		e.Kind = event.KindMempoolAdded
		for f.next() {
			switch {
			case f.is(field.AddedTxid, protowire.BytesType):
				m.TxID = f.bytes
			case f.is(field.AddedVsize, protowire.VarintType):
				m.VSize = int32(f.value)
			case f.is(field.AddedFee, protowire.VarintType):
				m.Fee = int64(f.value)
			}
		}
	case field.MempoolEventRemoved:
		e.Kind = event.KindMempoolRemoved
		for f.next() {
			switch {
			case f.is(field.RemovedTxid, protowire.BytesType):
				m.TxID = f.bytes
			case f.is(field.RemovedReason, protowire.BytesType):
				m.Reason = f.bytes
			case f.is(field.RemovedVsize, protowire.VarintType):
				m.VSize = int32(f.value)
			case f.is(field.RemovedFee, protowire.VarintType):
				m.Fee = int64(f.value)
			case f.is(field.RemovedEntryTime, protowire.VarintType):
				m.EntryTime = f.value
			}
		}
	case field.MempoolEventRejected:
		e.Kind = event.KindMempoolRejected
		for f.next() {
			switch {
			case f.is(field.RejectedTxid, protowire.BytesType):
				m.TxID = f.bytes
			case f.is(field.RejectedReason, protowire.BytesType):
				m.Reason = f.bytes
			}
		}
	default:
		e.Kind = event.KindMempoolReplaced
		for f.next() {
			switch {
			case f.is(field.ReplacedReplacedTxid, protowire.BytesType):
				m.TxID = f.bytes
			case f.is(field.ReplacedReplacedVsize, protowire.VarintType):
				m.VSize = int32(f.value)
			case f.is(field.ReplacedReplacedFee, protowire.VarintType):
				m.Fee = int64(f.value)
			case f.is(field.ReplacedReplacedEntryTime, protowire.VarintType):
				m.EntryTime = f.value
			case f.is(field.ReplacedReplacementId, protowire.BytesType):
				m.ReplacementID = f.bytes
			case f.is(field.ReplacedReplacementVsize, protowire.VarintType):
				m.ReplacementVSize = int32(f.value)
			case f.is(field.ReplacedReplacementFee, protowire.VarintType):
				m.ReplacementFee = int64(f.value)
			case f.is(field.ReplacedReplacedByTransaction, protowire.VarintType):
				m.ByTransaction = f.value != 0
			}
		}
	}
	return !f.bad
}

func (e *Event) validation(data []byte) bool {
	num, body, ok := oneof(data, field.ValidationEventBlockConnected, field.ValidationEventBlockHeader,
		field.ValidationEventCompactBlockReconstructed)
	if !ok {
		return false
	}
	v := &e.Validation
	*v = Validation{}
	f := fields{rest: body}
	switch num {
	case field.ValidationEventBlockConnected:
		e.Kind = event.KindValidationBlockConnected
		for f.next() {
			switch {
			case f.is(field.BlockConnectedHash, protowire.BytesType):
				v.Hash = f.bytes
			case f.is(field.BlockConnectedHeight, protowire.VarintType):
				v.Height = int32(f.value)
			case f.is(field.BlockConnectedTransactions, protowire.VarintType):
				v.Transactions = int64(f.value)
			case f.is(field.BlockConnectedInputs, protowire.VarintType):
				v.Inputs = int32(f.value)
			case f.is(field.BlockConnectedSigops, protowire.VarintType):
				v.SigOps = int64(f.value)
			case f.is(field.BlockConnectedConnectionTime, protowire.VarintType):
				v.ConnectTime = f.value
			}
		}
	case field.ValidationEventBlockHeader:
		e.Kind = event.KindValidationBlockHeader
		for f.next() {
			switch {
			case f.is(field.BlockHeaderSeenHash, protowire.BytesType):
				v.Hash = f.bytes
			case f.is(field.BlockHeaderSeenHeight, protowire.VarintType):
				v.Height = int32(f.value)
			case f.is(field.BlockHeaderSeenPeerId, protowire.VarintType):
				v.PeerID = f.value
			case f.is(field.BlockHeaderSeenViaCompactBlock, protowire.VarintType):
				v.ViaCompactBlock = f.value != 0
			}
		}
	default:
		e.Kind = event.KindValidationCompactBlockReconstructed
		for f.next() {
			switch {
			case f.is(field.CompactBlockReconstructedHash, protowire.BytesType):
				v.Hash = f.bytes
			case f.is(field.CompactBlockReconstructedPeerId, protowire.VarintType):
				v.PeerID = f.value
			case f.is(field.CompactBlockReconstructedPrefilledTransactions, protowire.VarintType):
				v.Prefilled = f.value
			case f.is(field.CompactBlockReconstructedMempoolTransactions, protowire.VarintType):
				v.FromMempool = f.value
			case f.is(field.CompactBlockReconstructedExtraPoolTransactions, protowire.VarintType):
				v.FromExtraPool = f.value
			case f.is(field.CompactBlockReconstructedRequestedTransactions, protowire.VarintType):
				v.Requested = f.value
			case f.is(field.CompactBlockReconstructedRequestedBytes, protowire.VarintType):
				v.RequestedBytes = f.value
			}
		}
	}
	return !f.bad
}

// utxoCache finds the kind only: of these events the number is what matters here, and
// they come by the hundred thousand.
func (e *Event) utxoCache(data []byte) bool {
	num, _, ok := oneof(data, field.UtxoCacheEventFlush, field.UtxoCacheEventAdd,
		field.UtxoCacheEventSpent, field.UtxoCacheEventUncache)
	if !ok {
		return false
	}
	switch num {
	case field.UtxoCacheEventFlush:
		e.Kind = event.KindUTXOCacheFlush
	case field.UtxoCacheEventAdd:
		e.Kind = event.KindUTXOCacheAdd
	case field.UtxoCacheEventSpent:
		e.Kind = event.KindUTXOCacheSpent
	default:
		e.Kind = event.KindUTXOCacheUncache
	}
	return true
}

package ebpf

import (
	"bytes"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/agent/p2pmessage"
	"github.com/peerobserver/peerobserver/bpf"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/field"
)

// encoder turns the records of tracepoints into the encoded oneof field of events. It
// allocates nothing in steady state and is not safe for concurrent use.
type encoder struct {
	buffer     *event.Buffer
	transcoder *p2pmessage.Transcoder
}

func newEncoder() *encoder {
	return &encoder{buffer: event.NewBuffer(64 << 10), transcoder: p2pmessage.New()}
}

// encode builds the event of a record in e.buffer.
func (e *encoder) encode(r *bpf.Record) {
	e.buffer.Reset()
	switch r.Tracepoint {
	case bpf.NetInboundMessage, bpf.NetOutboundMessage:
		e.message(r)
	case bpf.NetInboundConnection:
		e.connection(r, field.ConnectionEventInbound, field.InboundConnectionConn, field.InboundConnectionExistingConnections)
	case bpf.NetOutboundConnection:
		e.connection(r, field.ConnectionEventOutbound, field.OutboundConnectionConn, field.OutboundConnectionExistingConnections)
	case bpf.NetClosedConnection:
		e.connection(r, field.ConnectionEventClosed, field.ClosedConnectionConn, field.ClosedConnectionTimeEstablished)
	case bpf.NetEvictedInboundConnection:
		e.connection(r, field.ConnectionEventInboundEvicted, field.EvictedInboundConnectionConn, field.EvictedInboundConnectionTimeEstablished)
	case bpf.NetMisbehavingConnection:
		e.fields(
			varint(field.MisbehavingConnectionId, r.Uint(0)),
			text(field.MisbehavingConnectionMessage, r.Bytes(1)),
		)
		e.buffer.Enclose(field.ConnectionEventMisbehaving)
		e.enclose(field.EbpfExtractorConnection, r)
	case bpf.MempoolAdded:
		e.fields(
			hash(field.AddedTxid, r.Bytes(0)),
			int32Field(field.AddedVsize, r.Uint(1)),
			varint(field.AddedFee, r.Uint(2)),
		)
		e.buffer.Enclose(field.MempoolEventAdded)
		e.enclose(field.EbpfExtractorMempool, r)
	case bpf.MempoolRemoved:
		e.fields(
			hash(field.RemovedTxid, r.Bytes(0)),
			text(field.RemovedReason, r.Bytes(1)),
			int32Field(field.RemovedVsize, r.Uint(2)),
			varint(field.RemovedFee, r.Uint(3)),
			varint(field.RemovedEntryTime, r.Uint(4)),
		)
		e.buffer.Enclose(field.MempoolEventRemoved)
		e.enclose(field.EbpfExtractorMempool, r)
	case bpf.MempoolReplaced:
		e.fields(
			hash(field.ReplacedReplacedTxid, r.Bytes(0)),
			int32Field(field.ReplacedReplacedVsize, r.Uint(1)),
			varint(field.ReplacedReplacedFee, r.Uint(2)),
			varint(field.ReplacedReplacedEntryTime, r.Uint(3)),
			hash(field.ReplacedReplacementId, r.Bytes(4)),
			int32Field(field.ReplacedReplacementVsize, r.Uint(5)),
			varint(field.ReplacedReplacementFee, r.Uint(6)),
			boolean(field.ReplacedReplacedByTransaction, r.Uint(7)),
		)
		e.buffer.Enclose(field.MempoolEventReplaced)
		e.enclose(field.EbpfExtractorMempool, r)
	case bpf.MempoolRejected:
		e.fields(
			hash(field.RejectedTxid, r.Bytes(0)),
			text(field.RejectedReason, r.Bytes(1)),
		)
		e.buffer.Enclose(field.MempoolEventRejected)
		e.enclose(field.EbpfExtractorMempool, r)
	case bpf.ValidationBlockConnected:
		e.fields(
			hash(field.BlockConnectedHash, r.Bytes(0)),
			int32Field(field.BlockConnectedHeight, r.Uint(1)),
			varint(field.BlockConnectedTransactions, r.Uint(2)),
			int32Field(field.BlockConnectedInputs, r.Uint(3)),
			varint(field.BlockConnectedSigops, r.Uint(4)),
			varint(field.BlockConnectedConnectionTime, r.Uint(5)),
		)
		e.buffer.Enclose(field.ValidationEventBlockConnected)
		e.enclose(field.EbpfExtractorValidation, r)
	case bpf.NetBlockHeader:
		e.fields(
			hash(field.BlockHeaderSeenHash, r.Bytes(3)),
			int32Field(field.BlockHeaderSeenHeight, r.Uint(0)),
			varint(field.BlockHeaderSeenPeerId, r.Uint(1)),
			boolean(field.BlockHeaderSeenViaCompactBlock, r.Uint(2)),
		)
		e.buffer.Enclose(field.ValidationEventBlockHeader)
		e.enclose(field.EbpfExtractorValidation, r)
	case bpf.NetCompactBlockReconstructed:
		e.fields(
			hash(field.CompactBlockReconstructedHash, r.Bytes(6)),
			varint(field.CompactBlockReconstructedPeerId, r.Uint(0)),
			varint(field.CompactBlockReconstructedPrefilledTransactions, r.Uint(1)),
			varint(field.CompactBlockReconstructedMempoolTransactions, r.Uint(2)),
			varint(field.CompactBlockReconstructedExtraPoolTransactions, r.Uint(3)),
			varint(field.CompactBlockReconstructedRequestedTransactions, r.Uint(4)),
			varint(field.CompactBlockReconstructedRequestedBytes, r.Uint(5)),
		)
		e.buffer.Enclose(field.ValidationEventCompactBlockReconstructed)
		e.enclose(field.EbpfExtractorValidation, r)
	case bpf.UTXOCacheFlush:
		e.fields(
			varint(field.UtxoCacheFlushDuration, r.Uint(0)),
			varint(field.UtxoCacheFlushMode, r.Uint(1)),
			varint(field.UtxoCacheFlushCoins, r.Uint(2)),
			varint(field.UtxoCacheFlushMemoryUsage, r.Uint(3)),
			boolean(field.UtxoCacheFlushForPrune, r.Uint(4)),
		)
		e.buffer.Enclose(field.UtxoCacheEventFlush)
		e.enclose(field.EbpfExtractorUtxoCache, r)
	case bpf.UTXOCacheAdd:
		e.coin(r, field.UtxoCacheEventAdd)
	case bpf.UTXOCacheSpent:
		e.coin(r, field.UtxoCacheEventSpent)
	case bpf.UTXOCacheUncache:
		e.coin(r, field.UtxoCacheEventUncache)
	}
}

func (e *encoder) message(r *bpf.Record) {
	e.transcoder.AppendEvent(e.buffer, &p2pmessage.Message{
		PeerID:         r.Uint(0),
		Address:        r.Bytes(1),
		ConnectionType: r.Bytes(2),
		Type:           r.Bytes(3),
		Inbound:        r.Tracepoint == bpf.NetInboundMessage,
		Size:           r.Uint(4),
		Payload:        r.Bytes(5),
		Unreadable:     r.Flags&bpf.PayloadFault != 0,
	}, hitOf(r))
}

// connection builds the four events that carry a Connection and one number.
func (e *encoder) connection(r *bpf.Record, kind, conn, number protowire.Number) {
	connectionType := p2pmessage.ConnectionType(r.Bytes(2))
	e.fields(
		varint(field.ConnectionPeerId, r.Uint(0)),
		text(field.ConnectionAddr, r.Bytes(1)),
		varint(field.ConnectionConnType, uint64(connectionType.ConnType())),
		varint(field.ConnectionNetwork, uint64(uint32(r.Uint(3)))),
		varint(field.ConnectionConnectionType, uint64(connectionType)),
	)
	e.buffer.Enclose(conn)
	e.fields(varint(number, r.Uint(4)))
	e.buffer.Enclose(kind)
	e.enclose(field.EbpfExtractorConnection, r)
}

func (e *encoder) coin(r *bpf.Record, kind protowire.Number) {
	e.fields(
		hash(field.UtxoCacheCoinTxid, r.Bytes(0)),
		varint(field.UtxoCacheCoinOutputIndex, uint64(uint32(r.Uint(1)))),
		varint(field.UtxoCacheCoinHeight, uint64(uint32(r.Uint(2)))),
		varint(field.UtxoCacheCoinValue, r.Uint(3)),
		boolean(field.UtxoCacheCoinIsCoinbase, r.Uint(4)),
	)
	e.buffer.Enclose(kind)
	e.enclose(field.EbpfExtractorUtxoCache, r)
}

// enclose makes the content the case num of EbpfExtractor, adds the hit, and makes that
// the case of Event.
func (e *encoder) enclose(num protowire.Number, r *bpf.Record) {
	e.buffer.Enclose(num)
	hit := hitOf(r)
	e.buffer.SetGrown(hit.AppendFields(e.buffer.Grow()))
	e.buffer.Enclose(field.EventEbpfExtractor)
}

func hitOf(r *bpf.Record) p2pmessage.Hit {
	return p2pmessage.Hit{
		PID: r.PID,
		TID: r.TID,
		CPU: uint32(r.CPU),
		// The scheduler's figure is of the moment RunStart of its own clock, and the
		// thread has run since: the sum lacks the difference between that clock's
		// origin and CLOCK_BOOTTIME's, which is the same for every hit.
		ThreadCPUTime:    r.RunTime + r.Time - r.RunStart,
		HasThreadCPUTime: r.RunStart != 0,
	}
}

// fieldValue is one field to append.
type fieldValue struct {
	num   protowire.Number
	value uint64
	bytes []byte
	isLen bool
}

func varint(num protowire.Number, v uint64) fieldValue { return fieldValue{num: num, value: v} }

// int32Field narrows v to 32 bits and extends its sign, as protobuf wants it.
func int32Field(num protowire.Number, v uint64) fieldValue {
	return fieldValue{num: num, value: uint64(int64(int32(v)))}
}

func boolean(num protowire.Number, v uint64) fieldValue {
	// A C++ bool is one byte; whatever else is in the register is not ours.
	return fieldValue{num: num, value: protowire.EncodeBool(v&0xff != 0)}
}

func hash(num protowire.Number, v []byte) fieldValue {
	return fieldValue{num: num, bytes: v, isLen: true}
}

// text is a string field. Reasons can carry bytes that a peer chose: what isn't UTF-8
// is replaced, for a reader must reject the whole event otherwise.
func text(num protowire.Number, v []byte) fieldValue {
	if !utf8.Valid(v) {
		v = bytes.ToValidUTF8(v, []byte("\uFFFD"))
	}
	return fieldValue{num: num, bytes: v, isLen: true}
}

func (e *encoder) fields(values ...fieldValue) {
	dst := e.buffer.Grow()
	for i := range values {
		if v := &values[i]; v.isLen {
			dst = event.AppendBytesField(dst, v.num, v.bytes)
		} else {
			dst = event.AppendVarintField(dst, v.num, v.value)
		}
	}
	e.buffer.SetGrown(dst)
}

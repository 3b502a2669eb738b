package archive

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/field"
)

// payload says what is removed below a message: the fields of drop, and what the
// messages in the fields of in say.
type payload struct {
	num  protowire.Number
	drop bool
	in   []payload
}

func dropField(num protowire.Number) payload { return payload{num: num, drop: true} }

func inField(num protowire.Number, in ...payload) payload { return payload{num: num, in: in} }

// stripper removes the raw bytes of transactions, whose ids stay, and the payloads of
// P2P messages that are carried as unknown.
type stripper struct {
	message, orphans []payload
	// out is the last result, for reuse.
	out []byte
}

func newStripper() *stripper {
	return &stripper{message: messagePayloads(), orphans: orphanPayloads()}
}

// strip gives the event without its payloads, valid until the next call. What isn't
// well-formed stays as it is.
func (s *stripper) strip(kind event.Kind, data []byte) []byte {
	var what []payload
	switch kind {
	case event.KindMessage:
		what = s.message
	case event.KindRPCOrphanTxs:
		what = s.orphans
	default:
		return data
	}
	if cap(s.out) > 2*maxBlockSize {
		s.out = nil
	}
	out, ok := appendStripped(s.out[:0], data, what)
	if !ok {
		return data
	}
	s.out = out
	return out
}

// transaction is what is removed of a Transaction.
func transaction() payload { return dropField(field.TransactionRaw) }

// messagePayloads is what is removed of a P2P message's event.
func messagePayloads() []payload {
	return []payload{inField(field.EventEbpfExtractor, inField(field.EbpfExtractorMessage,
		inField(field.MessageEventTx, inField(field.TxTx, transaction())),
		inField(field.MessageEventBlock, inField(field.BlockTransactions, transaction())),
		inField(field.MessageEventBlocktxn, inField(field.BlockTxnTransactions, transaction())),
		inField(field.MessageEventCompactblock, inField(field.CompactBlockTransactions,
			inField(field.PrefilledTransactionTx, transaction()))),
		inField(field.MessageEventUnknown, dropField(field.UnknownPayload)),
	))}
}

// orphanPayloads is what is removed of an answer of getorphantxs.
func orphanPayloads() []payload {
	return []payload{inField(field.EventRpcExtractor, inField(field.RpcExtractorOrphanTxs,
		inField(field.OrphanTxsOrphans, inField(field.OrphanTxTransaction, transaction()))))}
}

// appendStripped appends the fields of a message without what is to be removed; false
// when the message isn't well-formed.
func appendStripped(dst, data []byte, what []payload) ([]byte, bool) {
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return nil, false
		}
		m := protowire.ConsumeFieldValue(num, typ, data[n:])
		if m < 0 {
			return nil, false
		}
		whole := data[:n+m]
		data = data[n+m:]
		p := payloadOf(what, num)
		switch {
		case p == nil || typ != protowire.BytesType:
			dst = append(dst, whole...)
		case p.drop:
		default:
			content, _ := protowire.ConsumeBytes(whole[n:])
			dst = append(dst, whole[:n]...)
			var ok bool
			if dst, ok = appendDelimited(dst, content, p.in); !ok {
				return nil, false
			}
		}
	}
	return dst, true
}

// appendDelimited appends a stripped message with its length in front. The room for the
// length is that of the whole message; if fewer bytes are enough, the content moves up.
func appendDelimited(dst, content []byte, what []payload) ([]byte, bool) {
	start := len(dst)
	room := protowire.SizeVarint(uint64(len(content)))
	dst = append(dst, make([]byte, room)...)
	dst, ok := appendStripped(dst, content, what)
	if !ok {
		return nil, false
	}
	size := len(dst) - start - room
	need := protowire.SizeVarint(uint64(size))
	if need < room {
		copy(dst[start+need:], dst[start+room:])
		dst = dst[:start+need+size]
	}
	protowire.AppendVarint(dst[start:start], uint64(size))
	return dst, true
}

func payloadOf(what []payload, num protowire.Number) *payload {
	for i := range what {
		if what[i].num == num {
			return &what[i]
		}
	}
	return nil
}

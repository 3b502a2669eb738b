package getblocktxn

import (
	"container/list"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
	"github.com/peerobserver/peerobserver/proto/field"
)

const (
	// MaxIndexes bounds the positions of one request that are kept. BIP152 gives
	// positions 16 bits, so that no block has more.
	MaxIndexes = 1 << 16
	// maxOpen bounds the requests that wait for an answer, maxOpenIndexes the positions
	// that they keep together. The oldest give way.
	maxOpen        = 4096
	maxOpenIndexes = 1 << 18
	// maxText bounds the peer's address in a row, in bytes.
	maxText = 255
)

// The directions.
const (
	sent     = "sent"
	received = "received"
)

// key is what an answer has in common with its request. Peer ids are unique in one run
// of the node's process.
type key struct {
	node      string
	start     int64
	peer      uint64
	direction string
	block     [32]byte
}

// request is a getblocktxn message without an answer yet.
type request struct {
	key key
	// at is the time of the message in UNIX nanoseconds.
	at  int64
	row *Row
}

// recorder turns events into rows. It is driven by the times of the events alone, so that
// the same events always give the same rows.
type recorder struct {
	timeout time.Duration
	// write takes each row once it is complete.
	write func(*Row)

	// open has the requests in the order of their coming; byKey finds them.
	open    list.List
	byKey   map[key]*list.Element
	indexes int
	decoded decode.Event
}

func newRecorder(timeout time.Duration, write func(*Row)) *recorder {
	return &recorder{timeout: timeout, write: write, byKey: map[key]*list.Element{}}
}

// handle takes one event of any kind; false if it can't be decoded.
func (r *recorder) handle(e *event.Event) bool {
	if e.Source != event.SourceEBPF || e.Subject != event.SubjectMessages && e.Subject != event.SubjectConnections {
		return true
	}
	at := e.Time().UnixNano()
	r.expire(at)
	if e.Subject == event.SubjectConnections && e.Kind != event.KindConnectionClosed {
		return true
	}
	if !r.decoded.Decode(e.Source, e.Data) {
		return false
	}
	if r.decoded.Kind == event.KindConnectionClosed {
		r.closed(&e.Header, r.decoded.Connection.PeerID)
		return true
	}
	m := &r.decoded.Message
	switch m.Type {
	case decode.MessageGetBlockTxn:
		r.request(&e.Header, at, m)
	case decode.MessageBlockTxn:
		if hash, ok := decode.BlockHashOf(m.Body); ok && m.Case == field.MessageEventBlocktxn {
			r.answer(&e.Header, at, m, hash, OutcomeBlockTxn)
		}
	case decode.MessageBlock:
		if header, ok := decode.BlockHeaderOf(m.Body); ok && m.Case == field.MessageEventBlock {
			r.answer(&e.Header, at, m, header.Hash, OutcomeBlock)
		}
	}
	return true
}

func keyOf(h *event.Header, peer uint64, inbound bool) key {
	k := key{node: h.NodeName, start: h.NodeStartTime, peer: peer, direction: sent}
	if inbound {
		k.direction = received
	}
	return k
}

func (r *recorder) request(h *event.Header, at int64, m *decode.Message) {
	hash, indexes, requested := contentOf(m)
	k := keyOf(h, m.PeerID, m.Inbound)
	row := &Row{
		Time: timeText(at), Node: h.NodeName, Direction: k.direction, PeerID: m.PeerID, Address: text(m.Address),
		ConnectionType: connectionType(m.ConnectionType), Indexes: indexes, Requested: requested,
	}
	if len(hash) != len(k.block) {
		r.end(row, OutcomeMalformed)
		return
	}
	k.block = [32]byte(hash)
	row.Block = hashText(hash)
	if before, ok := r.byKey[k]; ok {
		r.finish(before, OutcomeRepeated)
	}
	r.byKey[k] = r.open.PushBack(&request{key: k, at: at, row: row})
	r.indexes += len(indexes)
	for r.open.Len() > maxOpen || r.indexes > maxOpenIndexes {
		r.finish(r.open.Front(), OutcomeDropped)
	}
}

// answer ends the request that a message in the other direction answers.
func (r *recorder) answer(h *event.Header, at int64, m *decode.Message, hash []byte, outcome Outcome) {
	k := keyOf(h, m.PeerID, !m.Inbound)
	if len(hash) != len(k.block) {
		return
	}
	k.block = [32]byte(hash)
	element, ok := r.byKey[k]
	if !ok {
		return
	}
	q := requestOf(element)
	delay, size := at-q.at, m.Size
	q.row.Delay, q.row.AnswerBytes = &delay, &size
	if outcome == OutcomeBlockTxn {
		n := count(m.Body, field.BlockTxnTransactions)
		q.row.Transactions = &n
	}
	r.finish(element, outcome)
}

// closed ends all requests of and to a peer.
func (r *recorder) closed(h *event.Header, peer uint64) {
	of := keyOf(h, peer, false)
	for element := r.open.Front(); element != nil; {
		next := element.Next()
		if k := requestOf(element).key; k.node == of.node && k.start == of.start && k.peer == peer {
			r.finish(element, OutcomeClosed)
		}
		element = next
	}
}

// expire ends the requests that wait too long at a time in UNIX nanoseconds.
func (r *recorder) expire(at int64) {
	for element := r.open.Front(); element != nil && at-requestOf(element).at > int64(r.timeout); element = r.open.Front() {
		r.finish(element, OutcomeTimeout)
	}
}

// finishAll ends all requests.
func (r *recorder) finishAll() {
	for element := r.open.Front(); element != nil; element = r.open.Front() {
		r.finish(element, OutcomeEnd)
	}
}

func (r *recorder) finish(element *list.Element, outcome Outcome) {
	q := requestOf(element)
	r.open.Remove(element)
	delete(r.byKey, q.key)
	r.indexes -= len(q.row.Indexes)
	r.end(q.row, outcome)
}

func (r *recorder) end(row *Row, outcome Outcome) {
	row.Outcome = outcome
	r.write(row)
}

// requestOf is what an element of the list of open requests holds.
func requestOf(element *list.Element) *request {
	q, _ := element.Value.(*request) // nothing else is put into it
	return q
}

// contentOf reads a getblocktxn message; the hash is empty where it has none. At most
// MaxIndexes of the indexes are given, with the number of all.
func contentOf(m *decode.Message) (hash []byte, indexes []uint64, requested int) {
	indexes = []uint64{}
	if m.Case != field.MessageEventGetblocktxn {
		return nil, indexes, 0
	}
	add := func(v uint64) {
		if requested++; requested <= MaxIndexes {
			indexes = append(indexes, v)
		}
	}
	hash, _ = decode.BlockHashOf(m.Body)
	walk(m.Body, func(num protowire.Number, typ protowire.Type, value []byte) {
		switch {
		case num != field.GetBlockTxnTxIndexes:
		case typ == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(value)
			add(v)
		case typ == protowire.BytesType:
			packed, _ := protowire.ConsumeBytes(value)
			for len(packed) > 0 {
				v, n := protowire.ConsumeVarint(packed)
				if n < 0 {
					return
				}
				add(v)
				packed = packed[n:]
			}
		}
	})
	return hash, indexes, requested
}

// count counts the occurrences of a length-delimited field.
func count(data []byte, want protowire.Number) (n int) {
	walk(data, func(num protowire.Number, typ protowire.Type, _ []byte) {
		if num == want && typ == protowire.BytesType {
			n++
		}
	})
	return n
}

// walk calls f for each field of an encoded message, up to the first damage.
func walk(data []byte, f func(num protowire.Number, typ protowire.Type, value []byte)) {
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return
		}
		data = data[n:]
		if n = protowire.ConsumeFieldValue(num, typ, data); n < 0 {
			return
		}
		f(num, typ, data[:n])
		data = data[n:]
	}
}

// connectionType is the name of a type without the prefix that it has in the .proto file.
func connectionType(t eventpb.ConnectionType) string {
	name, found := strings.CutPrefix(t.String(), "CONNECTION_TYPE_")
	if !found {
		return "unknown" // a number that this version doesn't know
	}
	return strings.ToLower(name)
}

// text is foreign text of a bounded length.
func text(b []byte) string {
	return strings.ToValidUTF8(string(b[:min(len(b), maxText)]), "\uFFFD")
}

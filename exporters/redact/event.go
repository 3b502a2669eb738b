package redact

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// action is what is done with a field.
type action uint8

const (
	// keep is for numbers, and bytes that are hashes.
	keep action = iota
	// drop is for bytes that strangers fill as they like.
	drop
	// text is for text in which there may be addresses; every text is.
	text
	// address is for text that is one.
	address
	// inside is for messages.
	inside
)

// plan is what is done with the fields of a message. A field that isn't in it, of a newer
// producer, is dropped: nobody knows what is inside.
type plan struct {
	actions map[protowire.Number]action
	inside  map[protowire.Number]*plan
}

// addressFields are the text fields that hold an address, or the name of a host.
func addressFields() []protoreflect.FullName {
	return []protoreflect.FullName{
		"peerobserver.v1.Metadata.addr", "peerobserver.v1.Connection.addr",
		"peerobserver.v1.Address.ipv4", "peerobserver.v1.Address.ipv6", "peerobserver.v1.Address.torv2",
		"peerobserver.v1.Address.torv3", "peerobserver.v1.Address.i2p", "peerobserver.v1.Address.cjdns",
		"peerobserver.v1.PeerInfo.address", "peerobserver.v1.PeerInfo.address_bind", "peerobserver.v1.PeerInfo.address_local",
		"peerobserver.v1.NetworkInfoNetwork.proxy", "peerobserver.v1.NetworkInfoLocalAddress.address",
		"peerobserver.v1.AddrmanEntry.address", "peerobserver.v1.AddrmanEntry.source",
		"peerobserver.v1.KnownLogMessage.address", "peerobserver.v1.KnownLogMessage.other_address",
		"peerobserver.v1.EvidencePeer.address",
	}
}

// droppedFields are the byte fields that are dropped: addresses of networks that nobody
// knows, and what strangers fill as they like. Ids and sizes stay.
func droppedFields() []protoreflect.FullName {
	return []protoreflect.FullName{
		"peerobserver.v1.UnknownAddress.address", "peerobserver.v1.Unknown.payload", "peerobserver.v1.Alert.alert",
		"peerobserver.v1.Alert.signature", "peerobserver.v1.Feature.feature_data", "peerobserver.v1.FilterAdd.filter",
		"peerobserver.v1.FilterLoad.filter", "peerobserver.v1.Transaction.raw",
	}
}

// hashFields are the byte fields that are kept: hashes, short ids and block filters.
func hashFields() []protoreflect.FullName {
	return []protoreflect.FullName{
		"peerobserver.v1.InventoryItem.transaction", "peerobserver.v1.InventoryItem.block", "peerobserver.v1.InventoryItem.wtx",
		"peerobserver.v1.InventoryItem.witness_transaction", "peerobserver.v1.InventoryItem.witness_block", "peerobserver.v1.InventoryItem.compact_block",
		"peerobserver.v1.UnknownItem.hash", "peerobserver.v1.Transaction.txid", "peerobserver.v1.Transaction.wtxid",
		"peerobserver.v1.BlockHeader.prev_blockhash", "peerobserver.v1.BlockHeader.merkle_root", "peerobserver.v1.BlockHeader.hash",
		"peerobserver.v1.GetHeaders.locator_hashes", "peerobserver.v1.GetHeaders.stop_hash",
		"peerobserver.v1.GetBlocks.locator_hashes", "peerobserver.v1.GetBlocks.stop_hash",
		"peerobserver.v1.CompactBlock.short_ids", "peerobserver.v1.GetBlockTxn.block_hash", "peerobserver.v1.BlockTxn.block_hash",
		"peerobserver.v1.GetCFCheckpt.stop_hash", "peerobserver.v1.CFHeaders.stop_hash", "peerobserver.v1.CFHeaders.previous_filter_header",
		"peerobserver.v1.CFHeaders.filter_hashes", "peerobserver.v1.CFilter.block_hash", "peerobserver.v1.CFilter.filter",
		"peerobserver.v1.CFCheckpt.stop_hash", "peerobserver.v1.CFCheckpt.filter_headers", "peerobserver.v1.GetCFHeaders.stop_hash",
		"peerobserver.v1.GetCFilter.stop_hash", "peerobserver.v1.MerkleBlock.hashes", "peerobserver.v1.Reject.hash",
		"peerobserver.v1.Added.txid", "peerobserver.v1.Replaced.replaced_txid", "peerobserver.v1.Replaced.replacement_id",
		"peerobserver.v1.Removed.txid", "peerobserver.v1.Rejected.txid", "peerobserver.v1.BlockConnected.hash",
		"peerobserver.v1.BlockHeaderSeen.hash", "peerobserver.v1.CompactBlockReconstructed.hash",
		"peerobserver.v1.UtxoCacheCoin.txid", "peerobserver.v1.BlockTip.hash",
	}
}

// eventPlan makes the plan of an event. A field of bytes that nobody has thought of is an
// error, which a test would have shown.
func eventPlan() (*plan, error) {
	actions := map[protoreflect.FullName]action{}
	for _, list := range []struct {
		names []protoreflect.FullName
		action
	}{{addressFields(), address}, {droppedFields(), drop}, {hashFields(), keep}} {
		for _, name := range list.names {
			actions[name] = list.action
		}
	}
	return planOf((&eventpb.Event{}).ProtoReflect().Descriptor(), actions, map[protoreflect.FullName]*plan{})
}

func planOf(m protoreflect.MessageDescriptor, actions map[protoreflect.FullName]action, done map[protoreflect.FullName]*plan) (*plan, error) {
	if p := done[m.FullName()]; p != nil {
		return p, nil
	}
	p := &plan{actions: map[protowire.Number]action{}, inside: map[protowire.Number]*plan{}}
	done[m.FullName()] = p
	fields := m.Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		known, isKnown := actions[f.FullName()]
		switch f.Kind() {
		case protoreflect.MessageKind:
			sub, err := planOf(f.Message(), actions, done)
			if err != nil {
				return nil, err
			}
			p.actions[f.Number()], p.inside[f.Number()] = inside, sub
		case protoreflect.GroupKind:
			return nil, fmt.Errorf("redaction: the group %s is not supported", f.FullName())
		case protoreflect.StringKind:
			p.actions[f.Number()] = text
			if isKnown {
				p.actions[f.Number()] = known
			}
		case protoreflect.BytesKind:
			if !isKnown {
				return nil, fmt.Errorf("redaction: nobody has said whether %s may hold an address", f.FullName())
			}
			p.actions[f.Number()] = known
		default:
			p.actions[f.Number()] = keep
		}
	}
	return p, nil
}

// errMalformed is returned for what is no event.
var errMalformed = errors.New("redaction: not a well-formed event")

// AppendEvent appends an encoded event without addresses to dst.
func (r *Redactor) AppendEvent(dst, data []byte) ([]byte, error) {
	return r.append(dst, data, r.plan)
}

func (r *Redactor) append(dst, data []byte, p *plan) ([]byte, error) {
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return nil, errMalformed
		}
		m := protowire.ConsumeFieldValue(num, typ, data[n:])
		if m < 0 {
			return nil, errMalformed
		}
		tag, whole := data[:n], data[:n+m]
		data = data[n+m:]
		act, ok := p.actions[num]
		if !ok || act == drop {
			continue
		}
		if typ != protowire.BytesType {
			// A text or message in another form isn't one.
			if act == keep {
				dst = append(dst, whole...)
			}
			continue
		}
		content, _ := protowire.ConsumeBytes(whole[n:])
		switch act {
		case keep:
			// Numbers too, when they are packed.
			dst = append(dst, whole...)
		case text:
			dst = append(dst, tag...)
			dst = protowire.AppendBytes(dst, r.AppendText(nil, content))
		case address:
			dst = append(dst, tag...)
			dst = protowire.AppendBytes(dst, r.AppendAddress(nil, content))
		case inside:
			redacted, err := r.append(nil, content, p.inside[num])
			if err != nil {
				return nil, err
			}
			dst = append(dst, tag...)
			dst = protowire.AppendBytes(dst, redacted)
		}
	}
	return dst, nil
}

// ReasonRedaction is why an event is lost that can't be read, and so can't be redacted.
const ReasonRedaction event.Reason = "redaction"

// Sink is a sink that hands on events without addresses.
type Sink struct {
	redactor *Redactor
	next     event.Sink
	ledger   *event.Ledger
	// buffer belongs to the goroutine that calls HandleEvent.
	buffer []byte
}

// maxKept is the largest buffer in bytes that is kept for the next event.
const maxKept = 1 << 20

// Sink makes a sink that hands on to next what it gets, redacted.
func (r *Redactor) Sink(next event.Sink, ledger *event.Ledger) *Sink {
	return &Sink{redactor: r, next: next, ledger: ledger}
}

// HandleEvent implements event.Sink.
func (s *Sink) HandleEvent(e *event.Event) {
	redacted, ok := s.redactor.Event(s.buffer[:0], e)
	if !ok {
		s.ledger.Loss(e.Source, event.StageDecode, ReasonRedaction).Add(1)
		return
	}
	s.next.HandleEvent(&redacted)
	if s.buffer = redacted.Data; cap(s.buffer) > maxKept {
		s.buffer = nil
	}
}

// Event gives an event without addresses, with its bytes in buffer; ok is false for one
// that can't be read.
func (r *Redactor) Event(buffer []byte, e *event.Event) (redacted event.Event, ok bool) {
	data, err := r.AppendEvent(buffer, e.Data)
	if err != nil {
		return event.Event{}, false
	}
	redacted = *e
	redacted.Data = data
	redacted.NodeName = string(r.AppendText(nil, []byte(e.NodeName)))
	return redacted, true
}

package trace

import (
	"go.opentelemetry.io/otel/attribute"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/proto/event"
)

// exportTransaction makes the spans of a transaction.
func (t *Tracer) exportTransaction(r *record, why end) {
	from, to := r.bounds()
	tree := t.tree(event.TransactionTraceID(r.key.hash[:]), r.key.node, from)
	root := tree.start(nil, "transaction", from, attrWTxID.String(r.key.hash.display()), attrEnd.String(string(why)))
	if r.txid != (hash{}) {
		root.span.SetAttributes(attrTxID.String(r.txid.display()))
	}
	p := &picture{root: root, peers: map[uint64]*exchange{}}
	// waiting is the last transaction message whose fate isn't known yet.
	var waiting *step
	result := ""
	for i := range r.steps {
		s := &r.steps[i]
		switch s.kind {
		case event.KindMempoolAdded, event.KindMempoolRejected:
			outcome := "added"
			attributes := []attribute.KeyValue{attrVSize.Int64(int64(s.vsize)), attrFee.Int64(s.fee)}
			if s.kind == event.KindMempoolRejected {
				outcome = "rejected"
				attributes = []attribute.KeyValue{attrReason.String(s.text)}
			}
			result = outcome
			attributes = append(attributes, attrResult.String(outcome))
			if waiting == nil {
				root.event("acceptance", s.at, attributes...)
				continue
			}
			root.between("acceptance", waiting.at, s.at, append(waiting.peerAttributes(), attributes...)...)
			waiting = nil
		case event.KindMempoolReplaced:
			root.event("replaced", s.at)
		case event.KindMempoolRemoved:
			root.event("removed", s.at, attrReason.String(s.text))
		case event.KindMessage:
			p.transactionMessage(s)
			if s.inbound && s.message == decode.MessageTx {
				waiting = s
			}
		}
	}
	p.finish()
	root.span.SetAttributes(attrResult.String(orUnknown(result)))
	if r.dropped > 0 {
		root.span.SetAttributes(attrDropped.Int(r.dropped))
	}
	root.end(to)
}

func orUnknown(result string) string {
	if result == "" {
		return "unknown"
	}
	return result
}

func (p *picture) transactionMessage(s *step) {
	x := p.peer(s.peer)
	switch {
	case s.message == decode.MessageInv && s.inbound:
		p.announcement(s, p.content != nil)
	case s.message == decode.MessageInv:
		p.ours = append(p.ours, s)
	case s.message == decode.MessageGetData && s.inbound:
		x.wants = s
	case s.message == decode.MessageGetData:
		x.requested = s
	case s.message == decode.MessageTx && s.inbound:
		p.delivery(s)
	case s.message == decode.MessageTx || s.message == decode.MessageNotFound && !s.inbound:
		p.answer(p.root, &x.wants, s, "serving")
	case s.message == decode.MessageNotFound:
		p.unanswered(x.requested, "request", "notfound")
		x.requested = nil
	}
}

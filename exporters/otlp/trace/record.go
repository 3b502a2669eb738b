package trace

import (
	"time"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/proto/event"
)

// recordKey names a block or transaction as one run of one node sees it.
type recordKey struct {
	node    string
	start   int64
	subject subject
	hash    hash
}

// record is what was seen of a block or transaction.
type record struct {
	key     recordKey
	steps   []step
	dropped int
	// opened and touched are when the first and the last step were handled, by the
	// clock of this process.
	opened, touched time.Time
	txid            hash
	// announced says that somebody announced it, peer or node; confirmed that the node
	// did something about it.
	announced, confirmed bool
}

// fresh says whether a block is new by its header. Old ones are being downloaded or
// served, by the hundred thousand.
func (s *step) fresh() bool {
	const day = 24 * 60 * 60
	if s.headerTime == 0 {
		return true
	}
	age := s.at/int64(time.Second) - int64(s.headerTime)
	return age < day && age > -day
}

// confirms says whether a step is the node's own doing, not just a peer's claim.
func (s *step) confirms() bool {
	if s.kind != event.KindMessage {
		return true
	}
	return !s.inbound
}

// announces says whether a step is one that a trace may begin with. That a block was
// connected isn't enough: in initial block download that happens to all of them.
func (s *step) announces() bool {
	switch s.kind {
	case event.KindMessage:
		switch s.message {
		case decode.MessageInv, decode.MessageHeaders, decode.MessageCmpctBlock:
			return true
		case decode.MessageTx:
			return s.subject == subjectTransaction
		}
	case event.KindValidationBlockHeader:
		return true
	}
	return false
}

func (t *Tracer) recordStep(s *step) {
	key := recordKey{node: s.node, start: s.start, subject: s.subject, hash: s.hash}
	if s.subject == subjectTransaction && s.hash == (hash{}) {
		// The mempool speaks of txids.
		known, ok := t.byTxID[recordKey{node: s.node, start: s.start, subject: s.subject, hash: s.txid}]
		if !ok {
			return
		}
		key = known
	}
	if _, ok := t.done.get(key); ok {
		return
	}
	now := t.config.Clock()
	r, open := t.open.get(key)
	if !open {
		var claimed bool
		if r, claimed = t.claimed.get(key); !claimed {
			if !s.opens() {
				return
			}
			r = &record{key: key, opened: now}
			if evicted, was := t.claimed.put(key, r); was {
				t.forget(evicted)
			}
		}
	}
	if !s.fresh() {
		t.open.remove(key)
		t.claimed.remove(key)
		t.forget(r)
		t.done.put(key, struct{}{})
		return
	}
	t.add(r, s, now)
	if !open && r.confirmed && r.announced {
		t.claimed.remove(key)
		if evicted, was := t.open.put(key, r); was {
			t.finish(evicted.key, evicted, endEvicted)
		}
		open = true
	}
	if open && now.Sub(r.opened) > maxAge {
		t.open.remove(key)
		t.finish(key, r, endAge)
	}
	t.shrink()
}

// shrink keeps the number of all stored steps inside its bound. What only peers claim
// goes first.
func (t *Tracer) shrink() {
	for t.stored > maxStored {
		if key, r, ok := t.claimed.oldest(); ok {
			t.claimed.remove(key)
			t.forget(r)
			continue
		}
		key, r, ok := t.open.oldest()
		if !ok {
			return
		}
		t.open.remove(key)
		t.finish(key, r, endEvicted)
	}
}

// opens says whether a step begins the record of something unknown. A connected block
// does, because the node's own blocks are connected before they are announced; without
// an announcement it is forgotten.
func (s *step) opens() bool {
	return s.announces() || s.kind == event.KindValidationBlockConnected
}

func (t *Tracer) add(r *record, s *step, now time.Time) {
	r.touched = now
	r.announced = r.announced || s.announces()
	r.confirmed = r.confirmed || s.confirms()
	if s.subject == subjectTransaction && r.txid == (hash{}) && s.txid != (hash{}) {
		r.txid = s.txid
		t.byTxID[recordKey{node: s.node, start: s.start, subject: s.subject, hash: s.txid}] = r.key
	}
	limit := maxSteps
	if !r.confirmed {
		limit = maxClaims
	}
	if len(r.steps) >= limit {
		r.dropped++
		t.overflow.Add(1)
		return
	}
	r.steps = append(r.steps, *s)
	t.stored++
}

// forget drops a record that is not exported.
func (t *Tracer) forget(r *record) {
	t.unindex(r)
	t.metrics.traces.WithLabelValues(r.key.subject.String(), string(endClaimed)).Inc()
}

// unindex takes a record out of all accounts.
func (t *Tracer) unindex(r *record) {
	t.stored -= len(r.steps)
	if r.txid != (hash{}) {
		delete(t.byTxID, recordKey{node: r.key.node, start: r.key.start, subject: r.key.subject, hash: r.txid})
	}
}

func (t *Tracer) finish(key recordKey, r *record, why end) {
	t.unindex(r)
	t.done.put(key, struct{}{})
	t.metrics.traces.WithLabelValues(key.subject.String(), string(why)).Inc()
	if key.subject == subjectBlock {
		t.exportBlock(r, why)
		return
	}
	t.exportTransaction(r, why)
}

// String is the name that spans and labels use.
func (s subject) String() string {
	switch s {
	case subjectBlock:
		return "block"
	case subjectTransaction:
		return "transaction"
	default:
		return "peer"
	}
}

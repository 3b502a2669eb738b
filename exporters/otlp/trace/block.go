package trace

import (
	"cmp"
	"slices"

	"go.opentelemetry.io/otel/attribute"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/proto/event"
)

// exchange is what passed between the node and one peer about a block or transaction.
type exchange struct {
	// announced is the peer's first announcement; requested and missing are our
	// requests (getdata, getblocktxn) that are not answered yet.
	announced, requested, missing *step
	// compact is the peer's compact block, completed its blocktxn.
	compact, completed *step
	// wants are the peer's requests that we have not answered yet.
	wants *step
}

// picture is what the steps of one block or transaction make.
type picture struct {
	root  *span
	peers map[uint64]*exchange
	// announcers counts the peers that announced it.
	announcers int
	// ours are our own announcements.
	ours []*step
	// content is the first step that brought all of it.
	content *step
}

func (p *picture) peer(id uint64) *exchange {
	x := p.peers[id]
	if x == nil {
		x = new(exchange)
		p.peers[id] = x
	}
	return x
}

// announcement is an event of a peer's announcement: it has one end.
func (p *picture) announcement(s *step, late bool) {
	x := p.peer(s.peer)
	if x.announced == nil {
		x.announced = s
		p.announcers++
	}
	attributes := s.messageAttributes(attrOrder.Int(p.announcers))
	if late {
		attributes = append(attributes, attrLate.Bool(true))
	}
	p.root.event("announcement", s.at, attributes...)
}

// delivery makes the spans that end with a peer's content: the request, and from the
// peer's announcement to the content.
func (p *picture) delivery(s *step) {
	x := p.peer(s.peer)
	parent := p.root
	if x.announced != nil && x.announced != s && x.requested != nil {
		parent = p.root.between("delivery", x.announced.at, s.at, s.messageAttributes(attrSize.Int64(int64(s.size)))...)
	} else if x.announced == nil && x.requested == nil {
		p.root.event("delivery", s.at, s.messageAttributes()...)
	}
	p.answer(parent, &x.requested, s, "request")
	if p.content == nil {
		p.content = s
	}
}

// answer makes the span from a request to its answer, if there was a request.
func (p *picture) answer(parent *span, request **step, s *step, name string) {
	if *request == nil {
		return
	}
	parent.between(name, (*request).at, s.at, s.messageAttributes(attrRequest.String((*request).message.String()))...)
	*request = nil
}

// unanswered makes events of requests without an answer.
func (p *picture) unanswered(s *step, name, answer string) {
	if s != nil {
		p.root.event(name, s.at, s.messageAttributes(attrAnswered.String(answer))...)
	}
}

// finish adds what is left over.
func (p *picture) finish() {
	for _, id := range sortedKeys(p.peers) {
		x := p.peers[id]
		p.unanswered(x.requested, "request", "none")
		p.unanswered(x.missing, "request", "none")
		p.unanswered(x.wants, "serving", "none")
	}
	if len(p.ours) == 0 {
		return
	}
	to := p.root
	if first, last := p.ours[0], p.ours[len(p.ours)-1]; first != last {
		to = p.root.tree.start(p.root, "relay", first.at)
		defer to.end(last.at)
	}
	for _, s := range p.ours {
		to.event("relay", s.at, s.messageAttributes()...)
	}
}

func sortedKeys(m map[uint64]*exchange) []uint64 {
	keys := make([]uint64, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// bounds sorts the steps and gives the times of the first and the last.
func (r *record) bounds() (from, to int64) {
	slices.SortStableFunc(r.steps, func(a, b step) int { return cmp.Compare(a.at, b.at) })
	from, to = r.steps[0].at, r.steps[len(r.steps)-1].at
	for i := range r.steps {
		if s := &r.steps[i]; s.kind == event.KindValidationBlockConnected {
			from = min(from, s.validationStart())
		}
	}
	return from, to
}

// validationStart is when the node began to connect a block.
func (s *step) validationStart() int64 {
	const day = 24 * 60 * 60 * 1_000_000_000
	return s.at - int64(min(s.validation.ConnectTime, day))
}

// exportBlock makes the spans of a block.
func (t *Tracer) exportBlock(r *record, why end) {
	from, to := r.bounds()
	tree := t.tree(event.BlockTraceID(r.key.hash[:]), r.key.node, from)
	root := tree.start(nil, "block", from, attrBlock.String(r.key.hash.display()), attrEnd.String(string(why)))
	p := &picture{root: root, peers: map[uint64]*exchange{}}
	var connected *step
	for i := range r.steps {
		if s := &r.steps[i]; s.kind == event.KindValidationBlockConnected && connected == nil {
			connected = s
		}
	}
	b := &blockPicture{picture: p, connected: connected}
	for i := range r.steps {
		b.step(&r.steps[i])
	}
	b.inferReconstruction()
	p.finish()
	root.span.SetAttributes(b.summary(r)...)
	root.end(to)
}

type blockPicture struct {
	*picture
	connected     *step
	reconstructed bool
	// whole is the first block message, compact the peers that sent a compact block,
	// in their order.
	whole   *step
	compact []uint64
}

func (b *blockPicture) step(s *step) {
	late := b.connected != nil && s.at > b.connected.at
	switch {
	case s.kind == event.KindValidationBlockConnected:
		attributes := []attribute.KeyValue{attrHeight.Int64(int64(s.validation.Height)), attrTransactions.Int64(s.validation.Transactions)}
		if s.validation.ConnectTime == 0 {
			b.root.event("validation", s.at, attributes...)
		} else {
			b.root.between("validation", s.validationStart(), s.at, attributes...)
		}
	case s.kind == event.KindValidationBlockHeader:
		b.root.event("header", s.at, attrPeer.Int64(int64(s.peer)), attrHeight.Int64(int64(s.validation.Height)))
	case s.kind == event.KindValidationCompactBlockReconstructed:
		b.reconstruct(b.peer(s.peer), s.at,
			attribute.Int64("bitcoin.compact_block.prefilled", int64(s.validation.Prefilled)),
			attribute.Int64("bitcoin.compact_block.from_mempool", int64(s.validation.FromMempool)),
			attribute.Int64("bitcoin.compact_block.from_extra_pool", int64(s.validation.FromExtraPool)),
			attribute.Int64("bitcoin.compact_block.requested", int64(s.validation.Requested)),
			attribute.Int64("bitcoin.compact_block.requested_bytes", int64(s.validation.RequestedBytes)))
	case s.inbound:
		b.received(s, late)
	default:
		b.sent(s)
	}
}

func (b *blockPicture) received(s *step, late bool) {
	x := b.peer(s.peer)
	switch s.message {
	case decode.MessageInv, decode.MessageHeaders:
		b.announcement(s, late)
	case decode.MessageCmpctBlock:
		if x.requested == nil {
			b.announcement(s, late)
		} else {
			b.delivery(s)
		}
		if x.compact == nil {
			x.compact = s
			b.compact = append(b.compact, s.peer)
		}
	case decode.MessageBlock:
		if b.whole == nil {
			b.whole = s
		}
		b.delivery(s)
	case decode.MessageBlockTxn:
		if x.missing == nil {
			b.root.event("delivery", s.at, s.messageAttributes()...)
		} else {
			b.answer(b.root, &x.missing, s, "request")
		}
		if x.completed == nil {
			x.completed = s
		}
		if b.content == nil {
			b.content = s
		}
	case decode.MessageNotFound:
		b.unanswered(x.requested, "request", "notfound")
		x.requested = nil
	case decode.MessageGetData, decode.MessageGetBlockTxn:
		x.wants = s
	}
}

func (b *blockPicture) sent(s *step) {
	x := b.peer(s.peer)
	switch s.message {
	case decode.MessageGetData:
		x.requested = s
	case decode.MessageGetBlockTxn:
		x.missing = s
	case decode.MessageInv, decode.MessageHeaders:
		b.ours = append(b.ours, s)
	case decode.MessageCmpctBlock:
		if x.wants == nil {
			b.ours = append(b.ours, s)
			return
		}
		b.answer(b.root, &x.wants, s, "serving")
	case decode.MessageBlock, decode.MessageBlockTxn, decode.MessageNotFound:
		b.answer(b.root, &x.wants, s, "serving")
	}
}

// reconstruct makes the span from a peer's compact block to the whole block.
func (b *blockPicture) reconstruct(x *exchange, at int64, attributes ...attribute.KeyValue) {
	b.reconstructed = true
	if x.compact == nil {
		b.root.event("reconstruction", at, attributes...)
		return
	}
	b.root.between("reconstruction", x.compact.at, at, append(x.compact.peerAttributes(), attributes...)...)
}

// inferReconstruction says when a compact block became a whole one where the node has
// no tracepoint for it: the block was connected, no block message came before, so the
// compact block was complete when its blocktxn came, or else when validation began.
func (b *blockPicture) inferReconstruction() {
	if b.reconstructed || b.connected == nil || len(b.compact) == 0 {
		return
	}
	start := b.connected.validationStart()
	if b.whole != nil && b.whole.at <= start {
		return
	}
	for _, id := range b.compact {
		if x := b.peers[id]; x.completed != nil && x.completed.at <= start {
			b.reconstruct(x, x.completed.at, attrInferred.Bool(true))
			return
		}
	}
	if x := b.peers[b.compact[0]]; x.compact.at <= start && x.missing == nil {
		b.reconstruct(x, start, attrInferred.Bool(true))
	}
}

// summary gives the attributes of the root that are known at the end.
func (b *blockPicture) summary(r *record) []attribute.KeyValue {
	attributes := []attribute.KeyValue{
		attribute.Int("bitcoin.block.announcing_peers", b.announcers),
		attribute.Int("bitcoin.block.announced_to_peers", len(b.ours)),
	}
	if r.dropped > 0 {
		attributes = append(attributes, attrDropped.Int(r.dropped))
	}
	origin := "peer"
	if b.local(r) {
		origin = "local"
	}
	attributes = append(attributes, attrOrigin.String(origin))
	var missing []string
	if origin == "peer" {
		if b.announcers == 0 {
			missing = append(missing, "announcement")
		}
		if b.content == nil && !b.reconstructed {
			missing = append(missing, "delivery")
		}
	}
	if b.connected == nil {
		missing = append(missing, "validation")
	} else {
		attributes = append(attributes, attrHeight.Int64(int64(b.connected.validation.Height)))
	}
	if len(b.ours) == 0 {
		missing = append(missing, "relay")
	}
	if len(missing) > 0 {
		attributes = append(attributes, attrMissing.StringSlice(missing))
	}
	return attributes
}

// local says whether the node had the block before any peer spoke of it: it was mined
// here, or submitted over RPC.
func (b *blockPicture) local(r *record) bool {
	for i := range r.steps {
		switch s := &r.steps[i]; {
		case s.kind == event.KindValidationBlockHeader, s.inbound:
			return false
		case s.kind == event.KindValidationBlockConnected:
			return true
		}
	}
	return false
}

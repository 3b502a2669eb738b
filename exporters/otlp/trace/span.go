package trace

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/peerobserver/peerobserver/exporters/netgroup"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// Names of attributes.
const (
	attrNode         = attribute.Key("peerobserver.node.name")
	attrEnd          = attribute.Key("peerobserver.trace.end")
	attrDropped      = attribute.Key("peerobserver.trace.dropped_steps")
	attrMissing      = attribute.Key("peerobserver.trace.missing")
	attrInferred     = attribute.Key("peerobserver.inferred")
	attrAnswered     = attribute.Key("bitcoin.request.answer")
	attrLate         = attribute.Key("bitcoin.announcement.late")
	attrOrder        = attribute.Key("bitcoin.announcement.order")
	attrOrigin       = attribute.Key("bitcoin.block.origin")
	attrBlock        = attribute.Key("bitcoin.block.hash")
	attrHeight       = attribute.Key("bitcoin.block.height")
	attrTransactions = attribute.Key("bitcoin.block.transactions")
	attrWTxID        = attribute.Key("bitcoin.transaction.wtxid")
	attrTxID         = attribute.Key("bitcoin.transaction.txid")
	attrVSize        = attribute.Key("bitcoin.transaction.vsize")
	attrFee          = attribute.Key("bitcoin.transaction.fee")
	attrResult       = attribute.Key("bitcoin.transaction.result")
	attrReason       = attribute.Key("bitcoin.reason")
	attrPeer         = attribute.Key("bitcoin.peer.id")
	attrConnection   = attribute.Key("bitcoin.peer.connection_type")
	attrNetwork      = attribute.Key("bitcoin.peer.network")
	attrAddress      = attribute.Key("bitcoin.peer.address")
	attrUserAgent    = attribute.Key("bitcoin.peer.user_agent")
	attrVersion      = attribute.Key("bitcoin.peer.protocol_version")
	attrMessage      = attribute.Key("bitcoin.message.type")
	attrRequest      = attribute.Key("bitcoin.request.type")
	attrSize         = attribute.Key("bitcoin.message.size")
)

// maxEvents bounds the events of a span: the default of OpenTelemetry's SDKs.
const maxEvents = 128

// ids is what IDGenerator finds in a context.
type ids struct {
	trace trace.TraceID
	span  trace.SpanID
}

type idsKey struct{}

// generator gives the ids that the context carries.
type generator struct{}

// IDGenerator gives the spans of a Tracer their ids, which are derived from what they
// tell of: the same events make the same ids, so that events that are traced twice (by
// an agent and from NATS) make no second trace. Spans of others get random ids.
func IDGenerator() sdktrace.IDGenerator { return generator{} }

func (generator) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if v, ok := ctx.Value(idsKey{}).(ids); ok {
		return v.trace, v.span
	}
	var v ids
	// Read never fails: it ends the program instead (crypto/rand).
	_, _ = rand.Read(v.trace[:])
	_, _ = rand.Read(v.span[:])
	return v.trace, v.span
}

func (g generator) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	_, span := g.NewIDs(ctx)
	return span
}

// tree makes the spans of one trace on one node.
type tree struct {
	tracer trace.Tracer
	trace  trace.TraceID
	node   string
	// origin tells parts of one trace on one node apart.
	origin int64
	count  uint64
}

func (t *Tracer) tree(id event.TraceID, node string, origin int64) *tree {
	return &tree{tracer: t.tracer, trace: trace.TraceID(id), node: node, origin: origin}
}

// span is one that has been started.
type span struct {
	tree    *tree
	ctx     context.Context //nolint:containedctx // OpenTelemetry carries the parent in it
	span    trace.Span
	from    int64
	events  int
	skipped int
}

// start starts a span at a time in UNIX nanoseconds; parent is nil for a root.
func (r *tree) start(parent *span, name string, at int64, attributes ...attribute.KeyValue) *span {
	ctx := context.Background()
	if parent != nil {
		ctx = parent.ctx
	}
	r.count++
	material := append(make([]byte, 0, 512), r.trace[:]...)
	material = binary.BigEndian.AppendUint64(material, uint64(r.origin))
	material = binary.BigEndian.AppendUint64(material, r.count)
	material = append(material, r.node...)
	sum := sha256.Sum256(material)
	ctx = context.WithValue(ctx, idsKey{}, ids{trace: r.trace, span: trace.SpanID(sum[:8])})
	attributes = append(attributes, attrNode.String(r.node))
	ctx, s := r.tracer.Start(ctx, name, trace.WithTimestamp(time.Unix(0, at)), trace.WithAttributes(attributes...))
	return &span{tree: r, ctx: ctx, span: s, from: at}
}

// between makes a span whose two ends are known.
func (s *span) between(name string, from, to int64, attributes ...attribute.KeyValue) *span {
	child := s.tree.start(s, name, from, attributes...)
	child.end(to)
	return child
}

func (s *span) event(name string, at int64, attributes ...attribute.KeyValue) {
	if s.events++; s.events >= maxEvents {
		s.skipped++
		return
	}
	s.span.AddEvent(name, trace.WithTimestamp(time.Unix(0, at)), trace.WithAttributes(attributes...))
}

// end ends the span. Events of different threads may be a little out of order: a span
// is never of negative length.
func (s *span) end(at int64) {
	if s.skipped > 0 {
		s.span.SetAttributes(attrDropped.Int(s.skipped))
	}
	s.span.End(trace.WithTimestamp(time.Unix(0, max(at, s.from))))
}

// display is a hash as people write it: hexadecimal, last byte first.
func (h hash) display() string {
	slices.Reverse(h[:])
	return hex.EncodeToString(h[:])
}

// peerAttributes say which peer a step is about.
func (s *step) peerAttributes() []attribute.KeyValue {
	return []attribute.KeyValue{attrPeer.Int64(int64(s.peer)), attrConnection.String(connectionName(s.connection))}
}

// messageAttributes add the message.
func (s *step) messageAttributes(more ...attribute.KeyValue) []attribute.KeyValue {
	return append(append(s.peerAttributes(), attrMessage.String(s.message.String())), more...)
}

// connectionName is the name that Bitcoin Core uses.
func connectionName(c eventpb.ConnectionType) string {
	name, known := strings.CutPrefix(c.String(), "CONNECTION_TYPE_")
	if !known {
		return "unknown"
	}
	return strings.ReplaceAll(strings.ToLower(name), "_", "-")
}

func networkName(n uint32) string {
	if n >= uint32(netgroup.Networks) {
		return "unknown"
	}
	return netgroup.Network(n).String()
}

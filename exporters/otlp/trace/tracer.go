// Package trace makes OpenTelemetry traces from events: one trace a block, from the
// first announcement by any peer to our own announcements; the same for sampled
// transactions; and one for the session of a peer. It doesn't matter where the events
// come from, and one Tracer serves any number of nodes.
//
// The id of a block's or transaction's trace is derived from its hash, so that the
// spans of all nodes that saw it are one trace. A span is made only where both its
// ends were seen; what has one end is a span event.
//
// Peers can't make it grow: everything that is kept has a bound, what only peers claim
// is not exported before the node itself acts on it, and no name of a span or
// attribute is a peer's.
package trace

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/proto/event"
)

// Defaults of Config.
const (
	// DefaultTransactions and DefaultPeers: one in so many is traced.
	DefaultTransactions = 100
	DefaultPeers        = 10
	// DefaultIdle is the time after the last step at which a block or transaction is
	// exported: the slow peers announce a block for half a minute.
	DefaultIdle = 30 * time.Second
	// DefaultQueue is the number of steps that wait.
	DefaultQueue = 8192
)

// Bounds of what is kept.
const (
	// maxAge ends a trace that never becomes idle.
	maxAge = 10 * time.Minute
	// maxSteps bounds the steps of one block or transaction on one node.
	maxSteps = 512
	// maxClaims is the same while only peers have spoken of it.
	maxClaims = 64
	// maxStored bounds the steps of all blocks and transactions, of some 400 bytes.
	maxStored = 65536
	// The open blocks and transactions of all nodes: those that the node acted on,
	// and those that only peers spoke of.
	maxOpen    = 1024
	maxClaimed = 1024
	maxDone    = 16384
	// maxSessions bounds the open sessions of peers.
	maxSessions = 4096
	sweepPeriod = time.Second
)

// Reasons of losses.
const (
	// ReasonQueueFull: the collector is slower than the node.
	ReasonQueueFull event.Reason = "otlp_full"
	// ReasonTraceFull: a block or transaction had too many steps.
	ReasonTraceFull event.Reason = "otlp_trace_full"
)

// Config says what is traced.
type Config struct {
	// Blocks turns the traces of blocks on.
	Blocks bool
	// Transactions is n when one transaction in n is traced, chosen by its wtxid so
	// that all nodes choose the same ones; 0 for none.
	Transactions int
	// Peers is n when the session of one peer in n is traced; 0 for none.
	Peers int
	// Addresses puts the addresses of peers into the traces of their sessions.
	Addresses bool
	// Idle is the time after the last step at which a trace is exported; DefaultIdle
	// when zero.
	Idle time.Duration
	// Queue is the number of steps that may wait; DefaultQueue when zero.
	Queue int
	// Clock tells how long a trace has been idle; time.Now when nil. The times of the
	// spans are those of the events.
	Clock func() time.Time
	// Registerer takes the metrics of the tracer; nil for none.
	Registerer prometheus.Registerer
}

func (c *Config) validate() error {
	if c.Transactions < 0 || c.Peers < 0 {
		return errors.New("a sampling of one in a negative number makes no sense: use 0 for none")
	}
	if c.Idle < 0 || c.Queue < 0 {
		return errors.New("the idle time and the size of the queue can't be negative")
	}
	if c.Idle == 0 {
		c.Idle = DefaultIdle
	}
	if c.Queue == 0 {
		c.Queue = DefaultQueue
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	return nil
}

// Tracer is an event.Sink and an event.Runner.
type Tracer struct {
	config   Config
	tracer   trace.Tracer
	ledger   *event.Ledger
	queue    chan step
	full     [event.SourceObserver + 1]*event.Counter
	overflow *event.Counter
	closed   atomic.Bool

	// decoded is used by HandleEvent only, the rest by Run only.
	decoded  decode.Event
	open     *lru[recordKey, *record]
	claimed  *lru[recordKey, *record]
	done     *lru[recordKey, struct{}]
	byTxID   map[recordKey]recordKey
	stored   int
	sessions *lru[sessionKey, *session]
	metrics  metrics
}

type metrics struct {
	traces *prometheus.CounterVec
	open   *prometheus.GaugeVec
}

// New makes a tracer whose spans go to the provider, which must have IDGenerator as
// its generator of ids.
func New(config Config, provider trace.TracerProvider, ledger *event.Ledger) (*Tracer, error) {
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	t := &Tracer{
		config:   config,
		tracer:   provider.Tracer("github.com/peerobserver/peerobserver/exporters/otlp/trace"),
		ledger:   ledger,
		queue:    make(chan step, config.Queue),
		overflow: ledger.Loss(event.SourceEBPF, event.StageQueue, ReasonTraceFull),
		open:     newLRU[recordKey, *record](maxOpen),
		claimed:  newLRU[recordKey, *record](maxClaimed),
		done:     newLRU[recordKey, struct{}](maxDone),
		byTxID:   map[recordKey]recordKey{},
		sessions: newLRU[sessionKey, *session](maxSessions),
	}
	t.full[event.SourceEBPF] = ledger.Loss(event.SourceEBPF, event.StageQueue, ReasonQueueFull)
	t.metrics.traces = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "peerobserver_otlp_traces_total",
		Help: "Parts of traces that were made, by what they are of and why they ended; claimed: dropped, because only peers spoke of it.",
	}, []string{"trace", "end"})
	t.metrics.open = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "peerobserver_otlp_open_traces",
		Help: "Blocks, transactions and sessions that are being traced; claimed: what only peers have spoken of.",
	}, []string{"trace"})
	if config.Registerer != nil {
		if err := errors.Join(config.Registerer.Register(t.metrics.traces), config.Registerer.Register(t.metrics.open)); err != nil {
			return nil, fmt.Errorf("traces: %w", err)
		}
	}
	// A counter that is there from the start shows its first step.
	for _, of := range []subject{subjectBlock, subjectTransaction} {
		for _, why := range []end{endIdle, endEvicted, endAge, endShutdown, endClaimed} {
			t.metrics.traces.WithLabelValues(of.String(), string(why))
		}
	}
	for _, why := range []end{endClosed, endEvicted, endShutdown} {
		t.metrics.traces.WithLabelValues(subjectPeer.String(), string(why))
	}
	t.count()
	ledger.Queue(t.queueState)
	return t, nil
}

// stepSize is what a step takes of the queue, in bytes.
var stepSize = uint64(reflect.TypeFor[step]().Size())

func (t *Tracer) queueState() event.QueueState {
	n := uint64(len(t.queue))
	return event.QueueState{Sink: "otlp", Events: n, Bytes: n * stepSize, CapacityBytes: uint64(cap(t.queue)) * stepSize}
}

// HandleEvent implements event.Sink. It never waits. Events that can't be decoded are
// left to the metrics, which count them.
func (t *Tracer) HandleEvent(e *event.Event) {
	switch e.Kind {
	case event.KindMessage,
		event.KindConnectionInbound, event.KindConnectionOutbound, event.KindConnectionClosed,
		event.KindConnectionInboundEvicted, event.KindConnectionMisbehaving,
		event.KindMempoolAdded, event.KindMempoolReplaced, event.KindMempoolRemoved, event.KindMempoolRejected,
		event.KindValidationBlockConnected, event.KindValidationBlockHeader, event.KindValidationCompactBlockReconstructed:
	default:
		return
	}
	if !t.decoded.Decode(e.Source, e.Data) {
		return
	}
	lost := false
	t.steps(e, &t.decoded, func(s *step) {
		if t.closed.Load() {
			lost = true
			return
		}
		select {
		case t.queue <- *s:
		default:
			lost = true
		}
	})
	if lost {
		// An event is lost once, however many steps it has.
		t.full[event.SourceEBPF].Add(1)
	}
}

// Run makes spans until ctx ends, and then of everything that is still open. It may
// wait in the provider; meanwhile the queue fills and HandleEvent counts.
func (t *Tracer) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepPeriod)
	defer tick.Stop()
	for {
		select {
		case s := <-t.queue:
			t.handle(&s)
		case <-tick.C:
			t.sweep()
		case <-ctx.Done():
			t.finishAll()
			return nil
		}
	}
}

// finishAll handles what is queued and ends all traces.
func (t *Tracer) finishAll() {
	t.closed.Store(true)
	for {
		select {
		case s := <-t.queue:
			t.handle(&s)
			continue
		default:
		}
		break
	}
	for {
		key, r, ok := t.open.oldest()
		if !ok {
			break
		}
		t.open.remove(key)
		t.finish(key, r, endShutdown)
	}
	for {
		key, s, ok := t.sessions.oldest()
		if !ok {
			break
		}
		t.sessions.remove(key)
		t.endSession(s, endShutdown)
	}
	t.count()
}

func (t *Tracer) handle(s *step) {
	if s.subject == subjectPeer {
		t.sessionStep(s)
		return
	}
	t.recordStep(s)
}

// sweep ends the traces that have been idle for long enough.
func (t *Tracer) sweep() {
	now := t.config.Clock()
	for {
		key, r, ok := t.open.oldest()
		if !ok || now.Sub(r.touched) < t.config.Idle {
			break
		}
		t.open.remove(key)
		t.finish(key, r, endIdle)
	}
	for {
		key, r, ok := t.claimed.oldest()
		if !ok || now.Sub(r.touched) < maxAge {
			break
		}
		t.claimed.remove(key)
		t.forget(r)
	}
	t.count()
}

func (t *Tracer) count() {
	t.metrics.open.WithLabelValues("confirmed").Set(float64(t.open.len()))
	t.metrics.open.WithLabelValues("claimed").Set(float64(t.claimed.len()))
	t.metrics.open.WithLabelValues("peer").Set(float64(t.sessions.len()))
}

// end is why a trace ended: an attribute of its root and a label.
type end string

const (
	endIdle     end = "idle"
	endEvicted  end = "evicted"
	endAge      end = "age"
	endShutdown end = "shutdown"
	endClosed   end = "closed"
	endClaimed  end = "claimed"
)

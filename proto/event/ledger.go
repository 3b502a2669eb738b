package event

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// Stage is where an event was lost.
type Stage string

// The stages, from the node outward.
const (
	// StageKernel: the eBPF program could not hand it over.
	StageKernel Stage = "kernel"
	// StageRead: the source could not read it.
	StageRead Stage = "read"
	// StageEmit: the source could not encode it.
	StageEmit Stage = "emit"
	// StageQueue: a sink's queue was full.
	StageQueue Stage = "queue"
	// StagePublish: NATS did not take it.
	StagePublish Stage = "publish"
	// StageSubscribe: a subscriber missed it.
	StageSubscribe Stage = "subscribe"
	// StageDecode: a reader could not understand it.
	StageDecode Stage = "decode"
	// StageWrite: it could not be written to a file.
	StageWrite Stage = "write"
)

// Reason is why an event was lost.
type Reason string

// Reasons that several stages share; others are defined where they arise. A reason
// is never text that a peer chose.
const (
	ReasonTooLarge  Reason = "too_large"
	ReasonEncode    Reason = "encode"
	ReasonQueueFull Reason = "queue_full"
	ReasonMalformed Reason = "malformed"
	ReasonGap       Reason = "gap"
)

// Counter is a count that only grows. The zero value is ready.
type Counter struct{ n atomic.Uint64 }

// Add adds n.
func (c *Counter) Add(n uint64) { c.n.Add(n) }

// Set replaces the count by one that was counted elsewhere, such as in the kernel.
func (c *Counter) Set(n uint64) { c.n.Store(n) }

// Value is the count.
func (c *Counter) Value() uint64 { return c.n.Load() }

// SourceAccount is what is known of one source. Its methods may be called from
// several goroutines.
type SourceAccount struct {
	ledger    *Ledger
	source    Source
	events    Counter
	attempts  Counter
	failures  Counter
	lastEvent atomic.Int64

	mu     sync.Mutex
	up     bool
	detail string
}

// Started counts an attempt to bring the source up.
func (a *SourceAccount) Started() { a.attempts.Add(1) }

// Up says that the source sees what it is there to see; detail says what that is.
func (a *SourceAccount) Up(detail string) { a.set(true, detail) }

// Down says that the source sees nothing, and why.
func (a *SourceAccount) Down(reason string) { a.set(false, reason) }

// Failed counts a failure and says that the source is down.
func (a *SourceAccount) Failed(err error) {
	a.failures.Add(1)
	a.set(false, err.Error())
}

// State is whether the source is up, with the last detail or reason.
func (a *SourceAccount) State() (up bool, detail string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.up, a.detail
}

func (a *SourceAccount) set(up bool, detail string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.up != up {
		select {
		case a.ledger.changed <- struct{}{}:
		default:
		}
	}
	a.up, a.detail = up, detail
}

type lossKey struct {
	source Source
	stage  Stage
	reason Reason
}

// QueueState is the fill of a bounded queue.
type QueueState struct {
	Sink                         string
	Events, Bytes, CapacityBytes uint64
}

// Ledger accounts for everything that the process sees and loses. Its methods may be
// called from several goroutines.
type Ledger struct {
	mu          sync.Mutex
	sources     map[Source]*SourceAccount
	losses      map[lossKey]*Counter
	queues      []func() QueueState
	node        func() *eventpb.NodeStatus
	tracepoints func() []*eventpb.TracepointStatus
	hostClock   func() *eventpb.HostClock
	changed     chan struct{}
}

// NewLedger makes an empty ledger.
func NewLedger() *Ledger {
	return &Ledger{
		sources: map[Source]*SourceAccount{},
		losses:  map[lossKey]*Counter{},
		changed: make(chan struct{}, 1),
	}
}

// Changed has a value after a source went up or down.
func (l *Ledger) Changed() <-chan struct{} { return l.changed }

// Source gives the account of a source, opening it on first use.
func (l *Ledger) Source(s Source) *SourceAccount {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.sources[s]
	if a == nil {
		a = &SourceAccount{ledger: l, source: s}
		l.sources[s] = a
	}
	return a
}

// Loss gives the counter of one kind of loss, making it on first use: get it once and
// keep it. A counter that exists is exported, also at zero.
func (l *Ledger) Loss(source Source, stage Stage, reason Reason) *Counter {
	key := lossKey{source, stage, reason}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.losses[key]
	if c == nil {
		c = new(Counter)
		l.losses[key] = c
	}
	return c
}

// Queue makes a sink's queue known.
func (l *Ledger) Queue(state func() QueueState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queues = append(l.queues, state)
}

// Node sets the function that describes the observed node.
func (l *Ledger) Node(describe func() *eventpb.NodeStatus) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.node = describe
}

// Tracepoints sets the function that describes the tracepoints.
func (l *Ledger) Tracepoints(describe func() []*eventpb.TracepointStatus) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tracepoints = describe
}

// HostClock sets the function that describes the clock of the host.
func (l *Ledger) HostClock(describe func() *eventpb.HostClock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hostClock = describe
}

// Status is the ledger as it is now, in a fixed order.
func (l *Ledger) Status() *eventpb.Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	status := new(eventpb.Status)
	for s := range sourceCount {
		a := l.sources[s]
		if a == nil {
			continue
		}
		up, detail := a.State()
		status.Sources = append(status.Sources, &eventpb.SourceStatus{
			Source:          ptr(s.String()),
			Up:              ptr(up),
			Detail:          ptr(detail),
			Events:          ptr(a.events.Value()),
			Attempts:        ptr(a.attempts.Value()),
			Failures:        ptr(a.failures.Value()),
			LastEventTimeNs: ptr(a.lastEvent.Load()),
		})
	}
	for key, c := range l.losses {
		status.Losses = append(status.Losses, &eventpb.Loss{
			Source: ptr(key.source.String()),
			Stage:  ptr(string(key.stage)),
			Reason: ptr(string(key.reason)),
			Count:  ptr(c.Value()),
		})
	}
	slices.SortFunc(status.Losses, func(a, b *eventpb.Loss) int {
		return cmp.Or(
			cmp.Compare(a.GetSource(), b.GetSource()),
			cmp.Compare(a.GetStage(), b.GetStage()),
			cmp.Compare(a.GetReason(), b.GetReason()),
		)
	})
	for _, state := range l.queues {
		q := state()
		status.Queues = append(status.Queues, &eventpb.QueueStatus{
			Sink:          ptr(q.Sink),
			Events:        ptr(q.Events),
			Bytes:         ptr(q.Bytes),
			CapacityBytes: ptr(q.CapacityBytes),
		})
	}
	if l.node != nil {
		status.Node = l.node()
	}
	if l.tracepoints != nil {
		status.Tracepoints = l.tracepoints()
	}
	if l.hostClock != nil {
		status.HostClock = l.hostClock()
	}
	return status
}

func ptr[T any](v T) *T { return &v }

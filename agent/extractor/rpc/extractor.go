// Package rpc is the source that asks the node over JSON-RPC: peers, traffic,
// mempool, chain, address manager. Every method has a clock, a timeout and a place in
// a lane of its own kind, so that a slow one delays no other, and the node never has
// more than a few calls of ours at a time.
package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/peerobserver/peerobserver/agent/node"
	"github.com/peerobserver/peerobserver/proto/event"
)

const (
	// nodeCheckInterval is how often the extractor looks whether there is a node,
	// and whether it is still the same one.
	nodeCheckInterval = time.Second
	// retryInterval is the delay after a call that didn't reach a node that is
	// starting or stopping, for methods with longer intervals.
	retryInterval = 5 * time.Second
	// maxBackoff bounds the delay after calls that timed out, unless the method's
	// own interval is longer. Bitcoin Core goes on working on a call whose client
	// has left, so asking again at once would fill its queue.
	maxBackoff = 10 * time.Minute
	// recheckMissing is when a method that the node lacks is tried again although
	// the node seems to be the same: where the start of the node isn't known, an
	// upgrade can't be seen.
	recheckMissing = time.Hour
	// maxStartDelay spreads the first calls.
	maxStartDelay = 2 * time.Second
)

// lane is a group of methods that share places for calls.
type lane int

// The lanes. Together they keep at most three of Bitcoin Core's four RPC threads
// (-rpcthreads) busy, and one slow method leaves a place for the others of its lane.
const (
	// laneFast is for methods that answer in milliseconds.
	laneFast lane = iota
	// laneHeavy is for methods that work long on the node or give large answers, and
	// for every method whose last call was slow. It has one place: while the node's
	// main lock is held, we keep one of its threads busy and not all.
	laneHeavy
)

// slowCall is the duration from which a call counts as slow.
const slowCall = time.Second

// Places for calls in each lane.
const (
	fastPlaces  = 2
	heavyPlaces = 1
)

// Caller calls a method of the node's JSON-RPC server. node.Client is one.
type Caller interface {
	// Call decodes the result into result, a pointer.
	Call(ctx context.Context, method string, params, result any) error
}

// Config says whom to ask, and how often.
type Config struct {
	// Client gives the node's RPC server, nil as long as no node is found. It is
	// called before every call, so it may give another client after a restart.
	Client func() Caller
	// NodeStart gives the start time of the node's process in UNIX nanoseconds,
	// zero when unknown. A change means another run of the node: methods that it
	// lacked are tried again, and everything is asked anew at once.
	NodeStart func() int64
	// Intervals replaces the interval of methods by name, such as "getpeerinfo";
	// negative turns a method off.
	Intervals map[string]time.Duration
	// Timeouts replaces the time that methods get for an answer, by name.
	Timeouts map[string]time.Duration
}

// Extractor asks the node and emits the answers.
type Extractor struct {
	config  Config
	emitter *event.Emitter
	logger  *slog.Logger
	methods []*schedule
	places  [2]chan struct{}
	losses  *losses
	health  *health
	// known: watchNode has seen the node, and has told the methods of it.
	known atomic.Bool

	mu sync.Mutex
	// changed is closed, and replaced, when a node appears or is replaced.
	changed chan struct{}
}

// New checks the configuration. Events go to the emitter, losses to the ledger, what
// an operator should know to the logger.
func New(config Config, emitter *event.Emitter, ledger *event.Ledger, logger *slog.Logger) (*Extractor, error) {
	if config.Client == nil {
		return nil, errors.New("rpc extractor: Config.Client is nil")
	}
	if config.NodeStart == nil {
		config.NodeStart = func() int64 { return 0 }
	}
	schedules, err := newSchedules(config.Intervals, config.Timeouts)
	if err != nil {
		return nil, err
	}
	x := &Extractor{
		config:  config,
		emitter: emitter,
		logger:  logger,
		methods: schedules,
		losses:  newLosses(ledger),
		health:  newHealth(emitter.Account()),
		changed: make(chan struct{}),
	}
	x.places[laneFast] = make(chan struct{}, fastPlaces)
	x.places[laneHeavy] = make(chan struct{}, heavyPlaces)
	return x, nil
}

var _ event.Runner = (*Extractor)(nil)

// Run asks the node until ctx ends, and then returns nil.
func (x *Extractor) Run(ctx context.Context) error {
	defer x.health.stopped()
	var group sync.WaitGroup
	group.Go(func() { x.watchNode(ctx) })
	for _, m := range x.methods {
		group.Go(func() { x.loop(ctx, m) })
	}
	group.Wait()
	return nil
}

// watchNode tells the methods when a node appears or is replaced.
func (x *Extractor) watchNode(ctx context.Context) {
	var (
		known bool
		start int64
	)
	ticker := time.NewTicker(nodeCheckInterval)
	defer ticker.Stop()
	for {
		found := x.config.Client() != nil
		now := x.config.NodeStart()
		switch {
		case !found && known, !found && !x.health.waiting():
			x.known.Store(false)
			x.health.noNode()
		case found && (!known || now != start):
			x.health.newNode(x.methods)
			x.known.Store(true)
			x.announceNode()
		}
		known, start = found, now
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (x *Extractor) announceNode() {
	x.mu.Lock()
	defer x.mu.Unlock()
	close(x.changed)
	x.changed = make(chan struct{})
}

func (x *Extractor) nodeChanged() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.changed
}

// loop is the clock of one method. It never overlaps itself: the next call is
// scheduled by the start of the last one, and begins after its end at the earliest.
func (x *Extractor) loop(ctx context.Context, m *schedule) {
	timer := time.NewTimer(startDelay(m.interval))
	defer timer.Stop()
	for {
		changed := x.nodeChanged()
		select {
		case <-ctx.Done():
			return
		case <-changed:
			timer.Reset(startDelay(m.interval))
			continue
		case <-timer.C:
		}
		started := time.Now()
		delay := x.poll(ctx, m)
		timer.Reset(max(delay-time.Since(started), 0))
	}
}

// startDelay is a random time after which a method is called first, so that a restart
// doesn't put all calls on the node at once.
func startDelay(interval time.Duration) time.Duration {
	return rand.N(min(interval/2, maxStartDelay) + 1)
}

// poll makes the calls of one method and says how long after their start the next are
// due.
func (x *Extractor) poll(ctx context.Context, m *schedule) time.Duration {
	client := x.config.Client()
	if client == nil || !x.known.Load() || m.leftOut() {
		return m.interval
	}
	place := x.places[m.laneNow()]
	select {
	case place <- struct{}{}:
		defer func() { <-place }()
	case <-ctx.Done():
		return m.interval
	}
	for _, c := range m.calls {
		err := x.call(ctx, client, m, c)
		if ctx.Err() != nil {
			return m.interval
		}
		if err != nil {
			return x.failed(m, err)
		}
	}
	if worth, all := x.health.answers(m.succeeded()); all {
		x.logger.Info("the node answers RPC again")
	} else if worth {
		x.logger.Info("RPC method answers again", "method", m.name)
	}
	x.health.update(x.methods)
	return m.interval
}

// call makes one call and emits its answer.
func (x *Extractor) call(ctx context.Context, client Caller, m *schedule, c call) error {
	nodeStart := x.config.NodeStart()
	callCtx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	answer := result{convert: c.convert}
	started := time.Now()
	err := client.Call(callCtx, m.name, m.parameters(c), &answer)
	duration := time.Since(started)
	m.called(duration)
	switch {
	case err != nil && callCtx.Err() != nil && ctx.Err() == nil:
		return fmt.Errorf("no answer within %v: %w", m.timeout, context.DeadlineExceeded)
	case err != nil:
		return err
	case answer.body == nil:
		return fmt.Errorf("%w: no result", errMalformed)
	}
	if answer.problems.count > 0 {
		x.losses.malformed.Add(answer.problems.count)
		if m.complainOnce() {
			x.logger.Warn("the node's answer has values of an unexpected kind; they are left out",
				"method", m.name, "values", answer.problems.count, "first", answer.problems.first)
		}
	}
	x.losses.tooLarge.Add(answer.problems.omitted)
	return x.emit(answer.body, duration, nodeStart)
}

// failed accounts for a failure and says when to try again.
func (x *Extractor) failed(m *schedule, err error) time.Duration {
	reason := classify(err)
	if reason == reasonMissing {
		m.leaveOut(err)
		x.logger.Info("the node lacks an RPC method; it is left out until the node changes", "method", m.name, "error", err)
		x.health.update(x.methods)
		return m.interval
	}
	if reason == event.ReasonTooLarge && m.useSmaller() {
		x.logger.Info("an answer is too large; asking for a shorter form of it", "method", m.name, "error", err)
	}
	x.losses.count(reason)
	timeouts, first := m.failed(err, reason)
	if x.health.fails(err, first) {
		x.logger.Warn("RPC call failed", "method", m.name, "error", err)
	}
	x.health.update(x.methods)
	switch {
	case reason == reasonTimeout:
		return max(m.interval, min(m.interval<<min(timeouts, 10), maxBackoff))
	case reason == reasonRefused, errors.Is(err, node.ErrWarmingUp):
		return min(m.interval, retryInterval)
	default:
		return m.interval
	}
}

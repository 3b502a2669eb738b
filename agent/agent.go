// Package agent runs sources and sinks: it starts them in any order, restarts what
// fails with a growing delay, tells what it knows of itself in a status event, and
// stops everything in order, so that what was seen is also delivered.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// Defaults of Config.
const (
	DefaultStatusInterval = 10 * time.Second
	DefaultDrainTimeout   = 10 * time.Second
	minBackoff            = time.Second
	maxBackoff            = 30 * time.Second
	// healthyAfter is how long a part must have run for its next failure to count
	// as the first one.
	healthyAfter = time.Minute
)

// Part is a source or a sink with work of its own.
type Part struct {
	// Name is what the log calls it.
	Name   string
	Runner event.Runner
	// Account takes attempts and failures; nil for a sink.
	Account *event.SourceAccount
}

// Config is what an agent is made of.
type Config struct {
	// Sources are stopped first, so that sinks get everything.
	Sources []Part
	// Sinks run from before the first source until after the last one.
	Sinks []Part
	// Status emits the status event; nil for none.
	Status *event.Emitter
	Ledger *event.Ledger
	// Version is the version in the status event.
	Version string
	// StatusInterval is the time between two status events; DefaultStatusInterval
	// when zero.
	StatusInterval time.Duration
	// DrainTimeout bounds the time that the sinks get to deliver what they hold;
	// DefaultDrainTimeout when zero.
	DrainTimeout time.Duration
	Logger       *slog.Logger
}

// Agent runs the parts of a Config.
type Agent struct {
	config Config
	// sleep waits for d or until ctx ends; a test replaces it.
	sleep func(ctx context.Context, d time.Duration)
}

// New makes an agent.
func New(config Config) *Agent {
	if config.StatusInterval == 0 {
		config.StatusInterval = DefaultStatusInterval
	}
	if config.DrainTimeout == 0 {
		config.DrainTimeout = DefaultDrainTimeout
	}
	return &Agent{config: config, sleep: sleep}
}

// ErrDrain is returned by Run when the sinks did not finish in time.
var ErrDrain = errors.New("sinks did not finish in time")

// Run runs everything until ctx ends, then stops the sources, publishes a last status
// and gives the sinks DrainTimeout to deliver. It returns nil after an orderly stop.
func (a *Agent) Run(ctx context.Context) error {
	// The sinks outlive ctx.
	sinkCtx, stopSinks := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSinks()
	sinks := a.start(sinkCtx, a.config.Sinks)

	sourceCtx, stopSources := context.WithCancel(ctx)
	defer stopSources()
	sources := a.start(sourceCtx, a.config.Sources)

	if a.config.Status != nil {
		a.config.Status.Account().Started()
		a.config.Status.Account().Up("the agent runs")
	}
	a.publishStatus(ctx)
	stopSources()
	a.config.Logger.Info("stopping: sources first, then sinks")
	if err := wait(sources, a.config.DrainTimeout); err != nil {
		a.config.Logger.Error("a source did not stop in time", "timeout", a.config.DrainTimeout)
	}
	a.emitStatus()
	stopSinks()
	return wait(sinks, a.config.DrainTimeout)
}

// start runs every part in a goroutine of its own.
func (a *Agent) start(ctx context.Context, parts []Part) *sync.WaitGroup {
	var group sync.WaitGroup
	for _, part := range parts {
		group.Go(func() { a.supervise(ctx, part) })
	}
	return &group
}

func wait(group *sync.WaitGroup, timeout time.Duration) error {
	done := make(chan struct{})
	go func() {
		group.Wait()
		close(done)
	}()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
		return ErrDrain
	}
}

// supervise runs one part until ctx ends, however often it fails.
func (a *Agent) supervise(ctx context.Context, part Part) {
	logger := a.config.Logger.With("part", part.Name)
	backoff := minBackoff
	for ctx.Err() == nil {
		if part.Account != nil {
			part.Account.Started()
		}
		started := time.Now()
		err := run(ctx, part.Runner)
		if ctx.Err() != nil {
			if err != nil && !errors.Is(err, context.Canceled) {
				logger.Warn("stopped with an error", "err", err)
			}
			return
		}
		if err == nil {
			err = errors.New("ended without being asked to")
		}
		if part.Account != nil {
			part.Account.Failed(err)
		}
		if time.Since(started) > healthyAfter {
			backoff = minBackoff
		}
		// Half of the delay is random, so that parts that failed together don't
		// come back together.
		delay := backoff/2 + rand.N(backoff/2)
		logger.Error("failed; starting again", "err", err, "in", delay.Round(10*time.Millisecond))
		a.sleep(ctx, delay)
		backoff = min(2*backoff, maxBackoff)
	}
}

// run turns a panic into an error: one source's fault must not blind the others.
func run(ctx context.Context, runner event.Runner) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return runner.Run(ctx)
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// publishStatus emits a status event every StatusInterval, and when a source goes up
// or down, until ctx ends.
func (a *Agent) publishStatus(ctx context.Context) {
	ticker := time.NewTicker(a.config.StatusInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			a.emitStatus()
		case <-a.config.Ledger.Changed():
			a.emitStatus()
		}
	}
}

func (a *Agent) emitStatus() {
	if a.config.Status == nil {
		return
	}
	status := a.config.Ledger.Status()
	status.Version = &a.config.Version
	a.config.Status.Emit(&eventpb.Event{
		PeerObserverEvent: &eventpb.Event_Observer{Observer: &eventpb.Observer{
			ObserverEvent: &eventpb.Observer_Status{Status: status},
		}},
	}, event.Times{})
}

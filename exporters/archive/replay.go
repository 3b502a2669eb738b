package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/exporters/queue"
	"github.com/peerobserver/peerobserver/proto/event"
)

// DefaultMaxPause is how long a replay at a speed waits at most between two events.
const DefaultMaxPause = time.Minute

const (
	// fillInterval is after how many bytes the fill of the sinks' queues is looked at.
	fillInterval = 32 << 10
	// fillPause is how often a full queue is looked at again.
	fillPause = 5 * time.Millisecond
	// maxDamageLogs bounds the lines about damage in a log.
	maxDamageLogs = 20
)

// ReplayConfig describes a replay.
type ReplayConfig struct {
	Paths   []string
	Options Options
	Filter  Filter
	// Speed is how many times as fast as in life the events come; 0 for as fast as the
	// sinks take them.
	Speed float64
	// MaxPause shortens the times in which nothing was recorded; DefaultMaxPause when 0.
	MaxPause time.Duration
	// Fill is how full the fullest queue of a sink is, from 0 to 1; nil when there are
	// no queues. The replay waits while one is half full, so that nothing is lost.
	Fill func() float64
}

// Replayer is a source that puts the events of files on a stream, as they were: their
// bytes, and with them their times and numbers, don't change.
type Replayer struct {
	cfg       ReplayConfig
	set       *Set
	stream    *event.Stream
	logger    *slog.Logger
	malformed *event.Counter
	damaged   *event.Counter
	pace      pace
	scratch   decode.Event

	events, damages event.Counter
}

// ReasonDamaged is why events are lost at event.StageRead that a damaged file held.
const ReasonDamaged event.Reason = "damaged"

// NewReplayer looks at the files.
func NewReplayer(cfg ReplayConfig, stream *event.Stream, ledger *event.Ledger, logger *slog.Logger) (*Replayer, error) {
	if cfg.Speed < 0 || cfg.MaxPause < 0 {
		return nil, errors.New("replay: the speed and the longest pause must not be negative")
	}
	setDefault(&cfg.MaxPause, DefaultMaxPause)
	set, err := OpenSet(cfg.Paths, cfg.Options)
	if err != nil {
		return nil, fmt.Errorf("replay: %w", err)
	}
	return &Replayer{
		cfg: cfg, set: set, stream: stream, logger: logger,
		malformed: ledger.Loss(event.SourceUnknown, event.StageDecode, event.ReasonMalformed),
		damaged:   ledger.Loss(event.SourceUnknown, event.StageRead, ReasonDamaged),
		pace:      pace{speed: cfg.Speed, maxPause: cfg.MaxPause, clock: realClock{}},
	}, nil
}

// Events is the number of events that were put on the stream.
func (r *Replayer) Events() uint64 { return r.events.Value() }

// Damages is the number of places at which a file is damaged.
func (r *Replayer) Damages() uint64 { return r.damages.Value() }

// Run replays until the files end, and returns nil then, or when ctx ends.
func (r *Replayer) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, r.set.Close()) }()
	unwatched := 0
	for ctx.Err() == nil {
		e, err := r.set.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if damage := new(Damage); errors.As(err, &damage) {
			r.note(damage)
			continue
		}
		if err != nil {
			return fmt.Errorf("replay: %w", err)
		}
		if !r.cfg.Filter.admits(e, &r.scratch) {
			continue
		}
		if r.pace.wait(ctx, e.Time()) != nil {
			return nil
		}
		if unwatched += len(e.Data) + queue.Overhead; unwatched >= fillInterval {
			unwatched = 0
			if r.waitForRoom(ctx) != nil {
				return nil
			}
		}
		r.stream.Publish(e)
		r.events.Add(1)
	}
	r.malformed.Add(r.set.Malformed())
	return nil
}

// note accounts for a damage.
func (r *Replayer) note(d *Damage) {
	r.damages.Add(1)
	r.damaged.Add(d.Events)
	switch n := r.damages.Value(); {
	case n < maxDamageLogs:
		r.logger.Warn("part of an archive can't be read and is passed over", "file", d.Path, "offset", d.Offset, "reason", d.Reason)
	case n == maxDamageLogs:
		r.logger.Warn("more damage in the archive is not logged; archive verify shows all of it")
	}
}

// waitForRoom waits until the queues of the sinks are less than half full.
func (r *Replayer) waitForRoom(ctx context.Context) error {
	if r.cfg.Fill == nil {
		return nil
	}
	for r.cfg.Fill() >= 0.5 {
		if err := r.pace.clock.wait(ctx, fillPause); err != nil {
			return err
		}
	}
	return nil
}

// clock is time that a test can replace.
type clock interface {
	now() time.Time
	// wait waits for d; it returns the context's error when that ends first.
	wait(ctx context.Context, d time.Duration) error
}

type realClock struct{}

func (realClock) now() time.Time { return time.Now() }

func (realClock) wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// pace holds events back until their time has come.
type pace struct {
	speed    float64
	maxPause time.Duration
	clock    clock

	started bool
	// last is the latest time of an event so far. An event that is older by less than
	// maxPause, as those of different sources are, doesn't wait.
	last time.Time
	// due is when, on the clock, the event of time last was due.
	due time.Time
}

// wait waits until an event of time at is due.
func (p *pace) wait(ctx context.Context, at time.Time) error {
	if p.speed == 0 {
		return nil
	}
	if !p.started {
		p.started, p.last, p.due = true, at, p.clock.now()
		return nil
	}
	elapsed := at.Sub(p.last)
	switch {
	case elapsed <= -p.maxPause:
		// A time that was far ahead, of a wrong clock or a made-up event: from now on
		// this one counts.
		p.last = at
		return nil
	case elapsed <= 0:
		return nil
	}
	p.last = at
	// A time far ahead must not overflow; the pause counts in real time.
	pause := p.maxPause
	if scaled := float64(elapsed) / p.speed; scaled < float64(p.maxPause) {
		pause = time.Duration(scaled)
	}
	p.due = p.due.Add(pause)
	now := p.clock.now()
	if now.Sub(p.due) > p.maxPause {
		// The sinks were slower than that; what was missed isn't caught up in a burst.
		p.due = now
	}
	if d := p.due.Sub(now); d > 0 {
		return p.clock.wait(ctx, d)
	}
	return nil
}

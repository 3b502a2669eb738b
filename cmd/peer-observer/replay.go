package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/peerobserver/peerobserver/exporters/archive"
	"github.com/peerobserver/peerobserver/exporters/logger"
	"github.com/peerobserver/peerobserver/exporters/metrics"
	"github.com/peerobserver/peerobserver/exporters/nats"
	"github.com/peerobserver/peerobserver/exporters/prometheus"
	"github.com/peerobserver/peerobserver/proto/event"
)

// defaultReplayAddress is next to those of agent and metrics.
const defaultReplayAddress = "127.0.0.1:9792"

// The sinks of a replay.
const (
	toNATS       = "nats"
	toPrometheus = "prometheus"
	toLogger     = "logger"
)

// replayFlags are the flags of a replay.
type replayFlags struct {
	to, speed string
	maxPause  time.Duration
	times     timeRangeFlags
	paths     []string
	bus       natsFlags
	web       webFlags
	networks  networkFlags
	nodeLabel bool
	logger    loggerFlags
	redaction redactionFlag
}

func (f *replayFlags) register(clause *kingpin.CmdClause) {
	clause.Flag("to", "Where the events go: nats, prometheus or logger.").Required().EnumVar(&f.to, toNATS, toPrometheus, toLogger)
	clause.Flag("speed", "How many times as fast as in life (1, 10, 0.5), or max.").Default("1").StringVar(&f.speed)
	clause.Flag("max-pause", "Longest wait for the next event; longer times without any are shortened to it.").Default(archive.DefaultMaxPause.String()).DurationVar(&f.maxPause)
	f.times.register(clause, "from", "to-time")
	clause.Arg("file", "Archive files, also of the existing peer-observer; their order doesn't matter.").Required().StringsVar(&f.paths)
	f.bus.register(clause, true)
	f.web.register(clause, defaultReplayAddress)
	f.networks.register(clause)
	clause.Flag("metrics.node-label", "Put the node's name on every series as label node.").Default("true").BoolVar(&f.nodeLabel)
	f.logger.register(clause, "")
	f.redaction.register(clause, "")
}

// config checks the flags that concern the files; the error is the user's.
func (f *replayFlags) config() (archive.ReplayConfig, error) {
	c := archive.ReplayConfig{Paths: f.paths, MaxPause: f.maxPause}
	if f.speed != "max" {
		speed, err := strconv.ParseFloat(f.speed, 64)
		if err != nil || !(speed > 0) || speed > 1e9 {
			return c, fmt.Errorf("--speed=%s: give a positive number, such as 1 or 10, or max", f.speed)
		}
		c.Speed = speed
	}
	var err error
	if c.Options, err = f.times.options(); err != nil {
		return c, err
	}
	c.Filter, err = archive.ParseFilter(f.logger.sources, f.logger.events, f.logger.messages)
	if err == nil && f.to != toLogger && (f.logger.direction != "" || len(f.logger.peers) > 0 || f.logger.count) {
		err = errors.New("--direction, --peer and --count are for --to=logger")
	}
	return c, err
}

func registerReplay(clause *kingpin.CmdClause, handlers map[string]handler) {
	flags := new(replayFlags)
	flags.register(clause)
	handlers[clause.FullCommand()] = flags.run
}

// replaySink is where a replay goes.
type replaySink interface {
	event.Sink
	event.Runner
}

func (f *replayFlags) run(ctx context.Context, env *environment) error {
	config, err := f.config()
	if err != nil {
		return withCode(exitUsage, err)
	}
	ledger := event.NewLedger()
	sink, err := f.sink(ledger, env)
	if err != nil {
		return err
	}
	redacted, err := f.redaction.sink(sink, ledger)
	if err != nil {
		return err
	}
	config.Fill = func() float64 { return fill(ledger) }
	replayer, err := archive.NewReplayer(config, event.NewStream(redacted), ledger, env.logger)
	if err != nil {
		return withCode(exitUsage, err)
	}
	source := &replaySource{replayer: replayer, ledger: ledger, env: env, stay: f.to == toPrometheus}
	if err := runTool(ctx, source, sink); err != nil {
		return err
	}
	if n := replayer.Damages(); n > 0 {
		return fmt.Errorf("the archive is damaged at %d places; the rest was replayed", n)
	}
	return nil
}

func (f *replayFlags) sink(ledger *event.Ledger, env *environment) (replaySink, error) {
	switch f.to {
	case toNATS:
		if err := f.bus.check(); err != nil {
			return nil, err
		}
		publisher, err := nats.NewPublisher(nats.PublisherConfig{
			Connection: f.bus.config("peer-observer replay"), SubjectPrefix: f.bus.prefix,
		}, ledger, env.logger.With("part", "nats"))
		return publisher, withCode(exitUsage, err)
	case toPrometheus:
		if err := f.web.check(); err != nil {
			return nil, err
		}
		networks, err := f.networks.load(env)
		if err != nil {
			return nil, err
		}
		config := f.web.config()
		// What is old is judged by the time of the events, not by that of the replay.
		config.Metrics = metrics.Config{Ledger: ledger, Remote: true, NodeLabel: f.nodeLabel, Replay: true, Networks: networks}
		exporter, err := prometheus.New(config, env.logger.With("part", "prometheus"))
		return exporter, withCode(exitUsage, err)
	default:
		config, err := f.logger.config(env)
		if err != nil {
			return nil, withCode(exitUsage, err)
		}
		sink, err := logger.New(config, ledger, env.logger)
		return sink, withCode(exitUsage, err)
	}
}

// fill is how full the fullest queue is, from 0 to 1.
func fill(ledger *event.Ledger) float64 {
	fullest := 0.0
	for _, q := range ledger.Status().GetQueues() {
		if capacity := q.GetCapacityBytes(); capacity > 0 {
			fullest = max(fullest, float64(q.GetBytes())/float64(capacity))
		}
	}
	return fullest
}

// replaySource runs a replay until all of it has arrived.
type replaySource struct {
	replayer *archive.Replayer
	ledger   *event.Ledger
	env      *environment
	// stay goes on until the context ends, for sinks that are looked at afterwards.
	stay bool
}

// arrivalInterval is how often the queues are looked at in the end.
const arrivalInterval = 10 * time.Millisecond

// Run implements event.Runner.
func (s *replaySource) Run(ctx context.Context) error {
	began := time.Now()
	if err := s.replayer.Run(ctx); err != nil {
		return err
	}
	ticker := time.NewTicker(arrivalInterval)
	defer ticker.Stop()
	for ctx.Err() == nil && fill(s.ledger) > 0 {
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
	attributes := []any{"events", s.replayer.Events(), "in", time.Since(began).Round(time.Millisecond)}
	if ctx.Err() != nil {
		s.env.logger.Info("replay interrupted", attributes...)
		return nil
	}
	s.env.logger.Info("replay finished", attributes...)
	if s.stay {
		s.env.logger.Info("metrics stay until this program is stopped")
		<-ctx.Done()
	}
	return nil
}

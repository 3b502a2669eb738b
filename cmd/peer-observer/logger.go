package main

import (
	"context"
	"errors"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/peerobserver/peerobserver/exporters/logger"
	"github.com/peerobserver/peerobserver/exporters/nats"
	"github.com/peerobserver/peerobserver/proto/event"
)

// loggerFlags are the flags that say what is printed and how.
type loggerFlags struct {
	format                           string
	sources, events, messages, peers []string
	direction                        string
	count                            bool
	countInterval                    time.Duration
}

func (f *loggerFlags) register(clause *kingpin.CmdClause, prefix string) {
	clause.Flag(prefix+"format", "How an event is printed: text or json.").Default("text").EnumVar(&f.format, "text", "json")
	clause.Flag(prefix+"source", "Only events of this source: ebpf, rpc, p2p, log, ipc, observer; repeatable.").StringsVar(&f.sources)
	clause.Flag(prefix+"event", "Only this event, such as connection.inbound, or all of its kind, such as connection; repeatable.").StringsVar(&f.events)
	clause.Flag(prefix+"message", "Only P2P messages of this type, such as inv; repeatable.").StringsVar(&f.messages)
	clause.Flag(prefix+"direction", "Only P2P messages of this direction: inbound or outbound.").StringVar(&f.direction)
	clause.Flag(prefix+"peer", "Only what concerns this peer: an id, address, subnet or host name; repeatable.").StringsVar(&f.peers)
	clause.Flag(prefix+"count", "Print a table of counts at the end instead of the events.").BoolVar(&f.count)
	clause.Flag(prefix+"count.interval", "With --count: print the table this often as well.").DurationVar(&f.countInterval)
}

// config checks the flags; the error is the user's.
func (f *loggerFlags) config(env *environment) (logger.Config, error) {
	format, err := logger.ParseFormat(f.format)
	if err != nil {
		return logger.Config{}, err
	}
	filter, err := logger.ParseFilter(f.sources, f.events, f.messages, f.direction, f.peers)
	if err != nil {
		return logger.Config{}, err
	}
	return logger.Config{
		Output: env.stdout, Format: format, Filter: filter, Count: f.count, CountInterval: f.countInterval,
	}, nil
}

func registerLogger(clause *kingpin.CmdClause, handlers map[string]handler) {
	var bus natsFlags
	var flags loggerFlags
	var redaction redactionFlag
	bus.register(clause, true)
	flags.register(clause, "")
	redaction.register(clause, "")
	handlers[clause.FullCommand()] = func(ctx context.Context, env *environment) error {
		if err := bus.check(); err != nil {
			return err
		}
		config, err := flags.config(env)
		if err != nil {
			return withCode(exitUsage, err)
		}
		ledger := event.NewLedger()
		sink, err := logger.New(config, ledger, env.logger)
		if err != nil {
			return withCode(exitUsage, err)
		}
		redacted, err := redaction.sink(sink, ledger)
		if err != nil {
			return err
		}
		subscriber, err := nats.NewSubscriber(nats.SubscriberConfig{
			Connection: bus.config("peer-observer logger"), SubjectPrefix: bus.prefix,
		}, event.NewStream(redacted), ledger, env.logger)
		if err != nil {
			return withCode(exitUsage, err)
		}
		return runTool(ctx, subscriber, sink)
	}
}

// runTool runs a source and a sink until ctx ends or one of them fails. The sink goes on
// until the source has ended. A reader of the output that went away is a normal end.
func runTool(ctx context.Context, source, sink event.Runner) error {
	sourceCtx, stopSource := context.WithCancel(ctx)
	defer stopSource()
	sinkCtx, stopSink := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSink()
	sinkDone := make(chan error, 1)
	go func() {
		err := sink.Run(sinkCtx)
		stopSource()
		sinkDone <- err
	}()
	err := source.Run(sourceCtx)
	stopSink()
	sinkErr := <-sinkDone
	if errors.Is(sinkErr, logger.ErrOutputClosed) {
		sinkErr = nil
	}
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, sinkErr)
}

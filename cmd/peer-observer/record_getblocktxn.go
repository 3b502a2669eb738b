package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/peerobserver/peerobserver/exporters/getblocktxn"
	"github.com/peerobserver/peerobserver/exporters/nats"
	"github.com/peerobserver/peerobserver/proto/event"
)

// getBlockTxnFlags are the flags of the recorder of getblocktxn messages.
type getBlockTxnFlags struct {
	output, format string
	timeout        time.Duration
	redaction      redactionFlag
}

func (f *getBlockTxnFlags) register(clause *kingpin.CmdClause, prefix string) {
	clause.Flag(prefix+"output", "File that rows are appended to; - is standard output.").Default("-").StringVar(&f.output)
	clause.Flag(prefix+"format", "How a row is written: json (one object a line) or csv.").Default("json").EnumVar(&f.format, "json", "csv")
	clause.Flag(prefix+"answer-timeout", "How long an answer is waited for.").Default(getblocktxn.DefaultTimeout.String()).DurationVar(&f.timeout)
	f.redaction.register(clause, prefix)
}

// getBlockTxnSink is the sink with what events go to first and what is left to do after it
// has run.
type getBlockTxnSink struct {
	event.Sink
	runner event.Runner
	free   func()
}

// sink builds the sink. A mistake is the user's.
func (f *getBlockTxnFlags) sink(ledger *event.Ledger, env *environment) (built getBlockTxnSink, err error) {
	config, free := getblocktxn.Config{Output: env.stdout, Header: true, Timeout: f.timeout}, func() {}
	if config.Format, err = getblocktxn.ParseFormat(f.format); err != nil {
		return built, withCode(exitUsage, err)
	}
	if f.timeout <= 0 {
		return built, withCode(exitUsage, errors.New("the time to wait for an answer must be more than 0"))
	}
	if f.output != "-" {
		file, empty, err := getblocktxn.Open(f.output)
		if err != nil {
			return built, withCode(exitUsage, err)
		}
		config.Output, config.Header = file, empty
		free = func() { _ = file.Close() }
	}
	sink, err := getblocktxn.New(config, ledger, env.logger.With("part", "getblocktxn"))
	if err != nil {
		free()
		return built, withCode(exitUsage, err)
	}
	first, err := f.redaction.sink(sink, ledger)
	if err != nil {
		free()
		return built, err
	}
	return getBlockTxnSink{Sink: first, runner: sink, free: free}, nil
}

func registerRecordGetBlockTxn(clause *kingpin.CmdClause, handlers map[string]handler) {
	var bus natsFlags
	var flags getBlockTxnFlags
	bus.register(clause, true)
	flags.register(clause, "")
	handlers[clause.FullCommand()] = func(ctx context.Context, env *environment) error {
		if err := bus.check(); err != nil {
			return err
		}
		ledger := event.NewLedger()
		sink, err := flags.sink(ledger, env)
		if err != nil {
			return err
		}
		defer sink.free()
		subscriber, err := nats.NewSubscriber(nats.SubscriberConfig{
			Connection: bus.config("peer-observer record-getblocktxn"), SubjectPrefix: bus.prefix,
			Subjects: tracepointSubjects(),
		}, event.NewStream(sink), ledger, env.logger)
		if err != nil {
			return withCode(exitUsage, err)
		}
		err = runTool(ctx, subscriber, sink.runner)
		for _, loss := range ledger.Status().GetLosses() {
			if loss.GetCount() > 0 {
				env.logger.Warn("events were lost", "source", loss.GetSource(), "stage", loss.GetStage(), "reason", loss.GetReason(), "count", loss.GetCount())
			}
		}
		return err
	}
}

// tracepointSubjects are the subjects of all tracepoints: their events are numbered
// together, so that whoever gets all of them can tell a loss from what others get.
func tracepointSubjects() []string {
	var subjects []string
	for _, kind := range event.Kinds() {
		if subject := kind.Subject(); kind.Source() == event.SourceEBPF && !slices.Contains(subjects, subject) {
			subjects = append(subjects, subject)
		}
	}
	return subjects
}

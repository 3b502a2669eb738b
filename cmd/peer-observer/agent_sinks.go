package main

import (
	"context"
	"errors"
	"log/slog"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kingpin/v2"

	"github.com/peerobserver/peerobserver/agent"
	"github.com/peerobserver/peerobserver/exporters/connectivity"
	"github.com/peerobserver/peerobserver/exporters/logger"
	"github.com/peerobserver/peerobserver/proto/event"
)

// toolFlags are the flags of the agent for the sinks that are commands of their own and
// need nothing else of the agent: logger and connectivity check.
type toolFlags struct {
	loggerOn       bool
	logger         loggerFlags
	redaction      redactionFlag
	connectivityOn bool
	connectivity   connectivityFlags
}

func (f *toolFlags) register(clause *kingpin.CmdClause) {
	clause.Flag("exporter.logger", "Print the events on standard output.").BoolVar(&f.loggerOn)
	f.logger.register(clause, "exporter.logger.")
	f.redaction.register(clause, "exporter.logger.")
	clause.Flag("exporter.connectivity-check", "Dial the addresses that peers announce, from this machine, and record which are nodes.").BoolVar(&f.connectivityOn)
	f.connectivity.register(clause, "exporter.connectivity-check.")
}

// checkTools finds mistakes in the flags of the sinks that are on.
func (f *agentFlags) checkTools() error {
	if f.tools.loggerOn && f.getBlockTxnOn && f.getBlockTxn.output == "-" {
		return withCode(exitUsage, errors.New("--exporter.logger and --exporter.getblocktxn would both print on standard output: give --exporter.getblocktxn.output=FILE"))
	}
	if f.tools.connectivityOn && f.tools.connectivity.output == "" {
		return withCode(exitUsage, errors.New("--exporter.connectivity-check needs --exporter.connectivity-check.output=FILE"))
	}
	return nil
}

// build makes the sinks that are on, each with the part that runs it. nodeChain is the chain
// that was given for the observed node, empty for none.
func (f *toolFlags) build(run *running, env *environment, nodeChain string) (sinks []event.Sink, parts []agent.Part, err error) {
	if f.loggerOn {
		config, err := f.logger.config(env)
		if err != nil {
			return nil, nil, withCode(exitUsage, err)
		}
		sink, err := logger.New(config, run.ledger, env.logger.With("part", "logger"))
		if err != nil {
			return nil, nil, withCode(exitUsage, err)
		}
		redacted, err := f.redaction.sink(sink, run.ledger)
		if err != nil {
			return nil, nil, err
		}
		sinks = append(sinks, redacted)
		parts = append(parts, agent.Part{Name: "logger", Runner: &whileRead{Runner: sink, logger: env.logger}})
	}
	if f.connectivityOn {
		config, err := f.connectivity.config(nodeChain)
		if err != nil {
			return nil, nil, withCode(exitUsage, err)
		}
		sink, err := connectivity.New(config, run.ledger, env.logger.With("part", "connectivity"))
		if err != nil {
			return nil, nil, withCode(exitUsage, err)
		}
		if err := sink.Check(); err != nil {
			return nil, nil, withCode(exitUsage, err)
		}
		if err := sink.Register(run.exporter.Registry()); err != nil {
			return nil, nil, err
		}
		sinks = append(sinks, sink)
		parts = append(parts, agent.Part{Name: "connectivity", Runner: sink})
	}
	return sinks, parts, nil
}

// whileRead runs a sink that prints. When the reader of its output goes away, the agent goes
// on without it.
type whileRead struct {
	event.Runner
	logger *slog.Logger
}

func (r *whileRead) Run(ctx context.Context) error {
	// Without this, writing to a closed standard output ends the process.
	signal.Ignore(syscall.SIGPIPE)
	err := r.Runner.Run(ctx)
	if !errors.Is(err, logger.ErrOutputClosed) {
		return err
	}
	r.logger.Warn("nobody reads standard output any more: events are not printed from now on")
	<-ctx.Done()
	return nil
}

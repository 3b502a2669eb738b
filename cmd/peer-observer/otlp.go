package main

import (
	"context"
	"fmt"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/version"

	"github.com/peerobserver/peerobserver/exporters/otlp"
	"github.com/peerobserver/peerobserver/exporters/otlp/trace"
	"github.com/peerobserver/peerobserver/exporters/prometheus"
	"github.com/peerobserver/peerobserver/proto/event"
)

// otlpFlags are the flags of the export over OTLP. Where to is said by the OTEL_*
// variables of OpenTelemetry's specification.
type otlpFlags struct {
	on     bool
	traces trace.Config
}

func (f *otlpFlags) register(clause *kingpin.CmdClause) {
	clause.Flag("exporter.otlp", "Send metrics and traces over OTLP where the OTEL_* environment variables say so.").Default("true").BoolVar(&f.on)
	clause.Flag("exporter.otlp.trace-blocks", "Trace every new block.").Default("true").BoolVar(&f.traces.Blocks)
	clause.Flag("exporter.otlp.trace-transactions", "Trace one transaction in N, chosen by its wtxid so that all nodes choose the same; 0 for none.").
		PlaceHolder("N").Default(fmt.Sprint(trace.DefaultTransactions)).IntVar(&f.traces.Transactions)
	clause.Flag("exporter.otlp.trace-peers", "Trace the session of one peer in N; 0 for none.").
		PlaceHolder("N").Default(fmt.Sprint(trace.DefaultPeers)).IntVar(&f.traces.Peers)
	clause.Flag("exporter.otlp.addresses", "Put the addresses of peers into the traces of their sessions.").BoolVar(&f.traces.Addresses)
}

// exporter makes the exporter, or gives nil when there is nothing to send to. The name
// is that of the node, or of this process where it serves several.
func (f *otlpFlags) exporter(ctx context.Context, env *environment, name string, from *prometheus.Exporter, ledger *event.Ledger) (*otlp.Exporter, error) {
	if !f.on {
		return nil, nil //nolint:nilnil // switched off is no error
	}
	exporter, err := otlp.New(ctx, otlp.Config{
		NodeName: name, Version: version.Version,
		Gatherer: from.Gatherer(), Registerer: from.Registry(), Traces: f.traces,
	}, ledger, env.logger.With("part", "otlp"))
	if err != nil {
		return nil, withCode(exitUsage, err)
	}
	return exporter, nil
}

package main

import (
	"context"
	"errors"
	"os"

	"github.com/alecthomas/kingpin/v2"

	"github.com/peerobserver/peerobserver/agent"
	"github.com/peerobserver/peerobserver/exporters/metrics"
	"github.com/peerobserver/peerobserver/exporters/nats"
	"github.com/peerobserver/peerobserver/exporters/prometheus"
	"github.com/peerobserver/peerobserver/proto/event"
)

// defaultMetricsAddress is next to the agent's, so that both can run.
const defaultMetricsAddress = "127.0.0.1:9790"

func registerMetrics(clause *kingpin.CmdClause, handlers map[string]handler) {
	var bus natsFlags
	var web webFlags
	var push otlpFlags
	var networks networkFlags
	bus.register(clause, true)
	web.register(clause, defaultMetricsAddress)
	push.register(clause)
	networks.register(clause)
	nodeLabel := clause.Flag("metrics.node-label", "Put the node's name on every series as label node, for a bus with several nodes.").Default("true").Bool()
	maxNodes := clause.Flag("metrics.max-nodes", "Nodes that are told apart; events of more are counted and left out.").Default("64").Int()
	handlers[clause.FullCommand()] = func(ctx context.Context, env *environment) error {
		if err := errors.Join(bus.check(), web.check()); err != nil {
			return err
		}
		data, err := networks.load(env)
		if err != nil {
			return err
		}
		ledger := event.NewLedger()
		config := web.config()
		config.Metrics = metrics.Config{
			Ledger: ledger, Remote: true, NodeLabel: *nodeLabel, MaxNodes: *maxNodes, ProcessMetrics: true,
			Networks: data,
		}
		exporter, err := prometheus.New(config, env.logger)
		if err != nil {
			return withCode(exitUsage, err)
		}
		sinks, parts := []event.Sink{exporter}, []agent.Part{{Name: "prometheus", Runner: exporter}, {Name: "networks", Runner: data}}
		host, err := os.Hostname()
		if err != nil {
			host = "metrics"
		}
		pushed, err := push.exporter(ctx, env, host, exporter, ledger)
		if err != nil {
			return err
		}
		if pushed != nil {
			sinks = append(sinks, pushed)
			parts = append(parts, agent.Part{Name: "otlp", Runner: pushed})
		}
		subscriber, err := nats.NewSubscriber(nats.SubscriberConfig{
			Connection: bus.config("peer-observer metrics"), SubjectPrefix: bus.prefix,
		}, event.NewStream(sinks...), ledger, env.logger)
		if err != nil {
			return withCode(exitUsage, err)
		}
		return agent.New(agent.Config{
			Sources: []agent.Part{{Name: "nats", Runner: subscriber}},
			Sinks:   parts,
			Ledger:  ledger,
			Logger:  env.logger,
		}).Run(ctx)
	}
}

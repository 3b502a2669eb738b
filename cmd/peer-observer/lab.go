package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/alecthomas/kingpin/v2"

	"github.com/peerobserver/peerobserver/agent/node"
	"github.com/peerobserver/peerobserver/lab/bitcoind"
	"github.com/peerobserver/peerobserver/lab/regtest"
)

func registerLab(clause *kingpin.CmdClause, handlers map[string]handler) {
	registerLabRun(clause, handlers)
	registerLabNamespace(clause, handlers)
	registerLabIncident(clause, handlers)
	demo := clause.Command("demo", "Observe the node on this machine; where none runs, bring up two regtest nodes with a trickle of honest traffic and observe one of them.")
	flags := new(agentFlags)
	flags.register(demo)
	handlers[demo.FullCommand()] = func(ctx context.Context, env *environment) error {
		if err := flags.check(); err != nil {
			return err
		}
		return runDemo(ctx, env, flags)
	}
}

// runDemo observes a node that runs, or a pair of its own.
func runDemo(ctx context.Context, env *environment, flags *agentFlags) error {
	found, err := node.Find(ctx, flags.node.options)
	switch {
	case err == nil:
		fmt.Fprintf(env.stdout, "observing the node that runs here: %v\n", found)
		return runAgent(ctx, env, flags, announce(env.stdout, flags))
	case !errors.Is(err, node.ErrNotFound):
		return withCode(exitNode, err)
	}
	fmt.Fprintln(env.stdout, "no Bitcoin node runs here: starting two regtest nodes with a trickle of honest traffic")
	binary, err := bitcoind.Find(ctx, bitcoind.Options{Progress: env.stdout})
	if err != nil {
		return withCode(exitNode, err)
	}
	fmt.Fprintf(env.stdout, "using %v\n", binary)
	if !binary.HasTracepoints {
		fmt.Fprintln(env.stdout, "this bitcoind has no tracepoints: RPC, P2P link and log are observed, P2P messages are not")
		*flags.sources[sourceEBPF] = false
	}
	nodes, err := regtest.StartNetwork(ctx, 2, regtest.Config{Binary: binary.Path, V2: true, Debug: []string{"net", "mempool", "validation", "cmpctblock"}})
	if err != nil {
		return err
	}
	defer stopNodes(env.stderr, nodes)
	traffic, stopTraffic := context.WithCancel(ctx)
	trafficDone := make(chan struct{})
	go func() {
		defer close(trafficDone)
		if failed, err := regtest.Traffic(traffic, nodes...); err != nil {
			env.logger.Warn("demo traffic", "failed", failed, "err", err)
		}
	}()
	defer func() {
		stopTraffic()
		<-trafficDone
	}()
	// What was asked for doesn't run here, so it must not stand in the way of ours.
	flags.node.options = node.Options{PID: nodes[0].PID()}
	return runAgent(ctx, env, flags, announce(env.stdout, flags))
}

// stopNodes stops the nodes of the demo; each is killed if it takes too long.
func stopNodes(stderr io.Writer, nodes []*regtest.Node) {
	for _, n := range nodes {
		if err := n.Stop(context.Background()); err != nil {
			fmt.Fprintln(stderr, "stopping a regtest node:", err)
		}
	}
}

// announce prints where to look.
func announce(w io.Writer, flags *agentFlags) func(*running) {
	return func(run *running) {
		for _, address := range flags.web.addresses {
			fmt.Fprintf(w, "metrics  http://%s%s\n", address, flags.web.telemetryPath)
			fmt.Fprintf(w, "health   http://%s/-/ready\n", address)
		}
		fmt.Fprintf(w, "events   %s   (in another terminal: peer-observer logger --nats.url=%s)\n", run.natsAddress, run.natsAddress)
		fmt.Fprintln(w, "Ctrl-C ends everything")
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/peerobserver/peerobserver/agent/node"
	"github.com/peerobserver/peerobserver/alerts"
	"github.com/peerobserver/peerobserver/lab/scenario"
)

// labRunFlags are the flags of `lab run`.
type labRunFlags struct {
	names      []string
	node       nodeFlags
	p2pAddress string
	agentPID   int
	timeScale  float64
	twin       bool
	duration   time.Duration
}

// registerLabRun declares the commands that provoke alerts.
func registerLabRun(clause *kingpin.CmdClause, handlers map[string]handler) {
	list := clause.Command("list", "List the scenarios: what each does and which alert must come of it; and the kinds of honest traffic, of which none may.")
	handlers[list.FullCommand()] = listScenarios

	run := clause.Command("run", "Provoke alerts on your own regtest node: a fire drill for Prometheus, Alertmanager and whoever they wake.")
	flags := new(labRunFlags)
	run.Arg("scenario", "Name of a scenario or id of a rule, or honest traffic (BG1 and so on), see `lab list`.").Required().StringsVar(&flags.names)
	flags.node.register(run)
	run.Flag("bitcoin.p2p-address", "IP:PORT where the node accepts P2P connections, on loopback; found by itself when not given.").StringVar(&flags.p2pAddress)
	run.Flag("agent.pid", "Process id of the agent, for scenarios that stop it.").IntVar(&flags.agentPID)
	run.Flag("time-scale", "Go so many times faster, for rules written by `lab rules --time-scale`.").Default("1").Float64Var(&flags.timeScale)
	run.Flag("twin", "Do what resembles it and is harmless instead: nobody may be alerted.").BoolVar(&flags.twin)
	run.Flag("duration", "How long honest traffic (BG1 and so on) goes on, before it is divided by the time scale; longer if it takes longer.").Default("24h").DurationVar(&flags.duration)
	handlers[run.FullCommand()] = func(ctx context.Context, env *environment) error { return runScenarios(ctx, env, flags) }

	rules := clause.Command("rules", "Write the alert rules to a directory.")
	dir := rules.Flag("output", "The directory.").Required().String()
	scale := rules.Flag("time-scale", "Divide every span of time in them by this, so that alerts come sooner; thresholds stay.").Default("1").Float64()
	thresholds := rules.Flag("threshold", "NAME=NUMBER: replace a threshold of thresholds.rules.yml; repeatable.").StringMap()
	handlers[rules.FullCommand()] = func(context.Context, *environment) error { return writeRules(*dir, *scale, *thresholds) }
}

func listScenarios(_ context.Context, env *environment) error {
	table := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SCENARIO\tRULE\tALERT\tSEVERITY\tWITHIN\tWHAT HAPPENS")
	for _, s := range scenario.All() {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%v\t%s\n", s.Name, s.Rule, s.Alert, s.Severity, s.Detect, s.Does)
		fmt.Fprintf(table, "\t\t\t\t\tbenign twin: %s\n", s.Twin)
		if s.Needs&scenario.NeedsNamespace != 0 {
			fmt.Fprint(table, "\t\t\t\t\tneeds a namespace (`lab namespace`)\n")
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	listBackgrounds(env.stdout)
	return nil
}

func writeRules(dir string, scale float64, thresholds map[string]string) error {
	options, err := ruleOptions(scale, thresholds)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return alerts.Write(dir, options)
}

func runScenarios(ctx context.Context, env *environment, flags *labRunFlags) error {
	if err := flags.node.check(); err != nil {
		return err
	}
	if flags.timeScale <= 0 {
		return withCode(exitUsage, errors.New("--time-scale must be above zero"))
	}
	if honest, err := backgrounds(flags.names); err != nil || len(honest) > 0 {
		if err != nil {
			return err
		}
		return runBackgrounds(ctx, env, flags, honest)
	}
	var chosen []scenario.Scenario
	for _, name := range flags.names {
		found, err := scenario.Find(name)
		if err != nil {
			return withCode(exitUsage, err)
		}
		chosen = append(chosen, found...)
	}
	for _, s := range chosen {
		// Each time anew: an earlier scenario may have restarted the node.
		target, err := flags.target(ctx)
		if err != nil {
			return err
		}
		begin := time.Now()
		if flags.twin {
			fmt.Fprintf(env.stdout, "%s  %s, benign twin: %s\n", begin.Format(time.TimeOnly), s.Name, s.Twin)
			err := s.RunTwin(ctx, target)
			target.Close()
			if err != nil {
				return err
			}
			fmt.Fprintf(env.stdout, "%s  done; no page and no ticket may come of it", time.Now().Format(time.TimeOnly))
			if len(s.TwinMay) > 0 {
				fmt.Fprintf(env.stdout, " except %s", strings.Join(s.TwinMay, ", "))
			}
			fmt.Fprintln(env.stdout)
			continue
		}
		within := time.Duration(float64(s.Detect) / flags.timeScale).Round(time.Second)
		fmt.Fprintf(env.stdout, "%s  %s (rule %s): %s\n          expect %s (%s) by %s\n", begin.Format(time.TimeOnly), s.Name, s.Rule, s.Does,
			s.Alert, s.Severity, begin.Add(within).Format(time.TimeOnly))
		err = s.Run(ctx, target)
		target.Close()
		if err != nil {
			return err
		}
		fmt.Fprintf(env.stdout, "%s  done\n", time.Now().Format(time.TimeOnly))
	}
	return nil
}

// target finds the node that the flags choose.
func (f *labRunFlags) target(ctx context.Context) (*scenario.Target, error) {
	found, err := node.Find(ctx, f.node.options)
	if err != nil {
		return nil, withCode(exitNode, err)
	}
	client, err := found.NewClient()
	if err != nil {
		return nil, withCode(exitNode, err)
	}
	target := &scenario.Target{
		RPC: client, P2PAddress: f.p2pAddress, AgentPID: f.agentPID, CookieFile: found.CookieFile, TimeScale: f.timeScale,
	}
	if target.P2PAddress == "" {
		target.P2PAddress = loopbackListener(found, false)
	}
	target.OnionAddress = loopbackListener(found, true)
	if target.P2PAddress == "" {
		return nil, withCode(exitNode, errors.New("the node's P2P address isn't known, give --bitcoin.p2p-address"))
	}
	if found.PID > 0 {
		pid := found.PID
		target.PID = func() int { return pid }
		// The service manager, or the operator, starts the node again.
		target.Restart = func(ctx context.Context) error {
			again, err := f.waitForAnother(ctx, pid)
			if err == nil {
				pid = again
			}
			return err
		}
	}
	return target, nil
}

// loopbackListener is an address on loopback where the node accepts connections, as from Tor
// or others.
func loopbackListener(n *node.Node, onion bool) string {
	for _, listener := range n.P2P {
		address := listener.Address
		if listener.Onion != onion {
			continue
		}
		if address.Addr().IsUnspecified() {
			address = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), address.Port())
		}
		if address.Addr().IsLoopback() {
			return address.String()
		}
	}
	return ""
}

// restartTimeout is how long somebody has to start the node again.
const restartTimeout = 10 * time.Minute

// waitForAnother waits for another process of the node that answers RPC.
func (f *labRunFlags) waitForAnother(ctx context.Context, than int) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, restartTimeout)
	defer cancel()
	options := f.node.options
	options.PID = 0
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if found, err := node.Find(ctx, options); err == nil && found.PID > 0 && found.PID != than {
			if client, err := found.NewClient(); err == nil && client.Call(ctx, "getblockcount", nil, nil) == nil {
				return found.PID, nil
			}
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("nobody started the node again: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

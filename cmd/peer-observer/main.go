// Command peer-observer sits beside a Bitcoin node, sees what the node does on the P2P
// network, publishes it as events on NATS and turns it into metrics.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/common/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// environment is what a command gets beside its flags.
type environment struct {
	stdout io.Writer
	stderr io.Writer
	logger *slog.Logger
}

// handler runs a command.
type handler func(ctx context.Context, env *environment) error

// command is one command of the binary. register declares its flags and puts the
// handlers of it and its sub-commands under their full names.
type command struct {
	name      string
	help      string
	isDefault bool
	register  func(clause *kingpin.CmdClause, handlers map[string]handler)
}

// commands is the list of all commands, in the order of the help text.
func commands() []command {
	return []command{
		{name: "agent", help: "Observe the Bitcoin node on this machine (the default command).", isDefault: true, register: registerAgent},
		{name: "logger", help: "Print the events on NATS.", register: registerLogger},
		{name: "metrics", help: "Serve Prometheus metrics made from the events on NATS.", register: registerMetrics},
		{name: "websocket", help: "Show the events on NATS live: pages for the browser, and JSON over WebSocket.", register: registerWebsocket},
		{name: "archive", help: "Keep the events on NATS in files, and look into such files.", register: registerArchive},
		{name: "replay", help: "Give the events of archive files again, to NATS, as metrics or as text.", register: registerReplay},
		{name: "connectivity-check", help: "Dial the addresses that peers announce and record which are nodes.", register: registerConnectivityCheck},
		{name: "record-getblocktxn", help: "Record which transactions of compact blocks were missing: every getblocktxn message and what came of it.", register: registerRecordGetBlockTxn},
		{name: "alerts", help: "The alert rules: what they would have said of recorded events.", register: registerAlerts},
		{name: "lab", help: "Regtest nodes and traffic to try things on.", register: registerLab},
		{name: "doctor", help: "Say what is found on this machine (node, tracepoints, kernel, capabilities, RPC, NATS) and how to fix what is missing.", register: registerDoctor},
		{name: "version", help: "Print the version.", register: registerVersion},
	}
}

// run runs the program and gives its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app, handlers, logConfig := application(stdout, stderr)
	selected, err := parse(app, args)
	if err != nil {
		if errors.Is(err, errTerminated) {
			return exitOK
		}
		fmt.Fprintf(stderr, "peer-observer: %v, try --help\n", err)
		return exitUsage
	}
	logConfig.Writer = stderr
	env := &environment{stdout: stdout, stderr: stderr, logger: promslog.New(logConfig)}
	if err := handlers[selected](ctx, env); err != nil {
		var coded *exitError
		if !errors.As(err, &coded) {
			coded = &exitError{code: exitFailure, err: err}
		}
		if coded.err != nil {
			fmt.Fprintf(stderr, "peer-observer: %v\n", coded.err)
		}
		return coded.code
	}
	return exitOK
}

// errTerminated is returned by parse after --help or --version.
var errTerminated = errors.New("terminated")

// parse parses args; --help and --version print and give errTerminated, so that
// nothing but main ends the process.
func parse(app *kingpin.Application, args []string) (selected string, err error) {
	app.Terminate(func(int) { panic(errTerminated) }) //nolint:forbidigo // kingpin goes on parsing otherwise; recovered below
	defer func() {
		if r := recover(); r != nil {
			if r != any(errTerminated) {
				panic(r) //nolint:forbidigo // not ours to swallow
			}
			err = errTerminated
		}
	}()
	selected, err = app.Parse(args)
	if err != nil {
		err = nameFlag(app, args, err)
	}
	return selected, err
}

// application declares every command and flag.
func application(stdout, stderr io.Writer) (*kingpin.Application, map[string]handler, *promslog.Config) {
	app := kingpin.New("peer-observer", "Sees everything a Bitcoin node does on the P2P network.\n\n"+
		"Every flag can be given as an environment variable, which its help names.").DefaultEnvars()
	app.UsageWriter(stdout).ErrorWriter(stderr)
	app.HelpFlag.Short('h').NoEnvar()
	app.Version(version.Print("peer-observer"))
	// A variable with this name is likely to be set, in an image for instance, and to
	// hold a version.
	app.VersionFlag.NoEnvar()

	logConfig := &promslog.Config{Level: promslog.NewLevel(), Format: promslog.NewFormat()}
	app.Flag("log.level", "Only log messages of this severity or above: debug, info, warn, error.").Default("info").SetValue(logConfig.Level)
	app.Flag("log.format", "Format of log messages: logfmt, json.").Default("logfmt").SetValue(logConfig.Format)

	handlers := map[string]handler{}
	for _, c := range commands() {
		clause := app.Command(c.name, c.help)
		if c.isDefault {
			clause.Default()
		}
		c.register(clause, handlers)
	}
	return app, handlers, logConfig
}

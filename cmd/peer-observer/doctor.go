package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"golang.org/x/sys/unix"

	"github.com/peerobserver/peerobserver/agent/node"
	"github.com/peerobserver/peerobserver/bpf"
	"github.com/peerobserver/peerobserver/exporters/nats"
	"github.com/peerobserver/peerobserver/proto/event"
)

// finding is the result of one check: what was found, or what is wrong and what helps.
type finding struct {
	subject string
	detail  string
	err     error
	// fix says what the operator can do.
	fix string
	// code is the exit code that the error deserves.
	code int
}

// checkTimeout bounds each check that talks to somebody.
const checkTimeout = 10 * time.Second

func registerDoctor(clause *kingpin.CmdClause, handlers map[string]handler) {
	flags := new(agentFlags)
	flags.register(clause)
	handlers[clause.FullCommand()] = func(ctx context.Context, env *environment) error {
		return report(env.stdout, examine(ctx, flags, true))
	}
}

// checkConfiguration is --config.check.
func checkConfiguration(ctx context.Context, env *environment, flags *agentFlags) error {
	return report(env.stdout, examine(ctx, flags, false))
}

// report prints the findings. The error carries the exit code of the first that is
// wrong, and no text, for that is printed already.
func report(w io.Writer, findings []finding) error {
	code := exitOK
	for _, f := range findings {
		if f.err == nil {
			fmt.Fprintf(w, "ok    %-12s %s\n", f.subject, f.detail)
			continue
		}
		fmt.Fprintf(w, "FAIL  %-12s %v\n", f.subject, f.err)
		if f.fix != "" {
			fmt.Fprintf(w, "      %-12s fix: %s\n", "", f.fix)
		}
		if code == exitOK {
			code = f.code
		}
	}
	if code == exitOK {
		fmt.Fprintln(w, "everything is in order")
		return nil
	}
	return &exitError{code: code}
}

// examine checks everything that the agent would use by really using it, and leaves
// everything as it was. With system it also says what the machine is, and takes an agent
// that runs already for the one that is looked at.
func examine(ctx context.Context, flags *agentFlags, system bool) []finding {
	if err := flags.check(); err != nil {
		code := exitUsage
		if coded, ok := errors.AsType[*exitError](err); ok {
			code = coded.code
		}
		return []finding{{subject: "flags", err: err, code: code}}
	}
	var list []finding
	if system {
		list = append(list, checkSystem())
	}
	found, f := checkNode(ctx, flags)
	list = append(list, f)
	if found != nil {
		for _, missing := range found.Missing {
			list = append(list, finding{subject: missing.What, err: errors.New(missing.Reason), code: exitFailure})
		}
		if *flags.sources[sourceRPC] || *flags.sources[sourceP2P] {
			list = append(list, checkRPC(ctx, found))
		}
		if *flags.sources[sourceEBPF] {
			list = append(list, checkTracepoints(flags, found)...)
		}
		if *flags.sources[sourceLog] {
			list = append(list, checkLog(flags, found))
		}
	}
	if *flags.sources[sourceP2P] {
		list = append(list, listening{"p2p", flags.p2pListen, "--extractor.p2p.listen-address", nil}.check(ctx, system))
	}
	if flags.nats.url == "" {
		list = append(list, listening{"nats", flags.natsListen, "--nats.listen-address, or use the server there with --nats.url", whoIsNATS}.check(ctx, system))
	} else {
		list = append(list, checkNATS(ctx, flags))
	}
	for _, address := range flags.web.addresses {
		list = append(list, listening{"web", address, "--web.listen-address", whoIsWeb}.check(ctx, system))
	}
	return list
}

func checkSystem() finding {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return finding{subject: "system", err: err, code: exitFailure}
	}
	return finding{subject: "system", detail: fmt.Sprintf("Linux %s on %s, user id %d",
		unix.ByteSliceToString(name.Release[:]), unix.ByteSliceToString(name.Machine[:]), os.Geteuid())}
}

func checkNode(ctx context.Context, flags *agentFlags) (*node.Node, finding) {
	found, err := findNode(ctx, flags.node.options)
	if err != nil {
		code := exitNode
		if coded, ok := errors.AsType[*exitError](err); ok {
			code = coded.code
		}
		fix := "start bitcoind, or say where it is with --bitcoin.pid, --bitcoin.datadir or --rpc.address"
		if _, ok := errors.AsType[*node.SeveralError](err); ok {
			// The error names the flags already.
			fix = ""
		}
		return nil, finding{subject: "node", err: err, fix: fix, code: code}
	}
	return found, finding{subject: "node", detail: found.String()}
}

func checkRPC(ctx context.Context, found *node.Node) finding {
	f := finding{subject: "rpc", code: exitFailure}
	client, err := found.NewClient()
	if err != nil {
		f.err, f.code = err, exitCredentials
		return f
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	version, err := client.Version(ctx)
	if err != nil {
		f.err = err
		if errors.Is(err, node.ErrUnauthorized) || errors.Is(err, node.ErrCredentials) {
			f.code = exitCredentials
		}
		return f
	}
	f.detail = fmt.Sprintf("%s at %s", version.Subversion, found.RPCAddress)
	return f
}

func checkTracepoints(flags *agentFlags, found *node.Node) []finding {
	path := found.Executable
	if found.PID != 0 {
		path = fmt.Sprintf("/proc/%d/exe", found.PID)
	}
	executable, err := bpf.Open(path)
	var capability *bpf.CapabilityError
	if errors.As(err, &capability) && found.Executable != "" {
		// Without privilege it can't be seen what another user's process runs; the
		// agent takes its path for that too.
		executable, err = bpf.Open(found.Executable)
	}
	if err != nil {
		f := finding{subject: "tracepoints", err: err, code: exitFailure}
		if errors.Is(err, bpf.ErrNoTracepoints) {
			f.fix = "without them use --no-extractor.ebpf: RPC, P2P and log still work"
		} else {
			f.fix = capabilityFix(err)
		}
		return []finding{f}
	}
	defer executable.Close()
	program, err := bpf.Load(bpf.Config{RingSize: flags.ringSize})
	if err != nil {
		return []finding{{subject: "ebpf", err: err, fix: capabilityFix(err), code: exitFailure}}
	}
	defer program.Close()
	probes, err := flags.probes()
	if err != nil {
		return []finding{{subject: "tracepoints", err: err, code: exitUsage}}
	}
	attachment, err := program.Attach(executable, probes)
	if err != nil {
		return []finding{{subject: "tracepoints", err: err, fix: capabilityFix(err), code: exitFailure}}
	}
	defer attachment.Close()
	var attached, other []string
	for _, p := range attachment.Probes() {
		switch p.State {
		case bpf.Attached:
			attached = append(attached, p.Tracepoint.String())
		case bpf.Missing:
			if !p.Tracepoint.Optional {
				other = append(other, p.Tracepoint.String()+" (missing)")
			}
		case bpf.Refused:
			other = append(other, fmt.Sprintf("%s (%v)", p.Tracepoint, p.Err))
		case bpf.Off:
		}
	}
	features := program.Features()
	list := []finding{{subject: "tracepoints", detail: fmt.Sprintf("%d attached by %s links, kernel functions for payloads: %v: %s",
		len(attached), features.Link, features.Kfuncs, strings.Join(attached, " "))}}
	if len(other) > 0 {
		list = append(list, finding{subject: "tracepoints", err: errors.New("not usable: " + strings.Join(other, ", ")), code: exitFailure,
			fix: "use a newer Bitcoin Core, or switch them off with --extractor.ebpf.without"})
	}
	return list
}

func capabilityFix(err error) string {
	var missing *bpf.CapabilityError
	if errors.As(err, &missing) && len(missing.Missing) > 0 {
		names := make([]string, len(missing.Missing))
		for i, c := range missing.Missing {
			names[i] = c.String()
		}
		return "run as root, or grant " + strings.Join(names, " and ") + " (systemd: AmbientCapabilities); or use --no-extractor.ebpf"
	}
	return ""
}

func checkLog(flags *agentFlags, found *node.Node) finding {
	path := flags.logFile
	if path == "" {
		path = found.LogFile
	}
	f := finding{subject: "log", code: exitFailure}
	if path == "" {
		f.err = errors.New("the node writes no debug.log")
		f.fix = "remove nodebuglogfile from its configuration, or use --no-extractor.log"
		return f
	}
	file, err := os.Open(path)
	if err != nil {
		f.err = err
		f.fix = "let this user read the file, or use --no-extractor.log"
		return f
	}
	f.err = file.Close()
	f.detail = path
	return f
}

func checkNATS(ctx context.Context, flags *agentFlags) finding {
	f := finding{subject: "nats", code: exitFailure}
	config := flags.nats.config("peer-observer check")
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	info, err := nats.Check(ctx, config)
	if err != nil {
		f.err = err
		return f
	}
	f.detail = fmt.Sprintf("%s, payloads up to %d bytes", config.Redacted(), info.MaxPayload)
	if info.MaxPayload < event.MaxSize {
		f.err = fmt.Errorf("%s takes payloads of at most %d bytes, but events have up to %d", config.Redacted(), info.MaxPayload, event.MaxSize)
		f.fix = fmt.Sprintf("set max_payload: %d in the server's configuration; larger events are lost until then, and counted", event.MaxSize)
	}
	return f
}

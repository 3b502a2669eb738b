package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/version"

	"github.com/peerobserver/peerobserver/agent"
	"github.com/peerobserver/peerobserver/agent/extractor/ebpf"
	logextractor "github.com/peerobserver/peerobserver/agent/extractor/log"
	"github.com/peerobserver/peerobserver/agent/extractor/p2p"
	"github.com/peerobserver/peerobserver/agent/extractor/rpc"
	"github.com/peerobserver/peerobserver/agent/node"
	"github.com/peerobserver/peerobserver/bpf"
	"github.com/peerobserver/peerobserver/exporters/metrics"
	"github.com/peerobserver/peerobserver/exporters/nats"
	"github.com/peerobserver/peerobserver/exporters/prometheus"
	"github.com/peerobserver/peerobserver/proto/event"
)

// nodeFlags are the flags that choose the node and override what is found out about it.
type nodeFlags struct {
	options node.Options
}

func (f *nodeFlags) register(clause *kingpin.CmdClause) {
	clause.Flag("bitcoin.binary", "Path of the node's program.").StringVar(&f.options.Binary)
	clause.Flag("bitcoin.pid", "Process id of the node.").IntVar(&f.options.PID)
	clause.Flag("bitcoin.pid-file", "File with the process id of the node.").StringVar(&f.options.PIDFile)
	clause.Flag("bitcoin.datadir", "Data directory of the node.").StringVar(&f.options.Datadir)
	clause.Flag("bitcoin.chain", "Chain of the node: main, test, testnet4, signet or regtest.").StringVar(&f.options.Chain)
	clause.Flag("rpc.address", "HOST:PORT of the node's RPC server.").StringVar(&f.options.RPCAddress)
	clause.Flag("rpc.cookie-file", "The node's .cookie file.").StringVar(&f.options.CookieFile)
	clause.Flag("rpc.user", "User for the node's RPC server.").StringVar(&f.options.RPCUser)
	clause.Flag("rpc.password-file", "File with the password for --rpc.user.").StringVar(&f.options.RPCPasswordFile)
}

// check finds mistakes that no waiting will mend.
func (f *nodeFlags) check() error {
	if f.options.Chain != "" {
		if _, err := node.ParseChain(f.options.Chain); err != nil {
			return withCode(exitNode, fmt.Errorf("--bitcoin.chain: %w", err))
		}
	}
	if f.options.RPCUser != "" && f.options.RPCPasswordFile == "" {
		return withCode(exitUsage, errors.New("--rpc.user needs --rpc.password-file"))
	}
	if f.options.RPCUser != "" && f.options.CookieFile != "" {
		return withCode(exitUsage, errors.New("--rpc.user and --rpc.cookie-file exclude each other"))
	}
	return nil
}

// agentFlags are the flags of the agent.
type agentFlags struct {
	nodeName  string
	all       bool
	node      nodeFlags
	sources   map[string]*bool
	groups    map[bpf.Group]*bool
	without   []string
	intervals map[string]*time.Duration

	ringSize         int
	payloadLimits    []string
	dropMessages     []string
	dropCapabilities bool
	p2pListen        string
	p2pAdvertise     string
	pingInterval     time.Duration
	logFile          string
	natsListen       string
	natsBuffer       int64
	openPublish      bool
	nats             natsFlags
	web              webFlags
	archiveOn        bool
	archive          archiveFlags
	websocketOn      bool
	websocket        websocketFlags
	getBlockTxnOn    bool
	getBlockTxn      getBlockTxnFlags
	tools            toolFlags
	evidence         evidenceFlags
	otlp             otlpFlags
	networks         networkFlags
	configCheck      bool
}

const (
	sourceEBPF = "ebpf"
	sourceRPC  = "rpc"
	sourceP2P  = "p2p"
	sourceLog  = "log"
)

// defaultRingSize holds four of the largest P2P messages at once, or a tenth of a second
// of blocks at 100 MB/s. All of it counts as resident memory of the agent.
const defaultRingSize = 16 << 20

func (f *agentFlags) register(clause *kingpin.CmdClause) {
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "localhost"
	}
	clause.Flag("node.name", "Name of the node in every event.").Default(hostname).StringVar(&f.nodeName)
	f.node.register(clause)
	clause.Flag("bitcoin.all", "eBPF: record every process of --bitcoin.binary, now and later.").BoolVar(&f.all)

	f.sources = map[string]*bool{}
	for _, s := range []struct{ name, help string }{
		{sourceEBPF, "See the node's tracepoints."},
		{sourceRPC, "Ask the node over RPC."},
		{sourceP2P, "Be a peer of the node."},
		{sourceLog, "Follow the node's debug.log."},
	} {
		f.sources[s.name] = clause.Flag("extractor."+s.name, s.help).Default("true").Bool()
	}
	f.groups = map[bpf.Group]*bool{}
	for _, g := range bpf.Groups() {
		on := slices.Contains(bpf.DefaultGroups(), g)
		f.groups[g] = clause.Flag("extractor.ebpf."+string(g), fmt.Sprintf("Hook the tracepoints of group %s.", g)).Default(fmt.Sprint(on)).Bool()
	}
	clause.Flag("extractor.ebpf.without", "Don't hook this tracepoint, such as mempool:added; repeatable.").StringsVar(&f.without)
	clause.Flag("extractor.ebpf.ring-size", "Size of the kernel's ring buffer in bytes, a power of two.").Default(fmt.Sprint(defaultRingSize)).IntVar(&f.ringSize)
	clause.Flag("extractor.ebpf.payload-limit", "Keep only so many bytes of the payloads of a message type, as [inbound:|outbound:]TYPE=BYTES, such as block=1000; TYPE is * for all others; repeatable.").StringsVar(&f.payloadLimits)
	clause.Flag("extractor.ebpf.drop-message", "Only count messages of a type, as [inbound:|outbound:]TYPE; repeatable.").StringsVar(&f.dropMessages)
	clause.Flag("extractor.ebpf.drop-capabilities", "Give up the capabilities that are not needed any more once the tracepoints are hooked.").Default("true").BoolVar(&f.dropCapabilities)
	f.intervals = map[string]*time.Duration{}
	for _, m := range rpc.Methods() {
		f.intervals[m.Name] = clause.Flag("extractor.rpc.interval."+m.Name, fmt.Sprintf("Time between two calls of %s; negative for never.", m.Name)).
			Default(m.Interval.String()).Duration()
	}
	clause.Flag("extractor.p2p.listen-address", "HOST:PORT on which the node is asked to connect; port 0 is a free one.").
		Default(p2p.DefaultListenAddress).StringVar(&f.p2pListen)
	clause.Flag("extractor.p2p.advertise-address", "HOST:PORT that the node is told to connect to, for a node on another host or in another network namespace; the address listened on when not given.").
		StringVar(&f.p2pAdvertise)
	clause.Flag("extractor.p2p.ping-interval", "Time between two pings to the node.").Default(p2p.DefaultPingInterval.String()).DurationVar(&f.pingInterval)
	clause.Flag("extractor.log.file", "The node's debug.log, or a FIFO; found by itself when not given.").StringVar(&f.logFile)

	clause.Flag("nats.listen-address", "HOST:PORT of the agent's own NATS server, which runs unless --nats.url is given.").
		Default(nats.DefaultListenAddress).StringVar(&f.natsListen)
	clause.Flag("nats.buffer-size", "Bytes of events that wait for NATS during an outage.").Default(fmt.Sprint(nats.DefaultBuffer)).Int64Var(&f.natsBuffer)
	clause.Flag("nats.allow-publish", "Let other programs publish on the agent's own NATS server.").BoolVar(&f.openPublish)
	f.nats.register(clause, false)
	f.web.register(clause, prometheus.DefaultListenAddress)
	clause.Flag("exporter.archive", "Keep the events in files, in --exporter.archive.dir.").BoolVar(&f.archiveOn)
	f.archive.register(clause, "exporter.archive.")
	clause.Flag("exporter.websocket", "Show the events live: pages at /live/ of the web server, JSON over WebSocket at /ws.").BoolVar(&f.websocketOn)
	f.websocket.register(clause, "exporter.websocket.")
	clause.Flag("exporter.getblocktxn", "Record which transactions of compact blocks were missing.").BoolVar(&f.getBlockTxnOn)
	f.getBlockTxn.register(clause, "exporter.getblocktxn.")
	f.tools.register(clause)
	f.evidence.register(clause)
	f.otlp.register(clause)
	f.networks.register(clause)
	clause.Flag("config.check", "Check flags, node, RPC, tracepoints and NATS by really using them, say what was found, and end.").BoolVar(&f.configCheck)
}

func registerAgent(clause *kingpin.CmdClause, handlers map[string]handler) {
	flags := new(agentFlags)
	flags.register(clause)
	handlers[clause.FullCommand()] = func(ctx context.Context, env *environment) error {
		if err := flags.check(); err != nil {
			return err
		}
		if flags.configCheck {
			return checkConfiguration(ctx, env, flags)
		}
		return runAgent(ctx, env, flags, nil)
	}
}

// check finds mistakes in the flags that no waiting will mend.
func (f *agentFlags) check() error {
	if err := f.node.check(); err != nil {
		return err
	}
	if err := f.nats.check(); err != nil {
		return err
	}
	if f.archiveOn {
		if err := f.archive.check(); err != nil {
			return err
		}
	}
	if err := f.checkTools(); err != nil {
		return err
	}
	if f.nodeName == "" || len(f.nodeName) > 128 {
		return withCode(exitUsage, errors.New("--node.name must have 1 to 128 bytes"))
	}
	if f.all && f.node.options.Binary == "" {
		return withCode(exitUsage, errors.New("--bitcoin.all needs --bitcoin.binary, the program whose processes are recorded"))
	}
	if _, err := f.probes(); err != nil {
		return withCode(exitUsage, err)
	}
	if _, ok := indexOfTrue(f.sources); !ok {
		return withCode(exitUsage, errors.New("every extractor is switched off: leave at least one on"))
	}
	return nil
}

func indexOfTrue(m map[string]*bool) (string, bool) {
	for name, on := range m {
		if *on {
			return name, true
		}
	}
	return "", false
}

// probes says which tracepoints are hooked.
func (f *agentFlags) probes() (bpf.Options, error) {
	options := bpf.Options{Groups: []bpf.Group{}}
	for _, g := range bpf.Groups() {
		if *f.groups[g] {
			options.Groups = append(options.Groups, g)
		}
	}
	for _, name := range f.without {
		i := slices.IndexFunc(bpf.Tracepoints(), func(t bpf.Tracepoint) bool { return t.String() == name })
		if i < 0 {
			var names []string
			for _, t := range bpf.Tracepoints() {
				names = append(names, t.String())
			}
			return options, fmt.Errorf("--extractor.ebpf.without=%s is no tracepoint; there are: %s", name, strings.Join(names, ", "))
		}
		options.Disable = append(options.Disable, bpf.Tracepoints()[i].ID)
	}
	return options, nil
}

// garbagePercent is how much garbage there may be, in per cent of what is in use.
const garbagePercent = 50

// runAgent runs the agent until ctx ends. started is called once everything has been
// built and is about to run; nil for nothing.
func runAgent(ctx context.Context, env *environment, flags *agentFlags, started func(*running)) error {
	// Most of the heap is tables of a fixed size, and the hot path allocates little, so
	// that the collector has time to keep an agent small that shares its machine with a
	// node. Go's own variable GOGC has the last word.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
	run, err := build(ctx, env, flags)
	if err != nil {
		return err
	}
	defer run.close()
	if started != nil {
		started(run)
	}
	env.logger.Info("peer-observer runs", "version", version.Version, "node", flags.nodeName,
		"nats", run.natsAddress, "metrics", strings.Join(flags.web.addresses, ", "))
	if err := run.agent.Run(ctx); err != nil {
		return err
	}
	return nil
}

// running is an agent that has been built.
type running struct {
	agent       *agent.Agent
	tracker     *tracker
	ledger      *event.Ledger
	exporter    *prometheus.Exporter
	natsAddress string
	closers     []func()
}

func (r *running) close() {
	for _, c := range slices.Backward(r.closers) {
		c()
	}
}

// build makes every part before any of them runs, so that what is wrong with the
// configuration is found before something has happened.
func build(ctx context.Context, env *environment, flags *agentFlags) (_ *running, err error) {
	run := &running{ledger: event.NewLedger()}
	defer func() {
		if err != nil {
			run.close()
		}
	}()
	if err := flags.web.check(); err != nil {
		return nil, err
	}
	origin, err := newOrigin(flags.nodeName)
	if err != nil {
		return nil, err
	}
	run.tracker = newTracker(flags.node.options, env.logger.With("part", "node"))
	run.ledger.Node(run.tracker.status)
	run.ledger.HostClock(agent.NewHostClock(env.logger.With("part", "clock")).State)

	// Sinks.
	connection := flags.nats.config("peer-observer agent " + flags.nodeName)
	if flags.nats.url == "" {
		server, err := nats.NewServer(nats.ServerConfig{
			ListenAddress: flags.natsListen, User: flags.nats.user, PasswordFile: flags.nats.passwordFile,
			AllowPublish: flags.openPublish,
		}, env.logger.With("part", "nats-server"))
		if err != nil {
			return nil, withCode(exitListen, err)
		}
		run.closers = append(run.closers, server.Shutdown)
		connection.InProcess = server
		run.natsAddress = "nats://" + server.Address()
	} else {
		run.natsAddress = connection.Redacted()
	}
	publisher, err := nats.NewPublisher(nats.PublisherConfig{
		Connection: connection, SubjectPrefix: flags.nats.prefix, Buffer: flags.natsBuffer,
	}, run.ledger, env.logger.With("part", "nats"))
	if err != nil {
		return nil, withCode(exitUsage, err)
	}
	networks, err := flags.networks.load(env)
	if err != nil {
		return nil, err
	}
	config := flags.web.config()
	config.Metrics = metrics.Config{Ledger: run.ledger, ProcessMetrics: true, Networks: networks}
	config.Sources = flags.enabledSources()
	config.Ready = func() []string {
		if connected, detail := publisher.State(); !connected {
			return []string{"nats: " + detail}
		}
		return nil
	}
	run.exporter, err = prometheus.New(config, env.logger.With("part", "prometheus"))
	if err != nil {
		return nil, withCode(exitUsage, err)
	}
	sinks := []event.Sink{run.exporter, publisher}
	sinkParts := []agent.Part{
		{Name: "nats", Runner: publisher},
		{Name: "prometheus", Runner: run.exporter},
		{Name: "networks", Runner: networks},
	}
	pushed, err := flags.otlp.exporter(ctx, env, flags.nodeName, run.exporter, run.ledger)
	if err != nil {
		return nil, err
	}
	if pushed != nil {
		sinks = append(sinks, pushed)
		sinkParts = append(sinkParts, agent.Part{Name: "otlp", Runner: pushed})
	}
	if flags.archiveOn {
		archived, err := flags.archive.sink(run.ledger, env)
		if err != nil {
			return nil, err
		}
		sinks = append(sinks, archived)
		sinkParts = append(sinkParts, agent.Part{Name: "archive", Runner: archived})
	}
	if flags.websocketOn {
		live, err := flags.websocket.sink(run.ledger, env)
		if err != nil {
			return nil, err
		}
		if err := serveLive(run.exporter, live); err != nil {
			return nil, err
		}
		redacted, err := flags.websocket.redaction.sink(live, run.ledger)
		if err != nil {
			return nil, err
		}
		sinks = append(sinks, redacted)
		sinkParts = append(sinkParts, agent.Part{Name: "websocket", Runner: live})
	}
	if flags.getBlockTxnOn {
		recorder, err := flags.getBlockTxn.sink(run.ledger, env)
		if err != nil {
			return nil, err
		}
		run.closers = append(run.closers, recorder.free)
		sinks = append(sinks, recorder)
		sinkParts = append(sinkParts, agent.Part{Name: "getblocktxn", Runner: recorder.runner})
	}
	tools, toolParts, err := flags.tools.build(run, env, flags.node.options.Chain)
	if err != nil {
		return nil, err
	}
	sinks, sinkParts = append(sinks, tools...), append(sinkParts, toolParts...)
	kept, err := flags.evidence.sink(env, &flags.web, run.exporter)
	if err != nil {
		return nil, err
	}
	if kept != nil {
		sinks = append(sinks, kept)
		sinkParts = append(sinkParts, agent.Part{Name: "evidence", Runner: kept})
	}
	stream := event.NewStream(sinks...)
	// What the observer says of itself is numbered as one source, whoever says it.
	observer := event.NewEmitter(event.SourceObserver, origin, stream, run.ledger)
	if kept != nil {
		kept.Publish(observer)
	}

	// Sources.
	sources := []agent.Part{{Name: "node", Runner: run.tracker}}
	extractors, err := flags.extractors(env.logger, run, origin, stream)
	if err != nil {
		return nil, err
	}
	run.agent = agent.New(agent.Config{
		Sources: append(sources, extractors...),
		Sinks:   sinkParts,
		Status:  observer,
		Ledger:  run.ledger,
		Version: version.Version,
		Logger:  env.logger,
	})
	return run, nil
}

// enabledSources are the sources that have to be up for the agent to be ready.
func (f *agentFlags) enabledSources() []event.Source {
	var list []event.Source
	for _, s := range []event.Source{event.SourceEBPF, event.SourceRPC, event.SourceP2P, event.SourceLog} {
		if *f.sources[s.String()] {
			list = append(list, s)
		}
	}
	return list
}

// extractors builds the sources that are on.
func (f *agentFlags) extractors(logger *slog.Logger, run *running, origin event.Origin, stream *event.Stream) ([]agent.Part, error) {
	var parts []agent.Part
	add := func(name string, emitter *event.Emitter, runner event.Runner) {
		parts = append(parts, agent.Part{Name: name, Runner: runner, Account: emitter.Account()})
	}
	emitter := func(s event.Source) *event.Emitter { return event.NewEmitter(s, origin, stream, run.ledger) }
	tracker := run.tracker

	if *f.sources[sourceEBPF] {
		probes, err := f.probes()
		if err != nil {
			return nil, withCode(exitUsage, err)
		}
		policy, err := bpf.ParsePolicy(f.payloadLimits, f.dropMessages)
		if err != nil {
			return nil, withCode(exitUsage, fmt.Errorf("--extractor.ebpf.payload-limit or --extractor.ebpf.drop-message: %w", err))
		}
		m := emitter(event.SourceEBPF)
		add(sourceEBPF, m, ebpf.New(ebpf.Config{
			Node: func() ebpf.Node {
				n := tracker.current()
				if n == nil {
					return ebpf.Node{}
				}
				return ebpf.Node{PID: n.PID, StartTime: tracker.startTime(), Executable: n.Executable}
			},
			Binary:    f.node.options.Binary,
			All:       f.all,
			Belongs:   tracker.belongs,
			StartTime: func(pid int) int64 { return tracker.startOf(context.Background(), pid) },
			Probes:    probes,
			Program:   bpf.Config{RingSize: f.ringSize, Policy: &policy},
			AfterAttach: func(features bpf.Features) {
				if f.dropCapabilities {
					dropCapabilities(features.Link, logger.With("part", sourceEBPF))
				}
			},
		}, m, run.ledger, logger.With("part", sourceEBPF)))
	}
	if *f.sources[sourceRPC] {
		intervals := map[string]time.Duration{}
		for name, interval := range f.intervals {
			intervals[name] = *interval
		}
		m := emitter(event.SourceRPC)
		extractor, err := rpc.New(rpc.Config{
			Client: func() rpc.Caller {
				if client := tracker.rpc(); client != nil {
					return client
				}
				return nil
			},
			NodeStart: tracker.startTime,
			Intervals: intervals,
		}, m, run.ledger, logger.With("part", sourceRPC))
		if err != nil {
			return nil, withCode(exitUsage, err)
		}
		add(sourceRPC, m, extractor)
	}
	if *f.sources[sourceP2P] {
		m := emitter(event.SourceP2P)
		source, err := p2p.New(p2p.Config{
			ListenAddress:    f.p2pListen,
			AdvertiseAddress: f.p2pAdvertise,
			Client: func() p2p.Caller {
				if client := tracker.rpc(); client != nil {
					return client
				}
				return nil
			},
			Chain:        tracker.chain,
			NodeStart:    tracker.startTime,
			PingInterval: f.pingInterval,
			UserAgent:    userAgent(),
		}, m, run.ledger, logger.With("part", sourceP2P))
		if err != nil {
			return nil, withCode(exitUsage, err)
		}
		if err := source.Listen(); err != nil {
			return nil, withCode(exitListen, err)
		}
		add(sourceP2P, m, source)
	}
	if *f.sources[sourceLog] {
		path := tracker.logFile
		if f.logFile != "" {
			path = func() string { return f.logFile }
		}
		m := emitter(event.SourceLog)
		extractor, err := logextractor.New(logextractor.Config{
			Path: path, NodeStart: tracker.startTime,
		}, m, run.ledger, logger.With("part", sourceLog))
		if err != nil {
			return nil, withCode(exitUsage, err)
		}
		add(sourceLog, m, extractor)
	}
	return parts, nil
}

// userAgent is what the p2p source calls itself (BIP14).
func userAgent() string {
	if version.Version == "" {
		return p2p.DefaultUserAgent
	}
	return "/peer-observer:" + version.Version + "/"
}

func newOrigin(name string) (event.Origin, error) {
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return event.Origin{}, fmt.Errorf("no random number for the boot id: %w", err)
	}
	return event.Origin{NodeName: name, BootID: binary.LittleEndian.Uint64(id[:])}, nil
}

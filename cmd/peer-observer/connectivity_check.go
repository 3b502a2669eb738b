package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/peerobserver/peerobserver/agent"
	"github.com/peerobserver/peerobserver/exporters/connectivity"
	"github.com/peerobserver/peerobserver/exporters/metrics"
	"github.com/peerobserver/peerobserver/exporters/nats"
	"github.com/peerobserver/peerobserver/exporters/prometheus"
	"github.com/peerobserver/peerobserver/proto/event"
)

// defaultConnectivityAddress is next to those of agent, metrics and replay.
const defaultConnectivityAddress = "127.0.0.1:9792"

// connectivityFlags are the flags that say what is dialed and how.
type connectivityFlags struct {
	// prefix is what the names of the flags begin with.
	prefix                                                              string
	output, format, chain, userAgent, transport, torProxy, i2pProxy     string
	exclude, allow                                                      []string
	privilegedPorts                                                     bool
	concurrency, queue                                                  int
	connect, handshake, proxy, success, failure, hostInterval, netgroup time.Duration
}

func (f *connectivityFlags) register(clause *kingpin.CmdClause, prefix string) {
	f.prefix = prefix
	output := clause.Flag(prefix+"output", "File that a row is appended to for each check.")
	chain := clause.Flag(prefix+"chain", "Chain of the nodes: main, test, testnet4, signet or regtest; main, or that of --bitcoin.chain, when not given.")
	if prefix == "" {
		// The command; the agent needs a file only when the check is on.
		output.Required()
	}
	output.StringVar(&f.output)
	chain.StringVar(&f.chain)
	clause.Flag(prefix+"format", "Format of the file: json (an object a line) or csv.").Default("json").EnumVar(&f.format, "json", "csv")
	clause.Flag(prefix+"user-agent", "User agent that is sent to the nodes; say who you are, such as /example.org-check:1.0/.").Default(connectivity.DefaultUserAgent).StringVar(&f.userAgent)
	clause.Flag(prefix+"transport", "Transport that is tried: v1, v2, or auto for v2 where it is announced, and v1 where that fails.").Default("auto").EnumVar(&f.transport, "auto", "v1", "v2")
	clause.Flag(prefix+"tor-proxy", "HOST:PORT of Tor's SOCKS5 proxy; without it onion addresses are passed over.").StringVar(&f.torProxy)
	clause.Flag(prefix+"i2p-proxy", "HOST:PORT of an I2P router's SOCKS5 proxy; without it I2P addresses are passed over.").StringVar(&f.i2pProxy)
	clause.Flag(prefix+"exclude", "Address or range (CIDR) that is never dialed, such as your own; repeatable. The addresses of this machine never are.").StringsVar(&f.exclude)
	clause.Flag(prefix+"allow", "Address or range (CIDR) that is dialed although it is private or otherwise not reachable from everywhere; repeatable.").StringsVar(&f.allow)
	clause.Flag(prefix+"privileged-ports", "Dial ports below 1024 too, where nodes are rare and other services common.").BoolVar(&f.privilegedPorts)
	clause.Flag(prefix+"concurrency", "Addresses that are dialed at one time.").Default(fmt.Sprint(connectivity.DefaultConcurrency)).IntVar(&f.concurrency)
	clause.Flag(prefix+"queue-size", "Addresses that may wait to be dialed.").Default(fmt.Sprint(connectivity.DefaultQueue)).IntVar(&f.queue)
	clause.Flag(prefix+"connect-timeout", "Longest time to connect.").Default(connectivity.DefaultConnectTimeout.String()).DurationVar(&f.connect)
	clause.Flag(prefix+"handshake-timeout", "Longest time of a handshake.").Default(connectivity.DefaultHandshakeTimeout.String()).DurationVar(&f.handshake)
	clause.Flag(prefix+"proxy-timeout", "Longest time to connect by a proxy.").Default(connectivity.DefaultProxyTimeout.String()).DurationVar(&f.proxy)
	clause.Flag(prefix+"success-ttl", "Time after a success in which an address isn't dialed again.").Default(connectivity.DefaultSuccessTTL.String()).DurationVar(&f.success)
	clause.Flag(prefix+"failure-ttl", "Time after a failure in which an address isn't dialed again.").Default(connectivity.DefaultFailureTTL.String()).DurationVar(&f.failure)
	clause.Flag(prefix+"host-interval", "Least time between two ports of one host.").Default(connectivity.DefaultHostInterval.String()).DurationVar(&f.hostInterval)
	clause.Flag(prefix+"netgroup-interval", "Least time between two addresses of one group: /16 of IPv4, /32 of IPv6, a sixteenth of Tor and I2P.").Default(connectivity.DefaultNetgroupInterval.String()).DurationVar(&f.netgroup)
}

// config checks the flags; the error is the user's. nodeChain is the chain that was given
// for the observed node, empty for none.
func (f *connectivityFlags) config(nodeChain string) (connectivity.Config, error) {
	c := connectivity.Config{
		UserAgent: f.userAgent, TorProxy: f.torProxy, I2PProxy: f.i2pProxy, PrivilegedPorts: f.privilegedPorts,
		Concurrency: f.concurrency, Queue: f.queue, ConnectTimeout: f.connect, HandshakeTimeout: f.handshake, ProxyTimeout: f.proxy,
		SuccessTTL: f.success, FailureTTL: f.failure, HostInterval: f.hostInterval, NetgroupInterval: f.netgroup, Output: f.output,
	}
	var err error
	if c.Network, err = connectivity.ParseChain(cmp.Or(f.chain, nodeChain, "main")); err != nil {
		return c, fmt.Errorf("--%schain: %w", f.prefix, err)
	}
	if c.Transport, err = connectivity.ParseTransport(f.transport); err != nil {
		return c, fmt.Errorf("--%stransport: %w", f.prefix, err)
	}
	if c.Format, err = connectivity.ParseFormat(f.format); err != nil {
		return c, fmt.Errorf("--%sformat: %w", f.prefix, err)
	}
	if c.Exclude, err = parsePrefixes(f.exclude); err != nil {
		return c, fmt.Errorf("--%sexclude: %w", f.prefix, err)
	}
	if c.Allow, err = parsePrefixes(f.allow); err != nil {
		return c, fmt.Errorf("--%sallow: %w", f.prefix, err)
	}
	for _, proxy := range []struct{ flag, address string }{{"tor-proxy", f.torProxy}, {"i2p-proxy", f.i2pProxy}} {
		if proxy.address == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(proxy.address); err != nil {
			return c, fmt.Errorf("--%s%s: %w", f.prefix, proxy.flag, err)
		}
	}
	return c, nil
}

// parsePrefixes reads addresses and ranges.
func parsePrefixes(list []string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for _, text := range list {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			ip, notIP := netip.ParseAddr(text)
			if notIP != nil || ip.Zone() != "" {
				return nil, fmt.Errorf("%q is neither an address nor a range such as 192.0.2.0/24", text)
			}
			p = netip.PrefixFrom(ip, ip.BitLen())
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, nil
}

func registerConnectivityCheck(clause *kingpin.CmdClause, handlers map[string]handler) {
	var bus natsFlags
	var web webFlags
	var flags connectivityFlags
	flags.register(clause, "")
	bus.register(clause, true)
	web.register(clause, defaultConnectivityAddress)
	handlers[clause.FullCommand()] = func(ctx context.Context, env *environment) error {
		config, err := flags.config("")
		if err != nil {
			return withCode(exitUsage, err)
		}
		if err := errors.Join(bus.check(), web.check()); err != nil {
			return err
		}
		ledger := event.NewLedger()
		sink, err := connectivity.New(config, ledger, env.logger.With("part", "connectivity"))
		if err != nil {
			return withCode(exitUsage, err)
		}
		if err := sink.Check(); err != nil {
			return withCode(exitUsage, err)
		}
		// The server shows what this process tells of itself, and the checks; the
		// metrics of the events are made elsewhere.
		served := web.config()
		served.Metrics = metrics.Config{Ledger: ledger, Remote: true, NodeLabel: true, ProcessMetrics: true}
		exporter, err := prometheus.New(served, env.logger.With("part", "prometheus"))
		if err != nil {
			return withCode(exitUsage, err)
		}
		if err := sink.Register(exporter.Registry()); err != nil {
			return err
		}
		subscriber, err := nats.NewSubscriber(nats.SubscriberConfig{
			Connection: bus.config("peer-observer connectivity-check"), SubjectPrefix: bus.prefix,
		}, event.NewStream(sink), ledger, env.logger)
		if err != nil {
			return withCode(exitUsage, err)
		}
		return agent.New(agent.Config{
			Sources: []agent.Part{{Name: "nats", Runner: subscriber}},
			Sinks:   []agent.Part{{Name: "connectivity", Runner: sink}, {Name: "prometheus", Runner: exporter}},
			Ledger:  ledger,
			Logger:  env.logger,
		}).Run(ctx)
	}
}

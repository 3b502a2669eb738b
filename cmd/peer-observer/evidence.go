package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/peerobserver/peerobserver/exporters/evidence"
	"github.com/peerobserver/peerobserver/exporters/prometheus"
	"github.com/peerobserver/peerobserver/exporters/redact"
)

// evidenceFlags are the flags of the evidence of alerts.
type evidenceFlags struct {
	on        bool
	url       string
	http      string
	instance  string
	interval  time.Duration
	addresses string
	redaction redactionFlag
}

func (f *evidenceFlags) register(clause *kingpin.CmdClause) {
	const prefix = "exporter.evidence."
	clause.Flag("exporter.evidence", "Keep a record of each alert that fires on this node, with the peers behind it, at /alerts/evidence of the web server; publish it when the alert fires and when it ends.").BoolVar(&f.on)
	clause.Flag(prefix+"prometheus-url", "URL of the Prometheus that evaluates the alert rules; it is asked which fire.").Default(evidence.DefaultURL).StringVar(&f.url)
	clause.Flag(prefix+"http-config-file", "File that says how to log in there: Prometheus's format for HTTP clients (http_config).").StringVar(&f.http)
	clause.Flag(prefix+"instance", "Value of the label instance that this agent has in Prometheus; the first --web.listen-address when not given.").StringVar(&f.instance)
	clause.Flag(prefix+"interval", "Time between two questions to Prometheus.").Default(evidence.DefaultInterval.String()).DurationVar(&f.interval)
	clause.Flag(prefix+"addresses", "Who is shown the addresses of peers, and not pseudonyms: who asks on a loopback address, everybody (always), or nobody (never).").
		Default(string(evidence.AddressesLoopback)).EnumVar(&f.addresses, string(evidence.AddressesLoopback), string(evidence.AddressesAlways), string(evidence.AddressesNever))
	f.redaction.register(clause, prefix)
}

// sink builds the sink and puts its pages on the web server; nil when evidence is off.
func (f *evidenceFlags) sink(env *environment, web *webFlags, exporter *prometheus.Exporter) (*evidence.Sink, error) {
	if !f.on {
		return nil, nil
	}
	config := evidence.Config{
		URL: f.url, Instance: f.instance, Interval: f.interval, Metrics: exporter.Gatherer(), Addresses: evidence.Addresses(f.addresses),
		Heaviest: func() map[uint64]float64 {
			seconds := map[uint64]float64{}
			for _, node := range exporter.Heaviest() {
				for _, peer := range node.Peers {
					seconds[peer.ID] = peer.CPU
				}
			}
			return seconds
		},
	}
	if config.Instance == "" && len(web.addresses) > 0 {
		config.Instance = web.addresses[0]
	}
	var err error
	if config.Redactor, err = f.redactor(); err != nil {
		return nil, err
	}
	if f.http != "" {
		if config.Client, err = httpClient(f.http); err != nil {
			return nil, withCode(exitUsage, fmt.Errorf("--exporter.evidence.http-config-file: %w", err))
		}
		config.Client.Timeout = f.interval
	}
	sink, err := evidence.New(config, env.logger.With("part", "evidence"))
	if err != nil {
		return nil, withCode(exitUsage, err)
	}
	return sink, errors.Join(
		sink.Register(exporter.Registry()),
		exporter.Handle("GET "+evidence.Path, sink.Handler(), prometheus.Link{
			Path: evidence.Path, Text: "Evidence", Description: "the alerts that fire, with the peers behind them, as JSON",
		}),
		exporter.Handle("GET "+evidence.Path+"/", sink.Handler(), prometheus.Link{}),
	)
}

// redactor makes the pseudonyms: with the operator's key, or one that nobody knows.
func (f *evidenceFlags) redactor() (*redact.Redactor, error) {
	r, err := f.redaction.redactor()
	if r != nil || err != nil {
		return r, err
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("no random key for pseudonyms: %w", err)
	}
	return redact.New(key)
}

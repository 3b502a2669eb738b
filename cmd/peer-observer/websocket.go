package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/alecthomas/kingpin/v2"
	commonconfig "github.com/prometheus/common/config"

	"github.com/peerobserver/peerobserver/agent"
	"github.com/peerobserver/peerobserver/exporters/metrics"
	"github.com/peerobserver/peerobserver/exporters/nats"
	"github.com/peerobserver/peerobserver/exporters/prometheus"
	"github.com/peerobserver/peerobserver/exporters/websocket"
	"github.com/peerobserver/peerobserver/proto/event"
)

// defaultWebsocketAddress is next to those of the agent and of metrics.
const defaultWebsocketAddress = "127.0.0.1:9791"

// websocketFlags are the flags of the websocket sink.
type websocketFlags struct {
	config     websocket.Config
	prefix     string
	alertsHTTP string
	redaction  redactionFlag
}

func (f *websocketFlags) register(clause *kingpin.CmdClause, prefix string) {
	f.prefix = prefix
	clause.Flag(prefix+"max-clients", "Clients at one time.").Default(fmt.Sprint(websocket.DefaultMaxClients)).IntVar(&f.config.MaxClients)
	clause.Flag(prefix+"client-buffer-size", "Bytes of JSON that wait for a slow client; it misses what doesn't fit.").
		Default(fmt.Sprint(websocket.DefaultClientBuffer)).IntVar(&f.config.ClientBuffer)
	clause.Flag(prefix+"allowed-origin", "HOST or HOST:PORT of pages that may connect, and a name by which this server may be called, beside its addresses, localhost and the host's name; * stands for any text; repeatable.").
		StringsVar(&f.config.Origins)
	clause.Flag(prefix+"alerts-url", "URL of a Prometheus, or of an Alertmanager, that is asked which alerts fire, for the overview.").StringVar(&f.config.Alerts.URL)
	clause.Flag(prefix+"alerts-http-config-file", "File that says how to log in there: Prometheus's format for HTTP clients (http_config).").StringVar(&f.alertsHTTP)
	f.redaction.register(clause, prefix)
}

// sink builds the sink; a mistake is the user's.
func (f *websocketFlags) sink(ledger *event.Ledger, env *environment) (*websocket.Sink, error) {
	config := f.config
	var err error
	if config.Alerts.Redactor, err = f.redaction.redactor(); err != nil {
		return nil, err
	}
	if f.alertsHTTP != "" {
		if config.Alerts.Client, err = httpClient(f.alertsHTTP); err != nil {
			return nil, withCode(exitUsage, fmt.Errorf("--%salerts-http-config-file: %w", f.prefix, err))
		}
	}
	sink, err := websocket.New(config, ledger, env.logger.With("part", "websocket"))
	return sink, withCode(exitUsage, err)
}

// httpClient makes a client from a file as Prometheus has it for each server that it asks.
func httpClient(path string) (*http.Client, error) {
	config, _, err := commonconfig.LoadHTTPConfigFile(path)
	if err != nil {
		return nil, err
	}
	return commonconfig.NewClientFromConfig(*config, "alerts")
}

// serveLive puts the sink on the agent's web server.
func serveLive(exporter *prometheus.Exporter, sink *websocket.Sink) error {
	return errors.Join(
		exporter.Handle("GET /ws", sink.Socket(), prometheus.Link{}),
		exporter.Handle("GET /live/", http.StripPrefix("/live", sink.Pages()), prometheus.Link{
			Path: "/live/", Text: "Live pages", Description: "what the node does right now",
		}),
	)
}

func registerWebsocket(clause *kingpin.CmdClause, handlers map[string]handler) {
	var bus natsFlags
	var web webFlags
	var flags websocketFlags
	bus.register(clause, true)
	web.register(clause, defaultWebsocketAddress)
	flags.register(clause, "websocket.")
	handlers[clause.FullCommand()] = func(ctx context.Context, env *environment) error {
		if err := errors.Join(bus.check(), web.check()); err != nil {
			return err
		}
		ledger := event.NewLedger()
		live, err := flags.sink(ledger, env)
		if err != nil {
			return err
		}
		redacted, err := flags.redaction.sink(live, ledger)
		if err != nil {
			return err
		}
		config := web.config()
		config.Home = live.Pages()
		// The metrics are those of this program; the metrics command makes those of the
		// events.
		config.Metrics = metrics.Config{Ledger: ledger, Remote: true, ProcessMetrics: true}
		exporter, err := prometheus.New(config, env.logger)
		if err != nil {
			return withCode(exitUsage, err)
		}
		subscriber, err := nats.NewSubscriber(nats.SubscriberConfig{
			Connection: bus.config("peer-observer websocket"), SubjectPrefix: bus.prefix,
		}, event.NewStream(redacted), ledger, env.logger)
		if err != nil {
			return withCode(exitUsage, err)
		}
		return agent.New(agent.Config{
			Sources: []agent.Part{{Name: "nats", Runner: subscriber}},
			Sinks:   []agent.Part{{Name: "websocket", Runner: live}, {Name: "prometheus", Runner: exporter}},
			Ledger:  ledger,
			Logger:  env.logger,
		}).Run(ctx)
	}
}

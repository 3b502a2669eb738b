// Package evidence keeps, for each alert rule that fires on a node, a record of what an
// operator looks at first: the values and what they are otherwise, the peers with the
// largest part in it, their last messages.
//
// The agent learns from Prometheus which rules fire, by asking it: so it opens no way for
// anybody to write to it, gets the value that the rule saw, needs no receiver in
// Alertmanager, and isn't kept ignorant by silences and inhibitions there. What the peers
// do is followed all the time, because those that are to blame are often gone when the
// alert fires.
//
// Everything is bounded: peers, messages of each, series, records.
package evidence

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/peerobserver/peerobserver/alerts/needs"
	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/exporters/redact"
	"github.com/peerobserver/peerobserver/proto/event"
)

// Defaults of Config.
const (
	DefaultURL      = "http://127.0.0.1:9090"
	DefaultInterval = 15 * time.Second
)

// Addresses says who is shown the addresses of peers.
type Addresses string

// Who is shown addresses; others are shown pseudonyms.
const (
	// AddressesLoopback: who asks on a loopback address of this machine.
	AddressesLoopback Addresses = "loopback"
	// AddressesAlways: everybody who can reach the web server.
	AddressesAlways Addresses = "always"
	// AddressesNever: nobody.
	AddressesNever Addresses = "never"
)

// Config says how evidence is kept.
type Config struct {
	// URL is that of the Prometheus that evaluates the rules.
	URL string
	// Client asks it; http.DefaultTransport with a timeout when nil.
	Client *http.Client
	// Instance is the value of the label instance of this agent in that Prometheus.
	Instance string
	// Interval is the time between two questions; DefaultInterval when 0.
	Interval time.Duration
	// Metrics are those of this agent, from which values and their baseline are taken.
	Metrics prometheus.Gatherer
	// SampleInterval is the time between two samples of them; a minute when 0.
	SampleInterval time.Duration
	// Heaviest gives the peers for whom the node's message thread works most, as
	// Bitcoin Core's id and seconds of CPU time; may be nil.
	Heaviest func() map[uint64]float64
	// Addresses says who is shown addresses; AddressesLoopback when empty.
	Addresses Addresses
	// Redactor makes the pseudonyms; never nil.
	Redactor *redact.Redactor
	// Clock is the time; time.Now when nil.
	Clock func() time.Time
}

func (c *Config) validate() error {
	u, err := url.Parse(c.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return fmt.Errorf("%q is no URL of a Prometheus: it is like %s", c.URL, DefaultURL)
	}
	c.URL = strings.TrimSuffix(c.URL, "/")
	if c.Instance == "" {
		return errors.New("the label instance of this agent in Prometheus must be given")
	}
	if c.Interval < 0 || c.SampleInterval < 0 {
		return errors.New("intervals must not be negative")
	}
	if c.Metrics == nil || c.Redactor == nil {
		return errors.New("metrics and a redactor are needed")
	}
	switch c.Addresses {
	case "":
		c.Addresses = AddressesLoopback
	case AddressesLoopback, AddressesAlways, AddressesNever:
	default:
		return fmt.Errorf("addresses are shown to %s, %s or %s, not to %q", AddressesLoopback, AddressesAlways, AddressesNever, c.Addresses)
	}
	if c.Interval == 0 {
		c.Interval = DefaultInterval
	}
	if c.SampleInterval == 0 {
		c.SampleInterval = time.Minute
	}
	if c.Client == nil {
		c.Client = &http.Client{Timeout: 10 * time.Second}
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	return nil
}

// Sink follows the peers and keeps the records. It is an event.Sink and an event.Runner.
type Sink struct {
	config Config
	logger *slog.Logger
	// metrics are the names of the metrics of each rule.
	metrics  map[string][]string
	measures map[string]measure

	// decoded belongs to HandleEvent.
	decoded decode.Event

	mu      sync.Mutex
	peers   peerTable
	records book
	state   pollState

	// values belongs to Run, as does emitter.
	values  values
	emitter *event.Emitter
	// alertsLeft counts the alerts beyond those that are taken from an answer.
	alertsLeft event.Counter
}

// New makes the sink; nothing is asked before Run.
func New(config Config, logger *slog.Logger) (*Sink, error) {
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	s := &Sink{config: config, logger: logger, metrics: map[string][]string{}, measures: measures()}
	wanted := map[string]bool{}
	for _, rule := range needs.Rules() {
		for _, way := range rule.Ways {
			for _, name := range way.Metrics {
				name = "peerobserver_" + name
				s.metrics[rule.ID] = append(s.metrics[rule.ID], name)
				wanted[name] = true
			}
		}
	}
	s.values.init(wanted)
	s.peers.init()
	return s, nil
}

// Publish makes the sink publish an event when an alert fires and when it ends. The emitter
// is that of the observer's own events; call it before Run.
func (s *Sink) Publish(emitter *event.Emitter) { s.emitter = emitter }

// HandleEvent implements event.Sink. It works in bounded time.
func (s *Sink) HandleEvent(e *event.Event) {
	d := &s.decoded
	if !d.Decode(e.Source, e.Data) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// Read with the lock held, so that times are in the order of the calls.
	now := s.config.Clock()
	s.peers.tick(now)
	switch d.Kind {
	case event.KindMessage:
		s.peers.message(&d.Message, now)
	case event.KindConnectionInbound, event.KindConnectionOutbound:
		s.peers.opened(&d.Connection, d.Kind == event.KindConnectionInbound)
	case event.KindConnectionClosed, event.KindConnectionInboundEvicted:
		s.peers.closed(&d.Connection, now)
	case event.KindConnectionMisbehaving:
		s.peers.misbehaving(&d.Connection)
	case event.KindRPCPeerInfos:
		s.peers.infos(e.Data, now)
	}
}

// Run implements event.Runner: it asks Prometheus until ctx ends. A Prometheus that doesn't
// answer is no failure of the agent.
func (s *Sink) Run(ctx context.Context) error {
	poll := time.NewTicker(s.config.Interval)
	defer poll.Stop()
	sample := time.NewTicker(s.config.SampleInterval)
	defer sample.Stop()
	s.values.sample(s.config.Metrics, s.config.Clock())
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-sample.C:
			s.values.sample(s.config.Metrics, s.config.Clock())
		case <-poll.C:
			alerts, err := s.ask(ctx)
			if ctx.Err() != nil {
				return nil
			}
			s.note(alerts, err)
		}
	}
}

// note takes what Prometheus answered.
func (s *Sink) note(alerts []alert, err error) {
	now := s.config.Clock()
	s.mu.Lock()
	changed := s.state.set(now, err)
	s.mu.Unlock()
	switch {
	case err != nil && changed:
		s.logger.Warn("Prometheus doesn't say which alerts fire, no evidence is kept: check the URL", "url", redactedURL(s.config.URL), "err", err)
	case err == nil && changed:
		s.logger.Info("Prometheus says which alerts fire", "url", redactedURL(s.config.URL))
	}
	if err != nil {
		return
	}
	// The stream hands events to HandleEvent, which waits for the lock: it isn't held.
	for _, r := range s.change(alerts, now) {
		s.publish(&r)
	}
}

// change brings the records up to date and gives those that began to fire or ended.
func (s *Sink) change(alerts []alert, now time.Time) []Record {
	if len(alerts) == 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.records.end(nil, now)
	}
	present := s.values.gather(s.config.Metrics)
	heaviest := map[uint64]float64{}
	if s.config.Heaviest != nil {
		heaviest = s.config.Heaviest()
	}
	active := map[key]bool{}
	found := map[string]ranking{}
	var changes []Record
	for i := range alerts {
		a := &alerts[i]
		active[a.key()] = true
		// The lock is held for one rule at a time: events wait for it.
		if r, fires := s.take(a, found, heaviest, present); fires {
			changes = append(changes, r)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(changes, s.records.end(active, now)...)
}

// ranking is what suspects gives.
type ranking struct {
	measure string
	peers   []suspect
}

// take puts an alert into its record and gives a copy when it begins to fire; found holds
// the rankings that are known already.
func (s *Sink) take(a *alert, found map[string]ranking, heaviest map[uint64]float64, present map[string]present) (_ Record, fires bool) {
	id := a.Labels["id"]
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.config.Clock()
	s.peers.tick(now)
	r := s.records.open(a, now)
	if r == nil {
		return Record{}, false
	}
	fired := r.Fired != nil
	if atPeak := r.update(a, now); atPeak {
		r.Values = s.values.of(s.metrics[id], present, now)
	}
	peers, ok := found[id]
	if !ok {
		peers.measure, peers.peers = s.peers.suspects(measureOf(s.measures, id), heaviest, now)
		found[id] = peers
	}
	r.addPeers(peers.measure, peers.peers, fired)
	return r.copied(), !fired && r.Fired != nil
}

// redactedURL is a URL without its password.
func redactedURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Redacted()
}

// onLoopback is whether a request came to a loopback address.
func onLoopback(r *http.Request) bool {
	address, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	host, _, err := net.SplitHostPort(address.String())
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

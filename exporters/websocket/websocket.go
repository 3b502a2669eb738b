// Package websocket is the sink that shows events live: as JSON over WebSocket to
// whoever subscribes, and on the pages that come with it.
package websocket

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/exporters/logger"
	"github.com/peerobserver/peerobserver/exporters/peerstate"
	"github.com/peerobserver/peerobserver/exporters/queue"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// Defaults of Config.
const (
	DefaultBuffer       = 16 << 20
	DefaultClientBuffer = 1 << 20
	DefaultMaxClients   = 256
	DefaultPingInterval = 20 * time.Second
	DefaultWriteTimeout = 30 * time.Second
)

// ReasonClientFull is why an event is lost that a client was too slow for. Each client
// that misses an event counts it.
const ReasonClientFull event.Reason = "websocket_client_full"

// minClientBuffer is the smallest sensible buffer of a client in bytes.
const minClientBuffer = 4 << 10

// Config describes the sink. The zero value has the defaults.
type Config struct {
	// Buffer bounds the events that wait to be encoded, in bytes.
	Buffer int64
	// ClientBuffer bounds what waits for one client, in bytes of JSON. A single event
	// may be larger.
	ClientBuffer int
	// MaxClients bounds the clients at one time.
	MaxClients int
	// Origins are hosts whose pages may connect, beside the pages served here: HOST or
	// HOST:PORT, where * stands for any text without a slash. They are also names by
	// which the server may be reached.
	Origins []string
	// PingInterval is the time between two pings to a client, which has WriteTimeout
	// to answer; WriteTimeout also bounds the time that a write may take.
	PingInterval, WriteTimeout time.Duration
	// Alerts says who is asked which alerts fire.
	Alerts AlertsConfig
}

func (c *Config) validate() error {
	if c.Buffer == 0 {
		c.Buffer = DefaultBuffer
	}
	if c.ClientBuffer == 0 {
		c.ClientBuffer = DefaultClientBuffer
	}
	if c.ClientBuffer < minClientBuffer {
		return fmt.Errorf("websocket: a client's buffer of %d bytes is too small, at least %d are needed", c.ClientBuffer, minClientBuffer)
	}
	if c.MaxClients == 0 {
		c.MaxClients = DefaultMaxClients
	}
	if c.MaxClients < 0 {
		return fmt.Errorf("websocket: the largest number of clients is %d: it must be positive", c.MaxClients)
	}
	if c.PingInterval == 0 {
		c.PingInterval = DefaultPingInterval
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = DefaultWriteTimeout
	}
	for _, origin := range c.Origins {
		if _, err := path.Match(origin, ""); err != nil || origin == "" || strings.Contains(origin, "/") {
			return fmt.Errorf("websocket: origin %q is no host: write HOST or HOST:PORT, where * stands for any text", origin)
		}
	}
	return c.Alerts.validate()
}

// Sink sends events to its clients. It is an event.Sink and an event.Runner, and its
// handlers are Socket and Pages.
type Sink struct {
	config   Config
	hostname string
	ledger   *event.Ledger
	logger   *slog.Logger
	queue    *queue.Queue

	undecodable *event.Counter
	// lost has one counter a source, made at the first loss; guarded by mu.
	lost [event.SourceObserver + 1]*event.Counter

	// mu guards what follows. It is held while an event is handed to the clients, which
	// waits for none of them, so that a new subscription begins between two events.
	mu       sync.Mutex
	ended    bool
	clients  map[*client]struct{}
	retained *retained
	// work follows the node's work for its peers, by the names of the nodes; alerts is
	// the last report on alerts.
	work    map[string]*peerstate.WorkTimes
	decoder decode.Event
	alerts  []byte
	// working counts the clients' goroutines.
	working sync.WaitGroup
}

// New makes a sink.
func New(config Config, ledger *event.Ledger, logger *slog.Logger) (*Sink, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	q, err := queue.New(queue.Config{Sink: "websocket", Capacity: config.Buffer}, ledger)
	if err != nil {
		return nil, err
	}
	hostname, err := os.Hostname()
	if err != nil {
		logger.Debug("the host's name is unknown", "err", err)
	}
	s := &Sink{
		config:      config,
		hostname:    hostname,
		ledger:      ledger,
		logger:      logger,
		queue:       q,
		undecodable: ledger.Loss(event.SourceUnknown, event.StageDecode, event.ReasonMalformed),
		clients:     map[*client]struct{}{},
		retained:    newRetained(),
		work:        map[string]*peerstate.WorkTimes{},
	}
	s.reportAlerts(&alertsReport{Configured: config.Alerts.URL != "", Alerts: []alert{}})
	return s, nil
}

// HandleEvent queues the event.
func (s *Sink) HandleEvent(e *event.Event) { s.queue.HandleEvent(e) }

// Clients is the number of clients.
func (s *Sink) Clients() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.clients)
}

// Run hands events to the clients until ctx ends; then the clients are told to go.
func (s *Sink) Run(ctx context.Context) error {
	defer s.end()
	if s.config.Alerts.URL != "" {
		var watching sync.WaitGroup
		defer watching.Wait()
		watching.Go(func() { s.watchAlerts(ctx) })
	}
	service := time.NewTicker(serviceInterval)
	defer service.Stop()
	for {
		for events := s.queue.Next(); events != nil; events = s.queue.Next() {
			for i := range events {
				s.deliver(&events[i])
			}
			s.queue.Release(len(events))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.queue.Ready():
		case <-service.C:
			s.reportServiceTimes()
		}
	}
}

// end refuses new clients, ends those there are and waits for them.
func (s *Sink) end() {
	s.mu.Lock()
	s.ended = true
	for c := range s.clients {
		c.cancel(errGoingAway)
	}
	s.mu.Unlock()
	s.working.Wait()
	s.queue.Close()
}

// deliver hands one event to every client that wants it.
func (s *Sink) deliver(e *event.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := delivery{event: e}
	var decoded *decode.Event
	if e.Source == event.SourceEBPF && s.decoder.Decode(e.Source, e.Data) {
		decoded = &s.decoder
		s.noteWork(e)
	}
	s.retained.note(&d, decoded)
	for c := range s.clients {
		if !c.subscription.wants(&d) {
			continue
		}
		encoded := d.json(c.subscription.brief)
		if d.err != nil {
			break
		}
		if !c.offer(encoded) {
			s.lossOf(e.Source).Add(1)
		}
	}
	if d.err != nil {
		s.undecodable.Add(1)
		s.logger.Debug("event can't be shown", "subject", e.Subject, "bytes", len(e.Data), "err", d.err)
	}
}

// lossOf gives the counter of a source's events that clients missed.
func (s *Sink) lossOf(source event.Source) *event.Counter {
	if int(source) >= len(s.lost) {
		source = event.SourceUnknown
	}
	if s.lost[source] == nil {
		s.lost[source] = s.ledger.Loss(source, event.StageQueue, ReasonClientFull)
	}
	return s.lost[source]
}

// delivery is an event on its way to the clients, decoded and encoded when the first of
// them needs it and once for all of them.
type delivery struct {
	event   *event.Event
	decoded *eventpb.Event
	// shortened is decoded too, in brief.
	shortened   *eventpb.Event
	full, short []byte
	err         error
}

// decode gives the decoded event, nil when it is damaged.
func (d *delivery) decode() *eventpb.Event {
	if d.decoded == nil && d.err == nil {
		d.decoded, d.err = unmarshal(d.event.Data)
	}
	return d.decoded
}

func unmarshal(data []byte) (*eventpb.Event, error) {
	decoded := new(eventpb.Event)
	if err := proto.Unmarshal(data, decoded); err != nil {
		return nil, fmt.Errorf("event: %w", err)
	}
	if decoded.GetPeerObserverEvent() == nil {
		return nil, errors.New("event: it tells nothing that is known")
	}
	return decoded, nil
}

// json gives the event as JSON, in full or brief.
func (d *delivery) json(brief bool) []byte {
	switch {
	case d.err != nil:
		return nil
	case brief && d.short == nil:
		d.short = d.encodeBrief()
	case !brief && d.full == nil && d.decode() != nil:
		d.full, d.err = logger.AppendJSON(nil, d.decoded)
	}
	if brief {
		return d.short
	}
	return d.full
}

func (d *delivery) encodeBrief() []byte {
	if d.shortened, d.err = unmarshal(d.event.Data); d.err != nil {
		return nil
	}
	shorten(d.shortened)
	var encoded []byte
	encoded, d.err = logger.AppendJSON(nil, d.shortened)
	return encoded
}

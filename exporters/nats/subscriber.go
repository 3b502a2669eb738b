package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/peerobserver/peerobserver/exporters/queue"
	"github.com/peerobserver/peerobserver/proto/event"
)

const (
	// pendingMessages bounds the messages between the connection and the goroutine
	// that puts them into the queue, which does little else.
	pendingMessages = 8192
	// subscriberReconnect is the delay between attempts to reconnect: well below the
	// publisher's SettleDelay, so that a subscriber is there when it starts again.
	subscriberReconnect = time.Second
	// dropInterval is how often the connection is asked what it dropped.
	dropInterval = time.Second
)

// Reasons for losses at event.StageSubscribe, beside event.ReasonGap.
const (
	// ReasonSlowConsumer: this process took messages too slowly from its connection.
	// The numbers of what was dropped are missing then, so ReasonGap counts the same
	// events again where the producer numbers them.
	ReasonSlowConsumer event.Reason = "slow_consumer"
	// ReasonSequence: the event's number can't be right.
	ReasonSequence event.Reason = "sequence"
)

// SubscriberConfig describes a subscriber.
type SubscriberConfig struct {
	Connection Config
	// SubjectPrefix is that of the publishers; its tokens may be the wildcard *, as
	// in "*." for many nodes with a prefix each.
	SubjectPrefix string
	// Subjects are those to subscribe to; all of event.Subjects when empty.
	Subjects []string
	// Buffer bounds the events between the connection and the sinks in bytes;
	// DefaultBuffer when 0.
	Buffer int64
}

// Subscriber is a source: it puts the events that it gets over NATS on a stream, which
// carries them exactly as in the agent that sent them. What can't be read is skipped
// and counted, what came twice is skipped, what is missing is counted.
type Subscriber struct {
	cfg    SubscriberConfig
	stream *event.Stream
	ledger *event.Ledger
	logger *slog.Logger
	queue  *queue.Queue

	malformed, tooLarge, sequence *event.Counter
	slow                          *event.Counter
	gaps                          [event.SourceObserver + 1]*event.Counter
	received, duplicates          event.Counter

	mu        sync.Mutex
	connected bool
	detail    string
}

// NewSubscriber makes a subscriber. It connects when it runs.
func NewSubscriber(cfg SubscriberConfig, stream *event.Stream, ledger *event.Ledger, logger *slog.Logger) (*Subscriber, error) {
	if err := cfg.Connection.validate(); err != nil {
		return nil, err
	}
	if err := validatePrefix(cfg.SubjectPrefix, subscribePrefix); err != nil {
		return nil, err
	}
	if len(cfg.Subjects) == 0 {
		cfg.Subjects = event.Subjects()
	}
	if cfg.Buffer == 0 {
		cfg.Buffer = DefaultBuffer
	}
	q, err := queue.New(queue.Config{Sink: "nats_subscriber", Capacity: cfg.Buffer}, ledger)
	if err != nil {
		return nil, err
	}
	s := &Subscriber{
		cfg:       cfg,
		stream:    stream,
		ledger:    ledger,
		logger:    logger,
		queue:     q,
		malformed: ledger.Loss(event.SourceUnknown, event.StageDecode, event.ReasonMalformed),
		tooLarge:  ledger.Loss(event.SourceUnknown, event.StageDecode, event.ReasonTooLarge),
		sequence:  ledger.Loss(event.SourceUnknown, event.StageSubscribe, ReasonSequence),
		slow:      ledger.Loss(event.SourceUnknown, event.StageSubscribe, ReasonSlowConsumer),
		detail:    "not yet connected",
	}
	// From the beginning, because nothing shows that a counter grew which wasn't there.
	for source := range s.gaps {
		s.gaps[source] = ledger.Loss(event.Source(source), event.StageSubscribe, event.ReasonGap)
	}
	return s, nil
}

// State says whether the subscriber is connected, and to what or why not.
func (s *Subscriber) State() (connected bool, detail string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connected, s.detail
}

func (s *Subscriber) setState(connected bool, detail string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connected, s.detail = connected, detail
}

// Received is the number of messages that came, of any content.
func (s *Subscriber) Received() uint64 { return s.received.Value() }

// Duplicates is the number of events that came a second time and were skipped: a
// publisher sends again what an outage may have swallowed.
func (s *Subscriber) Duplicates() uint64 { return s.duplicates.Value() }

// Run subscribes and works until ctx ends, through any outage of the server. It returns
// an error when the configuration can't work, such as an unreadable file.
func (s *Subscriber) Run(ctx context.Context) error {
	messages := make(chan *nats.Msg, pendingMessages)
	closed := make(chan struct{})
	subscribed := make(chan struct{})
	conn, err := s.connect(ctx, subscribed, closed)
	if err != nil {
		return err
	}
	defer func() {
		conn.Close()
		<-closed
		s.setState(false, "stopped")
	}()
	done := sync.OnceFunc(func() { close(subscribed) })
	defer done()
	subjects := map[*nats.Subscription]string{}
	drops := map[*nats.Subscription]int{}
	defer func() { s.countDropped(drops) }()
	for _, subject := range s.cfg.Subjects {
		subscription, err := conn.ChanSubscribe(s.cfg.SubjectPrefix+subject, messages)
		if err != nil {
			return fmt.Errorf("subscribing to %s%s: %w", s.cfg.SubjectPrefix, subject, err)
		}
		subjects[subscription] = subject
		drops[subscription] = 0
	}
	done()

	var wg sync.WaitGroup
	defer wg.Wait()
	deliver, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	wg.Go(func() { s.deliver(deliver) })

	t := newTracker()
	ticker := time.NewTicker(dropInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-closed:
			if ctx.Err() != nil {
				return nil
			}
			// The server ended it for good, such as for a login that it refused twice.
			return s.cfg.Connection.explain(lastError(conn))
		case <-ticker.C:
			s.countDropped(drops)
		case message := <-messages:
			s.take(t, subjects[message.Sub], message.Data)
		}
	}
}

func lastError(conn *nats.Conn) error {
	if err := conn.LastError(); err != nil {
		return err
	}
	return errors.New("connection closed")
}

// connect opens a connection that reconnects by itself, also when the server isn't
// there at first. It is told when all subscriptions are made, and tells when it is
// closed.
func (s *Subscriber) connect(ctx context.Context, subscribed <-chan struct{}, closed chan<- struct{}) (*nats.Conn, error) {
	cfg := &s.cfg.Connection
	options, err := cfg.options()
	if err != nil {
		return nil, err
	}
	onConnect := func(conn *nats.Conn) {
		<-subscribed
		s.onConnect(conn)
	}
	options = append(options,
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(subscriberReconnect),
		nats.ReconnectJitter(subscriberReconnect/4, subscriberReconnect),
		// Nothing is published here.
		nats.ReconnectBufSize(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.ClosedHandler(func(*nats.Conn) { close(closed) }),
		nats.ConnectHandler(onConnect),
		nats.ReconnectHandler(onConnect),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if ctx.Err() != nil {
				return
			}
			s.setState(false, fmt.Sprint("connection lost: ", err))
			s.logger.Warn("connection to NATS lost, reconnecting", "server", cfg.Redacted(), "error", err)
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			err = cfg.explain(err)
			if _, before := s.State(); before != err.Error() {
				s.logger.Warn("can't connect to NATS, trying on", "error", err)
			}
			s.setState(false, err.Error())
		}),
		nats.ErrorHandler(s.onError),
	)
	if cfg.InProcess == nil {
		options = append(options, func(o *nats.Options) error {
			o.Servers = cfg.servers()
			return nil
		})
	}
	conn, err := nats.Connect("", options...)
	if err != nil {
		return nil, cfg.explain(err)
	}
	return conn, nil
}

// onConnect says that the subscriber is up once the server has its subscriptions.
func (s *Subscriber) onConnect(conn *nats.Conn) {
	if conn.FlushTimeout(connectTimeout) != nil {
		return
	}
	s.setState(true, s.cfg.Connection.Redacted())
	s.logger.Info("subscribed on NATS", "server", s.cfg.Connection.Redacted(),
		"name", conn.ConnectedServerName(), "prefix", s.cfg.SubjectPrefix)
}

// onError gets what happens beside the flow of messages. Dropped messages are counted
// elsewhere: they are not reported one by one.
func (s *Subscriber) onError(_ *nats.Conn, _ *nats.Subscription, err error) {
	if !errors.Is(err, nats.ErrSlowConsumer) {
		s.logger.Warn("NATS reports an error", "error", err)
	}
}

// countDropped counts what the connection dropped of each subscription since last time.
func (s *Subscriber) countDropped(drops map[*nats.Subscription]int) {
	for subscription, before := range drops {
		dropped, err := subscription.Dropped()
		if err != nil || dropped <= before {
			continue
		}
		drops[subscription] = dropped
		s.slow.Add(uint64(dropped - before))
		s.logger.Warn("events came faster than they could be taken", "subject", subscription.Subject, "lost", dropped-before)
	}
}

// take examines one message and queues it.
func (s *Subscriber) take(t *tracker, subject string, data []byte) {
	s.received.Add(1)
	if len(data) > event.MaxSize {
		s.tooLarge.Add(1)
		return
	}
	header, err := event.Parse(data)
	if err != nil || header.Source == event.SourceUnknown {
		if s.malformed.Value() == 0 {
			s.logger.Warn("messages that are no events are skipped and counted; this is logged once", "subject", subject, "bytes", len(data))
		}
		s.malformed.Add(1)
		return
	}
	v, missing := t.see(&header)
	switch v {
	case verdictDuplicate:
		s.duplicates.Add(1)
		return
	case verdictInvalid:
		s.sequence.Add(1)
		return
	case verdictNew:
	}
	if missing > 0 {
		s.gaps[header.Source].Add(missing)
		s.logger.Debug("events are missing", "node", header.NodeName, "source", header.Source, "count", missing)
	}
	kind := event.KindOf(data)
	if kind != event.KindUnknown {
		// A producer may use other subjects; the sinks see ours.
		subject = kind.Subject()
	}
	s.queue.HandleEvent(&event.Event{Header: header, Kind: kind, Subject: subject, Data: data})
}

// deliver moves events from the queue to the stream.
func (s *Subscriber) deliver(ctx context.Context) {
	for ended := false; !ended; {
		ended = s.queue.Wait(ctx) != nil
		for events := s.queue.Next(); events != nil; events = s.queue.Next() {
			for i := range events {
				s.stream.Publish(&events[i])
			}
			s.queue.Release(len(events))
		}
	}
}

package nats

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/peerobserver/peerobserver/exporters/queue"
	"github.com/peerobserver/peerobserver/proto/event"
)

// Defaults of PublisherConfig.
const (
	DefaultBuffer       = 32 << 20
	DefaultDrainTimeout = 5 * time.Second
	DefaultSettleDelay  = 5 * time.Second
	DefaultRetention    = time.Second
)

const (
	// confirmInterval is how long an event may wait for the server's confirmation
	// to be asked for.
	confirmInterval = 250 * time.Millisecond
	// maxUnconfirmed is the number of bytes after which the confirmation is asked for
	// and waited for. It bounds what is sent twice, and what is in doubt at the end.
	maxUnconfirmed = 2 << 20
	// stallTimeout is how long the server may take to accept and confirm
	// maxUnconfirmed bytes (or one event) before the connection is given up.
	stallTimeout = 15 * time.Second
	// minBackoff and maxBackoff bound the delay between attempts to connect.
	minBackoff = 250 * time.Millisecond
	maxBackoff = 5 * time.Second
	// repeatLog is how often an outage that goes on is logged again.
	repeatLog = 10 * time.Minute
	// retentionShare is the part of the buffer that confirmed events may fill.
	retentionShare = 8
)

// Reasons for losses at event.StagePublish.
const (
	// ReasonDenied: the server's permissions don't allow it.
	ReasonDenied event.Reason = "denied"
	// ReasonUnconfirmed: it was sent, but at the end of the agent the server hadn't
	// confirmed it. It may have arrived.
	ReasonUnconfirmed event.Reason = "unconfirmed"
	// ReasonSubject: it came with a subject that isn't one of event.Subjects.
	ReasonSubject event.Reason = "unknown_subject"
)

// PublisherConfig describes a publisher. A duration of zero stands for its default, a
// negative one for none.
type PublisherConfig struct {
	Connection Config
	// SubjectPrefix is put before each subject: empty, or names ended by full stops
	// ("node1.").
	SubjectPrefix string
	// Buffer bounds the events that wait for the server, in bytes; DefaultBuffer when
	// 0. At 1,000 events of 430 bytes a second, 32 MiB last for a minute.
	Buffer int64
	// DrainTimeout is the time for sending what is queued when the context ends.
	DrainTimeout time.Duration
	// SettleDelay is the time between finding a restarted (or another) server after an
	// outage and sending to it: subscribers must reconnect too, and core NATS keeps
	// nothing for those who aren't there.
	SettleDelay time.Duration
	// Retention is how long events are kept that the server has confirmed, to be sent
	// again if it vanishes: a confirmation doesn't say that subscribers have them.
	// Subscribers know events that they get twice by their number.
	Retention time.Duration
}

// Publisher sends every event to NATS, in order. HandleEvent queues, Run sends.
//
// An event is lost only when it finds no room in the queue during an outage, is larger
// than the server takes, or isn't allowed by it, and is counted then; what a broken
// connection swallowed is sent again. So the counted losses are what a subscriber
// misses that was there the whole time, and that is itself back within SettleDelay
// after an outage.
type Publisher struct {
	cfg      PublisherConfig
	queue    *queue.Queue
	ledger   *event.Ledger
	logger   *slog.Logger
	subjects map[string]string

	// The rest belongs to the goroutine of Run, except what mu guards.

	// position is the number of the next event to be sent, counted from the first
	// that ever was in the queue.
	position uint64
	// unconfirmed events were sent last and not confirmed.
	unconfirmed      int
	unconfirmedBytes int64
	lastConfirm      time.Time
	// retained are the confirmed events still in the queue, oldest first.
	retained      []retained
	retainedBytes int64
	// refused holds the positions of events in the queue that are counted as lost.
	refused    map[uint64]struct{}
	discovered []string
	lastServer string
	lastLimit  int64

	mu        sync.Mutex
	connected bool
	detail    string
	denied    map[string]bool
}

// retained is a run of confirmed events.
type retained struct {
	events int
	bytes  int64
	since  time.Time
}

// NewPublisher makes a publisher. It connects when it runs.
func NewPublisher(cfg PublisherConfig, ledger *event.Ledger, logger *slog.Logger) (*Publisher, error) {
	if err := cfg.Connection.validate(); err != nil {
		return nil, err
	}
	if err := validatePrefix(cfg.SubjectPrefix, publishPrefix); err != nil {
		return nil, err
	}
	if cfg.Buffer == 0 {
		cfg.Buffer = DefaultBuffer
	}
	setDefault(&cfg.DrainTimeout, DefaultDrainTimeout)
	setDefault(&cfg.SettleDelay, DefaultSettleDelay)
	setDefault(&cfg.Retention, DefaultRetention)
	q, err := queue.New(queue.Config{Sink: "nats", Capacity: cfg.Buffer}, ledger)
	if err != nil {
		return nil, err
	}
	p := &Publisher{
		cfg:      cfg,
		queue:    q,
		ledger:   ledger,
		logger:   logger,
		subjects: map[string]string{},
		refused:  map[uint64]struct{}{},
		denied:   map[string]bool{},
		detail:   "not yet connected",
	}
	for _, subject := range event.Subjects() {
		p.subjects[subject] = cfg.SubjectPrefix + subject
	}
	return p, nil
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
	*d = max(*d, 0)
}

// HandleEvent queues the event.
func (p *Publisher) HandleEvent(e *event.Event) { p.queue.HandleEvent(e) }

// State says whether the publisher is connected, and to what or why not.
func (p *Publisher) State() (connected bool, detail string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.connected, p.detail
}

func (p *Publisher) setState(connected bool, detail string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.connected, p.detail = connected, detail
}

// Run connects, sends, and connects again after each failure, until ctx ends. Then it
// sends what is queued, as far as the server is there and DrainTimeout allows, and
// counts the rest as lost. It returns nil.
func (p *Publisher) Run(ctx context.Context) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		// The timer outlives Run by at most DrainTimeout and does nothing then.
		time.AfterFunc(p.cfg.DrainTimeout, cancel)
	})
	defer stop()

	for {
		l := p.connect(ctx, work)
		if l == nil {
			break
		}
		done := p.serve(ctx, work, l)
		if done {
			l.Close()
			break
		}
		reason := l.reason()
		l.Close()
		p.setState(false, reason.Error())
		p.logger.Warn("connection to NATS lost", "server", p.cfg.Connection.Redacted(), "error", reason)
	}
	p.setState(false, "stopped")
	p.finish()
	return nil
}

// connect tries until it is connected. After the end of ctx it tries once more; nil
// means that it gave up.
func (p *Publisher) connect(ctx, work context.Context) *link {
	backoff := minBackoff
	var logged time.Time
	lastError := ""
	for {
		last := ctx.Err() != nil
		l, err := dial(work, &p.cfg.Connection, p.discovered, p.countDenied)
		if err == nil {
			p.welcome(l)
			return l
		}
		p.setState(false, err.Error())
		if now := time.Now(); err.Error() != lastError || now.Sub(logged) >= repeatLog {
			p.logger.Warn("can't connect to NATS, trying on", "error", err)
			lastError, logged = err.Error(), now
		}
		if last || work.Err() != nil {
			return nil
		}
		sleep(ctx, backoff/2+rand.N(backoff))
		backoff = min(2*backoff, maxBackoff)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// welcome notes and logs what is new about a server.
func (p *Publisher) welcome(l *link) {
	limit := l.conn.MaxPayload()
	p.discovered = l.conn.DiscoveredServers()
	p.setState(true, p.cfg.Connection.Redacted())
	p.logger.Info("connected to NATS",
		"server", p.cfg.Connection.Redacted(), "name", l.conn.ConnectedServerName(),
		"version", l.conn.ConnectedServerVersion(), "max_payload", limit)
	if limit < event.MaxSize && limit != p.lastLimit {
		p.logger.Warn("the NATS server takes smaller messages than events can be (blocks, getrawaddrman): set max_payload in its configuration; larger events are counted as lost, reason too_large",
			"max_payload", limit, "needed", event.MaxSize)
	}
	p.lastLimit = limit
}

// serve sends events on one connection. It returns true when ctx has ended and all is
// sent, or the time for that is over, and false when the connection is gone.
func (p *Publisher) serve(ctx, work context.Context, l *link) bool {
	stop := context.AfterFunc(work, l.raw.Close)
	defer stop()
	defer l.idle()

	if !p.resume(ctx, l) {
		return work.Err() != nil
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	p.lastConfirm = time.Now()
	for {
		if !p.send(l) {
			return work.Err() != nil
		}
		ended := ctx.Err() != nil
		if p.unconfirmed > 0 && (ended || time.Since(p.lastConfirm) >= confirmInterval) {
			if !p.confirm(l) {
				return work.Err() != nil
			}
		}
		l.idle()
		p.release(time.Now())
		if ended && p.queue.Unread() == 0 {
			return true
		}
		if ended {
			continue
		}
		p.setTimer(timer)
		select {
		case <-ctx.Done():
		case <-l.closed:
			return false
		case <-timer.C:
		case <-p.queue.Ready():
		}
	}
}

// resume prepares for sending on a new connection: what the old one may have swallowed
// is sent again. It returns false when the connection is gone meanwhile.
func (p *Publisher) resume(ctx context.Context, l *link) bool {
	again := p.unconfirmed
	id := l.conn.ConnectedServerId()
	if id != p.lastServer {
		// What the vanished server had confirmed may not have reached subscribers.
		for _, r := range p.retained {
			again += r.events
		}
		p.retained, p.retainedBytes = p.retained[:0], 0
		if p.lastServer != "" {
			timer := time.NewTimer(p.cfg.SettleDelay)
			defer timer.Stop()
			select {
			case <-ctx.Done():
			case <-timer.C:
			case <-l.closed:
				// The retained events must be sent again next time.
				p.unconfirmed = again
				return false
			}
		}
	}
	p.lastServer = id
	p.queue.Rewind(again)
	p.position -= uint64(again)
	p.unconfirmed, p.unconfirmedBytes = 0, 0
	if again > 0 {
		p.logger.Info("sending events again that may have been lost with the last NATS connection", "events", again)
	}
	return true
}

// send publishes what is in the queue and confirms after each maxUnconfirmed bytes. It
// returns false when the connection is gone.
func (p *Publisher) send(l *link) bool {
	limit := l.conn.MaxPayload()
	for {
		events := p.queue.Next()
		if events == nil {
			return true
		}
		l.busy()
		for i := range events {
			if !p.publish(l, limit, &events[i]) {
				p.queue.Rewind(len(events) - i)
				return false
			}
			p.position++
			p.unconfirmed++
			p.unconfirmedBytes += int64(len(events[i].Data)) + queue.Overhead
		}
		if p.unconfirmedBytes >= maxUnconfirmed && !p.confirm(l) {
			return false
		}
	}
}

// publish hands one event to the connection. It returns false when that is gone.
func (p *Publisher) publish(l *link, limit int64, e *event.Event) bool {
	if len(p.refused) > 0 {
		if _, counted := p.refused[p.position]; counted {
			return true
		}
	}
	subject, known := p.subjects[e.Subject]
	if !known {
		p.refuse(e, ReasonSubject)
		return true
	}
	if int64(len(e.Data)) > limit {
		p.refuse(e, event.ReasonTooLarge)
		return true
	}
	err := l.conn.Publish(subject, e.Data)
	switch {
	case err == nil:
		return true
	case errors.Is(err, nats.ErrMaxPayload):
		// The limit was lowered since.
		p.refuse(e, event.ReasonTooLarge)
		return true
	default:
		return false
	}
}

// refuse counts an event as lost, once, however often it is to be sent again.
func (p *Publisher) refuse(e *event.Event, reason event.Reason) {
	p.ledger.Loss(e.Source, event.StagePublish, reason).Add(1)
	p.refused[p.position] = struct{}{}
}

// confirm waits until the server has processed all that was sent. It returns false when
// the connection is gone.
func (p *Publisher) confirm(l *link) bool {
	l.busy()
	if err := l.conn.FlushTimeout(stallTimeout); err != nil {
		return false
	}
	now := time.Now()
	p.lastConfirm = now
	p.retained = append(p.retained, retained{p.unconfirmed, p.unconfirmedBytes, now})
	p.retainedBytes += p.unconfirmedBytes
	p.unconfirmed, p.unconfirmedBytes = 0, 0
	p.release(now)
	return true
}

// release gives up the retained events that are old or too many.
func (p *Publisher) release(now time.Time) {
	n, events := 0, 0
	for _, r := range p.retained {
		if now.Sub(r.since) < p.cfg.Retention && p.retainedBytes <= p.cfg.Buffer/retentionShare {
			break
		}
		n++
		events += r.events
		p.retainedBytes -= r.bytes
	}
	if n == 0 {
		return
	}
	p.retained = p.retained[:copy(p.retained, p.retained[n:])]
	p.queue.Release(events)
	if len(p.refused) > 0 {
		oldest := p.position - uint64(p.unconfirmed)
		for _, r := range p.retained {
			oldest -= uint64(r.events)
		}
		for position := range p.refused {
			if position < oldest {
				delete(p.refused, position)
			}
		}
	}
}

// setTimer sets the timer to when something is to be done though no event comes.
func (p *Publisher) setTimer(timer *time.Timer) {
	switch {
	case p.unconfirmed > 0:
		timer.Reset(time.Until(p.lastConfirm.Add(confirmInterval)))
	case len(p.retained) > 0:
		timer.Reset(time.Until(p.retained[0].since.Add(p.cfg.Retention)))
	default:
		timer.Stop()
	}
}

// finish counts what could not be sent.
func (p *Publisher) finish() {
	lost := p.queue.Close()
	// Of the events in doubt, which are the last that were read, each is counted by
	// its own source.
	p.queue.Rewind(p.unconfirmed)
	position := p.position - uint64(p.unconfirmed)
	doubtful := 0
	for doubtful < p.unconfirmed {
		events := p.queue.Next()
		if events == nil {
			break
		}
		for i := range events {
			if doubtful == p.unconfirmed {
				break
			}
			if _, counted := p.refused[position]; !counted {
				p.ledger.Loss(events[i].Source, event.StagePublish, ReasonUnconfirmed).Add(1)
			}
			position++
			doubtful++
		}
	}
	if lost > 0 || doubtful > 0 {
		p.logger.Warn("events not sent to NATS before the end", "lost", lost, "possibly_lost", doubtful)
	}
}

// sourceOfSubject is the source whose events go to a subject.
func sourceOfSubject(subject string) event.Source {
	for _, k := range event.Kinds() {
		if k.Subject() == subject {
			return k.Source()
		}
	}
	return event.SourceUnknown
}

// countDenied counts and logs an event that the server refused. It is called by the
// connection's own goroutine.
func (p *Publisher) countDenied(subject string, err error) {
	source := event.SourceUnknown
	for plain, full := range p.subjects {
		if full == subject {
			source = sourceOfSubject(plain)
		}
	}
	p.ledger.Loss(source, event.StagePublish, ReasonDenied).Add(1)
	p.mu.Lock()
	first := !p.denied[subject]
	if len(p.denied) < 2*len(p.subjects) {
		p.denied[subject] = true
	}
	p.mu.Unlock()
	if first {
		p.logger.Error("the NATS server's permissions refuse events: allow the user to publish to the subject", "subject", subject, "error", err)
	}
}

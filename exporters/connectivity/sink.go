package connectivity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/exporters/queue"
	"github.com/peerobserver/peerobserver/proto/event"
)

// maxWait is the longest time between two looks at the schedule.
const maxWait = time.Second

// Sink checks the addresses in the events that it gets. HandleEvent queues, Run dials.
type Sink struct {
	cfg      Config
	policy   policy
	schedule *schedule
	checker  checker
	metrics  *instruments
	queue    *queue.Queue
	logger   *slog.Logger

	// scratch belongs to the goroutine that calls HandleEvent, event to that of Run.
	scratch, event decode.Event

	mu     sync.Mutex
	record *record
	failed error
}

// New makes a sink. It opens its file, and dials, when it runs.
func New(cfg Config, ledger *event.Ledger, logger *slog.Logger) (*Sink, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("connectivity check: %w", err)
	}
	q, err := queue.New(queue.Config{Sink: "connectivity", Capacity: cfg.Buffer}, ledger)
	if err != nil {
		return nil, err
	}
	s := &Sink{cfg: cfg, schedule: newSchedule(&cfg), queue: q, logger: logger}
	s.cfg.Exclude, s.cfg.Allow = masked(cfg.Exclude), masked(cfg.Allow)
	s.checker = checker{cfg: &s.cfg}
	s.metrics = newInstruments(s.schedule)
	return s, nil
}

// masked unmaps IPv4 prefixes that are written as IPv6, as addresses are.
func masked(list []netip.Prefix) []netip.Prefix {
	list = slices.Clone(list)
	for i, p := range list {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		list[i] = p.Masked()
	}
	return list
}

// Check finds out whether the record can be opened, which no waiting will mend.
func (s *Sink) Check() error {
	r, err := openRecord(s.cfg.Output, s.cfg.Format)
	if err != nil {
		return fmt.Errorf("connectivity check: record (--output): %w", err)
	}
	return r.close()
}

// Register registers the metrics.
func (s *Sink) Register(r prometheus.Registerer) error { return s.metrics.register(r) }

// HandleEvent queues an event that announces addresses.
func (s *Sink) HandleEvent(e *event.Event) {
	if _, ok := addressesIn(&s.scratch, e); ok {
		s.queue.HandleEvent(e)
	}
}

// State says whether the record is being written, and if not why.
func (s *Sink) State() (ok bool, detail string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return false, s.failed.Error()
	}
	return true, s.cfg.Output
}

// Run dials until ctx ends. It returns an error when the record can't be opened.
func (s *Sink) Run(ctx context.Context) (err error) {
	defer s.queue.Close()
	own, err := ownAddresses()
	if err != nil {
		return fmt.Errorf("connectivity check: own addresses, which must not be dialed: %w", err)
	}
	s.policy = policy{
		exclude: append(own, s.cfg.Exclude...), allow: s.cfg.Allow,
		tor: s.cfg.TorProxy != "", i2p: s.cfg.I2PProxy != "", privilegedPorts: s.cfg.PrivilegedPorts,
	}
	if s.record, err = openRecord(s.cfg.Output, s.cfg.Format); err != nil {
		return fmt.Errorf("connectivity check: record (--output): %w", err)
	}
	defer func() { err = errors.Join(err, s.record.close()) }()
	var workers sync.WaitGroup
	defer workers.Wait()
	slots := make(chan struct{}, s.cfg.Concurrency)
	for ctx.Err() == nil {
		s.takeIn()
		s.start(ctx, slots, &workers)
		s.wait(ctx, slots)
	}
	return nil
}

// start begins as many checks as there are slots and targets.
func (s *Sink) start(ctx context.Context, slots chan struct{}, workers *sync.WaitGroup) {
	for {
		select {
		case slots <- struct{}{}:
		default:
			return
		}
		a, ok := s.schedule.take(time.Now())
		if !ok {
			<-slots
			return
		}
		workers.Go(func() {
			s.check(ctx, &a)
			<-slots
			s.schedule.wake()
		})
	}
}

// wait waits until something may have changed.
func (s *Sink) wait(ctx context.Context, slots chan struct{}) {
	pause := maxWait
	if len(slots) < cap(slots) {
		if again := s.schedule.next(time.Now()); again > 0 {
			pause = min(pause, again)
		}
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-s.queue.Ready():
	case <-s.schedule.changed:
	case <-timer.C:
	}
}

// takeIn takes the addresses of the queued events into the schedule.
func (s *Sink) takeIn() {
	for events := s.queue.Next(); events != nil; events = s.queue.Next() {
		for i := range events {
			s.offer(&events[i])
		}
		s.queue.Release(len(events))
	}
}

// offer takes in the addresses of one event.
func (s *Sink) offer(e *event.Event) {
	body, _ := addressesIn(&s.event, e)
	at := e.Time()
	for list := decode.AddressesOf(body); list.Next(); {
		a, ok := parseAnnouncement(&list.Address, at)
		network, reason := "unknown", skipMalformed
		if ok {
			network = a.address.Network.String()
			if reason = s.policy.skip(&a.target); reason == "" {
				reason = s.schedule.offer(&a, time.Now())
			}
		}
		s.metrics.announced.WithLabelValues(network).Inc()
		if reason != "" {
			s.metrics.skipped.WithLabelValues(string(reason)).Inc()
		}
	}
}

// check dials one target and accounts for it.
func (s *Sink) check(ctx context.Context, a *announcement) {
	o := s.checker.check(ctx, a)
	now := time.Now()
	s.schedule.done(a.target, o.result, now)
	if ctx.Err() != nil && o.result != ResultSuccess {
		// Interrupted: this is no result.
		return
	}
	s.metrics.observe(a, &o)
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.record.write(newRow(a, &o, now))
	if err != nil {
		s.metrics.unwritten.Inc()
	}
	switch {
	case err != nil && s.failed == nil:
		s.logger.Error("record of the connectivity check can't be written; results are lost until it can", "file", s.cfg.Output, "err", err)
	case err == nil && s.failed != nil:
		s.logger.Info("record of the connectivity check can be written again", "file", s.cfg.Output)
	}
	s.failed = err
}

// fromUnix is a time in UNIX seconds.
func fromUnix(seconds uint32) time.Time { return time.Unix(int64(seconds), 0) }

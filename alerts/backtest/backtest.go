// Package backtest says which alerts would have fired, and when, over an archive of events.
//
// The events make the metrics that the agent would have had, with the archive's times as
// clock; they are sampled as a Prometheus would have scraped them, and the rules are
// evaluated on the samples by Prometheus's own query engine.
package backtest

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/peerobserver/peerobserver/alerts"
	"github.com/peerobserver/peerobserver/exporters/archive"
	"github.com/peerobserver/peerobserver/exporters/metrics"
	"github.com/peerobserver/peerobserver/exporters/netgroup"
	"github.com/peerobserver/peerobserver/proto/event"
)

const (
	// DefaultInterval is the time between two scrapes.
	DefaultInterval = 15 * time.Second
	// maxInterval is the longest one.
	maxInterval = 24 * time.Hour
	// maxGap is after how long without any event nothing was recorded: an agent says how
	// it is every few seconds. No rule is evaluated then, and every alert ends.
	maxGap = 5 * time.Minute
	// defaultBatch is the number of scrapes after which the rules are evaluated at their times.
	defaultBatch = 240
	// maxAlerts bounds what is reported.
	maxAlerts = 100_000
)

// job and instance are the labels of all series. A node is told from another by the label
// node.
const (
	job      = "archive"
	instance = "archive"
)

// Config says what is tested.
type Config struct {
	// Paths are the files, Options which part of them.
	Paths   []string
	Options archive.Options
	// Rules changes the rules.
	Rules alerts.Options
	// IDs are those of the rules to evaluate; all when empty.
	IDs []string
	// Interval is the time between two scrapes; DefaultInterval when 0.
	Interval time.Duration
	// Networks knows autonomous systems and prefix lists; those that are built in when nil.
	Networks *netgroup.Data
}

// Alert is an alert that would have fired.
type Alert struct {
	Alert    string `json:"alert"`
	ID       string `json:"id"`
	Severity string `json:"severity"`
	Node     string `json:"node,omitempty"`
	// Labels are all others.
	Labels map[string]string `json:"labels,omitempty"`
	// Began is when its condition began to hold, Fired when it fired, Ended when it
	// ended: nil when the archive ends before.
	Began time.Time  `json:"began"`
	Fired time.Time  `json:"fired"`
	Ended *time.Time `json:"ended,omitempty"`
	// Largest is the largest value of its expression.
	Largest float64 `json:"value_largest"`
}

// Result is what a backtest came to.
type Result struct {
	// Alerts are those that would have fired, in the order in which they did; Left is the
	// number of those beyond 100,000.
	Alerts []Alert `json:"alerts"`
	Left   uint64  `json:"left_out,omitempty"`
	// From and To are the times of the first and last scrape, Scrapes their number.
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Scrapes uint64    `json:"scrapes"`
	// Gaps are the times in which nothing was recorded.
	Gaps uint64 `json:"gaps"`
	// Events were read; at Damages places a file is damaged.
	Events  uint64 `json:"events"`
	Damages uint64 `json:"damages"`
}

// fires adds an alert and gives its place, -1 when there is no room.
func (r *Result) fires(l labels.Labels, began, fired time.Time, value float64) int {
	if len(r.Alerts) >= maxAlerts {
		r.Left++
		return -1
	}
	a := Alert{Began: began.UTC(), Fired: fired.UTC(), Largest: value, Labels: map[string]string{}}
	l.Range(func(x labels.Label) {
		switch x.Name {
		case labels.AlertName:
			a.Alert = x.Value
		case "id":
			a.ID = x.Value
		case "severity":
			a.Severity = x.Value
		case "node":
			a.Node = x.Value
		case "job", "instance", "class":
		default:
			a.Labels[x.Name] = x.Value
		}
	})
	r.Alerts = append(r.Alerts, a)
	return len(r.Alerts) - 1
}

func (r *Result) ends(i int, at time.Time) {
	at = at.UTC()
	r.Alerts[i].Ended = &at
}

// Run reads the archive and evaluates the rules. What it came to until an error is given
// too.
func Run(ctx context.Context, config Config, logger *slog.Logger) (*Result, error) {
	return run(ctx, config, logger, defaultBatch)
}

// run evaluates the rules after so many scrapes at a time.
func run(ctx context.Context, config Config, logger *slog.Logger, batch int) (*Result, error) {
	if config.Interval == 0 {
		config.Interval = DefaultInterval
	}
	if config.Interval < time.Millisecond || config.Interval > maxInterval {
		return nil, fmt.Errorf("backtest: an interval of %v between two scrapes: choose one from %v to %v", config.Interval, time.Millisecond, maxInterval)
	}
	rules, err := loadRules(config.Rules, config.IDs)
	if err != nil {
		return nil, fmt.Errorf("backtest: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &sampler{ctx: ctx, cancel: cancel, interval: config.Interval, batch: batch, rules: rules}
	s.newStore()
	s.sink, err = metrics.New(metrics.Config{
		Remote: true, NodeLabel: true, Networks: config.Networks, Clock: func() time.Time { return s.now }, Only: rules.read,
	})
	if err != nil {
		return nil, fmt.Errorf("backtest: %w", err)
	}
	replayer, err := archive.NewReplayer(archive.ReplayConfig{Paths: config.Paths, Options: config.Options}, event.NewStream(s), event.NewLedger(), logger)
	if err != nil {
		return nil, fmt.Errorf("backtest: %w", err)
	}
	err = replayer.Run(ctx)
	if err == nil && ctx.Err() == nil && s.started {
		s.scrape()
		s.evaluate()
	}
	// They came rule by rule.
	slices.SortStableFunc(s.result.Alerts, func(a, b Alert) int { return a.Fired.Compare(b.Fired) })
	s.result.Events, s.result.Damages = replayer.Events(), replayer.Damages()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if err != nil {
		return &s.result, fmt.Errorf("backtest: %w", err)
	}
	return &s.result, nil
}

// sampler is the sink of the replay: before the first event after the time of a scrape it
// scrapes, and now and then evaluates the rules at the times of the scrapes.
type sampler struct {
	ctx      context.Context
	cancel   context.CancelCauseFunc
	interval time.Duration
	batch    int
	rules    *ruleSet
	store    *store
	sink     *metrics.Sink
	result   Result

	// now is the time of the archive, next that of the next scrape, since that of the first
	// event: when the agent started, as far as the rules are concerned.
	started          bool
	now, next, since time.Time
	// pending is the number of scrapes at the end of which the rules are not yet evaluated.
	pending int
	// names are those of the metrics of the scrapes so far.
	names map[string]bool
	// key is room for that of a series.
	key []byte
}

// HandleEvent implements event.Sink.
func (s *sampler) HandleEvent(e *event.Event) {
	at := e.Time()
	switch gap := at.Sub(s.now); {
	case !s.started:
		s.started, s.since = true, at
		s.begin(at)
	case gap > maxGap:
		s.interrupt(at)
	case gap < -maxGap:
		// The time before was that of a broken clock.
		s.interrupt(at)
		s.newStore()
	}
	for !s.next.After(at) && s.ctx.Err() == nil {
		s.scrape()
	}
	if at.After(s.now) {
		s.now = at
	}
	s.sink.HandleEvent(e)
}

// interrupt ends everything before a gap.
func (s *sampler) interrupt(at time.Time) {
	s.evaluate()
	s.result.Gaps++
	s.rules.interrupt(s.now, &s.result)
	s.begin(at)
}

func (s *sampler) newStore() {
	s.store = newStore(s.rules.keep, (time.Duration(s.batch) * s.interval).Milliseconds())
}

// begin sets the clock.
func (s *sampler) begin(at time.Time) {
	s.now = at
	s.next = at.Truncate(s.interval).Add(s.interval)
}

// scrape takes a sample of all metrics.
func (s *sampler) scrape() {
	at := s.next
	s.now, s.next = at, at.Add(s.interval)
	families, err := s.sink.Registry().Gather()
	if err != nil {
		s.cancel(fmt.Errorf("the metrics at %v: %w", at, err))
		return
	}
	if s.names == nil {
		s.names = map[string]bool{}
	}
	s.result.Scrapes++
	round := s.result.Scrapes
	t := at.UnixMilli()
	s.add("up", nil, "", "", t, 1, round)
	s.add("process_start_time_seconds", nil, "", "", t, float64(s.since.UnixNano())/1e9, round)
	for _, family := range families {
		name := family.GetName()
		for _, m := range family.GetMetric() {
			switch {
			case m.GetCounter() != nil:
				s.add(name, m, "", "", t, m.GetCounter().GetValue(), round)
			case m.GetGauge() != nil:
				s.add(name, m, "", "", t, m.GetGauge().GetValue(), round)
			case m.GetHistogram() != nil:
				s.histogram(name, m, t, round)
			}
		}
	}
	s.store.end(slices.Collect(maps.Keys(s.names)), t, round)
	if s.result.From.IsZero() {
		s.result.From = at.UTC()
	}
	s.result.To = at.UTC()
	if s.pending++; s.pending == s.batch {
		s.evaluate()
	}
}

// evaluate evaluates the rules at the times of the last scrapes.
func (s *sampler) evaluate() {
	if s.pending == 0 || s.ctx.Err() != nil {
		return
	}
	first := s.next.Add(-time.Duration(s.pending) * s.interval)
	if err := s.rules.evaluate(s.ctx, s.store, span{first, s.interval, s.pending}, &s.result); err != nil {
		s.cancel(err)
	}
	s.pending = 0
}

// histogram adds the series of a classic histogram.
func (s *sampler) histogram(name string, m *dto.Metric, t int64, round uint64) {
	h := m.GetHistogram()
	s.add(name+"_count", m, "", "", t, float64(h.GetSampleCount()), round)
	s.add(name+"_sum", m, "", "", t, h.GetSampleSum(), round)
	if name += "_bucket"; s.rules.keep[name] == 0 {
		return
	}
	infinite := false
	for _, b := range h.GetBucket() {
		infinite = infinite || math.IsInf(b.GetUpperBound(), 1)
		s.add(name, m, "le", strconv.FormatFloat(b.GetUpperBound(), 'g', -1, 64), t, float64(b.GetCumulativeCount()), round)
	}
	if !infinite {
		s.add(name, m, "le", "+Inf", t, float64(h.GetSampleCount()), round)
	}
}

// add adds a sample with the labels of a metric and one more.
func (s *sampler) add(name string, m *dto.Metric, label, text string, t int64, v float64, round uint64) {
	keep, wanted := s.store.keep[name]
	if !wanted {
		return
	}
	s.names[name] = true
	// The key of a series is its labels in the order in which they are gathered.
	s.key = append(append(s.key[:0], text...), 0)
	for _, pair := range m.GetLabel() {
		s.key = append(append(s.key, pair.GetName()...), 0)
		s.key = append(append(s.key, pair.GetValue()...), 0)
	}
	one := s.store.find(name, s.key)
	if one == nil {
		b := labels.NewBuilder(labels.EmptyLabels())
		b.Set(model.MetricNameLabel, name).Set("job", job).Set("instance", instance)
		for _, pair := range m.GetLabel() {
			b.Set(pair.GetName(), pair.GetValue())
		}
		if label != "" {
			b.Set(label, text)
		}
		one = s.store.create(name, s.key, b.Labels())
	}
	one.round = round
	one.append(sample{t, v}, t-keep)
}

package backtest

import (
	"context"
	"math"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// store keeps the samples that the rules still look back to, in memory. It is the storage
// of Prometheus's query engine, and does as a server does: a series that isn't there any
// more gets a marker that says so.
type store struct {
	// keep is for how long samples of a metric are looked back to, in milliseconds; others
	// aren't stored.
	keep map[string]int64
	// series are those of each metric, by the text of their labels.
	series map[string]map[string]*series
}

type series struct {
	labels  labels.Labels
	samples []sample
	// round is that in which the series was last there.
	round uint64
}

// sample is a value at a time in milliseconds.
type sample struct {
	t int64
	v float64
}

var _ chunks.Sample = sample{}

// T is the time, F the value; there are no native histograms.
func (s sample) T() int64                      { return s.t }
func (s sample) F() float64                    { return s.v }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return nil }
func (s sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample           { return s }

func newStore(keep map[string]int64) *store {
	return &store{keep: keep, series: map[string]map[string]*series{}}
}

// add adds a sample of a metric; round is the number of the scrape or evaluation.
func (s *store) add(l labels.Labels, t int64, v float64, round uint64) {
	name := l.Get(model.MetricNameLabel)
	keep, wanted := s.keep[name]
	if !wanted {
		return
	}
	all := s.series[name]
	if all == nil {
		all = map[string]*series{}
		s.series[name] = all
	}
	key := l.String()
	one := all[key]
	if one == nil {
		one = &series{labels: l}
		all[key] = one
	}
	one.round = round
	one.append(sample{t, v}, t-keep)
}

// append adds a sample and drops those before a time.
func (s *series) append(x sample, from int64) {
	s.samples = append(s.samples, x)
	old, _ := slices.BinarySearchFunc(s.samples, from, func(x sample, from int64) int { return int(x.t - from) })
	// Moving less than half would cost more than it saves.
	if old > len(s.samples)/2 {
		s.samples = append(s.samples[:0], s.samples[old:]...)
	}
}

// end marks what a round didn't have any more, among the metrics that from names.
func (s *store) end(from []string, t int64, round uint64) {
	for _, name := range from {
		for key, one := range s.series[name] {
			if one.round == round {
				continue
			}
			last := one.samples[len(one.samples)-1]
			if !value.IsStaleNaN(last.v) {
				one.append(sample{t, math.Float64frombits(value.StaleNaN)}, t-s.keep[name])
			} else if t-last.t > s.keep[name] {
				delete(s.series[name], key)
			}
		}
	}
}

// Querier implements storage.Queryable.
func (s *store) Querier(from, to int64) (storage.Querier, error) {
	return &querier{store: s, from: from, to: to}, nil
}

type querier struct {
	store    *store
	from, to int64
}

// Select implements storage.Querier.
func (q *querier) Select(_ context.Context, sorted bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	set := &seriesSet{at: -1}
	for _, m := range matchers {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
			for _, one := range q.store.series[m.Value] {
				if matches(one.labels, matchers) {
					set.add(one, q.from, q.to)
				}
			}
		}
	}
	if sorted {
		slices.SortFunc(set.list, func(a, b storage.Series) int { return labels.Compare(a.Labels(), b.Labels()) })
	}
	return set
}

func matches(l labels.Labels, matchers []*labels.Matcher) bool {
	for _, m := range matchers {
		if !m.Matches(l.Get(m.Name)) {
			return false
		}
	}
	return true
}

// LabelValues implements storage.Querier; the engine doesn't ask.
func (q *querier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

// LabelNames implements storage.Querier; the engine doesn't ask.
func (q *querier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

// Close implements storage.Querier.
func (q *querier) Close() error { return nil }

// seriesSet is the result of a Select.
type seriesSet struct {
	list []storage.Series
	at   int
}

func (s *seriesSet) add(one *series, from, to int64) {
	compare := func(x sample, t int64) int { return int(x.t - t) }
	begin, _ := slices.BinarySearchFunc(one.samples, from, compare)
	end, _ := slices.BinarySearchFunc(one.samples, to+1, compare)
	if begin >= end {
		return
	}
	// The engine reads them before the next sample is added.
	list := make([]chunks.Sample, 0, end-begin)
	for _, x := range one.samples[begin:end] {
		list = append(list, x)
	}
	s.list = append(s.list, storage.NewListSeries(one.labels, list))
}

// Next implements storage.SeriesSet, as do the others.
func (s *seriesSet) Next() bool {
	s.at++
	return s.at < len(s.list)
}

// At gives the present series.
func (s *seriesSet) At() storage.Series { return s.list[s.at] }

// Err gives none.
func (s *seriesSet) Err() error { return nil }

// Warnings gives none.
func (s *seriesSet) Warnings() annotations.Annotations { return nil }

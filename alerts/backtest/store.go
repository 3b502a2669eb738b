package backtest

import (
	"cmp"
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
	// series are those of each metric, each by a key that tells its labels.
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

var _ chunks.Sample = (*sample)(nil)

// T is the time, F the value; there are no native histograms.
func (s *sample) T() int64                      { return s.t }
func (s *sample) F() float64                    { return s.v }
func (s *sample) H() *histogram.Histogram       { return nil }
func (s *sample) FH() *histogram.FloatHistogram { return nil }
func (s *sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s *sample) Copy() chunks.Sample           { return &sample{s.t, s.v} }

// samples implements storage.Samples.
type samples []sample

func (s samples) Get(i int) chunks.Sample { return &s[i] }
func (s samples) Len() int                { return len(s) }

// newStore makes a store of the metrics that are looked back to. What is asked for is up to
// more milliseconds older than the newest sample.
func newStore(back map[string]int64, more int64) *store {
	keep := make(map[string]int64, len(back))
	for name, ms := range back {
		keep[name] = ms + more
	}
	return &store{keep: keep, series: map[string]map[string]*series{}}
}

// find gives the series of a metric with a key, nil when there is none.
func (s *store) find(name string, key []byte) *series { return s.series[name][string(key)] }

// create adds a series of a metric with a key of its own.
func (s *store) create(name string, key []byte, l labels.Labels) *series {
	all := s.series[name]
	if all == nil {
		all = map[string]*series{}
		s.series[name] = all
	}
	one := &series{labels: l}
	all[string(key)] = one
	return one
}

func compareTime(x sample, t int64) int { return cmp.Compare(x.t, t) }

// append adds a sample and drops those before a time.
func (s *series) append(x sample, from int64) {
	s.samples = append(s.samples, x)
	old, _ := slices.BinarySearchFunc(s.samples, from, compareTime)
	// Moving less than half would cost more than it saves.
	if old > len(s.samples)/2 {
		s.samples = append(s.samples[:0], s.samples[old:]...)
	}
}

// gone marks a series that isn't there at a time; it is false when nothing of it is kept
// any more.
func (s *series) gone(t, keep int64) bool {
	last := s.samples[len(s.samples)-1]
	if !value.IsStaleNaN(last.v) {
		s.append(sample{t, math.Float64frombits(value.StaleNaN)}, t-keep)
		return true
	}
	return t-last.t <= keep
}

// end marks what a round didn't have any more, among the metrics that from names.
func (s *store) end(from []string, t int64, round uint64) {
	for _, name := range from {
		for key, one := range s.series[name] {
			if one.round == round {
				continue
			}
			if !one.gone(t, s.keep[name]) {
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
	begin, _ := slices.BinarySearchFunc(one.samples, from, compareTime)
	end, _ := slices.BinarySearchFunc(one.samples, to+1, compareTime)
	if begin >= end {
		return
	}
	// The engine reads them before the next sample is added.
	s.list = append(s.list, &storage.SeriesEntry{Lset: one.labels, SampleIteratorFn: func(chunkenc.Iterator) chunkenc.Iterator {
		return storage.NewListSeriesIterator(samples(one.samples[begin:end]))
	}})
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

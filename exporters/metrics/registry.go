package metrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// prefix is in front of every name.
const prefix = "peerobserver_"

// spec says what a metric is. It is the one place where the metric is defined: the
// exposition, OTLP and the reference page are made from it.
type spec struct {
	// name is without the prefix.
	name string
	// events are the kinds of events that it is computed from, as event.Kind names.
	events string
	// unit is what is counted or measured.
	unit string
	help string
}

// Definition describes a metric for the reference page.
type Definition struct {
	Name, Type, Events, Unit, Help string
	Labels                         []LabelDefinition
}

// LabelDefinition describes a label and its values.
type LabelDefinition struct {
	Name   string
	Values []string
	// Learning labels have values from the operator's configuration, at most Limit.
	Learning bool
	Limit    int
}

// collector is a metric with all its cells.
type collector interface {
	describe() *prometheus.Desc
	collect(now int64, ch chan<- prometheus.Metric)
}

// registry makes the metrics of one node and collects them.
type registry struct {
	collectors  []collector
	definitions []Definition
	overflow    *counters
	overflows   *label
	// now is the time at which gauges are judged, in UNIX nanoseconds.
	now func() int64
}

// maxBoundedLabels is the number of labels that can fold values.
const maxBoundedLabels = 32

func newRegistry(now func() int64) *registry {
	r := &registry{now: now}
	r.overflows = learningLabel("label", maxBoundedLabels)
	r.overflow = r.counter(spec{
		name: "label_overflow_total", events: "any", unit: "values",
		help: "Values that are on no allow-list and were counted under the label value other, by label.",
	}, r.overflows)
	r.overflow.sparse = true
	return r
}

// bounded makes an allow-list label whose misses are counted.
func (r *registry) bounded(name string, values ...string) *label {
	return r.watch(boundedLabel(name, values...))
}

// learning makes a label that learns its values.
func (r *registry) learning(name string, limit int, known ...string) *label {
	return r.watch(learningLabel(name, limit, known...))
}

func (r *registry) watch(l *label) *label {
	i := r.overflows.of(l.name)
	l.overflow = &r.overflow.cell[i]
	l.overflow.shown = true
	return l
}

func (r *registry) define(s spec, kind string, labels []*label) {
	d := Definition{Name: prefix + s.name, Type: kind, Events: s.events, Unit: s.unit, Help: s.help}
	for _, l := range labels {
		ld := LabelDefinition{Name: l.name, Learning: l.learning, Limit: l.rest}
		for i := range l.size() {
			if v := l.value(i); v != "" {
				ld.Values = append(ld.Values, v)
			}
		}
		d.Labels = append(d.Labels, ld)
	}
	r.definitions = append(r.definitions, d)
}

// counter makes a counter; every cell is exported from the start.
func (r *registry) counter(s spec, labels ...*label) *counters {
	c := &counters{vector: newVector(prefix+s.name, s.help, labels), per: 1}
	c.cell = make([]cell, c.cells)
	r.define(s, "counter", labels)
	r.collectors = append(r.collectors, c)
	return c
}

// sparseCounter makes a counter of which only cells that were counted are exported.
func (r *registry) sparseCounter(s spec, labels ...*label) *counters {
	c := r.counter(s, labels...)
	c.sparse = true
	return c
}

// secondsCounter makes a counter that counts nanoseconds and is exported in seconds.
func (r *registry) secondsCounter(s spec, labels ...*label) *counters {
	c := r.sparseCounter(s, labels...)
	c.per = float64(time.Second)
	return c
}

// gauge makes a gauge that is absent until it is set, and again when a says that its
// values are too old (a may be nil).
func (r *registry) gauge(s spec, a *age, labels ...*label) *gauges {
	return r.gaugeOf(s, "gauge", a, labels)
}

// total makes a counter that is kept elsewhere (by the node) and only copied here.
func (r *registry) total(s spec, a *age, labels ...*label) *gauges {
	g := r.gaugeOf(s, "counter", a, labels)
	g.counter = true
	return g
}

func (r *registry) gaugeOf(s spec, kind string, a *age, labels []*label) *gauges {
	g := &gauges{vector: newVector(prefix+s.name, s.help, labels), age: a}
	g.cell = make([]gauge, g.cells)
	g.clear()
	r.define(s, kind, labels)
	r.collectors = append(r.collectors, g)
	return g
}

// measure is the small unit that a histogram counts in and the range it covers.
type measure struct {
	// per is how many small units make one exported unit.
	per float64
	// low and high are powers of two of the exported unit: native buckets cover
	// 2^low … 2^high.
	low, high int
}

// The measures.
var (
	// From a microsecond to half a year.
	nanoseconds = measure{per: 1e9, low: -20, high: 24}
	// From one second to 34 years.
	wholeSeconds = measure{per: 1, low: 0, high: 30}
	entries      = measure{per: 1, low: 0, high: 22}
	satoshi      = measure{per: 1, low: 0, high: 36}
)

// histogram makes a histogram with classic buckets at bounds, in the small unit.
func (r *registry) histogram(s spec, m measure, bounds []int64, labels ...*label) *histograms {
	h := &histograms{
		vector: newVector(prefix+s.name, s.help, labels),
		bounds: bounds,
		per:    m.per,
		minKey: m.low * nativePerHalf,
		maxKey: m.high * nativePerHalf,
	}
	h.cell = makeCells(h.cells)
	r.define(s, "histogram", labels)
	r.collectors = append(r.collectors, h)
	return h
}

// sparseHistogram makes a histogram of which only cells with values are exported.
func (r *registry) sparseHistogram(s spec, m measure, bounds []int64, labels ...*label) *histograms {
	h := r.histogram(s, m, bounds, labels...)
	h.sparse = true
	return h
}

// withTraces lets the values of a histogram name the trace that they belong to.
func (h *histograms) withTraces() *histograms {
	h.traced = true
	return h
}

// only leaves out what isn't wanted; nil wants everything.
func (r *registry) only(wanted func(name string) bool) {
	if wanted == nil {
		return
	}
	var kept []collector
	for i, c := range r.collectors {
		// Each was defined when it was made.
		if wanted(r.definitions[i].Name) {
			kept = append(kept, c)
		}
	}
	r.collectors = kept
}

// Describe implements prometheus.Collector.
func (r *registry) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range r.collectors {
		ch <- c.describe()
	}
}

// Collect implements prometheus.Collector.
func (r *registry) Collect(ch chan<- prometheus.Metric) {
	now := r.now()
	for _, c := range r.collectors {
		c.collect(now, ch)
	}
}

// milliseconds makes bucket bounds in nanoseconds.
func milliseconds(bounds ...float64) []int64 {
	list := make([]int64, len(bounds))
	for i, b := range bounds {
		list[i] = int64(b * float64(time.Millisecond))
	}
	return list
}

// labelName turns a Go-style constant into a label value, such as LOG_LEVEL_INFO with
// prefix LOG_LEVEL_ into info.
func labelName(constant, prefix string) string {
	return strings.ToLower(strings.TrimPrefix(constant, prefix))
}

package metrics

import (
	"math"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
)

// The vectors below hold one atomic cell for every combination of label values that
// can exist. The goroutine that handles events adds to a cell by its index; a scrape
// reads the cells. Neither waits for the other, and no label text is looked at on the
// way: that is what makes a counter cost a few nanoseconds an event.

// maxLabels is the largest number of labels of a metric.
const maxLabels = 4

// vector is what counters, gauges and histograms share: the descriptor and the
// arithmetic of indices.
type vector struct {
	desc   *prometheus.Desc
	labels []*label
	stride [maxLabels]int
	cells  int
}

func newVector(name, help string, labels []*label) vector {
	v := vector{labels: labels, cells: 1}
	names := make([]string, len(labels))
	for i := len(labels) - 1; i >= 0; i-- {
		names[i] = labels[i].name
		v.stride[i] = v.cells
		v.cells *= labels[i].size()
	}
	v.desc = prometheus.NewDesc(name, help, names, nil)
	return v
}

// pairs makes the label pairs of a cell, nil when a learning label has no value there.
func (v *vector) pairs(cell int) ([]*dto.LabelPair, bool) {
	values := make([]string, len(v.labels))
	for i, l := range v.labels {
		values[i] = l.value(cell / v.stride[i] % l.size())
		if values[i] == "" {
			return nil, false
		}
	}
	return prometheus.MakeLabelPairs(v.desc, values), true
}

// series remembers the label pairs of a cell from its first scrape on.
type series struct {
	pairs atomic.Pointer[[]*dto.LabelPair]
}

func (s *series) labels(v *vector, cell int) ([]*dto.LabelPair, bool) {
	if p := s.pairs.Load(); p != nil {
		return *p, true
	}
	pairs, ok := v.pairs(cell)
	if ok {
		s.pairs.Store(&pairs)
	}
	return pairs, ok
}

// cell is a count that only grows.
type cell struct {
	n atomic.Uint64
	series
	// shown exports the cell of a sparse counter also at zero. It is set before the
	// first scrape only.
	shown bool
}

func (c *cell) add(n uint64) { c.n.Add(n) }

// counters is a counter with its labels.
type counters struct {
	vector
	cell []cell
	// sparse leaves out cells that were never counted; it is for products of labels of
	// which most never occur.
	sparse bool
	// with shows the cells of a sparse counter that are shown in another one with the
	// same labels: the bytes of what is counted there.
	with *counters
	// per is how many of the counted unit make one exported unit (1e9 for nanoseconds).
	per float64
}

// at is the cell with the given place in each label.
func (c *counters) at(i int) *cell             { return &c.cell[i*c.stride[0]] }
func (c *counters) at2(i, j int) *cell         { return &c.cell[i*c.stride[0]+j*c.stride[1]] }
func (c *counters) at3(i, j, k int) *cell      { return &c.cell[i*c.stride[0]+j*c.stride[1]+k*c.stride[2]] }
func (c *counters) add(n uint64)               { c.cell[0].add(n) }
func (c *counters) inc(i int)                  { c.at(i).add(1) }
func (c *counters) inc2(i, j int)              { c.at2(i, j).add(1) }
func (c *counters) inc3(i, j, k int)           { c.at3(i, j, k).add(1) }
func (c *counters) describe() *prometheus.Desc { return c.desc }

// visible is whether a cell is exported.
func (c *counters) visible(i int) bool {
	return !c.sparse || c.cell[i].shown || c.cell[i].n.Load() > 0
}

func (c *counters) collect(_ int64, ch chan<- prometheus.Metric) {
	for i := range c.cell {
		n := c.cell[i].n.Load()
		if n == 0 && c.sparse && !c.cell[i].shown && (c.with == nil || !c.with.visible(i)) {
			continue
		}
		if pairs, ok := c.cell[i].labels(&c.vector, i); ok {
			ch <- sample{desc: c.desc, pairs: pairs, value: float64(n) / c.per, counter: true}
		}
	}
}

// gauge is a value that may be absent.
type gauge struct {
	bits atomic.Uint64
	series
}

// absent is the NaN that stands for "no value"; a gauge that holds it isn't exported.
var absent = math.NaN()

func (g *gauge) set(v float64) { g.bits.Store(math.Float64bits(v)) }

// gauges is a gauge with its labels. All of it vanishes when the values are too old.
type gauges struct {
	vector
	cell []gauge
	// age is when the values came and how long they are good for; nil for ever.
	age *age
	// counter exports the values as a counter that is kept elsewhere.
	counter bool
}

func (g *gauges) at(i int) *gauge            { return &g.cell[i*g.stride[0]] }
func (g *gauges) at2(i, j int) *gauge        { return &g.cell[i*g.stride[0]+j*g.stride[1]] }
func (g *gauges) at3(i, j, k int) *gauge     { return &g.cell[i*g.stride[0]+j*g.stride[1]+k*g.stride[2]] }
func (g *gauges) set(v float64)              { g.cell[0].set(v) }
func (g *gauges) describe() *prometheus.Desc { return g.desc }

// clear makes every cell absent.
func (g *gauges) clear() {
	for i := range g.cell {
		g.cell[i].set(absent)
	}
}

// replace sets every cell; values that are NaN become absent.
func (g *gauges) replace(values []float64) {
	for i := range g.cell {
		g.cell[i].set(values[i])
	}
}

func (g *gauges) collect(now int64, ch chan<- prometheus.Metric) {
	if g.age != nil && !g.age.fresh(now) {
		return
	}
	for i := range g.cell {
		v := math.Float64frombits(g.cell[i].bits.Load())
		if math.IsNaN(v) {
			continue
		}
		if pairs, ok := g.cell[i].labels(&g.vector, i); ok {
			ch <- sample{desc: g.desc, pairs: pairs, value: v, counter: g.counter}
		}
	}
}

// sample is one value of a counter or gauge on its way out.
type sample struct {
	desc    *prometheus.Desc
	pairs   []*dto.LabelPair
	value   float64
	counter bool
}

// Desc implements prometheus.Metric.
func (s sample) Desc() *prometheus.Desc { return s.desc }

// Write implements prometheus.Metric.
func (s sample) Write(out *dto.Metric) error {
	out.Label = s.pairs
	if s.counter {
		out.Counter = &dto.Counter{Value: proto.Float64(s.value)}
	} else {
		out.Gauge = &dto.Gauge{Value: proto.Float64(s.value)}
	}
	return nil
}

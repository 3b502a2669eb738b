package evidence

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/peerobserver/peerobserver/proto/event"
)

// Bounds of the samples of this agent's own metrics.
const (
	// samples are kept of each series: with one a minute, those of an hour.
	samples = 60
	// maxSeries are sampled.
	maxSeries = 512
	// maxValues are in a record.
	maxValues = 24
	// maxSeriesName bounds the name of a series with its labels, in bytes.
	maxSeriesName = 256
)

// minElapsed is the shortest time over which the growth of a counter says something.
const minElapsed = time.Second

// values samples the metrics that the rules read, so that a record can say what they
// usually are. Of a counter that is its growth a second, from sample to sample.
type values struct {
	wanted map[string]bool
	series map[string]*series
	// left counts the samples of series for which there was no room.
	left event.Counter
	// gathered counts samples, at is when the last one was taken.
	gathered uint64
	at       time.Time
}

type series struct {
	metric  string
	counter bool
	// total is the last value of a counter.
	total float64
	// kept are the last samples, the newest is that of number next-1.
	kept [samples]float64
	next uint64
	// sampled is the number of the last sample that had it.
	sampled uint64
}

// value is a series in a record.
type value struct {
	Series string `json:"series"`
	// PerSecond: it is a counter, and the numbers are its growth a second.
	PerSecond bool `json:"per_second,omitempty"`
	// Now is the present value, Usual the median of the samples of the hour before.
	Now   float64 `json:"now"`
	Usual float64 `json:"usual"`
	// Samples is of how many samples the median is.
	Samples int `json:"samples"`
}

func (v *values) init(wanted map[string]bool) {
	v.wanted, v.series = wanted, map[string]*series{}
}

// sample takes a sample at a time.
func (v *values) sample(from prometheus.Gatherer, now time.Time) {
	present := v.gather(from)
	elapsed := now.Sub(v.at)
	v.gathered, v.at = v.gathered+1, now
	for name, p := range present {
		s := v.series[name]
		if s == nil {
			if len(v.series) >= maxSeries {
				v.left.Add(1)
				continue
			}
			s = &series{metric: p.metric, counter: p.counter}
			v.series[name] = s
		} else if p.counter && elapsed > 0 {
			s.keep(growth(s.total, p.value, elapsed))
		}
		if !p.counter {
			s.keep(p.value)
		}
		s.total, s.sampled = p.value, v.gathered
	}
	for name, s := range v.series {
		if v.gathered-s.sampled > samples {
			delete(v.series, name)
		}
	}
}

func (s *series) keep(value float64) {
	s.kept[s.next%samples] = value
	s.next++
}

// growth is that of a counter a second; one that is smaller began anew.
func growth(before, now float64, elapsed time.Duration) float64 {
	return max(now-before, 0) / max(elapsed, time.Millisecond).Seconds()
}

// present is a value as it is gathered.
type present struct {
	metric  string
	counter bool
	value   float64
}

// gather gives the present values by series.
func (v *values) gather(from prometheus.Gatherer) map[string]present {
	// What can be gathered is, whatever else is wrong.
	families, _ := from.Gather()
	all := map[string]present{}
	for _, family := range families {
		name := family.GetName()
		if !v.wanted[name] {
			continue
		}
		for _, m := range family.GetMetric() {
			labels := labelText(m.GetLabel())
			switch {
			case m.GetCounter() != nil:
				all[name+labels] = present{name, true, m.GetCounter().GetValue()}
			case m.GetGauge() != nil:
				all[name+labels] = present{name, false, m.GetGauge().GetValue()}
			case m.GetHistogram() != nil:
				all[name+"_count"+labels] = present{name, true, float64(m.GetHistogram().GetSampleCount())}
				all[name+"_sum"+labels] = present{name, true, m.GetHistogram().GetSampleSum()}
			}
		}
	}
	return all
}

// of gives the values of metrics at a time, those that differ most from what is usual
// first.
func (v *values) of(metrics []string, present map[string]present, now time.Time) []value {
	var list []value
	for name, p := range present {
		if !slices.Contains(metrics, p.metric) {
			continue
		}
		x := value{Series: cut(name, maxSeriesName), PerSecond: p.counter, Now: finite(p.value)}
		if s := v.series[name]; s != nil {
			before := slices.Clone(s.kept[:min(s.next, samples)])
			if p.counter {
				if elapsed := now.Sub(v.at); elapsed >= minElapsed || len(before) == 0 {
					x.Now = growth(s.total, p.value, max(elapsed, minElapsed))
				} else {
					x.Now = s.kept[(s.next-1)%samples]
				}
			}
			x.Usual, x.Samples = finite(median(before)), len(before)
		} else if p.counter {
			// It began after the last sample.
			x.Now = growth(0, p.value, max(now.Sub(v.at), minElapsed))
		}
		if x.Now != 0 || x.Usual != 0 {
			list = append(list, x)
		}
	}
	slices.SortFunc(list, func(a, b value) int {
		return cmp.Or(cmp.Compare(b.distance(), a.distance()), cmp.Compare(a.Series, b.Series))
	})
	return list[:min(len(list), maxValues)]
}

// distance is how far the present value is from the usual one, relative to it.
func (v *value) distance() float64 {
	return math.Abs(v.Now-v.Usual) / max(math.Abs(v.Usual), 1)
}

func median(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	sort.Float64s(list)
	if n := len(list); n%2 == 0 {
		return (list[n/2-1] + list[n/2]) / 2
	}
	return list[len(list)/2]
}

func labelText(labels []*dto.LabelPair) string {
	if len(labels) == 0 {
		return ""
	}
	parts := make([]string, 0, len(labels))
	for _, l := range labels {
		parts = append(parts, l.GetName()+`="`+l.GetValue()+`"`)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

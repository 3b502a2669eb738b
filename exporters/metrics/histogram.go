package metrics

import (
	"encoding/hex"
	"math"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/peerobserver/peerobserver/proto/event"
)

const (
	// nativeSchema 3 gives eight buckets for each doubling: each is 9 % wider than the
	// one before it.
	nativeSchema  = 3
	nativePerHalf = 1 << nativeSchema
	// nativeMaxBuckets bounds the filled native buckets that a histogram exports; more
	// are merged in pairs.
	nativeMaxBuckets = 100
)

// nativeBounds are the upper bounds of the native buckets between 1/2 and 1.
var nativeBounds = func() (bounds [nativePerHalf]float64) {
	for i := range bounds {
		bounds[i] = math.Exp2(float64(i)/nativePerHalf - 1)
	}
	return bounds
}()

// histogram counts values in classic and native buckets. Values are whole numbers of
// a small unit (nanoseconds, bytes, satoshi, entries), so that the sum is exact and
// an observation is four atomic additions without an allocation.
type histogram struct {
	classic []atomic.Uint64
	native  []atomic.Uint64
	zero    atomic.Uint64
	sum     atomic.Int64
	// exemplars has the last traced value of each classic bucket; nil when none was.
	exemplars []atomic.Pointer[dto.Exemplar]
	series
}

// histograms is a histogram with its labels.
type histograms struct {
	vector
	cell []atomic.Pointer[histogram]
	// bounds are the upper bounds of the classic buckets, in the small unit.
	bounds []int64
	// per is how many of the small unit make one exported unit (1e9 for nanoseconds).
	per float64
	// minKey and maxKey bound the native buckets that can be filled.
	minKey, maxKey int
	// sparse leaves out cells without a value.
	sparse bool
	// traced makes room for exemplars.
	traced bool
}

func makeCells(n int) []atomic.Pointer[histogram] {
	return make([]atomic.Pointer[histogram], n)
}

// init makes room for a cell's counts. It is called by the goroutine that observes.
func (h *histograms) init(i int) *histogram {
	c := &histogram{
		classic: make([]atomic.Uint64, len(h.bounds)+1),
		native:  make([]atomic.Uint64, h.maxKey-h.minKey+1),
	}
	if h.traced {
		c.exemplars = make([]atomic.Pointer[dto.Exemplar], len(h.bounds)+1)
	}
	h.cell[i].Store(c)
	return c
}

func (h *histograms) at(i int) *histogram {
	if c := h.cell[i].Load(); c != nil {
		return c
	}
	return h.init(i)
}

// observe counts a value in a cell.
func (h *histograms) observe(i int, value int64) { h.observeN(i, value, 1) }

func (h *histograms) observe2(i, j int, value int64) {
	h.observeN(i*h.stride[0]+j*h.stride[1], value, 1)
}

func (h *histograms) observe3(i, j, k int, value int64) {
	h.observeN(i*h.stride[0]+j*h.stride[1]+k*h.stride[2], value, 1)
}

// observeN counts n equal values in the cell with index i.
func (h *histograms) observeN(i int, value int64, n uint64) {
	c := h.at(i)
	// Times of different clocks may give a negative difference; a sum must not fall.
	value = max(value, 0)
	// Native before classic, and read in the other order: a scrape between the two
	// never sees more in the classic buckets than in all.
	if value == 0 {
		c.zero.Add(n)
	} else {
		c.native[h.key(value)].Add(n)
	}
	c.classic[h.bucket(value)].Add(n)
	c.sum.Add(value * int64(n))
}

// bucket is the index of a value's classic bucket.
func (h *histograms) bucket(value int64) int {
	b := 0
	for b < len(h.bounds) && value > h.bounds[b] {
		b++
	}
	return b
}

// traceLabel is the label of an exemplar that names a trace, as OpenMetrics and
// OpenTelemetry have it.
const traceLabel = "trace_id"

// observeBlock counts a value of the block with a hash in the cell with index i and
// keeps it as the exemplar of its bucket, with the id of the block's trace. at is when
// it was observed, in UNIX nanoseconds.
func (h *histograms) observeBlock(i int, value int64, hash []byte, at int64) {
	h.observe(i, value)
	if len(hash) == 0 {
		return
	}
	value = max(value, 0)
	trace := event.BlockTraceID(hash)
	h.cell[i].Load().exemplars[h.bucket(value)].Store(&dto.Exemplar{
		Label:     []*dto.LabelPair{{Name: proto.String(traceLabel), Value: proto.String(hex.EncodeToString(trace[:]))}},
		Value:     proto.Float64(float64(value) / h.per),
		Timestamp: timestamppb.New(time.Unix(0, at)),
	})
}

// key is the index of a positive value's native bucket.
func (h *histograms) key(value int64) int {
	fraction, exponent := math.Frexp(float64(value) / h.per)
	i := 0
	for i < nativePerHalf && nativeBounds[i] < fraction {
		i++
	}
	key := (exponent-1)*nativePerHalf + i
	return min(max(key, h.minKey), h.maxKey) - h.minKey
}

func (h *histograms) describe() *prometheus.Desc { return h.desc }

func (h *histograms) collect(_ int64, ch chan<- prometheus.Metric) {
	for i := range h.cell {
		c := h.cell[i].Load()
		if c == nil {
			if h.sparse {
				continue
			}
			// Nothing was observed: a scrape must not write what the observer may be
			// writing, so it exports an empty histogram of its own.
			c = &histogram{classic: make([]atomic.Uint64, len(h.bounds)+1), native: make([]atomic.Uint64, 1)}
		}
		if pairs, ok := c.labels(&h.vector, i); ok {
			ch <- histogramSample{h: h, c: c, pairs: pairs}
		}
	}
}

// histogramSample is a histogram on its way out.
type histogramSample struct {
	h     *histograms
	c     *histogram
	pairs []*dto.LabelPair
}

// Desc implements prometheus.Metric.
func (s histogramSample) Desc() *prometheus.Desc { return s.h.desc }

// Write implements prometheus.Metric.
func (s histogramSample) Write(out *dto.Metric) error {
	classic := make([]uint64, len(s.c.classic))
	for i := range classic {
		classic[i] = s.c.classic[i].Load()
	}
	sum := s.c.sum.Load()
	zero := s.c.zero.Load()
	total := zero
	filled := 0
	native := make([]uint64, len(s.c.native))
	for i := range native {
		native[i] = s.c.native[i].Load()
		total += native[i]
		if native[i] > 0 {
			filled++
		}
	}
	out.Label = s.pairs
	histogram := &dto.Histogram{
		SampleCount:   proto.Uint64(total),
		SampleSum:     proto.Float64(float64(sum) / s.h.per),
		ZeroThreshold: proto.Float64(math.Exp2(float64(s.h.minKey-1) / nativePerHalf)),
		ZeroCount:     proto.Uint64(zero),
	}
	cumulative := uint64(0)
	for i, bound := range s.h.bounds {
		cumulative += classic[i]
		histogram.Bucket = append(histogram.Bucket, &dto.Bucket{
			UpperBound:      proto.Float64(float64(bound) / s.h.per),
			CumulativeCount: proto.Uint64(min(cumulative, total)),
		})
	}
	s.exemplars(histogram, total)
	schema, minKey := int32(nativeSchema), s.h.minKey
	for filled > nativeMaxBuckets {
		native, minKey, filled = halve(native, minKey)
		schema--
	}
	histogram.Schema = proto.Int32(schema)
	histogram.PositiveSpan, histogram.PositiveDelta = spans(native, minKey)
	if len(histogram.GetPositiveSpan()) == 0 {
		// An empty span marks a histogram without values as native.
		histogram.PositiveSpan = []*dto.BucketSpan{{Offset: proto.Int32(0), Length: proto.Uint32(0)}}
	}
	out.Histogram = histogram
	return nil
}

// exemplars puts the exemplars into a histogram of total values.
func (s histogramSample) exemplars(histogram *dto.Histogram, total uint64) {
	for i := range s.c.exemplars {
		x := s.c.exemplars[i].Load()
		if x == nil {
			continue
		}
		if i == len(histogram.GetBucket()) {
			// The last bucket is written only when it has something to tell.
			histogram.Bucket = append(histogram.Bucket, &dto.Bucket{
				UpperBound: proto.Float64(math.Inf(1)), CumulativeCount: proto.Uint64(total),
			})
		}
		histogram.Bucket[i].Exemplar = x
		histogram.Exemplars = append(histogram.Exemplars, x)
	}
}

// halve merges native buckets in pairs, which is the next lower schema.
func halve(native []uint64, minKey int) (merged []uint64, newMin, filled int) {
	newMin = ceilHalf(minKey)
	merged = make([]uint64, ceilHalf(minKey+len(native)-1)-newMin+1)
	for i, n := range native {
		merged[ceilHalf(minKey+i)-newMin] += n
	}
	for _, n := range merged {
		if n > 0 {
			filled++
		}
	}
	return merged, newMin, filled
}

// ceilHalf is k/2 rounded up, also for negative k: the bucket that ends where the
// second of a pair ends.
func ceilHalf(k int) int {
	if k > 0 {
		return (k + 1) / 2
	}
	return k / 2
}

// spans encodes native buckets as runs of filled ones with differences of counts.
func spans(native []uint64, minKey int) (list []*dto.BucketSpan, deltas []int64) {
	var span *dto.BucketSpan
	next, previous := 0, int64(0)
	for i, n := range native {
		if n == 0 {
			continue
		}
		key := minKey + i
		if span == nil || key != next {
			offset := key - next
			if span == nil {
				offset = key
			}
			span = &dto.BucketSpan{Offset: proto.Int32(int32(offset)), Length: proto.Uint32(0)}
			list = append(list, span)
		}
		*span.Length++
		deltas = append(deltas, int64(n)-previous)
		previous = int64(n)
		next = key + 1
	}
	return list, deltas
}

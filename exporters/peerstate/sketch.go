package peerstate

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"github.com/axiomhq/hyperloglog"
	"github.com/bits-and-blooms/bloom/v3"
)

// What peers choose is kept in sketches of a fixed size. Every hash that goes in is
// seeded, so that nobody can choose values that meet in one place.

// distinct estimates the number of distinct values in a sliding window: a ring of
// sketches, one for each slice of time. The error of an estimate is 0.8 %.
type distinct struct {
	slices []*hyperloglog.Sketch
	width  int64
	// current is the number of the slice that is being filled: time divided by width.
	current int64
}

// newDistinct makes a window of count slices of width nanoseconds.
func newDistinct(count int, width int64) *distinct {
	d := &distinct{slices: make([]*hyperloglog.Sketch, count), width: width}
	for i := range d.slices {
		d.slices[i] = hyperloglog.New14()
	}
	return d
}

// advance moves the window to a time, emptying the slices that are reused.
func (d *distinct) advance(now int64) {
	slice := now / d.width
	if slice <= d.current {
		return
	}
	for i := max(d.current+1, slice-int64(len(d.slices))+1); i <= slice; i++ {
		d.slices[i%int64(len(d.slices))] = hyperloglog.New14()
	}
	d.current = slice
}

// insert adds a hash at the time of the last advance.
func (d *distinct) insert(hash uint64) {
	d.slices[d.current%int64(len(d.slices))].InsertHash(hash)
}

// estimate is the number of distinct hashes in the window.
func (d *distinct) estimate() uint64 {
	all := d.slices[0].Clone()
	for _, s := range d.slices[1:] {
		// Sketches of one precision merge without an error.
		_ = all.Merge(s)
	}
	return all.Estimate()
}

// seen remembers hashes for between one and two generations.
type seen struct {
	young, old *bloom.BloomFilter
	capacity   uint
	// lifetime is the longest time in nanoseconds that a generation is filled.
	lifetime, since    int64
	youngSize, oldSize uint64
}

// newSeen makes a filter of two generations of capacity hashes each, with a share of
// false positives of at most errors in each.
func newSeen(capacity uint, errors float64, lifetime int64) *seen {
	return &seen{
		young:    bloom.NewWithEstimates(capacity, errors),
		old:      bloom.NewWithEstimates(capacity, errors),
		capacity: capacity,
		lifetime: lifetime,
	}
}

// add gives whether the hash is new and remembers it. An old hash that is seen again
// is carried over to the young generation.
func (s *seen) add(hash uint64, now int64) (isNew bool) {
	if s.since == 0 {
		s.since = now
	}
	if now-s.since > s.lifetime || uint(s.youngSize) >= s.capacity {
		s.old, s.young = s.young, s.old.ClearAll()
		s.oldSize, s.youngSize, s.since = s.youngSize, 0, now
	}
	var key [8]byte
	binary.LittleEndian.PutUint64(key[:], hash)
	if s.young.TestAndAdd(key[:]) {
		return false
	}
	s.youngSize++
	return !s.old.Test(key[:])
}

// has is whether the hash is remembered.
func (s *seen) has(hash uint64) bool {
	var key [8]byte
	binary.LittleEndian.PutUint64(key[:], hash)
	return s.young.Test(key[:]) || s.old.Test(key[:])
}

// size is the number of hashes that are remembered; those in both generations count
// twice.
func (s *seen) size() uint64 { return s.youngSize + s.oldSize }

// topK counts the keys that occur most among any number of keys, in a space of fixed
// size (Metwally, Agrawal, El Abbadi 2005: Space-Saving). A key's count is too high by
// at most total/size, never too low.
type topK[K comparable] struct {
	size  int
	index map[K]int
	// heap is ordered by count, the smallest first.
	heap  []counted[K]
	total uint64
}

type counted[K comparable] struct {
	key   K
	count uint64
	// over is by how much count may be too high.
	over uint64
}

func newTopK[K comparable](size int) *topK[K] {
	return &topK[K]{size: size, index: make(map[K]int, size)}
}

// add counts a key n times.
func (t *topK[K]) add(key K, n uint64) {
	t.total += n
	i, ok := t.index[key]
	switch {
	case ok:
		t.heap[i].count += n
	case len(t.heap) < t.size:
		i = len(t.heap)
		t.heap = append(t.heap, counted[K]{key: key, count: n})
		t.index[key] = i
		t.up(i)
		return
	default:
		// The key with the smallest count gives way, and its count goes to the new one.
		i = 0
		delete(t.index, t.heap[0].key)
		t.heap[0] = counted[K]{key: key, count: t.heap[0].count + n, over: t.heap[0].count}
		t.index[key] = 0
	}
	t.down(i)
}

func (t *topK[K]) swap(i, j int) {
	t.heap[i], t.heap[j] = t.heap[j], t.heap[i]
	t.index[t.heap[i].key], t.index[t.heap[j].key] = i, j
}

func (t *topK[K]) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if t.heap[parent].count <= t.heap[i].count {
			return
		}
		t.swap(i, parent)
		i = parent
	}
}

func (t *topK[K]) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(t.heap) {
			return
		}
		if child+1 < len(t.heap) && t.heap[child+1].count < t.heap[child].count {
			child++
		}
		if t.heap[i].count <= t.heap[child].count {
			return
		}
		t.swap(i, child)
		i = child
	}
}

// top is the key with the largest count that is certain: count minus what may be too
// much.
func (t *topK[K]) top() (key K, count uint64) {
	for _, c := range t.heap {
		if c.count-c.over > count {
			key, count = c.key, c.count-c.over
		}
	}
	return key, count
}

// reset forgets everything.
func (t *topK[K]) reset() {
	clear(t.index)
	t.heap = t.heap[:0]
	t.total = 0
}

// Concentration describes how a number of things is spread over groups.
type Concentration struct {
	// Total things in Groups groups.
	Total, Groups int
	// Top is the share of the largest group, NaN without things.
	Top float64
	// Entropy is Shannon's, divided by the largest that the number of things allows: 1
	// when no two are in one group, 0 when all are. NaN with less than two things.
	Entropy float64
}

// concentrationOf computes the concentration of counts by group.
func concentrationOf[K comparable](counts map[K]int) Concentration {
	c := Concentration{Groups: len(counts), Top: math.NaN(), Entropy: math.NaN()}
	top := 0
	// Floating-point sums depend on their order, and a map has none.
	list := make([]int, 0, len(counts))
	for _, n := range counts {
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b int) int { return cmp.Compare(b, a) })
	for _, n := range list {
		c.Total += n
		top = max(top, n)
	}
	if c.Total > 0 {
		c.Top = float64(top) / float64(c.Total)
	}
	if c.Total < 2 {
		return c
	}
	entropy := 0.0
	for _, n := range list {
		share := float64(n) / float64(c.Total)
		entropy -= share * math.Log(share)
	}
	c.Entropy = max(entropy, 0) / math.Log(float64(c.Total))
	return c
}

// minHash is a sketch of a set that tells how alike two sets are (Broder 1997), as the
// k smallest hashes.
type minHash struct {
	k      int
	hashes []uint64
}

func newMinHash(k int) *minHash { return &minHash{k: k} }

// collect gathers hashes; finish must follow.
func (m *minHash) collect(hash uint64) {
	m.hashes = append(m.hashes, hash)
	if len(m.hashes) >= 4*m.k {
		m.finish()
	}
}

// finish keeps the k smallest distinct hashes.
func (m *minHash) finish() {
	slices.Sort(m.hashes)
	m.hashes = slices.Compact(m.hashes)
	m.hashes = m.hashes[:min(len(m.hashes), m.k)]
}

// similarity estimates the Jaccard index of two sets: the share of what is in both
// among what is in one. It is NaN when both are empty.
func (m *minHash) similarity(o *minHash) float64 {
	i, j, both, all := 0, 0, 0, 0
	for all < m.k && (i < len(m.hashes) || j < len(o.hashes)) {
		all++
		switch {
		case j >= len(o.hashes) || (i < len(m.hashes) && m.hashes[i] < o.hashes[j]):
			i++
		case i >= len(m.hashes) || o.hashes[j] < m.hashes[i]:
			j++
		default:
			both++
			i++
			j++
		}
	}
	if all == 0 {
		return math.NaN()
	}
	return float64(both) / float64(all)
}

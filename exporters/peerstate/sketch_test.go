package peerstate

import (
	"hash/maphash"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// No key's count is lower than it should be, none higher than by total/size, and the
// certain count of the top key is at most its own.
func TestTopK(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 20).Draw(t, "size")
		top := newTopK[int](size)
		exact := map[int]uint64{}
		for _, key := range rapid.SliceOfN(rapid.IntRange(0, 60), 0, 500).Draw(t, "keys") {
			n := uint64(1 + key%3)
			top.add(key, n)
			exact[key] += n
		}
		if len(top.heap) > size || len(top.index) != len(top.heap) {
			t.Fatalf("%d keys in %d places", len(top.index), len(top.heap))
		}
		for i, c := range top.heap {
			if top.index[c.key] != i {
				t.Fatalf("key %d is at %d, not %d", c.key, i, top.index[c.key])
			}
			if parent := (i - 1) / 2; i > 0 && top.heap[parent].count > c.count {
				t.Fatal("the heap is out of order")
			}
			if c.count < exact[c.key] || c.count-c.over > exact[c.key] || c.over > top.total/uint64(size) {
				t.Fatalf("key %d: count %d, over %d, exact %d of %d", c.key, c.count, c.over, exact[c.key], top.total)
			}
		}
		if key, count := top.top(); count > exact[key] {
			t.Fatalf("top %d: %d, exact %d", key, count, exact[key])
		}
	})
}

// With as many places as keys it is exact.
func TestTopKExact(t *testing.T) {
	top := newTopK[string](3)
	for _, key := range []string{"a", "b", "b", "c", "c", "c", "a"} {
		top.add(key, 1)
	}
	if key, count := top.top(); key != "c" || count != 3 {
		t.Errorf("top %s %d", key, count)
	}
	top.reset()
	if _, count := top.top(); count != 0 || top.total != 0 {
		t.Error("something is left after reset")
	}
}

func TestDistinct(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	d := newDistinct(6, int64(time.Minute))
	d.advance(int64(time.Hour))
	for range 50_000 {
		h := r.Uint64()
		d.insert(h)
		d.insert(h)
	}
	if got := float64(d.estimate()); math.Abs(got/50_000-1) > 0.03 {
		t.Errorf("estimate %v of 50000", got)
	}
	// The window slides: five minutes later all is there, six minutes later nothing.
	d.advance(int64(time.Hour + 5*time.Minute))
	if got := d.estimate(); got < 48_000 {
		t.Errorf("estimate %d after five minutes", got)
	}
	d.advance(int64(time.Hour + 6*time.Minute))
	if got := d.estimate(); got != 0 {
		t.Errorf("estimate %d after six minutes", got)
	}
	// A leap over the whole window empties it too, and time never goes back.
	d.insert(1)
	d.advance(int64(30 * time.Hour))
	d.advance(int64(time.Hour))
	if got := d.estimate(); got != 0 {
		t.Errorf("estimate %d after a leap", got)
	}
}

// mix spreads numbers as a hash does.
func mix(h uint64) uint64 { return h * 0x9e3779b97f4a7c15 }

func TestSeen(t *testing.T) {
	s := newSeen(1000, 0.001, int64(time.Hour))
	now := int64(time.Minute)
	for h := range uint64(1000) {
		if s.add(mix(h), now); s.add(mix(h), now) {
			t.Fatal("what was added is not known")
		}
	}
	// The next generation still knows the one before.
	if s.add(mix(5), now+1) || !s.has(mix(7)) {
		t.Error("the old generation is forgotten")
	}
	// After two lifetimes nothing is left.
	s.add(1<<60, now+int64(2*time.Hour))
	s.add(1<<61, now+int64(4*time.Hour))
	if s.has(mix(7)) {
		t.Error("what is old is still known")
	}
	if s.size() > 3 {
		t.Errorf("size %d", s.size())
	}
}

func TestMinHash(t *testing.T) {
	of := func(from, to int) *minHash {
		m := newMinHash(512)
		for i := from; i < to; i++ {
			m.collect(maphash.Comparable(testSeed, i))
			m.collect(maphash.Comparable(testSeed, i))
		}
		m.finish()
		return m
	}
	for _, test := range []struct {
		a, b *minHash
		want float64
	}{
		{of(0, 10_000), of(0, 10_000), 1},
		{of(0, 10_000), of(10_000, 20_000), 0},
		{of(0, 10_000), of(5000, 15_000), 1.0 / 3},
		{of(0, 3), of(1, 4), 0.5},
		{of(0, 3), of(0, 0), 0},
	} {
		if got := test.a.similarity(test.b); math.Abs(got-test.want) > 0.06 {
			t.Errorf("similarity %v, want %v", got, test.want)
		}
	}
	if !math.IsNaN(of(0, 0).similarity(of(0, 0))) {
		t.Error("two empty sets have a similarity")
	}
}

var testSeed = maphash.MakeSeed()

func TestConcentration(t *testing.T) {
	for _, test := range []struct {
		counts  map[string]int
		groups  int
		top     float64
		entropy float64
	}{
		{nil, 0, math.NaN(), math.NaN()},
		{map[string]int{"a": 1}, 1, 1, math.NaN()},
		{map[string]int{"a": 4}, 1, 1, 0},
		{map[string]int{"a": 1, "b": 1, "c": 1, "d": 1}, 4, 0.25, 1},
		{map[string]int{"a": 2, "b": 2}, 2, 0.5, 0.5},
	} {
		same := func(a, b float64) bool { return math.Abs(a-b) < 1e-9 || (math.IsNaN(a) && math.IsNaN(b)) }
		if c := concentrationOf(test.counts); c.Groups != test.groups || !same(c.Top, test.top) || !same(c.Entropy, test.entropy) {
			t.Errorf("%v: %+v", test.counts, c)
		}
	}
}

// The rate of the last minute is exact over whole minutes and between the two counts
// within one.
func TestMinuteCount(t *testing.T) {
	var m minuteCount
	minute := int64(time.Minute)
	m.add(10*minute, 60)
	if got := m.rate(10*minute + minute/2); got != 60 {
		t.Errorf("rate %v in the same minute", got)
	}
	if got := m.rate(11*minute + minute/2); got != 30 {
		t.Errorf("rate %v half a minute later", got)
	}
	m.add(11*minute+minute/2, 10)
	if got := m.rate(11*minute + minute/2); got != 40 {
		t.Errorf("rate %v with new counts", got)
	}
	if got := m.rate(20 * minute); got != 0 {
		t.Errorf("rate %v after a pause", got)
	}
	m.add(20*minute, 1<<40)
	if got := m.rate(20 * minute); got != 1<<32-1 {
		t.Errorf("rate %v when full", got)
	}
}

// The node's rate limit, entry by entry, as a model.
func TestAddressRateLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &Peer{addrTokens: 1}
		tokens, now := 1.0, int64(0)
		for range rapid.IntRange(1, 40).Draw(t, "messages") {
			pause := rapid.Int64Range(0, int64(30*time.Minute)).Draw(t, "pause")
			if rapid.IntRange(0, 9).Draw(t, "getaddr") == 0 {
				p.addrTokens += addrBurst
				tokens += addrBurst
			}
			n := rapid.IntRange(0, 1000).Draw(t, "entries")
			if tokens < 1000 {
				tokens = min(tokens+float64(pause)/1e9*0.1, 1000)
			}
			now += pause
			limited := uint64(0)
			for range n {
				if tokens < 1 {
					limited++
				} else {
					tokens--
				}
			}
			if got := p.takeAddresses(uint64(n), now); got != limited {
				t.Fatalf("%d of %d limited, want %d", got, n, limited)
			}
		}
	})
}

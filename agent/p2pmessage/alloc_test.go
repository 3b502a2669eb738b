package p2pmessage

import (
	"math"
	"runtime"
	"testing"

	"github.com/peerobserver/peerobserver/proto/event"
)

// No message costs an allocation once the buffer has grown.
func TestNoAllocations(t *testing.T) {
	coder := New()
	hit := Hit{PID: 1, TID: 2, CPU: 3, ThreadCPUTime: 4, HasThreadCPUTime: true}
	for _, mt := range messageTypes() {
		for seed := range uint64(4) {
			m := wholeMessage(mt.name, mt.generate(newSeeded(seed)))
			b := event.NewBuffer(1 << 16)
			n := testing.AllocsPerRun(10, func() {
				b.Reset()
				coder.AppendEvent(b, m, hit)
			})
			if n != 0 {
				t.Errorf("%s of %d bytes: %v allocations", mt.name, m.Size, n)
			}
		}
	}
	for _, m := range []*Message{
		wholeMessage("sendpackages", []byte{1, 2, 3}),
		wholeMessage("inv", []byte{200}),
		wholeMessage("b\xffd", nil),
		wholeMessage("version", payload{}.u32(1).raw(make([]byte, 16+26+26+8)...).varBytes([]byte("a\xff"))),
	} {
		b := event.NewBuffer(1 << 16)
		if n := testing.AllocsPerRun(10, func() {
			b.Reset()
			coder.AppendEvent(b, m, hit)
		}); n != 0 {
			t.Errorf("%q %x: %v allocations", m.Type, m.Payload, n)
		}
	}
}

// allocated is the number of bytes that a call allocates, each time of a function that
// prepare makes anew. What the runtime and goroutines beside it allocate meanwhile counts
// too, so it is the least of a few.
func allocated(prepare func() func()) uint64 {
	least := uint64(math.MaxUint64)
	for range 5 {
		f := prepare()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}

// A count that the payload doesn't hold allocates nothing: neither when it is more than
// the message has, nor when it would fit into a message of which little was captured.
func TestCountsDoNotAllocate(t *testing.T) {
	c := newSeeded(1)
	count := func(p payload, n uint64) payload { return p.compact(n).raw(make([]byte, 100)...) }
	prefixes := map[string]payload{
		"inv": nil, "getdata": nil, "notfound": nil, "addr": nil, "addrv2": nil, "headers": nil,
		"block": payload{}.header(c), "blocktxn": payload{}.hash(c), "getblocktxn": payload{}.hash(c),
		"cmpctblock":  payload{}.header(c).u64(1),
		"merkleblock": payload{}.header(c).u32(1),
		"getheaders":  payload{}.u32(1), "getblocks": payload{}.u32(1),
		"cfheaders": payload{}.u8(0).hash(c).hash(c), "cfcheckpt": payload{}.u8(0).hash(c),
		"cfilter": payload{}.u8(0).hash(c), "filterload": nil, "filteradd": nil, "alert": nil,
		"tx": payload{}.u32(1), "reject": nil, "feature": nil,
		"version": payload{}.u32(1).raw(make([]byte, 16+26+26+8)...),
	}
	for name, prefix := range prefixes {
		for _, n := range []uint64{1000, 60_000, 100_000, maxCompactSize, maxCompactSize + 1, 1<<64 - 1} {
			for _, size := range []uint64{0, 4_000_000, 1 << 40} {
				m := wholeMessage(name, count(prefix, n))
				m.Size = max(m.Size, size)
				got := allocated(func() func() {
					coder, b := New(), event.NewBuffer(4096)
					return func() { coder.AppendEvent(b, m, Hit{}) }
				})
				if got > 4096 {
					t.Errorf("%s with a count of %d in %d of %d bytes: %d bytes allocated", name, n, len(m.Payload), m.Size, got)
				}
			}
		}
	}
}

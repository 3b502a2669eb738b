package bpf_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/peerobserver/peerobserver/bpf"
	"github.com/peerobserver/peerobserver/bpf/internal/check"
)

// TestFlood offers far more than a tiny ring can hold, to a reader that reads all
// the while, and holds every hit to account.
func TestFlood(t *testing.T) {
	path := buildEmitter(t)
	for _, size := range []int{0, 300, 20_000, 60_000, 1_000_000} {
		for _, slices := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d bytes/slices=%v", size, slices), func(t *testing.T) {
				r := newRig(t, path, bpf.Config{RingSize: 64 << 10, NoKfuncs: slices})
				flood(t, r, size)
			})
		}
	}
}

func flood(t *testing.T, r *check.Rig, size int) {
	const threads, each = 4, 3000
	reader := r.Program.Reader()
	type tally struct{ records, shed uint64 }
	var got tally
	last := make(map[uint32]int64)
	hits := make(map[uint16]uint64) // next hit number, by CPU
	seen := make(map[[2]uint64]bool)
	var gaps uint64
	read := func(rec *bpf.Record) {
		got.records++
		if rec.Flags&bpf.Shed != 0 {
			got.shed++
			if len(rec.Payload()) != 0 {
				t.Error("payload that was left out is there")
			}
		} else if len(rec.Payload()) != size {
			t.Errorf("%d bytes of payload", len(rec.Payload()))
		}
		if rec.PayloadSize() != uint64(size) || rec.Text(3) != "inv" {
			t.Errorf("size %d, type %q", rec.PayloadSize(), rec.Text(3))
		}
		if l, ok := last[rec.TID]; ok && rec.Int(0) <= l {
			t.Errorf("thread %d: hit %d after %d", rec.TID, rec.Int(0), l)
		}
		last[rec.TID] = rec.Int(0)
		key := [2]uint64{uint64(rec.CPU), rec.Hit}
		if seen[key] {
			t.Errorf("hit %d of CPU %d twice", rec.Hit, rec.CPU)
		}
		seen[key] = true
		hits[rec.CPU] = max(hits[rec.CPU], rec.Hit+1)
	}
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		var rec bpf.Record
		for {
			ok, err := reader.TryRead(&rec)
			if err != nil {
				t.Error(err)
				return
			}
			if ok {
				read(&rec)
				continue
			}
			select {
			case <-done:
				// Everything was fired before: once more, and the
				// ring is empty for good.
				for {
					if ok, err := reader.TryRead(&rec); !ok || err != nil {
						return
					}
					read(&rec)
				}
			default:
			}
			if err := reader.Wait(); err != nil {
				t.Error(err)
				return
			}
		}
	})
	res, err := r.Fire("net:inbound_message threads=%d count=%d size=%d type=inv", threads, each, size)
	close(done)
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	c := counts(t, r.Program, bpf.NetInboundMessage)
	if res.Fired != threads*each || c.Hits != res.Fired || c.Hits != c.Records+c.Lost() || c.Records != got.records || c.Shed < got.shed {
		t.Errorf("%d fired, %d read, counters %+v", res.Fired, got.records, c)
	}
	if st := reader.Stats(); st.Bad != 0 || st.Records != got.records {
		t.Errorf("reader %+v", st)
	}
	// The numbers of hits on each CPU leave out exactly the lost ones, but for
	// those at the end.
	for _, n := range hits {
		gaps += n
	}
	if gaps -= uint64(len(seen)); gaps > c.Lost() {
		t.Errorf("%d numbers missing, %d lost", gaps, c.Lost())
	}
	// A payload greater than the ring is always left out, and the rest of the
	// record need not be.
	if size > 64<<10 && got.shed != got.records {
		t.Errorf("%d records, %d without payload", got.records, got.shed)
	}
	t.Logf("%d hits: %d records, %d of them without payload, %d lost", c.Hits, c.Records, got.shed, c.Lost())
	if size == 300 && c.Lost() == 0 {
		t.Log("nothing was lost: this machine's reader keeps up with a ring of 64 KiB")
	}
}

// TestSlowReader has nobody read until all is fired, so that the ring overflows
// for sure.
func TestSlowReader(t *testing.T) {
	r := newRig(t, buildEmitter(t), bpf.Config{RingSize: 64 << 10})
	res, err := r.Fire("net:inbound_message count=5000 size=100")
	if err != nil {
		t.Fatal(err)
	}
	got, err := check.Drain(r.Program.Reader())
	if err != nil {
		t.Fatal(err)
	}
	c := counts(t, r.Program, bpf.NetInboundMessage)
	if c.Lost() == 0 || got+c.Lost() != res.Fired || c.Hits != res.Fired || c.Records != got {
		t.Errorf("%d fired, %d read, %+v", res.Fired, got, c)
	}
	// And all is well again afterwards.
	if err := check.Arguments(r); err != nil {
		t.Error(err)
	}
}

package bpf_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/peerobserver/peerobserver/bpf"
	"github.com/peerobserver/peerobserver/bpf/internal/check"
)

// TestReadWaits: Read finds a record that comes while it sleeps, though nothing
// wakes it, and ends when the reader is closed.
func TestReadWaits(t *testing.T) {
	r := newRig(t, buildEmitter(t), bpf.Config{PollBusy: time.Millisecond, PollIdle: 20 * time.Millisecond})
	type result struct {
		fee int64
		err error
	}
	results := make(chan result)
	go func() {
		var rec bpf.Record
		for {
			err := r.Program.Reader().Read(&rec)
			results <- result{rec.Int(2), err}
			if err != nil {
				return
			}
		}
	}()
	for i := range int64(20) {
		fire(t, r.Emitter, "mempool:added peer=%d", i)
		if got := <-results; got.err != nil || got.fee != i {
			t.Fatalf("%+v, want %d", got, i)
		}
	}
	if c := counts(t, r.Program, bpf.MempoolAdded); c.Wakeups != 0 {
		t.Errorf("%d wake-ups for 20 small records", c.Wakeups)
	}
	if err := r.Program.Reader().Close(); err != nil {
		t.Fatal(err)
	}
	if got := <-results; !errors.Is(got.err, os.ErrClosed) {
		t.Errorf("%v", got.err)
	}
	var rec bpf.Record
	if ok, err := r.Program.Reader().TryRead(&rec); ok || !errors.Is(err, os.ErrClosed) {
		t.Errorf("%v, %v", ok, err)
	}
}

// TestWakeups: a filling ring wakes a reader that would sleep for hours.
func TestWakeups(t *testing.T) {
	const ring = 1 << 20
	r := newRig(t, buildEmitter(t), bpf.Config{RingSize: ring, PollBusy: time.Hour, PollIdle: time.Hour})
	done := make(chan error)
	go func() {
		var rec bpf.Record
		for range 100 {
			if err := r.Program.Reader().Read(&rec); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	// Each fills more than a sixteenth, so each wakes.
	for range 100 {
		fire(t, r.Emitter, "net:inbound_message size=%d", ring/8)
	}
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(check.Timeout):
		t.Error("the reader was not woken")
	}
}

// TestReadDoesNotAllocate: reading is for every message of a node.
func TestReadDoesNotAllocate(t *testing.T) {
	r := newRig(t, buildEmitter(t), bpf.Config{})
	const n = 1000
	fire(t, r.Emitter, "net:inbound_message count=%d size=500", n+1)
	var rec bpf.Record
	sum := 0
	if avg := testing.AllocsPerRun(n, func() {
		if ok, err := r.Program.Reader().TryRead(&rec); !ok || err != nil {
			t.Fatal(ok, err)
		}
		sum += len(rec.Bytes(1)) + len(rec.Payload()) + int(rec.Int(0))
	}); avg != 0 {
		t.Errorf("%v allocations a record", avg)
	}
	if sum == 0 {
		t.Error("nothing read")
	}
}

// TestCPUTime compares the CPU time between the first and last hit of a busy
// thread with what the thread itself measured. It is held on one CPU, where the
// records are exact.
func TestCPUTime(t *testing.T) {
	r := newRig(t, buildEmitter(t), bpf.Config{})
	var allowed, one unix.CPUSet
	if err := unix.SchedGetaffinity(r.Emitter.PID(), &allowed); err != nil {
		t.Fatal(err)
	}
	for cpu := 0; one.Count() == 0; cpu++ {
		if allowed.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	if err := unix.SchedSetaffinity(r.Emitter.PID(), &one); err != nil {
		t.Fatal(err)
	}
	const n = 2000
	res := fire(t, r.Emitter, "net:inbound_message count=%d size=2000", n)
	var rec bpf.Record
	var ran time.Duration
	next(t, r, &rec)
	for i := range n - 1 {
		before := rec
		next(t, r, &rec)
		d, ok := rec.CPUTimeSince(&before)
		if !ok || d < 0 || d > res.Wall {
			t.Fatalf("record %d: %v, %v", i, d, ok)
		}
		ran += d
	}
	// The thread's own clock leaves out interrupts and what the hypervisor
	// took; the records don't, but never count time when it did not run.
	if ran > res.Wall || ran < res.CPU/2 {
		t.Errorf("records say %v, the thread measured %v in %v", ran, res.CPU, res.Wall)
	}
	t.Logf("records say %v, the thread measured %v in %v", ran, res.CPU, res.Wall)
}

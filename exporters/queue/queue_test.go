package queue_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/peerobserver/peerobserver/exporters/queue"
	"github.com/peerobserver/peerobserver/proto/event"
)

func newQueue(t testing.TB, capacity int64) (*queue.Queue, *event.Ledger) {
	t.Helper()
	ledger := event.NewLedger()
	q, err := queue.New(queue.Config{Sink: "test", Capacity: capacity}, ledger)
	if err != nil {
		t.Fatal(err)
	}
	return q, ledger
}

// numbered makes an event whose bytes begin with its sequence number.
func numbered(sequence uint64, size int) *event.Event {
	data := bytes.Repeat([]byte{byte(sequence)}, max(size, 8))
	binary.BigEndian.PutUint64(data, sequence)
	return &event.Event{
		Header:  event.Header{Source: event.SourceRPC, Sequence: sequence, NodeName: "node"},
		Kind:    event.KindRPCUptime,
		Subject: event.SubjectRPC,
		Data:    data,
	}
}

// verify fails when e isn't the unharmed event of the sequence number.
func verify(t testing.TB, e event.Event, sequence uint64) {
	t.Helper()
	if e.Sequence != sequence {
		t.Fatalf("event %d came where %d was due", e.Sequence, sequence)
	}
	if got := binary.BigEndian.Uint64(e.Data); got != sequence {
		t.Fatalf("event %d has the bytes of %d", sequence, got)
	}
	if rest := bytes.Trim(e.Data[8:], string([]byte{byte(sequence)})); len(rest) != 0 {
		t.Fatalf("event %d: damaged bytes", sequence)
	}
}

func lost(ledger *event.Ledger, source event.Source, reason event.Reason) uint64 {
	return ledger.Loss(source, event.StageQueue, reason).Value()
}

func TestOrderAndContentOverManyChunks(t *testing.T) {
	q, _ := newQueue(t, 64<<20)
	random := rand.New(rand.NewPCG(1, 2))
	const count = 5000
	for i := range uint64(count) {
		size := 8 + random.IntN(600)
		if i%500 == 7 {
			size = 100_000 + random.IntN(100_000)
		}
		e := numbered(i, size)
		q.HandleEvent(e)
		// The queue must have its own copy.
		clear(e.Data)
	}
	next := uint64(0)
	for events := q.Next(); events != nil; events = q.Next() {
		for _, e := range events {
			verify(t, e, next)
			next++
		}
	}
	if next != count {
		t.Fatalf("%d events came out of %d", next, count)
	}
	if state := q.State(); state.Events != count {
		t.Fatalf("unreleased events are not counted as fill: %+v", state)
	}
	q.Release(count)
	if state := q.State(); state.Events != 0 || state.Bytes != 0 {
		t.Fatalf("released queue isn't empty: %+v", state)
	}
}

func TestFullQueueDropsTheNewAndCountsBySource(t *testing.T) {
	const capacity = 64 << 10
	q, ledger := newQueue(t, capacity)
	const size = 1000
	const room = capacity / (size + queue.Overhead)
	for i := range uint64(room + 5) {
		q.HandleEvent(numbered(i, size))
	}
	other := numbered(999, size)
	other.Source = event.SourceLog
	q.HandleEvent(other)
	if got := lost(ledger, event.SourceRPC, "test_full"); got != 5 {
		t.Fatalf("%d rpc events counted as lost, want 5", got)
	}
	if got := lost(ledger, event.SourceLog, "test_full"); got != 1 {
		t.Fatalf("%d log events counted as lost, want 1", got)
	}
	events := q.Next()
	verify(t, events[0], 0)
	verify(t, events[len(events)-1], uint64(len(events)-1))
	// Reading gives no room, releasing does.
	q.HandleEvent(numbered(1000, size))
	if got := lost(ledger, event.SourceRPC, "test_full"); got != 6 {
		t.Fatalf("%d rpc events counted as lost after reading, want 6", got)
	}
	q.Release(1)
	q.HandleEvent(numbered(1001, size))
	if got := lost(ledger, event.SourceRPC, "test_full"); got != 6 {
		t.Fatalf("event lost although there was room: %d", got)
	}
}

func TestMessagesLeaveRoomForTheRest(t *testing.T) {
	q, ledger := newQueue(t, 64<<10)
	flood := numbered(1, 500)
	flood.Subject, flood.Source = event.SubjectMessages, event.SourceEBPF
	for range 1000 {
		q.HandleEvent(flood)
	}
	if lost(ledger, event.SourceEBPF, "test_full") == 0 {
		t.Fatal("the flood fitted")
	}
	for i := range uint64(10) {
		q.HandleEvent(numbered(i, 500))
	}
	if got := lost(ledger, event.SourceRPC, "test_full"); got != 0 {
		t.Fatalf("%d rpc events lost to a flood of messages", got)
	}
}

func TestRewindGivesTheSameEventsAgain(t *testing.T) {
	q, _ := newQueue(t, 64<<20)
	const count = 3000
	for i := range uint64(count) {
		q.HandleEvent(numbered(i, 200))
	}
	read := 0
	for events := q.Next(); events != nil; events = q.Next() {
		read += len(events)
	}
	if read != count {
		t.Fatalf("read %d", read)
	}
	q.Release(100)
	for _, back := range []int{1, 1023, 1024, 1025, 2900} {
		q.Rewind(back)
		next := uint64(count - back)
		for events := q.Next(); events != nil; events = q.Next() {
			for _, e := range events {
				verify(t, e, next)
				next++
			}
		}
		if next != count {
			t.Fatalf("after rewinding %d the last event was %d", back, next-1)
		}
	}
	// Released events can't come back.
	q.Rewind(count)
	verify(t, q.Next()[0], 100)
}

func TestCloseCountsWhatWasNotRead(t *testing.T) {
	q, ledger := newQueue(t, 1<<20)
	for i := range uint64(10) {
		q.HandleEvent(numbered(i, 100))
	}
	q.Next()
	for i := range uint64(7) {
		q.HandleEvent(numbered(10+i, 100))
	}
	if got := q.Close(); got != 7 {
		t.Fatalf("Close says %d, want 7", got)
	}
	q.HandleEvent(numbered(20, 100))
	if got := lost(ledger, event.SourceRPC, queue.ReasonShutdown); got != 8 {
		t.Fatalf("%d counted, want 8", got)
	}
}

// TestAgainstModel does random operations on the queue and on a plain slice.
func TestAgainstModel(t *testing.T) {
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 1))
		const capacity = 600 << 10
		q, ledger := newQueue(t, capacity)
		type item struct {
			sequence uint64
			size     int
		}
		var held []item
		var read int
		var bytes int64
		var sequence, dropped uint64
		for range 1500 {
			switch random.IntN(6) {
			case 0, 1, 2:
				size := 8 + random.IntN(400)
				if random.IntN(30) == 0 {
					size = 20_000 + random.IntN(60_000)
				}
				for range random.IntN(20) {
					q.HandleEvent(numbered(sequence, size))
					if cost := int64(size) + queue.Overhead; bytes+cost <= capacity {
						held = append(held, item{sequence, size})
						bytes += cost
					} else {
						dropped++
					}
					sequence++
				}
			case 3:
				for _, e := range q.Next() {
					verify(t, e, held[read].sequence)
					if len(e.Data) != held[read].size {
						t.Fatalf("event %d has %d bytes, want %d", e.Sequence, len(e.Data), held[read].size)
					}
					read++
				}
			case 4:
				n := random.IntN(read + 1)
				q.Release(n)
				for _, i := range held[:n] {
					bytes -= int64(i.size) + queue.Overhead
				}
				held, read = held[n:], read-n
			case 5:
				n := random.IntN(read + 1)
				if random.IntN(4) == 0 {
					q.Rewind(n)
					read -= n
				}
			}
			if state := q.State(); state.Events != uint64(len(held)) || state.Bytes != uint64(bytes) {
				t.Fatalf("seed %d: state %+v, want %d events of %d bytes", seed, state, len(held), bytes)
			}
		}
		if got := lost(ledger, event.SourceRPC, "test_full"); got != dropped {
			t.Fatalf("seed %d: %d counted as lost, want %d", seed, got, dropped)
		}
	}
}

// TestConcurrentReaderSeesEverythingOrItIsCounted runs producer and reader at once.
func TestConcurrentReaderSeesEverythingOrItIsCounted(t *testing.T) {
	q, ledger := newQueue(t, 256<<10)
	ctx, cancel := context.WithCancel(t.Context())
	const count = 50_000
	var wg sync.WaitGroup
	wg.Go(func() {
		defer cancel()
		for i := range uint64(count) {
			q.HandleEvent(numbered(i, 100))
		}
	})
	var seen, gaps, next uint64
	for {
		err := q.Wait(ctx)
		for events := q.Next(); events != nil; events = q.Next() {
			for _, e := range events {
				gaps += e.Sequence - next
				verify(t, e, e.Sequence)
				next = e.Sequence + 1
				seen++
			}
			q.Release(len(events))
		}
		if err != nil {
			break
		}
	}
	wg.Wait()
	counted := lost(ledger, event.SourceRPC, "test_full")
	if seen+counted != count {
		t.Fatalf("%d seen + %d counted as lost != %d", seen, counted, count)
	}
	if missed := gaps + count - next; missed != counted {
		t.Fatalf("reader missed %d, %d counted", missed, counted)
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	q, _ := newQueue(t, 1<<20)
	e := numbered(1, 430)
	allocs := testing.AllocsPerRun(200, func() {
		for range 100 {
			q.HandleEvent(e)
		}
		for events := q.Next(); events != nil; events = q.Next() {
			q.Release(len(events))
		}
	})
	if allocs != 0 {
		t.Fatalf("%v allocations for 100 events", allocs)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, cfg := range []queue.Config{{Capacity: 1 << 20}, {Sink: "x"}, {Sink: "x", Capacity: 1}} {
		if _, err := queue.New(cfg, event.NewLedger()); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}

func BenchmarkHandleEvent(b *testing.B) {
	for _, size := range []int{100, 430, 36_000, 1_800_000} {
		b.Run(sizeName(size), func(b *testing.B) {
			q, _ := newQueue(b, 32<<20)
			e := numbered(1, size)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for i := range b.N {
				q.HandleEvent(e)
				if i%64 == 63 || size > 1_000_000 {
					for events := q.Next(); events != nil; events = q.Next() {
						q.Release(len(events))
					}
				}
			}
		})
	}
}

func sizeName(size int) string {
	switch {
	case size >= 1_000_000:
		return "block"
	case size >= 10_000:
		return "36kB"
	case size >= 400:
		return "430B"
	default:
		return "100B"
	}
}

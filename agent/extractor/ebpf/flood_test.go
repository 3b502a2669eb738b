package ebpf

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/bpf"
	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// tally counts events without keeping them, and can be slow.
type tally struct {
	t      *testing.T
	delay  time.Duration
	events map[event.Kind]uint64
	shed   uint64
	last   map[uint32]int64 // peer id of the last message, by thread
	time   map[uint32]uint64
}

func newTally(t *testing.T, delay time.Duration) *tally {
	return &tally{t: t, delay: delay, events: map[event.Kind]uint64{}, last: map[uint32]int64{}, time: map[uint32]uint64{}}
}

func (s *tally) HandleEvent(e *event.Event) {
	s.events[e.Kind]++
	var body eventpb.Event
	if err := proto.Unmarshal(e.Data, &body); err != nil {
		s.t.Error(err)
		return
	}
	x := body.GetEbpfExtractor()
	thread := x.GetHit().GetTid()
	if at := body.GetKernelTimeNs(); at < s.time[thread] {
		s.t.Errorf("thread %d: time goes back", thread)
	}
	s.time[thread] = body.GetKernelTimeNs()
	if m := x.GetMessage(); m != nil {
		// The emitter counts peer ids up from hit to hit.
		peer := int64(m.GetMeta().GetPeerId())
		if last, ok := s.last[thread]; ok && peer <= last {
			s.t.Errorf("thread %d: hit %d after %d", thread, peer, last)
		}
		s.last[thread] = peer
		if m.CapturedSize != nil {
			s.shed++
		}
	}
	if s.delay > 0 {
		for start := time.Now(); time.Since(start) < s.delay; {
		}
	}
}

// overload runs an extractor with a sink and gives it with a function that stops it.
func overload(t *testing.T, config Config, sink event.Sink) (*Extractor, *event.Ledger, func()) {
	t.Helper()
	ledger := event.NewLedger()
	emitter := event.NewEmitter(event.SourceEBPF, event.Origin{NodeName: "test", BootID: 1}, event.NewStream(sink), ledger)
	x := New(config, emitter, ledger, slog.New(slog.NewTextHandler(testWriter{t}, nil)))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	eventually(t, "the source to be up", func() error {
		if up, detail := ledger.Source(event.SourceEBPF).State(); !up {
			return errors.New(detail)
		}
		return nil
	})
	return x, ledger, stop
}

// Far more is offered than the ring holds and the sink takes: every hit is an event or
// counted as lost, for each tracepoint, and what is there is in order.
func TestOverloadIsCountedToTheLastHit(t *testing.T) {
	p, path := startEmitter(t)
	sink := newTally(t, 20*time.Microsecond)
	x, ledger, stop := overload(t, Config{Node: noNode, Binary: path, All: true, Program: bpf.Config{RingSize: 64 << 10}}, sink)
	const threads, each = 4, 5000
	offered := map[string]uint64{}
	kinds := map[string]event.Kind{
		"net:inbound_message":        event.KindMessage,
		"mempool:added":              event.KindMempoolAdded,
		"net:misbehaving_connection": event.KindConnectionMisbehaving,
		"validation:block_connected": event.KindValidationBlockConnected,
	}
	for name := range kinds {
		for _, size := range []int{8, 300} {
			r := fire(t, p, "%s threads=%d count=%d size=%d type=inv", name, threads, each, size)
			offered[name] += r.Fired
		}
	}
	// Payloads that the ring never has room for, beside ones that it has.
	offered["net:inbound_message"] += fire(t, p, "net:inbound_message threads=2 count=1000 size=50000 type=block").Fired
	stop()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	var lost, events uint64
	for _, s := range x.Status() {
		kind, fired := kinds[s.GetName()]
		if s.GetHits() != offered[s.GetName()] {
			t.Errorf("%s: %d hits, %d fired", s.GetName(), s.GetHits(), offered[s.GetName()])
		}
		if !fired {
			continue
		}
		if s.GetHits() != sink.events[kind]+s.GetLost() || s.GetFiltered() != 0 {
			t.Errorf("%s: %d hits, but %d events and %d lost", s.GetName(), s.GetHits(), sink.events[kind], s.GetLost())
		}
		t.Logf("%-28s %6d hits = %6d events + %6d lost (%d payloads left out)", s.GetName(), s.GetHits(), sink.events[kind], s.GetLost(), s.GetPayloadShed())
		// A hit may lose its payload first and then be lost as a whole.
		if kind == event.KindMessage && (s.GetPayloadShed() < sink.shed || s.GetPayloadShed() > sink.shed+s.GetLost()) {
			t.Errorf("%s: %d payloads left out, %d events say so", s.GetName(), s.GetPayloadShed(), sink.shed)
		}
		lost += s.GetLost()
		events += sink.events[kind]
	}
	if lost == 0 || events == 0 {
		t.Errorf("%d events and %d lost: no overload", events, lost)
	}
	var counted uint64
	status := ledger.Status()
	for _, l := range status.GetLosses() {
		if l.GetStage() == string(event.StageKernel) {
			counted += l.GetCount()
		} else if l.GetCount() != 0 {
			t.Errorf("lost elsewhere: %v", l)
		}
	}
	if counted != lost {
		t.Errorf("the ledger counts %d lost, the tracepoints %d", counted, lost)
	}
	for _, s := range status.GetSources() {
		if s.GetSource() == event.SourceEBPF.String() && s.GetEvents() != events {
			t.Errorf("the ledger counts %d events, the sink had %d", s.GetEvents(), events)
		}
	}
}

// residentBytes is what of this process is in memory, from /proc/self/statm.
func residentBytes(t testing.TB) int64 {
	t.Helper()
	s, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var pages [2]int64
	n := 0
	for _, c := range s {
		if c == ' ' {
			n++
			continue
		}
		if n == 1 {
			pages[1] = pages[1]*10 + int64(c-'0')
		}
	}
	return pages[1] * int64(os.Getpagesize())
}

// A node is flooded by another while the ring is far too small for it: the node lives
// and answers, and every hit is accounted for.
func TestNodeInAFlood(t *testing.T) {
	first := regtest.WithTracepoints(t, regtest.Config{})
	path := copyFile(t, first.Binary(), filepath.Join(t.TempDir(), "bitcoind"))
	config := regtest.Config{Binary: path}
	a, b := regtest.ForTest(t, config), regtest.ForTest(t, config)
	sink := newTally(t, 200*time.Microsecond)
	x, _, stop := overload(t, Config{Node: track(a).get, Program: bpf.Config{RingSize: 64 << 10}}, countOnly{sink})
	if err := b.Connect(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	peer := peerOf(t, b)
	before := residentBytes(t)
	// Blocks that nobody has, so that nothing is asked for; 20 entries a message.
	storm := func(seed int) []byte {
		inv := []byte{20}
		for i := range 20 {
			inv = binary.LittleEndian.AppendUint32(inv, 5)
			inv = binary.LittleEndian.AppendUint64(inv, uint64(seed*20+i))
			inv = append(inv, make([]byte, 24)...)
		}
		return inv
	}
	const workers, messages = 4, 4000
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := w; i < messages; i += workers {
				if !send(t, b, peer, "inv", storm(i)) {
					return
				}
			}
		})
	}
	group.Wait()
	eventually(t, "the node to have read the flood", func() error {
		received := call[[]struct {
			ByType map[string]uint64 `json:"bytesrecv_per_msg"`
		}](t, a, "getpeerinfo")
		const header = 24
		if len(received) != 1 || received[0].ByType["inv"] < messages*(header+1+20*36) {
			return errors.New("not all of it")
		}
		return nil
	})
	if _, err := a.Mine(t.Context(), 1); err != nil {
		t.Errorf("the node after the flood: %v", err)
	}
	grown := residentBytes(t) - before
	stop()
	if !a.Running() {
		t.Error("the node is gone")
	}
	for _, s := range x.Status() {
		if s.GetHits() != s.GetRecords()+s.GetFiltered()+s.GetLost() {
			t.Errorf("%v: not conserved", s)
		}
		if s.GetName() == "net:inbound_message" {
			t.Logf("%d inbound messages: %d recorded, %d of them without payload, %d lost; memory grew by %d KiB",
				s.GetHits(), s.GetRecords(), s.GetPayloadShed(), s.GetLost(), grown>>10)
			if s.GetHits() < messages {
				t.Errorf("%d messages in the flood, %d hits", messages, s.GetHits())
			}
		}
	}
	// Of what is generous here, most is for the race detector's shadow memory.
	if grown > 64<<20 {
		t.Errorf("memory grew by %d MiB in the flood", grown>>20)
	}
}

// countOnly leaves out the check of peer ids, which a node doesn't count up.
type countOnly struct{ tally *tally }

func (s countOnly) HandleEvent(e *event.Event) {
	s.tally.events[e.Kind]++
	for start := time.Now(); time.Since(start) < s.tally.delay; {
	}
}

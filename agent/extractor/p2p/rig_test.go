package p2p

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a sink that keeps everything.
type recorder struct {
	mu     sync.Mutex
	events []*eventpb.Event
	errs   []error
}

func (r *recorder) HandleEvent(e *event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	decoded := new(eventpb.Event)
	if err := proto.Unmarshal(e.Data, decoded); err != nil {
		r.errs = append(r.errs, err)
	}
	if e.Source != event.SourceP2P || e.Kind.Source() != event.SourceP2P || e.Subject != e.Kind.Subject() {
		r.errs = append(r.errs, fmt.Errorf("event %s of source %s on subject %s", e.Kind, e.Source, e.Subject))
	}
	r.events = append(r.events, decoded)
}

// all are the events so far.
func (r *recorder) all() []*eventpb.P2PExtractor {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []*eventpb.P2PExtractor
	for _, e := range r.events {
		list = append(list, e.GetP2PExtractor())
	}
	return list
}

// rig is a source at work.
type rig struct {
	*recorder
	source *Source
	ledger *event.Ledger
	// stop ends the source and waits for it.
	stop func()
}

// rpcOf makes a Config.Client of a node.
func rpcOf(n *regtest.Node) func() Caller { return func() Caller { return n.RPC() } }

// startRig starts a source, which ends with the test.
func startRig(t *testing.T, config Config) *rig {
	t.Helper()
	if config.Chain == nil {
		config.Chain = func() string { return "regtest" }
	}
	if config.PingInterval == 0 {
		config.PingInterval = 50 * time.Millisecond
	}
	ledger := event.NewLedger()
	record := new(recorder)
	emitter := event.NewEmitter(event.SourceP2P, event.Origin{NodeName: "test", BootID: 1}, event.NewStream(record), ledger)
	source, err := New(config, emitter, ledger, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	if err := source.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- source.Run(ctx) }()
	r := &rig{recorder: record, source: source, ledger: ledger}
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		for _, err := range record.errs {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// received are all events so far with their headers.
func (r *recorder) received() []*eventpb.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// address is where the source listens.
func (r *rig) address() string { return r.source.Addr().String() }

// eventually waits for condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	err := regtest.Eventually(t.Context(), func() error {
		if !condition() {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}

// waitFor waits for an event and returns the first one that matches, from the event
// with number from on, counted from 0.
func (r *rig) waitFor(t *testing.T, what string, from int, match func(*eventpb.P2PExtractor) bool) *eventpb.P2PExtractor {
	t.Helper()
	var found *eventpb.P2PExtractor
	eventually(t, what, func() bool {
		for _, e := range r.all()[from:] {
			if match(e) {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

// waitLinked waits for the link with number id, counted from 1.
func (r *rig) waitLinked(t *testing.T, id uint64) *eventpb.P2PExtractor {
	t.Helper()
	return r.waitFor(t, fmt.Sprintf("link %d", id), 0, func(e *eventpb.P2PExtractor) bool {
		return e.GetLinkState().GetState() == eventpb.LinkState_STATE_UP && e.GetLink().GetId() == id
	})
}

// waitPings waits for n more measured round trips.
func (r *rig) waitPings(t *testing.T, n int) {
	t.Helper()
	count := func() (pings int) {
		for _, e := range r.all() {
			if e.GetPingDuration() != nil {
				pings++
			}
		}
		return pings
	}
	before := count()
	eventually(t, fmt.Sprintf("%d pings", n), func() bool { return count() >= before+n })
}

// lost is the count of one kind of loss.
func (r *rig) lost(stage event.Stage, reason event.Reason) uint64 {
	return r.ledger.Loss(event.SourceP2P, stage, reason).Value()
}

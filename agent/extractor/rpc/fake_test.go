package rpc

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/agent/node"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// made is one call that a fakeNode saw.
type made struct {
	at     time.Duration // since the node was made
	params any
}

// fakeNode is a Caller whose methods take as long as told and answer what they are
// told, by default something plain that suits.
type fakeNode struct {
	born time.Time

	mu       sync.Mutex
	latency  map[string]time.Duration
	errors   map[string]error
	answers  map[string]string
	calls    map[string][]made
	running  map[string]int
	inFlight int
	// peak is the largest number of calls at the same time.
	peak int
	// overlapped is the first method that was called while it was still running.
	overlapped string
}

func newFakeNode() *fakeNode {
	return &fakeNode{
		born:    time.Now(),
		latency: map[string]time.Duration{},
		errors:  map[string]error{},
		answers: map[string]string{},
		calls:   map[string][]made{},
		running: map[string]int{},
	}
}

func (f *fakeNode) Call(ctx context.Context, method string, params, result any) error {
	f.mu.Lock()
	f.calls[method] = append(f.calls[method], made{time.Since(f.born), params})
	f.inFlight++
	f.peak = max(f.peak, f.inFlight)
	if f.running[method]++; f.running[method] > 1 && f.overlapped == "" {
		f.overlapped = method
	}
	latency, err, answer := f.latency[method], f.errors[method], f.answers[method]
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.inFlight--
		f.running[method]--
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(latency):
	}
	if err != nil {
		return err
	}
	if answer == "" {
		answer = plainAnswer(method)
	}
	return json.Unmarshal([]byte(answer), result)
}

func (f *fakeNode) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// made are the calls of a method.
func (f *fakeNode) made(method string) []made {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]made(nil), f.calls[method]...)
}

// times are when a method was called.
func (f *fakeNode) times(method string) []time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	var times []time.Duration
	for _, c := range f.calls[method] {
		times = append(times, c.at)
	}
	return times
}

func plainAnswer(method string) string {
	switch method {
	case "getpeerinfo", "getchaintips", "getorphantxs", "listbanned":
		return "[]"
	case "uptime":
		return "77"
	case "getmemoryinfo":
		return `{"locked":{}}`
	default:
		return "{}"
	}
}

var errNoMethod error = &node.RPCError{Code: -32601, Message: "Method not found"}

// recorder is a sink that keeps what it gets, decoded.
type recorder struct {
	mu     sync.Mutex
	events []*eventpb.Event
	broken error
}

func (r *recorder) HandleEvent(e *event.Event) {
	decoded := new(eventpb.Event)
	err := proto.Unmarshal(e.Data, decoded)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil && r.broken == nil {
		r.broken = err
	}
	r.events = append(r.events, decoded)
}

func (r *recorder) all() []*eventpb.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*eventpb.Event(nil), r.events...)
}

// rig is an extractor on a fake node.
type rig struct {
	*Extractor
	ledger   *event.Ledger
	recorder *recorder

	mu    sync.Mutex
	node  Caller
	start int64
}

func (r *rig) setNode(node Caller, start int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.node, r.start = node, start
}

func newRig(t *testing.T, caller Caller, change func(*Config)) *rig {
	t.Helper()
	r := &rig{ledger: event.NewLedger(), recorder: new(recorder), node: caller, start: 1}
	stream := event.NewStream(r.recorder)
	config := Config{
		Client: func() Caller {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.node
		},
		NodeStart: func() int64 {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.start
		},
	}
	if change != nil {
		change(&config)
	}
	emitter := event.NewEmitter(event.SourceRPC, event.Origin{NodeName: "test", BootID: 1}, stream, r.ledger)
	x, err := New(config, emitter, r.ledger, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r.Extractor = x
	return r
}

// start runs the extractor until the test ends.
func (r *rig) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if r.recorder.broken != nil {
			t.Errorf("an event doesn't decode: %v", r.recorder.broken)
		}
	}
}

func (r *rig) loss(reason event.Reason) uint64 {
	return r.ledger.Loss(event.SourceRPC, event.StageRead, reason).Value()
}

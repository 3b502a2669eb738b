package agent

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type runnerFunc func(ctx context.Context) error

func (f runnerFunc) Run(ctx context.Context) error { return f(ctx) }

type collector struct {
	mu     sync.Mutex
	events []*eventpb.Event
}

func (c *collector) HandleEvent(e *event.Event) {
	decoded := new(eventpb.Event)
	if err := proto.Unmarshal(e.Data, decoded); err != nil {
		panic(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, decoded)
}

func (c *collector) all() []*eventpb.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.events)
}

func TestAgentRestartsWhatFailsAndPanics(t *testing.T) {
	ledger := event.NewLedger()
	account := ledger.Source(event.SourceRPC)
	var delays []time.Duration
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	attempts := 0
	a := New(Config{
		Ledger: ledger,
		Logger: slog.New(slog.DiscardHandler),
		Sources: []Part{{Name: "rpc", Account: account, Runner: runnerFunc(func(ctx context.Context) error {
			attempts++
			switch attempts {
			case 1:
				return errors.New("no node")
			case 2:
				panic("hostile bytes")
			case 3:
				return nil
			default:
				account.Up("node found")
				cancel()
				<-ctx.Done()
				return ctx.Err()
			}
		})}},
	})
	a.sleep = func(_ context.Context, d time.Duration) { delays = append(delays, d) }
	if err := a.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if attempts != 4 {
		t.Errorf("attempts = %d, want 4", attempts)
	}
	for i, want := range []time.Duration{minBackoff, 2 * minBackoff, 4 * minBackoff} {
		if i >= len(delays) {
			t.Fatalf("only %d delays: %v", len(delays), delays)
		}
		if delays[i] < want/2 || delays[i] > want {
			t.Errorf("delay %d = %v, want between %v and %v", i, delays[i], want/2, want)
		}
	}
	source := ledger.Status().GetSources()[0]
	if source.GetAttempts() != 4 || source.GetFailures() != 3 {
		t.Errorf("attempts = %d, failures = %d, want 4 and 3", source.GetAttempts(), source.GetFailures())
	}
}

// The sinks must still run when the last source stops, and the status that closes the
// stream must be the last event.
func TestAgentStopsSourcesBeforeSinks(t *testing.T) {
	ledger := event.NewLedger()
	sink := new(collector)
	stream := event.NewStream(sink)
	origin := event.Origin{NodeName: "alice", BootID: 7}
	emitter := event.NewEmitter(event.SourceLog, origin, stream, ledger)
	status := event.NewEmitter(event.SourceObserver, origin, stream, ledger)
	ctx, cancel := context.WithCancel(t.Context())
	var order []string
	sinkRunning := make(chan struct{})
	a := New(Config{
		Ledger:  ledger,
		Status:  status,
		Version: "1.2.3",
		Logger:  slog.New(slog.DiscardHandler),
		Sinks: []Part{{Name: "sink", Runner: runnerFunc(func(ctx context.Context) error {
			close(sinkRunning)
			<-ctx.Done()
			order = append(order, "sink")
			return nil
		})}},
		Sources: []Part{{Name: "log", Runner: runnerFunc(func(ctx context.Context) error {
			<-sinkRunning
			cancel()
			<-ctx.Done()
			emitter.Emit(&eventpb.Event{PeerObserverEvent: &eventpb.Event_LogExtractor{
				LogExtractor: &eventpb.LogExtractor{},
			}}, event.Times{})
			order = append(order, "source")
			return nil
		})}},
	})
	if err := a.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(order, []string{"source", "sink"}) {
		t.Errorf("stopped in order %v, want source, sink", order)
	}
	// There may be one more status, because the agent came up.
	events := sink.all()
	i := slices.IndexFunc(events, func(e *eventpb.Event) bool { return e.GetLogExtractor() != nil })
	if i < 0 || i == len(events)-1 {
		t.Fatalf("got %v, want the source's event and a status behind it", events)
	}
	if e := events[i]; e.GetNodeName() != "alice" || e.GetSequence() != 1 {
		t.Errorf("the source's event = %v", e)
	}
	got := events[len(events)-1].GetObserver().GetStatus()
	if got.GetVersion() != "1.2.3" || got.GetSources()[0].GetEvents() != 1 {
		t.Errorf("status = %v", got)
	}
	for _, s := range got.GetSources() {
		if s.GetSource() == "observer" && !s.GetUp() {
			t.Errorf("the observer itself isn't up: %v", s)
		}
	}
}

func TestAgentReportsSinkThatHangs(t *testing.T) {
	release := make(chan struct{})
	stuck := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	a := New(Config{
		Ledger:       event.NewLedger(),
		Logger:       slog.New(slog.DiscardHandler),
		DrainTimeout: time.Millisecond,
		Sinks: []Part{{Name: "stuck", Runner: runnerFunc(func(context.Context) error {
			defer close(stuck)
			cancel()
			<-release
			return nil
		})}},
	})
	if err := a.Run(ctx); !errors.Is(err, ErrDrain) {
		t.Errorf("Run = %v, want ErrDrain", err)
	}
	close(release)
	<-stuck
}

package otlp

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/peerobserver/peerobserver/exporters/otlp/trace"
	"github.com/peerobserver/peerobserver/proto/event"
)

// Without a variable that asks for it there is no exporter, and no line in the log.
func TestOffUnlessAsked(t *testing.T) {
	ask(t, "", "")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	text := new(logs)
	x, err := New(t.Context(), Config{}, event.NewLedger(), text.logger())
	if x != nil || err != nil || text.String() != "" {
		t.Errorf("%v, %v, %q", x, err, text)
	}
}

// Whatever a collector does, HandleEvent never waits, shutting down ends within its
// time limit, every failure is counted, and the log has one line for each signal.
func TestCollectorThatFails(t *testing.T) {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	closed := listen(t)
	nobody := closed.Addr().String()
	_ = closed.Close()
	for name, address := range map[string]string{
		"not there": nobody,
		"never answers": serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		})),
		"refuses": serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, strings.Repeat("no\n\x1b[31m", 100_000), http.StatusForbidden)
		})),
		"endless answer": serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			for _, err := io.WriteString(w, strings.Repeat("x", 1<<16)); err == nil; _, err = io.WriteString(w, strings.Repeat("x", 1<<16)) {
			}
		})),
		"asks to wait a day": serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "86400")
			w.WriteHeader(http.StatusTooManyRequests)
		})),
	} {
		t.Run(name, func(t *testing.T) {
			ask(t, "http/protobuf", address)
			own, text, ledger := prometheus.NewPedanticRegistry(), new(logs), event.NewLedger()
			x, err := New(t.Context(), Config{
				NodeName: "alice", Gatherer: own, Registerer: own,
				Traces: trace.Config{Blocks: true, Peers: 1, Queue: 16}, ShutdownTimeout: 500 * time.Millisecond,
			}, ledger, text.logger())
			if err != nil {
				t.Fatal(err)
			}
			stop := run(t, x)
			emitter := event.NewEmitter(event.SourceEBPF, event.Origin{NodeName: "alice", BootID: 1}, event.NewStream(x), ledger)
			// Far more spans than the SDK's queue holds.
			const events = 6000
			for i := range events {
				emitter.Emit(closedConnection(uint64(i), 1), event.Times{})
			}
			stop()
			// The SDK gives up its last spans after the deadline, beside us.
			for _, signal := range []string{"metrics", "traces"} {
				eventually(t, "a failure of "+signal, func() error {
					if testutil.ToFloat64(x.reporter.exports.WithLabelValues(signal, "failure")) == 0 {
						return notYet("no failure of %s was counted", signal)
					}
					return nil
				})
			}
			eventually(t, "the account of the spans", func() error {
				lost := testutil.ToFloat64(x.reporter.spans.WithLabelValues("lost"))
				full := float64(ledger.Loss(event.SourceEBPF, event.StageQueue, trace.ReasonQueueFull).Value())
				if lost+full != events {
					return notYet("%v spans lost in exports and %v events at the full queue don't make %d", lost, full, events)
				}
				return nil
			})
			for _, signal := range []string{"metrics", "traces"} {
				if n := strings.Count(text.String(), "signal="+signal); n != 1 {
					t.Errorf("%d lines about %s:\n%s", n, signal, text)
				}
			}
			if strings.Contains(text.String(), "\x1b") || len(text.String()) > 4000 {
				t.Errorf("the collector wrote into the log: %d bytes", len(text.String()))
			}
		})
	}
}

// A collector that comes back gets data again, and the log says so.
func TestCollectorComesBack(t *testing.T) {
	sink := startOwnSink(t)
	r, text := newReporter(new(logs).logger()), new(logs)
	r.logger = text.logger()
	_ = r.result(signalTraces, context.DeadlineExceeded)
	_ = r.result(signalTraces, context.DeadlineExceeded)
	if err := r.result(signalTraces, nil); err != nil {
		t.Error(err)
	}
	if s := text.String(); strings.Count(s, "level=WARN") != 1 || strings.Count(s, "takes data again") != 1 {
		t.Errorf("log:\n%s", s)
	}
	ask(t, "grpc", sink.grpcAddress)
	own := prometheus.NewPedanticRegistry()
	x, err := New(t.Context(), Config{NodeName: "alice", Gatherer: own, Registerer: own, Traces: trace.Config{Peers: 1}}, event.NewLedger(), text.logger())
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, x)
	emitter := event.NewEmitter(event.SourceEBPF, event.Origin{NodeName: "alice", BootID: 1}, event.NewStream(x), event.NewLedger())
	emitter.Emit(closedConnection(0, 1), event.Times{})
	eventually(t, "a span while it runs", func() error {
		if _, spans := sink.received(); len(spans) == 0 {
			return errNotYet
		}
		return nil
	})
	stop()
	if n := testutil.ToFloat64(x.reporter.spans.WithLabelValues("delivered")); n != 1 {
		t.Errorf("%v spans were delivered", n)
	}
}

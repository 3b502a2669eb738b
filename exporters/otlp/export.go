package otlp

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// signal is what is exported.
type signal string

const (
	signalMetrics signal = "metrics"
	signalTraces  signal = "traces"
)

// reporter counts what happens to the exports and logs what changes: a collector that
// is down is one line in the log, not one a minute.
type reporter struct {
	logger  *slog.Logger
	exports *prometheus.CounterVec
	spans   *prometheus.CounterVec
	errors  prometheus.Counter

	mu      sync.Mutex
	failing map[signal]bool
	// other is the last error that no export gave.
	other string
}

func newReporter(logger *slog.Logger) *reporter {
	r := &reporter{
		logger: logger,
		exports: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "peerobserver_otlp_exports_total",
			Help: "Exports over OTLP, by signal and result, after the exporter's own retries.",
		}, []string{"signal", "result"}),
		spans: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "peerobserver_otlp_spans_total",
			Help: "Spans by result: delivered to the collector, or lost in an export that failed.",
		}, []string{"result"}),
		errors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "peerobserver_otlp_errors_total",
			Help: "Errors that the OpenTelemetry SDK reported beside failed exports, such as data that the collector refused in part.",
		}),
		failing: map[signal]bool{},
	}
	for _, s := range []signal{signalMetrics, signalTraces} {
		r.exports.WithLabelValues(string(s), "success")
		r.exports.WithLabelValues(string(s), "failure")
	}
	r.spans.WithLabelValues("delivered")
	r.spans.WithLabelValues("lost")
	return r
}

func (r *reporter) register(registerer prometheus.Registerer) error {
	return errors.Join(registerer.Register(r.exports), registerer.Register(r.spans), registerer.Register(r.errors))
}

// reported marks errors that the reporter has seen, because the SDK hands them to its
// error handler too.
type reported struct{ error }

func (e reported) Unwrap() error { return e.error }

// result takes the result of an export and gives the error to hand on.
func (r *reporter) result(s signal, err error) error {
	r.mu.Lock()
	was := r.failing[s]
	r.failing[s] = err != nil
	r.mu.Unlock()
	if err == nil {
		r.exports.WithLabelValues(string(s), "success").Inc()
		if was {
			r.logger.Info("the OTLP collector takes data again", "signal", string(s))
		}
		return nil
	}
	r.exports.WithLabelValues(string(s), "failure").Inc()
	if !was {
		r.logger.Warn("the OTLP collector does not take data; check OTEL_EXPORTER_OTLP_*. Further failures are counted in peerobserver_otlp_exports_total", "signal", string(s), "err", bounded(err))
	}
	return reported{err}
}

// Handle implements otel.ErrorHandler.
func (r *reporter) Handle(err error) {
	var known reported
	if err == nil || errors.As(err, &known) {
		return
	}
	r.errors.Inc()
	text := bounded(err)
	r.mu.Lock()
	same := r.other == text
	r.other = text
	r.mu.Unlock()
	if !same {
		r.logger.Warn("OpenTelemetry reports an error; repetitions are counted in peerobserver_otlp_errors_total", "err", text)
	}
}

// bounded is the text of an error without what a collector could do to a log.
func bounded(err error) string {
	const limit = 300
	text := strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(err.Error(), "?"))
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "..."
	}
	return text
}

// abortable joins an export with the end of the exporter, so that no collector, dead
// or slow, can hold the program up.
func abortable(ctx, end context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(end, cancel)
	return ctx, func() { stop(); cancel() }
}

// metricExporter reports what happens to an exporter's exports.
type metricExporter struct {
	metric.Exporter
	end      context.Context //nolint:containedctx // the exporter's life, not a call's
	reporter *reporter
}

func (e *metricExporter) Export(ctx context.Context, data *metricdata.ResourceMetrics) error {
	ctx, cancel := abortable(ctx, e.end)
	defer cancel()
	return e.reporter.result(signalMetrics, e.Exporter.Export(ctx, data))
}

// spanExporter is the same for spans.
type spanExporter struct {
	sdktrace.SpanExporter
	end      context.Context //nolint:containedctx // the exporter's life, not a call's
	reporter *reporter
}

func (e *spanExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := abortable(ctx, e.end)
	defer cancel()
	err := e.reporter.result(signalTraces, e.SpanExporter.ExportSpans(ctx, spans))
	result := "delivered"
	if err != nil {
		result = "lost"
	}
	e.reporter.spans.WithLabelValues(result).Add(float64(len(spans)))
	return err
}

// Package otlp sends metrics and traces over OTLP. The metrics are those that
// Prometheus scrapes, from the same registry; the traces are made from events by
// package trace. The OTEL_* variables of OpenTelemetry's specification say where to;
// without them nothing is sent.
package otlp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/peerobserver/peerobserver/exporters/otlp/trace"
	"github.com/peerobserver/peerobserver/proto/event"
)

const (
	// DefaultShutdownTimeout is the time that the collector gets for the last data.
	DefaultShutdownTimeout = 5 * time.Second
	// maxNodeName keeps a resource attribute sensible; an agent's name is shorter.
	maxNodeName = 255
)

// Config says what is sent.
type Config struct {
	// NodeName is the operator's name for the node. It is the service.instance.id and
	// the attribute peerobserver.node.name of the resource.
	NodeName string
	// Version is the service.version; empty for none.
	Version string
	// Gatherer gives the metrics to send.
	Gatherer prometheus.Gatherer
	// Registerer takes the metrics of this exporter itself; nil for none.
	Registerer prometheus.Registerer
	// Traces says what is traced. Its Registerer is set to the one above.
	Traces trace.Config
	// ShutdownTimeout bounds the last export; DefaultShutdownTimeout when zero.
	ShutdownTimeout time.Duration
}

func (c *Config) validate() error {
	if c.NodeName == "" || len(c.NodeName) > maxNodeName {
		return fmt.Errorf("the node's name must have 1 to %d bytes", maxNodeName)
	}
	if c.Gatherer == nil {
		return errors.New("there are no metrics to send")
	}
	if c.ShutdownTimeout < 0 {
		return errors.New("the time to shut down can't be negative")
	}
	if c.ShutdownTimeout == 0 {
		c.ShutdownTimeout = DefaultShutdownTimeout
	}
	c.Traces.Registerer = c.Registerer
	return nil
}

// Exporter is an event.Sink and an event.Runner. Run may be called once.
type Exporter struct {
	config   Config
	logger   *slog.Logger
	metrics  *metric.MeterProvider
	traces   *sdktrace.TracerProvider
	tracer   *trace.Tracer
	reporter *reporter
	// abort makes every export under way fail.
	abort context.CancelFunc
}

// New makes an exporter, or gives nil and no error when the OTEL_* variables don't ask
// for one. It installs the handler of errors and the logger of OpenTelemetry's SDK, of
// which a process has one each. It doesn't connect: a collector that isn't there yet
// is no error.
func New(ctx context.Context, config Config, ledger *event.Ledger, logger *slog.Logger) (*Exporter, error) {
	env, err := readEnvironment(os.Getenv)
	if err != nil {
		return nil, fmt.Errorf("otlp: %w", err)
	}
	if env == (environment{}) {
		return nil, nil //nolint:nilnil // not asked for is no error, and documented
	}
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("otlp: %w", err)
	}
	described, err := describe(ctx, &config)
	if err != nil {
		return nil, fmt.Errorf("otlp: %w", err)
	}
	end, abort := context.WithCancel(context.Background())
	x := &Exporter{config: config, logger: logger, reporter: newReporter(logger), abort: abort}
	otel.SetErrorHandler(x.reporter)
	otel.SetLogger(logr.FromSlogHandler(logger.Handler()))
	if err := x.build(ctx, end, env, described, ledger); err != nil {
		x.shutdown(ctx)
		abort()
		return nil, fmt.Errorf("otlp: %w", errors.Join(err, x.shutdownMetrics(ctx)))
	}
	return x, nil
}

func (x *Exporter) build(ctx, end context.Context, env environment, described *resource.Resource, ledger *event.Ledger) error {
	if x.config.Registerer != nil {
		if err := x.reporter.register(x.config.Registerer); err != nil {
			return err
		}
	}
	if env.metrics != protocolNone {
		exporter, err := newMetricExporter(ctx, env.metrics)
		if err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
		x.metrics = metric.NewMeterProvider(
			metric.WithResource(described),
			metric.WithReader(metric.NewPeriodicReader(
				&metricExporter{Exporter: exporter, end: end, reporter: x.reporter},
				metric.WithProducer(newProducer(x.config.Gatherer, env.exponential)),
			)),
		)
	}
	if env.traces != protocolNone {
		exporter, err := newSpanExporter(ctx, env.traces)
		if err != nil {
			return fmt.Errorf("traces: %w", err)
		}
		x.traces = sdktrace.NewTracerProvider(
			sdktrace.WithResource(described),
			sdktrace.WithIDGenerator(trace.IDGenerator()),
			// The tracer waits where the processor would drop spans uncounted; what
			// doesn't fit then is counted at the tracer's own queue.
			sdktrace.WithBatcher(&spanExporter{SpanExporter: exporter, end: end, reporter: x.reporter}, sdktrace.WithBlocking()),
		)
		if x.tracer, err = trace.New(x.config.Traces, x.traces, ledger); err != nil {
			return err
		}
	}
	return nil
}

func newMetricExporter(ctx context.Context, p protocol) (metric.Exporter, error) {
	if p == protocolGRPC {
		return otlpmetricgrpc.New(ctx)
	}
	return otlpmetrichttp.New(ctx)
}

func newSpanExporter(ctx context.Context, p protocol) (sdktrace.SpanExporter, error) {
	if p == protocolGRPC {
		return otlptracegrpc.New(ctx)
	}
	return otlptracehttp.New(ctx)
}

// describe makes the resource: what the data is about, by OpenTelemetry's semantic
// conventions. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES come last and win.
func describe(ctx context.Context, config *Config) (*resource.Resource, error) {
	attributes := []attribute.KeyValue{
		attribute.String("service.name", "peer-observer"),
		attribute.String("service.instance.id", config.NodeName),
		attribute.String("peerobserver.node.name", config.NodeName),
	}
	if config.Version != "" {
		attributes = append(attributes, attribute.String("service.version", config.Version))
	}
	r, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithHost(),
		resource.WithAttributes(attributes...),
		resource.WithFromEnv(),
	)
	// A part that can't be found, such as the name of the host, is left out.
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	return r, nil
}

// HandleEvent implements event.Sink. It never waits.
func (x *Exporter) HandleEvent(e *event.Event) {
	if x.tracer != nil {
		x.tracer.HandleEvent(e)
	}
}

// Run exports until ctx ends, and then what is left, for a bounded time. A collector
// that is down is no error: it is reported and counted.
func (x *Exporter) Run(ctx context.Context) error {
	x.logger.Info("OTLP export runs", "metrics", x.metrics != nil, "traces", x.traces != nil)
	traced := make(chan error, 1)
	go func() {
		if x.tracer != nil {
			traced <- x.tracer.Run(ctx)
			return
		}
		traced <- nil
	}()
	<-ctx.Done()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), x.config.ShutdownTimeout)
	defer cancel()
	// The tracer may wait for an export under way: from now on that has an end.
	stop := context.AfterFunc(last, x.abort)
	defer stop()
	// Exports that still run at the end end with it.
	defer x.abort()
	// A collector that is slow with traces shall not cost the last metrics.
	measured := make(chan error, 1)
	go func() { measured <- x.shutdownMetrics(last) }()
	err := <-traced
	x.shutdown(last)
	if failed := <-measured; failed != nil {
		x.reporter.Handle(failed)
	}
	return err
}

func (x *Exporter) shutdownMetrics(ctx context.Context) error {
	if x.metrics == nil {
		return nil
	}
	return x.metrics.Shutdown(ctx)
}

// shutdown sends the traces that are left, and frees everything. Run's deadline ends
// the exports that it waits for.
func (x *Exporter) shutdown(ctx context.Context) {
	if x.traces != nil {
		// The SDK doesn't even stop its goroutine when the time is up already. Exports
		// fail at once by then, so that it has little to do.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), x.config.ShutdownTimeout)
		defer cancel()
		if err := x.traces.Shutdown(ctx); err != nil {
			x.reporter.Handle(err)
		}
	}
}

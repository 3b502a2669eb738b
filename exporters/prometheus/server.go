// Package prometheus serves metrics to Prometheus: /metrics, the health pages and a
// landing page. The metrics themselves are made in package metrics.
package prometheus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web"

	"github.com/peerobserver/peerobserver/exporters/metrics"
	"github.com/peerobserver/peerobserver/proto/event"
)

// Defaults of Config.
const (
	DefaultTelemetryPath = "/metrics"
	DefaultMaxRequests   = 40
	// DefaultListenAddress is on loopback: what the node sees is nobody else's business.
	DefaultListenAddress = "127.0.0.1:9789"
)

// Limits of the HTTP server.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	shutdownTimeout   = 5 * time.Second
	maxHeaderBytes    = 32 << 10
	scrapeTimeout     = 30 * time.Second
)

// Config says what is served and where.
type Config struct {
	// Web holds the --web.* flags: addresses, TLS, passwords. DefaultListenAddress
	// without TLS when nil.
	Web *web.FlagConfig
	// TelemetryPath is the path of the metrics; DefaultTelemetryPath when empty.
	TelemetryPath string
	// MaxRequests bounds the scrapes at one time; DefaultMaxRequests when zero.
	MaxRequests int
	// Pprof serves /debug/pprof/, which tells about memory contents: only when asked.
	Pprof bool
	// Metrics says how the metrics are made.
	Metrics metrics.Config
	// Sources are the sources that have to be live for /-/ready; by Metrics.Ledger.
	// None: ready as soon as the server runs.
	Sources []event.Source
	// Home answers / and every path below that nothing else answers; nil for a landing
	// page with links.
	Home http.Handler
	// Ready adds conditions of its own to /-/ready: it gives what is not ready, empty
	// when all is (may be nil).
	Ready func() []string
}

func (c *Config) validate() error {
	if c.Web == nil {
		c.Web = &web.FlagConfig{
			WebListenAddresses: &[]string{DefaultListenAddress},
			WebSystemdSocket:   new(bool),
			WebConfigFile:      new(string),
		}
	}
	if c.TelemetryPath == "" {
		c.TelemetryPath = DefaultTelemetryPath
	}
	if !strings.HasPrefix(c.TelemetryPath, "/") || c.TelemetryPath == "/" || strings.ContainsAny(c.TelemetryPath, " {}") {
		return fmt.Errorf("the path of the metrics is %q: it must begin with / and not be / (--web.telemetry-path)", c.TelemetryPath)
	}
	if c.MaxRequests == 0 {
		c.MaxRequests = DefaultMaxRequests
	}
	if c.MaxRequests < 0 {
		return fmt.Errorf("the largest number of requests is %d: it must be positive (--web.max-requests)", c.MaxRequests)
	}
	if len(c.Sources) > 0 && c.Metrics.Ledger == nil {
		return errors.New("sources are required for readiness but there is no ledger")
	}
	if c.Web.WebConfigFile != nil && *c.Web.WebConfigFile != "" {
		if err := web.Validate(*c.Web.WebConfigFile); err != nil {
			return fmt.Errorf("web configuration (--web.config.file): %w", err)
		}
	}
	return nil
}

// Link is an entry of the landing page.
type Link struct {
	// Path is where it leads, Text its name, Description what is there.
	Path, Text, Description string
}

// Exporter takes events and serves the metrics made from them. It is an event.Sink and
// an event.Runner.
type Exporter struct {
	*metrics.Sink
	config Config
	logger *slog.Logger
	mux    *http.ServeMux
	// mu guards what changes while serving.
	mu        sync.Mutex
	links     []Link
	addresses []net.Addr
}

// New makes an exporter. It doesn't listen before Run.
func New(config Config, logger *slog.Logger) (*Exporter, error) {
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("prometheus: %w", err)
	}
	sink, err := metrics.New(config.Metrics)
	if err != nil {
		return nil, fmt.Errorf("prometheus: %w", err)
	}
	x := &Exporter{Sink: sink, config: config, logger: logger, mux: http.NewServeMux()}
	x.mux.Handle("GET "+config.TelemetryPath, promhttp.InstrumentMetricHandler(sink.Registry(), x.metricsHandler()))
	x.mux.HandleFunc("GET /-/healthy", x.healthy)
	x.mux.HandleFunc("GET /-/ready", x.ready)
	if config.Home != nil {
		x.mux.Handle("GET /", config.Home)
	} else {
		x.mux.HandleFunc("GET "+heaviestPath, x.heaviest)
		x.mux.HandleFunc("GET /{$}", x.landing)
	}
	x.links = []Link{
		{Path: config.TelemetryPath, Text: "Metrics"},
		{Path: "/-/healthy", Text: "Healthy", Description: "whether the process lives"},
		{Path: "/-/ready", Text: "Ready", Description: "whether every source is live"},
		{Path: heaviestPath, Text: "Heaviest peers", Description: "for whom the node works most, as JSON"},
	}
	if config.Pprof {
		x.mux.HandleFunc("/debug/pprof/", pprof.Index)
		x.mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		x.mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		x.mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		x.mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return x, nil
}

func (x *Exporter) metricsHandler() http.Handler {
	return promhttp.HandlerFor(x.Registry(), promhttp.HandlerOpts{
		ErrorLog:            &scrapeErrors{logger: x.logger},
		ErrorHandling:       promhttp.ContinueOnError,
		Registry:            x.Registry(),
		MaxRequestsInFlight: x.config.MaxRequests,
		Timeout:             scrapeTimeout,
		EnableOpenMetrics:   true,
	})
}

// scrapeErrors logs what goes wrong in a scrape, at most once a second: a scrape that is
// broken off gives an error a metric. Prometheus's library counts them all, in
// promhttp_metric_handler_errors_total.
type scrapeErrors struct {
	logger *slog.Logger
	last   atomic.Int64 // nanoseconds, Unix time
}

// Println is that of promhttp.Logger.
func (s *scrapeErrors) Println(v ...any) {
	now := time.Now().UnixNano()
	last := s.last.Load()
	if now-last < int64(time.Second) || !s.last.CompareAndSwap(last, now) {
		return
	}
	s.logger.Error("a scrape failed", "reason", strings.TrimSpace(fmt.Sprintln(v...)))
}

// Handle serves another part of the program on the same server, with an entry on the
// landing page unless the link has no text. The pattern is one of http.ServeMux; one
// that is taken already gives an error.
func (x *Exporter) Handle(pattern string, handler http.Handler, link Link) (err error) {
	defer func() {
		// ServeMux has no other way to say that a pattern is malformed or taken.
		if r := recover(); r != nil {
			err = fmt.Errorf("prometheus: pattern %q: %v", pattern, r)
		}
	}()
	x.mux.Handle(pattern, handler)
	if link.Text != "" {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.links = append(x.links, link)
	}
	return nil
}

// Gatherer gives the metrics, for a push over another protocol.
func (x *Exporter) Gatherer() prometheus.Gatherer { return x.Registry() }

// Handler is what the server serves, for tests and for a server of one's own.
func (x *Exporter) Handler() http.Handler { return x.mux }

// Addresses are those that Run listens on, empty when it doesn't.
func (x *Exporter) Addresses() []net.Addr {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.addresses)
}

// Run serves until ctx ends. It gives an error when it can't listen.
func (x *Exporter) Run(ctx context.Context) error {
	listeners, err := x.listen(ctx)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           x.mux,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(x.logger.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	served := make(chan error, 1)
	go func() {
		if listeners == nil {
			served <- web.ListenAndServe(server, x.config.Web, x.logger)
			return
		}
		served <- web.ServeMultiple(listeners, server, x.config.Web, x.logger)
	}()
	x.setAddresses(listeners)
	defer x.setAddresses(nil)

	select {
	case err := <-served:
		closeAll(listeners)
		return fmt.Errorf("prometheus: %w", err)
	case <-ctx.Done():
	}
	shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(shutdown); err != nil {
		// Long-lived connections, such as a profile that is being taken, are cut.
		err = errors.Join(err, server.Close())
		x.logger.Debug("web server closed with requests under way", "err", err)
	}
	if err := <-served; err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("prometheus: %w", err)
	}
	return nil
}

// listen opens the addresses. It gives nil for what exporter-toolkit has to open
// itself: sockets from systemd and vsock.
func (x *Exporter) listen(ctx context.Context) ([]net.Listener, error) {
	flags := x.config.Web
	if flags.WebSystemdSocket != nil && *flags.WebSystemdSocket {
		return nil, nil
	}
	if flags.WebListenAddresses == nil || len(*flags.WebListenAddresses) == 0 {
		return nil, errors.New("prometheus: no address to listen on: give one with --web.listen-address")
	}
	listeners := make([]net.Listener, 0, len(*flags.WebListenAddresses))
	for _, address := range *flags.WebListenAddresses {
		if strings.HasPrefix(address, "vsock://") {
			closeAll(listeners)
			return nil, nil
		}
	}
	for _, address := range *flags.WebListenAddresses {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err != nil {
			closeAll(listeners)
			return nil, listenError(address, err)
		}
		listeners = append(listeners, listener)
	}
	return listeners, nil
}

// listenError says what an operator can do.
func listenError(address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("prometheus: %s is in use by another program: stop it or choose another address with --web.listen-address: %w", address, err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("prometheus: not allowed to listen on %s: choose a port above 1023 with --web.listen-address: %w", address, err)
	default:
		return fmt.Errorf("prometheus: can't listen on %s (--web.listen-address): %w", address, err)
	}
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		// Closing an already closed listener is the only way this fails.
		_ = l.Close()
	}
}

func (x *Exporter) setAddresses(listeners []net.Listener) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.addresses = nil
	for _, l := range listeners {
		x.addresses = append(x.addresses, l.Addr())
	}
}

// healthy answers /-/healthy: the process lives.
func (x *Exporter) healthy(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, "peer-observer is healthy.\n")
}

// ready answers /-/ready: every source sees what it is there to see.
func (x *Exporter) ready(w http.ResponseWriter, _ *http.Request) {
	var missing []string
	for _, source := range x.config.Sources {
		if up, detail := x.config.Metrics.Ledger.Source(source).State(); !up {
			if detail == "" {
				detail = "not started"
			}
			missing = append(missing, fmt.Sprintf("source %s is not live: %s", source, detail))
		}
	}
	if x.config.Ready != nil {
		missing = append(missing, x.config.Ready()...)
	}
	if len(missing) == 0 {
		answer(w, http.StatusOK, "peer-observer is ready.\n")
		return
	}
	answer(w, http.StatusServiceUnavailable, "peer-observer is not ready:\n- "+strings.Join(missing, "\n- ")+"\n")
}

func answer(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	// The client may be gone; there is nobody to tell.
	_, _ = w.Write([]byte(text))
}

// landing answers /: what there is.
func (x *Exporter) landing(w http.ResponseWriter, r *http.Request) {
	x.mu.Lock()
	links := make([]web.LandingLinks, 0, len(x.links))
	for _, l := range x.links {
		links = append(links, web.LandingLinks{Address: l.Path, Text: l.Text, Description: l.Description})
	}
	x.mu.Unlock()
	page, err := web.NewLandingPage(web.LandingConfig{
		Name:        "peer-observer",
		Description: "What a Bitcoin node does on the P2P network",
		Version:     version.Info(),
		Links:       links,
		Profiling:   fmt.Sprint(x.config.Pprof),
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	page.ServeHTTP(w, r)
}

package prometheus_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/crypto/bcrypt"

	"github.com/peerobserver/peerobserver/exporters/metrics"
	"github.com/peerobserver/peerobserver/exporters/prometheus"
	"github.com/peerobserver/peerobserver/proto/event"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func flags(address string) *web.FlagConfig {
	return &web.FlagConfig{
		WebListenAddresses: &[]string{address},
		WebSystemdSocket:   new(bool),
		WebConfigFile:      new(string),
	}
}

func newExporter(t *testing.T, config prometheus.Config) *prometheus.Exporter {
	t.Helper()
	x, err := prometheus.New(config, quiet())
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// serve runs an exporter until the end of the test and gives its base URL.
func serve(t *testing.T, x *prometheus.Exporter) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		if a := x.Addresses(); len(a) > 0 {
			return "http://" + a[0].String()
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("the server did not start")
	return ""
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestServesOverHTTP(t *testing.T) {
	ledger := event.NewLedger()
	rpc := ledger.Source(event.SourceRPC)
	ledger.Source(event.SourceLog).Up("/data/debug.log")
	x := newExporter(t, prometheus.Config{
		Web:     flags("127.0.0.1:0"),
		Metrics: metrics.Config{Ledger: ledger, ProcessMetrics: true},
		Sources: []event.Source{event.SourceRPC, event.SourceLog},
	})
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "live page") })
	if err := x.Handle("GET /live", page, prometheus.Link{Path: "/live", Text: "Live", Description: "what happens now"}); err != nil {
		t.Fatal(err)
	}
	if err := x.Handle("GET /live", page, prometheus.Link{}); err == nil {
		t.Error("a pattern that is taken gave no error")
	}
	base := serve(t, x)

	code, body := get(t, base+"/metrics")
	if code != http.StatusOK {
		t.Fatalf("/metrics: %d\n%s", code, body)
	}
	for _, want := range []string{
		"peerobserver_build_info{", `peerobserver_source_up{source="log"} 1`, `peerobserver_source_up{source="rpc"} 0`,
		`peerobserver_connections_opened_total{direction="inbound",network="onion"} 0`,
		"process_start_time_seconds", "go_goroutines",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
	if code, _ := get(t, base+"/-/healthy"); code != http.StatusOK {
		t.Errorf("/-/healthy: %d", code)
	}
	code, body = get(t, base+"/-/ready")
	if code != http.StatusServiceUnavailable || !strings.Contains(body, "rpc") || strings.Contains(body, "log") {
		t.Errorf("/-/ready with rpc down: %d %q", code, body)
	}
	rpc.Up("127.0.0.1:8332")
	if code, body = get(t, base+"/-/ready"); code != http.StatusOK {
		t.Errorf("/-/ready with all up: %d %q", code, body)
	}
	code, body = get(t, base+"/")
	if code != http.StatusOK || !strings.Contains(body, "what happens now") || !strings.Contains(body, `href="/live"`) {
		t.Errorf("landing page: %d %q", code, body)
	}
	if code, body = get(t, base+"/live"); code != http.StatusOK || body != "live page" {
		t.Errorf("/live: %d %q", code, body)
	}
	if code, _ = get(t, base+"/debug/pprof/"); code != http.StatusNotFound {
		t.Errorf("/debug/pprof/ is served without being asked for: %d", code)
	}
}

// lines counts what is written to it.
type lines struct{ written atomic.Int64 }

func (l *lines) Write(p []byte) (int, error) {
	l.written.Add(1)
	return len(p), nil
}

func TestScrapesBrokenOffDoNotFillTheLog(t *testing.T) {
	log := &lines{}
	x, err := prometheus.New(prometheus.Config{
		Web: flags("127.0.0.1:0"), Metrics: metrics.Config{Ledger: event.NewLedger()},
	}, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	brokenOff, cancel := context.WithCancel(t.Context())
	cancel()
	const scrapes = 20
	for range scrapes {
		x.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(brokenOff, http.MethodGet, "/metrics", nil))
	}
	errors := func() (encoding float64) {
		families, err := x.Gatherer().Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if family.GetName() == "promhttp_metric_handler_errors_total" {
				for _, m := range family.GetMetric() {
					encoding += m.GetCounter().GetValue()
				}
			}
		}
		return encoding
	}
	// Each goes on in the background after the end of its request.
	deadline := time.Now().Add(30 * time.Second)
	for errors() < 20*scrapes {
		if time.Now().After(deadline) {
			t.Fatalf("%v errors in %d scrapes that were broken off", errors(), scrapes)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if n := log.written.Load(); n == 0 || n > scrapes {
		t.Errorf("%d lines in the log of %d scrapes", n, scrapes)
	}
}

func TestOpenMetrics(t *testing.T) {
	x := newExporter(t, prometheus.Config{})
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	request.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	recorder := httptest.NewRecorder()
	x.Handler().ServeHTTP(recorder, request)
	if !strings.Contains(recorder.Header().Get("Content-Type"), "openmetrics") || !strings.HasSuffix(recorder.Body.String(), "# EOF\n") {
		t.Errorf("no OpenMetrics: %s", recorder.Header().Get("Content-Type"))
	}
}

func TestPprofWhenAsked(t *testing.T) {
	x := newExporter(t, prometheus.Config{Pprof: true})
	recorder := httptest.NewRecorder()
	x.Handler().ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/debug/pprof/", nil))
	if recorder.Code != http.StatusOK {
		t.Errorf("/debug/pprof/: %d", recorder.Code)
	}
}

func TestPortInUse(t *testing.T) {
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	err = newExporter(t, prometheus.Config{Web: flags(address)}).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "--web.listen-address") || !strings.Contains(err.Error(), address) {
		t.Errorf("error %v should name the address and the flag", err)
	}
}

func TestPasswordFromWebConfig(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(config, []byte("basic_auth_users:\n  alice: "+string(hash)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := flags("127.0.0.1:0")
	f.WebConfigFile = &config
	base := serve(t, newExporter(t, prometheus.Config{Web: f}))
	if code, _ := get(t, base+"/metrics"); code != http.StatusUnauthorized {
		t.Errorf("without a password: %d", code)
	}
	if code, _ := get(t, strings.Replace(base, "http://", "http://alice:secret@", 1)+"/metrics"); code != http.StatusOK {
		t.Errorf("with the password: %d", code)
	}
}

func TestConfigErrors(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.yml")
	badFlags := flags("127.0.0.1:0")
	badFlags.WebConfigFile = &missing
	for name, test := range map[string]struct {
		config prometheus.Config
		want   string
	}{
		"path":    {prometheus.Config{TelemetryPath: "metrics"}, "--web.telemetry-path"},
		"root":    {prometheus.Config{TelemetryPath: "/"}, "--web.telemetry-path"},
		"sources": {prometheus.Config{Sources: []event.Source{event.SourceRPC}}, "ledger"},
		"web":     {prometheus.Config{Web: badFlags}, "--web.config.file"},
		"number":  {prometheus.Config{MaxRequests: -1}, "--web.max-requests"},
		"nodes":   {prometheus.Config{Metrics: metrics.Config{MaxNodes: -1}}, "nodes"},
	} {
		if _, err := prometheus.New(test.config, quiet()); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v should contain %q", name, err, test.want)
		}
	}
}

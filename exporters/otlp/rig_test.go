package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/lab/lock"
	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/proto/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ownSink is an OTLP receiver of our own, over gRPC and HTTP: it shows what was sent,
// not that others understand it.
type ownSink struct {
	collectormetrics.UnimplementedMetricsServiceServer
	grpcAddress, httpAddress string

	mu      sync.Mutex
	metrics []*metricspb.ResourceMetrics
	spans   []*tracepb.ResourceSpans
}

// traceService is there because both services have a method Export.
type traceService struct {
	collectortrace.UnimplementedTraceServiceServer
	sink *ownSink
}

func (s *ownSink) Export(_ context.Context, r *collectormetrics.ExportMetricsServiceRequest) (*collectormetrics.ExportMetricsServiceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.metrics = append(s.metrics, r.GetResourceMetrics()...)
	return &collectormetrics.ExportMetricsServiceResponse{}, nil
}

func (s traceService) Export(_ context.Context, r *collectortrace.ExportTraceServiceRequest) (*collectortrace.ExportTraceServiceResponse, error) {
	s.sink.mu.Lock()
	defer s.sink.mu.Unlock()
	s.sink.spans = append(s.sink.spans, r.GetResourceSpans()...)
	return &collectortrace.ExportTraceServiceResponse{}, nil
}

func (s *ownSink) received() (metrics []*metricspb.ResourceMetrics, spans []*tracepb.ResourceSpans) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.metrics[:len(s.metrics):len(s.metrics)], s.spans[:len(s.spans):len(s.spans)]
}

func startOwnSink(t *testing.T) *ownSink {
	t.Helper()
	s := new(ownSink)
	server := grpc.NewServer()
	collectormetrics.RegisterMetricsServiceServer(server, s)
	collectortrace.RegisterTraceServiceServer(server, traceService{sink: s})
	listener := listen(t)
	s.grpcAddress = listener.Addr().String()
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })

	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/metrics", func(w http.ResponseWriter, r *http.Request) {
		request := new(collectormetrics.ExportMetricsServiceRequest)
		if decodeRequest(w, r, request) {
			_, _ = s.Export(r.Context(), request)
		}
	})
	mux.HandleFunc("POST /v1/traces", func(w http.ResponseWriter, r *http.Request) {
		request := new(collectortrace.ExportTraceServiceRequest)
		if decodeRequest(w, r, request) {
			_, _ = traceService{sink: s}.Export(r.Context(), request)
		}
	})
	s.httpAddress = serve(t, mux)
	t.Cleanup(func() {
		server.Stop()
		serving.Wait()
	})
	return s
}

// serve serves HTTP on loopback until the test ends.
func serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	listener := listen(t)
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		_ = server.Close()
		serving.Wait()
	})
	return listener.Addr().String()
}

func decodeRequest(w http.ResponseWriter, r *http.Request, into proto.Message) bool {
	reader, err := io.Reader(r.Body), error(nil)
	if r.Header.Get("Content-Encoding") == "gzip" {
		reader, err = gzip.NewReader(r.Body)
	}
	var body []byte
	if err == nil {
		body, err = io.ReadAll(reader)
	}
	if err == nil {
		err = proto.Unmarshal(body, into)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	return true
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// rotel is the collector of that name, written by others in Rust. It hands on what it
// understood to a receiver of ours, in OTLP again.
type rotel struct{ grpcAddress, httpAddress string }

// rotelVersion is a release on the Python package index, which has it as a binary.
const rotelVersion = "0.0.1a15"

// rotelProgram gives the path of the program, installed into the user's cache directory
// if it isn't there.
func rotelProgram(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "peer-observer", "rotel-"+rotelVersion)
	find := func() string {
		found, _ := filepath.Glob(filepath.Join(dir, "lib", "python3*", "site-packages", "rotel", "rotel-agent"))
		if len(found) == 0 {
			return ""
		}
		return found[0]
	}
	unlock, err := lock.Take(t.Context(), dir+".lock", func() { t.Log("another process is installing rotel") })
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if program := find(); program != "" {
		return program
	}
	for _, command := range [][]string{
		{"python3", "-m", "venv", dir},
		{filepath.Join(dir, "bin", "pip"), "install", "--quiet", "--disable-pip-version-check", "rotel==" + rotelVersion},
	} {
		if output, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("this test needs the collector rotel: %v: %v\n%s", command, err, output)
		}
	}
	program := find()
	if program == "" {
		t.Fatalf("no rotel-agent under %s", dir)
	}
	return program
}

func startRotel(t *testing.T, to *ownSink) *rotel {
	t.Helper()
	program, dir := rotelProgram(t), t.TempDir()
	grpcPort, httpPort := listen(t), listen(t)
	r := &rotel{grpcAddress: grpcPort.Addr().String(), httpAddress: httpPort.Addr().String()}
	_ = grpcPort.Close()
	_ = httpPort.Close()
	var output bytes.Buffer
	ctx, cancel := context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, program, "start",
		"--pid-file", filepath.Join(dir, "pid"), "--log-file", filepath.Join(dir, "log"),
		"--otlp-grpc-endpoint", r.grpcAddress, "--otlp-http-endpoint", r.httpAddress,
		"--exporter", "otlp", "--otlp-exporter-protocol", "http", "--otlp-exporter-endpoint", "http://"+to.httpAddress)
	command.Stdout, command.Stderr = &output, &output
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = 20 * time.Second
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = command.Wait()
		if t.Failed() {
			t.Logf("rotel printed:\n%s", output.Bytes())
		}
	})
	eventually(t, "rotel", func() error {
		for _, address := range []string{r.grpcAddress, r.httpAddress} {
			c, err := net.DialTimeout("tcp4", address, time.Second)
			if err != nil {
				return err
			}
			_ = c.Close()
		}
		return nil
	})
	return r
}

// eventually waits until check gives no error.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := regtest.Eventually(ctx, check); err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}

// ask sets the variables that ask for an export.
func ask(t *testing.T, protocol, address string, more ...string) {
	t.Helper()
	for _, name := range []string{"OTEL_METRICS_EXPORTER", "OTEL_TRACES_EXPORTER", "OTEL_SDK_DISABLED"} {
		t.Setenv(name, "")
	}
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+address)
	// Only the last export, at shutdown, is sure to have everything.
	t.Setenv("OTEL_METRIC_EXPORT_INTERVAL", "3600000")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
	for i := 0; i+1 < len(more); i += 2 {
		t.Setenv(more[i], more[i+1])
	}
}

// logs collects log lines.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logs) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// run runs an exporter; stop ends it and waits.
func run(t *testing.T, x *Exporter) (stop func()) {
	t.Helper()
	if x == nil {
		t.Fatal("the environment asked for no export")
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
			// The SDK's handler would keep what the test logs to.
			otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {}))
		})
	}
	t.Cleanup(stop)
	return stop
}

var errNotYet = errors.New("not yet")

func notYet(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errNotYet, fmt.Sprintf(format, args...))
}

// testWriter writes log lines to a test's log.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(string(bytes.TrimSpace(p)))
	return len(p), nil
}

// runExtractor runs a source; stop ends it and waits.
func runExtractor(t *testing.T, source event.Runner) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- source.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

type keyValue = commonpb.KeyValue

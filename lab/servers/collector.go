package servers

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/peerobserver/peerobserver/lab/gotool"
	"github.com/peerobserver/peerobserver/lab/lock"
)

// CollectorVersion is the release of the OpenTelemetry Collector that is built.
const CollectorVersion = "0.165.0"

// collectorManifest tells the Collector's own builder what to build: the components that
// deploy/otel-collector.yaml names, and one that prints what it gets. The releases have
// these and more. Its values are a directory, the version, and the version's other number,
// of the modules that are stable.
const collectorManifest = `
dist: {name: otelcol, output_path: %[1]s, version: %[2]s}
receivers: [{gomod: go.opentelemetry.io/collector/receiver/otlpreceiver v%[2]s}]
processors:
  - gomod: go.opentelemetry.io/collector/processor/memorylimiterprocessor v%[2]s
  - gomod: go.opentelemetry.io/collector/processor/batchprocessor v%[2]s
exporters:
  - gomod: go.opentelemetry.io/collector/exporter/otlpexporter v%[2]s
  - gomod: go.opentelemetry.io/collector/exporter/otlphttpexporter v%[2]s
  - gomod: go.opentelemetry.io/collector/exporter/debugexporter v%[2]s
providers:
  - gomod: go.opentelemetry.io/collector/confmap/provider/envprovider v%[3]s
  - gomod: go.opentelemetry.io/collector/confmap/provider/fileprovider v%[3]s
`

// collectorStable is the version of the Collector's stable modules that belongs to
// CollectorVersion.
const collectorStable = "1.71.0"

// FindCollector returns the path of an OpenTelemetry Collector, built from source by the
// go command on PATH, once, which takes some minutes.
func FindCollector(ctx context.Context, progress io.Writer) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding a cache directory: %w", err)
	}
	cache = filepath.Join(cache, "peer-observer", "servers")
	built := filepath.Join(cache, "otelcol-"+CollectorVersion)
	if _, err := os.Stat(built); err == nil {
		return built, nil
	}
	unlock, err := lock.Take(ctx, filepath.Join(cache, "otelcol.lock"), func() {
		fmt.Fprintln(progress, "servers: another process is building the OpenTelemetry Collector, waiting for it")
	})
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(built); err == nil {
		return built, nil // another process was faster
	}
	builder, err := gotool.Find(ctx, gotool.Program{
		Name: "otelcol-builder", Package: "go.opentelemetry.io/collector/cmd/builder", Version: "v" + CollectorVersion,
	}, progress)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(cache, "build-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	manifest := filepath.Join(dir, "manifest.yaml")
	if err := os.WriteFile(manifest, fmt.Appendf(nil, collectorManifest, dir, CollectorVersion, collectorStable), 0o644); err != nil {
		return "", err
	}
	fmt.Fprintf(progress, "servers: building the OpenTelemetry Collector %s, once, some minutes\n", CollectorVersion)
	build := exec.CommandContext(ctx, builder, "--config="+manifest)
	build.Dir = dir
	build.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the OpenTelemetry Collector %s: %w: %s", CollectorVersion, err, lastPart(output))
	}
	return built, os.Rename(filepath.Join(dir, "otelcol"), built)
}

// CollectorForTest is FindCollector for tests; failing to build it fails the test.
func CollectorForTest(t testing.TB) string {
	t.Helper()
	program, err := FindCollector(t.Context(), os.Stderr)
	if err != nil {
		t.Fatalf("this test needs an OpenTelemetry Collector: %v", err)
	}
	return program
}

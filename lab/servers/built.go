package servers

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peerobserver/peerobserver/lab/lock"
)

const (
	// Built is not a suite of Debian's: it is the Prometheus that FindBuilt builds.
	Built Suite = "built"
	// builtVersion is the release of Prometheus that is built.
	builtVersion = "v0.316.0" // 3.16.0, as a module
	// builtTags leave out the discovery of targets in clouds, and the bulk of the
	// dependencies with it.
	builtTags = "remove_all_sd"
)

// FindBuilt returns a Prometheus that takes OTLP, which those of Debian don't. It is built
// from source by the go command on PATH, once, which takes some minutes. It has no pages,
// and only the field Prometheus of the binaries is set.
func FindBuilt(ctx context.Context, progress io.Writer) (Binaries, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return Binaries{}, fmt.Errorf("finding a cache directory: %w", err)
	}
	cache = filepath.Join(cache, "peer-observer", "servers")
	b := Binaries{Suite: Built, Prometheus: filepath.Join(cache, "prometheus-"+builtVersion)}
	if _, err := os.Stat(b.Prometheus); err == nil {
		return b, nil
	}
	unlock, err := lock.Take(ctx, filepath.Join(cache, "built.lock"), func() {
		fmt.Fprintln(progress, "servers: another process is building Prometheus, waiting for it")
	})
	if err != nil {
		return Binaries{}, err
	}
	defer unlock()
	if _, err := os.Stat(b.Prometheus); err == nil {
		return b, nil // another process was faster
	}
	dir, err := os.MkdirTemp(cache, "build-")
	if err != nil {
		return Binaries{}, err
	}
	defer os.RemoveAll(dir)
	fmt.Fprintf(progress, "servers: building Prometheus %s, once, some minutes\n", builtVersion)
	build := exec.CommandContext(ctx, "go", "install", "-tags", builtTags, "github.com/prometheus/prometheus/cmd/prometheus@"+builtVersion)
	build.Dir = dir
	// Flags for this module, such as -mod, don't fit that one.
	build.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=", "GOWORK=off")
	if output, err := build.CombinedOutput(); err != nil {
		return Binaries{}, fmt.Errorf("building Prometheus %s: %w: %s", builtVersion, err, lastPart(output))
	}
	program := filepath.Join(dir, "prometheus")
	if output, err := exec.CommandContext(ctx, program, "--version").CombinedOutput(); err != nil {
		return Binaries{}, fmt.Errorf("the Prometheus that was built doesn't run: %w: %s", err, lastPart(output))
	}
	return b, os.Rename(program, b.Prometheus)
}

// lastPart is the end of an output, where go says what went wrong.
func lastPart(output []byte) string {
	const limit = 2000
	text := strings.TrimSpace(string(output))
	return text[max(0, len(text)-limit):]
}

// BuiltForTest is FindBuilt for tests; failing to build it fails the test.
func BuiltForTest(t testing.TB) Binaries {
	t.Helper()
	b, err := FindBuilt(t.Context(), os.Stderr)
	if err != nil {
		t.Fatalf("this test needs a Prometheus that takes OTLP: %v", err)
	}
	return b
}

package bitcoind

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peerobserver/peerobserver/lab/machine"
)

// script writes an executable file.
func script(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestOrderOfPlaces(t *testing.T) {
	dir := t.TempDir()
	named, onPath := filepath.Join(dir, "named", "bitcoind"), filepath.Join(dir, "path", "bitcoind")
	script(t, named, fakeBitcoind)
	script(t, onPath, fakeBitcoind)
	script(t, filepath.Join(dir, "path", "bitcoin-cli"), "#!/bin/sh\n")
	options := Options{CacheDir: t.TempDir(), NoFetch: true}

	t.Setenv("PATH", filepath.Dir(onPath))
	t.Setenv(EnvBinary, named)
	if binary, err := Find(t.Context(), options); err != nil || binary.Path != named || binary.Origin != OriginEnvironment || binary.CLIPath != "" {
		t.Errorf("with $%s: %+v (%v)", EnvBinary, binary, err)
	}
	t.Setenv(EnvBinary, filepath.Join(dir, "missing"))
	if binary, err := Find(t.Context(), options); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "$"+EnvBinary) {
		t.Errorf("with a wrong $%s: %+v (%v), want an error that names it", EnvBinary, binary, err)
	}
	script(t, filepath.Join(dir, "other"), "#!/bin/sh\necho hello\n")
	t.Setenv(EnvBinary, filepath.Join(dir, "other"))
	if binary, err := Find(t.Context(), options); err == nil || !strings.Contains(err.Error(), "does not answer like a Bitcoin node") {
		t.Errorf("with another program: %+v (%v)", binary, err)
	}
	t.Setenv(EnvBinary, "")
	if binary, err := Find(t.Context(), options); err != nil || binary.Path != onPath || binary.Origin != OriginPath || binary.CLIPath == "" {
		t.Errorf("on PATH: %+v (%v)", binary, err)
	}
	t.Setenv("PATH", t.TempDir())
	if binary, err := Find(t.Context(), options); !errors.Is(err, ErrNotFound) {
		t.Errorf("nowhere: %+v (%v), want ErrNotFound", binary, err)
	}
	// What an interrupted fetch left doesn't count, what a finished one did does.
	installed := filepath.Join(options.CacheDir, "knots", "root", "usr", "bin", "bitcoind")
	script(t, installed, fakeBitcoind)
	if binary, err := Find(t.Context(), options); !errors.Is(err, ErrNotFound) {
		t.Errorf("half an installation: %+v (%v), want ErrNotFound", binary, err)
	}
	script(t, filepath.Join(options.CacheDir, "knots", "complete"), "")
	if binary, err := Find(t.Context(), options); err != nil || binary.Path != installed || binary.Origin != OriginKnots {
		t.Errorf("from the cache: %+v (%v)", binary, err)
	}
}

// TestKnotsFromDebian fetches and unpacks the real package, with apt's private
// state below a fresh directory.
func TestKnotsFromDebian(t *testing.T) {
	if _, err := exec.LookPath("apt-get"); err != nil {
		machine.Lacks(t, "a Debian system")
	}
	var progress bytes.Buffer
	cache := filepath.Join(t.TempDir(), "a cache")
	binary, err := Knots(t.Context(), Options{CacheDir: cache, Progress: &progress})
	if err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	if binary.Origin != OriginKnots || binary.HasTracepoints || !strings.Contains(binary.Version, "knots") || !strings.HasPrefix(binary.Path, cache) {
		t.Errorf("%+v", binary)
	}
	if output, err := exec.CommandContext(t.Context(), binary.CLIPath, "-version").Output(); err != nil || !strings.Contains(string(output), "knots") {
		t.Errorf("bitcoin-cli: %q (%v)", output, err)
	}
	for _, line := range []string{"reading the package lists", "downloading", "ready"} {
		if !strings.Contains(progress.String(), line) {
			t.Errorf("progress lacks %q:\n%s", line, &progress)
		}
	}
	entries, err := os.ReadDir(filepath.Join(cache, "knots"))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if name := entry.Name(); name != "root" && name != "complete" {
			t.Errorf("%s is left behind", name)
		}
	}
}

func TestBtcdIsBuiltOnce(t *testing.T) {
	first, err := Btcd(t.Context(), Options{Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	output, err := exec.CommandContext(t.Context(), first.Btcd, "--version").Output()
	if err != nil || !strings.Contains(string(output), "btcd version "+strings.TrimPrefix(first.Version, "v")) {
		t.Errorf("version %q (%v), want %s", output, err, first.Version)
	}
	var progress bytes.Buffer
	if again, err := Btcd(t.Context(), Options{Progress: &progress}); err != nil || again != first || progress.Len() != 0 {
		t.Errorf("a second time: %+v (%v), %q", again, err, &progress)
	}
}

// Even for its version a node writes into its data directory: that must not be the
// user's, and processes that look at the same time must not stand in each other's way.
func TestLookingAtNodeTouchesNothing(t *testing.T) {
	cache, err := DefaultCacheDir() // before HOME is another
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	t.Setenv("HOME", home)
	failed := make(chan error, 20)
	for range cap(failed) {
		go func() {
			_, err := Find(context.Background(), Options{CacheDir: cache})
			failed <- err
		}()
	}
	for range cap(failed) {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	entries, err := os.ReadDir(home)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		t.Errorf("%s was written", entry.Name())
	}
}

// Package gotool builds programs of others that are written in Go, for tests and
// measurements that use the real ones.
package gotool

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peerobserver/peerobserver/lab/lock"
)

// Program is a program at a version.
type Program struct {
	// Name is what it is called here.
	Name string
	// Package is its main package, and Version that of its module.
	Package, Version string
}

// Find returns the path of a program, in the user's cache directory. When it isn't there
// it is built by the go command on PATH, which fetches its modules: once, and up to some
// minutes.
func Find(ctx context.Context, p Program, progress io.Writer) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding a cache directory: %w", err)
	}
	cache = filepath.Join(cache, "peer-observer", "tools")
	built := filepath.Join(cache, p.Name+"-"+p.Version)
	if _, err := os.Stat(built); err == nil {
		return built, nil
	}
	unlock, err := lock.Take(ctx, filepath.Join(cache, p.Name+".lock"), func() {
		fmt.Fprintf(progress, "gotool: another process is building %s, waiting for it\n", p.Name)
	})
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(built); err == nil {
		return built, nil // another process was faster
	}
	dir, err := os.MkdirTemp(cache, "build-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	fmt.Fprintf(progress, "gotool: building %s %s, once\n", p.Name, p.Version)
	build := exec.CommandContext(ctx, "go", "install", p.Package+"@"+p.Version)
	build.Dir = dir
	// Flags for this module, such as -mod, don't fit that one.
	build.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=", "GOWORK=off")
	if output, err := build.CombinedOutput(); err != nil {
		text := strings.TrimSpace(string(output))
		return "", fmt.Errorf("building %s %s: %w: %s", p.Name, p.Version, err, text[max(0, len(text)-2000):])
	}
	return built, os.Rename(filepath.Join(dir, path.Base(p.Package)), built)
}

// ForTest is Find for tests; failing to build the program fails the test.
func ForTest(t testing.TB, p Program) string {
	t.Helper()
	// A test that ends meanwhile doesn't throw away what others wait for.
	built, err := Find(context.WithoutCancel(t.Context()), p, os.Stderr)
	if err != nil {
		t.Fatalf("this test needs %s: %v", p.Name, err)
	}
	return built
}

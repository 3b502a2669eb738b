// Package servers gives tests real servers of other people: Prometheus and
// Alertmanager, with promtool and amtool, in the oldest version that this project
// supports and in a present one. The programs are unpacked once from Debian's packages
// into the user's cache directory; the servers listen on loopback and end with the test.
package servers

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/peerobserver/peerobserver/lab/debian"
	"github.com/peerobserver/peerobserver/lab/lock"
)

// Suite is the Debian suite whose packages are used.
type Suite string

// The suites.
const (
	// Oldest has Prometheus 2.42 and Alertmanager 0.25, the oldest versions that rule
	// files and metrics must work with.
	Oldest Suite = "bookworm"
	// Newest has whatever versions Debian has now; Prometheus 3.5 or later.
	Newest Suite = "sid"
)

// Suites are all of them.
func Suites() []Suite { return []Suite{Oldest, Newest} }

// Binaries are the programs of one suite, as absolute paths.
type Binaries struct {
	Suite        Suite
	Prometheus   string
	Promtool     string
	Alertmanager string
	Amtool       string
	// root is where the packages are unpacked.
	root string
}

// Find returns the programs of a suite, fetched if they aren't in the cache. Processes
// that need them at the same time wait for one another.
func Find(ctx context.Context, suite Suite, progress io.Writer) (Binaries, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return Binaries{}, fmt.Errorf("finding a cache directory: %w", err)
	}
	return find(ctx, filepath.Join(cache, "peer-observer", "servers"), suite, progress)
}

func find(ctx context.Context, cache string, suite Suite, progress io.Writer) (Binaries, error) {
	dir := filepath.Join(cache, string(suite))
	if root := debian.Installed(dir); root != "" {
		return binaries(suite, root), nil
	}
	unlock, err := lock.Take(ctx, filepath.Join(cache, "lock"), func() {
		fmt.Fprintln(progress, "servers: another process is fetching them, waiting for it")
	})
	if err != nil {
		return Binaries{}, err
	}
	defer unlock()
	if root := debian.Installed(dir); root != "" {
		return binaries(suite, root), nil // another process was faster
	}
	set := debian.Set{
		Suite:    string(suite),
		Packages: []string{"prometheus", "prometheus-alertmanager"},
		// A package of its own in newer suites.
		Dependencies: regexp.MustCompile(`^promtool$`),
	}
	root, err := debian.Unpack(ctx, set, dir, progress)
	if err != nil {
		return Binaries{}, fmt.Errorf("fetching Prometheus of Debian %s: %w", suite, err)
	}
	b := binaries(suite, root)
	if err := b.relocate(); err != nil {
		return Binaries{}, err
	}
	for _, path := range []string{b.Prometheus, b.Promtool, b.Alertmanager, b.Amtool} {
		if output, err := exec.CommandContext(ctx, path, "--version").CombinedOutput(); err != nil {
			return Binaries{}, fmt.Errorf("%s doesn't run here: %w: %s", path, err, output)
		}
	}
	if err := debian.Finish(dir, "etc", "var", "usr/lib"); err != nil {
		return Binaries{}, err
	}
	return b, nil
}

func binaries(suite Suite, root string) Binaries {
	if absolute, err := filepath.Abs(root); err == nil {
		root = absolute
	}
	bin := filepath.Join(root, "usr", "bin")
	return Binaries{
		Suite:        suite,
		Prometheus:   filepath.Join(bin, "prometheus"),
		Promtool:     filepath.Join(bin, "promtool"),
		Alertmanager: filepath.Join(bin, "prometheus-alertmanager"),
		Amtool:       filepath.Join(bin, "amtool"),
		root:         root,
	}
}

// relocate makes Alertmanager find its templates. Debian's build opens them at a fixed
// absolute path, where nothing is installed here; a relative path of the same length
// leads to them from the root of the unpacked packages.
func (b Binaries) relocate() error {
	program, err := os.ReadFile(b.Alertmanager)
	if err != nil {
		return err
	}
	const templates = "/usr/share/prometheus/alertmanager"
	if !bytes.Contains(program, []byte(templates)) {
		// A build that has its templates inside.
		return nil
	}
	program = bytes.ReplaceAll(program, []byte(templates), []byte(templates[1:]+"/"))
	return os.WriteFile(b.Alertmanager, program, 0o755)
}

// ForTest is Find for tests; failing to get the programs fails the test.
func ForTest(t testing.TB, suite Suite) Binaries {
	t.Helper()
	b, err := Find(t.Context(), suite, os.Stderr)
	if err != nil {
		t.Fatalf("this test needs a real Prometheus: %v", err)
	}
	return b
}

// CheckMetrics gives a text exposition to `promtool check metrics`, which checks that it
// parses and lints it, and returns what promtool prints. An error says that promtool
// found something.
func (b Binaries) CheckMetrics(ctx context.Context, exposition string) (string, error) {
	return run(ctx, b.Promtool, strings.NewReader(exposition), "check", "metrics")
}

// CheckRules checks rule files.
func (b Binaries) CheckRules(ctx context.Context, files ...string) (string, error) {
	return run(ctx, b.Promtool, nil, append([]string{"check", "rules"}, files...)...)
}

// TestRules runs files of unit tests for rules.
func (b Binaries) TestRules(ctx context.Context, files ...string) (string, error) {
	return run(ctx, b.Promtool, nil, append([]string{"test", "rules"}, files...)...)
}

// CheckAlertmanagerConfig checks configuration files of Alertmanager.
func (b Binaries) CheckAlertmanagerConfig(ctx context.Context, files ...string) (string, error) {
	return run(ctx, b.Amtool, nil, append([]string{"check-config"}, files...)...)
}

func run(ctx context.Context, program string, input io.Reader, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = input
	output, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", filepath.Base(program), strings.Join(args, " "), err, bytes.TrimSpace(output))
	}
	return string(output), err
}

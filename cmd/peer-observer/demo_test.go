package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/lab/bitcoind"
	"github.com/peerobserver/peerobserver/lab/machine"
	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// demo is a run of `lab demo`, which is what `make run` does.
type demo struct {
	*observer
	// temporary is the only directory it may make files in, beside its cache.
	temporary string
}

// startDemo starts the demonstration with a cache, and with what is on PATH. Nodes of
// others on this machine are kept out of sight by a data directory that nobody uses.
func startDemo(t *testing.T, cache, path string) *demo {
	t.Helper()
	d := &demo{observer: &observer{web: freeAddress(t), nats: freeAddress(t)}, temporary: t.TempDir()}
	d.program = start(t, func(cmd *exec.Cmd) {
		cmd.Env = slices.DeleteFunc(cmd.Env, func(v string) bool {
			name, _, _ := strings.Cut(v, "=")
			return slices.Contains([]string{"PATH", "TMPDIR", "XDG_CACHE_HOME", bitcoind.EnvBinary}, name)
		})
		cmd.Env = append(cmd.Env, "PATH="+path, "TMPDIR="+d.temporary, "XDG_CACHE_HOME="+cache,
			// The official release isn't fetched; apt reads only the variable in lower case.
			"HTTPS_PROXY=http://127.0.0.1:1")
	}, "lab", "demo", "--bitcoin.datadir="+t.TempDir(), "--web.listen-address="+d.web, "--nats.listen-address="+d.nats)
	return d
}

// printed waits until the demonstration has printed all of the patterns, and gives their
// first groups.
func (d *demo) printed(patterns ...string) []string {
	d.t.Helper()
	var groups []string
	// Fetching a node takes its time.
	deadline := time.Now().Add(5 * time.Minute)
	for {
		text := d.stdout.String()
		groups = groups[:0]
		missing := ""
		for _, pattern := range patterns {
			match := regexp.MustCompile(pattern).FindStringSubmatch(text)
			if match == nil {
				missing = pattern
				break
			}
			groups = append(groups, match[len(match)-1])
		}
		if missing == "" {
			return groups
		}
		if time.Now().After(deadline) || !d.running() {
			d.t.Fatalf("the demonstration doesn't print %s", missing)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// nodes are the processes of bitcoind that the demonstration has started.
func (d *demo) nodes() []int {
	d.t.Helper()
	var pids []int
	entries, err := os.ReadDir("/proc")
	if err != nil {
		d.t.Fatal(err)
	}
	for _, entry := range entries {
		arguments, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		if err != nil || !strings.Contains(string(arguments), "-datadir="+d.temporary) {
			continue // no process, one that has ended, or another one
		}
		pid := 0
		if _, err := fmt.Sscan(entry.Name(), &pid); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// works follows what the demonstration has printed, as a user would.
func (d *demo) works() {
	d.t.Helper()
	urls := d.printed(`(?m)^metrics +(http://\S+)$`, `(?m)^health +(http://\S+)$`, `(?m)^events +nats://(\S+) `)
	eventually(d.t, "the demonstration to be ready", func() error {
		code, body, err := get(urls[1])
		if err != nil || code != http.StatusOK {
			return fmt.Errorf("%s: %d, %s (%w)", urls[1], code, body, err)
		}
		return nil
	})
	if code, body, err := get(urls[0]); err != nil || code != http.StatusOK || !strings.Contains(body, "\npeerobserver_node_up 1\n") {
		d.t.Errorf("%s: %d (%v), %d bytes", urls[0], code, err, len(body))
	}
	subscribeNow(d.t, urls[2]).next("an RPC answer", func(e *eventpb.Event) bool { return e.GetRpcExtractor() != nil })
	if n := d.nodes(); len(n) != 2 {
		d.t.Errorf("%d nodes run, want a pair", len(n))
	}
}

// interrupt presses Ctrl-C and checks that nothing is left.
func (d *demo) interrupt() {
	d.t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGINT); err != nil {
		d.t.Fatal(err)
	}
	if code := d.wait(); code != exitOK {
		d.t.Errorf("exit code %d, want 0", code)
	}
	if n := d.nodes(); len(n) != 0 {
		d.t.Errorf("nodes %v outlive the demonstration", n)
	}
	entries, err := os.ReadDir(d.temporary)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, entry := range entries {
		d.t.Errorf("the demonstration leaves %s", entry.Name())
	}
}

// pathWithout is $PATH without the program of that name.
func pathWithout(t *testing.T, name string) string {
	t.Helper()
	var dirs []string
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if _, err := os.Stat(filepath.Join(dir, name)); errors.Is(err, fs.ErrNotExist) {
			dirs = append(dirs, dir)
			continue
		}
		// All else of that directory stays.
		replacement := t.TempDir()
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, entry := range entries {
			if entry.Name() == name {
				continue
			}
			if err := os.Symlink(filepath.Join(dir, entry.Name()), filepath.Join(replacement, entry.Name())); err != nil {
				t.Fatal(err)
			}
		}
		dirs = append(dirs, replacement)
	}
	return strings.Join(dirs, string(filepath.ListSeparator))
}

// With an empty cache, no node and no release to be had, the demonstration fetches
// Debian's Bitcoin Knots, says in one line what that lacks, and shows all else.
func TestDemoWithNothingThere(t *testing.T) {
	if _, err := exec.LookPath("apt-get"); err != nil {
		machine.Lacks(t, "a Debian system")
	}
	t.Parallel()
	d := startDemo(t, t.TempDir(), pathWithout(t, "bitcoind"))
	d.printed("no Bitcoin node runs here", `using \S+/bitcoind \(v29\S*, knots, `)
	d.works()
	d.sources(sourceRPC, sourceP2P, sourceLog)
	if lines := linesWith(d.stdout.String(), "no tracepoints"); len(lines) != 1 || !strings.Contains(lines[0], "RPC, P2P link and log are observed") {
		t.Errorf("%d lines speak of tracepoints, want one that says what is observed: %q", len(lines), lines)
	}
	d.interrupt()
}

// With a bitcoind on PATH that has tracepoints, all four sources show the traffic of the
// pair, and Ctrl-C leaves nothing.
func TestDemoWithTracepoints(t *testing.T) {
	t.Parallel()
	d := startDemo(t, t.TempDir(), pathToBitcoind(t))
	d.works()
	d.sources(sourceEBPF, sourceRPC, sourceP2P, sourceLog)
	eventually(t, "transactions on their way", func() error {
		if n, err := d.sum("peerobserver_p2p_messages_total", `message="tx"`); err != nil || n < 1 {
			return fmt.Errorf("%v messages (%w)", n, err)
		}
		return nil
	})
	if strings.Contains(d.stdout.String(), "no tracepoints") {
		t.Errorf("a node with tracepoints is said to have none: %s", d.stdout)
	}
	d.interrupt()
}

// A demonstration that is killed takes its nodes with it.
func TestKilledDemoLeavesNoNode(t *testing.T) {
	t.Parallel()
	d := startDemo(t, t.TempDir(), pathToBitcoind(t))
	d.works()
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-d.done
	eventually(t, "the nodes to end", func() error {
		if n := d.nodes(); len(n) != 0 {
			return fmt.Errorf("nodes %v outlive the demonstration", n)
		}
		return nil
	})
}

// pathToBitcoind is $PATH with a bitcoind in front, one with tracepoints.
func pathToBitcoind(t *testing.T) string {
	t.Helper()
	binary := regtest.Binary(t)
	if !binary.HasTracepoints {
		machine.Lacks(t, fmt.Sprintf("a bitcoind with tracepoints (set $%s); here is %s", bitcoind.EnvBinary, binary))
	}
	dir := t.TempDir()
	if err := os.Symlink(binary.Path, filepath.Join(dir, "bitcoind")); err != nil {
		t.Fatal(err)
	}
	return dir + string(filepath.ListSeparator) + os.Getenv("PATH")
}

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/lab/machine"
	"github.com/peerobserver/peerobserver/lab/regtest"
)

// built is the program as users get it: without the race detector, which needs several
// times the memory and time. It is built once for all tests.
var built = sync.OnceValues(func() (string, error) {
	// Beside the test's own program, in a directory that go test removes.
	own, err := os.Executable()
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(own), "peer-observer-built")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the program: %w\n%s", err, output)
	}
	return path, nil
})

// asBuilt lets start run the program as users get it.
func asBuilt(t *testing.T) func(*exec.Cmd) {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return func(cmd *exec.Cmd) { cmd.Path = path }
}

// ownBinary copies a program, so that tracepoints of other tests' nodes, which are hooked
// by file, are not hit in it.
func ownBinary(t *testing.T, path, name string) string {
	t.Helper()
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(own, program, 0o755); err != nil {
		t.Fatal(err)
	}
	return own
}

const (
	// idleSettled is when everything that is made once has been made.
	idleSettled = 2 * time.Minute
	idleEnd     = 10 * time.Minute
	// idleInterval is the time between two measurements, idleWindow their number in two
	// minutes, in which every call of the node's RPC is made.
	idleInterval = 10 * time.Second
	idleWindow   = 12
	// idleMaxCPU is the share of one core, idleMaxMemory the resident set in bytes.
	idleMaxCPU    = 0.02
	idleMaxMemory = 80 << 20
)

// Ten minutes beside an idle pair of nodes: the program needs next to nothing, and nothing
// of it grows. The clock starts before the other tests have ended.
func TestIdleAgentStaysSmall(t *testing.T) {
	if testing.Short() {
		machine.Lacks(t, "ten minutes, which -short does not give")
	}
	binary := regtest.Binary(t)
	nodes := regtest.NetworkForTest(t, 2, regtest.Config{Binary: ownBinary(t, binary.Path, "bitcoind"), V2: true})
	args := []string{}
	if !binary.HasTracepoints {
		fmt.Fprintf(os.Stderr, "%s runs without eBPF: %s\n", t.Name(), binary)
		args = append(args, "--no-extractor.ebpf")
	}
	o := observe(t, nodes[0], asBuilt(t), args...)
	o.ready()
	began := time.Now()
	t.Parallel()

	var usages []usage
	tick := time.NewTicker(idleInterval)
	defer tick.Stop()
	for age := time.Since(began); ; age = time.Since(began) {
		if age >= idleSettled {
			u, err := o.usage()
			if err != nil {
				t.Fatal(err)
			}
			u.age = age
			usages = append(usages, u)
		}
		// At least two windows, however late the other tests ended.
		if age >= idleEnd && len(usages) >= 2*idleWindow {
			break
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-tick.C:
		}
	}
	first, last := usages[0], usages[len(usages)-1]
	share := (last.cpu - first.cpu).Seconds() / (last.age - first.age).Seconds()
	t.Logf("from %v to %v: %.2f %% of a core, %d goroutines and %d files at the end", first.age.Round(time.Second), last.age.Round(time.Second), 100*share, last.goroutines, last.files)
	t.Logf("memory: %v", last.memory)
	if share > idleMaxCPU {
		t.Errorf("%.2f %% of a core, want at most %.0f %%", 100*share, 100*idleMaxCPU)
	}
	for _, u := range usages {
		if u.memory.resident > idleMaxMemory {
			t.Errorf("resident set after %v: %v, want at most %d MiB", u.age, u.memory, idleMaxMemory>>20)
			break
		}
	}
	// A call or a scrape under way needs a few, and so do the connections that it leaves
	// open for a while: the least of the last two minutes is compared with the most of
	// the first two.
	most, least := usages[0], usages[len(usages)-1]
	for i := range idleWindow {
		u, v := usages[i], usages[len(usages)-1-i]
		most.goroutines, most.files = max(most.goroutines, u.goroutines), max(most.files, u.files)
		least.goroutines, least.files = min(least.goroutines, v.goroutines), min(least.files, v.files)
	}
	if least.goroutines > most.goroutines {
		t.Errorf("goroutines grow from %d to %d", most.goroutines, least.goroutines)
	}
	if least.files > most.files {
		t.Errorf("open files grow from %d to %d", most.files, least.files)
	}
}

// usage is what a process has used.
type usage struct {
	age        time.Duration
	cpu        time.Duration
	memory     memory
	goroutines int
	files      int
}

// usage measures the program from outside; only it knows its goroutines.
func (o *observer) usage() (usage, error) {
	proc := fmt.Sprintf("/proc/%d/", o.cmd.Process.Pid)
	files, err := os.ReadDir(proc + "fd")
	if err != nil {
		return usage{}, err
	}
	goroutines, err := o.sample("go_goroutines")
	if err != nil {
		return usage{}, err
	}
	u := usage{files: len(files), goroutines: int(goroutines)}
	if u.memory, err = memoryOf(o.cmd.Process.Pid); err != nil {
		return usage{}, err
	}
	u.cpu, err = cpuTime(o.cmd.Process.Pid)
	return u, err
}

// cpuTime is the time that a process has spent in user and kernel mode.
func cpuTime(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name is in parentheses and may hold anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, errors.New("/proc/PID/stat is too short")
	}
	ticks := int64(0)
	for _, field := range fields[11:13] { // utime, stime
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	const ticksPerSecond = 100 // USER_HZ, on every architecture of Linux that matters
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}

// memory is what of a process is resident, in bytes.
type memory struct {
	resident, anonymous, file, shared int
}

func (m memory) String() string {
	const MiB = 1 << 20
	return fmt.Sprintf("%.1f MiB resident (anonymous %.1f, files %.1f, shared %.1f)",
		float64(m.resident)/MiB, float64(m.anonymous)/MiB, float64(m.file)/MiB, float64(m.shared)/MiB)
}

func memoryOf(pid int) (memory, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return memory{}, err
	}
	var m memory
	wanted := map[string]*int{"VmRSS": &m.resident, "RssAnon": &m.anonymous, "RssFile": &m.file, "RssShmem": &m.shared}
	found := 0
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		if target := wanted[name]; target != nil {
			if _, err := fmt.Sscanf(value, "%d kB", target); err != nil {
				return memory{}, err
			}
			*target <<= 10
			found++
		}
	}
	if found != len(wanted) {
		return memory{}, fmt.Errorf("/proc/%d/status lacks the memory", pid)
	}
	return m, nil
}

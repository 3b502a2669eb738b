package ebpf

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/bpf"
	"github.com/peerobserver/peerobserver/bpf/emitter"
	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// blocksOf are the heights of the blocks that a process connected.
func (o *observation) blocksOf(pid int) map[int32]bool {
	heights := map[int32]bool{}
	for _, e := range o.all() {
		if x := e.GetEbpfExtractor(); x.GetHit().GetPid() == uint32(pid) && x.GetValidation().GetBlockConnected() != nil {
			heights[x.GetValidation().GetBlockConnected().GetHeight()] = true
		}
	}
	return heights
}

// Two nodes at once, each seen by itself, also while the program file is replaced and
// only one of them is restarted.
func TestTwoNodesAtOnce(t *testing.T) {
	original := regtest.WithTracepoints(t, regtest.Config{})
	path := copyFile(t, original.Binary(), filepath.Join(t.TempDir(), "bitcoind"))
	config := regtest.Config{Binary: path}
	a := regtest.ForTest(t, config)
	o, stop := observe(t, Config{
		Node: noNode, Binary: path, All: true,
		StartTime: func(pid int) int64 { return int64(pid) * 1000 },
	})
	o.waitUp(true)
	b := regtest.ForTest(t, config)
	want := map[int]map[int32]bool{}
	mine := func(what string, n *regtest.Node) {
		t.Helper()
		if _, err := n.Mine(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		height := call[int32](t, n, "getblockcount")
		if want[n.PID()] == nil {
			want[n.PID()] = map[int32]bool{}
		}
		want[n.PID()][height] = true
		eventually(t, "a block "+what, func() error {
			if !o.blocksOf(n.PID())[height] {
				return fmt.Errorf("have %v of process %d, want %d", o.blocksOf(n.PID()), n.PID(), height)
			}
			return nil
		})
	}
	mine("of the first node", a)
	mine("of the second node", b)
	replace(t, path)
	eventually(t, "the new file to be attached", func() error {
		if n := o.extractor.Replacements(); n != 1 {
			return fmt.Errorf("%d replacements", n)
		}
		return nil
	})
	mine("of the first node, which runs the old file", a)
	if err := b.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	mine("of the second node, which runs the new file", b)
	mine("of the first node, which still runs the old file", a)
	stop()
	o.conserved()
	for pid, heights := range want {
		for height := range heights {
			if !o.blocksOf(pid)[height] {
				t.Errorf("block %d of process %d not seen", height, pid)
			}
		}
	}
	for _, e := range o.all() {
		pid := e.GetEbpfExtractor().GetHit().GetPid()
		if e.GetNodeStartTimeNs() != uint64(pid)*1000 {
			t.Fatalf("event of process %d with start %d", pid, e.GetNodeStartTimeNs())
		}
	}
}

// However often the program is upgraded, only the last few files stay attached.
func TestOldFilesAreGivenUp(t *testing.T) {
	_, path := startEmitter(t)
	o, stop := observe(t, Config{Node: noNode, Binary: path, All: true, ReconcileInterval: 20 * time.Millisecond})
	o.waitUp(true)
	first, err := emitter.Start(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = first.Kill() })
	attachedTo := func() int {
		t.Helper()
		n, err := first.Semaphore("net:inbound_message")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for i := range uint64(maxOldFiles + 1) {
		if attachedTo() == 0 {
			t.Fatalf("the first file is no longer attached after %d upgrades", i)
		}
		replace(t, path)
		eventually(t, "the new file to be attached", func() error {
			if n := o.extractor.Replacements(); n != i+1 {
				return fmt.Errorf("%d replacements", n)
			}
			return nil
		})
	}
	eventually(t, "the first file to be given up", func() error {
		if n := attachedTo(); n != 0 {
			return fmt.Errorf("semaphore %d", n)
		}
		return nil
	})
	stop()
}

// A process that isn't the observed node is asked about once, again after a second, and
// from when it belongs its events are there; before, they are in no count.
func TestBelongs(t *testing.T) {
	p, path := startEmitter(t)
	other, err := emitter.Start(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Kill() })
	var belongs atomic.Bool
	var asked atomic.Int64
	o, stop := observe(t, Config{
		Node: func() Node { return Node{PID: other.PID(), StartTime: 7, Executable: path} },
		Belongs: func(_ context.Context, pid int) bool {
			if pid != p.PID() {
				t.Errorf("asked about process %d", pid)
			}
			asked.Add(1)
			return belongs.Load()
		},
		StartTime: func(int) int64 { return 9 },
	})
	o.waitUp(true)
	read := func() uint64 {
		return o.extractor.ignored[bpf.NetInboundMessage].Load()
	}
	fire(t, p, "net:inbound_message count=1000 size=8")
	eventually(t, "the foreign records to be read", func() error {
		if n := read(); n != 1000 {
			return fmt.Errorf("%d read", n)
		}
		return nil
	})
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times about one process", n)
	}
	fire(t, other, "net:inbound_message count=10 size=8")
	o.waitFor(10)

	belongs.Store(true)
	eventually(t, "the process to be asked about again", func() error {
		fire(t, p, "net:inbound_message size=8")
		if asked.Load() < 2 {
			return errors.New("not asked")
		}
		return nil
	})
	fire(t, p, "net:inbound_message count=100 size=8")
	stop()
	o.conserved()
	starts := map[uint32]map[uint64]int{}
	for _, e := range o.all() {
		pid := e.GetEbpfExtractor().GetHit().GetPid()
		if starts[pid] == nil {
			starts[pid] = map[uint64]int{}
		}
		starts[pid][e.GetNodeStartTimeNs()]++
	}
	mine, theirs := starts[uint32(p.PID())], starts[uint32(other.PID())]
	if len(starts) != 2 || len(mine) != 1 || mine[9] < 101 || len(theirs) != 1 || theirs[7] != 10 {
		t.Errorf("events by process and start: %v", starts)
	}
	if n := asked.Load(); n != 2 {
		t.Errorf("asked %d times, want once before and once after it belonged", n)
	}
}

// What can't be attached to is said, and the next program file may be better.
func TestProgramFileWithoutTracepoints(t *testing.T) {
	path := copyFile(t, "/bin/true", filepath.Join(t.TempDir(), "node"))
	o, stop := observe(t, Config{Node: noNode, Binary: path, All: true, ReconcileInterval: 20 * time.Millisecond})
	detail := func() (bool, string) { return o.ledger.Source(event.SourceEBPF).State() }
	eventually(t, "the problem to be said", func() error {
		if up, text := detail(); up || !strings.Contains(text, bpf.ErrNoTracepoints.Error()) {
			return fmt.Errorf("up = %v: %s", up, text)
		}
		return nil
	})
	p, better := startEmitter(t)
	if err := os.Rename(copyFile(t, better, path+".new"), path); err != nil {
		t.Fatal(err)
	}
	o.waitUp(true)
	// A running node stays seen when the file for its next start is of no use.
	worse := copyFile(t, "/bin/true", filepath.Join(t.TempDir(), "node"))
	o2, stop2 := observe(t, Config{
		Node:   func() Node { return Node{PID: p.PID(), Executable: better} },
		Binary: worse, ReconcileInterval: 20 * time.Millisecond,
	})
	o2.waitUp(true)
	fire(t, p, "net:inbound_message size=8")
	o2.waitFor(1)
	stop2()
	stop()
}

// childEnv makes the test's program the child of an unprivileged test, which observes
// the program that it names; childPIDEnv is the process that runs it.
const (
	childEnv    = "PEEROBSERVER_TEST_UNPRIVILEGED"
	childPIDEnv = "PEEROBSERVER_TEST_PID"
)

// runUnprivileged runs an extractor next to another source and prints the state of both
// until standard input ends.
func runUnprivileged(binary string) int {
	pid, err := strconv.Atoi(os.Getenv(childPIDEnv))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	node := Node{PID: pid, Executable: binary}
	ledger := event.NewLedger()
	stream := event.NewStream()
	origin := event.Origin{NodeName: "test", BootID: 1}
	x := New(Config{Node: func() Node { return node }}, event.NewEmitter(event.SourceEBPF, origin, stream, ledger), ledger,
		slog.New(slog.NewTextHandler(os.Stderr, nil)))
	other := event.NewEmitter(event.SourceLog, origin, stream, ledger)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	account := ledger.Source(event.SourceEBPF)
	for {
		if up, detail := account.State(); up || detail != "" && !strings.HasPrefix(detail, "waiting") {
			other.Emit(&eventpb.Event{PeerObserverEvent: &eventpb.Event_LogExtractor{LogExtractor: &eventpb.LogExtractor{}}}, event.Times{})
			fmt.Printf("up=%v %s\n", up, strings.ReplaceAll(detail, "\n", " "))
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	cancel()
	err = <-done
	status := ledger.Status()
	for _, s := range status.GetSources() {
		fmt.Printf("%s events=%d failures=%d\n", s.GetSource(), s.GetEvents(), s.GetFailures())
	}
	fmt.Printf("run: %v\n", err)
	return 0
}

// unprivileged starts the child as nobody, with some capabilities, beside an emitter of
// another user, and gives its first line and a function that ends it and gives the rest.
func unprivileged(t *testing.T, capabilities ...uintptr) (p *emitter.Process, path, first string, end func() []string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("this test gives its privileges up, so it has to be run as root")
	}
	// Nobody must be able to read both files.
	dir, err := os.MkdirTemp("", "peer-observer-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	built, err := emitter.Build(t.Context(), t.TempDir(), emitter.Dynamic)
	if err != nil {
		t.Fatal(err)
	}
	path = copyFile(t, built, filepath.Join(dir, "node"))
	if p, err = emitter.Start(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	const nobody = 65534
	child := exec.Command(copyFile(t, self, filepath.Join(dir, "child")))
	child.Env = append(os.Environ(), childEnv+"="+path, childPIDEnv+"="+strconv.Itoa(p.PID()))
	child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}, AmbientCaps: capabilities}
	child.Dir = dir
	child.Stderr = testWriter{t}
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = child.Wait() })
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the child said nothing")
	}
	return p, path, lines.Text(), func() (rest []string) {
		if err := in.Close(); err != nil {
			t.Error(err)
		}
		for lines.Scan() {
			rest = append(rest, lines.Text())
		}
		return rest
	}
}

// Without capabilities the source says what is missing and waits, so that it isn't
// started again and again, and everything else goes on.
func TestWithoutCapabilities(t *testing.T) {
	_, _, first, end := unprivileged(t)
	for _, part := range []string{"up=false ", "CAP_BPF", "CAP_PERFMON"} {
		if !strings.Contains(first, part) {
			t.Errorf("%q doesn't say %q", first, part)
		}
	}
	want := []string{"ebpf events=0 failures=1", "log events=1 failures=0", "run: <nil>"}
	if rest := end(); !slices.Equal(rest, want) {
		t.Errorf("at the end: %q, want %q", rest, want)
	}
}

// CAP_BPF and CAP_PERFMON are enough for a node of another user, although it can't be
// seen then which file it runs, also after that file was replaced.
func TestNodeOfAnotherUser(t *testing.T) {
	program, err := bpf.Load(bpf.Config{})
	if err != nil {
		t.Fatal(err)
	}
	link := program.Features().Link
	if err := program.Close(); err != nil {
		t.Fatal(err)
	}
	if link != bpf.UprobeMulti {
		t.Skip("NOT RUN: this kernel has no uprobe_multi links, for which alone these capabilities are enough")
	}
	p, path, first, end := unprivileged(t, uintptr(bpf.CapBPF), uintptr(bpf.CapPerfmon))
	if !strings.HasPrefix(first, "up=true ") {
		t.Fatalf("the child said %q", first)
	}
	fire(t, p, "net:inbound_message count=10 size=8")
	// When the second new file is attached, all is done that the first one led to.
	for range 2 {
		replace(t, path)
		next, err := emitter.Start(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = next.Kill() })
		if _, err := next.Do("wait net:inbound_message"); err != nil {
			t.Fatal(err)
		}
	}
	fire(t, p, "net:inbound_message count=10 size=8")
	want := []string{"ebpf events=20 failures=0", "log events=1 failures=0", "run: <nil>"}
	if rest := end(); !slices.Equal(rest, want) {
		t.Errorf("at the end: %q, want %q", rest, want)
	}
}

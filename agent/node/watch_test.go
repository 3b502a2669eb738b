package node

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"
)

// TestWatchWithoutHelpOfTheKernel watches a copy of /proc, where the end of a
// process shows only by looking.
func TestWatchWithoutHelpOfTheKernel(t *testing.T) {
	proc := newFakeProc(t)
	ctx, cancel := context.WithCancel(t.Context())
	changes := make(chan Change, 100)
	done := make(chan error, 1)
	go func() {
		done <- watch(ctx, Options{ProcRoot: proc.root}, 5*time.Millisecond, func(c Change) { changes <- c })
	}()
	next := func(kind ChangeKind) Change {
		t.Helper()
		select {
		case change := <-changes:
			if change.Kind != kind {
				t.Fatalf("change %q (%v), want %q", change.Kind, change.Err, kind)
			}
			return change
		case <-time.After(30 * time.Second):
			t.Fatalf("no change %q", kind)
		}
		panic("unreachable")
	}
	dir := t.TempDir()
	process := fakeProcess{pid: 50, comm: "bitcoind", exe: "/nowhere/bitcoind", cwd: "/", args: []string{"bitcoind", "-regtest", "-datadir=" + dir}}
	second := process
	second.pid, second.args = 51, []string{"bitcoind", "-signet", "-datadir=" + dir}

	if change := next(NotFound); !errors.Is(change.Err, ErrNotFound) {
		t.Fatalf("error %v", change.Err)
	}
	staged := newFakeProc(t, process) // so that it appears all at once
	moveProcess(t, staged, proc, 50)
	if change := next(Appeared); change.Node.PID != 50 {
		t.Fatalf("appeared %v", change.Node)
	}
	writeFile(t, filepath.Join(dir, "regtest", ".cookie"), "a:b")
	next(CookieChanged)

	// The same process id for another process.
	proc.remove(50)
	if change := next(Vanished); change.Previous.PID != 50 {
		t.Fatalf("vanished %v", change.Previous)
	}
	next(NotFound)
	process.ticks = 9999
	staged = newFakeProc(t, process, second)
	moveProcess(t, staged, proc, 51)
	if change := next(Appeared); change.Node.PID != 51 || change.Previous.PID != 50 {
		t.Fatalf("appeared %v after %v", change.Node, change.Previous)
	}
	moveProcess(t, staged, proc, 50) // a second node doesn't disturb
	proc.remove(51)
	next(Vanished)
	if change := next(Appeared); change.Node.PID != 50 || change.Node.StartTicks != 9999 {
		t.Fatalf("appeared %v", change.Node)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("watch ends with %v", err)
	}
}

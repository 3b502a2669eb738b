package node_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/peerobserver/peerobserver/agent/node"
	"github.com/peerobserver/peerobserver/lab/machine"
	"github.com/peerobserver/peerobserver/lab/regtest"
)

// TestNodeInAContainer runs a node whose files and network are not ours: the
// directory that it calls its data directory is another one here.
func TestNodeInAContainer(t *testing.T) {
	if os.Geteuid() != 0 {
		machine.Lacks(t, "root, to make namespaces")
	}
	dir := t.TempDir()
	inside := "/mnt"
	// The network has no address, so the node neither listens nor serves RPC.
	// $0 is the directory, $1 the program, which may lie below it.
	shell := exec.Command("sh", "-c", `mount --bind "$0" `+inside+` && exec "$1" -regtest -datadir=`+inside+
		` -server=0 -listen=0 -connect=0 -printtoconsole=0 -rpcport=1234`, dir, regtest.Binary(t).Path)
	shell.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
		// Without this the mount would show outside too.
		Unshareflags: syscall.CLONE_NEWNS,
	}
	output := new(strings.Builder)
	shell.Stdout, shell.Stderr = output, output
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = shell.Process.Signal(syscall.SIGTERM)
		_ = shell.Wait()
	})
	var n *node.Node
	err := regtest.Eventually(t.Context(), func() error {
		var err error
		if n, err = node.Find(t.Context(), node.Options{PID: shell.Process.Pid}); err != nil {
			return fmt.Errorf("%w %s", err, output)
		}
		if n.LogFile == "" {
			return fmt.Errorf("no log file: %+v", n)
		}
		_, err = os.Stat(n.LogFile)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	root := fmt.Sprintf("/proc/%d/root", shell.Process.Pid)
	if n.DataDir != root+inside || n.LogFile != root+inside+"/regtest/debug.log" || n.ExecutableState != node.ExecutableSame {
		t.Errorf("found %+v", n)
	}
	ours, err := os.Stat(filepath.Join(dir, "regtest", "debug.log"))
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := os.Stat(n.LogFile)
	if err != nil || !os.SameFile(ours, theirs) {
		t.Errorf("the log found is not the node's (%v)", err)
	}
	if text := fmt.Sprint(n.Missing); !strings.Contains(text, "another network namespace") || !strings.Contains(text, "--rpc.address") {
		t.Errorf("missing %s, want the RPC address", text)
	}
}

// TestWatchLeavesNothingBehind counts goroutines and files after many restarts
// of Watch and of the node.
func TestWatchLeavesNothingBehind(t *testing.T) {
	running := regtest.ForTest(t, regtest.Config{})
	before := goleak.IgnoreCurrent()
	files := openFiles(t)
	for range 5 {
		t.Run("watch", func(t *testing.T) {
			seen := watch(t, node.Options{Datadir: running.DataDir()})
			seen.next(node.Appeared)
			running.Kill()
			seen.next(node.Vanished)
			if err := running.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			seen.next(node.Appeared, node.NotFound, node.CookieChanged)
		})
	}
	running.Kill() // its client's connections and its goroutine
	goleak.VerifyNone(t, before)
	// The killed node's process had files here too; there can only be fewer.
	runtime.GC()
	if now := openFiles(t); now > files {
		t.Errorf("%d files are open, %d were before", now, files)
	}
	if err := running.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

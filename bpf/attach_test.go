package bpf_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/peerobserver/peerobserver/bpf"
	"github.com/peerobserver/peerobserver/bpf/emitter"
)

// TestRestart: the probes belong to the file, so the next process of it is seen
// from its first hit on.
func TestRestart(t *testing.T) {
	path := buildEmitter(t)
	r := newRig(t, path, bpf.Config{})
	var rec bpf.Record
	for i := range int64(3) {
		p := startEmitter(t, path)
		fire(t, p, "mempool:added peer=%d", i)
		next(t, r, &rec)
		if int(rec.PID) != p.PID() || rec.Int(2) != i {
			t.Errorf("process %d: record of pid %d, fee %d", p.PID(), rec.PID, rec.Int(2))
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestProcesses: two processes of one file are told apart, and either can be left
// out.
func TestProcesses(t *testing.T) {
	path := buildEmitter(t)
	r := newRig(t, path, bpf.Config{})
	a, b := startEmitter(t, path), startEmitter(t, path)
	var rec bpf.Record
	for _, p := range []*emitter.Process{a, b, a} {
		fire(t, p, "net:outbound_message")
		next(t, r, &rec)
		if int(rec.PID) != p.PID() {
			t.Errorf("record of %d, fired by %d", rec.PID, p.PID())
		}
	}
	for _, only := range []*emitter.Process{a, b} {
		if err := r.Program.SetProcesses(only.PID()); err != nil {
			t.Fatal(err)
		}
		before := counts(t, r.Program, bpf.NetOutboundMessage)
		fire(t, a, "net:outbound_message")
		fire(t, b, "net:outbound_message")
		next(t, r, &rec)
		if int(rec.PID) != only.PID() {
			t.Errorf("record of %d, want only %d", rec.PID, only.PID())
		}
		if err := r.Empty(); err != nil {
			t.Error(err)
		}
		after := counts(t, r.Program, bpf.NetOutboundMessage)
		if after.Foreign-before.Foreign != 1 || after.Hits-before.Hits != 1 {
			t.Errorf("%d foreign, %d hits", after.Foreign-before.Foreign, after.Hits-before.Hits)
		}
	}
	if err := r.Program.SetProcesses(); err != nil {
		t.Fatal(err)
	}
	fire(t, a, "net:outbound_message")
	next(t, r, &rec)
	if int(rec.PID) != a.PID() {
		t.Errorf("record of %d after the filter was lifted", rec.PID)
	}
}

// TestReplacedBinary: another file under the same path is not hooked until it is
// attached, and what the old one left in the ring comes first.
func TestReplacedBinary(t *testing.T) {
	path := buildEmitter(t)
	r := newRig(t, path, bpf.Config{})
	var rec bpf.Record
	fire(t, r.Emitter, "mempool:added peer=1")
	// As a package manager does: another inode renamed over the path.
	if msg, err := exec.Command("cp", path, path+".new").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, msg)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	id, err := bpf.FileIDOf(path)
	if err != nil {
		t.Fatal(err)
	}
	if id == r.Exe.ID {
		t.Fatal("the replaced file has the identity of the old one")
	}
	p := startEmitter(t, path)
	if res := fire(t, p, "mempool:added peer=2"); res.Fired != 0 {
		t.Errorf("the new file is hooked before it is attached")
	}
	exe, err := bpf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	att, err := r.Program.Attach(exe, bpf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if exe.ID != id || att.ID() != id {
		t.Errorf("attached %v, want %v", att.ID(), id)
	}
	fire(t, p, "mempool:added peer=3")
	fire(t, r.Emitter, "mempool:added peer=4") // the old process lives on
	if err := r.Attach.Close(); err != nil {
		t.Fatal(err)
	}
	if res := fire(t, r.Emitter, "mempool:added peer=5"); res.Fired != 0 {
		t.Errorf("the old file is hooked after its attachment was closed")
	}
	fire(t, p, "mempool:added peer=6")
	for _, want := range []int64{1, 3, 4, 6} {
		next(t, r, &rec)
		if rec.Int(2) != want {
			t.Errorf("record %d, want %d", rec.Int(2), want)
		}
	}
	if err := r.Empty(); err != nil {
		t.Error(err)
	}
}

// TestDeletedBinary attaches by /proc/PID/exe to a file that has no name any more.
func TestDeletedBinary(t *testing.T) {
	path := buildEmitter(t)
	p := startEmitter(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	exe, err := bpf.Open(fmt.Sprintf("/proc/%d/exe", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	prog, err := bpf.Load(bpf.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	if _, err := prog.Attach(exe, bpf.Options{}); err != nil {
		t.Fatal(err)
	}
	if res := fire(t, p, "mempool:added"); res.Fired != 1 {
		t.Errorf("%+v", res)
	}
}

// TestOptions: groups and single tracepoints, and detaching lowers semaphores.
func TestOptions(t *testing.T) {
	path := buildEmitter(t)
	exe, err := bpf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	prog, err := bpf.Load(bpf.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	p := startEmitter(t, path)
	for _, c := range []struct {
		name string
		o    bpf.Options
		on   string
	}{
		{"default", bpf.Options{}, "net: mempool: validation:"},
		{"one group", bpf.Options{Groups: []bpf.Group{bpf.GroupMempool}}, "mempool:"},
		{"single", bpf.Options{Groups: []bpf.Group{}, Enable: []bpf.ID{bpf.UTXOCacheFlush}}, "utxocache:flush"},
		{"all but", bpf.Options{Groups: []bpf.Group{bpf.GroupMempool}, Disable: []bpf.ID{bpf.MempoolAdded}},
			"mempool:removed mempool:replaced mempool:rejected"},
	} {
		t.Run(c.name, func(t *testing.T) {
			att, err := prog.Attach(exe, c.o)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range att.Probes() {
				want := bpf.Off
				for prefix := range strings.FieldsSeq(c.on) {
					if strings.HasPrefix(r.Tracepoint.String(), prefix) {
						want = bpf.Attached
					}
				}
				semaphore, err := p.Semaphore(r.Tracepoint.String())
				if err != nil {
					t.Fatal(err)
				}
				if r.State != want || (semaphore > 0) != (want == bpf.Attached) || (r.Sites > 0) != (want == bpf.Attached) {
					t.Errorf("%v: %v with %d sites, want %v; semaphore %d", r.Tracepoint, r.State, r.Sites, want, semaphore)
				}
			}
			if err := att.Close(); err != nil {
				t.Fatal(err)
			}
			for _, tp := range bpf.Tracepoints() {
				if n, err := p.Semaphore(tp.String()); n != 0 || err != nil {
					t.Errorf("%v: semaphore %d after detaching, %v", tp, n, err)
				}
			}
		})
	}
	if _, err := prog.Attach(exe, bpf.Options{Groups: []bpf.Group{}}); !errors.Is(err, bpf.ErrNothingToAttach) {
		t.Errorf("nothing wanted: %v", err)
	}
}

// TestUnfitTracepoints: a tracepoint with other arguments than the table has is
// refused, one that is not there is missing, and the others are attached.
func TestUnfitTracepoints(t *testing.T) {
	const code = `
#define _SDT_HAS_SEMAPHORES 1
#define SDT_USE_VARIADIC 1
#include <sys/sdt.h>
#define S(p, n) unsigned short p##_##n##_semaphore __attribute__((section(".probes")))
S(mempool, added); S(mempool, rejected); S(mempool, removed); S(net, misbehaving_connection);
int main(int argc, char **argv) {
	if (mempool_added_semaphore) STAP_PROBEV(mempool, added, argv, argc, (long)argc);
	if (mempool_rejected_semaphore) STAP_PROBEV(mempool, rejected, argv);
	if (mempool_removed_semaphore) STAP_PROBEV(mempool, removed, argv, argc, argc, (long)argc, (long)argc);
	if (net_misbehaving_connection_semaphore) STAP_PROBEV(net, misbehaving_connection, (long)argc, 2.5);
	return 0;
}`
	dir := t.TempDir()
	src, out := filepath.Join(dir, "p.c"), filepath.Join(dir, "p")
	if err := os.WriteFile(src, []byte(code), 0o644); err != nil {
		t.Fatal(err)
	}
	if msg, err := exec.Command("cc", "-O2", "-o", out, src).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, msg)
	}
	exe, err := bpf.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	prog, err := bpf.Load(bpf.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	att, err := prog.Attach(exe, bpf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range att.Probes() {
		var mismatch *bpf.MismatchError
		errors.As(r.Err, &mismatch)
		says := func(state bpf.ProbeState, text string) {
			t.Helper()
			if r.State != state || (mismatch != nil) != (state == bpf.Refused) || (mismatch != nil && !strings.Contains(r.Err.Error(), text)) {
				t.Errorf("%v: %v, %v", r.Tracepoint, r.State, r.Err)
			}
		}
		switch r.Tracepoint.ID {
		case bpf.MempoolAdded:
			says(bpf.Attached, "")
		case bpf.MempoolRejected:
			says(bpf.Refused, "it has 1 arguments, not 2")
		case bpf.MempoolRemoved:
			says(bpf.Refused, "argument 2 (reason, string) has 4 bytes")
		case bpf.NetMisbehavingConnection:
			says(bpf.Refused, `size "8f"`)
		default:
			if r.Tracepoint.Group != bpf.GroupUTXOCache {
				says(bpf.Missing, "")
			}
		}
	}
}

func TestOpenErrors(t *testing.T) {
	if _, err := bpf.Open("/bin/sh"); !errors.Is(err, bpf.ErrNoTracepoints) {
		t.Errorf("/bin/sh: %v", err)
	}
	if _, err := bpf.Open(t.TempDir()); err == nil {
		t.Error("a directory was opened")
	}
	if _, err := bpf.Open("/no/such/file"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such file: %v", err)
	}
}

// TestKilledTracer: after SIGKILL the kernel detaches, and the node is as before.
func TestKilledTracer(t *testing.T) {
	path := buildEmitter(t)
	p := startEmitter(t, path)
	for _, args := range [][]string{{path}, {"-perf", path}} {
		tr, line := startTracer(t, &syscall.SysProcAttr{}, buildTracer(t), args...)
		if !strings.HasPrefix(line, "attached") {
			t.Fatal(line)
		}
		if res := fire(t, p, "net:inbound_message count=10"); res.Fired != 10 {
			t.Fatalf("%+v", res)
		}
		tr.kill()
		eventually(t, "all semaphores at 0", func() bool {
			for _, tp := range bpf.Tracepoints() {
				if n, err := p.Semaphore(tp.String()); n != 0 || err != nil {
					return false
				}
			}
			return true
		})
		if res := fire(t, p, "net:inbound_message count=10"); res.Fired != 0 {
			t.Errorf("hooked after the tracer was killed: %+v", res)
		}
	}
}

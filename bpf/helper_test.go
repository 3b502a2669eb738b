package bpf_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/bpf"
	"github.com/peerobserver/peerobserver/bpf/emitter"
	"github.com/peerobserver/peerobserver/bpf/internal/check"
)

// buildEmitter compiles the emitter for one test.
func buildEmitter(t testing.TB) string {
	t.Helper()
	path, err := emitter.Build(t.Context(), publicDir(t), emitter.Dynamic)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// publicDir is a temporary directory that other users can read.
func publicDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != filepath.Clean(os.TempDir()) && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func startEmitter(t testing.TB, path string) *emitter.Process {
	t.Helper()
	p, err := emitter.Start(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	return p
}

func newRig(t testing.TB, path string, cfg bpf.Config) *check.Rig {
	t.Helper()
	r, err := check.NewRig(path, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func fire(t testing.TB, p *emitter.Process, format string, args ...any) emitter.Result {
	t.Helper()
	res, err := p.Fire(format, args...)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func next(t testing.TB, r *check.Rig, rec *bpf.Record) {
	t.Helper()
	if err := r.Next(rec); err != nil {
		t.Fatal(err)
	}
}

func counts(t testing.TB, p *bpf.Program, id bpf.ID) bpf.Counts {
	t.Helper()
	c, err := p.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return c.Tracepoints[id]
}

// eventually polls until the condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(check.Timeout); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", check.Timeout, what)
		}
	}
}

// tracer is the command internal/tracer running.
type tracer struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func buildTracer(t testing.TB) string {
	t.Helper()
	out := filepath.Join(publicDir(t), "tracer")
	if msg, err := exec.Command("go", "build", "-o", out, "./internal/tracer").CombinedOutput(); err != nil {
		t.Fatalf("build the tracer: %v: %s", err, msg)
	}
	return out
}

// startTracer returns the tracer and its first line.
func startTracer(t testing.TB, attr *syscall.SysProcAttr, path string, args ...string) (*tracer, string) {
	t.Helper()
	tr := &tracer{cmd: exec.Command(path, args...)}
	tr.cmd.SysProcAttr = attr
	tr.cmd.Stderr = os.Stderr
	in, err := tr.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := tr.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	tr.in, tr.out = in, bufio.NewScanner(out)
	if err := tr.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.kill() })
	return tr, tr.line(t)
}

func (tr *tracer) line(t testing.TB) string {
	t.Helper()
	if !tr.out.Scan() {
		t.Fatalf("tracer ended: %v", tr.out.Err())
	}
	return strings.TrimSpace(tr.out.Text())
}

func (tr *tracer) kill() {
	_ = tr.cmd.Process.Kill()
	_ = tr.cmd.Wait()
}

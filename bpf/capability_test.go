package bpf_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/peerobserver/peerobserver/bpf"
)

// nobody is a user without privileges.
const nobody = 65534

// TestCapabilities runs the tracer as another user than the target's with few
// capabilities.
func TestCapabilities(t *testing.T) {
	path := buildEmitter(t)
	p := startEmitter(t, path)
	tracer := buildTracer(t)
	// What auto finds here decides what is enough.
	prog, err := bpf.Load(bpf.Config{})
	if err != nil {
		t.Fatal(err)
	}
	multi := prog.Features().Link == bpf.UprobeMulti
	prog.Close()
	if !multi {
		t.Skip("NOT RUN: this kernel has no uprobe_multi links, so nothing less than CAP_SYS_ADMIN is enough")
	}
	for _, c := range []struct {
		name string
		caps []bpf.Capability
		perf bool
		want string
	}{
		{"none", nil, false, "error capability [CAP_BPF CAP_PERFMON]: "},
		{"only CAP_BPF", []bpf.Capability{bpf.CapBPF}, false, "error capability [CAP_PERFMON]: "},
		{"only CAP_PERFMON", []bpf.Capability{bpf.CapPerfmon}, false, "error capability [CAP_BPF]: "},
		{"both", []bpf.Capability{bpf.CapBPF, bpf.CapPerfmon}, false, "attached uprobe_multi"},
		{"both, perf links", []bpf.Capability{bpf.CapBPF, bpf.CapPerfmon}, true, "error capability [CAP_SYS_ADMIN]: "},
		{"CAP_SYS_ADMIN, perf links", []bpf.Capability{bpf.CapSysAdmin}, true, "attached perf_event"},
	} {
		t.Run(c.name, func(t *testing.T) {
			attr := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
			for _, cap := range c.caps {
				attr.AmbientCaps = append(attr.AmbientCaps, uintptr(cap))
			}
			args := []string{path}
			if c.perf {
				args = []string{"-perf", path}
			}
			tr, line := startTracer(t, attr, tracer, args...)
			if !strings.HasPrefix(line, c.want) {
				t.Fatalf("%q, want %q", line, c.want)
			}
			t.Log(line)
			if strings.Contains(line, "MEMLOCK") {
				t.Error("the error blames the memory lock limit")
			}
			if strings.HasPrefix(line, "error") {
				return
			}
			const n = 20
			if res := fire(t, p, "net:inbound_message count=%d size=3900000", n); res.Fired != n {
				t.Errorf("%+v", res)
			}
			if _, err := fmt.Fprintln(tr.in, n); err != nil {
				t.Fatal(err)
			}
			if got := tr.line(t); got != fmt.Sprint(n) {
				t.Errorf("%s records, want %d", got, n)
			}
			tr.kill()
		})
	}
}

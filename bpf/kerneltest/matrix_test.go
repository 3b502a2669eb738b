package kerneltest

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Lines of the guest program.
const (
	okPrefix    = "CHECK ok "
	failPrefix  = "CHECK FAIL "
	unamePrefix = "CHECK kernel "
	endLine     = "CHECK end"
)

// TestKernels boots the oldest supported kernel, one between, and the newest:
// together they take every branch of loading, attaching and copying.
func TestKernels(t *testing.T) {
	initramfs, err := buildInitramfs(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []struct {
		suite    string
		version  string // of the kernel, if the suite's is settled
		features []string
	}{
		{"bookworm", "6.1.", []string{"perf_event kfuncs=false"}},
		{"trixie", "6.12.", []string{"uprobe_multi kfuncs=false", "perf_event kfuncs=false"}},
		{"sid", "", []string{"uprobe_multi kfuncs=true", "uprobe_multi kfuncs=false", "perf_event kfuncs=true"}},
	} {
		t.Run(k.suite, func(t *testing.T) {
			t.Parallel()
			image, err := kernelImage(t.Context(), t, k.suite)
			if err != nil {
				t.Fatal(err)
			}
			out := boot(t, image, initramfs)
			_, version, _ := strings.Cut(out, unamePrefix)
			version, _, _ = strings.Cut(version, "\r\n")
			t.Logf("Linux %s", version)
			if version == "" || !strings.HasPrefix(version, k.version) {
				t.Errorf("kernel is %q, want %s*", version, k.version)
			}
			checks := 0
			for line := range strings.Lines(out) {
				line = strings.TrimSpace(line)
				if _, name, ok := strings.Cut(line, okPrefix); ok {
					checks++
					t.Logf("ok %s", name)
				}
				if _, failure, ok := strings.Cut(line, failPrefix); ok {
					t.Error(failure)
				}
				for _, bad := range []string{"Oops:", "BUG:", "WARNING:", "Kernel panic"} {
					if strings.Contains(line, bad) {
						t.Errorf("kernel says: %s", line)
					}
				}
			}
			for _, f := range k.features {
				if !strings.Contains(out, okPrefix+f+": payloads") {
					t.Errorf("payloads with %s not checked", f)
				}
			}
			if !strings.Contains(out, endLine) {
				t.Errorf("guest did not come to its end")
			}
			if t.Failed() {
				t.Logf("console:\n%s", out)
			}
		})
	}
}

// boot runs a kernel in an emulator and returns what it wrote on its console.
//
// Two faults of Debian 12's emulator (QEMU 7.2) are steered around. Its cmpxchg16b
// leaves rubbish in the flags, which kernels from 6.12 on, using it for
// every allocation, survive four times out of five: so the processor is said not
// to have it. And with one thread a processor it breaks the kernel's code
// patching: so all are emulated in one.
func boot(t *testing.T, image, initramfs string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64",
		"-accel", "tcg,thread=single", "-cpu", "max,-cx16", "-smp", "2", "-m", "1024",
		"-kernel", image, "-initrd", initramfs,
		"-append", "console=ttyS0 panic=-1 loglevel=5 mitigations=off",
		"-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	start := time.Now()
	if err := cmd.Run(); err != nil {
		t.Errorf("emulator (needs qemu-system-x86): %v", err)
	}
	t.Logf("%v", time.Since(start).Round(time.Second))
	return out.String()
}

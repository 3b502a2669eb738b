package bpf

import (
	"bytes"
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// maxFrame is the most stack that a function of the eBPF program may use, in
// bytes: see c/tracer.c. The kernel rounds up to 16, and 64 are too many.
const maxFrame = 48

// TestFrames keeps all functions, of both architectures, out of the private stack.
func TestFrames(t *testing.T) {
	for _, name := range []string{"object_x86_bpfel.o", "object_arm64_bpfel.o"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		function, functions := "", 0
		var frame int64
		check := func() {
			if frame > maxFrame {
				t.Errorf("%s: %s uses %d bytes of stack, more than %d", name, function, frame, maxFrame)
			}
		}
		for _, in := range spec.Programs[objectProgOnHit].Instructions {
			if s := in.Symbol(); s != "" && !isLabel(s) {
				check()
				function, frame = s, 0
				functions++
			}
			class := in.OpCode.Class()
			switch {
			case class.IsStore() && in.Dst == asm.R10, class.IsLoad() && in.Src == asm.R10:
				frame = max(frame, -int64(in.Offset))
			case class.IsALU() && in.OpCode.ALUOp() == asm.Add && in.Constant < 0 && in.OpCode.Source() == asm.ImmSource:
				// An address below the frame pointer, or some other
				// subtraction: taking both is on the safe side, as long
				// as the latter are not large.
				if in.Constant > -512 {
					frame = max(frame, -in.Constant)
				}
			}
		}
		check()
		if functions < 5 {
			t.Errorf("%s: only %d functions found", name, functions)
		}
	}
}

// isLabel reports whether a symbol is a jump target inside a function.
func isLabel(s string) bool { return len(s) > 2 && s[:2] == "LB" }

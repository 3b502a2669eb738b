package bpf_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peerobserver/peerobserver/lab/machine"
)

// TestObjectsAreCurrent compiles the eBPF programs and compares them with the
// committed object files, which are what is loaded.
func TestObjectsAreCurrent(t *testing.T) {
	if _, err := exec.LookPath("clang-14"); err != nil {
		machine.Lacks(t, fmt.Sprintf("Debian's clang-14 and llvm-14, because other versions make other code: %v", err))
	}
	for _, file := range []string{"gen.go", "internal/baseline/doc.go"} {
		t.Run(file, func(t *testing.T) {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, directive, found := strings.Cut(string(source), "//go:generate go run github.com/cilium/ebpf/cmd/bpf2go ")
			if !found {
				t.Fatal("no line says how the object is made")
			}
			directive, _, _ = strings.Cut(directive, "\n")
			dir := t.TempDir()
			args := []string{"run", "github.com/cilium/ebpf/cmd/bpf2go", "-go-package", "generated", "-output-dir", dir}
			generate := exec.CommandContext(t.Context(), "go", append(args, strings.Fields(directive)...)...)
			generate.Dir = filepath.Dir(file)
			if out, err := generate.CombinedOutput(); err != nil {
				t.Fatalf("bpf2go: %v: %s", err, out)
			}
			objects, err := filepath.Glob(filepath.Join(dir, "*.o"))
			if err != nil || len(objects) != 2 {
				t.Fatalf("objects %q, want one for each architecture (%v)", objects, err)
			}
			for _, object := range objects {
				made, err := os.ReadFile(object)
				if err != nil {
					t.Fatal(err)
				}
				committed, err := os.ReadFile(filepath.Join(filepath.Dir(file), filepath.Base(object)))
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(made, committed) {
					t.Errorf("%s is not what its source makes: run make generate", filepath.Base(object))
				}
			}
		})
	}
}

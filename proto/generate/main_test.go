package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

const root = "../.."

// TestGeneratedFilesAreFresh generates everything anew and compares: what is committed
// must follow from the .proto files.
func TestGeneratedFilesAreFresh(t *testing.T) {
	out := t.TempDir()
	if err := generate(root, out); err != nil {
		t.Fatal(err)
	}
	compare := func(file string) {
		t.Helper()
		want, err := os.ReadFile(filepath.Join(out, file))
		if err != nil {
			t.Errorf("%s is committed but no longer generated: remove it", file)
			return
		}
		got, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Errorf("%s is generated but not committed: run make proto", file)
			return
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is stale: run make proto", file)
		}
	}
	compare(fieldFile)
	compare(referenceFile)
	for _, dir := range []struct{ path, pattern string }{
		{goDir, "*.pb.go"},
		{pythonDir, "*_pb2.py"},
		{pythonDir, "*_pb2.pyi"},
	} {
		files := map[string]bool{}
		for _, base := range []string{root, out} {
			matches, err := filepath.Glob(filepath.Join(base, dir.path, dir.pattern))
			if err != nil {
				t.Fatal(err)
			}
			for _, match := range matches {
				files[filepath.Base(match)] = true
			}
		}
		if len(files) == 0 {
			t.Errorf("nothing in %s matches %s", dir.path, dir.pattern)
		}
		for name := range files {
			compare(filepath.Join(dir.path, name))
		}
	}
}

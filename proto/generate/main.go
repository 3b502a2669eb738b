// Command generate writes everything that follows from the .proto files: the Go types,
// the field numbers, the Python types and the reference page.
//
//	go run ./proto/generate [-out DIR]
//
// It runs in the root of the repository and needs protoc; -out writes a copy elsewhere,
// for comparison.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/peerobserver/peerobserver/proto/generate/schema"
)

const module = "github.com/peerobserver/peerobserver"

// The places that belong to this program: files in them that it doesn't write are left
// over from removed .proto files.
const (
	goDir         = "proto/eventpb"
	fieldFile     = "proto/field/field.go"
	pythonDir     = "proto/python/peerobserver/v1"
	referenceFile = "docs/events.md"
)

func main() {
	out := flag.String("out", ".", "directory to write to")
	flag.Parse()
	if err := generate(".", *out); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

// generate writes all generated files of the repository in root to out, in which
// they have the same paths.
func generate(root, out string) error {
	out, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	sources, err := schema.Sources(root)
	if err != nil {
		return err
	}
	if err := generateTypes(root, out, sources); err != nil {
		return err
	}
	files, err := schema.Read(root)
	if err != nil {
		return err
	}
	fields, err := fieldNumbers(files)
	if err != nil {
		return err
	}
	if err := write(filepath.Join(out, fieldFile), fields); err != nil {
		return err
	}
	// The page lists the kinds of events, which are compiled from what has just been
	// written. So it has a program of its own; this one doesn't need any generated code.
	page := exec.Command("go", "run", "./proto/generate/reference", "-out", filepath.Join(out, referenceFile))
	page.Dir, page.Stderr = root, os.Stderr
	if err := page.Run(); err != nil {
		return fmt.Errorf("%s: %w", referenceFile, err)
	}
	return nil
}

// generateTypes runs protoc for Go and Python.
func generateTypes(root, out string, sources []string) error {
	find := exec.Command("go", "tool", "-n", "protoc-gen-go")
	find.Dir = root
	find.Stderr = os.Stderr
	plugin, err := find.Output()
	if err != nil {
		return fmt.Errorf("finding protoc-gen-go: %w", err)
	}
	python := filepath.Join(out, "proto/python")
	if err := os.MkdirAll(python, 0o755); err != nil {
		return err
	}
	return schema.Protoc(root, append([]string{
		"--plugin=protoc-gen-go=" + strings.TrimSpace(string(plugin)),
		"--go_out=" + out, "--go_opt=module=" + module,
		"--python_out=" + python, "--pyi_out=" + python,
	}, sources...)...)
}

func write(file string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, content, 0o644)
}

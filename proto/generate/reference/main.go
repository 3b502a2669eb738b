// Command reference writes docs/events.md, the page that describes every event, from
// the .proto files and from the kinds of events that the code knows.
//
//	go run ./proto/generate/reference [-out FILE]
//
// It runs in the root of the repository; proto/generate runs it.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/peerobserver/peerobserver/proto/generate/schema"
)

func main() {
	out := flag.String("out", "docs/events.md", "file to write")
	flag.Parse()
	if err := write(".", *out); err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

// write writes the page for the repository in root.
func write(root, out string) error {
	files, err := schema.Read(root)
	if err != nil {
		return err
	}
	page, err := reference(files)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	return os.WriteFile(out, page, 0o644)
}

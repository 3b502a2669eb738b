// Command generate writes the JSON of the dashboards and their page in the documentation.
// It is run by go generate in the directory dashboards.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/peerobserver/peerobserver/dashboards"
)

func main() {
	if err := run("."); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

// run writes below the directory of the dashboards, and beside it.
func run(dir string) error {
	files, err := dashboards.Files(filepath.Join(dir, ".."))
	if err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, "..", name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

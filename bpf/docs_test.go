package bpf_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/peerobserver/peerobserver/bpf"
)

// TestDocumentedTracepoints holds the table in docs/tracepoints.md against the one that
// the program has.
func TestDocumentedTracepoints(t *testing.T) {
	const path = "../docs/tracepoints.md"
	var table strings.Builder
	table.WriteString("| tracepoint | group | arguments |\n|---|---|---|\n")
	for _, p := range bpf.Tracepoints() {
		var arguments []string
		for _, a := range p.Args {
			arguments = append(arguments, fmt.Sprintf("%s %v", a.Name, a.Kind))
		}
		group := string(p.Group)
		if !slices.Contains(bpf.DefaultGroups(), p.Group) {
			group += ", off by default"
		}
		name := "`" + p.String() + "`"
		if p.Optional {
			name += ", newer versions only"
		}
		fmt.Fprintf(&table, "| %s | %s | %s |\n", name, group, strings.Join(arguments, ", "))
	}
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	start := strings.Index(string(page), "| tracepoint |")
	if start < 0 {
		t.Fatalf("%s has no table", path)
	}
	end := strings.Index(string(page[start:]), "\n\n")
	if end < 0 {
		t.Fatalf("%s ends with its table", path)
	}
	end += start + 1
	want := string(page[:start]) + table.String() + string(page[end:])
	if string(page) == want {
		return
	}
	t.Errorf("the table in %s should be:\n%s", path, table.String())
}

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/peerobserver/peerobserver/lab/regtest"
)

// The programs of docs/writing-a-tool.md, from the directory of this package.
const (
	toolInGo     = "../../docs/examples/first-announcer"
	toolInPython = "../../proto/python/examples/first_announcer.py"
)

// The example in both languages, beside a real agent on a real node, says the same, and
// what is true: who brought each block.
func TestWritingATool(t *testing.T) {
	alice, bob := regtest.ForTest(t, regtest.Config{V2: true}), regtest.WithTracepoints(t, regtest.Config{V2: true})
	if err := alice.Connect(t.Context(), bob); err != nil {
		t.Fatal(err)
	}
	o := observe(t, bob, nil, "--nats.subject-prefix=bob.")
	o.ready()

	binary := moduleOfItsOwn(t)
	interpreter := "python3"
	if exec.CommandContext(t.Context(), interpreter, "-c", "import google.protobuf").Run() != nil {
		interpreter = "/usr/bin/python3" // the system's, for which setup installs it
	}
	args := []string{"--url=nats://" + o.nats, "--prefix=bob."}
	inGo, inPython := startTool(t, binary, args...), startTool(t, interpreter, append([]string{toolInPython}, args...)...)
	for _, tool := range []*program{inGo, inPython} {
		eventually(t, "a subscription", func() error { return contains(tool.stderr.String(), "subscribed") })
	}

	const blocks = 3
	var want []string
	for range blocks {
		hashes, err := alice.Mine(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := regtest.SyncBlocks(t.Context(), alice, bob); err != nil {
			t.Fatal(err)
		}
		want = append(want, hashes...)
	}
	hashes, err := bob.Mine(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, hashes...)
	for _, tool := range []*program{inGo, inPython} {
		eventually(t, "every block", func() error { return contains(tool.stdout.String(), want[blocks]) })
	}
	if inGo.stdout.String() != inPython.stdout.String() {
		t.Errorf("Go prints\n%s\nPython prints\n%s", inGo.stdout, inPython.stdout)
	}
	lines := strings.Split(strings.TrimSuffix(inGo.stdout.String(), "\n"), "\n")
	if len(lines) != blocks+1 {
		t.Fatalf("%d lines for %d blocks:\n%s", len(lines), blocks+1, inGo.stdout)
	}
	for i, line := range lines {
		pattern := fmt.Sprintf(`^test \d+ %s from peer 0 by (inv|headers|cmpctblock), \d+ µs before$`, want[i]) // alice came first
		if i == blocks {
			pattern = fmt.Sprintf(`^test \d+ %s from nobody$`, want[i])
		}
		if !regexp.MustCompile(pattern).MatchString(line) {
			t.Errorf("line %d is %q, want %s", i+1, line, pattern)
		}
	}
	if err := inGo.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := inGo.wait(); code != 0 || strings.Contains(inGo.stderr.String(), "lost:") {
		t.Errorf("the tool in Go ends with %d: %s", code, inGo.stderr)
	}
	if err := inPython.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := inPython.wait(); code != 0 {
		t.Errorf("the tool in Python ends with %d: %s", code, inPython.stderr)
	}
}

// moduleOfItsOwn builds the tool in Go as its users do, by the commands of the page, and
// gives the program's path.
func moduleOfItsOwn(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	tool := filepath.Join(dir, "tool")
	if err := os.Mkdir(tool, 0o755); err != nil {
		t.Fatal(err)
	}
	repository, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(repository, filepath.Join(dir, "peerobserver")); err != nil {
		t.Fatal(err)
	}
	copyFile(t, filepath.Join(toolInGo, "main.go"), filepath.Join(tool, "main.go"))
	var script []string
	for _, d := range documentedCommands() {
		if d.page == "docs/writing-a-tool.md" && strings.HasPrefix(d.line, "go mod ") {
			script = append(script, d.line)
		}
	}
	build := exec.CommandContext(t.Context(), "sh", "-ec", strings.Join(script, "\n"))
	build.Dir = tool
	build.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", script, err, out)
	}
	return filepath.Join(tool, "tool")
}

// startTool starts another program as start does this one.
func startTool(t *testing.T, name string, args ...string) *program {
	t.Helper()
	return start(t, func(cmd *exec.Cmd) {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		cmd.Path, cmd.Args[0] = path, name
	}, args...)
}

// The page shows the programs as they are, line for line.
func TestToolsAreShownAsTheyAre(t *testing.T) {
	page, err := os.ReadFile("../../docs/writing-a-tool.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{filepath.Join(toolInGo, "main.go"), toolInPython} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		program := strings.Split(strings.TrimSuffix(string(content), "\n"), "\n")
		shown := 0
		for part := range partsIn(string(page), strings.TrimPrefix(filepath.Ext(file), ".")) {
			lines := strings.Split(part, "\n")
			shown += len(lines)
			if !containsLines(program, lines) {
				t.Errorf("docs/writing-a-tool.md shows what %s doesn't have:\n%s", file, part)
			}
		}
		if shown < 20 {
			t.Errorf("docs/writing-a-tool.md shows only %d lines of %s", shown, file)
		}
	}
}

// partsIn gives the blocks of a language, which GitHub calls by the ending of its files.
func partsIn(page, language string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, match := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)\n```$").FindAllStringSubmatch(page, -1) {
			if !yield(match[1]) {
				return
			}
		}
	}
}

// containsLines says whether part is in whole, as consecutive lines.
func containsLines(whole, part []string) bool {
	for i := range len(whole) - len(part) + 1 {
		if slices.Equal(whole[i:i+len(part)], part) {
			return true
		}
	}
	return false
}

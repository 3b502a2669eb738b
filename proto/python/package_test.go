package python_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	pb "github.com/peerobserver/peerobserver/proto/eventpb"
)

// TestPackageInstalls installs the package with pip into an environment of its own, as the
// README says, and runs the README's code there, away from the checkout.
func TestPackageInstalls(t *testing.T) {
	source, environment := filepath.Join(t.TempDir(), "python"), filepath.Join(t.TempDir(), "venv")
	// pip leaves files beside what it builds.
	for _, part := range []string{"pyproject.toml", "README.md"} {
		content, err := os.ReadFile(part)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(source, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(source, part), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(source, "peerobserver"), os.DirFS("peerobserver")); err != nil {
		t.Fatal(err)
	}
	python := filepath.Join(environment, "bin", "python")
	command(t, nil, "python3", "-m", "venv", environment)
	command(t, nil, python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", source)

	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile("(?s)```python\n(.*?)```").FindSubmatch(readme)
	if code == nil {
		t.Fatal("the README has no code")
	}
	payload := encode(t, &pb.Event{PeerObserverEvent: &pb.Event_EbpfExtractor{EbpfExtractor: &pb.EbpfExtractor{
		EbpfEvent: &pb.EbpfExtractor_Message{Message: &pb.MessageEvent{Meta: &pb.Metadata{PeerId: new(uint64(42)), Command: new("inv")}}},
	}}})
	// -I: nothing comes from the current directory or the user's.
	out := command(t, payload, python, "-I", "-c", "import sys\npayload = sys.stdin.buffer.read()\n"+string(code[1]))
	if out != "42 inv\n" {
		t.Errorf("the README's code prints %q", out)
	}
	// All types are there, and what type checkers read.
	installed := strings.TrimSpace(command(t, nil, python, "-I", "-c", "import peerobserver; print(peerobserver.__path__[0])"))
	if !strings.HasPrefix(installed, environment) {
		t.Fatalf("the package is at %s", installed)
	}
	err = filepath.Walk("peerobserver", func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() || strings.HasSuffix(path, ".pyc") {
			return err
		}
		want, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		got, err := os.ReadFile(filepath.Join(filepath.Dir(installed), path))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s isn't installed as it is (%v)", path, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// command runs a program and gives what it prints.
func command(t *testing.T, input []byte, name string, arguments ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, arguments...)
	var out, notes bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(input), &out, &notes
	if err := c.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%s%s", name, arguments, err, &out, &notes)
	}
	return out.String()
}

// Package repository_test checks what concerns the repository as a whole: that
// documents link to what exists and are found, that dependencies are explained, that
// files stay readable and that nothing of one machine got into them.
package repository_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// maxLines is the length of the longest hand-written source file.
const maxLines = 700

// TestDependenciesAreExplained holds docs/dependencies.md against the imports.
func TestDependenciesAreExplained(t *testing.T) {
	explained := map[string]bool{}
	row := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.+) \\|$")
	for _, match := range row.FindAllStringSubmatch(read(t, "docs/dependencies.md"), -1) {
		explained[match[1]] = true
	}

	var goMod struct {
		Module  struct{ Path string }
		Require []struct{ Path string }
		Tool    []struct{ Path string }
	}
	if err := json.Unmarshal(output(t, "go", "mod", "edit", "-json"), &goMod); err != nil {
		t.Fatal(err)
	}
	imports := strings.Fields(string(output(t, "go", "list", "-e", "-f",
		`{{join .Imports "\n"}}{{"\n"}}{{join .TestImports "\n"}}{{"\n"}}{{join .XTestImports "\n"}}`, "./...")))
	for _, tool := range goMod.Tool {
		imports = append(imports, tool.Path)
	}
	required := map[string]bool{}
	for _, m := range goMod.Require {
		required[m.Path] = true
	}
	imported := map[string]bool{}
	for _, path := range imports {
		module := ""
		for _, m := range goMod.Require {
			if (path == m.Path || strings.HasPrefix(path, m.Path+"/")) && len(m.Path) > len(module) {
				module = m.Path
			}
		}
		if module != "" && path != goMod.Module.Path && !strings.HasPrefix(path, goMod.Module.Path+"/") {
			imported[module] = true
		}
	}
	if len(imported) < 10 {
		t.Fatalf("found only %d imported modules", len(imported))
	}
	for module := range imported {
		if !explained[module] {
			t.Errorf("docs/dependencies.md does not say why %s is there", module)
		}
	}
	for module := range explained {
		if !required[module] {
			t.Errorf("docs/dependencies.md explains %s, which go.mod does not require", module)
		}
	}
}

// TestSources looks at every text file for what does not belong into a repository.
func TestSources(t *testing.T) {
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	unfinished := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
	absolute := regexp.MustCompile(`(^|[^\w./-])/(root|Users|work)/[\w.-]+`)
	for _, file := range tracked(t) {
		content := read(t, file)
		if !utf8.ValidString(content) || strings.ContainsRune(content, 0) {
			continue // not text
		}
		generated := strings.Contains(firstLines(content, 20), "Code generated") || strings.Contains(firstLines(content, 20), "Generated ")
		isTestData := slices.Contains(strings.Split(filepath.ToSlash(file), "/"), "testdata")
		if match := unfinished.FindString(content); match != "" && !generated && !isTestData {
			t.Errorf("%s: has a %s: finish it or say it in an issue", file, match)
		}
		for _, path := range []string{root, home} {
			if len(path) > len("/root") && strings.Contains(content, path+"/") {
				t.Errorf("%s: names %s, a directory of this machine", file, path)
			}
		}
		if match := absolute.FindString(content); match != "" && !isTestData {
			t.Errorf("%s: names %s, a directory of somebody's machine", file, strings.TrimSpace(match))
		}
		switch filepath.Ext(file) {
		case ".go", ".py", ".c", ".h":
			if lines := strings.Count(content, "\n"); lines > maxLines && !generated {
				t.Errorf("%s: %d lines; files of more than %d are hard to read: split it", file, lines, maxLines)
			}
		}
	}
}

// TestPackageNames fails for packages whose name says nothing.
func TestPackageNames(t *testing.T) {
	for _, file := range tracked(t) {
		name := filepath.Base(filepath.Dir(file))
		if filepath.Ext(file) == ".go" && slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "misc", "shared", "types"}, name) {
			t.Errorf("%s: name the package for what it provides", file)
		}
	}
}

// tracked lists the files of the repository: those in git and those that are new and
// not ignored.
func tracked(t *testing.T) []string {
	t.Helper()
	var files []string
	scanner := bufio.NewScanner(bytes.NewReader(output(t, "git", "ls-files", "--cached", "--others", "--exclude-standard")))
	for scanner.Scan() {
		// A file that is deleted but still in the index.
		if info, err := os.Stat(scanner.Text()); err == nil && info.Mode().IsRegular() {
			files = append(files, scanner.Text())
		}
	}
	if len(files) < 50 {
		t.Fatalf("git lists only %d files", len(files))
	}
	return files
}

func firstLines(content string, n int) string {
	lines := strings.SplitAfterN(content, "\n", n+1)
	return strings.Join(lines[:min(n, len(lines))], "")
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func output(t *testing.T, name string, arguments ...string) []byte {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, arguments...)
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%s %s: %v", name, strings.Join(arguments, " "), err)
	}
	return out
}

package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// TestCommandsInDocuments parses every command line of this program that a document
// shows in a block, as a shell and then the program would: unknown commands and flags,
// values that can't be, and missing arguments fail. Those within a sentence, which may
// leave out what is required, are parsed as well.
//
// A block may show a synopsis: [--flag] is a flag that may be left out, --flag=a|b a
// choice.
func TestCommandsInDocuments(t *testing.T) {
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "PEER_OBSERVER_") {
			t.Setenv(name, "") // an empty one is none to the parser
		}
	}
	inBlocks, inText := 0, 0
	for path, content := range markdown(t) {
		if path == "docs/flags.md" {
			continue // made of the declarations themselves, by TestFlagsPage
		}
		for _, line := range blockLines(content) {
			for _, args := range commandLines(line.text) {
				inBlocks++
				if err := parsesWhole(args); err != nil {
					t.Errorf("%s:%d: peer-observer %s: %v", path, line.number, strings.Join(args, " "), err)
				}
			}
		}
		for _, span := range spans(content) {
			for _, args := range commandLines(span.text) {
				inText++
				if err := parsesInPart(args); err != nil {
					t.Errorf("%s:%d: peer-observer %s: %v", path, span.number, strings.Join(args, " "), err)
				}
			}
		}
	}
	if inBlocks < 20 || inText < 20 {
		t.Errorf("found only %d command lines in blocks and %d in sentences", inBlocks, inText)
	}
}

// markdown gives the documents of the repository by their paths.
func markdown(t *testing.T) map[string]string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", "-C", "../..", "ls-files", "--cached", "--others", "--exclude-standard", "*.md").Output()
	if err != nil {
		t.Fatal(err)
	}
	documents := map[string]string{}
	for path := range strings.Lines(string(out)) {
		path = strings.TrimSuffix(path, "\n")
		content, err := os.ReadFile(filepath.Join("..", "..", path))
		if os.IsNotExist(err) {
			continue // deleted, and still in the index
		}
		if err != nil {
			t.Fatal(err)
		}
		documents[path] = string(content)
	}
	return documents
}

// parsesWhole parses a command line with all its values.
func parsesWhole(args []string) error {
	app, _, _ := application(io.Discard, io.Discard)
	_, err := parse(app, args)
	if errors.Is(err, errTerminated) {
		return nil // --help
	}
	return err
}

// parsesInPart parses a command line that may lack what is required.
func parsesInPart(args []string) error {
	if len(args) > 0 && args[0] == "COMMAND" {
		return nil
	}
	app, _, _ := application(io.Discard, io.Discard)
	_, err := app.ParseContext(args)
	return err
}

// numbered is text of a document and the number of its line.
type numbered struct {
	number int
	text   string
}

var blockFence = regexp.MustCompile("^ *(?:```|~~~)")

// blockLines gives the lines of fenced and indented blocks, those that go on behind a
// backslash as one.
func blockLines(content string) []numbered {
	var lines []numbered
	fenced, continued := false, false
	number := 0
	for line := range strings.Lines(content) {
		number++
		line = strings.TrimRight(line, "\r\n")
		if blockFence.MatchString(line) {
			fenced, continued = !fenced, false
			continue
		}
		if !fenced && !strings.HasPrefix(line, "    ") {
			continued = false
			continue
		}
		text, more := strings.CutSuffix(line, `\`)
		if continued {
			lines[len(lines)-1].text += " " + text
		} else {
			lines = append(lines, numbered{number, text})
		}
		continued = more
	}
	return lines
}

var span = regexp.MustCompile("`([^`]+)`")

// spans gives the code spans of a document's text. One may go over a line's end.
func spans(content string) []numbered {
	var text strings.Builder
	fenced := false
	for line := range strings.Lines(content) {
		if blockFence.MatchString(line) {
			fenced = !fenced
			line = "\n"
		}
		if fenced || strings.HasPrefix(line, "    ") {
			line = "\n"
		}
		text.WriteString(line)
	}
	prose := text.String()
	var list []numbered
	for _, at := range span.FindAllStringSubmatchIndex(prose, -1) {
		found := prose[at[2]:at[3]]
		if strings.HasPrefix(found, "peer-observer ") {
			list = append(list, numbered{1 + strings.Count(prose[:at[0]], "\n"), strings.ReplaceAll(found, "\n", " ")})
		}
	}
	return list
}

// commandLines gives the arguments of each call of this program in a line of shell.
func commandLines(line string) [][]string {
	var calls [][]string
	for _, words := range simpleCommands(line) {
		i := 0
		for i < len(words) && (isAssignment(words[i]) || slices.Contains([]string{"$", "#", "sudo", "exec", "nohup", "time", "ExecStart"}, words[i])) {
			i++
		}
		// sudo -u USER.
		if i > 0 && words[i-1] == "sudo" && i+1 < len(words) && words[i] == "-u" {
			i += 2
		}
		if i == len(words) || filepath.Base(words[i]) != "peer-observer" {
			continue
		}
		var args []string
		for _, word := range words[i+1:] {
			if strings.HasPrefix(word, "$") {
				continue // whatever a variable holds
			}
			word = strings.TrimSuffix(strings.TrimPrefix(word, "["), "]")
			if flag, value, ok := strings.Cut(word, "="); ok && strings.HasPrefix(flag, "--") && !strings.ContainsAny(value, " ") {
				// The first of several that may be chosen.
				value, _, _ = strings.Cut(value, "|")
				word = flag + "=" + value
			}
			args = append(args, word)
		}
		calls = append(calls, args)
	}
	return calls
}

var assignment = regexp.MustCompile(`^[A-Za-z_][A-Za-z_0-9]*=`)

func isAssignment(word string) bool { return assignment.MatchString(word) }

// simpleCommands splits a line into commands and these into words, with quotes, pipes,
// lists, redirections and comments understood as a shell does. A systemd unit's
// ExecStart= is such a line too.
func simpleCommands(line string) [][]string {
	line = strings.TrimPrefix(strings.TrimSpace(line), "ExecStart=")
	var commands [][]string
	var words []string
	var word strings.Builder
	inWord, quote := false, rune(0)
	endWord := func() {
		if inWord {
			words = append(words, word.String())
		}
		word.Reset()
		inWord = false
	}
	endCommand := func() {
		endWord()
		if len(words) > 0 {
			commands = append(commands, words)
		}
		words = nil
	}
	runes := []rune(line)
	for i := 0; i < len(runes); i++ {
		r := runes[i]
		blankBefore := i == 0 || unicode.IsSpace(runes[i-1])
		switch {
		case quote != 0:
			if r == quote {
				quote = 0
			} else {
				word.WriteRune(r)
			}
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case unicode.IsSpace(r):
			endWord()
		case r == '#' && blankBefore && len(words) > 0:
			endCommand()
			return commands
		case r == ';' || r == '&' || r == '|' && blankBefore:
			endCommand()
		case (r == '>' || r == '<') && (blankBefore || runes[i-1] == '2'):
			// A redirection and its file, which may stand apart.
			if !blankBefore {
				word.Reset()
				inWord = false
			}
			for i+1 < len(runes) && (runes[i+1] == '>' || runes[i+1] == '&' || runes[i+1] == ' ') {
				i++
			}
			for i+1 < len(runes) && !unicode.IsSpace(runes[i+1]) {
				i++
			}
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	endCommand()
	return commands
}

// TestCommandsInDocumentsRun runs those command lines of the documents that need nothing
// but files and end by themselves, each in a directory with the files that it names.
func TestCommandsInDocumentsRun(t *testing.T) {
	archived, err := os.ReadFile(filepath.Join(releases, "0.1.0", archiveFixture))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{
		"archive.20260131-120000-000.bin.zst": archived, "old.bin.zst": archived,
		"key": []byte("a key of twenty bytes"), "KEY": []byte("a key of twenty bytes"),
	}
	// The words of synopses.
	stands := strings.NewReplacer("FILE…", "old.bin.zst", "archive.*.bin.zst", "archive.20260131-120000-000.bin.zst",
		"=TIME", "=2026-01-01T00:00:30Z", "until=TIME", "until=2026-01-01T00:00:40Z")
	ran := 0
	for path, content := range markdown(t) {
		if path == "docs/flags.md" {
			continue
		}
		for _, line := range slices.Concat(blockLines(content), spans(content)) {
			for _, args := range commandLines(line.text) {
				if !endsByItself(args) || parsesWhole(args) != nil {
					continue
				}
				dir := t.TempDir()
				for name, content := range files {
					if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				for i := range args {
					args[i] = stands.Replace(args[i])
				}
				p := start(t, func(cmd *exec.Cmd) { cmd.Dir = dir }, args...)
				if code := p.wait(); code != exitOK {
					t.Errorf("%s:%d: peer-observer %s: exit code %d", path, line.number, strings.Join(args, " "), code)
				}
				ran++
			}
		}
	}
	if ran < 10 {
		t.Errorf("only %d command lines were run", ran)
	}
}

// endsByItself says whether a command needs neither node nor server and comes to an end.
func endsByItself(args []string) bool {
	switch strings.Join(args[:min(2, len(args))], " ") {
	case "archive info", "archive verify", "archive cut", "lab list", "lab rules", "version":
		return true
	}
	return len(args) > 0 && args[0] == "replay" && slices.Contains(args, "--to=logger") && slices.Contains(args, "--speed=max")
}

var flagInText = regexp.MustCompile(`--(?:no-|\[no-\])?((?:node|bitcoin|rpc|extractor|nats|web|exporter|metrics|config|log|websocket)(?:\.[\w.*-]*\w\*?|\.))`)

// TestFlagsInDocuments looks for every flag that a document names, wherever it stands,
// as far as its name is of our kind. What ends in a full stop, a star or a word in
// capitals stands for several flags.
func TestFlagsInDocuments(t *testing.T) {
	known := map[string]bool{}
	for row := range flagTable(t) {
		if _, name, ok := strings.Cut(row, "\t--"); ok {
			known[name] = true
		}
	}
	// Of Prometheus.
	foreign := []string{"web.enable-otlp-receiver", "web.enable-lifecycle", "web.enable-remote-write-receiver", "web.external-url"}
	checked := 0
	for path, content := range markdown(t) {
		for _, match := range flagInText.FindAllStringSubmatch(content, -1) {
			name := match[1]
			if slices.Contains(foreign, name) {
				continue
			}
			checked++
			if known[name] {
				continue
			}
			stem := strings.TrimRight(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ*")
			several := strings.HasSuffix(stem, ".") && slices.ContainsFunc(slices.Collect(maps.Keys(known)), func(f string) bool { return strings.HasPrefix(f, stem) })
			if !several {
				t.Errorf("%s: there is no flag --%s", path, name)
			}
		}
	}
	if checked < 100 {
		t.Errorf("found only %d flags", checked)
	}
}

// Both pages about exit codes have a row for each.
func TestExitCodesInDocuments(t *testing.T) {
	documents := markdown(t)
	for meaning, code := range exitCodeTable(t) {
		for _, path := range []string{"docs/exit-codes.md", "docs/troubleshooting.md"} {
			if !strings.Contains(documents[path], "\n| "+code+" | ") {
				t.Errorf("%s has no row for exit code %s (%s)", path, code, meaning)
			}
		}
	}
}

// The splitter is what the other test stands on.
func TestCommandLines(t *testing.T) {
	for line, want := range map[string][]string{
		`peer-observer`: {""},
		`$ OTEL_X=1 ./peer-observer agent --node.name="my node" &`:                  {"agent --node.name=my node"},
		`sudo -u bitcoin peer-observer doctor # looks`:                              {"doctor"},
		`peer-observer logger --count | head; peer-observer version`:                {"logger --count", "version"},
		`peer-observer replay FILE… --to=nats|prometheus --speed=1|N`:               {"replay FILE… --to=nats --speed=1"},
		`peer-observer archive info [--json] FILE… > out 2>errors`:                  {"archive info --json FILE…"},
		`ExecStart=/usr/bin/peer-observer agent $OPTIONS`:                           {"agent"},
		`grep peer-observer file`:                                                   nil,
		`head -c 32 /dev/urandom > key && peer-observer logger --peer='10.0.0.0/8'`: {"logger --peer=10.0.0.0/8"},
	} {
		var got []string
		for _, args := range commandLines(line) {
			got = append(got, strings.Join(args, " "))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	for _, args := range [][]string{{"agent", "--no-such-flag"}, {"frobnicate"}, {"archive", "info"}, {"logger", "--format=xml"}, {"lab", "frobnicate"}} {
		if parsesWhole(args) == nil {
			t.Errorf("%v is taken for a command line", args)
		}
	}
	for _, args := range [][]string{{"agent", "--no-such-flag"}, {"archive", "frobnicate"}} {
		if parsesInPart(args) == nil {
			t.Errorf("%v is taken for a part of a command line", args)
		}
	}
}

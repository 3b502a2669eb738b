package repository_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v2"
)

// startPages are the documents that a reader begins with.
var startPages = []string{"README.md", "docs/README.md"}

// document is a Markdown file of the repository.
type document struct {
	path string
	// links are the targets of its links and pictures, as written.
	links []string
	// anchors are the fragments that a link to it may have.
	anchors map[string]bool
	blocks  []block
}

// block is a fenced block.
type block struct {
	// line is that of its first line in the file, from 1.
	line     int
	language string
	text     string
}

// documents reads all Markdown files, by their paths.
func documents(t *testing.T) map[string]*document {
	t.Helper()
	list := map[string]*document{}
	for _, file := range tracked(t) {
		if filepath.Ext(file) == ".md" {
			list[file] = parseDocument(t, file, read(t, file))
		}
	}
	if len(list) < 20 {
		t.Fatalf("found only %d documents", len(list))
	}
	return list
}

var (
	fence = regexp.MustCompile("^ {0,3}(```+|~~~+) *([^`]*)$")
	// code spans hold what looks like a link and is none.
	codeSpan = regexp.MustCompile("`[^`\n]*`")
	// [text](target "title"), ![picture](<target>)
	inlineLink = regexp.MustCompile(`\]\(\s*<?([^)\s>]+)>?(?:\s+["'(][^)]*)?\)`)
	// [name]: target
	referenceLink = regexp.MustCompile(`(?m)^ {0,3}\[[^\]^]+\]:\s+<?([^\s>]+)>?`)
	htmlLink      = regexp.MustCompile(`<(?:a|img)\b[^>]*\b(?:href|src)="([^"]+)"`)
	htmlAnchor    = regexp.MustCompile(`<a (?:id|name)="([^"]+)"`)
)

func parseDocument(t *testing.T, path, content string) *document {
	t.Helper()
	d := &document{path: path, anchors: map[string]bool{}}
	var prose strings.Builder
	var open *block
	marker := ""
	number := 0
	for line := range strings.Lines(content) {
		number++
		match := fence.FindStringSubmatch(strings.TrimRight(line, "\r\n"))
		switch {
		case open == nil && match != nil:
			marker = match[1]
			open = &block{line: number + 1, language: strings.TrimSpace(match[2])}
		case open != nil && match != nil && match[2] == "" && strings.HasPrefix(match[1], marker):
			d.blocks = append(d.blocks, *open)
			open = nil
		case open != nil:
			open.text += line
		default:
			prose.WriteString(line)
		}
	}
	if open != nil {
		t.Errorf("%s:%d: the block has no end", path, open.line)
	}
	for _, heading := range headings(prose.String()) {
		anchor := anchorOf(heading)
		for n := 1; d.anchors[anchor]; n++ {
			anchor = fmt.Sprintf("%s-%d", anchorOf(heading), n)
		}
		d.anchors[anchor] = true
	}
	text := codeSpan.ReplaceAllString(prose.String(), "")
	for _, match := range htmlAnchor.FindAllStringSubmatch(text, -1) {
		d.anchors[match[1]] = true
	}
	for _, pattern := range []*regexp.Regexp{inlineLink, referenceLink, htmlLink} {
		for _, match := range pattern.FindAllStringSubmatch(text, -1) {
			d.links = append(d.links, match[1])
		}
	}
	return d
}

func headings(prose string) []string {
	var list []string
	for line := range strings.Lines(prose) {
		level := len(line) - len(strings.TrimLeft(line, "#"))
		if level >= 1 && level <= 6 && strings.HasPrefix(line[level:], " ") {
			list = append(list, strings.TrimSpace(line[level:]))
		}
	}
	return list
}

var (
	linkInHeading = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	notInAnchor   = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchorOf gives a heading's fragment, as GitHub forms it.
func anchorOf(heading string) string {
	text := linkInHeading.ReplaceAllString(heading, "$1")
	return strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(text), ""), " ", "-")
}

// resolve gives the file or directory and the fragment that a link leads to; empty for
// one that leaves the repository by its scheme.
func (d *document) resolve(link string) (path, fragment string, err error) {
	target, err := url.Parse(link)
	if err != nil || target.Scheme != "" {
		return "", "", err
	}
	path = d.path
	if target.Path != "" {
		path = filepath.Join(filepath.Dir(d.path), filepath.FromSlash(target.Path))
	}
	if filepath.IsAbs(target.Path) || strings.HasPrefix(path, "..") {
		return "", "", fmt.Errorf("leaves the repository")
	}
	return path, target.Fragment, nil
}

// TestDocumentLinks follows every relative link in the documents, to the heading.
func TestDocumentLinks(t *testing.T) {
	all := documents(t)
	inRepository := map[string]bool{}
	for _, file := range tracked(t) {
		for path := file; path != "."; path = filepath.Dir(path) {
			inRepository[path] = true
		}
	}
	inRepository["."] = true
	checked, fragments := 0, 0
	for _, d := range all {
		for _, link := range d.links {
			path, fragment, err := d.resolve(link)
			switch {
			case err != nil:
				t.Errorf("%s: link %s: %v", d.path, link, err)
			case path == "":
			case !inRepository[path]:
				t.Errorf("%s: link %s leads nowhere", d.path, link)
			default:
				checked++
				if target := all[path]; fragment != "" && target != nil {
					fragments++
					if !target.anchors[fragment] {
						t.Errorf("%s: link %s: no such heading", d.path, link)
					}
				}
			}
		}
	}
	if checked < 100 || fragments < 10 {
		t.Errorf("found only %d relative links, %d of them to headings", checked, fragments)
	}
}

// TestDocumentsAreFound fails for a document to which no way leads from the first pages,
// and for a page of docs that its index leaves out.
func TestDocumentsAreFound(t *testing.T) {
	all := documents(t)
	leadsTo := func(d *document) (paths []string) {
		for _, link := range d.links {
			path, _, err := d.resolve(link)
			if err != nil || path == "" {
				continue
			}
			if all[path] != nil {
				paths = append(paths, path)
			}
			// Who opens a directory is shown its README.
			if readme := filepath.Join(path, "README.md"); all[readme] != nil {
				paths = append(paths, readme)
			}
			// The runbooks are listed where the directory is.
			if info, err := os.Stat(path); err == nil && info.IsDir() {
				for other := range all {
					if filepath.Dir(other) == path {
						paths = append(paths, other)
					}
				}
			}
		}
		return paths
	}
	found := map[string]bool{}
	queue := slices.Clone(startPages)
	for len(queue) > 0 {
		path := queue[0]
		queue = queue[1:]
		if found[path] {
			continue
		}
		found[path] = true
		if all[path] == nil {
			t.Fatalf("there is no %s", path)
		}
		queue = append(queue, leadsTo(all[path])...)
	}
	for path := range all {
		if !found[path] {
			t.Errorf("no link leads from %s to %s", strings.Join(startPages, " or "), path)
		}
	}
	index := leadsTo(all["docs/README.md"])
	for path := range all {
		if filepath.Dir(path) == "docs" && path != "docs/README.md" && !slices.Contains(index, path) {
			t.Errorf("docs/README.md has no link to %s", path)
		}
	}
}

// TestBlocksInDocuments parses what is shown as YAML and JSON, looks for the targets of
// make, and for the files that a command line names.
func TestBlocksInDocuments(t *testing.T) {
	targets := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^([a-z-]+):`).FindAllStringSubmatch(read(t, "Makefile"), -1) {
		targets[match[1]] = true
	}
	makeLine := regexp.MustCompile(`(?m)^(?:\s*|.*&& )make ([a-z-]+)`)
	script := regexp.MustCompile(`\b(?:python3|go run|go test|go generate) (?:-\S+ )*(\./)?([\w./-]*/[\w./-]+)`)
	counts := map[string]int{}
	all := documents(t)
	for _, path := range slices.Sorted(maps.Keys(all)) {
		d := all[path]
		for _, b := range d.blocks {
			var err error
			switch b.language {
			case "yaml", "yml":
				var value any
				err = yaml.Unmarshal([]byte(b.text), &value)
				counts["yaml"]++
			case "json":
				var value any
				err = json.Unmarshal([]byte(b.text), &value)
				counts["json"]++
			}
			if err != nil {
				t.Errorf("%s:%d: not %s: %v", d.path, b.line, b.language, err)
			}
		}
		// Commands are in fenced and in indented blocks.
		content := read(t, d.path)
		for _, match := range makeLine.FindAllStringSubmatch(content, -1) {
			counts["make"]++
			if !targets[match[1]] {
				t.Errorf("%s: make %s: the Makefile has no such target", d.path, match[1])
			}
		}
		for _, match := range script.FindAllStringSubmatch(content, -1) {
			file := strings.TrimSuffix(strings.TrimSuffix(match[2], "..."), "/")
			if _, err := os.Stat(file); err != nil && !strings.HasPrefix(match[2], "/") {
				t.Errorf("%s: %s: %v", d.path, match[0], err)
			}
			counts["script"]++
		}
	}
	for what, least := range map[string]int{"yaml": 2, "json": 2, "make": 5, "script": 5} {
		if counts[what] < least {
			t.Errorf("found only %d blocks or lines of %s", counts[what], what)
		}
	}
}

// TestFindingsInTroubleshooting looks for what docs/troubleshooting.md says the program
// says in the sources of the program.
func TestFindingsInTroubleshooting(t *testing.T) {
	var sources strings.Builder
	for _, file := range tracked(t) {
		if filepath.Ext(file) == ".go" && !strings.HasSuffix(file, "_test.go") {
			sources.WriteString(read(t, file))
		}
	}
	all := sources.String()
	quoted := regexp.MustCompile("^\\| `([^`]+)`")
	checked, inTable := 0, false
	for line := range strings.Lines(read(t, "docs/troubleshooting.md")) {
		switch {
		case strings.HasPrefix(line, "| it says"):
			inTable = true
		case !strings.HasPrefix(line, "|"):
			inTable = false
		}
		match := quoted.FindStringSubmatch(line)
		if !inTable || match == nil {
			continue
		}
		for part := range strings.SplitSeq(match[1], "…") {
			// What a format fills in stands between the parts.
			if part = strings.TrimSpace(part); !strings.Contains(all, part) {
				t.Errorf("docs/troubleshooting.md: the program says nowhere %q", part)
			}
			checked++
		}
	}
	if checked < 15 {
		t.Errorf("found only %d quotations", checked)
	}
}

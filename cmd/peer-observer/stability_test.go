package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// newRelease makes TestStability write the fixtures of a release:
//
//	go test ./cmd/peer-observer -run TestStability -release 0.2.0
var newRelease = flag.String("release", "", "write the fixtures of this release, such as 0.2.0")

// releases has a directory for each release, with what it promised.
const releases = "testdata/releases"

// A table is one list of what is promised, a file in the directory of each release.
type table struct {
	file string
	// promise is printed when it would be broken.
	promise string
	// rows gives today's rows: what is promised of each key.
	rows func(t *testing.T) map[string]string
	// holds says whether a row of today keeps what a release promised; equal rows do.
	holds func(promised, today string) bool
}

func tables() []table {
	equal := func(promised, today string) bool { return promised == today }
	return []table{
		{"flags.tsv", "commands, arguments, flags and their environment variables stay. Keep the old name as a hidden flag that warns, for two minor releases", flagTable, keepsFlag},
		{"exit-codes.tsv", "exit codes stay: scripts and units act on them", exitCodeTable, equal},
		{"metrics.tsv", "metrics keep their name, type, labels and label values. Export the old one beside the new one for two minor releases", metricTable, keepsLabels},
		{"subjects.tsv", "kinds of events and their subjects stay: readers are subscribed to them", subjectTable, equal},
		{"fields.tsv", "numbers, names and types of fields and enum values stay for ever: archives and other people's programs have them. Deprecate the field and add another", fieldTable, equal},
		{"identities.tsv", "ids of alerts and uids of dashboards stay: silences, runbooks and links name them", identityTable, equal},
	}
}

// TestStability holds what the program is today against what each release promised:
// nothing may be missing or mean something else, anything may have come.
func TestStability(t *testing.T) {
	published, top := changelog(t)
	if *newRelease != "" {
		if published[*newRelease] && *newRelease != top {
			t.Fatalf("%s is released: its fixtures are what was promised and stay", *newRelease)
		}
		writeRelease(t, filepath.Join(releases, *newRelease))
	}
	entries, err := os.ReadDir(releases)
	if err != nil {
		t.Fatal(err)
	}
	versions := map[string]bool{}
	for _, entry := range entries {
		versions[entry.Name()] = true
		version := entry.Name()
		t.Run(version, func(t *testing.T) {
			keeps(t, filepath.Join(releases, version), version == top)
			if t.Failed() && !published[version] {
				t.Logf("%s isn't released yet: if the change is meant, write its fixtures again by -release %s", version, version)
			}
		})
	}
	if len(versions) == 0 {
		t.Fatalf("%s is empty", releases)
	}
	for version := range published {
		if !versions[version] {
			t.Errorf("CHANGELOG.md has a release %s without fixtures: go test ./cmd/peer-observer -run TestStability -release %s", version, version)
		}
	}
}

// changelog gives the releases that CHANGELOG.md has, and the one on top of it, empty
// while changes are listed there that aren't released.
func changelog(t *testing.T) (published map[string]bool, top string) {
	t.Helper()
	content, err := os.ReadFile("../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	published = map[string]bool{}
	headings := regexp.MustCompile(`(?m)^## +\[?v?([^\s\]]+)`).FindAllStringSubmatch(string(content), -1)
	number := regexp.MustCompile(`^\d+\.\d+\.\d+`)
	for i, match := range headings {
		if !number.MatchString(match[1]) {
			continue
		}
		published[match[1]] = true
		if i == 0 {
			top = match[1]
		}
	}
	return published, top
}

// keeps checks the promises of one release. Those of the release that is being made are
// complete.
func keeps(t *testing.T, dir string, complete bool) {
	for _, table := range tables() {
		today := table.rows(t)
		promised := readTable(t, filepath.Join(dir, table.file))
		for _, key := range slices.Sorted(maps.Keys(promised)) {
			is, ok := today[key]
			name := strings.ReplaceAll(key, "\t", " ")
			switch {
			case !ok:
				t.Errorf("%s: %q is gone. Promised: %s (docs/stability.md)", table.file, name, table.promise)
			case is != promised[key] && !table.holds(promised[key], is):
				t.Errorf("%s: %q is %q and was %q. Promised: %s (docs/stability.md)", table.file, name, is, promised[key], table.promise)
			}
		}
		for key := range today {
			if _, ok := promised[key]; complete && !ok {
				t.Errorf("%s: %q is new: write the fixtures of this release again (docs/stability.md)", table.file, key)
			}
		}
	}
	keepsCalls(t, readTable(t, filepath.Join(dir, "flags.tsv")))
	keepsArchive(t, dir)
}

// A row is a key of columns, ": " and what is promised of it, so that a difference of
// files reads well.
const separator = "\t: "

func readTable(t *testing.T, path string) map[string]string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(content)) {
		key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), separator)
		if !ok {
			t.Fatalf("%s: %q has no %q", path, line, separator)
		}
		rows[key] = value
	}
	if len(rows) < 5 {
		t.Fatalf("%s has only %d rows", path, len(rows))
	}
	return rows
}

func writeRelease(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, table := range tables() {
		var text strings.Builder
		rows := table.rows(t)
		for _, key := range slices.Sorted(maps.Keys(rows)) {
			fmt.Fprintf(&text, "%s%s%s\n", key, separator, rows[key])
		}
		if err := os.WriteFile(filepath.Join(dir, table.file), []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	writeArchive(t, dir)
}

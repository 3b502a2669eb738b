package detection_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peerobserver/peerobserver/lab/detection"
	"github.com/peerobserver/peerobserver/lab/scenario"
)

var update = flag.Bool("update", false, "write docs/detection.md from testdata/results.jsonl")

const page = "../../docs/detection.md"

func inputs(t *testing.T) ([]detection.Rule, []detection.Result) {
	t.Helper()
	rules, err := detection.Rules()
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open("testdata/results.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	results, err := detection.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	return rules, results
}

// The page is what the last run's results say about the rules that there are, and there is a
// result for each.
func TestReport(t *testing.T) {
	rules, results := inputs(t)
	want := detection.Report(rules, results)
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != want {
		t.Errorf("%s isn't what the results and the rules make of it: run `make detection`", page)
	}
	if missing := detection.Missing(rules, results); len(missing) > 0 {
		t.Errorf("no run of the lab has seen %v: run `make detection`", missing)
	}
	for _, r := range rules {
		if !strings.Contains(string(have), "`"+r.Alert+"`") {
			t.Errorf("%s doesn't name %s", page, r.Alert)
		}
	}
}

func TestMissingRule(t *testing.T) {
	rules := []detection.Rule{{ID: "A01", Alert: "One", Severity: "page"}, {ID: "A02", Alert: "Two", Severity: "ticket"}, {ID: "A03", Alert: "Three", Severity: "page"}}
	results := []detection.Result{
		{Rig: &detection.Rig{Cores: 2, Node: "/Satoshi:1.2.3/", TimeScale: 30, Rules: []string{"One", "Two"}, Fired: []string{"One"}}},
		{Provoked: &detection.Provoked{Scenario: "one", Alert: "One", Within: 60, Received: &detection.Alarm{Alert: "One", Severity: "page", Seconds: 1.5}}},
		{Unscaled: &detection.Provoked{Scenario: "one", Alert: "One", Within: 60, Received: &detection.Alarm{Alert: "One", Severity: "page", Seconds: 40}}},
		{Provoked: &detection.Provoked{Scenario: "two", Alert: "Two", Within: 60, False: []detection.Alarm{{Alert: "One", Severity: "page", Seconds: 2}}}},
		{Silent: &detection.Silent{What: "twins", Count: 12, Seconds: 60, False: []detection.Alarm{{Alert: "Two", Severity: "ticket", Seconds: 3}}}},
	}
	if missing := detection.Missing(rules, results); len(missing) != 1 || missing[0] != "Three" {
		t.Errorf("missing %v, want Three", missing)
	}
	report := detection.Report(rules, results)
	for _, want := range []string{
		"Recall 50 %: 1 of 2", "Precision 33.33 %: 1 notifications were meant, 2 false",
		"| `One` | page | received | 1.5 s | 45 s | 40 s | 1 min |", "| `Two` | ticket | **not fired** |", "| `Three` | page | **no result** |",
		"| twins (12) | 30 min | `Two` (ticket) | none |", "- two: `One` (page)",
	} {
		if !strings.Contains(report, want) {
			t.Errorf("the report has no %q:\n%s", want, report)
		}
	}
}

// A run without provocations says nothing about the rules but that they were evaluated.
func TestHonestTrafficOnly(t *testing.T) {
	rules := []detection.Rule{{ID: "A01", Alert: "One", Severity: "page"}}
	results := []detection.Result{
		{Rig: &detection.Rig{Cores: 2, Node: "/Satoshi:1.2.3/", TimeScale: 30, Rules: []string{"One"}, Fired: []string{"One"}}},
		{Silent: &detection.Silent{What: "BG1 quiet", Count: 1, Seconds: 12, Allowed: []detection.Alarm{{Alert: "One", Severity: "page", Seconds: 3}}}},
	}
	report := detection.Report(rules, results)
	for _, want := range []string{"honest traffic only, and 0 false", "| `One` | page | not provoked in this run |", "| BG1 quiet | 6 min | none | `One` (page) |"} {
		if !strings.Contains(report, want) {
			t.Errorf("the report has no %q:\n%s", want, report)
		}
	}
}

// What honest traffic may give rise to is an alert that there is.
func TestAllowedAlertsExist(t *testing.T) {
	rules, err := detection.Rules()
	if err != nil {
		t.Fatal(err)
	}
	exist := map[string]bool{}
	for _, r := range rules {
		exist[r.Alert] = true
	}
	for _, b := range scenario.Backgrounds() {
		for _, alert := range b.May {
			if !exist[alert] {
				t.Errorf("%s: there is no alert %s", b.Name, alert)
			}
		}
	}
}

func TestAppendAndRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results.jsonl")
	t.Setenv(detection.EnvResults, file)
	for range 2 {
		if err := detection.Append(detection.Result{Silent: &detection.Silent{What: "BG1", Count: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	results, err := detection.Read(bytes.NewReader(text))
	if err != nil || len(results) != 2 || results[1].Silent.What != "BG1" {
		t.Errorf("read %v, %v", results, err)
	}
	for _, bad := range []string{"{}\n", "no JSON\n"} {
		if _, err := detection.Read(strings.NewReader(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

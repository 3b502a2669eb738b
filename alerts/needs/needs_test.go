package needs_test

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

	"go.yaml.in/yaml/v2"

	"github.com/peerobserver/peerobserver/alerts/needs"
	"github.com/peerobserver/peerobserver/exporters/metrics"
)

// read is what the alerts of an id read, according to the rule files.
type read struct {
	metrics map[string]bool
	gated   bool
}

// readRules collects it, with what the recording rules read that the alerts use.
func readRules(t *testing.T) map[string]*read {
	t.Helper()
	files, err := filepath.Glob("../*.rules.yml")
	if err != nil || len(files) < 5 {
		t.Fatalf("rule files %v, %v", files, err)
	}
	type rule struct {
		Alert, Record, Expr string
		Labels              map[string]string
	}
	var alerts []rule
	records := map[string]string{}
	for _, file := range files {
		if filepath.Base(file) == "compatibility.rules.yml" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var parsed struct{ Groups []struct{ Rules []rule } }
		if err := yaml.Unmarshal(text, &parsed); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, group := range parsed.Groups {
			for _, r := range group.Rules {
				if r.Record != "" {
					records[r.Record] += " " + r.Expr
				} else {
					alerts = append(alerts, r)
				}
			}
		}
	}
	metric := regexp.MustCompile(`\bpeerobserver_[a-z0-9_]+`)
	recorded := regexp.MustCompile(`\bpeerobserver:[a-z0-9_:]+`)
	all := map[string]*read{}
	var collect func(r *read, expression string, seen map[string]bool)
	collect = func(r *read, expression string, seen map[string]bool) {
		for _, name := range metric.FindAllString(expression, -1) {
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				name = strings.TrimSuffix(name, suffix)
			}
			r.metrics[strings.TrimPrefix(name, "peerobserver_")] = true
		}
		for _, name := range recorded.FindAllString(expression, -1) {
			switch {
			case name == "peerobserver:gate_warm":
				r.gated = true
			case strings.HasPrefix(name, "peerobserver:threshold_") || seen[name]:
			default:
				seen[name] = true
				collect(r, records[name], seen)
			}
		}
	}
	for _, alert := range alerts {
		id := alert.Labels["id"]
		if all[id] == nil {
			all[id] = &read{metrics: map[string]bool{}}
		}
		collect(all[id], alert.Expr, map[string]bool{})
	}
	return all
}

// line is what to put into the table when nothing better is known: one way that needs
// everything.
func line(id string, r *read) string {
	gated := ""
	if r.gated {
		gated = " Gated: true,"
	}
	return fmt.Sprintf("{ID: %q,%s Ways: []Way{by(\"%s\")}},", id, gated, strings.Join(slices.Sorted(maps.Keys(r.metrics)), `", "`))
}

// The table has every rule of the rule files with every metric that it reads, and nothing
// else.
func TestTableMatchesRules(t *testing.T) {
	all := readRules(t)
	known := map[string]bool{}
	for _, d := range metrics.Definitions() {
		known[d.Name] = true
	}
	listed := map[string]bool{}
	for _, rule := range needs.Rules() {
		if listed[rule.ID] {
			t.Errorf("%s is twice in the table", rule.ID)
		}
		listed[rule.ID] = true
		r := all[rule.ID]
		if r == nil {
			t.Errorf("%s is in alerts/needs/table.go, and no alert has that id: take its line out", rule.ID)
			continue
		}
		has := map[string]bool{}
		for _, metric := range rule.Besides {
			has[metric] = true
		}
		if len(rule.Ways) == 0 {
			t.Errorf("%s: no way in which it fires", rule.ID)
		}
		for _, way := range rule.Ways {
			if len(way.Metrics) == 0 {
				t.Errorf("%s: a way without a metric", rule.ID)
			}
			for _, metric := range way.Metrics {
				has[metric] = true
			}
			for _, also := range way.Also {
				if !strings.HasPrefix(also, needs.Debug) && !strings.HasPrefix(also, needs.Tracepoint) && !strings.HasPrefix(also, needs.Field) && also != needs.HostClock {
					t.Errorf("%s: %q is no category of the log, tracepoint, field nor the clock", rule.ID, also)
				}
			}
		}
		for metric := range has {
			if !known["peerobserver_"+metric] {
				t.Errorf("%s: there is no metric peerobserver_%s", rule.ID, metric)
			}
		}
		if !maps.Equal(has, r.metrics) || rule.Gated != r.gated {
			t.Errorf("%s: the table in alerts/needs/table.go has %v (gated: %t), the rules read %v (gated: %t); put each metric into a way, or into Besides when no alert needs it to fire",
				rule.ID, slices.Sorted(maps.Keys(has)), rule.Gated, slices.Sorted(maps.Keys(r.metrics)), r.gated)
		}
	}
	for id, r := range all {
		if !listed[id] {
			t.Errorf("rule %s is missing in alerts/needs/table.go. Add a line such as\n\t%s\nwith a way for each alternative, Also for categories of the log and tracepoints, and then run\n\tgo test ./alerts/needs -update",
				id, line(id, r))
		}
	}
	if ids := slices.Collect(maps.Keys(listed)); !slices.IsSortedFunc(needs.Rules(), func(a, b needs.Rule) int { return strings.Compare(a.ID, b.ID) }) {
		t.Errorf("the table isn't in the order of ids: %v", ids)
	}
}

// The gate is what peerobserver:gate_warm reads.
func TestGate(t *testing.T) {
	text, err := os.ReadFile("../gates.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, name := range regexp.MustCompile(`\bpeerobserver_[a-z0-9_]+`).FindAllString(string(text), -1) {
		want = append(want, strings.TrimPrefix(name, "peerobserver_"))
	}
	if got := needs.Gate().Metrics; !slices.Equal(got, want) {
		t.Errorf("the gate reads %v, the table has %v", want, got)
	}
}

var update = flag.Bool("update", false, "write the table in docs/alerts.md instead of comparing it")

// The table in docs/alerts.md is that of this package.
func TestDocumented(t *testing.T) {
	const path, begin, end = "../../docs/alerts.md", "<!-- begin: go test ./alerts/needs -update -->\n", "<!-- end -->\n"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no lines %q and %q", path, begin, end)
	}
	var table strings.Builder
	table.WriteString("| id | sees by |\n|--|--|\n")
	for _, rule := range metrics.NeedsOfRules() {
		var ways []string
		for _, way := range rule.Ways {
			quoted := "the agent itself"
			if len(way) > 0 {
				quoted = "`" + strings.Join(way, "` and `") + "`"
			}
			if !slices.Contains(ways, quoted) {
				ways = append(ways, quoted)
			}
		}
		fmt.Fprintf(&table, "| %s | %s |\n", rule.ID, strings.Join(ways, "; or "))
	}
	want := before + begin + table.String() + end + after
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(text) {
		t.Errorf("the table in %s is out of date: run go test ./alerts/needs -update", path)
	}
}

package dashboards_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v2"

	"github.com/peerobserver/peerobserver/dashboards"
	"github.com/peerobserver/peerobserver/dashboards/picture"
)

// Generated files are those that the tables make, and there are no others.
func TestGeneratedFilesAreFresh(t *testing.T) {
	files, err := dashboards.Files("..")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		have, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Error(err)
			continue
		}
		if !bytes.Equal(have, want) {
			t.Errorf("%s is not what the tables make: run `go generate ./dashboards`", name)
		}
	}
	present, err := filepath.Glob("*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range present {
		if files[filepath.Join("dashboards", name)] == nil {
			t.Errorf("%s belongs to no table", name)
		}
	}
	if len(present) != len(dashboards.All()) || len(present) < 12 {
		t.Errorf("%d files for %d dashboards", len(present), len(dashboards.All()))
	}
}

// loaded are the dashboards as they are on disk.
func loaded(t *testing.T) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	out := map[string][]byte{}
	for _, name := range names {
		if out[name], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// parsed are those dashboards, in the order of their files.
func parsed(t *testing.T) []picture.Dashboard {
	t.Helper()
	files := loaded(t)
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	var out []picture.Dashboard
	for _, name := range names {
		d, err := picture.Parse(files[name])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out = append(out, d)
	}
	return out
}

// Steps of thresholds are the numbers of the alert rules, by whatever way they got there.
func TestThresholdsAreThoseOfTheRules(t *testing.T) {
	rules, err := os.ReadFile("../alerts/thresholds.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct{ Record, Expr string }
		}
	}
	if err := yaml.Unmarshal(rules, &file); err != nil {
		t.Fatal(err)
	}
	read, err := dashboards.Thresholds(string(rules))
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			count++
			name := strings.TrimPrefix(rule.Record, "peerobserver:threshold_")
			var value float64
			if err := json.Unmarshal([]byte(strings.TrimSuffix(strings.TrimPrefix(rule.Expr, "vector("), ")")), &value); err != nil {
				t.Errorf("%s: %v", rule.Expr, err)
			}
			if read[name] != value {
				t.Errorf("threshold %s is read as %v, want %v", name, read[name], value)
			}
		}
	}
	if count != len(read) || count < 10 {
		t.Errorf("%d thresholds in the file, %d read", count, len(read))
	}
	if _, err := dashboards.All()[0].JSON(nil); err == nil {
		t.Error("a threshold that the rules don't have is no error")
	}
}

// Every alert rule has a panel that links to its runbook, and every threshold is on a
// panel, but for those that say when a rule is on at all.
func TestRulesHavePanels(t *testing.T) {
	rules, err := os.ReadFile("../alerts/thresholds.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	thresholds, err := dashboards.Thresholds(string(rules))
	if err != nil {
		t.Fatal(err)
	}
	runbooks, err := filepath.Glob("../alerts/runbooks/*.md")
	if err != nil || len(runbooks) < 10 {
		t.Fatalf("%d runbooks, %v", len(runbooks), err)
	}
	// Conditions beside the one that is shown.
	shown := map[string]bool{"warm_up_seconds": true, "i04_lost_events": true, "c06_rise": true, "g02_tips_of_week": true, "g06_peers": true,
		"h01_rise": true, "h02_rise": true, "a01_factor": true, "a02_peers": true, "a14_peers": true, "a05_addresses": true, "a05_observed_seconds": true,
		"a06_entropy_entries": true, "e01_peers": true, "e01_joined": true,
		"e01_uptime_seconds": true, "e04_deviations": true, "e04_deviation_least": true, "a12_peers": true, "i03_accepted": true,
		"b12_half_open_least": true, "b12_slots": true,
		"a04_nodes": true, "a05_nodes": true, "a12_nodes": true, "a14_nodes": true, "i01_nodes": true,
		"b02_stalled": true, "b02_stalled_ratio": true, "b08_rise": true, "b08_rise_seconds": true, "f02_peers": true, "f03_drop": true,
		"f03_blocks": true, "f03_warm_up_seconds": true, "f09_peers": true, "f10_before": true, "f10_outbound": true, "f10_ratio": true}
	linked := map[string]bool{}
	for _, d := range dashboards.All() {
		for _, row := range d.Rows {
			for _, p := range row.Panels {
				for _, id := range p.Runbooks {
					linked[id] = true
				}
				for _, threshold := range p.Thresholds {
					shown[threshold.Name] = true
				}
			}
		}
	}
	for name := range thresholds {
		if !shown[name] {
			t.Errorf("threshold %s is on no panel: add one to signals.go", name)
		}
	}
	for _, file := range runbooks {
		if id := strings.TrimSuffix(filepath.Base(file), ".md"); !linked[id] {
			t.Errorf("no panel links to the runbook of %s: add one to signals.go", id)
		}
	}
}

// Links to runbooks and documents of the repository lead to files that exist, and the
// panels of a rule link to its runbook.
func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`https://github\.com/peerobserver/peerobserver/blob/main/([\w./-]+)`)
	inside := regexp.MustCompile(`"/d/(peerobserver-[a-z]+)/`)
	uids := map[string]bool{}
	for _, d := range parsed(t) {
		uids[d.UID] = true
	}
	found := map[string]bool{}
	for name, text := range loaded(t) {
		for _, match := range link.FindAllStringSubmatch(string(text), -1) {
			found[match[1]] = true
		}
		for _, match := range inside.FindAllStringSubmatch(string(text), -1) {
			found[match[1]] = true
			if !uids[match[1]] {
				t.Errorf("%s links to the dashboard %s, which isn't there", name, match[1])
			}
		}
	}
	for target := range found {
		if uids[target] || target == "alerts/runbooks/" {
			continue
		}
		if _, err := os.Stat(filepath.Join("..", target)); err != nil {
			t.Errorf("a link leads to %s, which isn't there", target)
		}
	}
	if !found["alerts/runbooks/B01.md"] || !found["peerobserver-node"] || !found["docs/alerts.md"] {
		t.Errorf("found only %d links", len(found))
	}
}

// What Grafana provisions is YAML and names the directory that the page tells to fill.
func TestProvisioning(t *testing.T) {
	var provider struct {
		Providers []struct {
			AllowUIUpdates bool `yaml:"allowUiUpdates"`
			Options        struct{ Path string }
		}
	}
	text, err := os.ReadFile("provisioning/dashboards/peerobserver.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &provider); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../docs/dashboards.md")
	if err != nil {
		t.Fatal(err)
	}
	if len(provider.Providers) != 1 || provider.Providers[0].AllowUIUpdates || !strings.Contains(string(page), "`"+provider.Providers[0].Options.Path+"`") {
		t.Errorf("providers %+v", provider.Providers)
	}
	var source struct {
		Datasources []struct {
			Type     string
			JSONData struct {
				TimeInterval string `yaml:"timeInterval"`
			} `yaml:"jsonData"`
		}
	}
	if text, err = os.ReadFile("provisioning/datasources/peerobserver.yml"); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &source); err != nil {
		t.Fatal(err)
	}
	if len(source.Datasources) != 1 || source.Datasources[0].Type != "prometheus" || source.Datasources[0].JSONData.TimeInterval != "15s" {
		t.Errorf("data sources %+v", source.Datasources)
	}
}

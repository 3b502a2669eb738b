package alerts_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v2"

	"github.com/peerobserver/peerobserver/alerts"
	"github.com/peerobserver/peerobserver/lab/scenario"
	"github.com/peerobserver/peerobserver/lab/servers"
)

// rule is an alert or a recording rule.
type rule struct {
	Alert       string            `yaml:"alert"`
	Record      string            `yaml:"record"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
	file        string
}

func ruleFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.rules.yml")
	if err != nil || len(files) < 5 {
		t.Fatalf("rule files %v, %v", files, err)
	}
	return slices.DeleteFunc(files, func(f string) bool { return f == "compatibility.rules.yml" })
}

func rules(t *testing.T) []rule {
	t.Helper()
	var all []rule
	for _, file := range ruleFiles(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var parsed struct {
			Groups []struct {
				Rules []rule `yaml:"rules"`
			} `yaml:"groups"`
		}
		if err := yaml.Unmarshal(text, &parsed); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, group := range parsed.Groups {
			for _, r := range group.Rules {
				r.file = file
				all = append(all, r)
			}
		}
	}
	return all
}

// Every alert has its severity, id, class and runbook, a unit test in which it fires and
// resolves, and a scenario of its id; every runbook names its alerts.
func TestEveryAlertIsWhole(t *testing.T) {
	const repository = "https://github.com/peerobserver/peerobserver/blob/main/"
	name := regexp.MustCompile(`^PeerObserver([A-Z][a-z0-9]+)+$`)
	id := regexp.MustCompile(`^[A-I]\d\d$`)
	tests := unitTests(t)
	scenarios := map[string]bool{}
	proven := map[string]bool{}
	for _, s := range scenario.All() {
		scenarios[s.Rule] = true
		proven[s.Alert] = true
		for _, alert := range append(s.Also, s.TwinMay...) {
			proven[alert] = true
		}
	}
	seen := map[string]bool{}
	ids := map[string]bool{}
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		if seen[r.Alert] || !name.MatchString(r.Alert) {
			t.Errorf("%s: alert %s is there twice or has another form than PeerObserverSomething", r.file, r.Alert)
		}
		seen[r.Alert] = true
		ids[r.Labels["id"]] = true
		if !slices.Contains([]string{"page", "ticket", "info"}, r.Labels["severity"]) {
			t.Errorf("%s: severity %q", r.Alert, r.Labels["severity"])
		}
		if !id.MatchString(r.Labels["id"]) {
			t.Errorf("%s: id %q", r.Alert, r.Labels["id"])
		}
		if r.file != r.Labels["class"]+".rules.yml" {
			t.Errorf("%s: class %q in %s", r.Alert, r.Labels["class"], r.file)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s: no summary or description", r.Alert)
		}
		path, ours := strings.CutPrefix(r.Annotations["runbook_url"], repository)
		if !ours || path != "alerts/runbooks/"+r.Labels["id"]+".md" {
			t.Errorf("%s: runbook %q", r.Alert, r.Annotations["runbook_url"])
			continue
		}
		runbook, err := os.ReadFile(filepath.Join("..", path))
		if err != nil {
			t.Errorf("%s: %v", r.Alert, err)
		}
		if !strings.Contains(string(runbook), "`"+r.Alert+"`") && !strings.Contains(string(runbook), "`"+r.Alert) {
			t.Errorf("%s: %s doesn't name it", r.Alert, path)
		}
		if !tests.fires[r.Alert] {
			t.Errorf("%s: fires in no unit test", r.Alert)
		}
		if !tests.resolves[r.Alert] && r.Alert != "PeerObserverThresholdsMissing" {
			t.Errorf("%s: no unit test sees its end", r.Alert)
		}
		if !tests.benign[r.Labels["id"]] {
			t.Errorf("%s: no benign unit test of %s", r.Alert, r.Labels["id"])
		}
		if !scenarios[r.Labels["id"]] {
			t.Errorf("%s: no scenario of rule %s", r.Alert, r.Labels["id"])
		}
		if slices.Contains(ofSeveralNodes(), r.Alert) {
			// Of these the scenario proves what one node sees.
			if tests.nodes[r.Alert] < 2 {
				t.Errorf("%s: no unit test in which it fires at two nodes", r.Alert)
			}
		} else if !proven[r.Alert] && r.Alert != "PeerObserverThresholdsMissing" {
			t.Errorf("%s: no scenario gives rise to it", r.Alert)
		}
	}
	for _, s := range scenario.All() {
		for _, alert := range slices.Concat([]string{s.Alert}, s.Also, s.TwinMay) {
			if !seen[alert] {
				t.Errorf("scenario %s: there is no alert %s", s.Name, alert)
			}
		}
	}
	runbooks, err := filepath.Glob("runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, runbook := range runbooks {
		if id := strings.TrimSuffix(filepath.Base(runbook), ".md"); !ids[id] {
			t.Errorf("%s: no alert has the id %s", runbook, id)
		}
		text, err := os.ReadFile(runbook)
		if err != nil {
			t.Fatal(err)
		}
		for _, heading := range []string{"What it means", "How sure", "First look", "What to do", "Known false alarms", "Reference"} {
			if !strings.Contains(string(text), "\n## "+heading+"\n") {
				t.Errorf("%s has no part %q", runbook, heading)
			}
		}
	}
}

// ofSeveralNodes are the alerts that compare the nodes of one job. The lab has one node.
func ofSeveralNodes() []string {
	return []string{
		"PeerObserverAddressFloodSpread", "PeerObserverAddressSurgeSpread", "PeerObserverIpv4LostSpread",
		"PeerObserverInboundDropSpread", "PeerObserverNodesCrashTogether",
	}
}

// tested is what the unit tests show.
type tested struct {
	nodes           map[string]float64 // by alert: at how many nodes at once it fires, at most
	fires, resolves map[string]bool    // by alert
	benign          map[string]bool    // by rule id
}

func unitTests(t *testing.T) tested {
	t.Helper()
	all := tested{nodes: map[string]float64{}, fires: map[string]bool{}, resolves: map[string]bool{}, benign: map[string]bool{}}
	files, err := filepath.Glob("tests/*.test.yml")
	if err != nil {
		t.Fatal(err)
	}
	alert := regexp.MustCompile(`alertname="(\w+)"`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var parsed struct {
			Tests []struct {
				Name  string `yaml:"name"`
				Cases []struct {
					Samples []struct {
						Labels string  `yaml:"labels"`
						Value  float64 `yaml:"value"`
					} `yaml:"exp_samples"`
				} `yaml:"promql_expr_test"`
			} `yaml:"tests"`
		}
		if err := yaml.Unmarshal(text, &parsed); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, test := range parsed.Tests {
			id, _, _ := strings.Cut(test.Name, " ")
			if strings.Contains(test.Name, "benign") {
				all.benign[id] = true
			}
			firing := map[string]bool{}
			for _, c := range test.Cases {
				now := map[string]bool{}
				for _, sample := range c.Samples {
					for _, match := range alert.FindAllStringSubmatch(sample.Labels, -1) {
						now[match[1]] = true
						all.fires[match[1]] = true
						all.nodes[match[1]] = max(all.nodes[match[1]], sample.Value)
					}
				}
				for name := range firing {
					if !now[name] {
						all.resolves[name] = true
					}
				}
				firing = now
			}
		}
	}
	return all
}

// Every threshold that is read exists, and every one that exists is read.
func TestThresholds(t *testing.T) {
	read := map[string]bool{}
	exist := map[string]bool{}
	name := regexp.MustCompile(`peerobserver:threshold_\w+`)
	for _, r := range rules(t) {
		if r.Record != "" && strings.HasPrefix(r.Record, "peerobserver:threshold_") {
			exist[r.Record] = true
		}
		for _, threshold := range name.FindAllString(r.Expr, -1) {
			read[threshold] = true
		}
	}
	for threshold := range read {
		if !exist[threshold] {
			t.Errorf("%s is read and not in thresholds.rules.yml: the rule is silent", threshold)
		}
	}
	for threshold := range exist {
		if !read[threshold] {
			t.Errorf("%s is read by no rule", threshold)
		}
	}
}

// The unit tests name the order in which groups are evaluated, because promtool takes
// groups without an order in one of chance: each reads what those before it record.
func TestUnitTestsHaveAnOrder(t *testing.T) {
	files, err := filepath.Glob("tests/*.test.yml")
	if err != nil || len(files) < len(ruleFiles(t)) {
		t.Fatalf("unit tests %v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var parsed struct {
			RuleFiles []string `yaml:"rule_files"`
			Order     []string `yaml:"group_eval_order"`
		}
		if err := yaml.Unmarshal(text, &parsed); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		var want []string
		for _, f := range parsed.RuleFiles {
			want = append(want, "peerobserver-"+strings.TrimSuffix(filepath.Base(f), ".rules.yml"))
		}
		if len(want) > 1 && !slices.Equal(parsed.Order, want) {
			t.Errorf("%s: group_eval_order is %v, want that of its rule files, %v", file, parsed.Order, want)
		}
	}
}

// Real promtool and amtool of the oldest supported version and of a present one accept
// rules, scaled rules and the Alertmanager configuration; the unit tests pass.
func TestRealTools(t *testing.T) {
	tests, err := filepath.Glob("tests/*.test.yml")
	if err != nil {
		t.Fatal(err)
	}
	scaled := t.TempDir()
	if err := alerts.Write(scaled, alerts.Options{TimeScale: 60}); err != nil {
		t.Fatal(err)
	}
	copies, err := filepath.Glob(filepath.Join(scaled, "*.yml"))
	if err != nil || len(copies) != len(ruleFiles(t)) {
		t.Fatalf("%d copies of %d rule files, %v", len(copies), len(ruleFiles(t)), err)
	}
	for _, suite := range servers.Suites() {
		t.Run(string(suite), func(t *testing.T) {
			b := servers.ForTest(t, suite)
			if out, err := b.CheckRules(t.Context(), append(ruleFiles(t), copies...)...); err != nil {
				t.Error(out, err)
			}
			if out, err := b.TestRules(t.Context(), tests...); err != nil {
				t.Error(out, err)
			}
			if out, err := b.CheckAlertmanagerConfig(t.Context(), "alertmanager.example.yml"); err != nil {
				t.Error(out, err)
			}
		})
	}
}

func TestScale(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"rate(x[1m])", "rate(x[1000ms])"},
		{"for: 10m", "for: 10000ms"},
		{"keep_firing_for: 5m", "keep_firing_for: 5000ms"},
		{"x offset 1h30m > 5", "x offset 90000ms > 5"},
		{"increase(y{a=\"5m\"}[1d]) > 60", "increase(y{a=\"5m\"}[1440000ms]) > 60"},
		{"x[30ms]", "x[1ms]"},
		{"description: within 5m", "description: within 5m"},
		{"[abc]", "[abc]"},
	} {
		if got := alerts.Scale(c.text, 60); got != c.want {
			t.Errorf("%s: %s, want %s", c.text, got, c.want)
		}
	}
}

func TestWriteThresholds(t *testing.T) {
	dir := t.TempDir()
	if err := alerts.Write(dir, alerts.Options{Thresholds: map[string]float64{"b04_pings": 7}}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "thresholds.rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "threshold_b04_pings\n        expr: vector(7)\n") {
		t.Errorf("the threshold isn't there: %s", text)
	}
	original, err := os.ReadFile("observer.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	copied, err := os.ReadFile(filepath.Join(dir, "observer.rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if string(original) != string(copied) {
		t.Error("a copy without a time scale differs")
	}
	if err := alerts.Write(dir, alerts.Options{Thresholds: map[string]float64{"no_such": 7}}); err == nil {
		t.Error("a threshold that doesn't exist is set")
	}
}

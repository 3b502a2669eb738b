package dashboards_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peerobserver/peerobserver/dashboards/picture"
	"github.com/peerobserver/peerobserver/lab/servers"
)

// linted is what the rules of Grafana's dashboard linter look at.
type linted struct {
	UID           string
	Title         string
	Editable      *bool
	SchemaVersion int `json:"schemaVersion"`
	Tags          []string
	Inputs        any `json:"__inputs"`
	ID            any
	Refresh       string
	Links         []struct{ Type, URL string }
	Annotations   struct {
		List []struct {
			Name, Expr string
			Datasource struct{ UID string }
			BuiltIn    int `json:"builtIn"`
		}
	}
	Templating struct {
		List []struct {
			Name, Label, Type, AllValue string
			Query                       any
			Refresh                     int
			Multi, IncludeAll           bool
			Datasource                  struct{ UID string }
		}
	}
	Panels []struct {
		ID                       int
		Type, Title, Description string
		GridPos                  picture.GridPos
		Datasource               *struct{ Type, UID string }
		FieldConfig              struct{ Defaults struct{ Unit string } }
		Targets                  []struct {
			RefID, Expr string
			Datasource  struct{ UID string }
		}
	}
}

// The rules of dashboard-linter, and some of ours, for everything but expressions.
func TestDashboardsFollowTheLinter(t *testing.T) {
	uids := map[string]bool{}
	for name, text := range loaded(t) {
		var d linted
		if err := json.Unmarshal(text, &d); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		report := func(format string, args ...any) { t.Errorf("%s: %s", name, fmt.Sprintf(format, args...)) }
		if d.UID+".json" != name || len(d.UID) > 40 || uids[d.UID] {
			report("uid %q", d.UID)
		}
		uids[d.UID] = true
		if d.Editable == nil || *d.Editable || d.Inputs != nil || d.ID != nil || d.SchemaVersion != 38 || !slices.Contains(d.Tags, "peer-observer") || d.Refresh == "" {
			report("editable, made by an export, or without tags, schema or refresh")
		}
		if len(d.Links) < 2 || d.Links[0].Type != "dashboards" {
			report("no menu of the other dashboards")
		}
		lintVariables(t, name, d)
		lintPanels(t, name, d)
		var marked []string
		for _, a := range d.Annotations.List {
			if a.BuiltIn == 0 {
				marked = append(marked, a.Name)
				if a.Datasource.UID != "${datasource}" {
					report("annotation %s has a data source of its own", a.Name)
				}
			}
		}
		if !slices.Equal(marked, []string{"Node restarts", "Alerts", "Blocks"}) {
			report("annotations %v", marked)
		}
	}
}

func lintVariables(t *testing.T, name string, d linted) {
	t.Helper()
	want := map[string]string{"datasource": "Data source", "job": "Job", "instance": "Instance", "node": "Node"}
	for _, v := range d.Templating.List {
		if want[v.Name] != v.Label {
			t.Errorf("%s: variable %s is labelled %q", name, v.Name, v.Label)
		}
		delete(want, v.Name)
		switch v.Name {
		case "datasource":
			if v.Type != "datasource" || v.Query != "prometheus" {
				t.Errorf("%s: variable datasource: %+v", name, v)
			}
		case "job", "instance", "node":
			all := map[string]string{"job": ".+", "instance": ".+", "node": ".*"}[v.Name]
			if v.Type != "query" || v.Refresh != 2 || !v.Multi || !v.IncludeAll || v.AllValue != all || v.Datasource.UID != "${datasource}" {
				t.Errorf("%s: variable %s: %+v", name, v.Name, v)
			}
		default:
			t.Errorf("%s: variable %s", name, v.Name)
		}
	}
	if len(want) > 0 {
		t.Errorf("%s: no variable %v", name, slices.Collect(maps.Keys(want)))
	}
}

func lintPanels(t *testing.T, name string, d linted) {
	t.Helper()
	ids, titles := map[int]bool{}, map[string]bool{}
	taken := map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 {
			t.Errorf("%s: panel %q has the id %d of another", name, p.Title, p.ID)
		}
		ids[p.ID] = true
		if p.GridPos.X+p.GridPos.W > 24 || p.GridPos.W <= 0 || p.GridPos.H <= 0 {
			t.Errorf("%s: panel %q stands out: %+v", name, p.Title, p.GridPos)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other := taken[at]; other != "" {
					t.Fatalf("%s: panels %q and %q overlap", name, p.Title, other)
				}
				taken[at] = p.Title
			}
		}
		if p.Title == "" {
			t.Errorf("%s: a panel without a title", name)
		}
		if p.Type == "row" {
			continue
		}
		if titles[p.Title+p.Type] {
			t.Errorf("%s: two panels %q", name, p.Title)
		}
		titles[p.Title+p.Type] = true
		if len(p.Description) < 10 || !strings.HasSuffix(p.Description, ".") {
			t.Errorf("%s: panel %q: description %q", name, p.Title, p.Description)
		}
		if p.FieldConfig.Defaults.Unit == "" && p.Type != "table" {
			t.Errorf("%s: panel %q has no unit", name, p.Title)
		}
		if p.Datasource == nil || p.Datasource.UID != "${datasource}" || p.Datasource.Type != "prometheus" || len(p.Targets) == 0 {
			t.Errorf("%s: panel %q: data source %+v, %d queries", name, p.Title, p.Datasource, len(p.Targets))
		}
		for _, target := range p.Targets {
			if target.Datasource.UID != "${datasource}" || target.RefID == "" {
				t.Errorf("%s: panel %q: query %q of %q", name, p.Title, target.RefID, target.Datasource.UID)
			}
		}
	}
}

// placed is an expression of a dashboard, with numbers for variables.
type placed struct{ where, expr string }

// expressions are all of the dashboards: of panels and annotations.
func expressions(t *testing.T) []placed {
	t.Helper()
	variables := map[string]string{"__rate_interval": "1m7s", "__range": "1h7s", "__interval": "7s"}
	var out []placed
	for name, text := range loaded(t) {
		var d linted
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatal(err)
		}
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				out = append(out, placed{name + ", panel " + p.Title + ", " + target.RefID, picture.Interpolate(target.Expr, variables)})
			}
		}
		for _, a := range d.Annotations.List {
			if a.Expr != "" {
				out = append(out, placed{name + ", annotation " + a.Name, a.Expr})
			}
		}
	}
	return out
}

// Every expression is one to the oldest supported Prometheus: promtool takes them as
// recording rules.
func TestOldestPrometheusParsesExpressions(t *testing.T) {
	type object = map[string]any
	var rules []object
	for i, e := range expressions(t) {
		rules = append(rules, object{"record": fmt.Sprintf("expression_%d", i), "expr": e.expr})
	}
	text, err := json.Marshal(object{"groups": []object{{"name": "expressions", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "expressions.rules.yml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, suite := range servers.Suites() {
		if output, err := servers.ForTest(t, suite).CheckRules(t.Context(), file); err != nil {
			t.Errorf("Prometheus of Debian %s: %v\n%s", suite, err, output)
		}
	}
}

// ast is a node of what Prometheus makes of an expression.
type ast struct {
	Type, Name, Op string
	Range          int64 // ms
	Matchers       []struct{ Name, Type, Value string }
	Func           struct{ Name string }
	Args           []*ast
	Expr, LHS, RHS *ast
	Param          *ast
}

// The rules of dashboard-linter for expressions, on what Prometheus' own parser makes of
// them: every selector has the matchers of the variables, counters are read through a
// rate, rates are taken before sums, and rates follow the scrape interval.
func TestExpressionsFollowTheLinter(t *testing.T) {
	p := servers.StartPrometheus(t, servers.PrometheusConfig{Binaries: servers.ForTest(t, servers.Newest)})
	counters := 0
	for _, e := range expressions(t) {
		tree, err := parse(t.Context(), p.URL(), e.expr)
		if err != nil {
			t.Errorf("%s: %v", e.where, err)
			continue
		}
		tree.walk(nil, func(n *ast, above []*ast) {
			for _, problem := range n.problems(above, strings.Contains(e.where, "annotation")) {
				t.Errorf("%s: %s in %s", e.where, problem, e.expr)
			}
			if strings.HasSuffix(n.Name, "_total") {
				counters++
			}
		})
	}
	if counters < 50 {
		t.Errorf("saw only %d counters", counters)
	}
}

func parse(ctx context.Context, prometheus, expr string) (*ast, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, prometheus+"/api/v1/parse_query?"+url.Values{"query": {expr}}.Encode(), nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Status, Error string
		Data          *ast
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("%s: %.200s", response.Status, body)
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("%s: %s", expr, answer.Error)
	}
	return answer.Data, nil
}

func (n *ast) walk(above []*ast, visit func(*ast, []*ast)) {
	if n == nil {
		return
	}
	visit(n, above)
	above = append(slices.Clone(above), n)
	for _, child := range append([]*ast{n.Expr, n.LHS, n.RHS, n.Param}, n.Args...) {
		child.walk(above, visit)
	}
}

// problems are what is wrong with a node of an expression.
func (n *ast) problems(above []*ast, annotation bool) (out []string) {
	if n.Type != "vectorSelector" && n.Type != "matrixSelector" {
		return nil
	}
	has := map[string]string{}
	for _, m := range n.Matchers {
		has[m.Name] = m.Type + m.Value
	}
	isThreshold := strings.HasPrefix(n.Name, "peerobserver:threshold_")
	if !isThreshold && !strings.HasPrefix(has["__name__"], "=~peerobserver:threshold_") && (has["job"] != "=~$job" || has["instance"] != "=~$instance") {
		out = append(out, n.Name+" is not limited to $job and $instance")
	}
	nodeless := n.Name == "up" || n.Name == "peerobserver_build_info" || !strings.HasPrefix(n.Name, "peerobserver_")
	if !nodeless && has["node"] != "=~$node" {
		out = append(out, n.Name+" is not limited to $node")
	}
	function := ""
	if len(above) > 0 && above[len(above)-1].Type == "call" {
		function = above[len(above)-1].Func.Name
	}
	const rateInterval, shown = 67_000, 3_607_000
	switch {
	case function == "rate" && n.Range != rateInterval:
		out = append(out, "a rate over a fixed time")
	case function == "increase" && n.Range == shown:
		out = append(out, "an increase over the shown time, which changes with the zoom")
	}
	isCounter := strings.HasSuffix(n.Name, "_total") || strings.HasSuffix(n.Name, "_bucket") || strings.HasSuffix(n.Name, "_sum") || strings.HasSuffix(n.Name, "_count")
	if isCounter && !annotation && function != "rate" && function != "increase" && !readAsTotal(n.Name) {
		out = append(out, n.Name+" is a counter and is read without a rate")
	}
	if !isCounter && (function == "rate" || function == "increase") {
		out = append(out, n.Name+" is no counter and has a rate")
	}
	return out
}

// readAsTotal are the counters that a panel shows since the observer's start on purpose.
func readAsTotal(name string) bool {
	return slices.Contains([]string{"peerobserver_log_mutated_blocks_total", "peerobserver_source_attempts_total", "peerobserver_source_failures_total"}, name)
}

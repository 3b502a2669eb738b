package dashboards_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peerobserver/peerobserver/lab/lock"
	"github.com/peerobserver/peerobserver/lab/machine"
)

// grafana are the versions of Grafana whose published types the dashboards must have,
// the last of each major version, and the compiler that compares.
func grafana() map[string]string {
	return map[string]string{"10": "10.4.19", "11": "11.6.16", "12": "12.4.11"}
}

const typescript = "5.9.3"

// kinds are the panels: the plugin, and the module with its types.
func kinds() map[string]string {
	return map[string]string{
		"timeseries": "timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen", "stat": "stat/panelcfg/x/StatPanelCfg_types.gen",
		"table": "table/panelcfg/x/TablePanelCfg_types.gen", "heatmap": "heatmap/panelcfg/x/HeatmapPanelCfg_types.gen",
		"bargauge": "bargauge/panelcfg/x/BarGaugePanelCfg_types.gen", "state-timeline": "statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen",
	}
}

// preamble are types that JSON can have: the published ones want members of enumerations
// where JSON has their values. An annotation of Prometheus has its expression beside what
// all annotations have.
const preamble = `import type { Dashboard, AnnotationQuery } from '@grafana/schema';
type Loose<T> = 0 extends 1 & T ? T : unknown extends T ? T : T extends string ? ` + "`${T}`" + ` : T extends number ? number
  : T extends (infer U)[] ? Loose<U>[] : T extends object ? { [K in keyof T]: Loose<T[K]> } : T;
type Annotation = Loose<AnnotationQuery> & { expr?: string; step?: string; titleFormat?: string; textFormat?: string; tagKeys?: string; useValueForTime?: boolean };
type Checked = Omit<Loose<Dashboard>, 'annotations'> & { annotations: { list: Annotation[] } };
`

// The dashboards have the types that Grafana 10, 11 and 12 publish: of the dashboard, and
// of the options and fields of each panel.
func TestGrafanaTypes(t *testing.T) {
	if _, err := exec.LookPath("npm"); err != nil {
		machine.Lacks(t, "npm, to compare the dashboards with Grafana's published types")
	}
	packages := installTypes(t)
	dir := t.TempDir()
	good, bad := writeTypes(t, dir, packages)
	if output, err := compile(t, packages, dir, good...); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
	// The comparison finds what is wrong: a misspelt key and a wrong type, of a dashboard
	// and of a panel.
	output, err := compile(t, packages, dir, bad)
	if err == nil {
		t.Fatal("wrong types are not found")
	}
	for _, want := range []string{`"schemaVersionn"' does not exist`, `"legendd"' does not exist`, `Type 'string' is not assignable to type 'boolean`, `Type '"lines"' is not assignable`} {
		if !strings.Contains(output, want) {
			t.Errorf("not found to be wrong: %s\n%s", want, output)
		}
	}
}

// writeTypes writes a file for each version of Grafana, and one that is wrong.
func writeTypes(t *testing.T, dir, packages string) (good []string, bad string) {
	t.Helper()
	for version := range grafana() {
		folder := filepath.Join(dir, version)
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(packages, version, "node_modules"), filepath.Join(folder, "node_modules")); err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		text.WriteString(preamble)
		for kind, module := range kinds() {
			fmt.Fprintf(&text, "import type * as %s from './node_modules/@grafana/schema/dist/esm/raw/composable/%s';\n", identifier(kind), module)
		}
		head := text.String()
		seen := map[string]bool{}
		for name, content := range loaded(t) {
			for i, statement := range statements(t, name, content) {
				// Many panels differ by texts and numbers only.
				if !seen[statement] {
					seen[statement] = true
					fmt.Fprintf(&text, "export const %s_%d: %s;\n", identifier(strings.TrimSuffix(name, ".json")), i, statement)
				}
			}
		}
		file := filepath.Join(folder, "dashboards.ts")
		if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		good = append(good, file)
		bad = filepath.Join(folder, "wrong.ts")
		wrong := head + `export const a: Checked = { "schemaVersionn": 38, "annotations": { "list": [] } };
export const b: Checked = { "editable": "no", "schemaVersion": 38, "annotations": { "list": [] } };
export const c: Partial<Loose<timeseries.Options>> = { "legendd": {}, "tooltip": { "mode": "multi", "sort": "desc" } };
export const d: Loose<timeseries.FieldConfig> = { "drawStyle": "lines" };
`
		if err := os.WriteFile(bad, []byte(wrong), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return good, bad
}

// statements are types and values of a dashboard: of the whole without its panels, of
// each panel, and of what belongs to the panel's plugin. Texts that nobody compares and
// places are left out, so that what is alike is equal.
func statements(t *testing.T, name string, content []byte) (out []string) {
	t.Helper()
	type object = map[string]any
	var d object
	if err := json.Unmarshal(content, &d); err != nil {
		t.Fatal(err)
	}
	panels, _ := d["panels"].([]any)
	d["panels"] = []any{}
	add := func(kind string, value any) {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, kind+" = "+string(text))
	}
	add("Checked", d)
	for _, p := range panels {
		panel, _ := p.(object)
		kind, _ := panel["type"].(string)
		panel["title"], panel["description"], panel["id"], panel["gridPos"] = "", "", 1, object{"x": 0, "y": 0, "w": 1, "h": 1}
		targets, _ := panel["targets"].([]any)
		for _, target := range targets {
			target.(object)["expr"], target.(object)["legendFormat"] = "", ""
		}
		if len(targets) > 1 {
			panel["targets"] = targets[:1]
		}
		shell := object{"annotations": object{"list": []any{}}, "schemaVersion": 38, "panels": []any{panel}}
		add("Checked", shell)
		if kind == "row" {
			continue
		}
		if kinds()[kind] == "" {
			t.Errorf("%s: no types for panels of type %s", name, kind)
			continue
		}
		// Options that one version requires another doesn't know; what is missing has a
		// default.
		add("Partial<Loose<"+identifier(kind)+".Options>>", panel["options"])
		if kind == "timeseries" || kind == "heatmap" || kind == "state-timeline" {
			add("Loose<"+identifier(kind)+".FieldConfig>", panel["fieldConfig"].(object)["defaults"].(object)["custom"])
		}
	}
	return out
}

func identifier(name string) string { return strings.NewReplacer("-", "_", ".", "_").Replace(name) }

func compile(t *testing.T, packages, dir string, files ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", slices.Concat([]string{
		filepath.Join(packages, "typescript", "node_modules", "typescript", "bin", "tsc"), "--noEmit", "--skipLibCheck", "--strict", "--preserveSymlinks",
		"--module", "esnext", "--moduleResolution", "bundler", "--target", "es2022",
	}, files)...)
	cmd.Dir = dir
	output, err := cmd.CombinedOutput()
	return string(output), err
}

// installTypes gives the directory with the packages of every version, fetched if they
// aren't in the cache.
func installTypes(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "peer-observer", "grafana-types")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	unlock, err := lock.Take(t.Context(), filepath.Join(dir, "lock"), func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	wanted := map[string]string{"typescript": "typescript@" + typescript}
	for major, version := range grafana() {
		wanted[major] = "@grafana/schema@" + version
	}
	for name, spec := range wanted {
		prefix := filepath.Join(dir, name)
		done := filepath.Join(prefix, "installed")
		if have, err := os.ReadFile(done); err == nil && string(have) == spec {
			continue
		}
		if err := os.RemoveAll(prefix); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(prefix, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "npm", "install", "--prefix", prefix, "--no-audit", "--no-fund", "--ignore-scripts", spec)
		if output, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("fetching %s: %v\n%s", spec, err, output)
		}
		if err := os.WriteFile(done, []byte(spec), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

package metrics_test

import (
	"bufio"
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/peerobserver/peerobserver/exporters/metrics"
)

// Where the generated files are, from this directory.
const (
	referencePage     = "../../docs/metrics.md"
	compatibilityPage = "../../docs/metrics-compatibility.md"
	compatibilityRule = "../../alerts/compatibility.rules.yml"
)

var update = flag.Bool("update", false, "write the generated files instead of comparing them")

// generated compares a file with what it should be, or writes it.
func generated(t *testing.T, path string, want []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is out of date: run go generate ./exporters/metrics", path)
	}
}

// groups puts the metrics of the reference page in an order that reads well: the first
// prefix that fits counts.
var groups = []struct {
	title    string
	prefixes []string
}{
	{"The observer itself", []string{"build_info", "alert_rule_", "clock_steps", "host_clock", "source_", "event", "events_", "last_event", "queue_", "tracepoint_", "label_"}},
	{"Addresses", []string{"p2p_addr_"}},
	{"Inventory and requests", []string{"p2p_inv", "p2p_repeated", "tx_", "block_requests", "block_request_", "block_unrequested", "block_delivery"}},
	{"Cross-check", []string{"p2p_reconciliation"}},
	{"Messages", []string{"p2p_", "peer_activity"}},
	{"Connections", []string{"connection"}},
	{"Peers", []string{"peers"}},
	{"Transactions and mempool", []string{"mempool_", "orphans", "fee_"}},
	{"Compact blocks", []string{"compact_block"}},
	{"Blocks and validation", []string{"block_", "chain_", "utxo_"}},
	{"Address manager", []string{"addrman_"}},
	{"Log", []string{"log_"}},
	{"The observer's link to the node", []string{"link_"}},
	{"The node", []string{"node_", "rpc_", "ipc_"}},
}

// TestReference holds docs/metrics.md against the definitions.
func TestReference(t *testing.T) {
	sections := make([]bytes.Buffer, len(groups))
	for _, d := range metrics.Definitions() {
		if d.Help == "" || d.Events == "" || d.Unit == "" || !strings.HasSuffix(d.Help, ".") {
			t.Errorf("%s: the definition is not complete: %+v", d.Name, d)
		}
		name := strings.TrimPrefix(d.Name, "peerobserver_")
		i := slices.IndexFunc(groups, func(g struct {
			title    string
			prefixes []string
		}) bool {
			return slices.ContainsFunc(g.prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
		})
		if i < 0 {
			t.Errorf("%s belongs to no section of the page", d.Name)
			continue
		}
		describe(&sections[i], d)
	}
	var page bytes.Buffer
	page.WriteString(`# Metrics

Every metric that peer-observer exports about a node, generated from their definitions by
` + "`go generate ./exporters/metrics`" + `. The series are the same in the agent, over NATS and from an archive; a process that
serves several nodes puts the label ` + "`node`" + ` on each of them. No label value is chosen by a peer: what is on no list
becomes ` + "`other`" + ` and is counted in ` + "`peerobserver_label_overflow_total`" + `.

Histograms have few classic buckets and a native histogram of a resolution of 9 %. Gauges that come from RPC vanish when they
were not polled for three intervals, or when the node or the source is gone; a value that the node doesn't give is absent, not
zero. Counters of rare combinations of labels appear with their first count. "Events" names the kinds of events that a metric
is computed from ([events.md](events.md)).

Histograms of blocks have exemplars, the last one of each bucket, with the ` + "`trace_id`" + ` of the block's trace ([otlp.md](otlp.md)); a
Prometheus with ` + "`--enable-feature=exemplar-storage`" + ` keeps them.

Which peers make the node's message thread work most is no metric: ` + "`/peers/heaviest`" + ` on the same server names five of them by Bitcoin
Core's id, with the type of message, as JSON.

What the label ` + "`list`" + ` and the groups of addresses are made from is in [metrics-networks.md](metrics-networks.md), the names of the
existing peer-observer (Rust) are in [metrics-compatibility.md](metrics-compatibility.md).
`)
	for i, g := range groups {
		fmt.Fprintf(&page, "\n## %s\n\n| metric | type | labels | unit | events | meaning |\n|--|--|--|--|--|--|\n", g.title)
		page.Write(sections[i].Bytes())
	}
	generated(t, referencePage, page.Bytes())
}

func describe(b *bytes.Buffer, d metrics.Definition) {
	var labels []string
	for _, l := range d.Labels {
		values := strings.Join(l.Values, ", ")
		if l.Learning {
			values = fmt.Sprintf("at most %d that become known at run time, other", l.Limit)
		}
		if values == "" {
			labels = append(labels, "`"+l.Name+"`")
		} else {
			labels = append(labels, fmt.Sprintf("`%s`: %s", l.Name, values))
		}
	}
	if len(labels) == 0 {
		labels = []string{"–"}
	}
	fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s | %s |\n", d.Name, d.Type, strings.Join(labels, "; "), d.Unit, d.Events, strings.ReplaceAll(d.Help, "|", "\\|"))
}

// oldMetric is a line of testdata/compatibility.tsv: a name of the existing tool and
// what gives its values.
type oldMetric struct {
	name, kind, expression, labels, remark string
}

func readTSV(t *testing.T, path string, columns int) [][]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var rows [][]string
	for s := bufio.NewScanner(f); s.Scan(); {
		if strings.HasPrefix(s.Text(), "#") {
			continue
		}
		row := strings.Split(s.Text(), "\t")
		if len(row) != columns {
			t.Fatalf("%s: %q has %d columns", path, s.Text(), len(row))
		}
		rows = append(rows, row)
	}
	return rows
}

var metricName = regexp.MustCompile(`peerobserver_[a-z0-9_]+`)

// TestCompatibility checks that every metric of the existing tool has an equivalent that
// exists, or a reason, and holds the page and the rules against that.
func TestCompatibility(t *testing.T) {
	known := map[string]string{}
	for _, d := range metrics.Definitions() {
		known[d.Name] = d.Type
	}
	exists := func(name string) bool {
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, ok := strings.CutSuffix(name, suffix); ok && known[base] == "histogram" {
				return true
			}
		}
		return known[name] != "" && known[name] != "histogram"
	}
	names := map[string]bool{}
	for _, row := range readTSV(t, "testdata/existing-metrics.txt", 1) {
		names[row[0]] = false
	}
	var page, rules bytes.Buffer
	page.WriteString(`# The metrics of the existing peer-observer (Rust), and where they are here

Generated from ` + "`exporters/metrics/testdata/compatibility.tsv`" + ` by ` + "`go generate ./exporters/metrics`" + `; a test checks that every one of
the 191 names is here and that what stands beside it exists. The recording rules in
[compatibility.rules.yml](../alerts/compatibility.rules.yml) give the old names back, so that dashboards made for them go on
working. All names begin with ` + "`peerobserver_`" + `.

The rules and many dashboards read the classic buckets of histograms. A Prometheus that takes native histograms leaves the
classic ones out unless the scrape configuration says ` + "`always_scrape_classic_histograms: true`" + `. Rules on process metrics need
those of the agent's own process, which are exported beside the node's.

| old name | here | remark |
|--|--|--|
`)
	rules.WriteString(`# Recording rules that give the metric names of the existing peer-observer (Rust) back, for its
# dashboards. Generated by go generate ./exporters/metrics.
groups:
  - name: peer-observer-compatibility
    rules:
`)
	for _, row := range readTSV(t, "testdata/compatibility.tsv", 5) {
		m := oldMetric{row[0], row[1], row[2], row[3], row[4]}
		if _, ok := names[m.name]; !ok {
			t.Errorf("%s is no metric of the existing tool", m.name)
		}
		names[m.name] = true
		old := "peerobserver_" + m.name
		if known[old] != "" && m.kind != "same" {
			t.Errorf("%s is the name of a metric of ours: a rule would mix the two", old)
		}
		for _, rule := range m.rules(t) {
			writeRule(&rules, rule, m.labels)
			for _, name := range metricName.FindAllString(rule.expression, -1) {
				if !exists(name) {
					t.Errorf("%s: %s doesn't exist", m.name, name)
				}
			}
		}
		here := "`" + m.expression + "`"
		switch m.kind {
		case "none":
			var list []string
			for name := range strings.SplitSeq(m.expression, ", ") {
				if known["peerobserver_"+name] == "" {
					t.Errorf("%s: %s doesn't exist", m.name, name)
				}
				list = append(list, "`peerobserver_"+name+"`")
			}
			here = "no rule; see " + strings.Join(list, ", ")
			if m.remark == "" {
				t.Errorf("%s has no equivalent and no reason", m.name)
			}
		case "histogram":
			here = "`peerobserver_" + strings.Split(m.expression, "|")[0] + "`"
		}
		fmt.Fprintf(&page, "| `%s` | %s | %s |\n", m.name, strings.ReplaceAll(here, "|", "\\|"), m.remark)
	}
	for name, found := range names {
		if !found {
			t.Errorf("%s has no line", name)
		}
	}
	programs(t, &page, known)
	newHere(&page, known, rules.String())
	if len(names) != 191 {
		t.Errorf("the list has %d names", len(names))
	}
	generated(t, compatibilityPage, page.Bytes())
	generated(t, compatibilityRule, rules.Bytes())
}

// programs adds the metrics of other programs of the existing tool to the page.
func programs(t *testing.T, page *bytes.Buffer, known map[string]string) {
	t.Helper()
	page.WriteString(`
## Other programs, and proposals

| old name | here | remark |
|--|--|--|
`)
	connectivity, err := os.ReadFile("../../docs/connectivity-check.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range readTSV(t, "testdata/compatibility-programs.tsv", 3) {
		var here []string
		for name := range strings.SplitSeq(row[1], ", ") {
			if name == "" {
				continue
			}
			name = "peerobserver_" + name
			if known[name] == "" && !bytes.Contains(connectivity, []byte("`"+name)) {
				t.Errorf("%s: %s doesn't exist", row[0], name)
			}
			here = append(here, "`"+name+"`")
		}
		if len(here) == 0 && row[2] == "" {
			t.Errorf("%s has no equivalent and no reason", row[0])
		}
		fmt.Fprintf(page, "| `%s` | %s | %s |\n", row[0], cmp.Or(strings.Join(here, ", "), "–"), row[2])
	}
}

// newHere lists the metrics that no old name stands for.
func newHere(page *bytes.Buffer, known map[string]string, rules string) {
	old := map[string]bool{}
	for _, text := range []string{rules, page.String()} {
		for _, name := range metricName.FindAllString(text, -1) {
			for _, suffix := range []string{"", "_bucket", "_sum", "_count"} {
				old[strings.TrimSuffix(name, suffix)] = true
			}
		}
	}
	var list []string
	for name := range known {
		if !old[name] {
			list = append(list, "`"+name+"`")
		}
	}
	slices.Sort(list)
	fmt.Fprintf(page, "\n## New here\n\n%d metrics have no counterpart: %s.\n", len(list), strings.Join(list, ", "))
}

type rule struct{ record, expression string }

// rules are the recording rules for a line.
func (m oldMetric) rules(t *testing.T) []rule {
	t.Helper()
	old := "peerobserver_" + m.name
	switch m.kind {
	case "rule":
		return []rule{{old, m.expression}}
	case "histogram":
		part := strings.Split(m.expression, "|")
		if len(part) != 4 {
			t.Fatalf("%s: %q", m.name, m.expression)
		}
		var list []rule
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			selector := "peerobserver_" + part[0] + suffix
			if part[1] != "" {
				selector = fmt.Sprintf("sum without (%s) (%s{%s})", part[2], selector, part[1])
			}
			if newLabel, from, ok := strings.Cut(part[3], "<"); ok {
				selector = fmt.Sprintf("label_replace(%s, %q, \"$1\", %q, \"(.*)\")", selector, newLabel, from)
			}
			list = append(list, rule{old + suffix, selector})
		}
		return list
	case "none", "same":
		return nil
	default:
		t.Fatalf("%s: kind %q", m.name, m.kind)
		return nil
	}
}

func writeRule(b *bytes.Buffer, r rule, labels string) {
	fmt.Fprintf(b, "      - record: %s\n        expr: '%s'\n", r.record, strings.ReplaceAll(r.expression, "'", "''"))
	if name, value, ok := strings.Cut(labels, "="); ok {
		fmt.Fprintf(b, "        labels:\n          %s: %s\n", name, value)
	}
}

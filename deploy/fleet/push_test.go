package fleet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/lab/servers"
)

// pushInterval is the time between two pushes in the test, of which push.env has 15 s.
const pushInterval = time.Second

// startPushed starts a Prometheus with the configuration that ships, whose targets name
// nobody: agents push to it.
func (b *bus) startPushed(alertmanager *servers.Alertmanager) *servers.Prometheus {
	b.t.Helper()
	file := b.configure("pushed", alertmanager, map[string]string{"nodes.yml": "[]\n", "hub.yml": "[]\n"})
	return servers.StartPrometheus(b.t, servers.PrometheusConfig{
		Binaries: servers.BuiltForTest(b.t), ConfigFile: file, Args: []string{"--web.enable-otlp-receiver"},
	})
}

// pushEnvironment is the file of that environment as it ships, with the test's address.
func pushEnvironment(t *testing.T, to *servers.Prometheus) []string {
	t.Helper()
	var variables []string
	for line := range strings.Lines(read(t, "push.env")) {
		if !strings.HasPrefix(line, "#") {
			variables = append(variables, strings.Replace(strings.TrimSpace(line), "127.0.0.1:9090", to.Address(), 1))
		}
	}
	if text := strings.Join(variables, " "); !strings.Contains(text, to.Address()) {
		t.Fatalf("push.env doesn't name the address of Prometheus: %s", text)
	}
	// The last one counts.
	return append(variables, fmt.Sprintf("OTEL_METRIC_EXPORT_INTERVAL=%d", pushInterval.Milliseconds()))
}

// newerThan waits until a Prometheus has samples of every agent that were taken after a
// moment.
func newerThan(t *testing.T, prometheus *servers.Prometheus, moment time.Time, agents int) {
	t.Helper()
	eventually(t, "samples of all agents", func() error {
		samples, err := prometheus.Query(t.Context(), `timestamp(peerobserver_build_info{job="peer-observer"})`)
		if err != nil {
			return err
		}
		if len(samples) != agents {
			return fmt.Errorf("%d agents", len(samples))
		}
		for _, s := range samples {
			if taken := time.UnixMilli(int64(1000 * s.Value)); !taken.After(moment) {
				return fmt.Errorf("%v: taken at %v, want after %v", s.Labels, taken, moment)
			}
		}
		return nil
	})
}

// stored is what a Prometheus has of the agents' series by their names and labels, without
// those that say how the series came; with node as the agent's name, which it knows by one
// label or the other.
func stored(ctx context.Context, prometheus *servers.Prometheus, names string) (map[string]float64, error) {
	samples, err := prometheus.Query(ctx, `{job="peer-observer",__name__=~"`+names+`"}`)
	if err != nil {
		return nil, err
	}
	recorded, err := recorded()
	if err != nil {
		return nil, err
	}
	all := map[string]float64{}
	for _, s := range samples {
		if recorded[s.Labels["__name__"]] {
			continue
		}
		if s.Labels["node"] == "" {
			s.Labels["node"] = s.Labels["instance"]
		}
		delete(s.Labels, "instance")
		if bound, err := strconv.ParseFloat(s.Labels["le"], 64); err == nil {
			s.Labels["le"] = strconv.FormatFloat(bound, 'g', -1, 64)
		}
		name := fmt.Sprint(s.Labels) // in the order of the labels' names
		if _, twice := all[name]; twice {
			return nil, fmt.Errorf("%s is there twice", name)
		}
		all[name] = s.Value
	}
	return all, nil
}

// recorded are the metrics that each Prometheus makes itself of the agents', by rules at times
// of its own.
func recorded() (map[string]bool, error) {
	files, err := filepath.Glob("../../alerts/*.rules.yml")
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("%d files of rules (%w)", len(files), err)
	}
	names := map[string]bool{}
	for _, file := range files {
		rules, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for _, match := range regexp.MustCompile(`record: (\S+)`).FindAllSubmatch(rules, -1) {
			names[string(match[1])] = true
		}
	}
	return names, nil
}

// compare holds what came by OTLP against what was scraped. Counters of agents at work don't
// stand still: each has to be, when it is pushed, between its values at a scrape before and a
// scrape after. What is returned waits for the latter and compares gauges too.
func compare(t *testing.T, scraped, pushed *servers.Prometheus, names []string) (finish func()) {
	t.Helper()
	const counters = "peerobserver_.+_(total|count|bucket)"
	get := func(prometheus *servers.Prometheus) map[string]float64 {
		t.Helper()
		all, err := stored(t.Context(), prometheus, counters)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	newerThan(t, scraped, time.Time{}, len(names))
	before := get(scraped)
	// A push may have been on its way.
	newerThan(t, pushed, time.Now().Add(pushInterval), len(names))
	between, moment := get(pushed), time.Now()
	return func() {
		t.Helper()
		newerThan(t, scraped, moment, len(names))
		after := get(scraped)
		rises(t, "first scraped, then pushed", before, between)
		rises(t, "first pushed, then scraped", between, after)
		if len(before) < 300*len(names) {
			t.Errorf("only %d counters were compared", len(before))
		}
		eventually(t, "equal gauges", func() error {
			const gauges = "peerobserver_(build_info|chain_blocks|peers|node_start_time_seconds|node_version|node_banned_entries)"
			one, err := stored(t.Context(), scraped, gauges)
			if err != nil {
				return err
			}
			other, err := stored(t.Context(), pushed, gauges)
			if err != nil {
				return err
			}
			if len(one) < 6*len(names) || !maps.Equal(one, other) {
				return fmt.Errorf("scraped: %v\npushed: %v", one, other)
			}
			return nil
		})
		t.Logf("%d counters agree between two scrapes and a push of %d agents", len(before), len(names))
	}
}

// rises checks that all counters are in the later one too, with the same value or a higher.
func rises(t *testing.T, what string, earlier, later map[string]float64) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(earlier)) {
		if v, ok := later[name]; !ok || v < earlier[name] {
			t.Errorf("%s: %s was %v and then %v (there: %v)", what, name, earlier[name], v, ok)
		}
	}
}

// ban has a node ban a range reserved for documentation, once every Prometheus knows that none
// bans anybody.
func ban(t *testing.T, node *regtest.Node, agents int, prometheuses ...*servers.Prometheus) {
	t.Helper()
	for _, p := range prometheuses {
		eventually(t, "the nodes' lists of bans", func() error {
			samples, err := p.Query(t.Context(), `peerobserver_node_banned_entries{job="peer-observer"} == 0`)
			if err == nil && len(samples) != agents {
				err = fmt.Errorf("%d agents told of them", len(samples))
			}
			return err
		})
	}
	if err := node.Call(t.Context(), "setban", []any{"192.0.2.0/24", "add"}, nil); err != nil {
		t.Fatal(err)
	}
}

// namesTheNode waits for the alert about the ban of both Prometheus. Each names the agent by
// its own labels, and there is none about another node.
func namesTheNode(t *testing.T, alertmanager *servers.Alertmanager, node, address string) {
	t.Helper()
	const name = "PeerObserverPolicyChanged"
	eventually(t, "the alert of one node", func() error {
		alerts, err := alertmanager.Alerts(t.Context())
		if err != nil {
			return err
		}
		found := map[string]bool{}
		for _, a := range alerts {
			if a.Labels["alertname"] != name {
				continue
			}
			instance := a.Labels["instance"]
			if !strings.Contains(a.Annotations["summary"], instance) {
				t.Fatalf("the summary of %v is %q", a.Labels, a.Annotations["summary"])
			}
			switch {
			case instance == address && a.Labels["node"] == node, instance == node && a.Labels["node"] == "":
				found[instance] = true
			default:
				t.Fatalf("an alert about %v", a.Labels)
			}
		}
		if len(found) != 2 {
			return errors.Join(alerted(t.Context(), alertmanager, name), fmt.Errorf("about %v", found))
		}
		return nil
	})
}

package packages_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v2"

	"github.com/peerobserver/peerobserver/dashboards/picture"
)

// monitored is a Prometheus on the machine that scrapes the service and evaluates the
// rules of the package, as docs/install.md says.
type monitored struct {
	*walk
	began time.Time
}

// prometheus starts Debian's Prometheus with the configuration of docs/install.md, but
// for its intervals: nobody waits a quarter of a minute here.
func (w *walk) prometheus() *monitored {
	w.t.Helper()
	block := regexp.MustCompile("(?ms)^## Prometheus\n.*?^```yaml\n(.*?)^```$").FindStringSubmatch(read(w.t, filepath.Join(root, "docs/install.md")))
	if block == nil {
		w.t.Fatal("docs/install.md shows no configuration of Prometheus")
	}
	var config map[string]any
	if err := yaml.Unmarshal([]byte(strings.Replace(block[1], "scrape_interval: 15s", "scrape_interval: 1s", 1)), &config); err != nil {
		w.t.Fatal(err)
	}
	config["global"] = map[string]string{"evaluation_interval": "1s"}
	text, err := yaml.Marshal(config)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(w.path("/etc/prometheus.yml"), text, 0o644); err != nil {
		w.t.Fatal(err)
	}
	m := &monitored{walk: w, began: time.Now()}
	w.run(`systemd-run --quiet --unit=prometheus --property=DynamicUser=yes --property=StateDirectory=prometheus \
		/usr/bin/prometheus --config.file=/etc/prometheus.yml --storage.tsdb.path=/var/lib/prometheus --web.listen-address=127.0.0.1:9090`)
	return m
}

// plain is a query that shows, adds up or takes the rate of one metric with whatever labels
// it has: it has data where the metric is there.
var plain = regexp.MustCompile(`^(?:(?:sum|min|max|count|avg)(?: by \([^)]*\))? ?\()*(?:(?:rate|increase)\()?` +
	`(\w+)\{job=~"\$job",instance=~"\$instance",node=~"\$node"\}(?:\[[^\]]+\])?\)*$`)

// answers asks the queries of all dashboards that are in the package: none gives an error,
// and those for what the agent of an idle node serves give data.
func (m *monitored) answers() {
	m.t.Helper()
	began := time.Now()
	served := map[string]bool{}
	for line := range strings.Lines(m.run("curl --silent --fail http://127.0.0.1:9789/metrics")) {
		if name := regexp.MustCompile(`^\w+`).FindString(line); name != "" {
			served[name] = true
		}
	}
	paths, err := filepath.Glob(m.path("/usr/share/peer-observer/dashboards/*.json"))
	if err != nil || len(paths) < 10 {
		m.t.Fatalf("%d dashboards are installed (%v)", len(paths), err)
	}
	client := picture.Client{URL: "http://127.0.0.1:9090", HTTP: m.client()}
	type query struct {
		name     string
		target   picture.Target
		due      bool // the agent serves what it shows
		answered bool // there was data
	}
	var queries []*query
	for _, path := range paths {
		d, err := picture.Parse([]byte(read(m.t, path)))
		if err != nil {
			m.t.Fatal(err)
		}
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				q := &query{name: fmt.Sprintf("%s, %s, %s", d.UID, p.Title, target.RefID), target: target}
				if of := plain.FindStringSubmatch(target.Expr); of != nil {
					q.due = served[of[1]]
				}
				queries = append(queries, q)
			}
		}
	}
	with, due := 0, 0
	// The agent has been started again a moment ago, and Prometheus not long before.
	eventually(m.t, "data for what the agent serves", func() error {
		var missing []string
		with, due = 0, 0
		for _, q := range queries {
			if !q.answered {
				series, err := picture.Since(m.began, client).Ask(m.t.Context(), q.target)
				if err != nil {
					m.t.Fatalf("%s: %v", q.name, err)
				}
				q.answered = slices.ContainsFunc(series, func(s picture.Series) bool { return s.Points() > 0 })
			}
			if q.due {
				due++
			}
			if q.answered {
				with++
			} else if q.due {
				missing = append(missing, q.name+": "+q.target.Expr)
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("no data:\n%s", strings.Join(missing, "\n"))
		}
		return nil
	})
	if due < 100 {
		m.t.Errorf("only %d queries are known to have data", due)
	}
	m.t.Logf("%d of %d queries have data, %d of them had to; asked in %v", with, len(queries), due, time.Since(began).Round(time.Second))
}

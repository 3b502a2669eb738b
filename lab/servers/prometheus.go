package servers

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Scrape is what a Prometheus scrapes.
type Scrape struct {
	// Job is the value of the label job.
	Job string
	// Address is the HOST:PORT.
	Address string
	// Path is the path of the metrics; default /metrics.
	Path string
}

// PrometheusConfig is what a Prometheus does.
type PrometheusConfig struct {
	Binaries Binaries
	Scrapes  []Scrape
	// RuleFiles are rule files, or patterns of them.
	RuleFiles []string
	// Alertmanager is the HOST:PORT of an Alertmanager that gets the alerts.
	Alertmanager string
	// Interval is the time between two scrapes and between two evaluations of the
	// rules; default a second.
	Interval time.Duration
	// ConfigFile is a configuration file to use as it is, in place of the fields above
	// but Binaries.
	ConfigFile string
	// Args are added to the command line.
	Args []string
}

// Prometheus is a running Prometheus.
type Prometheus struct {
	*server
	client *http.Client
}

// StartPrometheus starts a Prometheus that ends with the test and waits until it is
// ready.
func StartPrometheus(t testing.TB, config PrometheusConfig) *Prometheus {
	t.Helper()
	if config.Interval == 0 {
		config.Interval = time.Second
	}
	dir := t.TempDir()
	file := config.ConfigFile
	if file == "" {
		file = filepath.Join(dir, "prometheus.yml")
		if err := os.WriteFile(file, config.file(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := startServer(t, config.Binaries.Prometheus, dir, "/-/ready", func(address string) []string {
		return append([]string{
			"--config.file=" + file,
			"--storage.tsdb.path=" + filepath.Join(dir, "data"),
			"--web.listen-address=" + address,
		}, config.Args...)
	})
	return &Prometheus{server: s, client: &http.Client{Timeout: 30 * time.Second}}
}

// file is the configuration file. JSON is YAML, and needs no library to quote it.
func (c PrometheusConfig) file() []byte {
	type object = map[string]any
	interval := fmt.Sprintf("%dms", c.Interval.Milliseconds())
	var scrapes []object
	for _, s := range c.Scrapes {
		path := s.Path
		if path == "" {
			path = "/metrics"
		}
		scrapes = append(scrapes, object{
			"job_name": s.Job, "metrics_path": path, "scrape_timeout": interval,
			"static_configs": []object{{"targets": []string{s.Address}}},
		})
	}
	file := object{
		"global":         object{"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
		"scrape_configs": scrapes,
		"rule_files":     c.RuleFiles,
	}
	if c.Alertmanager != "" {
		file["alerting"] = object{"alertmanagers": []object{{"static_configs": []object{{"targets": []string{c.Alertmanager}}}}}}
	}
	text, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		// Strings, lists and objects only: it has a JSON form.
		return nil
	}
	return text
}

// Sample is a value of the result of a query.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// Query evaluates an expression now. The result must be an instant vector or a scalar,
// which has no labels.
func (p *Prometheus) Query(ctx context.Context, expression string) ([]Sample, error) {
	var data struct {
		Type   string          `json:"resultType"`
		Result json.RawMessage `json:"result"`
	}
	if err := p.call(ctx, "/api/v1/query?"+url.Values{"query": {expression}}.Encode(), &data); err != nil {
		return nil, fmt.Errorf("query %s: %w", expression, err)
	}
	type point [2]any
	value := func(v point) (float64, error) {
		text, _ := v[1].(string)
		return strconv.ParseFloat(text, 64)
	}
	switch data.Type {
	case "scalar":
		var v point
		if err := json.Unmarshal(data.Result, &v); err != nil {
			return nil, err
		}
		f, err := value(v)
		return []Sample{{Value: f}}, err
	case "vector":
		var list []struct {
			Metric map[string]string `json:"metric"`
			Value  point             `json:"value"`
		}
		if err := json.Unmarshal(data.Result, &list); err != nil {
			return nil, err
		}
		samples := make([]Sample, len(list))
		for i, s := range list {
			f, err := value(s.Value)
			if err != nil {
				return nil, err
			}
			samples[i] = Sample{Labels: s.Metric, Value: f}
		}
		return samples, nil
	default:
		return nil, fmt.Errorf("query %s: the result is a %s", expression, data.Type)
	}
}

// Value evaluates an expression that has exactly one value.
func (p *Prometheus) Value(ctx context.Context, expression string) (float64, error) {
	samples, err := p.Query(ctx, expression)
	if err != nil {
		return 0, err
	}
	if len(samples) != 1 {
		return 0, fmt.Errorf("%s has %d values, want one", expression, len(samples))
	}
	return samples[0].Value, nil
}

// Target is something that is scraped.
type Target struct {
	Labels    map[string]string `json:"labels"`
	URL       string            `json:"scrapeUrl"`
	Health    string            `json:"health"` // up, down or unknown
	LastError string            `json:"lastError"`
}

// Targets returns what is scraped, and how that goes.
func (p *Prometheus) Targets(ctx context.Context) ([]Target, error) {
	var data struct {
		Active []Target `json:"activeTargets"`
	}
	err := p.call(ctx, "/api/v1/targets?state=active", &data)
	return data.Active, err
}

// Alert is an alert of a rule that is pending or firing.
type Alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	State       string            `json:"state"`
}

// Alerts returns the alerts that are pending or firing.
func (p *Prometheus) Alerts(ctx context.Context) ([]Alert, error) {
	var data struct {
		Alerts []Alert `json:"alerts"`
	}
	err := p.call(ctx, "/api/v1/alerts", &data)
	return data.Alerts, err
}

// call gets a path of the HTTP API and decodes the data of its answer.
func (p *Prometheus) call(ctx context.Context, path string, data any) error {
	answer := struct {
		Status string `json:"status"`
		Error  string `json:"error"`
		Data   any    `json:"data"`
	}{Data: data}
	if err := getJSON(ctx, p.client, p.URL()+path, &answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", answer.Status, answer.Error)
	}
	return nil
}

// getJSON decodes what url answers; answers of Prometheus are also JSON when it reports
// an error.
func getJSON(ctx context.Context, client *http.Client, url string, answer any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
		return fmt.Errorf("%s: %.200s", response.Status, body)
	}
	return json.Unmarshal(body, answer)
}

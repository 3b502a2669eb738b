package servers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A metric is scraped, a rule turns it into an alert, and Alertmanager gives that to a
// receiver: with both versions.
func TestFromMetricToReceiver(t *testing.T) {
	for _, suite := range Suites() {
		t.Run(string(suite), func(t *testing.T) {
			t.Parallel()
			b := ForTest(t, suite)
			target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprint(w, "# HELP trouble_count Troubles.\n# TYPE trouble_count gauge\ntrouble_count{of=\"mine\"} 3\n")
			}))
			t.Cleanup(target.Close)
			received := make(chan struct{}, 100)
			receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { received <- struct{}{} }))
			t.Cleanup(receiver.Close)

			dir := t.TempDir()
			rules := write(t, dir, "rules.yml", `groups: [{name: test, rules: [{alert: Trouble, expr: trouble_count > 2, labels: {severity: page}}]}]`)
			config := write(t, dir, "alertmanager.yml", `{route: {receiver: here, group_wait: 0s}, receivers: [{name: here, webhook_configs: [{url: "`+receiver.URL+`"}]}]}`)
			if output, err := b.CheckRules(t.Context(), rules); err != nil {
				t.Error(err, output)
			}
			if output, err := b.CheckAlertmanagerConfig(t.Context(), config); err != nil {
				t.Error(err, output)
			}
			alertmanager := StartAlertmanager(t, b, config)
			prometheus := StartPrometheus(t, PrometheusConfig{
				Binaries:     b,
				Scrapes:      []Scrape{{Job: "test", Address: strings.TrimPrefix(target.URL, "http://")}},
				RuleFiles:    []string{rules},
				Alertmanager: alertmanager.Address(),
			})
			eventually(t, func(ctx context.Context) error {
				samples, err := prometheus.Query(ctx, "trouble_count")
				if err != nil || len(samples) != 1 || samples[0].Value != 3 || samples[0].Labels["of"] != "mine" || samples[0].Labels["job"] != "test" {
					return fmt.Errorf("%+v, %w", samples, err)
				}
				return nil
			})
			if v, err := prometheus.Value(t.Context(), "scalar(trouble_count) * 2"); err != nil || v != 6 {
				t.Errorf("scalar %v, %v", v, err)
			}
			if _, err := prometheus.Value(t.Context(), "no_such_metric"); err == nil {
				t.Error("an empty result has a value")
			}
			if _, err := prometheus.Query(t.Context(), "this is no expression"); err == nil || !strings.Contains(err.Error(), "parse error") {
				t.Errorf("a wrong expression: %v", err)
			}
			targets, err := prometheus.Targets(t.Context())
			if err != nil || len(targets) != 1 || targets[0].Health != "up" || targets[0].LastError != "" {
				t.Errorf("targets %+v, %v", targets, err)
			}
			eventually(t, func(ctx context.Context) error {
				alerts, err := prometheus.Alerts(ctx)
				if err != nil || len(alerts) != 1 || alerts[0].State != "firing" || alerts[0].Labels["alertname"] != "Trouble" {
					return fmt.Errorf("%+v, %w", alerts, err)
				}
				return nil
			})
			eventually(t, func(ctx context.Context) error {
				alerts, err := alertmanager.Alerts(ctx)
				if err != nil || len(alerts) != 1 || alerts[0].Receivers[0].Name != "here" || alerts[0].Labels["severity"] != "page" {
					return fmt.Errorf("%+v, %w", alerts, err)
				}
				return nil
			})
			eventually(t, func(context.Context) error {
				select {
				case <-received:
					return nil
				default:
					return errors.New("nothing received")
				}
			})
		})
	}
}

func TestPromtool(t *testing.T) {
	for _, suite := range Suites() {
		t.Run(string(suite), func(t *testing.T) {
			t.Parallel()
			b, dir := ForTest(t, suite), t.TempDir()
			good := "# HELP a_seconds Time.\n# TYPE a_seconds gauge\na_seconds 1\n"
			if output, err := b.CheckMetrics(t.Context(), good); err != nil || output != "" {
				t.Errorf("good metrics: %v, %q", err, output)
			}
			if output, err := b.CheckMetrics(t.Context(), strings.ReplaceAll(good, "a_seconds", "a_milliseconds")); err == nil || !strings.Contains(output, "a_milliseconds") {
				t.Errorf("metrics in milliseconds: %v, %q", err, output)
			}
			write(t, dir, "rules.yml", `groups: [{name: test, rules: [{record: twice, expr: a * 2}]}]`)
			for _, c := range []struct {
				want string
				ok   bool
			}{{"4", true}, {"5", false}} {
				test := write(t, dir, "test.yml", `{rule_files: [rules.yml], tests: [{input_series: [{series: a, values: "2"}], promql_expr_test: [{expr: twice, eval_time: 0m, exp_samples: [{labels: twice, value: `+c.want+`}]}]}]}`)
				if output, err := b.TestRules(t.Context(), test); (err == nil) != c.ok {
					t.Errorf("rules that should give %s: %v, %s", c.want, err, output)
				}
			}
			if _, err := b.CheckRules(t.Context(), write(t, dir, "wrong.yml", `groups: [{name: x, rules: [{record: y, expr: "("}]}]`)); err == nil {
				t.Error("a rule with half an expression is fine")
			}
		})
	}
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func eventually(t *testing.T, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-tick.C:
		}
	}
}

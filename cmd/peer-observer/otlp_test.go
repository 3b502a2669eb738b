package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/url"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/lab/servers"
)

// An agent beside a real node pushes over OTLP into a real Prometheus what it serves at
// /metrics: every series, and every counter that rests with the same value.
func TestAgentPushesToPrometheus(t *testing.T) {
	nodes := regtest.NetworkForTest(t, 2, regtest.Config{V2: true})
	server := servers.StartPrometheus(t, servers.PrometheusConfig{
		Binaries: servers.BuiltForTest(t), Args: []string{"--web.enable-otlp-receiver"},
	})
	args := []string{"--extractor.rpc.interval.getpeerinfo=200ms"}
	if !regtest.Binary(t).HasTracepoints {
		args = append(args, "--no-extractor.ebpf")
	}
	o := observe(t, nodes[0], func(cmd *exec.Cmd) {
		cmd.Env = append(cmd.Env, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT="+server.URL()+"/api/v1/otlp/v1/metrics", "OTEL_METRIC_EXPORT_INTERVAL=500")
	}, args...)
	o.ready()
	// Blocks on their way are exemplars.
	if _, err := nodes[1].Mine(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	if err := regtest.SyncBlocks(t.Context(), nodes...); err != nil {
		t.Fatal(err)
	}
	const pushes = `peerobserver_otlp_exports_total{result="success",signal="metrics"}`
	first, err := o.sample(pushes)
	if err != nil {
		t.Fatal(err)
	}
	waitForPushes := func(n float64) {
		eventually(t, "a push", func() error {
			switch now, err := o.sample(pushes); {
			case err != nil:
				return err
			case now < n:
				return errors.New("not yet")
			}
			return nil
		})
	}
	waitForPushes(first + 3) // all that this has begun is over
	first, err = o.sample(pushes)
	if err != nil {
		t.Fatal(err)
	}
	before := o.scrape()
	waitForPushes(first + 2) // the second began after the scrape
	stored := o.storedIn(server)
	after := o.scrape()

	compared := 0
	for _, name := range slices.Sorted(maps.Keys(before)) {
		was := before[name]
		is, ok := after[name]
		if !ok {
			continue
		}
		got, ok := stored[name]
		switch {
		case !ok:
			t.Errorf("Prometheus hasn't got %s", name)
		case was.counts && was.value == is.value:
			compared++
			if got != was.value {
				t.Errorf("%s is %v in Prometheus, %v at /metrics", name, got, was.value)
			}
		}
	}
	t.Logf("%d series at /metrics, %d in Prometheus, %d compared by value", len(before), len(stored), compared)
	if compared < 200 {
		t.Errorf("only %d series rested: this proves little", compared)
	}
	for name := range stored {
		// Until the sources are live some rules are blind.
		if strings.HasPrefix(name, "target_info") || strings.HasPrefix(name, "peerobserver_alert_rule_blind") {
			continue
		}
		_, was := before[name]
		if _, is := after[name]; !was && !is {
			t.Errorf("Prometheus has %s, which /metrics hasn't", name)
		}
	}
	for _, result := range []string{`peerobserver_otlp_exports_total{result="failure",signal="metrics"}`, "peerobserver_otlp_errors_total"} {
		if failed, err := o.sample(result); err != nil || failed != 0 {
			t.Errorf("%s is %v, %v", result, failed, err)
		}
	}
}

// scraped is the value of a series; counts says that it never falls.
type scraped struct {
	value  float64
	counts bool
}

// scrape reads /metrics; series are named as Prometheus has them, with labels in JSON.
func (o *observer) scrape() map[string]scraped {
	o.t.Helper()
	_, body, err := get("http://" + o.web + "/metrics")
	if err != nil {
		o.t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	all := map[string]scraped{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			put := func(suffix string, value float64, counts bool, more ...string) {
				labels := map[string]string{"__name__": f.GetName() + suffix}
				for _, l := range m.GetLabel() {
					labels[l.GetName()] = l.GetValue()
				}
				for i := 0; i+1 < len(more); i += 2 {
					labels[more[i]] = more[i+1]
				}
				all[nameOfSeries(labels)] = scraped{value, counts}
			}
			switch f.GetType() {
			case dto.MetricType_COUNTER:
				put("", m.GetCounter().GetValue(), true)
			case dto.MetricType_HISTOGRAM:
				h := m.GetHistogram()
				put("_count", float64(h.GetSampleCount()), true)
				put("_sum", h.GetSampleSum(), true)
				for _, b := range h.GetBucket() {
					put("_bucket", float64(b.GetCumulativeCount()), true, "le", fmt.Sprint(b.GetUpperBound()))
				}
			case dto.MetricType_SUMMARY:
				s := m.GetSummary()
				put("_count", float64(s.GetSampleCount()), true)
				put("_sum", s.GetSampleSum(), true)
				for _, q := range s.GetQuantile() {
					put("", q.GetValue(), false, "quantile", fmt.Sprint(q.GetQuantile()))
				}
			default:
				put("", m.GetGauge().GetValue()+m.GetUntyped().GetValue(), false)
			}
		}
	}
	return all
}

// storedIn queries the values of all series that a Prometheus has of this observer.
func (o *observer) storedIn(server *servers.Prometheus) map[string]float64 {
	o.t.Helper()
	query := url.Values{"query": {`{job="peer-observer",instance="test"}`}}
	_, body, err := get(server.URL() + "/api/v1/query?" + query.Encode())
	if err != nil {
		o.t.Fatal(err)
	}
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		o.t.Fatalf("%v: %.300s", err, body)
	}
	all := map[string]float64{}
	for _, s := range answer.Data.Result {
		value, err := strconv.ParseFloat(fmt.Sprint(s.Value[1]), 64)
		if err != nil {
			o.t.Fatalf("%v has the value %v", s.Metric, s.Value)
		}
		delete(s.Metric, "job")
		delete(s.Metric, "instance")
		all[nameOfSeries(s.Metric)] = value
	}
	return all
}

// nameOfSeries names a series by its labels. Bounds of buckets and quantiles are written in
// one way; an empty label is none.
func nameOfSeries(labels map[string]string) string {
	name := labels["__name__"]
	maps.DeleteFunc(labels, func(name, value string) bool { return name == "__name__" || value == "" })
	for _, number := range []string{"le", "quantile"} {
		if value, err := strconv.ParseFloat(labels[number], 64); err == nil && !math.IsInf(value, 0) {
			labels[number] = fmt.Sprint(value)
		}
	}
	text, _ := json.Marshal(labels) // a map of strings has a JSON form
	return name + string(text)
}

package otlp

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/peerobserver/peerobserver/lab/servers"
	"github.com/peerobserver/peerobserver/proto/event"
)

// Prometheus takes the metrics over OTLP with its own receiver, without a collector:
// every series is there under the name, with the labels, the type and the value that it
// would have by scraping, and nothing else is.
func TestPrometheusTakesMetrics(t *testing.T) {
	// The first feature shows the type that Prometheus took each series for as a label.
	const features = "--enable-feature=type-and-unit-labels,exemplar-storage"
	for _, c := range []struct {
		name, form string
		args       []string
	}{
		{name: "as it is"},
		{name: "exponential histograms", form: histogramExponential},
		{name: "types and exemplars", args: []string{features}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := c.args
			server := servers.StartPrometheus(t, servers.PrometheusConfig{
				Binaries: servers.BuiltForTest(t),
				Args:     append([]string{"--web.enable-otlp-receiver"}, args...),
			})
			ask(t, "http/protobuf", server.Address()+"/api/v1/otlp", "OTEL_TRACES_EXPORTER", "none", variableHistograms, c.form)
			gathered, err := registry(t).Gather()
			if err != nil {
				t.Fatal(err)
			}
			text := new(logs)
			x, err := New(t.Context(), Config{
				NodeName: "alice", Version: "1.2.3",
				Gatherer: prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return gathered, nil }),
			}, event.NewLedger(), text.logger())
			if err != nil {
				t.Fatal(err)
			}
			run(t, x)()
			want := storedSeries(gathered, c.form == histogramExponential, len(args) > 0)
			if len(want) < 300 {
				t.Fatalf("only %d series: this proves little", len(want))
			}
			got := storedIn(t, server, `{job="peer-observer",instance="alice",__name__!="target_info"}`)
			t.Logf("Prometheus has %d series", len(got))
			for _, name := range slices.Sorted(maps.Keys(want)) {
				if got[name] != want[name] {
					t.Errorf("%s:\n got %s\nwant %s", name, got[name], want[name])
				}
			}
			for name := range got {
				if _, ok := want[name]; !ok {
					t.Errorf("%s is there, which nobody sent", name)
				}
			}
			// What is no label says target_info.
			for name := range storedIn(t, server, `target_info{job="peer-observer",instance="alice"}`) {
				for _, part := range []string{`"peerobserver_node_name":"alice"`, `"service_version":"1.2.3"`, `"telemetry_sdk_language":"go"`} {
					if !strings.Contains(name, part) {
						t.Errorf("no %s in %s", part, name)
					}
				}
			}
			if all := storedIn(t, server, `count({__name__=~".+",job=""})`); len(all) > 0 {
				t.Errorf("series without a job: %v", all)
			}
			if len(args) > 0 {
				testStoredExemplars(t, server)
			}
			if s := text.String(); strings.Contains(s, "level=WARN") || strings.Contains(s, "level=ERROR") {
				t.Errorf("log:\n%s", s)
			}
		})
	}
}

// testStoredExemplars looks for the traces that the registry's histogram names.
func testStoredExemplars(t *testing.T, server *servers.Prometheus) {
	t.Helper()
	now := time.Now()
	var series []struct {
		Exemplars []struct {
			Labels map[string]string
			Value  string
		}
	}
	call(t, server, "query_exemplars", url.Values{
		"query": {"test_classic_seconds_bucket"},
		"start": {now.Add(-time.Hour).Format(time.RFC3339)}, "end": {now.Add(time.Hour).Format(time.RFC3339)},
	}, &series)
	found := map[string]string{}
	for _, s := range series {
		for _, x := range s.Exemplars {
			found[x.Value] = x.Labels["trace_id"]
		}
	}
	// The last value of each bucket.
	want := map[string]string{"0.5": fmt.Sprintf("%032x", 500), "0.6": fmt.Sprintf("%032x", 600), "3": fmt.Sprintf("%032x", 3000)}
	if !maps.Equal(found, want) {
		t.Errorf("exemplars %v, want %v", found, want)
	}
}

// storedSeries describes the series that Prometheus shall make of what was gathered.
func storedSeries(families []*dto.MetricFamily, exponential, withType bool) map[string]string {
	all := map[string]string{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			put := func(suffix, kind, value, le string) {
				labels := map[string]string{}
				for _, l := range m.GetLabel() {
					if l.GetValue() != "" { // to Prometheus an empty label is none
						labels[l.GetName()] = l.GetValue()
					}
				}
				if le != "" {
					labels["le"] = le
				}
				if withType {
					labels["__type__"] = kind
				}
				all[seriesName(f.GetName()+suffix, labels)] = value
			}
			switch f.GetType() {
			case dto.MetricType_COUNTER:
				put("", "counter", number(m.GetCounter().GetValue()), "")
			case dto.MetricType_GAUGE:
				put("", "gauge", number(m.GetGauge().GetValue()), "")
			case dto.MetricType_HISTOGRAM:
				h := m.GetHistogram()
				if isNative(h, exponential) {
					put("", "histogram", storedNative(h), "")
					break
				}
				for _, b := range h.GetBucket() {
					if !math.IsInf(b.GetUpperBound(), 1) {
						put("_bucket", "histogram", number(float64(b.GetCumulativeCount())), number(b.GetUpperBound()))
					}
				}
				put("_bucket", "histogram", number(float64(h.GetSampleCount())), "+Inf")
				put("_count", "histogram", number(float64(h.GetSampleCount())), "")
				put("_sum", "histogram", number(h.GetSampleSum()), "")
			default:
				put("", "a type without a test", "", "")
			}
		}
	}
	return all
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// storedNative describes a native histogram by the bounds and counts of its buckets.
func storedNative(h *dto.Histogram) string {
	var buckets []string
	add := func(spans []*dto.BucketSpan, deltas []int64, sign float64) {
		index, count, i := int32(0), int64(0), 0
		for _, s := range spans {
			index += s.GetOffset()
			for range s.GetLength() {
				count += deltas[i]
				i++
				if count != 0 {
					bound := math.Exp2(float64(index) / math.Exp2(float64(h.GetSchema())))
					buckets = append(buckets, fmt.Sprintf("%.6g: %d", sign*bound, count))
				}
				index++
			}
		}
	}
	add(h.GetNegativeSpan(), h.GetNegativeDelta(), -1)
	if h.GetZeroCount() > 0 {
		buckets = append(buckets, fmt.Sprintf("0: %d", h.GetZeroCount()))
	}
	add(h.GetPositiveSpan(), h.GetPositiveDelta(), 1)
	slices.Sort(buckets)
	return fmt.Sprintf("%d values, sum %s, %q", h.GetSampleCount(), number(h.GetSampleSum()), buckets)
}

// call calls the HTTP API of a Prometheus.
func call(t *testing.T, server *servers.Prometheus, name string, values url.Values, into any) {
	t.Helper()
	response, err := http.PostForm(server.URL()+"/api/v1/"+name, values)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	answer := struct {
		Status string
		Data   any
	}{Data: into}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Status != "success" {
		t.Fatalf("%s %v: %v: %.300s", name, values, err, body)
	}
}

// storedIn queries a Prometheus and describes the series of the answer without the labels
// that say where they come from.
func storedIn(t *testing.T, server *servers.Prometheus, query string) map[string]string {
	t.Helper()
	var data struct {
		Result []struct {
			Metric    map[string]string
			Value     []any
			Histogram []json.RawMessage
		}
	}
	call(t, server, "query", url.Values{"query": {query}}, &data)
	all := map[string]string{}
	for _, s := range data.Result {
		name := s.Metric["__name__"]
		for _, label := range []string{"__name__", "job", "instance"} {
			delete(s.Metric, label)
		}
		// Prometheus writes these in its own way.
		if le, err := strconv.ParseFloat(s.Metric["le"], 64); err == nil {
			s.Metric["le"] = number(le)
		}
		value := ""
		switch {
		case len(s.Value) == 2:
			v, err := strconv.ParseFloat(fmt.Sprint(s.Value[1]), 64)
			if err != nil {
				t.Fatal(err)
			}
			value = number(v)
		case len(s.Histogram) == 2:
			value = nativeOf(t, s.Histogram[1])
		}
		full := seriesName(name, s.Metric)
		if _, ok := all[full]; ok {
			t.Errorf("%s is there twice", full)
		}
		all[full] = value
	}
	return all
}

// nativeOf describes a native histogram in the answer to a query as storedNative does.
func nativeOf(t *testing.T, text json.RawMessage) string {
	t.Helper()
	var h struct {
		Count, Sum string
		Buckets    [][]any // which bounds are inclusive, lower bound, upper bound, count
	}
	if err := json.Unmarshal(text, &h); err != nil {
		t.Fatal(err)
	}
	var buckets []string
	for _, b := range h.Buckets {
		lower, err1 := strconv.ParseFloat(fmt.Sprint(b[1]), 64)
		upper, err2 := strconv.ParseFloat(fmt.Sprint(b[2]), 64)
		if err1 != nil || err2 != nil {
			t.Fatalf("%v, %v in %s", err1, err2, text)
		}
		bound := fmt.Sprintf("%.6g", upper) // the bound away from zero
		switch {
		case lower < 0 && upper > 0:
			bound = "0"
		case lower < 0:
			bound = fmt.Sprintf("%.6g", lower)
		}
		buckets = append(buckets, fmt.Sprintf("%s: %v", bound, b[3]))
	}
	slices.Sort(buckets)
	sum, err := strconv.ParseFloat(h.Sum, 64)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s values, sum %s, %q", h.Count, number(sum), buckets)
}

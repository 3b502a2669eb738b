package otlp

import (
	"strings"
	"testing"
)

func TestEnvironment(t *testing.T) {
	for _, c := range []struct {
		name string
		// variables are NAME=value, in a line.
		variables string
		want      environment
		problem   string
	}{
		{name: "nothing", variables: ""},
		{name: "only a protocol", variables: "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"},
		{name: "endpoint", variables: "OTEL_EXPORTER_OTLP_ENDPOINT=http://a", want: environment{metrics: protocolHTTP, traces: protocolHTTP}},
		{name: "endpoint of one", variables: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://a", want: environment{traces: protocolHTTP}},
		{name: "exporter named", variables: "OTEL_METRICS_EXPORTER=otlp", want: environment{metrics: protocolHTTP}},
		{name: "one off", variables: "OTEL_EXPORTER_OTLP_ENDPOINT=http://a OTEL_TRACES_EXPORTER=none", want: environment{metrics: protocolHTTP}},
		{name: "protocols", variables: "OTEL_EXPORTER_OTLP_ENDPOINT=http://a OTEL_EXPORTER_OTLP_PROTOCOL=grpc OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf", want: environment{metrics: protocolGRPC, traces: protocolHTTP}},
		{name: "histograms with buckets", variables: "OTEL_METRICS_EXPORTER=otlp OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION=explicit_bucket_histogram", want: environment{metrics: protocolHTTP}},
		{name: "exponential histograms", variables: "OTEL_METRICS_EXPORTER=otlp OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION=base2_exponential_bucket_histogram", want: environment{metrics: protocolHTTP, exponential: true}},
		{name: "other histograms", variables: "OTEL_METRICS_EXPORTER=otlp OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION=round", problem: `HISTOGRAM_AGGREGATION is "round"`},
		{name: "histograms without metrics", variables: "OTEL_TRACES_EXPORTER=otlp OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION=base2_exponential_bucket_histogram", want: environment{traces: protocolHTTP}},
		{name: "disabled", variables: "OTEL_EXPORTER_OTLP_ENDPOINT=http://a OTEL_SDK_DISABLED=True"},
		{name: "unknown exporter", variables: "OTEL_METRICS_EXPORTER=console", problem: `OTEL_METRICS_EXPORTER is "console": use otlp or none`},
		{name: "unknown protocol", variables: "OTEL_TRACES_EXPORTER=otlp OTEL_EXPORTER_OTLP_PROTOCOL=http/json", problem: `OTEL_EXPORTER_OTLP_PROTOCOL is "http/json"`},
	} {
		variables := map[string]string{}
		for v := range strings.FieldsSeq(c.variables) {
			name, value, _ := strings.Cut(v, "=")
			variables[name] = value
		}
		got, err := readEnvironment(func(name string) string { return variables[name] })
		if got != c.want || (err == nil) != (c.problem == "") || err != nil && !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%s: %+v, %v, want %+v, %q", c.name, got, err, c.want, c.problem)
		}
	}
}

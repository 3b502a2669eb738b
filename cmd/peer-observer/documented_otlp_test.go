package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/peerobserver/peerobserver/lab/servers"
)

// tempo is a configuration of the OpenTelemetry Collector that stands for Tempo or Jaeger,
// where docs/otlp.md has one.
const tempo = `
receivers: {otlp: {protocols: {grpc: {endpoint: "127.0.0.1:14317"}}}}
exporters: {debug: {verbosity: detailed}}
service:
  telemetry: {metrics: {level: none}}
  pipelines: {traces: {receivers: [otlp], exporters: [debug]}}
`

// prepareCollector brings the programs that docs/otlp.md speaks of.
func (r *reader) prepareCollector() {
	r.t.Helper()
	for name, program := range map[string]string{"otelcol": servers.CollectorForTest(r.t), "prometheus": servers.BuiltForTest(r.t).Prometheus} {
		if err := os.Symlink(program, r.path(name)); err != nil {
			r.t.Fatal(err)
		}
	}
	for name, content := range map[string]string{"tempo.yaml": tempo, "prometheus.yml": "{}\n"} {
		if err := os.WriteFile(r.path(name), []byte(content), 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
}

// collects: what an agent sends to the Collector comes out where its configuration says.
func collects(r *reader, collector *program) error {
	if !strings.Contains(collector.stderr.String(), "Everything is ready") {
		return errors.New("it isn't ready")
	}
	const (
		sink  = "otelcol --config=tempo.yaml"
		store = "prometheus --config.file=prometheus.yml --web.listen-address=127.0.0.1:9090 --web.enable-otlp-receiver"
		agent = "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 peer-observer agent"
	)
	traces, prometheus := r.typed(sink, false), r.typed(store, false)
	r.wait(sink, traces, logs("Everything is ready"))
	r.wait(store, prometheus, answers("http://127.0.0.1:9090/-/ready"))
	pushing := r.typed(agent, false)
	r.wait(agent, pushing, ready)
	r.wait(agent, pushing, func(*reader, *program) error {
		_, body, err := get("http://127.0.0.1:9789/metrics")
		if err == nil && strings.Contains(body, "\npeerobserver_otlp_open_traces{trace=\"confirmed\"} 0\n") {
			err = errors.New("it traces nothing yet")
		}
		return err
	})
	r.ended(agent, pushing) // which sends what it has
	r.wait(store, prometheus, func(*reader, *program) error {
		_, body, err := get("http://127.0.0.1:9090/api/v1/query?query=count(%7B__name__=~%22peerobserver_.*%22%7D)%3E500")
		if err == nil && !strings.Contains(body, `"value":[`) {
			err = fmt.Errorf("Prometheus has %s", body)
		}
		return err
	})
	r.wait(sink, traces, logs("service.name: Str(peer-observer)"))
	r.ended(store, prometheus)
	r.ended(sink, traces)
	return nil
}

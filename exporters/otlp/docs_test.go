package otlp

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v2"

	"github.com/peerobserver/peerobserver/proto/event"
)

const page = "../../docs/otlp.md"

// The table of this exporter's own metrics in the documentation is what it registers:
// names, types and labels.
func TestOwnMetricsAreDocumented(t *testing.T) {
	ask(t, "http/protobuf", "127.0.0.1:1")
	own := prometheus.NewPedanticRegistry()
	x, err := New(t.Context(), Config{NodeName: "alice", Gatherer: own, Registerer: own}, event.NewLedger(), new(logs).logger())
	if err != nil {
		t.Fatal(err)
	}
	families, err := own.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var registered []string
	for _, f := range families {
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		name := f.GetName()
		if len(labels) > 0 {
			name += "{" + strings.Join(labels, ",") + "}"
		}
		registered = append(registered, fmt.Sprintf("%s %s", name, strings.ToLower(f.GetType().String())))
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(peerobserver_otlp_[^`]+)` \\| (\\w+) \\|").FindAllStringSubmatch(string(text), -1) {
		documented = append(documented, row[1]+" "+row[2])
	}
	slices.Sort(documented)
	slices.Sort(registered)
	if !slices.Equal(documented, registered) {
		t.Errorf("%s has\n%s\nthe exporter\n%s", page, strings.Join(documented, "\n"), strings.Join(registered, "\n"))
	}
	// Nothing runs that the end of the program would have to wait for.
	x.abort()
	x.shutdown(t.Context())
	_ = x.shutdownMetrics(t.Context())
}

// The configuration of the official Collector that ships fits together: every pipeline
// has components that are defined, every component is used, the collector listens where
// the documentation sends to, and on loopback only.
func TestCollectorConfiguration(t *testing.T) {
	const file = "../../deploy/otel-collector.yaml"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Receivers struct {
			OTLP struct {
				Protocols map[string]struct{ Endpoint string }
			} `yaml:"otlp"`
		}
		Processors map[string]any
		Exporters  map[string]struct {
			Endpoint string
			TLS      struct{ Insecure bool } `yaml:"tls"`
		}
		Service struct {
			Pipelines map[string]struct{ Receivers, Processors, Exporters []string }
		}
	}
	if err := yaml.UnmarshalStrict(text, &config); err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, signal := range []string{"metrics", "traces"} {
		p, ok := config.Service.Pipelines[signal]
		if !ok || !slices.Equal(p.Receivers, []string{"otlp"}) || len(p.Exporters) == 0 {
			t.Errorf("pipeline of %s: %+v", signal, p)
		}
		if len(p.Processors) == 0 || p.Processors[0] != "memory_limiter" {
			t.Errorf("the pipeline of %s must begin with the limit of memory: %q", signal, p.Processors)
		}
		for _, name := range p.Processors {
			if _, ok := config.Processors[name]; !ok {
				t.Errorf("%s isn't defined", name)
			}
			used[name] = true
		}
		for _, name := range p.Exporters {
			if config.Exporters[name].Endpoint == "" {
				t.Errorf("%s isn't defined or has no endpoint", name)
			}
			used[name] = true
		}
	}
	if len(config.Service.Pipelines) != 2 || len(used) != len(config.Processors)+len(config.Exporters) {
		t.Errorf("something is defined and not used: %+v", config)
	}
	for protocol, address := range map[string]string{"grpc": "127.0.0.1:4317", "http": "127.0.0.1:4318"} {
		if got := config.Receivers.OTLP.Protocols[protocol].Endpoint; got != address {
			t.Errorf("%s listens on %q, want %s", protocol, got, address)
		}
	}
	documentation, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(documentation), "(../deploy/otel-collector.yaml)") {
		t.Errorf("%s doesn't link to %s", page, file)
	}
}

// Package deploy tests the configuration files of this directory: each with the program that
// reads it, and all of them against one another.
package deploy

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"go.yaml.in/yaml/v2"

	"github.com/peerobserver/peerobserver/exporters/prometheus"
	"github.com/peerobserver/peerobserver/lab/gotool"
	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/lab/servers"
	"github.com/peerobserver/peerobserver/proto/event"
)

// composeLoader is the Compose specification's own loader: it checks a file against the
// schema and prints what it means.
func composeLoader(t *testing.T) string {
	t.Helper()
	return gotool.ForTest(t, gotool.Program{Name: "compose", Package: "github.com/compose-spec/compose-go/v2/cmd", Version: "v2.9.0"})
}

// service is a service of the Compose file, as the loader prints it.
type service struct {
	Image       string            `json:"image"`
	Command     []string          `json:"command"`
	NetworkMode string            `json:"network_mode"`
	Privileged  bool              `json:"privileged"`
	CapAdd      []string          `json:"cap_add"`
	CapDrop     []string          `json:"cap_drop"`
	Environment map[string]string `json:"environment"`
	Volumes     []struct {
		Type     string `json:"type"`
		Source   string `json:"source"`
		Target   string `json:"target"`
		ReadOnly bool   `json:"read_only"`
	} `json:"volumes"`
}

// flag is the value of a flag of its command.
func (s *service) flag(name string) string {
	for i, argument := range s.Command {
		if value, found := strings.CutPrefix(argument, "--"+name+"="); found {
			return value
		}
		if argument == "--"+name && i+1 < len(s.Command) {
			return s.Command[i+1]
		}
	}
	return ""
}

// source is the file or directory of the repository that a path in the container shows.
func (s *service) source(target string) string {
	for _, v := range s.Volumes {
		if v.Target == target {
			return v.Source
		}
	}
	return ""
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// compose loads the Compose file with the variables as compose.env has them.
func compose(t *testing.T) map[string]service {
	t.Helper()
	text, env := read(t, "compose.yaml"), read(t, "compose.env")
	variable := regexp.MustCompile(`\$\{(\w+):([-?])([^}]*)\}`)
	for _, m := range variable.FindAllStringSubmatch(text, -1) {
		if m[2] == "?" && !strings.Contains(env, "\n"+m[1]+"=\n") {
			t.Errorf("compose.env doesn't ask for %s", m[1])
		}
	}
	text = variable.ReplaceAllStringFunc(text, func(match string) string {
		if m := variable.FindStringSubmatch(match); m[2] == "-" {
			return m[3]
		}
		return "secret"
	})
	// In a directory beside, so that ../ leads where it does from here.
	root := t.TempDir()
	file := filepath.Join(root, "deploy", "compose.yaml")
	if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), composeLoader(t), "-format", "json", file)
	cmd.Dir = filepath.Dir(file)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("compose.yaml: %v: %s", err, stderr.String())
	}
	var model struct {
		Services map[string]service `json:"services"`
		Volumes  map[string]any     `json:"volumes"`
	}
	if err := json.Unmarshal(output, &model); err != nil {
		t.Fatal(err)
	}
	for name, s := range model.Services {
		for i, v := range s.Volumes {
			if v.Type == "volume" {
				if _, found := model.Volumes[v.Source]; !found {
					t.Errorf("%s: there is no volume %s", name, v.Source)
				}
				continue
			}
			relative, err := filepath.Rel(root, v.Source)
			if err != nil {
				t.Fatal(err)
			}
			s.Volumes[i].Source = filepath.Join("..", relative)
			if _, err := os.Stat(s.Volumes[i].Source); err != nil || !v.ReadOnly {
				t.Errorf("%s: %s must exist and be mounted read-only: %v", name, relative, err)
			}
		}
	}
	return model.Services
}

// The Compose file is one by the specification, and its services find one another: files
// where the commands look for them, addresses where others listen, on loopback alone.
func TestCompose(t *testing.T) {
	services := compose(t)
	var names []string
	for name, s := range services {
		names = append(names, name)
		if s.NetworkMode != "host" || s.Privileged || len(s.CapAdd) > 0 || !slices.Equal(s.CapDrop, []string{"ALL"}) {
			t.Errorf("%s: network %q, privileged %v, capabilities +%v -%v", name, s.NetworkMode, s.Privileged, s.CapAdd, s.CapDrop)
		}
		if !regexp.MustCompile(`^[a-z/-]+:[v0-9][\w.-]*$`).MatchString(s.Image) {
			t.Errorf("%s: image %q has no version", name, s.Image)
		}
	}
	slices.Sort(names)
	if want := []string{"alertmanager", "collector", "grafana", "nats", "prometheus"}; !slices.Equal(names, want) {
		t.Fatalf("services %v, want %v", names, want)
	}
	nats, prom, alertmanager, grafana, collector := services["nats"], services["prometheus"], services["alertmanager"], services["grafana"], services["collector"]
	for _, c := range []struct {
		service service
		flag    string
		want    string
	}{
		{nats, "config", "../deploy/nats.conf"},
		{prom, "config.file", "../deploy/prometheus.yml"},
		{alertmanager, "config.file", "../deploy/alertmanager.yml"},
		{collector, "config", "../deploy/otel-collector.yaml"},
	} {
		if got := c.service.source(c.service.flag(c.flag)); got != c.want {
			t.Errorf("--%s=%s shows %q, want %s", c.flag, c.service.flag(c.flag), got, c.want)
		}
	}
	for _, s := range []service{prom, alertmanager} {
		if host, _, err := net.SplitHostPort(s.flag("web.listen-address")); err != nil || host != "127.0.0.1" {
			t.Errorf("%s listens on %q (%v)", s.Image, s.flag("web.listen-address"), err)
		}
	}
	if grafana.Environment["GF_SERVER_HTTP_ADDR"] != "127.0.0.1" {
		t.Error("Grafana doesn't listen on loopback")
	}

	// Prometheus: the agent's default address, the rules, the Alertmanager.
	var config prometheusConfig
	if err := yaml.Unmarshal([]byte(read(t, "prometheus.yml")), &config); err != nil {
		t.Fatal(err)
	}
	if got := config.ScrapeConfigs[0].StaticConfigs[0].Targets; !slices.Equal(got, []string{prometheus.DefaultListenAddress}) {
		t.Errorf("it scrapes %v, the agent listens on %s", got, prometheus.DefaultListenAddress)
	}
	if got := config.Alerting.Alertmanagers[0].StaticConfigs[0].Targets; !slices.Equal(got, []string{alertmanager.flag("web.listen-address")}) {
		t.Errorf("alerts go to %v", got)
	}
	if got := prom.source(filepath.Join(filepath.Dir(prom.flag("config.file")), filepath.Dir(config.RuleFiles[0]))); got != "../alerts" {
		t.Errorf("the rules are those of %q", got)
	}
	if !slices.Contains(prom.Command, "--web.enable-otlp-receiver") {
		t.Error("Prometheus doesn't take what the collector sends")
	}

	// Grafana: the data source and the dashboards.
	provisioning := grafana.source("/etc/grafana/provisioning")
	var sources struct {
		Datasources []struct{ URL string } `yaml:"datasources"`
	}
	if err := yaml.Unmarshal([]byte(read(t, filepath.Join(provisioning, "datasources", "peerobserver.yml"))), &sources); err != nil {
		t.Fatal(err)
	}
	if len(sources.Datasources) != 1 || sources.Datasources[0].URL != "http://"+prom.flag("web.listen-address") {
		t.Errorf("data sources %v", sources)
	}
	var providers struct {
		Providers []struct{ Options struct{ Path string } } `yaml:"providers"`
	}
	if err := yaml.Unmarshal([]byte(read(t, filepath.Join(provisioning, "dashboards", "peerobserver.yml"))), &providers); err != nil {
		t.Fatal(err)
	}
	if len(providers.Providers) != 1 || grafana.source(providers.Providers[0].Options.Path) != "../dashboards" {
		t.Errorf("dashboards %v", providers)
	}
	if !strings.Contains(read(t, "otel-collector.yaml"), "endpoint: http://"+prom.flag("web.listen-address")+"/api/v1/otlp") {
		t.Error("the collector sends the metrics elsewhere")
	}
}

// prometheusConfig is what the tests look at in a configuration of Prometheus.
type prometheusConfig struct {
	RuleFiles []string `yaml:"rule_files"`
	Alerting  struct {
		Alertmanagers []struct {
			StaticConfigs []struct{ Targets []string } `yaml:"static_configs"`
		}
	}
	ScrapeConfigs []struct {
		JobName       string                       `yaml:"job_name"`
		StaticConfigs []struct{ Targets []string } `yaml:"static_configs"`
	} `yaml:"scrape_configs"`
}

// The configuration files are right for the oldest supported and the newest programs.
func TestConfigurationFiles(t *testing.T) {
	rules, err := filepath.Glob("../alerts/*.rules.yml")
	if err != nil || len(rules) == 0 {
		t.Fatalf("%d rule files, %v", len(rules), err)
	}
	for _, suite := range servers.Suites() {
		t.Run(string(suite), func(t *testing.T) {
			b := servers.ForTest(t, suite)
			for _, from := range []string{".", "fleet"} {
				dir := t.TempDir()
				place := func(file, target string) {
					t.Helper()
					path := filepath.Join(dir, target)
					if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(path, []byte(read(t, file)), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				place(filepath.Join(from, "prometheus.yml"), "prometheus.yml")
				for _, file := range rules {
					place(file, filepath.Join("rules", filepath.Base(file)))
				}
				if from == "fleet" {
					place("fleet/fleet.rules.yml", "rules/fleet.rules.yml")
					for _, file := range []string{"nodes.yml", "hub.yml", "alertmanagers.yml"} {
						place(filepath.Join("fleet", "targets", file), filepath.Join("targets", file))
					}
				}
				output, err := exec.CommandContext(t.Context(), b.Promtool, "check", "config", filepath.Join(dir, "prometheus.yml")).CombinedOutput()
				if err != nil || strings.Count(string(output), "rules found") < len(rules) {
					t.Errorf("%s/prometheus.yml: %v\n%s", from, err, output)
				}
			}
			if output, err := b.TestRules(t.Context(), "fleet/fleet.test.yml"); err != nil {
				t.Errorf("%v\n%s", err, output)
			}
			if output, err := b.CheckAlertmanagerConfig(t.Context(), "alertmanager.yml"); err != nil {
				t.Errorf("%v\n%s", err, output)
			}
		})
	}
}

// The servers of the Compose file run with the flags that it gives them and the files that
// it shows them, but on ports of their own.
func TestComposeServersRun(t *testing.T) {
	services := compose(t)
	// flags are those of a service without the ones that name places in the container.
	flags := func(s service, places ...string) (list []string) {
		for _, argument := range s.Command {
			name, _, _ := strings.Cut(strings.TrimPrefix(argument, "--"), "=")
			if !slices.Contains(places, name) {
				list = append(list, argument)
			}
		}
		return list
	}

	alertmanager := services["alertmanager"]
	if rest := flags(alertmanager, "config.file", "storage.path", "web.listen-address"); !slices.Equal(rest, []string{"--cluster.listen-address="}) {
		t.Errorf("Alertmanager has flags that the test doesn't give it: %v", rest)
	}
	receiver := servers.StartAlertmanager(t, servers.ForTest(t, servers.Newest), alertmanager.source(alertmanager.flag("config.file")))

	// Beside the configuration file, the rules are where Prometheus looks for them.
	prom := services["prometheus"]
	dir := t.TempDir()
	rules, err := filepath.Abs("../alerts")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(rules, filepath.Join(dir, "rules")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "prometheus.yml")
	config := read(t, prom.source(prom.flag("config.file")))
	config = strings.ReplaceAll(config, alertmanager.flag("web.listen-address"), strings.TrimPrefix(receiver.URL(), "http://"))
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	p := servers.StartPrometheus(t, servers.PrometheusConfig{
		Binaries: servers.BuiltForTest(t), ConfigFile: file, Args: flags(prom, "config.file", "storage.tsdb.path", "web.listen-address"),
	})
	if err := regtest.Eventually(t.Context(), func() error {
		targets, err := p.Targets(t.Context())
		if err == nil && (len(targets) != 1 || targets[0].URL != "http://"+prometheus.DefaultListenAddress+"/metrics") {
			err = fmt.Errorf("it scrapes %+v", targets)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	// It takes OTLP, if only to say that this is none.
	response, err := http.Post(p.URL()+"/api/v1/otlp/v1/metrics", "application/x-protobuf", strings.NewReader("nothing"))
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusBadRequest {
		t.Errorf("what isn't OTLP is answered with %s", response.Status)
	}
}

// The rules about which alert keeps which quiet are those of the example.
func TestAlertmanagerInhibitsAsTheExample(t *testing.T) {
	inhibit := func(file string) []any {
		var config struct {
			InhibitRules []any `yaml:"inhibit_rules"`
		}
		if err := yaml.Unmarshal([]byte(read(t, file)), &config); err != nil {
			t.Fatal(err)
		}
		return config.InhibitRules
	}
	got, want := inhibit("alertmanager.yml"), inhibit("../alerts/alertmanager.example.yml")
	if len(want) == 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("alertmanager.yml has the inhibit_rules\n%v\nthe example\n%v", got, want)
	}
}

// NATS of the Compose file: large enough for a block, on loopback, and nobody without the
// password publishes.
func TestNATSConfiguration(t *testing.T) {
	t.Setenv("NATS_PASSWORD", "secret")
	service := compose(t)["nats"]
	// By the command of the Compose file, as nats-server reads it.
	command := slices.Clone(service.Command)
	for i := range command {
		if file := service.source(command[i]); file != "" {
			command[i] = file
		}
	}
	options, err := server.ConfigureOptions(flag.NewFlagSet("nats-server", flag.ContinueOnError), command, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if options.Host != "127.0.0.1" || options.Port != 4222 || options.HTTPHost != "127.0.0.1" {
		t.Errorf("it listens on %s:%d and %s", options.Host, options.Port, options.HTTPHost)
	}
	if options.MaxPayload != event.MaxSize || options.MaxPending < event.MaxSize {
		t.Errorf("messages of %d bytes, want %d", options.MaxPayload, event.MaxSize)
	}
	if len(options.Users) != 2 || options.NoAuthUser != "anybody" {
		t.Fatalf("users %v", options.Users)
	}
	for _, u := range options.Users {
		switch u.Username {
		case "agent":
			if u.Password != "secret" || u.Permissions != nil {
				t.Errorf("agent: %+v", u)
			}
		case "anybody":
			if u.Permissions == nil || u.Permissions.Publish == nil || !slices.Equal(u.Permissions.Publish.Deny, []string{">"}) {
				t.Errorf("anybody: %+v", u.Permissions)
			}
		default:
			t.Errorf("user %s", u.Username)
		}
	}
}

// What the fleet's NATS servers let through is every subject of an event, and a whole block
// fits.
func TestFleetKnowsEverySubject(t *testing.T) {
	script, leaf := read(t, "fleet/hosts.sh"), read(t, "fleet/leaf.conf")
	line := regexp.MustCompile(`(?m)^subjects="([^"]+)"$`).FindStringSubmatch(script)
	if line == nil {
		t.Fatal("fleet/hosts.sh has no list of subjects")
	}
	patterns := strings.Fields(line[1])
	for _, subject := range event.Subjects() {
		if !slices.ContainsFunc(patterns, func(pattern string) bool {
			prefix, wild := strings.CutSuffix(pattern, ">")
			return subject == pattern || wild && strings.HasPrefix(subject, prefix)
		}) {
			t.Errorf("fleet/hosts.sh leaves out %s", subject)
		}
	}
	block := regexp.MustCompile(`(?s)publish: \[(.*?)\]`).FindStringSubmatch(leaf)
	if block == nil {
		t.Fatal("fleet/leaf.conf has no list of subjects")
	}
	allowed := strings.FieldsFunc(strings.ReplaceAll(block[1], `"`, ""), func(r rune) bool { return r == ',' || r == ' ' || r == '\n' })
	if !slices.Equal(allowed, patterns) {
		t.Errorf("fleet/leaf.conf lets the agent publish %v, fleet/hosts.sh has %v", allowed, patterns)
	}
	for _, file := range []string{"fleet/leaf.conf", "fleet/hub.conf"} {
		if !strings.Contains(read(t, file), fmt.Sprintf("\nmax_payload: %d\n", event.MaxSize)) {
			t.Errorf("%s doesn't let a whole block through", file)
		}
	}
}

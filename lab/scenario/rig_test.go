package scenario

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/agent/node"
	"github.com/peerobserver/peerobserver/alerts"
	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/lab/servers"
)

// timeScale divides the spans of time in the rules; scrapes come often enough for the
// shortest of them.
const (
	timeScale = 30
	interval  = 500 * time.Millisecond
)

// thresholds that differ from the rules': within an hour of scaled time scenarios make more
// stale blocks than miners do in a week, how long a peer reads nothing isn't scaled, and a
// busy machine's node doesn't reject 3,000 transactions within two seconds. What is counted
// in days and hundreds of thousands on the main chain isn't here, and all connections come
// from one address.
func thresholds() map[string]float64 {
	return map[string]float64{
		"g02_tips_of_day": 7, "g02_tips_of_week": 7, "c01_seconds": 4, "h04_rejected": 500, "f01_ticket_seconds": 3, "f01_page_seconds": 5,
		// The node announces some seventy transactions to all inbound peers at once, at times of
		// chance, every five seconds on average: a backlog lasts as long as the scaled five
		// minutes only if it takes many announcements.
		"b02_announcements_ticket": 5000, "b02_announcements_page": 6000,
		"b08_seconds_ticket": 0.85, "b08_seconds_page": 0.9,
		"f03_warm_up_seconds": 3, "f09_peers": 6, "f10_before": 50,
		"a02_opened": 1e5, "a03_opened": 1e5,
		// With -checkmempool, as on regtest, some hundred transactions keep the thread busy.
		"b01_cpu_ticket_ratio": 2, "b01_cpu_page_ratio": 2,
	}
}

// rig is a node with an agent, Prometheus, Alertmanager, and receivers of notifications.
type rig struct {
	t      *testing.T
	node   *regtest.Node
	target *Target
	web    string
	hook   *webhook
	// scale divides the spans of time in the rules.
	scale float64

	prometheus *servers.Prometheus
}

// rigOptions say how a rig differs from the usual one.
type rigOptions struct {
	node       regtest.Config
	agent      []string           // further flags
	thresholds map[string]float64 // further thresholds
	onion      string             // address where connections count as from Tor
	// prepare makes a chain, before anybody observes the node; nil for ten blocks.
	prepare func(*regtest.Node) error
	// unscaled leaves the spans of time in the rules, the agent's intervals and the time
	// between scrapes as they are.
	unscaled bool
}

func newRig(t *testing.T, options rigOptions) *rig {
	t.Helper()
	r := &rig{t: t, web: freeAddress(t), hook: newWebhook(t), scale: timeScale}
	scrapes, warmUp, intervals := interval, 3.0, scaledIntervals()
	if options.unscaled {
		r.scale, scrapes, warmUp, intervals = 1, 15*time.Second, 60, nil
	}
	options.node.Debug = append(options.node.Debug, "net", "validation")
	if options.onion != "" {
		options.node.Args = append(options.node.Args, "-bind="+options.onion+"=onion")
	}
	r.node = regtest.WithTracepoints(t, options.node)
	blocks := 10
	if options.prepare != nil {
		if err := options.prepare(r.node); err != nil {
			t.Fatal(err)
		}
		blocks = 1
	}
	if _, err := r.node.Mine(t.Context(), blocks); err != nil {
		t.Fatal(err)
	}
	agent := r.startAgent(append(intervals, options.agent...))
	r.ready()

	rules := t.TempDir()
	thresholds := map[string]float64{"warm_up_seconds": warmUp}
	maps.Copy(thresholds, options.thresholds)
	if err := alerts.Write(rules, alerts.Options{TimeScale: r.scale, Thresholds: thresholds}); err != nil {
		t.Fatal(err)
	}
	binaries := servers.ForTest(t, servers.Newest)
	alertmanager := servers.StartAlertmanager(t, binaries, r.alertmanagerConfig())
	r.prometheus = servers.StartPrometheus(t, servers.PrometheusConfig{
		Binaries: binaries, Interval: scrapes, Alertmanager: alertmanager.Address(),
		Scrapes:   []servers.Scrape{{Job: "peer-observer", Address: r.web}},
		RuleFiles: []string{filepath.Join(rules, "*.rules.yml")},
	})
	r.target = &Target{
		RPC: r.node.RPC(), P2PAddress: r.node.P2PAddress(), PID: r.node.PID, Restart: r.node.Restart,
		OnionAddress: options.onion, AgentPID: agent, CookieFile: r.node.CookieFile(), TimeScale: r.scale,
	}
	r.eventually("the gate to open", func() error {
		_, err := r.prometheus.Value(t.Context(), "peerobserver:gate_warm")
		return err
	})
	return r
}

// startAgent builds and runs the agent and gives its process id.
func (r *rig) startAgent(further []string) int {
	r.t.Helper()
	program := filepath.Join(r.t.TempDir(), "peer-observer")
	if prebuilt := os.Getenv("PEER_OBSERVER_TEST_PROGRAM"); prebuilt != "" {
		program = prebuilt
	} else if out, err := exec.Command("go", "build", "-o", program, "../../cmd/peer-observer").CombinedOutput(); err != nil {
		r.t.Fatalf("building the agent: %v\n%s", err, out)
	}
	args := []string{
		"agent", "--node.name=lab", "--bitcoin.datadir=" + r.node.DataDir(),
		"--web.listen-address=" + r.web, "--nats.listen-address=" + freeAddress(r.t),
	}
	cmd := exec.Command(program, append(args, further...)...)
	log, err := os.Create(filepath.Join(r.t.TempDir(), "agent.log"))
	if err != nil {
		r.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	r.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGCONT)
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			r.t.Error("the agent does not end")
			_ = cmd.Process.Kill()
			<-ended
		}
		_ = log.Close()
		if r.t.Failed() {
			text, _ := os.ReadFile(log.Name())
			r.t.Logf("the agent's log:\n%s", text)
		}
	})
	return cmd.Process.Pid
}

// scaledIntervals are flags of the agent that go with the rules' shorter time.
func scaledIntervals() []string {
	// Of the default of ten seconds a thirtieth would be more than 60 a minute.
	flags := []string{"--extractor.p2p.ping-interval=1500ms"}
	for _, method := range []string{"getpeerinfo", "getnettotals", "uptime", "getnetworkinfo", "getblockchaininfo", "getchaintips", "listbanned"} {
		flags = append(flags, "--extractor.rpc.interval."+method+"=400ms")
	}
	return append(flags, "--extractor.rpc.interval.getorphantxs=1s", "--extractor.rpc.interval.getmempoolinfo=1s")
}

// alertmanagerConfig is the example with the test's receivers, and without waiting.
func (r *rig) alertmanagerConfig() string {
	r.t.Helper()
	example, err := os.ReadFile("../../alerts/alertmanager.example.yml")
	if err != nil {
		r.t.Fatal(err)
	}
	text, _, found := strings.Cut(string(example), "\nreceivers:\n")
	if !found {
		r.t.Fatal("no receivers in the example")
	}
	text = regexp.MustCompile(`group_wait: \w+`).ReplaceAllString(text, "group_wait: 0s")
	text = regexp.MustCompile(`group_interval: \w+`).ReplaceAllString(text, "group_interval: 500ms")
	text += "\nreceivers:\n"
	for receiver, severity := range map[string]string{"pager": "page", "tickets": "ticket", "timeline": "info"} {
		text += fmt.Sprintf("  - name: %s\n    webhook_configs: [{url: '%s/%s', send_resolved: true}]\n", receiver, r.hook.url, severity)
	}
	file := filepath.Join(r.t.TempDir(), "alertmanager.yml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return file
}

// ready waits until every source of the agent is up.
func (r *rig) ready() {
	r.t.Helper()
	r.eventually("the agent to be ready", func() error {
		response, err := http.Get("http://" + r.web + "/-/ready")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		return nil
	})
}

// settle waits for a span of the rules' time.
func (r *rig) settle(span time.Duration) {
	r.t.Helper()
	if err := r.target.wait(r.t.Context(), span); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) eventually(what string, check func() error) {
	r.t.Helper()
	r.within(3*time.Minute, what, check)
}

// within waits for at most as long as said.
func (r *rig) within(patience time.Duration, what string, check func() error) {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			r.logReceived()
			r.logRules()
			r.t.Fatalf("waiting for %s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// logReceived logs all notifications.
func (r *rig) logReceived() {
	r.t.Helper()
	var text strings.Builder
	for _, n := range r.hook.all() {
		fmt.Fprintf(&text, "\n%+v", n)
	}
	r.t.Logf("received:%s", text.String())
}

// logRules logs what the recording rules say, and the alerts that are pending or firing.
func (r *rig) logRules() {
	r.t.Helper()
	if r.prometheus == nil {
		return
	}
	samples, err := r.prometheus.Query(r.t.Context(), `{__name__=~"peerobserver:.*|ALERTS",__name__!~"peerobserver:threshold.*"}`)
	if err != nil {
		r.t.Logf("asking Prometheus: %v", err)
	}
	var text strings.Builder
	for _, sample := range samples {
		fmt.Fprintf(&text, "\n%+v", sample)
	}
	r.t.Logf("Prometheus:%s", text.String())
}

// notification is an alert in a message to a receiver.
type notification struct {
	receiver, alert, severity string
	firing                    bool
	// at is when it was received, starts when the alert began.
	at, starts time.Time
}

// webhook receives what Alertmanager sends.
type webhook struct {
	url string

	mu       sync.Mutex
	received []notification
}

func newWebhook(t *testing.T) *webhook {
	t.Helper()
	h := &webhook{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		var message struct {
			Alerts []struct {
				Status   string            `json:"status"`
				Labels   map[string]string `json:"labels"`
				StartsAt time.Time         `json:"startsAt"`
			} `json:"alerts"`
		}
		if err := json.NewDecoder(request.Body).Decode(&message); err != nil {
			t.Errorf("webhook: %v", err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, a := range message.Alerts {
			h.received = append(h.received, notification{
				receiver: strings.TrimPrefix(request.URL.Path, "/"),
				alert:    a.Labels["alertname"], severity: a.Labels["severity"], firing: a.Status == "firing",
				at: time.Now(), starts: a.StartsAt,
			})
		}
		w.WriteHeader(http.StatusOK)
	}))
	t.Cleanup(server.Close)
	h.url = server.URL
	return h
}

func (h *webhook) all() []notification {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]notification(nil), h.received...)
}

// firstFiring gives the first notification since begin of an alert that began after it.
func (h *webhook) firstFiring(alert string, begin time.Time) (notification, bool) {
	for _, n := range h.all() {
		if n.alert == alert && n.firing && n.at.After(begin) && n.starts.After(begin.Add(-time.Second)) {
			return n, true
		}
	}
	return notification{}, false
}

// resolved is whether the last that was received of an alert is its end.
func (h *webhook) resolved(alert string) bool {
	last := false
	for _, n := range h.all() {
		if n.alert == alert {
			last = !n.firing
		}
	}
	return last
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// signet is a client of a server that answers as a node on signet would.
func signet(t *testing.T, n *regtest.Node) *node.Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, `{"result":{"chain":"signet"},"error":null,"id":1}`)
	}))
	t.Cleanup(server.Close)
	client, err := node.NewClient(node.ClientOptions{Address: strings.TrimPrefix(server.URL, "http://"), CookieFile: n.CookieFile()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

package dashboards_test

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/alerts"
	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/lab/scenario"
	"github.com/peerobserver/peerobserver/lab/servers"
)

// timeScale divides the spans of time in the rules, so that attacks of seconds alert.
const timeScale = 30

// rig is a node with peers, traffic, an agent and a Prometheus with the alert rules.
type rig struct {
	t          *testing.T
	nodes      []*regtest.Node // the first is observed
	prometheus *servers.Prometheus
	target     *scenario.Target
	began      time.Time
}

// rigOptions say how a rig differs from the usual one.
type rigOptions struct {
	node       regtest.Config           // further settings of the observed node
	intervals  map[string]time.Duration // other intervals of methods of RPC
	thresholds map[string]float64       // further thresholds
}

func newRig(t *testing.T, options rigOptions) *rig {
	t.Helper()
	r := &rig{t: t}
	options.node.Debug = append(options.node.Debug, "net", "mempool", "validation", "cmpctblock")
	observed := regtest.WithTracepoints(t, options.node)
	in, out := regtest.ForTest(t, regtest.Config{}), regtest.ForTest(t, regtest.Config{})
	r.nodes = []*regtest.Node{observed, in, out}
	r.must(in.Connect(t.Context(), observed))
	r.must(observed.Connect(t.Context(), out))
	if _, err := observed.Mine(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	web := freeAddress(t)
	agent := startAgent(t, observed, web, options.intervals)

	rules := t.TempDir()
	thresholds := map[string]float64{"warm_up_seconds": 3}
	maps.Copy(thresholds, options.thresholds)
	r.must(alerts.Write(rules, alerts.Options{TimeScale: timeScale, Thresholds: thresholds}))
	r.prometheus = servers.StartPrometheus(t, servers.PrometheusConfig{
		Binaries: servers.ForTest(t, servers.Newest), Interval: 500 * time.Millisecond, // for rules of a thirtieth of their time
		Scrapes:   []servers.Scrape{{Job: "peer-observer", Address: web}},
		RuleFiles: []string{filepath.Join(rules, "*.rules.yml")},
	})
	r.began = time.Now()
	r.target = &scenario.Target{
		RPC: observed.RPC(), P2PAddress: observed.P2PAddress(), PID: observed.PID, Restart: observed.Restart,
		AgentPID: agent, CookieFile: observed.CookieFile(), TimeScale: timeScale,
	}
	r.eventually("the gate of the rules to open", func() error {
		_, err := r.prometheus.Value(t.Context(), "peerobserver:gate_warm")
		return err
	})
	return r
}

// startAgent builds and runs the agent, gives its process id, and waits until all its
// sources are up.
func startAgent(t *testing.T, n *regtest.Node, web string, intervals map[string]time.Duration) int {
	t.Helper()
	program := os.Getenv("PEER_OBSERVER_TEST_PROGRAM")
	if program == "" {
		program = filepath.Join(t.TempDir(), "peer-observer")
		if output, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../cmd/peer-observer").CombinedOutput(); err != nil {
			t.Fatalf("building the agent: %v\n%s", err, output)
		}
	}
	args := []string{
		"agent", "--node.name=lab", "--bitcoin.datadir=" + n.DataDir(), "--web.listen-address=" + web,
		"--nats.listen-address=" + freeAddress(t), "--extractor.p2p.ping-interval=1s",
	}
	for _, method := range []string{
		"getpeerinfo", "getnettotals", "getmempoolinfo", "getmemoryinfo", "uptime", "getaddrmaninfo", "getnetworkinfo", "getblockchaininfo", "getchaintips",
		"getchaintxstats", "getorphantxs", "estimatesmartfee", "listbanned", "getrawaddrman",
	} {
		args = append(args, fmt.Sprintf("--extractor.rpc.interval.%s=%v", method, cmp.Or(intervals[method], 3*time.Second)))
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "agent.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Error("the agent does not end")
			_ = cmd.Process.Kill()
			<-ended
		}
		_ = log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("the agent's log:\n%s", text)
		}
	})
	eventually(t, "the agent to be ready", func() error {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+web+"/-/ready", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		return nil
	})
	return cmd.Process.Pid
}

// live lets the network live: transactions, blocks, and a peer that comes and goes. It is
// for more than five rounds, or for fewer to go on.
func (r *rig) live(ctx context.Context, rounds int) {
	r.t.Helper()
	for i := range rounds {
		if _, err := r.nodes[0].SendTransactionsVia(ctx, r.nodes[i%len(r.nodes)], 4); err != nil {
			r.t.Fatal(err)
		}
		if _, err := r.nodes[1+i%2].Mine(ctx, 1); err != nil {
			r.t.Fatal(err)
		}
		r.must(regtest.SyncBlocks(ctx, r.nodes...))
		r.announce(byte(i))
		if i == 1 {
			// Another connection comes, and goes.
			r.must(r.nodes[2].Connect(ctx, r.nodes[0]))
		}
		if i == 5 {
			r.must(r.nodes[2].Call(ctx, "disconnectnode", []any{r.nodes[0].P2PAddress()}, nil))
		}
	}
}

// announce has a peer send the node an address, of a range that nobody has.
func (r *rig) announce(last byte) {
	r.t.Helper()
	peers, err := r.nodes[1].Peers(r.t.Context())
	r.must(err)
	for _, peer := range peers {
		if peer.Address != r.nodes[0].P2PAddress() {
			continue
		}
		payload := binary.LittleEndian.AppendUint32([]byte{1}, uint32(time.Now().Unix()))
		payload = append(payload, 0x09, 1, 4, 240, 1, 2, last) // services, network, length, address
		payload = binary.BigEndian.AppendUint16(payload, 8333)
		r.must(r.nodes[1].Call(r.t.Context(), "sendmsgtopeer", []any{peer.ID, "addrv2", hex.EncodeToString(payload)}, nil))
		return
	}
	r.t.Fatal("the node's peer is not connected")
}

// attack runs scenarios of the lab.
func (r *rig) attack(names ...string) {
	r.t.Helper()
	for _, name := range names {
		found, err := scenario.Find(name)
		r.must(err)
		for _, s := range found {
			if err := s.Run(r.t.Context(), r.target); err != nil {
				r.t.Fatalf("scenario %s: %v", name, err)
			}
			r.eventually(s.Alert, func() error { return r.fired(s.Alert) })
		}
	}
}

// fired says whether an alert has fired within five minutes.
func (r *rig) fired(alert string) error {
	value, err := r.prometheus.Value(r.t.Context(), fmt.Sprintf(`count(max_over_time(ALERTS{alertname=%q,alertstate="firing"}[5m])) or vector(0)`, alert))
	if err == nil && value == 0 {
		err = errors.New("not firing")
	}
	return err
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) eventually(what string, check func() error) {
	r.t.Helper()
	eventually(r.t, what, check)
}

func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s: %v", what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
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

package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/lab/servers"
)

// Real Prometheus servers, the oldest supported and a present one, scrape an agent beside
// a real node: nothing is wrong with the scrapes, and what they got is what the node says.
func TestPrometheusScrapesAgent(t *testing.T) {
	nodes := regtest.NetworkForTest(t, 2, regtest.Config{V2: true})
	node, other := nodes[0], nodes[1]
	args := []string{"--extractor.rpc.interval.getblockchaininfo=200ms", "--extractor.rpc.interval.getpeerinfo=200ms", "--extractor.rpc.interval.getmempoolinfo=200ms"}
	tracepoints := regtest.Binary(t).HasTracepoints
	if !tracepoints {
		args = append(args, "--no-extractor.ebpf")
	}
	o := observe(t, node, nil, args...)
	o.ready()
	if code, body, err := get("http://" + o.web + "/-/ready"); err != nil || code != http.StatusOK || body != "peer-observer is ready.\n" {
		t.Errorf("/-/ready: %d, %q, %v", code, body, err)
	}

	var prometheus []*servers.Prometheus
	for _, suite := range servers.Suites() {
		prometheus = append(prometheus, servers.StartPrometheus(t, servers.PrometheusConfig{
			Binaries: servers.ForTest(t, suite),
			Scrapes:  []servers.Scrape{{Job: "peer-observer", Address: o.web}},
			// Also the time that a scrape may take, on a busy machine and under the
			// race detector.
			Interval: 3 * time.Second,
		}))
	}
	// What happens from here on is counted from the first scrape on.
	const messages = `sum(peerobserver_p2p_messages_total{message="notfound",direction="inbound"}) or vector(0)`
	before := make([]float64, len(prometheus))
	for i, p := range prometheus {
		eventually(t, "a first scrape", func() error { return wants(t.Context(), p, `up{job="peer-observer"}`, 1) })
		var err error
		if before[i], err = p.Value(t.Context(), messages); err != nil {
			t.Fatal(err)
		}
	}

	// The node's truth: blocks, peers, transactions, and messages that no node
	// sends here by itself (notfound, with no entries).
	const blocks, transactions, sent = 5, 3, 7
	if _, err := other.Mine(t.Context(), blocks); err != nil {
		t.Fatal(err)
	}
	if err := regtest.SyncBlocks(t.Context(), nodes...); err != nil {
		t.Fatal(err)
	}
	if _, err := node.SendTransactions(t.Context(), transactions); err != nil {
		t.Fatal(err)
	}
	for range sent {
		if err := other.Call(t.Context(), "sendmsgtopeer", []any{peerOf(t, other, node), "notfound", "00"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	var chain struct {
		Blocks float64 `json:"blocks"`
	}
	if err := node.Call(t.Context(), "getblockchaininfo", nil, &chain); err != nil {
		t.Fatal(err)
	}
	var mempool struct {
		Size float64 `json:"size"`
	}
	if err := node.Call(t.Context(), "getmempoolinfo", nil, &mempool); err != nil {
		t.Fatal(err)
	}
	peers, err := node.Peers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if chain.Blocks < blocks || mempool.Size != transactions || len(peers) != 2 {
		t.Fatalf("the node has %v blocks, %v transactions and %d peers: this proves little", chain.Blocks, mempool.Size, len(peers))
	}
	for i, p := range prometheus {
		t.Run(string(servers.Suites()[i]), func(t *testing.T) {
			want := []struct {
				expression string
				value      float64
			}{
				{"peerobserver_chain_blocks", chain.Blocks},
				{"sum(peerobserver_peers)", float64(len(peers))},
				{"peerobserver_mempool_transactions", mempool.Size},
				{`count(peerobserver_build_info)`, 1},
				{`min(peerobserver_source_up{source=~"rpc|p2p|log"})`, 1},
				{"sum(peerobserver_events_lost_total) or vector(0)", 0},
			}
			if tracepoints {
				want = append(want, []struct {
					expression string
					value      float64
				}{
					{`peerobserver_source_up{source="ebpf"}`, 1},
					{messages, before[i] + sent},
				}...)
			}
			for _, w := range want {
				eventually(t, w.expression, func() error { return wants(t.Context(), p, w.expression, w.value) })
			}
			targets, err := p.Targets(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(targets) != 1 || targets[0].Health != "up" || targets[0].LastError != "" {
				t.Errorf("targets %+v", targets)
			}
			// No scrape failed, and none was taken in part: the samples that are
			// left over, out of order or twice are logged.
			if v, err := p.Value(t.Context(), `min_over_time(up{job="peer-observer"}[1h])`); err != nil || v != 1 {
				t.Errorf("up was %v (%v) at some time", v, err)
			}
			for line := range strings.Lines(p.Log()) {
				if strings.Contains(strings.ToLower(line), "level=warn") || strings.Contains(strings.ToLower(line), "level=error") {
					t.Errorf("Prometheus says: %s", line)
				}
			}
		})
	}

	_, exposition, err := get("http://" + o.web + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, suite := range servers.Suites() {
		if output, err := servers.ForTest(t, suite).CheckMetrics(t.Context(), exposition); err != nil || output != "" {
			t.Errorf("promtool of Debian %s: %v\n%s", suite, err, output)
		}
	}
	problems, err := promlint.New(strings.NewReader(exposition)).Lint()
	if err != nil {
		t.Error(err)
	}
	for _, p := range problems {
		t.Errorf("promlint: %s: %s", p.Metric, p.Text)
	}
}

// wants tells whether an expression has the one value now.
func wants(ctx context.Context, p *servers.Prometheus, expression string, value float64) error {
	got, err := p.Value(ctx, expression)
	if err != nil {
		return err
	}
	if got != value {
		return fmt.Errorf("%s is %v, want %v", expression, got, value)
	}
	return nil
}

// peerOf is the id that node has given to its connection with other.
func peerOf(t *testing.T, node, other *regtest.Node) int {
	t.Helper()
	peers, err := node.Peers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range peers {
		if p.Address == other.P2PAddress() || p.AddressBind == other.P2PAddress() {
			return p.ID
		}
	}
	// An inbound connection comes from a port of its own: the only one that isn't the
	// agent's link.
	for _, p := range peers {
		if p.Inbound {
			return p.ID
		}
	}
	t.Fatalf("no connection with %s: %+v", other.P2PAddress(), peers)
	return 0
}

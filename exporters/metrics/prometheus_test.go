package metrics_test

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/metrics"
	"github.com/peerobserver/peerobserver/exporters/netgroup"
	"github.com/peerobserver/peerobserver/lab/servers"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// served lets a node live with everything that the existing tool has a metric for, and
// serves its metrics.
func served(t *testing.T) (*rig, string) {
	t.Helper()
	lists := map[string]string{}
	for _, name := range []string{"gmax", "monero", "tor_exit", "bitprojects", "linkinglion_pre2026"} {
		lists[name] = filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(lists[name], []byte("20.0.0.0/8\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	networks, err := netgroup.Load(netgroup.Config{Lists: lists}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, metrics.Config{Networks: networks, ProcessMetrics: true})
	r.message(peer{7, "162.218.65.7:1", eventpb.ConnectionType_CONNECTION_TYPE_INBOUND, 1}, true, "ping", 8, nil)
	r.message(alice, true, "addrv2", 60, addrV2(ipv4("8.8.8.8", r.now, 1)))
	r.message(alice, true, "reject", 20, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Reject{Reject: &eventpb.Reject{RejectedCommand: proto.String("tx")}}})
	r.normalLife(1)
	in, out := info(1, "8.8.8.8:41000", "ipv4", "inbound", "v1"), info(2, "9.9.9.9:8333", "ipv4", "outbound-full-relay", "v2")
	in.PingTime, in.MinimumPing, in.CpuLoad, in.BytesReceivedPerMessage = proto.Float64(0.1), proto.Float64(0.1), proto.Float64(1), map[string]uint64{"tx": 1}
	r.peerInfos(in, out)
	server := httptest.NewServer(promhttp.HandlerFor(r.sink.Registry(), promhttp.HandlerOpts{EnableOpenMetrics: true}))
	t.Cleanup(server.Close)
	return r, strings.TrimPrefix(server.URL, "http://")
}

// TestPrometheus lets real Prometheus servers, the oldest that is supported and a new
// one, scrape the metrics and apply the compatibility rules: every old name must have
// values.
func TestPrometheus(t *testing.T) {
	rules, err := filepath.Abs(compatibilityRule)
	if err != nil {
		t.Fatal(err)
	}
	var records []string
	for _, row := range readTSV(t, "testdata/compatibility.tsv", 5) {
		// The mean over an hour takes longer than the test.
		if row[0] == "log_compact_block_reconstruction_time" {
			continue
		}
		for _, rule := range (oldMetric{row[0], row[1], row[2], row[3], row[4]}).rules(t) {
			if !slices.Contains(records, rule.record) {
				records = append(records, rule.record)
			}
		}
	}
	for _, suite := range servers.Suites() {
		t.Run(string(suite), func(t *testing.T) {
			binaries := servers.ForTest(t, suite)
			if output, err := binaries.CheckRules(t.Context(), rules); err != nil {
				t.Errorf("promtool: %v\n%s", err, output)
			}
			r, address := served(t)
			if output, err := binaries.CheckMetrics(t.Context(), exposition(t, r.sink)); err != nil {
				t.Errorf("promtool: %v\n%s", err, output)
			}
			p := servers.StartPrometheus(t, servers.PrometheusConfig{
				Binaries: binaries, Scrapes: []servers.Scrape{{Job: "peer-observer", Address: address}}, RuleFiles: []string{rules}, Interval: 3 * time.Second,
			})
			missing := func() (list []string) {
				for _, record := range records {
					if samples, err := p.Query(t.Context(), record); err != nil || len(samples) == 0 {
						list = append(list, fmt.Sprintf("%s %v", record, err))
					}
				}
				return list
			}
			for deadline := time.Now().Add(2 * time.Minute); len(missing()) > 0 && time.Now().Before(deadline); {
				time.Sleep(500 * time.Millisecond)
			}
			for _, record := range missing() {
				t.Errorf("no value: %s", record)
			}
		})
	}
}

// TestNativeHistograms lets a Prometheus with native histograms scrape them: it refuses
// a scrape with one that contradicts itself.
func TestNativeHistograms(t *testing.T) {
	_, address := served(t)
	p := servers.StartPrometheus(t, servers.PrometheusConfig{
		Interval: 3 * time.Second, Binaries: servers.ForTest(t, servers.Newest), Scrapes: []servers.Scrape{{Job: "peer-observer", Address: address}},
		Args: []string{"--enable-feature=native-histograms"},
	})
	var up, quantile []servers.Sample
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		up, _ = p.Query(t.Context(), `up{job="peer-observer"} == 1`)
		// Native histograms are one series each, without a suffix.
		quantile, _ = p.Query(t.Context(), `histogram_quantile(0.5, peerobserver_link_rtt_seconds) > 0.0003 and histogram_quantile(0.5, peerobserver_link_rtt_seconds) < 0.002`)
		if len(up) > 0 && len(quantile) > 0 {
			return
		}
	}
	t.Errorf("up %v, median of the round trip %v", up, quantile)
}

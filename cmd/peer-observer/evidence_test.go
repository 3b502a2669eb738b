package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/alerts"
	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/lab/scenario"
	"github.com/peerobserver/peerobserver/lab/servers"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// evidenceAnswer is what the agent serves at /alerts/evidence.
type evidenceAnswer struct {
	Failed    string `json:"failed"`
	Addresses bool   `json:"addresses"`
	Records   []struct {
		ID      string  `json:"id"`
		Alert   string  `json:"alert"`
		State   string  `json:"state"`
		Largest float64 `json:"value_largest"`
		Measure string  `json:"peers_by"`
		Values  []struct {
			Series     string  `json:"series"`
			Now, Usual float64 `json:",omitempty"`
		} `json:"values"`
		Peers []struct {
			Address string  `json:"address"`
			Measure float64 `json:"measure"`
			Last    []struct {
				Type string `json:"type"`
			} `json:"last_messages"`
		} `json:"peers"`
	} `json:"records"`
}

// On a real node a peer floods it with pings, beside an honest one. A real Prometheus
// evaluates the rules, and the agent has the evidence: the flooder on top, with its last
// messages. Two agents see the same; the second one shows pseudonyms. What they serve is
// also published: when the alert fires and when it ends.
func TestEvidenceOfRealAlert(t *testing.T) {
	node := regtest.WithTracepoints(t, regtest.Config{Debug: []string{"net"}})
	other := regtest.WithTracepoints(t, regtest.Config{})
	if err := other.Connect(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	if _, err := node.Mine(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	rules := t.TempDir()
	options := alerts.Options{Thresholds: map[string]float64{"warm_up_seconds": 1}}
	if err := alerts.Write(rules, options); err != nil {
		t.Fatal(err)
	}
	// The agent is told where Prometheus is, and Prometheus where the agent is.
	web := freeAddress(t)
	prometheus := servers.StartPrometheus(t, servers.PrometheusConfig{
		Binaries: servers.ForTest(t, servers.Newest), Interval: 2 * time.Second,
		Scrapes:   []servers.Scrape{{Job: "peer-observer", Address: web}},
		RuleFiles: []string{filepath.Join(rules, "*.rules.yml")},
	})
	fast := []string{"--exporter.evidence", "--exporter.evidence.prometheus-url=" + prometheus.URL(), "--exporter.evidence.interval=200ms"}
	for _, method := range []string{"getpeerinfo", "uptime", "getnetworkinfo", "getblockchaininfo"} {
		fast = append(fast, "--extractor.rpc.interval."+method+"=500ms")
	}
	o := observe(t, node, nil, append(fast, "--exporter.evidence.instance="+web, "--web.listen-address="+web)...)
	o.web = web
	hidden := observe(t, node, nil, append(fast, "--exporter.evidence.addresses=never", "--exporter.evidence.instance="+web)...)
	readers := map[*observer]*evidenceReader{o: readEvidence(t, o), hidden: readEvidence(t, hidden)}
	o.ready()
	hidden.ready()
	eventually(t, "the gate to open", func() error {
		_, err := prometheus.Value(t.Context(), "peerobserver:gate_warm")
		return err
	})
	floods, err := scenario.Find("ping-flood")
	if err != nil {
		t.Fatal(err)
	}
	flooded := make(chan error, 1)
	go func() {
		flooded <- floods[0].Run(t.Context(), &scenario.Target{RPC: node.RPC(), P2PAddress: node.P2PAddress(), TimeScale: 10})
	}()
	var found, pseudonyms evidenceAnswer
	for o, answer := range map[*observer]*evidenceAnswer{o: &found, hidden: &pseudonyms} {
		patiently(t, "the evidence", func() error {
			*answer = evidenceAnswer{}
			code, body, err := get("http://" + o.web + "/alerts/evidence/B04")
			if err != nil || code != http.StatusOK {
				return fmt.Errorf("%d %s %w", code, body, err)
			}
			if err := json.Unmarshal([]byte(body), answer); err != nil {
				return err
			}
			if r := answer.Records[0]; r.State == "pending" || len(r.Peers) == 0 {
				return fmt.Errorf("not firing or no peer: %s", body)
			}
			return nil
		})
	}
	if err := <-flooded; err != nil {
		t.Fatal(err)
	}
	for _, answer := range []evidenceAnswer{found, pseudonyms} {
		r := answer.Records[0]
		if r.Alert != "PeerObserverPingFlood" || r.Largest < 60 || r.Measure != "received pings" {
			t.Errorf("the record is %+v", r)
		}
		top := r.Peers[0]
		if top.Measure < 1000 || len(top.Last) == 0 {
			t.Errorf("on top is %+v", top)
		}
		for _, p := range r.Peers[1:] {
			if p.Measure > top.Measure/10 {
				t.Errorf("an honest peer is near the top: %+v", p)
			}
		}
		pings := 0
		for _, m := range top.Last {
			if m.Type == "ping" || m.Type == "pong" {
				pings++
			}
		}
		if pings == 0 {
			t.Errorf("no ping among its last messages: %+v", top.Last)
		}
		if len(r.Values) == 0 || !strings.HasPrefix(r.Values[0].Series, "peerobserver_") {
			t.Errorf("the values are %+v", r.Values)
		}
	}
	if !found.Addresses || !strings.HasPrefix(found.Records[0].Peers[0].Address, "127.0.0.1:") {
		t.Errorf("the address is %q", found.Records[0].Peers[0].Address)
	}
	for _, p := range pseudonyms.Records[0].Peers {
		if strings.HasPrefix(p.Address, "127.") {
			t.Errorf("an address is shown: %s", p.Address)
		}
	}
	if pseudonyms.Addresses {
		t.Error("the answer says that it has addresses")
	}
	if code, _, err := get("http://" + o.web + "/alerts/evidence/G01"); code != http.StatusNotFound {
		t.Errorf("evidence of what has not fired: %d, %v", code, err)
	}
	// The alert ends when the rule is content with more.
	options.Thresholds["b04_pings"], options.Thresholds["b04_pings_of_all"] = 1e12, 1e12
	if err := errors.Join(alerts.Write(rules, options), syscall.Kill(prometheus.PID(), syscall.SIGHUP)); err != nil {
		t.Fatal(err)
	}
	for o, reader := range readers {
		first, last := reader.ended(t, "B04")
		if served, published := servedEvidence(t, o, "B04", last.BeganTimeNs), publishedEvidence(last); served != published || len(last.GetPeers()) == 0 {
			t.Errorf("published is\n%s\nand served\n%s", published, served)
		}
		if len(first.GetPeers()) == 0 || first.EndedTimeNs != nil || first.GetBeganTimeNs() != last.GetBeganTimeNs() || first.GetFiredTimeNs() != last.GetFiredTimeNs() {
			t.Errorf("when it fired it was %v, when it ended %v", first, last)
		}
		// The messages stay those of before it fired.
		for _, p := range first.GetPeers() {
			i := slices.IndexFunc(last.GetPeers(), func(q *eventpb.EvidencePeer) bool { return q.GetPeerId() == p.GetPeerId() })
			if i < 0 || len(p.GetLastMessages()) == 0 || !slices.EqualFunc(p.GetLastMessages(), last.GetPeers()[i].GetLastMessages(), func(a, b *eventpb.EvidenceMessage) bool { return proto.Equal(a, b) }) {
				t.Errorf("peer %d: when it fired %v, when it ended %v", p.GetPeerId(), first, last)
			}
			if hasAddress := strings.HasPrefix(p.GetAddress(), "127.0.0.1:"); hasAddress != (reader != readers[hidden]) {
				t.Errorf("published is the address %s", p.GetAddress())
			}
		}
		if _, err := o.sample(`peerobserver_evidence_left_out_total{what="sample"}`); err != nil {
			t.Error(err)
		}
		if v, err := o.sample(`peerobserver_events_total{event="observer.alert_evidence",source="observer"}`); err != nil || v < 2 {
			t.Errorf("%v events are counted, %v", v, err)
		}
	}
}

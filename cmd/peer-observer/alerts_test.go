package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/alerts/backtest"
	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/lab/scenario"
)

// backtested gives what a backtest of files says, in JSON and as text.
func backtested(t *testing.T, files []string) (result backtest.Result, text string) {
	t.Helper()
	args := append([]string{"alerts", "backtest", "--threshold=warm_up_seconds=1", "--interval=1s"}, files...)
	p := start(t, nil, append(args, "--format=json")...)
	if code := p.wait(); code != exitOK {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	if err := json.Unmarshal([]byte(p.stdout.String()), &result); err != nil {
		t.Fatalf("%v: %s", err, p.stdout)
	}
	p = start(t, nil, args...)
	if code := p.wait(); code != exitOK {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	return result, p.stdout.String()
}

// A peer floods a real node with pings while an archive is recorded: the backtest of it
// names that alert and when. That of honest traffic before names none.
func TestBacktestOfRealNode(t *testing.T) {
	node := regtest.WithTracepoints(t, regtest.Config{Debug: []string{"net"}})
	other := regtest.WithTracepoints(t, regtest.Config{})
	if err := other.Connect(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	recorded := func(events func()) []string {
		t.Helper()
		dir := t.TempDir()
		o := observe(t, node, nil, "--exporter.archive", "--exporter.archive.dir="+dir,
			"--extractor.rpc.interval.getblockchaininfo=1s", "--extractor.rpc.interval.getnetworkinfo=1s", "--extractor.rpc.interval.uptime=1s")
		o.ready()
		events()
		// The rules have looked at it once a status comes that is later.
		before, err := o.sample(`peerobserver_events_total{event="observer.status",source="observer"}`)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "a status after that", func() error {
			now, err := o.sample(`peerobserver_events_total{event="observer.status",source="observer"}`)
			if err == nil && now < before+1 {
				err = fmt.Errorf("%v status events, none since", now)
			}
			return err
		})
		if code := o.stop(); code != exitOK {
			t.Fatalf("exit code %d", code)
		}
		return archiveFiles(t, dir)
	}
	honest := recorded(func() {
		for range 5 {
			if _, err := node.Mine(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
		}
	})
	var began, ended time.Time
	hostile := recorded(func() {
		began = time.Now()
		floods, err := scenario.Find("ping-flood")
		if err != nil {
			t.Fatal(err)
		}
		if err := floods[0].Run(t.Context(), &scenario.Target{RPC: node.RPC(), P2PAddress: node.P2PAddress(), TimeScale: 10}); err != nil {
			t.Fatal(err)
		}
		ended = time.Now()
	})

	result, text := backtested(t, honest)
	for _, a := range result.Alerts {
		if a.Severity != "info" {
			t.Errorf("of honest traffic: %+v", a)
		}
	}
	if result.Scrapes < 3 || result.Events == 0 {
		t.Errorf("the result is %+v", result)
	}
	if strings.Contains(text, "PeerObserverPingFlood") {
		t.Errorf("the text is %s", text)
	}
	result, text = backtested(t, hostile)
	found := false
	for _, a := range result.Alerts {
		if a.Alert != "PeerObserverPingFlood" {
			if a.Severity != "info" {
				t.Errorf("beside it fires %+v", a)
			}
			continue
		}
		found = true
		if a.ID != "B04" || a.Severity != "ticket" || a.Node != "test" || a.Largest < 60 {
			t.Errorf("the alert is %+v", a)
		}
		// It fires with a scrape after the first pings, and at the latest with that which
		// follows the next summary of the peers.
		if a.Fired.Before(began) || a.Fired.After(ended.Add(12*time.Second)) {
			t.Errorf("it fired at %v; the flood lasted from %v to %v", a.Fired, began, ended)
		}
	}
	if !found || !strings.Contains(text, "PeerObserverPingFlood") {
		t.Errorf("the flood isn't found: %+v\n%s", result, text)
	}
}

func TestMistakesInBacktest(t *testing.T) {
	for what, args := range map[string][]string{
		"no file":                  {},
		"a file that isn't there":  {"/nonexistent"},
		"an unknown threshold":     {"--threshold=nonsense=1", "/nonexistent"},
		"a threshold without text": {"--threshold=b04_pings=x", "/nonexistent"},
		"a time scale of zero":     {"--time-scale=0", "/nonexistent"},
	} {
		p := start(t, nil, append([]string{"alerts", "backtest"}, args...)...)
		if code := p.wait(); code != exitUsage {
			t.Errorf("%s: exit code %d: %s", what, code, p.stderr)
		}
	}
}

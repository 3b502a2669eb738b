package dashboards_test

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/dashboards"
	"github.com/peerobserver/peerobserver/dashboards/picture"
	"github.com/peerobserver/peerobserver/lab/bitcoind"
	"github.com/peerobserver/peerobserver/lab/machine"
	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/lab/scenario"
	"github.com/peerobserver/peerobserver/lab/servers"
)

// envInside says to the test that it runs in a network namespace.
const envInside = "PEER_OBSERVER_TEST_IN_NAMESPACE"

// pictures is the directory for pictures; empty where nobody wants any.
func pictures() string { return os.Getenv("PEER_OBSERVER_PICTURES") }

// shownAttacks are what pictures show beside the attacks of every run: some of each class, in
// an order in which one hides the next one least, or those that a variable names.
func shownAttacks() []string {
	if chosen := os.Getenv("PEER_OBSERVER_TEST_SCENARIOS"); chosen != "" {
		return strings.Split(chosen, ",")
	}
	return []string{
		"silent-connections", "announcement-flood", "orphan-flood", // B
		"address-flood", "inbound-exhaustion", "outbound-starvation", // A
		"misbehaviour", "transaction-refetch", // C, D
		"user-agent-rotation", "address-harvest", "port-scan", // E
		"block-stalling", "invalid-block", // F
		"replacement-chain", "rejection-storm", "mempool-flood", // H
		"unknown-messages", "ban", "link-lost", "agent-stopped", "node-restarts", // I
	}
}

// attackOptions make a rig for all of these attacks, in a network namespace: thresholds of
// spans of time that the rules' scale doesn't change, and of what doesn't fit into a lab.
func attackOptions(t *testing.T) rigOptions {
	t.Helper()
	if err := scenario.OpenNamespace(); err != nil {
		t.Fatal(err)
	}
	options := rigOptions{
		node: regtest.Config{AutomaticOutbound: true, Debug: []string{"addrman", "txpackages"}, Args: []string{"-maxmempool=5"}},
		thresholds: map[string]float64{
			"a01_opened": 80, "a01_factor": 0.1, "f01_ticket_seconds": 3, "f01_page_seconds": 5, "h04_rejected": 500,
		},
		intervals: map[string]time.Duration{
			"getrawaddrman": 2 * time.Second, "getaddrmaninfo": 2 * time.Second, "getorphantxs": time.Second, "getmempoolinfo": time.Second,
		},
	}
	for _, method := range []string{"getpeerinfo", "getnettotals", "uptime", "getnetworkinfo", "getblockchaininfo", "getchaintips", "listbanned"} {
		options.intervals[method] = 400 * time.Millisecond
	}
	return options
}

// attackForPictures runs the attacks one after the other, and says for each which of the
// panels that link to its rule's runbook show it. There must be one.
func (r *rig) attackForPictures() {
	r.t.Helper()
	if err := r.target.Populate(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(r.target.Close)
	for _, name := range shownAttacks() {
		found, err := scenario.Find(name)
		if err != nil {
			r.t.Error(err)
			continue
		}
		for _, s := range found {
			begin := time.Now()
			if err := s.Run(r.t.Context(), r.target); err != nil {
				r.t.Errorf("scenario %s: %v", s.Name, err)
				continue
			}
			if err := r.soon(func() error { return r.fired(s.Alert) }); err != nil {
				r.t.Errorf("scenario %s: %s: %v", s.Name, s.Alert, err)
			}
			r.t.Logf("%s %s took %v", s.Rule, s.Name, time.Since(begin).Round(time.Second))
			var seen []string
			if err := r.soon(func() error {
				if seen = r.shows(s.Rule, begin); len(seen) == 0 {
					return errors.New("no panel that links to the runbook shows it")
				}
				return nil
			}); err != nil {
				r.t.Errorf("scenario %s: %v", s.Name, err)
			}
			for _, panel := range seen {
				r.t.Logf("  %s", panel)
			}
		}
	}
}

// soon tries for a while whether check gives no error.
func (r *rig) soon(check func() error) error {
	deadline := time.Now().Add(time.Minute)
	for {
		err := check()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// shows lists panels about a rule in which a value since a moment is beyond all of the half
// minute before it.
func (r *rig) shows(rule string, since time.Time) (seen []string) {
	r.t.Helper()
	options := r.shown()
	options.Span.Step = time.Second
	options.Span.Start = since.Add(-30 * time.Second).Truncate(time.Second)
	if options.Span.Start.Before(r.began) {
		options.Span.Start = r.began.Truncate(time.Second)
	}
	split := int(since.Sub(options.Span.Start) / options.Span.Step)
	drawn := map[string]picture.Dashboard{}
	for _, d := range parsed(r.t) {
		drawn[d.UID] = d
	}
	for _, d := range dashboards.All() {
		for _, row := range d.Rows {
			for _, p := range row.Panels {
				if p.Kind != dashboards.TimeSeries || !slices.Contains(p.Runbooks, rule) {
					continue
				}
				list := drawn["peerobserver-"+d.UID].Panels
				i := slices.IndexFunc(list, func(other picture.Panel) bool { return other.Title == p.Title })
				for _, target := range list[i].Targets {
					series, err := options.Ask(r.t.Context(), target)
					if err != nil {
						r.t.Fatalf("%s, %s: %v", d.UID, p.Title, err)
					}
					before, after := spread(series, 0, split+1), spread(series, split+1, math.MaxInt)
					if after != nil && (before == nil || after[1] > before[1] || after[0] < before[0]) {
						seen = append(seen, fmt.Sprintf("%s: %s: %.4g before, %.4g since", d.UID, p.Title, before, after))
					}
				}
			}
		}
	}
	return seen
}

// spread is the smallest and the largest of all values at some of the steps; nil for none.
func spread(all []picture.Series, from, to int) []float64 {
	var values []float64
	for _, s := range all {
		end := min(to, len(s.Values))
		for _, v := range s.Values[min(from, end):end] {
			if !math.IsNaN(v) && !math.IsInf(v, 0) {
				values = append(values, v)
			}
		}
	}
	if len(values) == 0 {
		return nil
	}
	return []float64{slices.Min(values), slices.Max(values)}
}

// inNamespace runs the test again in a network namespace, where peers can come from many
// addresses. What may have to be fetched or built is there before.
func inNamespace(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		machine.Lacks(t, "root, to make a network namespace")
	}
	directory, err := filepath.Abs(pictures())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(directory, 0o755); err != nil {
		t.Fatal(err)
	}
	program := cmp.Or(os.Getenv("PEER_OBSERVER_TEST_PROGRAM"), filepath.Join(t.TempDir(), "peer-observer"))
	if os.Getenv("PEER_OBSERVER_TEST_PROGRAM") == "" {
		if output, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../cmd/peer-observer").CombinedOutput(); err != nil {
			t.Fatalf("building the agent: %v\n%s", err, output)
		}
	}
	servers.ForTest(t, servers.Newest)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=30m")
	command.Env = append(os.Environ(), envInside+"=1", "PEER_OBSERVER_PICTURES="+directory, "PEER_OBSERVER_TEST_PROGRAM="+program, bitcoind.EnvBinary+"="+regtest.Binary(t).Path)
	scenario.InNewNamespace(command)
	command.SysProcAttr.Pdeathsig = syscall.SIGKILL
	// The signal is sent when the thread ends that has made the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// Who waits that long wants to see how far it is.
	command.Stdout, command.Stderr = os.Stderr, os.Stderr
	if err := command.Run(); err != nil {
		t.Fatal(err)
	}
}

package scenario

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/lab/bitcoind"
	"github.com/peerobserver/peerobserver/lab/machine"
	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/lab/servers"
)

// envInside says to the test that it runs in the namespace.
const envInside = "PEER_OBSERVER_TEST_IN_NAMESPACE"

// In a network namespace, on a node that connects by itself to peers beyond it: all benign
// twins leave the receivers of pages and tickets silent, then every scenario has its alert
// received.
func TestScenariosAlertInNamespace(t *testing.T) {
	if os.Getenv(envInside) == "" {
		inNamespace(t)
		return
	}
	if err := OpenNamespace(); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, rigOptions{
		node:  regtest.Config{AutomaticOutbound: true, Debug: []string{"addrman"}},
		onion: freeAddress(t),
		agent: []string{"--extractor.rpc.interval.getrawaddrman=2s", "--extractor.rpc.interval.getaddrmaninfo=2s"},
		// Spans of time that are thresholds, about as much shorter as the rest; and a busy
		// machine's node doesn't take 15 connections a second.
		thresholds: map[string]float64{
			"a01_opened": 80, "a01_factor": 0.1, // the hour before has other scenarios in it
			"a05_observed_seconds": 30,
			"a08_replaced_seconds": 3600 / timeScale, "a08_address_age_seconds": addressAge.Seconds(),
			"a13_ticket_seconds": 90, "a13_page_seconds": 100,
		},
	})
	t.Cleanup(r.target.Close)
	if err := r.target.Populate(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer r.noteRig()
	begin := time.Now()
	chosen := slices.DeleteFunc(chosen(t, true), ofSpies)
	lanes := make([][]Scenario, len(lanesOfRules()))
	inLanes := 0
	var expected, allowed []string
	for _, s := range chosen {
		expected = append(append(expected, s.Alert), s.Also...)
		allowed = append(allowed, s.TwinMay...)
	}
	for i, rules := range lanesOfRules() {
		for _, rule := range rules {
			for _, s := range chosen {
				if s.Rule == rule {
					lanes[i] = append(lanes[i], s)
					inLanes++
				}
			}
		}
	}
	if inLanes != len(chosen) {
		t.Fatalf("%d scenarios in the lanes, %d chosen", inLanes, len(chosen))
	}

	r.inLanes("twins", lanes, func(r *rig, i int, lane []Scenario) {
		if i == 0 {
			r.twins(lane)
			return
		}
		for _, s := range lane {
			if s.Rule == "A08" {
				// Until addresses can be old.
				if err := pause(r.t.Context(), time.Until(begin.Add(addressAge+10*time.Second))); err != nil {
					r.t.Fatal(err)
				}
			}
			r.twins([]Scenario{s})
		}
	})
	r.settle(3 * time.Minute)
	r.silent("benign twins, in the namespace", len(chosen), begin, allowed, slices.Concat(allowed, heldUp()))
	if t.Failed() {
		t.FailNow()
	}
	provoke := func(alone bool) func(r *rig, _ int, lane []Scenario) {
		return func(r *rig, _ int, lane []Scenario) {
			for _, s := range lane {
				if slices.Contains(rulesAlone(), s.Rule) == alone {
					r.provoke([]Scenario{s}, append(slices.Clip(expected), heldUp()...))
				}
			}
		}
	}
	r.inLanes("provoked", lanes, provoke(false))
	r.inLanes("provoked alone", lanes, provoke(true))
}

// rulesAlone are the rules whose scenarios come when those of all lanes are done: the node
// evicts the peers of others then, or nobody reaches it.
func rulesAlone() []string { return []string{"A01", "I03"} }

// heldUp are the alerts that a machine gives rise to which is too busy for scrapes every half
// second. They are the matter of other tests.
func heldUp() []string {
	return []string{"PeerObserverAgentDown", "PeerObserverSourceSilent", "PeerObserverSourceDown"}
}

// addressAge is what in this test are the two days since which the addresses must have
// been known to which the node connects.
const addressAge = 40 * time.Second

// lanesOfRules are the rules whose scenarios come one after the other: what happens to
// inbound connections, to outbound connections and addresses, to peers of Tor, and to blocks.
// The flood of addresses (A04) is more than a surge (A05) and comes after it.
func lanesOfRules() [][]string {
	return [][]string{{"A14", "A02", "A03", "A01", "I03"}, {"A09", "A08", "A05", "A04", "A06"}, {"A12"}, {"A13"}}
}

// inLanes does something for each lane at the same time.
func (r *rig) inLanes(name string, lanes [][]Scenario, do func(r *rig, i int, lane []Scenario)) {
	r.t.Helper()
	passed := r.t.Run(name, func(t *testing.T) {
		for i, lane := range lanes {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				own := *r
				own.t = t
				do(&own, i, lane)
			})
		}
	})
	if !passed {
		r.logReceived()
		r.t.FailNow()
	}
}

// inNamespace runs the test again in a network namespace. What may have to be fetched or
// built is there before.
func inNamespace(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		machine.Lacks(t, "root, to make a network namespace")
	}
	program := os.Getenv("PEER_OBSERVER_TEST_PROGRAM")
	if program == "" {
		program = filepath.Join(t.TempDir(), "peer-observer")
		if out, err := exec.Command("go", "build", "-o", program, "../../cmd/peer-observer").CombinedOutput(); err != nil {
			t.Fatalf("building the agent: %v\n%s", err, out)
		}
	}
	servers.ForTest(t, servers.Newest)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	timeout := 15 * time.Minute
	if deadline, ok := t.Deadline(); ok {
		timeout = time.Until(deadline)
	}
	command := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout="+timeout.String(),
		fmt.Sprintf("-test.parallel=%d", len(lanesOfRules())))
	command.Env = append(os.Environ(), envInside+"=1", "PEER_OBSERVER_TEST_PROGRAM="+program, bitcoind.EnvBinary+"="+regtest.Binary(t).Path)
	InNewNamespace(command)
	command.SysProcAttr.Pdeathsig = syscall.SIGKILL
	// The signal is sent when the thread ends that has made the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	out, err := command.CombinedOutput()
	t.Logf("in the namespace:\n%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

// Where a packet could leave the host no namespace is opened, and none is found.
func TestRefusesNetworksWithAWayOut(t *testing.T) {
	if onlyLoopback() == nil {
		t.Skip("NOT RUN: this machine has the loopback interface only")
	}
	if err := OpenNamespace(); !errors.Is(err, ErrNoNamespace) {
		t.Errorf("opening: %v, want a refusal", err)
	}
	if err := CheckNamespace(); !errors.Is(err, ErrNoNamespace) {
		t.Errorf("checking: %v, want a refusal", err)
	}
}

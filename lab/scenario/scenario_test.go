package scenario

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/agent/node"
	"github.com/peerobserver/peerobserver/lab/regtest"
)

// On a real node with a real agent, Prometheus and Alertmanager: all benign twins leave
// the receivers of pages and tickets silent, then every scenario has its alert received.
func TestScenariosAlert(t *testing.T) {
	r := newRig(t, rigOptions{node: regtest.Config{Args: []string{"-maxmempool=5"}}, thresholds: thresholds()})
	order := chosen(t, false)
	// Pages inhibit what they explain, restarts the most and for the longest time.
	slices.SortStableFunc(order, func(a, b Scenario) int { return rank(a) - rank(b) })

	defer r.noteRig()
	begin := time.Now()
	var allowed []string
	restarts := false
	var together []Scenario
	for _, s := range order {
		allowed = append(allowed, s.TwinMay...)
		if s.Together {
			together = append(together, s)
		}
	}
	r.twins(together)
	for _, s := range order {
		if s.Together {
			continue
		}
		if s.Needs&NeedsRestart != 0 && !restarts {
			// Restarts cut the link too, which other twins have just done.
			restarts = true
			r.settle(10 * time.Minute)
		}
		if err := s.RunTwin(t.Context(), r.target); err != nil {
			t.Fatalf("benign twin: %v", err)
		}
		r.ready()
	}
	// Longer than most rules look back.
	r.settle(6 * time.Minute)
	r.silent("benign twins", len(order), begin, allowed, allowed)

	r.provoke(together, allowed)
	for _, s := range together {
		allowed = append(append(allowed, s.Alert), s.Also...)
	}
	for _, s := range order {
		if s.Together {
			continue
		}
		r.provoke([]Scenario{s}, allowed)
		allowed = append(append(allowed, s.Alert), s.Also...)
		if slices.Contains(inhibiting(), s.Alert) {
			r.eventually("resolution of "+s.Alert, func() error {
				if !r.hook.resolved(s.Alert) {
					return errors.New("still firing")
				}
				return nil
			})
		}
	}
}

// inhibiting are the alerts of which the tests see the end too, because they keep quiet what
// they explain, or say that the observer itself is blind.
func inhibiting() []string {
	return []string{
		"PeerObserverNetworkSwitchedOff", "PeerObserverAgentDown", "PeerObserverNodeDown", "PeerObserverNodeRestarting",
		"PeerObserverSourceDown", "PeerObserverSourceSilent",
	}
}

func rank(s Scenario) int {
	switch {
	case s.Rule == "I02":
		// It restarts the node too, and leaves behind what looks like a reorganization.
		return 4
	case s.Rule == "I01":
		return 3
	case s.Rule == "B01" || s.Needs&NeedsAgent != 0:
		return 2
	case s.Severity == "page":
		return 1
	default:
		return 0
	}
}

// chosen are the scenarios to run, those of class A and others that need a namespace there or
// the rest: all, or for a while of development those that a variable of the environment names.
func chosen(t *testing.T, namespace bool) []Scenario {
	t.Helper()
	elsewhere := func(s Scenario) bool { return inNamespaceOnly(s) != namespace }
	names := os.Getenv("PEER_OBSERVER_TEST_SCENARIOS")
	if names == "" {
		return slices.DeleteFunc(All(), elsewhere)
	}
	all := named(t, names)
	t.Logf("of %d scenarios only %d, as $PEER_OBSERVER_TEST_SCENARIOS says", len(All()), len(all))
	return slices.DeleteFunc(all, elsewhere)
}

// inNamespaceOnly is whether a scenario runs in the tests in a namespace.
func inNamespaceOnly(s Scenario) bool {
	return strings.HasPrefix(s.Rule, "A") || s.Needs&NeedsNamespace != 0
}

// named are the scenarios of names and rules between commas; "all" are all.
func named(t *testing.T, names string) []Scenario {
	t.Helper()
	if names == "all" {
		return All()
	}
	var all []Scenario
	for name := range strings.SplitSeq(names, ",") {
		found, err := Find(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

// twins runs benign twins at the same time.
func (r *rig) twins(scenarios []Scenario) {
	r.t.Helper()
	failed := make(chan error, len(scenarios))
	for _, s := range scenarios {
		go func() { failed <- s.RunTwin(r.t.Context(), r.target) }()
	}
	for range scenarios {
		if err := <-failed; err != nil {
			r.t.Errorf("benign twin: %v", err)
		}
	}
	if r.t.Failed() {
		r.t.FailNow()
	}
}

// provoke runs scenarios at the same time and waits for their alerts.
func (r *rig) provoke(scenarios []Scenario, expected []string) {
	r.t.Helper()
	if len(scenarios) == 0 {
		return
	}
	begin := time.Now()
	done := make(chan error, len(scenarios))
	var names []string
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	for _, s := range scenarios {
		go func() { done <- s.Run(ctx, r.target) }()
		expected = append(append(slices.Clip(expected), s.Alert), s.Also...)
		names = append(names, s.Name)
	}
	ended := 0
	received := make([]notification, len(scenarios))
	defer func() {
		for i, s := range scenarios {
			r.noteProvoked(s, begin, received[i], expected)
		}
	}()
	for i, s := range scenarios {
		var first notification
		r.eventually(s.Name+" to have "+s.Alert+" received", func() error {
			select {
			case err := <-done:
				if err != nil {
					r.t.Fatal(err)
				}
				ended++
			default:
			}
			var found bool
			if first, found = r.hook.firstFiring(s.Alert, begin); !found {
				return errors.New("not received")
			}
			return nil
		})
		r.t.Logf("%s %-20s %-38s %-6s received after %5.1f s (rules scaled by %d)",
			s.Rule, s.Name, s.Alert, s.Severity, first.at.Sub(begin).Seconds(), timeScale)
		if first.severity != s.Severity {
			r.t.Errorf("%s: severity %s, want %s", s.Alert, first.severity, s.Severity)
		}
		if first.receiver != s.Severity {
			r.t.Errorf("%s went to the receiver of %s", s.Alert, first.receiver)
		}
		received[i] = first
	}
	if !slices.ContainsFunc(scenarios, func(s Scenario) bool { return !s.holds }) {
		cancel()
	}
	for ; ended < len(scenarios); ended++ {
		if err := <-done; err != nil && !errors.Is(err, ctx.Err()) {
			r.t.Fatal(err)
		}
	}
	for _, n := range r.hook.all() {
		if n.firing && !n.at.Before(begin) && n.severity != "info" && !slices.Contains(expected, n.alert) {
			r.t.Errorf("%v: %s received, which is not expected of them", names, n.alert)
		}
	}
	r.ready()
}

func TestRefusesOtherTargets(t *testing.T) {
	n := regtest.ForTest(t, regtest.Config{})
	good := &Target{RPC: n.RPC(), P2PAddress: n.P2PAddress()}
	if err := good.check(t.Context(), 0); err != nil {
		t.Fatalf("a regtest node on loopback is refused: %v", err)
	}
	for _, address := range []string{"192.0.2.1:18444", "[2001:db8::1]:18444", "0.0.0.0:18444", "localhost:18444", "example.org:8333", ""} {
		other := &Target{RPC: n.RPC(), P2PAddress: address}
		if err := other.check(t.Context(), 0); !errors.Is(err, ErrRefused) {
			t.Errorf("P2P address %q: %v, want a refusal", address, err)
		}
	}
	remote, err := node.NewClient(node.ClientOptions{Address: "192.0.2.1:18443", User: "u", Password: "p"})
	if err != nil {
		t.Fatal(err)
	}
	if err := (&Target{RPC: remote, P2PAddress: n.P2PAddress()}).check(t.Context(), 0); !errors.Is(err, ErrRefused) {
		t.Errorf("RPC on another host: %v, want a refusal", err)
	}
	for _, need := range []Needs{NeedsProcess, NeedsRestart, NeedsAgent, NeedsCookie, NeedsOnion} {
		if err := good.check(t.Context(), need); err == nil {
			t.Errorf("need %b is not missed", need)
		}
	}
}

// A node of another chain is refused, whatever else is right.
func TestRefusesOtherChains(t *testing.T) {
	n := regtest.ForTest(t, regtest.Config{})
	for _, s := range All() {
		ctx, cancel := context.WithCancel(t.Context())
		target := &Target{RPC: signet(t, n), P2PAddress: n.P2PAddress()}
		if err := s.Run(ctx, target); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "signet") {
			t.Errorf("%s on signet: %v, want a refusal", s.Name, err)
		}
		cancel()
	}
}

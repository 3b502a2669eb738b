package scenario

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/lab/regtest"
)

// In a network namespace, on a node that announces without delay: the benign twins of what
// spies do leave all receivers silent, then every scenario has its alert received. They all
// happen at the same time, each from networks of its own.
func TestSpiesAlertInNamespace(t *testing.T) {
	if os.Getenv(envInside) == "" {
		inNamespace(t)
		return
	}
	if err := OpenNamespace(); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, rigOptions{
		// A peer with the permission noban gets announcements as they come, others some a
		// second.
		node: regtest.Config{Args: []string{"-whitelist=noban@" + ranges()[0].String(), "-checkmempool=0"}},
		// The uptime is about as much shorter as the rest. All peers come within seconds, which
		// are minutes, and then nobody does; the five minutes of connections from one network
		// aren't scaled.
		thresholds: map[string]float64{
			"e01_uptime_seconds": 3, "a01_opened": 1e5, "a01_opened_always": 1e5, "a03_opened": 1e5, "i03_accepted": 1e5,
		},
	})
	t.Cleanup(r.target.Close)
	defer r.noteRig()
	begin := time.Now()
	scenarios := slices.DeleteFunc(chosen(t, true), func(s Scenario) bool { return !ofSpies(s) })
	own := heldUp()
	for _, s := range scenarios {
		own = append(own, s.Alert)
	}
	r.twins(scenarios)
	r.settle(3 * time.Minute)
	r.silent("benign twins, of spies", len(scenarios), begin, nil, heldUp())
	for _, n := range r.hook.all() {
		if n.firing && !slices.Contains(heldUp(), n.alert) && (n.severity != "info" || slices.Contains(own, n.alert)) {
			t.Errorf("benign twins: %s %s received", n.severity, n.alert)
		}
	}
	if t.Failed() {
		r.logRules()
		t.FailNow()
	}
	// The first takes the longest.
	slices.Reverse(scenarios)
	r.provoke(scenarios, heldUp())
}

// ofSpies is whether a scenario is of the class of spying.
func ofSpies(s Scenario) bool { return strings.HasPrefix(s.Rule, "E") }

package scenario

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/lab/regtest"
)

// envUnscaled names the scenarios of TestScenariosAlertInTime: "all", or rules and names.
const envUnscaled = "PEER_OBSERVER_TEST_UNSCALED"

// unscaledInCI are the scenarios of which everyday tests wait for the alert with the rules
// as they are. They run at the same time, and take a minute.
const unscaledInCI = "announcement-flood,request-flood,misbehaviour,block-redownload"

// With the rules, the intervals of the agent and those of Prometheus as they are, scenarios
// have their alert received within the time that they say.
func TestScenariosAlertInTime(t *testing.T) {
	names := os.Getenv(envUnscaled)
	if names == "" {
		names = unscaledInCI
	}
	order := slices.DeleteFunc(named(t, names), inNamespaceOnly)
	slices.SortStableFunc(order, func(a, b Scenario) int { return rank(a) - rank(b) })
	// What isn't about time is as in the scaled rules.
	changed := maps.Clone(thresholds())
	for _, name := range []string{"c01_seconds", "h04_rejected", "f01_ticket_seconds", "f01_page_seconds"} {
		delete(changed, name)
	}
	r := newRig(t, rigOptions{node: regtest.Config{Args: []string{"-maxmempool=5"}}, thresholds: changed, unscaled: true})
	together := slices.DeleteFunc(slices.Clone(order), func(s Scenario) bool { return !s.Together })
	r.inTime(together)
	for _, s := range order {
		if !s.Together {
			r.inTime([]Scenario{s})
		}
	}
}

// inTime runs scenarios at the same time and looks whether their alerts are received in time.
func (r *rig) inTime(scenarios []Scenario) {
	r.t.Helper()
	// So long an alert is awaited that is late, to know by how much.
	const late = 2 * time.Minute
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	begin := time.Now()
	done := make(chan error, len(scenarios))
	for _, s := range scenarios {
		go func() { done <- s.Run(ctx, r.target) }()
	}
	for _, s := range scenarios {
		var first notification
		r.within(time.Until(begin.Add(s.Detect+late)), s.Name+" to have "+s.Alert+" received", func() error {
			var found bool
			if first, found = r.hook.firstFiring(s.Alert, begin); !found {
				return errors.New("not received")
			}
			return nil
		})
		took := first.at.Sub(begin)
		r.t.Logf("%s %-23s %-39s %-6s received after %v of %v (rules as they are)", s.Rule, s.Name, s.Alert, s.Severity, took.Round(time.Second/10), s.Detect)
		if took > s.Detect {
			r.t.Errorf("%s: %s received after %v, want %v", s.Name, s.Alert, took, s.Detect)
		}
		r.noteUnscaled(s, first.alarm(begin))
	}
	cancel()
	for range scenarios {
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			r.t.Error(err)
		}
	}
	r.ready()
	for _, s := range scenarios {
		if slices.Contains(inhibiting(), s.Alert) {
			r.within(time.Hour, "resolution of "+s.Alert, func() error {
				if !r.hook.resolved(s.Alert) {
					return errors.New("still firing")
				}
				return nil
			})
		}
	}
}

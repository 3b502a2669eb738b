// Package scenario provokes, on the operator's own regtest node, what the alert rules
// watch for, and its benign twin, which must not alert anybody. It refuses every other
// chain and every target that isn't on loopback.
package scenario

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Scenario provokes one alert.
type Scenario struct {
	// Name is how it is chosen, such as "ping-flood".
	Name string
	// Rule is the id of the rule, such as "B04", and Alert the alert that must fire.
	Rule, Alert string
	// Severity is that of the alert: page, ticket or info.
	Severity string
	// Does says what happens, Twin what its benign twin does instead.
	Does, Twin string
	// Detect is the time from the beginning within which the alert is expected with the
	// rules as they are, the agent's default intervals, and a scrape every 15 s.
	Detect time.Duration
	// Also are further alerts that the provocation gives rise to, with good reason.
	Also []string
	// TwinMay are alerts that even the twin may give rise to: of severity info, or as the
	// catalogue of attacks allows.
	TwinMay []string
	// Needs is what it needs of the target beside its RPC and P2P addresses.
	Needs Needs
	// Together: it only sends messages, so that others that do may run at the same time.
	Together bool

	// holds: it goes on for longer than the alert needs, and may be ended once that is there.
	holds bool

	provoke, twin func(context.Context, *Target) error
}

// Needs is what a scenario needs.
type Needs uint8

// The needs.
const (
	// NeedsProcess: the node's process may be stopped and killed.
	NeedsProcess Needs = 1 << iota
	// NeedsRestart: something starts the node again.
	NeedsRestart
	// NeedsAgent: the process of the agent is known and may be stopped.
	NeedsAgent
	// NeedsCookie: the node's RPC login is a cookie file that may be changed.
	NeedsCookie
	// NeedsOnion: the node takes connections that count as from Tor (-bind=ADDRESS=onion).
	NeedsOnion
	// NeedsNamespace: many source addresses, which only a network namespace of its own has
	// (OpenNamespace); the node runs in it too, and connects by itself.
	NeedsNamespace
)

// All lists the scenarios by rule.
func All() []Scenario {
	all := slices.Concat(eclipseScenarios(), stallingScenarios(), cpuScenarios(), memoryScenarios(), bandwidthScenarios(), relayScenarios(), consensusScenarios(),
		spamScenarios(), observerScenarios(), reachabilityScenarios(), clockScenarios(), compactScenarios(), transactionScenarios(), laggardScenarios(), loadScenarios(), spyingScenarios())
	slices.SortStableFunc(all, func(a, b Scenario) int {
		return slices.Compare([]byte(a.Rule), []byte(b.Rule))
	})
	return all
}

// Find gives the scenarios of a name or of a rule.
func Find(name string) ([]Scenario, error) {
	var found []Scenario
	for _, s := range All() {
		if s.Name == name || s.Rule == name {
			found = append(found, s)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("there is no scenario %q, see `peer-observer lab list`", name)
	}
	return found, nil
}

// Run provokes what the alert watches for.
func (s Scenario) Run(ctx context.Context, t *Target) error { return s.run(ctx, t, s.provoke) }

// RunTwin does what resembles it and is harmless.
func (s Scenario) RunTwin(ctx context.Context, t *Target) error { return s.run(ctx, t, s.twin) }

func (s Scenario) run(ctx context.Context, t *Target, do func(context.Context, *Target) error) error {
	if err := t.check(ctx, s.Needs); err != nil {
		return fmt.Errorf("scenario %s: %w", s.Name, err)
	}
	if err := do(ctx, t); err != nil {
		return fmt.Errorf("scenario %s: %w", s.Name, err)
	}
	return nil
}

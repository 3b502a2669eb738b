package scenario

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/lab/detection"
	"github.com/peerobserver/peerobserver/lab/regtest"
)

// envBackground is how long each background goes on, in the rules' time.
const envBackground = "PEER_OBSERVER_TEST_BACKGROUND"

// usualBackground is that in a test that isn't told.
const usualBackground = 6 * time.Minute

// backgroundThresholds differ from the rules' where what they compare with doesn't go faster
// with the time scale. What honest peers send all the time doesn't: of what the rules count
// over a span of time there is as much less as the span is shorter.
func backgroundThresholds() map[string]float64 {
	changed := map[string]float64{
		// A tenth of what the scale makes of two hours: the gate is open for longer. So is that
		// in which the connections of a new node would look replaced, while the gate is closed.
		"warm_up_seconds": 7200.0 / timeScale / 10, "f03_warm_up_seconds": 7200.0 / timeScale / 10, "a08_replaced_seconds": 3600.0 / timeScale / 10,
		"a05_observed_seconds": 30, "a08_address_age_seconds": addressAge.Seconds(),
		"a13_ticket_seconds": 5400 / timeScale, "a13_page_seconds": 7200 / timeScale,
	}
	for name, value := range map[string]float64{
		"b03_entries_of_all": 200_000, "b04_pings_of_all": 3000, "b06_overflows": 60, "b06_rejected": 3000, "b09_bytes": 20e6,
		"d02_transactions": 5000, "f04_timeouts": 200, "f10_before": 8640, "h01_added": 7500,
		"h02_evicted": 1000, "h04_rejected": 3000,
	} {
		changed[name] = value / timeScale
	}
	return changed
}

// In a network namespace, honest traffic of all kinds leaves the receivers of pages and
// tickets silent.
func TestBackgroundsStaySilent(t *testing.T) {
	if os.Getenv(envInside) == "" {
		inNamespace(t)
		return
	}
	if err := OpenNamespace(); err != nil {
		t.Fatal(err)
	}
	backgrounds := chosenBackgrounds(t)
	if len(backgrounds) == 0 {
		return
	}
	span := usualBackground
	if text := os.Getenv(envBackground); text != "" {
		var err error
		if span, err = time.ParseDuration(text); err != nil {
			t.Fatalf("$%s: %v", envBackground, err)
		}
	}
	r := newRig(t, rigOptions{
		node:  regtest.Config{AutomaticOutbound: true},
		onion: freeAddress(t),
		prepare: func(n *regtest.Node) error {
			return (&Target{RPC: n.RPC()}).history(t.Context())
		},
		agent:      []string{"--extractor.rpc.interval.getrawaddrman=2s", "--extractor.rpc.interval.getaddrmaninfo=2s"},
		thresholds: backgroundThresholds(),
	})
	t.Cleanup(r.target.Close)
	defer r.noteRig()
	if err := r.target.keepOnions(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	var allowed []string
	for i, b := range backgrounds {
		r.eventually("the gate to open", func() error {
			_, err := r.prometheus.Value(t.Context(), "peerobserver:gate_warm")
			return err
		})
		begin := time.Now()
		if err := b.Run(t.Context(), r.target, span); err != nil {
			t.Fatal(err)
		}
		if i == len(backgrounds)-1 {
			r.settle(5 * time.Minute)
		}
		r.ready()
		// Rules look back, and alerts stay.
		allowed = append(allowed, b.May...)
		tolerated := slices.Concat(allowed, heldUp())
		if r.target.down > r.target.span(2*time.Minute) {
			// A busy machine took so long to start the node that it was down in scaled time too.
			tolerated = append(tolerated, "PeerObserverNodeDown", "PeerObserverOutboundLost", "PeerObserverLinkLost")
		}
		r.silent(b.Name+" "+b.Title, 1, begin, allowed, tolerated)
		t.Logf("%s %-15s %6.1f s, the node was down for %.1f s", b.Name, b.Title, time.Since(begin).Seconds(), r.target.down.Seconds())
	}
}

// chosenBackgrounds are all, or for a while of development those that the same variable names
// as for scenarios.
func chosenBackgrounds(t *testing.T) []Background {
	t.Helper()
	names := os.Getenv("PEER_OBSERVER_TEST_SCENARIOS")
	if names == "" {
		return Backgrounds()
	}
	list := strings.Split(names, ",")
	chosen := slices.DeleteFunc(Backgrounds(), func(b Background) bool { return !slices.Contains(list, b.Name) })
	t.Logf("%d kinds of honest traffic, as $PEER_OBSERVER_TEST_SCENARIOS says", len(chosen))
	return chosen
}

// Honest traffic too is for the operator's own regtest node only.
func TestBackgroundsRefuseOtherChains(t *testing.T) {
	n := regtest.ForTest(t, regtest.Config{})
	for _, b := range Backgrounds() {
		target := &Target{RPC: signet(t, n), P2PAddress: n.P2PAddress()}
		if err := b.Run(t.Context(), target, time.Minute); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "signet") {
			t.Errorf("%s on signet: %v, want a refusal", b.Name, err)
		}
	}
}

// silent fails if pages or tickets were received since begin, but those that are tolerated,
// and notes all but the allowed ones as false.
func (r *rig) silent(what string, count int, begin time.Time, allowed, tolerated []string) {
	r.t.Helper()
	result := detection.Silent{What: what, Count: count, Seconds: time.Since(begin).Seconds()}
	failed := false
	for _, n := range r.hook.all() {
		if !n.firing || n.severity == "info" || n.at.Before(begin) {
			continue
		}
		if slices.Contains(allowed, n.alert) {
			result.Allowed = append(result.Allowed, n.alarm(begin))
			continue
		}
		result.False = append(result.False, n.alarm(begin))
		if !slices.Contains(tolerated, n.alert) {
			failed = true
			r.t.Errorf("%s: %s %s received after %.1f s", what, n.severity, n.alert, n.at.Sub(begin).Seconds())
		}
	}
	if failed {
		r.logRules()
	}
	r.note(detection.Result{Silent: &result})
}

func (n notification) alarm(begin time.Time) detection.Alarm {
	return detection.Alarm{Alert: n.alert, Severity: n.severity, Seconds: n.at.Sub(begin).Seconds()}
}

// note keeps a result for the report.
func (r *rig) note(result detection.Result) {
	r.t.Helper()
	if err := detection.Append(result); err != nil {
		r.t.Errorf("writing to $%s: %v", detection.EnvResults, err)
	}
}

// noteProvoked keeps what came of a scenario; first is empty when its alert didn't.
func (r *rig) noteProvoked(s Scenario, begin time.Time, first notification, expected []string) {
	r.t.Helper()
	result := detection.Provoked{Scenario: s.Name, Alert: s.Alert, Within: s.Detect.Seconds()}
	if first.alert != "" {
		received := first.alarm(begin)
		result.Received = &received
	}
	for _, n := range r.hook.all() {
		switch {
		case !n.firing || n.at.Before(begin) || n.alert == s.Alert:
		case slices.Contains(s.Also, n.alert):
			result.Others = append(result.Others, n.alarm(begin))
		case n.severity != "info" && !slices.Contains(expected, n.alert):
			result.False = append(result.False, n.alarm(begin))
		}
	}
	r.note(detection.Result{Provoked: &result})
}

// noteUnscaled keeps when an alert was received with the rules as they are.
func (r *rig) noteUnscaled(s Scenario, received detection.Alarm) {
	r.t.Helper()
	r.note(detection.Result{Unscaled: &detection.Provoked{Scenario: s.Name, Alert: s.Alert, Within: s.Detect.Seconds(), Received: &received}})
}

// noteRig keeps which rules there were and which of them fired.
func (r *rig) noteRig() {
	r.t.Helper()
	if os.Getenv(detection.EnvResults) == "" {
		return
	}
	var info struct {
		Agent string `json:"subversion"`
	}
	if err := r.node.Call(r.t.Context(), "getnetworkinfo", nil, &info); err != nil {
		r.t.Fatal(err)
	}
	rules, err := detection.Rules()
	if err != nil {
		r.t.Fatal(err)
	}
	fired, err := r.prometheus.Query(r.t.Context(), fmt.Sprintf(`count by (alertname) (last_over_time(ALERTS{alertstate="firing"}[%s]))`, "12h"))
	if err != nil {
		r.t.Fatal(err)
	}
	result := detection.Rig{Cores: runtime.NumCPU(), Node: info.Agent, TimeScale: timeScale}
	for _, rule := range rules {
		result.Rules = append(result.Rules, rule.Alert)
	}
	for _, sample := range fired {
		result.Fired = append(result.Fired, sample.Labels["alertname"])
	}
	slices.Sort(result.Fired)
	r.note(detection.Result{Rig: &result})
}

package incident_test

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/peerobserver/peerobserver/alerts"
	"github.com/peerobserver/peerobserver/alerts/backtest"
	"github.com/peerobserver/peerobserver/alerts/needs"
	"github.com/peerobserver/peerobserver/exporters/archive"
	"github.com/peerobserver/peerobserver/exporters/metrics"
	"github.com/peerobserver/peerobserver/lab/incident"
	"github.com/peerobserver/peerobserver/lab/scenario"
	"github.com/peerobserver/peerobserver/proto/event"
)

// Honest traffic in a test that isn't told to take a day of it: all kinds at once, with fewer
// scrapes.
const (
	honestSpan     = 80 * time.Minute
	honestInterval = 30 * time.Second
	honestTold     = 10
)

// learning is for how long the rule that compares the requests for addresses of an hour with
// those before has too little to compare with.
const learning = 3 * time.Hour

// honestTraffic is what is tested; of whole days only the quiet one has what all peers send and
// get.
func honestTraffic() (list []incident.Incident, interval time.Duration) {
	if os.Getenv(wholeVariable) == "" {
		return []incident.Incident{incident.HonestTogether(honestSpan, honestTold)}, honestInterval
	}
	list = incident.HonestSpan(incident.Day, honestTold)
	list[0] = incident.Honest()[0]
	return list, backtest.DefaultInterval
}

// The kinds of honest traffic are those that the lab brings to a real node, and what may come of
// them is the same.
func TestHonestTrafficIsThatOfTheLab(t *testing.T) {
	live := scenario.Backgrounds()
	list := incident.Honest()
	if len(list) != len(live) {
		t.Fatalf("%d kinds of honest traffic, in the lab there are %d", len(list), len(live))
	}
	for k, i := range list {
		if name := "honest-" + strings.ReplaceAll(strings.ToLower(live[k].Title), " ", "-"); i.Name != name {
			t.Errorf("%s is %s in the lab", i.Name, name)
		}
		for _, alert := range live[k].May {
			if !slices.Contains(i.Allowed, alert) {
				t.Errorf("%s may not give rise to %s, as it may in the lab", i.Name, alert)
			}
		}
		if len(i.Allowed) != len(live[k].May)+1 {
			t.Errorf("%s may give rise to more than in the lab: %v", i.Name, i.Allowed)
		}
	}
}

// Of honest traffic no alert comes but those that are allowed; and not because the rules see
// nothing.
func TestHonestTraffic(t *testing.T) {
	list, interval := honestTraffic()
	moved := map[string]bool{}
	for _, i := range list {
		t.Run(i.Name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), i.Name+".bin.zst")
			begin := time.Now()
			w := watch(t, i, path)
			t.Logf("recorded in %v", time.Since(begin).Round(time.Millisecond))
			w.blind(t)
			maps.Copy(moved, w.moved)
			begin = time.Now()
			result, err := backtest.Run(t.Context(), backtest.Config{Paths: []string{path}, Interval: interval}, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%v to %v: %d events, %d scrapes in %v", result.From, result.To, result.Events, result.Scrapes, time.Since(begin).Round(time.Millisecond))
			if result.Damages != 0 || result.Gaps != 0 {
				t.Errorf("%d damages, %d gaps", result.Damages, result.Gaps)
			}
			fired := map[string]bool{}
			for _, a := range result.Alerts {
				t.Logf("%s (%s) fired after %v and ended %v, at most %.4g", a.Alert, a.Severity, a.Fired.Sub(i.Begins), a.Ended, a.Largest)
				fired[a.Alert] = true
				if !slices.Contains(i.Allowed, a.Alert) || a.Alert == "PeerObserverAddressRequestsSurge" && a.Fired.Sub(i.Begins) > learning {
					t.Errorf("%s (%s), which it must not", a.Alert, a.Severity)
				}
			}
			if os.Getenv(wholeVariable) == "" {
				sensitive(t, path, interval)
			}
			for _, alert := range []string{"PeerObserverReorganization", "PeerObserverMutatedBlock", "PeerObserverPortScannedMuch"} {
				// The others are at their thresholds, or the first hours'.
				if slices.Contains(i.Allowed, alert) && !fired[alert] {
					t.Errorf("%s didn't fire, for which there was reason", alert)
				}
			}
		})
	}
	for _, rule := range needs.Rules() {
		for _, way := range rule.Ways {
			for _, name := range way.Metrics {
				if _, why := mayBeZero()[name]; !moved[name] && !why {
					t.Errorf("%s reads %s, which is 0 or absent all the time", rule.ID, name)
				}
			}
		}
	}
}

// An operator who leaves three nodes of one job at once is no ticket and no page, but is told.
func TestOperatorLeavesThreeNodes(t *testing.T) {
	var paths []string
	for seed := range uint64(3) {
		node := fmt.Sprintf("node%d", seed)
		path := filepath.Join(t.TempDir(), node+".bin.zst")
		if err := incident.OperatorLeaves(node, seed, time.Hour).Record(t.Context(), path, "test"); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	result, err := backtest.Run(t.Context(), backtest.Config{Paths: paths, Interval: honestInterval, IDs: []string{"A14"}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, a := range result.Alerts {
		t.Logf("%s (%s) of %s fired at %v and ended %v, at most %.4g", a.Alert, a.Severity, a.Node, a.Fired, a.Ended, a.Largest)
		if a.Severity != "info" {
			t.Errorf("%s (%s)", a.Alert, a.Severity)
		}
		told[a.Node] = true
	}
	if len(told) != len(paths) {
		t.Errorf("the loss of %d of %d nodes was told", len(told), len(paths))
	}
}

// sensitive fails if rules are silent about all kinds of honest traffic with thresholds at which
// anything is too much: then they would be silent whatever came.
func sensitive(t *testing.T, path string, interval time.Duration) {
	t.Helper()
	texts, err := alerts.Texts(alerts.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const anything = 1e-9
	thresholds := map[string]float64{}
	for _, match := range regexp.MustCompile(`record: peerobserver:threshold_(\w+)`).FindAllStringSubmatch(texts["thresholds.rules.yml"], -1) {
		thresholds[match[1]] = anything
	}
	// What is less than these is too little.
	maps.Copy(thresholds, map[string]float64{"a12_ratio": 10, "a14_ticket_ratio": 10, "a14_page_ratio": 10, "f03_ratio": 1, "f03_drop": -1})
	config := backtest.Config{Paths: []string{path}, Interval: interval, Rules: alerts.Options{Thresholds: thresholds}}
	result, err := backtest.Run(t.Context(), config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	fired := map[string]bool{}
	for _, a := range result.Alerts {
		fired[a.ID] = true
	}
	for _, rule := range needs.Rules() {
		if _, why := maySleep()[rule.ID]; !fired[rule.ID] && !why {
			t.Errorf("%s is silent with thresholds at which anything is too much", rule.ID)
		}
	}
	t.Logf("%d rules fire with thresholds at which anything is too much", len(fired))
}

// maySleep are the rules that honest traffic of an hour gives nothing to, whatever their thresholds
// are, with the reason.
func maySleep() map[string]string {
	return map[string]string{
		"A08": "addresses are not remembered for long enough",
		"A09": "the node has all of its outbound connections",
		"C01": "all peers read",
		"C05": "the node has descriptors",
		"D01": "nobody asks for a block twice",
		"E03": "no network group has twenty connections",
		"F01": "a poll rarely meets a block on its way",
		"F02": "the peers that send compact blocks are of several groups",
		"F06": "no block is invalid",
		"F10": "transactions come all the time",
		"G04": "the node warns of nothing",
		"I02": "the node has the chain",
		"I04": "nothing is lost",
		"I05": "all values are on the lists",
		"I09": "nobody changes the node's settings",
	}
}

// mayBeZero are the metrics that rules read and that are 0 or absent on a node to which nothing
// happens, or seldom anything else, with the reason.
func mayBeZero() map[string]string {
	return map[string]string{
		"chain_initial_block_download":          "the node has the chain",
		"chain_warnings":                        "it warns of nothing",
		"node_network_warnings":                 "it warns of nothing",
		"node_banned_entries":                   "its operator bans nobody",
		"node_announcement_backlog":             "of Bitcoin Core 32",
		"connections_user_agents_top_netgroup":  "no network group has twenty connections",
		"events_lost_total":                     "nothing is lost",
		"label_overflow_total":                  "all values are on the lists",
		"link_ping_timeouts_total":              "the node answers",
		"mempool_readded_total":                 "nobody cycles",
		"peers_send_stalled_seconds":            "all peers read",
		"peers_blocks_in_flight_oldest_seconds": "a poll rarely meets a block on its way",
	}
}

// watcher is a sink that makes an archive and metrics of the same events.
type watcher struct {
	archive *archive.Writer
	metrics *metrics.Sink
	now     time.Time
	// next is when the metrics are looked at again, moved those of which a series was not 0.
	next  time.Time
	moved map[string]bool
	t     *testing.T
}

// watch records a kind of honest traffic, and makes its metrics.
func watch(t *testing.T, i incident.Incident, path string) *watcher {
	t.Helper()
	w := &watcher{t: t, moved: map[string]bool{}}
	var err error
	if w.metrics, err = metrics.New(metrics.Config{Remote: true, Clock: func() time.Time { return w.now }}); err != nil {
		t.Fatal(err)
	}
	if w.archive, err = archive.Create(path, "test"); err != nil {
		t.Fatal(err)
	}
	if err := i.Play(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if err := w.archive.Close(); err != nil {
		t.Fatal(err)
	}
	return w
}

// HandleEvent implements event.Sink.
func (w *watcher) HandleEvent(e *event.Event) {
	w.now = e.Time()
	w.metrics.HandleEvent(e)
	w.archive.HandleEvent(e)
	if !w.now.Before(w.next) {
		w.next = w.now.Add(2 * time.Minute)
		w.look()
	}
}

func (w *watcher) families(t *testing.T) []*dto.MetricFamily {
	t.Helper()
	families, err := w.metrics.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// blind fails if a rule is blind in the end, by the agent's own account.
func (w *watcher) blind(t *testing.T) {
	t.Helper()
	for _, family := range w.families(t) {
		if family.GetName() != "peerobserver_alert_rule_blind" {
			continue
		}
		for _, m := range family.GetMetric() {
			if m.GetGauge().GetValue() != 0 {
				t.Errorf("a rule is blind: %v", m.GetLabel())
			}
		}
	}
}

// look notes the metrics, without their prefix, of which a series is there and not 0.
func (w *watcher) look() {
	for _, family := range w.families(w.t) {
		name := strings.TrimPrefix(family.GetName(), "peerobserver_")
		for _, m := range family.GetMetric() {
			if m.GetCounter().GetValue() != 0 || m.GetGauge().GetValue() != 0 || m.GetHistogram().GetSampleCount() != 0 {
				w.moved[name] = true
			}
		}
	}
}

package incident_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/alerts/backtest"
	"github.com/peerobserver/peerobserver/exporters/archive"
	"github.com/peerobserver/peerobserver/lab/incident"
)

// wholeVariable lets the tests evaluate all of what is long: with the race detector that
// takes half an hour.
const wholeVariable = "PEER_OBSERVER_TEST_WHOLE_INCIDENTS"

// part is what is evaluated of an incident.
type part struct {
	// from is the time after the first event, interval that between two scrapes.
	from, until, interval time.Duration
	// rules are all when there are none.
	rules []string
	// expected are the alerts that must fire in it: all that are when nil.
	expected []string
}

// parts are what is evaluated of an incident: all rules all the time where that doesn't take
// too long.
func parts(i incident.Incident) []part {
	quietRules := []string{"G01", "G02", "G03", "A13"}
	switch {
	case i.Name == "quiet-year":
		return []part{{interval: 2 * time.Minute, rules: quietRules}}
	case i.Name == "address-spam-2021" && os.Getenv(wholeVariable) == "":
		return []part{
			{from: 48*time.Hour + 45*time.Minute, expected: []string{"PeerObserverAddressFlood", "PeerObserverAddressFloodInvented"}},
			{interval: 5 * time.Minute, rules: []string{"A05"}, expected: []string{"PeerObserverAddressSurge"}},
		}
	default:
		return []part{{}}
	}
}

// Every incident lets its alerts fire in their time, and no other.
func TestIncidents(t *testing.T) {
	for _, i := range incident.All() {
		if i.Name == "quiet-year" && os.Getenv(wholeVariable) == "" {
			// The ten days up to the longest wait for a block.
			i = incident.QuietDays(197, 10)
		}
		t.Run(i.Name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), i.Name+".bin.zst")
			begin := time.Now()
			if err := i.Record(t.Context(), path, "test"); err != nil {
				t.Fatal(err)
			}
			t.Logf("recorded in %v", time.Since(begin).Round(time.Millisecond))
			for _, p := range parts(i) {
				replay(t, i, p, path)
			}
		})
	}
}

func replay(t *testing.T, i incident.Incident, p part, path string) {
	t.Helper()
	config := backtest.Config{Paths: []string{path}, Interval: p.interval, IDs: p.rules}
	if p.from > 0 {
		config.Options.From = i.Begins.Add(p.from)
	}
	if p.until > 0 {
		config.Options.Until = i.Begins.Add(p.until)
	}
	begin := time.Now()
	result, err := backtest.Run(t.Context(), config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d events, %d scrapes in %v", result.Events, result.Scrapes, time.Since(begin).Round(time.Millisecond))
	if result.Damages != 0 || result.Gaps != 0 || result.Left != 0 {
		t.Errorf("%d damages, %d gaps, %d alerts left out", result.Damages, result.Gaps, result.Left)
	}
	tickets, pages := 0, 0
	threads := map[string]int{}
	for _, a := range result.Alerts {
		after := a.Fired.Sub(i.Begins)
		told := fmt.Sprintf("%s (%s) fired after %v and ended %v, at most %.4g", a.Alert, a.Severity, after, a.Ended, a.Largest)
		t.Log(told)
		switch a.Severity {
		case "ticket":
			tickets++
		case "page":
			pages++
		}
		// No incident has the message thread recover in between, whatever blocks come.
		if threads[a.Alert]++; threads[a.Alert] > 1 && a.ID == "B01" {
			t.Errorf("%s, again", told)
		}
		at := slices.IndexFunc(i.Expected, func(e incident.Expected) bool { return e.Alert == a.Alert })
		switch {
		case at >= 0 && after < i.Expected[at].After:
			t.Errorf("%s, which is too early", told)
		case at < 0 && !slices.Contains(i.Allowed, a.Alert):
			t.Errorf("%s, which it must not", told)
		}
	}
	for _, e := range i.Expected {
		if p.expected != nil && !slices.Contains(p.expected, e.Alert) {
			continue
		}
		if !slices.ContainsFunc(result.Alerts, func(a backtest.Alert) bool {
			return a.Alert == e.Alert && a.Fired.Sub(i.Begins) <= e.After+e.Within
		}) {
			t.Errorf("%s did not fire from %v to %v after the first event", e.Alert, e.After, e.After+e.Within)
		}
	}
	if i.Name == "quiet-year" && (pages > 0 || tickets > 6) {
		t.Errorf("%d pages and %d tickets in a quiet year", pages, tickets)
	}
}

// An incident is the same each time, and is recorded whole or not at all.
func TestRecord(t *testing.T) {
	i, err := incident.Find("reorganization-2026")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	first, second, third := filepath.Join(dir, "1"), filepath.Join(dir, "2"), filepath.Join(dir, "3")
	for _, path := range []string{first, second} {
		if err := i.Record(t.Context(), path, "test"); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := events(t, first), events(t, second); len(a) < 1000 || !slices.Equal(a, b) {
		t.Errorf("%d events the first time, and others the second", len(a))
	}
	if err := i.Record(t.Context(), first, "test"); err == nil || len(events(t, first)) < 1000 {
		t.Errorf("a file was overwritten: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := i.Record(ctx, third, "test"); err == nil {
		t.Error("an interrupted recording gives no error")
	}
	if _, err := os.Stat(third); !os.IsNotExist(err) {
		t.Errorf("an interrupted recording is left: %v", err)
	}
	if _, err := incident.Find("no such"); err == nil {
		t.Error("an incident was found that isn't")
	}
}

// events are the bytes of all events of a file.
func events(t *testing.T, path string) []string {
	t.Helper()
	set, err := archive.OpenSet([]string{path}, archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for {
		e, err := set.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(e.Data))
	}
	if err := set.Close(); err != nil {
		t.Error(err)
	}
	return all
}

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peerobserver/peerobserver/alerts/backtest"
	"github.com/peerobserver/peerobserver/lab/incident"
)

// An incident that was written is one that the backtest reads, and a file is never
// overwritten.
func TestLabIncident(t *testing.T) {
	list := start(t, nil, "lab", "incident")
	if code := list.wait(); code != exitOK {
		t.Fatalf("exit code %d: %s", code, list.stderr)
	}
	for _, i := range append(incident.All(), incident.Honest()...) {
		if !strings.Contains(list.stdout.String(), "\n"+i.Name+"\n") && !strings.HasPrefix(list.stdout.String(), i.Name+"\n") {
			t.Errorf("%s is not listed", i.Name)
		}
	}
	path := filepath.Join(t.TempDir(), "incident.bin.zst")
	write := start(t, nil, "lab", "incident", "reorganization-2026", "--output="+path)
	if code := write.wait(); code != exitOK || !strings.Contains(write.stdout.String(), path) {
		t.Fatalf("exit code %d: %s%s", code, write.stdout, write.stderr)
	}
	p := start(t, nil, "alerts", "backtest", "--format=json", "--rule=G01", "--rule=G03", path)
	if code := p.wait(); code != exitOK {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	var result backtest.Result
	if err := json.Unmarshal([]byte(p.stdout.String()), &result); err != nil {
		t.Fatal(err)
	}
	if len(result.Alerts) != 2 || result.Alerts[0].ID != "G01" || result.Alerts[1].ID != "G01" {
		t.Errorf("the alerts are %+v", result.Alerts)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	for what, x := range map[string]struct {
		args []string
		want int
	}{
		"a file that exists":     {[]string{"lab", "incident", "reorganization-2026", "--output=" + path}, exitFailure},
		"no such incident":       {[]string{"lab", "incident", "reorganisation", "--output=" + path + "2"}, exitUsage},
		"a name without a file":  {[]string{"lab", "incident", "reorganization-2026"}, exitUsage},
		"a file without a name":  {[]string{"lab", "incident", "--output=" + path + "2"}, exitUsage},
		"a rule that isn't":      {[]string{"alerts", "backtest", "--rule=Z01", path}, exitUsage},
		"an interval of a month": {[]string{"alerts", "backtest", "--interval=720h", path}, exitUsage},
	} {
		p := start(t, nil, x.args...)
		if code := p.wait(); code != x.want {
			t.Errorf("%s: exit code %d, want %d: %s", what, code, x.want, p.stderr)
		}
	}
	after, err := os.Stat(path)
	if err != nil || after.Size() != before.Size() {
		t.Errorf("the file has changed: %v, %v", after, err)
	}
}

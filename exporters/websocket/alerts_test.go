package websocket_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/exporters/redact"
	"github.com/peerobserver/peerobserver/exporters/websocket"
)

// alertsTold is what tests look at of a report on alerts.
type alertsTold struct {
	Configured bool   `json:"configured"`
	Server     string `json:"server"`
	Time       int64  `json:"time_ms"`
	Error      string `json:"error"`
	Alerts     []struct {
		Name, Severity, State, Node, Instance, Summary, Description string

		Since   int64  `json:"since_ms"`
		Runbook string `json:"runbook_url"`
	} `json:"alerts"`
	Total, Pending int
}

// alerts reads frames until a report on alerts is as wanted.
func (c *subscriber) alerts(wanted func(*alertsTold) bool) *alertsTold {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		var told struct{ Alerts *alertsTold }
		if err := json.Unmarshal([]byte(c.frame()), &told); err != nil {
			c.t.Fatal(err)
		}
		if told.Alerts != nil && wanted(told.Alerts) {
			return told.Alerts
		}
	}
	c.t.Fatal("no such report on alerts")
	return nil
}

// answers serves one answer for each path, and can be given others.
type answers struct {
	*httptest.Server
	byPath atomic.Pointer[map[string]string]
	query  atomic.Pointer[string]
}

func newAnswers(t *testing.T, byPath map[string]string) *answers {
	t.Helper()
	a := new(answers)
	a.byPath.Store(&byPath)
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := (*a.byPath.Load())[r.URL.Path]
		switch {
		case !ok:
			http.NotFound(w, r)
		case text == "fail":
			w.WriteHeader(http.StatusTeapot)
		case text == "hang":
			<-r.Context().Done()
		default:
			a.query.Store(&r.URL.RawQuery)
			_, _ = w.Write([]byte(text))
		}
	}))
	t.Cleanup(a.Close)
	return a
}

const (
	prometheusPath   = "/api/v1/alerts"
	alertmanagerPath = "/api/v2/alerts"
)

func prometheusAlerts(alerts ...string) string {
	return `{"status":"success","data":{"alerts":[` + strings.Join(alerts, ",") + `]}}`
}

func prometheusAlert(name, severity, state, extra string) string {
	return fmt.Sprintf(`{"labels":{"alertname":%q,"severity":%q,"node":"alice","instance":"192.0.2.7:9789"},
		"annotations":{"summary":"it is %s","description":"on 192.0.2.7:8333"%s},"state":%q,"activeAt":"2026-01-31T12:00:00.5Z","value":"1e+00"}`,
		name, severity, name, extra, state)
}

func watching(t *testing.T, url string, redactor *redact.Redactor) *subscriber {
	t.Helper()
	r := newRig(t, websocket.Config{Alerts: websocket.AlertsConfig{URL: url, Interval: 20 * time.Millisecond, Timeout: 2 * time.Second, Redactor: redactor}})
	return r.client(`{"alerts":true}`)
}

func answered(a *alertsTold) bool { return a.Server != "" && a.Error == "" }

// Without a server clients are told that nobody is asked; without a wish, nothing.
func TestAlertsAreNotKnown(t *testing.T) {
	r := newRig(t, websocket.Config{})
	if a := r.client(`{"alerts":true}`).alerts(func(*alertsTold) bool { return true }); a.Configured || a.Alerts == nil || a.Error != "" {
		t.Errorf("%+v", a)
	}
	r.client(`{"notices":true}`).started()
}

// A Prometheus is asked: the gravest alerts come first, pending ones are counted, and those
// of others are left out.
func TestAlertsOfPrometheus(t *testing.T) {
	server := newAnswers(t, map[string]string{"/prometheus" + prometheusPath: prometheusAlerts(
		prometheusAlert("PeerObserverA", "info", "firing", ""),
		prometheusAlert("PeerObserverB", "page", "firing", `,"runbook_url":"https://example.org/B.md"`),
		prometheusAlert("PeerObserverC", "page", "pending", ""),
		prometheusAlert("Watchdog", "page", "firing", ""),
		prometheusAlert("PeerObserverD", "ticket", "firing", `,"runbook_url":"javascript:alert(1)"`),
	)})
	a := watching(t, server.URL+"/prometheus/", nil).alerts(answered)
	if a.Server != "Prometheus" || a.Total != 3 || a.Pending != 1 || len(a.Alerts) != 3 || a.Time == 0 {
		t.Fatalf("%+v", a)
	}
	for i, want := range []struct{ name, severity, runbook string }{
		{"PeerObserverB", "page", "https://example.org/B.md"}, {"PeerObserverD", "ticket", ""}, {"PeerObserverA", "info", ""},
	} {
		got := a.Alerts[i]
		if got.Name != want.name || got.Severity != want.severity || got.Runbook != want.runbook || got.State != "firing" || got.Node != "alice" ||
			got.Instance != "192.0.2.7:9789" || got.Summary != "it is "+want.name || got.Since != 1769860800500 {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}

// An Alertmanager is asked for the alerts of this program only; silenced ones come last.
func TestAlertsOfAlertmanager(t *testing.T) {
	one := func(name, status string) string {
		return fmt.Sprintf(`{"labels":{"alertname":%q,"severity":"page"},"annotations":{},"startsAt":"2026-01-31T12:00:00Z","status":%s}`, name, status)
	}
	server := newAnswers(t, map[string]string{alertmanagerPath: "[" + strings.Join([]string{
		one("PeerObserverA", `{"state":"suppressed","silencedBy":["x"]}`), one("PeerObserverB", `{"state":"suppressed","inhibitedBy":["x"]}`),
		one("PeerObserverC", `{"state":"active"}`),
	}, ",") + "]"})
	a := watching(t, server.URL, nil).alerts(answered)
	if a.Server != "Alertmanager" || len(a.Alerts) != 3 || a.Alerts[0].Name != "PeerObserverC" || a.Alerts[0].State != "firing" ||
		a.Alerts[1].State != "silenced" || a.Alerts[2].State != "inhibited" {
		t.Errorf("%+v", a)
	}
	if query := *server.query.Load(); query != "filter=alertname%3D~%22PeerObserver.%2A%22" {
		t.Errorf("asked with %q", query)
	}
}

// Whatever the server answers, clients are told that the alerts are not known, without its
// address, and are told of them when they are known again.
func TestAlertsWithoutAnswer(t *testing.T) {
	server := newAnswers(t, map[string]string{prometheusPath: prometheusAlerts(prometheusAlert("PeerObserverA", "page", "firing", ""))})
	c := watching(t, server.URL, nil)
	c.alerts(answered)
	for _, test := range []struct{ answer, want string }{
		{"fail", "status 418"},
		{"hang", "no answer in time"},
		{"<html>", "the answer is not that of Prometheus or Alertmanager"},
		{`{"status":"error"}`, "the answer is not that of Prometheus or Alertmanager"},
		{`[` + strings.Repeat(" ", 9<<20) + `]`, "the answer is too large"},
	} {
		server.byPath.Store(&map[string]string{prometheusPath: test.answer})
		a := c.alerts(func(a *alertsTold) bool { return a.Error == test.want })
		if len(a.Alerts) != 0 || a.Total != 0 || !a.Configured || a.Server != "Prometheus" || a.Time == 0 {
			t.Errorf("%.20s: %+v", test.answer, a)
		}
		server.byPath.Store(&map[string]string{prometheusPath: prometheusAlerts()})
		c.alerts(answered)
	}
	server.Close()
	c.alerts(func(a *alertsTold) bool { return a.Error == "no connection" })
}

// What a server says is bounded, and holds no address where addresses are redacted.
func TestAlertsAreBoundedAndRedacted(t *testing.T) {
	long := strings.Repeat("–", 1000)
	var list []string
	for i := range 1000 {
		list = append(list, prometheusAlert(fmt.Sprintf("PeerObserver%d", i), "page", "firing", `,"runbook_url":"https://198.51.100.1/","summary":"`+long+`"`))
	}
	server := newAnswers(t, map[string]string{prometheusPath: prometheusAlerts(list...)})
	redactor, err := redact.New([]byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	a := watching(t, server.URL, redactor).alerts(answered)
	if a.Total != 1000 || len(a.Alerts) != 100 {
		t.Fatalf("%d alerts of %d", len(a.Alerts), a.Total)
	}
	for _, alert := range a.Alerts {
		text := fmt.Sprintf("%+v", alert)
		if len(text) > 2000 || strings.Contains(text, "192.0.2.7") || strings.Contains(text, "198.51.100") || !strings.HasPrefix(alert.Summary, "–––") {
			t.Fatalf("%d bytes: %s", len(text), text)
		}
	}
}

func TestMistakesInAlertsConfiguration(t *testing.T) {
	for _, c := range []websocket.AlertsConfig{
		{URL: "localhost:9090"}, {URL: "ftp://localhost"}, {URL: "http://"}, {URL: "http://user:secret@localhost:x"},
		{Interval: -1}, {Timeout: -1},
	} {
		if _, err := websocket.New(websocket.Config{Alerts: c}, newRig(t, websocket.Config{}).ledger, quiet()); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

package websocket

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/exporters/redact"
)

// alertServer answers as an Alertmanager, or as a Prometheus, which has no such path.
type alertServer struct {
	path string
	body []byte
}

func (s alertServer) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path != s.path {
		return &http.Response{StatusCode: http.StatusNotFound, Body: http.NoBody}, nil
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(string(s.body)))}, nil
}

// FuzzAlerts takes any answer of an Alertmanager or a Prometheus: what clients are told of
// it is bounded, and no link leads anywhere but to the web.
func FuzzAlerts(f *testing.F) {
	f.Add(true, []byte(`[{"labels":{"alertname":"PeerObserverX","severity":"page"},"annotations":{"runbook_url":"javascript:x"},"startsAt":"2026-01-02T03:04:05Z","status":{"state":"suppressed","silencedBy":["a"]}}]`))
	f.Add(false, []byte(`{"status":"success","data":{"alerts":[{"labels":{"alertname":"PeerObserverX","node":"10.0.0.1"},"annotations":{"runbook_url":"https://a.example/b"},"state":"firing","activeAt":"2026-01-02T03:04:05Z"},{"labels":{"alertname":"PeerObserverY"},"state":"pending"}]}}`))
	f.Add(true, []byte(`[null]`))
	f.Add(true, []byte(`[{"labels":{"alertname":"PeerObserver"},"annotations":{"runbook_url":"https:"}}]`))
	f.Add(false, []byte(`{"status":"error"}`))
	redactor, err := redact.New([]byte("sixteen bytes and more"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, alertmanager bool, body []byte) {
		path := "/api/v1/alerts"
		if alertmanager {
			path = "/api/v2/alerts"
		}
		for _, r := range []*redact.Redactor{nil, redactor} {
			config := AlertsConfig{URL: "http://127.0.0.1:1", Client: &http.Client{Transport: alertServer{path, body}}, Timeout: time.Minute, Redactor: r}
			report, err := config.ask(t.Context())
			if err != nil {
				if shown := shownError(err); len(shown) > 100 {
					t.Errorf("clients are told %q", shown)
				}
				continue
			}
			if len(report.Alerts) > maxAlerts || report.Total < len(report.Alerts) {
				t.Errorf("%d alerts of %d", len(report.Alerts), report.Total)
			}
			for i := range report.Alerts {
				a := &report.Alerts[i]
				for _, text := range []string{a.Name, a.Severity, a.Node, a.Instance, a.Summary, a.Description} {
					// A pseudonym is at most a few times as long as what it stands for.
					if limit := maxAlertText + len("…"); len(text) > limit && (r == nil || len(text) > 8*limit) {
						t.Errorf("a text of %d bytes", len(text))
					}
				}
				if !strings.HasPrefix(a.Name, alertPrefix) && r == nil {
					t.Errorf("an alert of others: %q", a.Name)
				}
				if a.Runbook != "" && (r != nil || !strings.HasPrefix(a.Runbook, "http://") && !strings.HasPrefix(a.Runbook, "https://")) {
					t.Errorf("a link to %q", a.Runbook)
				}
				if a.State != "firing" && a.State != "silenced" && a.State != "inhibited" {
					t.Errorf("state %q", a.State)
				}
			}
			if _, err := json.Marshal(report); err != nil {
				t.Error(err)
			}
		}
	})
}

package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/peerobserver/peerobserver/exporters/nats"
	"github.com/peerobserver/peerobserver/lab/servers"
)

// The alerts of a real Alertmanager that wants a password reach the clients.
func TestLiveAlertsOfAlertmanager(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"alertmanager.yml": "route:\n  receiver: nobody\nreceivers:\n  - name: nobody\n",
		"password":         "secret",
		"http.yml":         "basic_auth:\n  username: alice\n  password_file: password\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	suites := servers.Suites()
	alertmanager := servers.StartAlertmanager(t, servers.ForTest(t, suites[len(suites)-1]), filepath.Join(dir, "alertmanager.yml"))
	response, err := http.Post(alertmanager.URL()+"/api/v2/alerts", "application/json", strings.NewReader(`[
		{"labels":{"alertname":"PeerObserverGrave","severity":"page","node":"alice"},"annotations":{"description":"It is grave."}},
		{"labels":{"alertname":"Watchdog","severity":"page"}}]`))
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("Alertmanager doesn't take the alerts: %s", response.Status)
	}
	target, err := url.Parse(alertmanager.URL())
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	guarded := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "alice" || password != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(guarded.Close)

	server, err := nats.NewServer(nats.ServerConfig{ListenAddress: "127.0.0.1:0"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Shutdown()
	for _, c := range []struct{ file, want string }{{"", "status 401"}, {filepath.Join(dir, "http.yml"), "PeerObserverGrave page firing alice It is grave."}} {
		web := freeAddress(t)
		args := []string{"websocket", "--nats.url=" + server.URL(), "--web.listen-address=" + web, "--websocket.alerts-url=" + guarded.URL}
		if c.file != "" {
			args = append(args, "--websocket.alerts-http-config-file="+c.file)
		}
		live := start(t, nil, args...)
		eventually(t, c.want, func() error {
			got, err := liveAlerts(t, web)
			if err == nil && got != c.want {
				err = fmt.Errorf("clients are told %q", got)
			}
			return err
		})
		if code := live.stop(); code != exitOK {
			t.Errorf("ends with %d", code)
		}
	}
}

// liveAlerts gives what a client is told of alerts: the error, or all that fire.
func liveAlerts(t *testing.T, web string) (string, error) {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), "ws://"+web+"/ws", nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.CloseNow() }()
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(`{"alerts":true}`)); err != nil {
		return "", err
	}
	_, text, err := conn.Read(t.Context())
	if err != nil {
		return "", err
	}
	var told struct {
		Alerts struct {
			Error  string
			Alerts []struct{ Name, Severity, State, Node, Description string }
		}
	}
	if err := json.Unmarshal(text, &told); err != nil {
		return "", err
	}
	if told.Alerts.Error != "" {
		return told.Alerts.Error, nil
	}
	var list []string
	for _, a := range told.Alerts.Alerts {
		list = append(list, strings.Join([]string{a.Name, a.Severity, a.State, a.Node, a.Description}, " "))
	}
	return strings.Join(list, "; "), nil
}

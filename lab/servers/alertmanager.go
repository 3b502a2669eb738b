package servers

import (
	"context"
	"net/http"
	"path/filepath"
	"testing"
	"time"
)

// Alertmanager is a running Alertmanager.
type Alertmanager struct {
	*server
	client *http.Client
}

// StartAlertmanager starts an Alertmanager with a configuration file; it ends with the
// test.
func StartAlertmanager(t testing.TB, b Binaries, configFile string) *Alertmanager {
	t.Helper()
	configFile, err := filepath.Abs(configFile)
	if err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	// Its templates are found from the root of the unpacked packages; see relocate.
	s := startServer(t, b.Alertmanager, b.root, "/-/ready", func(address string) []string {
		return []string{
			"--config.file=" + configFile,
			"--storage.path=" + data,
			"--web.listen-address=" + address,
			// Alone: no other instance is looked for.
			"--cluster.listen-address=",
		}
	})
	return &Alertmanager{server: s, client: &http.Client{Timeout: 30 * time.Second}}
}

// ReceivedAlert is an alert that an Alertmanager has got.
type ReceivedAlert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Receivers   []struct {
		Name string `json:"name"`
	} `json:"receivers"`
	Status struct {
		State       string   `json:"state"` // unprocessed, active or suppressed
		InhibitedBy []string `json:"inhibitedBy"`
		SilencedBy  []string `json:"silencedBy"`
	} `json:"status"`
}

// Alerts returns the alerts that it has.
func (a *Alertmanager) Alerts(ctx context.Context) ([]ReceivedAlert, error) {
	var alerts []ReceivedAlert
	err := getJSON(ctx, a.client, a.URL()+"/api/v2/alerts", &alerts)
	return alerts, err
}

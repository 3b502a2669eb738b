package alerts_test

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/lab/servers"
)

// The command of docs/alerts.md silences the alerts of a node.
func TestSilence(t *testing.T) {
	page, err := os.ReadFile("../docs/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	const documented = "http://127.0.0.1:9093"
	line := string(regexp.MustCompile(`(?m)^amtool .*$`).Find(page))
	if strings.Count(line, documented) != 1 {
		t.Fatalf("docs/alerts.md shows %q", line)
	}
	for _, suite := range servers.Suites() {
		t.Run(string(suite), func(t *testing.T) {
			b := servers.ForTest(t, suite)
			alertmanager := servers.StartAlertmanager(t, b, "../deploy/alertmanager.yml")
			alert := `[{"labels": {"alertname": "Test", "instance": "HOST:PORT"}}]`
			response, err := http.Post(alertmanager.URL()+"/api/v2/alerts", "application/json", strings.NewReader(alert))
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()

			typed := exec.CommandContext(t.Context(), "sh", "-c", strings.Replace(line, documented, alertmanager.URL(), 1))
			typed.Env = append(os.Environ(), "HOME="+t.TempDir(), "PATH="+filepath.Dir(b.Amtool)+":"+os.Getenv("PATH"))
			if out, err := typed.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", line, err, out)
			}
			if err := regtest.Eventually(t.Context(), func() error {
				list, err := alertmanager.Alerts(t.Context())
				if err == nil && (len(list) != 1 || len(list[0].Status.SilencedBy) != 1) {
					err = errors.New("the alert isn't silenced")
				}
				return err
			}); err != nil {
				t.Error(err)
			}
		})
	}
}

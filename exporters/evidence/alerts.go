package evidence

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Bounds of an answer of Prometheus.
const (
	maxAnswer = 8 << 20
	maxAlerts = 256
	maxText   = 1000
)

// alert is an alert of Prometheus that is pending or firing (GET /api/v1/alerts).
type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	State       string            `json:"state"`
	ActiveAt    time.Time         `json:"activeAt"`
	Value       string            `json:"value"`
}

// key tells alerts apart: as Prometheus does by their labels, and one time from another.
type key [sha256.Size]byte

func (a *alert) key() key {
	return sha256.Sum256(fmt.Appendf(nil, "%q %d", a.Labels, a.ActiveAt.UnixNano()))
}

// number is the value that the rule saw.
func (a *alert) number() float64 {
	// Prometheus writes it itself; what it isn't able to say is 0.
	v, err := strconv.ParseFloat(a.Value, 64)
	if err != nil {
		return 0
	}
	return v
}

// ask asks Prometheus for the alerts of this agent.
func (s *Sink) ask(ctx context.Context) ([]alert, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.config.URL+"/api/v1/alerts", nil)
	if err != nil {
		return nil, errors.New("the URL isn't one")
	}
	response, err := s.config.Client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("an answer of more than %d bytes", maxAnswer)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: is that a Prometheus?", response.Status)
	}
	return s.parse(body)
}

// parse reads an answer of Prometheus.
func (s *Sink) parse(body []byte) ([]alert, error) {
	var answer struct {
		Status string `json:"status"`
		Data   struct {
			Alerts []alert `json:"alerts"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("that is no answer of Prometheus: %w", err)
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("the status of the answer is %q", cut(answer.Status, 40))
	}
	id := regexp.MustCompile(`^[A-Z]\d\d$`)
	var mine []alert
	for _, a := range answer.Data.Alerts {
		if a.Labels["instance"] == s.config.Instance && id.MatchString(a.Labels["id"]) {
			mine = append(mine, a)
		}
	}
	if len(mine) > maxAlerts {
		s.alertsLeft.Add(uint64(len(mine) - maxAlerts))
		mine = mine[:maxAlerts]
	}
	return mine, nil
}

// pollState is how the last question went.
type pollState struct {
	asked  time.Time
	failed string
	known  bool
}

// set notes how a question went and says whether that is news.
func (p *pollState) set(now time.Time, err error) bool {
	before, known := p.failed, p.known
	p.asked, p.failed, p.known = now, "", true
	if err != nil {
		p.failed = cut(err.Error(), 300)
	}
	return !known || (before == "") != (p.failed == "")
}

// cut bounds the length of a text in bytes; what is no UTF-8, such as half a character,
// is left out.
func cut(text string, limit int) string {
	return strings.ToValidUTF8(text[:min(len(text), limit)], "")
}

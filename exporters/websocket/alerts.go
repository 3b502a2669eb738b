package websocket

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/peerobserver/peerobserver/exporters/redact"
)

// Defaults of AlertsConfig.
const (
	DefaultAlertsInterval = 15 * time.Second
	DefaultAlertsTimeout  = 10 * time.Second
)

// Limits of what is taken from the server that is asked for alerts.
const (
	// maxAlertsAnswer is in bytes.
	maxAlertsAnswer = 8 << 20
	// maxAlerts is the number that is shown.
	maxAlerts = 100
	// maxAlertText bounds each text of an alert, in bytes.
	maxAlertText = 1000
)

// alertPrefix begins the names of the alerts that come with this program. What else the
// server watches over is no matter of these pages.
const alertPrefix = "PeerObserver"

// AlertsConfig says who knows which alerts fire.
type AlertsConfig struct {
	// URL is that of a Prometheus or an Alertmanager; empty for none.
	URL string
	// Client asks; one without authentication when nil.
	Client *http.Client
	// Interval is the time between two questions, Timeout how long one may take.
	Interval, Timeout time.Duration
	// Redactor takes addresses out of the texts; nil for none.
	Redactor *redact.Redactor
}

func (c *AlertsConfig) validate() error {
	if c.Interval == 0 {
		c.Interval = DefaultAlertsInterval
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultAlertsTimeout
	}
	if c.Interval < 0 || c.Timeout < 0 {
		return fmt.Errorf("websocket: alerts are asked for every %v for at most %v: both must be positive", c.Interval, c.Timeout)
	}
	if c.Client == nil {
		c.Client = &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment}}
	}
	if c.URL == "" {
		return nil
	}
	u, err := url.Parse(c.URL)
	if err != nil {
		// The error has the URL, and perhaps a password, in it.
		return errors.New("websocket: the URL for alerts can't be read: write http://HOST:PORT of a Prometheus or an Alertmanager")
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("websocket: %q is no URL for alerts: write http://HOST:PORT of a Prometheus or an Alertmanager", u.Redacted())
	}
	return nil
}

// alertsReport is what clients are told of the alerts.
type alertsReport struct {
	// Configured is false when nobody is asked.
	Configured bool `json:"configured"`
	// Server is who answered: Prometheus or Alertmanager.
	Server string `json:"server,omitempty"`
	// Time of the last answer, in UNIX milliseconds; 0 when there was none.
	Time int64 `json:"time_ms,omitempty"`
	// Error is why the last question had no answer.
	Error string `json:"error,omitempty"`
	// Alerts are the gravest; Total is the number of all that fire, Pending of those
	// that may fire soon.
	Alerts  []alert `json:"alerts"`
	Total   int     `json:"total"`
	Pending int     `json:"pending"`
}

// alert is one that fires.
type alert struct {
	Name     string `json:"name"`
	Severity string `json:"severity,omitempty"`
	// State is firing, silenced or inhibited.
	State string `json:"state"`
	// Since is when it began, in UNIX milliseconds.
	Since       int64  `json:"since_ms,omitempty"`
	Node        string `json:"node,omitempty"`
	Instance    string `json:"instance,omitempty"`
	Summary     string `json:"summary,omitempty"`
	Description string `json:"description,omitempty"`
	// Runbook is the address of a page on the web, empty when it is anything else.
	Runbook string `json:"runbook_url,omitempty"`
}

// Why a question had no answer, as clients are told. The log has the details, which may
// name the server.
var (
	errAlertsAnswer   = errors.New("the answer is not that of Prometheus or Alertmanager")
	errAlertsTooLarge = errors.New("the answer is too large")
)

type statusError int

func (e statusError) Error() string { return fmt.Sprintf("status %d", int(e)) }

func shownError(err error) string {
	var status statusError
	switch {
	case errors.As(err, &status):
		return status.Error()
	case errors.Is(err, errAlertsAnswer):
		return errAlertsAnswer.Error()
	case errors.Is(err, errAlertsTooLarge):
		return errAlertsTooLarge.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	default:
		return "no connection"
	}
}

// watchAlerts asks again and again until ctx ends.
func (s *Sink) watchAlerts(ctx context.Context) {
	defer s.config.Alerts.Client.CloseIdleConnections()
	ticker := time.NewTicker(s.config.Alerts.Interval)
	defer ticker.Stop()
	var last alertsReport
	for {
		report, err := s.config.Alerts.ask(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			report = alertsReport{Configured: true, Server: last.Server, Time: last.Time, Error: shownError(err), Alerts: []alert{}}
			if last.Error != report.Error {
				s.logger.Warn("the alerts are not known: the server that is asked for them gives no answer", "err", err)
			}
		} else if last.Error != "" {
			s.logger.Info("the alerts are known again", "server", report.Server)
		}
		last = report
		s.reportAlerts(&report)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// ask asks an Alertmanager, or a Prometheus if it is none.
func (c *AlertsConfig) ask(ctx context.Context) (alertsReport, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	report := alertsReport{Configured: true, Server: "Alertmanager"}
	// https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
	list, err := c.askAlertmanager(ctx)
	if status := statusError(0); errors.As(err, &status) && status == http.StatusNotFound {
		// https://prometheus.io/docs/prometheus/latest/querying/api/#alerts
		report.Server = "Prometheus"
		list, err = c.askPrometheus(ctx)
	}
	if err != nil {
		return report, err
	}
	report.Time = time.Now().UnixMilli()
	report.Alerts = make([]alert, 0, min(len(list), maxAlerts))
	for _, a := range list {
		switch {
		case !strings.HasPrefix(a.labels["alertname"], alertPrefix):
		case a.state == "pending":
			report.Pending++
		default:
			report.Total++
			report.Alerts = append(report.Alerts, c.shown(&a))
		}
	}
	slices.SortStableFunc(report.Alerts, func(a, b alert) int {
		return cmp.Or(cmp.Compare(rank(&a), rank(&b)), cmp.Compare(b.Since, a.Since), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Node, b.Node))
	})
	report.Alerts = report.Alerts[:min(len(report.Alerts), maxAlerts)]
	return report, nil
}

// rank orders alerts: what nobody has silenced first, then the gravest.
func rank(a *alert) int {
	grave := slices.Index([]string{"page", "ticket", "info"}, a.Severity)
	if grave < 0 {
		grave = 3
	}
	if a.State != "firing" {
		grave += 4
	}
	return grave
}

// foreignAlert is one as a server has told it.
type foreignAlert struct {
	labels, annotations map[string]string
	state               string
	since               time.Time
}

func (c *AlertsConfig) askPrometheus(ctx context.Context) ([]foreignAlert, error) {
	var answer struct {
		Status string `json:"status"`
		Data   struct {
			Alerts []struct {
				Labels      map[string]string `json:"labels"`
				Annotations map[string]string `json:"annotations"`
				State       string            `json:"state"`
				ActiveAt    time.Time         `json:"activeAt"`
			} `json:"alerts"`
		} `json:"data"`
	}
	if err := c.get(ctx, "api/v1/alerts", nil, &answer); err != nil {
		return nil, err
	}
	if answer.Status != "success" {
		return nil, errAlertsAnswer
	}
	var list []foreignAlert
	for _, a := range answer.Data.Alerts {
		list = append(list, foreignAlert{labels: a.Labels, annotations: a.Annotations, state: a.State, since: a.ActiveAt})
	}
	return list, nil
}

func (c *AlertsConfig) askAlertmanager(ctx context.Context) ([]foreignAlert, error) {
	var answer []struct {
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
		StartsAt    time.Time         `json:"startsAt"`
		Status      struct {
			State      string   `json:"state"`
			SilencedBy []string `json:"silencedBy"`
		} `json:"status"`
	}
	filter := url.Values{"filter": {`alertname=~"` + alertPrefix + `.*"`}}
	if err := c.get(ctx, "api/v2/alerts", filter, &answer); err != nil {
		return nil, err
	}
	var list []foreignAlert
	for _, a := range answer {
		state := "firing"
		if a.Status.State == "suppressed" {
			state = "inhibited"
			if len(a.Status.SilencedBy) > 0 {
				state = "silenced"
			}
		}
		list = append(list, foreignAlert{labels: a.Labels, annotations: a.Annotations, state: state, since: a.StartsAt})
	}
	return list, nil
}

// get asks the server for a path of its API.
func (c *AlertsConfig) get(ctx context.Context, path string, query url.Values, answer any) error {
	u, err := url.Parse(c.URL)
	if err != nil {
		return fmt.Errorf("the URL for alerts: %w", err)
	}
	u = u.JoinPath(path)
	u.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fmt.Errorf("asking for alerts: %w", err)
	}
	request.Header.Set("Accept", "application/json")
	response, err := c.Client.Do(request)
	if err != nil {
		return fmt.Errorf("asking for alerts: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("asking %s for alerts: %w", u.Redacted(), statusError(response.StatusCode))
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAlertsAnswer+1))
	if err != nil {
		return fmt.Errorf("reading alerts: %w", err)
	}
	if len(text) > maxAlertsAnswer {
		return fmt.Errorf("%w: %s gives more than %d bytes", errAlertsTooLarge, u.Redacted(), maxAlertsAnswer)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("%w: %s: %w", errAlertsAnswer, u.Redacted(), err)
	}
	return nil
}

// shown is an alert as clients are told of it.
func (c *AlertsConfig) shown(a *foreignAlert) alert {
	state := "firing"
	if a.state == "silenced" || a.state == "inhibited" {
		state = a.state
	}
	shown := alert{
		Name: c.text(a.labels["alertname"]), Severity: c.text(a.labels["severity"]), State: state,
		Node: c.text(a.labels["node"]), Instance: c.text(a.labels["instance"]),
		Summary: c.text(a.annotations["summary"]), Description: c.text(a.annotations["description"]),
	}
	if !a.since.IsZero() {
		shown.Since = a.since.UnixMilli()
	}
	// With redaction nobody may learn of a server of the operator's.
	if link := a.annotations["runbook_url"]; len(link) <= maxAlertText && c.Redactor == nil {
		if u, err := url.Parse(link); err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" {
			shown.Runbook = u.String()
		}
	}
	return shown
}

// text bounds a text and takes the addresses out.
func (c *AlertsConfig) text(text string) string {
	if len(text) > maxAlertText {
		// A character may be cut in two; what is left of it goes too.
		text = strings.ToValidUTF8(text[:maxAlertText], "") + "…"
	}
	if c.Redactor != nil {
		text = string(c.Redactor.AppendText(nil, []byte(text)))
	}
	return text
}

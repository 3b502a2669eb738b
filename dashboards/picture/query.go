package picture

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxAnswer bounds what is read of an answer of Prometheus.
const maxAnswer = 64 << 20

// Series is a result of a query: the values at the steps of the range, NaN where there is
// none; of an instant query it is one value.
type Series struct {
	Labels map[string]string
	Values []float64
}

// Client asks a Prometheus.
type Client struct {
	URL  string
	HTTP *http.Client
}

// Span is the time that a picture shows.
type Span struct {
	Start, End time.Time
	Step       time.Duration
}

func (s Span) points() int { return int(s.End.Sub(s.Start)/s.Step) + 1 }

// Range evaluates an expression at every step.
func (c Client) Range(ctx context.Context, expr string, span Span) ([]Series, error) {
	return c.query(ctx, "/api/v1/query_range", url.Values{
		"query": {expr}, "start": {timestamp(span.Start)}, "end": {timestamp(span.End)}, "step": {strconv.FormatFloat(span.Step.Seconds(), 'f', 3, 64)},
	}, span)
}

// Instant evaluates an expression once.
func (c Client) Instant(ctx context.Context, expr string, at time.Time) ([]Series, error) {
	return c.query(ctx, "/api/v1/query", url.Values{"query": {expr}, "time": {timestamp(at)}}, Span{Start: at, End: at, Step: time.Second})
}

func timestamp(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64)
}

func (c Client) query(ctx context.Context, path string, form url.Values, span Span) ([]Series, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := c.HTTP.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct {
			Result json.RawMessage
		}
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&answer); err != nil {
		return nil, fmt.Errorf("%s of %s: %w", response.Status, form.Get("query"), err)
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("query %s: %s", form.Get("query"), answer.Error)
	}
	var list []struct {
		Metric map[string]string `json:"metric"`
		Value  *[2]any           `json:"value"`
		Values [][2]any          `json:"values"`
	}
	if err := json.Unmarshal(answer.Data.Result, &list); err != nil {
		return nil, fmt.Errorf("query %s: the result is no vector: %w", form.Get("query"), err)
	}
	var out []Series
	for _, s := range list {
		if s.Value != nil {
			s.Values = append(s.Values, *s.Value)
		}
		series := Series{Labels: s.Metric, Values: make([]float64, span.points())}
		for i := range series.Values {
			series.Values[i] = math.NaN()
		}
		for _, v := range s.Values {
			at, _ := v[0].(float64)
			text, _ := v[1].(string)
			value, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return nil, fmt.Errorf("query %s: value %q: %w", form.Get("query"), text, err)
			}
			i := int(math.Round((at - float64(span.Start.UnixMilli())/1000) / span.Step.Seconds()))
			if i >= 0 && i < len(series.Values) {
				series.Values[i] = value
			}
		}
		out = append(out, series)
	}
	return out, nil
}

// Points counts the values that can be drawn.
func (s Series) Points() int {
	count := 0
	for _, v := range s.Values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			count++
		}
	}
	return count
}

// last is the newest value.
func (s Series) last() float64 {
	if len(s.Values) == 0 {
		return math.NaN()
	}
	return s.Values[len(s.Values)-1]
}

// Name is what the legend calls the series: {{label}} is replaced.
func (s Series) Name(format string) string {
	if format == "__auto" || format == "" {
		return ""
	}
	var out strings.Builder
	for format != "" {
		before, rest, found := strings.Cut(format, "{{")
		out.WriteString(before)
		if !found {
			break
		}
		label, after, _ := strings.Cut(rest, "}}")
		out.WriteString(s.Labels[strings.TrimSpace(label)])
		format = after
	}
	return strings.TrimSpace(out.String())
}

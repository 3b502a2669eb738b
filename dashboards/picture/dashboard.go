// Package picture draws a Grafana dashboard from its own JSON and from what its queries
// give on a Prometheus, so that tests and people see what a panel would show without a
// Grafana. It knows the panels that this project uses, and is for development only.
package picture

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Dashboard is the part of Grafana's JSON that is drawn.
type Dashboard struct {
	UID         string  `json:"uid"`
	Title       string  `json:"title"`
	Description string  `json:"description"`
	Panels      []Panel `json:"panels"`
	Annotations struct {
		List []Annotation `json:"list"`
	} `json:"annotations"`
}

// Panel is one panel, or the title of a row.
type Panel struct {
	Type        string   `json:"type"`
	Title       string   `json:"title"`
	GridPos     GridPos  `json:"gridPos"`
	Targets     []Target `json:"targets"`
	FieldConfig struct {
		Defaults  Field `json:"defaults"`
		Overrides []struct {
			Matcher struct {
				Options string `json:"options"`
			} `json:"matcher"`
			Properties []struct {
				ID    string          `json:"id"`
				Value json.RawMessage `json:"value"`
			} `json:"properties"`
		} `json:"overrides"`
	} `json:"fieldConfig"`
	Transformations []struct {
		ID      string `json:"id"`
		Options struct {
			IndexByName  map[string]int    `json:"indexByName"`
			RenameByName map[string]string `json:"renameByName"`
		} `json:"options"`
	} `json:"transformations"`
}

// GridPos is the place of a panel in a grid of 24 columns.
type GridPos struct{ X, Y, W, H int }

// Field is how values are written.
type Field struct {
	Unit     string    `json:"unit"`
	NoValue  string    `json:"noValue"`
	Mappings []Mapping `json:"mappings"`
	Custom   struct {
		Stacking struct {
			Mode string `json:"mode"`
		} `json:"stacking"`
		ThresholdsStyle struct {
			Mode string `json:"mode"`
		} `json:"thresholdsStyle"`
	} `json:"custom"`
	Thresholds struct {
		Steps []Step `json:"steps"`
	} `json:"thresholds"`
}

// Mapping replaces values by words.
type Mapping struct {
	Options map[string]struct {
		Text  string `json:"text"`
		Color string `json:"color"`
	} `json:"options"`
}

// Step is a threshold; without a value it is where the scale begins.
type Step struct {
	Color string   `json:"color"`
	Value *float64 `json:"value"`
}

// Target is a query.
type Target struct {
	RefID        string `json:"refId"`
	Expr         string `json:"expr"`
	LegendFormat string `json:"legendFormat"`
	Format       string `json:"format"`
	Instant      bool   `json:"instant"`
}

// Parse reads a dashboard.
func Parse(text []byte) (Dashboard, error) {
	var d Dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		return Dashboard{}, fmt.Errorf("reading a dashboard: %w", err)
	}
	return d, nil
}

// Interpolate puts values in the place of variables, $name or ${name}.
func Interpolate(text string, variables map[string]string) string {
	// Longer names first: $__rate_interval is no $__rate.
	var pairs []string
	for name, value := range variables {
		pairs = append(pairs, "${"+name+"}", value, "$"+name, value)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

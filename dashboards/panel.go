package dashboards

import (
	"fmt"
	"slices"
	"strings"
)

// json is a panel without its identity and place.
func (p Panel) json(thresholds map[string]float64) (object, error) {
	steps, err := steps(p.baseColour(), p.Thresholds, thresholds)
	if err != nil {
		return nil, err
	}
	defaults := object{
		"unit": p.Unit, "mappings": mappings(p.Values), "color": object{"mode": "palette-classic"},
		"thresholds": object{"mode": "absolute", "steps": steps}, "custom": p.custom(),
	}
	if p.Kind == Stat || p.Kind == BarGauge && len(p.Thresholds) > 0 || p.Kind == StateTimeline || p.Kind == Table {
		defaults["color"] = object{"mode": "thresholds"}
	}
	if p.Unit == Share || p.Kind == TimeSeries && p.Stacked {
		defaults["min"] = 0
	}
	if p.hidesZero() {
		defaults["noValue"] = "none in this time"
	}
	overrides, err := p.overrides(thresholds)
	if err != nil {
		return nil, err
	}
	panel := object{
		"type": p.Kind, "title": p.Title, "description": p.Description, "datasource": datasource(), "transparent": false,
		"targets": p.targets(), "options": p.options(), "links": p.links(),
		"fieldConfig": object{"defaults": defaults, "overrides": overrides},
	}
	if p.Kind == Table {
		panel["transformations"] = p.transformations()
	}
	return panel, nil
}

// hidesZero tells whether series of 0 are left out, so that without any there is nothing
// rather than nothing known.
func (p Panel) hidesZero() bool {
	for _, query := range p.Queries {
		if !strings.HasSuffix(query.Expr, "> 0") && !(strings.HasPrefix(query.Expr, "topk(") && strings.HasSuffix(query.Expr, "> 0)")) {
			return false
		}
	}
	return true
}

// baseColour is that of values below all thresholds.
func (p Panel) baseColour() string {
	if len(p.Thresholds) == 0 {
		return "text"
	}
	return colour(p.Low)
}

func colour(s Severity) string {
	switch s {
	case Page:
		return "red"
	case Ticket:
		return "orange"
	case Info:
		return "blue"
	default:
		return "green"
	}
}

// steps are thresholds as Grafana has them: in rising order, the first from minus
// infinity on.
func steps(base string, list []Threshold, thresholds map[string]float64) ([]object, error) {
	list = slices.Clone(list)
	for i, t := range list {
		if t.Name == "" {
			continue
		}
		value, ok := thresholds[t.Name]
		if !ok {
			return nil, fmt.Errorf("the alert rules have no threshold %q", t.Name)
		}
		list[i].Value = value
	}
	slices.SortStableFunc(list, func(a, b Threshold) int {
		switch {
		case a.Value < b.Value:
			return -1
		case a.Value > b.Value:
			return 1
		default:
			return 0
		}
	})
	out := []object{{"color": base, "value": nil}}
	for _, t := range list {
		out = append(out, object{"color": colour(t.Severity), "value": t.Value})
	}
	return out, nil
}

func mappings(values []Value) []object {
	if len(values) == 0 {
		return []object{}
	}
	options := object{}
	for i, v := range values {
		options[v.Number] = object{"text": v.Word, "color": colour(v.Severity), "index": i}
	}
	return []object{{"type": "value", "options": options}}
}

// targets are the queries. What shows a present value asks for that only: the last value
// of a range would go on after a series has ended.
func (p Panel) targets() []object {
	var out []object
	for i, query := range p.Queries {
		format := "time_series"
		switch p.Kind {
		case Table:
			format = "table"
		case Heatmap:
			format = "heatmap"
		}
		instant := p.Kind == Stat || p.Kind == Table || p.Kind == BarGauge
		text := legend(query.Legend)
		if text == "" {
			text = "__auto"
		}
		out = append(out, object{
			"refId": string(rune('A' + i)), "datasource": datasource(), "editorMode": "code", "expr": expand(query.Expr),
			"legendFormat": text, "format": format, "instant": instant, "range": !instant, "exemplar": false,
		})
	}
	return out
}

func (p Panel) links() []object {
	out := []object{}
	for _, id := range p.Runbooks {
		out = append(out, pageLink("Runbook "+id, runbookURL(id)))
	}
	return out
}

// custom is the part of a field's configuration that belongs to the kind of panel.
func (p Panel) custom() object {
	switch p.Kind {
	case TimeSeries:
		custom := object{
			"drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 1, "fillOpacity": 8, "gradientMode": "none",
			"showPoints": "auto", "pointSize": 4, "spanNulls": false, "axisPlacement": "auto", "axisLabel": "",
			"stacking": object{"mode": "none", "group": "A"}, "thresholdsStyle": object{"mode": "off"},
		}
		if p.Stacked {
			custom["stacking"] = object{"mode": "normal", "group": "A"}
			custom["fillOpacity"] = 40
		}
		if len(p.Thresholds) > 0 {
			custom["thresholdsStyle"] = object{"mode": "dashed"}
		}
		return custom
	case StateTimeline:
		return object{"fillOpacity": 70, "lineWidth": 0}
	case Table:
		return object{"align": "auto", "filterable": true}
	default:
		return object{}
	}
}

func (p Panel) options() object {
	legend := object{"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []string{}}
	tooltip := object{"mode": "multi", "sort": "desc"}
	reduce := object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false}
	switch p.Kind {
	case TimeSeries:
		return object{"legend": legend, "tooltip": tooltip}
	case Stat:
		return object{"colorMode": "value", "graphMode": "none", "justifyMode": "auto", "orientation": "auto", "textMode": "auto", "reduceOptions": reduce, "showPercentChange": false, "wideLayout": true}
	case BarGauge:
		return object{"displayMode": "basic", "orientation": "horizontal", "reduceOptions": reduce, "showUnfilled": true, "valueMode": "color", "minVizWidth": 8, "minVizHeight": 10, "maxVizHeight": 300, "namePlacement": "auto", "sizing": "auto"}
	case StateTimeline:
		return object{"legend": legend, "tooltip": tooltip, "mergeValues": true, "rowHeight": 0.8, "showValue": "never", "alignValue": "left"}
	case Heatmap:
		return object{
			"calculate": false, "cellGap": 1, "color": object{"mode": "scheme", "scheme": "Oranges", "fill": "dark-orange", "scale": "exponential", "exponent": 0.5, "steps": 64, "reverse": false},
			"rowsFrame": object{"layout": "le"}, "yAxis": object{"axisPlacement": "left", "unit": p.Unit, "reverse": false}, "legend": object{"show": true},
			"exemplars": object{"color": "rgba(255,0,255,0.7)"}, "filterValues": object{"le": 1e-9}, "showValue": "never",
			"tooltip": object{"mode": "single", "yHistogram": false},
		}
	case Table:
		return object{"showHeader": true, "cellHeight": "sm", "frameIndex": 0}
	default:
		return object{}
	}
}

// transformations make one table of the results of all queries: first only the columns
// that are wanted, since those that tell the queries apart would keep rows apart too.
func (p Panel) transformations() []object {
	var names []string
	order, titles := object{}, object{}
	for i, c := range p.Columns {
		names = append(names, c.Field)
		order[c.Field], titles[c.Field] = i, c.Title
	}
	return []object{
		{"id": "filterFieldsByName", "options": object{"include": object{"names": names}}},
		{"id": "merge", "options": object{}},
		{"id": "organize", "options": object{"excludeByName": object{}, "indexByName": order, "renameByName": titles}},
	}
}

// overrides are how the columns of a table are written, and the colours of severities.
func (p Panel) overrides(thresholds map[string]float64) ([]object, error) {
	out := []object{}
	if p.BySeverity {
		for _, s := range []Severity{Page, Ticket, Info} {
			out = append(out, object{
				"matcher":    object{"id": "byName", "options": string(s)},
				"properties": []object{{"id": "color", "value": object{"mode": "fixed", "fixedColor": colour(s)}}},
			})
		}
	}
	for _, c := range p.Columns {
		properties := []object{}
		add := func(id string, value any) { properties = append(properties, object{"id": id, "value": value}) }
		if c.Unit != "" {
			add("unit", c.Unit)
		}
		if len(c.Values) > 0 {
			add("mappings", mappings(c.Values))
		}
		if len(c.Thresholds) > 0 {
			steps, err := steps(colour(Good), c.Thresholds, thresholds)
			if err != nil {
				return nil, err
			}
			add("thresholds", object{"mode": "absolute", "steps": steps})
		}
		if len(c.Values) > 0 || len(c.Thresholds) > 0 {
			add("custom.cellOptions", object{"type": "color-text"})
		}
		if c.Link != "" {
			add("links", []object{{
				"title": "Show this node", "targetBlank": false,
				"url": "/d/peerobserver-" + c.Link + "/?var-datasource=${datasource}&var-instance=${__value.text}&${__url_time_range}",
			}})
		}
		if c.URL != "" {
			add("links", []object{{"title": "Runbook", "url": c.URL, "targetBlank": true}})
		}
		if len(properties) > 0 {
			out = append(out, object{"matcher": object{"id": "byName", "options": c.Title}, "properties": properties})
		}
	}
	return out, nil
}

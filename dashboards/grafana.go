package dashboards

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
)

// object is an object of Grafana's JSON. Its keys are written in alphabetical order, so
// that the same table always gives the same bytes.
type object = map[string]any

const (
	// schemaVersion is that of Grafana 10.0: later ones read it and convert.
	schemaVersion = 38
	// tag is on every dashboard, and the menu of links lists what has it.
	tag        = "peer-observer"
	repository = "https://github.com/peerobserver/peerobserver/blob/main/"
	columns    = 24
)

// FileName is the name of a dashboard's file.
func (d Dashboard) FileName() string { return "peerobserver-" + d.UID + ".json" }

// JSON is the dashboard as Grafana reads it. Thresholds are those of the alert rules by
// name; one that is missing is an error.
func (d Dashboard) JSON(thresholds map[string]float64) ([]byte, error) {
	var panels []object
	id, y := 0, 0
	for _, row := range d.Rows {
		id++
		panels = append(panels, object{
			"id": id, "type": "row", "title": row.Title, "collapsed": false, "panels": []object{},
			"gridPos": object{"x": 0, "y": y, "w": columns, "h": 1},
		})
		y++
		x, lineHeight := 0, 0
		for _, p := range row.Panels {
			id++
			width, height := p.size()
			if x+width > columns {
				x, y, lineHeight = 0, y+lineHeight, 0
			}
			panel, err := p.json(thresholds)
			if err != nil {
				return nil, fmt.Errorf("dashboard %s, panel %q: %w", d.UID, p.Title, err)
			}
			panel["id"] = id
			panel["gridPos"] = object{"x": x, "y": y, "w": width, "h": height}
			panels = append(panels, panel)
			x, lineHeight = x+width, max(lineHeight, height)
		}
		y += lineHeight
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(object{
		"uid": "peerobserver-" + d.UID, "title": "peer-observer / " + d.Title, "description": d.Question,
		"tags": []string{tag}, "schemaVersion": schemaVersion, "version": 1, "editable": false,
		"graphTooltip": 1, // one crosshair for all panels
		"time":         object{"from": "now-6h", "to": "now"}, "timepicker": object{}, "timezone": "", "refresh": "30s", "weekStart": "",
		"fiscalYearStartMonth": 0, "liveNow": false,
		"links": links(), "annotations": object{"list": annotations()}, "templating": object{"list": variables()}, "panels": panels,
	})
	return out.Bytes(), err
}

func (p Panel) size() (width, height int) {
	width, height = 12, 8
	switch p.Kind {
	case Stat:
		width, height = 6, 4
	case Table:
		width, height = columns, 9
	}
	if p.Width > 0 {
		width = p.Width
	}
	if p.Height > 0 {
		height = p.Height
	}
	return width, height
}

func datasource() object { return object{"type": "prometheus", "uid": "${datasource}"} }

// variables are the choices at the top of a dashboard.
func variables() []object {
	query := func(name, label, expression, all string) object {
		return object{
			"name": name, "label": label, "type": "query", "hide": 0, "datasource": datasource(),
			"query": object{"query": expression, "refId": "variable-" + name}, "regex": "",
			"refresh": 2, "sort": 1, "multi": true, "includeAll": true, "allValue": all, "skipUrlSync": false, "options": []object{},
			"current": object{"selected": true, "text": []string{"All"}, "value": []string{"$__all"}},
		}
	}
	return []object{
		{
			"name": "datasource", "label": "Data source", "type": "datasource", "hide": 0, "query": "prometheus", "regex": "",
			"refresh": 1, "multi": false, "includeAll": false, "skipUrlSync": false, "options": []object{},
			"current": object{"selected": false, "text": "default", "value": "default"},
		},
		query("job", "Job", "label_values(peerobserver_build_info, job)", ".+"),
		query("instance", "Instance", `label_values(peerobserver_build_info{job=~"$job"}, instance)`, ".+"),
		// A process that serves one node has no label node, which .* matches.
		query("node", "Node", `label_values(peerobserver_node_up{job=~"$job",instance=~"$instance"}, node)`, ".*"),
	}
}

// annotations mark on all panels when something happened.
func annotations() []object {
	query := func(name, colour, expression string, on bool, more object) object {
		annotation := object{
			"name": name, "iconColor": colour, "enable": on, "hide": false, "datasource": datasource(),
			"expr": expand(expression), "step": "15s",
		}
		maps.Copy(annotation, more)
		return annotation
	}
	return []object{
		{
			"name": "Annotations & Alerts", "builtIn": 1, "type": "dashboard", "enable": true, "hide": true, "iconColor": "rgba(0, 211, 255, 1)",
			"datasource": object{"type": "grafana", "uid": "-- Grafana --"},
		},
		query("Node restarts", "purple", "peerobserver_node_start_time_seconds * 1000", true, object{
			"useValueForTime": true, "titleFormat": "Node started", "textFormat": "{{instance}} {{node}}", "tagKeys": "instance,node",
		}),
		query("Alerts", "red", `ALERTS{alertname=~"PeerObserver.+",alertstate="firing"}`, true, object{
			"titleFormat": "{{alertname}}", "textFormat": "{{severity}} {{id}} {{instance}} {{node}}", "tagKeys": "severity,id,instance,node",
		}),
		// Of every few minutes, so only for those who switch it on.
		query("Blocks", "blue", "peerobserver_block_connected_timestamp_seconds * 1000", false, object{
			"useValueForTime": true, "titleFormat": "Block connected", "textFormat": "{{instance}} {{node}}", "tagKeys": "instance,node",
		}),
	}
}

func links() []object {
	return []object{
		{
			"title": "Dashboards", "type": "dashboards", "icon": "external link", "url": "", "tooltip": "", "tags": []string{tag},
			"asDropdown": true, "includeVars": true, "keepTime": true, "targetBlank": false,
		},
		pageLink("Alerts and runbooks", repository+"docs/alerts.md"),
		pageLink("Metrics", repository+"docs/metrics.md"),
	}
}

// pageLink is a link to a page, opened beside the dashboard.
func pageLink(title, url string) object {
	return object{
		"title": title, "type": "link", "icon": "doc", "url": url, "tooltip": "", "tags": []string{},
		"targetBlank": true, "asDropdown": false, "includeVars": false, "keepTime": false,
	}
}

// runbookURL is where the runbook of a rule is.
func runbookURL(id string) string { return repository + "alerts/runbooks/" + id + ".md" }

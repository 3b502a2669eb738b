package dashboards

import "slices"

func alertsFiring() Dashboard {
	const alert = `{alertname=~"PeerObserver.+",alertstate="firing"`
	return Dashboard{
		UID: "alerts", Title: "Alerts",
		Question: "What is wrong now, what was wrong before, and what do the rules see?",
		Rows: []Row{
			{Title: "Now", Panels: []Panel{
				stat("Pages", Plain, "Firing alerts for which somebody gets up.",
					q(`count(ALERTS`+alert+`,severity="page"}) or vector(0)`, "")).sized(5, 4).colours(at(1, Page)),
				stat("Tickets", Plain, "Firing alerts at which somebody looks within a day.",
					q(`count(ALERTS`+alert+`,severity="ticket"}) or vector(0)`, "")).sized(5, 4).colours(at(1, Ticket)),
				stat("Notes", Plain, "Firing alerts that only mark the time line.",
					q(`count(ALERTS`+alert+`,severity="info"}) or vector(0)`, "")).sized(4, 4),
				stat("Rules about normal operation", Plain, "Open on nodes that have been up for two hours, are not in initial block download, and whose network is switched on. Closed elsewhere: those rules are silent then.",
					q(`count(peerobserver:gate_warm) or vector(0)`, "")).sized(5, 4),
				stat("Thresholds", Plain, "Whether Prometheus evaluates thresholds.rules.yml. Without it every rule that has a threshold is silent; the alert about that belongs to no node, so that it is in no other panel.",
					q(`count(peerobserver:threshold_warm_up_seconds) or vector(0)`, "")).sized(5, 4).words(Value{"1", "loaded", Good}, Value{"0", "missing", Page}).alert("I04"),
				{
					Title: "Firing", Kind: Table, Width: 24, Height: 10,
					Description: "Alerts that fire now. The rule leads to its runbook, the instance to the overview of its node.",
					Queries:     []Query{q(`ALERTS`+alert+`}`, "")},
					Columns: []Column{
						{Field: "severity", Title: "Severity"},
						{Field: "alertname", Title: "Alert"},
						{Field: "id", Title: "Rule", URL: runbookURL("${__value.text}")},
						{Field: "class", Title: "Class"},
						{Field: "instance", Title: "Instance", Link: "node"},
						{Field: "node", Title: "Node"},
						{Field: "source", Title: "Source"},
					},
				},
			}},
			{Title: "Before", Panels: []Panel{
				states("Firing over time", "A line for each alert and instance while it fires.",
					[]Value{{"1", "firing", Page}}, q(`max by (alertname, instance, node) (ALERTS`+alert+`})`, "{{alertname}} {{who}}")).sized(24, 14),
				series("Firing by severity", Plain, "Number of alerts that fire.",
					q(`count by (severity) (ALERTS`+alert+`})`, "{{severity}}")).stacked().bySeverity(),
				bars("Time firing", Seconds, "How long each alert fired on any node within the shown time, to a quarter of a minute.",
					q(`15 * sum_over_time(max by (alertname) (ALERTS`+alert+`})[$__range:15s])`, "{{alertname}}")),
			}},
			{Title: "What the rules see", Panels: append([]Panel{
				{
					Title: "Thresholds", Kind: Table, Width: 8, Height: 8,
					Description: "All thresholds of the alert rules, as Prometheus evaluates them now. Dashed lines in panels are those of the rule file from which the dashboards were made.",
					Queries:     []Query{q(`{__name__=~"peerobserver:threshold_.+"}`, "")},
					Columns:     []Column{{Field: "__name__", Title: "Threshold"}, {Field: "Value", Title: "Value", Unit: Plain}},
				},
			}, slices.Concat(signals(), relaySignals())...)},
		},
	}
}

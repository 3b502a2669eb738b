// Package dashboards has the Grafana dashboards: one for each question that an operator
// asks, as tables in Go from which their JSON is made.
//
// An expression in a table names metrics and the labels that matter. The matchers of the
// variables ($job, $instance, $node) are put into every selector when the JSON is made,
// and thresholds are read from the alert rules, so that neither can be forgotten.
package dashboards

//go:generate go run ./generate

// Dashboard answers one question.
type Dashboard struct {
	// UID is the stable identity in links, and the name of the file: fleet becomes
	// peerobserver-fleet. At most 40 bytes, as Grafana wants it.
	UID   string
	Title string
	// Question is what the dashboard answers, in the operator's words.
	Question string
	Rows     []Row
}

// Row is a titled group of panels.
type Row struct {
	Title  string
	Panels []Panel
}

// Kind is how a panel shows its data.
type Kind string

// The kinds, by Grafana's names of the panel plugins.
const (
	TimeSeries    Kind = "timeseries"
	Stat          Kind = "stat"
	Table         Kind = "table"
	Heatmap       Kind = "heatmap"
	BarGauge      Kind = "bargauge"
	StateTimeline Kind = "state-timeline"
)

// Panel is a picture of a few expressions.
type Panel struct {
	Title string
	// Description says what is shown, from where, and what is remarkable.
	Description string
	Kind        Kind
	Unit        Unit
	Queries     []Query
	// Width and Height are in Grafana's grid of 24 columns; 0 for the kind's usual size.
	Width, Height int
	// Stacked draws series on top of one another.
	Stacked bool
	// Runbooks are ids of alert rules about what is shown.
	Runbooks []string
	// Thresholds change the colour, and are lines in a time series. Below all of them
	// things are good, or as bad as Low says where a rule asks for less than a value.
	Thresholds []Threshold
	Low        Severity
	// Values replaces numbers by words.
	Values []Value
	// BySeverity says that series are named after severities, and have their colours.
	BySeverity bool
	// Columns are those of a table: labels and, by the letter of the query, values.
	Columns []Column
}

// Query is an expression in PromQL.
type Query struct {
	Expr string
	// Legend names a series; {{label}} stands for the value of a label, {{who}} for
	// the labels that tell nodes apart.
	Legend string
}

// Unit is what Grafana calls a unit: how numbers are written.
type Unit string

// The units that are used here.
const (
	Count         Unit = "short"
	PerSecond     Unit = "cps"
	Bytes         Unit = "bytes"
	BytesPerS     Unit = "Bps"
	Seconds       Unit = "s"
	Share         Unit = "percentunit"
	Plain         Unit = "none" // heights and versions, which want no k or M
	FromNow       Unit = "dateTimeFromNow"
	SatPerVbyte   Unit = "suffix: sat/vB"
	SatPerKvbyte  Unit = "suffix: sat/kvB"
	Satoshi       Unit = "suffix: sat"
	Vbytes        Unit = "suffix: vB"
	VbytesPerS    Unit = "suffix: vB/s"
	BytesPerVbyte Unit = "suffix: B/vB"
)

// Threshold is a value from which on a panel is of another colour.
type Threshold struct {
	// Name is that of a threshold in alerts/thresholds.rules.yml, without the prefix
	// peerobserver:threshold_. Empty where a rule has none, as for a count above 0.
	Name     string
	Value    float64
	Severity Severity
}

// Severity is that of the alert which begins at a threshold.
type Severity string

// The severities of alerts.
const (
	Good   Severity = "good"
	Info   Severity = "info"
	Ticket Severity = "ticket"
	Page   Severity = "page"
)

// Value is a word for a number.
type Value struct {
	Number   string
	Word     string
	Severity Severity
}

// Column is a column of a table.
type Column struct {
	// Field is a label, or "Value #A" for the values of query A; "Value" where there is
	// one query only.
	Field  string
	Title  string
	Unit   Unit
	Values []Value
	// Thresholds colour the cell.
	Thresholds []Threshold
	// Link is a dashboard (UID) that shows more of the row's instance.
	Link string
	// URL is where the cell leads, with Grafana's variables of data links.
	URL string
}

// All returns the dashboards in the order in which one looks at them.
func All() []Dashboard {
	return []Dashboard{
		fleet(), node(), peers(), eclipse(), addresses(), transactions(), blocks(), cost(), mempool(), spies(), alertsFiring(), observer(),
	}
}

// series is a panel of lines over time.
func series(title string, unit Unit, description string, queries ...Query) Panel {
	return Panel{Title: title, Unit: unit, Description: description, Kind: TimeSeries, Queries: queries}
}

// stat is a panel with the present value in large type.
func stat(title string, unit Unit, description string, queries ...Query) Panel {
	return Panel{Title: title, Unit: unit, Description: description, Kind: Stat, Queries: queries}
}

// heatmap is a panel of a distribution over time; the legend of its query is the label
// with the upper ends of the ranges.
func heatmap(title string, unit Unit, description string, query Query) Panel {
	return Panel{Title: title, Unit: unit, Description: description, Kind: Heatmap, Queries: []Query{query}}
}

// bars is a panel of present values as bars.
func bars(title string, unit Unit, description string, queries ...Query) Panel {
	return Panel{Title: title, Unit: unit, Description: description, Kind: BarGauge, Queries: queries}
}

// states is a panel of words over time.
func states(title, description string, values []Value, queries ...Query) Panel {
	return Panel{Title: title, Unit: Plain, Description: description, Kind: StateTimeline, Queries: queries, Values: values}
}

func q(expr, legend string) Query { return Query{Expr: expr, Legend: legend} }

// mean is that of the values of a histogram, by its name without suffix and with matchers,
// for each value of a label or, without one, of all. Most histograms have few classic
// buckets, chosen for what alert rules ask: a quantile would only say where they end.
func mean(histogram, matchers, by string) string {
	group := "sum"
	if by != "" {
		group = "sum by (" + by + ")"
	}
	rate := func(suffix string) string {
		return group + " (rate(" + histogram + suffix + matchers + "[$__rate_interval]))"
	}
	return rate("_sum") + " / (" + rate("_count") + " > 0)"
}

// quantiles are the median and the 99th percentile of a histogram that has buckets enough.
func quantiles(histogram, matchers string) []Query {
	bucket := "sum by (le) (rate(" + histogram + "_bucket" + matchers + "[$__rate_interval]))"
	return []Query{
		q("histogram_quantile(0.5, "+bucket+")", "median"),
		q("histogram_quantile(0.99, "+bucket+")", "99 %"),
	}
}

// distribution is the query of a heatmap of a histogram.
func distribution(histogram, matchers string) Query {
	return q("sum by (le) (increase("+histogram+"_bucket"+matchers+"[$__rate_interval]))", "{{le}}")
}

func (p Panel) sized(width, height int) Panel { p.Width, p.Height = width, height; return p }
func (p Panel) stacked() Panel                { p.Stacked = true; return p }
func (p Panel) bySeverity() Panel             { p.BySeverity = true; return p }

// low says how bad it is below all thresholds.
func (p Panel) low(s Severity) Panel { p.Low = s; return p }

// words replaces numbers by words.
func (p Panel) words(values ...Value) Panel { p.Values = values; return p }

// alert says which rule watches what is shown, and from where on it alerts.
func (p Panel) alert(runbook string, thresholds ...Threshold) Panel {
	p.Runbooks = append(append([]string(nil), p.Runbooks...), runbook)
	p.Thresholds = append(append([]Threshold(nil), p.Thresholds...), thresholds...)
	return p
}

// named is a threshold of the rules, at is one that a rule has in its expression.
func named(name string, severity Severity) Threshold {
	return Threshold{Name: name, Severity: severity}
}

func at(value float64, severity Severity) Threshold {
	return Threshold{Value: value, Severity: severity}
}

// upDown are the words for a gauge that is 1 or 0.
func upDown() []Value {
	return []Value{{"1", "up", Good}, {"0", "down", Page}}
}

// colours sets thresholds that no rule has.
func (p Panel) colours(thresholds ...Threshold) Panel {
	p.Thresholds = append(append([]Threshold(nil), p.Thresholds...), thresholds...)
	return p
}

package picture

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-analyze/charts"
)

// Options say what is drawn.
type Options struct {
	Client Client
	Span   Span
	// Variables are the values of $job and the like, as they stand in an expression.
	Variables map[string]string
}

// Since shows the time since a moment, or the last second if it was later, with all jobs,
// instances and nodes chosen, in as many steps of a second or more as a panel is wide, or less.
func Since(began time.Time, client Client) Options {
	end := time.Now().Add(-time.Second).Truncate(time.Second)
	if last := end.Add(-time.Second); began.After(last) {
		began = last
	}
	return Options{
		Client: client,
		Span:   Span{Start: began.Truncate(time.Second), End: end, Step: max(time.Second, end.Sub(began)/600).Round(time.Second)},
		Variables: map[string]string{
			"job": ".+", "instance": ".+", "node": ".*", "__rate_interval": "5s", "__range": fmt.Sprintf("%ds", int(end.Sub(began).Seconds())),
		},
	}
}

// Result is what a query gave.
type Result struct {
	Target Target
	Series []Series
}

// Sizes in pixels: of a column of the grid, of a unit of its height, and between panels.
const (
	columnWidth = 72
	unitHeight  = 34
	gap         = 8
	titleHeight = 26
	headHeight  = 64
	gridColumns = 24
)

// Draw queries what every panel shows and draws the dashboard as PNG.
func Draw(ctx context.Context, d Dashboard, o Options) ([]byte, error) {
	marks, err := d.marks(ctx, o)
	if err != nil {
		return nil, err
	}
	height := headHeight
	for _, p := range d.Panels {
		height = max(height, headHeight+(p.GridPos.Y+p.GridPos.H)*unitHeight)
	}
	theme := theme()
	page := charts.NewPainter(charts.PainterOptions{Width: gridColumns*columnWidth + gap, Height: height + gap, Theme: theme}, charts.PainterThemeOption(theme))
	page.FilledRect(0, 0, page.Width(), page.Height(), charts.ColorRGB(17, 18, 23), charts.ColorTransparent, 0)
	page.Text(d.Title, 12, 28, 0, font(18, white()))
	page.Text(d.Description, 12, 52, 0, font(11, grey()))
	for i, m := range marks {
		page.Text(fmt.Sprintf("| %s: %d", m.name, m.count), gridColumns*columnWidth-160*(len(marks)-i), 52, 0, font(11, m.colour))
	}
	for _, p := range d.Panels {
		x, y := p.GridPos.X*columnWidth+gap, headHeight+p.GridPos.Y*unitHeight+gap
		w, h := p.GridPos.W*columnWidth-gap, p.GridPos.H*unitHeight-gap
		if p.Type == "row" {
			page.Text("▾ "+p.Title, x, y+18, 0, font(13, white()))
			continue
		}
		var data []Result
		for _, t := range p.Targets {
			series, err := o.Ask(ctx, t)
			if err != nil {
				return nil, fmt.Errorf("panel %q: %w", p.Title, err)
			}
			data = append(data, Result{Target: t, Series: series})
		}
		page.FilledRect(x, y, x+w, y+h, charts.ColorRGB(24, 27, 31), charts.ColorRGB(44, 50, 53), 1)
		page.Text(fit(page, p.Title, w-16, 11), x+8, y+18, 0, font(11, white()))
		body := page.Child(charts.PainterBoxOption(charts.NewBox(x+6, y+titleHeight, x+w-6, y+h-4)))
		if err := p.draw(body, theme, data, o.Span, marks); err != nil {
			return nil, fmt.Errorf("panel %q: %w", p.Title, err)
		}
	}
	return page.Bytes()
}

// Ask evaluates a query of a panel.
func (o Options) Ask(ctx context.Context, t Target) ([]Series, error) {
	expr := Interpolate(t.Expr, o.Variables)
	if t.Instant {
		return o.Client.Instant(ctx, expr, o.Span.End)
	}
	return o.Client.Range(ctx, expr, o.Span)
}

func (p Panel) draw(body *charts.Painter, theme charts.ColorPalette, data []Result, span Span, marks []mark) error {
	count := 0
	for _, r := range data {
		for _, s := range r.Series {
			count += s.Points()
		}
	}
	if count == 0 {
		body.Text(cmp.Or(p.FieldConfig.Defaults.NoValue, "No data"), body.Width()/2-30, body.Height()/2, 0, font(11, grey()))
		return nil
	}
	switch p.Type {
	case "timeseries":
		return p.lines(body, theme, data, span, marks)
	case "heatmap":
		return p.heatmap(body, theme, data, span)
	case "table":
		return p.table(body, theme, data)
	case "stat":
		p.stat(body, data)
	case "bargauge":
		p.bars(body, data)
	case "state-timeline":
		p.states(body, data, span)
	default:
		return fmt.Errorf("panels of type %q can't be drawn", p.Type)
	}
	return nil
}

// lines draws a time series, thresholds as lines of their own where they are near, and what
// annotations mark.
func (p Panel) lines(body *charts.Painter, theme charts.ColorPalette, data []Result, span Span, marks []mark) error {
	const maxNames = 8
	var list charts.LineSeriesList
	var names []string
	var colours []charts.Color
	stacked := p.FieldConfig.Defaults.Custom.Stacking.Mode == "normal"
	sums := make([]float64, span.points())
	highest, lowest := 0.0, 0.0
	for _, r := range data {
		for _, s := range r.Series {
			if s.Points() == 0 {
				continue
			}
			values := make([]float64, len(s.Values))
			for i, v := range s.Values {
				values[i] = v
				if math.IsNaN(v) || math.IsInf(v, 0) {
					values[i] = charts.GetNullValue()
					if stacked {
						values[i] = 0
					}
					continue
				}
				sums[i] += v
				highest, lowest = max(highest, v), min(lowest, v)
			}
			name := s.Name(r.Target.LegendFormat)
			seriesColour, fixed := p.colour(name)
			if !fixed {
				seriesColour = theme.GetSeriesColor(len(list))
			}
			colours = append(colours, seriesColour)
			list = append(list, charts.LineSeries{Values: values, Name: name})
			if len(names) < maxNames {
				names = append(names, short(name))
			}
		}
	}
	if stacked {
		highest = slices.Max(sums)
	}
	all, own := len(list), slices.Clone(colours)
	far, top := "", highest
	if p.FieldConfig.Defaults.Custom.ThresholdsStyle.Mode != "off" {
		for _, step := range p.FieldConfig.Defaults.Thresholds.Steps {
			if step.Value == nil {
				continue
			}
			if *step.Value > 4*highest {
				far += fmt.Sprintf("  %s at %s", step.Color, write(*step.Value, p.FieldConfig.Defaults.Unit))
				continue
			}
			values := slices.Repeat([]float64{*step.Value}, span.points())
			top = max(top, *step.Value)
			colours = append(colours, named(step.Color))
			list = append(list, charts.LineSeries{Values: values, Name: "threshold"})
		}
	}
	// Behind the data.
	marked := false
	for _, m := range marks {
		if m.count > 0 {
			marked = true
			colours = slices.Insert(colours, 0, m.colour)
			list = slices.Insert(list, 0, m.line())
		}
	}
	option := charts.NewLineChartOptionWithSeries(list)
	option.Theme = theme.WithSeriesColors(colours)
	option.Padding = charts.NewBox(4, 4, 8, 20)
	option.Symbol = charts.Symbol{Shape: charts.SymbolNone}
	option.LineStrokeWidth = 1.4
	option.StackSeries = charts.Ptr(stacked && len(list) > 1)
	option.XAxis.Labels = clock(span)
	option.XAxis.LabelCount = max(2, body.Width()/110)
	option.XAxis.LabelFontStyle = font(8, grey())
	option.XAxis.BoundaryGap = charts.Ptr(false)
	axis := charts.YAxisOption{LabelFontStyle: font(8, grey()), LabelCount: 4, ValueFormatter: func(v float64) string { return write(v, p.FieldConfig.Defaults.Unit) }}
	if top == 0 {
		top = 1
	}
	// The library's own choice is made for large numbers.
	if lowest >= 0 && top < 100 {
		axis.Min, axis.Max = charts.Ptr(0.0), charts.Ptr(top*1.1)
	}
	option.YAxis = []charts.YAxisOption{axis}
	if marked {
		option.YAxis = append(option.YAxis, charts.YAxisOption{Min: charts.Ptr(0.0), Max: charts.Ptr(1.0), Show: charts.Ptr(false)})
	}
	option.Legend.Show = charts.Ptr(false)
	if err := body.LineChart(option); err != nil {
		return err
	}
	p.legend(body, names, all, own, far)
	return nil
}

// legend writes the names below a chart.
func (p Panel) legend(body *charts.Painter, names []string, all int, colours []charts.Color, more string) {
	x, y := 4, body.Height()-4
	for i, name := range names {
		width := body.MeasureText(name, 0, font(8, grey())).Width()
		if x+width+20 > body.Width() {
			more = fmt.Sprintf(" … of %d%s", all, more)
			break
		}
		body.FilledRect(x, y-6, x+10, y-3, colours[i], charts.ColorTransparent, 0)
		body.Text(name, x+13, y, 0, font(8, grey()))
		x += width + 24
	}
	if more != "" {
		body.Text(more, x, y, 0, font(8, named("orange")))
	}
}

// heatmap draws how many values fell into each range.
func (p Panel) heatmap(body *charts.Painter, theme charts.ColorPalette, data []Result, span Span) error {
	rows, bounds := buckets(data[0].Series)
	span = widen(rows, span, body.Width()/heatCell)
	values := make([][]float64, len(rows))
	labels := make([]string, len(rows))
	for i := range rows {
		// The largest on top.
		values[len(rows)-1-i] = rows[i]
		labels[len(rows)-1-i] = write(bounds[i], p.FieldConfig.Defaults.Unit)
		if math.IsInf(bounds[i], 1) {
			labels[len(rows)-1-i] = "∞"
		}
	}
	option := charts.NewHeatMapOptionWithData(values)
	option.Theme = theme.WithSeriesColors([]charts.Color{named("orange")})
	option.Padding = charts.NewBox(4, 4, 4, 4)
	option.XAxis = charts.HeatMapAxis{Labels: clock(span), LabelCount: max(2, body.Width()/110), LabelFontStyle: font(8, grey())}
	option.YAxis = charts.HeatMapAxis{Labels: labels, LabelFontStyle: font(8, grey())}
	return body.HeatMapChart(option)
}

// heatCell is the least width in pixels of a cell of a heatmap.
const heatCell = 8

// widen adds steps up where there are more than most of them, and gives the span with the
// wider steps.
func widen(rows [][]float64, span Span, most int) Span {
	merge := (span.points() + most - 1) / most
	if merge <= 1 {
		return span
	}
	for i, row := range rows {
		var wide []float64
		for part := range slices.Chunk(row, merge) {
			sum := charts.GetNullValue()
			for _, v := range part {
				switch {
				case v == charts.GetNullValue():
				case sum == charts.GetNullValue():
					sum = v
				default:
					sum += v
				}
			}
			wide = append(wide, sum)
		}
		rows[i] = wide
	}
	points := (span.points() + merge - 1) / merge
	span.Step *= time.Duration(merge)
	span.End = span.Start.Add(time.Duration(points-1) * span.Step)
	return span
}

func clock(span Span) []string {
	labels := make([]string, span.points())
	at := span.Start
	for i := range labels {
		labels[i] = at.Format("15:04:05")
		at = at.Add(span.Step)
	}
	return labels
}

func short(name string) string {
	const longest = 34
	if len(name) > longest {
		return name[:longest-1] + "…"
	}
	return strings.TrimSpace(name)
}

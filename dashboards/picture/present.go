package picture

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/go-analyze/charts"
)

// buckets are the counts in the ranges of a histogram, from its cumulative series, with
// the upper ends of the ranges in rising order.
func buckets(series []Series) (rows [][]float64, bounds []float64) {
	byBound := map[float64][]float64{}
	for _, s := range series {
		if bound, err := strconv.ParseFloat(s.Labels["le"], 64); err == nil {
			byBound[bound] = s.Values
		}
	}
	bounds = slices.Sorted(maps.Keys(byBound))
	for i, bound := range bounds {
		row := make([]float64, len(byBound[bound]))
		for j, v := range byBound[bound] {
			if i > 0 {
				v -= byBound[bounds[i-1]][j]
			}
			if math.IsNaN(v) || v <= 0 {
				v = charts.GetNullValue()
			}
			row[j] = v
		}
		rows = append(rows, row)
	}
	return rows, bounds
}

// word is a value as a field shows it, with the colour that it has.
func (f Field) word(value float64) (string, charts.Color) {
	for _, m := range f.Mappings {
		if option, ok := m.Options[strconv.FormatFloat(value, 'f', -1, 64)]; ok {
			return option.Text, named(option.Color)
		}
	}
	colour := white()
	for _, step := range f.Thresholds.Steps {
		if step.Value == nil || value >= *step.Value {
			colour = named(step.Color)
		}
	}
	return write(value, f.Unit), colour
}

// stat writes the present values in large type.
func (p Panel) stat(body *charts.Painter, data []Result) {
	type entry struct {
		name, text string
		colour     charts.Color
	}
	var entries []entry
	for _, r := range data {
		for _, s := range r.Series {
			text, colour := p.FieldConfig.Defaults.word(s.last())
			entries = append(entries, entry{s.Name(r.Target.LegendFormat), text, colour})
		}
	}
	width := body.Width() / len(entries)
	size := min(26, 26*float64(width)/200)
	for i, e := range entries {
		text := fit(body, e.text, width-4, size)
		box := body.MeasureText(text, 0, font(size, e.colour))
		body.Text(text, i*width+(width-box.Width())/2, body.Height()/2+8, 0, font(size, e.colour))
		body.Text(fit(body, e.name, width-4, 8), i*width+4, body.Height()-6, 0, font(8, grey()))
	}
}

// bars draws present values as bars.
func (p Panel) bars(body *charts.Painter, data []Result) {
	type entry struct {
		name  string
		value float64
	}
	var entries []entry
	highest := 0.0
	for _, r := range data {
		for _, s := range r.Series {
			entries = append(entries, entry{s.Name(r.Target.LegendFormat), s.last()})
			highest = max(highest, s.last())
		}
	}
	height := min(26, body.Height()/len(entries))
	for i, e := range entries {
		y, left := i*height, body.Width()*2/5
		body.Text(fit(body, e.name, left-8, 9), 4, y+height*2/3, 0, font(9, grey()))
		full := body.Width() - left - 90
		length := 0
		if highest > 0 && !math.IsNaN(e.value) {
			length = int(float64(full) * e.value / highest)
		}
		text, colour := p.FieldConfig.Defaults.word(e.value)
		body.FilledRect(left, y+3, left+full, y+height-3, charts.ColorRGB(34, 38, 43), charts.ColorTransparent, 0)
		if length > 0 {
			body.FilledRect(left, y+3, left+length, y+height-3, named("green"), charts.ColorTransparent, 0)
		}
		body.Text(text, left+full+6, y+height*2/3, 0, font(9, colour))
	}
}

// states draws words over time.
func (p Panel) states(body *charts.Painter, data []Result, span Span) {
	const axis = 18
	var rows []Series
	var names []string
	for _, r := range data {
		for _, s := range r.Series {
			rows = append(rows, s)
			names = append(names, s.Name(r.Target.LegendFormat))
		}
	}
	left := body.Width() / 4
	height := min(26, (body.Height()-axis)/len(rows))
	step := float64(body.Width()-left-6) / float64(span.points())
	for i, s := range rows {
		y := i * height
		body.Text(fit(body, names[i], left-8, 8), 4, y+height*2/3, 0, font(8, grey()))
		for j, v := range s.Values {
			if math.IsNaN(v) {
				continue
			}
			_, colour := p.FieldConfig.Defaults.word(v)
			body.FilledRect(left+int(float64(j)*step), y+2, left+int(float64(j+1)*step), y+height-2, colour, charts.ColorTransparent, 0)
		}
	}
	labels := clock(span)
	body.Text(labels[0], left, body.Height()-4, 0, font(8, grey()))
	body.Text(labels[len(labels)-1], body.Width()-60, body.Height()-4, 0, font(8, grey()))
}

// table draws the present values of all queries, rows with equal labels as one.
func (p Panel) table(body *charts.Painter, theme charts.ColorPalette, data []Result) error {
	order, titles := p.columns()
	if len(order) == 0 {
		return fmt.Errorf("a table without columns")
	}
	rows := map[string]map[string]string{}
	for _, r := range data {
		for _, s := range r.Series {
			key, row := "", map[string]string{}
			for _, column := range order {
				if value, isLabel := s.Labels[column]; isLabel {
					key += column + "=" + value + ";"
					row[column] = value
				}
			}
			if rows[key] == nil {
				rows[key] = row
			}
			column := "Value #" + r.Target.RefID
			if len(data) == 1 {
				column = "Value"
			}
			rows[key][column], _ = p.field(titles[column]).word(s.last())
		}
	}
	option := charts.TableChartOption{
		Theme: theme, Width: body.Width(), FontStyle: font(9, white()), BackgroundColor: theme.GetBackgroundColor(),
		HeaderBackgroundColor: charts.ColorRGB(34, 38, 43), HeaderFontColor: grey(), RowBackgroundColors: []charts.Color{charts.ColorRGB(24, 27, 31)},
		Padding: charts.NewBox(4, 3, 4, 3),
	}
	for _, column := range order {
		option.Header = append(option.Header, titles[column])
	}
	for i, key := range slices.Sorted(maps.Keys(rows)) {
		if i*24 > body.Height()-60 {
			break
		}
		var cells []string
		for _, column := range order {
			cells = append(cells, rows[key][column])
		}
		option.Data = append(option.Data, cells)
	}
	return body.TableChart(option)
}

// columns are the fields of a table in their order, and their titles.
func (p Panel) columns() (order []string, titles map[string]string) {
	for _, t := range p.Transformations {
		if t.ID != "organize" {
			continue
		}
		order = slices.SortedFunc(maps.Keys(t.Options.IndexByName), func(a, b string) int {
			return cmp.Compare(t.Options.IndexByName[a], t.Options.IndexByName[b])
		})
		titles = t.Options.RenameByName
	}
	return order, titles
}

// field is how the column with a title is written.
func (p Panel) field(title string) Field {
	field := p.FieldConfig.Defaults
	for _, o := range p.FieldConfig.Overrides {
		if o.Matcher.Options != title {
			continue
		}
		for _, property := range o.Properties {
			switch property.ID {
			case "unit":
				_ = json.Unmarshal(property.Value, &field.Unit)
			case "mappings":
				_ = json.Unmarshal(property.Value, &field.Mappings)
			}
		}
	}
	return field
}

// colour is that of the series with a name, if it has one of its own.
func (p Panel) colour(name string) (charts.Color, bool) {
	for _, o := range p.FieldConfig.Overrides {
		if o.Matcher.Options != name {
			continue
		}
		for _, property := range o.Properties {
			var value struct {
				FixedColor string `json:"fixedColor"`
			}
			if property.ID == "color" && json.Unmarshal(property.Value, &value) == nil {
				return named(value.FixedColor), true
			}
		}
	}
	return charts.Color{}, false
}

func theme() charts.ColorPalette {
	return charts.MakeTheme(charts.ThemeOption{
		IsDarkMode: true, BackgroundColor: charts.ColorRGB(24, 27, 31), TextColor: grey(), AxisStrokeColor: charts.ColorRGB(80, 84, 90),
		AxisSplitLineColor: charts.ColorRGB(44, 50, 53),
		SeriesColors: []charts.Color{
			charts.ColorRGB(115, 191, 105), charts.ColorRGB(242, 204, 12), charts.ColorRGB(138, 184, 255), charts.ColorRGB(255, 120, 10),
			charts.ColorRGB(242, 73, 92), charts.ColorRGB(87, 148, 242), charts.ColorRGB(184, 119, 217), charts.ColorRGB(112, 219, 237),
			charts.ColorRGB(255, 166, 176), charts.ColorRGB(150, 217, 141), charts.ColorRGB(163, 82, 204), charts.ColorRGB(224, 180, 0),
		},
	})
}

func named(colour string) charts.Color {
	switch colour {
	case "red":
		return charts.ColorRGB(242, 73, 92)
	case "orange":
		return charts.ColorRGB(255, 152, 48)
	case "blue":
		return charts.ColorRGB(87, 148, 242)
	case "green":
		return charts.ColorRGB(115, 191, 105)
	case "purple":
		return charts.ColorRGB(184, 119, 217)
	default:
		return white()
	}
}

func white() charts.Color { return charts.ColorRGB(216, 217, 218) }
func grey() charts.Color  { return charts.ColorRGB(150, 153, 158) }

func font(size float64, colour charts.Color) charts.FontStyle {
	return charts.NewFontStyleWithSize(size).WithColor(colour)
}

// fit cuts a text to a width.
func fit(p *charts.Painter, text string, width int, size float64) string {
	runes := []rune(text)
	for len(runes) > 1 && p.MeasureText(string(runes), 0, font(size, white())).Width() > width {
		runes = runes[:len(runes)-1]
	}
	if len(runes) < len([]rune(text)) {
		runes[len(runes)-1] = '…'
	}
	return string(runes)
}

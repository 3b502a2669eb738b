package picture

import (
	"context"
	"fmt"
	"math"

	"github.com/go-analyze/charts"
)

// Annotation is a query that marks on the time line when something happened.
type Annotation struct {
	Name      string `json:"name"`
	IconColor string `json:"iconColor"`
	Enable    bool   `json:"enable"`
	Expr      string `json:"expr"`
	// UseValueForTime: the values are the times, in milliseconds. Otherwise it is the time
	// at which a series begins.
	UseValueForTime bool `json:"useValueForTime"`
}

// mark is what an annotation gave: at which of the steps of the span something happened.
type mark struct {
	name   string
	colour charts.Color
	at     []bool
	count  int
}

// marks asks for the annotations that are switched on.
func (d Dashboard) marks(ctx context.Context, o Options) ([]mark, error) {
	var all []mark
	for _, a := range d.Annotations.List {
		if !a.Enable || a.Expr == "" {
			continue
		}
		series, err := o.Client.Range(ctx, Interpolate(a.Expr, o.Variables), o.Span)
		if err != nil {
			return nil, fmt.Errorf("annotation %q: %w", a.Name, err)
		}
		m := mark{name: a.Name, colour: named(a.IconColor), at: make([]bool, o.Span.points())}
		for _, s := range series {
			for i, v := range s.Values {
				at := i
				if a.UseValueForTime && !math.IsNaN(v) {
					at = int((v/1000 - float64(o.Span.Start.UnixMilli())/1000) / o.Span.Step.Seconds())
				} else if math.IsNaN(v) || i > 0 && !math.IsNaN(s.Values[i-1]) {
					continue
				}
				if at >= 0 && at < len(m.at) && !m.at[at] {
					m.at[at] = true
					m.count++
				}
			}
		}
		all = append(all, m)
	}
	return all, nil
}

// line is the marks as a series of an axis from 0 to 1: from the bottom to the top of the
// chart between one step and the next.
func (m mark) line() charts.LineSeries {
	values := make([]float64, len(m.at))
	for i := range values {
		values[i] = charts.GetNullValue()
	}
	for i, happened := range m.at {
		if happened && i+1 < len(values) && values[i] != 0 && values[i] != 1 {
			values[i], values[i+1] = 0, 1
		}
	}
	return charts.LineSeries{Values: values, Name: m.name, YAxisIndex: 1}
}

package picture

import (
	"fmt"
	"testing"
	"time"

	"github.com/go-analyze/charts"
)

// A heatmap of more steps than it has room for adds up neighbours; where all of them are
// empty, nothing is drawn.
func TestWiden(t *testing.T) {
	none := charts.GetNullValue()
	rows := [][]float64{{1, 2, none, 4, 5}, {none, none, none, none, 1}}
	span := Span{Start: time.Unix(1000, 0), End: time.Unix(1004, 0), Step: time.Second}
	if got := widen(rows, span, 5); got != span || len(rows[0]) != 5 {
		t.Errorf("with room for all: %v, %v", got, rows)
	}
	got := widen(rows, span, 3)
	if want := (Span{Start: span.Start, End: span.Start.Add(4 * time.Second), Step: 2 * time.Second}); got != want {
		t.Errorf("the span is %v, want %v", got, want)
	}
	if want := fmt.Sprint([][]float64{{3, 4, 5}, {none, none, 1}}); fmt.Sprint(rows) != want {
		t.Errorf("rows %v, want %s", rows, want)
	}
	if got.points() != len(rows[0]) {
		t.Errorf("%d steps for %d cells", got.points(), len(rows[0]))
	}
}

package backtest

import (
	"log/slog"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/peerobserver/peerobserver/lab/incident"
)

// It is the same whether the rules are evaluated after each scrape or after many: what is
// recorded, what ends, and when an alert fires.
func TestBatch(t *testing.T) {
	i, err := incident.Find("reorganization-2026")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "incident.bin.zst")
	if err := i.Record(t.Context(), path, "test"); err != nil {
		t.Fatal(err)
	}
	// A13 reads what is recorded and has gaps, with a threshold that lets it fire and end.
	config := Config{Paths: []string{path}, IDs: []string{"G01", "A13"}}
	config.Rules.Thresholds = map[string]float64{"a13_ticket_seconds": 300}
	var results []*Result
	for _, batch := range []int{1, 7, defaultBatch} {
		result, err := run(t.Context(), config, slog.New(slog.DiscardHandler), batch)
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, result)
	}
	for _, other := range results[1:] {
		if !reflect.DeepEqual(results[0], other) {
			t.Errorf("in one go: %+v\none by one: %+v", other, results[0])
		}
	}
	if n := len(results[0].Alerts); n < 6 {
		t.Errorf("only %d alerts fired", n)
	}
}

//go:build race

package metrics_test

// The race detector makes every event ten times as slow.
const (
	hostileEvents  = 20_000
	distinctValues = 4_000
)

//go:build !race

package metrics_test

const (
	hostileEvents  = 300_000
	distinctValues = 1_000_000
)

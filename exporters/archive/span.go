package archive

import "math"

// span is a range of time in UNIX nanoseconds, without its end.
type span struct{ from, until int64 }

func everything() span { return span{from: math.MinInt64, until: math.MaxInt64} }

// has tells whether a time is inside. Without an end everything late is.
func (s span) has(at int64) bool {
	return at >= s.from && (at < s.until || s.until == math.MaxInt64)
}

// meets tells whether events from first to last, both inclusive, may be inside.
func (s span) meets(first, last int64) bool {
	return last >= s.from && (first < s.until || s.until == math.MaxInt64)
}

func (s span) limited() bool { return s != everything() }

package metrics

import (
	"math"
	"sync/atomic"
	"time"
)

// Limits of how long a polled value is good for.
const (
	// staleIntervals is the number of missed polls after which a value is no longer
	// shown.
	staleIntervals = 3
	// staleAtLeast and staleAtMost bound the time that follows from it.
	staleAtLeast = 30 * time.Second
	staleAtMost  = 2 * time.Hour
	// staleFirst holds until the interval is known from two values.
	staleFirst = 10 * time.Minute
)

// age says whether values are still worth showing. The interval at which they come is
// learnt from the events themselves, because a reader of NATS or of an archive doesn't
// know the configuration of the agent. It is written by the goroutine that handles
// events and read by scrapes.
type age struct {
	last  atomic.Int64
	limit atomic.Int64
	// lasting values don't become too old: they are the last of something that happens
	// when it happens.
	lasting bool
	// gone hides the values at once, because what they describe is gone; may be nil.
	gone func(now int64) bool
}

// polled is the age of values that come again and again.
func polled(gone func(now int64) bool) *age { return &age{gone: gone} }

// lasting is the age of values that hold until something happens.
func lasting(gone func(now int64) bool) *age { return &age{lasting: true, gone: gone} }

// touch notes that new values came at a time in UNIX nanoseconds.
func (a *age) touch(at int64) {
	last := a.last.Load()
	switch {
	case a.lasting:
		a.limit.Store(math.MaxInt64)
	case last == 0:
		a.limit.Store(int64(staleFirst))
	case at > last:
		limit := min(max(staleIntervals*(at-last), int64(staleAtLeast)), int64(staleAtMost))
		// One delayed poll widens the limit at once, a single early one narrows it
		// only slowly.
		if old := a.limit.Load(); limit < old && old != int64(staleFirst) {
			limit = old - (old-limit)/4
		}
		a.limit.Store(limit)
	}
	// What is that much older than the last wasn't delayed: the clock was set back.
	if at > last || last-at > int64(staleFirst) {
		a.last.Store(at)
	}
}

// stale is whether values have come, but too long ago.
func (a *age) stale(now int64) bool {
	last := a.last.Load()
	return last != 0 && now-last > a.limit.Load()
}

// fresh is whether the values are to be shown at a time in UNIX nanoseconds.
func (a *age) fresh(now int64) bool {
	return a.last.Load() != 0 && !a.stale(now) && (a.gone == nil || !a.gone(now))
}

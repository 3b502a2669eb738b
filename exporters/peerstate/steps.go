package peerstate

import "time"

const (
	// maxBehind is how far an event may lie behind the clock, in nanoseconds: the sources
	// take different times to deliver.
	maxBehind = int64(10 * time.Minute)
	// stepEvents is the number of events in a row that have to lie elsewhere before the
	// clock follows them: at the pace of a node with few peers less than a minute.
	stepEvents = 100
)

// Step is which way the clock of the events was set; 0 when it wasn't.
type Step int8

// The ways.
const (
	StepBack    Step = -1
	StepForward Step = 1
)

// steps finds out that the clock by which events are stamped was set: to the past, or so far
// ahead that one event of such a time is not believed (see maxLeap).
type steps struct {
	// far are the events in a row that lie far from the clock and near at, the last of
	// them.
	far int
	at  int64
}

// set takes the time of an event and says whether the clock was set, being now.
func (c *steps) set(now, at int64) bool {
	at = max(at, 0)
	if now == 0 || (at >= now-maxBehind && at-now < maxLeap) {
		c.far = 0
		return false
	}
	if c.far > 0 && max(at-c.at, c.at-at) > maxBehind {
		// One odd time after another is no clock.
		c.far = 0
	}
	c.far, c.at = c.far+1, at
	return c.far >= stepEvents
}

// step begins anew at another time, as after a start: what was counted by the other clock
// would never get old, or be old at once. What isn't of a time stays.
func (s *State) step(at int64) {
	before := *s
	s.init(s.networks, s.seed)
	s.start, s.watched = before.start, before.watched
	s.bootID, s.sequence, s.lossEpoch = before.bootID, before.sequence, before.lossEpoch
	s.Advance(at)
}

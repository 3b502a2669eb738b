package peerstate

import (
	"math"
	"slices"
	"time"
)

const (
	// clockSamples is how many version messages of a direction tell the time: few, so that
	// their median follows a clock that was set.
	clockSamples = 31
	// fewestClocks are the fewest of which the median says something.
	fewestClocks = 8
	// clockMemory is how long each counts, in nanoseconds.
	clockMemory = int64(time.Hour)
)

// clocks compares the clocks of the peers with that of the host, by the time in their version
// messages. Peers may lie; those that the node has chosen itself are the harder ones to be
// many of, so that they are apart from the inbound ones.
type clocks struct {
	samples [Directions][clockSamples]clockSample
	next    [Directions]int
}

// clockSample is what one peer said: offset is its clock minus the host's in seconds, at when it
// came, in UNIX nanoseconds; 0 for none.
type clockSample struct {
	offset float64
	at     int64
}

// add notes that a peer said at a time in UNIX nanoseconds that it was said, in UNIX seconds. It
// says whole ones; half a second more is nearest.
func (c *clocks) add(d int, said, at, now int64) {
	c.samples[d][c.next[d]] = clockSample{offset: float64(said) + 0.5 - float64(at)/1e9, at: now}
	c.next[d] = (c.next[d] + 1) % clockSamples
}

// offset is the median of the peers' clocks minus the host's in seconds; NaN when too few have
// told the time within an hour.
func (c *clocks) offset(d int, now int64) float64 {
	offsets := make([]float64, 0, clockSamples)
	for _, s := range c.samples[d] {
		if s.at != 0 && now-s.at < clockMemory {
			offsets = append(offsets, s.offset)
		}
	}
	if len(offsets) < fewestClocks {
		return math.NaN()
	}
	slices.Sort(offsets)
	return offsets[len(offsets)/2]
}

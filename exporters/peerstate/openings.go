package peerstate

import (
	"time"

	"github.com/peerobserver/peerobserver/exporters/netgroup"
)

const (
	// openingGroups is the number of groups whose inbound connections are counted one
	// by one; the count of others is right to a 256th of all.
	openingGroups = 256
	// openingWindow is the length of a window of openings in nanoseconds.
	openingWindow = int64(5 * time.Minute)
)

// openings follows where inbound connections come from.
type openings struct {
	current, previous *topK[netgroup.Group]
	window            int64
}

func (w *openings) init() {
	w.current, w.previous = newTopK[netgroup.Group](openingGroups), newTopK[netgroup.Group](openingGroups)
}

func (w *openings) advance(now int64) {
	window := now / openingWindow
	switch {
	case window == w.window:
		return
	case window == w.window+1:
		w.current, w.previous = w.previous, w.current
	default:
		w.previous.reset()
	}
	w.current.reset()
	w.window = window
}

// add counts an inbound connection.
func (w *openings) add(g netgroup.Group, now int64) {
	if g.Class != netgroup.IPv4 && g.Class != netgroup.IPv6 {
		// Whoever comes through Tor comes from loopback.
		return
	}
	w.advance(now)
	w.current.add(g, 1)
}

// top is the number of inbound connections from the busiest group in the window of five
// minutes, this one or the last complete one, whichever is larger.
func (w *openings) top(now int64) uint64 {
	w.advance(now)
	_, a := w.current.top()
	_, b := w.previous.top()
	return max(a, b)
}

package metrics

import "github.com/peerobserver/peerobserver/exporters/peerstate"

// clock is what the peers say of the host's clock.
type clock struct {
	offset *gauges
}

func newClock(r *registry, l *labels, summary *age) *clock {
	return &clock{offset: r.gauge(spec{
		name: "peers_version_time_offset_seconds", events: "message", unit: "seconds",
		help: "Median of the clocks of the last 31 peers that sent a version message within an hour, minus the host's clock, by direction; absent of fewer than eight.",
	}, summary, l.direction)}
}

func (c *clock) summarise(u *peerstate.Summary) {
	for d := range peerstate.Directions {
		c.offset.at(directionIndex(d == peerstate.Inbound)).set(u.ClockOffset[d])
	}
}

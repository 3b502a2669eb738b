package metrics

import "github.com/peerobserver/peerobserver/exporters/peerstate"

// reach describes what tells an eclipse.
type reach struct {
	oldest, addressAge, memory *gauges
	clearnet, clearnetTop      *gauges
}

func newReach(r *registry, a *age) *reach {
	gauge := func(name, events, unit, help string) *gauges {
		return r.gauge(spec{name: name, events: events, unit: unit, help: help}, a)
	}
	const both = peerInfos + ", rpc.addrman"
	return &reach{
		oldest:      gauge("peers_outbound_oldest_connection_seconds", peerInfos, "seconds", "How long the oldest connection has been open that the node opened by itself and keeps (full-relay or block-relay-only); absent without one."),
		addressAge:  gauge("peers_outbound_address_age_seconds", both, "seconds", "Time since the addresses were first heard of to which the node keeps connections that it opened by itself: median over these connections. Addresses are remembered while they are in the address manager; absent before it was polled."),
		memory:      gauge("peers_address_memory_seconds", both, "seconds", "Since when the observer remembers the addresses of the address manager: none can be known to be older."),
		clearnet:    gauge("peers_inbound_clearnet", peerInfos, "peers", "Inbound peers of IPv4 and IPv6."),
		clearnetTop: gauge("peers_inbound_clearnet_netgroup_top_ratio", peerInfos, "share", "Share of the largest network group in the inbound peers of IPv4 and IPv6; absent without any."),
	}
}

func (g *reach) set(u *peerstate.Reach) {
	g.oldest.set(u.OldestOutbound)
	g.addressAge.set(u.AddressAge)
	g.memory.set(u.Memory)
	g.clearnet.set(float64(u.Clearnet))
	g.clearnetTop.set(u.ClearnetTop)
}

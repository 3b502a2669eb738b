package metrics

import (
	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/exporters/peerstate"
)

// addresses measures the addresses that are gossiped.
type addresses struct {
	labels  *labels
	message *label

	perMessage            *histograms
	offset                *histograms
	services              *counters
	byNetwork             *counters
	empty                 *counters
	self, adjacent        *counters
	solicited             *counters
	firstSeen             *counters
	unroutable, future    *counters
	limited               *counters
	uniqueHour, uniqueDay *gauges
	known                 *gauges
}

// Places in the message label of addresses.
const (
	messageAddr = iota
	messageAddrV2
)

// entryNetworks are the networks of decode.AddressNetwork in its order.
func entryNetworks() []string {
	return []string{"unknown", "ipv4", "ipv6", "torv2", "onion", "i2p", "cjdns"}
}

func newAddresses(r *registry, l *labels, summary *age) *addresses {
	a := &addresses{labels: l, message: closedLabel("message", "addr", "addrv2")}
	network := closedLabel("network", entryNetworks()...)
	a.perMessage = r.sparseHistogram(spec{
		name: "p2p_addr_message_entries", events: "message", unit: "addresses",
		help: "Addresses in addr and addrv2 messages.",
	}, entries, []int64{0, 1, 10, 999, 1000}, a.message, l.direction)
	a.offset = r.sparseHistogram(spec{
		name: "p2p_addr_entry_time_offset_seconds", events: "message", unit: "seconds",
		help: "Distance between the times of addresses in addr and addrv2 messages and now.",
	}, wholeSeconds, []int64{600, 86_400, 2_592_000}, a.message, l.direction, closedLabel("sign", "past", "future"))
	a.services = r.sparseCounter(spec{
		name: "p2p_addr_entry_services_total", events: "message", unit: "addresses",
		help: "Addresses in addr and addrv2 messages by the services that they claim; an address counts once for each, other stands for any further service bit.",
	}, a.message, l.direction, serviceLabel())
	a.byNetwork = r.counter(spec{
		name: "p2p_addr_entries_total", events: "message", unit: "addresses",
		help: "Addresses in addr and addrv2 messages by network.",
	}, l.direction, network)
	a.solicited = r.counter(spec{
		name: "p2p_addr_received_entries_total", events: "message", unit: "addresses",
		help: "Addresses that the node received, by whether it had asked the peer for addresses.",
	}, closedLabel("solicited", "yes", "no"))
	a.empty = r.counter(spec{
		name: "p2p_addr_empty_messages_total", events: "message", unit: "messages",
		help: "Messages of addresses without an address.",
	}, a.message, l.direction)
	a.self = r.sparseCounter(spec{
		name: "p2p_addr_self_announcements_total", events: "message", unit: "addresses",
		help: "Addresses that are that of the peer who sent them or to whom they were sent.",
	}, l.direction, network)
	a.adjacent = r.counter(spec{
		name: "p2p_addr_subnet_announcements_total", events: "message", unit: "addresses",
		help: "Addresses in the same /24 (IPv4) or /64 (IPv6) as the peer's, and not the peer's.",
	}, l.direction, closedLabel("network", "ipv4", "ipv6"))
	a.firstSeen = r.counter(spec{
		name: "p2p_addr_first_seen_entries_total", events: "message", unit: "addresses",
		help: "Addresses that the node received and that were not heard of in the last 15 days at least.",
	})
	a.unroutable = r.counter(spec{
		name: "p2p_addr_unroutable_entries_total", events: "message", unit: "addresses",
		help: "Addresses that nobody can reach: of private or reserved ranges, or not understood.",
	}, l.direction)
	a.future = r.counter(spec{
		name: "p2p_addr_future_entries_total", events: "message", unit: "addresses",
		help: "Addresses with a time that lies ahead.",
	}, l.direction)
	a.limited = r.counter(spec{
		name: "p2p_addr_rate_limited_entries_total", events: "message", unit: "addresses",
		help: "Addresses that the node drops by its rate limit, as computed with Bitcoin Core's arithmetic; peers with the addr permission are not limited, which isn't known here.",
	})
	unique := func(name, period string) *gauges {
		return r.gauge(spec{
			name: name, events: "message", unit: "addresses",
			help: "Distinct addresses (with port) that the node received in the last " + period + ", estimated to 1 %.",
		}, summary, network)
	}
	a.uniqueHour = unique("p2p_addr_unique_hour", "hour")
	a.uniqueDay = unique("p2p_addr_unique_day", "day")
	a.known = r.gauge(spec{
		name: "p2p_addr_known", events: "message", unit: "addresses",
		help: "Addresses that are remembered as heard of: until they are many, most addresses are first seen.",
	}, summary)
	return a
}

// services of an address by bit: the place of the service, -1 for the rest.
func servicePlace(bit int) int {
	for i, s := range services {
		if s.bit == bit {
			return i
		}
	}
	return len(services)
}

func (a *addresses) handle(msg *decode.Message, o *peerstate.Observation) {
	x := &o.Addr
	message := messageAddr
	if msg.Type == decode.MessageAddrV2 {
		message = messageAddrV2
	}
	direction := directionIndex(msg.Inbound)
	a.perMessage.observe2(message, direction, int64(x.Entries))
	if x.Entries == 0 {
		a.empty.inc2(message, direction)
	}
	for n, count := range x.Networks {
		if count > 0 {
			a.byNetwork.at2(direction, n).add(count)
		}
	}
	for bit, count := range x.Services {
		if count > 0 {
			a.services.at3(message, direction, servicePlace(bit)).add(count)
		}
	}
	for _, offset := range x.Offsets {
		if offset > 0 {
			a.offset.observe3(message, direction, 1, offset)
		} else {
			a.offset.observe3(message, direction, 0, -offset)
		}
	}
	a.unroutable.at(direction).add(x.Unroutable)
	a.future.at(direction).add(x.Future)
	if o.Peer != nil && o.Peer.HasAddress {
		place := entryNetwork(o.Peer)
		if x.Self > 0 {
			a.self.at2(direction, place).add(x.Self)
		}
		if x.Adjacent > 0 && (place == int(decode.AddressIPv4) || place == int(decode.AddressIPv6)) {
			a.adjacent.at2(direction, place-int(decode.AddressIPv4)).add(x.Adjacent)
		}
	}
	if msg.Inbound {
		if x.Solicited {
			a.solicited.at(0).add(x.Entries)
		} else {
			a.solicited.at(1).add(x.Entries)
		}
		a.firstSeen.add(x.FirstSeen)
		a.limited.add(x.RateLimited)
	}
}

// entryNetwork is the place of a peer's own address in the network label of addresses.
func entryNetwork(p *peerstate.Peer) int {
	switch p.Address.Network.String() {
	case "ipv4":
		return int(decode.AddressIPv4)
	case "ipv6":
		return int(decode.AddressIPv6)
	case "onion":
		return int(decode.AddressTorV3)
	case "i2p":
		return int(decode.AddressI2P)
	case "cjdns":
		return int(decode.AddressCJDNS)
	default:
		return int(decode.AddressUnknown)
	}
}

func (a *addresses) summarise(u *peerstate.Summary) {
	for n := range u.UniqueHour {
		a.uniqueHour.at(n).set(float64(u.UniqueHour[n]))
		a.uniqueDay.at(n).set(float64(u.UniqueDay[n]))
	}
	a.known.set(float64(u.Known))
}

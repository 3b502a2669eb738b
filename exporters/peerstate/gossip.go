package peerstate

import (
	"math/bits"
	"time"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/exporters/netgroup"
)

// AddrObservation is what an addr or addrv2 message holds.
type AddrObservation struct {
	// Entries is the number of addresses, as announced.
	Entries uint64
	// Solicited says that the node had asked this peer for addresses.
	Solicited bool
	// Networks counts the entries by network.
	Networks [decode.AddressNetworks]uint64
	// Services counts the entries with each service bit that has a name; the last place
	// those with any other bit.
	Services [ServiceBits]uint64
	// Offsets are the times of the entries minus the time of the event, in seconds.
	Offsets []int64
	// Unroutable counts entries that can't be reached from everywhere, Future those
	// that are dated later than now.
	Unroutable, Future uint64
	// Self counts entries with the sender's own address, Adjacent those with a
	// neighbour's (same /24 or /64).
	Self, Adjacent uint64
	// FirstSeen counts entries that were not heard of before.
	FirstSeen uint64
	// RateLimited counts entries that the node drops by its rate limit, as computed
	// with Bitcoin Core's arithmetic.
	RateLimited uint64
}

// ServiceBits is the number of places for service bits: that of each bit with a name, and
// the last one for the rest.
const ServiceBits = 13

// namedServices are the service bits with a name (protocol.h): NODE_NETWORK, NODE_BLOOM,
// NODE_WITNESS, NODE_COMPACT_FILTERS, NODE_NETWORK_LIMITED and NODE_P2P_V2.
const namedServices = 1<<0 | 1<<2 | 1<<3 | 1<<6 | 1<<10 | 1<<11

// eachService calls f with the place of each service; the rest counts once.
func eachService(services uint64, f func(place int)) {
	for named := services & namedServices; named != 0; named &= named - 1 {
		f(bits.TrailingZeros64(named))
	}
	if services&^namedServices != 0 {
		f(ServiceBits - 1)
	}
}

// Bitcoin Core's limit of the addresses that it takes from a peer (net_processing.cpp).
const (
	// addrRate is the number of addresses a second.
	addrRate = 0.1
	// addrBurst is the number that may be saved up, and what is added when the node
	// asks for addresses.
	addrBurst = 1000
	// addrMessageMax is the largest number in a message; more is misbehaviour.
	addrMessageMax = 1000
)

// The memory of addresses: four million for at least 15 days, in two filters of 4.8
// megabytes.
const (
	knownAddresses = 4_000_000
	knownErrors    = 0.01
	knownLifetime  = int64(15 * 24 * time.Hour)
)

// gossip follows the addresses that peers send.
type gossip struct {
	// hour and day estimate distinct addresses by network.
	hour, day [decode.AddressNetworks]*distinct
	known     *seen
	offsets   []int64
	last      int64
	// counted is when the unique addresses were counted last.
	counted               int64
	uniqueHour, uniqueDay [decode.AddressNetworks]uint64
}

func (g *gossip) init() {
	for i := range g.hour {
		g.hour[i] = newDistinct(6, int64(10*time.Minute))
		g.day[i] = newDistinct(24, int64(time.Hour))
	}
	g.known = newSeen(knownAddresses, knownErrors, knownLifetime)
}

// message takes a received addr or addrv2 message.
func (g *gossip) message(s *State, p *Peer, m *decode.Message, o *Observation) {
	a := &o.Addr
	a.Solicited = p.getAddrSent
	g.walk(s, p, m, a, true)
	a.RateLimited = p.takeAddresses(a.Entries, s.now)
	if a.Entries < addrBurst {
		p.getAddrSent = false
	}
	p.count(ActivityAddrMessages, s.now, 1)
	p.count(ActivityAddrLimited, s.now, a.RateLimited)
}

// sent takes an addr or addrv2 message that the node sent: it holds what the node got
// from others, so it says nothing new.
func (g *gossip) sent(s *State, p *Peer, m *decode.Message, o *Observation) {
	g.walk(s, p, m, &o.Addr, false)
}

// entryBytesV1 is the size of an entry of an addr message.
const entryBytesV1 = 30

func (g *gossip) walk(s *State, p *Peer, m *decode.Message, a *AddrObservation, received bool) {
	g.advance(s.now)
	now := s.now / int64(time.Second)
	offsets := g.offsets[:0]
	there := uint64(0)
	for it := decode.AddressesOf(m.Body); it.Next(); there++ {
		a.Networks[it.Network]++
		offset := int64(it.Time) - now
		offsets = append(offsets, offset)
		if offset > 0 {
			a.Future++
		}
		eachService(it.Services, func(place int) { a.Services[place]++ })
		address, ok := netgroup.Parse(it.Text)
		if !ok || !address.Routable() {
			a.Unroutable++
		}
		if ok && p.HasAddress {
			if address == p.Address {
				a.Self++
			} else if netgroup.AdjacentSubnet(&address, &p.Address) {
				a.Adjacent++
			}
		}
		if received {
			key := s.hashWithPort(it.Text, uint32(it.Port))
			g.hour[it.Network].insert(key)
			g.day[it.Network].insert(key)
			if g.known.add(key, s.now) {
				a.FirstSeen++
			}
		}
	}
	g.offsets = offsets
	a.Offsets = offsets
	a.Entries = max(m.ElementCount, there)
	if !m.HasCount && m.Type == decode.MessageAddr && there == 0 {
		a.Entries = m.Size / entryBytesV1
	}
}

// advance moves the windows, at most once a second.
func (g *gossip) advance(now int64) {
	if now-g.last < int64(time.Second) {
		return
	}
	g.last = now
	for i := range g.hour {
		g.hour[i].advance(now)
		g.day[i].advance(now)
	}
}

// takeAddresses applies the node's rate limit to n addresses of a message, and gives
// how many of them it drops.
func (p *Peer) takeAddresses(n uint64, now int64) (limited uint64) {
	if n > addrMessageMax {
		return 0
	}
	if p.addrTokens < addrBurst {
		increment := max(float64(now-p.addrTime)/float64(time.Second), 0) * addrRate
		p.addrTokens = min(p.addrTokens+increment, addrBurst)
	}
	p.addrTime = now
	whole := uint64(p.addrTokens)
	if n <= whole {
		p.addrTokens -= float64(n)
		return 0
	}
	p.addrTokens -= float64(whole)
	return n - whole
}

package peerstate

import (
	"math"
	"strconv"
	"time"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/exporters/netgroup"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// Summary is the state in numbers, computed every few seconds of the clock. Numbers
// that can't be known are NaN.
type Summary struct {
	// Tracked is the number of connections that are known from tracepoints.
	Tracked int
	// HalfOpen counts inbound connections that have sent no version message for ten
	// seconds.
	HalfOpen int
	// Activity is the largest count of the last minute over the peers.
	Activity [Activities]float64
	// TopCPU is the share of the busiest peer in the message thread's work of the last
	// minute, CPU that work in seconds.
	TopCPU, CPU float64
	// Heaviest are the peers with the most of that work, the heaviest first.
	Heaviest []Heavy
	// Unique are distinct addresses by network that were heard of in an hour and a
	// day; Known those that are remembered.
	UniqueHour, UniqueDay [decode.AddressNetworks]uint64
	Known                 uint64
	// TopSize is the share of the most frequent size among the transactions that
	// entered the mempool lately.
	TopSize float64
	// TopOpenings is the number of inbound connections from one group in five minutes.
	TopOpenings uint64
	// MostAgents are the user agents of one group in half an hour to an hour, RotatedAgents
	// those of one with 20 connections or more, MostGetAddrs how often one asked for
	// addresses.
	MostAgents, RotatedAgents int
	MostGetAddrs              uint64
	// ClockOffset is the median of the peers' clocks minus the host's by direction, in
	// seconds; NaN when it isn't known.
	ClockOffset [Directions]float64
	// OpenTxRequests and OpenBlockRequests are requests that wait for an answer.
	OpenTxRequests, OpenBlockRequests int
	// PeerRatio and TotalsRatio compare the bytes that were seen with those that the
	// node counted, for getpeerinfo and getnettotals.
	PeerRatio, TotalsRatio [Directions]float64
	// Backlog is what waits for the peers, at the last poll of getpeerinfo.
	Backlog Backlog
}

// Backlog is what waits to be processed or sent.
type Backlog struct {
	// Receive are bytes that were received and not yet processed, Send those that were
	// queued and not yet sent: sum and largest over the peers.
	Receive, Send, ReceiveMax, SendMax uint64
	// Stalled is for how many seconds the node has been able to send nothing to the peer
	// that has not read for longest while much waits for it.
	Stalled float64
	// Compared is the number of peers for which it could be computed.
	Compared int
}

// halfOpenAfter is the time after which a connection without a version message is
// conspicuous, in nanoseconds.
const halfOpenAfter = int64(10 * time.Second)

// uniqueEvery is how often distinct addresses are counted, in nanoseconds.
const uniqueEvery = int64(time.Minute)

// tick lets requests expire and computes the summary when it is time.
func (s *State) tick(o *Observation) {
	s.txs.expire(s, &o.Tx)
	s.blocks.expire(s, &o.Block)
	if s.now < s.nextTick {
		return
	}
	// Aligned to the clock, so that it doesn't depend on the first event.
	s.nextTick = (s.now/tickEvery + 1) * tickEvery
	o.Summary = s.Summarise()
}

// Summarise computes the summary now.
func (s *State) Summarise() *Summary {
	u := &Summary{Tracked: len(s.table.peers), TopCPU: math.NaN(), TopSize: math.NaN()}
	top, all := 0.0, 0.0
	s.table.each(func(p *Peer) {
		if p.Inbound && p.SeenOpening && !p.Version && s.now-p.Opened >= halfOpenAfter {
			u.HalfOpen++
		}
		for a := range Activities {
			u.Activity[a] = max(u.Activity[a], p.minutes[a].rate(s.now))
		}
		cpu := p.cpu.rate(s.now)
		top, all = max(top, cpu), all+cpu
	})
	u.CPU = all / 1e6
	u.Heaviest = s.heaviest()
	if all > 0 {
		u.TopCPU = top / all
	}
	u.UniqueHour, u.UniqueDay, u.Known = s.gossip.unique(s.now)
	if share, total := s.mempool.topSize(s.now); total > 0 {
		u.TopSize = share
	}
	u.TopOpenings = s.openings.top(s.now)
	most := s.introduced.most(s.now)
	u.MostAgents, u.RotatedAgents, u.MostGetAddrs = most.agents, most.rotated, most.getAddrs
	u.OpenTxRequests, u.OpenBlockRequests = len(s.txs.index), len(s.blocks.index)
	u.Backlog = s.wire.backlog
	for d := range Directions {
		u.ClockOffset[d] = s.clocks.offset(d, s.now)
		u.PeerRatio[d], u.TotalsRatio[d] = math.NaN(), math.NaN()
		if r, ok := s.wire.peers.ratio(d); ok {
			u.PeerRatio[d] = r
		}
		if r, ok := s.wire.totals.ratio(d); ok {
			u.TotalsRatio[d] = r
		}
	}
	return u
}

// PeerSummary is what getpeerinfo says about the peers together, beyond what its
// fields add up to.
type PeerSummary struct {
	// Groups is how the peers are spread over groups, AS over autonomous systems, by
	// direction; Unmapped counts peers without a known autonomous system.
	Groups, AS [Directions]Concentration
	Unmapped   [Directions]int
	// IPv4Diversity is the number of /16 of inbound IPv4 peers by the number of these
	// peers.
	IPv4Diversity float64
	// Listed counts peers by prefix list and direction.
	Listed [netgroup.MaxLists][Directions]int
	// OldestInflight is how long the block that has been in flight longest is awaited,
	// in seconds.
	OldestInflight float64
	// HighBandwidthGroups are the groups of the peers that the node chose for
	// high-bandwidth compact blocks.
	HighBandwidthGroups int
	// TopFingerprint is the share of the largest class of peers that look alike: same
	// user agent, version, services and relay flag.
	TopFingerprint float64
	// Listening counts peers that have been connected for an hour, got announcements
	// and gave nothing.
	Listening int
	// Giving and Taking count inbound peers that got as many announcements, whenever they
	// came: those that gave something and those that gave nothing.
	Giving, Taking int
	// Behind6 and Behind144 count peers whose headers end that many blocks or more
	// below the best height of any peer.
	Behind6, Behind144 int
	// HighFeefilter counts peers with the feefilter of a node that is far behind.
	HighFeefilter int
	// UnknownBytes are bytes of messages that the node could not read, from the peers
	// that are connected.
	UnknownBytes uint64
	// Incomplete are the bytes of messages that have not arrived whole, IncompleteMax
	// those of the peer with most.
	Incomplete, IncompleteMax uint64
	// Reach is who holds the connections.
	Reach Reach
}

// Criteria of the counts above.
const (
	// listeningAge and listeningBytes: as in Bitcoin Core issue 27586.
	listeningAge   = int64(3600)
	listeningBytes = 100_000
	// highFeefilter is 0.09 BTC per 1,000 vbytes: a node in initial block download
	// asks for no transactions by naming MAX_MONEY, which is rounded to 0.09170997 BTC.
	highFeefilter = 0.09
)

// PeerInfos takes an answer of getpeerinfo. asked is the time of which it tells, in UNIX
// nanoseconds.
func (s *State) PeerInfos(infos []*eventpb.PeerInfo, asked int64) *PeerSummary {
	u := &PeerSummary{OldestInflight: math.NaN(), TopFingerprint: math.NaN(), IPv4Diversity: math.NaN()}
	s.compare()
	s.wire.pending.asked = asked
	var groups, systems [Directions]map[netgroup.Group]int
	for d := range Directions {
		groups[d], systems[d] = map[netgroup.Group]int{}, map[netgroup.Group]int{}
	}
	fingerprints := map[uint64]int{}
	highBandwidth := map[netgroup.Group]bool{}
	inflight := map[uint64]int64{}
	networks := s.networks.Current()
	best := int64(-1)
	slash16 := map[netgroup.Group]bool{}
	ipv4 := 0
	present := make(map[uint64]bool, len(infos))
	for _, info := range infos {
		present[uint64(info.GetId())] = true
		direction := Outbound
		if info.GetInbound() {
			direction = Inbound
		}
		address, group, ok := s.placeOf(info)
		as := info.GetMappedAs()
		if ok {
			if own := networks.ASOf(&address); own != 0 {
				as = own
			}
			if as != 0 {
				group = netgroup.Group{Class: netgroup.IPv6, AS: as}
			}
			mask := networks.Lists(&address)
			for i := range u.Listed {
				if mask&(1<<i) != 0 {
					u.Listed[i][direction]++
				}
			}
			if direction == Inbound && address.Class() == netgroup.IPv4 && address.Network == netgroup.IPv4 {
				ipv4++
				slash16[netgroup.GroupOf(&address, nil)] = true
			}
		}
		groups[direction][group]++
		if as != 0 {
			systems[direction][group]++
		} else {
			u.Unmapped[direction]++
		}
		if info.GetBip152HbTo() {
			highBandwidth[group] = true
		}
		for _, height := range info.GetInflight() {
			since, known := s.inflight[height]
			if !known {
				since = s.now
			}
			inflight[height] = since
		}
		best = max(best, info.GetSyncedHeaders())
		s.fingerprint(info, fingerprints)
		if info.GetInbound() && info.GetBytesSentPerMessage()["inv"] >= listeningBytes {
			u.announcedTo(info, s.now/int64(time.Second))
		}
		if info.GetMinfeefilter() >= highFeefilter {
			u.HighFeefilter++
		}
		u.UnknownBytes += info.GetBytesReceivedPerMessage()[otherType]
		u.incompleteMessages(info)
		s.await(info)
	}
	for _, info := range infos {
		if h := info.GetSyncedHeaders(); h >= 0 {
			if best-h >= 6 {
				u.Behind6++
			}
			if best-h >= 144 {
				u.Behind144++
			}
		}
	}
	for d := range Directions {
		u.Groups[d] = concentrationOf(groups[d])
		u.AS[d] = concentrationOf(systems[d])
	}
	if c := concentrationOf(fingerprints); c.Total > 0 {
		u.TopFingerprint = c.Top
	}
	if ipv4 > 0 {
		u.IPv4Diversity = float64(len(slash16)) / float64(ipv4)
	}
	u.HighBandwidthGroups = len(highBandwidth)
	for _, since := range inflight {
		u.OldestInflight = max(float64(s.now-since)/1e9, zeroIfNaN(u.OldestInflight))
	}
	s.inflight = inflight
	u.Reach = s.reachOf(infos)
	s.sweep(present, asked)
	return u
}

func zeroIfNaN(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return v
}

// placeOf gives address and group of a peer.
func (s *State) placeOf(info *eventpb.PeerInfo) (a netgroup.Address, g netgroup.Group, ok bool) {
	network := networkNamed(info.GetNetwork())
	host, _ := netgroup.SplitHostPort([]byte(info.GetAddress()))
	a, ok = netgroup.Parse(host)
	if (ok && a.Network == network) || (ok && network != netgroup.Onion && network != netgroup.I2P) {
		return a, netgroup.GroupOf(&a, nil), true
	}
	// A name that can't be read, or an inbound connection over a local proxy.
	return a, netgroup.Group{Class: network}, false
}

func networkNamed(name string) netgroup.Network {
	for n := range netgroup.Networks {
		if n.String() == name {
			return n
		}
	}
	return netgroup.NotPubliclyRoutable
}

// fingerprint counts the peer in the class of those that look like it.
func (s *State) fingerprint(info *eventpb.PeerInfo, classes map[uint64]int) {
	text := make([]byte, 0, 300)
	text = append(text, info.GetSubversion()[:min(len(info.GetSubversion()), 256)]...)
	text = append(text, 0)
	text = strconv.AppendUint(text, uint64(info.GetVersion()), 10)
	text = append(text, 0)
	text = append(text, info.GetServices()[:min(len(info.GetServices()), 32)]...)
	text = strconv.AppendBool(text, info.GetRelayTransactions())
	classes[s.hash(text)]++
}

// GivesNothing is whether a peer has sent no announcement, transaction, block or header.
func GivesNothing(info *eventpb.PeerInfo) bool {
	received := info.GetBytesReceivedPerMessage()
	for _, name := range []string{"inv", "tx", "headers", "cmpctblock", "block"} {
		if received[name] != 0 {
			return false
		}
	}
	return true
}

// announcedTo counts a peer that took announcements, by whether it gave anything, at a time
// in UNIX seconds.
func (u *PeerSummary) announcedTo(info *eventpb.PeerInfo, now int64) {
	if !GivesNothing(info) {
		u.Giving++
		return
	}
	u.Taking++
	if now-info.GetConnectionTime() >= listeningAge {
		u.Listening++
	}
}

// sweep forgets peers that the node no longer lists: their closing was missed.
func (s *State) sweep(present map[uint64]bool, asked int64) {
	s.table.each(func(p *Peer) {
		if p.key.start == s.start && !present[p.key.id] && p.lastSeen < asked-int64(time.Minute) {
			s.finish(p)
			s.table.remove(p)
		}
	})
}

// unique counts distinct addresses; the result is kept for a while, because it takes
// merging a few hundred sketches.
func (g *gossip) unique(now int64) (hour, day [decode.AddressNetworks]uint64, known uint64) {
	if now-g.counted >= uniqueEvery || g.counted == 0 {
		g.counted = now
		g.last = 0
		g.advance(now)
		for i := range g.hour {
			g.uniqueHour[i] = g.hour[i].estimate()
			g.uniqueDay[i] = g.day[i].estimate()
		}
	}
	return g.uniqueHour, g.uniqueDay, g.known.size()
}

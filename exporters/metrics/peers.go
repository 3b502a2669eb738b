package metrics

import (
	"math"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
	"github.com/peerobserver/peerobserver/proto/field"
)

// peers describes the connected peers as getpeerinfo lists them.
type peers struct {
	labels *labels
	age    *age

	transport, version, service, agent *label

	connected, byNetwork, byType, byTransport, byVersion, byService, byAgent *gauges

	ping, pingMean, minPing, minPingMean, pingWaiting *gauges
	timeOffset, timeOffsetLarge                       *gauges
	addrRelay, addrProcessed, addrLimited             *gauges
	addrLimitedPeers                                  *gauges
	highBandwidth                                     *gauges
	inflightPeers, inflightHeights                    *gauges
	lowFeefilter, feefilter                           *gauges
	invToSend, invToSendMax, invToSendMin             *gauges
	invToSendMean, invToSendMedian                    *gauges
	cpuLoad, cpuLoadMax, cpuLoadMin                   *gauges
	cpuLoadMean, cpuLoadMedian                        *gauges
}

// Quantiles of the gauges that show the distribution over the peers.
var peerQuantiles = []float64{0.1, 0.5, 0.9}

func quantileLabel(quantiles []float64) *label {
	values := make([]string, len(quantiles))
	for i, q := range quantiles {
		values[i] = strconv.FormatFloat(q, 'g', -1, 64)
	}
	// Not "quantile": that label belongs to summaries.
	return closedLabel("q", values...)
}

const peerInfos = "rpc.peer_infos"

func newPeers(r *registry, l *labels, s *status) *peers {
	p := &peers{labels: l, age: polled(s.gone(event.SourceRPC))}
	p.transport = r.bounded("transport", "v1", "v2", "detecting")
	p.version = r.bounded("version", "70001", "70002", "70012", "70013", "70014", "70015", "70016", "70017")
	p.service = serviceLabel()
	quantile := quantileLabel(peerQuantiles)
	gauge := func(name, unit, help string, labels ...*label) *gauges {
		return r.gauge(spec{name: name, events: peerInfos, unit: unit, help: help}, p.age, labels...)
	}
	p.connected = gauge("peers", "peers", "Peers that are connected.", l.direction)
	p.byNetwork = gauge("peers_by_network", "peers", "Peers that are connected, by network.", l.direction, l.network)
	p.byType = gauge("peers_by_connection_type", "peers", "Peers that are connected, by connection type.", l.connectionType)
	p.byTransport = gauge("peers_by_transport", "peers", "Peers that are connected, by transport protocol.", l.direction, p.transport)
	p.byVersion = gauge("peers_by_protocol_version", "peers", "Peers that are connected and have said their version, by protocol version.", p.version)
	p.byService = gauge("peers_by_service", "peers", "Peers that are connected and offer a service; other stands for any further service bit.", p.service)
	p.agent = closedLabel("user_agent", append(userAgents(), other)...)
	p.byAgent = gauge("peers_by_user_agent", "peers", "Peers that are connected and have said their user agent, by its family.", p.agent)

	p.ping = gauge("peers_ping_seconds", "seconds", "Ping round trip of the peers that answered: quantiles over the peers.", quantile)
	p.pingMean = gauge("peers_ping_mean_seconds", "seconds", "Mean ping round trip of the peers that answered.")
	p.minPing = gauge("peers_min_ping_seconds", "seconds", "Smallest ping round trip of each peer: quantiles over the peers.", quantile)
	p.minPingMean = gauge("peers_min_ping_mean_seconds", "seconds", "Mean of the smallest ping round trip of each peer.")
	p.pingWaiting = gauge("peers_ping_overdue", "peers", "Peers that have not answered a ping for more than 5 seconds.")

	p.timeOffset = gauge("peers_time_offset_seconds", "seconds", "Offset of the peers' clocks: median over the peers.", l.direction)
	p.timeOffsetLarge = gauge("peers_time_offset_large", "peers", "Peers whose clock is more than 10 seconds ahead or behind.", closedLabel("sign", "ahead", "behind"))

	p.addrRelay = gauge("peers_addr_relay_enabled", "peers", "Peers with which addresses are exchanged.")
	p.addrProcessed = gauge("peers_addr_processed", "addresses", "Addresses that the node processed from the peers that are connected now.")
	p.addrLimited = gauge("peers_addr_rate_limited", "addresses", "Addresses that the node dropped by its rate limit, from the peers that are connected now.")
	p.addrLimitedPeers = gauge("peers_with_addr_rate_limited", "peers", "Peers of which the node dropped addresses by its rate limit.")

	p.highBandwidth = gauge("peers_bip152_high_bandwidth", "peers", "Peers in high-bandwidth compact block mode: to is chosen by the node, from chose the node.", closedLabel("selection", "to", "from"))
	p.inflightPeers = gauge("peers_with_blocks_in_flight", "peers", "Peers from which the node is downloading blocks.")
	p.inflightHeights = gauge("peers_blocks_in_flight_heights", "heights", "Distinct heights of the blocks that are being downloaded.")

	p.lowFeefilter = gauge("peers_sub_1_sat_per_vbyte_relay", "peers", "Peers that exchange transactions and whose feefilter is below 1 satoshi per vbyte.")
	p.feefilter = gauge("peers_feefilter_satoshis_per_kvbyte", "satoshi per 1,000 vbytes", "Feefilter of the peers that exchange transactions: quantiles over the peers.", quantile)

	p.invToSend = gauge("peers_inv_to_send", "announcements", "Transactions that wait to be announced, over all peers that get transactions.")
	p.invToSendMax = gauge("peers_inv_to_send_max", "announcements", "Transactions that wait to be announced: largest of the peers.")
	p.invToSendMin = gauge("peers_inv_to_send_min", "announcements", "Transactions that wait to be announced: smallest of the peers.")
	p.invToSendMean = gauge("peers_inv_to_send_mean", "announcements", "Transactions that wait to be announced: mean of the peers.")
	p.invToSendMedian = gauge("peers_inv_to_send_median", "announcements", "Transactions that wait to be announced: median of the peers.")

	const load = " Only a node with the patch of Bitcoin Core pull request 31672 gives it."
	p.cpuLoad = gauge("peers_cpu_load_ratio", "CPU time per time", "CPU time that the node spent for its peers, over all peers."+load)
	p.cpuLoadMax = gauge("peers_cpu_load_max_ratio", "CPU time per time", "CPU time that the node spent for a peer: largest of the peers."+load)
	p.cpuLoadMin = gauge("peers_cpu_load_min_ratio", "CPU time per time", "CPU time that the node spent for a peer: smallest of the peers."+load)
	p.cpuLoadMean = gauge("peers_cpu_load_mean_ratio", "CPU time per time", "CPU time that the node spent for a peer: mean of the peers."+load)
	p.cpuLoadMedian = gauge("peers_cpu_load_median_ratio", "CPU time per time", "CPU time that the node spent for a peer: median of the peers."+load)
	return p
}

// services are the names of the service bits (protocol.h) and their bits.
var services = []struct {
	name string
	bit  int
}{
	{"network", 0}, {"bloom", 2}, {"witness", 3}, {"compact_filters", 6}, {"network_limited", 10}, {"p2p_v2", 11},
}

func serviceLabel() *label {
	names := make([]string, 0, len(services)+1)
	for _, s := range services {
		names = append(names, s.name)
	}
	return closedLabel("service", append(names, other)...)
}

// eachService calls f with the place of every service in bits; any bits without a name
// are one "other".
func eachService(bits uint64, f func(place int)) {
	for i, s := range services {
		if bits&(1<<s.bit) != 0 {
			f(i)
			bits &^= 1 << s.bit
		}
	}
	if bits != 0 {
		f(len(services))
	}
}

// zero is v, or 0 when it is absent.
func zero(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return v
}

// absentFields tells which fields the node's answer didn't have.
type absentFields []uint32

func (a absentFields) has(number protowire.Number) bool {
	return slices.Contains(a, uint32(number))
}

// distribution collects values of the peers.
type distribution []float64

func (d distribution) sum() float64 {
	sum := 0.0
	for _, v := range d {
		sum += v
	}
	return sum
}

// quantile gives the value below which a share q of the values lies, interpolated; the
// values must be sorted. It is absent without values.
func (d distribution) quantile(q float64) float64 {
	if len(d) == 0 {
		return absent
	}
	position := q * float64(len(d)-1)
	low := int(math.Floor(position))
	high := min(low+1, len(d)-1)
	return d[low] + (d[high]-d[low])*(position-float64(low))
}

func (d distribution) mean() float64 {
	if len(d) == 0 {
		return absent
	}
	return d.sum() / float64(len(d))
}

func (d distribution) quantiles(g *gauges, quantiles []float64) {
	for i, q := range quantiles {
		g.at(i).set(d.quantile(q))
	}
}

// summarise sorts the values and sets sum, maximum, minimum, mean and median; all are
// absent without values.
func (d distribution) summarise(sum, highest, lowest, mean, median *gauges) {
	slices.Sort(d)
	if len(d) == 0 {
		for _, g := range []*gauges{sum, highest, lowest, mean, median} {
			g.set(absent)
		}
		return
	}
	sum.set(d.sum())
	highest.set(d[len(d)-1])
	lowest.set(d[0])
	mean.set(d.mean())
	median.set(d.quantile(0.5))
}

// handle takes an answer of getpeerinfo.
func (p *peers) handle(e *event.Event, infos []*eventpb.PeerInfo) {
	connected := make([]float64, p.connected.cells)
	byNetwork := make([]float64, p.byNetwork.cells)
	byType := make([]float64, p.byType.cells)
	byTransport := make([]float64, p.byTransport.cells)
	byVersion := make([]float64, p.byVersion.cells)
	byService := make([]float64, p.byService.cells)
	byAgent := make([]float64, p.byAgent.cells)
	for i := range byAgent {
		// Of the many families only those are shown that are there.
		byAgent[i] = absent
	}
	var ping, minPing, invToSend, cpuLoad, feefilters distribution
	var offsets [2]distribution
	var overdue, ahead, behind, addrRelay, limitedPeers, limited, processed float64
	var hbTo, hbFrom, inflight, lowFee float64
	heights := map[uint64]bool{}
	for _, info := range infos {
		missing := absentFields(info.GetAbsentFields())
		direction := directionIndex(info.GetInbound())
		connected[direction]++
		network := p.labels.network.of(info.GetNetwork())
		byNetwork[direction*p.byNetwork.stride[0]+network]++
		byType[p.labels.connectionType.of(info.GetConnectionType())]++
		if !missing.has(field.PeerInfoTransportProtocolType) {
			byTransport[direction*p.byTransport.stride[0]+p.transport.of(info.GetTransportProtocolType())]++
		}
		if v := info.GetVersion(); v != 0 {
			// Before its version message a peer has neither version nor user agent.
			byVersion[p.version.of(strconv.FormatUint(uint64(v), 10))]++
			family := p.agent.of(agentFamily(info.GetSubversion()))
			byAgent[family] = zero(byAgent[family]) + 1
		}
		eachService(hexBits(info.GetServices()), func(place int) { byService[place]++ })

		// A peer that hasn't answered a ping yet has none of the times.
		if v := info.GetPingTime(); v > 0 && !missing.has(field.PeerInfoPingTime) {
			ping = append(ping, v)
		}
		if v := info.GetMinimumPing(); v > 0 && !missing.has(field.PeerInfoMinimumPing) {
			minPing = append(minPing, v)
		}
		if info.GetPingWait() > 5 {
			overdue++
		}
		offset := info.GetTimeOffset()
		offsets[direction] = append(offsets[direction], float64(offset))
		if offset > 10 {
			ahead++
		} else if offset < -10 {
			behind++
		}
		if info.GetAddrRelayEnabled() {
			addrRelay++
		}
		processed += float64(info.GetAddrProcessed())
		if n := info.GetAddrRateLimited(); n > 0 {
			limited += float64(n)
			limitedPeers++
		}
		if info.GetBip152HbTo() {
			hbTo++
		}
		if info.GetBip152HbFrom() {
			hbFrom++
		}
		if len(info.GetInflight()) > 0 {
			inflight++
		}
		for _, h := range info.GetInflight() {
			heights[h] = true
		}
		if info.GetRelayTransactions() {
			if !missing.has(field.PeerInfoInvToSend) {
				invToSend = append(invToSend, float64(info.GetInvToSend()))
			}
			exchanged := info.GetBytesSentPerMessage()["tx"]+info.GetBytesReceivedPerMessage()["tx"] > 0
			// BTC per 1,000 vbytes; 1e-5 is 1 satoshi per vbyte.
			if fee := info.GetMinfeefilter(); exchanged {
				feefilters = append(feefilters, fee*1e8)
				if fee < 1e-5 {
					lowFee++
				}
			}
		}
		if !missing.has(field.PeerInfoCpuLoad) && info.CpuLoad != nil {
			cpuLoad = append(cpuLoad, info.GetCpuLoad()/1000)
		}
	}
	p.connected.replace(connected)
	p.byNetwork.replace(byNetwork)
	p.byType.replace(byType)
	p.byTransport.replace(byTransport)
	p.byVersion.replace(byVersion)
	p.byService.replace(byService)
	p.byAgent.replace(byAgent)

	slices.Sort(ping)
	ping.quantiles(p.ping, peerQuantiles)
	p.pingMean.set(ping.mean())
	slices.Sort(minPing)
	minPing.quantiles(p.minPing, peerQuantiles)
	p.minPingMean.set(minPing.mean())
	p.pingWaiting.set(overdue)
	for direction := range offsets {
		slices.Sort(offsets[direction])
		p.timeOffset.at(direction).set(offsets[direction].quantile(0.5))
	}
	p.timeOffsetLarge.at(0).set(ahead)
	p.timeOffsetLarge.at(1).set(behind)
	p.addrRelay.set(addrRelay)
	p.addrProcessed.set(processed)
	p.addrLimited.set(limited)
	p.addrLimitedPeers.set(limitedPeers)
	p.highBandwidth.at(0).set(hbTo)
	p.highBandwidth.at(1).set(hbFrom)
	p.inflightPeers.set(inflight)
	p.inflightHeights.set(float64(len(heights)))
	p.lowFeefilter.set(lowFee)
	slices.Sort(feefilters)
	feefilters.quantiles(p.feefilter, peerQuantiles)
	invToSend.summarise(p.invToSend, p.invToSendMax, p.invToSendMin, p.invToSendMean, p.invToSendMedian)
	cpuLoad.summarise(p.cpuLoad, p.cpuLoadMax, p.cpuLoadMin, p.cpuLoadMean, p.cpuLoadMedian)
	p.age.touch(e.Time().UnixNano())
}

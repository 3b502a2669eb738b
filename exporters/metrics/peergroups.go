package metrics

import (
	"github.com/peerobserver/peerobserver/exporters/netgroup"
	"github.com/peerobserver/peerobserver/exporters/peerstate"
)

// peerGroups describes the connected peers together: where they are, how much waits for
// them, how they look.
type peerGroups struct {
	lists int
	// age is that of what needs both RPC and tracepoints.
	age *age

	groups, groupTop, groupEntropy *gauges
	systems, systemTop, unmapped   *gauges
	systemDiversity, systemEntropy *gauges
	ipv4Diversity                  *gauges
	listed                         *gauges
	receive, receiveMax            *gauges
	send, sendMax, compared        *gauges
	stalled                        *gauges
	incomplete, incompleteMax      *gauges
	oldestInflight                 *gauges
	highBandwidthGroups            *gauges
	fingerprint, listening         *gauges
	announcedTo                    *gauges
	behind, highFeefilter, unknown *gauges

	ratio *gauges
	reach *reach
}

func newPeerGroups(r *registry, l *labels, a, compared *age) *peerGroups {
	g := &peerGroups{lists: l.list.size(), age: compared}
	gauge := func(name, unit, help string, labels ...*label) *gauges {
		return r.gauge(spec{name: name, events: peerInfos, unit: unit, help: help}, a, labels...)
	}
	both := func(name, unit, help string) *gauges {
		return r.gauge(spec{name: name, events: "message, " + peerInfos, unit: unit, help: help}, compared)
	}
	const group = " A group is a /16 of IPv4, a /32 of IPv6, an autonomous system where the asmap or the node knows it, and for the overlay networks all of one network unless its addresses say more."
	g.groups = gauge("peers_netgroups", "groups", "Distinct network groups of the peers."+group, l.direction)
	g.groupTop = gauge("peers_netgroup_top_ratio", "share", "Share of the largest network group in the peers.", l.direction)
	g.groupEntropy = gauge("peers_netgroup_entropy_ratio", "entropy by its maximum", "How evenly the peers are spread over network groups: 1 when no two share one, 0 when all do.", l.direction)
	g.systems = gauge("peers_as_distinct", "autonomous systems", "Distinct autonomous systems of the peers.", l.direction)
	g.systemTop = gauge("peers_as_top_ratio", "share", "Share of the largest autonomous system in the peers that have one.", l.direction)
	g.systemEntropy = gauge("peers_as_entropy_ratio", "entropy by its maximum", "How evenly the peers that have an autonomous system are spread over these: 1 when no two share one, 0 when all do.", l.direction)
	g.systemDiversity = gauge("peers_as_diversity_ratio", "share", "Distinct autonomous systems by the number of peers that have one.", l.direction)
	g.unmapped = gauge("peers_as_unmapped", "peers", "Peers without a known autonomous system.", l.direction)
	g.ipv4Diversity = gauge("peers_inbound_ipv4_netgroup_diversity_ratio", "share", "Distinct /16 of the inbound IPv4 peers by the number of these peers.")
	g.listed = gauge("peers_listed", "peers", "Peers whose address is on a prefix list.", l.list, l.direction)
	g.receive = both("peers_receive_backlog_bytes", "bytes", "Bytes that were received and not processed yet, over all peers: what the node counted minus what tracepoints saw.")
	g.receiveMax = both("peers_receive_backlog_max_bytes", "bytes", "Bytes that were received and not processed yet: largest of the peers.")
	g.send = both("peers_send_backlog_bytes", "bytes", "Bytes that wait to be sent, over all peers: what tracepoints saw minus what the node counted.")
	g.sendMax = both("peers_send_backlog_max_bytes", "bytes", "Bytes that wait to be sent: largest of the peers.")
	g.stalled = both("peers_send_stalled_seconds", "seconds", "How long the node has been able to send nothing to a peer for which 500 kB or more wait: longest of the peers; 0 without one.")
	g.incomplete = gauge("peers_incomplete_message_bytes", "bytes", "Bytes of messages that have not arrived whole, over all peers.")
	g.incompleteMax = gauge("peers_incomplete_message_max_bytes", "bytes", "Bytes of a message that has not arrived whole: largest of the peers.")
	g.compared = both("peers_compared", "peers", "Peers for which tracepoints and RPC could be compared.")
	g.oldestInflight = gauge("peers_blocks_in_flight_oldest_seconds", "seconds", "How long the block is awaited that has been in flight longest; absent when none is.")
	g.highBandwidthGroups = gauge("peers_bip152_high_bandwidth_to_netgroups", "groups", "Distinct network groups of the peers that the node chose for high-bandwidth compact blocks.")
	g.fingerprint = gauge("peers_fingerprint_top_ratio", "share", "Share of the largest class of peers that look alike: same user agent, version, services and relay flag.")
	g.listening = gauge("peers_listening_only", "peers", "Inbound peers that have been connected for an hour, got 100 kB of announcements and gave nothing.")
	g.announcedTo = gauge("peers_announced_to", "peers", "Inbound peers that got 100 kB of announcements or more (2,700 transactions), by what they gave: something is any announcement, transaction, block or header.", closedLabel("gave", "nothing", "something"))
	g.behind = gauge("peers_headers_behind", "peers", "Peers whose headers end the given number of blocks or more below the best of any peer.", closedLabel("blocks", "6", "144"))
	g.highFeefilter = gauge("peers_feefilter_no_relay", "peers", "Peers whose feefilter asks for no transactions, as nodes do that are far behind.")
	g.unknown = gauge("peers_received_other_bytes", "bytes", "Bytes that the connected peers sent as messages that the node doesn't know or can't read.")
	g.ratio = r.gauge(spec{
		name: "p2p_reconciliation_ratio", events: "message, " + peerInfos + ", rpc.net_totals", unit: "ratio",
		help: "Bytes on the wire that tracepoints saw by the bytes that the node counted, in the last ten minutes: 1 when nothing is missed.",
	}, a, l.direction, closedLabel("reference", "getpeerinfo", "getnettotals"))
	g.reach = newReach(r, a)
	return g
}

func (g *peerGroups) set(u *peerstate.PeerSummary) {
	for d := range peerstate.Directions {
		g.groups.at(d).set(float64(u.Groups[d].Groups))
		g.groupTop.at(d).set(u.Groups[d].Top)
		g.groupEntropy.at(d).set(u.Groups[d].Entropy)
		g.unmapped.at(d).set(float64(u.Unmapped[d]))
		g.systems.at(d).set(float64(u.AS[d].Groups))
		g.systemTop.at(d).set(u.AS[d].Top)
		g.systemEntropy.at(d).set(u.AS[d].Entropy)
		diversity := absent
		if u.AS[d].Total > 0 {
			diversity = float64(u.AS[d].Groups) / float64(u.AS[d].Total)
		}
		g.systemDiversity.at(d).set(diversity)
		for i := range min(g.lists, netgroup.MaxLists) {
			g.listed.at2(i, d).set(float64(u.Listed[i][d]))
		}
	}
	g.ipv4Diversity.set(u.IPv4Diversity)
	g.oldestInflight.set(u.OldestInflight)
	g.highBandwidthGroups.set(float64(u.HighBandwidthGroups))
	g.fingerprint.set(u.TopFingerprint)
	g.listening.set(float64(u.Listening))
	g.announcedTo.at(0).set(float64(u.Taking))
	g.announcedTo.at(1).set(float64(u.Giving))
	g.behind.at(0).set(float64(u.Behind6))
	g.behind.at(1).set(float64(u.Behind144))
	g.highFeefilter.set(float64(u.HighFeefilter))
	g.unknown.set(float64(u.UnknownBytes))
	g.incomplete.set(float64(u.Incomplete))
	g.incompleteMax.set(float64(u.IncompleteMax))
	g.reach.set(&u.Reach)
}

func (g *peerGroups) summarise(u *peerstate.Summary, at int64) {
	if b := &u.Backlog; b.Compared > 0 {
		g.age.touch(at)
		g.compared.set(float64(b.Compared))
		g.receive.set(float64(b.Receive))
		g.receiveMax.set(float64(b.ReceiveMax))
		g.send.set(float64(b.Send))
		g.sendMax.set(float64(b.SendMax))
		g.stalled.set(b.Stalled)
	}
	for d := range peerstate.Directions {
		g.ratio.at2(d, 0).set(u.PeerRatio[d])
		g.ratio.at2(d, 1).set(u.TotalsRatio[d])
	}
}

package incident

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// each does something so many times within a span, evenly.
func (d *day) each(times int, within time.Duration, do func(i int)) {
	for i := range times {
		d.at(time.Duration(i)*within/time.Duration(times), func() { do(i) })
	}
}

// busy is a day on which all slots are full.
func busy(d *day) {
	const walletPings, blocksAtOnce, blocks = 2 * time.Second, 16, 2000
	d.rate, d.arrivals, d.visit = busyRate, busyArrivals, 0
	for i, m := range d.members {
		if m.info.GetInbound() && i%5 < 2 {
			m.makeQuiet()
		}
	}
	for d.inboundMembers() < inboundSlots {
		m := d.settled(ipv4, inbound)
		m.visits, m.told = true, false
		m.makeQuiet()
	}
	// One that stays as long as the node has it, and comes again.
	staying := func(does func(m *member)) func() {
		var m *member
		return func() {
			if m == nil || m.gone {
				d.makeRoom()
				m = d.accepted(ipv4, nil)
				m.visits, m.quiet = true, true
			}
			does(m)
		}
	}
	wallet := staying(func(m *member) {
		d.received(m, "ping", 8, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Ping{Ping: &eventpb.Ping{Value: proto.Uint64(1)}}})
		d.sent(m, "pong", 8, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Pong{Pong: &eventpb.Pong{Value: proto.Uint64(1)}}})
	})
	next := 0
	download := staying(func(m *member) {
		if next%blocks == 0 {
			d.received(m, "getheaders", 100, counted(1))
			d.sent(m, "headers", 81*blocks, counted(blocks))
		}
		items := make([]*eventpb.InventoryItem, 0, blocksAtOnce)
		for range blocksAtOnce {
			items = append(items, &eventpb.InventoryItem{Item: &eventpb.InventoryItem_WitnessBlock{WitnessBlock: d.hash()}})
		}
		d.received(m, "getdata", 1+36*blocksAtOnce, &eventpb.MessageEvent{
			Msg: &eventpb.MessageEvent_Getdata{Getdata: &eventpb.GetData{Items: items}}, ElementCount: proto.Uint64(blocksAtOnce),
		})
		for range items {
			d.sent(m, "block", 1_500_000, counted(3000))
		}
		next += blocksAtOnce
		m.lacks = int32(blocks - next%blocks)
	})
	d.every(walletPings, wallet)
	d.every(30*time.Second, download)
	d.again(time.Minute, func() {
		d.makeRoom()
		m := d.accepted(ipv4, nil)
		m.quiet, m.leaves = true, d.now.Add(5*time.Second)
	})
}

// every does something again and again, at the same distance.
func (d *day) every(period time.Duration, do func()) {
	d.at(period, func() {
		do()
		d.every(period, do)
	})
}

// restart is a day on which the node is started again, after some time.
func restart(d *day, after time.Duration) {
	const down = 45 * time.Second
	d.at(after, func() {
		var outbound []string
		for _, m := range d.members {
			if !m.info.GetInbound() {
				outbound = append(outbound, m.address)
			}
		}
		d.line(eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_UNKNOWN, eventpb.LogTemplate_LOG_TEMPLATE_SHUTDOWN_STARTED)
		for _, m := range d.members {
			d.closed(m)
		}
		d.link(eventpb.LinkState_STATE_DOWN)
		// Whatever was to come of it doesn't.
		d.members, d.tasks, d.pool, d.orphaned, d.total = nil, nil, nil, 0, traffic{}
		d.stopped, d.headers = true, d.height
		d.at(down, func() { d.startAgain(outbound) })
	})
}

// startAgain starts the node, which connects to the peers that it knows.
func (d *day) startAgain(outbound []string) {
	const (
		back    = 5 * time.Minute
		fills   = 2 * time.Hour
		answers = 1000
	)
	d.stopped = false
	d.start, d.nextID, d.cold = d.now, 0, d.now.Add(fills)
	d.again(feelerEvery, d.feeler)
	d.line(eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_UNKNOWN, eventpb.LogTemplate_LOG_TEMPLATE_NODE_STARTED)
	d.link(eventpb.LinkState_STATE_UP)
	d.each(len(outbound), 20*time.Second, func(i int) {
		kind := fullRelay
		if i >= 8 {
			kind = blockRelayOnly
		}
		m := d.connected(kind, outbound[i])
		m.told = d.tells(i * companyPeers / 10)
		m.info.Bip152HbTo = proto.Bool(i < 3)
		if kind == fullRelay {
			d.addressesOf(m, d.rumours(answers))
		}
	})
	// Two more that are only asked for addresses.
	d.each(2, 10*time.Second, func(int) {
		m := d.connected("addr-fetch", "")
		d.sent(m, "getaddr", 0, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Getaddr{Getaddr: true}})
		d.addressesOf(m, d.rumours(answers))
		d.closed(m)
	})
	d.each(companyPeers, back, func(i int) { d.accepted(ipv4, nil).told = d.tells(i) })
}

// luck is a day with a long wait for a block.
func luck(d *day) {
	const gap, blocks, within = 55 * time.Minute, 4, 3 * time.Minute
	d.at((d.left()-gap-within)/2, func() {
		d.noBlocks = true
		d.block()
		d.at(gap, func() {
			d.each(blocks, within, func(i int) {
				if i < blocks-1 {
					d.block()
					return
				}
				// It replaces the one before, with another on it.
				d.lost(d.height, 1)
				fork := d.height - 1
				d.blockAt(fork+1, false)
				d.blockAt(fork+2, false)
				d.noBlocks = false
				d.nextBlock = d.now.Add(d.blockGap())
			})
		})
	})
}

// rush is a day on which fees treble now and then.
func rush(d *day) {
	const (
		transactions, orphans = 5000, 300
		span, calm            = 5 * time.Minute, time.Hour
		every                 = 3 * time.Hour
	)
	rate := d.rate
	for at := min(every, d.left()) / 2; at < d.left(); at += every {
		d.at(at, func() {
			d.fee, d.rate = 3*usualFee, rate+float64(transactions)/span.Seconds()
			d.each(transactions/5, span, func(int) {
				if len(d.pool) > 0 {
					d.replace(d.random.IntN(len(d.pool)), transaction{txid: d.hash(), vsize: 110 + d.random.Int32N(2000), at: d.now})
				}
			})
			d.each(orphans, span, func(int) { d.orphan(transaction{txid: d.hash(), vsize: 200, at: d.now}) })
			d.at(span, func() { d.rate = rate })
			d.at(span+calm, func() { d.fee = usualFee })
		})
	}
}

// release is a day on which a new version comes out.
func release(d *day) {
	const changed, buggy, within = companyPeers * 2 / 5, 5, 10 * time.Minute
	var old []*member
	for _, m := range d.members {
		if m.info.GetInbound() {
			old = append(old, m)
		}
	}
	span := d.left()
	d.each(changed, span, func(i int) {
		d.closed(old[i])
		d.at(time.Minute, func() {
			m := d.accepted(ipv4, func(m *member) {
				m.told = old[i].told
				m.info.Subversion, m.info.Version = proto.String("/Satoshi:32.0.0/"), proto.Uint32(70017)
			})
			m.info.Minfeefilter = proto.Float64(d.fee / 1e6)
			// The new version says something that the node doesn't know.
			const news = 100
			m.info.BytesReceivedPerMessage["*other*"] += news
			m.info.BytesReceived = proto.Uint64(m.info.GetBytesReceived() + news)
		})
	})
	d.at(span/2, func() {
		d.each(buggy, within, func(int) {
			m := d.accepted(ipv4, nil)
			d.misbehaves(m, "addr message size = 1001")
		})
	})
}

// departure is a day on which an operator switches many nodes off.
func departure(d *day) {
	const peers, ranges, leaving, coming = 35, 5, 5 * time.Minute, 30 * time.Minute
	var theirs []*member
	for _, m := range d.members {
		if n := len(theirs); m.info.GetInbound() && n < peers {
			m.address = fmt.Sprintf("90.%d.%d.8:8333", n%ranges, 16+n/ranges)
			m.info.Address = proto.String(m.address)
			theirs = append(theirs, m)
		}
	}
	begins := (d.left() - leaving - coming) / 2
	for n, m := range theirs {
		d.at(begins+time.Duration(n%ranges)*leaving/ranges, func() { d.closed(m) })
	}
	d.at(begins+leaving, func() {
		d.each(peers/2, coming, func(i int) { d.accepted(ipv4, nil).told = d.tells(i) })
	})
}

// noise is a day of port scanners.
func noise(d *day) {
	const scanners, timeout = 40, time.Minute
	scans := 0
	probe := func() *member {
		m := d.newMember(ipv4, inbound)
		scans++
		m.address = fmt.Sprintf("91.%d.%d.9:%d", scans%scanners, scans/scanners%250, 20_000+scans%40_000)
		m.info.Address = proto.String(m.address)
		m.told = false
		m.ping, m.pinged, m.filter, m.listen = d.end, d.end, d.end, d.end
		m.quiet, m.visits = true, true
		d.opened(m)
		return m
	}
	d.again(time.Minute/10, func() {
		d.closed(probe())
		d.line(eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_NET, eventpb.LogTemplate_LOG_TEMPLATE_HEADER_WRONG_MAGIC)
	})
	d.again(time.Minute/2, func() {
		m := probe()
		d.at(timeout, func() {
			d.line(eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_NET, eventpb.LogTemplate_LOG_TEMPLATE_VERSION_HANDSHAKE_TIMEOUT)
			d.closed(m)
		})
	})
	d.at(d.left()/2, func() {
		m := d.accepted(ipv4, nil)
		d.received(m, "block", 1_000_000, counted(3000))
		d.line(eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_VALIDATION, eventpb.LogTemplate_LOG_TEMPLATE_MUTATED_BLOCK_RECEIVED)
		d.misbehaves(m, "mutated block")
	})
}

// flap is a day with outages of Tor.
func flap(d *day) {
	const peers, away, every, least = 8, 5 * time.Minute, 4 * time.Hour, 40 * time.Minute
	var through []*member
	for range peers {
		through = append(through, d.settled(onion, inbound))
	}
	period := max(min(every, d.left()/2), least)
	for at := period; at+2*away < d.left(); at += period {
		for i := range through {
			d.at(at, func() { d.closed(through[i]) })
			d.at(at+away+time.Duration(i)*time.Second, func() { through[i] = d.accepted(onion, nil) })
		}
	}
}

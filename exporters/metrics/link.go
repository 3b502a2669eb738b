package metrics

import (
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// link measures what the node sends to a peer, as that peer (the p2p extractor) sees
// it.
type link struct {
	rtt         *histograms
	lastRTT     *gauges
	timeouts    *counters
	addresses   *counters
	addrSize    *histograms
	lastAddr    *gauges
	items       *counters
	invSize     *histograms
	lastInv     *gauges
	feefilters  *counters
	feefilter   *gauges
	blocks      *counters
	states      *counters
	network     *label
	up          *gauges
	connections map[uint64]bool
	// age is that of what the link said last.
	age *age
}

// maxLinks bounds the links that are remembered as up.
const maxLinks = 64

func newLink(r *registry, l *labels, last *age) *link {
	k := &link{connections: map[uint64]bool{}, age: last}
	counter := func(name, events, unit, help string, labels ...*label) *counters {
		return r.counter(spec{name: name, events: events, unit: unit, help: help}, labels...)
	}
	const ping, addr, inv = "p2p.ping_duration", "p2p.address_announcement", "p2p.inventory_announcement"
	k.rtt = r.histogram(spec{
		name: "link_rtt_seconds", events: ping, unit: "seconds",
		help: "Ping round trip on the observer's own link to the node: how long a message waits until the node handles it.",
	}, nanoseconds, milliseconds(1, 10, 100, 250, 500, 2000))
	k.lastRTT = r.gauge(spec{
		name: "link_last_rtt_seconds", events: ping, unit: "seconds",
		help: "Last ping round trip on the observer's own link to the node.",
	}, last)
	k.timeouts = counter("link_ping_timeouts_total", "p2p.ping_timeout", "pings", "Pings that the node didn't answer in time.")
	k.network = closedLabel("network", "unknown", "ipv4", "ipv6", "torv2", "torv3", "i2p", "cjdns")
	k.addresses = counter("link_addresses_total", addr, "addresses", "Addresses that the node relayed to the observer.", k.network)
	k.addrSize = r.histogram(spec{
		name: "link_addr_message_entries", events: addr, unit: "addresses",
		help: "Addresses in one message of the node.",
	}, entries, []int64{10, 1000})
	k.lastAddr = r.gauge(spec{
		name: "link_last_addr_message_entries", events: addr, unit: "addresses",
		help: "Addresses in the last message of the node.",
	}, last)
	k.items = counter("link_inv_items_total", inv, "items", "Inventory items that the node announced to the observer.", l.item)
	k.invSize = r.histogram(spec{
		name: "link_inv_message_entries", events: inv, unit: "items",
		help: "Inventory items in one message of the node.",
	}, entries, []int64{35, 70, 1000})
	k.lastInv = r.gauge(spec{
		name: "link_last_inv_message_entries", events: inv, unit: "items",
		help: "Inventory items in the last message of the node.",
	}, last)
	k.feefilters = counter("link_feefilter_messages_total", "p2p.feefilter_announcement", "messages", "Feefilter messages of the node.")
	k.feefilter = r.gauge(spec{
		name: "link_feefilter_satoshis_per_kvbyte", events: "p2p.feefilter_announcement", unit: "satoshi per 1,000 vbytes",
		help: "Last feefilter of the node.",
	}, last)
	k.blocks = counter("link_block_announcements_total", "p2p.block_announcement", "messages",
		"Block announcements of the node by how they came.", closedLabel("via", "unspecified", "headers", "cmpctblock"))
	k.states = counter("link_state_changes_total", "p2p.link_state", "changes",
		"How often a link to the node came up and went down.", closedLabel("state", "up", "down"))
	k.up = r.gauge(spec{
		name: "link_up", events: "p2p.link_state", unit: "links",
		help: "Links to the node that are up.",
	}, last)
	return k
}

func (k *link) handle(e *event.Event, p *eventpb.P2PExtractor) {
	k.age.touch(e.Time().UnixNano())
	switch body := p.GetP2PEvent().(type) {
	case *eventpb.P2PExtractor_PingDuration:
		d := min(body.PingDuration.GetDuration(), 1<<62)
		k.rtt.observe(0, int64(d))
		k.lastRTT.set(float64(d) / 1e9)
	case *eventpb.P2PExtractor_PingTimeout:
		k.timeouts.add(1)
	case *eventpb.P2PExtractor_AddressAnnouncement:
		list := body.AddressAnnouncement.GetAddresses()
		for _, a := range list {
			k.addresses.inc(linkNetwork(a))
		}
		k.addrSize.observe(0, int64(len(list)))
		k.lastAddr.set(float64(len(list)))
	case *eventpb.P2PExtractor_InventoryAnnouncement:
		list := body.InventoryAnnouncement.GetInventory()
		for _, item := range list {
			k.items.inc(itemIndex(item))
		}
		k.invSize.observe(0, int64(len(list)))
		k.lastInv.set(float64(len(list)))
	case *eventpb.P2PExtractor_FeefilterAnnouncement:
		k.feefilters.add(1)
		k.feefilter.set(float64(body.FeefilterAnnouncement))
	case *eventpb.P2PExtractor_BlockAnnouncement:
		switch body.BlockAnnouncement.GetVia() {
		case eventpb.BlockAnnouncement_VIA_HEADERS:
			k.blocks.inc(1)
		case eventpb.BlockAnnouncement_VIA_COMPACT_BLOCK:
			k.blocks.inc(2)
		default:
			k.blocks.inc(0)
		}
	case *eventpb.P2PExtractor_LinkState:
		k.state(p.GetLink().GetId(), body.LinkState.GetState())
	}
}

func (k *link) state(id uint64, state eventpb.LinkState_State) {
	switch state {
	case eventpb.LinkState_STATE_UP:
		k.states.inc(0)
		if len(k.connections) < maxLinks {
			k.connections[id] = true
		}
	case eventpb.LinkState_STATE_DOWN:
		k.states.inc(1)
		delete(k.connections, id)
		if len(k.connections) == 0 {
			// What the node said last is no longer true.
			k.lastRTT.set(absent)
			k.feefilter.set(absent)
		}
	default:
		return
	}
	k.up.set(float64(len(k.connections)))
}

// linkNetwork is the place of an address's network in the link's network label.
func linkNetwork(a *eventpb.Address) int {
	switch a.GetAddress().(type) {
	case *eventpb.Address_Ipv4:
		return 1
	case *eventpb.Address_Ipv6:
		return 2
	case *eventpb.Address_Torv2:
		return 3
	case *eventpb.Address_Torv3:
		return 4
	case *eventpb.Address_I2P:
		return 5
	case *eventpb.Address_Cjdns:
		return 6
	default:
		return 0
	}
}

// itemIndex is the place of an inventory item in the type label.
func itemIndex(item *eventpb.InventoryItem) int {
	switch item.GetItem().(type) {
	case *eventpb.InventoryItem_Error:
		return 1
	case *eventpb.InventoryItem_Transaction:
		return 2
	case *eventpb.InventoryItem_Wtx:
		return 3
	case *eventpb.InventoryItem_WitnessTransaction:
		return 4
	case *eventpb.InventoryItem_Block:
		return 5
	case *eventpb.InventoryItem_WitnessBlock:
		return 6
	case *eventpb.InventoryItem_CompactBlock:
		return 7
	default:
		return 0
	}
}

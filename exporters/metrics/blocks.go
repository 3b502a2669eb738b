package metrics

import (
	"time"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/exporters/peerstate"
	"github.com/peerobserver/peerobserver/proto/event"
)

// blocks measures blocks: how they arrive, and how the node connects them.
type blocks struct {
	labels *labels

	first, firstVia, firstNetwork *counters
	order                         *counters
	delay, delayByRank            *histograms
	headerAge                     *histograms
	phases                        *histograms

	connect                             *histograms
	transactions, inputs, sigops, empty *counters
	reorgs                              *histograms
	newHeaders                          *counters

	height, connectedAt          *gauges
	lastConnect                  *gauges
	lastTransactions, lastInputs *gauges
	lastSigops                   *gauges
}

func newBlocks(r *registry, l *labels, last *age) *blocks {
	b := &blocks{labels: l}
	const connected = "validation.block_connected"
	b.first = r.sparseCounter(spec{
		name: "block_first_announcements_total", events: "message", unit: "blocks",
		help: "Blocks by the connection type of the peer that announced them first.",
	}, l.connectionType)
	b.firstVia = r.counter(spec{
		name: "block_first_announcements_by_message_total", events: "message", unit: "blocks",
		help: "Blocks by the message that announced them first.",
	}, closedLabel("message", "inv", "headers", "cmpctblock"))
	b.firstNetwork = r.sparseCounter(spec{
		name: "block_first_announcements_by_network_total", events: "message", unit: "blocks",
		help: "Blocks by the network of the peer that announced them first.",
	}, l.network)
	b.delay = r.histogram(spec{
		name: "block_announcement_delay_seconds", events: "message", unit: "seconds",
		help: "Time from the first announcement of a block to each further one by another peer, up to ten minutes.",
	}, nanoseconds, milliseconds(100, 500, 1000, 5000, 30_000)).withTraces()
	b.order = r.sparseCounter(spec{
		name: "block_announcements_total", events: "message", unit: "announcements",
		help: "Announcements of blocks by the connection type of the peer and its place in the order of all peers that announced the block, up to ten minutes after the first and of at most 128 peers.",
	}, l.connectionType, announcementRanks())
	b.delayByRank = r.sparseHistogram(spec{
		name: "block_announcement_delay_by_rank_seconds", events: "message", unit: "seconds",
		help: "Time from the first announcement of a block to each further one by another peer, by the place of that peer in the order.",
	}, nanoseconds, milliseconds(100, 500, 1000, 5000, 30_000), announcementRanks()).withTraces()
	b.headerAge = r.sparseHistogram(spec{
		name: "block_header_time_offset_seconds", events: "message", unit: "seconds",
		help: "Distance between the time in a block's header and its first announcement.",
	}, nanoseconds, milliseconds(10_000, 60_000, 600_000, 3_600_000), closedLabel("sign", "past", "future")).withTraces()
	var phases []string
	for p := range peerstate.Phases {
		phases = append(phases, p.String())
	}
	b.phases = r.histogram(spec{
		name: "block_propagation_seconds", events: "message, " + connected, unit: "seconds",
		help: "Times between the stations of a block: the first announcement by a peer, the node's request, the delivery of the whole block, its connection, and the node's own first announcement.",
	}, nanoseconds, milliseconds(100, 1000, 10_000), closedLabel("phase", phases...)).withTraces()

	b.connect = r.histogram(spec{
		name: "block_connect_seconds", events: connected, unit: "seconds",
		help: "Time that the node took to connect a block to its chain.",
	}, nanoseconds, milliseconds(50, 250, 1000, 5000, 20_000)).withTraces()
	b.transactions = r.counter(spec{
		name: "block_transactions_total", events: connected, unit: "transactions",
		help: "Transactions of the connected blocks.",
	})
	b.inputs = r.counter(spec{
		name: "block_inputs_total", events: connected, unit: "inputs",
		help: "Inputs of the connected blocks.",
	})
	b.sigops = r.counter(spec{
		name: "block_sigops_total", events: connected, unit: "signature operations",
		help: "Signature operations (as cost) of the connected blocks.",
	})
	b.empty = r.counter(spec{
		name: "block_empty_total", events: connected, unit: "blocks",
		help: "Connected blocks with no transaction but the coinbase.",
	})
	b.reorgs = r.histogram(spec{
		name: "chain_reorganization_depth_blocks", events: connected, unit: "blocks",
		help: "Blocks that a reorganization of the chain took away, concluded from a connected block that isn't higher than the one before.",
	}, entries, []int64{1, 2, 3, 6})
	b.newHeaders = r.counter(spec{
		name: "block_headers_seen_total", events: "validation.block_header", unit: "headers",
		help: "Headers of blocks that the node had not seen before, by whether they came in a compact block.",
	}, closedLabel("message", "headers", "cmpctblock"))

	gauge := func(name, unit, help string) *gauges {
		return r.gauge(spec{name: name, events: connected, unit: unit, help: help}, last)
	}
	b.height = gauge("block_height", "blocks", "Height of the block that was connected last.")
	b.connectedAt = gauge("block_connected_timestamp_seconds", "seconds", "When the last block was connected, as UNIX time.")
	b.lastConnect = gauge("block_last_connect_seconds", "seconds", "Time that the node took to connect the last block.")
	b.lastTransactions = gauge("block_last_transactions", "transactions", "Transactions of the block that was connected last.")
	b.lastInputs = gauge("block_last_inputs", "inputs", "Inputs of the block that was connected last.")
	b.lastSigops = gauge("block_last_sigops", "signature operations", "Signature operations (as cost) of the block that was connected last.")
	return b
}

// announcementRanks is the label for the place in the order of announcements.
func announcementRanks() *label { return closedLabel("rank", "1", "2", "3", "4-8", "9+") }

// rankPlace is the place of a rank in that label.
func rankPlace(rank int) int {
	switch {
	case rank <= 3:
		return max(rank, 1) - 1
	case rank <= 8:
		return 3
	default:
		return 4
	}
}

// header counts a header that was new to the node.
func (b *blocks) header(v *decode.Validation) {
	if v.ViaCompactBlock {
		b.newHeaders.inc(1)
	} else {
		b.newHeaders.inc(0)
	}
}

func (b *blocks) connected(e *event.Event, v *decode.Validation) {
	b.connect.observeBlock(0, int64(min(v.ConnectTime, 1<<62)), v.Hash, e.Time().UnixNano())
	b.transactions.add(uint64(max(v.Transactions, 0)))
	b.inputs.add(uint64(max(v.Inputs, 0)))
	b.sigops.add(uint64(max(v.SigOps, 0)))
	if v.Transactions == 1 {
		b.empty.add(1)
	}
	b.height.age.touch(e.Time().UnixNano())
	b.height.set(float64(v.Height))
	b.connectedAt.set(float64(e.Time().UnixMilli()) / 1000)
	b.lastConnect.set(float64(v.ConnectTime) / 1e9)
	b.lastTransactions.set(float64(v.Transactions))
	b.lastInputs.set(float64(v.Inputs))
	b.lastSigops.set(float64(v.SigOps))
}

// travel measures the way of blocks through the network. at is the time of the event in
// UNIX nanoseconds.
func (b *blocks) travel(o *peerstate.Observation, at int64) {
	if o.Announced {
		rank := rankPlace(o.AnnounceRank)
		if o.Peer != nil {
			b.order.inc2(b.labels.connectionTypePlace(o.Peer.ConnectionType), rank)
		}
		if o.First {
			b.firstVia.inc(int(o.Via))
			if o.Peer != nil {
				b.first.inc(b.labels.connectionTypePlace(o.Peer.ConnectionType))
				b.firstNetwork.inc(int(o.Peer.Network))
			}
		} else {
			b.delay.observeBlock(0, o.AnnounceDelay, o.BlockHash, at)
			b.delayByRank.observeBlock(rank, o.AnnounceDelay, o.BlockHash, at)
		}
	}
	if o.HasHeaderTime {
		// More than a few hours is no new block, whatever it says.
		const far = int64(24 * time.Hour)
		if age := o.HeaderTimeOffset; age >= 0 {
			b.headerAge.observeBlock(0, min(age, far), o.BlockHash, at)
		} else {
			b.headerAge.observeBlock(1, min(-age, far), o.BlockHash, at)
		}
	}
	if o.HasPhases {
		for phase, d := range o.Phases {
			if d >= 0 {
				b.phases.observeBlock(phase, d, o.BlockHash, at)
			}
		}
	}
	if o.ReorgDepth > 0 {
		b.reorgs.observe(0, int64(o.ReorgDepth))
	}
}

package metrics

import (
	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/exporters/peerstate"
)

// inventory measures what is announced, asked for and delivered.
type inventory struct {
	items       *counters
	perMessage  *histograms
	composition *counters
	large       *counters
	repeated    *counters

	txs, blocks requestMetrics
}

// requestMetrics are the requests of the node for one sort of thing.
type requestMetrics struct {
	requests, outcomes, unrequested *counters
	delay                           *histograms
	open                            *gauges
}

// Places in the message label of inventories.
const (
	messageInv = iota
	messageGetData
	messageNotFound
)

// largeInv is the number of transactions in an inv message above which Bitcoin Core
// sends only when many wait: INVENTORY_BROADCAST_TARGET of versions up to 30.
const largeInv = 35

// Places in the outcome label of requests.
const (
	outcomeDelivered = iota
	outcomeNotFound
	outcomeTimeout
	outcomeDisconnected
	outcomeForgotten
)

func (q *requestMetrics) define(r *registry, name, things, unit string, bounds []int64, summary *age) {
	q.requests = r.counter(spec{
		name: name + "_requests_total", events: "message", unit: unit,
		help: "Requests of the node for " + things + ".",
	})
	q.outcomes = r.counter(spec{
		name: name + "_request_outcomes_total", events: "message", unit: unit,
		help: "How the node's requests for " + things + " ended: delivered, not found at the peer, timed out or asked again, the peer disconnected, or forgotten here because too many were open.",
	}, closedLabel("outcome", "delivered", "not_found", "timeout", "disconnected", "forgotten"))
	q.unrequested = r.counter(spec{
		name: name + "_unrequested_total", events: "message", unit: unit,
		help: "Received " + things + " that the node had not asked for, or no longer waited for.",
	})
	q.delay = r.histogram(spec{
		name: name + "_delivery_seconds", events: "message", unit: "seconds",
		help: "Time from the node's request to the delivery of " + things + ".",
	}, nanoseconds, bounds)
	q.open = r.gauge(spec{
		name: name + "_requests_open", events: "message", unit: unit,
		help: "Requests of the node for " + things + " that wait for an answer.",
	}, summary)
}

// add counts what happened to requests. Of blocks the hash says which one arrived, at a
// time in UNIX nanoseconds.
func (q *requestMetrics) add(o *peerstate.RequestObservation, hash []byte, at int64) {
	if o.Requested > 0 {
		q.requests.add(o.Requested)
	}
	if o.Delivered {
		q.outcomes.inc(outcomeDelivered)
		q.delay.observeBlock(0, o.Delay, hash, at)
	}
	if o.Unrequested {
		q.unrequested.add(1)
	}
	for outcome, n := range [...]uint64{
		outcomeNotFound: o.NotFound, outcomeTimeout: o.TimedOut, outcomeDisconnected: o.Disconnected, outcomeForgotten: o.Forgotten,
	} {
		if n > 0 {
			q.outcomes.at(outcome).add(n)
		}
	}
}

func newInventory(r *registry, l *labels, summary *age) *inventory {
	v := &inventory{}
	v.items = r.sparseCounter(spec{
		name: "p2p_inventory_items_total", events: "message", unit: "items",
		help: "Items of inv, getdata and notfound messages by type; what a capture limit cut off is unknown.",
	}, closedLabel("message", "inv", "getdata", "notfound"), l.direction, l.item)
	for direction := range 2 {
		for message, types := range [...][]decode.ItemType{
			messageInv:      {decode.ItemTransaction, decode.ItemWTX, decode.ItemBlock},
			messageGetData:  {decode.ItemWTX, decode.ItemWitnessTransaction, decode.ItemWitnessBlock},
			messageNotFound: {decode.ItemWTX},
		} {
			for _, t := range types {
				v.items.at3(message, direction, int(t)).shown = true
			}
		}
	}
	v.perMessage = r.histogram(spec{
		name: "p2p_inv_message_entries", events: "message", unit: "items",
		help: "Items in inv messages.",
	}, entries, []int64{35, 1000, 5000}, l.direction)
	v.composition = r.counter(spec{
		name: "p2p_inv_messages_total", events: "message", unit: "messages",
		help: "Inv messages by whether all their items are of one type.",
	}, l.direction, closedLabel("composition", "homogeneous", "heterogeneous", "empty"))
	v.large = r.counter(spec{
		name: "p2p_inv_large_sent_total", events: "message", unit: "messages",
		help: "Inv messages that the node sent with more than 35 transactions of one type: many wait to be announced.",
	})
	v.repeated = r.counter(spec{
		name: "p2p_repeated_requests_total", events: "message", unit: "items",
		help: "Items that a peer asked the node for although it had asked for them before.",
	}, closedLabel("type", "block", "tx"))
	v.txs.define(r, "tx", "transactions", "transactions", milliseconds(100, 1000, 10_000), summary)
	v.blocks.define(r, "block", "blocks", "blocks", milliseconds(500, 2000, 10_000), summary)
	v.blocks.delay.withTraces()
	return v
}

// handle counts an inv, getdata or notfound message.
func (v *inventory) handle(msg *decode.Message, o *peerstate.Observation) {
	direction := directionIndex(msg.Inbound)
	message := messageInv
	switch msg.Type {
	case decode.MessageGetData:
		message = messageGetData
	case decode.MessageNotFound:
		message = messageNotFound
	}
	kinds := 0
	for t, n := range o.Items {
		if n > 0 {
			kinds++
			v.items.at3(message, direction, t).add(n)
		}
	}
	switch message {
	case messageInv:
		v.perMessage.observe(direction, int64(min(o.ItemTotal, 1<<40)))
		switch kinds {
		case 0:
			v.composition.inc2(direction, 2)
		case 1:
			v.composition.inc2(direction, 0)
		default:
			v.composition.inc2(direction, 1)
		}
		if !msg.Inbound && (o.Items[decode.ItemTransaction] > largeInv || o.Items[decode.ItemWTX] > largeInv) {
			v.large.add(1)
		}
	case messageGetData:
		if o.RepeatedBlocks > 0 {
			v.repeated.at(0).add(o.RepeatedBlocks)
		}
		if o.RepeatedTxs > 0 {
			v.repeated.at(1).add(o.RepeatedTxs)
		}
	}
}

// requests counts what became of the node's requests, at a time in UNIX nanoseconds.
func (v *inventory) requests(o *peerstate.Observation, at int64) {
	v.txs.add(&o.Tx, nil, at)
	v.blocks.add(&o.Block, o.BlockHash, at)
}

func (v *inventory) summarise(u *peerstate.Summary) {
	v.txs.open.set(float64(u.OpenTxRequests))
	v.blocks.open.set(float64(u.OpenBlockRequests))
}

package incident

import (
	"encoding/hex"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// Shares of what comes that is not in order, as it is usual.
const (
	rejectedShare = 0.02
	lateShare     = 0.001 // that a peer announces and doesn't deliver, or asks for twice
	replacedShare = 0.02
	orphanShare   = 0.002
	missingShare  = 0.3 // of compact blocks that lack a transaction
	coldShare     = 0.7 // the same while the mempool is cold
	slowShare     = 0.1 // of blocks that one peer has to send whole

	// slowBlock is how long it takes.
	slowBlock = 12 * time.Second
)

// talk is what a peer says and hears at a time.
func (d *day) talk(m *member, now time.Time) {
	due := func(t *time.Time, mean time.Duration) bool {
		if t.After(now) || m.gone {
			return false
		}
		*t = now.Add(d.exponential(mean))
		return true
	}
	if !m.leaves.IsZero() && !m.leaves.After(now) {
		d.closed(m)
	}
	if due(&m.ping, pingEvery) {
		d.received(m, "ping", 8, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Ping{Ping: &eventpb.Ping{Value: proto.Uint64(d.random.Uint64())}}})
		d.sent(m, "pong", 8, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Pong{Pong: &eventpb.Pong{Value: proto.Uint64(1)}}})
	}
	if due(&m.pinged, pingEvery) {
		d.sent(m, "ping", 8, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Ping{Ping: &eventpb.Ping{Value: proto.Uint64(d.random.Uint64())}}})
		d.received(m, "pong", 8, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Pong{Pong: &eventpb.Pong{Value: proto.Uint64(1)}}})
	}
	if m.kind == eventpb.ConnectionType_CONNECTION_TYPE_BLOCK_RELAY_ONLY {
		return
	}
	if due(&m.filter, filterEvery) {
		fee := int64(d.fee * 1000)
		d.received(m, "feefilter", 8, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Feefilter{Feefilter: &eventpb.FeeFilter{Fee: proto.Int64(fee)}}})
		m.info.Minfeefilter = proto.Float64(d.fee / 1e5)
	}
	if due(&m.listen, announceEvery) {
		if n := min(d.many(d.rate*0.8*now.Sub(m.listened).Seconds()), 1000); n > 0 {
			d.sent(m, "inv", 3+36*n, counted(n))
		}
		m.listened = now
		m.info.InvToSend = proto.Uint64(uint64(d.many(d.rate)))
	}
	if m.quiet {
		return
	}
	if due(&m.announce, announceEvery) {
		if n := min(d.many(d.rate*0.8*now.Sub(m.announced).Seconds()), announceAtOnce); n > 0 {
			d.received(m, "inv", 3+36*n, counted(n))
		}
		m.announced = now
	}
	if due(&m.tell, addressEvery) {
		d.addressesOf(m, d.rumours(1+d.random.IntN(addressAtOnce)))
	}
}

// somebody is one of the peers that give and take.
func (d *day) somebody() *member {
	for range 100 {
		m := d.members[d.random.IntN(len(d.members))]
		if !m.gone && !m.quiet && !m.visits && m.kind != eventpb.ConnectionType_CONNECTION_TYPE_BLOCK_RELAY_ONLY {
			return m
		}
	}
	return nil
}

// spend lets the transactions of a second come.
func (d *day) spend() {
	if len(d.members) == 0 {
		return
	}
	for range d.many(d.rate) {
		giver := d.somebody()
		if giver == nil {
			return
		}
		tx := transaction{txid: d.hash(), vsize: 110 + d.random.Int32N(900), at: d.now}
		d.fetched(giver, tx.txid, int(tx.vsize))
		switch chance := d.random.Float64(); {
		case chance < rejectedShare:
			d.rejected(tx.txid, "insufficient fee")
			continue
		case chance < rejectedShare+orphanShare:
			d.orphan(tx)
			continue
		case chance < rejectedShare+orphanShare+replacedShare && len(d.pool) > 0:
			d.replace(d.random.IntN(len(d.pool)), tx)
			continue
		}
		d.enters(tx)
		if taker := d.somebody(); taker != nil {
			d.fetches(taker, tx.txid, int(tx.vsize))
		}
	}
}

func item(hash []byte) *eventpb.MessageEvent {
	return &eventpb.MessageEvent{
		Msg: &eventpb.MessageEvent_Getdata{Getdata: &eventpb.GetData{Items: []*eventpb.InventoryItem{
			{Item: &eventpb.InventoryItem_Wtx{Wtx: hash}},
		}}},
		ElementCount: proto.Uint64(1),
	}
}

func body(txid []byte) *eventpb.MessageEvent {
	return &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Tx{Tx: &eventpb.Tx{Tx: &eventpb.Transaction{Txid: txid, Wtxid: txid, Raw: []byte{}}}}}
}

// fetched is a transaction that the node asks a peer for, and gets, but for a few.
func (d *day) fetched(m *member, txid []byte, size int) {
	d.sent(m, "getdata", 37, item(txid))
	if d.random.Float64() < lateShare {
		// Another one has it after a minute.
		d.at(time.Minute, func() {
			if other := d.somebody(); other != nil {
				d.sent(other, "getdata", 37, item(txid))
				d.received(other, "tx", size, body(txid))
			}
		})
		return
	}
	d.received(m, "tx", size, body(txid))
}

// fetches is a transaction that a peer asks the node for.
func (d *day) fetches(m *member, txid []byte, size int) {
	times := 1
	if d.random.Float64() < lateShare {
		times = 2
	}
	for range times {
		d.received(m, "getdata", 37, item(txid))
		d.sent(m, "tx", size, body(txid))
	}
}

func (d *day) mempoolEvent(e *eventpb.MempoolEvent) {
	d.hit(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Mempool{Mempool: e}})
}

// enters is a transaction that the mempool takes.
func (d *day) enters(tx transaction) {
	d.mempoolEvent(&eventpb.MempoolEvent{Event: &eventpb.MempoolEvent_Added{
		Added: &eventpb.Added{Txid: tx.txid, Vsize: proto.Int32(tx.vsize), Fee: proto.Int64(int64(d.fee * 2 * float64(tx.vsize)))}}})
	d.pool = append(d.pool, tx)
}

func (d *day) leavesPool(tx transaction, reason string) {
	d.mempoolEvent(&eventpb.MempoolEvent{Event: &eventpb.MempoolEvent_Removed{Removed: &eventpb.Removed{
		Txid: tx.txid, Reason: proto.String(reason), Vsize: proto.Int32(tx.vsize), Fee: proto.Int64(int64(tx.vsize)), EntryTime: proto.Uint64(uint64(tx.at.Unix()))}}})
}

func (d *day) rejected(txid []byte, reason string) {
	d.mempoolEvent(&eventpb.MempoolEvent{Event: &eventpb.MempoolEvent_Rejected{Rejected: &eventpb.Rejected{Txid: txid, Reason: proto.String(reason)}}})
}

// replace lets a transaction replace another one.
func (d *day) replace(i int, by transaction) {
	of := d.pool[i]
	d.mempoolEvent(&eventpb.MempoolEvent{Event: &eventpb.MempoolEvent_Replaced{Replaced: &eventpb.Replaced{
		ReplacedTxid: of.txid, ReplacedVsize: proto.Int32(of.vsize), ReplacedFee: proto.Int64(int64(of.vsize)), ReplacedEntryTime: proto.Uint64(uint64(of.at.Unix())),
		ReplacementId: by.txid, ReplacementVsize: proto.Int32(by.vsize), ReplacementFee: proto.Int64(int64(3 * by.vsize)), ReplacedByTransaction: proto.Bool(true)}}})
	d.leavesPool(of, "replaced")
	d.pool = slices.Delete(d.pool, i, i+1)
	d.enters(by)
}

// orphan is a transaction that arrives ten seconds before its parent.
func (d *day) orphan(tx transaction) {
	const parentAfter = 10 * time.Second
	d.rejected(tx.txid, "bad-txns-inputs-missingorspent")
	d.orphaned++
	d.at(parentAfter, func() {
		d.orphaned--
		d.enters(transaction{txid: d.hash(), vsize: tx.vsize, at: d.now})
		d.enters(tx)
	})
}

// block is one that peers announce, with all that waits. Now and then it is announced by its header,
// and takes some seconds to come.
func (d *day) block() {
	deliver := func() { d.blockAt(d.height+1, d.random.Float64() >= d.missing()) }
	giver := d.somebody()
	if giver == nil || d.random.Float64() >= slowShare {
		deliver()
		return
	}
	d.headers = d.height + 1
	giver.info.Inflight = []uint64{uint64(d.headers)}
	d.at(slowBlock, func() {
		giver.info.Inflight = nil
		deliver()
	})
}

func (d *day) missing() float64 {
	if d.now.Before(d.cold) {
		return coldShare
	}
	return missingShare
}

// blockAt is a block of a height; whole says that the compact block is enough.
func (d *day) blockAt(height int32, whole bool) {
	hash := d.hash()
	header := &eventpb.BlockHeader{Hash: hash, PrevBlockhash: d.tip, MerkleRoot: d.hash(), Time: proto.Uint32(uint32(d.now.Unix() - d.random.Int64N(15)))}
	first := d.highBandwidth()
	if first != nil {
		d.received(first, "cmpctblock", 15_000, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Compactblock{Compactblock: &eventpb.CompactBlock{Header: header, Nonce: proto.Uint64(1)}}})
		if !whole {
			d.sent(first, "getblocktxn", 60, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Getblocktxn{Getblocktxn: &eventpb.GetBlockTxn{BlockHash: hash, TxIndexes: []uint64{1, 5}}}})
			d.received(first, "blocktxn", 800, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Blocktxn{Blocktxn: &eventpb.BlockTxn{BlockHash: hash}}})
		}
	}
	took := connectTime/2 + d.exponential(connectTime/2)
	transactions, missed := len(d.pool), 0
	if !whole {
		missed = 2
	}
	// The log has display order.
	shown := slices.Clone(hash)
	slices.Reverse(shown)
	d.logged(eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_CMPCTBLOCK, &eventpb.KnownLogMessage{
		Template: eventpb.LogTemplate_LOG_TEMPLATE_BLOCK_RECONSTRUCTED.Enum(), BlockHash: proto.String(hex.EncodeToString(shown)),
		PrefilledCount: proto.Int64(1), MempoolCount: proto.Int64(int64(transactions - missed)), Count: proto.Int64(int64(missed)), Bytes: proto.Int64(int64(400 * missed)),
	})
	d.now, d.worked = d.now.Add(took), d.worked+took
	d.connect(hash, height, took)
	d.line(eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_UNKNOWN, eventpb.LogTemplate_LOG_TEMPLATE_UPDATE_TIP)
	for _, tx := range d.pool {
		d.leavesPool(tx, "block")
	}
	d.pool = d.pool[:0]
	headers := func() *eventpb.MessageEvent {
		return &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Headers{Headers: &eventpb.Headers{Headers: []*eventpb.BlockHeader{header}}}, ElementCount: proto.Uint64(1)}
	}
	for _, m := range d.members {
		if m.gone || m == first {
			continue
		}
		d.sent(m, "headers", 82, headers())
		if !m.quiet {
			d.received(m, "headers", 82, headers())
		}
	}
}

// highBandwidth is one of the peers that send compact blocks unasked.
func (d *day) highBandwidth() *member {
	var chosen []*member
	for _, m := range d.members {
		if !m.gone && m.info.GetBip152HbTo() {
			chosen = append(chosen, m)
		}
	}
	if len(chosen) == 0 {
		return nil
	}
	// Where not all are told, one that is: a block that comes is always seen.
	for _, m := range chosen {
		if m.told {
			return m
		}
	}
	return chosen[d.random.IntN(len(chosen))]
}

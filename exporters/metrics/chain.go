package metrics

import (
	"slices"
	"strconv"
	"time"

	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// maxFeeTargets bounds the targets of estimatesmartfee that are told apart; they come
// from the agent's configuration.
const maxFeeTargets = 8

// feeRound is how far apart the answers for several targets may be and still belong
// to one round of calls.
const feeRound = 5 * time.Second

// chainMetrics copies getchaintxstats, getchaintips, getorphantxs, estimatesmartfee and
// listbanned.
type chainMetrics struct {
	statsAge                               *age
	transactions, windowBlocks, windowTxs  *gauges
	windowSeconds, windowHeight, windowTPS *gauges

	tipsAge           *age
	tipStatus         *label
	tipCount, longest *gauges

	orphanAge                              *age
	orphanCount, orphanBytes, orphanVBytes *gauges
	orphanWeight, orphanFromMean           *gauges
	orphanFromMin, orphanFromMax           *gauges
	orphanTopShare                         *gauges
	orphanChanges, orphanChangedBytes      *counters
	known                                  map[string]uint64

	feeAge    *age
	feeTarget *label
	fee       *gauges
	feeMode   *label

	bannedAge *age
	bannedLen *gauges
}

func (c *chainMetrics) define(r *registry, parent *rpc) {
	c.statsAge = parent.newAge()
	stats := func(name, unit, help string) *gauges {
		return r.gauge(spec{name: name, events: "rpc.chain_tx_stats", unit: unit, help: help}, c.statsAge)
	}
	c.transactions = stats("chain_transactions", "transactions", "Transactions in the chain.")
	c.windowHeight = stats("chain_window_final_height", "blocks", "Height of the last block of the window.")
	c.windowBlocks = stats("chain_window_blocks", "blocks", "Length of the window over which the node computes the rate of transactions.")
	c.windowTxs = stats("chain_window_transactions", "transactions", "Transactions in the window.")
	c.windowSeconds = stats("chain_window_seconds", "seconds", "Length of the window in time.")
	c.windowTPS = stats("chain_window_transactions_per_second", "transactions per second", "Rate of transactions in the window.")

	c.tipsAge = parent.newAge()
	c.tipStatus = r.bounded("status", "active", "valid-fork", "valid-headers", "headers-only", "invalid")
	c.tipCount = r.gauge(spec{
		name: "chain_tips", events: "rpc.chain_tips", unit: "tips",
		help: "Tips of the block tree by status.",
	}, c.tipsAge, c.tipStatus)
	c.longest = r.gauge(spec{
		name: "chain_branch_length_max", events: "rpc.chain_tips", unit: "blocks",
		help: "Blocks of the longest branch that isn't the active chain, among those that end at most 144 blocks below the tip; 0 without one.",
	}, c.tipsAge)

	c.orphanAge = parent.newAge()
	orphan := func(name, unit, help string) *gauges {
		return r.gauge(spec{name: name, events: "rpc.orphan_txs", unit: unit, help: help}, c.orphanAge)
	}
	c.orphanCount = orphan("orphans", "transactions", "Transactions that wait for a parent.")
	c.orphanBytes = orphan("orphans_bytes", "bytes", "Size of the transactions that wait for a parent.")
	c.orphanVBytes = orphan("orphans_vbytes", "vbytes", "Virtual size of the transactions that wait for a parent.")
	c.orphanWeight = orphan("orphans_weight", "weight units", "Weight of the transactions that wait for a parent.")
	c.orphanFromMean = orphan("orphans_announcers_mean", "peers", "Peers that announced an orphan: mean over the orphans.")
	c.orphanFromMin = orphan("orphans_announcers_min", "peers", "Peers that announced an orphan: smallest of the orphans.")
	c.orphanFromMax = orphan("orphans_announcers_max", "peers", "Peers that announced an orphan: largest of the orphans.")
	c.orphanTopShare = orphan("orphans_top_announcer_ratio", "share", "Share of the orphans that the busiest announcer announced.")
	change := closedLabel("change", "added", "removed")
	c.orphanChanges = r.counter(spec{
		name: "orphans_changed_total", events: "rpc.orphan_txs", unit: "transactions",
		help: "Orphans that came and went between two polls; what came and went within one interval isn't seen.",
	}, change)
	c.orphanChangedBytes = r.counter(spec{
		name: "orphans_changed_bytes_total", events: "rpc.orphan_txs", unit: "bytes",
		help: "Size of the orphans that came and went between two polls.",
	}, change)

	c.feeAge = parent.newAge()
	c.feeTarget = r.learning("target_blocks", maxFeeTargets)
	c.feeMode = closedLabel("mode", "unset", "economical", "conservative")
	c.fee = r.gauge(spec{
		name: "fee_estimate_satoshis_per_vbyte", events: "rpc.estimate_smart_fee", unit: "satoshi per vbyte",
		help: "Fee rate that the node estimates for confirmation within a number of blocks; absent when it has no estimate.",
	}, c.feeAge, c.feeTarget, c.feeMode)

	c.bannedAge = parent.newAge()
	c.bannedLen = r.gauge(spec{
		name: "node_banned_entries", events: "rpc.banned_list", unit: "entries",
		help: "Entries of the node's ban list.",
	}, c.bannedAge)
}

func (c *chainMetrics) txStats(s *eventpb.ChainTxStats, at int64) {
	c.transactions.set(float64(s.GetTxCount()))
	c.windowHeight.set(float64(s.GetWindowFinalBlockHeight()))
	c.windowBlocks.set(float64(s.GetWindowBlockCount()))
	c.windowTxs.set(float64(s.GetWindowTxCount()))
	c.windowSeconds.set(float64(s.GetWindowInterval()))
	c.windowTPS.set(s.GetTxRate())
	c.statsAge.touch(at)
}

// branchDepth is how far below the tip a branch may end and still count: Bitcoin Core
// stores no new header that has less work than the tip had 144 blocks ago.
const branchDepth = 144

func (c *chainMetrics) tips(t *eventpb.ChainTips, at int64) {
	counts := make([]float64, c.tipCount.cells)
	active := int32(0)
	for _, tip := range t.GetTips() {
		counts[c.tipStatus.of(tip.GetStatus())]++
		if tip.GetStatus() == "active" {
			active = tip.GetHeight()
		}
	}
	longest := int32(0)
	for _, tip := range t.GetTips() {
		if tip.GetStatus() != "active" && tip.GetHeight() >= active-branchDepth {
			longest = max(longest, tip.GetBranchLength())
		}
	}
	c.tipCount.replace(counts)
	c.longest.set(float64(longest))
	c.tipsAge.touch(at)
}

// maxOrphans bounds the orphans that are remembered from one poll to the next; Bitcoin
// Core 30 holds at most 3,000 announcements by default.
const maxOrphans = 16_384

func (c *chainMetrics) orphans(o *eventpb.OrphanTxs, at int64) {
	list := o.GetOrphans()
	var bytes, vbytes, weight, announcers float64
	var from distribution
	byPeer := map[uint64]int{}
	now := make(map[string]uint64, min(len(list), maxOrphans))
	for _, tx := range list {
		bytes += float64(tx.GetBytes())
		vbytes += float64(tx.GetVsize())
		weight += float64(tx.GetWeight())
		from = append(from, float64(len(tx.GetFrom())))
		for _, id := range tx.GetFrom() {
			byPeer[id]++
			announcers++
		}
		if len(now) < maxOrphans {
			now[tx.GetWtxid()] = tx.GetBytes()
		}
	}
	c.orphanCount.set(float64(len(list)))
	c.orphanBytes.set(bytes)
	c.orphanVBytes.set(vbytes)
	c.orphanWeight.set(weight)
	slices.Sort(from)
	c.orphanFromMean.set(from.mean())
	c.orphanFromMin.set(from.quantile(0))
	c.orphanFromMax.set(from.quantile(1))
	share := absent
	if len(list) > 0 {
		top := 0
		for _, n := range byPeer {
			top = max(top, n)
		}
		share = float64(top) / float64(len(list))
	}
	c.orphanTopShare.set(share)
	if c.known != nil {
		for id, size := range now {
			if _, ok := c.known[id]; !ok {
				c.orphanChanges.inc(0)
				c.orphanChangedBytes.at(0).add(size)
			}
		}
		for id, size := range c.known {
			if _, ok := now[id]; !ok {
				c.orphanChanges.inc(1)
				c.orphanChangedBytes.at(1).add(size)
			}
		}
	}
	c.known = now
	c.orphanAge.touch(at)
}

func (c *chainMetrics) estimate(f *eventpb.EstimateSmartFee, at int64) {
	target := c.feeTarget.of(strconv.FormatUint(uint64(f.GetRequestedBlocks()), 10))
	mode := int(f.GetMode())
	if mode < 0 || mode >= c.feeMode.size() {
		mode = 0
	}
	v := absent
	if len(f.GetErrors()) == 0 && f.GetFeeRate() > 0 {
		v = f.GetFeeRate()
	}
	c.fee.at2(target, mode).set(v)
	// Several targets are polled in one go: the interval is that of the round.
	if at-c.feeAge.last.Load() > int64(feeRound) {
		c.feeAge.touch(at)
	}
}

func (c *chainMetrics) banned(b *eventpb.BannedList, at int64) {
	c.bannedLen.set(float64(b.GetCount()))
	c.bannedAge.touch(at)
}

// hexBits reads the service bits that RPC gives as hex text.
func hexBits(text string) uint64 {
	bits, _ := strconv.ParseUint(text, 16, 64)
	return bits
}

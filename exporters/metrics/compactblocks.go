package metrics

import (
	"encoding/hex"
	"math"
	"slices"

	"github.com/peerobserver/peerobserver/exporters/peerstate"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// compactBlocks measures how well compact blocks (BIP152) work.
type compactBlocks struct {
	reconstructions *counters
	duration        *histograms
	transactions    *counters
	missedBytes     *counters
}

// Places in the labels of reconstructions.
const (
	bandwidthHigh = iota
	bandwidthLow
)

func newCompactBlocks(r *registry) *compactBlocks {
	const events = "message, validation.compact_block_reconstructed, log.known"
	bandwidth := closedLabel("bandwidth", "high", "low")
	requested := closedLabel("requested", "no", "yes")
	c := &compactBlocks{}
	c.reconstructions = r.counter(spec{
		name: "compact_block_reconstructions_total", events: events, unit: "blocks",
		help: "Compact blocks that became whole blocks, by whether the peer sent them without being asked (high bandwidth) and whether transactions had to be requested.",
	}, bandwidth, requested)
	c.duration = r.histogram(spec{
		name: "compact_block_reconstruction_seconds", events: events, unit: "seconds",
		help: "Time from the arrival of a compact block to the whole block. Of a block of which nothing was missing it is known from a tracepoint or a log line with microseconds only.",
	}, nanoseconds, milliseconds(10, 100, 500, 1000, 5000), requested).withTraces()
	c.transactions = r.counter(spec{
		name: "compact_block_transactions_total", events: "validation.compact_block_reconstructed, log.known", unit: "transactions",
		help: "Transactions of reconstructed compact blocks by where the node had them from; those of the extra pool are in those of the mempool too, as the node counts.",
	}, closedLabel("origin", "prefilled", "mempool", "extra_pool", "requested"))
	c.missedBytes = r.counter(spec{
		name: "compact_block_requested_bytes_total", events: "validation.compact_block_reconstructed, log.known", unit: "bytes",
		help: "Size of the transactions that had to be requested to reconstruct compact blocks.",
	})
	return c
}

// handle takes what an event of a time in UNIX nanoseconds tells.
func (c *compactBlocks) handle(observed *peerstate.Observation, at int64) {
	o := &observed.Compact
	bandwidth, requested := bandwidthLow, 0
	if o.HighBandwidth {
		bandwidth = bandwidthHigh
	}
	if o.Requested {
		requested = 1
	}
	if o.HasOutcome {
		c.reconstructions.inc2(bandwidth, requested)
	}
	if o.Duration > 0 {
		c.duration.observeBlock(requested, o.Duration, observed.BlockHash, at)
	}
	if o.HasCounts {
		for origin, n := range []uint64{o.Prefilled, o.FromMempool, o.FromExtra, o.Missed} {
			c.transactions.at(origin).add(n)
		}
		c.missedBytes.add(o.MissedBytes)
	}
}

// reconstructedLine takes the line of debug.log about a reconstruction; ok is false when
// the line has no readable hash.
func reconstructedLine(l *eventpb.KnownLogMessage) (hash []byte, c peerstate.CompactObservation, ok bool) {
	hash, err := hex.DecodeString(l.GetBlockHash())
	if err != nil || len(hash) != 32 {
		return nil, c, false
	}
	// The log has display order.
	slices.Reverse(hash)
	return hash, peerstate.CompactObservation{
		Requested:   l.GetCount() > 0,
		Prefilled:   positive(l.GetPrefilledCount()),
		FromMempool: positive(l.GetMempoolCount()),
		FromExtra:   positive(l.GetExtraPoolCount()),
		Missed:      positive(l.GetCount()),
		MissedBytes: positive(l.GetBytes()),
	}, true
}

// lineTime is the time of a line of debug.log in UNIX nanoseconds, 0 when the log gives
// whole seconds only (without -logtimemicros), which is too coarse to measure with.
func lineTime(l *eventpb.LogExtractor) int64 {
	const second, limit = 1_000_000, math.MaxInt64 / 1000
	at := l.GetLogTimestamp()
	if at%second == 0 || at > limit {
		return 0
	}
	return int64(at) * 1000
}

// positive is v as a count; what is negative is no count.
func positive(v int64) uint64 { return uint64(max(v, 0)) }

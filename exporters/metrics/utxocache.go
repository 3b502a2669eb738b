package metrics

import "github.com/peerobserver/peerobserver/proto/eventpb"

// utxoCache measures the flushes of the coins cache; its other events are counted in
// peerobserver_events_total.
type utxoCache struct {
	flush *histograms
	coins *counters
}

func newUTXOCache(r *registry) *utxoCache {
	const flush = "utxo_cache.flush"
	return &utxoCache{
		flush: r.histogram(spec{
			name: "utxo_cache_flush_seconds", events: flush, unit: "seconds",
			help: "Time that the node took to write its coins cache to disk.",
		}, nanoseconds, milliseconds(10, 100, 1000, 10_000, 60_000)),
		coins: r.counter(spec{
			name: "utxo_cache_flushed_coins_total", events: flush, unit: "coins",
			help: "Coins that the node wrote from its coins cache to disk.",
		}),
	}
}

func (u *utxoCache) flushed(f *eventpb.UtxoCacheFlush) {
	if f == nil {
		return
	}
	const most = int64(1) << 50
	u.flush.observe(0, min(max(f.GetDuration(), 0), most)*1000)
	u.coins.add(f.GetCoins())
}

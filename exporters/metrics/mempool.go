package metrics

import (
	"bytes"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/exporters/peerstate"
	"github.com/peerobserver/peerobserver/proto/event"
)

// mempool counts what enters and leaves the mempool.
type mempool struct {
	added, addedVBytes, addedFees *counters
	removed, removedVBytes        *counters
	replaced, replacedVBytes      *counters
	replacementVBytes             *counters
	rejected                      *counters
	residence                     *histograms
	depth                         *histograms
	readded                       *counters
	topSize                       *gauges
	removal, rejection            *label
}

func newMempool(r *registry, summary *age) *mempool {
	m := &mempool{}
	m.added = r.counter(spec{
		name: "mempool_added_total", events: "mempool.added", unit: "transactions",
		help: "Transactions that entered the mempool.",
	})
	m.addedVBytes = r.counter(spec{
		name: "mempool_added_vbytes_total", events: "mempool.added", unit: "vbytes",
		help: "Virtual size of the transactions that entered the mempool.",
	})
	m.addedFees = r.counter(spec{
		name: "mempool_added_fees_satoshis_total", events: "mempool.added", unit: "satoshi",
		help: "Fees of the transactions that entered the mempool.",
	})
	m.removal = r.bounded("reason", "expiry", "sizelimit", "reorg", "block", "conflict", "replaced")
	m.removed = r.counter(spec{
		name: "mempool_removed_total", events: "mempool.removed", unit: "transactions",
		help: "Transactions that left the mempool.",
	}, m.removal)
	m.removedVBytes = r.counter(spec{
		name: "mempool_removed_vbytes_total", events: "mempool.removed", unit: "vbytes",
		help: "Virtual size of the transactions that left the mempool.",
	}, m.removal)
	m.residence = r.histogram(spec{
		name: "mempool_residence_seconds", events: "mempool.removed", unit: "seconds",
		help: "How long transactions had been in the mempool when they left it.",
	}, wholeSeconds, []int64{600, 86_400, 1_209_600})
	m.replaced = r.counter(spec{
		name: "mempool_replaced_total", events: "mempool.replaced", unit: "transactions",
		help: "Transactions that were replaced by others.",
	})
	m.replacedVBytes = r.counter(spec{
		name: "mempool_replaced_vbytes_total", events: "mempool.replaced", unit: "vbytes",
		help: "Virtual size of the transactions that were replaced.",
	})
	m.replacementVBytes = r.counter(spec{
		name: "mempool_replacement_vbytes_total", events: "mempool.replaced", unit: "vbytes",
		help: "Virtual size of what replaced them; a replacement of several transactions is counted once for each.",
	})
	m.depth = r.histogram(spec{
		name: "mempool_replacement_depth", events: "mempool.replaced", unit: "replacements",
		help: "Replacements that led to a transaction when it was replaced itself, counting this one: 1 for the first.",
	}, entries, []int64{1, 5, 10})
	m.readded = r.counter(spec{
		name: "mempool_readded_total", events: "mempool.added", unit: "transactions",
		help: "Transactions that entered the mempool again after they had been replaced.",
	})
	m.topSize = r.gauge(spec{
		name: "mempool_added_top_size_ratio", events: "mempool.added", unit: "share",
		help: "Share of the most frequent virtual size among the transactions of the last ten to twenty minutes: many made from one template show.",
	}, summary)
	m.rejection = r.bounded("reason", rejections()...)
	m.rejected = r.sparseCounter(spec{
		name: "mempool_rejected_total", events: "mempool.rejected", unit: "transactions",
		help: "Transactions that the mempool did not accept, by reason without the details in it.",
	}, m.rejection)
	for _, reason := range []string{"bad-txns-inputs-missingorspent", "min relay fee not met", "mempool min fee not met", "insufficient fee"} {
		m.rejected.at(m.rejection.of(reason)).shown = true
	}
	return m
}

// rejections are the reasons for which Bitcoin Core's validation doesn't accept a
// transaction (validation.cpp, consensus/tx_check.cpp, consensus/tx_verify.cpp,
// policy/policy.cpp, policy/rbf.cpp, policy/truc_policy.cpp and, for older versions,
// txmempool.cpp), without details.
func rejections() []string {
	return []string{
		"TRUC-violation", "bad-cb-length", "bad-txns-fee-outofrange", "bad-txns-in-belowout", "bad-txns-inputs-duplicate",
		"bad-txns-inputs-missingorspent", "bad-txns-inputvalues-outofrange", "bad-txns-nonfinal",
		"bad-txns-nonstandard-inputs", "bad-txns-oversize", "bad-txns-premature-spend-of-coinbase",
		"bad-txns-prevout-null", "bad-txns-spends-conflicting-tx", "bad-txns-too-many-sigops",
		"bad-txns-txouttotal-toolarge", "bad-txns-vin-empty", "bad-txns-vout-empty", "bad-txns-vout-negative",
		"bad-txns-vout-toolarge", "bad-witness-nonstandard", "bare-multisig", "bip125-replacement-disallowed",
		"block-script-verify-flag-failed", "coinbase", "datacarrier", "dust", "insufficient fee",
		"mandatory-script-verify-flag-failed", "max-fee-exceeded", "mempool full", "mempool min fee not met",
		"mempool-script-verify-flag-failed", "min relay fee not met", "missing-ephemeral-spends", "multi-op-return",
		"no-mempool", "non-BIP68-final", "non-final", "non-mandatory-script-verify-flag", "package-fee-too-low",
		"package-mempool-limits", "package-not-sorted", "package-too-large", "package-too-many-transactions",
		"potential package conflict", "replacement-adds-unconfirmed", "replacement-failed", "scriptpubkey",
		"scriptsig-not-pushonly", "scriptsig-size", "too many potential replacements", "too-large-cluster",
		"too-long-mempool-chain", "too-many-replacements", "tx-size", "tx-size-small", "txn-already-in-mempool",
		"txn-already-known", "txn-mempool-conflict", "txn-same-nonwitness-data-in-mempool", "unspent-ancestor", "version",
	}
}

// rejection reduces the text of a rejection to its reason: the details follow in
// brackets, behind a comma or behind a colon.
func rejection(text []byte) []byte {
	if i := bytes.IndexAny(text, ",:("); i >= 0 {
		text = text[:i]
	}
	return bytes.TrimSpace(text)
}

// removalReason undoes what the existing eBPF extractor's 9-byte buffer cut off.
func removalReason(text []byte) []byte {
	if string(text) == "sizelimi" {
		return []byte("sizelimit")
	}
	return text
}

func (m *mempool) handle(e *event.Event, kind event.Kind, tx *decode.Mempool, o *peerstate.Observation) {
	vsize := uint64(max(tx.VSize, 0))
	switch kind {
	case event.KindMempoolAdded:
		m.added.add(1)
		m.addedVBytes.add(vsize)
		m.addedFees.add(uint64(max(tx.Fee, 0)))
		if o.Readded {
			m.readded.add(1)
		}
	case event.KindMempoolRemoved:
		reason := m.removal.ofBytes(removalReason(tx.Reason))
		m.removed.inc(reason)
		m.removedVBytes.at(reason).add(vsize)
		if tx.EntryTime != 0 {
			m.residence.observe(0, e.Time().Unix()-int64(min(tx.EntryTime, uint64(maxUnix))))
		}
	case event.KindMempoolReplaced:
		m.replaced.add(1)
		m.depth.observe(0, int64(o.Replacement))
		m.replacedVBytes.add(vsize)
		m.replacementVBytes.add(uint64(max(tx.ReplacementVSize, 0)))
	case event.KindMempoolRejected:
		m.rejected.inc(m.rejection.ofBytes(rejection(tx.Reason)))
	}
}

func (m *mempool) summarise(u *peerstate.Summary) { m.topSize.set(u.TopSize) }

package scenario

import (
	"bytes"
	"context"
	"time"

	"github.com/btcsuite/btcd/wire/v2"
)

func spamScenarios() []Scenario {
	return []Scenario{
		{
			Name: "mempool-flood", Rule: "H01", Alert: "PeerObserverMempoolFlood", Severity: "ticket",
			Does: "A peer fills the mempool with transactions of one size. The node must have a small one (-maxmempool=5).",
			Twin: "A peer sends so many that a tenth of it is full.", Detect: 2 * time.Minute,
			provoke: func(ctx context.Context, t *Target) error { return fill(ctx, t, 0.96, 0) },
			twin:    func(ctx context.Context, t *Target) error { return fill(ctx, t, 0.1, 0) },
		},
		{
			Name: "mempool-overflow", Rule: "H02", Alert: "PeerObserverFeeFloorSpike", Severity: "ticket",
			Does: "A peer sends 1,200 transactions more than the mempool holds, each for a higher fee. The node must have a small one (-maxmempool=5).",
			Twin: "A peer sends so many that a tenth of it is full.", Detect: 2 * time.Minute,
			Also:    []string{"PeerObserverMempoolFlood"},
			provoke: func(ctx context.Context, t *Target) error { return fill(ctx, t, 0.9, 1200) },
			twin:    func(ctx context.Context, t *Target) error { return fill(ctx, t, 0.1, 0) },
		},
		{
			Name: "rejection-storm", Rule: "H04", Alert: "PeerObserverRejectionStorm", Severity: "ticket", Together: true,
			Does: "A peer sends 12,000 transactions of a version that isn't relayed.", Twin: "A peer sends 200 of them.", Detect: time.Minute,
			provoke: func(ctx context.Context, t *Target) error { return sendNonStandard(ctx, t, 12_000) },
			twin:    func(ctx context.Context, t *Target) error { return sendNonStandard(ctx, t, 200) },
		},
		{
			Name: "replacement-chain", Rule: "H03", Alert: "PeerObserverReplacementCycling", Severity: "ticket",
			Does: "A transaction is replaced twelve times, each time for a higher fee.", Twin: "A transaction is replaced three times.", Detect: time.Minute,
			provoke: func(ctx context.Context, t *Target) error { return replace(ctx, t, 12) },
			twin:    func(ctx context.Context, t *Target) error { return replace(ctx, t, 3) },
		},
	}
}

// replace gives the node a transaction and replaces it times times.
func replace(ctx context.Context, t *Target, times int) error {
	coins, err := t.take(ctx, 1)
	if err != nil {
		return err
	}
	const fee = 1000 // satoshi more each time
	for i := range times + 1 {
		tx := spend(coins[0])
		tx.AddTxOut(wire.NewTxOut(coins[0].value-int64(i+1)*fee, coinScript()))
		if err := t.submit(ctx, tx); err != nil {
			return err
		}
	}
	return t.awake(ctx, 1)
}

// sendNonStandard has a peer send transactions that every node refuses to relay, because
// of their version, before it looks at their inputs.
func sendNonStandard(ctx context.Context, t *Target, count int) error {
	const version = 99
	p, err := t.connect(ctx)
	if err != nil {
		return err
	}
	defer p.close()
	var all bytes.Buffer
	for range count {
		tx := orphan(false)
		tx.Version = version
		if err := wire.WriteMessage(&all, tx, protocolVersion, network); err != nil {
			return err
		}
	}
	if err := p.sendRaw(all.Bytes()); err != nil {
		return err
	}
	return p.handled(ctx)
}

// orphan is a transaction that spends an output that doesn't exist.
func orphan(witness bool) *wire.MsgTx {
	hash := randomHash(0)
	tx := wire.NewMsgTx(2)
	tx.AddTxIn(wire.NewTxIn(wire.NewOutPoint(&hash, 0), nil, nil))
	if witness {
		tx.TxIn[0].Witness = wire.TxWitness{[]byte{0x51}}
	}
	tx.AddTxOut(wire.NewTxOut(100_000, coinScript()))
	return tx
}

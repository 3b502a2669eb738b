package scenario

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/btcsuite/btcd/wire/v2"
)

// Filling the mempool.
const (
	// fillLimit is the largest mempool that scenarios fill, in bytes.
	fillLimit = 20_000_000
	// fillOutputs makes transactions of some 1,800 vbytes.
	fillOutputs = 40
	fillBatch   = 100
	// fillMemory is less than one of them takes in the mempool, in bytes.
	fillMemory = 1800
	// dust is more than any output must have, in satoshi.
	dust = 350
)

// mempoolInfo is the answer of getmempoolinfo, as far as scenarios need it.
type mempoolInfo struct {
	Size  int   `json:"size"`
	Usage int64 `json:"usage"`
	Max   int64 `json:"maxmempool"`
}

// fill has a peer send transactions of one size, each for a higher fee, until the mempool
// is as full as it should be and so many were evicted again, and has them mined after a
// while.
func fill(ctx context.Context, t *Target, share float64, evictions int) error {
	info, err := t.mempool(ctx)
	if err != nil {
		return err
	}
	if info.Max > fillLimit {
		return fmt.Errorf("a mempool of %d bytes is too large to fill, start the node with -maxmempool=5", info.Max)
	}
	// All at first: making coins mines blocks.
	coins, err := t.take(ctx, int(share*float64(info.Max))/fillMemory+evictions+fillBatch)
	if err != nil {
		return err
	}
	p, err := t.connect(ctx)
	if err != nil {
		return err
	}
	defer p.close()
	for sent := 0; sent+fillBatch <= len(coins); sent += fillBatch {
		if err := sendFilling(ctx, p, coins[sent:sent+fillBatch], sent); err != nil {
			return err
		}
		if info, err = t.mempool(ctx); err != nil {
			return err
		}
		if float64(info.Usage) >= share*float64(info.Max) && sent+fillBatch-info.Size >= evictions {
			return t.clear(ctx)
		}
	}
	return fmt.Errorf("the mempool is not full after %d transactions: %d of %d bytes, %d transactions", len(coins), info.Usage, info.Max, info.Size)
}

func (t *Target) mempool(ctx context.Context) (mempoolInfo, error) {
	var info mempoolInfo
	err := t.RPC.Call(ctx, "getmempoolinfo", nil, &info)
	return info, err
}

// sendFilling sends transactions for a higher fee than the number of those before.
func sendFilling(ctx context.Context, p *peer, coins []coin, before int) error {
	var all bytes.Buffer
	for i, source := range coins {
		tx := spend(source)
		fee := int64(2000 + before + i)
		for range fillOutputs - 1 {
			tx.AddTxOut(wire.NewTxOut(dust, coinScript()))
		}
		tx.AddTxOut(wire.NewTxOut(source.value-fee-(fillOutputs-1)*dust, coinScript()))
		if _, err := wire.WriteMessageWithEncodingN(&all, tx, protocolVersion, network, wire.LatestEncoding); err != nil {
			return err
		}
	}
	if err := p.sendRaw(all.Bytes()); err != nil {
		return err
	}
	return p.handled(ctx)
}

// clear has the mempool mined when the rules had time to see it.
func (t *Target) clear(ctx context.Context) error {
	const blocks = 12
	if err := t.wait(ctx, 3*time.Minute); err != nil {
		return err
	}
	return t.awake(ctx, blocks)
}

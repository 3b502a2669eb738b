package scenario

import (
	"context"
	"fmt"
	"time"

	"github.com/btcsuite/btcd/wire/v2"
)

func relayScenarios() []Scenario {
	return []Scenario{
		{
			Name: "mutated-blocks", Rule: "F05", Alert: "PeerObserverMutatedBlocks", Severity: "page",
			Does:   "Three peers each send a new block with one more transaction than its header commits to.",
			Twin:   "One peer does, as broken mining software is known to.",
			Detect: time.Minute,
			Also:   []string{"PeerObserverMutatedBlock"}, TwinMay: []string{"PeerObserverMutatedBlock"},
			provoke: func(ctx context.Context, t *Target) error { return sendMutated(ctx, t, 3) },
			twin:    func(ctx context.Context, t *Target) error { return sendMutated(ctx, t, 1) },
		},
		{
			Name: "invalid-block", Rule: "F06", Alert: "PeerObserverInvalidBlock", Severity: "page",
			Does:    "A peer announces and delivers a block whose coinbase takes one satoshi too much.",
			Twin:    "A peer announces and delivers a valid block that competes with the tip and loses.",
			Detect:  time.Minute,
			provoke: sendInvalid, twin: sendStale,
		},
	}
}

// sendMutated has peers send a mutated block; the node closes their connections.
func sendMutated(ctx context.Context, t *Target, peers int) error {
	if err := t.awake(ctx, 1); err != nil {
		return err
	}
	for range peers {
		on, err := t.best(ctx, 0)
		if err != nil {
			return err
		}
		blocks, err := mine(on, 1, 0)
		if err != nil {
			return err
		}
		p, err := t.connect(ctx)
		if err != nil {
			return err
		}
		err = p.send(mutate(blocks[0]))
		if err == nil {
			err = p.ended(ctx)
		}
		p.close()
		if err != nil {
			return err
		}
	}
	return nil
}

func sendInvalid(ctx context.Context, t *Target) error {
	block, err := offerBlock(ctx, t, 0, 1)
	if err != nil {
		return err
	}
	return t.waitStatus(ctx, block, "invalid")
}

func sendStale(ctx context.Context, t *Target) error {
	block, err := offerBlock(ctx, t, 1, 0)
	if err != nil {
		return err
	}
	return t.waitStatus(ctx, block, "valid-headers", "valid-fork")
}

// offerBlock has a peer offer a block on the one that is depth blocks below the tip.
func offerBlock(ctx context.Context, t *Target, depth int, extra int64) (*wire.MsgBlock, error) {
	if err := t.awake(ctx, 2); err != nil {
		return nil, err
	}
	on, err := t.best(ctx, depth)
	if err != nil {
		return nil, err
	}
	blocks, err := mine(on, 1, extra)
	if err != nil {
		return nil, err
	}
	p, err := t.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer p.close()
	if err := p.offer(blocks[0]); err != nil {
		return nil, err
	}
	return blocks[0], t.waitStatus(ctx, blocks[0], "invalid", "valid-headers", "valid-fork", "active")
}

// waitStatus waits until the node lists a block as a tip of one of the given states.
func (t *Target) waitStatus(ctx context.Context, block *wire.MsgBlock, states ...string) error {
	hash := block.BlockHash().String()
	return t.until(ctx, fmt.Sprintf("the node doesn't call block %s %v", hash, states), func() (bool, error) {
		var tips []struct {
			Hash   string `json:"hash"`
			Status string `json:"status"`
		}
		if err := t.RPC.Call(ctx, "getchaintips", nil, &tips); err != nil {
			return false, err
		}
		for _, tip := range tips {
			for _, state := range states {
				if tip.Hash == hash && tip.Status == state {
					return true, nil
				}
			}
		}
		return false, nil
	})
}

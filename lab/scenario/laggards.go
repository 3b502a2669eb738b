package scenario

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"time"

	"github.com/btcsuite/btcd/wire/v2"
)

func laggardScenarios() []Scenario {
	return []Scenario{{
		Name: "peers-behind", Rule: "F09", Alert: "PeerObserverPeersBehind", Severity: "ticket", Together: true,
		Does:   "Twelve peers say that their chain ends ten blocks below the node's, and stay for ten minutes.",
		Twin:   "Two peers do, as if they were still downloading it.",
		Detect: 7 * time.Minute,
		provoke: func(ctx context.Context, t *Target) error {
			return lag(ctx, t, 12, max(t.span(10*time.Minute), patience))
		},
		twin: func(ctx context.Context, t *Target) error { return lag(ctx, t, 2, t.span(8*time.Minute)) },
	}}
}

// lag has peers announce a block that the node has ten blocks below its tip, and one more
// announce the tip, and stay.
func lag(ctx context.Context, t *Target, peers int, stay time.Duration) error {
	const behind = 10
	if err := t.awake(ctx, behind); err != nil {
		return err
	}
	for i := range peers + 1 {
		depth := behind
		if i == peers {
			depth = 0
		}
		header, err := t.header(ctx, depth)
		if err != nil {
			return err
		}
		p, err := t.connect(ctx)
		if err != nil {
			return err
		}
		defer p.close()
		announcement := wire.NewMsgHeaders()
		if err := announcement.AddBlockHeader(header); err != nil {
			return err
		}
		if err := errors.Join(p.send(announcement), p.handled(ctx)); err != nil {
			return err
		}
	}
	return pause(ctx, stay)
}

// header gives that of the block that is depth blocks below the tip of the node's chain.
func (t *Target) header(ctx context.Context, depth int) (*wire.BlockHeader, error) {
	on, err := t.best(ctx, depth)
	if err != nil {
		return nil, err
	}
	var text string
	if err := t.RPC.Call(ctx, "getblockheader", []any{on.hash.String(), false}, &text); err != nil {
		return nil, err
	}
	raw, err := hex.DecodeString(text)
	if err != nil {
		return nil, err
	}
	header := new(wire.BlockHeader)
	return header, header.Deserialize(bytes.NewReader(raw))
}

package scenario

import (
	"context"
	"errors"
	"time"

	"github.com/btcsuite/btcd/wire/v2"
)

func stallingScenarios() []Scenario {
	return []Scenario{{
		Name: "block-stalling", Rule: "F01", Alert: "PeerObserverBlockWithheld", Severity: "page",
		Does:   "A peer announces a block by its header and doesn't answer when the node asks for it, for four minutes.",
		Twin:   "A peer delivers the block ten seconds after it was asked.",
		Detect: 3 * time.Minute, Also: []string{"PeerObserverBlockStalled"},
		provoke: func(ctx context.Context, t *Target) error { return withhold(ctx, t, 1, 4*time.Minute) },
		twin:    func(ctx context.Context, t *Target) error { return withhold(ctx, t, 1, 10*time.Second) },
	}}
}

// withhold announces blocks and delivers them late.
func withhold(ctx context.Context, t *Target, count int, span time.Duration) error {
	if err := t.awake(ctx, 1); err != nil {
		return err
	}
	on, err := t.best(ctx, 0)
	if err != nil {
		return err
	}
	blocks, err := mine(on, count, 0)
	if err != nil {
		return err
	}
	asked := make(chan struct{}, 1)
	p, err := t.connectAs(ctx, persona{answer: func(_ *peer, message wire.Message) (bool, error) {
		if _, ask := message.(*wire.MsgGetData); !ask {
			return true, nil
		}
		select {
		case asked <- struct{}{}:
		default:
		}
		return false, nil
	}})
	if err != nil {
		return err
	}
	defer p.close()
	if err := p.offer(blocks...); err != nil {
		return err
	}
	select {
	case <-asked:
	case <-p.closed:
		return errors.New("the node has closed the connection of the peer that announced a block")
	case <-time.After(handshakeTime):
		return errors.New("the node doesn't ask for the block")
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := t.wait(ctx, span); err != nil {
		return err
	}
	for _, block := range blocks {
		if err := p.send(block); err != nil {
			return err
		}
	}
	return t.waitTip(ctx, blocks[count-1].BlockHash())
}

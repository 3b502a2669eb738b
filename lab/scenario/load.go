package scenario

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/btcsuite/btcd/wire/v2"
)

func loadScenarios() []Scenario {
	return []Scenario{
		{
			Name: "announcement-backlog", Rule: "B02", Alert: "PeerObserverAnnouncementBacklogHuge", Severity: "page",
			Does: "Sixteen peers listen while the node gets 1,000 transactions at once, and stay for ten minutes.",
			Twin: "They listen while it gets 80.", Detect: 7 * time.Minute,
			Also:    []string{"PeerObserverAnnouncementBacklog"},
			provoke: func(ctx context.Context, t *Target) error { return backlog(ctx, t, 1000, 10*time.Minute) },
			twin:    func(ctx context.Context, t *Target) error { return backlog(ctx, t, 80, time.Minute) },
		},
		{
			Name: "slow-block", Rule: "B08", Alert: "PeerObserverBlockVerySlow", Severity: "page",
			Does: "A peer delivers a block with 800 transactions while the node's process gets nearly no time, until it is connected.",
			Twin: "A peer delivers such a block.", Detect: time.Minute, Needs: NeedsProcess,
			Also: []string{
				"PeerObserverBlockSlow", "PeerObserverMessageThreadSaturated", "PeerObserverMessageThreadSlow", "PeerObserverSourceSilent",
				"PeerObserverRpcSlow", "PeerObserverEventsLost", "PeerObserverEventsLostMany",
			},
			provoke: func(ctx context.Context, t *Target) error { return connectLarge(ctx, t, true) },
			twin:    func(ctx context.Context, t *Target) error { return connectLarge(ctx, t, false) },
		},
		{
			Name: "query-abuse", Rule: "B10", Alert: "PeerObserverQueryAbuse", Severity: "ticket", Together: true,
			Does: "A peer asks for headers 300 times.", Twin: "A peer asks for headers ten times.", Detect: time.Minute,
			provoke: func(ctx context.Context, t *Target) error { return askHeaders(ctx, t, 300) },
			twin:    func(ctx context.Context, t *Target) error { return askHeaders(ctx, t, 10) },
		},
	}
}

// backlog gives the node transactions for peers that wait for them, and has them mined in
// the end.
func backlog(ctx context.Context, t *Target, count int, span time.Duration) error {
	const listeners = 16
	coins, err := t.take(ctx, count)
	if err != nil {
		return err
	}
	for range listeners {
		p, err := t.connect(ctx)
		if err != nil {
			return err
		}
		defer p.close()
	}
	source, err := t.connect(ctx)
	if err != nil {
		return err
	}
	defer source.close()
	const fee = 1000 // satoshi
	var all bytes.Buffer
	for _, c := range coins {
		tx := spend(c)
		tx.AddTxOut(wire.NewTxOut(c.value-fee, coinScript()))
		if _, err := wire.WriteMessageWithEncodingN(&all, tx, protocolVersion, network, wire.LatestEncoding); err != nil {
			return err
		}
	}
	if err := errors.Join(source.sendRaw(all.Bytes()), source.handled(ctx)); err != nil {
		return err
	}
	return errors.Join(t.wait(ctx, span), t.awake(ctx, 2))
}

// connectLarge has a peer deliver a block that takes the node some milliseconds to connect,
// or, if its process is stopped nearly all the time, seconds.
func connectLarge(ctx context.Context, t *Target, slowly bool) error {
	const transactions = 800
	coins, err := t.take(ctx, transactions)
	if err != nil {
		return err
	}
	var spending []*wire.MsgTx
	for _, source := range coins {
		tx := spend(source)
		tx.AddTxOut(wire.NewTxOut(source.value, coinScript()))
		spending = append(spending, tx)
	}
	if err := t.awake(ctx, 1); err != nil {
		return err
	}
	on, err := t.best(ctx, 0)
	if err != nil {
		return err
	}
	block, err := mineWith(on, spending...)
	if err != nil {
		return err
	}
	p, err := t.connect(ctx)
	if err != nil {
		return err
	}
	defer p.close()
	if err := p.send(block); err != nil {
		return err
	}
	if !slowly {
		return t.waitTip(ctx, block.BlockHash())
	}
	connected := make(chan error, 1)
	go func() { connected <- t.waitTip(ctx, block.BlockHash()) }()
	for {
		if err := stopped(t.PID(), func() error { return pause(ctx, time.Second) }); err != nil {
			return errors.Join(err, <-connected)
		}
		select {
		case err := <-connected:
			return err
		case <-time.After(time.Millisecond):
		}
	}
}

// askHeaders has a peer ask for the headers after the tip, of which there are none.
func askHeaders(ctx context.Context, t *Target, count int) error {
	on, err := t.best(ctx, 0)
	if err != nil {
		return err
	}
	ask := wire.NewMsgGetHeaders()
	ask.ProtocolVersion = protocolVersion
	if err := ask.AddBlockLocatorHash(&on.hash); err != nil {
		return err
	}
	var all bytes.Buffer
	for range count {
		if _, err := wire.WriteMessageWithEncodingN(&all, ask, protocolVersion, network, wire.LatestEncoding); err != nil {
			return err
		}
	}
	return flood(ctx, t, all.Bytes())
}

package scenario

import (
	"context"
	"time"

	"github.com/btcsuite/btcd/wire/v2"
)

func transactionScenarios() []Scenario {
	return []Scenario{
		{
			Name: "transaction-withholding", Rule: "F04", Alert: "PeerObserverTransactionsWithheld", Severity: "ticket", Together: true,
			Does: "A peer announces 500 transactions, doesn't answer when the node asks for them, and stays for two minutes.",
			Twin: "A peer announces 500 and answers that it doesn't have them any more.",
			// The node waits for a minute.
			Detect:  2 * time.Minute,
			provoke: withholdTransactions, twin: forgetTransactions,
		},
		{
			Name: "transaction-blackout", Rule: "F10", Alert: "PeerObserverNoTransactions", Severity: "page", Together: true,
			Does: "The node gets sixty transactions, connects to eight peers, and then no transaction comes for twelve minutes.",
			Twin: "One comes every half minute.", Detect: 12 * time.Minute,
			Also:    []string{"PeerObserverFewTransactions"},
			provoke: func(ctx context.Context, t *Target) error { return blackOut(ctx, t, 0) },
			twin:    func(ctx context.Context, t *Target) error { return blackOut(ctx, t, 30*time.Second) },
		},
	}
}

// withheldTransactions is how many are announced.
const withheldTransactions = 500

// withholdTransactions has a peer announce transactions and never deliver them.
func withholdTransactions(ctx context.Context, t *Target) error {
	p, err := t.connect(ctx)
	if err != nil {
		return err
	}
	defer p.close()
	if err := p.sendRaw(inventory("inv", wire.InvTypeTx, withheldTransactions, randomHash)); err != nil {
		return err
	}
	// The node waits for a minute, which isn't scaled.
	const answerTime = 75 * time.Second
	return pause(ctx, max(t.span(2*time.Minute), answerTime))
}

// forgetTransactions has a peer announce transactions and say that it hasn't them.
func forgetTransactions(ctx context.Context, t *Target) error {
	p, err := t.connectAs(ctx, persona{answer: func(p *peer, m wire.Message) (bool, error) {
		request, ask := m.(*wire.MsgGetData)
		if !ask {
			return true, nil
		}
		missing := wire.NewMsgNotFound()
		missing.InvList = request.InvList
		return false, p.send(missing)
	}})
	if err != nil {
		return err
	}
	defer p.close()
	if err := p.sendRaw(inventory("inv", wire.InvTypeTx, withheldTransactions, randomHash)); err != nil {
		return err
	}
	if err := p.handled(ctx); err != nil {
		return err
	}
	return t.wait(ctx, 2*time.Minute)
}

// blackOut gives the node transactions and outbound peers, and for twelve minutes one more
// transaction every so often; never when every is 0.
func blackOut(ctx context.Context, t *Target, every time.Duration) error {
	const first, peers, span = 60, 8, 12 * time.Minute
	more := 0
	if every > 0 {
		more = int(span / every)
	}
	coins, err := t.take(ctx, first+more)
	if err != nil {
		return err
	}
	give := func(source coin) error {
		const fee = 2000 // satoshi
		tx := spend(source)
		tx.AddTxOut(wire.NewTxOut(source.value-fee, coinScript()))
		return t.submit(ctx, tx)
	}
	for _, source := range coins[:first] {
		if err := give(source); err != nil {
			return err
		}
	}
	for range peers {
		p, err := t.accept(ctx, persona{})
		if err != nil {
			return err
		}
		defer p.close()
	}
	for _, source := range coins[first:] {
		if err := t.wait(ctx, every); err != nil {
			return err
		}
		if err := give(source); err != nil {
			return err
		}
	}
	if more == 0 {
		if err := pause(ctx, max(t.span(span), patience)); err != nil {
			return err
		}
	}
	// They are mined, so that the next who looks at the mempool finds it as it was.
	return t.awake(ctx, 1)
}

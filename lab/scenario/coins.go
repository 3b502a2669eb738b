package scenario

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"github.com/btcsuite/btcd/wire/v2"
)

// coin is an output that anybody can spend, P2WSH of the script OP_TRUE: no wallet and no
// keys are needed, and spending it is standard.
type coin struct {
	outpoint wire.OutPoint
	value    int64 // satoshi
}

// purse holds the coins that scenarios have made and not spent.
type purse struct {
	mu    sync.Mutex
	coins []coin
}

const (
	maturity      = 100     // blocks until a coinbase may be spent (consensus.h)
	confirmations = 10      // of coins
	maxFanOut     = 2000    // outputs of one transaction, below the limit of 100,000 vbytes
	fanOutFee     = 200_000 // satoshi
	minCoin       = 20_000  // satoshi
)

func opTrue() []byte { return []byte{0x51} }

// coinScript is the output script of every coin.
func coinScript() []byte {
	program := sha256.Sum256(opTrue())
	return append([]byte{0x00, 0x20}, program[:]...) // OP_0 <32 bytes>
}

// take gives confirmed coins. It mines what is missing, and 100 blocks more, until their
// coinbases may be spent.
func (t *Target) take(ctx context.Context, count int) ([]coin, error) {
	t.purse.mu.Lock()
	defer t.purse.mu.Unlock()
	if missing := count - len(t.purse.coins); missing > 0 {
		if err := t.coin(ctx, missing); err != nil {
			return nil, fmt.Errorf("making coins: %w", err)
		}
	}
	taken := t.purse.coins[:count:count]
	t.purse.coins = t.purse.coins[count:]
	return taken, nil
}

// coin mines and splits coinbases.
func (t *Target) coin(ctx context.Context, count int) error {
	sources := (count + maxFanOut - 1) / maxFanOut
	descriptor := "raw(" + hex.EncodeToString(coinScript()) + ")"
	blocks, err := t.generate(ctx, sources, descriptor)
	if err != nil {
		return err
	}
	if err := t.awake(ctx, maturity); err != nil {
		return err
	}
	for _, hash := range blocks {
		source, err := t.coinbase(ctx, hash)
		if err != nil {
			return err
		}
		outputs := min(maxFanOut, max((source.value-fanOutFee)/minCoin, 0))
		if outputs == 0 {
			return errors.New("the subsidy is used up: it halves every 150 blocks of regtest, begin with a new data directory")
		}
		value := (source.value - fanOutFee) / outputs
		tx := spend(source)
		for range outputs {
			tx.AddTxOut(wire.NewTxOut(value, coinScript()))
		}
		if err := t.submit(ctx, tx); err != nil {
			return err
		}
		id := tx.TxHash()
		for i := range outputs {
			t.purse.coins = append(t.purse.coins, coin{*wire.NewOutPoint(&id, uint32(i)), value})
		}
	}
	if len(t.purse.coins) < count {
		return fmt.Errorf("%d coins of %d: the subsidy is used up, begin with a new data directory", len(t.purse.coins), count)
	}
	// As many that a reorganization doesn't take them away.
	return t.awake(ctx, confirmations)
}

// coinbase gives the reward of a block of the node.
func (t *Target) coinbase(ctx context.Context, hash string) (coin, error) {
	var text string
	if err := t.RPC.Call(ctx, "getblock", []any{hash, 0}, &text); err != nil {
		return coin{}, err
	}
	raw, err := hex.DecodeString(text)
	if err != nil {
		return coin{}, err
	}
	var block wire.MsgBlock
	if err := block.Deserialize(bytes.NewReader(raw)); err != nil {
		return coin{}, err
	}
	reward := block.Transactions[0]
	id := reward.TxHash()
	return coin{*wire.NewOutPoint(&id, 0), reward.TxOut[0].Value}, nil
}

// spend begins a transaction that spends a coin, and says with its sequence number that
// it may be replaced (BIP125).
func spend(source coin) *wire.MsgTx {
	tx := wire.NewMsgTx(2)
	tx.AddTxIn(wire.NewTxIn(&source.outpoint, nil, wire.TxWitness{opTrue()}))
	tx.TxIn[0].Sequence = wire.MaxTxInSequenceNum - 2
	return tx
}

// submit gives a transaction to the node.
func (t *Target) submit(ctx context.Context, tx *wire.MsgTx) error {
	var raw bytes.Buffer
	if err := tx.Serialize(&raw); err != nil {
		return err
	}
	// No limit on the fee: some scenarios pay much.
	return t.RPC.Call(ctx, "sendrawtransaction", []any{hex.EncodeToString(raw.Bytes()), 0}, nil)
}

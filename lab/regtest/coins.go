package regtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

// Coins are outputs that anybody can spend, P2WSH of the script OP_TRUE: no
// wallet and no keys are needed, and spending them is standard.

// Amounts in satoshi.
const (
	minCoin   = 20_000  // a smaller output isn't worth spending
	maxFee    = 2_000   // some 20 sat/vB for our transactions
	minFee    = 200     // some 2 sat/vB, above the minimum relay fee
	fanOutFee = 200_000 // for the large transaction that splits a coinbase
)

const (
	coinbaseMaturity = 100  // blocks (consensus.h)
	maxCoinbases     = 1000 // remembered; more aren't needed
	forgetAfter      = 6    // blocks after which a transaction that isn't seen is taken for lost
	maxFanOut        = 2000 // outputs; 43 bytes each, below the 100 kvB standard limit
)

// opTrue returns the script that is always satisfied (OP_1).
func opTrue() []byte { return []byte{0x51} }

// coinScript is the output script of every coin of ours.
func coinScript() []byte {
	program := sha256.Sum256(opTrue())
	return append([]byte{0x00, 0x20}, program[:]...) // OP_0 <32 bytes>
}

// coinDescriptor is coinScript as an output descriptor.
func coinDescriptor() string { return "raw(" + hex.EncodeToString(coinScript()) + ")" }

type coin struct {
	outpoint wire.OutPoint
	value    int64 // satoshi
}

// coinbase is a coin that matures.
type coinbase struct {
	coin
	height int64
}

// pending is a coin that isn't confirmed as far as we know.
type pending struct {
	coin
	since int64 // height when its transaction was made
}

// coins is what a node's helper can spend.
type coins struct {
	ready     []coin    // confirmed, unspent
	pending   []pending // outputs of transactions of ours, perhaps not confirmed
	coinbases []coinbase
}

// Mine mines count blocks on top of the node's chain and returns their hashes.
// The rewards are coins for SendTransactions.
func (n *Node) Mine(ctx context.Context, count int) ([]string, error) {
	n.coinsMutex.Lock()
	defer n.coinsMutex.Unlock()
	return n.mine(ctx, count)
}

func (n *Node) mine(ctx context.Context, count int) ([]string, error) {
	var hashes []string
	err := n.Call(ctx, "generatetodescriptor", []any{count, coinDescriptor()}, &hashes)
	if err != nil {
		return nil, err
	}
	for _, hash := range hashes {
		if err := n.rememberCoinbase(ctx, hash); err != nil {
			return nil, err
		}
	}
	return hashes, nil
}

func (n *Node) rememberCoinbase(ctx context.Context, blockHash string) error {
	if len(n.coins.coinbases) >= maxCoinbases {
		return nil
	}
	var text string
	if err := n.Call(ctx, "getblock", []any{blockHash, 0}, &text); err != nil {
		return err
	}
	raw, err := hex.DecodeString(text)
	if err != nil {
		return fmt.Errorf("block %s: %w", blockHash, err)
	}
	var block wire.MsgBlock
	if err := block.Deserialize(bytes.NewReader(raw)); err != nil {
		return fmt.Errorf("block %s: %w", blockHash, err)
	}
	var header struct {
		Height int64 `json:"height"`
	}
	if err := n.Call(ctx, "getblockheader", []any{blockHash}, &header); err != nil {
		return err
	}
	reward := block.Transactions[0]
	n.coins.coinbases = append(n.coins.coinbases, coinbase{
		coin:   coin{wire.OutPoint{Hash: reward.TxHash()}, reward.TxOut[0].Value},
		height: header.Height,
	})
	return nil
}

// Fund makes sure that count transactions can be made, mining blocks where
// coins are missing: 101 the first time, then a few.
func (n *Node) Fund(ctx context.Context, count int) error {
	n.coinsMutex.Lock()
	defer n.coinsMutex.Unlock()
	return n.fund(ctx, count)
}

func (n *Node) fund(ctx context.Context, count int) error {
	for {
		if err := n.settlePending(ctx); err != nil {
			return err
		}
		missing := count - len(n.coins.ready)
		if missing <= 0 {
			return nil
		}
		source, err := n.matureCoinbase(ctx)
		if err != nil {
			return err
		}
		// Some to spare, so that a test that sends one at a time doesn't mine
		// for each.
		tx := fanOut(source, min(max(missing, 100), maxFanOut))
		if _, err := n.Submit(ctx, tx); err != nil {
			return fmt.Errorf("splitting a coinbase: %w", err)
		}
		if err := n.expect(ctx, tx); err != nil {
			return err
		}
		if _, err := n.mine(ctx, 1); err != nil {
			return err
		}
	}
}

// expect notes the outputs of a transaction of ours.
func (n *Node) expect(ctx context.Context, transactions ...*wire.MsgTx) error {
	var height int64
	if err := n.Call(ctx, "getblockcount", nil, &height); err != nil {
		return err
	}
	for _, tx := range transactions {
		for _, output := range outputsOf(tx) {
			n.coins.pending = append(n.coins.pending, pending{output, height})
		}
	}
	return nil
}

// settlePending moves outputs that have been confirmed to the ready ones and
// forgets those of transactions that never show up. One that was given to
// another node takes a while to get here.
func (n *Node) settlePending(ctx context.Context) error {
	if len(n.coins.pending) == 0 {
		return nil
	}
	var height int64
	if err := n.Call(ctx, "getblockcount", nil, &height); err != nil {
		return err
	}
	unconfirmed, err := n.mempool(ctx)
	if err != nil {
		return err
	}
	var still []pending
	for _, c := range n.coins.pending {
		if unconfirmed[c.outpoint.Hash.String()] {
			still = append(still, c)
			continue
		}
		var output struct {
			Confirmations int `json:"confirmations"`
		}
		if err := n.Call(ctx, "gettxout", []any{c.outpoint.Hash.String(), c.outpoint.Index}, &output); err != nil {
			return err
		}
		switch {
		case output.Confirmations > 0:
			n.coins.ready = append(n.coins.ready, c.coin)
		case height < c.since+forgetAfter:
			still = append(still, c)
		}
	}
	n.coins.pending = still
	return nil
}

// matureCoinbase takes a coinbase that can be spent in the next block, mining
// until there is one.
func (n *Node) matureCoinbase(ctx context.Context) (coin, error) {
	for range 3 {
		var height int64
		if err := n.Call(ctx, "getblockcount", nil, &height); err != nil {
			return coin{}, err
		}
		wait := int64(coinbaseMaturity + 1)
		for len(n.coins.coinbases) > 0 {
			first := n.coins.coinbases[0]
			if wait = first.height + coinbaseMaturity - (height + 1); wait > 0 {
				break
			}
			n.coins.coinbases = n.coins.coinbases[1:]
			if first.value >= fanOutFee+minCoin {
				return first.coin, nil
			}
			wait = coinbaseMaturity + 1
		}
		if _, err := n.mine(ctx, int(wait)); err != nil {
			return coin{}, err
		}
	}
	return coin{}, errors.New("no spendable coinbase: the regtest subsidy is used up (it halves every 150 blocks)")
}

// fanOut splits a coin into count equal ones, fewer if they would be too small.
func fanOut(source coin, count int) *wire.MsgTx {
	value := source.value - fanOutFee
	count = max(1, min(count, int(value/minCoin)))
	tx := spend(source)
	for range count {
		tx.AddTxOut(wire.NewTxOut(value/int64(count), coinScript()))
	}
	return tx
}

// spend begins a transaction that spends a coin.
func spend(source coin) *wire.MsgTx {
	tx := wire.NewMsgTx(2)
	tx.AddTxIn(wire.NewTxIn(&source.outpoint, nil, wire.TxWitness{opTrue()}))
	return tx
}

func outputsOf(tx *wire.MsgTx) []coin {
	hash := tx.TxHash()
	var outputs []coin
	for i, output := range tx.TxOut {
		if output.Value >= minCoin {
			outputs = append(outputs, coin{wire.OutPoint{Hash: hash, Index: uint32(i)}, output.Value})
		}
	}
	return outputs
}

// NewTransactions returns count valid, independent transactions with differing
// fees, each spending a confirmed coin, without sending them: for a scripted
// peer to announce. It mines blocks where coins are missing (see Fund).
func (n *Node) NewTransactions(ctx context.Context, count int) ([]*wire.MsgTx, error) {
	n.coinsMutex.Lock()
	defer n.coinsMutex.Unlock()
	if err := n.fund(ctx, count); err != nil {
		return nil, err
	}
	transactions := make([]*wire.MsgTx, 0, count)
	for range count {
		source := n.coins.ready[0]
		n.coins.ready = n.coins.ready[1:]
		tx := spend(source)
		tx.AddTxOut(wire.NewTxOut(source.value-minFee-rand.Int64N(maxFee-minFee), coinScript()))
		transactions = append(transactions, tx)
	}
	return transactions, n.expect(ctx, transactions...)
}

// SendTransactions makes count transactions and submits them to the node's
// mempool. It returns their ids.
func (n *Node) SendTransactions(ctx context.Context, count int) ([]string, error) {
	return n.SendTransactionsVia(ctx, n, count)
}

// SendTransactionsVia is SendTransactions with n's coins through another node
// of the same network.
func (n *Node) SendTransactionsVia(ctx context.Context, via *Node, count int) ([]string, error) {
	transactions, err := n.NewTransactions(ctx, count)
	if err != nil {
		return nil, err
	}
	ids := make([]string, 0, count)
	for _, tx := range transactions {
		id, err := via.Submit(ctx, tx)
		if err != nil {
			return ids, err
		}
		ids = append(ids, id.String())
	}
	return ids, nil
}

// Submit gives a transaction to the node (RPC sendrawtransaction).
func (n *Node) Submit(ctx context.Context, tx *wire.MsgTx) (chainhash.Hash, error) {
	var raw bytes.Buffer
	if err := tx.Serialize(&raw); err != nil {
		return chainhash.Hash{}, err
	}
	err := n.Call(ctx, "sendrawtransaction", []any{hex.EncodeToString(raw.Bytes())}, nil)
	return tx.TxHash(), err
}

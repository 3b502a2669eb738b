package scenario

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/btcsuite/btcd/wire/v2"
)

// History of a chain that honest traffic goes on.
const (
	// historyBlocks is how many blocks a new chain gets, and what a peer that catches up
	// takes of the node.
	historyBlocks = 2000
	// historyInterval lies between two of them.
	historyInterval = 10 * time.Minute
	// historyCoinbases is how many of the first rewards become coins: 2,000 each.
	historyCoinbases = 6
	// minSpent is the smallest coin that is spent again, in satoshi.
	minSpent = 50_000
)

// history gives the node a chain of two weeks with coins in it, if its chain is empty. A
// chain that it has already stays as it is.
func (t *Target) history(ctx context.Context) error {
	t.mining.Lock()
	defer t.mining.Unlock()
	on, err := t.best(ctx, 0)
	if err != nil {
		return err
	}
	if on.height > 0 {
		return nil
	}
	on.time = time.Now().Add(-historyBlocks * historyInterval)
	var rewards []coin
	for range historyBlocks {
		var fans []*wire.MsgTx
		if i := int(on.height) - maturity; i >= 0 && i < len(rewards) {
			fans = append(fans, fanOut(rewards[i]))
		}
		block, err := mineWith(on, fans...)
		if err != nil {
			return err
		}
		if on.height < historyCoinbases {
			reward := block.Transactions[0]
			reward.TxOut[0].PkScript = coinScript()
			id := reward.TxHash()
			block.Header.MerkleRoot = id // there is no other transaction
			if err := work(&block.Header); err != nil {
				return err
			}
			rewards = append(rewards, coin{*wire.NewOutPoint(&id, 0), reward.TxOut[0].Value})
		}
		if err := t.submitBlock(ctx, block); err != nil {
			return fmt.Errorf("block %d: %w", on.height+1, err)
		}
		t.collect(block)
		on = tip{hash: block.BlockHash(), height: on.height + 1, time: on.time.Add(historyInterval)}
	}
	return nil
}

// fanOut splits a coin into as many as a transaction may have.
func fanOut(source coin) *wire.MsgTx {
	tx := spend(source)
	value := (source.value - fanOutFee) / maxFanOut
	for range maxFanOut {
		tx.AddTxOut(wire.NewTxOut(value, coinScript()))
	}
	return tx
}

// submitBlock gives the node a block as a miner does.
func (t *Target) submitBlock(ctx context.Context, block *wire.MsgBlock) error {
	var raw bytes.Buffer
	if err := block.Serialize(&raw); err != nil {
		return err
	}
	var refused *string
	if err := t.RPC.Call(ctx, "submitblock", []any{hex.EncodeToString(raw.Bytes())}, &refused); err != nil {
		return err
	}
	if refused != nil {
		return fmt.Errorf("the node refuses a block: %s", *refused)
	}
	return nil
}

// collect puts the outputs of a block that anybody can spend into the purse, but not its
// reward, which nobody can yet.
func (t *Target) collect(block *wire.MsgBlock) {
	t.purse.mu.Lock()
	defer t.purse.mu.Unlock()
	for _, tx := range block.Transactions[1:] {
		id := tx.TxHash()
		for i, output := range tx.TxOut {
			if output.Value >= minSpent && bytes.Equal(output.PkScript, coinScript()) {
				t.purse.coins = append(t.purse.coins, coin{*wire.NewOutPoint(&id, uint32(i)), output.Value})
			}
		}
	}
}

// recover puts all coins of the chain into the purse, when it is empty: those of an earlier
// run.
func (t *Target) recover(ctx context.Context) error {
	t.purse.mu.Lock()
	defer t.purse.mu.Unlock()
	if len(t.purse.coins) > 0 {
		return nil
	}
	var found struct {
		Unspent []struct {
			ID       string  `json:"txid"`
			Index    uint32  `json:"vout"`
			Amount   float64 `json:"amount"`
			Coinbase bool    `json:"coinbase"`
		} `json:"unspents"`
	}
	wanted := []string{"raw(" + hex.EncodeToString(coinScript()) + ")"}
	if err := t.RPC.Call(ctx, "scantxoutset", []any{"start", wanted}, &found); err != nil {
		return fmt.Errorf("looking for coins: %w", err)
	}
	for _, u := range found.Unspent {
		value := int64(u.Amount*1e8 + 0.5)
		if u.Coinbase || value < minSpent {
			continue
		}
		point, err := wire.NewOutPointFromString(fmt.Sprintf("%s:%d", u.ID, u.Index))
		if err != nil {
			return err
		}
		t.purse.coins = append(t.purse.coins, coin{*point, value})
	}
	return nil
}

// some takes a coin of the purse, if there is one.
func (t *Target) some() (coin, bool) {
	t.purse.mu.Lock()
	defer t.purse.mu.Unlock()
	if len(t.purse.coins) == 0 {
		return coin{}, false
	}
	taken := t.purse.coins[0]
	t.purse.coins = t.purse.coins[1:]
	return taken, true
}

// template makes the block that the node would mine: on its tip, with what is in its mempool.
func (t *Target) template(ctx context.Context) (*wire.MsgBlock, error) {
	on, err := t.best(ctx, 0)
	if err != nil {
		return nil, err
	}
	var proposed struct {
		Transactions []struct {
			Data string `json:"data"`
		} `json:"transactions"`
	}
	if err := t.RPC.Call(ctx, "getblocktemplate", []any{map[string]any{"rules": []string{"segwit"}}}, &proposed); err != nil {
		return nil, err
	}
	transactions := make([]*wire.MsgTx, 0, len(proposed.Transactions))
	for _, p := range proposed.Transactions {
		raw, err := hex.DecodeString(p.Data)
		if err != nil {
			return nil, err
		}
		tx := new(wire.MsgTx)
		if err := tx.Deserialize(bytes.NewReader(raw)); err != nil {
			return nil, err
		}
		transactions = append(transactions, tx)
	}
	return mineWith(on, transactions...)
}

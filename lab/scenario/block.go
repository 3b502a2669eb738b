package scenario

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

// tip is a block to build on.
type tip struct {
	hash   chainhash.Hash
	height int32
	// time is the lowest time that the next block may have.
	time time.Time
}

// Regtest's rules (chainparams.cpp).
const (
	regtestBits      = 0x207fffff
	blockVersion     = 0x20000000
	firstSubsidy     = 50 * 1e8 // satoshi
	subsidyHalvening = 150      // blocks
)

// best gives the block that is depth blocks below the tip of the node's chain.
func (t *Target) best(ctx context.Context, depth int) (tip, error) {
	var height int
	if err := t.RPC.Call(ctx, "getblockcount", nil, &height); err != nil {
		return tip{}, err
	}
	if height < depth {
		return tip{}, fmt.Errorf("the chain has %d blocks only", height)
	}
	var hash string
	if err := t.RPC.Call(ctx, "getblockhash", []any{height - depth}, &hash); err != nil {
		return tip{}, err
	}
	var header struct {
		MedianTime int64 `json:"mediantime"`
	}
	if err := t.RPC.Call(ctx, "getblockheader", []any{hash}, &header); err != nil {
		return tip{}, err
	}
	parsed, err := chainhash.NewHashFromStr(hash)
	if err != nil {
		return tip{}, err
	}
	earliest := time.Unix(header.MedianTime+1, 0)
	if now := time.Now(); now.After(earliest) {
		earliest = now
	}
	return tip{hash: *parsed, height: int32(height - depth), time: earliest}, nil
}

// awake mines a block, so that the node is out of initial block download, in which it
// takes no part in relay, and has something to build on.
func (t *Target) awake(ctx context.Context, blocks int) error {
	_, err := t.generate(ctx, blocks, "raw(51)")
	return err
}

// generate has the node mine blocks whose rewards go to a descriptor, and gives their
// hashes.
func (t *Target) generate(ctx context.Context, blocks int, descriptor string) ([]string, error) {
	t.mining.Lock()
	defer t.mining.Unlock()
	var hashes []string
	err := t.RPC.Call(ctx, "generatetodescriptor", []any{blocks, descriptor}, &hashes)
	return hashes, err
}

// subsidy is what a miner of regtest may take at a height.
func subsidy(height int32) int64 {
	halvings := height / subsidyHalvening
	if halvings >= 63 {
		return 0
	}
	return int64(firstSubsidy) >> halvings
}

// mine makes a chain of count empty blocks with valid proof of work on top of a block,
// none of which the node has. extra satoshi are taken beyond the subsidy.
func mine(on tip, count int, extra int64) ([]*wire.MsgBlock, error) {
	var blocks []*wire.MsgBlock
	for range count {
		height := on.height + 1
		reward := wire.NewMsgTx(2)
		reward.AddTxIn(wire.NewTxIn(wire.NewOutPoint(&chainhash.Hash{}, wire.MaxPrevOutIndex), coinbaseScript(height), nil))
		reward.AddTxOut(wire.NewTxOut(subsidy(height)+extra, []byte{0x51}))
		root := reward.TxHash()
		block := wire.NewMsgBlock(wire.NewBlockHeader(blockVersion, &on.hash, &root, regtestBits, 0))
		block.Header.Timestamp = time.Unix(on.time.Unix(), 0)
		if err := block.AddTransaction(reward); err != nil {
			return nil, err
		}
		if err := work(&block.Header); err != nil {
			return nil, err
		}
		blocks = append(blocks, block)
		on = tip{hash: block.BlockHash(), height: height, time: on.time.Add(time.Second)}
	}
	return blocks, nil
}

// coinbaseScript begins with the height (BIP34) and goes on with a random number, so
// that no two are the same.
func coinbaseScript(height int32) []byte {
	script := pushNumber(int64(height))
	nonce := randomNonce()
	script = append(script, 8)
	for range 8 {
		script = append(script, byte(nonce))
		nonce >>= 8
	}
	return script
}

// pushNumber is the script that Bitcoin Core writes for a number that is not negative.
func pushNumber(n int64) []byte {
	const op1 = 0x51
	switch {
	case n == 0:
		return []byte{0}
	case n <= 16:
		return []byte{op1 + byte(n) - 1}
	}
	var digits []byte
	for ; n > 0; n >>= 8 {
		digits = append(digits, byte(n))
	}
	if digits[len(digits)-1]&0x80 != 0 {
		digits = append(digits, 0) // or it would be negative
	}
	return append([]byte{byte(len(digits))}, digits...)
}

// work finds a nonce; on regtest every second one will do.
func work(header *wire.BlockHeader) error {
	target := new(big.Int).Lsh(big.NewInt(0x7fffff), 8*(0x20-3))
	for header.Nonce = 0; header.Nonce < 1000; header.Nonce++ {
		hash := header.BlockHash()
		for i := range len(hash) / 2 {
			hash[i], hash[len(hash)-1-i] = hash[len(hash)-1-i], hash[i]
		}
		if new(big.Int).SetBytes(hash[:]).Cmp(target) <= 0 {
			return nil
		}
	}
	return errors.New("no proof of work found")
}

// mutate gives a block with the same header and one more transaction, as somebody on the
// way could make it.
func mutate(block *wire.MsgBlock) *wire.MsgBlock {
	changed := wire.NewMsgBlock(&block.Header)
	changed.Transactions = append(changed.Transactions, block.Transactions...)
	extra := wire.NewMsgTx(2)
	extra.AddTxIn(wire.NewTxIn(wire.NewOutPoint(&chainhash.Hash{1}, 0), nil, nil))
	extra.AddTxOut(wire.NewTxOut(1, []byte{0x51}))
	changed.Transactions = append(changed.Transactions, extra)
	return changed
}

// waitTip waits until a block is the node's tip.
func (t *Target) waitTip(ctx context.Context, want chainhash.Hash) error {
	return t.until(ctx, "the node doesn't take the block", func() (bool, error) {
		var hash string
		err := t.RPC.Call(ctx, "getbestblockhash", nil, &hash)
		return hash == want.String(), err
	})
}

// until asks again and again until the answer is yes, for half a minute.
func (t *Target) until(ctx context.Context, otherwise string, ask func() (bool, error)) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		yes, err := ask()
		switch {
		case yes && err == nil:
			return nil
		case time.Now().After(deadline):
			return errors.Join(errors.New(otherwise), err)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

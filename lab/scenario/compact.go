package scenario

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

func compactScenarios() []Scenario {
	return []Scenario{
		{
			Name: "high-bandwidth-capture", Rule: "F02", Alert: "PeerObserverHighBandwidthCaptured", Severity: "ticket", Together: true,
			Does: "Three peers at one address each deliver a new block first, so that the node takes compact blocks of them unasked, and stay for five minutes.",
			Twin: "One peer does.", Detect: 5 * time.Minute,
			provoke: func(ctx context.Context, t *Target) error {
				return capture(ctx, t, 3, max(t.span(5*time.Minute), patience))
			},
			twin: func(ctx context.Context, t *Target) error { return capture(ctx, t, 1, t.span(5*time.Minute)) },
		},
		{
			Name: "unknown-transactions", Rule: "F03", Alert: "PeerObserverCompactBlocksDegraded", Severity: "ticket",
			Does: "A peer delivers forty compact blocks, each with a transaction that the node doesn't have.",
			Twin: "A peer delivers ten of them, as after a start with an empty mempool.", Detect: time.Minute,
			provoke: func(ctx context.Context, t *Target) error { return relayUnknown(ctx, t, 40) },
			twin:    func(ctx context.Context, t *Target) error { return relayUnknown(ctx, t, 10) },
		},
	}
}

// compactVersion is that of compact blocks with witnesses (BIP152).
const compactVersion = 2

// sendCompact says that a peer can deliver compact blocks.
func sendCompact() []byte {
	return message("sendcmpct", binary.LittleEndian.AppendUint64([]byte{0}, compactVersion))
}

// capture has peers deliver a block each, first of all, and stay. The node chooses up to
// three that did for high bandwidth.
func capture(ctx context.Context, t *Target, peers int, stay time.Duration) error {
	if err := t.awake(ctx, 1); err != nil {
		return err
	}
	before, err := t.highBandwidth(ctx)
	if err != nil {
		return err
	}
	for i := range peers {
		p, err := t.connect(ctx)
		if err != nil {
			return err
		}
		defer p.close()
		if err := p.sendRaw(sendCompact()); err != nil {
			return err
		}
		// Somebody else may find a block meanwhile: then it isn't the first.
		err = t.until(ctx, "the node doesn't choose the peer for high bandwidth", func() (bool, error) {
			if err := t.deliver(ctx, p); err != nil {
				return false, err
			}
			chosen, err := t.highBandwidth(ctx)
			return chosen >= min(before+i+1, 3), err
		})
		if err != nil {
			return err
		}
	}
	return pause(ctx, stay)
}

// highBandwidth counts the peers that the node chose.
func (t *Target) highBandwidth(ctx context.Context) (int, error) {
	var listed []struct {
		Chosen bool `json:"bip152_hb_to"`
	}
	err := t.RPC.Call(ctx, "getpeerinfo", nil, &listed)
	count := 0
	for _, p := range listed {
		if p.Chosen {
			count++
		}
	}
	return count, err
}

// deliver has a peer announce an empty block on the tip and hand it over.
func (t *Target) deliver(ctx context.Context, p *peer) error {
	t.mining.Lock()
	defer t.mining.Unlock()
	on, err := t.best(ctx, 0)
	if err != nil {
		return err
	}
	blocks, err := mine(on, 1, 0)
	if err != nil {
		return err
	}
	// Its answer to the ping comes after it has asked for the block, which comes before
	// the second one.
	return errors.Join(p.offer(blocks...), p.handled(ctx), p.handled(ctx))
}

// relayUnknown has a peer deliver compact blocks of whose transactions the node has none.
func relayUnknown(ctx context.Context, t *Target, count int) error {
	coins, err := t.take(ctx, count)
	if err != nil {
		return err
	}
	p, err := t.connect(ctx)
	if err != nil {
		return err
	}
	defer p.close()
	if err := p.sendRaw(sendCompact()); err != nil {
		return err
	}
	for _, source := range coins {
		tx := spend(source)
		tx.AddTxOut(wire.NewTxOut(source.value, coinScript()))
		on, err := t.best(ctx, 0)
		if err != nil {
			return err
		}
		block, err := mineWith(on, tx)
		if err != nil {
			return err
		}
		if err := p.relayCompact(ctx, block); err != nil {
			return err
		}
		if err := t.waitTip(ctx, block.BlockHash()); err != nil {
			return err
		}
	}
	return nil
}

// relayCompact delivers a block with one transaction beside its coinbase as a compact one.
// The answers to pings say when the node has asked for what comes next.
func (p *peer) relayCompact(ctx context.Context, block *wire.MsgBlock) error {
	announcement := wire.NewMsgHeaders()
	if err := announcement.AddBlockHeader(&block.Header); err != nil {
		return err
	}
	compact, err := compactBlock(block)
	if err != nil {
		return err
	}
	missing, err := blockTransactions(block)
	if err != nil {
		return err
	}
	if err := p.send(announcement); err != nil {
		return err
	}
	for _, raw := range [][]byte{compact, missing} {
		if err := errors.Join(p.handled(ctx), p.sendRaw(raw)); err != nil {
			return err
		}
	}
	return nil
}

// compactBlock is a cmpctblock message with the coinbase in it and a short id for every
// other transaction. The ids are random: nobody who hasn't the transactions can tell.
func compactBlock(block *wire.MsgBlock) ([]byte, error) {
	var payload bytes.Buffer
	if err := block.Header.Serialize(&payload); err != nil {
		return nil, err
	}
	const nonceSize, shortIDSize = 8, 6
	payload.Write(binary.LittleEndian.AppendUint64(make([]byte, 0, nonceSize), randomNonce()))
	others := len(block.Transactions) - 1
	payload.Write(appendCount(nil, others))
	for range others {
		payload.Write(binary.LittleEndian.AppendUint64(nil, randomNonce())[:shortIDSize])
	}
	payload.Write(appendCount(nil, 1))
	payload.Write(appendCount(nil, 0)) // the place of the coinbase
	if err := block.Transactions[0].Serialize(&payload); err != nil {
		return nil, err
	}
	return message("cmpctblock", payload.Bytes()), nil
}

// blockTransactions is a blocktxn message with all transactions but the coinbase.
func blockTransactions(block *wire.MsgBlock) ([]byte, error) {
	var payload bytes.Buffer
	hash := block.BlockHash()
	payload.Write(hash[:])
	payload.Write(appendCount(nil, len(block.Transactions)-1))
	for _, tx := range block.Transactions[1:] {
		if err := tx.Serialize(&payload); err != nil {
			return nil, err
		}
	}
	return message("blocktxn", payload.Bytes()), nil
}

// mineWith makes a block with transactions, which may have witnesses, on top of another.
func mineWith(on tip, transactions ...*wire.MsgTx) (*wire.MsgBlock, error) {
	blocks, err := mine(on, 1, 0)
	if err != nil {
		return nil, err
	}
	block := blocks[0]
	reward := block.Transactions[0]
	// The commitment to the witnesses (BIP141): the coinbase's own counts as zero.
	leaves := []chainhash.Hash{{}}
	for _, tx := range transactions {
		leaves = append(leaves, tx.WitnessHash())
	}
	reserved := make([]byte, chainhash.HashSize)
	root := merkleRoot(leaves)
	commitment := chainhash.DoubleHashB(append(root[:], reserved...))
	reward.TxIn[0].Witness = wire.TxWitness{reserved}
	reward.AddTxOut(wire.NewTxOut(0, append([]byte{0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed}, commitment...)))
	leaves = []chainhash.Hash{reward.TxHash()}
	for _, tx := range transactions {
		leaves = append(leaves, tx.TxHash())
		if err := block.AddTransaction(tx); err != nil {
			return nil, fmt.Errorf("a block with %d transactions: %w", len(transactions), err)
		}
	}
	block.Header.MerkleRoot = merkleRoot(leaves)
	return block, work(&block.Header)
}

// merkleRoot hashes pairs until one is left; where one has no partner it is its own.
func merkleRoot(hashes []chainhash.Hash) chainhash.Hash {
	for len(hashes) > 1 {
		var above []chainhash.Hash
		for i := 0; i < len(hashes); i += 2 {
			partner := hashes[min(i+1, len(hashes)-1)]
			first := sha256.Sum256(append(append([]byte{}, hashes[i][:]...), partner[:]...))
			above = append(above, sha256.Sum256(first[:]))
		}
		hashes = above
	}
	return hashes[0]
}

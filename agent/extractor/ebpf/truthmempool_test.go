package ebpf

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// transaction makes a transaction that spends a coin of the node's and isn't sent.
func (w *truth) transaction(t *testing.T) *wire.MsgTx {
	t.Helper()
	list, err := w.node.NewTransactions(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return list[0]
}

// submit sends a transaction and gives its id and what the node says of it.
func (w *truth) submit(t *testing.T, tx *wire.MsgTx) (string, *txEntry) {
	t.Helper()
	hash, err := w.node.Submit(t.Context(), tx)
	if err != nil {
		t.Fatal(err)
	}
	id := hash.String()
	entry := call[txEntry](t, w.node, "getmempoolentry", id)
	return id, &entry
}

func (w *truth) expectAdded(t *testing.T, id string, e *txEntry) {
	t.Helper()
	expect(t, w, w.node.PID(), added, &eventpb.Added{Txid: internal(t, id), Vsize: &e.Vsize, Fee: proto.Int64(e.fee())})
}

func serialized(t *testing.T, tx *wire.MsgTx) string {
	t.Helper()
	var raw bytes.Buffer
	if err := tx.Serialize(&raw); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(raw.Bytes())
}

// mempool lets transactions enter, be replaced, be mined and meet one that conflicts.
func (w *truth) mempool(t *testing.T) {
	pid := w.node.PID()
	tx := w.transaction(t)
	oldID, old := w.submit(t, tx)
	w.expectAdded(t, oldID, old)

	tx.TxOut[0].Value -= 50_000
	newID, replacement := w.submit(t, tx)
	w.expectAdded(t, newID, replacement)
	expect(t, w, pid, replaced, &eventpb.Replaced{
		ReplacedTxid: internal(t, oldID), ReplacedVsize: &old.Vsize, ReplacedFee: proto.Int64(old.fee()), ReplacedEntryTime: &old.Time,
		ReplacementId: internal(t, newID), ReplacementVsize: &replacement.Vsize, ReplacementFee: proto.Int64(replacement.fee()),
		ReplacedByTransaction: proto.Bool(true),
	})
	w.expectRemoved(t, oldID, "replaced", old)

	if _, err := w.node.Mine(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	w.expectRemoved(t, newID, "block", replacement)

	loser := w.transaction(t)
	loserID, entry := w.submit(t, loser)
	winner := loser.Copy()
	winner.TxOut[0].Value -= 1000
	mineTransaction(t, w.node, winner)
	w.expectRemoved(t, loserID, "conflict", entry)
}

// reorganisation takes the block back that let a coinbase mature.
func (w *truth) reorganisation(t *testing.T) {
	const maturity = 100 // blocks until a coinbase can be spent (consensus.h)
	hashes, err := w.node.Mine(t.Context(), maturity)
	if err != nil {
		t.Fatal(err)
	}
	block := call[blockInfo](t, w.node, "getblock", hashes[0], 3)
	reward := block.Transactions[0]
	hash, err := chainhash.NewHashFromStr(reward.ID)
	if err != nil {
		t.Fatal(err)
	}
	tx := w.transaction(t)
	script := tx.TxOut[0].PkScript
	spend := wire.NewMsgTx(2)
	spend.AddTxIn(wire.NewTxIn(wire.NewOutPoint(hash, 0), nil, tx.TxIn[0].Witness))
	spend.AddTxOut(wire.NewTxOut(satoshi(reward.Outputs[0].Value)-1000, script))
	id, entry := w.submit(t, spend)
	tip := call[string](t, w.node, "getbestblockhash")
	call[any](t, w.node, "invalidateblock", tip)
	w.expectRemoved(t, id, "reorg", entry)
	call[any](t, w.node, "reconsiderblock", tip)
}

// expiry leaves a transaction in the mempool for longer than -mempoolexpiry.
func (w *truth) expiry(t *testing.T) {
	first, second := w.transaction(t), w.transaction(t)
	id, entry := w.submit(t, first)
	call[any](t, w.node, "setmocktime", time.Now().Add(2*time.Hour).Unix())
	// What is old is looked for when something new comes.
	secondID, secondEntry := w.submit(t, second)
	w.expectRemoved(t, id, "expiry", entry)
	w.expectAdded(t, secondID, secondEntry)
	call[any](t, w.node, "setmocktime", 0)
	if _, err := w.node.Mine(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
}

// sizeLimit fills the mempool of 5 MB until the cheapest transaction has to go.
func (w *truth) sizeLimit(t *testing.T) {
	const size = 90_000 // bytes, below the 100 kvB that are standard
	type sent struct {
		id    string
		entry *txEntry
	}
	const most = 80
	// All made beforehand: making one may mine a block.
	transactions, err := w.node.NewTransactions(t.Context(), most)
	if err != nil {
		t.Fatal(err)
	}
	w.mark = len(w.all())
	var all []sent
	for i, tx := range transactions {
		// OP_RETURN with one push of PUSHDATA4.
		data := append([]byte{0x6a, 0x4e, byte(size & 0xff), byte(size >> 8 & 0xff), byte(size >> 16), 0}, make([]byte, size)...)
		tx.AddTxOut(wire.NewTxOut(0, data))
		// Each pays more than the one before, which so has to go first.
		tx.TxOut[0].Value -= size * int64(i+2)
		id, entry := w.submit(t, tx)
		all = append(all, sent{id, entry})
		if len(seen(w, w.node.PID(), func(x *eventpb.EbpfExtractor) (*eventpb.Removed, bool) {
			m, ok := removed(x)
			return m, ok && m.GetReason() == "sizelimit"
		})) > 0 {
			break
		}
	}
	w.expectRemoved(t, all[0].id, "sizelimit", all[0].entry)
	last := all[len(all)-1]
	w.expectAdded(t, last.id, last.entry)
}

// rejection offers a transaction without a fee to a node that has just started, whose
// coins cache is empty: the coin is fetched, and dropped again.
func (w *truth) rejection(t *testing.T) {
	tx := w.transaction(t)
	outpoint := tx.TxIn[0].PreviousOutPoint
	coin := call[struct {
		Value         float64 `json:"value"`
		Confirmations int64   `json:"confirmations"`
		Coinbase      bool    `json:"coinbase"`
	}](t, w.node, "gettxout", outpoint.Hash.String(), outpoint.Index)
	height := call[int64](t, w.node, "getblockcount") - coin.Confirmations + 1
	tx.TxOut[0].Value = satoshi(coin.Value)
	if err := w.node.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	answer := call[[]struct {
		ID     string `json:"txid"`
		Reason string `json:"reject-reason"`
	}](t, w.node, "testmempoolaccept", []string{serialized(t, tx)})
	if len(answer) != 1 || answer[0].Reason == "" {
		t.Fatalf("testmempoolaccept: %v", answer)
	}
	expect(t, w, w.node.PID(), rejected, &eventpb.Rejected{Txid: internal(t, answer[0].ID), Reason: &answer[0].Reason})
	expect(t, w, w.node.PID(), coinUncached, &eventpb.UtxoCacheCoin{
		Txid: outpoint.Hash[:], OutputIndex: &outpoint.Index, Height: proto.Uint32(uint32(height)),
		Value: proto.Int64(satoshi(coin.Value)), IsCoinbase: &coin.Coinbase,
	})
}

// blockInfo is an answer of getblock with verbosity 3.
type blockInfo struct {
	Hash         string `json:"hash"`
	Height       int32  `json:"height"`
	Count        int64  `json:"nTx"`
	Transactions []struct {
		ID     string `json:"txid"`
		Inputs []struct {
			ID       string  `json:"txid"`
			Index    *uint32 `json:"vout"`
			Previous struct {
				Coinbase bool    `json:"generated"`
				Height   uint32  `json:"height"`
				Value    float64 `json:"value"`
			} `json:"prevout"`
		} `json:"vin"`
		Outputs []struct {
			Index  uint32  `json:"n"`
			Value  float64 `json:"value"`
			Script struct {
				Type string `json:"type"`
			} `json:"scriptPubKey"`
		} `json:"vout"`
	} `json:"tx"`
}

// block compares a block with what getblock and, for the signature operations,
// getblocktemplate say, and its coins with those that the cache got and gave.
func (w *truth) block(t *testing.T) {
	for i := range 3 {
		tx := w.transaction(t)
		// Outputs to public key hashes: each has a signature operation.
		for range i {
			script := append([]byte{0x76, 0xa9, 20}, make([]byte, 20)...)
			tx.TxOut[0].Value -= 10_000
			tx.AddTxOut(wire.NewTxOut(10_000, append(script, 0x88, 0xac)))
		}
		w.submit(t, tx)
	}
	template := call[struct {
		Transactions []struct {
			Sigops int64 `json:"sigops"`
		} `json:"transactions"`
	}](t, w.node, "getblocktemplate", map[string]any{"rules": []string{"segwit"}})
	sigops := int64(0)
	for _, tx := range template.Transactions {
		sigops += tx.Sigops
	}
	if sigops == 0 {
		t.Fatal("the block has no signature operation")
	}
	start := time.Now()
	hashes, err := w.node.Mine(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	block := call[blockInfo](t, w.node, "getblock", hashes[0], 3)
	// Those before it, of which the transactions are made, may come to us this late.
	this := func(x *eventpb.EbpfExtractor) (*eventpb.BlockConnected, bool) {
		b, ok := blockConnected(x)
		return b, ok && bytes.Equal(b.GetHash(), internal(t, block.Hash))
	}
	eventually(t, "the block", func() error {
		if list := seen(w, w.node.PID(), this); len(list) != 1 {
			return fmt.Errorf("it was connected %d times", len(list))
		}
		return nil
	})
	got := seen(w, w.node.PID(), this)[0]
	inputs := int32(0)
	for _, tx := range block.Transactions {
		inputs += int32(len(tx.Inputs))
	}
	want := &eventpb.BlockConnected{
		Hash: internal(t, block.Hash), Height: &block.Height, Transactions: &block.Count, Inputs: &inputs, Sigops: &sigops,
		ConnectionTime: got.ConnectionTime,
	}
	if !proto.Equal(got, want) || block.Count != 4 {
		t.Errorf("block %v, want %v", got, want)
	}
	if d := time.Duration(got.GetConnectionTime()); d <= 0 || d > took {
		t.Errorf("connecting the block took %v, the whole call only %v", d, took)
	}
	for i, tx := range block.Transactions {
		for _, out := range tx.Outputs {
			if out.Script.Type == "nulldata" {
				continue // never a coin
			}
			expect(t, w, w.node.PID(), coinAdded, &eventpb.UtxoCacheCoin{
				Txid: internal(t, tx.ID), OutputIndex: &out.Index, Height: proto.Uint32(uint32(block.Height)),
				Value: proto.Int64(satoshi(out.Value)), IsCoinbase: proto.Bool(i == 0),
			})
		}
		for _, in := range tx.Inputs {
			if in.Index == nil {
				continue // the coinbase's
			}
			expect(t, w, w.node.PID(), coinSpent, &eventpb.UtxoCacheCoin{
				Txid: internal(t, in.ID), OutputIndex: in.Index, Height: &in.Previous.Height,
				Value: proto.Int64(satoshi(in.Previous.Value)), IsCoinbase: &in.Previous.Coinbase,
			})
		}
	}
}

package ebpf

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/btcsuite/btcd/wire/v2"

	"github.com/peerobserver/peerobserver/lab/regtest"
)

// Of a P2WSH input that carries a lot: opcodes and the size of an element are limited
// by consensus (script.h: MAX_OPS_PER_SCRIPT, MAX_SCRIPT_ELEMENT_SIZE).
const (
	witnessElements = 200
	elementSize     = 520
	largeInputs     = 12
)

// mineLargeBlock mines a block of more than 1 MB, nearly all of it witness data.
func mineLargeBlock(t *testing.T, n *regtest.Node) {
	t.Helper()
	// 2DROP until nothing is left, then true.
	script := bytes.Repeat([]byte{0x6d}, witnessElements/2)
	script = append(script, 0x51)
	program := sha256.Sum256(script)
	output := append([]byte{0x00, 0x20}, program[:]...)

	list, err := n.NewTransactions(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	fund := list[0]
	value := fund.TxOut[0].Value / (largeInputs + 1)
	fund.TxOut = nil
	for range largeInputs {
		fund.AddTxOut(wire.NewTxOut(value, output))
	}
	mineTransaction(t, n, fund)

	spend := wire.NewMsgTx(2)
	hash := fund.TxHash()
	for i := range largeInputs {
		input := wire.NewTxIn(wire.NewOutPoint(&hash, uint32(i)), nil, nil)
		for range witnessElements {
			element := make([]byte, elementSize)
			_, _ = rand.Read(element)
			input.Witness = append(input.Witness, element)
		}
		input.Witness = append(input.Witness, script)
		spend.AddTxIn(input)
	}
	spend.AddTxOut(wire.NewTxOut(value, output))
	mineTransaction(t, n, spend)
}

// mineTransaction mines a block with one transaction, which need not be standard.
func mineTransaction(t *testing.T, n *regtest.Node, tx *wire.MsgTx) {
	t.Helper()
	var raw bytes.Buffer
	if err := tx.Serialize(&raw); err != nil {
		t.Fatal(err)
	}
	if err := n.Call(t.Context(), "generateblock", []any{"raw(51)", []string{hex.EncodeToString(raw.Bytes())}}, nil); err != nil {
		t.Fatal(err)
	}
}

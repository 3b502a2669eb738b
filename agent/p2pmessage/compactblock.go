package p2pmessage

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/proto/field"
)

const (
	// shortIDSize is the length of a short transaction id in bytes (BIP152).
	shortIDSize = 6
	// maxBlockTransactions bounds transactions of a compact block, and positions in
	// it: Bitcoin Core's decoder keeps positions in 16 bits.
	maxBlockTransactions = 1<<16 - 1
)

// compactBlock writes a CompactBlock. The list counted is that of all transactions,
// by short id and prefilled.
func (t *Transcoder) compactBlock(dst []byte, r *reader) []byte {
	dst = blockHeader(dst, field.CompactBlockHeader, r)
	dst = appendUint(dst, field.CompactBlockNonce, r.uint64())
	n := r.length(shortIDSize)
	r.keep = r.ok()
	dst = appendEach(dst, field.CompactBlockShortIds, r.run(n, shortIDSize), shortIDSize)
	prefilled := r.length(1 + minTransactionSize)
	if !r.ok() {
		return dst
	}
	r.count, r.counted = uint64(n)+uint64(prefilled), true
	if r.count > maxBlockTransactions {
		r.fail(stateMalformed)
		return dst
	}
	for range prefilled {
		position := r.compactSize()
		if position > maxBlockTransactions {
			r.fail(stateMalformed)
		}
		tx := r.transaction()
		if !r.ok() {
			break
		}
		size := 1 + protowire.SizeVarint(position) + 1 + protowire.SizeBytes(transactionSize(len(tx.raw)))
		dst = appendMessageTag(dst, field.CompactBlockTransactions, size)
		dst = appendUint(dst, field.PrefilledTransactionDiffIndex, position)
		dst = t.appendTransaction(dst, field.PrefilledTransactionTx, &tx)
	}
	return dst
}

// getBlockTxn writes a GetBlockTxn. Positions are differences on the wire.
func getBlockTxn(dst []byte, r *reader) []byte {
	if hash := r.take(hashSize); hash != nil {
		dst = appendBytes(dst, field.GetBlockTxnBlockHash, hash)
	}
	n := r.elements(1)
	r.keep = r.counted
	if n == 0 {
		return dst
	}
	dst, start := beginField(dst, field.GetBlockTxnTxIndexes)
	var next uint64
	for range n {
		next += r.compactSize()
		if next > maxBlockTransactions {
			r.fail(stateMalformed)
		}
		if !r.ok() {
			break
		}
		dst = protowire.AppendVarint(dst, next)
		next++
	}
	return endField(dst, start)
}

// blockTxn writes a BlockTxn.
func (t *Transcoder) blockTxn(dst []byte, r *reader) []byte {
	if hash := r.take(hashSize); hash != nil {
		dst = appendBytes(dst, field.BlockTxnBlockHash, hash)
	}
	n := r.elements(minTransactionSize)
	r.keep = r.counted
	return t.transactions(dst, field.BlockTxnTransactions, r, n)
}

// sendCompact writes a SendCompact. BIP152 knows no announce value above 1.
func sendCompact(dst []byte, r *reader) []byte {
	announce := r.uint8()
	if announce > 1 {
		r.fail(stateMalformed)
	}
	dst = appendUint(dst, field.SendCompactSendCompact, uint64(announce))
	return appendUint(dst, field.SendCompactVersion, r.uint64())
}

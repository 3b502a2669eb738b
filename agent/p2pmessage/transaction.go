package p2pmessage

import (
	"crypto/sha256"
	"hash"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/proto/field"
)

// Smallest sizes in bytes of parts of a transaction.
const (
	// minTransactionSize: version, counts of no inputs and no outputs, lock time.
	minTransactionSize = 4 + 1 + 1 + 4
	// minInputSize: outpoint, empty script, sequence.
	minInputSize = hashSize + 4 + 1 + 4
	// minOutputSize: amount, empty script.
	minOutputSize = 8 + 1
	// minWitnessItemSize: an empty item.
	minWitnessItemSize = 1
)

// witnessFlag in the flags byte says that a transaction has witnesses (BIP144).
const witnessFlag = 1

// transaction is a serialised transaction with the places that its txid needs.
type transaction struct {
	raw []byte
	// inputs and witnesses are where the inputs begin and the outputs end.
	inputs, witnesses int
	hasWitness        bool
}

// transaction reads a transaction as Bitcoin Core does (UnserializeTransaction in its
// primitives/transaction.h): superfluous witness records and unknown flags are
// malformed, no inputs and no outputs are not.
func (r *reader) transaction() transaction {
	var tx transaction
	whole := r.b
	at := func() int { return len(whole) - len(r.b) }

	r.take(4) // version
	tx.inputs = at()
	inputs := r.length(minInputSize)
	var flags uint8
	if inputs == 0 && r.ok() {
		// No inputs, or the marker of the extended form, whose flags follow.
		if flags = r.uint8(); flags != 0 {
			tx.inputs = at()
			inputs = r.length(minInputSize)
			r.skipInputs(inputs)
			r.skipOutputs()
		}
	} else {
		r.skipInputs(inputs)
		r.skipOutputs()
	}
	if !r.ok() {
		return tx
	}
	tx.witnesses = at()
	if flags&witnessFlag != 0 {
		for range inputs {
			n := r.length(minWitnessItemSize)
			tx.hasWitness = tx.hasWitness || n > 0
			for range n {
				r.varBytes(0)
				if !r.ok() {
					return tx
				}
			}
		}
		if !tx.hasWitness {
			r.fail(stateMalformed)
		}
	}
	if flags&^witnessFlag != 0 {
		r.fail(stateMalformed)
	}
	r.take(4) // lock time
	if r.ok() {
		n := at()
		tx.raw = whole[:n:n]
	}
	return tx
}

func (r *reader) skipInputs(n int) {
	for range n {
		r.take(hashSize + 4)
		r.varBytes(0)
		r.take(4)
		if !r.ok() {
			return
		}
	}
}

func (r *reader) skipOutputs() {
	for range r.length(minOutputSize) {
		r.take(8)
		r.varBytes(0)
		if !r.ok() {
			return
		}
	}
}

// hasher computes double SHA-256.
type hasher struct {
	digest hash.Hash
	sum    [sha256.Size]byte
}

func newHasher() hasher { return hasher{digest: sha256.New()} }

func doubleSHA256(b []byte) [sha256.Size]byte {
	first := sha256.Sum256(b)
	return sha256.Sum256(first[:])
}

// ids computes txid and wtxid in internal byte order.
func (h *hasher) ids(tx *transaction) (txid, wtxid [sha256.Size]byte) {
	wtxid = doubleSHA256(tx.raw)
	if !tx.hasWitness {
		return wtxid, wtxid
	}
	// The txid leaves out marker, flags and witnesses (BIP141).
	h.digest.Reset()
	h.digest.Write(tx.raw[:4])
	h.digest.Write(tx.raw[tx.inputs:tx.witnesses])
	h.digest.Write(tx.raw[len(tx.raw)-4:])
	h.digest.Sum(h.sum[:0])
	return sha256.Sum256(h.sum[:]), wtxid
}

// transactionSize is the length of an encoded Transaction without its own tag.
func transactionSize(raw int) int {
	const ids = 2 * (2 + hashSize)
	return ids + 1 + protowire.SizeBytes(raw)
}

// appendTransaction appends a Transaction.
func (t *Transcoder) appendTransaction(dst []byte, num protowire.Number, tx *transaction) []byte {
	txid, wtxid := t.hasher.ids(tx)
	dst = appendMessageTag(dst, num, transactionSize(len(tx.raw)))
	dst = appendBytes(dst, field.TransactionTxid, txid[:])
	dst = appendBytes(dst, field.TransactionWtxid, wtxid[:])
	return appendBytes(dst, field.TransactionRaw, tx.raw)
}

// minTransactionEvent is what a transaction adds to an event at least: tag, length
// and the smallest Transaction.
const minTransactionEvent = 2 + 2*(2+hashSize) + 2 + minTransactionSize

// transactions reads a list of transactions into a repeated Transaction field. A list
// whose event would exceed maxBody isn't decoded: only transactions that are too
// small to be real can do that.
func (t *Transcoder) transactions(dst []byte, num protowire.Number, r *reader, n int) []byte {
	if n > maxBody/minTransactionEvent {
		r.fail(stateTooLarge)
		return dst
	}
	for range n {
		tx := r.transaction()
		if !r.ok() {
			break
		}
		dst = t.appendTransaction(dst, num, &tx)
		if len(dst) > maxBody {
			r.fail(stateTooLarge)
			break
		}
	}
	return dst
}

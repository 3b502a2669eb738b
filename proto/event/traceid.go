package event

import "crypto/sha256"

// TraceID is the W3C trace id of something that several nodes see. It is derived from
// the hash of that thing, without any secret, so that the spans of all nodes meet in
// one trace, and so that an exemplar of a metric can name it.
type TraceID [16]byte

// BlockTraceID is the trace id of a block: the first 16 bytes of the SHA-256 of the
// ASCII text "block" and the block hash (32 bytes in internal byte order).
func BlockTraceID(hash []byte) TraceID { return traceID("block", hash) }

// TransactionTraceID is the trace id of a transaction: the first 16 bytes of the
// SHA-256 of the ASCII text "transaction" and the wtxid (BIP141, 32 bytes in internal
// byte order).
func TransactionTraceID(wtxid []byte) TraceID { return traceID("transaction", wtxid) }

func traceID(what string, hash []byte) TraceID {
	// Both fit on the stack.
	sum := sha256.Sum256(append(append(make([]byte, 0, 64), what...), hash...))
	return TraceID(sum[:16])
}

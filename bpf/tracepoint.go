package bpf

import (
	"fmt"
	"strings"

	"github.com/peerobserver/peerobserver/bpf/usdt"
)

// ID numbers the tracepoints of the table. It is part of the record format, so
// numbers are never reused.
type ID uint8

const (
	NetInboundMessage ID = iota
	NetOutboundMessage
	NetInboundConnection
	NetOutboundConnection
	NetClosedConnection
	NetEvictedInboundConnection
	NetMisbehavingConnection
	NetBlockHeader
	NetCompactBlockReconstructed
	MempoolAdded
	MempoolRemoved
	MempoolReplaced
	MempoolRejected
	ValidationBlockConnected
	UTXOCacheFlush
	UTXOCacheAdd
	UTXOCacheSpent
	UTXOCacheUncache
	numIDs
)

// Group is a set of tracepoints that is switched on and off together.
type Group string

const (
	GroupMessages    Group = "messages"
	GroupConnections Group = "connections"
	GroupMempool     Group = "mempool"
	GroupValidation  Group = "validation"
	GroupUTXOCache   Group = "utxocache"
)

// Groups are all groups there are.
func Groups() []Group {
	return []Group{GroupMessages, GroupConnections, GroupMempool, GroupValidation, GroupUTXOCache}
}

// DefaultGroups are the groups that are on unless others are asked for. The
// tracepoints of utxocache fire thousands of times a block.
func DefaultGroups() []Group {
	return []Group{GroupMessages, GroupConnections, GroupMempool, GroupValidation}
}

// ArgKind is the type of an argument as Bitcoin Core documents it.
type ArgKind uint8

const (
	Int32 ArgKind = iota + 1
	Int64
	Uint32
	Uint64
	Bool
	String // pointer to a NUL-terminated string
	Bytes  // pointer to bytes, whose number is another argument
	Hash   // pointer to 32 bytes, in the byte order of the P2P protocol
)

func (k ArgKind) String() string {
	switch k {
	case Int32:
		return "int32"
	case Int64:
		return "int64"
	case Uint32:
		return "uint32"
	case Uint64:
		return "uint64"
	case Bool:
		return "bool"
	case String:
		return "string"
	case Bytes:
		return "bytes"
	case Hash:
		return "hash"
	}
	return fmt.Sprintf("ArgKind(%d)", uint8(k))
}

// Argument is one argument of a tracepoint.
type Argument struct {
	Name string
	Kind ArgKind
	// Max is the longest String that is kept, in bytes.
	Max int
	// Size is the index of the argument with the number of bytes of a Bytes.
	Size int
}

// Tracepoint is one of Bitcoin Core's tracepoints, as doc/tracing.md defines it
// since v29.
type Tracepoint struct {
	ID       ID
	Provider string
	Name     string
	Group    Group
	// Optional tracepoints exist in newer versions only: a binary without them
	// is not lacking anything.
	Optional bool
	Args     []Argument
}

func (t Tracepoint) String() string { return t.Provider + ":" + t.Name }

// Limits of strings, in bytes. Core documents 68 characters for an address, but
// a peer added by name has the name there, of at most 253 characters and a port;
// message and connection types have at most 20, reasons at most 128.
const (
	maxAddress = 319
	maxType    = 31
	maxReason  = 1023
	// maxMessageType is what the kernel side's key for rules has room for.
	maxMessageType = 23
)

// Tracepoints returns the table of all known tracepoints, in the order of ID.
func Tracepoints() []Tracepoint {
	peer := Argument{Name: "peer_id", Kind: Int64}
	address := Argument{Name: "address", Kind: String, Max: maxAddress}
	connType := Argument{Name: "connection_type", Kind: String, Max: maxType}
	network := Argument{Name: "network", Kind: Uint32}
	established := Argument{Name: "established", Kind: Uint64} // UNIX time, s
	txid := Argument{Name: "txid", Kind: Hash}
	message := []Argument{peer, address, connType,
		{Name: "message_type", Kind: String, Max: maxMessageType},
		{Name: "size", Kind: Uint64},
		{Name: "payload", Kind: Bytes, Size: 4}}
	coin := []Argument{txid,
		{Name: "output_index", Kind: Uint32},
		{Name: "height", Kind: Uint32},
		{Name: "value", Kind: Int64}, // sat
		{Name: "coinbase", Kind: Bool}}
	count := func(direction string) Argument { return Argument{Name: direction + "_connections", Kind: Uint64} }

	return []Tracepoint{
		{NetInboundMessage, "net", "inbound_message", GroupMessages, false, message},
		{NetOutboundMessage, "net", "outbound_message", GroupMessages, false, message},
		{NetInboundConnection, "net", "inbound_connection", GroupConnections, false,
			[]Argument{peer, address, connType, network, count("inbound")}},
		{NetOutboundConnection, "net", "outbound_connection", GroupConnections, false,
			[]Argument{peer, address, connType, network, count("outbound")}},
		{NetClosedConnection, "net", "closed_connection", GroupConnections, false,
			[]Argument{peer, address, connType, network, established}},
		{NetEvictedInboundConnection, "net", "evicted_inbound_connection", GroupConnections, false,
			[]Argument{peer, address, connType, network, established}},
		{NetMisbehavingConnection, "net", "misbehaving_connection", GroupConnections, false,
			[]Argument{peer, {Name: "reason", Kind: String, Max: maxReason}}},
		{NetBlockHeader, "net", "block_header", GroupMessages, true,
			[]Argument{{Name: "height", Kind: Int32}, peer,
				{Name: "via_compact_block", Kind: Bool},
				{Name: "hash", Kind: Hash}}},
		{NetCompactBlockReconstructed, "net", "compact_block_reconstructed", GroupMessages, true,
			[]Argument{peer,
				{Name: "prefilled", Kind: Uint64},  // transactions
				{Name: "mempool", Kind: Uint64},    // transactions
				{Name: "extra_pool", Kind: Uint64}, // transactions
				{Name: "requested", Kind: Uint64},  // transactions
				{Name: "requested_bytes", Kind: Uint64},
				{Name: "hash", Kind: Hash}}},
		{MempoolAdded, "mempool", "added", GroupMempool, false,
			[]Argument{txid,
				{Name: "vsize", Kind: Int32}, // vB
				{Name: "fee", Kind: Int64}}}, // sat
		{MempoolRemoved, "mempool", "removed", GroupMempool, false,
			[]Argument{txid,
				{Name: "reason", Kind: String, Max: maxReason},
				{Name: "vsize", Kind: Int32},
				{Name: "fee", Kind: Int64},
				{Name: "entry_time", Kind: Uint64}}}, // UNIX time, s
		{MempoolReplaced, "mempool", "replaced", GroupMempool, false,
			[]Argument{{Name: "replaced_txid", Kind: Hash},
				{Name: "replaced_vsize", Kind: Int32},
				{Name: "replaced_fee", Kind: Int64},
				{Name: "replaced_entry_time", Kind: Uint64},
				{Name: "replacement_id", Kind: Hash}, // txid or package hash
				{Name: "replacement_vsize", Kind: Int32},
				{Name: "replacement_fee", Kind: Int64},
				{Name: "replaced_by_transaction", Kind: Bool}}},
		{MempoolRejected, "mempool", "rejected", GroupMempool, false,
			[]Argument{txid, {Name: "reason", Kind: String, Max: maxReason}}},
		{ValidationBlockConnected, "validation", "block_connected", GroupValidation, false,
			[]Argument{{Name: "hash", Kind: Hash},
				{Name: "height", Kind: Int32},
				{Name: "transactions", Kind: Uint64},
				{Name: "inputs", Kind: Int32},
				{Name: "sigops", Kind: Uint64},
				{Name: "duration", Kind: Uint64}}}, // ns
		{UTXOCacheFlush, "utxocache", "flush", GroupUTXOCache, false,
			[]Argument{{Name: "duration", Kind: Int64}, // us
				{Name: "mode", Kind: Uint32},
				{Name: "coins", Kind: Uint64},
				{Name: "memory", Kind: Uint64}, // bytes
				{Name: "for_prune", Kind: Bool}}},
		{UTXOCacheAdd, "utxocache", "add", GroupUTXOCache, false, coin},
		{UTXOCacheSpent, "utxocache", "spent", GroupUTXOCache, false, coin},
		{UTXOCacheUncache, "utxocache", "uncache", GroupUTXOCache, false, coin},
	}
}

// MismatchError says that a binary's tracepoint has other arguments than the
// table expects, or ones that are not understood. The tracepoint is not attached:
// its values would be read from the wrong place or with the wrong meaning.
type MismatchError struct {
	Tracepoint string
	ArgText    string // as the binary's note has it
	Reason     string
	Err        error // of the argument parser, or nil
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("tracepoint %s refused: %s (its arguments: %q)", e.Tracepoint, e.Reason, e.ArgText)
}

func (e *MismatchError) Unwrap() error { return e.Err }

// check compares a site with the table. Widths of integers may differ from the
// documented ones, and so may signs, as Core's code passes what its variables
// are (block_connected's duration is a signed 64-bit count documented as
// uint64): the value is then extended as the note says. A pointer has 8 bytes.
func (t Tracepoint) check(s usdt.Site) error {
	mismatch := func(err error, format string, args ...any) error {
		return &MismatchError{t.String(), s.ArgText, fmt.Sprintf(format, args...), err}
	}
	if s.ArgErr != nil {
		return mismatch(s.ArgErr, "%v", s.ArgErr)
	}
	if len(s.Args) != len(t.Args) {
		return mismatch(nil, "it has %d arguments, not %d", len(s.Args), len(t.Args))
	}
	var wrong []string
	for i, want := range t.Args {
		got := s.Args[i].Size
		ok := false
		switch want.Kind {
		case Int32, Int64, Uint32, Uint64:
			ok = got == 4 || got == 8
		case Bool:
			ok = got == 1 || got == 4
		case String, Bytes, Hash:
			ok = got == 8
		}
		if !ok {
			wrong = append(wrong, fmt.Sprintf("argument %d (%s, %v) has %d bytes", i+1, want.Name, want.Kind, got))
		}
	}
	if wrong != nil {
		return mismatch(nil, "%s", strings.Join(wrong, "; "))
	}
	return nil
}

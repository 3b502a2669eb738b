package getblocktxn

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Outcome is how a request ended.
type Outcome string

// The outcomes.
const (
	// OutcomeBlockTxn: the transactions came.
	OutcomeBlockTxn Outcome = "blocktxn"
	// OutcomeBlock: the whole block came instead, which is how Bitcoin Core answers for
	// blocks more than ten deep (net_processing.cpp: MAX_BLOCKTXN_DEPTH).
	OutcomeBlock Outcome = "block"
	// OutcomeClosed: the connection was closed first.
	OutcomeClosed Outcome = "closed"
	// OutcomeRepeated: the same peer was asked, or asked, for the same block again.
	OutcomeRepeated Outcome = "repeated"
	// OutcomeTimeout: no answer came in time.
	OutcomeTimeout Outcome = "timeout"
	// OutcomeDropped: there were too many open requests to follow this one further.
	OutcomeDropped Outcome = "dropped"
	// OutcomeMalformed: the message can't be read.
	OutcomeMalformed Outcome = "malformed"
	// OutcomeEnd: the recording ended.
	OutcomeEnd Outcome = "end"
)

// Row is one getblocktxn message and what came of it.
type Row struct {
	// Time is when the message was sent or received: RFC 3339 with nanoseconds, UTC.
	Time string `json:"time"`
	// Node is the operator's name for the node.
	Node string `json:"node"`
	// Direction is "sent" or "received", as the node sees it.
	Direction string `json:"direction"`
	// PeerID is Bitcoin Core's id of the peer, Address its address as the node prints it.
	PeerID  uint64 `json:"peer_id"`
	Address string `json:"address"`
	// ConnectionType is the peer's, as in "inbound" or "outbound_full_relay".
	ConnectionType string `json:"connection_type"`
	// Block is the hash of the block as people write it; empty in a malformed message.
	Block string `json:"block"`
	// Indexes are the positions of the wanted transactions in the block, counted from 0:
	// the first MaxIndexes of them. Requested is the number of all.
	Indexes   []uint64 `json:"indexes"`
	Requested int      `json:"requested"`
	Outcome   Outcome  `json:"outcome"`
	// Delay is the time from the request to the answer in nanoseconds; nil when there is
	// none, as with the next two.
	Delay *int64 `json:"delay_ns"`
	// AnswerBytes is the size of the answer's payload.
	AnswerBytes *uint64 `json:"answer_bytes"`
	// Transactions is the number of transactions in a blocktxn; nil for a whole block.
	Transactions *int `json:"transactions"`
}

// columns are the names of the columns in a CSV file: those of the JSON form.
func columns() []string {
	return []string{
		"time", "node", "direction", "peer_id", "address", "connection_type", "block", "indexes", "requested", "outcome",
		"delay_ns", "answer_bytes", "transactions",
	}
}

// Format is how rows are written.
type Format uint8

// The formats.
const (
	// FormatJSON is one JSON object a line.
	FormatJSON Format = iota
	// FormatCSV is one line a row, with the names of the columns in the first one;
	// indexes are separated by spaces and what is absent is empty.
	FormatCSV
)

// ParseFormat reads "json" or "csv".
func ParseFormat(name string) (Format, error) {
	switch name {
	case "json":
		return FormatJSON, nil
	case "csv":
		return FormatCSV, nil
	default:
		return 0, fmt.Errorf("unknown format %q (known: json, csv)", name)
	}
}

// header is what a new file begins with.
func (f Format) header() []byte {
	if f == FormatCSV {
		return csvLine(columns())
	}
	return nil
}

// line gives the line of a row, with its end.
func (f Format) line(r *Row) []byte {
	if f == FormatCSV {
		return csvLine(r.cells())
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(r); err != nil {
		return nil // strings and numbers always have a JSON form
	}
	return out.Bytes()
}

func csvLine(cells []string) []byte {
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	_ = w.Write(cells) // a buffer takes everything
	w.Flush()
	return out.Bytes()
}

func (r *Row) cells() []string {
	indexes := make([]string, len(r.Indexes))
	for i, index := range r.Indexes {
		indexes[i] = strconv.FormatUint(index, 10)
	}
	return []string{
		r.Time, r.Node, r.Direction, strconv.FormatUint(r.PeerID, 10), r.Address, r.ConnectionType, r.Block,
		strings.Join(indexes, " "), strconv.Itoa(r.Requested), string(r.Outcome),
		optional(r.Delay), optional(r.AnswerBytes), optional(r.Transactions),
	}
}

func optional[T int | int64 | uint64](value *T) string {
	if value == nil {
		return ""
	}
	return fmt.Sprint(*value)
}

// timeText writes a time in UNIX nanoseconds.
func timeText(at int64) string {
	return time.Unix(0, at).UTC().Format("2006-01-02T15:04:05.000000000Z")
}

// hashText writes a hash in internal byte order as people do.
func hashText(hash []byte) string {
	reversed := slices.Clone(hash)
	slices.Reverse(reversed)
	return fmt.Sprintf("%x", reversed)
}

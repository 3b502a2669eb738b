// Package event defines what travels from sources to sinks: an event, which is its
// protobuf bytes with a small header beside them, the one ordered stream that
// carries it, and the ledger that accounts for everything seen and lost.
//
// A sink can't tell whether an event comes from a source in the same process, from
// NATS or from an archive: it gets the same bytes.
package event

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/proto/field"
)

// Source is where an event comes from: the case of Event.peer_observer_event.
type Source uint8

// The sources. Their order is that of the field numbers in event.proto.
const (
	SourceUnknown Source = iota
	SourceEBPF
	SourceRPC
	SourceP2P
	SourceLog
	SourceIPC
	SourceObserver
	sourceCount
)

var sourceNames = [sourceCount]string{"unknown", "ebpf", "rpc", "p2p", "log", "ipc", "observer"}

// String gives the name that flags, metrics and the status event use.
func (s Source) String() string {
	if s < sourceCount {
		return sourceNames[s]
	}
	return sourceNames[SourceUnknown]
}

// ParseSource is the inverse of Source.String.
func ParseSource(name string) (Source, error) {
	for s := SourceEBPF; s < sourceCount; s++ {
		if sourceNames[s] == name {
			return s, nil
		}
	}
	return SourceUnknown, fmt.Errorf("unknown source %q (known: ebpf, rpc, p2p, log, ipc, observer)", name)
}

// The NATS subjects of the existing peer-observer tools, before an optional prefix.
// Kind.Subject has those of all events.
const (
	SubjectMessages    = "netmsg"
	SubjectConnections = "netconn"
	SubjectMempool     = "mempool"
	SubjectValidation  = "validation"
	SubjectRPC         = "rpc"
	SubjectP2P         = "p2p-extractor"
	SubjectLog         = "log-extractor"
	SubjectIPC         = "ipc"
)

// Subjects lists every subject, in the order of the kinds.
func Subjects() []string {
	var subjects []string
	for _, k := range Kinds() {
		if subject := k.Subject(); !slices.Contains(subjects, subject) {
			subjects = append(subjects, subject)
		}
	}
	return subjects
}

// MaxSize bounds the encoded size of an event in bytes. A block of 4,000,000 bytes
// is the largest P2P message (Bitcoin Core's MAX_PROTOCOL_MESSAGE_LENGTH); its event
// adds two hashes a transaction, and getrawaddrman of a full address manager comes
// near the same size.
const MaxSize = 15 << 20

// Header is what every sink wants to know of an event without decoding its body.
// Times are UNIX times in nanoseconds, zero when absent.
type Header struct {
	Source Source
	// Timestamp is Event.timestamp in milliseconds.
	Timestamp uint64
	// NodeName is the operator's name for the node; empty for foreign producers.
	NodeName string
	// BootID and Sequence number the event within its source; zero for foreign
	// producers.
	BootID   uint64
	Sequence uint64
	// KernelTime is the time of the tracepoint hit; ReceiveTime that of the source.
	KernelTime  int64
	ReceiveTime int64
	// NodeStartTime tells apart runs of the node's process.
	NodeStartTime int64
}

// Time is the best time the event has: the kernel's, else the source's, else the
// timestamp in milliseconds.
func (h *Header) Time() time.Time {
	switch {
	case h.KernelTime != 0:
		return time.Unix(0, h.KernelTime)
	case h.ReceiveTime != 0:
		return time.Unix(0, h.ReceiveTime)
	default:
		return time.UnixMilli(int64(h.Timestamp))
	}
}

// Event is one event on its way to the sinks.
type Event struct {
	Header
	// Kind is what the event tells.
	Kind Kind
	// Subject is the NATS subject without prefix: Kind.Subject, or for an event of a
	// kind that isn't known the one that it came with.
	Subject string
	// Data is the encoded peerobserver.v1.Event. It is valid until HandleEvent
	// returns: a sink that keeps it copies it.
	Data []byte
}

// Sink takes every event of a stream, in order.
type Sink interface {
	// HandleEvent is called by one goroutine at a time. It must not block and not
	// keep e or e.Data; what it can't take at once it queues in bounded space and
	// counts as lost in the ledger when the space is full.
	HandleEvent(e *Event)
}

// Runner is a source, or a sink that has work of its own (a connection, a server).
// Run works until ctx ends or it fails; the agent restarts it with a growing delay.
type Runner interface {
	Run(ctx context.Context) error
}

// maxNodeName bounds a node's name in bytes: it becomes a label, and is kept beside
// every queued event. It is the longest name of a host.
const maxNodeName = 255

// ErrMalformed is returned for bytes that are no Event.
var ErrMalformed = errors.New("malformed event")

// Parse reads the header of an encoded event. It doesn't look into the body, so it
// is cheap at any size; data may come from anybody. Unknown fields are skipped.
func Parse(data []byte) (Header, error) {
	var h Header
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return Header{}, fmt.Errorf("%w: %w", ErrMalformed, protowire.ParseError(n))
		}
		data = data[n:]
		switch {
		case typ == protowire.BytesType:
			value, n := protowire.ConsumeBytes(data)
			if n < 0 {
				return Header{}, fmt.Errorf("%w: field %d: %w", ErrMalformed, num, protowire.ParseError(n))
			}
			data = data[n:]
			if source := sourceOfField(num); source != SourceUnknown {
				h.Source = source
			} else if num == field.EventNodeName {
				if len(value) > maxNodeName || !utf8.Valid(value) {
					return Header{}, fmt.Errorf("%w: node name is not text of at most %d bytes", ErrMalformed, maxNodeName)
				}
				h.NodeName = string(value)
			}
		case typ == protowire.VarintType:
			value, n := protowire.ConsumeVarint(data)
			if n < 0 {
				return Header{}, fmt.Errorf("%w: field %d: %w", ErrMalformed, num, protowire.ParseError(n))
			}
			data = data[n:]
			switch num {
			case field.EventTimestamp:
				h.Timestamp = value
			case field.EventSequence:
				h.Sequence = value
			}
		case typ == protowire.Fixed64Type:
			value, n := protowire.ConsumeFixed64(data)
			if n < 0 {
				return Header{}, fmt.Errorf("%w: field %d: %w", ErrMalformed, num, protowire.ParseError(n))
			}
			data = data[n:]
			switch num {
			case field.EventBootId:
				h.BootID = value
			case field.EventKernelTimeNs:
				h.KernelTime = int64(value)
			case field.EventReceiveTimeNs:
				h.ReceiveTime = int64(value)
			case field.EventNodeStartTimeNs:
				h.NodeStartTime = int64(value)
			}
		default:
			n := protowire.ConsumeFieldValue(num, typ, data)
			if n < 0 {
				return Header{}, fmt.Errorf("%w: field %d: %w", ErrMalformed, num, protowire.ParseError(n))
			}
			data = data[n:]
		}
	}
	return h, nil
}

func sourceOfField(num protowire.Number) Source {
	switch num {
	case field.EventEbpfExtractor:
		return SourceEBPF
	case field.EventRpcExtractor:
		return SourceRPC
	case field.EventP2pExtractor:
		return SourceP2P
	case field.EventLogExtractor:
		return SourceLog
	case field.EventIpcExtractor:
		return SourceIPC
	case field.EventObserver:
		return SourceObserver
	default:
		return SourceUnknown
	}
}

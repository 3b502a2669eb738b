package bpf

import (
	"encoding/binary"
	"fmt"
	"time"
	"unsafe"
)

// Flags say what a record lacks.
type Flags uint8

const (
	// Truncated: the payload was cut by the Policy.
	Truncated Flags = 1 << iota
	// Shed: the payload was left out because the ring was full.
	Shed
	// PayloadFault: the payload could not be read and is left out.
	PayloadFault
	// ArgumentFault: an argument could not be read; see Record.Missing.
	ArgumentFault
	// StringCut: a string was longer than what is kept; see Record.Cut.
	StringCut
)

// Record is one hit of a tracepoint. What its methods return lies in the ring and
// is valid until the next Read or TryRead with its Reader.
type Record struct {
	Tracepoint ID
	Flags      Flags
	CPU        uint16
	Site       uint16
	PID        uint32 // of the node, in this process's PID namespace if it can be seen there
	TID        uint32
	// Time of the hit in ns of CLOCK_BOOTTIME.
	Time uint64
	// Hit numbers the hits of this tracepoint on this CPU from 0 without gaps, so
	// missing numbers are hits that were filtered or lost.
	Hit uint64
	// RunTime is the thread's CPU time in ns at the moment RunStart of the
	// scheduler's clock, which is when the scheduler last looked: at the last
	// tick or switch. Both are 0 if unknown. See CPUTimeSince.
	RunTime, RunStart uint64

	args      [maxArgs]uint64
	raw       []byte
	nargs     uint8
	fault     uint8
	cut       uint8
	remaining int
}

const (
	maxArgs    = 8
	headerSize = int(unsafe.Sizeof(objectHeader{}))
	argsEnd    = headerSize + maxArgs*8
	hashSize   = 32
)

// parse takes a record apart. raw is 8-byte aligned, as all ring records are.
func (r *Record) parse(raw []byte) error {
	if len(raw) < argsEnd {
		return fmt.Errorf("record of %d bytes is cut off", len(raw))
	}
	h := (*objectHeader)(unsafe.Pointer(unsafe.SliceData(raw)))
	if h.Nargs > maxArgs || h.Tracepoint >= uint8(numIDs) {
		return fmt.Errorf("record of tracepoint %d with %d arguments", h.Tracepoint, h.Nargs)
	}
	r.Tracepoint, r.Flags = ID(h.Tracepoint), Flags(h.Flags)
	r.CPU, r.Site, r.PID, r.TID = h.Cpu, h.Site, h.Tgid, h.Tid
	r.Time, r.Hit, r.RunTime, r.RunStart = h.Time, h.Hit, h.RunTime, h.RunStart
	r.nargs, r.fault, r.cut = h.Nargs, h.Fault, h.Cut
	for i := range r.args {
		r.args[i] = binary.LittleEndian.Uint64(raw[headerSize+i*8:])
	}
	r.raw = raw
	return nil
}

// NumArgs is the number of arguments.
func (r *Record) NumArgs() int { return int(r.nargs) }

func (r *Record) arg(i int) uint64 {
	if i < 0 || i >= int(r.nargs) {
		return 0
	}
	return r.args[i]
}

// Int returns integer argument i, which begins at 0 for the first. It is 0 if
// there is no such argument or it could not be read, like for the methods below.
func (r *Record) Int(i int) int64 { return int64(r.arg(i)) }

// Uint returns integer argument i.
func (r *Record) Uint(i int) uint64 { return r.arg(i) }

// Bool returns boolean argument i.
func (r *Record) Bool(i int) bool { return r.arg(i) != 0 }

// Bytes returns string argument i without its NUL, the kept part of payload
// argument i, or the 32 bytes of hash argument i. It must not be called for an
// integer argument, whose value would be taken for a place in the record.
func (r *Record) Bytes(i int) []byte {
	v := r.arg(i)
	off, n := v&0xffffffff, v>>32
	if off < uint64(argsEnd) || off+n > uint64(len(r.raw)) {
		return nil
	}
	return r.raw[off : off+n : off+n]
}

// Text returns a copy of string argument i.
func (r *Record) Text(i int) string { return string(r.Bytes(i)) }

// Hash returns hash argument i in the byte order of the P2P protocol, the reverse
// of how it is printed; nil if it could not be read.
func (r *Record) Hash(i int) *[hashSize]byte {
	b := r.Bytes(i)
	if len(b) != hashSize {
		return nil
	}
	return (*[hashSize]byte)(b)
}

// Missing reports whether argument i could not be read from the node's memory.
func (r *Record) Missing(i int) bool { return i >= 0 && i < maxArgs && r.fault&(1<<i) != 0 }

// Cut reports whether string argument i was longer than what is kept of it.
func (r *Record) Cut(i int) bool { return i >= 0 && i < maxArgs && r.cut&(1<<i) != 0 }

// Indexes of the arguments of net:inbound_message and net:outbound_message.
const (
	messageSize    = 4
	messagePayload = 5
)

func (r *Record) isMessage() bool {
	return r.Tracepoint == NetInboundMessage || r.Tracepoint == NetOutboundMessage
}

// Payload returns what was kept of a message's payload; nil for other records.
func (r *Record) Payload() []byte {
	if !r.isMessage() {
		return nil
	}
	return r.Bytes(messagePayload)
}

// PayloadSize returns the true size of a message's payload in bytes.
func (r *Record) PayloadSize() uint64 {
	if !r.isMessage() {
		return 0
	}
	return r.arg(messageSize)
}

// Remaining is how many bytes of records were behind this one in the ring when it
// was read: 0 means that the reader had caught up.
func (r *Record) Remaining() int { return r.remaining }

// CPUTimeSince returns how long the thread ran on a CPU since an earlier record of
// the same thread. The scheduler's figures are up to a tick old; the time since
// then is added for both records if they are of the same CPU, which counts as
// running what interrupts and a hypervisor took meanwhile, and otherwise left out,
// which may be wrong by a tick either way. ok is false for another thread or where
// the kernel doesn't tell.
func (r *Record) CPUTimeSince(earlier *Record) (d time.Duration, ok bool) {
	if r.TID != earlier.TID || r.PID != earlier.PID || r.RunStart == 0 || earlier.RunStart == 0 {
		return 0, false
	}
	ran := int64(r.RunTime - earlier.RunTime)
	if r.CPU == earlier.CPU {
		ran += int64(r.Time-earlier.Time) - int64(r.RunStart-earlier.RunStart)
	}
	return time.Duration(max(ran, 0)), true
}

package p2pmessage

import "encoding/binary"

// maxCompactSize is the largest length or count that Bitcoin Core reads, also where
// more would fit (MAX_SIZE in its serialize.h).
const maxCompactSize = 0x02000000

// reader walks a payload that may come from anybody and of which perhaps only the
// beginning was captured. Every method checks the bytes that are left before it
// uses them. The first failure sticks; after it all reads give zero values.
type reader struct {
	// b is what was captured and not yet read.
	b []byte
	// unseen is the number of payload bytes after b that were not captured.
	unseen uint64
	// state is the first failure, PayloadStateUnspecified before.
	state State
	// keep says that what is decoded so far is worth an event also when the capture
	// ends before the message does.
	keep bool
	// counted says that the message announced how many elements its list has, which
	// is count.
	counted bool
	count   uint64
}

func (r *reader) ok() bool { return r.state == stateWhole }

// fail records the first failure and ends all reading.
func (r *reader) fail(state State) {
	if r.state == stateWhole {
		r.state = state
	}
	r.b = nil
}

// lacks is called when n bytes are wanted and fewer were captured: if the payload
// itself has them it was truncated, otherwise it is malformed.
func (r *reader) lacks(n uint64) {
	if n <= r.left() {
		r.fail(stateTruncated)
	} else {
		r.fail(stateMalformed)
	}
}

// left is the number of payload bytes not yet read, captured or not.
func (r *reader) left() uint64 { return uint64(len(r.b)) + r.unseen }

// take gives the next n bytes, nil on failure.
func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.lacks(uint64(n))
		return nil
	}
	s := r.b[:n:n]
	r.b = r.b[n:]
	return s
}

func (r *reader) uint8() uint8 {
	if len(r.b) == 0 {
		r.lacks(1)
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

// port reads a port number, which alone is big-endian on the wire.
func (r *reader) port() uint16 {
	if s := r.take(2); s != nil {
		return binary.BigEndian.Uint16(s)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if s := r.take(4); s != nil {
		return binary.LittleEndian.Uint32(s)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if s := r.take(8); s != nil {
		return binary.LittleEndian.Uint64(s)
	}
	return 0
}

// compactSize reads a length or count. As in Bitcoin Core a number that isn't
// written in its shortest form, or is above maxCompactSize, is malformed.
func (r *reader) compactSize() uint64 {
	if len(r.b) > 0 && r.b[0] < 0xfd {
		v := uint64(r.b[0])
		r.b = r.b[1:]
		return v
	}
	v := r.compactUint64()
	if v > maxCompactSize {
		r.fail(stateMalformed)
		return 0
	}
	return v
}

// compactUint64 reads a number in compact size form that is no length: the service
// bits of addrv2.
func (r *reader) compactUint64() uint64 {
	var v, least uint64
	switch first := r.uint8(); first {
	case 0xfd:
		if s := r.take(2); s != nil {
			v = uint64(binary.LittleEndian.Uint16(s))
		}
		least = 0xfd
	case 0xfe:
		v, least = uint64(r.uint32()), 1<<16
	case 0xff:
		v, least = r.uint64(), 1<<32
	default:
		return uint64(first)
	}
	if v < least {
		// After a failed read v is zero and the earlier failure stays.
		r.fail(stateMalformed)
		return 0
	}
	return v
}

// length reads the count of a list whose elements take at least minSize bytes each.
// A count that can't fit into the payload is malformed.
func (r *reader) length(minSize int) int {
	n := r.compactSize()
	if n > r.left()/uint64(minSize) {
		r.fail(stateMalformed)
		return 0
	}
	return int(n)
}

// elements reads the count of the message's list and notes it for the event, also
// when it is wrong.
func (r *reader) elements(minSize int) int {
	n := r.compactSize()
	if !r.ok() {
		return 0
	}
	r.count, r.counted = n, true
	if n > r.left()/uint64(minSize) {
		r.fail(stateMalformed)
		return 0
	}
	return int(n)
}

// run gives the next n elements of size bytes each in one slice; fewer, but whole
// ones, when the capture ends before.
func (r *reader) run(n, size int) []byte {
	whole := min(n, len(r.b)/size)
	s := r.b[: whole*size : whole*size]
	r.b = r.b[whole*size:]
	if whole < n {
		r.lacks(uint64(n-whole) * uint64(size))
	}
	return s
}

// varBytes reads a byte string with its length in front. More than limit bytes are
// malformed; 0 is no limit.
func (r *reader) varBytes(limit int) []byte {
	n := r.compactSize()
	if limit > 0 && n > uint64(limit) {
		r.fail(stateMalformed)
		return nil
	}
	if n > uint64(len(r.b)) {
		r.lacks(n)
		return nil
	}
	return r.take(int(n))
}

package netgroup

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
)

// MaxASMapSize bounds an asmap file in bytes; that of 2025 has 2 MB.
const MaxASMapSize = 64 << 20

// ASMap maps addresses to autonomous systems. The format is that of Bitcoin Core
// (util/asmap.cpp, written by contrib/asmap): a program of bits that walks a binary
// trie, read from the least significant bit of each byte.
type ASMap struct {
	data []byte
}

// ErrASMap is returned for data that isn't a well-formed asmap.
var ErrASMap = errors.New("not a well-formed asmap")

// LoadASMap reads and checks an asmap file.
func LoadASMap(path string) (*ASMap, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("asmap: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxASMapSize+1))
	if err != nil {
		return nil, fmt.Errorf("asmap %s: %w", path, err)
	}
	if len(data) > MaxASMapSize {
		return nil, fmt.Errorf("asmap %s: larger than %d bytes: %w", path, MaxASMapSize, ErrASMap)
	}
	m, err := NewASMap(data)
	if err != nil {
		return nil, fmt.Errorf("asmap %s: %w", path, err)
	}
	return m, nil
}

// NewASMap checks data as the node does and keeps it.
func NewASMap(data []byte) (*ASMap, error) {
	if !wellFormed(data, 128) {
		return nil, ErrASMap
	}
	return &ASMap{data: data}, nil
}

// ASOf gives the autonomous system of an address, 0 when there is none. A nil map has
// none. IPv4 addresses, also those inside IPv6 ones, are looked up as ::ffff:0:0/96.
func (m *ASMap) ASOf(a *Address) uint32 {
	if m == nil {
		return 0
	}
	class := a.Class()
	if class != IPv4 && class != IPv6 {
		return 0
	}
	ip := [16]byte(a.bytes[:16])
	if v4, ok := a.linkedIPv4(); ok {
		ip = [16]byte{10: 0xff, 11: 0xff}
		copy(ip[12:], v4[:])
	}
	return m.lookup(ip)
}

// invalid is a number that is cut off by the end of the data.
const invalid = ^uint32(0)

// instruction is one step of the program.
type instruction uint32

const (
	// opReturn gives the number that follows.
	opReturn instruction = iota
	// opJump looks at the next bit of the address and skips as many bits of the
	// program as the number that follows says if it is set.
	opJump
	// opMatch compares the next bits of the address with a pattern; a difference ends
	// the lookup with the default.
	opMatch
	// opDefault sets the default.
	opDefault
)

// asReader reads the program.
type asReader struct {
	data []byte
	pos  uint64
}

func (r *asReader) end() uint64 { return uint64(len(r.data)) * 8 }

func (r *asReader) bit() uint32 {
	b := uint32(r.data[r.pos/8]>>(r.pos%8)) & 1
	r.pos++
	return b
}

// number reads a number of a class code: as many ones as the class, a zero unless it
// is the last class, then the place within the class, most significant bit first.
// Class i has 1<<(first+i) places for i < classes.
func (r *asReader) number(minimum uint32, sizes []uint8) uint32 {
	value := minimum
	for i, size := range sizes {
		more := uint32(0)
		if i+1 < len(sizes) {
			if r.pos >= r.end() {
				return invalid
			}
			more = r.bit()
		}
		if more != 0 {
			value += 1 << size
			continue
		}
		for b := range size {
			if r.pos >= r.end() {
				return invalid
			}
			value += r.bit() << (size - 1 - b)
		}
		return value
	}
	return invalid
}

// The classes of each kind of number, in bits.
var (
	typeSizes  = []uint8{0, 0, 1}
	asSizes    = []uint8{15, 16, 17, 18, 19, 20, 21, 22, 23, 24}
	matchSizes = []uint8{1, 2, 3, 4, 5, 6, 7, 8}
	jumpSizes  = []uint8{
		5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30,
	}
)

func (r *asReader) instruction() instruction { return instruction(r.number(0, typeSizes)) }
func (r *asReader) as() uint32               { return r.number(1, asSizes) }
func (r *asReader) match() uint32            { return r.number(2, matchSizes) }
func (r *asReader) jump() uint32             { return r.number(17, jumpSizes) }

// lookup runs the program for an address. The data is well-formed, but every step is
// checked all the same: a mistake in the check must not become a crash.
func (m *ASMap) lookup(ip [16]byte) uint32 {
	r := asReader{data: m.data}
	used, fallback := 0, uint32(0)
	next := func() uint32 {
		b := uint32(ip[used/8]>>(7-used%8)) & 1
		used++
		return b
	}
	for r.pos < r.end() {
		switch r.instruction() {
		case opReturn:
			if as := r.as(); as != invalid {
				return as
			}
			return 0
		case opJump:
			jump := r.jump()
			if jump == invalid || used == 128 || uint64(jump) >= r.end()-r.pos {
				return 0
			}
			if next() != 0 {
				r.pos += uint64(jump)
			}
		case opMatch:
			pattern := r.match()
			if pattern == invalid {
				return 0
			}
			length := bits.Len32(pattern) - 1
			if 128-used < length {
				return 0
			}
			for i := range length {
				if next() != pattern>>(length-1-i)&1 {
					return fallback
				}
			}
		case opDefault:
			if fallback = r.as(); fallback == invalid {
				return 0
			}
		default:
			return 0
		}
	}
	return 0
}

// wellFormed checks that every path through the program ends, with no more than the
// given bits of an address, and that the program has the one form that the encoder
// writes. It accepts and refuses what Bitcoin Core does.
func wellFormed(data []byte, bitsLeft int) bool {
	type target struct {
		pos  uint64
		left int
	}
	r := asReader{data: data}
	var targets []target
	previous := opJump
	shortMatch := false
	for r.pos != r.end() {
		if len(targets) > 0 && r.pos >= targets[len(targets)-1].pos {
			// A jump into the middle of an instruction.
			return false
		}
		op := r.instruction()
		switch op {
		case opReturn:
			if previous == opDefault || r.as() == invalid {
				return false
			}
			if len(targets) == 0 {
				return padding(&r)
			}
			last := targets[len(targets)-1]
			if r.pos != last.pos {
				return false
			}
			bitsLeft = last.left
			targets = targets[:len(targets)-1]
			previous = opJump
			continue
		case opJump:
			jump := r.jump()
			if jump == invalid || uint64(jump) > r.end()-r.pos || bitsLeft == 0 {
				return false
			}
			bitsLeft--
			to := r.pos + uint64(jump)
			if len(targets) > 0 && to >= targets[len(targets)-1].pos {
				return false
			}
			targets = append(targets, target{to, bitsLeft})
		case opMatch:
			pattern := r.match()
			if pattern == invalid {
				return false
			}
			length := bits.Len32(pattern) - 1
			if previous != opMatch {
				shortMatch = false
			}
			if length < 8 && shortMatch {
				return false
			}
			shortMatch = length < 8
			if bitsLeft < length {
				return false
			}
			bitsLeft -= length
		case opDefault:
			if previous == opDefault || r.as() == invalid {
				return false
			}
		default:
			return false
		}
		previous = op
	}
	return false
}

// padding checks what follows the last instruction: less than a byte of zeros.
func padding(r *asReader) bool {
	if r.end()-r.pos > 7 {
		return false
	}
	for r.pos != r.end() {
		if r.bit() != 0 {
			return false
		}
	}
	return true
}

package peerstate

import (
	"github.com/peerobserver/peerobserver/exporters/decode"
)

const (
	// maxReplacements bounds the transactions whose replacements are remembered.
	maxReplacements = 50_000
	// sizeClasses is the number of virtual sizes that are told apart; larger ones are
	// one class.
	sizeClasses = 4096
	// sizeWindow is the length of a window of sizes in minutes.
	sizeWindow = 10
)

// mempool follows chains of replacements and the mix of sizes.
type mempool struct {
	// depth is the number of replacements that led to a transaction; ring holds its
	// keys in the order of time.
	depth map[uint64]uint32
	ring  []uint64
	next  int
	// gone are transactions that were replaced.
	gone *seen
	// sizes counts the virtual sizes of what entered the mempool: this window and the
	// one before.
	sizes  [2][sizeClasses + 1]uint32
	window int64
}

// The memory of replaced transactions: a day of a busy network.
const (
	goneCapacity = 200_000
	goneErrors   = 0.001
	goneLifetime = int64(86_400e9)
)

func (q *mempool) init() {
	q.depth = make(map[uint64]uint32)
	q.ring = make([]uint64, maxReplacements)
	q.gone = newSeen(goneCapacity, goneErrors, goneLifetime)
}

// replaced takes a transaction that was replaced by another one or by a package.
func (q *mempool) replaced(s *State, m *decode.Mempool, o *Observation) {
	old, replacement := s.hash(m.TxID), s.hash(m.ReplacementID)
	depth := q.depth[old] + 1
	o.Replacement = depth
	q.gone.add(old, s.now)
	if depth <= q.depth[replacement] {
		return
	}
	if _, ok := q.depth[replacement]; !ok {
		if forget := q.ring[q.next]; forget != 0 {
			delete(q.depth, forget)
		}
		q.ring[q.next] = replacement
		q.next = (q.next + 1) % len(q.ring)
	}
	q.depth[replacement] = depth
}

// added takes a transaction that entered the mempool.
func (q *mempool) added(s *State, m *decode.Mempool, o *Observation) {
	o.Readded = q.gone.has(s.hash(m.TxID))
	q.advance(s.now)
	q.sizes[0][min(max(m.VSize, 0), sizeClasses)]++
}

func (q *mempool) advance(now int64) {
	window := now / (sizeWindow * 60e9)
	if window == q.window {
		return
	}
	if window == q.window+1 {
		q.sizes[1] = q.sizes[0]
	} else {
		q.sizes[1] = [sizeClasses + 1]uint32{}
	}
	q.sizes[0] = [sizeClasses + 1]uint32{}
	q.window = window
}

// topSize is the share of the most frequent virtual size among the transactions of the
// last ten to twenty minutes, and their number.
func (q *mempool) topSize(now int64) (share float64, total uint64) {
	q.advance(now)
	top := uint64(0)
	for i := range q.sizes[0] {
		n := uint64(q.sizes[0][i]) + uint64(q.sizes[1][i])
		total += n
		if i < sizeClasses {
			top = max(top, n)
		}
	}
	if total == 0 {
		return 0, 0
	}
	return float64(top) / float64(total), total
}

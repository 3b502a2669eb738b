// Package queue is the bounded queue between the event stream, which never waits, and
// a sink that may be slow: a network, a disk, a terminal.
package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/peerobserver/peerobserver/proto/event"
)

const (
	// chunkSize is the size in bytes of the blocks that event bytes are copied to. A
	// quiet queue holds one, a backlog as many as it needs.
	chunkSize = 256 << 10
	// largeEvent is the size from which an event gets a block of its own, so that at
	// most a quarter of a block is left unused.
	largeEvent = chunkSize / 4
	// maxChunkEvents bounds the events of a block, and with it the size of its table.
	maxChunkEvents = 1024
	// Overhead is what an event costs beside its bytes, for its place in the table:
	// with it the bound in bytes is a bound of the number of events too.
	Overhead = 128
	// maxSpares bounds the unused blocks that are kept. A sink that releases much at
	// once needs some; they are given back one by one while the queue is quiet.
	maxSpares = 8
	// minCapacity is the smallest sensible capacity in bytes.
	minCapacity = 4 << 10
	// messageShare is the part of the capacity, in eighths, that P2P messages may
	// fill. Peers choose how many of those there are; connections, log lines and RPC
	// answers, which tell what happens in such a flood, still find room.
	messageShare = 7
)

// ReasonShutdown is why events are lost that a sink couldn't write before its end.
const ReasonShutdown event.Reason = "shutdown"

// Config describes a queue.
type Config struct {
	// Sink names the sink in the ledger; events that find no room are counted with
	// the reason "<Sink>_full".
	Sink string
	// Capacity bounds the queued events in bytes, Overhead included. The memory in
	// use is at most a third higher.
	Capacity int64
}

// Queue is a first-in, first-out queue of events. HandleEvent copies an event into it
// and never blocks; it is called by one goroutine at a time. One other goroutine reads:
// Wait, Next, Release, Rewind.
//
// What was read stays in the queue, and is counted as its fill, until it is released.
// A sink that learns late whether its writes arrived can thereby have them again.
//
// When the queue is full the new event is dropped, not the oldest: what is inside
// stays without gaps, so that a reader finds out with the next event, and a queue of
// unreleased events can't lose what its sink is still writing.
//
// Nothing is allocated for an event once the queue has its working size; the memory
// of a backlog goes back to the garbage collector when it has been worked off.
type Queue struct {
	sink     string
	capacity int64
	ledger   *event.Ledger
	// ready wakes the reader.
	ready chan struct{}

	mu      sync.Mutex
	waiting bool
	closed  bool
	// chunks hold the events not released, oldest first. The last is the one that is
	// appended to.
	chunks []*chunk
	// spares are blocks for reuse.
	spares []*chunk
	// readChunk and readEvent are the place of the next unread event.
	readChunk, readEvent int
	events, unread       uint64
	bytes                int64
	full, shutdown       [event.SourceObserver + 1]*event.Counter
}

// chunk is a block of events and their bytes. Both arrays keep their place, so that the
// reader may use what it was given while more is appended.
type chunk struct {
	events   []event.Event
	data     []byte
	released int
}

// New makes a queue and makes it known to the ledger.
func New(cfg Config, ledger *event.Ledger) (*Queue, error) {
	if cfg.Sink == "" {
		return nil, errors.New("queue: no sink named")
	}
	if cfg.Capacity < minCapacity {
		return nil, fmt.Errorf("queue of %s: capacity of %d bytes is too small, at least %d are needed", cfg.Sink, cfg.Capacity, minCapacity)
	}
	q := &Queue{
		sink:     cfg.Sink,
		capacity: cfg.Capacity,
		ledger:   ledger,
		ready:    make(chan struct{}, 1),
	}
	q.chunks = append(q.chunks, newChunk(chunkSize, maxChunkEvents))
	ledger.Queue(q.State)
	return q, nil
}

func newChunk(size, events int) *chunk {
	return &chunk{events: make([]event.Event, 0, events), data: make([]byte, 0, size)}
}

// cost is what an event counts for in the queue.
func cost(size int) int64 { return int64(size) + Overhead }

// HandleEvent copies e into the queue, or counts it as lost when there is no room.
func (q *Queue) HandleEvent(e *event.Event) {
	q.mu.Lock()
	need := cost(len(e.Data))
	limit := q.capacity
	if e.Subject == event.SubjectMessages {
		limit = limit / 8 * messageShare
	}
	if q.closed || q.bytes+need > limit {
		counter := q.lossOf(e.Source)
		q.mu.Unlock()
		counter.Add(1)
		return
	}
	c := q.chunkFor(len(e.Data))
	start := len(c.data)
	c.data = append(c.data, e.Data...)
	c.events = append(c.events, *e)
	c.events[len(c.events)-1].Data = c.data[start:len(c.data):len(c.data)]
	q.events++
	q.unread++
	q.bytes += need
	wake := q.waiting
	q.waiting = false
	q.mu.Unlock()
	if wake {
		q.wake()
	}
}

func (q *Queue) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// chunkFor gives a chunk with room for one event of size bytes.
func (q *Queue) chunkFor(size int) *chunk {
	if n := len(q.chunks); n > 0 {
		last := q.chunks[n-1]
		if len(last.events) < cap(last.events) && len(last.data)+size <= cap(last.data) {
			return last
		}
	}
	var c *chunk
	switch {
	case size >= largeEvent:
		c = newChunk(size, 1)
	case len(q.spares) > 0:
		last := len(q.spares) - 1
		c = q.spares[last]
		q.spares[last] = nil
		q.spares = q.spares[:last]
	default:
		c = newChunk(chunkSize, maxChunkEvents)
	}
	q.chunks = append(q.chunks, c)
	return c
}

// lossOf gives the counter of lost events of a source, making it at its first loss.
func (q *Queue) lossOf(s event.Source) *event.Counter {
	counters, reason := &q.full, event.Reason(q.sink+"_full")
	if q.closed {
		counters, reason = &q.shutdown, ReasonShutdown
	}
	if int(s) >= len(counters) {
		s = event.SourceUnknown
	}
	if counters[s] == nil {
		counters[s] = q.ledger.Loss(s, event.StageQueue, reason)
	}
	return counters[s]
}

// Ready is signalled when Next may have something after it had nothing. It is for
// select statements; others use Wait.
func (q *Queue) Ready() <-chan struct{} { return q.ready }

// Wait blocks until there is an unread event. It returns the context's error when that
// ends first.
func (q *Queue) Wait(ctx context.Context) error {
	for {
		q.mu.Lock()
		unread := q.unread
		q.waiting = unread == 0
		q.mu.Unlock()
		if unread > 0 {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-q.ready:
		}
	}
}

// Next gives the oldest unread events, as many as lie together, and marks them as read;
// nil when there are none, in which case Ready is signalled once there are. Events and
// their bytes are valid until they are released.
func (q *Queue) Next() []event.Event {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.readChunk < len(q.chunks) {
		c := q.chunks[q.readChunk]
		if q.readEvent < len(c.events) {
			events := c.events[q.readEvent:len(c.events):len(c.events)]
			q.readEvent = len(c.events)
			q.unread -= uint64(len(events))
			return events
		}
		if q.readChunk == len(q.chunks)-1 {
			break
		}
		q.readChunk++
		q.readEvent = 0
	}
	q.waiting = true
	return nil
}

// Unread is the number of events that Next would give.
func (q *Queue) Unread() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.unread
}

// Release gives up the n oldest events. Only events that were read can be released.
func (q *Queue) Release(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n = q.atMostRead(n)
	for n > 0 {
		c := q.chunks[0]
		take := min(n, len(c.events)-c.released)
		for i := c.released; i < c.released+take; i++ {
			q.bytes -= cost(len(c.events[i].Data))
		}
		c.released += take
		q.events -= uint64(take)
		n -= take
		if c.released == len(c.events) {
			q.retire()
		}
	}
}

// atMostRead bounds n by the number of events that are read and not released.
func (q *Queue) atMostRead(n int) int {
	return max(0, min(n, int(q.events-q.unread)))
}

// retire takes the first chunk, all of whose events are released, out of use.
func (q *Queue) retire() {
	c := q.chunks[0]
	reusable := cap(c.data) == chunkSize
	if reusable {
		// The events refer to strings that may be worth collecting.
		clear(c.events)
		c.events, c.data, c.released = c.events[:0], c.data[:0], 0
	}
	if reusable && len(q.chunks) == 1 {
		q.readEvent = 0
		if last := len(q.spares) - 1; last >= 0 {
			q.spares[last] = nil
			q.spares = q.spares[:last]
		}
		return
	}
	if reusable && len(q.spares) < maxSpares {
		q.spares = append(q.spares, c)
	}
	// The chunks move down, so that their slice doesn't grow without end.
	copy(q.chunks, q.chunks[1:])
	q.chunks[len(q.chunks)-1] = nil
	q.chunks = q.chunks[:len(q.chunks)-1]
	if q.readChunk > 0 {
		q.readChunk--
	} else {
		q.readEvent = 0
	}
}

// Rewind marks the last n events that were read, and are not released, as unread again.
func (q *Queue) Rewind(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n = q.atMostRead(n)
	q.unread += uint64(n)
	for n > 0 {
		if q.readEvent == 0 {
			q.readChunk--
			q.readEvent = len(q.chunks[q.readChunk].events)
			continue
		}
		take := min(n, q.readEvent)
		q.readEvent -= take
		n -= take
	}
}

// Close counts the unread events as lost by shutdown, and every event that comes
// afterwards. The events that are read and not released stay: whether they are lost is
// for the sink to say. It returns the number of events counted.
func (q *Queue) Close() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	lost := q.unread
	for i := q.readChunk; i < len(q.chunks); i++ {
		first := 0
		if i == q.readChunk {
			first = q.readEvent
		}
		for j := first; j < len(q.chunks[i].events); j++ {
			q.lossOf(q.chunks[i].events[j].Source).Add(1)
		}
	}
	return lost
}

// State is the fill of the queue, unreleased events included.
func (q *Queue) State() event.QueueState {
	q.mu.Lock()
	defer q.mu.Unlock()
	return event.QueueState{
		Sink:          q.sink,
		Events:        q.events,
		Bytes:         uint64(q.bytes),
		CapacityBytes: uint64(q.capacity),
	}
}

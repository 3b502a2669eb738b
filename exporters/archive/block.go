package archive

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// sourceCount is the number of sources, for arrays.
const sourceCount = int(event.SourceObserver) + 1

// tally counts events.
type tally struct {
	events      uint64
	first, last int64
	kinds       [event.KindCount]uint64
	sources     [sourceCount]uint64
}

func newTally() tally { return tally{first: math.MaxInt64, last: math.MinInt64} }

func (t *tally) add(e *event.Event) {
	t.events++
	at := e.Time().UnixNano()
	t.first, t.last = min(t.first, at), max(t.last, at)
	t.kinds[e.Kind]++
	t.sources[sourceIndex(e.Source)]++
}

func sourceIndex(s event.Source) event.Source {
	if int(s) < sourceCount {
		return s
	}
	return event.SourceUnknown
}

// counts gives the events by kind.
func (t *tally) counts() []*eventpb.ArchiveCount {
	var list []*eventpb.ArchiveCount
	for kind, n := range t.kinds {
		if n > 0 {
			list = append(list, &eventpb.ArchiveCount{Event: ptr(event.Kind(kind).String()), Count: ptr(n)})
		}
	}
	return list
}

// block collects events until it is written.
type block struct {
	tally
	// content is the events with their lengths.
	content []byte
}

func (b *block) reset() {
	if cap(b.content) > 2*maxBlockSize {
		b.content = nil
	}
	b.content = b.content[:0]
	b.tally = newTally()
}

// add appends an event, with data as its bytes.
func (b *block) add(e *event.Event, data []byte) {
	b.content = protowire.AppendBytes(b.content, data)
	b.tally.add(e)
}

// describe gives the block's description for a frame at offset.
func (b *block) describe(offset int64, compressed int) *eventpb.ArchiveBlock {
	return &eventpb.ArchiveBlock{
		Offset:          ptr(uint64(offset)),
		CompressedBytes: ptr(uint64(compressed)),
		Bytes:           ptr(uint64(len(b.content))),
		Events:          ptr(b.events),
		FirstTimeNs:     ptr(b.first),
		LastTimeNs:      ptr(b.last),
	}
}

func ptr[T any](v T) *T { return &v }

func (t *tally) merge(other *tally) {
	t.events += other.events
	t.first, t.last = min(t.first, other.first), max(t.last, other.last)
	for i, n := range other.kinds {
		t.kinds[i] += n
	}
	for i, n := range other.sources {
		t.sources[i] += n
	}
}

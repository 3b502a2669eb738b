package nats

import (
	"container/list"

	"github.com/peerobserver/peerobserver/proto/event"
)

const (
	// maxProducers bounds the runs of agents whose numbers are followed. Anybody who
	// may publish can invent more; the longest silent are forgotten then.
	maxProducers = 1024
	// maxGap is the largest gap that is believed, in events: at 100,000 a second it
	// is an hour and more. A larger one is a forged or damaged number.
	maxGap = 1 << 29
)

// producer is one run of one agent.
type producer struct {
	node   string
	bootID uint64
}

// sequences are the last numbers seen of a producer, by source; zero for none.
type sequences struct {
	producer producer
	last     [event.SourceObserver + 1]uint64
}

// tracker follows the numbers of events to find what is missing and what came twice.
type tracker struct {
	producers map[producer]*list.Element
	// order is from the producer heard last to the one silent longest.
	order *list.List
	// forgotten counts the producers given up for new ones.
	forgotten uint64
}

func newTracker() *tracker {
	return &tracker{producers: map[producer]*list.Element{}, order: list.New()}
}

// verdict is what an event's number says.
type verdict uint8

const (
	// verdictNew: the event is to be handed on.
	verdictNew verdict = iota
	// verdictDuplicate: an event with this number or a later one was seen before.
	// Order is kept from source to subscriber, so a late one is a repeated one.
	verdictDuplicate
	// verdictInvalid: the number can't be right.
	verdictInvalid
)

// see takes note of an event and says what to do with it, and how many events are
// missing before it. Events of producers that don't number are always new. The first
// event of a source is where its count begins: what came before the subscriber did is
// not missing.
func (t *tracker) see(h *event.Header) (v verdict, missing uint64) {
	if h.BootID == 0 || h.Sequence == 0 || int(h.Source) >= len(sequences{}.last) {
		return verdictNew, 0
	}
	s := t.sequencesOf(producer{h.NodeName, h.BootID})
	last := s.last[h.Source]
	switch {
	case last == 0:
		s.last[h.Source] = h.Sequence
		return verdictNew, 0
	case h.Sequence <= last:
		return verdictDuplicate, 0
	case h.Sequence-last > maxGap:
		return verdictInvalid, 0
	default:
		s.last[h.Source] = h.Sequence
		return verdictNew, h.Sequence - last - 1
	}
}

func (t *tracker) sequencesOf(p producer) *sequences {
	// Nearly always it is the one that was heard last.
	if front := t.order.Front(); front != nil {
		if s := sequencesIn(front); s.producer == p {
			return s
		}
	}
	if element := t.producers[p]; element != nil {
		t.order.MoveToFront(element)
		return sequencesIn(element)
	}
	if len(t.producers) == maxProducers {
		oldest := t.order.Back()
		delete(t.producers, sequencesIn(oldest).producer)
		t.order.Remove(oldest)
		t.forgotten++
	}
	s := &sequences{producer: p}
	t.producers[p] = t.order.PushFront(s)
	return s
}

func sequencesIn(element *list.Element) *sequences {
	return element.Value.(*sequences) //nolint:forcetypeassert // only they are put in
}

package nats

import (
	"testing"

	"github.com/peerobserver/peerobserver/proto/event"
)

func TestTrackerIsBounded(t *testing.T) {
	tracker := newTracker()
	honest := &event.Header{Source: event.SourceRPC, NodeName: "honest", BootID: 1}
	missing := uint64(0)
	for i := range uint64(10 * maxProducers) {
		tracker.see(&event.Header{Source: event.SourceRPC, NodeName: "hostile", BootID: i + 1, Sequence: 1})
		if i%100 == 0 {
			honest.Sequence += 2
			_, n := tracker.see(honest)
			missing += n
		}
	}
	if len(tracker.producers) != maxProducers || tracker.order.Len() != maxProducers {
		t.Errorf("%d producers, %d in order", len(tracker.producers), tracker.order.Len())
	}
	// The one that is heard again and again isn't forgotten for the invented ones.
	if want := honest.Sequence/2 - 1; missing != want {
		t.Errorf("%d missing, want %d", missing, want)
	}
	if tracker.forgotten == 0 {
		t.Error("nobody was forgotten")
	}
}

func BenchmarkTracker(b *testing.B) {
	tracker := newTracker()
	h := &event.Header{Source: event.SourceRPC, NodeName: "node", BootID: 1}
	for range b.N {
		h.Sequence++
		tracker.see(h)
	}
}

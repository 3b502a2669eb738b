package getblocktxn

import (
	"io"
	"log/slog"
	"testing"

	"github.com/peerobserver/peerobserver/proto/event"
)

// keeper keeps copies of events.
type keeper struct{ events []*event.Event }

func (k *keeper) HandleEvent(e *event.Event) {
	kept := *e
	kept.Data = append([]byte(nil), e.Data...)
	k.events = append(k.events, &kept)
}

// BenchmarkOtherMessage is what nearly every event costs: a message that is none of those
// recorded.
func BenchmarkOtherMessage(b *testing.B) { benchmark(b, func(s *source) { s.ping(1) }) }

// BenchmarkRow is a request and its answer, of which a row is made.
func BenchmarkRow(b *testing.B) {
	benchmark(b, func(s *source) {
		s.getBlockTxn(1, false, hash(1), 1, 2, 3)
		s.blockTxn(1, true, hash(1), 3)
	})
}

func benchmark(b *testing.B, emit func(*source)) {
	var k keeper
	emit(newSource("alice", event.NewStream(&k), event.NewLedger()))
	sink, err := New(Config{Output: io.Discard, Buffer: 1 << 16}, event.NewLedger(), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, e := range k.events {
			sink.HandleEvent(e)
		}
	}
}

package nats

import (
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/peerobserver/peerobserver/proto/event"
)

// TestDroppedMessagesAreCounted lets a subscription overflow as a slow process would.
func TestDroppedMessagesAreCounted(t *testing.T) {
	logger := slog.New(slog.DiscardHandler)
	server, err := NewServer(ServerConfig{ListenAddress: "127.0.0.1:0", AllowPublish: true}, logger)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Shutdown()
	ledger := event.NewLedger()
	s, err := NewSubscriber(SubscriberConfig{Connection: Config{InProcess: server}}, event.NewStream(), ledger, logger)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := nats.Connect(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	subscription, err := conn.ChanSubscribe(event.SubjectRPC, make(chan *nats.Msg, 3))
	if err != nil {
		t.Fatal(err)
	}
	drops := map[*nats.Subscription]int{subscription: 0}
	for round := 1; round <= 2; round++ {
		for range 10 {
			if err := conn.Publish(event.SubjectRPC, nil); err != nil {
				t.Fatal(err)
			}
		}
		want := 10*round - 3
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
			if n, err := subscription.Dropped(); err != nil || n == want {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("nothing was dropped")
			}
		}
		s.countDropped(drops)
		s.countDropped(drops)
		if got := ledger.Loss(event.SourceUnknown, event.StageSubscribe, ReasonSlowConsumer).Value(); got != uint64(want) {
			t.Errorf("%d counted, want %d", got, want)
		}
	}
}

package nats_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/exporters/nats"
	"github.com/peerobserver/peerobserver/exporters/queue"
	"github.com/peerobserver/peerobserver/proto/event"
)

// pace emits events at about 2,000 a second until stop is closed.
func (r *rig) pace(stop <-chan struct{}) {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			for range 20 {
				r.emit()
			}
		}
	}
}

// TestLossesAreWhatASubscriberMissed kills a server again and again while events flow,
// with a buffer too small for the outages, and compares what subscribers missed with
// what was counted.
func TestLossesAreWhatASubscriberMissed(t *testing.T) {
	x := newExternal(t, "")
	x.start()
	r := newRig(t, nats.PublisherConfig{
		Connection:  nats.Config{URL: x.url()},
		Buffer:      400 << 10,
		SettleDelay: 3 * time.Second,
	})
	observer := newPlain(t, x.url(), event.SubjectRPC)
	subscriber, sink, subscriberLedger := newSubscriber(t, nats.SubscriberConfig{Connection: nats.Config{URL: x.url()}})
	start(t, subscriber)
	eventually(t, "subscriber is connected", func() bool { up, _ := subscriber.State(); return up })
	sender := start(t, r.publisher)
	r.emit()
	eventually(t, "first event at both subscribers", func() bool { return observer.has(1) && len(sink.list()) == 1 })

	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		r.pace(stop)
	}()
	for i := range 3 {
		received := observer.received()
		eventually(t, "events flow", func() bool { return observer.received() > received+1000 })
		if i == 1 {
			x.signal(syscall.SIGTERM)
			_ = x.command.Wait()
			x.command = nil
		} else {
			x.kill()
		}
		before := losses(r.ledger, event.SourceRPC, event.StageQueue)
		eventually(t, "the buffer overflows", func() bool {
			return losses(r.ledger, event.SourceRPC, event.StageQueue) > before+500
		})
		x.start()
		eventually(t, "connected again", r.connected)
	}
	received := observer.received()
	eventually(t, "events flow", func() bool { return observer.received() > received+1000 })
	close(stop)
	<-stopped
	eventually(t, "everything is sent and confirmed", func() bool { return r.queued() == 0 })
	// The last event shows the last gap.
	r.emit()
	eventually(t, "last event at both subscribers", func() bool {
		events := sink.list()
		return observer.has(r.sequence) && events[len(events)-1].Sequence == r.sequence
	})
	sender.stop(t)

	missed := r.sequence - uint64(observer.seen())
	counted := losses(r.ledger, event.SourceRPC, event.StageQueue, event.StagePublish)
	t.Logf("%d events, %d missed, %d counted, %d received twice", r.sequence, missed, counted, observer.received()-observer.seen())
	if missed != counted || counted == 0 {
		t.Errorf("a subscriber missed %d events, %d are counted as lost", missed, counted)
	}
	if unsent := losses(r.ledger, event.SourceRPC, event.StagePublish); unsent != 0 {
		t.Errorf("%d events counted at the publish stage", unsent)
	}
	// Our own subscriber: each event once, in order, the same ones missing.
	events := sink.list()
	for i := 1; i < len(events); i++ {
		if events[i].Sequence <= events[i-1].Sequence {
			t.Fatalf("event %d came after %d", events[i].Sequence, events[i-1].Sequence)
		}
	}
	gap := losses(subscriberLedger, event.SourceRPC, event.StageSubscribe)
	if want := r.sequence - uint64(len(events)); gap != want || gap != counted {
		t.Errorf("subscriber missed %d events, counts %d as gaps, publisher counts %d", want, gap, counted)
	}
}

// TestNothingIsLostInAnOutageThatTheBufferHolds stops a server shortly.
func TestNothingIsLostInAnOutageThatTheBufferHolds(t *testing.T) {
	x := newExternal(t, "")
	x.start()
	r := newRig(t, nats.PublisherConfig{Connection: nats.Config{URL: x.url()}, SettleDelay: time.Second})
	observer := newPlain(t, x.url(), event.SubjectRPC)
	sender := start(t, r.publisher)
	for range 5 {
		for range 2000 {
			r.emit()
		}
		eventually(t, "events flow", func() bool { return observer.has(r.sequence - 1500) })
		x.kill()
		for range 1000 {
			r.emit()
		}
		x.start()
	}
	eventually(t, "all events at the subscriber", func() bool { return observer.seen() == int(r.sequence) })
	sender.stop(t)
	if counted := losses(r.ledger, event.SourceRPC, event.StageQueue, event.StagePublish); counted != 0 {
		t.Errorf("%d events counted as lost", counted)
	}
}

// TestFrozenServerIsGivenUp stops a server's process without closing its connections.
func TestFrozenServerIsGivenUp(t *testing.T) {
	x := newExternal(t, "")
	x.start()
	r := newRig(t, nats.PublisherConfig{Connection: nats.Config{URL: x.url()}, Buffer: 1 << 20, DrainTimeout: 100 * time.Millisecond})
	sender := start(t, r.publisher)
	eventually(t, "connected", r.connected)
	x.signal(syscall.SIGSTOP)
	defer x.signal(syscall.SIGCONT)
	for losses(r.ledger, event.SourceRPC, event.StageQueue) == 0 {
		r.emit()
	}
	eventually(t, "connection is given up", func() bool { return !r.connected() })
	sender.stop(t)
	// Everything that was emitted is accounted for.
	counted := losses(r.ledger, event.SourceRPC, event.StageQueue, event.StagePublish)
	if counted != r.sequence {
		t.Errorf("%d events emitted, %d counted as lost or in doubt", r.sequence, counted)
	}
}

func TestEndWithoutServer(t *testing.T) {
	r := newRig(t, nats.PublisherConfig{Connection: nats.Config{URL: "nats://127.0.0.1:1"}})
	sender := start(t, r.publisher)
	for range 10 {
		r.emit()
	}
	sender.stop(t)
	r.emit()
	got := r.ledger.Loss(event.SourceRPC, event.StageQueue, queue.ReasonShutdown).Value()
	if got != 11 {
		t.Errorf("%d events counted as lost, want 11", got)
	}
}

func TestEndSendsWhatIsQueued(t *testing.T) {
	x := newExternal(t, "")
	x.start()
	r := newRig(t, nats.PublisherConfig{Connection: nats.Config{URL: x.url()}})
	observer := newPlain(t, x.url(), event.SubjectRPC)
	for range 20_000 {
		r.emit()
	}
	sender := start(t, r.publisher)
	sender.stop(t)
	eventually(t, "all events at the subscriber", func() bool { return observer.seen() == 20_000 })
	if counted := losses(r.ledger, event.SourceRPC, event.StageQueue, event.StagePublish); counted != 0 {
		t.Errorf("%d events counted as lost", counted)
	}
}

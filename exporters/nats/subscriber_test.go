package nats_test

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	natsgo "github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/nats"
	"github.com/peerobserver/peerobserver/proto/event"
)

func newSubscriber(t testing.TB, cfg nats.SubscriberConfig) (*nats.Subscriber, *recorder, *event.Ledger) {
	t.Helper()
	logger, _ := newLogger(t)
	sink, ledger := new(recorder), event.NewLedger()
	subscriber, err := nats.NewSubscriber(cfg, event.NewStream(sink), ledger, logger)
	if err != nil {
		t.Fatal(err)
	}
	return subscriber, sink, ledger
}

// encoded makes the bytes of a numbered event of a producer.
func encoded(t testing.TB, node string, bootID, sequence uint64) []byte {
	t.Helper()
	e := uptime(sequence)
	if bootID != 0 {
		e.NodeName, e.BootId, e.Sequence = &node, &bootID, &sequence
	}
	data, err := proto.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// feed runs a subscriber, publishes messages and waits until all were received.
func feed(t *testing.T, cfg nats.SubscriberConfig, publish func(conn *natsgo.Conn)) (*nats.Subscriber, *recorder, *event.Ledger) {
	t.Helper()
	s, _ := newServer(t, nats.ServerConfig{AllowPublish: true})
	cfg.Connection.URL = s.URL()
	subscriber, sink, ledger := newSubscriber(t, cfg)
	start(t, subscriber)
	eventually(t, "connected", func() bool { up, _ := subscriber.State(); return up })
	conn, err := natsgo.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	publish(conn)
	last := encoded(t, "last", 99, 1)
	subject := cfg.SubjectPrefix
	if subject == "*." {
		subject = "z."
	}
	must(t, conn.Publish(subject+event.SubjectRPC, last))
	eventually(t, "last message", func() bool {
		events := sink.list()
		return len(events) > 0 && events[len(events)-1].NodeName == "last"
	})
	return subscriber, sink, ledger
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestSubscriberCountsGapsAndDuplicates(t *testing.T) {
	subscriber, sink, ledger := feed(t, nats.SubscriberConfig{}, func(conn *natsgo.Conn) {
		for _, p := range []struct {
			node             string
			bootID, sequence uint64
		}{
			{"a", 1, 5}, {"a", 1, 6}, // first seen at 5: nothing missing
			{"b", 1, 1}, {"b", 1, 4}, // 2 missing
			{"a", 1, 10}, // 3 missing
			{"a", 2, 1},  // a new run
			{"a", 1, 10}, // twice
			{"a", 1, 7},  // late, so twice
			{"a", 1, 11},
			{"a", 1, 1 << 62}, // forged
			{"a", 1, 12},
		} {
			must(t, conn.Publish(event.SubjectRPC, encoded(t, p.node, p.bootID, p.sequence)))
		}
		// A producer that doesn't number, as the existing tools.
		for range 3 {
			must(t, conn.Publish(event.SubjectRPC, encoded(t, "", 0, 0)))
		}
	})
	if got := ledger.Loss(event.SourceRPC, event.StageSubscribe, event.ReasonGap).Value(); got != 5 {
		t.Errorf("%d missing, want 5", got)
	}
	if got := ledger.Loss(event.SourceUnknown, event.StageSubscribe, nats.ReasonSequence).Value(); got != 1 {
		t.Errorf("%d impossible numbers, want 1", got)
	}
	if got := subscriber.Duplicates(); got != 2 {
		t.Errorf("%d duplicates, want 2", got)
	}
	if got := len(sink.list()); got != 8+3+1 {
		t.Errorf("%d events handed on, want 12", got)
	}
}

func TestSubscriberSurvivesGarbage(t *testing.T) {
	const garbage = 500
	subscriber, sink, ledger := feed(t, nats.SubscriberConfig{}, func(conn *natsgo.Conn) {
		random := rand.New(rand.NewPCG(1, 2))
		valid := encoded(t, "node", 1, 1)
		for range garbage {
			message := bytes.Clone(valid[:random.IntN(len(valid))])
			// Tags with a wire type that doesn't exist, more than a cut field may take.
			message = append(message, bytes.Repeat([]byte{0x0f}, 12)...)
			must(t, conn.Publish(event.Subjects()[random.IntN(8)], message))
		}
		must(t, conn.Publish(event.SubjectRPC, nil))
	})
	if got := len(sink.list()); got != 1 {
		t.Errorf("%d events handed on", got-1)
	}
	if got := ledger.Loss(event.SourceUnknown, event.StageDecode, event.ReasonMalformed).Value(); got != garbage+1 {
		t.Errorf("%d counted as malformed, want %d", got, garbage+1)
	}
	if subscriber.Received() != garbage+2 {
		t.Errorf("%d received", subscriber.Received())
	}
}

func TestSubscriberOfManyNodes(t *testing.T) {
	_, sink, _ := feed(t, nats.SubscriberConfig{SubjectPrefix: "*."}, func(conn *natsgo.Conn) {
		must(t, conn.Publish("a.rpc", encoded(t, "a", 1, 1)))
		must(t, conn.Publish("b.rpc", encoded(t, "b", 1, 1)))
		must(t, conn.Publish("rpc", encoded(t, "c", 1, 1)))
		must(t, conn.Publish("x.y.rpc", encoded(t, "d", 1, 1)))
	})
	var nodes []string
	for _, e := range sink.list() {
		nodes = append(nodes, e.NodeName+":"+e.Subject)
	}
	if got := strings.Join(nodes, " "); got != "a:rpc b:rpc last:rpc" {
		t.Errorf("got %s", got)
	}
}

// TestSubscriberHandsOnExactlyWhatWasPublished compares the two ends of the bus.
func TestSubscriberHandsOnExactlyWhatWasPublished(t *testing.T) {
	s, _ := newServer(t, nats.ServerConfig{})
	subscriber, sink, _ := newSubscriber(t, nats.SubscriberConfig{Connection: nats.Config{URL: s.URL()}})
	start(t, subscriber)
	eventually(t, "connected", func() bool { up, _ := subscriber.State(); return up })
	logger, _ := newLogger(t)
	ledger, before := event.NewLedger(), new(recorder)
	publisher, err := nats.NewPublisher(nats.PublisherConfig{Connection: nats.Config{InProcess: s}}, ledger, logger)
	must(t, err)
	start(t, publisher)
	stream := event.NewStream(before, publisher)
	origin := event.Origin{NodeName: "node", BootID: 5}
	rpc := event.NewEmitter(event.SourceRPC, origin, stream, ledger)
	log := event.NewEmitter(event.SourceLog, origin, stream, ledger)
	for i := range uint64(500) {
		rpc.Emit(uptime(i), event.Times{Kernel: int64(i), NodeStart: 3})
		log.Emit(large(int(i)), event.Times{})
	}
	eventually(t, "all events", func() bool { return len(sink.list()) == 1000 })
	for i, e := range sink.list() {
		if want := before.list()[i]; !reflect.DeepEqual(e, want) {
			t.Fatalf("event %d: got %+v, want %+v", i, e, want)
		}
	}
}

func TestSubscriberStartsBeforeTheServer(t *testing.T) {
	x := newExternal(t, "")
	subscriber, sink, _ := newSubscriber(t, nats.SubscriberConfig{Connection: nats.Config{URL: x.url()}})
	start(t, subscriber)
	eventually(t, "the failure is told", func() bool {
		_, detail := subscriber.State()
		return strings.Contains(detail, "no NATS server answers")
	})
	x.start()
	r := newRig(t, nats.PublisherConfig{Connection: nats.Config{URL: x.url()}})
	eventually(t, "connected", func() bool { up, _ := subscriber.State(); return up })
	start(t, r.publisher)
	r.emit()
	eventually(t, "event", func() bool { return len(sink.list()) == 1 })
}

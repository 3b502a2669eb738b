package nats_test

import (
	"strings"
	"testing"

	natsgo "github.com/nats-io/nats.go"

	"github.com/peerobserver/peerobserver/exporters/nats"
	"github.com/peerobserver/peerobserver/proto/event"
)

func TestPayloadLimitOfTheServer(t *testing.T) {
	x := newExternal(t, "max_payload: 2000")
	x.start()
	r := newRig(t, nats.PublisherConfig{Connection: nats.Config{URL: x.url()}})
	observer := newPlain(t, x.url(), ">")
	start(t, r.publisher)
	emitter := event.NewEmitter(event.SourceLog, event.Origin{BootID: 1}, event.NewStream(r.publisher), r.ledger)
	for _, size := range []int{100, 3000, 100, 5000, 100} {
		emitter.Emit(large(size), event.Times{})
	}
	eventually(t, "last event", func() bool { return observer.has(5) })
	if observer.seen() != 3 {
		t.Errorf("%d events came", observer.seen())
	}
	if got := r.ledger.Loss(event.SourceLog, event.StagePublish, event.ReasonTooLarge).Value(); got != 2 {
		t.Errorf("%d counted as too large, want 2", got)
	}
	if got := strings.Count(r.log.String(), "needed=15728640"); got != 1 {
		t.Errorf("%d warnings about the limit", got)
	}
	// After an outage they are not counted again.
	x.kill()
	x.start()
	emitter.Emit(large(100), event.Times{})
	eventually(t, "event after the outage", func() bool { return observer.has(6) })
	if got := r.ledger.Loss(event.SourceLog, event.StagePublish, event.ReasonTooLarge).Value(); got != 2 {
		t.Errorf("%d counted as too large after an outage, want 2", got)
	}
}

func TestDeniedEventsAreCounted(t *testing.T) {
	x := newExternal(t, `authorization {
		users: [ { user: po, password: pw, permissions: { publish: { deny: ["a.rpc"] } } }, { user: reader, password: pw } ]
	}`)
	x.start()
	r := newRig(t, nats.PublisherConfig{
		Connection:    nats.Config{URL: x.url(), User: "po", PasswordFile: writeFile(t, "pw")},
		SubjectPrefix: "a.",
	})
	observer := newPlain(t, x.url(), "a.log-extractor", natsgo.UserInfo("reader", "pw"))
	start(t, r.publisher)
	for range 7 {
		r.emit()
	}
	emitter := event.NewEmitter(event.SourceLog, event.Origin{BootID: 1}, event.NewStream(r.publisher), r.ledger)
	emitter.Emit(large(1), event.Times{})
	eventually(t, "allowed event", func() bool { return observer.seen() == 1 })
	eventually(t, "7 events counted as denied", func() bool {
		return r.ledger.Loss(event.SourceRPC, event.StagePublish, nats.ReasonDenied).Value() == 7
	})
	if got := strings.Count(r.log.String(), "permissions refuse"); got != 1 {
		t.Errorf("%d lines in the log", got)
	}
}

func TestUnknownSubjectIsNotPublished(t *testing.T) {
	s, _ := newServer(t, nats.ServerConfig{})
	r := newRig(t, nats.PublisherConfig{Connection: nats.Config{InProcess: s}})
	observer := newPlain(t, s.URL(), ">")
	start(t, r.publisher)
	r.publisher.HandleEvent(&event.Event{Header: event.Header{Source: event.SourceP2P}, Subject: "evil * >\r\nPUB", Data: []byte{}})
	r.emit()
	eventually(t, "event", func() bool { return observer.received() == 1 })
	if got := r.ledger.Loss(event.SourceP2P, event.StagePublish, nats.ReasonSubject).Value(); got != 1 {
		t.Errorf("%d counted", got)
	}
}

func TestPrefixIsChecked(t *testing.T) {
	logger, _ := newLogger(t)
	for prefix, publish := range map[string]bool{
		"": true, "node1.": true, "eu.node_1-a.": true,
		"node1": false, ".": false, "a b.": false, "*.": false, ">.": false, "a..": false, "\r\n.": false, strings.Repeat("a.", 100): false,
	} {
		_, err := nats.NewPublisher(nats.PublisherConfig{SubjectPrefix: prefix}, event.NewLedger(), logger)
		if (err == nil) != publish {
			t.Errorf("publisher with prefix %q: %v", prefix, err)
		}
		_, err = nats.NewSubscriber(nats.SubscriberConfig{SubjectPrefix: prefix}, event.NewStream(), event.NewLedger(), logger)
		if want := publish || prefix == "*."; (err == nil) != want {
			t.Errorf("subscriber with prefix %q: %v", prefix, err)
		}
	}
}

package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// guardedServer runs a NATS server with the users of docs/privacy.md.
func guardedServer(t *testing.T) (url string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/privacy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(page), "```\nauthorization {")
	block, _, found := strings.Cut(block, "```\n")
	if !found {
		t.Fatal("docs/privacy.md has no block that begins with authorization")
	}
	for _, name := range []string{"NATS_PASSWORD", "COLLEAGUE_PASSWORD", "GUEST_PASSWORD"} {
		t.Setenv(name, "secret")
	}
	file := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(file, []byte("listen: \"127.0.0.1:-1\"\nauthorization {"+block), 0o600); err != nil {
		t.Fatal(err)
	}
	options, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	options.NoSigs, options.NoLog = true, true
	s, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("the NATS server doesn't start")
	}
	return s.ClientURL()
}

// The users of docs/privacy.md read what the page says: one everything but the evidence of
// alerts, one nothing that has an address; and neither publishes.
func TestWhoReadsEvidence(t *testing.T) {
	url := guardedServer(t)
	connect := func(user string, options ...nats.Option) *nats.Conn {
		c, err := nats.Connect(url, append(options, nats.UserInfo(user, "secret"))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	refusals := make(chan error, 100)
	note := nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refusals <- err })
	guestReads := map[string]bool{}
	readers := map[string]*nats.Subscription{}
	colleague, guest := connect("colleague", note), connect("guest", note)
	for name, c := range map[string]*nats.Conn{"colleague": colleague, "guest": guest} {
		for _, subject := range event.Subjects() {
			subscription, err := c.SubscribeSync(subject)
			if err != nil {
				t.Fatal(err)
			}
			readers[name+" "+subject] = subscription
		}
	}
	all, err := colleague.SubscribeSync(">")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*nats.Conn{colleague, guest} {
		if err := errors.Join(c.Publish("netmsg", []byte("forged")), c.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	agent := connect("agent")
	for _, subject := range event.Subjects() {
		if err := agent.Publish(subject, []byte(subject)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(agent.Publish("mempool", []byte("last")), agent.Flush(), colleague.Flush(), guest.Flush()); err != nil {
		t.Fatal(err)
	}
	read := func(s *nats.Subscription) (texts []string) {
		for {
			// What was published before Flush is there already.
			n, _, err := s.Pending()
			if err != nil || n == 0 {
				return texts
			}
			m, err := s.NextMsg(10 * time.Second)
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, string(m.Data))
		}
	}
	for _, subject := range event.Subjects() {
		got := read(readers["colleague "+subject])
		if slices.Contains(got, subject) == (subject == "observer.alert_evidence") || slices.Contains(got, "forged") {
			t.Errorf("the colleague reads on %s: %q", subject, got)
		}
		guestReads[subject] = slices.Contains(read(readers["guest "+subject]), subject)
	}
	if got := read(all); slices.Contains(got, "observer.alert_evidence") || len(got) != len(event.Subjects()) {
		t.Errorf("on all subjects together the colleague reads %q", got)
	}
	select {
	case err := <-refusals:
		if !errors.Is(err, nats.ErrPermissionViolation) {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("nothing is refused")
	}
	if !guestReads["mempool"] || guestReads["observer.alert_evidence"] || guestReads["netmsg"] {
		t.Errorf("the guest reads %v", guestReads)
	}
	// Texts in which the node says why, and hashes; none is chosen by a peer or has an address.
	harmless := []protoreflect.FullName{
		"peerobserver.v1.Rejected.reason", "peerobserver.v1.Removed.reason", "peerobserver.v1.ChainTip.hash", "peerobserver.v1.ChainTip.status",
	}
	for _, m := range complete(new(eventpb.Event).ProtoReflect().Type()) {
		data, err := proto.Marshal(&eventpb.Event{PeerObserverEvent: m.Interface().(*eventpb.Event).GetPeerObserverEvent()})
		if err != nil {
			t.Fatal(err)
		}
		kind := event.KindOf(data)
		if !guestReads[kind.Subject()] {
			continue
		}
		for _, name := range textsIn(m) {
			if !slices.Contains(harmless, name) && name != "peerobserver.v1.Event.node_name" {
				t.Errorf("the guest reads %v, which has %s: may it hold an address?", kind, name)
			}
		}
	}
}

// textsIn names the fields of text that a message has, those of other messages in it too.
func textsIn(m protoreflect.Message) (names []protoreflect.FullName) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
			names = append(names, f.FullName())
		case f.IsList() && f.Message() != nil:
			for i := range v.List().Len() {
				names = append(names, textsIn(v.List().Get(i).Message())...)
			}
		case f.Message() != nil:
			names = append(names, textsIn(v.Message())...)
		case f.Kind() == protoreflect.StringKind:
			names = append(names, f.FullName())
		}
		return true
	})
	return names
}

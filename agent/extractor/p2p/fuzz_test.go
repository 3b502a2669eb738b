package p2p

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"testing"

	"github.com/btcsuite/btcd/v2transport"
	"github.com/btcsuite/btcd/wire/v2"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/agent/p2pmessage"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// receiveAll receives until an error ends it, and holds what comes against the bounds.
func receiveAll(t *testing.T, transport transport, s *stream, arrived, limit int) {
	t.Helper()
	received := 0
	for {
		m, err := transport.receive()
		if len(s.buf) > max(minBuffer, 2*arrived) {
			t.Fatalf("a buffer of %d bytes for %d that arrived", len(s.buf), arrived)
		}
		if errors.Is(err, errChecksum) {
			continue
		}
		if err != nil {
			return
		}
		if len(m.payload) > limit+typeSize || len(m.kind) > typeSize {
			t.Fatalf("message %q of %d bytes, the limit is %d", m.kind, len(m.payload), limit)
		}
		if received += len(m.payload); received > arrived {
			t.Fatalf("%d bytes of payload from %d that arrived", received, arrived)
		}
	}
}

func FuzzTransportV1(f *testing.F) {
	ping := v1Frame(f, wire.NewMsgPing(1))
	f.Add(ping, 1)
	f.Add(append(ping, ping...), 100)
	f.Add(append(v1Frame(f, wire.NewMsgFeeFilter(1)), 0xfa, 0xbf), 7)
	f.Fuzz(func(t *testing.T, data []byte, piece int) {
		s := newStream(&pieces{rest: data, piece: piece}, -1)
		receiveAll(t, newTransportV1(s, wire.TestNet), s, len(data), maxHandshakePayload)
	})
}

// FuzzAccept is everything that a stranger can do before it's verified.
func FuzzAccept(f *testing.F) {
	me := wire.NewNetAddressIPPort(nil, 0, 0)
	version := v1Frame(f, wire.NewMsgVersion(me, me, 1, 0))
	f.Add(append(version, v1Frame(f, wire.NewMsgVerAck())...), 10)
	f.Add(bytes.Repeat([]byte{1}, 5000), 100)
	f.Add(make([]byte, v2KeySize), 64)
	f.Add(bytes.Repeat([]byte{0xff}, v2KeySize+16), 64)
	f.Fuzz(func(t *testing.T, data []byte, piece int) {
		s := newStream(&pieces{rest: data, piece: piece}, handshakeBytes)
		transport, err := acceptTransport(s, wire.TestNet)
		if err == nil {
			_, err = handshake(transport, "/fuzz/")
		}
		if err == nil && len(data) < v1HeaderSize {
			t.Error("a handshake out of nothing")
		}
		if len(s.buf) > 2*handshakeBytes {
			t.Errorf("a buffer of %d bytes before the handshake is complete", len(s.buf))
		}
	})
}

// FuzzPacketsV2 is what the other end of an encrypted link can send: packets that are
// authentic, with any content, and then bytes that aren't.
func FuzzPacketsV2(f *testing.F) {
	f.Add([]byte{18, 1, 2, 3, 4, 5, 6, 7, 8}, []byte{0, 'v', 'e', 'r'}, true, []byte{1, 2, 3}, 1)
	f.Add([]byte{}, []byte{0}, false, make([]byte, 100), 1000)
	f.Add([]byte{255}, append([]byte{0}, make([]byte, 12)...), false, []byte{}, 5)
	f.Fuzz(func(t *testing.T, first, second []byte, decoy bool, rest []byte, piece int) {
		if len(first)+len(second) > 1<<16 {
			return
		}
		secret := make([]byte, 32)
		sender, err := newTransportV2(nil, secret, wire.TestNet)
		if err != nil {
			t.Fatal(err)
		}
		// The ciphers of the initiator send what ours receive.
		length, packet := sender.recvLength, sender.recvPacket
		var data []byte
		for i, content := range [][]byte{first, second} {
			header := byte(0)
			if decoy && i == 0 {
				header = v2IgnoreBit
			}
			data = append(data, sealWith(t, length, packet, header, content)...)
		}
		data = append(data, rest...)
		s := newStream(&pieces{rest: data, piece: piece}, -1)
		receiver, err := newTransportV2(s, secret, wire.TestNet)
		if err != nil {
			t.Fatal(err)
		}
		receiver.setLimit(1 << 16)
		want := [][]byte{first, second}
		if decoy {
			want = want[1:]
		}
		for _, content := range want {
			got, err := receiver.receiveContent()
			if err != nil || !bytes.Equal(got, content) {
				t.Fatalf("got %x, %v; want %x", got, err, content)
			}
		}
		receiveAll(t, receiver, s, len(data), 1<<16)
	})
}

func sealWith(t *testing.T, length *v2transport.FSChaCha20, packet *v2transport.FSChaCha20Poly1305, header byte, content []byte) []byte {
	t.Helper()
	n := len(content)
	sealedLength, err := length.Crypt([]byte{byte(n), byte(n >> 8), byte(n >> 16)})
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := packet.Encrypt(nil, append([]byte{header}, content...))
	if err != nil {
		t.Fatal(err)
	}
	return append(sealedLength, sealed...)
}

// checker is a sink that reads every event back.
type checker struct {
	t      *testing.T
	events int
}

func (c *checker) HandleEvent(e *event.Event) {
	decoded := new(eventpb.Event)
	if err := proto.Unmarshal(e.Data, decoded); err != nil {
		c.t.Errorf("event that can't be read: %v", err)
	}
	if e.Kind.Source() != event.SourceP2P || decoded.GetP2PExtractor().GetP2PEvent() == nil || decoded.GetP2PExtractor().GetLink().GetPeerId() != 7 {
		c.t.Errorf("event without content or link: %v", decoded)
	}
	c.events++
}

// FuzzHandle is every message of a verified link. A message gives at most one event,
// and one that gives none although it should is counted.
func FuzzHandle(f *testing.F) {
	for _, kind := range []string{"ping", "pong", "feefilter", "addr", "addrv2", "inv", "headers", "cmpctblock", "getheaders", "tx", ""} {
		f.Add(kind, make([]byte, 81))
		f.Add(kind, []byte{1, 2, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9})
		f.Add(kind, []byte{0xfd, 0xff, 0xff})
		f.Add(kind, []byte{})
	}
	f.Fuzz(func(t *testing.T, kind string, payload []byte) {
		ledger := event.NewLedger()
		sink := &checker{t: t}
		emitter := event.NewEmitter(event.SourceP2P, event.Origin{NodeName: "fuzz"}, event.NewStream(sink), ledger)
		source, err := New(Config{Client: func() Caller { return nil }, Chain: func() string { return "regtest" }}, emitter, ledger, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		conn := new(pieces)
		s := newStream(conn, -1)
		l := &link{
			source: source, conn: conn, logger: source.logger, stream: s, transport: newTransportV1(s, wire.TestNet),
			transcoder: p2pmessage.New(), buffer: event.NewBuffer(64), id: 1, peerID: 7,
		}
		if err := l.handle(message{kind, payload}); err != nil {
			t.Fatalf("handling %q: %v", kind, err)
		}
		malformed := source.counters.malformed.Value() + source.counters.unexpectedPong.Value()
		if sink.events+int(malformed) > 1 {
			t.Errorf("%q gave %d events and %d errors", kind, sink.events, malformed)
		}
		// What we answer is whole, small and one of three kinds.
		answers := newTransportV1(newStream(&pieces{rest: conn.written.Bytes(), piece: 1 << 20}, -1), wire.TestNet)
		for {
			m, err := answers.receive()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("our own message: %v", err)
			}
			if m.kind != "pong" && m.kind != "headers" && m.kind != "getheaders" {
				t.Errorf("%q was answered by %q", kind, m.kind)
			}
		}
	})
}

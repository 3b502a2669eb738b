package p2p

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// scriptedTransports runs a test over each transport. The other end of v2 is btcd's.
func scriptedTransports(t *testing.T, test func(t *testing.T, n *scriptedNode)) {
	t.Run("v1", func(t *testing.T) { test(t, &scriptedNode{}) })
	t.Run("v2", func(t *testing.T) { test(t, &scriptedNode{v2: true, garbage: 100, decoys: []int{0, 50}}) })
}

// quiet keeps pings out of the way of what a test sends.
func quiet() Config { return Config{PingInterval: time.Hour, PingTimeout: time.Hour} }

// fence makes sure that everything sent before it was handled.
func (l *scriptedLink) fence() {
	l.t.Helper()
	nonce := []byte("fence123")
	l.send("ping", nonce)
	if got := l.expect("pong"); !bytes.Equal(got, nonce) {
		l.t.Errorf("pong %q, want %q", got, nonce)
	}
}

func header(n uint32) []byte {
	b := make([]byte, blockHeaderSize)
	binary.LittleEndian.PutUint32(b[76:], n)
	return b
}

func headerHash(n uint32) string { return chainhash.DoubleHashH(header(n)).String() }

func TestBehaviourOnTheWire(t *testing.T) {
	scriptedTransports(t, func(t *testing.T, n *scriptedNode) {
		r, l := startScripted(t, n, quiet())
		nonce := l.greeting()
		l.send("pong", nonce)
		r.waitPings(t, 0)

		// Everything that a node may say to a peer; only what is listed is answered.
		for _, kind := range []string{"getaddr", "mempool", "getdata", "getblocks", "getblocktxn", "sendheaders", "sendcmpct", "tx", "block", "notfound", "sendtxrcncl", "unheardof"} {
			l.send(kind, []byte{1, 2, 3})
		}
		l.send("ping", nil)
		l.send("getheaders", make([]byte, 37))
		if got := l.expect("headers"); !bytes.Equal(got, []byte{0}) {
			t.Errorf("headers %x, want none", got)
		}
		// Transactions are never asked for.
		l.send("inv", append([]byte{1, 5, 0, 0, 0}, make([]byte, 32)...))
		l.fence()
		if r.lost(event.StageRead, event.ReasonMalformed) != 0 {
			t.Error("messages that don't concern us were counted as malformed")
		}
	})
}

func TestManyPacketsAndRekeying(t *testing.T) {
	scriptedTransports(t, func(t *testing.T, n *scriptedNode) {
		r, l := startScripted(t, n, quiet())
		l.greeting()
		// BIP324 changes keys after 224 packets in either direction.
		const count = 1000
		for i := range count {
			l.send("feefilter", binary.LittleEndian.AppendUint64(nil, uint64(i)))
			l.fence()
		}
		var got []int64
		for _, e := range r.all() {
			if fee, is := e.GetP2PEvent().(*eventpb.P2PExtractor_FeefilterAnnouncement); is {
				got = append(got, fee.FeefilterAnnouncement)
			}
		}
		if len(got) != count || got[0] != 0 || !slices.IsSorted(got) || got[count-1] != count-1 {
			t.Errorf("%d fee filters, want %d in order", len(got), count)
		}
	})
}

func TestBlockAnnouncements(t *testing.T) {
	scriptedTransports(t, func(t *testing.T, n *scriptedNode) {
		r, l := startScripted(t, n, quiet())
		l.greeting()
		blocks := func() (list []string) {
			for _, e := range r.all() {
				if b := e.GetBlockAnnouncement(); b != nil {
					text := strings.TrimPrefix(b.GetVia().String(), "VIA_")
					for _, h := range b.GetHeaders() {
						text += " " + chainhash.Hash(h.GetHash()).String()
					}
					list = append(list, text)
				}
			}
			return list
		}
		headers := func(numbers ...uint32) []byte {
			b := []byte{byte(len(numbers))}
			for _, n := range numbers {
				b = append(append(b, header(n)...), 0)
			}
			return b
		}
		// By inv: we ask for the header, and the answer is no announcement.
		l.send("inv", append([]byte{1, 2, 0, 0, 0}, reversed(t, headerHash(1))...))
		l.checkGetHeaders(headerHash(1))
		l.send("headers", headers(1))
		// Announcements, also of the block that was asked for.
		l.send("headers", headers(1))
		l.send("headers", headers(2, 3))
		l.send("cmpctblock", append(header(4), make([]byte, 10)...))
		// Nothing announced, and nothing wrong.
		l.send("headers", []byte{0})
		l.fence()
		want := []string{"HEADERS " + headerHash(1), "HEADERS " + headerHash(2) + " " + headerHash(3), "COMPACT_BLOCK " + headerHash(4)}
		if got := blocks(); !slices.Equal(got, want) {
			t.Errorf("announcements %q, want %q", got, want)
		}
		if lost := r.lost(event.StageRead, event.ReasonMalformed); lost != 0 {
			t.Errorf("%d malformed", lost)
		}
	})
}

func TestPongs(t *testing.T) {
	scriptedTransports(t, func(t *testing.T, n *scriptedNode) {
		r, l := startScripted(t, n, Config{PingInterval: 20 * time.Millisecond, PingTimeout: 10 * time.Millisecond})
		nonce := l.greeting()
		wrong := bytes.Clone(nonce)
		wrong[0] ^= 1
		// The answer is owed: that's said, more than once, and no second ping is sent.
		r.waitFor(t, "two ping timeouts", 0, func() func(e *eventpb.P2PExtractor) bool {
			waited := uint64(0)
			return func(e *eventpb.P2PExtractor) bool {
				now := e.GetPingTimeout().GetWaited()
				if now == 0 {
					return false
				}
				if waited != 0 && now > waited {
					return true
				}
				waited = now
				return false
			}
		}())
		l.send("pong", wrong)
		l.send("pong", nonce[:7])
		l.fence()
		count := func() (pings int) {
			for _, e := range r.all() {
				if e.GetPingDuration() != nil {
					pings++
				}
			}
			return pings
		}
		if got := count(); got != 0 {
			t.Errorf("%d round trips from wrong pongs", got)
		}
		l.send("pong", nonce)
		next := l.expect("ping")
		if bytes.Equal(next, nonce) {
			t.Error("a nonce was used twice")
		}
		// Once more is once too often.
		l.send("pong", nonce)
		l.send("pong", next)
		l.expect("ping")
		if got := count(); got != 2 {
			t.Errorf("%d round trips, want 2", got)
		}
		if got := r.lost(event.StageRead, reasonUnexpectedPong); got != 3 {
			t.Errorf("%d unexpected pongs counted, want 3", got)
		}
	})
}

func TestMalformedMessagesEndNothing(t *testing.T) {
	scriptedTransports(t, func(t *testing.T, n *scriptedNode) {
		r, l := startScripted(t, n, quiet())
		l.greeting()
		bad := []struct {
			kind    string
			payload []byte
		}{
			{"feefilter", []byte{1, 2, 3}},
			{"inv", []byte{2, 1, 0, 0, 0}},
			{"inv", []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
			{"addr", []byte{0xfe, 0xff, 0xff, 0xff, 0xff}},
			{"addrv2", []byte{1, 0, 0, 0, 0, 0, 1, 200}},
			{"headers", []byte{1, 2, 3}},
			{"headers", []byte{0xfd}},
			{"cmpctblock", make([]byte, blockHeaderSize-1)},
			{"inv", nil},
			{"addr", nil},
			{"addrv2", nil},
			{"headers", nil},
			{"cmpctblock", nil},
			{"feefilter", nil},
		}
		for i, b := range bad {
			l.send(b.kind, b.payload)
			l.fence()
			if got := r.lost(event.StageRead, event.ReasonMalformed); got != uint64(i+1) {
				t.Fatalf("%s %x: %d malformed counted, want %d", b.kind, b.payload, got, i+1)
			}
		}
		if got := len(r.all()); got != 1 {
			t.Errorf("%d events, want only the link's", got)
		}
	})
}

func TestLargeAnnouncement(t *testing.T) {
	scriptedTransports(t, func(t *testing.T, n *scriptedNode) {
		r, l := startScripted(t, n, quiet())
		l.greeting()
		const count = 50_000
		payload := binary.LittleEndian.AppendUint16([]byte{0xfd}, count)
		payload = append(payload, bytes.Repeat(append([]byte{5, 0, 0, 0}, make([]byte, 32)...), count)...)
		l.send("inv", payload)
		l.fence()
		// Only the next read gives memory back.
		l.fence()
		events := r.all()
		if got := len(events[len(events)-1].GetInventoryAnnouncement().GetInventory()); got != count {
			t.Errorf("%d items published, want %d", got, count)
		}
		// Its memory isn't kept for ever.
		r.source.mu.Lock()
		active := r.source.active
		r.source.mu.Unlock()
		r.stop()
		if got := len(active.stream.buf); got > maxKeptBuffer {
			t.Errorf("the stream kept %d bytes", got)
		}
	})
}

func TestDamagedStream(t *testing.T) {
	t.Run("checksum", func(t *testing.T) {
		r, l := startScripted(t, &scriptedNode{}, quiet())
		l.greeting()
		var b bytes.Buffer
		if _, err := wire.WriteMessageN(&b, wire.NewMsgFeeFilter(5), 70016, wire.TestNet); err != nil {
			t.Fatal(err)
		}
		frame := b.Bytes()
		good := bytes.Clone(frame)
		frame[len(frame)-1] ^= 1
		if _, err := l.conn.Write(append(frame, good...)); err != nil {
			t.Fatal(err)
		}
		l.fence()
		if got := r.lost(event.StageRead, reasonChecksum); got != 1 {
			t.Errorf("%d wrong checksums counted, want 1", got)
		}
		events := r.all()
		if len(events) != 2 || events[1].GetFeefilterAnnouncement() != 5 {
			t.Errorf("events %v, want the link and the whole fee filter", events)
		}
	})
	tooLarge := hex.EncodeToString([]byte{0xfa, 0xbf, 0xb5, 0xda}) + hex.EncodeToString([]byte("inv\x00\x00\x00\x00\x00\x00\x00\x00\x00")) + "01093d00" + "00000000"
	otherNetwork := hex.EncodeToString([]byte{0xf9, 0xbe, 0xb4, 0xd9}) + strings.Repeat("00", 20)
	for _, test := range []struct {
		name   string
		bytes  string
		reason string
		lost   event.Reason
	}{
		{"v1 too large", tooLarge, "message too large", event.ReasonTooLarge},
		{"v1 other network", otherNetwork, "transport error", reasonTransport},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := new(scriptedNode)
			r, l := startScripted(t, n, quiet())
			l.greeting()
			raw, err := hex.DecodeString(test.bytes)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := l.conn.Write(raw); err != nil {
				t.Fatal(err)
			}
			if _, _, err := l.receive(); !errors.Is(err, io.EOF) {
				t.Errorf("after the damage: %v, want the end", err)
			}
			down := r.waitFor(t, "the end", 0, func(e *eventpb.P2PExtractor) bool {
				return e.GetLinkState().GetState() == eventpb.LinkState_STATE_DOWN
			})
			if got := down.GetLinkState().GetReason(); got != test.reason {
				t.Errorf("reason %q, want %q", got, test.reason)
			}
			if got := r.lost(event.StageRead, test.lost); got != 1 {
				t.Errorf("%d counted as %s, want 1", got, test.lost)
			}
			// The node is asked for another connection.
			n.next(t).greeting()
		})
	}
	t.Run("v2 not authentic", func(t *testing.T) {
		n := &scriptedNode{v2: true}
		r, l := startScripted(t, n, quiet())
		l.greeting()
		if _, err := l.conn.Write(make([]byte, maxPayload+64)); err != nil && !errors.Is(err, io.EOF) {
			t.Log("writing:", err)
		}
		r.waitFor(t, "the end", 0, func(e *eventpb.P2PExtractor) bool {
			return e.GetLinkState().GetState() == eventpb.LinkState_STATE_DOWN
		})
		if got := r.lost(event.StageRead, reasonTransport) + r.lost(event.StageRead, event.ReasonTooLarge); got != 1 {
			t.Errorf("%d counted, want 1", got)
		}
		n.next(t).greeting()
	})
	t.Run("v2 too large", func(t *testing.T) {
		r, l := startScripted(t, &scriptedNode{v2: true}, quiet())
		l.greeting()
		// The link may end before all of it is written.
		_, _, err := l.v2.V2EncPacket(make([]byte, 1+typeSize+maxPayload+1), nil, false)
		t.Log("writing:", err)
		down := r.waitFor(t, "the end", 0, func(e *eventpb.P2PExtractor) bool {
			return e.GetLinkState().GetState() == eventpb.LinkState_STATE_DOWN
		})
		if got := down.GetLinkState().GetReason(); got != "message too large" {
			t.Errorf("reason %q", got)
		}
		if got := r.lost(event.StageRead, event.ReasonTooLarge); got != 1 {
			t.Errorf("%d counted, want 1", got)
		}
	})
}

package p2p

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/v2transport"
	"github.com/btcsuite/btcd/wire/v2"
)

// pieces is a connection that brings bytes in small pieces, and times out before each.
type pieces struct {
	net.Conn
	rest  []byte
	piece int
	// timeouts says whether to time out before each piece.
	timeouts bool
	timedOut bool
	written  bytes.Buffer
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.timeouts && !p.timedOut {
		p.timedOut = true
		return 0, os.ErrDeadlineExceeded
	}
	p.timedOut = false
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.rest[:min(len(p.rest), max(1, p.piece))])
	p.rest = p.rest[n:]
	return n, nil
}

func (p *pieces) Write(b []byte) (int, error)      { return p.written.Write(b) }
func (p *pieces) SetWriteDeadline(time.Time) error { return nil }
func (p *pieces) SetReadDeadline(time.Time) error  { return nil }
func (p *pieces) Close() error                     { return nil }

// v1Frame is btcd's encoding of a message.
func v1Frame(t testing.TB, m wire.Message) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := wire.WriteMessageN(&b, m, 70016, wire.TestNet); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestNothingIsLostByTimeouts(t *testing.T) {
	stream := append(v1Frame(t, wire.NewMsgFeeFilter(7)), v1Frame(t, wire.NewMsgVerAck())...)
	for _, piece := range []int{1, 2, 3, 23, 24, 25, 1000} {
		transport := newTransportV1(newStream(&pieces{rest: stream, piece: piece, timeouts: true}, -1), wire.TestNet)
		var got []string
		for {
			m, err := transport.receive()
			if isTimeout(err) {
				continue
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, m.kind+string(m.payload))
		}
		want := []string{"feefilter\x07\x00\x00\x00\x00\x00\x00\x00", "verack"}
		if strings.Join(got, ",") != strings.Join(want, ",") {
			t.Errorf("in pieces of %d: %q, want %q", piece, got, want)
		}
	}
}

func TestClaimedLengthReservesNothing(t *testing.T) {
	claim := func(size uint32) []byte {
		b := binary.LittleEndian.AppendUint32(nil, uint32(wire.TestNet))
		b = append(b, "inv\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
		return append(binary.LittleEndian.AppendUint32(b, size), 0, 0, 0, 0)
	}
	for _, arrived := range []int{0, 1, 5000, 100_000} {
		s := newStream(&pieces{rest: append(claim(maxPayload), make([]byte, arrived)...), piece: 1 << 20}, -1)
		transport := newTransportV1(s, wire.TestNet)
		transport.setLimit(maxPayload)
		if _, err := transport.receive(); !errors.Is(err, io.EOF) {
			t.Fatalf("error %v, want the end", err)
		}
		if limit := max(minBuffer, 2*(arrived+v1HeaderSize)); len(s.buf) > limit {
			t.Errorf("after %d bytes the buffer has %d, want at most %d", arrived, len(s.buf), limit)
		}
	}
	for _, limit := range []int{maxHandshakePayload, maxPayload} {
		transport := newTransportV1(newStream(&pieces{rest: claim(uint32(limit) + 1), piece: 100}, -1), wire.TestNet)
		transport.setLimit(limit)
		if _, err := transport.receive(); !errors.Is(err, errTooLarge) {
			t.Errorf("one byte more than %d: %v", limit, err)
		}
	}
	for _, size := range []uint32{1 << 31, 1<<32 - 1} {
		transport := newTransportV1(newStream(&pieces{rest: claim(size), piece: 100}, -1), wire.TestNet)
		if _, err := transport.receive(); !errors.Is(err, errTooLarge) {
			t.Errorf("a payload of %d bytes: %v", size, err)
		}
	}
}

func TestAllowance(t *testing.T) {
	endless := bytes.Repeat(v1Frame(t, wire.NewMsgVerAck()), 1000)
	s := newStream(&pieces{rest: endless, piece: 100}, 240)
	transport := newTransportV1(s, wire.TestNet)
	for i := range 10 {
		if _, err := transport.receive(); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	if _, err := transport.receive(); !errors.Is(err, errAllowance) {
		t.Errorf("beyond the allowance: %v", err)
	}
}

// btcd's code is the initiator.
func TestV2HandshakeWithBtcd(t *testing.T) {
	for _, garbage := range []int{0, 1, 15, 16, 17, v2transport.MaxGarbageLen} {
		for _, decoys := range [][]int{nil, {0}, {1000, 1, 4000}} {
			ours, theirs := tcpPair(t)
			initiator := v2transport.NewPeer()
			initiator.UseReadWriter(theirs)
			done := make(chan error, 1)
			go func() {
				err := initiator.InitiateV2Handshake(garbage)
				if err == nil {
					err = initiator.CompleteHandshake(true, decoys, v2transport.BitcoinNet(wire.TestNet))
				}
				if err == nil {
					_, _, err = initiator.V2EncPacket([]byte{shortID("ping"), 1, 2, 3}, nil, false)
				}
				done <- err
			}()
			transport, err := acceptTransport(newStream(ours, handshakeBytes), wire.TestNet)
			if err != nil {
				t.Fatalf("%d bytes of garbage, decoys %v: %v", garbage, decoys, err)
			}
			m, err := transport.receive()
			if err != nil || m.kind != "ping" || !bytes.Equal(m.payload, []byte{1, 2, 3}) {
				t.Errorf("%d bytes of garbage, decoys %v: got %v, %v", garbage, decoys, m, err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			if transport.version() != 2 || len(transport.sessionID()) != 32 {
				t.Errorf("version %d, session id %x", transport.version(), transport.sessionID())
			}
		}
	}
}

// tcpPair is a connection on loopback.
func tcpPair(t *testing.T) (accepted, dialled net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dialled, err = net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err = listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		accepted.Close()
		dialled.Close()
	})
	return accepted, dialled
}

func TestHandshakesThatFail(t *testing.T) {
	prefix := v1Prefix(wire.MainNet)
	key := bytes.Repeat([]byte{7}, v2KeySize)
	for _, test := range []struct {
		name  string
		bytes []byte
		want  error
	}{
		{"v1 of another network", append(prefix[:], make([]byte, 100)...), errMagic},
		{"no garbage terminator", append(bytes.Clone(key), make([]byte, v2MaxGarbage+v2TerminatorSize)...), errGarbage},
		{"endless garbage", append(bytes.Clone(key), make([]byte, 1<<20)...), errGarbage},
		{"end within the key", key[:63], io.EOF},
		{"end within the garbage", append(bytes.Clone(key), make([]byte, 4000)...), io.EOF},
		{"nothing", nil, io.EOF},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn := &pieces{rest: test.bytes, piece: 1000}
			if _, err := acceptTransport(newStream(conn, handshakeBytes), wire.TestNet); !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			if len(test.bytes) < v2KeySize && conn.written.Len() != 0 {
				t.Errorf("%d bytes were answered to an incomplete key", conn.written.Len())
			}
		})
	}
}

func TestHandshakeMessagesThatFail(t *testing.T) {
	me := wire.NewNetAddressIPPort(net.IPv4zero, 0, 0)
	version := wire.NewMsgVersion(me, me, 1, 0)
	old := wire.NewMsgVersion(me, me, 1, 0)
	old.ProtocolVersion = minProtocolVersion - 1
	negative := wire.NewMsgVersion(me, me, 1, 0)
	negative.ProtocolVersion = -1
	many := v1Frame(t, version)
	for range maxHandshakeMessages {
		many = append(many, v1Frame(t, wire.NewMsgSendAddrV2())...)
	}
	cut := v1Frame(t, version)
	binary.LittleEndian.PutUint32(cut[16:], 30)
	sum := checksum(cut[24:54])
	copy(cut[20:], sum[:])
	for name, stream := range map[string][]byte{
		"verack first":     v1Frame(t, wire.NewMsgVerAck()),
		"old version":      v1Frame(t, old),
		"negative version": v1Frame(t, negative),
		"cut version":      cut[:54],
		"no verack":        many,
	} {
		t.Run(name, func(t *testing.T) {
			transport := newTransportV1(newStream(&pieces{rest: stream, piece: 1000}, handshakeBytes), wire.TestNet)
			if _, err := handshake(transport, "/test/"); !errors.Is(err, errProtocol) {
				t.Errorf("error %v, want %v", err, errProtocol)
			}
		})
	}
}

func TestShortTypesAreThoseOfBIP324(t *testing.T) {
	for kind, id := range map[string]byte{"addr": 1, "cmpctblock": 4, "feefilter": 5, "headers": 13, "inv": 14, "ping": 18, "pong": 19, "sendcmpct": 20, "tx": 21, "cfcheckpt": 27, "addrv2": 28} {
		if got := shortID(kind); got != id {
			t.Errorf("short id of %s is %d, want %d", kind, got, id)
		}
		if got := shortType(id); got != kind {
			t.Errorf("type of short id %d is %q, want %q", id, got, kind)
		}
	}
	for _, kind := range []string{"version", "verack", "sendaddrv2", "wtxidrelay", ""} {
		if got := shortID(kind); got != 0 {
			t.Errorf("%q has short id %d, want none", kind, got)
		}
	}
	if got := shortType(29) + shortType(255); got != "" {
		t.Errorf("types beyond the table: %q", got)
	}
}

func TestSignetMagic(t *testing.T) {
	// The challenge of the public signet (BIP325).
	challenge := []byte{
		0x51, 0x21, 0x03, 0xad, 0x5e, 0x0e, 0xda, 0xd1, 0x8c, 0xb1, 0xf0, 0xfc, 0x0d, 0x28, 0xa3, 0xd4, 0xf1, 0xf3, 0xe4, 0x45, 0x64, 0x03, 0x37,
		0x48, 0x9a, 0xbb, 0x10, 0x40, 0x4f, 0x2d, 0x1e, 0x08, 0x6b, 0xe4, 0x30, 0x21, 0x03, 0x59, 0xef, 0x50, 0x21, 0x96, 0x4f, 0xe2, 0x2d, 0x6f,
		0x8e, 0x05, 0xb2, 0x46, 0x3c, 0x95, 0x40, 0xce, 0x96, 0x88, 0x3f, 0xe3, 0xb2, 0x78, 0x76, 0x0f, 0x04, 0x8f, 0x51, 0x89, 0xf2, 0xe6, 0xc4,
		0x52, 0xae,
	}
	if got := signetMagic(challenge); got != wire.SigNet {
		t.Errorf("magic %08x, want %08x", uint32(got), uint32(wire.SigNet))
	}
}

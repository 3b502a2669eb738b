package p2p

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/btcsuite/btcd/v2transport"
	"github.com/btcsuite/btcd/wire/v2"
)

// bestHash is the best block of a scripted node, as RPC prints it.
const bestHash = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

// scriptedNode is a node that does what a test says: its RPC answers what the source
// asks, and `addnode` makes it connect and hand the connection to the test.
type scriptedNode struct {
	v2 bool
	// garbage is the length of the garbage it sends, decoys the sizes of its decoys.
	garbage int
	decoys  []int
	// source tells the session ids that the node would know as well.
	source func() *Source
	linked chan *scriptedLink

	mu    sync.Mutex
	peers []nodePeer
	conns []net.Conn
}

// startScripted starts a source with a scripted node and gives the link between them
// after the version handshake.
func startScripted(t *testing.T, n *scriptedNode, config Config) (*rig, *scriptedLink) {
	t.Helper()
	n.linked = make(chan *scriptedLink, 8)
	config.Client = func() Caller { return n }
	// Set before the source calls.
	ready := make(chan struct{})
	var r *rig
	n.source = func() *Source {
		<-ready
		return r.source
	}
	r = startRig(t, config)
	close(ready)
	t.Cleanup(func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, conn := range n.conns {
			conn.Close()
		}
	})
	return r, n.next(t)
}

// next is the next connection that the source asked for, after the version handshake.
func (n *scriptedNode) next(t *testing.T) *scriptedLink {
	t.Helper()
	l := <-n.linked
	l.t = t
	if n.v2 {
		l.v2 = v2transport.NewPeer()
		l.v2.UseReadWriter(l.conn)
		if err := l.v2.InitiateV2Handshake(n.garbage); err != nil {
			t.Fatal(err)
		}
		if err := l.v2.CompleteHandshake(true, n.decoys, v2transport.BitcoinNet(wire.TestNet)); err != nil {
			t.Fatal(err)
		}
	}
	version, err := versionPayload("/scripted/")
	if err != nil {
		t.Fatal(err)
	}
	l.send("version", version)
	l.expect("version")
	l.expect("wtxidrelay")
	l.expect("sendaddrv2")
	l.expect("verack")
	l.send("wtxidrelay", nil)
	l.send("sendaddrv2", nil)
	l.send("unheardof", []byte("anything"))
	l.send("verack", nil)
	return l
}

func (n *scriptedNode) Call(ctx context.Context, method string, params, result any) error {
	answer := func(v any) error {
		encoded, err := json.Marshal(v)
		if err != nil {
			return err
		}
		return json.Unmarshal(encoded, result)
	}
	switch method {
	case "addnode":
		list, ok := params.([]any)
		if !ok || len(list) != 2 || list[1] != "onetry" {
			return fmt.Errorf("addnode %v", params)
		}
		address, ok := list[0].(string)
		if !ok {
			return fmt.Errorf("addnode %v", params)
		}
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		n.mu.Lock()
		n.peers = []nodePeer{{ID: 7, Address: address, BoundTo: conn.LocalAddr().String()}}
		n.conns = append(n.conns, conn)
		n.mu.Unlock()
		n.linked <- &scriptedLink{conn: conn, v1: newTransportV1(newStream(conn, -1), wire.TestNet)}
		return nil
	case "getpeerinfo":
		n.mu.Lock()
		defer n.mu.Unlock()
		if !n.v2 {
			return answer(n.peers)
		}
		source := n.source()
		source.mu.Lock()
		defer source.mu.Unlock()
		peers := []nodePeer{{ID: 1, SessionID: hex.EncodeToString(make([]byte, 32))}}
		for l := range source.open {
			peers = append(peers, nodePeer{ID: 7, SessionID: l.identity.session})
		}
		return answer(peers)
	case "getbestblockhash":
		return answer(bestHash)
	case "getnetworkinfo":
		return answer(map[string]any{"networkactive": true})
	default:
		return fmt.Errorf("unexpected call of %s", method)
	}
}

// scriptedLink is the node's end of a connection.
type scriptedLink struct {
	t    *testing.T
	conn net.Conn
	v1   *transportV1
	v2   *v2transport.Peer
}

func (l *scriptedLink) send(kind string, payload []byte) {
	l.t.Helper()
	var err error
	if l.v2 != nil {
		content := append([]byte{0}, make([]byte, typeSize)...)
		copy(content[1:], kind)
		if id := shortID(kind); id != 0 {
			content = []byte{id}
		}
		_, _, err = l.v2.V2EncPacket(append(content, payload...), nil, false)
	} else {
		err = l.v1.send(kind, payload)
	}
	if err != nil {
		l.t.Fatalf("sending %s: %v", kind, err)
	}
}

// receive waits for the source's next message.
func (l *scriptedLink) receive() (string, []byte, error) {
	if err := l.conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return "", nil, err
	}
	if l.v2 == nil {
		m, err := l.v1.receive()
		return m.kind, bytes.Clone(m.payload), err
	}
	content, err := l.v2.V2ReceivePacket(nil)
	if err != nil {
		return "", nil, err
	}
	if len(content) == 0 {
		return "", nil, errors.New("empty packet")
	}
	if content[0] == 0 {
		return messageType(content[1 : 1+typeSize]), content[1+typeSize:], nil
	}
	return shortType(content[0]), content[1:], nil
}

// expect waits for a message that must be the next one.
func (l *scriptedLink) expect(kind string) []byte {
	l.t.Helper()
	got, payload, err := l.receive()
	if err != nil {
		l.t.Fatalf("waiting for %s: %v", kind, err)
	}
	if got != kind {
		l.t.Fatalf("got %s, want %s", got, kind)
	}
	return payload
}

// greeting reads what the source sends on a new link, up to its first ping, and gives
// that ping's nonce.
func (l *scriptedLink) greeting() []byte {
	l.t.Helper()
	if got := l.expect("sendheaders"); len(got) != 0 {
		l.t.Errorf("sendheaders %x", got)
	}
	if got := l.expect("sendcmpct"); !bytes.Equal(got, []byte{1, 2, 0, 0, 0, 0, 0, 0, 0}) {
		l.t.Errorf("sendcmpct %x", got)
	}
	l.checkGetHeaders(bestHash)
	return l.expect("ping")
}

// checkGetHeaders expects a request for one header.
func (l *scriptedLink) checkGetHeaders(hash string) {
	l.t.Helper()
	want := binary.LittleEndian.AppendUint32(nil, 70016)
	want = append(append(want, 0), reversed(l.t, hash)...)
	if got := l.expect("getheaders"); !bytes.Equal(got, want) {
		l.t.Errorf("getheaders %x, want %x", got, want)
	}
}

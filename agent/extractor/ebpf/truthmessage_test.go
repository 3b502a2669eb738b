package ebpf

import (
	"bytes"
	"crypto/sha3"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// onionAddress makes an address of the greatest length that there is: a name of Tor v3
// (rend-spec-v3, "Encoding onion addresses") with a port of five digits.
func onionAddress() string {
	key := bytes.Repeat([]byte{0x5a}, 32)
	const version = 3
	checksum := sha3.Sum256(append(append([]byte(".onion checksum"), key...), version))
	name := base32.StdEncoding.EncodeToString(append(append(key, checksum[:2]...), version))
	return strings.ToLower(name) + ".onion:18444"
}

// connectionTypes opens a connection of each type that RPC can open, one of them by an
// onion address, and closes it.
func (w *truth) connectionTypes(t *testing.T) {
	for _, test := range []struct{ address, kind string }{
		{onionAddress(), "manual"},
		{w.other.P2PAddress(), "outbound-full-relay"},
		{w.other.P2PAddress(), "block-relay-only"},
	} {
		if test.kind == "manual" {
			call[any](t, w.node, "addnode", test.address, "onetry")
		} else {
			call[any](t, w.node, "addconnection", test.address, test.kind, false)
		}
		var peer peerInfo
		eventually(t, "the connection", func() error {
			list := peersOf(t, w.node)
			if len(list) != 1 {
				return fmt.Errorf("%d peers", len(list))
			}
			peer = list[0]
			return nil
		})
		if peer.ConnectionType != test.kind || peer.Address != test.address {
			t.Fatalf("the node is connected to %s, %s; want %s, %s", peer.Address, peer.ConnectionType, test.address, test.kind)
		}
		expect(t, w, w.node.PID(), outboundConnection, &eventpb.OutboundConnection{
			Conn: peer.connection(t), ExistingConnections: proto.Uint64(connectionCount(t, w.node, "out")),
		})
		call[any](t, w.node, "disconnectnode", "", peer.ID)
		expect(t, w, w.node.PID(), closedConnection, &eventpb.ClosedConnection{Conn: peer.connection(t), TimeEstablished: &peer.Connected})
		eventually(t, "the connection to be closed on both sides", func() error {
			if n, m := len(peersOf(t, w.node)), len(peersOf(t, w.other)); n+m != 0 {
				return fmt.Errorf("%d and %d peers", n, m)
			}
			return nil
		})
	}
}

// messages compares messages with what was sent by RPC, on both sides of a connection.
func (w *truth) messages(t *testing.T) {
	if err := w.other.Connect(t.Context(), w.node); err != nil {
		t.Fatal(err)
	}
	here, there := peersOf(t, w.node), peersOf(t, w.other)
	if len(here) != 1 || len(there) != 1 {
		t.Fatalf("%d and %d peers", len(here), len(there))
	}
	// both expects a message from one node at both.
	both := func(from *regtest.Node, command string, size int, want *eventpb.MessageEvent) {
		t.Helper()
		for _, end := range []struct {
			node *regtest.Node
			peer *peerInfo
		}{{w.node, &here[0]}, {w.other, &there[0]}} {
			kind, old := end.peer.kind(t)
			m := &eventpb.MessageEvent{Msg: want.Msg, ElementCount: want.ElementCount, Meta: &eventpb.Metadata{
				PeerId: &end.peer.ID, Addr: &end.peer.Address, ConnType: &old, ConnectionType: &kind,
				Command: &command, Inbound: proto.Bool(end.node != from), Size: proto.Uint64(uint64(size)),
			}}
			pick := func(x *eventpb.EbpfExtractor) (*eventpb.MessageEvent, bool) {
				m := x.GetMessage()
				return m, m != nil && m.GetMeta().GetCommand() == command
			}
			expect(t, w, end.node.PID(), pick, m)
		}
	}
	send(t, w.other, there[0].ID, "ping", []byte{8, 7, 6, 5, 4, 3, 2, 1})
	both(w.other, "ping", 8, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Ping{Ping: &eventpb.Ping{Value: proto.Uint64(0x0102030405060708)}}})
	both(w.node, "pong", 8, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Pong{Pong: &eventpb.Pong{Value: proto.Uint64(0x0102030405060708)}}})

	// The longest name that a message type can have, of no message that there is.
	const longest = "twelveletter"
	payload := []byte("whatever it says")
	send(t, w.other, there[0].ID, longest, payload)
	both(w.other, longest, len(payload), &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Unknown{
		Unknown: &eventpb.Unknown{Command: proto.String(longest), Payload: payload}}})

	tx := w.transaction(t)
	// The other node must know of the block with the coin.
	if err := regtest.SyncBlocks(t.Context(), w.node, w.other); err != nil {
		t.Fatal(err)
	}
	id, _ := w.submit(t, tx)
	raw, err := hex.DecodeString(call[string](t, w.node, "getrawtransaction", id))
	if err != nil {
		t.Fatal(err)
	}
	entry := call[struct {
		WitnessID string `json:"wtxid"`
	}](t, w.node, "getmempoolentry", id)
	both(w.node, "tx", len(raw), &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Tx{Tx: &eventpb.Tx{Tx: &eventpb.Transaction{
		Txid: internal(t, id), Wtxid: internal(t, entry.WitnessID), Raw: raw,
	}}}})
	if err := w.other.Disconnect(t.Context(), w.node); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the connection to be closed on both sides", func() error {
		if n, m := len(peersOf(t, w.node)), len(peersOf(t, w.other)); n+m != 0 {
			return fmt.Errorf("%d and %d peers", n, m)
		}
		return nil
	})
}

// proxy is a SOCKS5 server (RFC 1928) that leads to one address, whatever is asked for.
func proxy(t *testing.T, target string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if err := relay(conn, target); err != nil && !errors.Is(err, net.ErrClosed) {
					t.Logf("proxy: %v", err)
				}
			}()
		}
	}()
	return listener.Addr().String()
}

func relay(conn net.Conn, target string) error {
	// Greeting: version, number of methods, methods. The answer takes the one without
	// authentication.
	head := make([]byte, 2)
	if _, err := io.ReadFull(conn, head); err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, conn, int64(head[1])); err != nil {
		return err
	}
	if _, err := conn.Write([]byte{5, 0}); err != nil {
		return err
	}
	// Request: version, connect, reserved, domain name, its length; name and port.
	request := make([]byte, 5)
	if _, err := io.ReadFull(conn, request); err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, conn, int64(request[4])+2); err != nil {
		return err
	}
	if request[3] != 3 {
		return errors.New("asked for address type " + strconv.Itoa(int(request[3])))
	}
	out, err := net.Dial("tcp", target)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := conn.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0}); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(out, conn)
		out.Close()
		close(done)
	}()
	_, err = io.Copy(conn, out)
	conn.Close()
	<-done
	return err
}

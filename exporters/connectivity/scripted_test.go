package connectivity

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/btcsuite/btcd/v2transport"
	"github.com/btcsuite/btcd/wire/v2"
)

// behaviour is what a scripted listener does with a connection. It is closed afterwards.
type behaviour func(conn net.Conn)

// listen serves an address until the test ends, and gives a function for the number of
// connections.
func listen(t *testing.T, address string, port uint16, b behaviour) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(int(port))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				b(conn)
			}()
		}
	}()
}

// message frames a message in the unencrypted transport.
func message(magic wire.BitcoinNet, kind string, payload []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(magic))
	b = append(b, make([]byte, typeSize)...)
	copy(b[4:], kind)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	sum := checksum(payload)
	return append(append(b, sum[:]...), payload...)
}

// scriptedAgent is the user agent of scripted nodes; it would be a formula in a
// spreadsheet, and a row of its own if it weren't escaped.
const scriptedAgent = "=scripted:\"1\",\n/"

func versionOf(protocol int32) []byte {
	m := wire.MsgVersion{ProtocolVersion: protocol, Services: 0x409, Timestamp: time.Now(), UserAgent: scriptedAgent, LastBlock: 77, Nonce: 1}
	var b bytes.Buffer
	if err := m.BtcEncode(&b, 70016, wire.BaseEncoding); err != nil {
		return nil
	}
	return b.Bytes()
}

// speak answers a version message with some messages, and waits for the end.
func speak(magic wire.BitcoinNet, answer ...[]byte) behaviour {
	return func(conn net.Conn) {
		first := make([]byte, v1HeaderSize)
		if _, err := io.ReadFull(conn, first); err != nil {
			return
		}
		// A node without BIP324 takes the key for noise.
		if binary.LittleEndian.Uint32(first) != uint32(wire.TestNet) {
			return
		}
		if _, err := conn.Write(bytes.Join(answer, nil)); err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, conn)
	}
}

// node is a node that does what it should, without BIP324.
func node(conn net.Conn) {
	speak(wire.TestNet, message(wire.TestNet, "version", versionOf(70016)), message(wire.TestNet, "wtxidrelay", nil),
		message(wire.TestNet, "sendaddrv2", nil), message(wire.TestNet, "verack", nil))(conn)
}

// encrypted is a node with BIP324, by btcd's transport, that then sends packets.
func encrypted(packets ...[]byte) behaviour {
	return func(conn net.Conn) {
		p := v2transport.NewPeer()
		p.UseReadWriter(conn)
		if p.RespondV2Handshake(600, v2transport.BitcoinNet(wire.TestNet)) != nil || p.CompleteHandshake(false, []int{10, 200}, v2transport.BitcoinNet(wire.TestNet)) != nil {
			return
		}
		if _, err := p.V2ReceivePacket(nil); err != nil {
			return
		}
		for _, content := range packets {
			if _, _, err := p.V2EncPacket(content, nil, false); err != nil {
				return
			}
		}
		_, _ = io.Copy(io.Discard, conn)
	}
}

// long spells a message type out in an encrypted packet.
func long(kind string, payload []byte) []byte {
	b := make([]byte, 1+typeSize)
	copy(b[1:], kind)
	return append(b, payload...)
}

// tarpit accepts and says nothing.
func tarpit(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// drip sends a version message so slowly that it never ends.
func drip(conn net.Conn) {
	go func() { _, _ = io.Copy(io.Discard, conn) }()
	for _, c := range message(wire.TestNet, "version", versionOf(70016)) {
		if _, err := conn.Write([]byte{c}); err != nil {
			return
		}
		time.Sleep(300 * time.Millisecond)
	}
}

// endless repeats a text until the other end closes.
func endless(text []byte) behaviour {
	return func(conn net.Conn) {
		block := bytes.Repeat(text, 1+(64<<10)/len(text))
		for {
			if _, err := conn.Write(block); err != nil {
				return
			}
		}
	}
}

// garbage sends noise.
func garbage(conn net.Conn) {
	noise := make([]byte, 3000)
	_, _ = rand.Read(noise)
	noise[0] = 1 // no magic of any chain
	_, _ = conn.Write(noise)
	_, _ = io.Copy(io.Discard, conn)
}

func hangUp(net.Conn) {}

// socks is a SOCKS5 proxy that knows names.
func socks(t *testing.T, address string, names map[string]byte) {
	t.Helper()
	listen(t, address, 9050, func(conn net.Conn) {
		var greeting [3]byte
		if _, err := io.ReadFull(conn, greeting[:]); err != nil || greeting != [3]byte{5, 1, 0} {
			return
		}
		_, _ = conn.Write([]byte{5, 0})
		var head [5]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil || head[3] != 3 {
			return
		}
		name := make([]byte, int(head[4])+2)
		if _, err := io.ReadFull(conn, name); err != nil {
			return
		}
		reply, ok := names[string(name[:head[4]])]
		if !ok {
			reply = 1
		}
		_, _ = conn.Write([]byte{5, reply, 0, 1, 0, 0, 0, 0, 0, 0})
		if reply == 0 {
			node(conn)
		}
	})
}

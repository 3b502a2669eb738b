package connectivity

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

const (
	// protocolVersion is what we speak; 70016 is the first with sendaddrv2 and
	// wtxidrelay, neither of which we send.
	protocolVersion = 70016
	// minProtocolVersion is Bitcoin Core's MIN_PEER_PROTO_VERSION (node/protocol_version.h).
	minProtocolVersion = 31800
	// maxPayload bounds the payload of a message in a handshake, in bytes. The largest is
	// version with a user agent of 256.
	maxPayload = 4 << 10
	// maxBytes bounds what is read of a connection, garbage of BIP324 included.
	maxBytes = 48 << 10
	// maxMessages bounds the messages from version to verack: Bitcoin Core sends up to
	// four in between.
	maxMessages = 64
	// typeSize is the size in bytes of a message type where it is spelled out.
	typeSize = 12
	// v1HeaderSize is that of a message in the unencrypted transport.
	v1HeaderSize = 4 + typeSize + 4 + 4
)

var (
	// errNotBitcoin: what came is not the protocol.
	errNotBitcoin = errors.New("not the Bitcoin protocol")
	// errOtherNetwork: a node of another chain.
	errOtherNetwork = errors.New("node of another chain")
	// errTooMuch: more came than a handshake needs.
	errTooMuch = errors.New("more bytes than a handshake has")
	// errProtocol: the protocol, but not a handshake.
	errProtocol = errors.New("not a node's handshake")
)

// nodeInfo is what a node says of itself.
type nodeInfo struct {
	protocol  int32
	services  uint64
	userAgent string
	height    int32
}

// session frames messages on a connection.
type session interface {
	send(kind string, payload []byte) error
	// receive gives the next message; the payload is valid until the next call.
	receive() (kind string, payload []byte, err error)
}

// bounded is a connection of which only so much is read.
type bounded struct {
	conn net.Conn
	left int
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errTooMuch
	}
	n, err := b.conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// newBounded makes the buffered reader of a connection.
func newBounded(conn net.Conn) *bufio.Reader {
	return bufio.NewReaderSize(&bounded{conn: conn, left: maxBytes}, 4<<10)
}

// handshake exchanges version and verack at the end that opened the connection.
func handshake(s session, userAgent string) (nodeInfo, error) {
	ours, err := versionPayload(userAgent)
	if err != nil {
		return nodeInfo{}, err
	}
	if err := s.send(wire.CmdVersion, ours); err != nil {
		return nodeInfo{}, err
	}
	kind, payload, err := s.receive()
	if err != nil {
		return nodeInfo{}, err
	}
	if kind != wire.CmdVersion {
		return nodeInfo{}, errProtocol
	}
	node, err := parseVersion(payload)
	if err != nil {
		return nodeInfo{}, err
	}
	if err := s.send(wire.CmdVerAck, nil); err != nil {
		return nodeInfo{}, err
	}
	for range maxMessages {
		kind, _, err := s.receive()
		if err != nil {
			return nodeInfo{}, err
		}
		if kind == wire.CmdVerAck {
			return node, nil
		}
	}
	return nodeInfo{}, errProtocol
}

// versionPayload is our version message. It has no services, because we serve nothing,
// no addresses, and asks for no transactions.
func versionPayload(userAgent string) ([]byte, error) {
	var nonce [8]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return nil, err
	}
	m := wire.MsgVersion{
		ProtocolVersion: protocolVersion,
		Timestamp:       time.Now(),
		Nonce:           binary.LittleEndian.Uint64(nonce[:]),
		UserAgent:       userAgent,
		DisableRelayTx:  true,
	}
	var b bytes.Buffer
	if err := m.BtcEncode(&b, protocolVersion, wire.BaseEncoding); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func parseVersion(payload []byte) (nodeInfo, error) {
	var m wire.MsgVersion
	if err := m.BtcDecode(bytes.NewBuffer(payload), protocolVersion, wire.BaseEncoding); err != nil || m.ProtocolVersion < minProtocolVersion {
		return nodeInfo{}, errProtocol
	}
	return nodeInfo{
		protocol:  m.ProtocolVersion,
		services:  uint64(m.Services),
		userAgent: strings.ToValidUTF8(m.UserAgent, "\uFFFD"),
		height:    m.LastBlock,
	}, nil
}

// sessionV1 is the unencrypted transport.
type sessionV1 struct {
	conn    net.Conn
	in      io.Reader
	net     wire.BitcoinNet
	header  [v1HeaderSize]byte
	payload []byte
}

func newSessionV1(conn net.Conn, network wire.BitcoinNet) *sessionV1 {
	return &sessionV1{conn: conn, in: newBounded(conn), net: network}
}

func (s *sessionV1) send(kind string, payload []byte) error {
	b := make([]byte, v1HeaderSize, v1HeaderSize+len(payload))
	binary.LittleEndian.PutUint32(b, uint32(s.net))
	copy(b[4:4+typeSize], kind)
	binary.LittleEndian.PutUint32(b[4+typeSize:], uint32(len(payload)))
	sum := checksum(payload)
	copy(b[v1HeaderSize-4:], sum[:])
	_, err := s.conn.Write(append(b, payload...))
	return err
}

func (s *sessionV1) receive() (string, []byte, error) {
	// Four bytes are enough to know that it is something else, which may send no more.
	if _, err := io.ReadFull(s.in, s.header[:4]); err != nil {
		return "", nil, err
	}
	switch magic := wire.BitcoinNet(binary.LittleEndian.Uint32(s.header[:])); magic {
	case s.net:
	case wire.MainNet, wire.TestNet, wire.TestNet3, wire.TestNet4, wire.SigNet:
		return "", nil, errOtherNetwork
	default:
		return "", nil, errNotBitcoin
	}
	if _, err := io.ReadFull(s.in, s.header[4:]); err != nil {
		return "", nil, err
	}
	kind, ok := messageType(s.header[4 : 4+typeSize])
	size := binary.LittleEndian.Uint32(s.header[4+typeSize:])
	if !ok || size > maxPayload {
		return "", nil, errProtocol
	}
	if uint32(cap(s.payload)) < size {
		s.payload = make([]byte, maxPayload)
	}
	s.payload = s.payload[:size]
	if _, err := io.ReadFull(s.in, s.payload); err != nil {
		return "", nil, err
	}
	if checksum(s.payload) != [4]byte(s.header[v1HeaderSize-4:]) {
		return "", nil, errProtocol
	}
	return kind, s.payload, nil
}

// checksum is the first four bytes of the payload's double SHA-256.
func checksum(payload []byte) [4]byte {
	sum := chainhash.DoubleHashH(payload)
	return [4]byte(sum[:4])
}

// messageType reads a zero-padded message type; ok is false for what can't be one.
func messageType(b []byte) (kind string, ok bool) {
	text, padding, _ := bytes.Cut(b, []byte{0})
	for _, c := range text {
		if c <= ' ' || c > '~' {
			return "", false
		}
	}
	return string(text), len(text) > 0 && len(bytes.Trim(padding, "\x00")) == 0
}

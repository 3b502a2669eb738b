package p2p

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/btcsuite/btcd/wire/v2"
)

const (
	// protocolVersion is what we speak; 70016 is the first with wtxidrelay, and
	// Core sends sendaddrv2 from it on.
	protocolVersion = 70016
	// minProtocolVersion is Bitcoin Core's MIN_PEER_PROTO_VERSION.
	minProtocolVersion = 31800
	// handshakeBytes bounds what is read until the node is verified. Garbage takes
	// up to 4 KiB of it.
	handshakeBytes = 32 << 10
	// maxHandshakeMessages bounds the messages between version and verack: Bitcoin
	// Core sends three or four, and a feature message for each of its features.
	maxHandshakeMessages = 64
)

var errProtocol = errors.New("not a Bitcoin peer's handshake")

// nodeVersion is what the other end said of itself.
type nodeVersion struct {
	protocol  int32
	services  uint64
	userAgent string
	height    int32
}

// handshake exchanges version and verack: the other end opened the connection, so it
// speaks first. What it negotiates in between needs no answer. Nothing after its
// verack is read.
func handshake(t transport, userAgent string) (nodeVersion, error) {
	first, err := t.receive()
	if err != nil {
		return nodeVersion{}, err
	}
	if first.kind != "version" {
		return nodeVersion{}, fmt.Errorf("%w: the first message is not version", errProtocol)
	}
	theirs, err := parseVersion(first.payload)
	if err != nil {
		return nodeVersion{}, err
	}
	ours, err := versionPayload(userAgent)
	if err != nil {
		return nodeVersion{}, err
	}
	if err := t.send("version", ours); err != nil {
		return nodeVersion{}, err
	}
	if theirs.protocol >= protocolVersion {
		for _, kind := range []string{"wtxidrelay", "sendaddrv2"} {
			if err := t.send(kind, nil); err != nil {
				return nodeVersion{}, err
			}
		}
	}
	if err := t.send("verack", nil); err != nil {
		return nodeVersion{}, err
	}
	for range maxHandshakeMessages {
		m, err := t.receive()
		if err != nil {
			return nodeVersion{}, err
		}
		if m.kind == "verack" {
			return theirs, nil
		}
	}
	return nodeVersion{}, fmt.Errorf("%w: no verack among %d messages", errProtocol, maxHandshakeMessages)
}

// parseVersion reads a version message.
func parseVersion(payload []byte) (nodeVersion, error) {
	var m wire.MsgVersion
	if err := m.BtcDecode(bytes.NewBuffer(payload), protocolVersion, wire.BaseEncoding); err != nil {
		return nodeVersion{}, fmt.Errorf("%w: version: %w", errProtocol, err)
	}
	if m.ProtocolVersion < minProtocolVersion {
		return nodeVersion{}, fmt.Errorf("%w: protocol version %d", errProtocol, m.ProtocolVersion)
	}
	return nodeVersion{
		protocol:  m.ProtocolVersion,
		services:  uint64(m.Services),
		userAgent: strings.ToValidUTF8(m.UserAgent, "\uFFFD"),
		height:    m.LastBlock,
	}, nil
}

// versionPayload is our version message. It has no services, because we serve
// nothing; the node then asks for none, and a manual connection doesn't need them. It
// wants transactions announced. Its addresses are unspecified: the node would take
// the one of the receiver as the address under which it's seen from outside.
func versionPayload(userAgent string) ([]byte, error) {
	nonce, err := randomNonce()
	if err != nil {
		return nil, err
	}
	m := wire.MsgVersion{
		ProtocolVersion: protocolVersion,
		Timestamp:       time.Now(),
		Nonce:           nonce,
		UserAgent:       userAgent,
	}
	var b bytes.Buffer
	if err := m.BtcEncode(&b, protocolVersion, wire.BaseEncoding); err != nil {
		return nil, fmt.Errorf("encoding version: %w", err)
	}
	return b.Bytes(), nil
}

// randomNonce is a number that others can't guess, and not zero.
func randomNonce() (uint64, error) {
	var b [8]byte
	for {
		if _, err := rand.Read(b[:]); err != nil {
			return 0, fmt.Errorf("random nonce: %w", err)
		}
		if nonce := binary.LittleEndian.Uint64(b[:]); nonce != 0 {
			return nonce, nil
		}
	}
}

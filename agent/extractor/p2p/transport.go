package p2p

import (
	"encoding/binary"
	"errors"

	"github.com/btcsuite/btcd/wire/v2"
)

// maxPayload is the largest payload of a message in bytes: Bitcoin Core's
// MAX_PROTOCOL_MESSAGE_LENGTH (net.h).
const maxPayload = 4_000_000

// maxHandshakePayload bounds payloads until the node is verified. The largest
// message of a handshake is version with a user agent of 256 bytes; a feature
// message (BIP434) has at most 593.
const maxHandshakePayload = 4 << 10

// typeSize is the size in bytes of a message type where it's spelled out.
const typeSize = 12

var (
	errMagic    = errors.New("message of another network")
	errTooLarge = errors.New("message too large")
	// errChecksum concerns one message; the next one can be received.
	errChecksum = errors.New("wrong checksum")
	errDecrypt  = errors.New("packet can't be decrypted")
	errGarbage  = errors.New("no garbage terminator")
)

// message is one P2P message; payload is valid until the next receive.
type message struct {
	kind    string
	payload []byte
}

// transport frames messages on a connection.
type transport interface {
	// version is 1 or 2.
	version() uint32
	// sessionID is that of BIP324, nil without encryption.
	sessionID() []byte
	// receive waits for a message. After an error that is a timeout, or
	// errChecksum, it can be called again; nothing is lost.
	receive() (message, error)
	// send writes one message at once.
	send(kind string, payload []byte) error
	// setLimit sets the largest payload that is received, in bytes.
	setLimit(bytes int)
}

// acceptTransport finds out which transport the other end speaks, as BIP324 says: v1
// if the first 16 bytes are those of a version message, else v2. It answers a v2
// handshake.
func acceptTransport(s *stream, net wire.BitcoinNet) (transport, error) {
	prefix := v1Prefix(net)
	for i := range prefix {
		arrived, err := s.peek(i + 1)
		if err != nil {
			return nil, err
		}
		if arrived[i] != prefix[i] {
			return acceptV2(s, net)
		}
	}
	return newTransportV1(s, net), nil
}

// v1Prefix is how a v1 connection begins: the network's magic and the type of the
// version message.
func v1Prefix(net wire.BitcoinNet) [4 + typeSize]byte {
	var prefix [4 + typeSize]byte
	binary.LittleEndian.PutUint32(prefix[:4], uint32(net))
	copy(prefix[4:], "version")
	return prefix
}

// messageType reads a zero-padded message type. One that has anything but printable
// ASCII before the padding is no type that we know, and comes back empty.
func messageType(b []byte) string {
	n := 0
	for n < len(b) && b[n] != 0 {
		if b[n] <= ' ' || b[n] > '~' {
			return ""
		}
		n++
	}
	return string(b[:n])
}

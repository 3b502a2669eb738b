package p2p

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/btcsuite/btcd/wire/v2"
)

// v1HeaderSize is the size of a v1 message header in bytes: magic, type, payload
// length, checksum.
const v1HeaderSize = 4 + typeSize + 4 + 4

// transportV1 is the unencrypted transport.
type transportV1 struct {
	stream *stream
	net    wire.BitcoinNet
	limit  int
	// used is the size of the message that receive returned last.
	used int
}

func newTransportV1(s *stream, net wire.BitcoinNet) *transportV1 {
	return &transportV1{stream: s, net: net, limit: maxHandshakePayload}
}

func (t *transportV1) version() uint32    { return 1 }
func (t *transportV1) sessionID() []byte  { return nil }
func (t *transportV1) setLimit(bytes int) { t.limit = bytes }

func (t *transportV1) receive() (message, error) {
	t.stream.discard(t.used)
	t.used = 0
	header, err := t.stream.peek(v1HeaderSize)
	if err != nil {
		return message{}, err
	}
	if wire.BitcoinNet(binary.LittleEndian.Uint32(header)) != t.net {
		return message{}, errMagic
	}
	size := binary.LittleEndian.Uint32(header[4+typeSize:])
	if uint64(size) > uint64(t.limit) {
		return message{}, errTooLarge
	}
	whole, err := t.stream.peek(v1HeaderSize + int(size))
	if err != nil {
		return message{}, err
	}
	t.used = v1HeaderSize + int(size)
	payload := whole[v1HeaderSize:t.used]
	if checksum(payload) != [4]byte(whole[v1HeaderSize-4:v1HeaderSize]) {
		return message{}, errChecksum
	}
	return message{messageType(whole[4 : 4+typeSize]), payload}, nil
}

func (t *transportV1) send(kind string, payload []byte) error {
	b := make([]byte, v1HeaderSize, v1HeaderSize+len(payload))
	binary.LittleEndian.PutUint32(b, uint32(t.net))
	copy(b[4:4+typeSize], kind)
	binary.LittleEndian.PutUint32(b[4+typeSize:], uint32(len(payload)))
	sum := checksum(payload)
	copy(b[v1HeaderSize-4:], sum[:])
	return t.stream.write(append(b, payload...))
}

// checksum is the first four bytes of the payload's double SHA-256.
func checksum(payload []byte) [4]byte {
	first := sha256.Sum256(payload)
	second := sha256.Sum256(first[:])
	return [4]byte(second[:4])
}

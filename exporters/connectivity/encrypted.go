package connectivity

import (
	"bufio"
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net"

	"github.com/btcsuite/btcd/btcec/v2/ellswift"
	"github.com/btcsuite/btcd/v2transport"
	"github.com/btcsuite/btcd/wire/v2"
)

// Sizes of BIP324 in bytes.
const (
	v2KeySize        = 64
	v2MaxGarbage     = 4095
	v2TerminatorSize = 16
	v2LengthSize     = 3
	v2HeaderSize     = 1
	v2TagSize        = 16
	// v2IgnoreBit in the header marks a decoy.
	v2IgnoreBit = 0x80
	// maxDecoys bounds the decoys in a row.
	maxDecoys = 64
)

// sessionV2 is the encrypted transport of BIP324 at the end that opened the connection.
// Keys and ciphers are btcd's; the framing is our own, because that of btcd reserves the
// memory for a packet by the length that the other end claims, up to 16 MiB.
type sessionV2 struct {
	conn       net.Conn
	in         *bufio.Reader
	sendLength *v2transport.FSChaCha20
	sendPacket *v2transport.FSChaCha20Poly1305
	recvLength *v2transport.FSChaCha20
	recvPacket *v2transport.FSChaCha20Poly1305
	// associated is what the next packet received must authenticate beside itself: the
	// garbage, for the first one.
	associated []byte
	packet     []byte
}

// openV2 does the handshake of BIP324 as its initiator. An error of the other end's
// making is errNotBitcoin: what isn't encrypted for us is noise.
func openV2(conn net.Conn, network wire.BitcoinNet) (*sessionV2, error) {
	private, ours, err := ellswift.EllswiftCreate()
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	// We send no garbage: it hides what this is from observers on the way.
	if _, err := conn.Write(ours[:]); err != nil {
		return nil, err
	}
	s := &sessionV2{conn: conn, in: newBounded(conn)}
	var theirs [v2KeySize]byte
	if _, err := io.ReadFull(s.in, theirs[:]); err != nil {
		return nil, err
	}
	secret, err := ellswift.V2Ecdh(private, theirs, ours, true)
	if err != nil {
		return nil, errNotBitcoin
	}
	sendTerminator, recvTerminator, err := s.derive(secret[:], network)
	if err != nil {
		return nil, err
	}
	versionPacket, err := s.seal(nil)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(append(sendTerminator, versionPacket...)); err != nil {
		return nil, err
	}
	if err := s.skipGarbage(recvTerminator); err != nil {
		return nil, err
	}
	// The version packet; its content is reserved for extensions.
	_, err = s.receiveContent()
	return s, err
}

// derive makes the keys of BIP324 from the shared secret.
func (s *sessionV2) derive(secret []byte, network wire.BitcoinNet) (sendTerminator, recvTerminator []byte, err error) {
	salt := binary.LittleEndian.AppendUint32([]byte("bitcoin_v2_shared_secret"), uint32(network))
	extracted, err := hkdf.Extract(sha256.New, secret, salt)
	if err != nil {
		return nil, nil, fmt.Errorf("deriving keys: %w", err)
	}
	keys := map[string][]byte{}
	for _, name := range []string{"initiator_L", "initiator_P", "responder_L", "responder_P", "garbage_terminators"} {
		if keys[name], err = hkdf.Expand(sha256.New, extracted, name, sha256.Size); err != nil {
			return nil, nil, fmt.Errorf("deriving keys: %w", err)
		}
	}
	if s.sendLength, err = v2transport.NewFSChaCha20(keys["initiator_L"]); err != nil {
		return nil, nil, err
	}
	if s.sendPacket, err = v2transport.NewFSChaCha20Poly1305(keys["initiator_P"]); err != nil {
		return nil, nil, err
	}
	if s.recvLength, err = v2transport.NewFSChaCha20(keys["responder_L"]); err != nil {
		return nil, nil, err
	}
	if s.recvPacket, err = v2transport.NewFSChaCha20Poly1305(keys["responder_P"]); err != nil {
		return nil, nil, err
	}
	terminators := keys["garbage_terminators"]
	return terminators[:v2TerminatorSize:v2TerminatorSize], terminators[v2TerminatorSize:], nil
}

// skipGarbage reads up to the responder's garbage terminator.
func (s *sessionV2) skipGarbage(terminator []byte) error {
	garbage := make([]byte, 0, 256)
	for len(garbage) < v2MaxGarbage+v2TerminatorSize {
		c, err := s.in.ReadByte()
		if err != nil {
			return err
		}
		garbage = append(garbage, c)
		if bytes.HasSuffix(garbage, terminator) {
			s.associated = garbage[:len(garbage)-v2TerminatorSize]
			return nil
		}
	}
	return errNotBitcoin
}

// receiveContent waits for a packet that is no decoy.
func (s *sessionV2) receiveContent() ([]byte, error) {
	for range maxDecoys {
		var length [v2LengthSize]byte
		if _, err := io.ReadFull(s.in, length[:]); err != nil {
			return nil, err
		}
		plain, err := s.recvLength.Crypt(length[:])
		if err != nil {
			return nil, err
		}
		n := int(plain[0]) | int(plain[1])<<8 | int(plain[2])<<16
		if n > maxPayload+1+typeSize {
			return nil, errProtocol
		}
		size := v2HeaderSize + n + v2TagSize
		if cap(s.packet) < size {
			s.packet = make([]byte, size)
		}
		s.packet = s.packet[:size]
		if _, err := io.ReadFull(s.in, s.packet); err != nil {
			return nil, err
		}
		content, err := s.recvPacket.Decrypt(s.associated, s.packet)
		if err != nil {
			return nil, errNotBitcoin
		}
		s.associated = nil
		if content[0]&v2IgnoreBit == 0 {
			return content[v2HeaderSize:], nil
		}
	}
	return nil, errProtocol
}

func (s *sessionV2) receive() (string, []byte, error) {
	content, err := s.receiveContent()
	if err != nil {
		return "", nil, err
	}
	// version and verack have no one-byte type (BIP324), so a message that has one is
	// none of those that count here.
	switch {
	case len(content) == 0:
		return "", nil, errProtocol
	case content[0] != 0:
		return "", content[1:], nil
	case len(content) < 1+typeSize:
		return "", nil, errProtocol
	}
	kind, ok := messageType(content[1 : 1+typeSize])
	if !ok {
		return "", nil, errProtocol
	}
	return kind, content[1+typeSize:], nil
}

func (s *sessionV2) send(kind string, payload []byte) error {
	content := make([]byte, 1+typeSize, 1+typeSize+len(payload))
	copy(content[1:], kind)
	packet, err := s.seal(append(content, payload...))
	if err != nil {
		return err
	}
	_, err = s.conn.Write(packet)
	return err
}

// seal makes a packet of content.
func (s *sessionV2) seal(content []byte) ([]byte, error) {
	n := len(content)
	length, err := s.sendLength.Crypt([]byte{byte(n), byte(n >> 8), byte(n >> 16)})
	if err != nil {
		return nil, err
	}
	sealed, err := s.sendPacket.Encrypt(nil, append([]byte{0}, content...))
	if err != nil {
		return nil, err
	}
	return append(length, sealed...), nil
}

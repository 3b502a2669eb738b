package p2p

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

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
)

// transportV2 is the encrypted transport of BIP324, at the end that was connected
// to. Keys and ciphers are btcd's; the framing is our own, because that of btcd
// reserves the memory for a packet by the length that the other end claims.
type transportV2 struct {
	stream      *stream
	session     []byte
	sendLength  *v2transport.FSChaCha20
	sendPacket  *v2transport.FSChaCha20Poly1305
	recvLength  *v2transport.FSChaCha20
	recvPacket  *v2transport.FSChaCha20Poly1305
	sendGarbage []byte // terminator of ours
	recvGarbage []byte // terminator of the other end
	// associated is what the next packet received must authenticate beside
	// itself: the garbage, for the first one.
	associated []byte
	// pending is the length of the content whose length is read already; negative
	// for none.
	pending int
	limit   int
}

// acceptV2 answers the handshake of an initiator. The caller bounds its time and its
// bytes by the stream.
func acceptV2(s *stream, net wire.BitcoinNet) (*transportV2, error) {
	// The initiator sends its whole key without waiting for anything, so nothing is
	// computed for one that doesn't.
	arrived, err := s.peek(v2KeySize)
	if err != nil {
		return nil, err
	}
	theirs := [v2KeySize]byte(arrived)
	s.discard(v2KeySize)
	if prefix := v1Prefix(net); bytes.Equal(theirs[4:len(prefix)], prefix[4:]) {
		return nil, errMagic
	}
	private, ours, err := ellswift.EllswiftCreate()
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	secret, err := ellswift.V2Ecdh(private, theirs, ours, false)
	if err != nil {
		return nil, fmt.Errorf("key agreement: %w", err)
	}
	t, err := newTransportV2(s, secret[:], net)
	if err != nil {
		return nil, err
	}
	// We send no garbage of our own: it hides the pattern of the handshake from
	// observers on the way, and there is none worth hiding from on this link.
	answer := append(ours[:], t.sendGarbage...)
	versionPacket, err := t.seal(nil)
	if err != nil {
		return nil, err
	}
	if err := s.write(append(answer, versionPacket...)); err != nil {
		return nil, err
	}
	if err := t.skipGarbage(); err != nil {
		return nil, err
	}
	// The version packet; its content is reserved for extensions.
	_, err = t.receiveContent()
	return t, err
}

// newTransportV2 derives the keys of BIP324 from the shared secret.
func newTransportV2(s *stream, secret []byte, net wire.BitcoinNet) (*transportV2, error) {
	salt := binary.LittleEndian.AppendUint32([]byte("bitcoin_v2_shared_secret"), uint32(net))
	extracted, err := hkdf.Extract(sha256.New, secret, salt)
	if err != nil {
		return nil, fmt.Errorf("deriving keys: %w", err)
	}
	keys := map[string][]byte{}
	for _, name := range []string{"initiator_L", "initiator_P", "responder_L", "responder_P", "garbage_terminators", "session_id"} {
		if keys[name], err = hkdf.Expand(sha256.New, extracted, name, sha256.Size); err != nil {
			return nil, fmt.Errorf("deriving keys: %w", err)
		}
	}
	t := &transportV2{
		stream:      s,
		session:     keys["session_id"],
		recvGarbage: keys["garbage_terminators"][:v2TerminatorSize],
		sendGarbage: keys["garbage_terminators"][v2TerminatorSize:],
		pending:     -1,
		limit:       maxHandshakePayload,
	}
	if t.recvLength, err = v2transport.NewFSChaCha20(keys["initiator_L"]); err != nil {
		return nil, err
	}
	if t.recvPacket, err = v2transport.NewFSChaCha20Poly1305(keys["initiator_P"]); err != nil {
		return nil, err
	}
	if t.sendLength, err = v2transport.NewFSChaCha20(keys["responder_L"]); err != nil {
		return nil, err
	}
	if t.sendPacket, err = v2transport.NewFSChaCha20Poly1305(keys["responder_P"]); err != nil {
		return nil, err
	}
	return t, nil
}

// skipGarbage reads up to the initiator's garbage terminator.
func (t *transportV2) skipGarbage() error {
	for n := v2TerminatorSize; ; {
		arrived, err := t.stream.peek(n)
		if err != nil {
			return err
		}
		arrived = arrived[:min(len(arrived), v2MaxGarbage+v2TerminatorSize)]
		if end := bytes.Index(arrived, t.recvGarbage); end >= 0 {
			t.associated = bytes.Clone(arrived[:end])
			t.stream.discard(end + v2TerminatorSize)
			return nil
		}
		if len(arrived) == v2MaxGarbage+v2TerminatorSize {
			return errGarbage
		}
		n = len(arrived) + 1
	}
}

func (t *transportV2) version() uint32    { return 2 }
func (t *transportV2) sessionID() []byte  { return t.session }
func (t *transportV2) setLimit(bytes int) { t.limit = bytes }

func (t *transportV2) receive() (message, error) {
	content, err := t.receiveContent()
	if err != nil {
		return message{}, err
	}
	// One byte stands for the type, or zero and the type spelled out.
	if len(content) == 0 {
		return message{}, nil
	}
	if content[0] != 0 {
		return message{shortType(content[0]), content[1:]}, nil
	}
	if len(content) < 1+typeSize {
		return message{}, nil
	}
	return message{messageType(content[1 : 1+typeSize]), content[1+typeSize:]}, nil
}

// receiveContent waits for a packet that is no decoy.
func (t *transportV2) receiveContent() ([]byte, error) {
	for {
		if t.pending < 0 {
			arrived, err := t.stream.peek(v2LengthSize)
			if err != nil {
				return nil, err
			}
			plain, err := t.recvLength.Crypt(arrived[:v2LengthSize])
			if err != nil {
				return nil, errDecrypt
			}
			t.stream.discard(v2LengthSize)
			length := int(plain[0]) | int(plain[1])<<8 | int(plain[2])<<16
			if length > t.limit+1+typeSize {
				return nil, errTooLarge
			}
			t.pending = length
		}
		size := v2HeaderSize + t.pending + v2TagSize
		arrived, err := t.stream.peek(size)
		if err != nil {
			return nil, err
		}
		plain, err := t.recvPacket.Decrypt(t.associated, arrived[:size])
		if err != nil {
			return nil, errDecrypt
		}
		t.stream.discard(size)
		t.associated = nil
		t.pending = -1
		if plain[0]&v2IgnoreBit == 0 {
			return plain[v2HeaderSize:], nil
		}
	}
}

func (t *transportV2) send(kind string, payload []byte) error {
	var content []byte
	if id := shortID(kind); id != 0 {
		content = append(content, id)
	} else {
		content = append(content, make([]byte, 1+typeSize)...)
		copy(content[1:], kind)
	}
	packet, err := t.seal(append(content, payload...))
	if err != nil {
		return err
	}
	return t.stream.write(packet)
}

// seal makes a packet of content.
func (t *transportV2) seal(content []byte) ([]byte, error) {
	n := len(content)
	length, err := t.sendLength.Crypt([]byte{byte(n), byte(n >> 8), byte(n >> 16)})
	if err != nil {
		return nil, err
	}
	sealed, err := t.sendPacket.Encrypt(nil, append([]byte{0}, content...))
	if err != nil {
		return nil, err
	}
	return append(length, sealed...), nil
}

// shortTypes are the one-byte message types of BIP324, from 1 on.
func shortTypes() [28]string {
	return [...]string{
		"addr", "block", "blocktxn", "cmpctblock", "feefilter", "filteradd", "filterclear", "filterload",
		"getblocks", "getblocktxn", "getdata", "getheaders", "headers", "inv", "mempool", "merkleblock",
		"notfound", "ping", "pong", "sendcmpct", "tx", "getcfilters", "cfilter", "getcfheaders",
		"cfheaders", "getcfcheckpt", "cfcheckpt", "addrv2",
	}
}

// shortType is the message type that id stands for, empty for none that we know.
func shortType(id byte) string {
	types := shortTypes()
	if int(id) > len(types) {
		return ""
	}
	return types[id-1]
}

// shortID is the inverse of shortType, zero for none.
func shortID(kind string) byte {
	for i, name := range shortTypes() {
		if name == kind {
			return byte(i + 1)
		}
	}
	return 0
}

package scenario

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

// protocol of scripted peers. wire.TestNet is btcd's name of regtest's magic.
const (
	protocolVersion = wire.ProtocolVersion
	network         = wire.TestNet
	userAgent       = "/peer-observer-lab:1.0/"
	handshakeTime   = 30 * time.Second
)

// peer is a scripted peer: a v1 connection to the node that has finished its handshake,
// answers pings, and hands over blocks that it was given.
type peer struct {
	conn net.Conn
	who  persona
	// closed is closed when the connection has ended, for the reason err.
	closed chan struct{}
	err    error
	// pongs gives the nonces that the node answered with, as far as somebody waits.
	pongs chan uint64

	write  sync.Mutex
	mu     sync.Mutex
	blocks map[chainhash.Hash]*wire.MsgBlock
}

// persona is who a scripted peer says it is. The zero value is the plain one.
type persona struct {
	// from is the address that it comes from, see source; that of loopback when it isn't
	// valid. Others are there in a namespace only (NeedsNamespace).
	from netip.Addr
	// onion: it comes as through Tor (NeedsOnion).
	onion bool
	// clock is how far its clock is ahead.
	clock time.Duration
	// deaf: it reads nothing after the handshake.
	deaf bool
	// answer, when there is one, gets every message first, and says whether the usual
	// answer is still to be given.
	answer func(*peer, wire.Message) (usual bool, err error)
	// relay is what it knows together with others and hands over when asked; nil for nothing.
	relay *relay
	// userAgent and version are the program and the protocol version that it says it has;
	// those of all scripted peers when empty.
	userAgent string
	version   uint32
}

// dial opens a plain connection to the node.
func (t *Target) dial(ctx context.Context) (net.Conn, error) {
	return t.dialAs(ctx, persona{})
}

// dialAs opens a plain connection from where a persona comes from.
func (t *Target) dialAs(ctx context.Context, who persona) (net.Conn, error) {
	var d net.Dialer
	if who.from.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(who.from, 0))
	}
	if who.onion {
		return d.DialContext(ctx, "tcp", t.OnionAddress)
	}
	return d.DialContext(ctx, "tcp", t.P2PAddress)
}

// connect makes a scripted peer of the node.
func (t *Target) connect(ctx context.Context) (*peer, error) {
	return t.connectAs(ctx, persona{})
}

// connectAs makes a scripted peer of the node with a persona.
func (t *Target) connectAs(ctx context.Context, who persona) (*peer, error) {
	conn, err := t.dialAs(ctx, who)
	if err != nil {
		return nil, err
	}
	return newPeer(conn, who)
}

// newPeer makes a scripted peer of a connection, whoever opened it.
func newPeer(conn net.Conn, who persona) (*peer, error) {
	p := &peer{conn: conn, who: who, closed: make(chan struct{}), pongs: make(chan uint64, 1), blocks: map[chainhash.Hash]*wire.MsgBlock{}}
	if err := p.handshake(); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("handshake: %w", err)
	}
	if who.deaf {
		close(p.closed)
		return p, nil
	}
	go p.read()
	return p, nil
}

func (p *peer) handshake() error {
	if err := p.conn.SetDeadline(time.Now().Add(handshakeTime)); err != nil {
		return err
	}
	const services = wire.SFNodeNetwork | wire.SFNodeWitness
	address := wire.NewNetAddressIPPort(net.IPv4(127, 0, 0, 1), 0, services)
	version := wire.NewMsgVersion(address, address, randomNonce(), 0)
	version.Timestamp = time.Unix(time.Now().Add(p.who.clock).Unix(), 0)
	version.UserAgent, version.Services, version.ProtocolVersion = cmp.Or(p.who.userAgent, userAgent), services, int32(cmp.Or(p.who.version, protocolVersion))
	if err := p.send(version); err != nil {
		return err
	}
	for {
		message, err := p.next()
		if err != nil {
			return err
		}
		switch message.(type) {
		case *wire.MsgVersion:
			if err := p.send(wire.NewMsgVerAck()); err != nil {
				return err
			}
		case *wire.MsgVerAck:
			return p.conn.SetDeadline(time.Time{})
		}
	}
}

// next reads a message; messages that btcd doesn't know are skipped.
func (p *peer) next() (wire.Message, error) {
	for {
		_, message, _, err := wire.ReadMessageWithEncodingN(p.conn, protocolVersion, network, wire.LatestEncoding)
		if errors.Is(err, wire.ErrUnknownMessage) {
			continue
		}
		if _, ok := errors.AsType[*wire.MessageError](err); ok {
			continue
		}
		return message, err
	}
}

// read answers the node until the connection ends.
func (p *peer) read() {
	defer close(p.closed)
	for {
		message, err := p.next()
		if err != nil {
			p.err = err
			return
		}
		usual := true
		if p.who.answer != nil {
			if usual, err = p.who.answer(p, message); err != nil {
				p.err = err
				return
			}
		}
		if !usual {
			continue
		}
		switch m := message.(type) {
		case *wire.MsgPing:
			err = p.send(wire.NewMsgPong(m.Nonce))
		case *wire.MsgPong:
			select {
			case <-p.pongs:
			default:
			}
			p.pongs <- m.Nonce
		case *wire.MsgGetData:
			err = p.serve(m)
		}
		if err != nil {
			p.err = err
			return
		}
	}
}

// serve hands over the blocks that the node asks for, if it was given them, and what it knows
// together with others.
func (p *peer) serve(request *wire.MsgGetData) error {
	missing := wire.NewMsgNotFound()
	for _, item := range request.InvList {
		p.mu.Lock()
		block := p.blocks[item.Hash]
		p.mu.Unlock()
		var known wire.Message
		switch {
		case block != nil:
			known = block
		case p.who.relay != nil:
			known = p.who.relay.find(item.Hash)
		}
		if known == nil {
			if item.Type != wire.InvTypeBlock && item.Type != wire.InvTypeWitnessBlock {
				missing.InvList = append(missing.InvList, item)
			}
			continue
		}
		if err := p.send(known); err != nil {
			return err
		}
	}
	if p.who.relay == nil || len(missing.InvList) == 0 {
		return nil
	}
	return p.send(missing)
}

func (p *peer) send(message wire.Message) error {
	p.write.Lock()
	defer p.write.Unlock()
	_, err := wire.WriteMessageWithEncodingN(p.conn, message, protocolVersion, network, wire.LatestEncoding)
	return err
}

// sendRaw writes bytes as they are.
func (p *peer) sendRaw(data []byte) error {
	p.write.Lock()
	defer p.write.Unlock()
	_, err := p.conn.Write(data)
	return err
}

// offer announces blocks by their headers and hands them over when asked.
func (p *peer) offer(blocks ...*wire.MsgBlock) error {
	headers := wire.NewMsgHeaders()
	p.mu.Lock()
	for _, block := range blocks {
		p.blocks[block.BlockHash()] = block
		if err := headers.AddBlockHeader(&block.Header); err != nil {
			p.mu.Unlock()
			return err
		}
	}
	p.mu.Unlock()
	return p.send(headers)
}

// ended waits until the node has closed the connection.
func (p *peer) ended(ctx context.Context) error {
	timer := time.NewTimer(handshakeTime)
	defer timer.Stop()
	select {
	case <-p.closed:
		return nil
	case <-timer.C:
		return errors.New("the node keeps the connection open")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// isClosed is whether the connection has ended.
func (p *peer) isClosed() bool {
	select {
	case <-p.closed:
		return true
	default:
		return false
	}
}

// close ends the connection.
func (p *peer) close() {
	_ = p.conn.Close()
	<-p.closed
}

// pings gives count ping messages as bytes.
func pings(count int) []byte {
	var buffer bytes.Buffer
	for range count {
		// A buffer takes everything.
		_ = wire.WriteMessage(&buffer, wire.NewMsgPing(randomNonce()), protocolVersion, network)
	}
	return buffer.Bytes()
}

func randomNonce() uint64 {
	var nonce [8]byte
	_, _ = rand.Read(nonce[:]) // never fails (crypto/rand)
	return binary.LittleEndian.Uint64(nonce[:])
}

// frame is a P2P message with a header of one's choice (v1 transport).
func frame(magic uint32, command string, length uint32, checksum [4]byte, payload []byte) []byte {
	data := binary.LittleEndian.AppendUint32(nil, magic)
	var name [12]byte
	copy(name[:], command)
	data = append(data, name[:]...)
	data = binary.LittleEndian.AppendUint32(data, length)
	data = append(data, checksum[:]...)
	return append(data, payload...)
}

// checksumOf is that of a P2P message.
func checksumOf(payload []byte) [4]byte {
	first := sha256.Sum256(payload)
	second := sha256.Sum256(first[:])
	return [4]byte(second[:4])
}

package p2p

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/peerobserver/peerobserver/agent/p2pmessage"
	"github.com/peerobserver/peerobserver/proto/event"
)

// giveUpAfter is the time without an answer to a ping after which the link is
// closed: Bitcoin Core's TIMEOUT_INTERVAL. A node that is merely busy keeps its link.
const giveUpAfter = 20 * time.Minute

var (
	errEvicted     = errors.New("too many connections")
	errDuplicate   = errors.New("the node has a link already")
	errReplaced    = errors.New("replaced by a newer connection")
	errUnverified  = errors.New("the node could not be asked whose connection this is")
	errPingTimeout = errors.New("no answer to a ping")
	errGone        = errors.New("the node no longer has this connection")
)

// link is one connection, from the TCP connection on. One goroutine does all its
// work; others only close it.
type link struct {
	source *Source
	conn   net.Conn
	logger *slog.Logger
	// order counts connections, to know the oldest; handshaken is guarded by the
	// source.
	order      uint64
	handshaken bool
	// done is closed when everything is finished.
	done chan struct{}
	// cause is why somebody else closed it.
	cause atomic.Pointer[error]

	stream     *stream
	transport  transport
	identity   identity
	transcoder *p2pmessage.Transcoder
	buffer     *event.Buffer

	// Of a verified link:

	id, peerID uint64
	ping       pinger
	// asked is the hash of the block whose header we asked for, until the answer.
	asked    [32]byte
	awaiting bool
}

// close ends the link from another goroutine.
func (l *link) close(cause error) {
	l.cause.CompareAndSwap(nil, &cause)
	l.conn.Close()
}

// run does everything with the connection, until it's closed.
func (l *link) run(ctx context.Context) {
	defer close(l.done)
	defer l.conn.Close()
	defer context.AfterFunc(ctx, func() { l.conn.Close() })()

	version, peer, err := l.open(ctx)
	if err != nil {
		if ctx.Err() == nil {
			err = l.because(err)
			l.source.counters.turnedAway(err)
			l.logger.Debug("connection to the p2p port was not the node's", "remote", l.conn.RemoteAddr(), "err", err)
		}
		return
	}
	defer l.source.release(l)
	l.id = l.source.linkCount.Add(1)
	l.peerID = peer.ID
	l.emitUp(version)
	l.source.account.Up(fmt.Sprintf("linked with the node over v%d, peer %d", l.transport.version(), peer.ID))
	l.logger.Info("linked with the node", "transport", l.transport.version(), "peer", peer.ID, "user_agent", version.userAgent)

	err = l.because(l.serve(ctx))
	reason := "the agent is stopping"
	if ctx.Err() == nil {
		reason = l.source.counters.linkLost(err)
	}
	l.emitDown(reason)
	l.source.account.Down("link lost: " + reason)
	l.logger.Info("link with the node ended", "reason", reason)
	l.logger.Debug("link with the node ended", "err", err)
}

// because is err, or why the link was closed.
func (l *link) because(err error) error {
	if cause := l.cause.Load(); cause != nil {
		return *cause
	}
	return err
}

// open does the handshakes and verifies that the other end is the observed node. On
// success l is the source's link.
func (l *link) open(ctx context.Context) (nodeVersion, nodePeer, error) {
	fail := func(err error) (nodeVersion, nodePeer, error) { return nodeVersion{}, nodePeer{}, err }
	deadline := time.Now().Add(l.source.config.HandshakeTimeout)
	if err := l.conn.SetReadDeadline(deadline); err != nil {
		return fail(err)
	}
	network, err := l.source.network()
	if err != nil {
		return fail(fmt.Errorf("%w: %w", errUnverified, err))
	}
	l.stream = newStream(l.conn, handshakeBytes)
	if l.transport, err = acceptTransport(l.stream, network); err != nil {
		return fail(err)
	}
	version, err := handshake(l.transport, l.source.config.UserAgent)
	if err != nil {
		return fail(err)
	}
	l.source.finishedHandshake(l)
	// From here on nothing is read until the node is verified.
	l.identity = identityOf(l.conn, l.transport, l.source.advertised)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	peer, err := l.source.verify(ctx, l)
	if err != nil {
		return fail(err)
	}
	l.stream.allowance = -1
	l.transport.setLimit(maxPayload)
	return version, peer, nil
}

// serve is the life of a verified link.
func (l *link) serve(ctx context.Context) error {
	l.transcoder = p2pmessage.New()
	l.buffer = event.NewBuffer(4096)
	if err := l.subscribe(ctx); err != nil {
		return err
	}
	l.ping = pinger{interval: l.source.config.PingInterval, timeout: l.source.config.PingTimeout, next: time.Now()}
	for {
		if err := l.doPings(ctx, time.Now()); err != nil {
			return err
		}
		// A deadline that passes interrupts nothing: what has arrived stays in
		// the stream.
		if err := l.conn.SetReadDeadline(l.ping.due()); err != nil {
			return err
		}
		m, err := l.transport.receive()
		switch {
		case err == nil:
			if err := l.handle(m); err != nil {
				return err
			}
		case errors.Is(err, errChecksum):
			l.source.counters.checksum.Add(1)
		case !isTimeout(err):
			return err
		}
	}
}

// subscribe says how we want blocks announced, and lets the node know that we have
// its best block, so that it announces the next one by compact block or header.
func (l *link) subscribe(ctx context.Context) error {
	if err := l.transport.send("sendheaders", nil); err != nil {
		return err
	}
	// BIP152: announce by cmpctblock, version 2 (with witnesses).
	if err := l.transport.send("sendcmpct", []byte{1, 2, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		return err
	}
	hash, err := l.source.bestBlock(ctx)
	if err != nil {
		// Then the next block comes by inv, and we ask for its header.
		l.logger.Debug("asking the node for its best block failed", "err", err)
		return nil
	}
	return l.askHeader(hash)
}

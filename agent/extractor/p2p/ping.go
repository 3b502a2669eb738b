package p2p

import (
	"context"
	"encoding/binary"
	"time"
)

// listedTimeout bounds how long the node is asked about a link that is silent.
const listedTimeout = 5 * time.Second

// pinger knows when to ping and what answer is owed. At most one ping is under way:
// more of them would measure themselves where the node is slow.
type pinger struct {
	interval, timeout time.Duration
	// next is when the next ping is to be sent, once the one before is answered.
	next time.Time
	// nonce is that of the ping under way, zero for none.
	nonce uint64
	// sent is when it was written, overdue when the next timeout is reported.
	sent, overdue time.Time
}

// due is when there is something to do.
func (p *pinger) due() time.Time {
	if p.nonce != 0 {
		return p.overdue
	}
	return p.next
}

// doPings sends the ping that is due, or reports the answer that is overdue.
func (l *link) doPings(ctx context.Context, now time.Time) error {
	p := &l.ping
	if now.Before(p.due()) {
		return nil
	}
	if p.nonce != 0 {
		waited := now.Sub(p.sent)
		if waited >= giveUpAfter {
			return errPingTimeout
		}
		l.emitPingTimeout(waited)
		err := l.stillListed(ctx)
		// From now on: the question may have taken longer than the timeout.
		p.overdue = time.Now().Add(p.timeout)
		return err
	}
	nonce, err := randomNonce()
	if err != nil {
		return err
	}
	p.nonce = nonce
	p.sent = time.Now()
	p.next = p.sent.Add(p.interval)
	p.overdue = p.sent.Add(p.timeout)
	return l.transport.send("ping", binary.LittleEndian.AppendUint64(nil, nonce))
}

// handlePong ends the measurement if it's the answer that is owed.
func (l *link) handlePong(payload []byte) {
	p := &l.ping
	if p.nonce == 0 || len(payload) < 8 || binary.LittleEndian.Uint64(payload) != p.nonce {
		l.source.counters.unexpectedPong.Add(1)
		return
	}
	p.nonce = 0
	// The read that brought the pong's last byte is the last one that there was.
	l.emitPing(l.stream.readAt.Sub(p.sent))
}

// stillListed asks the node whether it still has the connection. One that ended
// without a word (a host that went away, a proxy that forgot) would otherwise be
// waited for until giveUpAfter. A node that can't say leaves the link as it is. A pong
// that comes meanwhile is read up to listedTimeout late, on top of the ping timeout that
// it has exceeded already.
func (l *link) stillListed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, listedTimeout)
	defer cancel()
	peers, err := l.source.peers.fresh(ctx)
	if err != nil {
		return nil
	}
	if _, listed := l.identity.find(peers); !listed {
		return errGone
	}
	return nil
}

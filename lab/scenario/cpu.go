package scenario

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/btcsuite/btcd/wire/v2"
)

func cpuScenarios() []Scenario {
	return []Scenario{
		{
			Name: "message-thread", Rule: "B01", Alert: "PeerObserverMessageThreadSaturated", Severity: "page",
			Does: "The node's process is stopped for two seconds again and again for three minutes, as if every message took that long.",
			Twin: "It is stopped for a fifth of a second, once, and connects ten blocks.",
			// Long stops also keep RPC from answering.
			Detect: 3 * time.Minute, Needs: NeedsProcess,
			Also: []string{"PeerObserverMessageThreadSlow", "PeerObserverSourceSilent", "PeerObserverRpcSlow"},
			provoke: func(ctx context.Context, t *Target) error {
				// Pings come every ten seconds, or in scaled time more often; most must fall
				// into the stops, which are no multiple of that so that they don't go in step.
				end := time.Now().Add(max(t.span(3*time.Minute), 15*time.Second))
				for time.Now().Before(end) {
					if err := stopped(t.PID(), func() error { return pause(ctx, 2*time.Second) }); err != nil {
						return err
					}
					if err := pause(ctx, 100*time.Millisecond); err != nil {
						return err
					}
				}
				return nil
			},
			twin: func(ctx context.Context, t *Target) error {
				err := stopped(t.PID(), func() error { return pause(ctx, 200*time.Millisecond) })
				return errors.Join(err, t.awake(ctx, 10))
			},
		},
		{
			Name: "ping-flood", Rule: "B04", Alert: "PeerObserverPingFlood", Severity: "ticket",
			Does: "A peer sends 5,000 pings every half minute, for three minutes.", Twin: "A peer sends 30 pings within a minute, as some wallets do.",
			Detect:  time.Minute,
			provoke: func(ctx context.Context, t *Target) error { return ping(ctx, t, 5000, 6) },
			twin:    func(ctx context.Context, t *Target) error { return ping(ctx, t, 30, 1) },
		},
		{
			Name: "malformed-messages", Rule: "B11", Alert: "PeerObserverMalformedStorm", Severity: "ticket",
			Does:   "Connections send messages with a wrong magic, a wrong checksum or a length of 5 MB, 40 of each kind a minute, for two minutes.",
			Twin:   "Ten connections a minute speak HTTP or TLS, as port scanners do, for two minutes.",
			Detect: 3 * time.Minute,
			provoke: func(ctx context.Context, t *Target) error {
				return each(ctx, t, 80, 2*time.Minute, func(i int) error { return malformed(ctx, t) })
			},
			twin: func(ctx context.Context, t *Target) error {
				return each(ctx, t, 20, 2*time.Minute, func(i int) error { return scan(ctx, t, i) })
			},
		},
		{
			Name: "announcement-flood", Rule: "B03", Alert: "PeerObserverAnnouncementFlood", Severity: "ticket", Together: true,
			Does: "A peer announces 20,000 transactions that nobody has.", Twin: "A peer announces 1,000.", Detect: time.Minute,
			provoke: func(ctx context.Context, t *Target) error { return invFlood(ctx, t, 20) },
			twin:    func(ctx context.Context, t *Target) error { return invFlood(ctx, t, 1) },
		},
		{
			Name: "request-flood", Rule: "B05", Alert: "PeerObserverRequestFlood", Severity: "ticket", Together: true,
			Does: "A peer asks for 50,000 transactions that nobody has.", Twin: "A peer asks for 500.", Detect: time.Minute,
			provoke: func(ctx context.Context, t *Target) error { return getDataFlood(ctx, t, 50_000) },
			twin:    func(ctx context.Context, t *Target) error { return getDataFlood(ctx, t, 500) },
		},
		{
			Name: "orphan-flood", Rule: "B06", Alert: "PeerObserverOrphanFlood", Severity: "ticket", Together: true,
			Does: "Four peers each send 1,000 transactions whose parents nobody has, and stay for three minutes.",
			Twin: "A peer sends 300 of them.", Detect: 3 * time.Minute,
			provoke: func(ctx context.Context, t *Target) error { return sendOrphans(ctx, t, 4, 1000) },
			twin:    func(ctx context.Context, t *Target) error { return sendOrphans(ctx, t, 1, 300) },
		},
		{
			Name: "low-work-headers", Rule: "B09", Alert: "PeerObserverLowWorkHeaders", Severity: "ticket", Together: true,
			Does: "A peer announces a branch from the first block, of ten headers, twelve times.", Twin: "A peer announces it three times.", Detect: time.Minute,
			provoke: func(ctx context.Context, t *Target) error { return lowWork(ctx, t, 12) },
			twin:    func(ctx context.Context, t *Target) error { return lowWork(ctx, t, 3) },
		},
		{
			Name: "silent-connections", Rule: "B12", Alert: "PeerObserverHandshakeStarvationSevere", Severity: "page", Together: true,
			Does: "Sixty connections never say anything, and are opened again when the node closes them, for three minutes.",
			Twin: "Four connections do.", Detect: 4 * time.Minute,
			Also:    []string{"PeerObserverHandshakeStarvation"},
			provoke: func(ctx context.Context, t *Target) error { return beSilent(ctx, t, 60) },
			twin:    func(ctx context.Context, t *Target) error { return beSilent(ctx, t, 4) },
		},
	}
}

// sendOrphans has peers send transactions whose parents nobody has.
func sendOrphans(ctx context.Context, t *Target, peers, count int) error {
	for range peers {
		p, err := t.connect(ctx)
		if err != nil {
			return err
		}
		// The node forgets them with the peer.
		defer p.close()
		var all bytes.Buffer
		for range count {
			if _, err := wire.WriteMessageWithEncodingN(&all, orphan(true), protocolVersion, network, wire.LatestEncoding); err != nil {
				return err
			}
		}
		if err := p.sendRaw(all.Bytes()); err != nil {
			return err
		}
		if err := p.handled(ctx); err != nil {
			return err
		}
	}
	return t.wait(ctx, 3*time.Minute)
}

// lowWork has a peer announce a branch that is too short to ever win. The node ignores
// what has less work than its own chain had 144 blocks ago.
func lowWork(ctx context.Context, t *Target, times int) error {
	const length, behind = 10, 144
	var height int
	if err := t.RPC.Call(ctx, "getblockcount", nil, &height); err != nil {
		return err
	}
	if missing := 2*length + behind - height; missing > 0 {
		if err := t.awake(ctx, missing); err != nil {
			return err
		}
		height += missing
	}
	first, err := t.best(ctx, height)
	if err != nil {
		return err
	}
	branch, err := mine(first, length, 0)
	if err != nil {
		return err
	}
	p, err := t.connect(ctx)
	if err != nil {
		return err
	}
	defer p.close()
	for range times {
		if err := p.offer(branch...); err != nil {
			return err
		}
	}
	return p.handled(ctx)
}

// beSilent holds connections that never say anything, for three minutes or as long as it
// takes the agent to call them half open.
func beSilent(ctx context.Context, t *Target, count int) error {
	const halfOpen = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, max(t.span(3*time.Minute), halfOpen+summaryTime+t.span(2*time.Minute)))
	defer cancel()
	failed := make(chan error, count)
	for range count {
		go func() { failed <- t.silent(ctx) }()
	}
	var errs []error
	for range count {
		errs = append(errs, <-failed)
	}
	return errors.Join(errs...)
}

// silent holds one such connection until ctx ends.
func (t *Target) silent(ctx context.Context) error {
	for ctx.Err() == nil {
		// On loopback it doesn't take long, and so what fails isn't the end of ctx.
		conn, err := t.dial(context.WithoutCancel(ctx))
		if err != nil {
			return err
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		// Until the node closes it, or ctx ends.
		_, _ = conn.Read(make([]byte, 1))
		stop()
		_ = conn.Close()
	}
	return nil
}

// ping has a peer send pings and waits until the node has handled them.
func ping(ctx context.Context, t *Target, count, times int) error {
	p, err := t.connect(ctx)
	if err != nil {
		return err
	}
	defer p.close()
	before, err := t.pingsReceived(ctx)
	if err != nil {
		return err
	}
	for i := range times {
		if err := p.sendRaw(pings(count)); err != nil {
			return err
		}
		err := t.until(ctx, "the node doesn't handle the pings", func() (bool, error) {
			now, err := t.pingsReceived(ctx)
			return now >= before+int64(i+1)*int64(count)*pingSize, err
		})
		// The largest count of a peer is that of the connected ones.
		if err = errors.Join(err, t.wait(ctx, 30*time.Second)); err != nil {
			return err
		}
	}
	return t.wait(ctx, 30*time.Second)
}

// each does something count times, evenly spread over a span of a rule's time.
func each(ctx context.Context, t *Target, count int, span time.Duration, do func(i int) error) error {
	tick := time.NewTicker(max(t.span(span)/time.Duration(count), time.Millisecond))
	defer tick.Stop()
	for i := range count {
		if err := do(i); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// malformed sends three messages that the node can't read, each on a connection of its
// own.
func malformed(ctx context.Context, t *Target) error {
	const otherMagic, tooLong = 0xd9b4bef9, 5_000_000
	payload := make([]byte, 8)
	for _, message := range [][]byte{
		frame(otherMagic, "ping", 8, checksumOf(payload), payload),
		frame(uint32(network), "ping", 8, [4]byte{1, 2, 3, 4}, payload),
		frame(uint32(network), "ping", tooLong, checksumOf(payload), payload),
	} {
		if err := send(ctx, t, message); err != nil {
			return err
		}
	}
	return nil
}

// scan is what a port scanner sends.
func scan(ctx context.Context, t *Target, i int) error {
	probes := []string{"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03............................\x00\x00\x02"}
	return send(ctx, t, []byte(probes[i%len(probes)]))
}

// send opens a connection, writes, and closes it once the node had time to read.
func send(ctx context.Context, t *Target, data []byte) error {
	conn, err := t.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write(data); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		return err
	}
	// The node closes it, or has nothing to say.
	_, _ = conn.Read(make([]byte, 1))
	return nil
}

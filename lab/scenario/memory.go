package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"
	"golang.org/x/sys/unix"
)

func memoryScenarios() []Scenario {
	return []Scenario{
		{
			Name: "peer-does-not-read", Rule: "C01", Alert: "PeerObserverPeerDoesNotRead", Severity: "ticket",
			Does: "A peer asks for the same block 60,000 times and reads nothing for ten minutes.", Twin: "A peer asks for blocks and reads them.",
			Detect: 6 * time.Minute, Also: []string{"PeerObserverBlockRedownload", "PeerObserverRequestFlood"},
			provoke: func(ctx context.Context, t *Target) error { return hoard(ctx, t) },
			twin:    func(ctx context.Context, t *Target) error { return redownload(ctx, t, 10, 10) },
		},
		{
			Name: "unfinished-messages", Rule: "C02", Alert: "PeerObserverUnfinishedMessagesMany", Severity: "page",
			Does: "Thirty peers each send 3.8 MB of a message of 3.9 MB, and stay for four minutes.", Twin: "A peer takes half a minute to send a message of 1 MB.",
			Detect: 4 * time.Minute, Also: []string{"PeerObserverUnfinishedMessages"},
			provoke: func(ctx context.Context, t *Target) error {
				return unfinished(ctx, t, 30, 3_900_000, 3_800_000, 4*time.Minute)
			},
			twin: func(ctx context.Context, t *Target) error {
				return unfinished(ctx, t, 1, 1_000_000, 900_000, 30*time.Second)
			},
		},
		{
			Name: "descriptors", Rule: "C05", Alert: "PeerObserverDescriptorsExhausted", Severity: "page",
			Does: "The limit of the node's file descriptors is lowered to what it has open, and a peer connects.",
			Twin: "Its limit is lowered to a hundred more than that.", Detect: time.Minute, Needs: NeedsProcess,
			provoke: func(ctx context.Context, t *Target) error { return limitDescriptors(ctx, t, 0) },
			twin:    func(ctx context.Context, t *Target) error { return limitDescriptors(ctx, t, 100) },
		},
		{
			Name: "misbehaviour", Rule: "C06", Alert: "PeerObserverMisbehaviourSurge", Severity: "ticket", Together: true,
			Does: "Twelve connections each send 1,001 addresses in one message, more than the protocol allows.",
			Twin: "Five do, as a buggy release would make them.", Detect: time.Minute,
			provoke: func(ctx context.Context, t *Target) error { return misbehave(ctx, t, 12) },
			twin:    func(ctx context.Context, t *Target) error { return misbehave(ctx, t, 5) },
		},
	}
}

// misbehave has peers send too many addresses; the node closes their connections.
func misbehave(ctx context.Context, t *Target, peers int) error {
	const addresses, entrySize = 1001, 30
	payload := append(appendCount(nil, addresses), make([]byte, addresses*entrySize)...)
	for range peers {
		p, err := t.connect(ctx)
		if err != nil {
			return err
		}
		err = p.sendRaw(message("addr", payload))
		if err == nil {
			err = p.ended(ctx)
		}
		p.close()
		if err != nil {
			return err
		}
	}
	return nil
}

// hoard has a peer ask for much more than the sockets hold and read nothing.
func hoard(ctx context.Context, t *Target) error {
	const requests, perMessage = 60_000, 20_000
	hash, err := t.blockHash(ctx, 1)
	if err != nil {
		return err
	}
	p, err := t.connectAs(ctx, persona{deaf: true})
	if err != nil {
		return err
	}
	defer p.close()
	for range requests / perMessage {
		request := inventory("getdata", wire.InvTypeWitnessBlock, perMessage, func(int) chainhash.Hash { return hash })
		if err := p.sendRaw(request); err != nil {
			return err
		}
	}
	return t.wait(ctx, 10*time.Minute)
}

// unfinished has peers send the beginning of a large message, and finish or leave it after
// a while.
func unfinished(ctx context.Context, t *Target, peers, announced, sent int, span time.Duration) error {
	// As if it was a block: nothing of it is looked at before it is whole.
	start := frame(uint32(network), "block", uint32(announced), [4]byte{}, make([]byte, sent))
	for range peers {
		p, err := t.connect(ctx)
		if err != nil {
			return err
		}
		defer p.close()
		if err := p.sendRaw(start); err != nil {
			return err
		}
	}
	err := t.until(ctx, "the node doesn't read the messages", func() (bool, error) {
		listed, err := t.peers(ctx)
		arrived := int64(0)
		for _, p := range listed {
			if p.UserAgent == userAgent {
				arrived += p.Received
			}
		}
		return arrived >= int64(peers)*int64(sent), err
	})
	if err != nil {
		return err
	}
	return t.wait(ctx, span)
}

// limitDescriptors lowers the limit of the node's file descriptors to spare more than it
// has open, and opens a connection.
func limitDescriptors(ctx context.Context, t *Target, spare int) error {
	// The node has descriptors of earlier connections until it sees that they ended.
	err := t.until(ctx, "the node keeps connections that ended", func() (bool, error) {
		listed, err := t.peers(ctx)
		return !slices.ContainsFunc(listed, func(p listedPeer) bool { return p.UserAgent == userAgent || p.UserAgent == "" }), err
	})
	if err != nil {
		return err
	}
	pid := t.PID()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return err
	}
	var before unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &before); err != nil {
		return fmt.Errorf("reading the node's limits: %w", err)
	}
	lower := unix.Rlimit{Cur: uint64(len(open) + spare), Max: before.Max}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &lower, nil); err != nil {
		return fmt.Errorf("lowering the node's limit of descriptors: %w", err)
	}
	err = connectSome(ctx, t, 20)
	return errors.Join(err, unix.Prlimit(pid, unix.RLIMIT_NOFILE, &before, nil))
}

// connectSome opens connections and closes them a second later.
func connectSome(ctx context.Context, t *Target, count int) error {
	for range count {
		conn, err := t.dial(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
	}
	return pause(ctx, time.Second)
}

package scenario

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

func observerScenarios() []Scenario {
	return []Scenario{
		{
			Name: "node-restarts", Rule: "I01", Alert: "PeerObserverNodeRestarting", Severity: "page",
			Does: "The node is killed and started again, twice.", Twin: "The node is killed and started again, once.",
			Detect: time.Minute, Needs: NeedsProcess | NeedsRestart,
			Also:    []string{"PeerObserverLinkLost", "PeerObserverNodeDown", "PeerObserverSourceSilent"},
			provoke: func(ctx context.Context, t *Target) error { return restart(ctx, t, 2) },
			twin:    func(ctx context.Context, t *Target) error { return restart(ctx, t, 1) },
		},
		{
			Name: "node-down", Rule: "I01", Alert: "PeerObserverNodeDown", Severity: "page",
			Does: "The node is killed, and stays down for four minutes.", Twin: "Its process is stopped for ten seconds, but lives.",
			Detect: 3 * time.Minute, Needs: NeedsProcess | NeedsRestart,
			Also: []string{"PeerObserverLinkLost", "PeerObserverNodeRestarting", "PeerObserverSourceSilent"},
			provoke: func(ctx context.Context, t *Target) error {
				if err := t.kill(); err != nil {
					return err
				}
				return errors.Join(t.wait(ctx, 4*time.Minute), t.Restart(ctx))
			},
			twin: func(ctx context.Context, t *Target) error {
				return stopped(t.PID(), func() error { return t.wait(ctx, 10*time.Second) })
			},
		},
		{
			Name: "back-in-download", Rule: "I02", Alert: "PeerObserverBackInDownload", Severity: "page",
			Does:   "All blocks but the first are declared invalid (RPC invalidateblock) and the node is killed and started: its chain is old, and it downloads again.",
			Twin:   "The node gets twelve blocks by pairs, each ten seconds late.",
			Detect: 4 * time.Minute, Needs: NeedsProcess | NeedsRestart,
			// What invalidating blocks looks like, and taking it back.
			Also: []string{
				"PeerObserverInvalidBlock", "PeerObserverReorganization", "PeerObserverReorganizationOfTwo", "PeerObserverReorganizationDeep",
				"PeerObserverCompetingBranch", "PeerObserverNodeWarning", "PeerObserverLinkLost", "PeerObserverNodeRestarting",
				"PeerObserverNodeDown", "PeerObserverSourceSilent", "PeerObserverBlockVerySlow", "PeerObserverBlockSlow",
			},
			provoke: forgetChain,
			twin:    getLate,
		},
		{
			Name: "agent-stopped", Rule: "I04", Alert: "PeerObserverAgentDown", Severity: "page",
			Does: "The agent's process is stopped for four minutes.", Twin: "It is stopped for ten seconds.",
			Detect: 3 * time.Minute, Needs: NeedsAgent,
			Also: []string{"PeerObserverLinkLost", "PeerObserverEventsLost", "PeerObserverEventsLostMany"},
			provoke: func(ctx context.Context, t *Target) error {
				return stopped(t.AgentPID, func() error { return t.wait(ctx, 4*time.Minute) })
			},
			twin: func(ctx context.Context, t *Target) error {
				return stopped(t.AgentPID, func() error { return t.wait(ctx, 10*time.Second) })
			},
		},
		{
			Name: "events-lost", Rule: "I04", Alert: "PeerObserverEventsLostMany", Severity: "page",
			Does:   "The agent's process is stopped while a peer sends 80 MB in 20,000 pings, more than its ring buffer holds.",
			Twin:   "It is stopped while a peer sends 50 pings, which wait in the ring buffer.",
			Detect: 2 * time.Minute, Needs: NeedsAgent,
			Also:    []string{"PeerObserverEventsLost", "PeerObserverAgentDown", "PeerObserverPingFlood", "PeerObserverLinkLost", "PeerObserverMessageThreadSaturated"},
			provoke: func(ctx context.Context, t *Target) error { return floodStopped(ctx, t, 20_000) },
			twin:    func(ctx context.Context, t *Target) error { return floodStopped(ctx, t, 50) },
		},
		{
			Name: "login-refused", Rule: "I04", Alert: "PeerObserverSourceDown", Severity: "page",
			Does:   "The node's cookie file gets another content for four minutes, so that the node refuses the agent's calls.",
			Twin:   "It gets another content for ten seconds.",
			Detect: 4 * time.Minute, Needs: NeedsCookie,
			// Refused calls are events that don't come.
			Also: []string{"PeerObserverSourceSilent", "PeerObserverEventsLost", "PeerObserverEventsLostMany"},
			provoke: func(ctx context.Context, t *Target) error {
				return t.withCookie("__cookie__:another", func() error { return t.wait(ctx, 4*time.Minute) })
			},
			twin: func(ctx context.Context, t *Target) error {
				return t.withCookie("__cookie__:another", func() error { return t.wait(ctx, 10*time.Second) })
			},
		},
		{
			Name: "rpc-hangs", Rule: "I04", Alert: "PeerObserverSourceSilent", Severity: "page",
			Does:   "Calls that wait keep every RPC thread of the node busy for five minutes.",
			Twin:   "They do for ten seconds.",
			Detect: 5 * time.Minute,
			Also:   []string{"PeerObserverSourceDown", "PeerObserverEventsLost", "PeerObserverEventsLostMany", "PeerObserverRpcSlow"},
			provoke: func(ctx context.Context, t *Target) error {
				return occupyRPC(ctx, t, t.span(5*time.Minute))
			},
			twin: func(ctx context.Context, t *Target) error { return occupyRPC(ctx, t, t.span(10*time.Second)) },
		},
		{
			Name: "unknown-messages", Rule: "I05", Alert: "PeerObserverLabelOverflow", Severity: "ticket", Together: true,
			Does: "A peer sends 2,000 messages of types that don't exist, each of another one.", Twin: "A peer sends 50 of them.", Detect: time.Minute,
			provoke: func(ctx context.Context, t *Target) error { return sendUnknown(ctx, t, 2000) },
			twin:    func(ctx context.Context, t *Target) error { return sendUnknown(ctx, t, 50) },
		},
		{
			Name: "rpc-slow", Rule: "I06", Alert: "PeerObserverRpcSlow", Severity: "ticket",
			Does: "Calls that wait keep every RPC thread of the node busy for six seconds, three times.", Twin: "They do for a second, three times.",
			Detect:  10 * time.Minute,
			Also:    []string{"PeerObserverSourceSilent", "PeerObserverSourceDown", "PeerObserverEventsLost", "PeerObserverEventsLostMany"},
			provoke: func(ctx context.Context, t *Target) error { return occupyRPCOften(ctx, t, 3, 6*time.Second) },
			twin:    func(ctx context.Context, t *Target) error { return occupyRPCOften(ctx, t, 3, time.Second) },
		},
		{
			Name: "link-lost", Rule: "I08", Alert: "PeerObserverLinkLost", Severity: "ticket",
			Does: "The node disconnects the observer's link four times.", Twin: "It does so once.",
			Detect:  2 * time.Minute,
			provoke: func(ctx context.Context, t *Target) error { return cutLink(ctx, t, 4) },
			twin:    func(ctx context.Context, t *Target) error { return cutLink(ctx, t, 1) },
		},
		{
			Name: "network-off", Rule: "I09", Alert: "PeerObserverNetworkSwitchedOff", Severity: "page",
			Does: "The node's P2P network is switched off for five minutes (RPC setnetworkactive).",
			Twin: "It is switched off and on again within ten seconds.",
			// The agent asks for it every two minutes.
			Detect: 4 * time.Minute,
			Also:   []string{"PeerObserverLinkLost", "PeerObserverSourceSilent"},
			provoke: func(ctx context.Context, t *Target) error {
				return networkOff(ctx, t, 5*time.Minute)
			},
			twin: func(ctx context.Context, t *Target) error { return networkOff(ctx, t, 10*time.Second) },
		},
		{
			Name: "ban", Rule: "I09", Alert: "PeerObserverPolicyChanged", Severity: "ticket",
			Does: "A range of addresses is banned (RPC setban) that is reserved for documentation.",
			Twin: "A peer is disconnected by the operator, who bans nobody.",
			// The agent asks for it every two minutes at most.
			Detect:  3 * time.Minute,
			provoke: ban, twin: disconnectPeer,
		},
	}
}

// restart kills the node and has it started again, times times.
func restart(ctx context.Context, t *Target, times int) error {
	for range times {
		if err := t.kill(); err != nil {
			return err
		}
		if err := t.Restart(ctx); err != nil {
			return err
		}
		// Long enough for the agent to find it, and for a scrape.
		if err := errors.Join(t.awake(ctx, 1), t.wait(ctx, time.Minute)); err != nil {
			return err
		}
	}
	return nil
}

// floodStopped has a peer send pings while the agent is stopped.
func floodStopped(ctx context.Context, t *Target, count int) error {
	// A node reads the nonce and nothing else of a ping.
	const payload, atOnce = 4000, 50
	p, err := t.connect(ctx)
	if err != nil {
		return err
	}
	defer p.close()
	before, err := t.pingsReceived(ctx)
	if err != nil {
		return err
	}
	long := message("ping", make([]byte, payload))
	some := bytes.Repeat(long, atOnce)
	return stopped(t.AgentPID, func() error {
		for range count / atOnce {
			if err := p.sendRaw(some); err != nil {
				return err
			}
		}
		// The tracepoint is hit when the node handles the message.
		return t.until(ctx, "the node doesn't handle the pings", func() (bool, error) {
			now, err := t.pingsReceived(ctx)
			return now >= before+int64(count)*int64(len(long)), err
		})
	})
}

// pingSize is that of a ping message with its header, on the v1 transport.
const pingSize = 32

// pingsReceived is how many bytes of pings scripted peers have sent.
func (t *Target) pingsReceived(ctx context.Context) (int64, error) {
	peers, err := t.peers(ctx)
	var sum int64
	for _, p := range peers {
		if p.UserAgent == userAgent {
			sum += p.BytesReceived["ping"]
		}
	}
	return sum, err
}

// listedPeer is an entry of getpeerinfo, as far as scenarios need it.
type listedPeer struct {
	ID             int64            `json:"id"`
	UserAgent      string           `json:"subver"`
	ConnectionType string           `json:"connection_type"`
	Received       int64            `json:"bytesrecv"`
	BytesReceived  map[string]int64 `json:"bytesrecv_per_msg"`
}

func (t *Target) peers(ctx context.Context) ([]listedPeer, error) {
	var peers []listedPeer
	err := t.RPC.Call(ctx, "getpeerinfo", nil, &peers)
	return peers, err
}

// maxRPCThreads bounds the calls with which occupyRPC tries; the default is 16 threads.
const maxRPCThreads = 256

// occupyRPC keeps every RPC thread of the node busy with a call that waits, one more at a
// time until another call gets no answer. No more of them, because those that wait for a
// thread would keep it busy afterwards.
func occupyRPC(ctx context.Context, t *Target, span time.Duration) error {
	end := time.Now().Add(span)
	var calls sync.WaitGroup
	defer calls.Wait()
	for range maxRPCThreads {
		left := time.Until(end)
		if left <= 0 {
			return nil
		}
		calls.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, left+30*time.Second)
			defer cancel()
			_ = t.RPC.Call(ctx, "waitforblockheight", []any{1 << 30, max(left.Milliseconds(), 1)}, nil)
		})
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
		probe, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		err := t.RPC.Call(probe, "uptime", nil, nil)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			return pause(ctx, time.Until(end))
		}
	}
	return errors.New("the node still answers")
}

// occupyRPCOften does so several times; the spans aren't scaled.
func occupyRPCOften(ctx context.Context, t *Target, times int, span time.Duration) error {
	for range times {
		// In between the agent's calls are answered.
		if err := errors.Join(occupyRPC(ctx, t, span), pause(ctx, 300*time.Millisecond)); err != nil {
			return err
		}
	}
	return nil
}

// getLate has the node get blocks a while after it heard of them.
func getLate(ctx context.Context, t *Target) error {
	const times, pair = 6, 2
	for range times {
		if err := withhold(ctx, t, pair, 10*time.Second); err != nil {
			return err
		}
	}
	return nil
}

// forgetChain has the node start with a chain of one block, which is old, and lets it have
// the others again when the rules had time to see it.
func forgetChain(ctx context.Context, t *Target) (err error) {
	if err := t.awake(ctx, 1); err != nil {
		return err
	}
	first, err := t.blockHash(ctx, 1)
	if err != nil {
		return err
	}
	if err := t.RPC.Call(ctx, "invalidateblock", []any{first.String()}, nil); err != nil {
		return fmt.Errorf("invalidating block 1: %w", err)
	}
	defer func() {
		// Also when the operator interrupts.
		on, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, t.RPC.Call(on, "reconsiderblock", []any{first.String()}, nil))
	}()
	// It writes the state to disk, before the node is killed.
	if err := t.RPC.Call(ctx, "gettxoutsetinfo", []any{"none"}, nil); err != nil {
		return fmt.Errorf("flushing the chain state: %w", err)
	}
	if err := t.kill(); err != nil {
		return err
	}
	if err := t.Restart(ctx); err != nil {
		return err
	}
	return t.wait(ctx, 5*time.Minute)
}

// cutLink has the node disconnect the observer's link, each time once it is up again.
func cutLink(ctx context.Context, t *Target, times int) error {
	last := int64(-1)
	for range times {
		err := t.until(ctx, "the node has no link to an observer", func() (bool, error) {
			peers, err := t.peers(ctx)
			for _, p := range peers {
				// The node lists a connection for a moment after it has closed it.
				if p.ID > last && strings.HasPrefix(p.UserAgent, "/peer-observer") && p.UserAgent != userAgent {
					last = p.ID
					return true, t.RPC.Call(ctx, "disconnectnode", []any{"", p.ID}, nil)
				}
			}
			return false, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func networkOff(ctx context.Context, t *Target, span time.Duration) error {
	if err := t.RPC.Call(ctx, "setnetworkactive", []any{false}, nil); err != nil {
		return err
	}
	err := t.wait(ctx, span)
	// Also when the operator interrupts.
	on, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	return errors.Join(err, t.RPC.Call(on, "setnetworkactive", []any{true}, nil))
}

// ban bans a range that nobody has (RFC 5737) for as long as the rule looks back.
func ban(ctx context.Context, t *Target) error {
	const nobody = "203.0.113.0/24"
	if err := t.RPC.Call(ctx, "setban", []any{nobody, "add", 3600}, nil); err != nil {
		return fmt.Errorf("banning %s: %w", nobody, err)
	}
	err := t.wait(ctx, 5*time.Minute)
	off, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	return errors.Join(err, t.RPC.Call(off, "setban", []any{nobody, "remove"}, nil))
}

func disconnectPeer(ctx context.Context, t *Target) error {
	p, err := t.connect(ctx)
	if err != nil {
		return err
	}
	defer p.close()
	err = t.until(ctx, "the node doesn't list the peer", func() (bool, error) {
		peers, err := t.peers(ctx)
		for _, listed := range peers {
			if listed.UserAgent == userAgent {
				return true, t.RPC.Call(ctx, "disconnectnode", []any{"", listed.ID}, nil)
			}
		}
		return false, err
	})
	if err != nil {
		return err
	}
	return p.ended(ctx)
}

// sendUnknown has a peer send messages of types that don't exist.
func sendUnknown(ctx context.Context, t *Target, count int) error {
	p, err := t.connect(ctx)
	if err != nil {
		return err
	}
	defer p.close()
	for range count {
		if err := p.sendRaw(message(fmt.Sprintf("x%011x", randomNonce()&(1<<44-1)), nil)); err != nil {
			return err
		}
	}
	return p.handled(ctx)
}

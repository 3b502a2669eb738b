package scenario

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

func eclipseScenarios() []Scenario {
	scenarios := []Scenario{
		{
			Name: "outbound-starvation", Rule: "A09", Alert: "PeerObserverOutboundLost", Severity: "page",
			Does:   "All addresses that the node could connect to refuse it for ten minutes, and its connections end.",
			Twin:   "Half of them do, and the node finds the others.",
			Detect: 4 * time.Minute, Also: []string{"PeerObserverOutboundFew"},
			provoke: func(ctx context.Context, t *Target) error {
				o, err := t.populated(ctx)
				if err != nil {
					return err
				}
				o.refuse()
				return errors.Join(t.wait(ctx, 10*time.Minute), o.listen(), t.waitOutbound(ctx, fullOutbound))
			},
			twin: func(ctx context.Context, t *Target) error {
				return unreachable(ctx, t, 4*time.Minute, func(a netip.Addr) bool { return a.As4()[1]%2 == 0 })
			},
		},
		{
			Name: "outbound-takeover", Rule: "A08", Alert: "PeerObserverOutboundTakeover", Severity: "page",
			Does:   "The node hears of 300 new addresses; then all others refuse it and close their connections, so that it connects to new ones only.",
			Twin:   "All its connections end at once, as when the operator's line drops, and the addresses stay reachable.",
			Detect: 8 * time.Minute, Also: []string{"PeerObserverOutboundFew"},
			provoke: takeOver, twin: flap,
		},
		{
			Name: "address-flood", Rule: "A04", Alert: "PeerObserverAddressFloodInvented", Severity: "page",
			Does:   "Five peers each send 500 messages with ten invented addresses that are dated nine minutes ahead, and leave.",
			Twin:   "Thirty new peers each send five addresses, and a peer that the node asked sends 200.",
			Detect: time.Minute, Also: []string{"PeerObserverAddressFlood"},
			provoke: inventAddresses, twin: announceAddresses,
		},
		{
			Name: "inbound-concentration", Rule: "A02", Alert: "PeerObserverInboundCaptured", Severity: "page",
			Does:   "Sixty peers from one /24 connect and stay for 25 minutes.",
			Twin:   "A hundred peers from a hundred networks do.",
			Detect: 18 * time.Minute,
			// They leave in the end.
			Also: []string{"PeerObserverInboundConcentrated", "PeerObserverInboundDrop", "PeerObserverInboundCliff"},
			provoke: func(ctx context.Context, t *Target) error {
				return stay(ctx, t, 60, 25*time.Minute, func(i int) persona { return persona{from: source(900, 0x0700+i)} })
			},
			twin: func(ctx context.Context, t *Target) error { return t.accompany(ctx, fullCompany, 18*time.Minute) },
		},
		{
			Name: "reconnect-cycle", Rule: "A03", Alert: "PeerObserverReconnectCycle", Severity: "ticket",
			Does:   "Peers from three /24 connect, finish the handshake and leave at once, 18 a minute, for twenty minutes.",
			Twin:   "A crawler connects as often, from ever other networks.",
			Detect: 11 * time.Minute,
			provoke: func(ctx context.Context, t *Target) error {
				return comeAndGo(ctx, t, 360, 20*time.Minute, func(i int) persona { return persona{from: source(910+i%3, i/3)} })
			},
			twin: func(ctx context.Context, t *Target) error { return comeAndGo(ctx, t, 180, 10*time.Minute, spread(400)) },
		},
		{
			Name: "inbound-exhaustion", Rule: "A01", Alert: "PeerObserverInboundExhausted", Severity: "page",
			Does:    "Peers from everywhere fill all inbound slots, then others keep coming, 45 a minute for 40 minutes, so that the node must evict one for each.",
			Twin:    "All slots are full, and ten a minute come for 18 minutes.",
			Detect:  22 * time.Minute,
			Also:    []string{"PeerObserverInboundChurn", "PeerObserverReconnectCycle"},
			provoke: func(ctx context.Context, t *Target) error { return exhaust(ctx, t, 45*40, 40*time.Minute) },
			twin:    func(ctx context.Context, t *Target) error { return exhaust(ctx, t, 180, 18*time.Minute) },
		},
		{
			Name: "inbound-cliff", Rule: "A14", Alert: "PeerObserverInboundCliff", Severity: "page",
			Does:   "Of a hundred inbound peers that have been there for 17 minutes, eighty leave at once.",
			Twin:   "Ten leave.",
			Detect: 21 * time.Minute, Also: []string{"PeerObserverInboundDrop"},
			provoke: func(ctx context.Context, t *Target) error { return leave(ctx, t, 80) },
			twin:    func(ctx context.Context, t *Target) error { return leave(ctx, t, 10) },
		},
		{
			Name: "address-surge", Rule: "A05", Alert: "PeerObserverAddressSurge", Severity: "ticket",
			Does:   "A hundred peers come and each send 120 addresses that nobody has heard of, and that could be real ones.",
			Twin:   "As many send the same ten addresses.",
			Detect: 2 * time.Minute,
			// Each sends more than the node takes.
			Also:    []string{"PeerObserverAddressFlood"},
			provoke: surge, twin: repeat,
		},
		{
			Name: "address-manager-filled", Rule: "A06", Alert: "PeerObserverAddressManagerFilled", Severity: "ticket",
			Does:   "The node connects to five peers of one /16, and each answers its question with a thousand new addresses.",
			Twin:   "It connects to twenty peers of as many networks, which answer with 250 new addresses each.",
			Detect: 65 * time.Minute,
			provoke: func(ctx context.Context, t *Target) error {
				return fillManager(ctx, t, 5, 1000, func(i int) netip.Addr { return remote(1900, 0x0505+i) })
			},
			twin: func(ctx context.Context, t *Target) error {
				return fillManager(ctx, t, 20, 250, func(i int) netip.Addr { return remote(1900+i, 0x0404) })
			},
		},
		{
			Name: "tip-behind", Rule: "A13", Alert: "PeerObserverTipBehind", Severity: "page",
			Does:   "A peer announces two blocks by their headers and keeps them for eight minutes.",
			Twin:   "It delivers them after ten seconds.",
			Detect: 4 * time.Minute, Also: []string{"PeerObserverBlockStalled", "PeerObserverBlockWithheld"},
			provoke: func(ctx context.Context, t *Target) error { return withhold(ctx, t, 2, 8*time.Minute) },
			twin:    func(ctx context.Context, t *Target) error { return withhold(ctx, t, 2, 10*time.Second) },
		},
		{
			Name: "no-block", Rule: "A13", Alert: "PeerObserverTipStale", Severity: "page",
			Does:   "No block comes for 125 minutes.",
			Twin:   "None comes for half an hour, then four within three minutes.",
			Detect: 121 * time.Minute, Also: []string{"PeerObserverTipOld"},
			provoke: func(ctx context.Context, t *Target) error {
				if err := t.awake(ctx, 1); err != nil {
					return err
				}
				return t.wait(ctx, 125*time.Minute)
			},
			twin: func(ctx context.Context, t *Target) error {
				if err := t.wait(ctx, 30*time.Minute); err != nil {
					return err
				}
				return each(ctx, t, 4, 3*time.Minute, func(int) error { return t.awake(ctx, 1) })
			},
		},
	}
	for i := range scenarios {
		scenarios[i].Needs |= NeedsNamespace
	}
	scenarios = append(scenarios, Scenario{
		Name: "network-lost", Rule: "A12", Alert: "PeerObserverNetworkLost", Severity: "ticket",
		Does:   "Eight peers that have come through Tor for twenty minutes leave, and stay away for half an hour.",
		Twin:   "They come back after five minutes.",
		Detect: 37 * time.Minute, Needs: NeedsOnion,
		provoke: func(ctx context.Context, t *Target) error { return loseOnions(ctx, t, 30*time.Minute) },
		twin: func(ctx context.Context, t *Target) error {
			if err := loseOnions(ctx, t, 5*time.Minute); err != nil {
				return err
			}
			return t.keepOnions(ctx, 0)
		},
	})
	for i := range scenarios {
		scenarios[i].holds = scenarios[i].Name != "tip-behind" // which delivers the blocks in the end
	}
	return scenarios
}

// unreachable makes all addresses refuse the node but those for which answers is true.
func unreachable(ctx context.Context, t *Target, span time.Duration, answers func(netip.Addr) bool) error {
	o, err := t.populated(ctx)
	if err != nil {
		return err
	}
	o.only(answers)
	err = t.wait(ctx, span)
	o.only(nil)
	return errors.Join(err, t.waitOutbound(ctx, fullOutbound))
}

// populated gives the network beyond the node, with the node connected to it.
func (t *Target) populated(ctx context.Context) (*outside, error) {
	o, err := t.outsider()
	if err != nil {
		return nil, err
	}
	if o.told == 0 {
		err = t.Populate(ctx)
	}
	return o, err
}

// The addresses of an adversary are in groups from this one on.
const adversaryGroups = 2048

func takeOver(ctx context.Context, t *Target) error {
	o, err := t.populated(ctx)
	if err != nil {
		return err
	}
	addresses := make([]netip.Addr, 0, 300)
	for i := range cap(addresses) {
		addresses = append(addresses, remote(adversaryGroups+i, 0x0404))
	}
	if err := o.tell(ctx, t, addresses, false); err != nil {
		return err
	}
	first := addresses[0].As4()[0]
	o.only(func(a netip.Addr) bool { return a.As4()[0] >= first })
	err = errors.Join(t.waitOutbound(ctx, fullOutbound), t.wait(ctx, 10*time.Minute))
	o.only(func(a netip.Addr) bool { return a.As4()[0] < first })
	return errors.Join(err, t.waitOutbound(ctx, fullOutbound))
}

func flap(ctx context.Context, t *Target) error {
	o, err := t.populated(ctx)
	if err != nil {
		return err
	}
	o.cut()
	return errors.Join(t.waitOutbound(ctx, fullOutbound), t.wait(ctx, 7*time.Minute))
}

// stay has peers connect and stay.
func stay(ctx context.Context, t *Target, count int, span time.Duration, who func(i int) persona) error {
	peers, err := t.gather(ctx, count, who)
	if err != nil {
		return err
	}
	defer peers.close()
	return t.wait(ctx, span)
}

// comeAndGo has peers connect and leave, one after the other.
func comeAndGo(ctx context.Context, t *Target, count int, span time.Duration, who func(i int) persona) error {
	return each(ctx, t, count, span, func(i int) error {
		p, err := t.enter(ctx, who(i))
		if err != nil {
			return err
		}
		p.close()
		return nil
	})
}

// fullCompany is nearly as many inbound peers as a node with the default of 125 connections
// has slots (114): a peer that the node evicts at once can't finish its handshake.
const fullCompany = 100

// exhaust fills the node's inbound slots with peers that stay, and then has others come.
func exhaust(ctx context.Context, t *Target, further int, span time.Duration) error {
	if err := t.accompany(ctx, fullCompany, 0); err != nil {
		return err
	}
	var late crowd
	defer func() { late.close() }()
	refused := 0
	var mu sync.Mutex
	var group sync.WaitGroup
	err := each(ctx, t, further, span, func(i int) error {
		group.Go(func() {
			p, err := t.connectAs(ctx, spread(400)(i))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				refused++
				return
			}
			if late = append(late, p); len(late) > 200 {
				late[0].close()
				late = late[1:]
			}
		})
		return nil
	})
	group.Wait()
	if err == nil && refused > further/2 {
		err = fmt.Errorf("the node took only %d of %d connections", further-refused, further)
	}
	return err
}

// leave has some of the peers leave that have stayed for a time.
func leave(ctx context.Context, t *Target, count int) error {
	if err := t.accompany(ctx, fullCompany, 17*time.Minute); err != nil {
		return err
	}
	t.beyond.company.part(count)
	return t.wait(ctx, 6*time.Minute)
}

// loseOnions has the peers that come through Tor stay for a time, and then stay away.
func loseOnions(ctx context.Context, t *Target, span time.Duration) error {
	if err := t.keepOnions(ctx, 20*time.Minute); err != nil {
		return err
	}
	t.beyond.onions.part(all)
	return t.wait(ctx, span)
}

// keepOnions has the node keep eight peers that come through Tor at least for a span.
func (t *Target) keepOnions(ctx context.Context, span time.Duration) error {
	return t.beyond.onions.keep(ctx, t, 8, span, func(int) persona { return persona{onion: true} })
}

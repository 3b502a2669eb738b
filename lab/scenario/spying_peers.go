package scenario

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/btcsuite/btcd/wire/v2"
)

// spyScenarios need many source addresses.
func spyScenarios() []Scenario {
	scenarios := []Scenario{
		{
			Name: "listeners-join", Rule: "E01", Alert: "PeerObserverListenersJoined", Severity: "ticket",
			Does: "To forty peers of which sixteen take all announcements and give none come fifty that only take. They all stay.",
			Twin: "The forty stay for 35 minutes.",
			// The usual for more than half an hour, then 100 kB of announcements and half an hour.
			Detect:  90 * time.Minute,
			Also:    []string{"PeerObserverListenersMany"},
			provoke: func(ctx context.Context, t *Target) error { return listenWith(ctx, t, 50) },
			twin:    func(ctx context.Context, t *Target) error { return listenWith(ctx, t, 0) },
		},
		{
			Name: "user-agent-rotation", Rule: "E03", Alert: "PeerObserverUserAgentsRotated", Severity: "ticket",
			Does:   "Peers of one /24 connect 30 times with 15 user agents.",
			Twin:   "Peers of 15 networks do, and one network has twelve user agents on twelve connections.",
			Detect: time.Minute,
			provoke: func(ctx context.Context, t *Target) error {
				return rotate(ctx, t, 30, 15, func(i int) netip.Addr { return source(940, 0x0900+i) })
			},
			twin: func(ctx context.Context, t *Target) error {
				return errors.Join(
					rotate(ctx, t, 30, 15, func(i int) netip.Addr { return source(941+i%15, 0x0900) }),
					rotate(ctx, t, 12, 12, func(int) netip.Addr { return source(960, 0x0900) }),
				)
			},
		},
		{
			Name: "address-harvest", Rule: "E04", Alert: "PeerObserverAddressesHarvested", Severity: "info",
			Does:   "Peers of one /24 connect 30 times, ask for addresses and leave.",
			Twin:   "Peers of 30 networks do, and one crawler twelve times.",
			Detect: time.Minute,
			provoke: func(ctx context.Context, t *Target) error {
				return harvest(ctx, t, 30, func(i int) netip.Addr { return source(970, 0x0a00+i) })
			},
			twin: func(ctx context.Context, t *Target) error {
				return errors.Join(
					harvest(ctx, t, 30, func(i int) netip.Addr { return source(971+i, 0x0a00) }),
					harvest(ctx, t, 12, func(int) netip.Addr { return source(1010, 0x0a00) }),
				)
			},
		},
		{
			Name: "address-requests-surge", Rule: "E04", Alert: "PeerObserverAddressRequestsSurge", Severity: "info",
			Does: "Peers of 600 networks connect one after the other, ask for addresses and leave, at a node that has been observed for more than an hour.",
			Twin: "Peers of 60 networks do.", Detect: 2 * time.Minute,
			provoke: func(ctx context.Context, t *Target) error {
				return harvest(ctx, t, 600, func(i int) netip.Addr { return source(i, 0x0b00) })
			},
			twin: func(ctx context.Context, t *Target) error {
				return harvest(ctx, t, 60, func(i int) netip.Addr { return source(i, 0x0b00) })
			},
		},
	}
	for i := range scenarios {
		scenarios[i].Needs, scenarios[i].holds = NeedsNamespace, true
	}
	return scenarios
}

// rotate has peers say who they are, which is one of some user agents, and leave.
func rotate(ctx context.Context, t *Target, count, agents int, from func(i int) netip.Addr) error {
	for i := range count {
		who := persona{from: from(i), userAgent: fmt.Sprintf("/peer-observer-lab:2.%d/", i%agents)}
		if err := t.visit(ctx, who, func(*peer) error { return nil }); err != nil {
			return err
		}
	}
	return t.wait(ctx, 2*time.Minute)
}

// harvest has peers ask for addresses and leave.
func harvest(ctx context.Context, t *Target, count int, from func(i int) netip.Addr) error {
	for i := range count {
		if err := t.visit(ctx, persona{from: from(i)}, func(p *peer) error { return p.send(wire.NewMsgGetAddr()) }); err != nil {
			return err
		}
	}
	return t.wait(ctx, 2*time.Minute)
}

// The peers that are there anyway: who listens only is said by the first of them.
const (
	audienceSize    = 40
	audienceTaking  = 16
	audienceGroups  = 300
	listenersGroups = 350
	// usualTime is how long they are there before others come at least, so that they are what
	// is usual: the rule leaves out the last half hour.
	usualTime = 35 * time.Minute
)

// listenWith has peers take announcements of which some give their own, and then others
// join them that only take.
func listenWith(ctx context.Context, t *Target, joining int) error {
	who := func(i int) persona {
		p := persona{from: source(audienceGroups+i, 0x0105)}
		if i%audienceSize >= audienceTaking {
			p.answer = giver()
		}
		return p
	}
	if err := t.beyond.audience.keep(ctx, t, audienceSize, 0, who); err != nil {
		return err
	}
	if err := t.announceMuch(ctx, audienceSize); err != nil {
		return err
	}
	if joining == 0 {
		return t.wait(ctx, usualTime)
	}
	if err := t.beyond.audience.keep(ctx, t, audienceSize, usualTime, who); err != nil {
		return err
	}
	listeners, err := t.gather(ctx, joining, spread(listenersGroups))
	if err != nil {
		return err
	}
	defer listeners.close()
	if err := t.announceMuch(ctx, audienceSize+joining); err != nil {
		return err
	}
	return t.wait(ctx, 70*time.Minute)
}

// giver announces a transaction of its own when it hears of others. It has forgotten it when
// the node asks.
func giver() func(*peer, wire.Message) (bool, error) {
	var gave *peer
	return func(p *peer, m wire.Message) (bool, error) {
		switch m := m.(type) {
		case *wire.MsgInv:
			if gave != p {
				gave = p
				return false, p.sendRaw(inventory("inv", wire.InvTypeTx, 1, randomHash))
			}
		case *wire.MsgGetData:
			missing := wire.NewMsgNotFound()
			missing.InvList = m.InvList
			return false, p.send(missing)
		}
		return true, nil
	}
}

const (
	// muchAnnounced is from how many bytes of announcements on a peer's silence counts.
	muchAnnounced = 100_000
	// announcedTransactions are more than it takes to announce so much: an entry has 36
	// bytes.
	announcedTransactions = 3200
	// announcedAtOnce is how many wait for the peers at most, and are given to the node at a
	// time: it announces no more than some a second.
	announcedAtOnce = 200
	announcingTime  = 10 * time.Minute
)

// announceMuch gives the node transactions until it has announced much to so many peers that
// come from the addresses of scenarios, and has them mined.
func (t *Target) announceMuch(ctx context.Context, peers int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, announcingTime, errors.New("the node takes too long to announce transactions"))
	defer cancel()
	announced, _, err := t.announced(ctx)
	if err != nil || announced >= peers {
		return err
	}
	coins, err := t.take(ctx, announcedTransactions)
	if err != nil {
		return err
	}
	source, err := t.connect(ctx)
	if err != nil {
		return err
	}
	defer source.close()
	for {
		announced, waiting, err := t.announced(ctx)
		switch {
		case err != nil:
			return errors.Join(err, context.Cause(ctx))
		case announced >= peers:
			return t.awake(ctx, 2)
		case waiting > announcedAtOnce || len(coins) == 0:
			err = pause(ctx, 100*time.Millisecond)
		default:
			next := min(announcedAtOnce, len(coins))
			err = t.give(ctx, source, coins[:next])
			coins = coins[next:]
		}
		if err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
	}
}

// give has a peer send transactions of different sizes that spend coins.
func (t *Target) give(ctx context.Context, source *peer, coins []coin) error {
	const fee, maxData = 2000, 40 // satoshi, bytes
	const opReturn = 0x6a
	var all bytes.Buffer
	for i, c := range coins {
		tx := spend(c)
		data := make([]byte, 1+i%maxData)
		_, _ = rand.Read(data) // never fails (crypto/rand)
		tx.AddTxOut(wire.NewTxOut(c.value-fee, coinScript()))
		tx.AddTxOut(wire.NewTxOut(0, append([]byte{opReturn, byte(len(data))}, data...)))
		if _, err := wire.WriteMessageWithEncodingN(&all, tx, protocolVersion, network, wire.LatestEncoding); err != nil {
			return err
		}
	}
	return errors.Join(source.sendRaw(all.Bytes()), source.handled(ctx))
}

// announced is to how many peers from the addresses of scenarios the node has announced much,
// and how many announcements wait for the one with most (none is known of from Bitcoin
// Core 32 on).
func (t *Target) announced(ctx context.Context) (peers, waiting int, err error) {
	var list []struct {
		Address string           `json:"addr"`
		Waiting int              `json:"inv_to_send"`
		Sent    map[string]int64 `json:"bytessent_per_msg"`
	}
	if err := t.RPC.Call(ctx, "getpeerinfo", nil, &list); err != nil {
		return 0, 0, err
	}
	for _, p := range list {
		address, err := netip.ParseAddrPort(p.Address)
		if err != nil || !ranges()[0].Contains(address.Addr().Unmap()) {
			continue
		}
		if p.Sent["inv"] >= muchAnnounced {
			peers++
		}
		waiting = max(waiting, p.Waiting)
	}
	return peers, waiting, nil
}

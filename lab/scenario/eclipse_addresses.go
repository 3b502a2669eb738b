package scenario

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/btcsuite/btcd/wire/v2"
)

// gossipPort is the port of addresses that nobody listens on.
const gossipPort = 8333

// What addresses are said to offer. The node keeps those without segregated witness and
// doesn't connect to them.
const (
	fullServices   = wire.SFNodeNetwork | wire.SFNodeWitness
	gossipServices = wire.SFNodeNetwork
)

// addrMessage is an addr message.
func addrMessage(addresses []netip.Addr, at time.Time, port uint16, services wire.ServiceFlag) (*wire.MsgAddr, error) {
	message := wire.NewMsgAddr()
	for _, a := range addresses {
		if err := message.AddAddress(wire.NewNetAddressTimestamp(at, services, a.AsSlice(), port)); err != nil {
			return nil, err
		}
	}
	return message, nil
}

// anyAddress is an IPv4 address, of those that nobody can have too.
func anyAddress() netip.Addr {
	n := randomNonce()
	return netip.AddrFrom4([4]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)})
}

// inventAddresses sends addresses as in the flood of July 2021.
func inventAddresses(ctx context.Context, t *Target) error {
	const peers, messages, entries = 5, 500, 10
	for i := range peers {
		err := t.visit(ctx, persona{from: source(920+i, 0x0909)}, func(p *peer) error {
			return sendAddresses(p, messages, entries, time.Now().Add(9*time.Minute), anyAddress)
		})
		if err != nil {
			return err
		}
	}
	return t.wait(ctx, 2*time.Minute)
}

func sendAddresses(p *peer, messages, entries int, at time.Time, next func() netip.Addr) error {
	for range messages {
		addresses := make([]netip.Addr, entries)
		for i := range addresses {
			addresses[i] = next()
		}
		message, err := addrMessage(addresses, at, gossipPort, gossipServices)
		if err != nil {
			return err
		}
		if err := p.send(message); err != nil {
			return err
		}
	}
	return nil
}

// announceAddresses is what new peers do.
func announceAddresses(ctx context.Context, t *Target) error {
	o, err := t.populated(ctx)
	if err != nil {
		return err
	}
	// The node asks whom it connects to for addresses.
	o.cut()
	for i := range 30 {
		addresses := make([]netip.Addr, 5)
		for j := range addresses {
			addresses[j] = remote(i, 0x0300+j)
		}
		message, err := addrMessage(addresses, time.Now().Add(-time.Hour), gossipPort, gossipServices)
		if err != nil {
			return err
		}
		if err := t.visit(ctx, persona{from: source(940+i, 0x0111)}, func(p *peer) error { return p.send(message) }); err != nil {
			return err
		}
	}
	return t.waitOutbound(ctx, fullOutbound)
}

// surge has many peers send addresses that could be real ones and that nobody has heard of.
func surge(ctx context.Context, t *Target) error {
	const count, messages, entries = 100, 12, 10
	return eachPeer(ctx, t, count, func(i int, p *peer) error {
		n := 0
		return sendAddresses(p, messages, entries, time.Now().Add(-time.Hour), func() netip.Addr {
			n++
			return remote(i*messages*entries+n, 0x1000+i)
		})
	})
}

// repeat has as many peers send addresses that all know.
func repeat(ctx context.Context, t *Target) error {
	return eachPeer(ctx, t, 100, func(_ int, p *peer) error {
		n := 0
		return sendAddresses(p, 1, 10, time.Now().Add(-time.Hour), func() netip.Addr {
			n++
			return remote(n, 0x0203)
		})
	})
}

// eachPeer has peers from many networks come one after the other, do something, and leave.
func eachPeer(ctx context.Context, t *Target, count int, do func(i int, p *peer) error) error {
	for i := range count {
		if err := t.visit(ctx, persona{from: source(500+i, 0x0222)}, func(p *peer) error { return do(i, p) }); err != nil {
			return err
		}
	}
	return t.wait(ctx, 2*time.Minute)
}

// fillManager has the node connect to peers and ask them for addresses, of which each gives
// others.
func fillManager(ctx context.Context, t *Target, peers, addresses int, who func(i int) netip.Addr) error {
	o, err := t.populated(ctx)
	if err != nil {
		return err
	}
	for i := range peers {
		answered := o.gossip(who(i), func() []netip.Addr {
			list := make([]netip.Addr, addresses)
			for j := range list {
				list[j] = remote(i*addresses+j, 0x3000+i)
			}
			return list
		})
		if err := t.RPC.Call(ctx, "addnode", []any{netip.AddrPortFrom(who(i), o.port).String(), "onetry", false}, nil); err != nil {
			return err
		}
		select {
		case err = <-answered:
		case <-time.After(handshakeTime):
			err = errors.New("the node doesn't ask the peer that it connects to for addresses")
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
	}
	return t.wait(ctx, 3*time.Minute)
}

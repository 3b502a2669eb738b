package scenario

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

func reachabilityScenarios() []Scenario {
	return []Scenario{{
		Name: "unreachable", Rule: "I03", Alert: "PeerObserverUnreachable", Severity: "page",
		Does:   "Six peers a minute come and go for twenty minutes, then a firewall drops for 35 minutes what others send to open a connection.",
		Twin:   "All inbound slots are full for 32 minutes, in which one peer a minute comes.",
		Detect: 53 * time.Minute, Needs: NeedsNamespace, holds: true,
		Also:    []string{"PeerObserverNetworkUnreached"},
		provoke: hide,
		twin:    func(ctx context.Context, t *Target) error { return exhaust(ctx, t, 32, 32*time.Minute) },
	}}
}

// hide has peers come and go, and then nobody get through to the node any more. It has blocks
// all the while.
func hide(ctx context.Context, t *Target) error {
	address, err := netip.ParseAddrPort(t.P2PAddress)
	if err != nil {
		return err
	}
	block := func(int) error { return t.awake(ctx, 1) }
	if err := block(0); err != nil {
		return err
	}
	if err := comeAndGo(ctx, t, 120, 20*time.Minute, spread(300)); err != nil {
		return err
	}
	wall, err := closePort(address.Port())
	if err != nil {
		return err
	}
	return errors.Join(each(ctx, t, 7, 35*time.Minute, block), wall.open())
}

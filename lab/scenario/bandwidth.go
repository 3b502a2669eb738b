package scenario

import (
	"context"
	"time"
)

func bandwidthScenarios() []Scenario {
	return []Scenario{
		{
			Name: "block-redownload", Rule: "D01", Alert: "PeerObserverBlockRedownload", Severity: "ticket", Together: true,
			Does: "A peer asks for the same block 600 times.", Twin: "A peer asks for ten blocks, once each.", Detect: time.Minute,
			provoke: func(ctx context.Context, t *Target) error { return redownload(ctx, t, 1, 600) },
			twin:    func(ctx context.Context, t *Target) error { return redownload(ctx, t, 10, 10) },
		},
		{
			Name: "transaction-refetch", Rule: "D02", Alert: "PeerObserverTransactionRefetch", Severity: "ticket", Together: true,
			Does: "A peer asks for the same transaction 6,000 times.", Twin: "A peer asks for a transaction twice.", Detect: time.Minute,
			provoke: func(ctx context.Context, t *Target) error { return refetch(ctx, t, 6000) },
			twin:    func(ctx context.Context, t *Target) error { return refetch(ctx, t, 2) },
		},
	}
}

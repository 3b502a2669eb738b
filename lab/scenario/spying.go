package scenario

import (
	"context"
	"time"
)

func spyingScenarios() []Scenario {
	return append(spyScenarios(), Scenario{
		Name: "port-scan", Rule: "E09", Alert: "PeerObserverPortScannedMuch", Severity: "ticket",
		Does: "800 connections speak HTTP or TLS.", Twin: "Ten do.", Detect: time.Minute,
		// They come from one address, one after the other.
		Also: []string{
			"PeerObserverPortScanned", "PeerObserverMalformedStorm", "PeerObserverInboundConcentrated", "PeerObserverReconnectCycle",
		},
		TwinMay: []string{"PeerObserverPortScanned"},
		provoke: func(ctx context.Context, t *Target) error { return scanMuch(ctx, t, 800) },
		twin:    func(ctx context.Context, t *Target) error { return scanMuch(ctx, t, 10) },
	})
}

// scanMuch opens connections that speak another protocol, four at a time.
func scanMuch(ctx context.Context, t *Target, count int) error {
	const atOnce = 4
	failed := make(chan error, atOnce)
	for lane := range atOnce {
		go func() {
			for i := lane; i < count; i += atOnce {
				if err := scan(ctx, t, i/atOnce); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	var first error
	for range atOnce {
		if err := <-failed; err != nil {
			first = err
		}
	}
	return first
}

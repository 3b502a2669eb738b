package scenario

import (
	"context"
	"time"
)

func clockScenarios() []Scenario {
	return []Scenario{{
		Name: "host-clock", Rule: "I07", Alert: "PeerObserverHostClockWrong", Severity: "page",
		Does:   "The clocks of all peers, those that come and those to which the node connects, are two minutes behind, as they are when the host's is ahead.",
		Twin:   "Those of the peers that come are.",
		Detect: 4 * time.Minute, Also: []string{"PeerObserverHostClockOff"},
		provoke: func(ctx context.Context, t *Target) error { return tellTime(ctx, t, -2*time.Minute, -2*time.Minute) },
		twin:    func(ctx context.Context, t *Target) error { return tellTime(ctx, t, -2*time.Minute, 0) },
	}}
}

// clocksAsked is of how many peers of a direction the last told time counts.
const clocksAsked = 31

// tellTime has peers with clocks that are off come, and the node connect to others, and after a
// while as many whose clocks are right.
func tellTime(ctx context.Context, t *Target, inbound, outbound time.Duration) error {
	if err := introduce(ctx, t, inbound, outbound); err != nil {
		return err
	}
	if err := t.wait(ctx, 4*time.Minute); err != nil {
		return err
	}
	return introduce(ctx, t, 0, 0)
}

// introduce has peers connect in both directions, say what time it is, and leave.
func introduce(ctx context.Context, t *Target, inbound, outbound time.Duration) error {
	for range clocksAsked {
		p, err := t.enter(ctx, persona{clock: inbound})
		if err != nil {
			return err
		}
		p.close()
		if p, err = t.accept(ctx, persona{clock: outbound}); err != nil {
			return err
		}
		p.close()
	}
	return nil
}

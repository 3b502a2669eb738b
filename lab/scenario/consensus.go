package scenario

import (
	"context"
	"time"
)

func consensusScenarios() []Scenario {
	return []Scenario{{
		Name: "reorganization", Rule: "G01", Alert: "PeerObserverReorganizationDeep", Severity: "page",
		Does:   "A peer delivers a branch of four blocks that replaces the last three.",
		Twin:   "Two blocks are found at the same time, and the next one decides against the first: a reorganization of one block.",
		Detect: time.Minute,
		Also:   []string{"PeerObserverReorganization", "PeerObserverReorganizationOfTwo", "PeerObserverCompetingBranch"}, TwinMay: []string{"PeerObserverReorganization"},
		provoke: func(ctx context.Context, t *Target) error { return reorganize(ctx, t, 3) },
		twin:    func(ctx context.Context, t *Target) error { return reorganize(ctx, t, 1) },
	}, {
		Name: "stale-blocks", Rule: "G02", Alert: "PeerObserverStaleBlocksMany", Severity: "page",
		Does: "Eight blocks are found that each compete with another one and lose.", Twin: "One is.", Detect: 3 * time.Minute,
		Also:    []string{"PeerObserverStaleBlocks"},
		provoke: func(ctx context.Context, t *Target) error { return loseRaces(ctx, t, 8) },
		twin:    func(ctx context.Context, t *Target) error { return loseRaces(ctx, t, 1) },
	}, {
		Name: "competing-branch", Rule: "G03", Alert: "PeerObserverCompetingBranch", Severity: "ticket",
		Does: "A peer delivers a branch of four blocks that ends below the tip.", Twin: "A peer delivers a branch of two blocks.", Detect: 3 * time.Minute,
		provoke: func(ctx context.Context, t *Target) error { return branch(ctx, t, 4) },
		twin:    func(ctx context.Context, t *Target) error { return branch(ctx, t, 2) },
	}, {
		Name: "node-warning", Rule: "G04", Alert: "PeerObserverNodeWarning", Severity: "ticket",
		Does:   "The clocks of sixty peers to which the node connects one after the other are an hour ahead, so that it warns of its own.",
		Twin:   "They are half a minute ahead.",
		Detect: 3 * time.Minute, Also: []string{"PeerObserverPeerClocksWrong", "PeerObserverPeerClocksOff"},
		provoke: func(ctx context.Context, t *Target) error { return peersWithClock(ctx, t, 60, time.Hour) },
		twin:    func(ctx context.Context, t *Target) error { return peersWithClock(ctx, t, 60, 30*time.Second) },
	}, {
		Name: "peer-clocks", Rule: "G06", Alert: "PeerObserverPeerClocksWrong", Severity: "page",
		Does:   "The clocks of seven peers to which the node connects are an hour ahead.",
		Twin:   "They are half a minute behind.",
		Detect: 3 * time.Minute, Also: []string{"PeerObserverPeerClocksOff", "PeerObserverNodeWarning"},
		provoke: func(ctx context.Context, t *Target) error { return peersWithClock(ctx, t, 7, time.Hour) },
		twin:    func(ctx context.Context, t *Target) error { return peersWithClock(ctx, t, 7, -30*time.Second) },
	}}
}

// loseRaces has a peer deliver blocks that each compete with one of the chain and lose.
func loseRaces(ctx context.Context, t *Target, count int) error {
	for range count {
		if err := sendStale(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// branch has a peer deliver blocks that fork off the chain and end below its tip.
func branch(ctx context.Context, t *Target, length int) error {
	if err := t.awake(ctx, length+2); err != nil {
		return err
	}
	on, err := t.best(ctx, length+2)
	if err != nil {
		return err
	}
	blocks, err := mine(on, length, 0)
	if err != nil {
		return err
	}
	p, err := t.connect(ctx)
	if err != nil {
		return err
	}
	defer p.close()
	// A branch with less work than the chain isn't asked for: its blocks come unasked.
	for _, block := range blocks {
		if err := p.offer(block); err != nil {
			return err
		}
	}
	return t.waitStatus(ctx, blocks[length-1], "headers-only", "valid-headers", "valid-fork")
}

// peersWithClock has the node connect to peers whose clocks are off. The last seven stay
// for as long as it takes the rules to see it. The node judges its own clock by the last 50
// peers that it connected to (timeoffsets.h).
func peersWithClock(ctx context.Context, t *Target, count int, offset time.Duration) error {
	const stay = 7
	for i := range count {
		p, err := t.accept(ctx, persona{clock: offset})
		if err != nil {
			return err
		}
		if i < count-stay {
			p.close()
			continue
		}
		defer p.close()
	}
	// The agent asks for warnings every two minutes at most.
	return t.wait(ctx, 4*time.Minute)
}

// reorganize has a peer deliver a branch that replaces depth blocks of the node's chain.
func reorganize(ctx context.Context, t *Target, depth int) error {
	if err := t.awake(ctx, depth+1); err != nil {
		return err
	}
	on, err := t.best(ctx, depth)
	if err != nil {
		return err
	}
	branch, err := mine(on, depth+1, 0)
	if err != nil {
		return err
	}
	p, err := t.connect(ctx)
	if err != nil {
		return err
	}
	defer p.close()
	if err := p.offer(branch...); err != nil {
		return err
	}
	return t.waitTip(ctx, branch[depth].BlockHash())
}

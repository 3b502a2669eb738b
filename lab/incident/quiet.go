package incident

import (
	"math/rand/v2"
	"time"
)

// Figures of the quiet year.
const (
	year = 365 * 24 * time.Hour
	// quietStep is the time between two looks: nothing is asked that changes faster.
	quietStep = 2 * time.Minute
	// quietSeed is one whose year has the gaps between blocks of 2023, of which the longest
	// was 102 minutes and six of 42,617 were longer than 90. Chance alone has years with
	// more: over 3,000 seeds nine tickets are usual, and a page in one year of three.
	quietSeed = 2325
	// staleRatio is the share of heights at which a block lost: 61 of 46,289.
	staleRatio = 61.0 / 46_289
	// deepRatio is the share of those at which the next one lost too: two in ten and a half
	// months.
	deepRatio = 2.0 / 61
)

// quietYear is a year in which nobody attacks.
func quietYear() Incident {
	return Incident{
		Name: "quiet-year",
		What: "A year without an attack: blocks come at random, some within a second, once after 102 minutes, and one of 760 loses against another. " +
			"At half of these the node had followed the loser.",
		Source: "figures of bitcoin-data/block-arrival-times (2023) and bitcoin-data/stale-blocks (heights 920,212 to 966,500)",
		Shape: "Blocks and tips only, every two minutes: for the rules on these, `alerts backtest --interval=2m --rule=G01 --rule=G02 --rule=G03 --rule=A13`. " +
			"There is no rule yet for the rate of blocks.",
		Begins: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC),
		// No page, and at most six tickets in all: those of long waits are six in such a
		// year.
		Allowed: []string{"PeerObserverReorganization", "PeerObserverReorganizationOfTwo", "PeerObserverTipOld", "PeerObserverStaleBlocks"},
		play:    func(l *life) { l.quiet(chances(quietSeed, year)) },
	}
}

// chance is what a block brings in a quiet time.
type chance struct {
	// gap is the time since the one before.
	gap time.Duration
	// lost is the number of blocks that lose against it and its successors, followed is
	// whether the node had connected them before.
	lost     int32
	followed bool
}

// chances are those of all blocks of a time.
func chances(seed uint64, span time.Duration) []chance {
	random := rand.New(rand.NewPCG(seed, seed))
	var all []chance
	for at := time.Duration(0); ; {
		x := chance{gap: time.Duration(random.ExpFloat64() * float64(blockTime))}
		if random.Float64() < staleRatio {
			x.lost = 1
			if random.Float64() < deepRatio {
				x.lost = 2
			}
			x.followed = random.Float64() < 0.5
		}
		if at += x.gap; at >= span {
			return all
		}
		all = append(all, x)
	}
}

// quiet lets blocks come, and looks at the node in between.
func (l *life) quiet(blocks []chance) {
	look := l.now
	at := l.now
	for _, block := range blocks {
		at = at.Add(block.gap)
		for ; look.Before(at) && l.ctx.Err() == nil; look = look.Add(quietStep) {
			l.now = look
			l.lookAtChain()
		}
		l.now = at
		fork := l.height
		if block.followed {
			for range block.lost {
				l.connect(l.hash(), l.height+1, connectTime)
			}
			// With one block more the others win.
			l.height = fork
			for range block.lost {
				l.connect(l.hash(), l.height+1, connectTime)
			}
		}
		l.connect(l.hash(), l.height+1, connectTime)
		if block.lost > 0 {
			l.lost(fork+block.lost, block.lost)
		}
	}
}

// lookAtChain is a look that sees no peers.
func (l *life) lookAtChain() {
	l.status()
	l.blockchain()
	switch l.steps % 4 {
	case 0, 2:
		l.tips()
	case 1:
		l.network(100, 10)
	}
	l.steps++
}

package incident

import "time"

// reorganization is the reorganization of two blocks of March 2026.
func reorganization() Incident {
	begins := time.Date(2026, 3, 23, 15, 10, 0, 0, time.UTC)
	at := func(hour, minute, second int) time.Duration {
		return time.Date(2026, 3, 23, hour, minute, second, 0, time.UTC).Sub(begins)
	}
	var (
		first  = at(15, 49, 40)
		second = at(15, 51, 30)
		third  = at(15, 58, 0)
	)
	return Incident{
		Name: "reorganization-2026",
		What: "Two miners each find blocks 941,881 and 941,882; the node follows the pair that loses, and changes over when a third block comes on the other. " +
			"The winner found seven in a row.",
		Source: "bnoc.xyz; bitcoin-data/stale-blocks (2026-03-23)",
		Shape: "The times of the stale blocks are those of their headers, 15:49:35 and 15:51:19 UTC; that of the block that decided is an assumption. " +
			"There is no rule for blocks that are released together.",
		Begins: begins,
		Expected: []Expected{
			{"PeerObserverReorganizationOfTwo", third, time.Minute},
			{"PeerObserverReorganization", third, time.Minute},
		},
		play: func(l *life) {
			until := func(after time.Duration) { l.live(begins.Add(after).Sub(l.now), nil) }
			l.settle(100)
			// No block comes by chance.
			l.nextBlock = begins.Add(24 * time.Hour)
			for height := int32(941_878); height <= 941_880; height++ {
				l.live(at(15, 40, 0)/3, nil)
				l.connect(l.hash(), height, connectTime)
			}
			until(first)
			l.connect(l.hash(), 941_881, connectTime)
			until(first + step)
			// The rival's are stored and not connected.
			l.lost(941_881, 1)
			until(second)
			l.connect(l.hash(), 941_882, connectTime)
			until(second + step)
			l.forks = l.forks[:0]
			l.lost(941_882, 2)
			until(third)
			for height := int32(941_881); height <= 941_883; height++ {
				l.connect(l.hash(), height, connectTime)
			}
			for height := int32(941_884); height <= 941_887; height++ {
				l.live(9*time.Minute, nil)
				l.connect(l.hash(), height, connectTime)
			}
			l.live(10*time.Minute, nil)
		},
	}
}

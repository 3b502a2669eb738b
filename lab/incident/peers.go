package incident

import "time"

// operatorLeaves is the end of the nodes of one large operator in 2026.
func operatorLeaves() Incident {
	const (
		quiet = 75 * time.Minute
		slots = 114
		// share of the inbound peers that are the operator's.
		listed = slots * 14 / 100
	)
	return Incident{
		Name: "operator-leaves-2026",
		What: "One operator ran some 3,000 nodes and held a seventh of a node's inbound slots; on 2026-03-31 at 00:00 UTC all of them end within minutes, " +
			"and for an hour three times as many peers as usual look for a new place.",
		Source: "bnoc.xyz threads 81 and 146 (operator of the bitprojects nodes)",
		Shape: "The hours around the end, on a node whose slots are full. Of the growth over a year no rule tells: there are none that compare what peers have in common, " +
			"or that follow a list of known operators.",
		Begins: time.Date(2026, 3, 30, 22, 45, 0, 0, time.UTC),
		// A seventh is no cliff, and what follows no churn: nobody is to be woken.
		play: func(l *life) {
			l.settle(slots)
			// Ten a minute come in busy times, each for the one that came last.
			usual := func() { l.arrive(slots, 10) }
			l.live(quiet, usual)
			for range 5 {
				l.closeFirst(listed / 5)
				l.live(time.Minute, func() { l.arrive(slots, 30) })
			}
			l.live(time.Hour-5*time.Minute, func() { l.arrive(slots, 30) })
			l.live(15*time.Minute, usual)
		},
	}
}

// arrive lets so many inbound peers come in a minute, to a node with so many slots, which
// evicts a visitor when they are full. Visitors leave after some minutes.
func (l *life) arrive(slots, perMinute int) {
	for i := range perMinute {
		// Evenly over the steps of a minute.
		if i%int(time.Minute/step) != l.steps%int(time.Minute/step) {
			continue
		}
		settled := len(l.peers) - 10
		if settled+len(l.visitors) >= slots {
			if len(l.visitors) > 0 {
				l.evict(l.visitors[0])
				l.visitors = l.visitors[1:]
			} else {
				l.evict(l.peers[0])
				l.peers = l.peers[1:]
			}
		}
		l.visitors = append(l.visitors, l.accept())
	}
}

// i2pFlood is the flood of the I2P network in February 2026.
func i2pFlood() Incident {
	const (
		quiet = time.Hour
		fall  = time.Hour
		peers = 10
	)
	return Incident{
		Name:     "i2p-flood-2026",
		What:     "700,000 hostile routers flood I2P, which had 15,000 to 20,000: within an hour a node loses all of its ten I2P peers, for days.",
		Source:   "press and I2P's developers on the Kimwolf botnet (2026-02-03)",
		Shape:    "An hour before, and half of one after the last peer has gone, of five days. New I2P addresses in gossip, which were possible, are left out.",
		Begins:   time.Date(2026, 2, 3, 11, 0, 0, 0, time.UTC),
		Expected: []Expected{{"PeerObserverNetworkLost", quiet, fall + 20*time.Minute}},
		play: func(l *life) {
			l.settle(90)
			// The visitors here are those of I2P, and nobody else.
			for range peers {
				l.visitors = append(l.visitors, l.newPeer(i2p, inbound))
			}
			for range 2 * peers {
				l.peers = append(l.peers, l.newPeer(onion, inbound))
			}
			l.live(quiet, nil)
			for range peers {
				l.visitors = l.visitors[1:]
				l.live(fall/peers, nil)
			}
			l.live(30*time.Minute, nil)
		},
	}
}

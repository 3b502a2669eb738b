package incident

import (
	"math"
	"time"

	"google.golang.org/protobuf/proto"
)

// Figures of the backlog of announcements.
const (
	// backlogPeers are the inbound peers before, backlogLeft those that stay.
	backlogPeers = 190
	backlogLeft  = 35
	// backlogEnd is the number of announcements that wait for one listener at the end,
	// backlogRTT how long a ping takes then.
	backlogEnd = 100_000
	backlogRTT = 10 * time.Second
)

// announcementBacklog is the backlog of announcements of May 2023.
func announcementBacklog() Incident {
	const (
		quiet = 65 * time.Minute
		ramp  = 90 * time.Minute
		// The growth is exponential: the backlog from 5 to 100,000 of each listener, the
		// round trip from half a millisecond to ten seconds, each in the same 20,000 steps.
		// These are the times at which the sum over 123 listeners is 200,000 and a million,
		// and the round trip a quarter and half of a second.
		backlogTicket = quiet + 584*ramp/1000
		rttTicket     = quiet + 627*ramp/1000
		rttPage       = quiet + 697*ramp/1000
		backlogPage   = quiet + 726*ramp/1000
	)
	return Incident{
		Name: "announcement-backlog-2023",
		What: "Announcements pile up for peers that only listen, and sorting them again and again keeps the message thread busy: pings take seconds, " +
			"blocks come late, and most inbound peers leave.",
		Source: "Bitcoin Core issues 27586, 27623 and pull request 27610; advisory of 2024-10-08; b10c's observation 15",
		Shape: "An hour and a half of growth instead of twelve hours, and an hour instead of two days in which the peers leave. The numbers of peers before and after " +
			"are public; that they leave in four steps is an assumption, made because the rule compares with the last half hour. " +
			"No rule reads the node's profile, nor how late blocks reach others.",
		Begins: time.Date(2023, 5, 7, 12, 0, 0, 0, time.UTC),
		Expected: []Expected{
			{"PeerObserverAnnouncementBacklog", backlogTicket, 10 * time.Minute},
			{"PeerObserverAnnouncementBacklogHuge", backlogPage, 10 * time.Minute},
			{"PeerObserverMessageThreadSlow", rttTicket, 10 * time.Minute},
			{"PeerObserverMessageThreadSaturated", rttPage, 30 * time.Minute},
			{"PeerObserverListenersMany", 0, 90 * time.Minute},
			{"PeerObserverInboundDrop", quiet + ramp, 30 * time.Minute},
		},
		// The page for inbound peers that left, if a step is large enough; and all of them are
		// of IPv4, of which in the end less than a third is left.
		Allowed: []string{"PeerObserverInboundCliff", "PeerObserverNetworkLost"},
		play: func(l *life) {
			l.settle(backlogPeers)
			for i, p := range l.peers {
				if p.info.GetInbound() && i%20 < 13 {
					listener(p)
				}
			}
			l.live(quiet, nil)
			began := l.now
			grow := func() {
				f := min(float64(l.now.Sub(began))/float64(ramp), 1)
				l.rtt = time.Duration(float64(loopbackRTT) * math.Pow(float64(backlogRTT)/float64(loopbackRTT), f))
				for _, p := range l.peers {
					if len(p.info.GetBytesSentPerMessage()) > 0 {
						p.info.InvToSend = proto.Uint64(uint64(5 * math.Pow(backlogEnd/5, f)))
					}
				}
			}
			l.live(ramp, grow)
			for _, left := range []int{120, 75, 50, backlogLeft} {
				// The outbound peers are the last of the list and stay.
				l.closeFirst(len(l.peers) - 10 - left)
				l.live(15*time.Minute, grow)
			}
		},
	}
}

// listener makes a peer one that got announcements for hours and gave nothing.
func listener(p *peer) {
	p.info.BytesSentPerMessage = map[string]uint64{"inv": 5_000_000, "ping": 4000, "pong": 4000}
	p.info.BytesReceivedPerMessage = map[string]uint64{"ping": 4000, "pong": 4000, "version": 130, "verack": 24}
}

// mints is the mass of transactions of one size of November 2025.
func mints() Incident {
	const (
		quiet = 30 * time.Minute
		rush  = 40 * time.Minute
		size  = 352
		// perMinute is the number of transactions that enter the mempool in a minute.
		perMinute = 2300
	)
	return Incident{
		Name: "mints-2025",
		What: "For forty minutes 2,300 transactions a minute enter the mempool, all of 352 bytes, made from one template. " +
			"The message thread takes 0.5 to 0.7 of a core, here two thirds.",
		Source: "bnoc.xyz thread 58 (2025-11-17)",
		Shape: "Of what the node sends, 200,000 transactions a minute to all peers, there is one a second, with the work for all of them: no rule counts it. " +
			"How long pings took is not public; a thread with room left answers within milliseconds, here five.",
		Begins: time.Date(2025, 11, 17, 12, 0, 0, 0, time.UTC),
		Expected: []Expected{
			{"PeerObserverMempoolFlood", quiet, 10 * time.Minute},
			{"PeerObserverMessageThreadSlow", quiet, 10 * time.Minute},
		},
		play: func(l *life) {
			l.settle(100)
			l.live(quiet, nil)
			l.rtt = 10 * loopbackRTT
			l.live(rush, func() {
				for range perMinute * int(step) / int(time.Minute) {
					l.added(size)
				}
				l.usage += perMinute / 6 * 1500
				l.busy(l.peers[0], 2.0/3)
			})
			l.rtt = loopbackRTT
			l.live(10*time.Minute, nil)
		},
	}
}

// slowBlocks is the demonstration of blocks that take long to validate, of April 2026.
func slowBlocks() Incident {
	const (
		quiet = 30 * time.Minute
		slow  = 20 * time.Second
		count = 6
	)
	return Incident{
		Name:   "slow-blocks-2026",
		What:   "Six blocks on signet each take 20 seconds to validate, 160 times as long as usual. The node answers nobody meanwhile.",
		Source: "b10c's observation 16 (signet, April 2026); BIP54",
		Shape:  "The ping that waits for a block takes 15 seconds. It is one of six in a minute, and doesn't move the median that the rule of the message thread reads.",
		Begins: time.Date(2026, 4, 20, 12, 0, 0, 0, time.UTC),
		Expected: []Expected{
			{"PeerObserverBlockVerySlow", quiet, time.Minute},
			{"PeerObserverBlockSlow", quiet, time.Minute},
		},
		play: func(l *life) {
			l.chain, l.height = "signet", 300_000
			l.headers = l.height
			l.settle(30)
			l.live(quiet, nil)
			for range count {
				l.connect(l.hash(), l.height+1, slow)
				// The others are as far apart as usual.
				l.nextBlock = l.now.Add(blockTime)
				l.rtt = 15 * time.Second
				l.live(step, nil)
				l.rtt = loopbackRTT
				l.live(blockTime-step, nil)
			}
		},
	}
}

package incident

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// Figures of the address spam.
const (
	// usualAddresses is the number of distinct addresses that the network told in a day
	// before.
	usualAddresses = 40_000
	// spamEvery is the time between two connections of the spammers, 30 an hour; on each
	// spamMessages messages with spamEntries addresses come.
	spamEvery    = 2 * time.Minute
	spamMessages = 500
	spamEntries  = 10
	// spamAhead is how far ahead the addresses are dated at most.
	spamAhead = 9 * time.Minute
	// echoEvery is after how long each peer passes on spamEntries addresses: the rate limit
	// of 0.1 a second that Bitcoin Core has since then.
	echoEvery = 100 * time.Second
)

// addressSpam is the flood of invented addresses of the summer of 2021.
func addressSpam() Incident {
	const quiet = 49 * time.Hour
	return Incident{
		Name: "address-spam-2021",
		What: "Short connections each push 5,000 invented addresses, reserved ranges among them and dated up to nine minutes ahead; all peers pass them on. " +
			"The network told 40,000 addresses a day before, and millions then.",
		Source: "Grundmann, Baumstark, Hartenstein 2021 (arXiv 2108.00815); Bitcoin Core pull request 22387",
		Shape: "Two days of usual gossip and half an hour of the three weeks. The bursts of 500 messages with 10 addresses are a hint, the rate of addresses is published. " +
			"A node with 26 peers, as in the pull request.",
		Begins: time.Date(2021, 7, 10, 12, 0, 0, 0, time.UTC),
		Expected: []Expected{
			{"PeerObserverAddressFlood", quiet, 5 * time.Minute},
			{"PeerObserverAddressFloodInvented", quiet, 5 * time.Minute},
			{"PeerObserverAddressSurge", quiet, 2 * time.Hour},
		},
		play: func(l *life) {
			l.settle(16)
			usual := 0
			// Two days are long: the node is looked at every four minutes, until the last quarter of an hour.
			l.pace = 4 * time.Minute
			l.live(quiet-15*time.Minute, func() { l.usualAddresses(&usual) })
			l.pace = step
			l.live(15*time.Minute, func() { l.usualAddresses(&usual) })
			began := l.now
			l.live(30*time.Minute, func() {
				l.usualAddresses(&usual)
				since := l.now.Sub(began)
				if since%spamEvery == 0 {
					l.spam()
				}
				for i, p := range l.peers {
					// The peers don't do so together.
					if (since+time.Duration(i)*step)%echoEvery == 0 {
						l.addresses(p, l.inventedAddresses(spamEntries))
					}
				}
			})
		},
	}
}

// usualAddresses lets a peer tell some of the addresses that go round each day, each one and a
// half times.
func (l *life) usualAddresses(next *int) {
	entries := usualAddresses * 3 / 2 * int(l.pace/step) / int(24*time.Hour/step)
	list := make([]*eventpb.Address, 0, entries+1)
	for range entries + 1 {
		n := *next % usualAddresses
		*next++
		list = append(list, address(fmt.Sprintf("%d.%d.%d.8", 20+n%60, n/60%250, n/15_000), l.now.Add(-time.Duration(l.random.IntN(10))*time.Minute)))
	}
	l.addresses(l.peers[*next%len(l.peers)], list)
}

// spam is one connection of a spammer.
func (l *life) spam() {
	p := l.accept()
	for range spamMessages {
		l.addresses(p, l.inventedAddresses(spamEntries))
	}
	l.close(p)
}

// inventedAddresses are uniform over all of IPv4.
func (l *life) inventedAddresses(n int) []*eventpb.Address {
	list := make([]*eventpb.Address, 0, n)
	for range n {
		x := l.random.Uint32()
		list = append(list, address(fmt.Sprintf("%d.%d.%d.%d", x>>24, x>>16&255, x>>8&255, x&255), l.now.Add(time.Duration(l.random.Int64N(int64(spamAhead))))))
	}
	return list
}

func address(text string, at time.Time) *eventpb.Address {
	return &eventpb.Address{
		Timestamp: proto.Uint32(uint32(at.Unix())), Address: &eventpb.Address_Ipv4{Ipv4: text}, Services: proto.Uint64(1033), Port: proto.Uint32(8333),
	}
}

// addresses is an addrv2 message; an entry of IPv4 takes 12 bytes or more (BIP155).
func (l *life) addresses(p *peer, list []*eventpb.Address) {
	l.message(p, "addrv2", 1+14*len(list), &eventpb.MessageEvent{
		Msg: &eventpb.MessageEvent_Addrv2{Addrv2: &eventpb.AddrV2{Addresses: list}}, ElementCount: proto.Uint64(uint64(len(list))),
	})
}

package incident

import "time"

// Day is how long honest traffic goes on.
const Day = 24 * time.Hour

// firstHours is the alert, of severity info, that comes in the first hours after the agent was
// started for the first time: it compares with what was counted before.
const firstHours = "PeerObserverAddressRequestsSurge"

// everyPeer lets all messages of all peers be recorded.
const everyPeer = 1 << 20

// Honest lists a day of each kind of honest traffic, of which no page and no ticket may come.
// They are those that `lab run` brings to a real node, BG1 to BG9.
func Honest() []Incident { return honest(Day, everyPeer) }

// honest is a span of each. Of so many of the peers that stay there is what they send and get, of
// the others only what getpeerinfo says.
func honest(span time.Duration, told int) []Incident {
	begins := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	list := []struct {
		name, what string
		allowed    []string
		play       func(*day)
	}{
		{
			name: "honest-quiet",
			what: "A hundred inbound peers from a hundred networks and ten outbound ones announce transactions (5 a second), tell of addresses, and ping; " +
				"three more inbound peers come a minute and leave; a block comes every ten minutes.",
			play: func(*day) {},
		},
		{
			name: "honest-busy",
			what: "All inbound slots are full, and ten peers come a minute, for each of which the node evicts one; two of five peers give nothing; a wallet pings every two seconds; " +
				"a crawler a minute asks for addresses and leaves; peers download 2,000 blocks each; transactions come three times as often.",
			play: busy,
		},
		{
			name: "honest-restart",
			what: "The node stops and starts again; its peers come back within five minutes, and those that it connects to answer with 1,000 addresses each.",
			play: func(d *day) { restart(d, d.left()/8) },
		},
		{
			name:    "honest-luck",
			what:    "No block comes for 55 minutes, then four within three minutes, and one of them replaces another.",
			allowed: []string{"PeerObserverReorganization"},
			play:    luck,
		},
		{
			name: "honest-fee-rush",
			what: "Every three hours 5,000 transactions of mixed sizes come within five minutes, a fifth of them replaced for a higher fee, with 300 that arrive before their parents, " +
				"while fees and the peers' fee filters treble.",
			play: rush,
		},
		{
			name: "honest-release-day",
			what: "Two of five peers leave over the day and come back with another program, protocol version and fee filter; five of them break the protocol in the same way.",
			play: release,
		},
		{
			name: "honest-operator-leaves",
			what: "35 of the hundred inbound peers are of one operator, in five /20, and leave within five minutes; half as many come instead.",
			// A node alone can't tell that other nodes have lost the operator's peers too.
			allowed: []string{"PeerObserverInboundDrop"},
			play:    departure,
		},
		{
			name: "honest-noise",
			what: "Ten connections a minute speak HTTP, TLS or the protocol of another chain, two a minute say nothing, and one peer sends a mutated block.",
			// 600 an hour are as many as the ticket begins with.
			allowed: []string{"PeerObserverMutatedBlock", "PeerObserverPortScanned", "PeerObserverPortScannedMuch"},
			play:    noise,
		},
		{
			name: "honest-tor-flap",
			what: "Eight peers that have come through Tor leave every four hours, and come back after five minutes.",
			play: flap,
		},
	}
	var all []Incident
	for _, p := range list {
		all = append(all, Incident{
			Name: p.name, What: p.what, Allowed: append(p.allowed, firstHours), Begins: begins,
			Source: "made up, with the figures of the honest traffic of `lab run`",
			Shape: "A day. Of the items of inv and of long addr messages there is the number and not the list. RPC is polled every 30 seconds, getrawaddrman every half hour, " +
				"and its tables have a quarter of what they hold. Lines of debug.log are those with a meaning for the rules, not the one for each message.",
			play: func(l *life) {
				d := newDay(l, span, told)
				p.play(d)
				d.pass(d.left())
			},
		})
	}
	return all
}

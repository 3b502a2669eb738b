package incident

import (
	"math/rand/v2"
	"time"
)

// QuietDays is a part of the quiet year.
func QuietDays(from, days int) Incident {
	const day = 24 * time.Hour
	first, last := time.Duration(from)*day, time.Duration(from+days)*day
	var part []chance
	at := time.Duration(0)
	for _, c := range chances(quietSeed, year) {
		if at += c.gap; at >= first && at < last {
			if len(part) == 0 {
				c.gap = at - first
			}
			part = append(part, c)
		}
	}
	i := quietYear()
	i.Begins = i.Begins.Add(first)
	i.play = func(l *life) { l.quiet(part) }
	return i
}

// HonestSpan is a span of each kind of honest traffic, with what so many of the peers that stay
// send and get.
func HonestSpan(span time.Duration, told int) []Incident { return honest(span, told) }

// HonestTogether is a span in which all kinds of honest traffic go on at the same time, but for
// the number of transactions, and the node is started again at its end.
func HonestTogether(span time.Duration, told int) Incident {
	kinds := honest(span, told)
	i := kinds[0]
	for _, k := range kinds[1:] {
		i.Allowed = append(i.Allowed, k.Allowed...)
	}
	i.Name = "honest-together"
	i.play = func(l *life) {
		d := newDay(l, span, told)
		busy(d)
		d.rate = quietRate
		for _, begin := range []func(*day){luck, rush, release, departure, noise, flap} {
			begin(d)
		}
		restart(d, span-10*time.Minute)
		d.pass(span)
	}
	return i
}

// OperatorLeaves is a span of a node that loses the peers of one operator, with chance of its own
// and with hardly a transaction or address.
func OperatorLeaves(node string, seed uint64, span time.Duration) Incident {
	i := honest(span, 0)[0]
	i.play = func(l *life) {
		l.node, l.random = node, rand.New(rand.NewPCG(seed, seed))
		d := newDay(l, span, 0)
		d.rate, d.shared = 0.1, tables{}
		departure(d)
		d.pass(span)
	}
	return i
}

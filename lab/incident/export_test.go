package incident

import "time"

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

package connectivity

import "time"

// cache remembers keys for a time, at most so many. When it is full the oldest goes.
// All keys live equally long, so that the oldest is also the next to expire.
type cache[K comparable] struct {
	ttl     time.Duration
	max     int
	entries map[K]time.Time
	// order holds the keys, oldest first from head on.
	order []K
	head  int
}

func newCache[K comparable](ttl time.Duration, limit int) *cache[K] {
	return &cache[K]{ttl: ttl, max: limit, entries: map[K]time.Time{}}
}

// has tells whether a key is remembered.
func (c *cache[K]) has(key K, now time.Time) bool {
	c.expire(now)
	_, ok := c.entries[key]
	return ok
}

// add remembers a key; one that is remembered already keeps its time.
func (c *cache[K]) add(key K, now time.Time) {
	c.expire(now)
	if _, ok := c.entries[key]; ok {
		return
	}
	for len(c.entries) >= c.max {
		c.drop()
	}
	c.entries[key] = now.Add(c.ttl)
	c.order = append(c.order, key)
}

func (c *cache[K]) expire(now time.Time) {
	for c.head < len(c.order) && !now.Before(c.entries[c.order[c.head]]) {
		c.drop()
	}
}

// drop forgets the oldest.
func (c *cache[K]) drop() {
	delete(c.entries, c.order[c.head])
	c.head++
	if 2*c.head >= len(c.order) {
		n := copy(c.order, c.order[c.head:])
		clear(c.order[n:])
		c.order, c.head = c.order[:n], 0
	}
}

func (c *cache[K]) len() int { return len(c.entries) }

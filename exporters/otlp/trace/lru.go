package trace

import "container/list"

// lru is a map with a bound: the entry that was used longest ago makes room for a new
// one.
type lru[K comparable, V any] struct {
	limit   int
	entries map[K]*list.Element
	// order has the most recently used entry in front.
	order *list.List
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

func newLRU[K comparable, V any](limit int) *lru[K, V] {
	return &lru[K, V]{limit: limit, entries: map[K]*list.Element{}, order: list.New()}
}

func (l *lru[K, V]) len() int { return len(l.entries) }

// get gives the value of key and marks it as used.
func (l *lru[K, V]) get(key K) (value V, ok bool) {
	element := l.entries[key]
	if element == nil {
		return value, false
	}
	l.order.MoveToFront(element)
	return l.of(element).value, true
}

// put sets the value of key. It gives the entry that had to go, if any.
func (l *lru[K, V]) put(key K, value V) (evicted V, was bool) {
	if element := l.entries[key]; element != nil {
		l.of(element).value = value
		l.order.MoveToFront(element)
		return evicted, false
	}
	if len(l.entries) >= l.limit {
		_, evicted, was = l.oldest()
		if was {
			l.remove(l.of(l.order.Back()).key)
		}
	}
	l.entries[key] = l.order.PushFront(&entry[K, V]{key, value})
	return evicted, was
}

// oldest gives the entry that was used longest ago.
func (l *lru[K, V]) oldest() (key K, value V, ok bool) {
	element := l.order.Back()
	if element == nil {
		return key, value, false
	}
	e := l.of(element)
	return e.key, e.value, true
}

func (l *lru[K, V]) remove(key K) {
	if element := l.entries[key]; element != nil {
		l.order.Remove(element)
		delete(l.entries, key)
	}
}

func (l *lru[K, V]) of(element *list.Element) *entry[K, V] {
	return element.Value.(*entry[K, V]) //nolint:forcetypeassert // nothing else is ever put in
}

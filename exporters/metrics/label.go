package metrics

import (
	"sync/atomic"
	"unicode/utf8"
)

// other is the value of everything that is on no allow-list.
const other = "other"

// maxLabelText bounds the length in bytes of a value that becomes known at run time.
const maxLabelText = 64

// label is one dimension of a metric, with a bounded set of values. A value that
// isn't in the set becomes "other" and is counted in
// peerobserver_label_overflow_total, so that no peer can make a new series.
//
// There are three kinds: closed (this program's own numbers index it), bounded (text
// from outside meets an allow-list) and learning (the values are names from the
// operator's configuration, which become known at run time: the first few of them get
// a place). All methods but value belong to the goroutine that handles events.
type label struct {
	name string
	// values has a place for every value; a learning label fills them with time.
	values []atomic.Pointer[string]
	index  map[string]int
	// rest is the place of "other", or -1.
	rest     int
	learning bool
	overflow *cell
}

func newLabel(name string, size int, values []string) *label {
	l := &label{
		name:   name,
		values: make([]atomic.Pointer[string], size),
		index:  make(map[string]int, size),
		rest:   -1,
	}
	for i, v := range values {
		l.values[i].Store(&v)
		l.index[v] = i
	}
	return l
}

// closedLabel is a label that only this program's own numbers index.
func closedLabel(name string, values ...string) *label {
	return newLabel(name, len(values), values)
}

// boundedLabel is a label for text from outside: the values, then "other".
func boundedLabel(name string, values ...string) *label {
	l := newLabel(name, len(values)+1, append(append([]string(nil), values...), other))
	l.rest = len(values)
	return l
}

// learningLabel is a label whose values become known at run time: the first limit of
// them, then "other".
func learningLabel(name string, limit int, known ...string) *label {
	l := newLabel(name, limit+1, known)
	rest := other
	l.values[limit].Store(&rest)
	l.rest = limit
	l.learning = true
	return l
}

// size is the number of places.
func (l *label) size() int { return len(l.values) }

// value is the value at a place; empty when a learning label has not filled it.
func (l *label) value(i int) string {
	if v := l.values[i].Load(); v != nil {
		return *v
	}
	return ""
}

// of gives the place of a value.
func (l *label) of(value string) int {
	if i, ok := l.index[value]; ok {
		return i
	}
	return l.unknown(value)
}

// ofBytes is of without making a string of a value that is known.
func (l *label) ofBytes(value []byte) int {
	if i, ok := l.index[string(value)]; ok {
		return i
	}
	return l.unknown(string(value))
}

// has is whether the value has a place of its own.
func (l *label) has(value string) bool {
	_, ok := l.index[value]
	return ok
}

func (l *label) unknown(value string) int {
	if l.learning && len(l.index) < l.rest && value != "" && len(value) <= maxLabelText && utf8.ValidString(value) {
		i := len(l.index)
		l.index[value] = i
		l.values[i].Store(&value)
		return i
	}
	if l.overflow != nil {
		l.overflow.add(1)
	}
	return max(l.rest, 0)
}

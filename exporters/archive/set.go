package archive

import (
	"cmp"
	"container/heap"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/peerobserver/peerobserver/proto/event"
)

// Set reads several files as one stream. The files of one run of a writer follow each
// other as they were written; several such series, of several nodes for instance, are
// merged by the times of their events. A file is open only while its time has come.
type Set struct {
	options Options
	series  seriesHeap
	// last is the series of the last event, whose next event isn't read yet.
	last      *series
	malformed uint64
}

// series is the files of one run of a writer.
type series struct {
	files []seriesFile
	// order is the place among series of the same time.
	order int
	// index is the place in the heap.
	index int
	// at is the latest time so far of an event, in UNIX nanoseconds; before the first
	// event is read the time of that.
	at     int64
	reader *Reader
	event  *event.Event
}

type seriesFile struct {
	path   string
	number uint64
	// first is the time of the first event in UNIX nanoseconds.
	first int64
}

// serial is the part of a file's name that differs within a series.
func serial() *regexp.Regexp { return regexp.MustCompile(`\.\d{8}-\d{6}-\d{1,3}\.bin(\.zst)?$`) }

// OpenSet looks at the files and orders them. A file that is given twice, or has a copy,
// is an error: its events would come twice.
func OpenSet(paths []string, options Options) (*Set, error) {
	if len(paths) == 0 {
		return nil, errors.New("no archive files are given")
	}
	byKey := map[string]*series{}
	s := &Set{options: options}
	var list []*series
	pattern := serial()
	for _, path := range paths {
		key, f, err := examine(path, options, pattern)
		if err != nil {
			return nil, err
		}
		if f.first == math.MaxInt64 {
			continue // nothing in it that is wanted
		}
		one := byKey[key]
		if one == nil {
			one = &series{order: len(list)}
			byKey[key] = one
			list = append(list, one)
		}
		one.files = append(one.files, f)
	}
	for _, one := range list {
		slices.SortStableFunc(one.files, func(a, b seriesFile) int {
			return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(filepath.Base(a.path), filepath.Base(b.path)))
		})
		for i, f := range one.files[1:] {
			before := one.files[i]
			if f.path == before.path || f.number != 0 && f.number == before.number {
				return nil, fmt.Errorf("%s and %s hold the same events: give one of them", before.path, f.path)
			}
		}
		one.at = one.files[0].first
	}
	s.series = list
	for i, one := range list {
		one.index = i
	}
	heap.Init(&s.series)
	return s, nil
}

// examine finds out to which series a file belongs, and when it begins.
func examine(path string, options Options, pattern *regexp.Regexp) (key string, f seriesFile, err error) {
	r, err := Open(path, options)
	if err != nil {
		return "", f, err
	}
	defer r.Close()
	f = seriesFile{path: path, first: math.MaxInt64}
	if r.Format() == FormatBlocks && r.Header().GetSeries() != 0 {
		key = fmt.Sprintf("series %x", r.Header().GetSeries())
		f.number = r.Header().GetNumber()
	} else {
		key = "files " + pattern.ReplaceAllString(path, "")
	}
	for {
		e, err := r.Next()
		var damage *Damage
		switch {
		case err == nil:
			f.first = e.Time().UnixNano()
			return key, f, nil
		case errors.As(err, &damage):
		case errors.Is(err, io.EOF):
			return key, f, nil
		default:
			return "", f, err
		}
	}
}

// Next gives the next event, valid until the next call. It returns io.EOF at the end,
// and a *Damage where something is lost; then it may be called again.
func (s *Set) Next() (*event.Event, error) {
	for {
		if s.last == nil {
			if len(s.series) == 0 {
				return nil, io.EOF
			}
			next := s.series[0]
			if next.event != nil {
				s.last = next
				e := next.event
				next.event = nil
				return e, nil
			}
			s.last = next
		}
		if err := s.advance(s.last); err != nil {
			return nil, err
		}
		s.last = nil
	}
}

// advance reads the next event of a series, or takes the series out when it has ended.
func (s *Set) advance(one *series) error {
	for {
		if one.reader == nil {
			if len(one.files) == 0 {
				heap.Remove(&s.series, one.index)
				return nil
			}
			path := one.files[0].path
			one.files = one.files[1:]
			r, err := Open(path, s.options)
			if err != nil {
				return err
			}
			one.reader = r
		}
		e, err := one.reader.Next()
		if err == nil {
			one.event = e
			one.at = max(one.at, e.Time().UnixNano())
			heap.Fix(&s.series, one.index)
			return nil
		}
		if !errors.Is(err, io.EOF) {
			return err
		}
		s.malformed += one.reader.Malformed()
		err = one.reader.Close()
		one.reader = nil
		if err != nil {
			return err
		}
	}
}

// Malformed is the number of messages so far that are no events, in the files that were
// read to their end.
func (s *Set) Malformed() uint64 { return s.malformed }

// Close closes what is open.
func (s *Set) Close() error {
	var err error
	for _, one := range s.series {
		if one.reader != nil {
			err = errors.Join(err, one.reader.Close())
			one.reader = nil
		}
	}
	s.series, s.last = nil, nil
	return err
}

// seriesHeap is ordered by time.
type seriesHeap []*series

func (h seriesHeap) Len() int { return len(h) }
func (h seriesHeap) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(h[i].at, h[j].at), cmp.Compare(h[i].order, h[j].order)) < 0
}
func (h seriesHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *seriesHeap) Push(x any) {
	if one, ok := x.(*series); ok {
		one.index = len(*h)
		*h = append(*h, one)
	}
}

// Pop implements heap.Interface.
func (h *seriesHeap) Pop() any {
	last := (*h)[len(*h)-1]
	(*h)[len(*h)-1] = nil
	*h = (*h)[:len(*h)-1]
	return last
}

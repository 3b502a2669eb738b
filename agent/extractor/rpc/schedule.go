package rpc

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/peerobserver/peerobserver/proto/event"
)

// schedule is a method with its clock's settings and its history.
type schedule struct {
	method
	interval, timeout time.Duration

	mu         sync.Mutex
	status     MethodStatus
	missingAt  time.Time
	timeouts   int
	complained bool
	smaller    bool
}

// MethodStatus is what is known of one method on the node as it is now.
type MethodStatus struct {
	// Name is the method's name, such as getpeerinfo.
	Name string
	// Interval is the time between two calls.
	Interval time.Duration
	// Answered and Failed count since the node started or was found.
	Answered, Failed uint64
	// Err is the error of the last call, nil if it was answered.
	Err error
	// Missing: the node lacks the method; Err says what it answered.
	Missing bool
	// Duration is how long the last call took.
	Duration time.Duration
}

// Methods tells the state of every method that is on, for people.
func (x *Extractor) Methods() []MethodStatus {
	status := make([]MethodStatus, len(x.methods))
	for i, m := range x.methods {
		status[i] = m.state()
	}
	return status
}

// newSchedules applies the configuration to the table of methods.
func newSchedules(intervals, timeouts map[string]time.Duration) ([]*schedule, error) {
	table := methods()
	for _, names := range []map[string]time.Duration{intervals, timeouts} {
		for name := range names {
			if !slices.ContainsFunc(table, func(m method) bool { return m.name == name }) {
				return nil, fmt.Errorf("rpc extractor: no method %q to configure", name)
			}
		}
	}
	var schedules []*schedule
	for _, m := range table {
		s := &schedule{method: m, interval: m.defaultInterval, timeout: m.defaultTimeout}
		if interval, ok := intervals[m.name]; ok && interval != 0 {
			s.interval = interval
		}
		if timeout, ok := timeouts[m.name]; ok && timeout != 0 {
			s.timeout = timeout
		}
		if s.timeout < 0 {
			return nil, fmt.Errorf("rpc extractor: timeout of %s is negative", m.name)
		}
		if s.interval < 0 {
			continue
		}
		s.reset()
		schedules = append(schedules, s)
	}
	return schedules, nil
}

func (s *schedule) state() MethodStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// reset forgets the history, for another node.
func (s *schedule) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = MethodStatus{Name: s.name, Interval: s.interval}
	s.missingAt, s.timeouts, s.complained, s.smaller = time.Time{}, 0, false, false
}

// laneNow is the lane for the next call.
func (s *schedule) laneNow() lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status.Duration > slowCall {
		return laneHeavy
	}
	return s.lane
}

// leftOut reports whether the node lacks the method.
func (s *schedule) leftOut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status.Missing && time.Since(s.missingAt) < recheckMissing
}

func (s *schedule) leaveOut(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Missing, s.status.Err, s.missingAt = true, err, time.Now()
}

func (s *schedule) called(duration time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Duration = duration
}

// succeeded reports whether the method had failed before, by itself.
func (s *schedule) succeeded() (again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	again = s.status.Err != nil && !concernsAll(s.status.Err)
	s.status.Answered++
	s.status.Err, s.status.Missing = nil, false
	s.timeouts = 0
	return again
}

// failed gives the number of timeouts in a row, and whether the call before didn't
// fail, or failed for another reason.
func (s *schedule) failed(err error, reason event.Reason) (timeouts int, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first = s.status.Err == nil || classify(s.status.Err) != reason
	s.status.Failed++
	s.status.Err = err
	if reason == reasonTimeout {
		s.timeouts++
	} else {
		s.timeouts = 0
	}
	return s.timeouts, first
}

// complainOnce is true once for each node.
func (s *schedule) complainOnce() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.complained {
		return false
	}
	s.complained = true
	return true
}

// useSmaller switches to the method's shorter form; it is false where there is none,
// or where it is in use.
func (s *schedule) useSmaller() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.smaller || s.smallerParams == nil {
		return false
	}
	s.smaller = true
	return true
}

// parameters gives the parameters of a call in the form in use.
func (s *schedule) parameters(c call) []any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.smaller {
		return s.smallerParams
	}
	return c.params
}

package archive

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/peerobserver/peerobserver/proto/event"
)

// outage tries to write the block until it succeeds. Meanwhile the queue takes what
// comes; when it is half full its oldest events are given up and counted, so that the
// newest are there when the disk is.
func (s *Sink) outage(ctx context.Context, err error) {
	s.setFailed(err)
	began := s.now()
	var lost uint64
	s.logger.Error("archive can't be written; events are kept in memory as long as they fit, and lost then",
		"dir", s.cfg.Dir, "err", err, "buffer", s.cfg.Buffer)
	for delay := minRetry; ; delay = min(2*delay, maxRetry) {
		lost += s.waitAndShed(ctx, delay, err)
		if err = s.writeBlock(); err == nil {
			s.setFailed(nil)
			s.logger.Info("archive can be written again", "dir", s.cfg.Dir, "after", s.now().Sub(began).Round(time.Millisecond), "events_lost", lost)
			return
		}
		s.setFailed(err)
		if ctx.Err() != nil {
			s.lose(&s.block.sources, err)
			s.logger.Error("archive could not be written to the end", "dir", s.cfg.Dir, "err", err, "events_lost", lost+s.block.events)
			return
		}
	}
}

// waitAndShed waits, and gives up events that the queue needs the room of. It gives their
// number.
func (s *Sink) waitAndShed(ctx context.Context, delay time.Duration, cause error) (lost uint64) {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	tick := time.NewTicker(minRetry / 10)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return lost
		case <-timer.C:
			return lost
		case <-tick.C:
		}
		for s.queue.State().Bytes > uint64(s.cfg.Buffer)/2 {
			events := s.queue.Next()
			if events == nil {
				break
			}
			var sources [sourceCount]uint64
			for i := range events {
				sources[sourceIndex(events[i].Source)]++
			}
			lost += s.lose(&sources, cause)
			s.queue.Release(len(events))
		}
	}
}

// lose counts events as lost, and gives their number.
func (s *Sink) lose(sources *[sourceCount]uint64, cause error) (total uint64) {
	reason := ReasonIO
	if errors.Is(cause, syscall.ENOSPC) || errors.Is(cause, syscall.EDQUOT) || errors.Is(cause, syscall.EFBIG) {
		reason = ReasonNoSpace
	}
	for source, n := range sources {
		if n > 0 {
			s.ledger.Loss(event.Source(source), event.StageWrite, reason).Add(n)
			total += n
		}
	}
	return total
}

// Package getblocktxn is the sink that records which transactions of compact blocks were
// missing: every getblocktxn message (BIP152) that the node sent or received, with what
// came of it, as one row in a file of JSON lines or CSV.
//
// The same tool in Python is proto/python/examples/record_getblocktxn.py; a test holds
// the two against each other.
package getblocktxn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/peerobserver/peerobserver/proto/event"
)

const (
	// DefaultTimeout is how long an answer is waited for: the time after which Bitcoin
	// Core disconnects a peer that doesn't deliver a block, without others in flight
	// (net_processing.cpp: BLOCK_DOWNLOAD_TIMEOUT_BASE).
	DefaultTimeout = 10 * time.Minute
	// DefaultBuffer bounds the rows that wait for the output, in bytes.
	DefaultBuffer = 16 << 20
	// retryInterval is the time between two attempts to write where one failed.
	retryInterval = time.Second
	// DefaultShutdownTimeout is how long Run waits at its end for a slow output.
	DefaultShutdownTimeout = 5 * time.Second
)

// Reasons for lost rows, each counted as an event.
const (
	// ReasonBufferFull: the output was too slow, or its disk full for too long.
	ReasonBufferFull event.Reason = "getblocktxn_full"
	// ReasonOutput: the output took nothing up to the end.
	ReasonOutput event.Reason = "getblocktxn_output"
)

// Config describes a sink.
type Config struct {
	// Output is where rows are written; see Open for files.
	Output io.Writer
	Format Format
	// Header writes the names of the columns first, in formats that have them.
	Header bool
	// Timeout is how long an answer is waited for; DefaultTimeout when 0.
	Timeout time.Duration
	// Buffer bounds the rows that wait for the output in bytes; DefaultBuffer when 0.
	Buffer int
	// ShutdownTimeout is how long Run waits at its end for a slow output;
	// DefaultShutdownTimeout when 0.
	ShutdownTimeout time.Duration
}

// Sink is an event.Sink and an event.Runner.
type Sink struct {
	config Config
	logger *slog.Logger
	ready  chan struct{}

	full, unwritten, undecodable *event.Counter

	// mu guards what follows.
	mu       sync.Mutex
	recorder *recorder
	buffer   []byte
	// inFlight is the number of rows that are being written.
	inFlight int
}

// New makes a sink. It writes while it runs.
func New(config Config, ledger *event.Ledger, logger *slog.Logger) (*Sink, error) {
	if config.Output == nil {
		return nil, errors.New("getblocktxn: no output")
	}
	if config.Timeout < 0 || config.Buffer < 0 || config.ShutdownTimeout < 0 {
		return nil, errors.New("getblocktxn: times to wait and the buffer can't be negative")
	}
	if config.Timeout == 0 {
		config.Timeout = DefaultTimeout
	}
	if config.Buffer == 0 {
		config.Buffer = DefaultBuffer
	}
	if config.ShutdownTimeout == 0 {
		config.ShutdownTimeout = DefaultShutdownTimeout
	}
	s := &Sink{
		config: config, logger: logger, ready: make(chan struct{}, 1),
		full:        ledger.Loss(event.SourceEBPF, event.StageQueue, ReasonBufferFull),
		unwritten:   ledger.Loss(event.SourceEBPF, event.StageWrite, ReasonOutput),
		undecodable: ledger.Loss(event.SourceEBPF, event.StageDecode, event.ReasonMalformed),
	}
	s.recorder = newRecorder(config.Timeout, s.add)
	if config.Header {
		s.buffer = append(s.buffer, config.Format.header()...)
	}
	return s, nil
}

// Open opens a file to append rows to, making it if it isn't there; header says that it is
// empty. A line that a crash has torn is ended, so that the next row stays whole.
func Open(path string) (file *os.File, header bool, err error) {
	file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, false, err
	}
	info, err := file.Stat()
	if err == nil && info.Mode().IsRegular() && info.Size() > 0 {
		last := make([]byte, 1)
		if _, err = file.ReadAt(last, info.Size()-1); err == nil && last[0] != '\n' {
			_, err = file.WriteString("\n")
		}
	}
	if err != nil {
		return nil, false, errors.Join(fmt.Errorf("%s: %w", path, err), file.Close())
	}
	return file, info.Size() == 0, nil
}

// HandleEvent implements event.Sink. It never waits for the output.
func (s *Sink) HandleEvent(e *event.Event) {
	s.mu.Lock()
	ok := s.recorder.handle(e)
	wake := len(s.buffer) > 0
	s.mu.Unlock()
	if !ok {
		s.undecodable.Add(1)
	}
	if wake {
		select {
		case s.ready <- struct{}{}:
		default:
		}
	}
}

// add puts a row into the buffer.
func (s *Sink) add(r *Row) {
	line := s.config.Format.line(r)
	if len(s.buffer)+len(line) > s.config.Buffer {
		s.full.Add(1)
		return
	}
	s.buffer = append(s.buffer, line...)
}

// take gives what is in the buffer.
func (s *Sink) take() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.buffer
	s.buffer, s.inFlight = nil, rows(taken)
	return taken
}

// rows counts rows by the ends of their lines.
func rows(text []byte) int { return bytes.Count(text, []byte{'\n'}) }

// Run writes until ctx ends, then the requests that are still open and what is buffered. An
// output that fails is tried again: a disk that is full may have room later. An output
// that is stuck can't be interrupted: Run leaves it behind. The end of a pipe's reader is
// a normal end.
func (s *Sink) Run(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		s.write(ctx)
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	timer := time.NewTimer(s.config.ShutdownTimeout)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		s.mu.Lock()
		s.unwritten.Add(uint64(s.inFlight + rows(s.buffer)))
		s.mu.Unlock()
		s.logger.Warn("the output is too slow: the last rows are lost", "timeout", s.config.ShutdownTimeout)
	}
	return nil
}

func (s *Sink) write(ctx context.Context) {
	var rest []byte
	failing := false
	for {
		ended := ctx.Err() != nil
		if ended {
			s.mu.Lock()
			s.recorder.finishAll()
			s.mu.Unlock()
		}
		if len(rest) == 0 {
			rest = s.take()
		}
		if len(rest) > 0 {
			n, err := s.config.Output.Write(rest)
			rest = rest[n:]
			if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
				return
			}
			s.report(err, failing)
			failing = err != nil
		}
		if ended && (failing || s.empty()) {
			s.unwritten.Add(uint64(rows(rest) + rows(s.take())))
			return
		}
		if !ended && (failing || s.empty()) {
			s.wait(ctx, failing)
		}
	}
}

// report logs that the output began or ceased to fail.
func (s *Sink) report(err error, failing bool) {
	switch {
	case err != nil && !failing:
		s.logger.Warn("rows can't be written; trying again", "err", err, "every", retryInterval)
	case err == nil && failing:
		s.logger.Info("rows can be written again")
	}
}

// wait waits for something to write, or where the output fails for the next attempt.
func (s *Sink) wait(ctx context.Context, failing bool) {
	ready, retry := s.ready, (<-chan time.Time)(nil)
	if failing {
		timer := time.NewTimer(retryInterval)
		defer timer.Stop()
		ready, retry = nil, timer.C
	}
	select {
	case <-ctx.Done():
	case <-ready:
	case <-retry:
	}
}

func (s *Sink) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.buffer) == 0
}

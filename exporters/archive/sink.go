package archive

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/exporters/queue"
	"github.com/peerobserver/peerobserver/exporters/redact"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// Defaults of Config.
const (
	DefaultBase          = "archive"
	DefaultMaxFileSize   = 1 << 30
	DefaultMaxFileAge    = 24 * time.Hour
	DefaultMaxTotalSize  = 20 << 30
	DefaultLevel         = 3
	DefaultBuffer        = 32 << 20
	DefaultBlockSize     = 1 << 20
	DefaultFlushInterval = 2 * time.Second
	DefaultSyncInterval  = 30 * time.Second
)

const (
	minBlockSize = 4 << 10
	maxBlockSize = 8 << 20
	// minFileSize is the smallest sensible size of a file in bytes.
	minFileSize = 64 << 10
	// minRetry and maxRetry bound the delay between attempts to write after a failure.
	minRetry = 250 * time.Millisecond
	maxRetry = 5 * time.Second
)

// Reasons for losses at event.StageWrite.
const (
	// ReasonNoSpace: there was no room on the disk, or no quota left.
	ReasonNoSpace event.Reason = "no_space"
	// ReasonIO: the file could not be written for another reason.
	ReasonIO event.Reason = "io_error"
)

// Config describes an archive. Sizes are in bytes; zero stands for the default.
type Config struct {
	// Dir is the directory of the files. It is made with mode 0700 if it isn't there.
	Dir string
	// Base begins the names of the files; DefaultBase when empty.
	Base string
	// MaxFileSize and MaxFileAge are when a new file is begun. A file grows beyond its
	// size by at most one block.
	MaxFileSize int64
	MaxFileAge  time.Duration
	// MaxTotalSize is what all files may take; the oldest are deleted. Negative for no
	// limit.
	MaxTotalSize int64
	// Level is that of zstd, 1 to 22, as far as the encoder has different ones: below 3,
	// below 6, below 10, and above.
	Level int
	// Filter says what is archived.
	Filter Filter
	// WithoutPayloads removes raw transactions and payloads of unknown messages.
	WithoutPayloads bool
	// Redactor replaces addresses by pseudonyms; nil for not.
	Redactor *redact.Redactor
	// Buffer bounds the events that wait for the disk.
	Buffer int64
	// BlockSize is the size of a block before compression. Larger ones compress better.
	BlockSize int
	// FlushInterval is how long an event may wait for its block to fill: what a kill of
	// the process loses.
	FlushInterval time.Duration
	// SyncInterval is how long written blocks may wait for fsync: what a power failure
	// loses. Files are also synced when they are closed.
	SyncInterval time.Duration
	// Writer is the name and version of the program, for the header.
	Writer string
}

func (c *Config) validate() error {
	setDefault(&c.Base, DefaultBase)
	setDefault(&c.MaxFileSize, DefaultMaxFileSize)
	setDefault(&c.MaxFileAge, DefaultMaxFileAge)
	setDefault(&c.MaxTotalSize, DefaultMaxTotalSize)
	setDefault(&c.Level, DefaultLevel)
	setDefault(&c.Buffer, DefaultBuffer)
	setDefault(&c.BlockSize, DefaultBlockSize)
	setDefault(&c.FlushInterval, DefaultFlushInterval)
	setDefault(&c.SyncInterval, DefaultSyncInterval)
	setDefault(&c.Writer, "peer-observer")
	switch {
	case c.Level < 1 || c.Level > 22:
		return fmt.Errorf("the compression level is %d: choose one from 1 (fast) to 22 (small)", c.Level)
	case c.MaxFileSize < minFileSize:
		return fmt.Errorf("the largest size of a file is %d bytes: choose at least %d", c.MaxFileSize, minFileSize)
	case c.MaxTotalSize > 0 && c.MaxTotalSize < c.MaxFileSize:
		return fmt.Errorf("the size of all files, %d bytes, is smaller than that of one, %d bytes: choose it larger, or smaller files", c.MaxTotalSize, c.MaxFileSize)
	case c.MaxFileAge < 0 || c.FlushInterval < 0 || c.SyncInterval < 0:
		return errors.New("a time of the archive is negative")
	case c.BlockSize < minBlockSize || c.BlockSize > maxBlockSize:
		return fmt.Errorf("the size of a block is %d bytes: choose one from %d to %d", c.BlockSize, minBlockSize, maxBlockSize)
	}
	return nil
}

func setDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// Sink archives events. HandleEvent queues, Run writes.
type Sink struct {
	cfg    Config
	dir    *directory
	queue  *queue.Queue
	ledger *event.Ledger
	logger *slog.Logger
	now    func() time.Time

	// scratch belongs to the goroutine that calls HandleEvent.
	scratch decode.Event

	// What follows belongs to the goroutine of Run.
	encoder  *zstd.Encoder
	stripper *stripper
	redacted []byte
	block    block
	// begun is when the first event came into the block.
	begun      time.Time
	compressed []byte
	file       *file
	lastSync   time.Time
	series     uint64
	number     uint64
	// stored is the size of all files but the one being written.
	stored int64

	mu     sync.Mutex
	failed error
}

// New makes a sink. It touches the disk when it runs.
func New(cfg Config, ledger *event.Ledger, logger *slog.Logger) (*Sink, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	dir, err := newDirectory(cfg.Dir, cfg.Base)
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	q, err := queue.New(queue.Config{Sink: "archive", Capacity: cfg.Buffer}, ledger)
	if err != nil {
		return nil, err
	}
	encoder, err := newEncoder(cfg.Level)
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	s := &Sink{
		cfg: cfg, dir: dir, queue: q, ledger: ledger, logger: logger, now: time.Now, encoder: encoder, stripper: newStripper(),
	}
	s.block.reset()
	return s, nil
}

// HandleEvent queues the event if the filter lets it through.
func (s *Sink) HandleEvent(e *event.Event) {
	if s.cfg.Filter.admits(e, &s.scratch) {
		s.queue.HandleEvent(e)
	}
}

// State says whether the archive is being written, and if not why.
func (s *Sink) State() (ok bool, detail string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return false, s.failed.Error()
	}
	return true, s.cfg.Dir
}

func (s *Sink) setFailed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = err
}

// Run writes until ctx ends, then what is queued. A disk that is full, or otherwise
// fails, doesn't end it: it keeps what its buffer holds and tries on. It returns an error
// when another program uses the directory, or it can't be made.
func (s *Sink) Run(ctx context.Context) (err error) {
	if err := s.dir.open(); err != nil {
		return fmt.Errorf("archive in %s (--exporter.archive.dir, --dir): %w", s.cfg.Dir, err)
	}
	defer func() { err = errors.Join(err, s.dir.close()) }()
	var series [8]byte
	if _, err := rand.Read(series[:]); err != nil {
		return fmt.Errorf("archive: no random number: %w", err)
	}
	s.series, s.number = binary.LittleEndian.Uint64(series[:]), 0
	s.lastSync = s.now()
	tick := time.NewTicker(min(s.cfg.FlushInterval, s.cfg.SyncInterval, time.Second)/4 + time.Millisecond)
	defer tick.Stop()
	for ended := false; !ended; {
		ended = ctx.Err() != nil
		for events := s.queue.Next(); events != nil; events = s.queue.Next() {
			s.take(ctx, events)
			// The queue may not be empty for long.
			s.maintain(ctx)
		}
		if ended {
			break
		}
		s.maintain(ctx)
		select {
		case <-ctx.Done():
		case <-s.queue.Ready():
		case <-tick.C:
		}
	}
	s.flush(ctx)
	s.closeFile()
	s.queue.Close()
	return nil
}

// take puts events into the block until it is full, and has it written then. Events that
// didn't fit go back to the queue: during an outage it gives up its oldest.
func (s *Sink) take(ctx context.Context, events []event.Event) {
	taken := 0
	for i := range events {
		if len(s.block.content) >= s.cfg.BlockSize {
			break
		}
		e := &events[i]
		if s.block.events == 0 {
			s.begun = s.now()
		}
		taken++
		data, ok := s.redact(e.Data)
		if !ok {
			s.ledger.Loss(e.Source, event.StageDecode, redact.ReasonRedaction).Add(1)
			continue
		}
		if s.cfg.WithoutPayloads {
			data = s.stripper.strip(e.Kind, data)
		}
		s.block.add(e, data)
	}
	s.queue.Rewind(len(events) - taken)
	s.queue.Release(taken)
	if len(s.block.content) >= s.cfg.BlockSize {
		s.flush(ctx)
	}
}

// redact gives an event without addresses, if that is wanted, valid until the next call.
func (s *Sink) redact(data []byte) (redacted []byte, ok bool) {
	if s.cfg.Redactor == nil {
		return data, true
	}
	redacted, err := s.cfg.Redactor.AppendEvent(s.redacted[:0], data)
	if s.redacted = redacted; cap(redacted) > 2*maxBlockSize {
		s.redacted = nil
	}
	return redacted, err == nil
}

// maintain does what is due by time.
func (s *Sink) maintain(ctx context.Context) {
	now := s.now()
	if s.block.events > 0 && now.Sub(s.begun) >= s.cfg.FlushInterval {
		s.flush(ctx)
	}
	if s.file == nil {
		return
	}
	if now.Sub(s.file.created) >= s.cfg.MaxFileAge && !s.file.empty() {
		s.closeFile()
		return
	}
	if now.Sub(s.lastSync) >= s.cfg.SyncInterval {
		s.lastSync = now
		if err := s.file.sync(); err != nil {
			s.logger.Error("archive file could not be synced to the disk", "file", s.file.path, "err", err)
		}
	}
}

// flush writes the block, however long it takes, unless ctx ends: then it is tried once
// more, and lost if that fails.
func (s *Sink) flush(ctx context.Context) {
	if s.block.events == 0 {
		return
	}
	s.compressed = s.encoder.EncodeAll(s.block.content, s.compressed[:0])
	if err := s.writeBlock(); err != nil {
		s.outage(ctx, err)
	}
	s.block.reset()
	if cap(s.compressed) > 2*maxBlockSize {
		s.compressed = nil
	}
}

// writeBlock writes the compressed block, into a new file if necessary.
func (s *Sink) writeBlock() error {
	if s.file == nil {
		if err := s.newFile(); err != nil {
			return err
		}
	}
	if err := s.file.write(&s.block, s.compressed); err != nil {
		if s.file.broken {
			// Its end is torn, which readers notice; a new one is begun.
			s.abandonFile()
		}
		return err
	}
	switch {
	case s.file.size >= s.cfg.MaxFileSize:
		s.closeFile()
	case s.cfg.MaxTotalSize > 0 && s.stored+s.file.size > s.cfg.MaxTotalSize:
		s.prune(s.file.path)
	}
	return nil
}

// newFile begins a file, after making room for it.
func (s *Sink) newFile() error {
	s.prune("")
	now := s.now()
	header := &eventpb.ArchiveHeader{
		Created:   ptr(uint64(now.Unix())),
		Format:    ptr(uint32(formatVersion)),
		CreatedNs: ptr(uint64(now.UnixNano())),
		Writer:    &s.cfg.Writer,
		Series:    &s.series,
		Number:    ptr(s.number + 1),
		Selection: s.cfg.Filter.selection(s.cfg.WithoutPayloads),
	}
	// The names of files that are begun in the same millisecond differ all the same.
	for at := now; ; at = at.Add(time.Millisecond) {
		f, err := newFile(filepath.Join(s.dir.path, fileName(s.dir.base, at)), header, s.encoder)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		s.file = f
		s.number++
		s.logger.Info("archive file begun", "file", f.path)
		return nil
	}
}

// prune keeps the size of all files within its limit, but not the file at current.
func (s *Sink) prune(current string) {
	if s.cfg.MaxTotalSize < 0 {
		return
	}
	total, err := s.dir.prune(s.cfg.MaxTotalSize, current, func(f stored) {
		s.logger.Info("oldest archive file deleted, to keep the limit of their total size", "file", f.path, "bytes", f.size, "limit", s.cfg.MaxTotalSize)
	})
	if err != nil {
		s.logger.Error("old archive files could not be deleted", "err", err)
	}
	s.stored = total
	if current != "" {
		s.stored -= s.file.size
	}
}

func (s *Sink) closeFile() {
	if s.file == nil {
		return
	}
	f := s.file
	s.file = nil
	if err := f.close(); err != nil {
		s.logger.Error("archive file could not be closed in order; its events can be read all the same", "file", f.path, "err", err)
		return
	}
	s.logger.Info("archive file complete", "file", f.path, "bytes", f.size, "events", f.total.events)
}

// abandonFile gives up a file whose end can't be repaired.
func (s *Sink) abandonFile() {
	if err := s.file.f.Close(); err != nil {
		s.logger.Error("archive file could not be closed", "file", s.file.path, "err", err)
	}
	s.file = nil
}

// Package log is the source that follows the node's debug.log: through rotation,
// truncation and restarts, from the moment that the file exists. Every entry becomes
// an event; those of known meaning are taken apart.
//
// It polls the file: four looks a second cost two system calls each, work on every file
// system (inotify is silent on network and some overlay file systems, and for changes
// made outside a container), and a line is seen as late as a quarter of a second after
// it was written. Its own time is in it anyway.
package log

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// Defaults of Config.
const (
	DefaultMaxLine      = 64 << 10
	DefaultPollInterval = 250 * time.Millisecond
)

// minLine is the smallest Config.MaxLine: the longest prefix has to fit.
const minLine = 1 << 10

// Reasons of losses (stage read), beside event.ReasonTooLarge for lines that were cut.
const (
	// reasonTruncated counts how often the file was cut short or replaced in place.
	// What was written to it between our last look and that, nobody can know; each
	// counts as one.
	reasonTruncated event.Reason = "truncated"
	// reasonError counts failed reads.
	reasonError event.Reason = "error"
)

// Config says what to follow.
type Config struct {
	// Path gives the path of debug.log, or of a FIFO that the node or tail writes
	// to; empty as long as it isn't known. It is called four times a second.
	Path func() string
	// NodeStart gives the start time of the node's process in UNIX nanoseconds, zero
	// when unknown.
	NodeStart func() int64
	// FromStart reads a file that exists when the extractor starts from its
	// beginning. Otherwise it is read from its end, or from the first line of the
	// node's present run if the node started after the extractor. A file that comes
	// later is always read from its beginning.
	FromStart bool
	// MaxLine is the longest line in bytes, DefaultMaxLine when zero; longer ones are
	// cut, and counted.
	MaxLine int
	// PollInterval is the time between two looks, DefaultPollInterval when zero.
	PollInterval time.Duration
}

// Extractor follows the log and emits its entries.
type Extractor struct {
	config  Config
	emitter *event.Emitter
	logger  *slog.Logger
	matcher *matcher

	truncated, tooLarge, failed *event.Counter
}

// New checks the configuration. Events go to the emitter, losses to the ledger, what
// an operator should know to the logger.
func New(config Config, emitter *event.Emitter, ledger *event.Ledger, logger *slog.Logger) (*Extractor, error) {
	if config.Path == nil {
		return nil, errors.New("log extractor: Config.Path is nil")
	}
	if config.NodeStart == nil {
		config.NodeStart = func() int64 { return 0 }
	}
	if config.MaxLine == 0 {
		config.MaxLine = DefaultMaxLine
	}
	if config.MaxLine < minLine || config.MaxLine > maxEntryBytes {
		return nil, fmt.Errorf("log extractor: longest line of %d bytes is not between %d and %d", config.MaxLine, minLine, maxEntryBytes)
	}
	if config.PollInterval == 0 {
		config.PollInterval = DefaultPollInterval
	}
	if config.PollInterval < 0 {
		return nil, errors.New("log extractor: poll interval is negative")
	}
	m, err := newMatcher()
	if err != nil {
		return nil, fmt.Errorf("log extractor: %w", err)
	}
	return &Extractor{
		config:    config,
		emitter:   emitter,
		logger:    logger,
		matcher:   m,
		truncated: ledger.Loss(event.SourceLog, event.StageRead, reasonTruncated),
		tooLarge:  ledger.Loss(event.SourceLog, event.StageRead, event.ReasonTooLarge),
		failed:    ledger.Loss(event.SourceLog, event.StageRead, reasonError),
	}, nil
}

var _ event.Runner = (*Extractor)(nil)

// Run follows the log until ctx ends, and then returns nil.
func (x *Extractor) Run(ctx context.Context) error {
	account := x.emitter.Account()
	f := &follower{
		extractor: x,
		started:   time.Now(),
		assembler: &assembler{prefix: newPrefixParser(), matcher: x.matcher, emit: x.emit},
		chunk:     make([]byte, chunkSize),
	}
	f.splitter = &splitter{limit: x.config.MaxLine, line: f.line}
	defer func() {
		f.close()
		account.Down("stopped")
	}()
	ticker := time.NewTicker(x.config.PollInterval)
	defer ticker.Stop()
	for {
		f.poll(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (x *Extractor) emit(e *eventpb.LogExtractor) {
	x.emitter.Emit(&eventpb.Event{PeerObserverEvent: &eventpb.Event_LogExtractor{LogExtractor: e}},
		event.Times{NodeStart: x.config.NodeStart()})
}

// Package logger is the sink that shows events to people and scripts: a readable line
// or a JSON object for each, or a table of counts.
package logger

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/queue"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// Format is how an event is printed.
type Format uint8

// The formats.
const (
	// FormatText is one readable line an event. It is for people: it may change.
	FormatText Format = iota
	// FormatJSON is one JSON object a line: the protobuf JSON mapping of the event,
	// with the field names of the .proto files.
	FormatJSON
)

// ParseFormat reads "text" or "json".
func ParseFormat(name string) (Format, error) {
	switch name {
	case "text":
		return FormatText, nil
	case "json":
		return FormatJSON, nil
	default:
		return 0, fmt.Errorf("unknown format %q (known: text, json)", name)
	}
}

// DefaultBuffer is how many bytes of events may wait for a slow output.
const DefaultBuffer = 16 << 20

// stuckOutput is how long Run waits at its end for an output that takes nothing.
const stuckOutput = time.Second

// ErrOutputClosed is returned by Run when the reader of the output is gone, such as
// head after its last line. It is a normal end.
var ErrOutputClosed = errors.New("output is closed")

// Config describes a logger.
type Config struct {
	// Output is where events are printed.
	Output io.Writer
	Format Format
	Filter Filter
	// Count prints a table of counts at the end instead of the events, and after each
	// CountInterval when that isn't 0.
	Count         bool
	CountInterval time.Duration
	// Buffer bounds the events that wait for the output in bytes; DefaultBuffer when
	// 0. What finds no room is skipped and counted.
	Buffer int64
	// ShowNode prints the node's name in each line. Otherwise it is printed once
	// events of a second node come.
	ShowNode bool
}

// Logger prints events.
type Logger struct {
	cfg    Config
	ledger *event.Ledger
	logger *slog.Logger
	queue  *queue.Queue
	out    *bufio.Writer
	line   []byte
	counts *counts

	node        string
	nodeSeen    bool
	showNode    bool
	undecodable *event.Counter
}

// New makes a logger. It prints while it runs.
func New(cfg Config, ledger *event.Ledger, logger *slog.Logger) (*Logger, error) {
	if cfg.Output == nil {
		return nil, errors.New("logger: no output")
	}
	if cfg.Buffer == 0 {
		cfg.Buffer = DefaultBuffer
	}
	q, err := queue.New(queue.Config{Sink: "logger", Capacity: cfg.Buffer}, ledger)
	if err != nil {
		return nil, err
	}
	return &Logger{
		cfg:         cfg,
		ledger:      ledger,
		logger:      logger,
		queue:       q,
		out:         bufio.NewWriterSize(cfg.Output, 64<<10),
		counts:      newCounts(),
		showNode:    cfg.ShowNode,
		undecodable: ledger.Loss(event.SourceUnknown, event.StageDecode, event.ReasonMalformed),
	}, nil
}

// HandleEvent queues the event if the filter lets it through.
func (l *Logger) HandleEvent(e *event.Event) {
	if l.cfg.Filter.Admits(e) {
		l.queue.HandleEvent(e)
	}
}

// Run prints until ctx ends, then what is queued. It returns ErrOutputClosed when nobody
// reads the output any more. An output that is stuck can't be interrupted: Run leaves
// it behind.
func (l *Logger) Run(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- l.print(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(stuckOutput)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return nil
	}
}

func (l *Logger) print(ctx context.Context) error {
	ticks := make(<-chan time.Time)
	if l.cfg.Count && l.cfg.CountInterval > 0 {
		ticker := time.NewTicker(l.cfg.CountInterval)
		defer ticker.Stop()
		ticks = ticker.C
	}
	for {
		ended := ctx.Err() != nil
		if err := l.printQueued(); err != nil {
			return err
		}
		if ended {
			break
		}
		if err := l.flush(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-l.queue.Ready():
		case <-ticks:
			l.printCounts()
		}
	}
	if l.cfg.Count {
		l.printCounts()
	}
	return l.flush()
}

func (l *Logger) flush() error { return outputError(l.out.Flush()) }

// outputError turns what a closed pipe gives into ErrOutputClosed.
func outputError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EPIPE), errors.Is(err, io.ErrClosedPipe):
		return ErrOutputClosed
	default:
		return fmt.Errorf("printing events: %w", err)
	}
}

// printQueued prints everything that is in the queue.
func (l *Logger) printQueued() error {
	for events := l.queue.Next(); events != nil; events = l.queue.Next() {
		for i := range events {
			if err := l.printEvent(&events[i]); err != nil {
				return err
			}
		}
		l.queue.Release(len(events))
	}
	return nil
}

func (l *Logger) printEvent(e *event.Event) error {
	if l.cfg.Count && !l.cfg.Filter.NeedsDecoding(e) {
		l.counts.add(e)
		return nil
	}
	decoded := new(eventpb.Event)
	if err := proto.Unmarshal(e.Data, decoded); err != nil {
		l.undecodable.Add(1)
		l.logger.Debug("event can't be decoded", "subject", e.Subject, "bytes", len(e.Data), "error", err)
		return nil
	}
	if !l.cfg.Filter.AdmitsDecoded(decoded) {
		return nil
	}
	if l.cfg.Count {
		l.counts.add(e)
		return nil
	}
	if l.cfg.Format == FormatJSON {
		var err error
		if l.line, err = AppendJSON(l.line[:0], decoded); err != nil {
			l.undecodable.Add(1)
			l.logger.Debug("event has no JSON form", "subject", e.Subject, "bytes", len(e.Data), "error", err)
			return nil
		}
	} else {
		l.noteNode(e.NodeName)
		node := ""
		if l.showNode {
			node = e.NodeName
		}
		l.line = AppendText(l.line[:0], node, e, decoded)
	}
	l.line = append(l.line, '\n')
	_, err := l.out.Write(l.line)
	return outputError(err)
}

// noteNode switches the node column on when there are several nodes.
func (l *Logger) noteNode(name string) {
	if !l.nodeSeen {
		l.node, l.nodeSeen = name, true
	}
	if name != l.node {
		l.showNode = true
	}
}

// printCounts prints the table, with what was skipped below it.
func (l *Logger) printCounts() {
	l.counts.print(l.out)
	for _, loss := range l.ledger.Status().GetLosses() {
		if loss.GetCount() > 0 {
			fmt.Fprintf(l.out, "lost: %d events of %s at %s (%s)\n", loss.GetCount(), loss.GetSource(),
				loss.GetStage(), strings.ReplaceAll(loss.GetReason(), "_", " "))
		}
	}
}

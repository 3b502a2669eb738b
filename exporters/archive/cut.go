package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/exporters/redact"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// CutConfig says what Cut takes from where.
type CutConfig struct {
	Paths   []string
	Options Options
	Filter  Filter
	// WithoutPayloads removes raw transactions and payloads of unknown messages.
	WithoutPayloads bool
	// Redactor replaces addresses by pseudonyms; nil for not.
	Redactor *redact.Redactor
	// Output is the new file; it must not exist.
	Output string
	// Level is as in Config.
	Level int
	// Writer is the name and version of the program, for the header.
	Writer string
	// Damaged is called for each place that can't be read; nil for nothing.
	Damaged func(*Damage)
}

// Cut writes events of files, of any format, into one new file. It gives their number.
// When it fails there is no new file.
func Cut(ctx context.Context, cfg CutConfig) (events uint64, err error) {
	sink := Config{Dir: ".", Level: cfg.Level, Writer: cfg.Writer}
	if err := sink.validate(); err != nil {
		return 0, err
	}
	if cfg.Output == "" {
		return 0, errors.New("no file to write to is given")
	}
	set, err := OpenSet(cfg.Paths, cfg.Options)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	encoder, err := newEncoder(sink.Level)
	if err != nil {
		return 0, err
	}
	now := time.Now()
	selection := cfg.Filter.selection(cfg.WithoutPayloads)
	if limits := cfg.Options.limits(); limits.limited() {
		if selection == nil {
			selection = new(eventpb.ArchiveSelection)
		}
		if !cfg.Options.From.IsZero() {
			selection.FromNs = &limits.from
		}
		if !cfg.Options.Until.IsZero() {
			selection.UntilNs = &limits.until
		}
	}
	out, err := newFile(cfg.Output, &eventpb.ArchiveHeader{
		Created:   ptr(uint64(now.Unix())),
		Format:    ptr(uint32(formatVersion)),
		CreatedNs: ptr(uint64(now.UnixNano())),
		Writer:    &sink.Writer,
		// A number of its own, so that it isn't taken for a part of another series.
		Series:    ptr(uint64(now.UnixNano())),
		Number:    ptr(uint64(1)),
		Selection: selection,
	}, encoder)
	if err != nil {
		return 0, err
	}
	defer func() {
		err = errors.Join(err, out.close())
		if err != nil {
			err = errors.Join(err, os.Remove(cfg.Output))
		}
	}()
	var b block
	b.reset()
	var compressed []byte
	write := func() error {
		if b.events == 0 {
			return nil
		}
		compressed = encoder.EncodeAll(b.content, compressed[:0])
		err := out.write(&b, compressed)
		b.reset()
		return err
	}
	var scratch decode.Event
	var redacted []byte
	stripper := newStripper()
	for {
		if ctx.Err() != nil {
			return events, ctx.Err()
		}
		e, err := set.Next()
		if damage, ok := errors.AsType[*Damage](err); ok {
			if cfg.Damaged != nil {
				cfg.Damaged(damage)
			}
			continue
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return events, err
		}
		if !cfg.Filter.admits(e, &scratch) {
			continue
		}
		data := e.Data
		if cfg.Redactor != nil {
			if redacted, err = cfg.Redactor.AppendEvent(redacted[:0], data); err != nil {
				if cfg.Damaged != nil {
					cfg.Damaged(&Damage{Path: cfg.Output, Offset: out.size, Events: 1, Reason: err.Error()})
				}
				continue
			}
			data = redacted
		}
		if cfg.WithoutPayloads {
			data = stripper.strip(e.Kind, data)
		}
		b.add(e, data)
		events++
		if len(b.content) >= DefaultBlockSize {
			if err := write(); err != nil {
				return events, fmt.Errorf("%s: %w", cfg.Output, err)
			}
		}
	}
	if err := write(); err != nil {
		return events, fmt.Errorf("%s: %w", cfg.Output, err)
	}
	return events, nil
}

package archive

import (
	"context"
	"errors"
	"io"
	"os"

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
	out, err := create(cfg.Output, selection, sink.Level, sink.Writer)
	if err != nil {
		return 0, err
	}
	defer func() {
		err = errors.Join(err, out.Close())
		if err != nil {
			err = errors.Join(err, os.Remove(cfg.Output))
		}
	}()
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
					cfg.Damaged(&Damage{Path: cfg.Output, Offset: out.file.size, Events: 1, Reason: err.Error()})
				}
				continue
			}
			data = redacted
		}
		if cfg.WithoutPayloads {
			data = stripper.strip(e.Kind, data)
		}
		events++
		if err := out.add(e, data); err != nil {
			return events, err
		}
	}
	return events, nil
}

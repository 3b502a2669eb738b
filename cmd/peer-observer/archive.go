package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/version"

	"github.com/peerobserver/peerobserver/agent"
	"github.com/peerobserver/peerobserver/exporters/archive"
	"github.com/peerobserver/peerobserver/exporters/nats"
	"github.com/peerobserver/peerobserver/proto/event"
)

// archiveFilterFlags are the flags that say which events are archived.
type archiveFilterFlags struct {
	sources, events, messages []string
}

func (f *archiveFilterFlags) register(clause *kingpin.CmdClause, prefix string) {
	clause.Flag(prefix+"source", "Only events of this source: ebpf, rpc, p2p, log, ipc, observer; repeatable.").StringsVar(&f.sources)
	clause.Flag(prefix+"event", "Only this event, such as connection.inbound, or all of its kind, such as connection; repeatable.").StringsVar(&f.events)
	clause.Flag(prefix+"message", "Only P2P messages of this type, such as inv; repeatable.").StringsVar(&f.messages)
}

func (f *archiveFilterFlags) filter() (archive.Filter, error) {
	return archive.ParseFilter(f.sources, f.events, f.messages)
}

// archiveFlags are the flags of the archive as a sink.
type archiveFlags struct {
	// given reads the flags once they are parsed.
	given     func() archive.Config
	filter    archiveFilterFlags
	redaction redactionFlag
	prefix    string
}

func (f *archiveFlags) register(clause *kingpin.CmdClause, prefix string) {
	f.prefix = prefix
	dir := clause.Flag(prefix+"dir", "Directory of the archive files; it is made if it isn't there.").String()
	base := clause.Flag(prefix+"base-name", "Beginning of the names of the files.").Default(archive.DefaultBase).String()
	fileSize := clause.Flag(prefix+"max-file-size", "Size at which a new file is begun, such as 1GiB.").Default("1GiB").Bytes()
	fileAge := clause.Flag(prefix+"max-file-age", "Age at which a new file is begun.").Default(archive.DefaultMaxFileAge.String()).Duration()
	totalSize := clause.Flag(prefix+"max-total-size", "Size of all files at which the oldest are deleted; 0 for no limit.").Default("20GiB").Bytes()
	level := clause.Flag(prefix+"compression-level", "Level of zstd, from 1 (fast) to 22 (small).").Default(fmt.Sprint(archive.DefaultLevel)).Int()
	flush := clause.Flag(prefix+"flush-interval", "Longest time that an event stays in memory: what a kill loses.").Default(archive.DefaultFlushInterval.String()).Duration()
	buffer := clause.Flag(prefix+"buffer-size", "Bytes of events that wait while the disk is slow or full.").Default(fmt.Sprint(archive.DefaultBuffer)).Int64()
	without := clause.Flag(prefix+"without-payloads", "Leave out raw transactions and the payloads of unknown messages; their ids and sizes stay.").Bool()
	f.redaction.register(clause, prefix)
	f.filter.register(clause, prefix)
	f.given = func() archive.Config {
		c := archive.Config{
			Dir: *dir, Base: *base, MaxFileSize: int64(*fileSize), MaxFileAge: *fileAge, MaxTotalSize: int64(*totalSize),
			Level: *level, FlushInterval: *flush, Buffer: *buffer, WithoutPayloads: *without, Writer: archiveWriter(),
		}
		if c.MaxTotalSize == 0 {
			c.MaxTotalSize = -1
		}
		return c
	}
}

// check finds mistakes that no waiting will mend.
func (f *archiveFlags) check() error {
	if f.given().Dir == "" {
		return withCode(exitUsage, fmt.Errorf("--%sdir is needed: the directory of the archive files", f.prefix))
	}
	if _, err := f.redaction.redactor(); err != nil {
		return err
	}
	_, err := f.filter.filter()
	return withCode(exitUsage, err)
}

// sink builds the sink; a mistake is the user's.
func (f *archiveFlags) sink(ledger *event.Ledger, env *environment) (*archive.Sink, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	config := f.given()
	var err error
	if config.Filter, err = f.filter.filter(); err != nil {
		return nil, withCode(exitUsage, err)
	}
	if config.Redactor, err = f.redaction.redactor(); err != nil {
		return nil, err
	}
	sink, err := archive.New(config, ledger, env.logger.With("part", "archive"))
	return sink, withCode(exitUsage, err)
}

// archiveWriter is what the header of a file names as its writer.
func archiveWriter() string {
	return strings.TrimSpace("peer-observer " + version.Version)
}

func registerArchive(clause *kingpin.CmdClause, handlers map[string]handler) {
	registerArchiveRun(clause.Command("run", "Archive the events on NATS (the default).").Default(), handlers)
	registerArchiveInfo(clause.Command("info", "Say what is in archive files."), handlers)
	registerArchiveVerify(clause.Command("verify", "Check every byte of archive files, and whether events are missing; ends with 1 if a file is damaged."), handlers)
	registerArchiveCut(clause.Command("cut", "Write a part of archive files into a new one."), handlers)
}

func registerArchiveRun(clause *kingpin.CmdClause, handlers map[string]handler) {
	var bus natsFlags
	var flags archiveFlags
	bus.register(clause, true)
	flags.register(clause, "")
	handlers[clause.FullCommand()] = func(ctx context.Context, env *environment) error {
		if err := bus.check(); err != nil {
			return err
		}
		ledger := event.NewLedger()
		sink, err := flags.sink(ledger, env)
		if err != nil {
			return err
		}
		subscriber, err := nats.NewSubscriber(nats.SubscriberConfig{
			Connection: bus.config("peer-observer archive"), SubjectPrefix: bus.prefix,
		}, event.NewStream(sink), ledger, env.logger)
		if err != nil {
			return withCode(exitUsage, err)
		}
		err = agent.New(agent.Config{
			Sources: []agent.Part{{Name: "nats", Runner: subscriber}},
			Sinks:   []agent.Part{{Name: "archive", Runner: sink}},
			Ledger:  ledger,
			Logger:  env.logger,
		}).Run(ctx)
		for _, loss := range ledger.Status().GetLosses() {
			if loss.GetCount() > 0 {
				env.logger.Warn("events were lost", "source", loss.GetSource(), "stage", loss.GetStage(), "reason", loss.GetReason(), "count", loss.GetCount())
			}
		}
		return err
	}
}

func registerArchiveInfo(clause *kingpin.CmdClause, handlers map[string]handler) {
	asJSON := clause.Flag("json", "Print one JSON object a file.").Bool()
	messages := clause.Flag("messages", "Count P2P messages by type as well, for which everything has to be read.").Bool()
	paths := clause.Arg("file", "Archive files.").Required().Strings()
	handlers[clause.FullCommand()] = func(ctx context.Context, env *environment) error {
		var failed error
		for i, path := range *paths {
			info, err := archive.Inspect(ctx, path, *messages)
			if err != nil {
				failed = errors.Join(failed, err)
				continue
			}
			if *asJSON {
				if err := json.NewEncoder(env.stdout).Encode(info); err != nil {
					return err
				}
				continue
			}
			if i > 0 {
				fmt.Fprintln(env.stdout)
			}
			printInfo(env.stdout, info)
		}
		return failed
	}
}

func printInfo(w io.Writer, i *archive.Info) {
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	row := func(name string, format string, values ...any) {
		fmt.Fprintf(table, "%s\t"+format+"\n", append([]any{name}, values...)...)
	}
	fmt.Fprintf(table, "%s\n", i.Path)
	row("  format", "%s", i.Format)
	if i.Created != nil {
		row("  begun", "%s", i.Created.Format(time.RFC3339))
	}
	if i.Writer != "" {
		row("  writer", "%q", i.Writer)
	}
	if i.Series != "" {
		row("  series", "%s, file %d", i.Series, i.Number)
	}
	if s := i.Selection; s != nil {
		row("  selection", "%s", selectionText(s))
	}
	ratio := 0.0
	if i.Bytes > 0 {
		ratio = float64(i.ContentBytes) / float64(i.Bytes)
	}
	row("  size", "%d bytes, %d decompressed (%.1f times as many)", i.Bytes, i.ContentBytes, ratio)
	row("  events", "%d", i.Events)
	if i.Format == archive.FormatBlocks.String() {
		index := "with an index"
		if !i.Indexed {
			index = "no index: still being written, or not closed in order"
		}
		row("  blocks", "%d, %s", i.Blocks, index)
	}
	if i.First != nil {
		row("  from", "%s", i.First.Format(time.RFC3339Nano))
		row("  to", "%s (%s)", i.Last.Format(time.RFC3339Nano), i.Last.Sub(*i.First).Round(time.Millisecond))
	}
	for _, kind := range slices.Sorted(maps.Keys(i.Kinds)) {
		row("    "+kind, "%d", i.Kinds[kind])
	}
	if len(i.Messages) > 0 {
		row("  messages", "received\tsent\tpayload bytes")
	}
	for _, name := range slices.Sorted(maps.Keys(i.Messages)) {
		m := i.Messages[name]
		row("    "+name, "%d\t%d\t%d", m.Received, m.Sent, m.PayloadBytes)
	}
	printDamage(table, i.Damage)
	_ = table.Flush()
}

func selectionText(s *archive.Selection) string {
	var parts []string
	for _, list := range []struct {
		name   string
		values []string
	}{{"sources", s.Sources}, {"events", s.Events}, {"messages", s.Messages}} {
		if len(list.values) > 0 {
			parts = append(parts, fmt.Sprintf("%s %q", list.name, list.values))
		}
	}
	if s.From != 0 {
		parts = append(parts, "from "+time.Unix(0, s.From).UTC().Format(time.RFC3339Nano))
	}
	if s.Until != 0 {
		parts = append(parts, "until "+time.Unix(0, s.Until).UTC().Format(time.RFC3339Nano))
	}
	if s.WithoutPayloads {
		parts = append(parts, "without payloads")
	}
	return strings.Join(parts, ", ")
}

func printDamage(w io.Writer, list []archive.DamageInfo) {
	for _, d := range list {
		what := "DAMAGED"
		if d.Torn {
			what = "TORN"
		}
		where := "byte"
		if d.InContent {
			where = "decompressed byte"
		}
		fmt.Fprintf(w, "  %s\tat %s %d: %s\n", what, where, d.Offset, d.Reason)
	}
}

func registerArchiveVerify(clause *kingpin.CmdClause, handlers map[string]handler) {
	asJSON := clause.Flag("json", "Print one JSON object.").Bool()
	strict := clause.Flag("strict", "End with 1 also if events are missing by their numbers.").Bool()
	paths := clause.Arg("file", "Archive files.").Required().Strings()
	handlers[clause.FullCommand()] = func(ctx context.Context, env *environment) error {
		v, err := archive.Verify(ctx, *paths)
		if err != nil {
			return err
		}
		if *asJSON {
			if err := json.NewEncoder(env.stdout).Encode(v); err != nil {
				return err
			}
		} else {
			printVerification(env.stdout, v)
		}
		switch {
		case !v.Sound():
			return errors.New("archive is damaged; archive cut saves what can be read")
		case *strict && v.Missing() > 0:
			return fmt.Errorf("%d events are missing by their numbers", v.Missing())
		}
		return nil
	}
}

func printVerification(w io.Writer, v *archive.Verification) {
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, f := range v.Files {
		verdict := "ok"
		if !f.Sound() {
			verdict = "DAMAGED"
		}
		fmt.Fprintf(table, "%s\t%s\t%d events\t%d blocks\n", f.Path, verdict, f.Events, f.Blocks)
		if f.Error != "" {
			fmt.Fprintf(table, "  %s\n", f.Error)
		}
		if f.Malformed > 0 {
			fmt.Fprintf(table, "  %d messages are no events\n", f.Malformed)
		}
		printDamage(table, f.Damage)
	}
	for _, g := range v.Sources {
		fmt.Fprintf(table, "%q, boot %s, %s\t%d events\tnumbers %d to %d\t%d missing at %d places\t%d repeated\n",
			g.Node, g.BootID, g.Source, g.Events, g.FirstSequence, g.LastSequence, g.Missing, g.Gaps, g.Repeated)
	}
	if v.Unnumbered > 0 {
		fmt.Fprintf(table, "%d events have no number\n", v.Unnumbered)
	}
	if v.Untracked > 0 {
		fmt.Fprintf(table, "%d events are of more sources than can be followed\n", v.Untracked)
	}
	if v.Selected && v.Missing() > 0 {
		fmt.Fprintln(table, "not all events were chosen to be archived, so that some numbers have to be missing")
	}
	_ = table.Flush()
}

// timeRangeFlags are the flags that choose a time.
type timeRangeFlags struct{ from, until string }

func (f *timeRangeFlags) register(clause *kingpin.CmdClause, from, until string) {
	clause.Flag(from, "Only events from this time on: RFC 3339 (2026-01-31T12:00:00Z), or UNIX seconds.").StringVar(&f.from)
	clause.Flag(until, "Only events before this time.").StringVar(&f.until)
}

func (f *timeRangeFlags) options() (archive.Options, error) {
	from, err := parseTime(f.from)
	if err != nil {
		return archive.Options{}, err
	}
	until, err := parseTime(f.until)
	if err != nil {
		return archive.Options{}, err
	}
	if !from.IsZero() && !until.IsZero() && !from.Before(until) {
		return archive.Options{}, fmt.Errorf("%s is not before %s", f.from, f.until)
	}
	return archive.Options{From: from, Until: until}, nil
}

// parseTime reads a time; the zero time for no text.
func parseTime(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || !(seconds >= 0 && seconds < 1e10) {
		return time.Time{}, fmt.Errorf("%q is no time: write 2026-01-31T12:00:00Z or UNIX seconds", text)
	}
	whole := int64(seconds)
	return time.Unix(whole, int64((seconds-float64(whole))*1e9)), nil
}

func registerArchiveCut(clause *kingpin.CmdClause, handlers map[string]handler) {
	var filter archiveFilterFlags
	var times timeRangeFlags
	output := clause.Flag("output", "The new file; it must not exist.").Short('o').Required().String()
	times.register(clause, "from", "until")
	filter.register(clause, "")
	level := clause.Flag("compression-level", "Level of zstd, from 1 (fast) to 22 (small).").Default(fmt.Sprint(archive.DefaultLevel)).Int()
	without := clause.Flag("without-payloads", "Leave out raw transactions and the payloads of unknown messages.").Bool()
	var redaction redactionFlag
	redaction.register(clause, "")
	paths := clause.Arg("file", "Archive files, also of the existing peer-observer, also damaged ones.").Required().Strings()
	handlers[clause.FullCommand()] = func(ctx context.Context, env *environment) error {
		options, err := times.options()
		if err != nil {
			return withCode(exitUsage, err)
		}
		chosen, err := filter.filter()
		if err != nil {
			return withCode(exitUsage, err)
		}
		redactor, err := redaction.redactor()
		if err != nil {
			return err
		}
		events, err := archive.Cut(ctx, archive.CutConfig{
			Redactor: redactor, Paths: *paths, Options: options, Filter: chosen, WithoutPayloads: *without, Output: *output, Level: *level, Writer: archiveWriter(),
			Damaged: func(d *archive.Damage) {
				env.logger.Warn("part of an archive can't be read and is passed over", "file", d.Path, "offset", d.Offset, "reason", d.Reason)
			},
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(env.stdout, "%s: %d events\n", *output, events)
		return nil
	}
}

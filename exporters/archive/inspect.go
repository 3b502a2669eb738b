package archive

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// Info is what archive info tells of a file. Its JSON names are a promise.
type Info struct {
	Path   string `json:"path"`
	Format string `json:"format"`
	// Writer is the program that wrote the file, where it says so.
	Writer  string     `json:"writer,omitempty"`
	Created *time.Time `json:"created,omitempty"`
	// Series and Number place the file among those of one run of its writer.
	Series    string     `json:"series,omitempty"`
	Number    uint64     `json:"number,omitempty"`
	Selection *Selection `json:"selection,omitempty"`
	// Bytes is the length of the file, ContentBytes that of its content decompressed.
	Bytes        int64  `json:"bytes"`
	ContentBytes uint64 `json:"content_bytes"`
	Events       uint64 `json:"events"`
	// Blocks is 0 for files that have none.
	Blocks uint64 `json:"blocks,omitempty"`
	// Indexed says that the file has an index, which is written when it is closed.
	Indexed bool       `json:"indexed"`
	First   *time.Time `json:"first_event,omitempty"`
	Last    *time.Time `json:"last_event,omitempty"`
	// Kinds counts events by kind, Messages P2P messages by type and direction where
	// that was asked for.
	Kinds    map[string]uint64       `json:"events_by_kind"`
	Messages map[string]MessageCount `json:"messages,omitempty"`
	Damage   []DamageInfo            `json:"damage,omitempty"`
}

// Selection is what was chosen to be archived.
type Selection struct {
	Sources         []string `json:"sources,omitempty"`
	Events          []string `json:"events,omitempty"`
	Messages        []string `json:"messages,omitempty"`
	WithoutPayloads bool     `json:"without_payloads"`
	From            int64    `json:"from_ns,omitempty"`
	Until           int64    `json:"until_ns,omitempty"`
}

// MessageCount counts P2P messages of one type.
type MessageCount struct {
	Received     uint64 `json:"received"`
	Sent         uint64 `json:"sent"`
	PayloadBytes uint64 `json:"payload_bytes"`
}

// DamageInfo is a Damage without its path.
type DamageInfo struct {
	Offset    int64  `json:"offset"`
	InContent bool   `json:"in_content,omitempty"`
	Torn      bool   `json:"torn"`
	Events    uint64 `json:"events_lost"`
	Reason    string `json:"reason"`
}

// maxDamageInfos bounds the places of damage that are listed for a file.
const maxDamageInfos = 100

func (i *Info) damage(d *Damage) {
	if len(i.Damage) < maxDamageInfos {
		i.Damage = append(i.Damage, DamageInfo{d.Offset, d.InContent, d.Torn, d.Events, d.Reason})
	}
}

// newInfo fills in what the header says.
func newInfo(r *Reader) *Info {
	i := &Info{Path: r.path, Format: r.format.String(), Bytes: r.size, Kinds: map[string]uint64{}}
	h := r.header
	if h == nil {
		return i
	}
	i.Writer, i.Number = h.GetWriter(), h.GetNumber()
	if created := h.GetCreated(); created != 0 {
		i.Created = ptr(time.Unix(int64(created), 0).UTC())
	}
	if h.Series != nil {
		i.Series = hex64(h.GetSeries())
	}
	if s := h.GetSelection(); s != nil {
		i.Selection = &Selection{
			Sources: s.GetSources(), Events: s.GetEvents(), Messages: s.GetMessages(),
			WithoutPayloads: s.GetWithoutPayloads(), From: s.GetFromNs(), Until: s.GetUntilNs(),
		}
	}
	return i
}

func hex64(v uint64) string {
	const digits = "0123456789abcdef"
	var text [16]byte
	for i := range text {
		text[i] = digits[v>>(60-4*i)&15]
	}
	return string(text[:])
}

func (i *Info) span(first, last int64) {
	if first > last {
		return
	}
	i.First, i.Last = ptr(time.Unix(0, first).UTC()), ptr(time.Unix(0, last).UTC())
}

// Inspect tells of a file. For one of this package it reads only the index or the
// descriptions of its blocks, unless messages are to be counted.
func Inspect(ctx context.Context, path string, messages bool) (*Info, error) {
	r, err := Open(path, Options{})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	i := newInfo(r)
	b, ok := r.messages.(*blocks)
	if !ok || messages {
		_, err := scan(ctx, r, i, nil)
		return i, err
	}
	if r.damage != nil {
		i.damage(r.damage)
	}
	if b.index != nil {
		i.fromIndex(b.index)
		return i, nil
	}
	total := newTally()
	b.passed = func(block *eventpb.ArchiveBlock) {
		i.Blocks++
		i.Events += block.GetEvents()
		i.ContentBytes += block.GetBytes()
		total.first, total.last = min(total.first, block.GetFirstTimeNs()), max(total.last, block.GetLastTimeNs())
		i.addCounts(block.GetCounts())
	}
	// No block is of this time, so none is decompressed.
	b.span = span{from: 1, until: 0}
	for {
		if ctx.Err() != nil {
			return i, ctx.Err()
		}
		_, err := b.next()
		var damage *Damage
		switch {
		case errors.As(err, &damage):
			i.damage(damage)
			continue
		case errors.Is(err, io.EOF):
			i.span(total.first, total.last)
			return i, nil
		case err != nil:
			return i, err
		}
	}
}

func (i *Info) fromIndex(x *index) {
	i.Indexed = true
	i.Blocks = uint64(len(x.blocks))
	total := newTally()
	for _, block := range x.blocks {
		i.Events += block.events
		i.ContentBytes += block.bytes
		total.first, total.last = min(total.first, block.first), max(total.last, block.last)
	}
	i.addCounts(x.counts)
	i.span(total.first, total.last)
}

func (i *Info) addCounts(counts []*eventpb.ArchiveCount) {
	for _, c := range counts {
		name := c.GetEvent()
		if _, err := event.ParseKind(name); err != nil {
			name = event.KindUnknown.String()
		}
		i.Kinds[name] += c.GetCount()
	}
}

// scan reads all events of a file into i. see is called for each; nil for nothing. It
// gives the number of messages that are no events.
func scan(ctx context.Context, r *Reader, i *Info, see func(*event.Event)) (malformed uint64, err error) {
	var scratch decode.Event
	var byType [decode.MessageTypes]MessageCount
	total := newTally()
	if b, ok := r.messages.(*blocks); ok {
		i.Indexed = b.index != nil
		b.passed = func(*eventpb.ArchiveBlock) { i.Blocks++ }
	}
	for {
		if ctx.Err() != nil {
			return r.Malformed(), ctx.Err()
		}
		e, err := r.Next()
		if damage, ok := errors.AsType[*Damage](err); ok {
			i.damage(damage)
			continue
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return r.Malformed(), err
		}
		total.add(e)
		i.ContentBytes += uint64(protowire.SizeBytes(len(e.Data)))
		if e.Kind == event.KindMessage && scratch.Decode(e.Source, e.Data) {
			m := &byType[scratch.Message.Type]
			if scratch.Message.Inbound {
				m.Received++
			} else {
				m.Sent++
			}
			m.PayloadBytes += scratch.Message.Size
		}
		if see != nil {
			see(e)
		}
	}
	i.Events = total.events
	i.addCounts(total.counts())
	i.span(total.first, total.last)
	for t, count := range byType {
		if count != (MessageCount{}) {
			if i.Messages == nil {
				i.Messages = map[string]MessageCount{}
			}
			i.Messages[decode.MessageType(t).String()] = count
		}
	}
	return r.Malformed(), nil
}

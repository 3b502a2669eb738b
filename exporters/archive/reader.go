package archive

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// Format is the layout of a file.
type Format uint8

// The formats.
const (
	// FormatBlocks is what this package writes.
	FormatBlocks Format = iota
	// FormatStream is one stream of messages after a protobuf header: the existing
	// tool's.
	FormatStream
	// FormatOldStream is a stream after a header of 16 bytes: the existing tool's before
	// May 2026.
	FormatOldStream
)

// String gives the name that archive info prints.
func (f Format) String() string {
	switch f {
	case FormatBlocks:
		return "blocks"
	case FormatStream:
		return "stream"
	case FormatOldStream:
		return "stream with a 16-byte header"
	default:
		return "unknown"
	}
}

// oldHeader is the length of the header of FormatOldStream: "PA", a version and a git
// hash.
const (
	oldHeader = 16
	oldMagic  = "PA"
)

// ErrNoArchive is returned for a file that isn't an archive.
var ErrNoArchive = errors.New("not an archive")

// Options say what is read.
type Options struct {
	// From and Until bound the time of events: from From on, before Until. Zero for no
	// limit.
	From, Until time.Time
}

// limits gives the bounds in UNIX nanoseconds.
func (o *Options) limits() span {
	s := everything()
	if !o.From.IsZero() {
		s.from = o.From.UnixNano()
	}
	if !o.Until.IsZero() {
		s.until = o.Until.UnixNano()
	}
	return s
}

// Damage is what is wrong at one place of a file. Reading goes on behind it, where that
// is possible.
type Damage struct {
	Path string
	// Offset is the place in bytes: of the file, or with InContent of its decompressed
	// content.
	Offset    int64
	InContent bool
	// Torn says that the damage reaches to the end of the file: its writer was killed, or
	// the file is not copied as a whole.
	Torn bool
	// Events is the number of events that are lost, as far as that is known.
	Events uint64
	Reason string
}

func (d *Damage) Error() string {
	what := "damaged"
	if d.Torn {
		what = "torn"
	}
	where := ""
	if d.InContent {
		where = " of its decompressed content"
	}
	return fmt.Sprintf("%s: %s at byte %d%s: %s", d.Path, what, d.Offset, where, d.Reason)
}

// messages gives the length-delimited messages of a file one by one. An error is io.EOF,
// *Damage, or one of the operating system.
type messages interface {
	next() ([]byte, error)
	close()
}

// Reader reads the events of one file. Files may come from anybody: what it allocates is
// bounded, by 60 MiB for files of this package and by twice maxWindow for others.
type Reader struct {
	path   string
	f      *os.File
	size   int64
	format Format
	// zstd says that the content is compressed.
	zstd      bool
	header    *eventpb.ArchiveHeader
	span      span
	messages  messages
	event     event.Event
	malformed uint64
	// damage is what Next has to say first.
	damage *Damage
}

// Open opens a file and reads its header.
func Open(path string, options Options) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r := &Reader{path: path, f: f, span: options.limits()}
	if err := r.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return r, nil
}

func (r *Reader) open() error {
	info, err := r.f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w, not even a regular file", ErrNoArchive)
	}
	r.size = info.Size()
	head := make([]byte, min(r.size, maxHeader))
	if _, err := r.f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if len(head) < 4 {
		return fmt.Errorf("%w: it has %d bytes", ErrNoArchive, len(head))
	}
	if end := r.readOwnHeader(head); end > 0 {
		r.format, r.zstd = FormatBlocks, true
		r.messages, err = newBlocks(r, end)
		return err
	}
	if start := blockAfterHeader(head); start > 0 {
		// Only the header is damaged.
		r.format, r.zstd, r.header = FormatBlocks, true, new(eventpb.ArchiveHeader)
		r.damage = &Damage{Path: r.path, Reason: "the header"}
		r.messages, err = newBlocks(r, start)
		return err
	}
	return r.openStream(head)
}

// blockAfterHeader gives the place of the first description of a block at the start of a
// file; 0 when there is none.
func blockAfterHeader(head []byte) int64 {
	b := &blocks{f: bytes.NewReader(head), end: int64(len(head))}
	if at := b.search(0); at < b.end {
		return at
	}
	return 0
}

// readOwnHeader reads the header of a file of this package, and gives where its frame
// ends; 0 for another file.
func (r *Reader) readOwnHeader(head []byte) int64 {
	n, err := frameLength(head)
	if err != nil {
		return 0
	}
	decoder, err := newBlockDecoder(maxHeader)
	if err != nil {
		return 0
	}
	defer decoder.Close()
	content, err := decoder.DecodeAll(head[:n], nil)
	if err != nil {
		return 0
	}
	message, rest, err := cutEvent(content)
	if err != nil || len(rest) > 0 {
		return 0
	}
	header := new(eventpb.ArchiveHeader)
	if proto.Unmarshal(message, header) != nil || header.GetFormat() != formatVersion {
		return 0
	}
	r.header = header
	return int64(n)
}

// openStream opens a file of the existing tool.
func (r *Reader) openStream(head []byte) error {
	r.format = FormatStream
	skip := int64(0)
	if bytes.HasPrefix(head, []byte(oldMagic)) {
		r.format, skip = FormatOldStream, oldHeader
		head = head[min(oldHeader, len(head)):]
	}
	s, err := newStream(io.NewSectionReader(r.f, skip, r.size-skip), isZstd(head), r.path)
	if err != nil {
		return err
	}
	r.zstd = isZstd(head)
	r.messages = s
	if r.format == FormatOldStream {
		return nil
	}
	if start, err := s.in.Peek(len(oldMagic)); err == nil && string(start) == oldMagic {
		r.format = FormatOldStream
		_, err := s.in.Discard(oldHeader)
		return err
	}
	message, err := s.read(maxHeader)
	header := new(eventpb.ArchiveHeader)
	if err != nil || proto.Unmarshal(message, header) != nil || event.KindOf(message) != event.KindUnknown {
		s.close()
		if header.GetFormat() > formatVersion {
			return fmt.Errorf("%w of a format that is known: a newer version wrote it", ErrNoArchive)
		}
		return fmt.Errorf("%w: there is no header at its start", ErrNoArchive)
	}
	r.header = header
	return nil
}

func isZstd(head []byte) bool {
	if len(head) < 4 {
		return false
	}
	magic := binary.LittleEndian.Uint32(head)
	return magic == zstdMagic || magic&skippableMagicMask == skippableMagic
}

// Format is the layout of the file.
func (r *Reader) Format() Format { return r.format }

// Header is the file's header; nil for FormatOldStream.
func (r *Reader) Header() *eventpb.ArchiveHeader { return r.header }

// Size is the length of the file in bytes.
func (r *Reader) Size() int64 { return r.size }

// Malformed is the number of messages so far that are no events.
func (r *Reader) Malformed() uint64 { return r.malformed }

// Next gives the next event, valid until the next call. It returns io.EOF at the end,
// and a *Damage where something is lost; then it may be called again.
func (r *Reader) Next() (*event.Event, error) {
	if d := r.damage; d != nil {
		r.damage = nil
		return nil, d
	}
	for {
		data, err := r.messages.next()
		if err != nil {
			return nil, err
		}
		header, err := event.Parse(data)
		if err != nil || header.Source == event.SourceUnknown {
			r.malformed++
			continue
		}
		if !r.span.has(header.Time().UnixNano()) {
			continue
		}
		kind := event.KindOf(data)
		r.event = event.Event{Header: header, Kind: kind, Subject: kind.Subject(), Data: data}
		return &r.event, nil
	}
}

// Close closes the file.
func (r *Reader) Close() error {
	r.messages.close()
	return r.f.Close()
}

// newBuffered makes the buffer of a stream.
func newBuffered(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, 256<<10) }

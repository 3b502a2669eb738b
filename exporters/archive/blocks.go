package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/klauspost/compress/zstd"

	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// blocks reads a file of this package block by block.
type blocks struct {
	path    string
	f       io.ReaderAt
	span    span
	decoder *zstd.Decoder
	// pos is the next byte of the file to look at, end is behind the last one.
	pos, end int64
	// index is what the end of the file says, nil for a file without.
	index *index
	// passed is told of every description that is passed, when it isn't nil.
	passed func(*eventpb.ArchiveBlock)
	// note, compressed and content hold the current block; rest is what is unread of
	// its content, which is that of the frame at place.
	note, compressed, content, rest []byte
	place                           int64
}

// newBlockDecoder makes a decoder for frames with at most limit bytes of content.
func newBlockDecoder(limit uint64) (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(limit), zstd.WithDecoderMaxWindow(max(limit, zstd.MinWindowSize)))
}

// newBlocks reads what follows the header, whose frame ends at start.
func newBlocks(r *Reader, start int64) (*blocks, error) {
	decoder, err := newBlockDecoder(maxBlock)
	if err != nil {
		return nil, err
	}
	b := &blocks{path: r.path, f: r.f, span: r.span, decoder: decoder, pos: start, end: r.size}
	b.index = b.readIndex(start)
	if b.index != nil && b.span.limited() {
		b.seek()
	}
	return b, nil
}

// readIndex reads the index from the end of the file; nil when there is none that is
// whole.
func (b *blocks) readIndex(start int64) *index {
	var tail [8]byte
	if b.end-start < noteOverhead {
		return nil
	}
	if _, err := b.f.ReadAt(tail[:], b.end-int64(len(tail))); err != nil || string(tail[4:]) != indexTag {
		return nil
	}
	n := int64(binary.LittleEndian.Uint32(tail[:]))
	if n < noteOverhead || n > maxNote || n > b.end-start {
		return nil
	}
	data := make([]byte, n)
	if _, err := b.f.ReadAt(data, b.end-n); err != nil {
		return nil
	}
	tag, message, err := parseNote(data)
	if err != nil || tag != indexTag {
		return nil
	}
	x, err := parseIndex(message, start, b.end-n)
	if err != nil {
		return nil
	}
	return x
}

// seek jumps over the blocks before and behind the wanted time.
func (b *blocks) seek() {
	start, end, found := b.pos, b.pos, false
	at := b.pos
	for i := range b.index.blocks {
		block := &b.index.blocks[i]
		next := block.offset + block.compressed
		if b.span.meets(block.first, block.last) {
			if !found {
				start, found = at, true
			}
			end = next
		}
		at = next
	}
	b.pos, b.end = start, end
}

func (b *blocks) close() { b.decoder.Close() }

func (b *blocks) next() ([]byte, error) {
	for {
		if len(b.rest) > 0 {
			data, rest, err := cutEvent(b.rest)
			b.rest = rest
			if err != nil {
				b.rest = nil
				return nil, &Damage{Path: b.path, Offset: b.place, Reason: err.Error()}
			}
			return data, nil
		}
		if err := b.advance(); err != nil {
			return nil, err
		}
	}
}

// advance passes one frame of the file; the content of a block is then in rest.
func (b *blocks) advance() error {
	if b.pos >= b.end {
		return io.EOF
	}
	var head [skippableHead]byte
	if err := b.read(head[:], b.pos); err != nil {
		return b.damaged(err)
	}
	magic, length := binary.LittleEndian.Uint32(head[:]), int64(binary.LittleEndian.Uint32(head[4:]))+skippableHead
	switch {
	case magic == zstdMagic:
		return b.undescribed()
	case magic == noteMagic:
		return b.readNote(length)
	case magic&skippableMagicMask == skippableMagic && length <= b.end-b.pos:
		b.pos += length
		return nil
	default:
		return b.damaged(errors.New("neither a block nor its description begins here"))
	}
}

// read fills data from the file; it gives errShort when that ends before.
func (b *blocks) read(data []byte, at int64) error {
	if int64(len(data)) > b.end-at {
		return errShort
	}
	n, err := b.f.ReadAt(data, at)
	if n == len(data) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return errShort
	}
	return err
}

// readNote reads a note of a length at pos, and the block behind it.
func (b *blocks) readNote(length int64) error {
	var tag [noteTag]byte
	if err := b.read(tag[:], b.pos+skippableHead); err != nil {
		return b.damaged(err)
	}
	if length > maxNote || length > maxBlockNote && string(tag[:]) != indexTag || length > b.end-b.pos {
		return b.damaged(errShort)
	}
	b.note = sized(b.note, int(length))
	if err := b.read(b.note, b.pos); err != nil {
		return b.damaged(err)
	}
	kind, message, err := parseNote(b.note)
	if err == nil && kind == indexTag {
		b.note = nil // it may be large
		b.pos += length
		return nil
	}
	var about *eventpb.ArchiveBlock
	if err == nil {
		about, err = parseBlockNote(message, b.pos+length)
	}
	if err != nil {
		return b.badNote(length, err)
	}
	frame := b.pos + length
	size := int64(about.GetCompressedBytes())
	if size > b.end-frame {
		at := b.pos
		b.pos = b.end
		return &Damage{Path: b.path, Offset: at, Torn: true, Events: about.GetEvents(), Reason: fmt.Sprintf("the file ends in the middle of a block of %d events", about.GetEvents())}
	}
	b.pos = frame + size
	if b.passed != nil {
		b.passed(about)
	}
	if !b.span.meets(about.GetFirstTimeNs(), about.GetLastTimeNs()) {
		return nil
	}
	b.compressed = sized(b.compressed, int(size))
	err = b.read(b.compressed, frame)
	if err == nil {
		err = b.decode(frame)
	}
	if err == nil && uint64(len(b.content)) != about.GetBytes() {
		err = errors.New("its length is not as described")
	}
	if err != nil {
		b.rest = nil
		return &Damage{Path: b.path, Offset: frame, Events: about.GetEvents(), Reason: fmt.Sprintf("a block of %d events: %v", about.GetEvents(), err)}
	}
	return nil
}

// badNote is for a description that is damaged. When the block itself begins where the
// description should end, it can still be read.
func (b *blocks) badNote(length int64, err error) error {
	var magic [4]byte
	if b.read(magic[:], b.pos+length) != nil || binary.LittleEndian.Uint32(magic[:]) != zstdMagic {
		return b.damaged(err)
	}
	d := &Damage{Path: b.path, Offset: b.pos, Reason: err.Error() + "; its block follows and is read"}
	b.pos += length
	return d
}

// undescribed reads a block without a description in front of it.
func (b *blocks) undescribed() error {
	// How long it is has to be found out, without reading all of the file for each of
	// many small frames.
	var data []byte
	n, err := 0, errShort
	for size := int64(64 << 10); errors.Is(err, errShort); size *= 4 {
		data = make([]byte, min(b.end-b.pos, size, maxCompressed))
		if err := b.read(data, b.pos); err != nil {
			return b.damaged(err)
		}
		if n, err = frameLength(data); int64(len(data)) < size {
			break
		}
	}
	if err != nil {
		return b.damaged(err)
	}
	frame := b.pos
	b.compressed = data[:n:n]
	if err := b.decode(frame); err != nil {
		return b.damaged(err)
	}
	b.pos += int64(n)
	return nil
}

// decode decompresses the frame in compressed, which verifies its checksum.
func (b *blocks) decode(place int64) error {
	if n, err := frameLength(b.compressed); err != nil || n != len(b.compressed) {
		return errors.New("not one whole zstd frame")
	}
	content, err := b.decoder.DecodeAll(b.compressed, b.content[:0])
	if err != nil {
		return err
	}
	b.content, b.rest, b.place = content, content, place
	return nil
}

// damaged goes on at the next description of a block, and says what is wrong at pos.
func (b *blocks) damaged(err error) error {
	if system := new(fs.PathError); errors.As(err, &system) {
		// The disk can't read it: that is no property of the file.
		b.pos = b.end
		return err
	}
	d := &Damage{Path: b.path, Offset: b.pos, Reason: err.Error()}
	b.pos = b.search(b.pos + 1)
	d.Torn = b.pos >= b.end
	return d
}

// search gives the place of the next whole description of a block, or the end.
func (b *blocks) search(at int64) int64 {
	var magic [4]byte
	binary.LittleEndian.PutUint32(magic[:], noteMagic)
	window := make([]byte, 256<<10)
	for at < b.end {
		part := window[:min(int64(len(window)), b.end-at)]
		if b.read(part, at) != nil {
			return b.end
		}
		i := bytes.Index(part, magic[:])
		if i < 0 {
			// The magic may lie across the border.
			at += max(int64(len(part)-len(magic)+1), 1)
			continue
		}
		at += int64(i)
		if b.isBlockNote(at) {
			return at
		}
		at++
	}
	return b.end
}

func (b *blocks) isBlockNote(at int64) bool {
	var head [skippableHead + noteTag]byte
	if b.read(head[:], at) != nil || string(head[skippableHead:]) != blockTag {
		return false
	}
	length := int64(binary.LittleEndian.Uint32(head[4:])) + skippableHead
	if length > maxBlockNote || length > b.end-at {
		return false
	}
	note := make([]byte, length)
	if b.read(note, at) != nil {
		return false
	}
	_, message, err := parseNote(note)
	if err != nil {
		return false
	}
	_, err = parseBlockNote(message, at+length)
	return err == nil
}

// sized gives a slice of n bytes, reusing b where it is large enough.
func sized(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}

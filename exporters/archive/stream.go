package archive

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/proto/event"
)

// stream reads a file that is one stream of messages. Nothing behind a damage can be
// read: there is no telling where the next message begins.
type stream struct {
	path    string
	in      *bufio.Reader
	decoder *zstd.Decoder
	buffer  []byte
	// offset is the place in the decompressed content.
	offset int64
	ended  bool
}

func newStream(file io.Reader, compressed bool, path string) (*stream, error) {
	s := &stream{path: path}
	if !compressed {
		s.in = newBuffered(file)
		return s, nil
	}
	decoder, err := zstd.NewReader(file, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, err
	}
	s.decoder = decoder
	s.in = newBuffered(decoder)
	return s, nil
}

func (s *stream) next() ([]byte, error) { return s.read(event.MaxSize) }

// read reads a message of at most limit bytes.
func (s *stream) read(limit uint64) ([]byte, error) {
	if s.ended {
		return nil, io.EOF
	}
	size, err := binary.ReadUvarint(s.in)
	if errors.Is(err, io.EOF) {
		s.ended = true
		return nil, io.EOF
	}
	if err != nil {
		return nil, s.damage(err)
	}
	if size > limit {
		return nil, s.damage(fmt.Errorf("an event of %d bytes, which can't be", size))
	}
	if uint64(cap(s.buffer)) < size {
		s.buffer = make([]byte, size)
	}
	s.buffer = s.buffer[:size]
	if _, err := io.ReadFull(s.in, s.buffer); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, s.damage(err)
	}
	s.offset += int64(protowire.SizeBytes(len(s.buffer)))
	return s.buffer, nil
}

func (s *stream) damage(err error) error {
	s.ended = true
	d := &Damage{Path: s.path, Offset: s.offset, InContent: true, Reason: err.Error()}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		d.Torn, d.Reason = true, "the file ends in the middle of an event"
	}
	return d
}

func (s *stream) close() {
	if s.decoder != nil {
		s.decoder.Close()
	}
}

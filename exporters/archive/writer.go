package archive

import (
	"errors"
	"fmt"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// Writer writes events into one file, each before it returns and without a queue: for
// events that are read or made up, which can wait for the disk.
type Writer struct {
	file       *file
	encoder    *zstd.Encoder
	block      block
	compressed []byte
	err        error
}

// Create creates a file of archive; it must not exist. writer is the name and version of the
// program, for the header.
func Create(path, writer string) (*Writer, error) { return create(path, nil, DefaultLevel, writer) }

func create(path string, selection *eventpb.ArchiveSelection, level int, writer string) (*Writer, error) {
	encoder, err := newEncoder(level)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	f, err := newFile(path, &eventpb.ArchiveHeader{
		Created:   ptr(uint64(now.Unix())),
		Format:    ptr(uint32(formatVersion)),
		CreatedNs: ptr(uint64(now.UnixNano())),
		Writer:    &writer,
		// A number of its own, so that it isn't taken for a part of another series.
		Series:    ptr(uint64(now.UnixNano())),
		Number:    ptr(uint64(1)),
		Selection: selection,
	}, encoder)
	if err != nil {
		return nil, err
	}
	w := &Writer{file: f, encoder: encoder}
	w.block.reset()
	return w, nil
}

// HandleEvent implements event.Sink. Close tells of what failed.
func (w *Writer) HandleEvent(e *event.Event) {
	if w.err == nil {
		w.err = w.add(e, e.Data)
	}
}

// add adds an event with other bytes.
func (w *Writer) add(e *event.Event, data []byte) error {
	w.block.add(e, data)
	if len(w.block.content) < DefaultBlockSize {
		return nil
	}
	return w.flush()
}

func (w *Writer) flush() error {
	if w.block.events == 0 {
		return nil
	}
	w.compressed = w.encoder.EncodeAll(w.block.content, w.compressed[:0])
	err := w.file.write(&w.block, w.compressed)
	w.block.reset()
	if err != nil {
		return fmt.Errorf("%s: %w", w.file.path, err)
	}
	return nil
}

// Close writes what is left and closes the file.
func (w *Writer) Close() error {
	if w.err == nil {
		w.err = w.flush()
	}
	return errors.Join(w.err, w.file.close())
}

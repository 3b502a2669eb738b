package archive

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// fileMode is that of archive files: what the node sees is for its operator.
const fileMode = 0o600

// file is an archive file that is being written. Its end is always that of a whole
// block: what a failed write left is cut off again.
type file struct {
	f       *os.File
	path    string
	created time.Time
	// size is where the next block goes.
	size   int64
	synced int64
	blocks []*eventpb.ArchiveBlock
	total  tally
	frame  []byte
	broken bool
}

// newEncoder makes the encoder for the frames of blocks. One goroutine uses it.
func newEncoder(level int) (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true),
		zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)), zstd.WithLowerEncoderMem(true))
}

// newFile creates a file with its header. A file of the same name is never overwritten.
func newFile(path string, header *eventpb.ArchiveHeader, encoder *zstd.Encoder) (*file, error) {
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(header)
	if err != nil {
		return nil, fmt.Errorf("header of an archive: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return nil, err
	}
	w := &file{f: f, path: path, created: time.Unix(0, int64(header.GetCreatedNs())), total: newTally()}
	if err := w.append(encoder.EncodeAll(protowire.AppendBytes(nil, encoded), nil)); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	if err := syncDirectory(filepath.Dir(path)); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return w, nil
}

// append writes data at the end, all of it or nothing.
func (w *file) append(data []byte) error {
	if w.broken {
		return errors.New("the end of the file could not be repaired after a failed write")
	}
	if _, err := w.f.WriteAt(data, w.size); err != nil {
		if cut := w.f.Truncate(w.size); cut != nil {
			w.broken = true
			return errors.Join(err, cut)
		}
		return err
	}
	w.size += int64(len(data))
	return nil
}

// write writes a block whose content is compressed already.
func (w *file) write(b *block, compressed []byte) error {
	about := b.describe(0, len(compressed))
	about.Counts = b.counts()
	// The description's length depends on the place that it names, which is behind it.
	// Both only grow, so this ends.
	for place := w.size; ; {
		about.Offset = ptr(uint64(place))
		note, err := appendNote(w.frame[:0], blockTag, about)
		if err != nil {
			return err
		}
		w.frame = note
		if at := w.size + int64(len(note)); at != place {
			place = at
			continue
		}
		break
	}
	w.frame = append(w.frame, compressed...)
	if err := w.append(w.frame); err != nil {
		return err
	}
	if cap(w.frame) > 2*maxBlockSize {
		w.frame = nil
	}
	about.Counts = nil
	w.blocks = append(w.blocks, about)
	w.total.merge(&b.tally)
	return nil
}

// sync makes what is written survive a power failure.
func (w *file) sync() error {
	if w.synced == w.size {
		return nil
	}
	if err := w.f.Sync(); err != nil {
		return err
	}
	w.synced = w.size
	return nil
}

// close writes the index and closes the file. Without an index, for which there may be
// no room, the file is as readable, only not as fast.
func (w *file) close() error {
	index, err := appendNote(nil, indexTag, &eventpb.ArchiveIndex{Blocks: w.blocks, Counts: w.total.counts()})
	if err == nil && len(index) <= maxNote {
		err = w.append(index)
	}
	return errors.Join(err, w.sync(), w.f.Close())
}

// empty tells whether the file holds no event.
func (w *file) empty() bool { return w.total.events == 0 }

func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

const (
	// chunkSize is how much is read at once.
	chunkSize = 64 << 10
	// tailSize is how much of what was read last is kept, to find the place again in
	// a file that was cut short. It holds several lines with their times, so it is
	// there once only.
	tailSize = 1 << 10
	// minTail is the shortest tail that is worth searching for.
	minTail = 64
	// maxSearch bounds how much of a file is searched for the tail, and for the
	// beginning of the node's run. Bitcoin Core cuts the log to its last 10 MB when it
	// starts (-shrinkdebugfile).
	maxSearch = 32 << 20
	// learnSize is how much before the first line is looked at, to learn the format.
	learnSize = 16 << 10
)

// follower reads one file after the other.
type follower struct {
	extractor *Extractor
	started   time.Time
	assembler *assembler
	splitter  *splitter
	chunk     []byte

	// path is that of file, or of the file that is waited for.
	path string
	file *os.File
	fifo bool
	// offset is how far file was read, tail the last bytes before it.
	offset int64
	tail   []byte
	// fresh: a file that appears at path came after we began to look, and is read
	// from its beginning.
	fresh bool
	// said is the last reason for being down that was logged.
	said string
}

// line takes a line from the splitter.
func (f *follower) line(line []byte, cut uint64) {
	if cut > 0 {
		f.extractor.tooLarge.Add(1)
	}
	f.assembler.line(line, cut)
}

// poll looks once at the file and reads what is new.
func (f *follower) poll(ctx context.Context) {
	if path := f.extractor.config.Path(); path != "" && path != f.path {
		f.leave(ctx)
		f.path, f.fresh = path, false
	}
	if f.path == "" {
		f.down("the path of the node's debug.log isn't known yet")
		return
	}
	if f.file == nil && !f.open() {
		return
	}
	if f.fifo {
		f.readFIFO(ctx)
	} else {
		f.readFile(ctx)
	}
}

// open opens the file at path and decides where to begin.
func (f *follower) open() bool {
	// O_NONBLOCK: opening a FIFO would otherwise wait for a writer.
	file, err := os.OpenFile(f.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			f.fresh = true
			f.down(fmt.Sprintf("waiting for %s, which doesn't exist yet", f.path))
		} else {
			f.down(explain(f.path, err))
		}
		return false
	}
	info, err := file.Stat()
	switch {
	case err != nil:
	case info.Mode().IsRegular():
		f.fifo = false
		f.offset, err = f.beginning(file, info.Size())
	case info.Mode()&fs.ModeNamedPipe != 0:
		f.fifo, f.offset = true, 0
	default:
		err = errNoFile
	}
	if err != nil {
		_ = file.Close()
		f.down(explain(f.path, err))
		return false
	}
	f.file, f.fresh, f.tail = file, true, f.tail[:0]
	if !f.fifo {
		f.recall()
	}
	f.up()
	return true
}

// recall sets tail where reading begins inside a file.
func (f *follower) recall() {
	before := make([]byte, min(f.offset, tailSize))
	if _, err := f.file.ReadAt(before, f.offset-int64(len(before))); err == nil {
		f.tail = append(f.tail[:0], before...)
	}
}

var errNoFile = errors.New("neither a file nor a FIFO")

// explain says what an operator can do about an error.
func explain(path string, err error) string {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathErr.Err
	}
	text := fmt.Sprintf("can't read %s: %v", path, err)
	if errors.Is(err, fs.ErrPermission) {
		text += " (let this program's user read it, for instance as a member of the node's group, with the node's umask at 0027; or give another file with --extractor.log.file)"
	}
	return text
}

func (f *follower) up() {
	f.said = ""
	f.extractor.emitter.Account().Up("following " + f.path)
	f.extractor.logger.Info("following the node's log", "path", f.path, "from", f.offset)
}

func (f *follower) down(reason string) {
	f.extractor.emitter.Account().Down(reason)
	if f.said != reason {
		f.said = reason
		f.extractor.logger.Info("no log to follow", "reason", reason)
	}
}

// beginning decides where to begin in a file of so many bytes.
func (f *follower) beginning(file io.ReaderAt, size int64) (int64, error) {
	if f.fresh || f.extractor.config.FromStart {
		return 0, nil
	}
	if start := f.extractor.config.NodeStart(); start > f.started.UnixNano() {
		at, found, err := lastRun(file, size)
		if err != nil || found {
			return at, err
		}
	}
	offset, err := lineStart(file, size, int64(f.extractor.config.MaxLine))
	if err != nil {
		return 0, err
	}
	return offset, f.learn(file, offset)
}

// learn looks at the lines before offset for the format of the log.
func (f *follower) learn(file io.ReaderAt, offset int64) error {
	before := make([]byte, min(offset, learnSize))
	if _, err := file.ReadAt(before, offset-int64(len(before))); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	lines := bytes.Split(before, []byte{'\n'})
	for _, line := range lines[1:] {
		f.assembler.learn(line)
	}
	return nil
}

// lineStart is where the last line begins that isn't complete: size, unless somebody
// is writing it right now.
func lineStart(file io.ReaderAt, size, limit int64) (int64, error) {
	end := make([]byte, min(size, limit))
	if _, err := file.ReadAt(end, size-int64(len(end))); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	i := bytes.LastIndexByte(end, '\n')
	if i < 0 {
		return size, nil
	}
	return size - int64(len(end)-i-1), nil
}

// lastRun finds the empty lines with which the node's last run begins.
func lastRun(file io.ReaderAt, size int64) (at int64, found bool, err error) {
	mark := bytes.Repeat([]byte{'\n'}, runMark+1)
	lowest := max(size-maxSearch, 0)
	buffer := make([]byte, chunkSize)
	for end := size; end > lowest; {
		begin := max(end-chunkSize, lowest)
		part := buffer[:end-begin]
		if _, err := file.ReadAt(part, begin); err != nil && !errors.Is(err, io.EOF) {
			return 0, false, err
		}
		if i := bytes.LastIndex(part, mark); i >= 0 {
			return begin + int64(i), true, nil
		}
		if begin == lowest {
			break
		}
		// The mark may lie across two parts.
		end = begin + int64(len(mark)) - 1
	}
	return 0, false, nil
}

// readFile reads what a regular file has gained, and notices when it was cut short,
// replaced or moved away.
func (f *follower) readFile(ctx context.Context) {
	if !f.keepsPlace() || !f.drain(ctx) {
		return
	}
	info, err := os.Stat(f.path)
	if err != nil {
		// Moved away, and no other one yet: the node may still write to it.
		return
	}
	own, err := f.file.Stat()
	if err != nil || os.SameFile(info, own) || info.Size() == 0 && info.Mode().IsRegular() {
		// An empty new file is one that the node doesn't write to yet.
		return
	}
	// The node writes to the new file, so the old one has all that it ever gets.
	f.leave(ctx)
	if f.open() {
		f.extractor.logger.Info("the node's log was rotated", "path", f.path)
		f.poll(ctx)
	}
}

// keepsPlace makes sure that offset is still where it was: behind what was read last.
func (f *follower) keepsPlace() bool {
	info, err := f.file.Stat()
	if err != nil {
		f.readFailed(err)
		return false
	}
	if size := info.Size(); size == f.offset || size > f.offset && f.tailIsAt(f.offset) {
		return true
	}
	f.splitter.finish()
	f.assembler.flush()
	at, found, err := f.findTail(info.Size())
	if err != nil {
		f.readFailed(err)
		return false
	}
	if found {
		f.extractor.logger.Info("the node's log was shortened; nothing is lost", "path", f.path)
	} else {
		f.extractor.truncated.Add(1)
		f.extractor.logger.Warn("the node's log was cut or replaced in place; lines that were written just before are unknown", "path", f.path)
	}
	f.offset = at
	f.recall()
	return true
}

// tailIsAt reports whether the bytes before offset are those that were read last.
func (f *follower) tailIsAt(offset int64) bool {
	if len(f.tail) == 0 {
		return true
	}
	there := make([]byte, len(f.tail))
	n, err := f.file.ReadAt(there, offset-int64(len(there)))
	return err == nil && n == len(there) && bytes.Equal(there, f.tail)
}

// findTail looks for the bytes that were read last in a file of so many bytes, and
// gives the place behind them.
func (f *follower) findTail(size int64) (at int64, found bool, err error) {
	if len(f.tail) < minTail {
		return 0, false, nil
	}
	buffer := make([]byte, chunkSize)
	for begin := int64(0); begin < min(size, maxSearch); begin += int64(chunkSize - len(f.tail)) {
		n, err := f.file.ReadAt(buffer, begin)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, false, err
		}
		if i := bytes.Index(buffer[:n], f.tail); i >= 0 {
			return begin + int64(i+len(f.tail)), true, nil
		}
		if n < len(buffer) {
			break
		}
	}
	return 0, false, nil
}

// drain reads to the end of the file. It is false if that failed or ctx ended.
func (f *follower) drain(ctx context.Context) bool {
	for ctx.Err() == nil {
		n, err := f.file.ReadAt(f.chunk, f.offset)
		if n > 0 {
			f.offset += int64(n)
			f.remember(f.chunk[:n])
			f.splitter.feed(f.chunk[:n])
		}
		switch {
		case errors.Is(err, io.EOF):
			// The node writes a message in one piece: at the end of the file, no line
			// is still to come that belongs to the last one.
			if len(f.splitter.partial) == 0 {
				f.assembler.flush()
			}
			return true
		case err != nil:
			f.readFailed(err)
			return false
		}
	}
	return false
}

// remember keeps the last bytes read.
func (f *follower) remember(read []byte) {
	if len(read) >= tailSize {
		f.tail = append(f.tail[:0], read[len(read)-tailSize:]...)
		return
	}
	f.tail = append(f.tail, read...)
	if excess := len(f.tail) - tailSize; excess > 0 {
		f.tail = append(f.tail[:0], f.tail[excess:]...)
	}
}

// readFIFO reads from a FIFO until nothing comes for a poll interval. It doesn't leave
// data waiting: a full FIFO stops whoever writes to it, perhaps the node.
func (f *follower) readFIFO(ctx context.Context) {
	for ctx.Err() == nil {
		if err := f.file.SetReadDeadline(time.Now().Add(f.extractor.config.PollInterval)); err != nil {
			f.readFailed(err)
			return
		}
		n, err := f.file.Read(f.chunk)
		f.splitter.feed(f.chunk[:n])
		switch {
		case err == nil:
			continue
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, io.EOF):
			// Nothing new, or nobody has it open for writing.
			if len(f.splitter.partial) == 0 {
				f.assembler.flush()
			}
		default:
			f.readFailed(err)
			return
		}
		if own, err := f.file.Stat(); err == nil {
			if info, err := os.Stat(f.path); err == nil && !os.SameFile(info, own) {
				f.leave(ctx)
			}
		}
		return
	}
}

// readFailed gives the file up; it is opened again on the next poll.
func (f *follower) readFailed(err error) {
	f.extractor.failed.Add(1)
	f.close()
	f.down(explain(f.path, err))
}

// leave reads the rest of the file and closes it.
func (f *follower) leave(ctx context.Context) {
	if f.file != nil && !f.fifo {
		f.drain(ctx)
	}
	f.close()
}

// close hands out what was begun and closes the file.
func (f *follower) close() {
	f.splitter.finish()
	f.assembler.flush()
	if f.file != nil {
		_ = f.file.Close()
		f.file = nil
	}
	f.tail = f.tail[:0]
}

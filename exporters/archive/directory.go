package archive

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// suffix is that of archive files; the existing tool's.
const suffix = ".bin.zst"

// fileName is the name of a file begun at t: <base>.<YYYYMMDD-HHMMSS-ms>.bin.zst, in UTC.
func fileName(base string, t time.Time) string {
	t = t.UTC()
	return fmt.Sprintf("%s.%s-%03d%s", base, t.Format("20060102-150405"), t.Nanosecond()/int(time.Millisecond), suffix)
}

// directory is where a sink keeps its files.
type directory struct {
	path, base string
	pattern    *regexp.Regexp
	lock       *os.File
}

// stored is one of the files in a directory.
type stored struct {
	path string
	size int64
}

func newDirectory(path, base string) (*directory, error) {
	if path == "" {
		return nil, errors.New("no directory is given")
	}
	if !regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$`).MatchString(base) {
		return nil, fmt.Errorf("%q can't begin the names of files: use 1 to 64 letters, digits, full stops, - and _", base)
	}
	return &directory{
		path: path, base: base,
		pattern: regexp.MustCompile(`^` + regexp.QuoteMeta(base) + `\.\d{8}-\d{6}-\d{1,3}` + regexp.QuoteMeta(suffix) + `$`),
	}, nil
}

// open makes the directory and takes it, so that two programs don't write, and delete,
// each other's files.
func (d *directory) open() error {
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return err
	}
	path := filepath.Join(d.path, d.base+".lock")
	lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, fileMode)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = fmt.Errorf("another program archives into %s: give each a directory of its own", d.path)
		}
		return errors.Join(err, lock.Close())
	}
	d.lock = lock
	return nil
}

func (d *directory) close() error { return d.lock.Close() }

// files lists the files that this sink, or an earlier run of it, wrote, oldest first.
func (d *directory) files() ([]stored, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	var list []stored
	for _, entry := range entries {
		if !entry.Type().IsRegular() || !d.pattern.MatchString(entry.Name()) {
			continue
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, stored{path: filepath.Join(d.path, entry.Name()), size: info.Size()})
	}
	slices.SortFunc(list, func(a, b stored) int { return cmp.Compare(a.path, b.path) })
	return list, nil
}

// prune deletes the oldest files until all together have at most limit bytes, and gives
// their new size. The file at current is kept, and so are files that this program didn't
// write. deleted is called for each that is deleted.
func (d *directory) prune(limit int64, current string, deleted func(stored)) (int64, error) {
	files, err := d.files()
	if err != nil {
		return 0, err
	}
	var total int64
	for _, f := range files {
		total += f.size
	}
	for _, f := range files {
		if total <= limit {
			break
		}
		if f.path == current || !isOurs(f.path) {
			continue
		}
		if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return total, err
		}
		total -= f.size
		deleted(f)
	}
	return total, nil
}

// isOurs tells whether a file has the header that only this program writes.
func isOurs(path string) bool {
	r, err := Open(path, Options{})
	if err != nil {
		return false
	}
	defer r.Close()
	return r.Format() == FormatBlocks
}

package bpf

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/peerobserver/peerobserver/bpf/usdt"
)

// FileID identifies a file independent of its path. A replaced executable has
// another one.
type FileID struct {
	Dev, Ino uint64
}

// FileIDOf returns the identity of the file at path; symbolic links and
// /proc/PID/exe are followed.
func FileIDOf(path string) (FileID, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return FileID{}, pathError("find the executable", path, err)
	}
	return fileID(fi), nil
}

func fileID(fi os.FileInfo) FileID {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return FileID{Dev: uint64(st.Dev), Ino: st.Ino} //nolint:unconvert // another type on other systems
	}
	return FileID{}
}

// ErrNoTracepoints says that an executable has none of the tracepoints. Bitcoin
// Core's official Linux releases have them since v23; many distributions build
// without.
var ErrNoTracepoints = errors.New("executable has no tracepoints: use an official release of Bitcoin Core for Linux, or build with -DWITH_USDT=ON")

// Executable is a node's executable file with its tracepoints.
type Executable struct {
	// Path is where the file was opened; another file may be there by now.
	Path string
	ID   FileID
	// BuildID is the GNU build id in hexadecimal, empty if there is none.
	BuildID string

	file   *os.File
	probes []Probe
}

// Probe is one tracepoint of the table as found in an executable.
type Probe struct {
	Tracepoint Tracepoint
	// Sites are all the places it was compiled into; none if it is missing.
	Sites []usdt.Site
	// Err is a *MismatchError if a site's arguments are not those of the table.
	Err error
}

// Open reads the tracepoints of the executable at path, which may be
// /proc/PID/exe. The Executable must be closed.
func Open(path string) (*Executable, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, pathError("open the executable", path, err)
	}
	e, err := OpenFile(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return e, nil
}

// OpenFile is like Open for an open file. The Executable takes the file over
// unless there is an error.
func OpenFile(f *os.File) (*Executable, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("examine %s: %w", f.Name(), err)
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", f.Name())
	}
	x, err := usdt.Parse(f, fi.Size())
	if err != nil {
		return nil, fmt.Errorf("read tracepoints of %s: %w", f.Name(), err)
	}
	e := &Executable{Path: f.Name(), ID: fileID(fi), BuildID: x.BuildID, file: f}
	found := false
	for _, t := range Tracepoints() {
		p := Probe{Tracepoint: t}
		for _, s := range x.Sites {
			if s.Provider != t.Provider || s.Name != t.Name {
				continue
			}
			found = true
			p.Sites = append(p.Sites, s)
			if err := t.check(s); err != nil {
				p.Err = err
			}
		}
		e.probes = append(e.probes, p)
	}
	if !found {
		return nil, fmt.Errorf("%s: %w", f.Name(), ErrNoTracepoints)
	}
	if err := checkMachine(x.Machine); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return e, nil
}

// Probes returns one entry for each tracepoint of the table, in its order.
func (e *Executable) Probes() []Probe { return e.probes }

// Close closes the file. What is attached stays attached.
func (e *Executable) Close() error { return e.file.Close() }

// kernelPath is a path that leads the kernel to this very file, whatever has
// been renamed over Path since.
func (e *Executable) kernelPath() string {
	return fmt.Sprintf("/proc/self/fd/%d", e.file.Fd())
}

// pathError names the capability that helps when a path may not be followed or
// read.
func pathError(op, path string, err error) error {
	err = fmt.Errorf("%s: %w", op, err)
	if !errors.Is(err, os.ErrPermission) {
		return err
	}
	missing := CapDACReadSearch
	if strings.HasPrefix(path, "/proc/") {
		missing = CapSysPtrace
	}
	return capabilityError(op, err, missing)
}

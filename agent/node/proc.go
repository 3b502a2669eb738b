package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// defaultProcRoot is where Linux shows its processes.
const defaultProcRoot = "/proc"

// maxProcBytes bounds what is read of one file in /proc. A command line can be
// up to 2 MiB; a node's has some hundred bytes.
const maxProcBytes = 256 << 10

// ticksPerSecond is the unit of times in /proc/PID/stat, USER_HZ: 100 on every
// architecture that Go runs on with Linux.
const ticksPerSecond = 100

// procfs reads /proc or a copy of it.
type procfs struct {
	root string
}

func (p procfs) path(pid int, name string) string {
	return filepath.Join(p.root, strconv.Itoa(pid), name)
}

func (p procfs) read(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, maxProcBytes))
}

// pids lists the processes; threads are not among them.
func (p procfs) pids() ([]int, error) {
	dir, err := os.Open(p.root)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	pids := make([]int, 0, len(names))
	for _, name := range names {
		if name[0] < '1' || name[0] > '9' {
			continue
		}
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// comm is the name of a process, at most 15 bytes.
func (p procfs) comm(pid int) (string, error) {
	data, err := p.read(p.path(pid, "comm"))
	return strings.TrimSuffix(string(data), "\n"), err
}

// processStat is what is used of /proc/PID/stat (proc(5)).
type processStat struct {
	state      byte
	parent     int
	startTicks uint64 // since boot
}

func (p procfs) stat(pid int) (processStat, error) {
	data, err := p.read(p.path(pid, "stat"))
	if err != nil {
		return processStat{}, err
	}
	return parseStat(data)
}

// parseStat reads a line of /proc/PID/stat. The process's name stands in
// parentheses and can itself contain spaces and parentheses.
func parseStat(line []byte) (processStat, error) {
	end := bytes.LastIndexByte(line, ')')
	if end < 0 {
		return processStat{}, errors.New("process status without a name")
	}
	fields := strings.Fields(string(line[end+1:]))
	const stateField, parentField, startField = 0, 1, 19 // fields 3, 4 and 22
	if len(fields) <= startField || len(fields[stateField]) != 1 {
		return processStat{}, errors.New("process status too short")
	}
	parent, err := strconv.Atoi(fields[parentField])
	if err != nil {
		return processStat{}, fmt.Errorf("process status: %w", err)
	}
	start, err := strconv.ParseUint(fields[startField], 10, 64)
	if err != nil {
		return processStat{}, fmt.Errorf("process status: %w", err)
	}
	return processStat{state: fields[stateField][0], parent: parent, startTicks: start}, nil
}

// alive: neither a zombie nor gone.
func (s processStat) alive() bool { return s.state != 'Z' && s.state != 'X' && s.state != 'x' }

// startTime converts ticks since boot. The boot time comes in whole seconds and
// moves when the clock is set, so the result is for people, to a second.
func (p procfs) startTime(ticks uint64) (time.Time, error) {
	data, err := p.read(filepath.Join(p.root, "stat"))
	if err != nil {
		return time.Time{}, err
	}
	for line := range strings.Lines(string(data)) {
		if text, found := strings.CutPrefix(line, "btime "); found {
			boot, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
			if err != nil {
				return time.Time{}, err
			}
			return time.Unix(boot, 0).Add(time.Duration(ticks) * time.Second / ticksPerSecond), nil
		}
	}
	return time.Time{}, errors.New("no boot time in /proc/stat")
}

// commandLine returns the arguments, the program's name first.
func (p procfs) commandLine(pid int) ([]string, error) {
	data, err := p.read(p.path(pid, "cmdline"))
	if err != nil {
		return nil, err
	}
	text := strings.TrimSuffix(string(data), "\x00")
	if text == "" {
		return nil, nil // a kernel thread or a zombie
	}
	return strings.Split(text, "\x00"), nil
}

// home is HOME in the environment that the process was started with.
func (p procfs) home(pid int) (string, error) {
	data, err := p.read(p.path(pid, "environ"))
	if err != nil {
		return "", err
	}
	for entry := range strings.SplitSeq(string(data), "\x00") {
		if home, found := strings.CutPrefix(entry, "HOME="); found {
			return home, nil
		}
	}
	return "", nil
}

// userIDs are the effective user and group of the process.
func (p procfs) userIDs(pid int) (uid, gid uint32, err error) {
	data, err := p.read(p.path(pid, "status"))
	if err != nil {
		return 0, 0, err
	}
	found := 0
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[0] != "Uid:" && fields[0] != "Gid:" {
			continue
		}
		id, err := strconv.ParseUint(fields[2], 10, 32)
		if err != nil {
			return 0, 0, fmt.Errorf("process status: %w", err)
		}
		if fields[0] == "Uid:" {
			uid = uint32(id)
		} else {
			gid = uint32(id)
		}
		found++
	}
	if found != 2 {
		return 0, 0, errors.New("no user and group in process status")
	}
	return uid, gid, nil
}

// deletedSuffix is what the kernel appends to the link of a file that was
// removed or replaced since.
const deletedSuffix = " (deleted)"

// executable is the path of the program file, as the process sees it.
func (p procfs) executable(pid int) (string, error) {
	path, err := os.Readlink(p.path(pid, "exe"))
	return strings.TrimSuffix(path, deletedSuffix), err
}

// sharesNamespace reports whether the process is in our namespace of a kind,
// such as "mnt" or "net". What can't be told counts as shared.
func (p procfs) sharesNamespace(pid int, kind string) bool {
	ours, err := os.Readlink(filepath.Join(p.root, "self", "ns", kind))
	if err != nil {
		return true
	}
	theirs, err := os.Readlink(p.path(pid, filepath.Join("ns", kind)))
	return err != nil || ours == theirs
}

// fileRoot is what to put before a path of the process so that we can open it:
// nothing, or its root where that is another one (a container, a chroot).
func (p procfs) fileRoot(pid int) string {
	link := p.path(pid, "root")
	root, err := os.Readlink(link)
	if err != nil || root == "/" && p.sharesNamespace(pid, "mnt") {
		return ""
	}
	return link
}

// hidesProcesses reports whether /proc is mounted so that other users'
// processes don't show (hidepid, proc(5)).
func (p procfs) hidesProcesses() bool {
	data, err := p.read(filepath.Join(p.root, "self", "mounts"))
	if err != nil || os.Geteuid() == 0 {
		return false
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 4 || fields[1] != defaultProcRoot {
			continue
		}
		for option := range strings.SplitSeq(fields[3], ",") {
			if value, found := strings.CutPrefix(option, "hidepid="); found && value != "0" && value != "off" {
				return true
			}
		}
	}
	return false
}

// FileID tells one file from every other on this machine while it exists.
type FileID struct {
	Device, Inode uint64
}

func fileID(info fs.FileInfo) FileID {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return FileID{uint64(stat.Dev), stat.Ino} //nolint:unconvert // another type on other systems
	}
	return FileID{}
}

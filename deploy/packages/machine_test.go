package packages_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	labmachine "github.com/peerobserver/peerobserver/lab/machine"
)

// machine is a Debian of its own, freshly made, with its own systemd as process 1, its
// own network with nothing but a loopback interface, and all of its files in memory: a
// set of namespaces that ends with the test and leaves nothing behind.
type machine struct {
	t *testing.T
	// init is the process id of its systemd, as seen from here.
	init    int
	console *os.File
}

// boot is run in the new namespaces. It unpacks the archive $1 to memory, brings what a
// machine has by itself, runs the shell script $2 in what is to be the machine's root,
// and becomes its systemd. Devices are those of this machine that do no harm.
const boot = `set -eu
root=/mnt
mount -t tmpfs -o mode=755 machine $root
tar -C $root -xf "$1"
mkdir -p $root/old
mount -t proc proc $root/proc
mount -t sysfs -o ro sysfs $root/sys
mount -t cgroup2 cgroup2 $root/sys/fs/cgroup
mount -t tmpfs -o mode=755 devices $root/dev
for device in null zero full random urandom tty; do
  touch $root/dev/$device
  mount --bind /dev/$device $root/dev/$device
done
mkdir $root/dev/pts $root/dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts $root/dev/pts
ln -s pts/ptmx $root/dev/ptmx
mount -t tmpfs -o mode=755 run $root/run
echo node >$root/etc/hostname
echo 127.0.0.1 localhost node >$root/etc/hosts
cd $root
eval "$2"
pivot_root . old
umount -l old
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd
`

// bootDeadline is how long a machine may take to boot, and a service to come up.
const bootDeadline = 2 * time.Minute

// newMachine boots a machine from an archive of its files. The script, with paths that
// begin at the machine's root without a slash, adds to them.
func newMachine(t *testing.T, archive, script string) *machine {
	t.Helper()
	group := newControlGroup(t)
	console, err := os.Create(filepath.Join(t.TempDir(), "console"))
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{t: t, console: console}
	cmd := exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--net", "--cgroup", "--propagation=private",
		"bash", "-c", boot, "boot", archive, script)
	cmd.Stdout, cmd.Stderr = console, console
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL, UseCgroupFD: true, CgroupFD: int(group.Fd())}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting a machine: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // and with it, by --kill-child, all of the machine
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("console:\n%s", m.tail())
		}
		_ = console.Close()
	})
	eventually(t, "the machine to boot", func() error {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid))
		if err != nil {
			return err
		}
		if m.init, err = strconv.Atoi(strings.TrimSpace(string(children))); err != nil {
			return err
		}
		if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", m.init)); err != nil || string(name) != "systemd\n" {
			return fmt.Errorf("process 1 is %q (%w): %s", name, err, m.tail())
		}
		// It says degraded when a service failed that doesn't matter here.
		out, _ := m.try("systemctl is-system-running")
		if state := strings.TrimSpace(out); state != "running" && state != "degraded" {
			return fmt.Errorf("systemd is %s", state)
		}
		return nil
	})
	return m
}

// tail is the end of what was printed while it booted.
func (m *machine) tail() string {
	content, err := os.ReadFile(m.console.Name())
	if err != nil {
		return err.Error()
	}
	return string(content[max(0, len(content)-4000):])
}

// try runs a line of shell in the machine as root, as if it were typed there with a yes
// to every question, and gives what it printed.
func (m *machine) try(line string) (string, error) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), bootDeadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", "--target", strconv.Itoa(m.init), "--mount", "--pid", "--uts", "--ipc", "--net",
		"bash", "-c", "cd && "+line)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"}
	cmd.Stdin = strings.NewReader("y\n")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// run is try for a line that has to succeed.
func (m *machine) run(line string) string {
	m.t.Helper()
	out, err := m.try(line)
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return out
}

// path is that of a file of the machine, as seen from here.
func (m *machine) path(name string) string {
	return fmt.Sprintf("/proc/%d/root%s", m.init, name)
}

// client speaks HTTP with servers on the machine's loopback interface.
func (m *machine) client() *http.Client {
	dial := func(ctx context.Context, network, address string) (connection net.Conn, err error) {
		// The socket belongs to the network that the thread is in when it is made.
		runtime.LockOSThread()
		here, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			runtime.UnlockOSThread()
			return nil, err
		}
		defer here.Close()
		there, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", m.init))
		if err != nil {
			runtime.UnlockOSThread()
			return nil, err
		}
		defer there.Close()
		err = unix.Setns(int(there.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			connection, err = new(net.Dialer).DialContext(ctx, network, address)
		}
		if back := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); back != nil {
			return nil, errors.Join(err, back) // and nobody else gets this thread
		}
		runtime.UnlockOSThread()
		return connection, err
	}
	return &http.Client{Timeout: bootDeadline, Transport: &http.Transport{DialContext: dial}}
}

// controlGroup makes a control group for a machine, which systemd needs, and removes it
// with all that systemd made in it.
func newControlGroup(t *testing.T) *os.File {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	parent := ""
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[2] == "cgroup2" {
			parent = fields[1]
		}
	}
	if parent == "" {
		t.Fatal("no control groups (cgroup2) are mounted here")
	}
	path, err := os.MkdirTemp(parent, "peer-observer-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		eventually(t, "the machine's control group to be empty", func() error { return removeGroups(path) })
	})
	group, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = group.Close() })
	return group
}

// removeGroups removes a control group and those in it, the innermost first.
func removeGroups(path string) error {
	var groups []string
	err := filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			groups = append(groups, path)
		}
		return err
	})
	for _, group := range slices.Backward(groups) {
		err = errors.Join(err, syscall.Rmdir(group))
	}
	return err
}

// eventually polls until check has no complaint.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(bootDeadline)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s: %v", bootDeadline, what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// needsRoot ends a test that can't be run by another user.
func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		labmachine.Lacks(t, "root, to make a machine of its own")
	}
}

// output runs a program on this machine that has to succeed.
func output(t *testing.T, name string, arguments ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, arguments...)
	cmd.Dir, cmd.Stderr = root, &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(arguments, " "), err, out, stderr.String())
	}
	return string(out)
}

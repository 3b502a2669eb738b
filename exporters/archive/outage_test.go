package archive

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/peerobserver/peerobserver/proto/event"
)

// smallDisk names the directory at which the test's child process mounts a disk of 1 MiB.
const smallDisk = "PEER_OBSERVER_TEST_SMALL_DISK"

// mountAndRun runs in a child process with a mount namespace of its own.
func mountAndRun(m *testing.M) int {
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		fmt.Println("can't separate mounts:", err)
		return 3
	}
	if err := syscall.Mount("small", os.Getenv(smallDisk), "tmpfs", 0, "size=1m"); err != nil {
		fmt.Println("can't mount a tmpfs:", err)
		return 3
	}
	return m.Run()
}

// lines collects a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

// TestDiskFull runs TestOnSmallDisk in a process that has a disk of 1 MiB.
func TestDiskFull(t *testing.T) {
	child := exec.Command(os.Args[0], "-test.run=^TestOnSmallDisk$", "-test.v")
	child.Env = append(os.Environ(), smallDisk+"="+t.TempDir())
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := child.CombinedOutput()
	switch {
	case err == nil && bytes.Contains(out, []byte("--- PASS: TestOnSmallDisk")):
	case os.Getenv("CI") != "true" && (child.ProcessState == nil || child.ProcessState.ExitCode() == 3):
		t.Skipf("THE FULL DISK IS NOT TESTED: no user namespace with a tmpfs here: %v %s", err, out)
	default:
		t.Fatalf("%v: %s", err, out)
	}
}

// A disk that fills up is said once, costs what doesn't fit into the buffer, which is
// counted, and the archive goes on by itself when there is room.
func TestOnSmallDisk(t *testing.T) {
	dir := os.Getenv(smallDisk)
	if dir == "" {
		t.Skip("runs as a part of TestDiskFull")
	}
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 700<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	log := new(lines)
	record := new(recorder)
	r := run(t, Config{Dir: dir, BlockSize: 16 << 10, Buffer: 1 << 20, FlushInterval: 1})
	r.logger = slog.New(slog.NewTextHandler(log, nil))
	f := newTraffic("alpha", 13, r, record)

	const full = "archive can't be written"
	sent := 0
	until(t, "the disk to be full", func() bool {
		f.live(50)
		sent += 50
		return log.count(full) > 0
	})
	if ok, detail := r.State(); ok || !strings.Contains(detail, "no space") {
		t.Errorf("state %v, %s", ok, detail)
	}
	until(t, "events to be given up", func() bool {
		f.live(50)
		sent += 50
		return lost(r.ledger, event.StageWrite) > 1000
	})
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	until(t, "the archive to go on", func() bool {
		ok, _ := r.State()
		return ok
	})
	until(t, "the backlog to be written", func() bool { return r.queue.State().Events == 0 })
	f.live(50)
	sent += 50
	r.stop()

	got, damage := readSet(t, files(t, dir), Options{})
	if len(damage) > 0 {
		t.Errorf("damage %v", damage)
	}
	gone := int(lost(r.ledger, event.StageWrite) + lost(r.ledger, event.StageQueue))
	if len(got)+gone != sent || gone == 0 {
		t.Errorf("%d events are there and %d are counted as lost, of %d", len(got), gone, sent)
	}
	if !bytes.Equal(got[len(got)-1], record.data[len(record.data)-1]) {
		t.Error("the last event is missing")
	}
	if n := log.count(full); n != 1 {
		t.Errorf("it says %d times that the disk is full, want once", n)
	}
	if n := log.count("can be written again"); n != 1 {
		t.Errorf("it says %d times that it goes on, want once", n)
	}
	for _, loss := range r.ledger.Status().GetLosses() {
		if loss.GetStage() == string(event.StageWrite) && loss.GetReason() != string(ReasonNoSpace) {
			t.Errorf("lost for reason %s", loss.GetReason())
		}
	}
	v, err := Verify(t.Context(), files(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	if !v.Sound() || v.Missing() != uint64(gone) {
		t.Errorf("verification: sound %v, %d missing, want true, %d", v.Sound(), v.Missing(), gone)
	}
}

// Command guest is the only program inside a kernel under test: it is its init.
// It runs every check of package check with each way of attaching and copying
// that the kernel has, prints a line for each on the console, and switches off.
package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/peerobserver/peerobserver/bpf"
	"github.com/peerobserver/peerobserver/bpf/internal/check"
)

// Lines that the host looks for.
const (
	okPrefix    = "CHECK ok "
	failPrefix  = "CHECK FAIL "
	unamePrefix = "CHECK kernel "
	endLine     = "CHECK end"
)

func main() {
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		fmt.Println(unamePrefix + unix.ByteSliceToString(u.Release[:]))
	}
	if err := mount(); err != nil {
		fmt.Println(failPrefix + "mount: " + err.Error())
	} else {
		run()
	}
	fmt.Println(endLine)
	// With qemu's -no-reboot this ends the emulator.
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
}

func mount() error {
	for _, m := range []struct{ fs, at string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"tmpfs", "/tmp"}, {"devtmpfs", "/dev"}} {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.fs, m.at, m.fs, 0, ""); err != nil {
			return fmt.Errorf("%s: %w", m.at, err)
		}
	}
	return nil
}

func report(name string, err error) {
	if err == nil {
		fmt.Println(okPrefix + name)
		return
	}
	fmt.Println(failPrefix + name + ": " + strings.ReplaceAll(err.Error(), "\n", " | "))
}

// run tries every combination that differs on this kernel once.
func run() {
	done := make(map[bpf.Features]bool)
	for _, cfg := range []bpf.Config{
		{},
		{NoKfuncs: true},
		{Link: bpf.PerfEvent},
		{Link: bpf.PerfEvent, NoKfuncs: true},
	} {
		cfg.RingSize = 16 << 20
		r, err := check.NewRig("/emitter", cfg)
		if err != nil {
			report(fmt.Sprintf("load with %+v", cfg), err)
			continue
		}
		f := r.Program.Features()
		name := fmt.Sprintf("%v kfuncs=%v: ", f.Link, f.Kfuncs)
		if !done[f] {
			done[f] = true
			for _, c := range check.All() {
				report(name+c.Name, c.Run(r))
			}
		}
		report(name+"close", r.Close())
	}
}

package bpf

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// ownMemory lets the process read its own /proc/self/mem, where the library looks for the
// kernel's version, until restore is called. A process whose program file has capabilities
// (setcap) may not, for the kernel makes it one that can't be dumped, and gives its files in
// /proc to root (PR_SET_DUMPABLE of prctl(2)). Meanwhile other processes of the user gain
// nothing: to look into this one they need its capabilities as well.
func ownMemory() (restore func(), err error) {
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil {
		return nil, fmt.Errorf("prctl(PR_GET_DUMPABLE): %w", err)
	}
	if dumpable == 1 {
		return func() {}, nil
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("prctl(PR_SET_DUMPABLE): %w", err)
	}
	return func() {
		// Nothing forbids this. If it was 2, which only the kernel can set, nobody has
		// dumps from now on, where root had them.
		_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	}, nil
}

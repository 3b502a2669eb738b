package agent

import (
	"log/slog"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// Bits of the kernel's clock status (adjtimex(2), linux/timex.h).
const (
	// staUnsync: no time service keeps the clock, or none has for too long.
	staUnsync = 0x0040
	// staNano: the offset is in nanoseconds, else in microseconds.
	staNano = 0x2000
)

// HostClock reads the state of the host's clock from the kernel. Its methods may be
// called from several goroutines.
type HostClock struct {
	logger *slog.Logger
	// read is the system call; a test replaces it.
	read    func(*unix.Timex) (int, error)
	refused sync.Once
}

// NewHostClock makes a reader.
func NewHostClock(logger *slog.Logger) *HostClock {
	return &HostClock{logger: logger, read: unix.Adjtimex}
}

// State is how the clock is; nil where the kernel doesn't tell, such as behind a filter of
// system calls. To read it needs no privilege.
func (c *HostClock) State() *eventpb.HostClock {
	// Without modes nothing is changed.
	var state unix.Timex
	if _, err := c.read(&state); err != nil {
		c.refused.Do(func() {
			c.logger.Warn("the kernel doesn't tell how the host's clock is, so there are no metrics of it: allow the system call adjtimex, and leave ProtectClock= out of a unit of systemd", "err", err)
		})
		return nil
	}
	const microsecond, nanosecond = int64(1000), int64(1)
	unit := microsecond
	if state.Status&staNano != 0 {
		unit = nanosecond
	}
	ptr := func(n int64) *int64 { return &n }
	synchronized := state.Status&staUnsync == 0
	return &eventpb.HostClock{
		Synchronized:     &synchronized,
		OffsetNs:         ptr(int64(state.Offset) * unit),          //nolint:unconvert // 32 bits on 32-bit machines
		EstimatedErrorNs: ptr(int64(state.Esterror) * microsecond), //nolint:unconvert // 32 bits on 32-bit machines
		MaxErrorNs:       ptr(int64(state.Maxerror) * microsecond), //nolint:unconvert // 32 bits on 32-bit machines
	}
}

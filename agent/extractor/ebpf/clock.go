package ebpf

import (
	"time"

	"golang.org/x/sys/unix"
)

// clock maps the kernel's CLOCK_BOOTTIME, in which tracepoints are stamped, to UNIX
// time. It keeps its offset as long as that is right within maxClockError, so that the
// order of two events is not turned round by the noise of reading two clocks.
type clock struct {
	// offset is UNIX time minus CLOCK_BOOTTIME in nanoseconds.
	offset int64
	// read gives both clocks; a test replaces it.
	read func() (boot, unix int64, err error)
}

// maxClockError is how far the mapping may be off before it is set again: adjusting the
// wall clock moves it.
const maxClockError = int64(time.Millisecond)

func newClock() (*clock, error) {
	c := &clock{read: readClocks}
	boot, now, err := c.read()
	if err != nil {
		return nil, err
	}
	c.offset = now - boot
	return c, nil
}

// unix is the UNIX time in nanoseconds of a CLOCK_BOOTTIME.
func (c *clock) unix(boot uint64) int64 {
	return int64(boot) + c.offset
}

// adjust follows a changed wall clock. It is called every second or so.
func (c *clock) adjust() {
	boot, now, err := c.read()
	if err != nil {
		// The clock was readable before; the old offset is the best there is.
		return
	}
	if offset := now - boot; offset-c.offset > maxClockError || c.offset-offset > maxClockError {
		c.offset = offset
	}
}

// readClocks reads both clocks as near to each other as it can: of a few tries it
// takes the one in which the least time passed.
func readClocks() (boot, now int64, err error) {
	best := int64(1<<63 - 1)
	for range 5 {
		var before, after, wall unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &before); err != nil {
			return 0, 0, err
		}
		if err := unix.ClockGettime(unix.CLOCK_REALTIME, &wall); err != nil {
			return 0, 0, err
		}
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &after); err != nil {
			return 0, 0, err
		}
		if passed := after.Nano() - before.Nano(); passed < best {
			best = passed
			boot, now = before.Nano()+passed/2, wall.Nano()
		}
	}
	return boot, now, nil
}

package agent

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What the kernel says comes out in nanoseconds, whatever the unit of its offset.
func TestHostClockUnits(t *testing.T) {
	c := NewHostClock(slog.New(slog.DiscardHandler))
	for _, test := range []struct {
		name    string
		status  int32
		offset  int64
		synced  bool
		offsets int64
	}{
		{"a clock that ntpd keeps, in microseconds", 0x0001, -1500, true, -1_500_000},
		{"one that systemd-timesyncd keeps, in nanoseconds", staNano | 0x0001, -1500, true, -1500},
		{"one that nobody keeps", staUnsync, 0, false, 0},
	} {
		c.read = func(state *unix.Timex) (int, error) {
			if state.Modes != 0 {
				t.Errorf("%s: modes %#x would change the clock", test.name, state.Modes)
			}
			*state = unix.Timex{Status: test.status, Offset: test.offset, Esterror: 250, Maxerror: 16_000_000}
			return 0, nil
		}
		got := c.State()
		if got.GetSynchronized() != test.synced || got.GetOffsetNs() != test.offsets || got.GetEstimatedErrorNs() != 250_000 || got.GetMaxErrorNs() != 16_000_000_000 {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// A kernel that doesn't tell is no reason to stop, and is told once.
func TestHostClockRefused(t *testing.T) {
	var out bytes.Buffer
	c := NewHostClock(slog.New(slog.NewTextHandler(&out, nil)))
	c.read = func(*unix.Timex) (int, error) { return -1, unix.EPERM }
	for range 3 {
		if state := c.State(); state != nil {
			t.Errorf("there is a state: %v", state)
		}
	}
	if n := strings.Count(out.String(), "adjtimex"); n != 1 {
		t.Errorf("told %d times: %s", n, out.String())
	}
}

// The kernel of this machine tells, within the bounds that it gives its own figures.
func TestHostClockOfThisMachine(t *testing.T) {
	var out bytes.Buffer
	state := NewHostClock(slog.New(slog.NewTextHandler(&out, nil))).State()
	if state == nil {
		t.Fatalf("no state: %s", out.String())
	}
	const halfSecond, limit = int64(500_000_000), int64(16_000_000_000)
	if o := state.GetOffsetNs(); o < -halfSecond || o > halfSecond {
		t.Errorf("an offset of %d ns", o)
	}
	for name, v := range map[string]int64{"estimated": state.GetEstimatedErrorNs(), "largest": state.GetMaxErrorNs()} {
		// A time service may set more than the kernel lets it grow to.
		if v < 0 || (v > limit && state.GetSynchronized()) {
			t.Errorf("the %s error is %d ns", name, v)
		}
	}
	t.Log(state)
}

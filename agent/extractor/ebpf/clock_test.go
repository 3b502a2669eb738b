package ebpf

import (
	"testing"
	"time"
)

func TestClockMapsBootTimeToUnixTime(t *testing.T) {
	c, err := newClock()
	if err != nil {
		t.Fatal(err)
	}
	boot, _, err := readClocks()
	if err != nil {
		t.Fatal(err)
	}
	if off := time.Since(time.Unix(0, c.unix(uint64(boot)))).Abs(); off > time.Second {
		t.Errorf("mapped time is %v away from now", off)
	}
}

func TestClockFollowsStepsButNotNoise(t *testing.T) {
	boot, now := int64(1000), int64(5_000_000_000)
	c := &clock{offset: now - boot, read: func() (int64, int64, error) { return boot, now, nil }}

	now += maxClockError / 2
	c.adjust()
	if got := c.unix(1000); got != 5_000_000_000 {
		t.Errorf("after noise 1000 maps to %d, want it unchanged", got)
	}
	now += int64(time.Hour)
	c.adjust()
	if got := c.unix(1000); got != now {
		t.Errorf("after a step 1000 maps to %d, want %d", got, now)
	}
}

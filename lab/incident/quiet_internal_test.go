package incident

import (
	"testing"
	"time"
)

// The chance of the quiet year is that of the blocks of 2023 and of the stale blocks since.
func TestQuietYearIsUsual(t *testing.T) {
	most, longer, pairs, lost := time.Duration(0), 0, 0, 0
	blocks := chances(quietSeed, year)
	for _, b := range blocks {
		most = max(most, b.gap)
		if b.gap > 90*time.Minute {
			longer++
		}
		if b.gap < time.Second {
			pairs++
		}
		if b.lost > 0 {
			lost++
		}
	}
	if most.Round(time.Minute) != 102*time.Minute || longer != 6 || pairs < 46 || lost < 60 || lost > 80 {
		t.Errorf("no usual year: the longest gap is %v, %d are longer than 90 minutes, %d below a second, %d blocks lost", most, longer, pairs, lost)
	}
}

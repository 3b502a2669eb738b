package machine_test

import (
	"testing"

	"github.com/peerobserver/peerobserver/lab/machine"
)

// recorder is a test that says how it ended.
type recorder struct {
	testing.TB
	failed, skipped bool
}

func (r *recorder) Fatalf(string, ...any) { r.failed = true; panic(r) }
func (r *recorder) Skip(...any)           { r.skipped = true }

func TestLacks(t *testing.T) {
	for _, c := range []struct {
		ci   string
		fail bool
	}{{"true", true}, {"", false}} {
		t.Setenv("CI", c.ci)
		r := &recorder{TB: t}
		func() {
			defer func() { _ = recover() }()
			machine.Lacks(r, "another machine")
		}()
		if r.failed != c.fail || r.skipped == c.fail {
			t.Errorf("with CI=%q: failed %v, skipped %v", c.ci, r.failed, r.skipped)
		}
	}
}

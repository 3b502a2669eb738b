package bpf_test

import (
	"fmt"
	"testing"

	"github.com/peerobserver/peerobserver/bpf"
	"github.com/peerobserver/peerobserver/bpf/internal/check"
)

// TestPath runs every check by every way of attaching and copying that this
// kernel has.
func TestPath(t *testing.T) {
	path := buildEmitter(t)
	for _, kind := range []bpf.LinkKind{bpf.AutoLink, bpf.PerfEvent} {
		for _, slices := range []bool{false, true} {
			t.Run(fmt.Sprintf("link=%v/slices=%v", kind, slices), func(t *testing.T) {
				r := newRig(t, path, bpf.Config{Link: kind, NoKfuncs: slices})
				for _, c := range check.All() {
					t.Run(c.Name, func(t *testing.T) {
						if err := c.Run(r); err != nil {
							t.Error(err)
						}
					})
				}
				for _, p := range r.Attach.Probes() {
					if p.State != bpf.Attached || p.Err != nil {
						t.Errorf("%v: %v, %v", p.Tracepoint, p.State, p.Err)
					}
				}
			})
		}
	}
}

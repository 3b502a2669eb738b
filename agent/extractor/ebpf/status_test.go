package ebpf

import (
	"testing"

	"github.com/peerobserver/peerobserver/bpf"
)

// Records of other nodes that run the same program are counted before they are read and found
// to be theirs: the counts that are told of never fall because of that.
func TestStatusNeverFalls(t *testing.T) {
	x := new(Extractor)
	tracepoint := bpf.Tracepoints()[0]
	x.reports = []bpf.ProbeReport{{Tracepoint: tracepoint, State: bpf.Attached}}
	for _, step := range []struct{ counted, ignored, want uint64 }{
		{4, 0, 4}, {4, 4, 4}, {7, 4, 4}, {10, 4, 6}, {12, 6, 6}, {13, 6, 7},
	} {
		x.base.Tracepoints[tracepoint.ID].Hits = step.counted
		x.base.Tracepoints[tracepoint.ID].Records = step.counted
		x.ignored[tracepoint.ID].Store(step.ignored)
		status := x.Status()
		if len(status) != 1 || status[0].GetHits() != step.want || status[0].GetRecords() != step.want {
			t.Errorf("%d counted, %d ignored: %v, want %d", step.counted, step.ignored, status, step.want)
		}
	}
}

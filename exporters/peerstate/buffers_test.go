package peerstate

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/eventpb"
)

func TestIncompleteMessages(t *testing.T) {
	var u PeerSummary
	for _, c := range []struct {
		received uint64
		complete map[string]uint64
		want     uint64
	}{
		{1000, map[string]uint64{"ping": 32, "*other*": 68}, 900},
		{100, map[string]uint64{"ping": 100}, 0},
		// The two numbers are not read at the same moment.
		{100, map[string]uint64{"ping": 132}, 0},
		{1000, nil, 0},
	} {
		info := &eventpb.PeerInfo{BytesReceived: proto.Uint64(c.received), BytesReceivedPerMessage: c.complete}
		if got := incomplete(info); got != c.want {
			t.Errorf("%d bytes, of them %v complete: %d, want %d", c.received, c.complete, got, c.want)
		}
		u.incompleteMessages(info)
	}
	if u.Incomplete != 900 || u.IncompleteMax != 900 {
		t.Errorf("sum %d and largest %d, want 900", u.Incomplete, u.IncompleteMax)
	}
}

func TestStalled(t *testing.T) {
	var b Backlog
	const asked = 1_000_000_200e9
	b.stalled(stalledBytes-1, 1_000_000_000, asked) // little waits
	b.stalled(stalledBytes, 0, asked)               // nothing was ever sent
	if b.Stalled != 0 {
		t.Errorf("stalled for %v s, want 0", b.Stalled)
	}
	b.stalled(stalledBytes, 1_000_000_100, asked)
	b.stalled(2*stalledBytes, 1_000_000_150, asked)
	if b.Stalled != 100 {
		t.Errorf("stalled for %v s, want 100", b.Stalled)
	}
}

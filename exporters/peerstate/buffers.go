package peerstate

import "github.com/peerobserver/peerobserver/proto/eventpb"

// stalledBytes is what must wait to be sent to a peer before it counts as one that doesn't
// read: the node stops to work for a peer when a megabyte waits (-maxsendbuffer).
const stalledBytes = 500_000

// incomplete is how many bytes of a message the node has from a peer that isn't whole yet:
// what it received beyond its complete messages (CNode::ReceiveMsgBytes).
func incomplete(info *eventpb.PeerInfo) uint64 {
	if info.GetBytesReceivedPerMessage() == nil {
		return 0
	}
	complete := uint64(0)
	for _, n := range info.GetBytesReceivedPerMessage() {
		complete += n
	}
	if received := info.GetBytesReceived(); received > complete {
		return received - complete
	}
	return 0
}

// incompleteMessages adds what a peer left unfinished.
func (u *PeerSummary) incompleteMessages(info *eventpb.PeerInfo) {
	n := incomplete(info)
	u.Incomplete += n
	u.IncompleteMax = max(u.IncompleteMax, n)
}

// stalled notes for how long the node has been able to send nothing to a peer for which
// waiting bytes wait. lastSend is in UNIX seconds, asked in nanoseconds.
func (b *Backlog) stalled(waiting, lastSend, asked int64) {
	if waiting >= stalledBytes && lastSend > 0 {
		b.Stalled = max(b.Stalled, float64(asked)/1e9-float64(lastSend))
	}
}

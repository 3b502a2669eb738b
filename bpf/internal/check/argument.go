package check

import (
	"fmt"
	"strings"

	"github.com/peerobserver/peerobserver/bpf"
	"github.com/peerobserver/peerobserver/bpf/emitter"
)

// arguments are what the emitter passes to each tracepoint for peer=P size=S in
// its n-th hit, as c/emitter.c has it. Strings and hashes are in place.
func arguments(id bpf.ID, p, s, n int64) []any {
	const address, connection, reason = "192.0.2.1:8333", "inbound", "some reason"
	hash, hash2 := emitter.Hash(5, 1), emitter.Hash(5, 2)
	p += n
	odd := n & 1
	switch id {
	case bpf.NetInboundConnection, bpf.NetOutboundConnection, bpf.NetClosedConnection, bpf.NetEvictedInboundConnection:
		return []any{p, address, connection, int64(3), s}
	case bpf.NetMisbehavingConnection:
		return []any{p, reason}
	case bpf.NetBlockHeader:
		return []any{s, p, odd, hash}
	case bpf.NetCompactBlockReconstructed:
		return []any{p, s, s + 1, s + 2, s + 3, s + 4, hash}
	case bpf.MempoolAdded:
		return []any{hash, s, p}
	case bpf.MempoolRemoved:
		return []any{hash, reason, s, p, s + 1}
	case bpf.MempoolReplaced:
		return []any{hash, s, p, s + 1, hash2, s + 2, p + 3, odd}
	case bpf.MempoolRejected:
		return []any{hash, reason}
	case bpf.ValidationBlockConnected:
		return []any{hash, s, s + 1, s + 2, s + 3, p}
	case bpf.UTXOCacheFlush:
		return []any{p, s, s + 1, s + 2, odd}
	case bpf.UTXOCacheAdd, bpf.UTXOCacheSpent, bpf.UTXOCacheUncache:
		return []any{hash, s, s + 1, p, odd}
	}
	return nil
}

// Arguments checks every argument of every tracepoint, and what is recorded of
// the hit itself.
func Arguments(r *Rig) error {
	var rec bpf.Record
	const peer, size, hits = -3_000_000_000, 4_000_007, 2
	last := uint64(0)
	for _, t := range bpf.Tracepoints() {
		before, err := r.counts(t.ID)
		if err != nil {
			return err
		}
		if _, err := r.Fire("%v count=%d peer=%d size=%d seed=5 reason=some reason", t, hits, peer, size); err != nil {
			return err
		}
		for n := range int64(hits) {
			if err := r.Next(&rec); err != nil {
				return fmt.Errorf("%v: %w", t, err)
			}
			if rec.Tracepoint != t.ID || rec.NumArgs() != len(t.Args) {
				return fmt.Errorf("%v: tracepoint %d with %d arguments", t, rec.Tracepoint, rec.NumArgs())
			}
			for i, want := range arguments(t.ID, peer, size, n) {
				var got any
				switch want.(type) {
				case int64:
					got = rec.Int(i)
				case string:
					got = rec.Text(i)
				case [32]byte:
					got = *rec.Hash(i)
				}
				if got != want {
					return fmt.Errorf("%v hit %d: %s is %v, want %v", t, n, t.Args[i].Name, got, want)
				}
			}
			if int(rec.PID) != r.Emitter.PID() || rec.TID == rec.PID || rec.Time <= last || rec.RunStart == 0 {
				return fmt.Errorf("%v: pid %d (emitter %d), thread %d, time %d after %d, run start %d",
					t, rec.PID, r.Emitter.PID(), rec.TID, rec.Time, last, rec.RunStart)
			}
			last = rec.Time
		}
		after, err := r.counts(t.ID)
		if err != nil {
			return err
		}
		if after.Hits-before.Hits != hits || after.Records-before.Records != hits {
			return fmt.Errorf("%v: %d hits and %d records counted, want %d", t, after.Hits-before.Hits, after.Records-before.Records, hits)
		}
	}
	return r.Empty()
}

// Strings checks the longest strings there are, and longer ones than are kept.
func Strings(r *Rig) error {
	onion := strings.Repeat("a", 56) + ".onion:65535" // the longest address Core makes itself
	name := strings.Repeat("n", 253) + ":65535"       // the longest host name a peer can be added by
	var rec bpf.Record
	for _, c := range []struct {
		probe, key, value string
		arg, kept         int
	}{
		{"net:inbound_message", "address", onion, 1, 68},
		{"net:outbound_message", "address", name, 1, 259},
		{"net:closed_connection", "address", strings.Repeat("x", 400), 1, 319},
		{"net:inbound_message", "connection", "outbound-full-relayy", 2, 20},
		{"net:inbound_message", "type", "abcdefghijklmnopqrst", 3, 20},
		{"net:inbound_message", "type", strings.Repeat("t", 40), 3, 23},
		{"net:inbound_message", "type", "", 3, 0},
		{"net:misbehaving_connection", "reason", strings.Repeat("r", 256), 1, 256},
		{"mempool:rejected", "reason", strings.Repeat("r", 1022), 1, 1022},
		{"mempool:rejected", "reason", strings.Repeat("r", 3000), 1, 1023},
		{"mempool:removed", "reason", "sizelimit", 1, 9},
	} {
		if _, err := r.Fire("%s %s=%s", c.probe, c.key, c.value); err != nil {
			return err
		}
		if err := r.Next(&rec); err != nil {
			return err
		}
		cut := len(c.value) > c.kept
		if rec.Text(c.arg) != c.value[:c.kept] || rec.Cut(c.arg) != cut || (rec.Flags&bpf.StringCut != 0) != cut {
			return fmt.Errorf("%s %s of %d bytes: kept %d, want %d; cut %v, flags %b", c.probe, c.key, len(c.value),
				len(rec.Bytes(c.arg)), c.kept, rec.Cut(c.arg), rec.Flags)
		}
	}
	return r.Empty()
}

// Conservation fires from several threads at once and checks that every hit is
// either a record or counted as lost, and that the records of each thread are in
// order.
func Conservation(r *Rig) error {
	const threads, each = 3, 2000
	before, err := r.counts(bpf.NetInboundMessage)
	if err != nil {
		return err
	}
	res, err := r.Fire("net:inbound_message threads=%d count=%d size=700 seed=1", threads, each)
	if err != nil {
		return err
	}
	got, err := Drain(r.Program.Reader())
	if err != nil {
		return err
	}
	after, err := r.counts(bpf.NetInboundMessage)
	if err != nil {
		return err
	}
	hits, lost := after.Hits-before.Hits, after.Lost()-before.Lost()
	if res.Fired != threads*each || hits != res.Fired || got+lost != hits || after.Records-before.Records != got {
		return fmt.Errorf("%d fired, %d hits, %d records read, %d written, %d lost",
			res.Fired, hits, got, after.Records-before.Records, lost)
	}
	return nil
}

// Drain reads what is in the ring and checks that the peer ids, which the emitter
// counts up, rise within each thread. It returns the number of records.
func Drain(reader *bpf.Reader) (uint64, error) {
	var rec bpf.Record
	n := uint64(0)
	last := make(map[uint32]int64)
	for {
		ok, err := reader.TryRead(&rec)
		if err != nil || !ok {
			return n, err
		}
		n++
		if l, seen := last[rec.TID]; seen && rec.Int(0) <= l {
			return n, fmt.Errorf("thread %d: hit %d after hit %d", rec.TID, rec.Int(0), l)
		}
		last[rec.TID] = rec.Int(0)
	}
}

// counts returns the counts of one tracepoint.
func (r *Rig) counts(id bpf.ID) (bpf.Counts, error) {
	c, err := r.Program.Counters()
	return c.Tracepoints[id], err
}

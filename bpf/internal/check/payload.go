package check

import (
	"bytes"
	"fmt"
	"os"

	"github.com/peerobserver/peerobserver/bpf"
	"github.com/peerobserver/peerobserver/bpf/emitter"
)

// maxMessage is Bitcoin Core's MAX_PROTOCOL_MESSAGE_LENGTH in bytes.
const maxMessage = 4_000_000

// edges are payload sizes around every boundary of the copying code: words, its
// slices of 256 B, 4 KiB and 64 KiB, and the largest message.
var edges = []int{0, 1, 7, 8, 9, 255, 256, 257, 300, 511, 513, 4095, 4096, 4097, 4352, 4353,
	65535, 65536, 65537, 69632, 69889, 131071, 999_999, 1 << 20, 3_840_001, maxMessage - 1, maxMessage}

// Payloads checks that payloads of all sizes, by all ways a compiler may pass
// arguments, arrive byte for byte.
func Payloads(r *Rig) error {
	var rec bpf.Record
	for _, shape := range []string{"register", "memory", "index"} {
		for i, size := range edges {
			seed := uint64(i + 1)
			if _, err := r.Fire("net:inbound_message size=%d seed=%d peer=-5 shape=%s type=cmpctblock", size, seed, shape); err != nil {
				return err
			}
			if err := r.Next(&rec); err != nil {
				return err
			}
			if err := message(&rec, bpf.NetInboundMessage, -5, "cmpctblock", emitter.Payload(seed, size, 0)); err != nil {
				return fmt.Errorf("%s, %d bytes: %w", shape, size, err)
			}
		}
	}
	if _, err := r.Fire("net:inbound_message size=300 seed=9 shape=constant type=inv"); err != nil {
		return err
	}
	if err := r.Next(&rec); err != nil {
		return err
	}
	if err := message(&rec, bpf.NetInboundMessage, -7, "inv", emitter.Payload(9, 300, 0)); err != nil {
		return fmt.Errorf("constant: %w", err)
	}
	return r.Empty()
}

func message(rec *bpf.Record, id bpf.ID, peer int64, kind string, payload []byte) error {
	switch {
	case rec.Tracepoint != id:
		return fmt.Errorf("tracepoint %d, want %d", rec.Tracepoint, id)
	case rec.Flags != 0:
		return fmt.Errorf("flags %b", rec.Flags)
	case rec.Int(0) != peer:
		return fmt.Errorf("peer %d, want %d", rec.Int(0), peer)
	case rec.Text(1) != "192.0.2.1:8333" || rec.Text(2) != "inbound" || rec.Text(3) != kind:
		return fmt.Errorf("address %q, connection type %q, message type %q", rec.Text(1), rec.Text(2), rec.Text(3))
	case rec.PayloadSize() != uint64(len(payload)):
		return fmt.Errorf("size %d, want %d", rec.PayloadSize(), len(payload))
	case !bytes.Equal(rec.Payload(), payload):
		return fmt.Errorf("payload of %d bytes differs", len(rec.Payload()))
	}
	return nil
}

// ColdPages checks payloads whose pages are not in memory: untouched anonymous
// memory, an unread mapping of a file, and one with every second page there.
func ColdPages(r *Rig) error {
	const size = 200_001
	content := emitter.Random(77, size)
	f, err := os.CreateTemp("", "payload")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err1 := f.Close(); err == nil {
		err = err1
	}
	if err != nil {
		return fmt.Errorf("write payload file: %w", err)
	}
	before, err := r.counts(bpf.NetInboundMessage)
	if err != nil {
		return err
	}
	var rec bpf.Record
	const repeats = 3
	for place, want := range map[string][]byte{"anonymous": make([]byte, size), "file": content, "half": content} {
		if _, err := r.Fire("net:inbound_message count=%d size=%d place=%s file=%s type=block", repeats, size, place, f.Name()); err != nil {
			return err
		}
		for n := range int64(repeats) {
			if err := r.Next(&rec); err != nil {
				return err
			}
			if err := message(&rec, bpf.NetInboundMessage, n, "block", want); err != nil {
				return fmt.Errorf("%s: %w", place, err)
			}
		}
	}
	after, err := r.counts(bpf.NetInboundMessage)
	if err != nil {
		return err
	}
	if n := after.PagedIn - before.PagedIn; n == 0 || after.PayloadFault != before.PayloadFault {
		return fmt.Errorf("%d payloads paged in, %d faults", n, after.PayloadFault-before.PayloadFault)
	}
	return r.Empty()
}

// WildPointers checks that a payload that can't be read is left out and said so,
// and that nothing of an older record comes in its place.
func WildPointers(r *Rig) error {
	before, err := r.counts(bpf.NetInboundMessage)
	if err != nil {
		return err
	}
	var rec bpf.Record
	for _, size := range []int{1, 300, 5000, 70_000, maxMessage} {
		if _, err := r.Fire("net:inbound_message size=%d place=wild", size); err != nil {
			return err
		}
		if err := r.Next(&rec); err != nil {
			return err
		}
		if rec.Flags != bpf.PayloadFault || len(rec.Payload()) != 0 || rec.PayloadSize() != uint64(size) || rec.Text(3) != "ping" {
			return fmt.Errorf("%d bytes: flags %b, %d bytes of payload, size %d, type %q",
				size, rec.Flags, len(rec.Payload()), rec.PayloadSize(), rec.Text(3))
		}
	}
	after, err := r.counts(bpf.NetInboundMessage)
	if err != nil {
		return err
	}
	if n := after.PayloadFault - before.PayloadFault; n != 5 {
		return fmt.Errorf("%d payload faults counted, want 5", n)
	}
	return r.Empty()
}

// Limits checks that rules by type and direction are applied, and that what they
// cut or drop is counted.
func Limits(r *Rig) (err error) {
	before, err := r.counts(bpf.NetInboundMessage)
	if err != nil {
		return err
	}
	if err := r.Program.SetPolicy(bpf.Policy{
		Inbound: 1000, Outbound: 10,
		Rules: []bpf.Rule{
			{Direction: bpf.Inbound, MessageType: "tx", Limit: 77},
			{Direction: bpf.Inbound, MessageType: "addrv2", Limit: bpf.MaxPayload},
			{Direction: bpf.Inbound, MessageType: "pong", Drop: true},
		},
	}); err != nil {
		return err
	}
	defer func() {
		if e := r.Program.SetPolicy(bpf.KeepAll()); err == nil {
			err = e
		}
	}()
	var rec bpf.Record
	want := emitter.Payload(3, 5000, 0)
	for _, c := range []struct {
		probe, kind string
		kept        int
	}{
		{"net:inbound_message", "tx", 77},
		{"net:inbound_message", "t", 1000},
		{"net:inbound_message", "txx", 1000},
		{"net:inbound_message", "addrv2", 5000},
		{"net:inbound_message", "pong", -1},
		{"net:outbound_message", "pong", 10},
		{"net:outbound_message", "addrv2", 10},
	} {
		if _, err := r.Fire("%s size=5000 seed=3 type=%s", c.probe, c.kind); err != nil {
			return err
		}
		if c.kept < 0 {
			if err := r.Empty(); err != nil {
				return fmt.Errorf("dropped type: %w", err)
			}
			continue
		}
		if err := r.Next(&rec); err != nil {
			return err
		}
		cut := rec.Flags&bpf.Truncated != 0
		if !bytes.Equal(rec.Payload(), want[:c.kept]) || cut != (c.kept < 5000) || rec.PayloadSize() != 5000 || rec.Text(3) != c.kind {
			return fmt.Errorf("%s %s: %d bytes kept, want %d; flags %b, size %d, type %q", c.probe, c.kind,
				len(rec.Payload()), c.kept, rec.Flags, rec.PayloadSize(), rec.Text(3))
		}
	}
	after, err := r.counts(bpf.NetInboundMessage)
	if err != nil {
		return err
	}
	if f, n := after.Filtered-before.Filtered, after.Truncated-before.Truncated; f != 1 || n != 3 {
		return fmt.Errorf("%d filtered and %d truncated counted, want 1 and 3", f, n)
	}
	return nil
}

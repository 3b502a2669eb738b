package bpf

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// FuzzRecord: no record, however damaged, makes a method panic or return memory
// outside of it.
func FuzzRecord(f *testing.F) {
	good := make([]byte, argsEnd+16)
	f.Add(good)
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		// As in the ring: aligned, and with somebody else's bytes behind.
		mem := make([]uint64, len(b)/8+4)
		raw := make([]byte, 0)
		for i := range mem {
			mem[i] = ^uint64(0)
			raw = binary.LittleEndian.AppendUint64(raw, mem[i])
		}
		copy(raw, b)
		var r Record
		if err := r.parse(raw[:len(b):len(b)]); err != nil {
			return
		}
		for i := -1; i <= maxArgs; i++ {
			got := r.Bytes(i)
			if len(got) > 0 && !bytes.Contains(b, got) {
				t.Errorf("argument %d is outside the record", i)
			}
			r.Int(i)
			r.Bool(i)
			r.Hash(i)
			r.Missing(i)
			r.Cut(i)
		}
		r.Payload()
		r.PayloadSize()
	})
}

// TestHeaderLayout: the record's first argument must be where parse looks.
func TestHeaderLayout(t *testing.T) {
	if headerSize%8 != 0 {
		t.Errorf("header of %d bytes: the arguments behind it are not aligned", headerSize)
	}
	if n := len(Tracepoints()); n != int(numIDs) {
		t.Errorf("%d tracepoints, %d ids", n, numIDs)
	}
	for i, tp := range Tracepoints() {
		if int(tp.ID) != i {
			t.Errorf("%v has id %d at %d", tp, tp.ID, i)
		}
		if len(tp.Args) > maxArgs {
			t.Errorf("%v has %d arguments", tp, len(tp.Args))
		}
		// c/tracer.c starts no string beyond byte 512 of the body.
		used := maxArgs * 8
		for _, a := range tp.Args {
			if (a.Kind == String || a.Kind == Hash) && used > 512 {
				t.Errorf("%v: %s begins at byte %d", tp, a.Name, used)
			}
			switch a.Kind {
			case String:
				used += a.Max + 1
				if a.Max+1 > 1024 {
					t.Errorf("%v: %s has %d bytes", tp, a.Name, a.Max)
				}
			case Hash:
				used += hashSize
			}
		}
	}
}

package p2pmessage

import "testing"

// The forms of a compact size that Bitcoin Core takes, as a length and as a number.
func TestCompactSizes(t *testing.T) {
	const bad = -1
	tests := []struct {
		hex            string
		length, number int64
	}{
		{"00", 0, 0},
		{"fc", 0xfc, 0xfc},
		{"fdfc00", bad, bad}, // would fit into one byte
		{"fdfd00", 0xfd, 0xfd},
		{"fdffff", 0xffff, 0xffff},
		{"feffff0000", bad, bad}, // would fit into two
		{"fe00000100", 0x10000, 0x10000},
		{"fe00000002", 0x02000000, 0x02000000},
		{"fe01000002", bad, 0x02000001}, // longer than any length
		{"feffffffff", bad, 0xffffffff},
		{"ffffffffff00000000", bad, bad}, // would fit into four
		{"ff0000000001000000", bad, 1 << 32},
		{"ffffffffffffffff7f", bad, 1<<63 - 1},
		{"", bad, bad},
		{"fdfd", bad, bad},
		{"fe000001", bad, bad},
		{"ff00000000010000", bad, bad},
	}
	for _, test := range tests {
		for _, form := range []struct {
			name string
			read func(*reader) uint64
			want int64
		}{
			{"length", (*reader).compactSize, test.length},
			{"number", (*reader).compactUint64, test.number},
		} {
			r := reader{b: fromHex(t, test.hex)}
			got := int64(form.read(&r))
			if !r.ok() {
				got = bad
			}
			if got != form.want || r.ok() && len(r.b) != 0 {
				t.Errorf("%s %q: %d, want %d; %d bytes left", form.name, test.hex, got, form.want, len(r.b))
			}
		}
	}
}

// Whether a count is too large is known also of a payload that was cut off.
func TestCountAgainstTrueSize(t *testing.T) {
	const headerSize = blockHeaderSize + 1
	for _, test := range []struct {
		name  string
		count uint64
		size  uint64
		want  State
	}{
		{"inv", 250, 1 + 250*inventorySize, stateTruncated},
		{"inv", 251, 1 + 250*inventorySize, stateMalformed},
		{"inv", 250, 250 * inventorySize, stateMalformed},
		{"headers", 250, 1 + 250*headerSize, stateTruncated},
		{"headers", 251, 1 + 250*headerSize, stateMalformed},
		{"addrv2", 250, 1 + 250*addrV2MinSize, stateTruncated},
		{"addrv2", 251, 1 + 250*addrV2MinSize, stateMalformed},
	} {
		m := wholeMessage(test.name, payload{}.compact(test.count).raw(make([]byte, 99)...))
		m.Size = test.size
		extractor, state := transcode(t, New(), m, Hit{})
		if state != test.want || extractor.GetMessage().GetElementCount() != test.count {
			t.Errorf("%s of %d in %d bytes: %v", test.name, test.count, test.size, extractor.GetMessage())
		}
	}
}

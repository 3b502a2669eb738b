package archive

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// FuzzReader reads anything as an archive: it must end, and its events must be events.
func FuzzReader(f *testing.F) {
	data, events, x := threeBlocks(f)
	f.Add(data)
	f.Add(data[:x.blocks[2].offset+5])
	for _, file := range existing(f, events[:20], 64<<10) {
		f.Add(file)
	}
	path := filepath.Join(f.TempDir(), "fuzzed")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, options := range []Options{{}, {From: began, Until: began.Add(1)}} {
			r, err := Open(path, options)
			if err != nil {
				continue
			}
			// Each event has a byte in front of it, each damage takes a byte of the file.
			for steps := 0; ; steps++ {
				if steps > 1<<26 {
					t.Fatal("reading doesn't end")
				}
				_, err := r.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if damage := new(Damage); err != nil && !errors.As(err, &damage) {
					t.Fatal(err)
				}
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Inspect(t.Context(), path, false); err != nil && !errors.Is(err, ErrNoArchive) {
			t.Fatal(err)
		}
	})
}

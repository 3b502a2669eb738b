package archive

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

func testHeader(series, number uint64) *eventpb.ArchiveHeader {
	return &eventpb.ArchiveHeader{
		Created: ptr(uint64(began.Unix())), Format: ptr(uint32(formatVersion)), CreatedNs: ptr(uint64(began.UnixNano())),
		Series: &series, Number: &number,
	}
}

// headerFrame is the start of a file of this package.
func headerFrame(t testing.TB, encoder *zstd.Encoder) []byte {
	t.Helper()
	data, err := proto.Marshal(testHeader(1, 1))
	if err != nil {
		t.Fatal(err)
	}
	return encoder.EncodeAll(protowire.AppendBytes(nil, data), nil)
}

// existing makes files of the existing tool by hand, from what is known of its format.
func existing(t testing.TB, events [][]byte, window int) map[string][]byte {
	t.Helper()
	var body []byte
	for _, data := range events {
		body = protowire.AppendBytes(body, data)
	}
	created := protowire.AppendVarint([]byte{8}, uint64(began.Unix())) // field 1
	plain := append(protowire.AppendBytes(nil, created), body...)
	old := append([]byte("PA\x01\x00abcdef012345"), body...)
	// Its default level is 22, which the zstd program calls ultra: a window of 128 MiB.
	var stream bytes.Buffer
	encoder, err := zstd.NewWriter(&stream, zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	compress := func(data []byte) []byte {
		stream.Reset()
		encoder.Reset(&stream)
		// Written in parts, so that the frame doesn't say how much there is.
		for part := range slices.Chunk(data, 1000) {
			if _, err := encoder.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		if err := encoder.Close(); err != nil {
			t.Fatal(err)
		}
		return bytes.Clone(stream.Bytes())
	}
	return map[string][]byte{
		"archive.20260601-000000-000.bin":     plain,
		"archive.20260601-000000-000.bin.zst": compress(plain),
		"archive.20260101-000000-000.bin":     old,
		"archive.20260101-000000-000.bin.zst": compress(old),
		"archive.20260102-000000-000.bin.zst": append(bytes.Clone(old[:oldHeader]), compress(body)...),
	}
}

func TestReadsFilesOfTheExistingTool(t *testing.T) {
	record := new(recorder)
	newTraffic("alpha", 10, record).live(1500)
	for name, data := range existing(t, record.data, maxWindow) {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		got, damage := readFile(t, path, Options{})
		same(t, name, got, record.data)
		if len(damage) > 0 {
			t.Errorf("%s: damage %v", name, damage)
		}
		info, err := Inspect(t.Context(), path, false)
		if err != nil {
			t.Fatal(err)
		}
		if info.Events != 1500 || info.Indexed || info.First == nil || (info.Created == nil) != (info.Format == FormatOldStream.String()) {
			t.Errorf("%s: %+v", name, info)
		}
		// Torn anywhere it gives what was before.
		for _, n := range []int{len(data) - 1, len(data) / 2, len(data) / 3} {
			got, damage := readFile(t, written(t, data[:n]), Options{})
			if len(damage) > 1 || len(damage) == 1 && !damage[0].Torn {
				t.Errorf("%s, torn at %d: damage %v", name, n, damage)
			}
			same(t, name, got, record.data[:len(got)])
			if v, err := Verify(t.Context(), []string{written(t, data[:n])}); err != nil || len(damage) == 1 && v.Sound() {
				t.Errorf("%s, torn at %d: sound (%v)", name, n, err)
			}
		}
		out := filepath.Join(t.TempDir(), "converted.bin.zst")
		if _, err := Cut(t.Context(), CutConfig{Paths: []string{path}, Output: out}); err != nil {
			t.Fatal(err)
		}
		got, _ = readFile(t, out, Options{})
		same(t, name+", converted", got, record.data)
	}
}

// Files of one writer follow each other, those of several nodes are merged by time, in
// whatever order they are given.
func TestSetOrdersFiles(t *testing.T) {
	alpha, beta := new(recorder), new(recorder)
	cfg := Config{MaxFileSize: 64 << 10, BlockSize: 4 << 10}
	a := archived(t, cfg, func(sink event.Sink) { newTraffic("alpha", 11, sink, alpha).live(2000) })
	b := archived(t, cfg, func(sink event.Sink) { newTraffic("beta", 12, sink, beta).live(2000) })
	if len(a) < 2 || len(b) < 2 {
		t.Fatal("not several files")
	}
	paths := append([]string{b[1], a[1], a[0], b[0]}, append(a[2:], b[2:]...)...)
	got, damage := readSet(t, paths, Options{})
	if len(damage) > 0 {
		t.Errorf("damage %v", damage)
	}
	var byNode [2][][]byte
	latest, backwards := int64(0), int64(0)
	for _, data := range got {
		h, err := event.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		node := 0
		if h.NodeName == "beta" {
			node = 1
		}
		byNode[node] = append(byNode[node], data)
		at := h.Time().UnixNano()
		latest, backwards = max(latest, at), max(backwards, latest-at)
	}
	same(t, "alpha", byNode[0], alpha.data)
	same(t, "beta", byNode[1], beta.data)
	// Tracepoints are up to 2 ms older than what other sources said before them.
	if backwards > 4_000_000 {
		t.Errorf("time goes back by %d ns where files meet", backwards)
	}
	for _, twice := range [][]string{{a[0], a[0]}, {a[0], written(t, mustRead(t, a[0]))}} {
		if _, err := OpenSet(twice, Options{}); err == nil {
			t.Errorf("%v is read twice", twice)
		}
	}
	if _, err := OpenSet([]string{"/does/not/exist"}, Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
}

func mustRead(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

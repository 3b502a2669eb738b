package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/proto/event"
)

// threeBlocks is a closed file with some blocks, as bytes, and its events.
func threeBlocks(t testing.TB) (data []byte, events [][]byte, x *index) {
	t.Helper()
	record := new(recorder)
	newTraffic("alpha", 7, record).live(30)
	path := filepath.Join(t.TempDir(), "x.bin.zst")
	encoder, err := newEncoder(DefaultLevel)
	if err != nil {
		t.Fatal(err)
	}
	f, err := newFile(path, testHeader(1, 1), encoder)
	if err != nil {
		t.Fatal(err)
	}
	var b block
	b.reset()
	for i, data := range record.data {
		h, err := event.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		b.add(&event.Event{Header: h, Kind: event.KindOf(data)}, data)
		if i%10 == 9 {
			if err := f.write(&b, encoder.EncodeAll(b.content, nil)); err != nil {
				t.Fatal(err)
			}
			b.reset()
		}
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	if data, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	r, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	own, ok := r.messages.(*blocks)
	if !ok || own.index == nil || len(own.index.blocks) != 3 {
		t.Fatal("no file with an index of three blocks")
	}
	return data, record.data, own.index
}

func written(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.bin.zst")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A file that is torn anywhere in its last block loses that block and nothing else, and
// says where.
func TestTornAtEveryByteOfTheLastBlock(t *testing.T) {
	data, events, x := threeBlocks(t)
	start := x.blocks[1].offset + x.blocks[1].compressed // of the last block's description
	end := x.blocks[2].offset + x.blocks[2].compressed
	path := written(t, data)
	for n := end - 1; n >= start; n-- {
		if err := os.Truncate(path, n); err != nil {
			t.Fatal(err)
		}
		got, damage := readFile(t, path, Options{})
		if len(got) != 20 {
			t.Fatalf("torn at %d: %d events, want 20", n, len(got))
		}
		if n == start {
			if len(damage) > 0 {
				t.Errorf("a file that ends behind a block is damaged: %v", damage)
			}
			continue
		}
		if len(damage) != 1 || !damage[0].Torn || damage[0].Offset != start {
			t.Fatalf("torn at %d: damage %v, want one at %d", n, damage, start)
		}
		if n >= x.blocks[2].offset && damage[0].Events != 10 {
			t.Fatalf("torn at %d: %d events lost, want 10", n, damage[0].Events)
		}
	}
	same(t, "torn", firstOf(readFile(t, path, Options{})), events[:20])
}

func firstOf(data [][]byte, _ []*Damage) [][]byte { return data }

// A file that lost its index, or a part of it, has all events, and its description is
// the same.
func TestWithoutIndex(t *testing.T) {
	data, events, x := threeBlocks(t)
	whole, err := Inspect(t.Context(), written(t, data), false)
	if err != nil {
		t.Fatal(err)
	}
	end := x.blocks[2].offset + x.blocks[2].compressed
	for n := end; n < int64(len(data)); n++ {
		path := written(t, data[:n])
		got, _ := readFile(t, path, Options{})
		same(t, "without index", got, events)
		info, err := Inspect(t.Context(), path, false)
		if err != nil {
			t.Fatal(err)
		}
		if info.Indexed || info.Events != whole.Events || info.ContentBytes != whole.ContentBytes || !info.Last.Equal(*whole.Last) || len(info.Kinds) != len(whole.Kinds) {
			t.Fatalf("cut at %d: %+v, want %+v", n, info, whole)
		}
	}
}

// Whatever byte is damaged: what is read are events of the file in their order, at most
// one block is missing, and Verify notices.
func TestDamageCostsOneBlock(t *testing.T) {
	data, events, _ := threeBlocks(t)
	path := written(t, data)
	looked := 0
	for i := 0; i < len(data); i += 5 + i%5 {
		damaged := bytes.Clone(data)
		damaged[i] ^= 1 << (i % 8)
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		looked++
		got, damage := readFile(t, path, Options{})
		if len(got) < 20 || !isSubsequence(got, events) {
			t.Fatalf("byte %d of %d damaged: %d events, which are in the file: %v", i, len(data), len(got), isSubsequence(got, events))
		}
		if len(got) < len(events) && len(damage) == 0 {
			t.Fatalf("byte %d damaged: events are missing and nobody says so", i)
		}
		// A frame's header has bits that mean nothing; what matters is the content.
		if v, err := Verify(t.Context(), []string{path}); err != nil || v.Sound() && len(got) != len(events) {
			t.Fatalf("byte %d damaged: the archive is said to be sound (%v)", i, err)
		}
	}
	if looked < 500 {
		t.Errorf("looked at %d bytes only", looked)
	}
}

// Bytes that are missing or too many in the middle cost what they hit; reading goes on
// at the next block.
func TestResynchronises(t *testing.T) {
	data, events, x := threeBlocks(t)
	second := x.blocks[1].offset
	for name, damaged := range map[string][]byte{
		"bytes too many": append(append(bytes.Clone(data[:second+10]), "garbage in the middle of it"...), data[second+10:]...),
		"bytes missing":  append(bytes.Clone(data[:second-20]), data[second+30:]...),
		"zeros":          append(append(bytes.Clone(data[:second-40]), make([]byte, 100)...), data[second+60:]...),
	} {
		got, damage := readFile(t, written(t, damaged), Options{})
		// The place of the blocks behind has changed where the length did, so that their
		// descriptions don't fit any more; the first is there in any case.
		if len(got) < 10 || !isSubsequence(got, events) || len(damage) == 0 {
			t.Errorf("%s: %d events, damage %v", name, len(got), damage)
		}
		if name == "zeros" && len(got) != 20 {
			t.Errorf("%s: %d events, want the 20 of the other blocks", name, len(got))
		}
	}
}

// readCounter counts the bytes that are read from a file.
type readCounter struct {
	*bytes.Reader
	n int
}

func (c *readCounter) ReadAt(p []byte, at int64) (int, error) {
	c.n += len(p)
	return c.Reader.ReadAt(p, at)
}

// With a range of time only the blocks of that time are read.
func TestSeeksByIndex(t *testing.T) {
	record := new(recorder)
	paths := archived(t, Config{BlockSize: 4 << 10}, func(sink event.Sink) { newTraffic("alpha", 8, sink, record).live(6_000) })
	first, err := event.Parse(record.data[4_000])
	if err != nil {
		t.Fatal(err)
	}
	options := Options{From: first.Time(), Until: first.Time().Add(200 * time.Millisecond)}
	var want [][]byte
	for _, data := range record.data {
		if h, err := event.Parse(data); err == nil && !h.Time().Before(options.From) && h.Time().Before(options.Until) {
			want = append(want, data)
		}
	}
	r, err := Open(paths[0], options)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	own, ok := r.messages.(*blocks)
	if !ok {
		t.Fatal("no blocks")
	}
	whole, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	count := &readCounter{Reader: bytes.NewReader(whole)}
	own.f = count
	got, _ := readAll(t, r)
	same(t, "in the range", got, want)
	if len(want) == 0 || count.n == 0 || count.n > len(whole)/8 {
		t.Errorf("read %d of %d bytes for %d of %d events", count.n, len(whole), len(want), len(record.data))
	}
}

// What a hostile file claims doesn't decide how much memory is used.
func TestHostileFilesAreBounded(t *testing.T) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	head := headerFrame(t, encoder)
	bomb := encoder.EncodeAll(make([]byte, 4*maxBlock), nil)
	huge := protowire.AppendVarint(protowire.AppendBytes(nil, []byte{8, 1}), 1<<40)
	wide := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0xf8} // a window of 2 TiB
	endless := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, noteMagic), 0xffffffff)
	for name, data := range map[string][]byte{
		"a block that decompresses to much": append(bytes.Clone(head), bomb...),
		"an endless note":                   append(append(bytes.Clone(head), endless...), blockTag...),
		"an event of 1 TiB":                 huge,
		"an event of 1 TiB in zstd":         encoder.EncodeAll(huge, nil),
	} {
		got, damage := readFile(t, written(t, data), Options{})
		if len(got) != 0 || len(damage) == 0 {
			t.Errorf("%s: %d events, damage %v", name, len(got), damage)
		}
	}
	for name, data := range map[string][]byte{"a window of 2 TiB": wide, "nothing": {}, "text": []byte("hello, world, this is no archive")} {
		if _, err := Open(written(t, data), Options{}); !errors.Is(err, ErrNoArchive) {
			t.Errorf("%s: %v, want ErrNoArchive", name, err)
		}
	}
	if _, err := Open(t.TempDir(), Options{}); err == nil {
		t.Error("a directory is an archive")
	}
}

func TestVerifyFindsGaps(t *testing.T) {
	record := new(recorder)
	newTraffic("alpha", 9, record).live(1000)
	dropped := uint64(0)
	paths := archived(t, Config{}, func(sink event.Sink) {
		for i, data := range record.data {
			h, err := event.Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			if i >= 400 && i < 450 && h.Source == event.SourceEBPF {
				dropped++
				continue
			}
			e := &event.Event{Header: h, Kind: event.KindOf(data), Data: data}
			sink.HandleEvent(e)
			if i == 700 {
				sink.HandleEvent(e)
			}
		}
	})
	v, err := Verify(t.Context(), paths)
	if err != nil {
		t.Fatal(err)
	}
	var repeated, places uint64
	for _, g := range v.Sources {
		repeated += g.Repeated
		places += g.Gaps
	}
	if !v.Sound() || v.Missing() != dropped || places != 1 || repeated != 1 || dropped == 0 {
		t.Errorf("sound %v, %d missing at %d places, %d repeated; want true, %d, 1, 1", v.Sound(), v.Missing(), places, repeated, dropped)
	}
}

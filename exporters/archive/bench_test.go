package archive

import (
	"bytes"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/proto/event"
)

// benchmarkEvents is a mix of events, parsed.
func benchmarkEvents(b *testing.B) (events []event.Event, size int) {
	b.Helper()
	record := new(recorder)
	newTraffic("alpha", 17, record).live(20_000)
	for _, data := range record.data {
		h, err := event.Parse(data)
		if err != nil {
			b.Fatal(err)
		}
		events = append(events, event.Event{Header: h, Kind: event.KindOf(data), Data: data})
		size += len(data)
	}
	return events, size
}

// BenchmarkWrite compares blocks with checksums and an index to one zstd stream of the
// same events at the same level.
func BenchmarkWrite(b *testing.B) {
	events, size := benchmarkEvents(b)
	report := func(b *testing.B, written int64) {
		b.Helper()
		n := float64(b.N) * float64(len(events))
		b.ReportMetric(n/b.Elapsed().Seconds(), "events/s")
		b.ReportMetric(float64(written)/n, "bytes/event")
		b.ReportMetric(float64(size)/float64(len(events)), "raw-bytes/event")
	}
	b.Run("blocks", func(b *testing.B) {
		encoder, err := newEncoder(DefaultLevel)
		if err != nil {
			b.Fatal(err)
		}
		var written int64
		dir := b.TempDir()
		for b.Loop() {
			f, err := newFile(dir+"/x"+hex64(uint64(written)), testHeader(1, 1), encoder)
			if err != nil {
				b.Fatal(err)
			}
			var content block
			content.reset()
			var compressed []byte
			write := func() {
				compressed = encoder.EncodeAll(content.content, compressed[:0])
				if err := f.write(&content, compressed); err != nil {
					b.Fatal(err)
				}
				content.reset()
			}
			for i := range events {
				content.add(&events[i], events[i].Data)
				if len(content.content) >= DefaultBlockSize {
					write()
				}
			}
			write()
			if err := f.close(); err != nil {
				b.Fatal(err)
			}
			written += f.size
		}
		report(b, written)
	})
	b.Run("one-stream", func(b *testing.B) {
		var written int64
		for b.Loop() {
			var out bytes.Buffer
			encoder, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(DefaultLevel)))
			if err != nil {
				b.Fatal(err)
			}
			var message []byte
			for i := range events {
				message = protowire.AppendBytes(message[:0], events[i].Data)
				if _, err := encoder.Write(message); err != nil {
					b.Fatal(err)
				}
			}
			if err := encoder.Close(); err != nil {
				b.Fatal(err)
			}
			written += int64(out.Len())
		}
		report(b, written)
	})
}

// BenchmarkRead reads a file event by event, headers parsed.
func BenchmarkRead(b *testing.B) {
	record := new(recorder)
	newTraffic("alpha", 18, record).live(20_000)
	path := b.TempDir() + "/cut.bin.zst"
	file := existing(b, record.data, 1<<20)["archive.20260601-000000-000.bin"]
	if _, err := Cut(b.Context(), CutConfig{Paths: []string{written(b, file)}, Output: path}); err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		r, err := Open(path, Options{})
		if err != nil {
			b.Fatal(err)
		}
		for {
			if _, err := r.Next(); err == io.EOF { //nolint:errorlint // as returned
				break
			}
			n++
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
}

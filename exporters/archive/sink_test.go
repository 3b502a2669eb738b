package archive

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// What comes out is what went in: every byte, in order, over many files and blocks, with
// an event of the largest size among them.
func TestRoundTrip(t *testing.T) {
	record := new(recorder)
	paths := archived(t, Config{MaxFileSize: 256 << 10, BlockSize: 32 << 10}, func(sink event.Sink) {
		f := newTraffic("alpha", 1, sink, record)
		f.live(1500)
		f.block(event.MaxSize - 50_000)
		f.live(1500)
	})
	if len(paths) < 3 {
		t.Fatalf("%d files, want several", len(paths))
	}
	got, damage := readSet(t, paths, Options{})
	if len(damage) > 0 {
		t.Errorf("damage: %v", damage)
	}
	same(t, "read", got, record.data)
	for i, path := range paths {
		info, err := Inspect(t.Context(), path, false)
		if err != nil {
			t.Fatal(err)
		}
		full, err := Inspect(t.Context(), path, true)
		if err != nil {
			t.Fatal(err)
		}
		if !info.Indexed || info.Number != uint64(i+1) || info.Events != full.Events || info.Blocks != full.Blocks || info.ContentBytes != full.ContentBytes ||
			!info.First.Equal(*full.First) || !info.Last.Equal(*full.Last) || len(full.Messages) == 0 {
			t.Errorf("the index says %+v, the content %+v", info, full)
		}
		status, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if status.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want 0600", path, status.Mode())
		}
	}
	v, err := Verify(t.Context(), paths)
	if err != nil {
		t.Fatal(err)
	}
	if !v.Sound() || v.Missing() != 0 || len(v.Sources) != 5 {
		t.Errorf("verification: sound %v, %d missing, %d sources, want true, 0, 5", v.Sound(), v.Missing(), len(v.Sources))
	}
}

// The existing tool reads zstd with the reference library, which must pass over
// everything but header and events.
func TestReadableAsPlainZstd(t *testing.T) {
	zstd, err := exec.LookPath("zstd")
	if err != nil {
		t.Fatalf("the zstd program is needed to hold the files against another implementation: install the package zstd: %v", err)
	}
	record := new(recorder)
	paths := archived(t, Config{BlockSize: 16 << 10}, func(sink event.Sink) { newTraffic("alpha", 2, sink, record).live(2000) })
	content, err := exec.Command(zstd, "-dc", paths[0]).Output()
	if err != nil {
		t.Fatal(err)
	}
	message, rest, err := cutEvent(content)
	if err != nil {
		t.Fatal(err)
	}
	header := new(eventpb.ArchiveHeader)
	if err := proto.Unmarshal(message, header); err != nil {
		t.Fatal(err)
	}
	if age := time.Since(time.Unix(int64(header.GetCreated()), 0)); age < 0 || age > time.Hour {
		t.Errorf("created %v ago", age)
	}
	var got [][]byte
	for len(rest) > 0 {
		var data []byte
		if data, rest, err = cutEvent(rest); err != nil {
			t.Fatal(err)
		}
		got = append(got, data)
	}
	same(t, "by zstd -dc", got, record.data)
	if out, err := exec.Command(zstd, "-t", paths[0]).CombinedOutput(); err != nil {
		t.Errorf("zstd -t: %v: %s", err, out)
	}
}

func TestFileNameIsThatOfTheExistingTool(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 89_000_000, time.FixedZone("", 3600))
	if got, want := fileName("archive", at), "archive.20260304-040607-089.bin.zst"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestFilterAndPayloads(t *testing.T) {
	filter, err := ParseFilter([]string{"ebpf"}, []string{"message"}, []string{"tx", "nonsense"})
	if err != nil {
		t.Fatal(err)
	}
	record := new(recorder)
	paths := archived(t, Config{Filter: filter, WithoutPayloads: true}, func(sink event.Sink) { newTraffic("alpha", 3, sink, record).live(2000) })
	var want [][]byte
	for _, data := range record.data {
		e := new(eventpb.Event)
		if err := proto.Unmarshal(data, e); err != nil {
			t.Fatal(err)
		}
		m := e.GetEbpfExtractor().GetMessage()
		switch m.GetMeta().GetCommand() {
		case "tx":
			m.GetTx().GetTx().Raw = nil
		case "nonsense":
			m.GetUnknown().Payload = nil
		default:
			continue
		}
		data, err := proto.MarshalOptions{Deterministic: true}.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, data)
	}
	if len(want) < 50 {
		t.Fatalf("only %d events to look at", len(want))
	}
	got, _ := readSet(t, paths, Options{})
	if len(got) != len(want) {
		t.Fatalf("%d events, want %d", len(got), len(want))
	}
	for i := range got {
		a, b := new(eventpb.Event), new(eventpb.Event)
		if err := proto.Unmarshal(got[i], a); err != nil {
			t.Fatal(err)
		}
		if err := proto.Unmarshal(want[i], b); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(a, b) || len(got[i]) != len(want[i]) {
			t.Fatalf("event %d is %v, want %v", i, a, b)
		}
	}
	info, err := Inspect(t.Context(), paths[0], false)
	if err != nil {
		t.Fatal(err)
	}
	if s := info.Selection; s == nil || !s.WithoutPayloads || len(s.Sources) != 1 || len(s.Messages) != 2 {
		t.Errorf("the header says %+v of what was chosen", info.Selection)
	}
	if _, err := ParseFilter(nil, []string{"frobnication"}, nil); err == nil || !strings.Contains(err.Error(), "frobnication") {
		t.Errorf("an unknown event gives %v", err)
	}
}

// Every place that has a payload, also many of one, loses it and nothing else.
func TestStripEveryPlace(t *testing.T) {
	tx := func() *eventpb.Transaction {
		return &eventpb.Transaction{Txid: []byte("id"), Raw: bytes.Repeat([]byte{7}, 300)}
	}
	message := func(m *eventpb.MessageEvent) *eventpb.Event {
		m.Meta, m.PayloadState = &eventpb.Metadata{Command: proto.String("x")}, eventpb.PayloadState_PAYLOAD_STATE_TRUNCATED.Enum()
		return &eventpb.Event{Sequence: proto.Uint64(9), PeerObserverEvent: &eventpb.Event_EbpfExtractor{EbpfExtractor: &eventpb.EbpfExtractor{
			EbpfEvent: &eventpb.EbpfExtractor_Message{Message: m}}}}
	}
	for name, make := range map[string]func() (*eventpb.Event, []*eventpb.Transaction){
		"block": func() (*eventpb.Event, []*eventpb.Transaction) {
			list := []*eventpb.Transaction{tx(), tx()}
			return message(&eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Block{Block: &eventpb.Block{Transactions: list}}}), list
		},
		"blocktxn": func() (*eventpb.Event, []*eventpb.Transaction) {
			list := []*eventpb.Transaction{tx(), tx()}
			return message(&eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Blocktxn{Blocktxn: &eventpb.BlockTxn{BlockHash: []byte("h"), Transactions: list}}}), list
		},
		"cmpctblock": func() (*eventpb.Event, []*eventpb.Transaction) {
			t := tx()
			return message(&eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Compactblock{Compactblock: &eventpb.CompactBlock{
				ShortIds: [][]byte{{1}}, Transactions: []*eventpb.PrefilledTransaction{{DiffIndex: proto.Uint32(3), Tx: t}}}}}), []*eventpb.Transaction{t}
		},
		"orphans": func() (*eventpb.Event, []*eventpb.Transaction) {
			t := tx()
			return &eventpb.Event{PeerObserverEvent: &eventpb.Event_RpcExtractor{RpcExtractor: &eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_OrphanTxs{
				OrphanTxs: &eventpb.OrphanTxs{Orphans: []*eventpb.OrphanTx{{Txid: proto.String("a"), Transaction: t}}}}}}}, []*eventpb.Transaction{t}
		},
	} {
		whole, list := make()
		data, err := proto.Marshal(whole)
		if err != nil {
			t.Fatal(err)
		}
		for _, t := range list {
			t.Raw = nil
		}
		s := newStripper()
		got := new(eventpb.Event)
		if err := proto.Unmarshal(s.strip(event.KindOf(data), data), got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !proto.Equal(got, whole) {
			t.Errorf("%s: %v, want %v", name, got, whole)
		}
		// What isn't well-formed stays as it is, and nothing goes wrong.
		for n := range data {
			if cut := s.strip(event.KindMessage, data[:n]); !bytes.Equal(cut, data[:n]) && event.KindOf(cut) != event.KindOf(data[:n]) {
				t.Errorf("%s: cut at %d it becomes another kind of event", name, n)
			}
		}
	}
}

// The oldest files go, but only this program's, and two programs don't share a directory.
func TestDirectoryStaysSmall(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "archive")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	foreign := map[string]string{
		"archive.20200101-000000-000.bin.zst": "another program's",
		"archive.20200101-000000-001.bin":     "another program's",
		"other.20200101-000000-000.bin.zst":   "another program's",
		"notes.txt":                           "the operator's",
	}
	for name, content := range foreign {
		if err := os.WriteFile(filepath.Join(dir, name), bytes.Repeat([]byte(content), 100), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const limit = 400 << 10
	cfg := Config{Dir: dir, MaxFileSize: 64 << 10, MaxTotalSize: limit, BlockSize: 16 << 10, Buffer: 256 << 20}
	record := new(recorder)
	var last []string
	for round := range uint64(2) { // the second deletes what the first left
		last = archived(t, cfg, func(sink event.Sink) { newTraffic("alpha", round, sink, record).live(3000) })
	}
	var total int64
	own := 0
	for _, path := range last {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
		if isOurs(path) {
			own++
		}
	}
	if total > limit+64<<10 || own < 3 {
		t.Errorf("%d bytes in %d own files, want at most about %d in several", total, own, limit)
	}
	for name := range foreign {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Errorf("a file of somebody else is gone: %v", err)
		}
	}

	first := run(t, cfg)
	until(t, "the first archive to have its directory", func() bool {
		_, err := os.Stat(filepath.Join(dir, "archive.lock"))
		return err == nil && first.begun.IsZero() && lockHeld(t, dir)
	})
	second, err := New(cfg, event.NewLedger(), discard())
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "another program") {
		t.Errorf("a second archive in the directory gives %v", err)
	}
}

func lockHeld(t *testing.T, dir string) bool {
	t.Helper()
	d, err := newDirectory(dir, "archive")
	if err != nil {
		t.Fatal(err)
	}
	if d.open() != nil {
		return true
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	return false
}

// Old files are ended by time, quiet blocks are written by time.
func TestTimeEndsBlocksAndFiles(t *testing.T) {
	dir := t.TempDir()
	r := run(t, Config{Dir: dir, FlushInterval: time.Millisecond, MaxFileAge: 20 * time.Millisecond})
	f := newTraffic("alpha", 5, r)
	f.live(10)
	until(t, "a file to be complete", func() bool {
		list := files(t, dir)
		if len(list) == 0 {
			return false
		}
		in, err := Open(list[0], Options{})
		if err != nil {
			return false // its header isn't there yet
		}
		defer in.Close()
		b, ok := in.messages.(*blocks)
		return ok && b.index != nil
	})
	f.live(10)
	until(t, "a second file", func() bool { return len(files(t, dir)) > 1 })
	r.stop()
	if got, _ := readSet(t, files(t, dir), Options{}); len(got) != 20 {
		t.Errorf("%d events, want 20", len(got))
	}
}

// Files are ended by time also while the queue is never empty.
func TestTimeEndsFilesUnderLoad(t *testing.T) {
	dir := t.TempDir()
	s, err := New(Config{Dir: dir, BlockSize: 4 << 10, MaxFileAge: 10 * time.Hour}, event.NewLedger(), discard())
	if err != nil {
		t.Fatal(err)
	}
	// An hour passes with each look at the clock.
	now := began
	s.now = func() time.Time {
		now = now.Add(time.Hour)
		return now
	}
	newTraffic("alpha", 6, s).live(2000)
	// With an ended context the queue is drained in one go.
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ended); err != nil {
		t.Fatal(err)
	}
	list := files(t, dir)
	if got, damage := readSet(t, list, Options{}); len(list) < 3 || len(got) != 2000 || len(damage) > 0 {
		t.Errorf("%d files with %d events, want some with 2000; damage %v", len(list), len(got), damage)
	}
}

func TestMistakesInConfig(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no directory":       {},
		"level":              {Dir: "x", Level: 23},
		"small file":         {Dir: "x", MaxFileSize: 1},
		"total below a file": {Dir: "x", MaxTotalSize: 1 << 20},
		"base":               {Dir: "x", Base: "../x"},
		"negative time":      {Dir: "x", FlushInterval: -1},
		"block":              {Dir: "x", BlockSize: 1 << 30},
	} {
		if _, err := New(cfg, event.NewLedger(), discard()); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	// A directory that can't be made ends Run with an error that names the flag.
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Dir: filepath.Join(file, "dir")}, event.NewLedger(), discard())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "--dir") {
		t.Errorf("a directory below a file gives %v", err)
	}
}

func TestCut(t *testing.T) {
	record := new(recorder)
	paths := archived(t, Config{BlockSize: 8 << 10, MaxFileSize: 128 << 10}, func(sink event.Sink) { newTraffic("alpha", 6, sink, record).live(3000) })
	from, until := began.Add(8*time.Second), began.Add(19*time.Second)
	var want [][]byte
	for _, data := range record.data {
		if h, err := event.Parse(data); err == nil && !h.Time().Before(from) && h.Time().Before(until) {
			want = append(want, data)
		}
	}
	if len(want) < 500 || len(want) > 2500 {
		t.Fatalf("%d events are in the middle", len(want))
	}
	out := filepath.Join(t.TempDir(), "cut.bin.zst")
	cfg := CutConfig{Paths: paths, Options: Options{From: from, Until: until}, Output: out}
	n, err := Cut(t.Context(), cfg)
	if err != nil || n != uint64(len(want)) {
		t.Fatalf("%d events, %v; want %d", n, err, len(want))
	}
	got, damage := readFile(t, out, Options{})
	same(t, "cut", got, want)
	if len(damage) > 0 {
		t.Errorf("damage: %v", damage)
	}
	if _, err := Cut(t.Context(), cfg); err == nil {
		t.Error("an existing file is overwritten")
	}
	if got, _ := readFile(t, out, Options{}); len(got) != len(want) {
		t.Error("an existing file is damaged")
	}
	// What is interrupted leaves nothing.
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	cfg.Output = filepath.Join(t.TempDir(), "no.bin.zst")
	if _, err := Cut(cancelled, cfg); err == nil {
		t.Error("an interrupted cut is no error")
	}
	if _, err := os.Stat(cfg.Output); err == nil {
		t.Error("an interrupted cut leaves a file")
	}
}

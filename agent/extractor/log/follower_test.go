package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// rig is a running extractor with what it emitted.
type rig struct {
	t         *testing.T
	extractor *Extractor
	ledger    *event.Ledger
	path      atomic.Value // string
	nodeStart atomic.Int64

	mu     sync.Mutex
	events []*eventpb.Event
	broken error
}

func (r *rig) HandleEvent(e *event.Event) {
	decoded := new(eventpb.Event)
	err := proto.Unmarshal(e.Data, decoded)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken = errors.Join(r.broken, err)
	r.events = append(r.events, decoded)
}

// follow starts an extractor on a path; change may be nil.
func follow(t *testing.T, path string, change func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, ledger: event.NewLedger()}
	r.path.Store(path)
	config := Config{
		Path:         func() string { return r.path.Load().(string) },
		NodeStart:    r.nodeStart.Load,
		PollInterval: 5 * time.Millisecond,
	}
	if change != nil {
		change(&config)
	}
	emitter := event.NewEmitter(event.SourceLog, event.Origin{NodeName: "test", BootID: 1}, event.NewStream(r), r.ledger)
	x, err := New(config, emitter, r.ledger, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r.extractor = x
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if r.broken != nil {
			t.Errorf("an event doesn't decode: %v", r.broken)
		}
	})
	return r
}

func (r *rig) all() []*eventpb.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// messages are the texts of the entries so far.
func (r *rig) messages() []string {
	var texts []string
	for _, e := range r.all() {
		l := e.GetLogExtractor()
		if known := l.GetKnownLogMessage(); known != nil {
			texts = append(texts, known.GetRawMessage())
		} else {
			texts = append(texts, l.GetUnknownLogMessage().GetRawMessage())
		}
	}
	return texts
}

// eventually waits until check is content.
func (r *rig) eventually(check func() error) {
	r.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			up, detail := r.extractor.emitter.Account().State()
			r.t.Fatalf("%v (source up=%v: %s)", err, up, detail)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// expect waits for exactly these messages.
func (r *rig) expect(want ...string) {
	r.t.Helper()
	r.eventually(func() error {
		if got := r.messages(); !slices.Equal(got, want) {
			return fmt.Errorf("messages %q, want %q", got, want)
		}
		return nil
	})
}

func (r *rig) up() {
	r.t.Helper()
	r.eventually(func() error {
		if up, detail := r.extractor.emitter.Account().State(); !up {
			return errors.New(detail)
		}
		return nil
	})
}

func (r *rig) downFor(part string) {
	r.t.Helper()
	r.eventually(func() error {
		if up, detail := r.extractor.emitter.Account().State(); up || !strings.Contains(detail, part) {
			return fmt.Errorf("up=%v, %q; want down for %q", up, detail, part)
		}
		return nil
	})
}

func (r *rig) lost(reason event.Reason) uint64 {
	return r.ledger.Loss(event.SourceLog, event.StageRead, reason).Value()
}

func (r *rig) expectLost(reason event.Reason, want uint64) {
	r.t.Helper()
	r.eventually(func() error {
		if got := r.lost(reason); got != want {
			return fmt.Errorf("%d lost by %s, want %d", got, reason, want)
		}
		return nil
	})
}

// node writes to a log as Bitcoin Core does: appending, one write a message.
type node struct {
	t    *testing.T
	path string
	file *os.File
}

func newNode(t *testing.T, path string) *node {
	t.Helper()
	n := &node{t: t, path: path}
	n.reopen()
	t.Cleanup(func() { n.file.Close() })
	return n
}

// reopen is what SIGHUP and a restart do.
func (n *node) reopen() {
	n.t.Helper()
	if n.file != nil {
		n.file.Close()
	}
	var err error
	if n.file, err = os.OpenFile(n.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) log(messages ...string) {
	n.t.Helper()
	for _, message := range messages {
		if _, err := n.file.WriteString(stamp + message + "\n"); err != nil {
			n.t.Fatal(err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFileThatExistsIsReadFromItsEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "debug.log")
	n := newNode(t, path)
	n.log("[init] old one", "[init] old two")
	r := follow(t, path, nil)
	r.up()
	n.log("[net] new")
	r.expect("new")
	if thread := r.all()[0].GetLogExtractor().GetThreadname(); thread != "net" {
		t.Errorf("thread %q: the old lines tell that there are thread names", thread)
	}
}

func TestFileThatExistsIsReadFromItsStartWhenAsked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "debug.log")
	n := newNode(t, path)
	n.log("one", "two")
	r := follow(t, path, func(c *Config) { c.FromStart = true })
	r.expect("one", "two")
	n.log("three")
	r.expect("one", "two", "three")
}

func TestUnfinishedLineAtTheEndIsReadWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "debug.log")
	n := newNode(t, path)
	n.log("old")
	_, err := n.file.WriteString(stamp + "first ha")
	must(t, err)
	r := follow(t, path, nil)
	r.up()
	_, err = n.file.WriteString("lf\n")
	must(t, err)
	r.expect("first half")
}

func TestNodeThatStartsLaterIsReadFromTheBeginningOfItsRun(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "debug.log")
	n := newNode(t, path)
	n.log("of an earlier run")
	_, err := n.file.WriteString("\n\n\n\n\n")
	must(t, err)
	n.log("Bitcoin Core version v31.0.0", "second")
	// The path becomes known only when the node was found, that is, has written.
	r := follow(t, "", nil)
	r.downFor("isn't known yet")
	r.nodeStart.Store(time.Now().UnixNano())
	r.path.Store(path)
	r.expect("Bitcoin Core version v31.0.0", "second")
}

func TestFileThatComesLaterIsReadFromItsStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "debug.log")
	r := follow(t, path, nil)
	r.downFor("doesn't exist yet")
	must(t, os.Mkdir(filepath.Dir(path), 0o755))
	n := newNode(t, path)
	n.log("one")
	r.expect("one")
	r.up()
}

func TestRotationByRename(t *testing.T) {
	path := filepath.Join(t.TempDir(), "debug.log")
	n := newNode(t, path)
	r := follow(t, path, func(c *Config) { c.FromStart = true })
	n.log("one")
	r.expect("one")
	// logrotate renames; the node goes on writing to the old file until SIGHUP.
	must(t, os.Rename(path, path+".1"))
	n.log("two")
	r.expect("one", "two")
	// It creates an empty file, which the node doesn't use yet either.
	created, err := os.Create(path)
	must(t, err)
	must(t, created.Close())
	n.log("three")
	r.expect("one", "two", "three")
	// Now the node does. Whatever it wrote before comes first.
	n.log("four")
	n.reopen()
	n.log("five")
	r.expect("one", "two", "three", "four", "five")
	for i := range 20 {
		must(t, os.Rename(path, fmt.Sprintf("%s.%d", path, i)))
		n.log("late")
		n.reopen()
		n.log("early")
		r.eventually(func() error {
			if got := r.messages(); len(got) != 7+2*i || got[len(got)-2] != "late" || got[len(got)-1] != "early" {
				return fmt.Errorf("rotation %d: %q", i, got)
			}
			return nil
		})
	}
	if lost := r.lost(reasonTruncated); lost != 0 {
		t.Errorf("%d gaps counted", lost)
	}
}

func TestTruncation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "debug.log")
	n := newNode(t, path)
	r := follow(t, path, func(c *Config) { c.FromStart = true })
	n.log("one", "two")
	r.expect("one", "two")
	must(t, os.Truncate(path, 0))
	r.expectLost(reasonTruncated, 1)
	n.log("three")
	r.expect("one", "two", "three")
	// As logrotate's copytruncate, with the file longer than before at the next look.
	must(t, n.file.Truncate(0))
	n.log("four, which is longer than what was there before", "five")
	r.expect("one", "two", "three", "four, which is longer than what was there before", "five")
	r.expectLost(reasonTruncated, 2)
	// To a part of it: what is left was read already.
	n.log(strings.Repeat("x", 200), strings.Repeat("y", 200))
	r.eventually(func() error {
		if got := len(r.messages()); got != 7 {
			return fmt.Errorf("%d messages", got)
		}
		return nil
	})
	r.up()
}

func TestShrunkLogIsNotReadTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "debug.log")
	n := newNode(t, path)
	r := follow(t, path, func(c *Config) { c.FromStart = true })
	for i := range 3000 {
		n.log(fmt.Sprintf("line %d", i))
	}
	r.eventually(func() error {
		if got := len(r.messages()); got != 3000 {
			return fmt.Errorf("%d messages", got)
		}
		return nil
	})
	// -shrinkdebugfile: the node restarts and keeps the end of the file.
	whole, err := os.ReadFile(path)
	must(t, err)
	must(t, n.file.Close())
	kept := append(slices.Clone(whole[len(whole)-100_000:]), []byte("\n\n\n\n\n"+stamp+"after the restart\n")...)
	must(t, os.WriteFile(path, kept, 0o600))
	n.reopen()
	n.log("second")
	r.eventually(func() error {
		got := r.messages()
		if len(got) != 3002 || got[3000] != "after the restart" || got[3001] != "second" {
			return fmt.Errorf("%d messages, last %q", len(got), got[len(got)-1])
		}
		return nil
	})
	if lost := r.lost(reasonTruncated); lost != 0 {
		t.Errorf("%d gaps counted, and nothing was lost", lost)
	}
}

func TestPathChanges(t *testing.T) {
	dir := t.TempDir()
	first, second := newNode(t, filepath.Join(dir, "a.log")), newNode(t, filepath.Join(dir, "b.log"))
	second.log("old")
	r := follow(t, first.path, nil)
	r.up()
	first.log("one")
	r.expect("one")
	r.path.Store(second.path)
	r.eventually(func() error {
		if _, detail := r.extractor.emitter.Account().State(); detail != "following "+second.path {
			return errors.New(detail)
		}
		return nil
	})
	first.log("nobody follows this one")
	second.log("two")
	r.expect("one", "two")
	// A node that is gone for a while keeps its log.
	r.path.Store("")
	second.log("three")
	r.expect("one", "two", "three")
}

func TestFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "debug.log")
	must(t, syscall.Mkfifo(path, 0o600))
	r := follow(t, path, nil)
	r.up()
	for _, message := range []string{"one", "two"} {
		// Each writer comes and goes, as a node that restarts.
		n := newNode(t, path)
		n.log(message, "[net] Stall started peer=1")
		must(t, n.file.Close())
	}
	r.expect("one", "Stall started peer=1", "two", "Stall started peer=1")
	// Far more than a pipe holds, without blocking the writer for ever.
	n := newNode(t, path)
	var want []string
	for i := range 5000 {
		want = append(want, fmt.Sprintf("line %d %s", i, strings.Repeat("x", 80)))
	}
	n.log(want...)
	r.eventually(func() error {
		if got := r.messages(); len(got) != 5004 || !slices.Equal(got[4:], want) {
			return fmt.Errorf("%d messages", len(got))
		}
		return nil
	})
	// Another FIFO in its place.
	must(t, os.Remove(path))
	must(t, syscall.Mkfifo(path, 0o600))
	again := newNode(t, path)
	again.log("again")
	r.eventually(func() error {
		if got := r.messages(); got[len(got)-1] != "again" {
			return fmt.Errorf("last message %q", got[len(got)-1])
		}
		return nil
	})
}

func TestLongLinesAreCutAndCounted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "debug.log")
	n := newNode(t, path)
	r := follow(t, path, func(c *Config) { c.FromStart, c.MaxLine = true, minLine })
	n.log("before", strings.Repeat("x", 300_000), "after")
	r.expect("before", strings.Repeat("x", minLine-len(stamp)), "after")
	r.expectLost(event.ReasonTooLarge, 1)
	e := r.all()[1].GetLogExtractor()
	if total := uint64(300_000 + len(stamp)); e.GetLogLineBytes() != total || e.GetCutBytes() != total-minLine {
		t.Errorf("%d bytes, %d cut, of %d", e.GetLogLineBytes(), e.GetCutBytes(), total)
	}
}

func TestWhatCannotBeReadIsExplained(t *testing.T) {
	dir := t.TempDir()
	r := follow(t, dir, nil)
	r.downFor("neither a file nor a FIFO")
	path := filepath.Join(dir, "debug.log")
	n := newNode(t, path)
	n.log("one")
	if os.Geteuid() != 0 {
		must(t, os.Chmod(path, 0))
		r.path.Store(path)
		r.downFor("group")
		must(t, os.Chmod(path, 0o600))
	} else {
		// Root reads everything; the text is what matters.
		text := explain(path, &os.PathError{Op: "open", Path: path, Err: syscall.EACCES})
		if !strings.Contains(text, path) || !strings.Contains(text, "permission denied") || !strings.Contains(text, "--extractor.log.file") {
			t.Errorf("%q doesn't say what to do", text)
		}
		r.path.Store(path)
	}
	r.up()
}

func TestEventsCarryWhatReadersNeed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "debug.log")
	n := newNode(t, path)
	r := follow(t, path, func(c *Config) { c.FromStart = true })
	r.nodeStart.Store(77)
	r.up()
	n.log("[net] Stall started peer=3")
	r.expect("Stall started peer=3")
	e := r.all()[0]
	if e.GetNodeStartTimeNs() != 77 || e.GetTimestamp() == 0 || e.GetSequence() != 1 || e.GetNodeName() != "test" {
		t.Errorf("%v", e)
	}
	l := e.GetLogExtractor()
	if l.GetLogTimestamp() != 1795421823123456 || l.GetCategory() != eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_NET || l.GetLogLevel() != eventpb.LogLevel_LOG_LEVEL_DEBUG {
		t.Errorf("%v", l)
	}
}

func TestConfiguration(t *testing.T) {
	ledger := event.NewLedger()
	emitter := event.NewEmitter(event.SourceLog, event.Origin{}, event.NewStream(), ledger)
	logger := slog.New(slog.DiscardHandler)
	good := Config{Path: func() string { return "" }}
	if _, err := New(good, emitter, ledger, logger); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Config){
		"path":       func(c *Config) { c.Path = nil },
		"short line": func(c *Config) { c.MaxLine = 10 }, "long line": func(c *Config) { c.MaxLine = 1 << 30 }, "interval": func(c *Config) { c.PollInterval = -1 },
	} {
		bad := good
		spoil(&bad)
		if _, err := New(bad, emitter, ledger, logger); err == nil {
			t.Errorf("a bad %s is taken", name)
		}
	}
}

func TestSplitter(t *testing.T) {
	file := []byte("one\ntwo\r\n\nlong line that is cut\n" + strings.Repeat("z", 16) + "\nend")
	for size := 1; size <= len(file); size++ {
		var got []string
		s := &splitter{limit: 16, line: func(line []byte, cut uint64) { got = append(got, fmt.Sprintf("%s+%d", line, cut)) }}
		for chunk := range slices.Chunk(file, size) {
			s.feed(chunk)
		}
		s.finish()
		s.finish()
		want := []string{"one+0", "two+0", "+0", "long line that i+5", strings.Repeat("z", 16) + "+0", "end+0"}
		if !slices.Equal(got, want) {
			t.Fatalf("in chunks of %d: %q, want %q", size, got, want)
		}
	}
}

func TestLastRun(t *testing.T) {
	long := bytes.Repeat([]byte("0123456789abcde\n"), 10_000)
	mark := []byte("\n\n\n\n\n")
	for _, before := range []int{0, 1, 3, 4, 5, 100, chunkSize - 2, chunkSize, len(long)} {
		for _, after := range []int{0, 1, 2, chunkSize - 5, chunkSize - 3, chunkSize, chunkSize + 1} {
			file := slices.Concat(long[:before], mark, []byte("x\n"), long[:after])
			at, found, err := lastRun(bytes.NewReader(file), int64(len(file)))
			// A newline before the mark makes the mark one longer, at one place later.
			want := int64(bytes.LastIndex(file, mark))
			if err != nil || !found || at != want {
				t.Fatalf("%d before and %d after: at %d, %v, %v, want %d", before, after, at, found, err, want)
			}
		}
	}
	if _, found, err := lastRun(bytes.NewReader(long), int64(len(long))); found || err != nil {
		t.Errorf("found=%v, %v where there is no mark", found, err)
	}
	if _, found, err := lastRun(bytes.NewReader(nil), 0); found || err != nil {
		t.Errorf("found=%v, %v in an empty file", found, err)
	}
	if _, _, err := lastRun(broken{}, 100); err == nil {
		t.Error("a failed read goes unnoticed")
	}
}

type broken struct{}

func (broken) ReadAt([]byte, int64) (int, error) { return 0, io.ErrClosedPipe }

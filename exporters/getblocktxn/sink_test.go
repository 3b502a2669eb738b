package getblocktxn

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/proto/event"
)

func ptr[T any](v T) *T { return &v }

// Every outcome, with all that a row says.
func TestRows(t *testing.T) {
	out := new(output)
	sink, ledger := newSink(t, Config{Output: out, Timeout: time.Minute})
	s := newSource("alice", event.NewStream(sink), ledger)
	s.getBlockTxn(1, false, hash(1), 0, 3, 9) // answered
	s.getBlockTxn(2, true, hash(1), 4)        // answered with the block
	s.getBlockTxn(3, true, hash(2))           // closed
	s.getBlockTxn(1, true, hash(1), 1)        // other direction than the first: not answered
	s.now = s.now.Add(1500 * time.Microsecond)
	s.blockTxn(1, true, hash(1), 3)
	s.block(2, false, hash(1))
	s.blockTxn(1, true, hash(1), 3)         // again: unsolicited
	s.blockTxn(9, true, hash(1), 3)         // of a peer that wasn't asked
	s.getBlockTxn(4, true, hash(3), 1)      // repeated
	s.getBlockTxn(4, true, hash(3), 2)      // timeout
	s.getBlockTxn(5, true, []byte("short")) // malformed
	s.closed(3)
	s.now = s.now.Add(time.Minute + time.Nanosecond)
	s.getBlockTxn(6, false, hash(4), 7) // end
	run(t, sink)()

	row := func(peer uint64, direction string, block string, outcome Outcome, indexes ...uint64) Row {
		if indexes == nil {
			indexes = []uint64{}
		}
		return Row{
			Time: "2026-01-31T12:00:00.000000005Z", Node: "alice", Direction: direction, PeerID: peer, Address: "[2001:db8::7]:8333",
			ConnectionType: "manual", Block: block, Indexes: indexes, Requested: len(indexes), Outcome: outcome,
		}
	}
	block := func(b string) string { return "ee" + strings.Repeat(b, 31) }
	late := func(r Row) Row { r.Time = "2026-01-31T12:00:00.001500005Z"; return r }
	first := row(1, "sent", block("01"), OutcomeBlockTxn, 0, 3, 9)
	first.Delay, first.AnswerBytes, first.Transactions = ptr(int64(1_500_000)), ptr(uint64(42)), ptr(3)
	second := row(2, "received", block("01"), OutcomeBlock, 4)
	second.Delay, second.AnswerBytes = ptr(int64(1_500_000)), ptr(uint64(1000))
	last := row(6, "sent", block("04"), OutcomeEnd, 7)
	last.Time = "2026-01-31T12:01:00.001500006Z"
	malformed := late(row(5, "received", "", OutcomeMalformed))
	want := []Row{
		first, second, late(row(4, "received", block("03"), OutcomeRepeated, 1)), malformed, row(3, "received", block("02"), OutcomeClosed),
		row(1, "received", block("01"), OutcomeTimeout, 1), late(row(4, "received", block("03"), OutcomeTimeout, 2)), last,
	}
	got := rowsOf(t, out.String())
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("row %d is missing: %+v", i, want[i])
		case i >= len(want):
			t.Errorf("row %d is too many: %+v", i, got[i])
		case !reflect.DeepEqual(got[i], want[i]):
			t.Errorf("row %d:\n got %+v\nwant %+v", i, got[i], want[i])
		}
	}
}

// A CSV file has the same columns as the JSON form has fields, in the same order.
func TestCSV(t *testing.T) {
	out := new(output)
	sink, ledger := newSink(t, Config{Output: out, Format: FormatCSV, Header: true})
	s := newSource("a,\"b\"", event.NewStream(sink), ledger)
	s.getBlockTxn(1, false, hash(1), 0, 3)
	s.blockTxn(1, true, hash(1), 2)
	s.getBlockTxn(2, true, hash(1))
	run(t, sink)()
	lines, err := csv.NewReader(strings.NewReader(out.String())).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	block := "ee" + strings.Repeat("01", 31)
	want := [][]string{
		columns(),
		{"2026-01-31T12:00:00.000000005Z", "a,\"b\"", "sent", "1", "[2001:db8::7]:8333", "manual", block, "0 3", "2", "blocktxn", "0", "39", "2"},
		{"2026-01-31T12:00:00.000000005Z", "a,\"b\"", "received", "2", "[2001:db8::7]:8333", "manual", block, "", "0", "end", "", "", ""},
	}
	if !reflect.DeepEqual(lines, want) {
		t.Errorf("got %q\nwant %q", lines, want)
	}
	fields := reflect.TypeFor[Row]()
	for i, name := range columns() {
		if i >= fields.NumField() || fields.Field(i).Tag.Get("json") != name {
			t.Errorf("column %s isn't field %d of the JSON form", name, i)
		}
	}
}

// Rows go to the end of a file, behind the whole lines that are there.
func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rows.csv")
	for i, c := range []struct{ before, after string }{{"", "X\n"}, {"a\n", "a\nX\n"}, {"a\nb", "a\nb\nX\n"}} {
		if err := os.WriteFile(path, []byte(c.before), 0o600); err != nil {
			t.Fatal(err)
		}
		file, empty, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteString("X\n"); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != c.after || empty != (c.before == "") {
			t.Errorf("%d: %q, %v, empty %v", i, got, err, empty)
		}
	}
	if _, _, err := Open(filepath.Join(path, "below a file")); err == nil {
		t.Error("a file below a file can be opened")
	}
}

// A disk that is full for a while costs nothing, not even half a line.
func TestOutputFailsForAWhile(t *testing.T) {
	out := new(output)
	out.set(syscall.ENOSPC, 10)
	sink, ledger := newSink(t, Config{Output: out})
	s := newSource("alice", event.NewStream(sink), ledger)
	stop := run(t, sink)
	s.getBlockTxn(1, true, []byte("malformed"))
	eventually(t, "half a line", func() error {
		if out.String() == "" {
			return errors.New("nothing yet")
		}
		return nil
	})
	s.getBlockTxn(2, true, []byte("malformed"))
	out.set(nil, 0)
	eventually(t, "both rows", func() error {
		if strings.Count(out.String(), "\n") != 2 {
			return errors.New("not yet")
		}
		return nil
	})
	stop()
	if rows := rowsOf(t, out.String()); len(rows) != 2 || rows[0].PeerID != 1 || rows[1].PeerID != 2 {
		t.Errorf("rows %+v", rows)
	}
	for _, loss := range ledger.Status().GetLosses() {
		if loss.GetCount() != 0 {
			t.Errorf("lost: %v", loss)
		}
	}
}

// What doesn't fit and what can't be written up to the end is counted.
func TestLossesAreCounted(t *testing.T) {
	out := new(output)
	out.set(syscall.ENOSPC, 0)
	one := newRow(t)
	sink, ledger := newSink(t, Config{Output: out, Buffer: 3 * len(one)})
	s := newSource("alice", event.NewStream(sink), ledger)
	for range 5 {
		s.getBlockTxn(1, true, []byte("malformed"))
	}
	run(t, sink)()
	if full := sink.full.Value(); full != 2 {
		t.Errorf("%d rows found no room, want 2", full)
	}
	if lost := sink.unwritten.Value(); lost != 3 {
		t.Errorf("%d rows weren't written, want 3", lost)
	}
	if out.String() != "" {
		t.Errorf("written: %s", out.String())
	}
}

func newRow(t *testing.T) []byte {
	t.Helper()
	out := new(output)
	sink, ledger := newSink(t, Config{Output: out})
	newSource("alice", event.NewStream(sink), ledger).getBlockTxn(1, true, []byte("malformed"))
	run(t, sink)()
	return []byte(out.String())
}

// A disk that stays full costs the rows, which are counted.
func TestFullDisk(t *testing.T) {
	file, _, err := Open("/dev/full")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	sink, ledger := newSink(t, Config{Output: file})
	newSource("alice", event.NewStream(sink), ledger).getBlockTxn(1, true, []byte("malformed"))
	run(t, sink)()
	if lost := sink.unwritten.Value(); lost != 1 {
		t.Errorf("%d rows are counted as lost, want 1", lost)
	}
}

// A reader that goes away ends the sink; one that takes nothing doesn't hold it up.
func TestPipes(t *testing.T) {
	reader, writer := io.Pipe()
	sink, ledger := newSink(t, Config{Output: writer})
	s := newSource("alice", event.NewStream(sink), ledger)
	ended := make(chan error, 1)
	go func() { ended <- sink.Run(t.Context()) }()
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	s.getBlockTxn(1, true, []byte("malformed"))
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("Run goes on without a reader")
	}

	reader, writer = io.Pipe()
	sink, ledger = newSink(t, Config{Output: writer, ShutdownTimeout: time.Millisecond})
	newSource("alice", event.NewStream(sink), ledger).getBlockTxn(1, true, []byte("malformed"))
	run(t, sink)() // nobody reads
	if lost := sink.unwritten.Value(); lost != 1 {
		t.Errorf("%d rows are counted as lost, want 1", lost)
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestMistakes(t *testing.T) {
	for _, c := range []Config{{}, {Output: new(bytes.Buffer), Timeout: -1}, {Output: new(bytes.Buffer), Buffer: -1}, {Output: new(bytes.Buffer), ShutdownTimeout: -1}} {
		if _, err := New(c, event.NewLedger(), nil); err == nil {
			t.Errorf("%+v is fine", c)
		}
	}
	if _, err := ParseFormat("xml"); err == nil {
		t.Error("xml is a format")
	}
	// What can't be decoded is counted.
	sink, _ := newSink(t, Config{Output: new(bytes.Buffer)})
	sink.HandleEvent(&event.Event{Header: event.Header{Source: event.SourceEBPF}, Subject: event.SubjectMessages, Kind: event.KindMessage, Data: []byte{0xff}})
	if sink.undecodable.Value() != 1 {
		t.Error("an event that is damaged isn't counted")
	}
}

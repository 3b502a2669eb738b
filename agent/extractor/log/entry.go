package log

import (
	"strings"

	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// Bounds of an entry of several lines.
const (
	maxEntryLines = 256
	maxEntryBytes = 64 << 10
)

// runMark is the number of empty lines in a row that begin a run of the node: Bitcoin
// Core writes five (logging.cpp, StartLogging).
const runMark = 4

// assembler makes entries of lines and events of entries. A message of several lines
// has the timestamp on the first one only.
type assembler struct {
	prefix  *prefixParser
	matcher *matcher
	// emit takes the events. What they hold is theirs.
	emit func(*eventpb.LogExtractor)

	// timestamps: the entry before had a timestamp, so a line without one continues
	// it. With -logtimestamps=0 every line is an entry.
	timestamps bool
	empty      int // empty lines in a row
	pending    pendingEntry
}

// pendingEntry is an entry that another line may continue.
type pendingEntry struct {
	open  bool
	text  string
	more  []string
	bytes uint64
	cut   uint64
}

// line takes the next line, without its newline; cut is how many bytes of it are
// missing at its end.
func (a *assembler) line(raw []byte, cut uint64) {
	if len(raw) == 0 {
		if a.empty++; a.empty >= runMark {
			a.flush()
			a.timestamps = false
		}
		return
	}
	text := toText(raw)
	size := uint64(len(raw)) + cut
	stamped := timestampLength(strings.TrimPrefix(text, "[*] ")) > 0
	if !stamped && a.timestamps && a.pending.open && a.continues(size) {
		// An empty line in between was part of the message.
		for range a.empty {
			a.pending.more = append(a.pending.more, "")
			a.pending.bytes++
		}
		a.pending.more = append(a.pending.more, text)
		a.pending.bytes += size + 1
		a.pending.cut += cut
		a.empty = 0
		return
	}
	a.flush()
	a.empty = 0
	a.timestamps = stamped || a.timestamps
	a.pending = pendingEntry{open: true, text: text, bytes: size, cut: cut}
}

// continues reports whether the pending entry has room for a line of so many bytes.
func (a *assembler) continues(size uint64) bool {
	return len(a.pending.more)+a.empty < maxEntryLines && a.pending.bytes+size <= maxEntryBytes
}

// flush emits the pending entry: no line will continue it.
func (a *assembler) flush() {
	if !a.pending.open {
		return
	}
	entry := a.pending
	a.pending = pendingEntry{more: entry.more[:0]}
	f := a.prefix.parse(entry.text)
	message := f.message
	e := &eventpb.LogExtractor{
		LogTimestamp: &f.timestamp,
		Category:     f.category.Enum(),
		Threadname:   &f.thread,
		LogLevel:     f.level.Enum(),
		LogLineBytes: &entry.bytes,
	}
	if len(entry.more) > 0 {
		message += "\n" + strings.Join(entry.more, "\n")
		e.LineCount = new(uint32(len(entry.more) + 1))
	}
	if f.categoryName != "" {
		e.CategoryName = &f.categoryName
	}
	if f.file != "" {
		e.SourceFile, e.SourceLine, e.SourceFunction = &f.file, &f.line, &f.function
	}
	if f.mockTime != 0 {
		e.MockTime = &f.mockTime
	}
	if f.suppressing {
		e.Suppressing = &f.suppressing
	}
	if entry.cut > 0 {
		e.CutBytes = &entry.cut
	}
	a.matcher.event(e, withoutSecrets(message, f.category), f.category)
	a.emit(e)
}

// learn takes a line for what it tells of the format only.
func (a *assembler) learn(raw []byte) {
	text := toText(raw)
	if timestampLength(strings.TrimPrefix(text, "[*] ")) > 0 {
		a.timestamps = true
		a.prefix.parse(text)
	}
}

// withoutSecrets takes the RPC password out of a message. With -debug=libevent, the
// HTTP server of Bitcoin Core before 31 and of Bitcoin Knots logs the headers of every
// RPC call, the Authorization header among them.
func withoutSecrets(message string, category eventpb.LogDebugCategory) string {
	const header = "authorization"
	switch category {
	case eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_LIBEVENT, eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_HTTP,
		eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_UNKNOWN:
	default:
		return message
	}
	for i := range len(message) - len(header) + 1 {
		if strings.EqualFold(message[i:i+len(header)], header) {
			return message[:i+len(header)] + " [removed]"
		}
	}
	return message
}

package log

import (
	"bytes"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// prefix is what Bitcoin Core writes in front of a message (logging.cpp, Format):
//
//	[*] 2026-01-31T23:59:59.123456Z (mocktime: 2026-01-31T23:59:59Z) [msghand] [net.cpp:123] [Name] [net:warning] message
//
// Everything but the message is optional.
type prefix struct {
	// timestamp is in microseconds since the UNIX epoch, 0 if it isn't a time.
	timestamp    uint64
	suppressing  bool
	mockTime     int64 // seconds, 0 for none
	thread       string
	file         string
	line         uint32
	function     string
	category     eventpb.LogDebugCategory
	categoryName string // where category has no value for it
	level        eventpb.LogLevel
	message      string
}

// threadMode is what is known of -logthreadnames. It decides whether "[net]" is a
// thread or a category, which looks the same.
type threadMode int

const (
	threadsUnknown threadMode = iota
	threadsOff
	threadsOn
)

// prefixParser parses prefixes. It learns from line to line whether they carry thread
// names, as some lines don't tell.
type prefixParser struct {
	threads    threadMode
	categories map[string]eventpb.LogDebugCategory
	levels     map[string]eventpb.LogLevel
}

func newPrefixParser() *prefixParser {
	p := &prefixParser{
		categories: map[string]eventpb.LogDebugCategory{},
		levels:     map[string]eventpb.LogLevel{},
	}
	for name, number := range eventpb.LogDebugCategory_value {
		if number != 0 {
			name = strings.ToLower(strings.TrimPrefix(name, "LOG_DEBUG_CATEGORY_"))
			p.categories[name] = eventpb.LogDebugCategory(number)
		}
	}
	for name, number := range eventpb.LogLevel_value {
		p.levels[strings.ToLower(strings.TrimPrefix(name, "LOG_LEVEL_"))] = eventpb.LogLevel(number)
	}
	return p
}

// parse takes the first line of an entry, valid UTF-8, apart.
func (p *prefixParser) parse(line string) prefix {
	var f prefix
	rest, suppressing := strings.CutPrefix(line, "[*] ")
	f.suppressing = suppressing
	if n := timestampLength(rest); n > 0 {
		f.timestamp = parseTimestamp(rest[:n])
		rest = strings.TrimPrefix(rest[n:], " ")
		if after, ok := strings.CutPrefix(rest, "(mocktime: "); ok {
			if mock, after, ok := strings.Cut(after, ") "); ok && timestampLength(mock) == len(mock) && mock != "" {
				f.mockTime = int64(parseTimestamp(mock) / 1e6)
				rest = after
			}
		}
	}
	f.message = p.brackets(&f, rest)
	return f
}

// brackets takes thread, source location, category and level off rest.
func (p *prefixParser) brackets(f *prefix, rest string) string {
	first, after, ok := bracket(rest)
	if !ok {
		if !strings.HasPrefix(rest, "[") {
			p.threads = threadsOff
		}
		return rest
	}
	// A source location tells for certain where the thread is.
	if file, line, ok := sourceLocation(first); ok {
		if function, beyond, ok := functionBracket(after); ok {
			p.threads = threadsOff
			f.file, f.line, f.function = file, line, function
			return p.categoryBracket(f, beyond)
		}
	}
	second, afterSecond, hasSecond := bracket(after)
	if hasSecond {
		if file, line, ok := sourceLocation(second); ok {
			if function, beyond, ok := functionBracket(afterSecond); ok {
				p.threads = threadsOn
				f.thread, f.file, f.line, f.function = first, file, line, function
				return p.categoryBracket(f, beyond)
			}
		}
	}
	_, _, isCategory := p.category(first)
	switch {
	case isThread(first) && !isCategory:
		p.threads = threadsOn
	case hasSecond && isThread(first):
		// "[net] [validation] …": a message of Bitcoin Core's own never begins with
		// a category in brackets.
		if _, _, ok := p.category(second); ok {
			p.threads = threadsOn
		}
	case isCategory:
		// No thread has such a name: "[validation] …".
		if !isThread(first) {
			p.threads = threadsOff
		}
	}
	if p.threads == threadsOn {
		f.thread = first
		rest = after
	}
	return p.categoryBracket(f, rest)
}

// categoryBracket takes category and level off rest.
func (p *prefixParser) categoryBracket(f *prefix, rest string) string {
	content, after, ok := bracket(rest)
	if !ok {
		return rest
	}
	name, level, ok := p.category(content)
	if !ok {
		return rest
	}
	f.level = level
	if name != "" && name != "all" {
		if f.category, ok = p.categories[name]; !ok {
			f.categoryName = name
		}
	}
	return after
}

// bracket splits "[content] rest".
func bracket(s string) (content, rest string, ok bool) {
	if !strings.HasPrefix(s, "[") {
		return "", s, false
	}
	content, rest, ok = strings.Cut(s[1:], "] ")
	if !ok || len(content) > maxBracket {
		return "", s, false
	}
	return content, rest, true
}

// maxBracket bounds what can be a thread, a category or a file name.
const maxBracket = 256

// sourceLocation reads "net.cpp:123".
func sourceLocation(content string) (file string, line uint32, ok bool) {
	i := strings.LastIndexByte(content, ':')
	if i <= 0 || !strings.Contains(content[:i], ".") {
		return "", 0, false
	}
	n, err := strconv.ParseUint(content[i+1:], 10, 32)
	if err != nil {
		return "", 0, false
	}
	return content[:i], uint32(n), true
}

// functionBracket is bracket for the name of a function, which may be "operator[]".
func functionBracket(s string) (content, rest string, ok bool) {
	if after, ok := strings.CutPrefix(s, "[operator[]] "); ok {
		return "operator[]", after, true
	}
	return bracket(s)
}

// category reads "net", "net:warning" and "warning". ok is false for anything that is
// neither a level nor a category of Bitcoin Core's.
func (p *prefixParser) category(content string) (name string, level eventpb.LogLevel, ok bool) {
	name, levelName, hasLevel := strings.Cut(content, ":")
	if !hasLevel {
		if level, ok := p.levels[content]; ok {
			return "", level, true
		}
		return content, eventpb.LogLevel_LOG_LEVEL_DEBUG, p.isCategoryName(content)
	}
	level, ok = p.levels[levelName]
	// With a level beside it, a category of a newer version is certain enough.
	return name, level, ok && isPlainName(name)
}

func isPlainName(name string) bool {
	if name == "" || len(name) > 32 {
		return false
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

func (p *prefixParser) isCategoryName(name string) bool {
	if _, ok := p.categories[name]; ok {
		return true
	}
	switch name {
	case "all", "kernel", "lock", "privatebroadcast", "util":
		return true
	}
	return false
}

// isThread reports whether Bitcoin Core has a thread of that name (the callers of
// util::ThreadRename and util::TraceThread).
func isThread(name string) bool {
	switch name {
	case "init", "main", "net", "msghand", "opencon", "addcon", "dnsseed", "i2paccept", "privbcast",
		"torcontrol", "scheduler", "http", "shutoff", "initload", "mapport", "utxocompact", "capnp-loop",
		"txidx", "txospenderidx", "coinstatsidx", "txindex", "coinstatsindex", "unknown":
		return true
	}
	for _, start := range []string{"http.", "httpworker.", "scriptch.", "qt-", "blkflt", "basic block filter", "b-"} {
		if strings.HasPrefix(name, start) {
			return true
		}
	}
	return false
}

// The shortest and longest form of an ISO 8601 timestamp.
const (
	shortTimestamp = len("2006-01-02T15:04:05Z")
	maxFraction    = 9
)

// timestampLength gives the length of the timestamp that s begins with, 0 for none. It
// looks at the form only.
func timestampLength(s string) int {
	if len(s) < shortTimestamp {
		return 0
	}
	const form = "dddd-dd-ddTdd:dd:dd"
	for i := range len(form) {
		if form[i] == 'd' {
			if !isDigit(s[i]) {
				return 0
			}
		} else if s[i] != form[i] {
			return 0
		}
	}
	i := len(form)
	if s[i] == '.' {
		start := i + 1
		for i = start; i < len(s) && i-start < maxFraction && isDigit(s[i]); i++ {
		}
		if i == start {
			return 0
		}
	}
	if i >= len(s) || s[i] != 'Z' {
		return 0
	}
	i++
	if i < len(s) && s[i] != ' ' {
		return 0
	}
	return i
}

// parseTimestamp gives the microseconds since the UNIX epoch of a timestamp that
// timestampLength accepted; 0 if there is no such time, or if it is before the epoch.
func parseTimestamp(s string) uint64 {
	number := func(from, to int) int {
		n := 0
		for _, c := range []byte(s[from:to]) {
			n = n*10 + int(c-'0')
		}
		return n
	}
	year, month, day := number(0, 4), number(5, 7), number(8, 10)
	hour, minute, second := number(11, 13), number(14, 16), number(17, 19)
	if month < 1 || month > 12 || day < 1 || day > daysIn(year, month) || hour > 23 || minute > 59 || second > 59 || year < 1970 {
		return 0
	}
	micros := 0
	if s[19] == '.' {
		digits := s[20 : len(s)-1]
		for i := range 6 {
			micros *= 10
			if i < len(digits) {
				micros += int(digits[i] - '0')
			}
		}
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	return uint64(t.Unix())*1e6 + uint64(micros)
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	default:
		return 31
	}
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// toText makes valid UTF-8 of a line. NUL bytes at its beginning are what a file
// system fills a truncated file with; they are no part of the line.
func toText(line []byte) string {
	line = bytes.TrimLeft(line, "\x00")
	if utf8.Valid(line) {
		return string(line)
	}
	return string(bytes.ToValidUTF8(line, []byte("\uFFFD")))
}

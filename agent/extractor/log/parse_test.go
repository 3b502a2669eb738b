package log

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// parser is an assembler with what it emitted.
type parser struct {
	*assembler
	entries []*eventpb.LogExtractor
}

func newParser(t testing.TB) *parser {
	t.Helper()
	m, err := newMatcher()
	if err != nil {
		t.Fatal(err)
	}
	return newParserWith(m)
}

func newParserWith(m *matcher) *parser {
	p := new(parser)
	p.assembler = &assembler{prefix: newPrefixParser(), matcher: m, emit: func(e *eventpb.LogExtractor) {
		p.entries = append(p.entries, e)
	}}
	return p
}

// parse gives the entries of lines.
func parse(t testing.TB, lines ...string) []*eventpb.LogExtractor {
	t.Helper()
	p := newParser(t)
	for _, line := range lines {
		p.line([]byte(line), 0)
	}
	p.flush()
	return p.entries
}

const stamp = "2026-11-23T08:17:03.123456Z "

func TestFixtures(t *testing.T) {
	for _, f := range fixtures() {
		entries := parse(t, stamp+f.line)
		if len(entries) != 1 {
			t.Fatalf("%q became %d entries", f.line, len(entries))
		}
		want := new(eventpb.KnownLogMessage)
		if err := prototext.Unmarshal([]byte(f.want), want); err != nil {
			t.Fatalf("%q: %v", f.want, err)
		}
		message := f.line
		for _, category := range []string{"net", "validation", "bench", "cmpctblock", "addrman", "mempool", "mempoolrej", "txpackages", "coindb", "warning", "error"} {
			message = strings.TrimPrefix(message, "["+category+"] ")
		}
		want.RawMessage = &message
		if got := entries[0].GetKnownLogMessage(); !proto.Equal(got, want) {
			t.Errorf("%q\n got %v\nwant %v", f.line, got, want)
		}
	}
}

// TestEveryPatternHasAFixture: and each fixture is what the pattern before it isn't.
func TestEveryPatternHasAFixture(t *testing.T) {
	m, err := newMatcher()
	if err != nil {
		t.Fatal(err)
	}
	lines := fixtures()
	check := func(entry *matchEntry) {
		for _, f := range lines {
			message := newPrefixParser().parse(stamp + f.line)
			if entry.compiled.match(message.message, new(eventpb.KnownLogMessage)) {
				bracket := "[" + entry.category
				if entry.category != "" && !strings.HasPrefix(f.line, bracket) {
					continue
				}
				return
			}
		}
		t.Errorf("no fixture of category %q for %q", entry.category, entry.pattern)
	}
	seen := map[eventpb.LogTemplate]bool{eventpb.LogTemplate_LOG_TEMPLATE_DISCONNECTED: true}
	entries := append([]*matchEntry(nil), m.byHash...)
	for _, group := range m.byKey {
		entries = append(entries, group...)
	}
	for _, entry := range entries {
		seen[entry.id] = true
		check(entry)
	}
	for number, name := range eventpb.LogTemplate_name {
		if number != 0 && !seen[eventpb.LogTemplate(number)] {
			t.Errorf("%s has no pattern", name)
		}
	}
	t.Logf("%d patterns of %d templates", len(entries), len(seen))
}

func TestBlockConnectedAndChecked(t *testing.T) {
	entries := parse(t,
		stamp+"[validation] Enqueuing BlockConnected: block hash="+h1+" block height=437",
		stamp+"[validation] BlockConnected: block hash="+h1+" block height=437",
		stamp+"[validation] BlockChecked: block hash="+h1+" state=Valid",
		stamp+"[validation] BlockChecked: block hash="+h1+" state=bad-txnmrklroot, hashMerkleRoot mismatch, really",
	)
	if len(entries) != 4 {
		t.Fatalf("%d entries", len(entries))
	}
	for i, want := range []bool{true, false} {
		c := entries[i].GetBlockConnectedLog()
		if c.GetBlockHash() != h1 || c.GetBlockHeight() != 437 || c.GetEnqueuing() != want {
			t.Errorf("%v", entries[i])
		}
	}
	if c := entries[2].GetBlockCheckedLog(); c.GetBlockHash() != h1 || c.GetState() != "Valid" || c.DebugMessage == nil || c.GetDebugMessage() != "" {
		t.Errorf("%v", entries[2])
	}
	if c := entries[3].GetBlockCheckedLog(); c.GetState() != "bad-txnmrklroot" || c.GetDebugMessage() != "hashMerkleRoot mismatch, really" {
		t.Errorf("%v", entries[3])
	}
}

func TestPrefixes(t *testing.T) {
	const (
		debug   = eventpb.LogLevel_LOG_LEVEL_DEBUG
		info    = eventpb.LogLevel_LOG_LEVEL_INFO
		warning = eventpb.LogLevel_LOG_LEVEL_WARNING
		failure = eventpb.LogLevel_LOG_LEVEL_ERROR
		trace   = eventpb.LogLevel_LOG_LEVEL_TRACE
	)
	micros := func(text string) uint64 {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return uint64(at.UnixMicro())
	}
	for _, test := range []struct {
		// before is a line that tells whether the node logs thread names.
		before, line string
		want         prefix
	}{
		{"", "2025-10-02T02:31:14Z Verification progress: 50%", prefix{timestamp: 1759372274000000, message: "Verification progress: 50%"}},
		{"", "2025-10-17T23:52:01.358911Z [validation] Random message", prefix{timestamp: 1760745121358911, category: eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_VALIDATION, level: debug, message: "Random message"}},
		{"", "2025-10-17T23:52:01.3Z x", prefix{timestamp: 1760745121300000, message: "x"}},
		{"", "2024-02-29T23:59:59.000001Z x", prefix{timestamp: micros("2024-02-29T23:59:59.000001Z"), message: "x"}},
		{"", "2025-02-29T00:00:00Z [net] x", prefix{category: eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_NET, level: debug, message: "x"}},
		{"", "2025-99-99T99:99:99.358911Z [validation] Random message", prefix{category: eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_VALIDATION, level: debug, message: "Random message"}},
		{"", "2025--17T23:52:01.358911Z [validation] Random message", prefix{message: "2025--17T23:52:01.358911Z [validation] Random message"}},
		{"", "2025-10-17T23:52:01Znot a timestamp", prefix{message: "2025-10-17T23:52:01Znot a timestamp"}},
		{"", "2025-10-17T23:52:01Z", prefix{timestamp: 1760745121000000}},
		{"", "2025-10-17T23:52:01Z ", prefix{timestamp: 1760745121000000}},
		{"", "[net] without timestamps", prefix{category: eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_NET, level: debug, message: "without timestamps"}},
		{"", "2025-10-17T23:52:01Z (mocktime: 2030-01-01T00:00:00Z) [net] x", prefix{timestamp: 1760745121000000, mockTime: 1893456000, category: eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_NET, level: debug, message: "x"}},
		{"", "[*] 2025-10-17T23:52:01Z [warning] x", prefix{timestamp: 1760745121000000, suppressing: true, level: warning, message: "x"}},
		{"", "2025-10-17T23:52:01Z [error] x", prefix{timestamp: 1760745121000000, level: failure, message: "x"}},
		{"", "2025-10-17T23:52:01Z [net:trace] x", prefix{timestamp: 1760745121000000, category: eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_NET, level: trace, message: "x"}},
		{"", "2025-10-17T23:52:01Z [all:info] x", prefix{timestamp: 1760745121000000, level: info, message: "x"}},
		{"", "2025-10-17T23:52:01Z [kernel] x", prefix{timestamp: 1760745121000000, categoryName: "kernel", level: debug, message: "x"}},
		{"", "2025-10-17T23:52:01Z [newcategory:debug] x", prefix{timestamp: 1760745121000000, categoryName: "newcategory", level: debug, message: "x"}},
		{"", "2025-10-17T23:52:01Z [snapshot] loading", prefix{timestamp: 1760745121000000, message: "[snapshot] loading"}},
		{"", "2025-10-17T23:52:01Z [background validation] UpdateTip", prefix{timestamp: 1760745121000000, message: "[background validation] UpdateTip"}},
		{"", "2025-10-17T23:52:01Z [This-Is-N0t-a-valid-category] x", prefix{timestamp: 1760745121000000, message: "[This-Is-N0t-a-valid-category] x"}},
		{"", "2025-10-17T23:52:01Z [msghand] [net] x", prefix{timestamp: 1760745121000000, thread: "msghand", category: eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_NET, level: debug, message: "x"}},
		{"", "2025-10-17T23:52:01Z [net] [net] x", prefix{timestamp: 1760745121000000, thread: "net", category: eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_NET, level: debug, message: "x"}},
		{"", "2025-10-17T23:52:01Z [scriptch.00] x", prefix{timestamp: 1760745121000000, thread: "scriptch.00", message: "x"}},
		{"2025-10-17T23:52:01Z [init] x", "2025-10-17T23:52:01Z [net] net thread start", prefix{timestamp: 1760745121000000, thread: "net", message: "net thread start"}},
		{"2025-10-17T23:52:01Z x", "2025-10-17T23:52:01Z [net] net thread start", prefix{timestamp: 1760745121000000, category: eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_NET, level: debug, message: "net thread start"}},
		{"2025-10-17T23:52:01Z [init] x", "2025-10-17T23:52:01Z [anything new] [net:warning] x", prefix{timestamp: 1760745121000000, thread: "anything new", category: eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_NET, level: warning, message: "x"}},
		{"", "2025-10-17T23:52:01Z [net.cpp:1819] [CreateNodeFromAcceptedSocket] [net] x", prefix{timestamp: 1760745121000000, file: "net.cpp", line: 1819, function: "CreateNodeFromAcceptedSocket", category: eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_NET, level: debug, message: "x"}},
		{"", "2025-10-17T23:52:01Z [http.01] [rpc/server.cpp:12] [operator()] [rpc] x", prefix{timestamp: 1760745121000000, thread: "http.01", file: "rpc/server.cpp", line: 12, function: "operator()", category: eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_RPC, level: debug, message: "x"}},
		{"", "2025-10-17T23:52:01Z [init] [init.cpp:1] [operator[]] x", prefix{timestamp: 1760745121000000, thread: "init", file: "init.cpp", line: 1, function: "operator[]", message: "x"}},
	} {
		p := newPrefixParser()
		if test.before != "" {
			p.parse(test.before)
		}
		if got := p.parse(test.line); got != test.want {
			t.Errorf("%q\n got %+v\nwant %+v", test.line, got, test.want)
		}
	}
}

func TestTimestampsAgreeWithTheStandardLibrary(t *testing.T) {
	at := time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	for range 20_000 {
		text := at.Format("2006-01-02T15:04:05.000000Z")
		if n := timestampLength(text + " x"); n != len(text) {
			t.Fatalf("%s: length %d", text, n)
		}
		if got := parseTimestamp(text); got != uint64(at.UnixMicro()) {
			t.Fatalf("%s: %d, want %d", text, got, at.UnixMicro())
		}
		at = at.Add(37*time.Hour + 13*time.Minute + 7*time.Second + 123457*time.Microsecond)
	}
}

func TestEntriesOfSeveralLines(t *testing.T) {
	entries := parse(t,
		stamp+"first", "second", "", "fourth",
		stamp+"alone", "",
		stamp+"next", "", "", "", "", "",
		"after the mark, a node without timestamps", "another line",
	)
	var got []string
	for _, e := range entries {
		got = append(got, fmt.Sprint(e.GetUnknownLogMessage().GetRawMessage(), e.GetLineCount(), e.GetLogTimestamp() != 0, e.GetLogLineBytes()))
	}
	length := len(stamp)
	want := []string{
		fmt.Sprint("first\nsecond\n\nfourth", 4, true, length+len("first\nsecond\n\nfourth")),
		fmt.Sprint("alone", 0, true, length+5),
		fmt.Sprint("next", 0, true, length+4),
		fmt.Sprint("after the mark, a node without timestamps", 0, false, 41),
		fmt.Sprint("another line", 0, false, 12),
	}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestEntriesAreBounded(t *testing.T) {
	lines := []string{stamp + "first"}
	for range 3 * maxEntryLines {
		lines = append(lines, "more")
	}
	total := 0
	for _, e := range parse(t, lines...) {
		n := int(max(e.GetLineCount(), 1))
		if n > maxEntryLines+1 {
			t.Errorf("an entry of %d lines", n)
		}
		total += n
	}
	if total != len(lines) {
		t.Errorf("%d of %d lines", total, len(lines))
	}
	long := strings.Repeat("x", 40_000)
	for _, e := range parse(t, stamp+"first", long, long, long) {
		if e.GetLogLineBytes() > maxEntryBytes+40_000 {
			t.Errorf("an entry of %d bytes", e.GetLogLineBytes())
		}
	}
}

func TestInvalidUTF8IsReplaced(t *testing.T) {
	entries := parse(t, stamp+"[net] caf\xc3 \xff\xfe ok", "\x00\x00\x00"+stamp+"after zeros")
	if got := entries[0].GetUnknownLogMessage().GetRawMessage(); got != "caf\uFFFD \uFFFD ok" {
		t.Errorf("%q", got)
	}
	if got := entries[1].GetUnknownLogMessage().GetRawMessage(); got != "after zeros" || entries[1].GetLogTimestamp() == 0 {
		t.Errorf("%v", entries[1])
	}
	for _, e := range entries {
		if _, err := proto.Marshal(e); err != nil {
			t.Error(err)
		}
	}
}

func TestRPCPasswordIsRemoved(t *testing.T) {
	const secret = "X19jb29raWVfXzo0YjZkMzNk"
	for _, line := range []string{
		stamp + "[libevent] evhttp_add_header: key: Authorization val: Basic " + secret,
		stamp + "[libevent] evhttp_add_header: key: aUTHORIZATION val: Basic " + secret,
		stamp + "[libevent:trace] \u212a evhttp_add_header: key: authorization val: Basic " + secret,
		"[libevent] evhttp_add_header: key: Authorization val: Basic " + secret,
		stamp + "[unclear] evhttp_add_header: key: Authorization val: Basic " + secret,
	} {
		for _, e := range parse(t, line) {
			if strings.Contains(e.String(), secret) {
				t.Errorf("the password is in the event of %q: %v", line, e)
			}
			if !strings.Contains(e.GetUnknownLogMessage().GetRawMessage(), "evhttp_add_header") {
				t.Errorf("more than the password was removed: %v", e)
			}
		}
	}
}

// TestPeersCantFakeMessages puts what a peer can make the node log, as its user agent,
// message type or feature, into the places where it comes, and expects that nothing
// but the message that it is part of is found. Bitcoin Core lets letters, digits,
// space and .,;-_/:?@() through (SanitizeString); for more certainty, so do we with
// quotes, brackets and equals signs.
func TestPeersCantFakeMessages(t *testing.T) {
	fakes := []string{
		"Shutdown done", "socket closed, disconnecting peer=7", "/x/, disconnecting peer=7", "Header error: Unable to deserialize, peer=7",
		"Misbehaving: peer=7", "BlockConnected: block hash=" + h1 + " block height=1", "Peer 7 sent us a getblocktxn for a block we don't have",
		"connection from 1.2.3.4:5 dropped (banned)", "x from peer=7", `x" from peer=7`, "x, 1 bytes), peer=7", "Disconnecting and discouraging peer 7!",
	}
	for _, fake := range fakes {
		short := fake[:min(len(fake), maxMessageType)]
		for line, want := range map[string]eventpb.LogTemplate{
			"[net] receive version message: " + fake + ": version 70016, blocks=0, us=127.0.0.1:1, txrelay=1, peer=3":      0,
			"[net] unknown feature advertised: " + fake:                                                                    0,
			"[net] received: " + short + " (0 bytes) peer=3":                                                               0,
			`[net] Unknown message type "` + short + `" from peer=3`:                                                       eventpb.LogTemplate_LOG_TEMPLATE_UNKNOWN_MESSAGE_TYPE,
			"[net] Header error: Size too large (" + short + ", 9 bytes), peer=3":                                          eventpb.LogTemplate_LOG_TEMPLATE_HEADER_OVERSIZE,
			"[net] Header error: Wrong checksum (" + short + ", 9 bytes), expected 00112233 was 44556677, peer=3":          eventpb.LogTemplate_LOG_TEMPLATE_HEADER_WRONG_CHECKSUM,
			`[net] non-version message before version handshake. Message "` + short + `" from peer=3`:                      eventpb.LogTemplate_LOG_TEMPLATE_MESSAGE_BEFORE_HANDSHAKE,
			"[net] ProcessMessages(" + short + ", 9 bytes): Exception 'non-canonical ReadCompactSize()' (St5typed) caught": eventpb.LogTemplate_LOG_TEMPLATE_MESSAGE_EXCEPTION,
			"[net] Advertising address " + fake + " to peer=3":                                                             0,
		} {
			if strings.Contains(fake, "disconnecting peer=") && strings.HasPrefix(line, "[net] unknown feature") {
				// It ends as a disconnection does. The node lets no equals sign through,
				// so no peer can write it.
				continue
			}
			known := parse(t, stamp+line)[0].GetKnownLogMessage()
			if known.GetTemplate() != want {
				t.Errorf("%q is taken for %v", line, known)
				continue
			}
			if want == 0 {
				continue
			}
			if id := known.GetPeerId(); id != 3 && want != eventpb.LogTemplate_LOG_TEMPLATE_MESSAGE_EXCEPTION {
				t.Errorf("%q is taken to be about peer %d", line, id)
			}
			if known.GetMessageType() != short {
				t.Errorf("%q: message type %q, want %q", line, known.GetMessageType(), short)
			}
		}
	}
}

// TestStrictness: a message that only looks like one of the table is none.
func TestStrictness(t *testing.T) {
	for _, line := range []string{
		"[net] Misbehaving: peer=", "[net] Misbehaving: peer=x", "[net] Misbehaving: peer=-1", "[net] Misbehaving: peer=99999999999999999999",
		"[net] Stall started peer=3 ", "[net] Stall started peer=3x", "[net]  Stall started peer=3", "[net] xStall started peer=3",
		"[net] connection from  dropped (banned)", "[net] connection from a b dropped (banned)", "[net] connection from <script> dropped (banned)",
		"[net] Header error: Size too large (thirteenbytes, 9 bytes), peer=3", "[net] Header error: Size too large (a, 99999999999999999999 bytes), peer=3",
		"Saw new header hash=" + h1[:63] + " height=2", "Saw new header hash=" + h1 + "0 height=2", "Saw new header hash=" + strings.ToUpper(h1) + " height=2",
		"Saw new header hash=" + h1 + " height=99999999999",
		"[net] ping timeout: s, disconnecting peer=4", "[net] ping timeout: 1e9s, disconnecting peer=4", "[net] ping timeout: NaNs, disconnecting peer=4x",
		"[validation] BlockConnected: block hash=" + h1 + " block height=-1", "[validation] BlockConnected: block hash=" + h1,
		"UpdateTip: new best=" + h1 + " height=0 version=0x00000001 log2_work=1 tx=1 date='yesterday' progress=1 cache=0.5MiB(0txo)",
		"Shutdown done\n", "x", "", "[net] ",
	} {
		e := parse(t, stamp+line)[0]
		if k := e.GetKnownLogMessage(); k != nil && k.GetTemplate() != eventpb.LogTemplate_LOG_TEMPLATE_DISCONNECTED {
			t.Errorf("%q is taken for %v", line, k)
		}
		if e.GetBlockConnectedLog() != nil {
			t.Errorf("%q is taken for %v", line, e)
		}
	}
}

// FuzzLines feeds the parser any file: no panic, no byte unaccounted for, and every
// event can be sent.
func FuzzLines(f *testing.F) {
	for _, fixture := range fixtures() {
		f.Add([]byte(stamp + fixture.line + "\n"))
	}
	f.Add([]byte("[*] 2025-10-17T23:52:01Z (mocktime: 2030-01-01T00:00:00Z) [http.01] [a.cpp:1] [f] [net:error] x\nmore\n\n\n\n\n\nx"))
	m, err := newMatcher()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		p := newParserWith(m)
		s := &splitter{limit: minLine, line: p.line}
		for len(file) > 0 {
			n := min(len(file), 100)
			s.feed(file[:n])
			file = file[n:]
		}
		s.finish()
		p.flush()
		for _, e := range p.entries {
			if _, err := proto.Marshal(e); err != nil {
				t.Fatalf("%v: %v", e, err)
			}
			if e.GetLogEvent() == nil || e.LogTimestamp == nil || e.Category == nil || e.LogLevel == nil || e.Threadname == nil || e.LogLineBytes == nil {
				t.Fatalf("an event that lacks what older readers require: %v", e)
			}
			if known := e.GetKnownLogMessage(); known != nil && known.RawMessage == nil {
				t.Fatalf("an event without its message: %v", e)
			}
			if e.GetLogLineBytes() == 0 {
				t.Fatalf("an event of nothing: %v", e)
			}
		}
	})
}

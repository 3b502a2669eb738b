package log

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// debugNetLog is a log as -debug=1 gives it: nine lines of ten are of messages, whose
// meaning the tracepoints tell.
func debugNetLog(lines int) []byte {
	known := fixtures()
	common := []string{
		"[net] received: inv (%d bytes) peer=17", "[net] got inv: wtx " + h1 + " have peer=%d", "[net] sending getdata (%d bytes) peer=17",
		"[net] received: tx (%d bytes) peer=17", "[net] Requesting wtx " + h1 + " peer=%d", "[validation] TransactionAddedToMempool: txid=" + h1 + " wtxid=" + h2,
		"[validation] Enqueuing TransactionAddedToMempool: txid=" + h1 + " wtxid=" + h2, "[net] sending inv (%d bytes) peer=17", "[rpc] ThreadRPCServer method=getpeerinfo user=__cookie__",
	}
	var b strings.Builder
	for i := range lines {
		line := common[i%len(common)]
		if strings.Contains(line, "%d") {
			line = fmt.Sprintf(line, i%1000)
		}
		if i%10 == 9 {
			line = known[i/10%len(known)].line
		}
		b.WriteString(stamp + line + "\n")
	}
	return []byte(b.String())
}

const benchLines = 10_000

// BenchmarkLines takes bytes of the file to encoded events on the stream.
func BenchmarkLines(b *testing.B) {
	file := debugNetLog(benchLines)
	ledger := event.NewLedger()
	emitter := event.NewEmitter(event.SourceLog, event.Origin{NodeName: "bench"}, event.NewStream(), ledger)
	p := newParser(b)
	p.emit = func(e *eventpb.LogExtractor) {
		emitter.Emit(&eventpb.Event{PeerObserverEvent: &eventpb.Event_LogExtractor{LogExtractor: e}}, event.Times{})
	}
	s := &splitter{limit: DefaultMaxLine, line: p.line}
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		s.feed(file)
	}
	b.ReportMetric(float64(b.N)*benchLines/b.Elapsed().Seconds(), "lines/s")
}

// BenchmarkMatch is the matching alone.
func BenchmarkMatch(b *testing.B) {
	messages := benchMessages()
	m, err := newMatcher()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		for _, message := range messages {
			m.find(message, eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_NET)
		}
	}
	b.ReportMetric(float64(b.N)*float64(len(messages))/b.Elapsed().Seconds(), "lines/s")
}

// BenchmarkMatchRegexps is what BenchmarkMatch is held against: the same table as
// regular expressions, tried one after the other.
func BenchmarkMatchRegexps(b *testing.B) {
	messages := benchMessages()
	var table []*regexp.Regexp
	for _, t := range templates() {
		table = append(table, asRegexp(b, t.pattern))
	}
	for b.Loop() {
		for _, message := range messages {
			for _, r := range table {
				if r.FindStringSubmatch(message) != nil {
					break
				}
			}
		}
	}
	b.ReportMetric(float64(b.N)*float64(len(messages))/b.Elapsed().Seconds(), "lines/s")
}

func benchMessages() []string {
	var messages []string
	p := newPrefixParser()
	for line := range strings.Lines(string(debugNetLog(1000))) {
		messages = append(messages, p.parse(strings.TrimSuffix(line, "\n")).message)
	}
	return messages
}

// asRegexp makes a regular expression of a pattern.
func asRegexp(t testing.TB, text string) *regexp.Regexp {
	t.Helper()
	p, err := compile(text)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("^")
	for _, part := range p.tokens {
		switch part.kind {
		case kindLiteral:
			b.WriteString(regexp.QuoteMeta(part.literal))
		case kindOptional:
			b.WriteString("(?:" + regexp.QuoteMeta(part.literal) + ")?")
		case kindSpaces:
			b.WriteString(" +")
		case kindHash, kindHash2, kindTxid, kindWtxid:
			b.WriteString("([0-9a-f]{64})")
		case kindHex, kindHexReason:
			b.WriteString("([0-9a-f]+)")
		case kindText, kindSkip, kindType:
			b.WriteString("(.*?)")
		case kindAddr, kindAddr2:
			b.WriteString(`([^ ,]+?)`)
		case kindLogPeer:
			b.WriteString(`peer=(\d+)(?:,? peeraddr=([^ ,]+?))?`)
		case kindDate:
			b.WriteString(`(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)`)
		case kindWord, kindConnection, kindTransport:
			b.WriteString(`([\w-]+)`)
		default:
			b.WriteString(`([+-]?\d+(?:\.\d+)?)`)
		}
	}
	b.WriteString("$")
	return regexp.MustCompile(b.String())
}

// TestPatternsAgreeWithRegularExpressions holds the matcher against the same table in
// another notation: on every fixture, and on every fixture cut or changed anywhere,
// both say whether it is one of the table. The parts of patterns are narrower than
// these expressions, so only the one direction is asked for damaged lines.
func TestPatternsAgreeWithRegularExpressions(t *testing.T) {
	m, err := newMatcher()
	if err != nil {
		t.Fatal(err)
	}
	var table []*regexp.Regexp
	for _, template := range templates() {
		table = append(table, asRegexp(t, template.pattern))
	}
	matches := func(message string) bool {
		for _, r := range table {
			if r.MatchString(message) {
				return true
			}
		}
		return false
	}
	for _, f := range fixtures() {
		message := newPrefixParser().parse(stamp + f.line).message
		if !matches(message) && m.find(message, eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_RPC) != nil {
			t.Errorf("%q: only the matcher knows it", message)
		}
		for cut := 0; cut < len(message); cut += 7 {
			for _, damaged := range []string{message[:cut], message[cut:], message[:cut] + "\x00" + message[cut+1:]} {
				// Of category rpc, so that the words of every disconnection don't count.
				if known := m.find(damaged, eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_RPC); known != nil && !matches(damaged) {
					t.Errorf("%q: only the matcher takes it, for %v", damaged, known)
				}
			}
		}
	}
}

// TestAllocationsOfAnUnknownLine: most lines of a busy log are unknown.
func TestAllocationsOfAnUnknownLine(t *testing.T) {
	p := newParser(t)
	var buffer []byte
	p.emit = func(e *eventpb.LogExtractor) {
		buffer, _ = proto.MarshalOptions{}.MarshalAppend(buffer[:0], e)
	}
	line := []byte(stamp + "[net] received: inv (37 bytes) peer=17")
	allocations := testing.AllocsPerRun(1000, func() {
		p.line(line, 0)
	})
	if allocations > 16 {
		t.Errorf("%v allocations a line", allocations)
	}
}

package otlp

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/peerobserver/peerobserver/agent/extractor/ebpf"
	"github.com/peerobserver/peerobserver/exporters/otlp/trace"
	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/proto/event"
)

var update = flag.Bool("update", false, "write the recorded trace and its picture anew")

// recorded is one block's trace, as it came from a collector.
const recorded = "testdata/block_trace.json"

// Three real nodes, each with its own tracepoints and exporter, send to one independent
// collector: one block is one trace, with spans of every node and all phases.
func TestBlockCrossesRealNodes(t *testing.T) {
	first := regtest.WithTracepoints(t, regtest.Config{V2: true})
	nodes := []*regtest.Node{first}
	for range 2 {
		n := regtest.WithTracepoints(t, regtest.Config{V2: true})
		if err := n.Connect(t.Context(), nodes[len(nodes)-1]); err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
	}
	// Coins, and an end to initial block download.
	if err := first.Fund(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	if err := regtest.SyncBlocks(t.Context(), nodes...); err != nil {
		t.Fatal(err)
	}

	sink := startOwnSink(t)
	collector := startRotel(t, sink)
	ask(t, "grpc", collector.grpcAddress, "OTEL_METRICS_EXPORTER", "none")
	var ends []func()
	for i, n := range nodes {
		ends = append(ends, traceNode(t, n, []string{"alice", "bob", "carol"}[i]))
	}
	if _, err := first.SendTransactions(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	if err := regtest.SyncMempools(t.Context(), nodes...); err != nil {
		t.Fatal(err)
	}
	// A peer that comes, shakes hands and goes.
	if err := nodes[2].Connect(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if err := nodes[2].Disconnect(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the connection", func() error {
		if peers, err := first.Peers(t.Context()); err != nil || len(peers) != 1 {
			return notYet("%d peers, %v", len(peers), err)
		}
		return nil
	})
	// A block with a transaction that the others haven't got, so that they have to ask
	// for it.
	hidden, err := first.NewTransactions(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	var raw bytes.Buffer
	if err := hidden[0].Serialize(&raw); err != nil {
		t.Fatal(err)
	}
	var mined struct{ Hash string }
	if err := first.Call(t.Context(), "generateblock", []any{"raw(51)", []string{hex.EncodeToString(raw.Bytes())}}, &mined); err != nil {
		t.Fatal(err)
	}
	if err := regtest.SyncBlocks(t.Context(), nodes...); err != nil {
		t.Fatal(err)
	}
	// The tracepoint that a node hits last is its announcement to the next one, which
	// has the block by now. What is still open is exported at the end.
	for _, end := range ends {
		end()
	}
	hash, err := hex.DecodeString(mined.Hash)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(hash)
	id := event.BlockTraceID(hash)
	var spans []*tracepb.ResourceSpans
	eventually(t, "the trace", func() error {
		_, received := sink.received()
		spans = ofTrace(received, id[:])
		names := phases(spans)
		for _, want := range []string{"alice: block", "alice: validation", "bob: block", "bob: validation", "carol: block", "carol: validation"} {
			if !slices.Contains(names, want) {
				return notYet("no %s in %q", want, names)
			}
		}
		return nil
	})
	names := phases(spans)
	t.Logf("spans of block %s: %q", mined.Hash, names)
	// Every node that got the block was told of it, asked or was sent it, and put it
	// together; the one in the middle told the next.
	for _, node := range []string{"bob", "carol"} {
		for _, want := range []string{": block/announcement", ": request", ": reconstruction"} {
			if !slices.Contains(names, node+want) {
				t.Errorf("no %s%s", node, want)
			}
		}
	}
	for _, node := range []string{"alice", "bob"} {
		if !slices.ContainsFunc(names, func(s string) bool { return strings.HasPrefix(s, node) && strings.HasSuffix(s, "/relay") }) {
			t.Errorf("%s announced nothing", node)
		}
	}
	_, all := sink.received()
	kinds := phases(all)
	for _, want := range []string{"bob: transaction", "bob: acceptance"} {
		if !slices.Contains(kinds, want) {
			t.Errorf("no %s among %q", want, kinds)
		}
	}
	testSession(t, all)
	if *update {
		write(t, recorded, []byte(protojson.Format(&collectortrace.ExportTraceServiceRequest{ResourceSpans: anonymous(spans)})))
	}
}

// testSession looks for alice's trace of the peer that came and went, from its connection
// over the handshake to its end.
func testSession(t *testing.T, all []*tracepb.ResourceSpans) {
	t.Helper()
	spans, session := map[string][]*tracepb.Span{}, (*tracepb.Span)(nil)
	for _, r := range all {
		for _, scope := range r.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				spans[string(s.GetTraceId())] = append(spans[string(s.GetTraceId())], s)
				attributes := attributesOf(s.GetAttributes())
				if s.GetName() == "peer session" && attributes["peerobserver.node.name"] == "alice" && attributes["peerobserver.trace.end"] == "closed" {
					session = s
				}
			}
		}
	}
	if session == nil {
		t.Error("no session of a peer of alice that was closed")
		return
	}
	attributes := attributesOf(session.GetAttributes())
	if missing := attributes["peerobserver.trace.missing"]; missing != "" || attributes["bitcoin.peer.direction"] != "inbound" {
		t.Errorf("the session misses %q: %v", missing, attributes)
	}
	i := slices.IndexFunc(spans[string(session.GetTraceId())], func(s *tracepb.Span) bool { return s.GetName() == "handshake" })
	if i < 0 {
		t.Error("the session has no handshake")
		return
	}
	handshake := spans[string(session.GetTraceId())][i]
	if !bytes.Equal(handshake.GetParentSpanId(), session.GetSpanId()) || handshake.GetStartTimeUnixNano() != session.GetStartTimeUnixNano() ||
		handshake.GetEndTimeUnixNano() > session.GetEndTimeUnixNano() {
		t.Errorf("the handshake %v isn't at the beginning of the session %v", handshake, session)
	}
	var events []string
	for _, e := range session.GetEvents() {
		events = append(events, e.GetName())
	}
	t.Logf("a session of %v with %q", time.Duration(session.GetEndTimeUnixNano()-session.GetStartTimeUnixNano()), events)
}

// anonymous takes out what says where the recording was made.
func anonymous(spans []*tracepb.ResourceSpans) []*tracepb.ResourceSpans {
	for _, r := range spans {
		r.GetResource().Attributes = slices.DeleteFunc(r.GetResource().GetAttributes(), func(a *keyValue) bool { return a.GetKey() == "host.name" || a.GetKey() == "host.id" })
	}
	return spans
}

func traceNode(t *testing.T, n *regtest.Node, name string) (end func()) {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(testWriter{t}, nil))
	ledger := event.NewLedger()
	own := prometheus.NewPedanticRegistry()
	x, err := New(t.Context(), Config{
		NodeName: name, Gatherer: own, Registerer: own,
		Traces: trace.Config{Blocks: true, Transactions: 1, Peers: 1},
	}, ledger, logger)
	if err != nil {
		t.Fatal(err)
	}
	emitter := event.NewEmitter(event.SourceEBPF, event.Origin{NodeName: name, BootID: 1}, event.NewStream(x), ledger)
	extractor := ebpf.New(ebpf.Config{
		Node: func() ebpf.Node { return ebpf.Node{PID: n.PID(), Executable: n.Binary()} },
	}, emitter, ledger, logger)
	stopExporter := run(t, x)
	stopExtractor := runExtractor(t, extractor)
	eventually(t, "the tracepoints of "+name, func() error {
		if up, detail := emitter.Account().State(); !up {
			return notYet("%s", detail)
		}
		return nil
	})
	return func() {
		stopExtractor()
		stopExporter()
		if lost := ledger.Loss(event.SourceEBPF, event.StageQueue, trace.ReasonQueueFull).Value(); lost != 0 {
			t.Errorf("%s lost %d events", name, lost)
		}
	}
}

// ofTrace gives the spans of one trace.
func ofTrace(all []*tracepb.ResourceSpans, id []byte) []*tracepb.ResourceSpans {
	var found []*tracepb.ResourceSpans
	for _, r := range all {
		of := &tracepb.ResourceSpans{Resource: r.GetResource()}
		scope := new(tracepb.ScopeSpans)
		for _, s := range r.GetScopeSpans() {
			for _, span := range s.GetSpans() {
				if string(span.GetTraceId()) == string(id) {
					scope.Spans = append(scope.Spans, span)
				}
			}
		}
		if len(scope.GetSpans()) > 0 {
			of.ScopeSpans = append(of.ScopeSpans, scope)
			found = append(found, of)
		}
	}
	return found
}

// phases lists "node: span" and "node: span/event".
func phases(all []*tracepb.ResourceSpans) []string {
	set := map[string]bool{}
	for _, r := range all {
		node := attributesOf(r.GetResource().GetAttributes())["peerobserver.node.name"]
		for _, scope := range r.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				set[node+": "+span.GetName()] = true
				for _, e := range span.GetEvents() {
					set[node+": "+span.GetName()+"/"+e.GetName()] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(set))
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// The picture in the documentation is drawn from a recorded trace.
func TestPictureOfBlockTrace(t *testing.T) {
	const picture = "../../docs/images/block-trace.svg"
	text, err := os.ReadFile(recorded)
	if err != nil {
		t.Fatalf("%v: record it with -update and a node with tracepoints", err)
	}
	request := new(collectortrace.ExportTraceServiceRequest)
	if err := protojson.Unmarshal(text, request); err != nil {
		t.Fatal(err)
	}
	svg := drawTrace(request.GetResourceSpans())
	if *update {
		write(t, picture, []byte(svg))
	}
	committed, err := os.ReadFile(picture)
	if err != nil {
		t.Fatal(err)
	}
	if string(committed) != svg {
		t.Errorf("%s isn't what is drawn from %s: run the test with -update", picture, recorded)
	}
}

// row is one line of the picture.
type row struct {
	node string
	span *tracepb.Span
}

// drawTrace draws the spans of a trace as a waterfall.
func drawTrace(all []*tracepb.ResourceSpans) string {
	var rows []row
	for _, r := range all {
		for _, scope := range r.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				rows = append(rows, row{attributesOf(s.GetAttributes())["peerobserver.node.name"], s})
			}
		}
	}
	slices.SortFunc(rows, func(a, b row) int {
		if c := strings.Compare(a.node, b.node); c != 0 {
			return c
		}
		if a.span.GetStartTimeUnixNano() != b.span.GetStartTimeUnixNano() {
			return int(a.span.GetStartTimeUnixNano()) - int(b.span.GetStartTimeUnixNano())
		}
		return int(b.span.GetEndTimeUnixNano()) - int(a.span.GetEndTimeUnixNano())
	})
	from, to := rows[0].span.GetStartTimeUnixNano(), rows[0].span.GetEndTimeUnixNano()
	for _, r := range rows {
		from, to = min(from, r.span.GetStartTimeUnixNano()), max(to, r.span.GetEndTimeUnixNano())
	}
	const left, width, line, top = 230, 760, 26, 64
	x := func(at uint64) float64 { return left + float64(at-from)/float64(max(to-from, 1))*width }
	colours := map[string]string{
		"block": "#9aa5b1", "delivery": "#2f6fb0", "request": "#5aa0d8", "reconstruction": "#7b52ab",
		"validation": "#2e8b57", "relay": "#d9822b", "serving": "#b8632e",
	}
	var out strings.Builder
	height := top + len(rows)*line + 44
	fmt.Fprintf(&out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1120\" height=\"%d\" font-family=\"sans-serif\" font-size=\"12\">\n", height)
	fmt.Fprintf(&out, "<rect width=\"1120\" height=\"%d\" fill=\"#ffffff\"/>\n", height)
	fmt.Fprintf(&out, "<text x=\"12\" y=\"24\" font-size=\"15\" font-weight=\"bold\">One block crossing three regtest nodes: trace %s</text>\n", hex.EncodeToString(rows[0].span.GetTraceId()))
	for i := range 6 {
		at := from + (to-from)*uint64(i)/5
		fmt.Fprintf(&out, "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"#e1e5ea\"/><text x=\"%.1f\" y=\"%d\" fill=\"#52606d\" text-anchor=\"middle\">%s</text>\n",
			x(at), top-8, x(at), height-30, x(at), top-14, duration(at-from))
	}
	for i, r := range rows {
		y, s := top+i*line, r.span
		weight, indent := "normal", 80
		if len(s.GetParentSpanId()) == 0 {
			weight, indent = "bold", 12
		}
		label := s.GetName()
		if peer, ok := attributesOf(s.GetAttributes())["bitcoin.peer.id"]; ok {
			label += " (peer " + peer + ")"
		}
		if weight == "bold" {
			label = r.node + ": " + label
		}
		fmt.Fprintf(&out, "<text x=\"%d\" y=\"%d\" font-weight=\"%s\">%s</text>\n", indent, y+15, weight, label)
		start, end := x(s.GetStartTimeUnixNano()), x(s.GetEndTimeUnixNano())
		fmt.Fprintf(&out, "<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"16\" rx=\"2\" fill=\"%s\"/>\n", start, y+3, max(end-start, 2), colours[s.GetName()])
		fmt.Fprintf(&out, "<text x=\"%.1f\" y=\"%d\" fill=\"#52606d\">%s</text>\n", end+6, y+15, duration(s.GetEndTimeUnixNano()-s.GetStartTimeUnixNano()))
		for _, e := range s.GetEvents() {
			fmt.Fprintf(&out, "<circle cx=\"%.1f\" cy=\"%d\" r=\"4\" fill=\"%s\" stroke=\"#ffffff\"/>\n", x(e.GetTimeUnixNano()), y+11, eventColour(e.GetName()))
		}
	}
	out.WriteString(legend(height - 10))
	out.WriteString("</svg>\n")
	return out.String()
}

func eventColour(name string) string {
	if colour, ok := map[string]string{"announcement": "#c62828", "relay": "#d9822b", "delivery": "#2f6fb0", "header": "#00838f"}[name]; ok {
		return colour
	}
	return "#333333"
}

func legend(y int) string {
	var out strings.Builder
	for i, name := range []string{"announcement", "relay", "delivery", "other"} {
		fmt.Fprintf(&out, "<circle cx=\"%d\" cy=\"%d\" r=\"4\" fill=\"%s\"/><text x=\"%d\" y=\"%d\">%s (event)</text>\n", 240+i*170, y-4, eventColour(name), 250+i*170, y, name)
	}
	return out.String()
}

func duration(ns uint64) string {
	return fmt.Sprintf("%.2f ms", float64(ns)/float64(time.Millisecond))
}

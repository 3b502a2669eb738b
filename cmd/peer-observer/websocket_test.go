package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/crypto/bcrypt"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/nats"
	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/lab/servers"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// livePages are the pages and what each shows of a node with a peer, traffic and a block.
var livePages = []struct {
	name  string
	shows []string
}{
	{"overview", []string{"Ready: every source is live.", "regtest", "ebpf", "Nothing was lost.", "Blocks", "1 in",
		"✗ 2 alerts fire, 1 alert is pending, says Prometheus", "✗ page", "PeerObserverGrave", "It is 1 of them.", "ticket", "PeerObserverSlight"}},
	{"peers", []string{"User agent", "inbound", "outbound", "manual", "/Satoshi:", "v1", "not publicly routable", "Service time", "ms\t"}},
	{"peers/0", []string{"← All peers", "Peer 0", "Services", "WITNESS", "Least ping", "inv", "of CPU) for", "most for"}},
	{"messages", []string{"→ received", "← sent", "inv"}},
	{"blocks", []string{"first seen", "connected after", "passed on", "connected to the chain in"}},
	{"transactions", []string{"added", "sat/vB", "Announced to it"}},
	{"addresses", []string{"Addresses received", "By network"}},
	{"ping", []string{"Last answer", "Median"}},
}

// The agent's live pages show a real node, wide and narrow, light and dark.
func TestLivePages(t *testing.T) {
	node := regtest.WithTracepoints(t, regtest.Config{})
	other := regtest.ForTest(t, regtest.Config{})
	if err := node.Fund(t.Context(), 40); err != nil {
		t.Fatal(err)
	}
	if err := other.Connect(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	if err := regtest.SyncBlocks(t.Context(), node, other); err != nil {
		t.Fatal(err)
	}
	o := observe(t, node, nil, "--exporter.websocket", "--extractor.rpc.interval.getpeerinfo=1s", "--extractor.p2p.ping-interval=1s",
		"--exporter.websocket.alerts-url="+firing(t))
	o.ready()
	ctx, cancel := context.WithCancel(t.Context())
	traffic := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if _, err := node.SendTransactions(ctx, 1); err != nil && ctx.Err() == nil {
				traffic <- err
				return
			}
		}
		traffic <- nil
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-traffic; err != nil {
			t.Error(err)
		}
	})
	if _, err := node.Mine(ctx, 1); err != nil {
		t.Fatal(err)
	}

	b := startBrowser(t)
	for _, page := range livePages {
		b.viewport(1280, "light")
		b.open("http://" + o.web + "/live/#/" + page.name)
		b.shows(append([]string{"peer-observer", "Connected"}, page.shows...)...)
		for _, width := range []int{1280, 360} {
			for _, scheme := range []string{"light", "dark"} {
				b.viewport(width, scheme)
				b.fits(fmt.Sprintf("page %s", page.name))
				b.screenshot(fmt.Sprintf("%s-%d-%s", strings.ReplaceAll(page.name, "/", "-"), width, scheme))
			}
		}
	}
	b.content()
	text := b.text()
	if strings.Contains(text, "undefined") || strings.Contains(text, "NaN") {
		t.Errorf("the page shows a value that isn't there:\n%s", text)
	}
}

// firing gives the URL of a real Prometheus whose alerts fire or are pending.
func firing(t *testing.T) string {
	t.Helper()
	rules := filepath.Join(t.TempDir(), "test.rules.yml")
	if err := os.WriteFile(rules, []byte(`groups:
  - name: test
    rules:
      - {alert: PeerObserverSlight, expr: vector(1), labels: {severity: ticket, node: test}, annotations: {description: It is slight.}}
      - alert: PeerObserverGrave
        expr: vector(1)
        labels: {severity: page, node: test}
        annotations: {description: 'It is {{ $value }} of them.', runbook_url: 'https://example.org/runbook.md'}
      - {alert: PeerObserverSoon, expr: vector(1), for: 1h, labels: {severity: page}}
      - {alert: Watchdog, expr: vector(1)}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	p := servers.StartPrometheus(t, servers.PrometheusConfig{Binaries: servers.ForTest(t, servers.Suites()[0]), RuleFiles: []string{rules}})
	eventually(t, "the alerts to fire", func() error {
		alerts, err := p.Alerts(t.Context())
		if err == nil && len(alerts) != 4 {
			err = fmt.Errorf("alerts %+v", alerts)
		}
		return err
	})
	return p.URL()
}

// The web server's configuration holds for the pages and for the socket.
func TestLivePagesWithPassword(t *testing.T) {
	server, err := nats.NewServer(nats.ServerConfig{ListenAddress: "127.0.0.1:0"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Shutdown()
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, "basic_auth_users:\n  alice: %s\n", hash), 0o600); err != nil {
		t.Fatal(err)
	}
	web := freeAddress(t)
	start(t, nil, "websocket", "--nats.url="+server.URL(), "--web.listen-address="+web, "--web.config.file="+config)
	for _, path := range []string{"/", "/ws", "/js/main.js", "/metrics"} {
		eventually(t, path+" to be refused", func() error {
			code, _, err := get("http://" + web + path)
			if err == nil && code != http.StatusUnauthorized {
				err = fmt.Errorf("status %d", code)
			}
			return err
		})
	}
	if code, _, err := get("http://alice:secret@" + web + "/"); err != nil || code != http.StatusOK {
		t.Errorf("with the password: %d, %v", code, err)
	}
	conn, _, err := websocket.Dial(t.Context(), "ws://alice:secret@"+web+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.CloseNow()
}

// inBackground runs something until the test ends.
func inBackground(t *testing.T, runner event.Runner) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- runner.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A flood of messages, as `peer-observer websocket` shows it from NATS, leaves the page
// usable: it counts all of them, or says what it missed, and keeps only the newest.
func TestLivePagesInAFlood(t *testing.T) {
	const seconds, rate = 3, 10_000
	server, err := nats.NewServer(nats.ServerConfig{ListenAddress: "127.0.0.1:0"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Shutdown()
	web := freeAddress(t)
	start(t, nil, "websocket", "--nats.url="+server.URL(), "--web.listen-address="+web)
	eventually(t, "the page to be served", func() error {
		code, _, err := get("http://" + web + "/")
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("status %d", code)
		}
		return err
	})
	ledger := event.NewLedger()
	publisher, err := nats.NewPublisher(nats.PublisherConfig{Connection: nats.Config{InProcess: server}}, ledger, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	inBackground(t, publisher)
	stream := event.NewStream(publisher)
	origin := event.Origin{NodeName: "flooded", BootID: 1}
	observer := event.NewEmitter(event.SourceObserver, origin, stream, ledger)
	messages := event.NewEmitter(event.SourceEBPF, origin, stream, ledger)
	hostile := `<img src=x onerror="document.title='owned'">`
	emit := func(i int) {
		messages.Emit(&eventpb.Event{PeerObserverEvent: &eventpb.Event_EbpfExtractor{EbpfExtractor: &eventpb.EbpfExtractor{
			EbpfEvent: &eventpb.EbpfExtractor_Message{Message: &eventpb.MessageEvent{
				Meta: &eventpb.Metadata{PeerId: proto.Uint64(uint64(i % 100)), Addr: proto.String(hostile), Command: proto.String("ping"), Inbound: proto.Bool(true), Size: proto.Uint64(8)},
				Msg:  &eventpb.MessageEvent_Ping{Ping: &eventpb.Ping{Value: proto.Uint64(uint64(i))}},
			}},
		}}}, event.Times{Receive: time.Now().UnixNano()})
	}

	b := startBrowser(t)
	b.open("http://" + web + "/#/messages")
	b.shows("Waiting for the first event of a node")
	eventually(t, "the messages to be subscribed to", func() error {
		observer.Emit(&eventpb.Event{PeerObserverEvent: &eventpb.Event_Observer{Observer: &eventpb.Observer{
			ObserverEvent: &eventpb.Observer_Status{Status: &eventpb.Status{Version: proto.String("test")}},
		}}}, event.Times{})
		emit(0)
		if text := b.text(); !strings.Contains(text, "nonce 0") {
			return fmt.Errorf("no message in:\n%s", text)
		}
		return nil
	})
	emit(424242)
	b.shows("nonce 424242")
	before := seenInPage(b)
	b.evaluate(`globalThis.longest = 0; { let last = performance.now(); const frame = (now) => { longest = Math.max(longest, now - last); last = now; requestAnimationFrame(frame); }; requestAnimationFrame(frame); } 0`, nil)
	begun := time.Now()
	for batch := range seconds * 100 {
		for i := range rate / 100 {
			emit(1 + batch*rate/100 + i)
		}
		// The next hundredth of a second.
		timer := time.NewTimer(time.Until(begun.Add(time.Duration(batch+1) * 10 * time.Millisecond)))
		<-timer.C
	}
	took := time.Since(begun)
	var longest float64
	eventually(t, "the page to have counted the flood", func() error {
		if seen := seenInPage(b); seen != before+seconds*rate {
			return fmt.Errorf("%d messages shown or missed, want %d", seen, before+seconds*rate)
		}
		return nil
	})
	b.evaluate("longest", &longest)
	t.Logf("%d messages in %v; the longest time between two animation frames was %.0f ms", seconds*rate, took.Round(time.Millisecond), longest)
	var rows int
	b.evaluate("document.querySelectorAll('tbody tr').length", &rows)
	if rows == 0 || rows > 200 {
		t.Errorf("%d rows are kept", rows)
	}
	// The newest is on top, text of peers is text, and the keyboard pauses.
	b.shows(hostile)
	b.call("Input.dispatchKeyEvent", map[string]any{"type": "keyDown", "key": "p", "text": "p"}, nil)
	b.shows("since the pause", "Go on")
	var title string
	b.evaluate("document.title", &title)
	if strings.Contains(title, "owned") {
		t.Error("text of a peer was run")
	}
	b.screenshot("flood")
	b.content()
}

// seenInPage is how many messages the page has counted, or says that it missed.
func seenInPage(b *browser) int {
	b.t.Helper()
	var counts []int
	b.evaluate(`(() => {
		const count = (pattern) => Number((document.body.innerText.match(pattern)?.[1] ?? "0").replaceAll(",", ""));
		return [count(/([\d,]+) messages?[,.]/), count(/([\d,]+) events were too many/)];
	})()`, &counts)
	return counts[0] + counts[1]
}

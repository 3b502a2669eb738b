package websocket_test

import (
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ws "github.com/coder/websocket"

	"github.com/peerobserver/peerobserver/exporters/websocket"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// everything emits one event of each sort, for two nodes, and at last a marker that every
// subscription of the tests below with the source log or without a filter gets.
func everything(r *rig) {
	for _, node := range []string{"one", "two"} {
		ebpf := r.emitter(event.SourceEBPF, node)
		for _, e := range []*eventpb.Event{
			message("ping", true, 1), message("pong", false, 1), message("inv", true, 22), connection(1), connection(22), rejected(), blockConnected(7),
		} {
			ebpf.Emit(e, event.Times{})
		}
		r.emitter(event.SourceRPC, node).Emit(uptime(5), event.Times{})
		r.emitter(event.SourceP2P, node).Emit(pingDuration(), event.Times{})
		r.emitter(event.SourceLog, node).Emit(logLine("line"), event.Times{})
		r.emitter(event.SourceObserver, node).Emit(status(), event.Times{})
	}
	r.emitter(event.SourceLog, "marker").Emit(logLine("end"), event.Times{})
}

// Each subscription lets through what it says and nothing else.
func TestSubscriptions(t *testing.T) {
	for _, test := range []struct {
		name, subscription string
		// want are the events of node one, and of two in the same order unless a filter
		// has nodes.
		want  []string
		nodes []string
	}{
		{"nothing", `{}`, nil, nil},
		{"messages", `{"ebpf":{"messages":true}}`, []string{"message", "message", "message"}, nil},
		{"as the pages of the existing tool do", `{"ebpf":{"messages":true},"rpc":true}`, []string{"message", "message", "message", "rpc"}, nil},
		{"all switches", `{"ebpf":{"messages":true,"mempool":true,"validation":true,"connections":true,"addrman":true},"p2p":true,"log":true,"rpc":true,"observer":true}`,
			[]string{"message", "message", "message", "connection", "connection", "mempool", "validation", "rpc", "p2p", "log", "observer"}, nil},
		{"a source", `{"filters":[{"sources":["rpc","p2p"]}]}`, []string{"rpc", "p2p"}, nil},
		{"an event", `{"filters":[{"events":["mempool.rejected"]}]}`, []string{"mempool"}, nil},
		{"a message type", `{"filters":[{"messages":["ping"]}]}`, []string{"message"}, nil},
		{"a direction", `{"filters":[{"direction":"inbound"}]}`, []string{"message", "message"}, nil},
		{"a peer by id", `{"filters":[{"peers":["22"]}]}`, []string{"message", "connection"}, nil},
		{"a peer by address", `{"filters":[{"peers":["192.0.2.1"],"events":["connection"]}]}`, []string{"connection"}, nil},
		{"a node", `{"filters":[{"nodes":["two"],"events":["rpc","p2p"]}]}`, []string{"rpc", "p2p"}, []string{"two"}},
		{"either of two filters", `{"filters":[{"events":["rpc"]},{"events":["validation"]}]}`, []string{"validation", "rpc"}, nil},
		{"brief in batches", `{"brief":true,"batch":true,"filters":[{"sources":["ebpf"],"messages":["inv"]}]}`, []string{"message"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, websocket.Config{})
			// The marker ends it; notices say when it begins.
			subscription := strings.TrimSuffix(test.subscription, "}")
			if subscription != "{" {
				subscription += ","
			}
			subscription += `"notices":true`
			if strings.Contains(subscription, `"filters":[`) {
				subscription = strings.Replace(subscription, `"filters":[`, `"filters":[{"nodes":["marker"]},`, 1)
			} else {
				subscription += `,"filters":[{"nodes":["marker"]}]`
			}
			c := r.client(subscription + "}").started()
			everything(r)
			nodes := test.nodes
			if nodes == nil {
				nodes = []string{"one", "two"}
			}
			var want, got []string
			for _, node := range nodes {
				for _, what := range test.want {
					want = append(want, node+" "+what)
				}
			}
			for {
				s := c.events(1)
				for _, e := range s {
					if e.NodeName != "marker" {
						got = append(got, e.NodeName+" "+e.what())
					}
				}
				if s[len(s)-1].NodeName == "marker" {
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// A client that says nothing gets nothing, and a new subscription replaces the old one.
func TestSubscriptionIsReplaced(t *testing.T) {
	r := newRig(t, websocket.Config{})
	silent := r.client("")
	c := r.client(`{"rpc":true,"notices":true}`).started()
	r.emitter(event.SourceRPC, "n").Emit(uptime(1), event.Times{})
	if got := c.events(1)[0].what(); got != "rpc" {
		t.Errorf("got %s", got)
	}
	c.subscribe(`{"log":true,"notices":true}`)
	c.started()
	r.emitter(event.SourceRPC, "n").Emit(uptime(2), event.Times{})
	r.emitter(event.SourceLog, "n").Emit(logLine("x"), event.Times{})
	if got := c.events(1)[0].what(); got != "log" {
		t.Errorf("got %s after the new subscription", got)
	}
	silent.subscribe(`{"observer":true}`)
	done := make(chan string, 1)
	go func() {
		text, _ := silent.read()
		done <- text
	}()
	var first string
	eventually(t, "an event", func() bool {
		r.emitter(event.SourceObserver, "n").Emit(status(), event.Times{})
		select {
		case first = <-done:
			return true
		default:
			return false
		}
	})
	if got := parse(t, first).what(); got != "observer" {
		t.Errorf("the first event is %s: it came before the subscription", got)
	}
}

// A request that isn't understood ends the connection and says why.
func TestBadSubscriptions(t *testing.T) {
	r := newRig(t, websocket.Config{})
	for name, test := range map[string]struct{ request, reason string }{
		"empty":         {" ", "EOF"},
		"no JSON":       {"hello", "invalid character"},
		"unknown field": {`{"everything":true}`, "everything"},
		"wrong type":    {`{"rpc":1}`, "rpc"},
		"two values":    {`{} {}`, "more than one"},
		"unknown event": {`{"filters":[{"events":["nonsense"]}]}`, "nonsense"},
		"many filters":  {`{"filters":[` + strings.Repeat("{},", 16) + `{}]}`, "at most 16"},
		"many values":   {`{"filters":[{"messages":["x"` + strings.Repeat(`,"x"`, 64) + `]}]}`, "at most 64"},
	} {
		t.Run(name, func(t *testing.T) {
			c := r.client(test.request)
			text, err := c.read()
			if ws.CloseStatus(err) != ws.StatusPolicyViolation || !strings.Contains(err.Error(), test.reason) {
				t.Errorf("read %q, %v; want a close frame with %q", text, err, test.reason)
			}
		})
	}
	t.Run("too long", func(t *testing.T) {
		c := r.client(`{"filters":[{"peers":["` + strings.Repeat("x", 16<<10) + `"]}]}`)
		if text, err := c.read(); ws.CloseStatus(err) != ws.StatusMessageTooBig {
			t.Errorf("read %q, %v", text, err)
		}
	})
	t.Run("binary", func(t *testing.T) {
		c := r.client("")
		if err := c.conn.Write(t.Context(), ws.MessageBinary, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		if text, err := c.read(); ws.CloseStatus(err) != ws.StatusPolicyViolation {
			t.Errorf("read %q, %v", text, err)
		}
	})
	eventually(t, "all clients to be gone", func() bool { return r.sink.Clients() == 0 })
}

// Of 200 clients a tenth don't read. The others miss nothing, what those miss is counted
// to the last event, nothing is lost before the sink, and memory is bounded.
func TestSlowClientsHarmNobody(t *testing.T) {
	const (
		clients = 200
		rounds  = 10
		round   = 10
	)
	r := newRig(t, websocket.Config{ClientBuffer: 128 << 10, PingInterval: 10 * time.Minute, WriteTimeout: 10 * time.Minute})
	stream, published := r.overNATS()
	emitter := event.NewEmitter(event.SourceLog, event.Origin{NodeName: "n", BootID: 1}, stream, published)

	var stuck, healthy []*subscriber
	for i := range clients {
		r.listen.small.Store(i%10 == 9)
		c := r.client(fmt.Sprintf(`{"log":true,"notices":true,"batch":%v}`, i%10 != 0)).started()
		if i%10 == 9 {
			stuck = append(stuck, c)
		} else {
			healthy = append(healthy, c)
		}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	text := strings.Repeat("x", 8000)
	for i := range rounds {
		for range round {
			emitter.Emit(logLine(text), event.Times{})
		}
		var reading sync.WaitGroup
		for _, c := range healthy {
			reading.Go(func() {
				for n, sequence := 0, i*round; n < round; {
					frame, err := c.read()
					if err != nil {
						t.Error(err)
						return
					}
					for line := range strings.SplitSeq(frame, "\n") {
						n, sequence = n+1, sequence+1
						if !strings.Contains(line, fmt.Sprintf(`"sequence":"%d"`, sequence)) {
							t.Errorf("want event %d, got %.300s", sequence, line)
							return
						}
					}
				}
			})
		}
		reading.Wait()
		if t.Failed() {
			return
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if growth := int64(after.HeapAlloc) - int64(before.HeapAlloc); growth > 32<<20 {
		t.Errorf("memory grew by %d bytes", growth)
	}
	if r.sink.Clients() != clients {
		t.Errorf("%d clients, want %d", r.sink.Clients(), clients)
	}
	lost := uint64(0)
	for i, c := range stuck {
		got, missed := uint64(0), uint64(0)
		for got+missed < rounds*round {
			for line := range strings.SplitSeq(c.frame(), "\n") {
				if s := parse(t, line); s.Notice != nil {
					missed = s.Notice.Lost
				} else {
					got++
				}
			}
		}
		if missed == 0 || got+missed != rounds*round {
			t.Errorf("stuck client %d got %d events and missed %d of %d", i, got, missed, rounds*round)
		}
		lost += missed
	}
	if r.lost() != lost {
		t.Errorf("%d events are counted as lost, the clients were told of %d", r.lost(), lost)
	}
	for _, ledger := range []*event.Ledger{r.ledger, published} {
		for _, loss := range ledger.Status().GetLosses() {
			if loss.GetReason() != string(websocket.ReasonClientFull) && loss.GetCount() > 0 {
				t.Errorf("lost elsewhere: %v", loss)
			}
		}
	}
	t.Logf("the %d clients that didn't read missed %d events, the others none; memory grew by %d kB",
		len(stuck), lost, (int64(after.HeapAlloc)-int64(before.HeapAlloc))/1000)
}

// Pages of others may not connect, nor those whose name was made to point here.
func TestOrigins(t *testing.T) {
	r := newRig(t, websocket.Config{Origins: []string{"*.example.org", "observer.example.com:8080"}})
	own := strings.TrimPrefix(r.server.URL, "http://")
	for _, test := range []struct {
		origin, host string
		want         int
	}{
		{"", own, http.StatusSwitchingProtocols},
		{"http://" + own, own, http.StatusSwitchingProtocols},
		{"http://localhost:1", "localhost:1", http.StatusSwitchingProtocols},
		{"https://[::1]:443", "[::1]:443", http.StatusSwitchingProtocols},
		{"https://live.example.org", "live.example.org", http.StatusSwitchingProtocols},
		{"https://LIVE.example.org:9", own, http.StatusSwitchingProtocols},
		{"http://observer.example.com:8080", own, http.StatusSwitchingProtocols},
		{"http://observer.example.com", own, http.StatusForbidden},
		{"http://evil.example", own, http.StatusForbidden},
		{"http://evil.example", "evil.example", http.StatusForbidden},
		{"http://evil.example?.example.org", own, http.StatusForbidden},
		{"http://example.org", own, http.StatusForbidden},
		{"http://127.0.0.1:1", own, http.StatusForbidden},
		{"null", own, http.StatusForbidden},
		{"file://", own, http.StatusForbidden},
	} {
		header := http.Header{"Host": {test.host}}
		if test.origin != "" {
			header.Set("Origin", test.origin)
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.server.URL+"/ws", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header = header
		request.Host = test.host
		request.Header.Set("Connection", "Upgrade")
		request.Header.Set("Upgrade", "websocket")
		request.Header.Set("Sec-WebSocket-Version", "13")
		request.Header.Set("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
		response, err := r.server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != test.want {
			t.Errorf("origin %q of host %q: %d, want %d", test.origin, test.host, response.StatusCode, test.want)
		}
	}
}

// More clients than allowed are refused; one that leaves makes room.
func TestNumberOfClientsIsBounded(t *testing.T) {
	r := newRig(t, websocket.Config{MaxClients: 2})
	first := r.client("")
	r.client("")
	if _, response, err := r.dial(); err == nil || response == nil || response.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("third client: %v, %v", response, err)
	}
	if err := first.conn.Close(ws.StatusNormalClosure, ""); err != nil {
		t.Fatal(err)
	}
	eventually(t, "room", func() bool { return r.sink.Clients() == 1 })
	r.client("")
}

// A client that shows no sign of life is left.
func TestSilentClientIsLeft(t *testing.T) {
	r := newRig(t, websocket.Config{PingInterval: 20 * time.Millisecond, WriteTimeout: 100 * time.Millisecond})
	// Only reading answers pings.
	r.client("")
	eventually(t, "the client to be left", func() bool { return r.sink.Clients() == 0 })
}

// The end of the sink is told to its clients, and none is admitted afterwards.
func TestEndIsTold(t *testing.T) {
	r := newRig(t, websocket.Config{})
	c := r.client(`{"log":true,"notices":true}`).started()
	status := make(chan ws.StatusCode, 1)
	go func() {
		_, err := c.read()
		status <- ws.CloseStatus(err)
	}()
	r.stop()
	if got := <-status; got != ws.StatusGoingAway {
		t.Errorf("closed with %v", got)
	}
	if _, response, err := r.dial(); err == nil || response == nil || response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a client after the end: %v, %v", response, err)
	}
}

// Damaged events are counted and shown to nobody.
func TestDamagedEvents(t *testing.T) {
	r := newRig(t, websocket.Config{})
	c := r.client(`{"filters":[{}],"notices":true}`).started()
	r.stream.Publish(&event.Event{Header: event.Header{Source: event.SourceEBPF}, Kind: event.KindMessage, Subject: event.SubjectMessages, Data: []byte{0x0a, 0xff}})
	r.stream.Publish(&event.Event{Subject: "later", Data: nil})
	r.emitter(event.SourceLog, "n").Emit(logLine("x"), event.Times{})
	if got := c.events(1)[0].what(); got != "log" {
		t.Errorf("got %s", got)
	}
	malformed := uint64(0)
	for _, loss := range r.ledger.Status().GetLosses() {
		if loss.GetReason() == string(event.ReasonMalformed) {
			malformed += loss.GetCount()
		}
	}
	if malformed != 2 {
		t.Errorf("%d malformed events are counted, want 2", malformed)
	}
}

func TestMistakesInConfiguration(t *testing.T) {
	for _, config := range []websocket.Config{
		{ClientBuffer: 100}, {MaxClients: -1}, {Origins: []string{"http://x"}}, {Origins: []string{"["}}, {Origins: []string{""}}, {Buffer: 1},
	} {
		if _, err := websocket.New(config, event.NewLedger(), quiet()); err == nil {
			t.Errorf("%+v is taken", config)
		}
	}
}

package websocket_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ws "github.com/coder/websocket"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/nats"
	"github.com/peerobserver/peerobserver/exporters/websocket"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

const patience = 60 * time.Second

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// eventually polls until condition holds.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// run runs something until the test ends or stop is called.
func run(t testing.TB, runner event.Runner) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- runner.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// listener can make the kernel keep little for clients that don't read.
type listener struct {
	net.Listener
	small atomic.Bool
}

func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil && l.small.Load() {
		err = conn.(*net.TCPConn).SetWriteBuffer(16 << 10)
	}
	return conn, err
}

// rig is a sink with its web server, fed directly or over NATS.
type rig struct {
	t      testing.TB
	sink   *websocket.Sink
	ledger *event.Ledger
	stream *event.Stream
	server *httptest.Server
	listen *listener
	stop   func()
}

func newRig(t testing.TB, config websocket.Config) *rig {
	t.Helper()
	r := &rig{t: t, ledger: event.NewLedger()}
	var err error
	if r.sink, err = websocket.New(config, r.ledger, quiet()); err != nil {
		t.Fatal(err)
	}
	r.stream = event.NewStream(r.sink)
	r.server = httptest.NewUnstartedServer(r.sink.Pages())
	r.listen = &listener{Listener: r.server.Listener}
	r.server.Listener = r.listen
	r.server.Start()
	t.Cleanup(r.server.Close)
	r.stop = run(t, r.sink)
	return r
}

// overNATS gives a stream whose events reach the sink through a NATS server.
func (r *rig) overNATS() (*event.Stream, *event.Ledger) {
	r.t.Helper()
	server, err := nats.NewServer(nats.ServerConfig{ListenAddress: "127.0.0.1:0"}, quiet())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(server.Shutdown)
	subscriber, err := nats.NewSubscriber(nats.SubscriberConfig{Connection: nats.Config{URL: server.URL()}}, r.stream, r.ledger, quiet())
	if err != nil {
		r.t.Fatal(err)
	}
	ledger := event.NewLedger()
	publisher, err := nats.NewPublisher(nats.PublisherConfig{Connection: nats.Config{InProcess: server}}, ledger, quiet())
	if err != nil {
		r.t.Fatal(err)
	}
	run(r.t, subscriber)
	eventually(r.t, "the subscriber to be connected", func() bool {
		connected, _ := subscriber.State()
		return connected
	})
	run(r.t, publisher)
	return event.NewStream(publisher), ledger
}

func (r *rig) emitter(source event.Source, node string) *event.Emitter {
	return event.NewEmitter(source, event.Origin{NodeName: node, BootID: 1}, r.stream, event.NewLedger())
}

func (r *rig) url() string { return strings.Replace(r.server.URL, "http", "ws", 1) + "/ws" }

// lost is what clients missed.
func (r *rig) lost() (total uint64) {
	for _, loss := range r.ledger.Status().GetLosses() {
		if loss.GetReason() == string(websocket.ReasonClientFull) {
			total += loss.GetCount()
		}
	}
	return total
}

// subscriber is a client.
type subscriber struct {
	t    testing.TB
	conn *ws.Conn
}

func (r *rig) dial() (*ws.Conn, *http.Response, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true}
	return ws.Dial(ctx, r.url(), &ws.DialOptions{HTTPClient: &http.Client{Transport: transport}})
}

// client connects; subscription is sent unless it is empty.
func (r *rig) client(subscription string) *subscriber {
	r.t.Helper()
	conn, _, err := r.dial()
	if err != nil {
		r.t.Fatal(err)
	}
	conn.SetReadLimit(32 << 20)
	r.t.Cleanup(func() { _ = conn.CloseNow() })
	c := &subscriber{t: r.t, conn: conn}
	if subscription != "" {
		c.subscribe(subscription)
	}
	return c
}

func (c *subscriber) subscribe(subscription string) {
	c.t.Helper()
	if err := c.conn.Write(c.t.Context(), ws.MessageText, []byte(subscription)); err != nil {
		c.t.Fatal(err)
	}
}

// started waits for the notice that a subscription is in force.
func (c *subscriber) started() *subscriber {
	c.t.Helper()
	if f := c.frame(); f != `{"notice":{"subscribed":true}}` {
		c.t.Fatalf("the first frame is %s", f)
	}
	return c
}

func (c *subscriber) read() (string, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	_, text, err := c.conn.Read(ctx)
	return string(text), err
}

func (c *subscriber) frame() string {
	c.t.Helper()
	text, err := c.read()
	if err != nil {
		c.t.Fatal(err)
	}
	return text
}

// shown is what tests look at of an event's JSON.
type shown struct {
	Notice *struct {
		Lost       uint64 `json:"lost"`
		Subscribed bool   `json:"subscribed"`
		Retained   bool   `json:"retained"`
	} `json:"notice"`
	NodeName string `json:"node_name"`
	Sequence string `json:"sequence"`
	EBPF     *struct {
		Message *struct {
			Meta struct {
				PeerID  string `json:"peer_id"`
				Command string `json:"command"`
				Inbound bool   `json:"inbound"`
			} `json:"meta"`
		} `json:"message"`
		Connection json.RawMessage `json:"connection"`
		Mempool    json.RawMessage `json:"mempool"`
		Validation json.RawMessage `json:"validation"`
	} `json:"ebpf_extractor"`
	RPC      json.RawMessage `json:"rpc_extractor"`
	P2P      json.RawMessage `json:"p2p_extractor"`
	Log      json.RawMessage `json:"log_extractor"`
	Observer json.RawMessage `json:"observer"`
}

// what names the event.
func (s *shown) what() string {
	switch {
	case s.EBPF != nil && s.EBPF.Message != nil:
		return "message"
	case s.EBPF != nil && s.EBPF.Connection != nil:
		return "connection"
	case s.EBPF != nil && s.EBPF.Mempool != nil:
		return "mempool"
	case s.EBPF != nil && s.EBPF.Validation != nil:
		return "validation"
	case s.RPC != nil:
		return "rpc"
	case s.P2P != nil:
		return "p2p"
	case s.Log != nil:
		return "log"
	case s.Observer != nil:
		return "observer"
	default:
		return "nothing"
	}
}

func parse(t testing.TB, line string) *shown {
	t.Helper()
	s := new(shown)
	if err := json.Unmarshal([]byte(line), s); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return s
}

// events reads frames until n events were read; notices are passed over.
func (c *subscriber) events(n int) []*shown {
	c.t.Helper()
	var list []*shown
	for len(list) < n {
		for line := range strings.SplitSeq(c.frame(), "\n") {
			if s := parse(c.t, line); s.Notice == nil {
				list = append(list, s)
			}
		}
	}
	return list
}

func message(command string, inbound bool, peer uint64) *eventpb.Event {
	return ebpf(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Message{Message: &eventpb.MessageEvent{
		Meta: &eventpb.Metadata{
			PeerId: proto.Uint64(peer), Addr: proto.String(fmt.Sprintf("192.0.2.%d:8333", peer)), Command: proto.String(command),
			Inbound: proto.Bool(inbound), Size: proto.Uint64(8),
		},
		Msg: &eventpb.MessageEvent_Ping{Ping: &eventpb.Ping{Value: proto.Uint64(1)}},
	}}})
}

func ebpf(e *eventpb.EbpfExtractor) *eventpb.Event {
	return &eventpb.Event{PeerObserverEvent: &eventpb.Event_EbpfExtractor{EbpfExtractor: e}}
}

func connection(peer uint64) *eventpb.Event {
	return ebpf(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Connection{Connection: &eventpb.ConnectionEvent{
		Event: &eventpb.ConnectionEvent_Inbound{Inbound: &eventpb.InboundConnection{
			Conn: &eventpb.Connection{PeerId: proto.Uint64(peer), Addr: proto.String(fmt.Sprintf("192.0.2.%d:8333", peer))},
		}},
	}}})
}

func rejected() *eventpb.Event {
	return ebpf(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Mempool{Mempool: &eventpb.MempoolEvent{
		Event: &eventpb.MempoolEvent_Rejected{Rejected: &eventpb.Rejected{Txid: make([]byte, 32), Reason: proto.String("dust")}},
	}}})
}

func blockConnected(height int32) *eventpb.Event {
	return ebpf(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Validation{Validation: &eventpb.ValidationEvent{
		Event: &eventpb.ValidationEvent_BlockConnected{BlockConnected: &eventpb.BlockConnected{Hash: make([]byte, 32), Height: proto.Int32(height)}},
	}}})
}

func uptime(seconds uint32) *eventpb.Event {
	return &eventpb.Event{PeerObserverEvent: &eventpb.Event_RpcExtractor{RpcExtractor: &eventpb.RpcExtractor{
		RpcEvent: &eventpb.RpcExtractor_Uptime{Uptime: seconds},
	}}}
}

func pingDuration() *eventpb.Event {
	return &eventpb.Event{PeerObserverEvent: &eventpb.Event_P2PExtractor{P2PExtractor: &eventpb.P2PExtractor{
		P2PEvent: &eventpb.P2PExtractor_PingDuration{PingDuration: &eventpb.PingDuration{Duration: proto.Uint64(1e6)}},
	}}}
}

func logLine(text string) *eventpb.Event {
	return &eventpb.Event{PeerObserverEvent: &eventpb.Event_LogExtractor{LogExtractor: &eventpb.LogExtractor{
		LogEvent: &eventpb.LogExtractor_UnknownLogMessage{UnknownLogMessage: &eventpb.UnknownLogMessage{RawMessage: proto.String(text)}},
	}}}
}

func status() *eventpb.Event {
	return &eventpb.Event{PeerObserverEvent: &eventpb.Event_Observer{Observer: &eventpb.Observer{
		ObserverEvent: &eventpb.Observer_Status{Status: &eventpb.Status{Version: proto.String("test")}},
	}}}
}

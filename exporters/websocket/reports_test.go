package websocket_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/websocket"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// workTold is what tests look at of a report on service times.
type workTold struct {
	Node  string `json:"node"`
	Time  int64  `json:"time_ms"`
	Peers []struct {
		ID             string   `json:"peer_id"`
		Messages       uint64   `json:"messages"`
		Seconds        float64  `json:"seconds"`
		CPU            *float64 `json:"cpu_seconds"`
		Message        string   `json:"message"`
		MessageSeconds float64  `json:"message_seconds"`
	} `json:"peers"`
}

// busyNode is a message thread whose hits have CPU times.
type busyNode struct {
	emitter  *event.Emitter
	now, cpu time.Duration
}

// work lets the thread work for a time and then be hit by a message of a peer.
func (b *busyNode) work(d time.Duration, peer uint64, command string, inbound bool) {
	b.now, b.cpu = b.now+d, b.cpu+d
	e := message(command, inbound, peer)
	e.GetEbpfExtractor().Hit = &eventpb.TracepointHit{
		Pid: proto.Uint32(1), Tid: proto.Uint32(2), Cpu: proto.Uint32(1), ThreadCpuTimeNs: proto.Uint64(uint64(time.Second + b.cpu)),
	}
	// The start of a minute: all of it counts for the last one.
	at := time.Unix(1_700_000_040, 0).Add(b.now).UnixNano()
	b.emitter.Emit(e, event.Times{Kernel: at, Receive: at})
}

// Clients that want to know are told for whom a node works.
func TestServiceTimes(t *testing.T) {
	r := newRig(t, websocket.Config{})
	alice := &busyNode{emitter: r.emitter(event.SourceEBPF, "alice")}
	for range 3 {
		alice.work(0, 7, "inv", true)
		alice.work(4*time.Millisecond, 7, "tx", true)
		alice.work(time.Millisecond, 8, "ping", true)
		alice.work(time.Millisecond, 8, "pong", false)
	}
	(&busyNode{emitter: r.emitter(event.SourceEBPF, "bob")}).work(0, 1, "inv", true)
	// The end of the last ping.
	alice.work(0, 7, "inv", true)
	watched := r.client(`{"filters":[{"nodes":["alice"],"events":["message"]}],"notices":true}`).started()
	alice.work(0, 7, "inv", true)
	watched.events(1) // everything was delivered

	c := r.client(`{"service_times":["alice","nobody"]}`)
	var told struct {
		Work *workTold `json:"service_times"`
	}
	if err := json.Unmarshal([]byte(c.frame()), &told); err != nil {
		t.Fatal(err)
	}
	w := told.Work
	if w == nil || w.Node != "alice" || len(w.Peers) != 2 || w.Time != 1_700_000_040_018 {
		t.Fatalf("%+v", w)
	}
	for i, want := range []struct {
		id, message string
		messages    uint64
		seconds     float64
		most        float64
	}{{"7", "inv", 7, 0.015, 0.012}, {"8", "ping", 3, 0.003, 0.003}} {
		p := w.Peers[i]
		if p.ID != want.id || p.Messages != want.messages || p.Message != want.message || p.CPU == nil ||
			math.Abs(p.Seconds-want.seconds) > 1e-5 || math.Abs(*p.CPU-want.seconds) > 1e-5 || math.Abs(p.MessageSeconds-want.most) > 1e-5 {
			t.Errorf("%+v, want %+v", p, want)
		}
	}
	// Without events there are reports still, and only of what was asked for.
	if frame := c.frame(); !strings.Contains(frame, `"node":"alice"`) {
		t.Errorf("the next report is %s", frame)
	}
}

// Of reports only the newest waits for a client that doesn't read.
func TestOnlyNewestReportWaits(t *testing.T) {
	server := newAnswers(t, map[string]string{alertmanagerPath: "[]"})
	r := newRig(t, websocket.Config{Alerts: websocket.AlertsConfig{URL: server.URL, Interval: time.Millisecond}, ClientBuffer: 64 << 10})
	r.listen.small.Store(true)
	c := r.client(`{"alerts":true,"log":true,"notices":true}`)
	// As much as its buffer takes, so that it is stuck.
	log := r.emitter(event.SourceLog, "n")
	eventually(t, "the client to be stuck", func() bool {
		log.Emit(logLine(strings.Repeat("x", 8000)), event.Times{})
		return r.lost() > 0
	})
	list := `[{"labels":{"alertname":"PeerObserverNew"},"startsAt":"2026-01-31T12:00:00Z","status":{"state":"active"}}]`
	server.byPath.Store(&map[string]string{alertmanagerPath: list})
	// Another client has seen the new one thrice, so the stuck one has been given it.
	other := r.client(`{"alerts":true}`)
	for range 3 {
		other.alerts(func(a *alertsTold) bool { return len(a.Alerts) == 1 })
	}
	// What was sent before it was stuck comes first; then at most one report that was
	// about to be sent, and the newest.
	reports := 0
	for {
		frame := c.frame()
		if strings.Contains(frame, "PeerObserverNew") {
			break
		}
		if strings.Contains(frame, `{"alerts":`) {
			reports++
		}
	}
	t.Logf("%d reports before the newest", reports)
}

// Peers that nobody hears of any more are forgotten, and subscriptions are bounded.
func TestBoundsOfServiceTimes(t *testing.T) {
	r := newRig(t, websocket.Config{})
	alice := &busyNode{emitter: r.emitter(event.SourceEBPF, "alice")}
	const peers = 5000
	for peer := range uint64(peers) {
		alice.work(time.Microsecond, peer, "ping", true)
	}
	watched := r.client(`{"filters":[{"events":["message"]}],"notices":true}`).started()
	alice.work(0, 1, "ping", true)
	watched.events(1)
	var told struct {
		Work *workTold `json:"service_times"`
	}
	if err := json.Unmarshal([]byte(r.client(`{"service_times":["alice"]}`).frame()), &told); err != nil {
		t.Fatal(err)
	}
	if n := len(told.Work.Peers); n == 0 || n > 2048 {
		t.Errorf("%d peers", n)
	}
	names := make([]string, 65)
	for i := range names {
		names[i] = fmt.Sprintf(`"%d"`, i)
	}
	c := r.client(`{"service_times":[` + strings.Join(names, ",") + `]}`)
	if _, err := c.read(); err == nil || !strings.Contains(err.Error(), "at most 64") {
		t.Errorf("too many nodes: %v", err)
	}
}

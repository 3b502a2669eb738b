package evidence_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/evidence"
	"github.com/peerobserver/peerobserver/exporters/redact"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// rig is a sink with a Prometheus that answers what a test says, and metrics of its own.
type rig struct {
	t       *testing.T
	sink    *evidence.Sink
	web     *httptest.Server
	emitter *event.Emitter
	rpc     *event.Emitter
	// registry has the metrics of the sink.
	registry *prometheus.Registry

	mu        sync.Mutex
	answer    string
	code      int
	asked     int
	published []published
}

// published is an event of the sink.
type published struct {
	event.Header
	subject string
	data    []byte
}

// HandleEvent implements event.Sink: it keeps what the sink publishes.
func (r *rig) HandleEvent(e *event.Event) {
	if e.Source != event.SourceObserver {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.published = append(r.published, published{e.Header, e.Subject, slices.Clone(e.Data)})
}

// events gives what was published so far.
func (r *rig) events() []published {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.published)
}

const instance = "203.0.113.5:9789"

func newRig(t *testing.T, change func(*evidence.Config)) *rig {
	t.Helper()
	r := &rig{t: t, code: http.StatusOK, answer: `{"status":"success","data":{"alerts":[]}}`}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.asked++
		if request.URL.Path != "/api/v1/alerts" {
			t.Errorf("asked for %s", request.URL.Path)
		}
		w.WriteHeader(r.code)
		_, _ = io.WriteString(w, r.answer)
	}))
	t.Cleanup(server.Close)
	redactor, err := redact.New([]byte("sixteen bytes and more"))
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	activity := prometheus.NewGauge(prometheus.GaugeOpts{Name: "peerobserver_peer_activity_max_per_minute", Help: "x"})
	activity.Set(61)
	registry.MustRegister(activity)
	config := evidence.Config{
		URL: server.URL + "/", Instance: instance, Interval: 5 * time.Millisecond, SampleInterval: 5 * time.Millisecond, Metrics: registry, Redactor: redactor,
	}
	if change != nil {
		change(&config)
	}
	if r.sink, err = evidence.New(config, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	r.registry = prometheus.NewRegistry()
	if err := r.sink.Register(r.registry); err != nil {
		t.Fatal(err)
	}
	stream, ledger := event.NewStream(r.sink, r), event.NewLedger()
	r.sink.Publish(event.NewEmitter(event.SourceObserver, event.Origin{NodeName: "alice", BootID: 3}, stream, ledger))
	r.emitter = event.NewEmitter(event.SourceEBPF, event.Origin{}, stream, ledger)
	r.rpc = event.NewEmitter(event.SourceRPC, event.Origin{}, stream, ledger)
	r.web = httptest.NewServer(r.sink.Handler())
	t.Cleanup(r.web.Close)
	done := make(chan error, 1)
	go func() { done <- r.sink.Run(t.Context()) }()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r
}

// prometheus sets what Prometheus answers.
func (r *rig) prometheus(code int, answer string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.code, r.answer = code, answer
}

// alert is one as Prometheus has it.
func alert(id, name, instance, state, began, value string) string {
	return fmt.Sprintf(`{"labels":{"alertname":%q,"id":%q,"instance":%q,"severity":"ticket"},"annotations":{"summary":"of %s"},"state":%q,"activeAt":%q,"value":%q}`,
		name, id, instance, instance, state, began, value)
}

func (r *rig) alerts(list ...string) {
	r.prometheus(http.StatusOK, `{"status":"success","data":{"alerts":[`+strings.Join(list, ",")+`]}}`)
}

type answer struct {
	Failed           string
	Addresses        bool
	ForgottenPeers   uint64 `json:"forgotten_peers"`
	ForgottenRecords uint64 `json:"forgotten_records"`
	Records          []evidence.Record
}

// get asks the sink; text is what it answers.
func (r *rig) get(path string) (a answer, text string, code int) {
	r.t.Helper()
	response, err := http.Get(r.web.URL + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if response.StatusCode == http.StatusOK {
		if err := json.Unmarshal(body, &a); err != nil {
			r.t.Fatalf("%v: %s", err, body)
		}
	}
	return a, string(body), response.StatusCode
}

func (r *rig) eventually(what string, check func(a answer, text string) bool) answer {
	r.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		a, text, _ := r.get(evidence.Path)
		if check(a, text) {
			return a
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("waiting for %s: %s", what, text)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (r *rig) emit(x *eventpb.EbpfExtractor) {
	r.emitter.Emit(&eventpb.Event{PeerObserverEvent: &eventpb.Event_EbpfExtractor{EbpfExtractor: x}}, event.Times{Receive: time.Now().UnixNano()})
}

func (r *rig) message(id uint64, address, kind string, size uint64) {
	r.emit(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Message{Message: &eventpb.MessageEvent{Meta: &eventpb.Metadata{
		PeerId: proto.Uint64(id), Addr: proto.String(address), Command: proto.String(kind), Inbound: proto.Bool(true), Size: proto.Uint64(size),
		ConnectionType: eventpb.ConnectionType_CONNECTION_TYPE_INBOUND.Enum(),
	}}}})
}

const began = "2026-01-02T03:04:05.678Z"

// The peer that did most is on top, also when it is gone; a record ends with its alert, and
// one that never fired leaves none.
func TestRecord(t *testing.T) {
	r := newRig(t, nil)
	for range 50 {
		r.message(7, "198.51.100.7:4000", "ping", 8)
	}
	r.message(8, "198.51.100.8:4000", "ping", 8)
	r.message(9, "198.51.100.9:4000", "inv", 361)
	r.emit(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Connection{Connection: &eventpb.ConnectionEvent{Event: &eventpb.ConnectionEvent_Closed{
		Closed: &eventpb.ClosedConnection{Conn: &eventpb.Connection{
			PeerId: proto.Uint64(7), Addr: proto.String("198.51.100.7:4000"), ConnectionType: eventpb.ConnectionType_CONNECTION_TYPE_INBOUND.Enum(),
		}},
	}}}})
	b04 := func(state, value string) string {
		return alert("B04", "PeerObserverPingFlood", instance, state, began, value)
	}
	r.alerts(b04("pending", "61"), alert("B03", "Other", "192.0.2.1:9789", "firing", began, "1"), alert("not an id", "Own", instance, "firing", began, "1"))
	r.eventually("the record", func(a answer, _ string) bool { return len(a.Records) == 1 && a.Records[0].State == "pending" })
	r.alerts(b04("firing", "5e+03"), alert("B03", "PeerObserverAnnouncementFlood", instance, "pending", began, "NaN"))
	r.eventually("both", func(a answer, _ string) bool { return len(a.Records) == 2 && a.Records[1].State == "firing" })
	r.alerts(b04("firing", "70"))
	a := r.eventually("the last value, and the other record gone", func(a answer, _ string) bool { return len(a.Records) == 1 && a.Records[0].Last == 70 })
	record := a.Records[0]
	if record.First != 61 || record.Largest != 5000 || record.Measure != "received pings" || record.Ended != nil || record.Summary != "of "+instance {
		t.Errorf("the record is %+v", record)
	}
	if len(record.Values) != 1 || record.Values[0].Series != "peerobserver_peer_activity_max_per_minute" || record.Values[0].Now != 61 {
		t.Errorf("the values are %+v", record.Values)
	}
	if len(record.Peers) != 2 || record.Peers[0].ID != 7 || record.Peers[0].Measure != 50 || record.Peers[0].Address != "198.51.100.7:4000" {
		t.Fatalf("the peers are %+v", record.Peers)
	}
	top := record.Peers[0]
	if top.Closed == nil || top.Direction != "inbound" || top.ConnectionType != "inbound" || len(top.Last) != 8 || top.Last[7].Type != "ping" || top.Received["ping"] != 50 {
		t.Errorf("on top is %+v", top)
	}
	r.alerts()
	r.eventually("its end", func(a answer, _ string) bool {
		return len(a.Records) == 1 && a.Records[0].State == "ended" && a.Records[0].Ended != nil
	})
	if _, _, code := r.get(evidence.Path + "/b04"); code != http.StatusOK {
		t.Errorf("the records of a rule: %d", code)
	}
	if _, _, code := r.get(evidence.Path + "/G01"); code != http.StatusNotFound {
		t.Errorf("the records of a rule that has not fired: %d", code)
	}
}

// Without addresses there are none anywhere in the answer.
func TestPseudonyms(t *testing.T) {
	r := newRig(t, func(c *evidence.Config) { c.Addresses = evidence.AddressesNever })
	r.message(7, "198.51.100.7:4000", "ping", 8)
	r.rpc.Emit(&eventpb.Event{PeerObserverEvent: &eventpb.Event_RpcExtractor{RpcExtractor: &eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_PeerInfos{
		PeerInfos: &eventpb.PeerInfos{Infos: []*eventpb.PeerInfo{{
			Id: proto.Uint32(7), Address: proto.String("198.51.100.7:4000"), Inbound: proto.Bool(true), Subversion: proto.String("/I am 198.51.100.7:4000/"),
		}}},
	}}}}, event.Times{Receive: time.Now().UnixNano()})
	r.alerts(alert("B04", "PeerObserverPingFlood", instance, "firing", began, "61"))
	r.eventually("a record with a peer", func(a answer, text string) bool {
		for _, secret := range []string{"198.51.100", "203.0.113", "127.0.0.1"} {
			if strings.Contains(text, secret) {
				t.Fatalf("%s is in the answer: %s", secret, text)
			}
		}
		return len(a.Records) == 1 && len(a.Records[0].Peers) == 1 && strings.Contains(text, "/I am ") && !a.Addresses
	})
}

// Whatever peers and a Prometheus send, what is remembered is bounded and counted.
func TestBounded(t *testing.T) {
	r := newRig(t, nil)
	const peers = 4000
	for id := range uint64(peers) {
		r.message(id, strings.Repeat("a", int(id%300)), "ping", 8)
		r.message(id, "", strings.Repeat("x", int(id%50)), 1<<62)
	}
	var list []string
	for i := range 300 {
		list = append(list, alert("B04", fmt.Sprintf("A%d", i), instance, "firing", began, "+Inf"))
	}
	r.alerts(list...)
	a := r.eventually("records", func(a answer, _ string) bool { return len(a.Records) == 64 })
	if a.ForgottenPeers < peers-1024 || a.ForgottenRecords == 0 {
		t.Errorf("forgotten: %d peers, %d records", a.ForgottenPeers, a.ForgottenRecords)
	}
	for _, record := range a.Records {
		if len(record.Peers) > 10 {
			t.Errorf("%d peers in a record", len(record.Peers))
		}
		for _, p := range record.Peers {
			if len(p.Address) > 128 || len(p.Last) > 8 {
				t.Errorf("a peer is too large: %+v", p)
			}
		}
	}
	// Once those have ended there is room for others.
	r.alerts(alert("B03", "PeerObserverAnnouncementFlood", instance, "firing", began, "1"))
	r.eventually("another record", func(a answer, _ string) bool { return len(a.Records) == 64 && a.Records[0].ID == "B03" })
}

// A Prometheus that isn't one is reported, and what was there stays.
func TestBadAnswers(t *testing.T) {
	r := newRig(t, nil)
	r.alerts(alert("B04", "PeerObserverPingFlood", instance, "firing", began, "61"))
	r.eventually("a record", func(a answer, _ string) bool { return len(a.Records) == 1 })
	for what, bad := range map[string]struct {
		code   int
		answer string
	}{
		"404 Not Found":           {http.StatusNotFound, "x"},
		"no answer of Prometheus": {http.StatusOK, "<html>"},
		`the answer is "error`:    {http.StatusOK, `{"status":"error"}`},
		"more than":               {http.StatusOK, strings.Repeat(" ", 9<<20)},
	} {
		r.prometheus(bad.code, bad.answer)
		a := r.eventually(what, func(a answer, _ string) bool { return strings.Contains(a.Failed, what) })
		if len(a.Records) != 1 || a.Records[0].State != "firing" {
			t.Errorf("%s: the records are %+v", what, a.Records)
		}
	}
	r.alerts()
	r.eventually("its end", func(a answer, _ string) bool { return a.Failed == "" && a.Records[0].State == "ended" })
}

func TestMistakes(t *testing.T) {
	redactor, err := redact.New([]byte("sixteen bytes and more"))
	if err != nil {
		t.Fatal(err)
	}
	good := evidence.Config{URL: "https://prometheus.example:9090/x", Instance: instance, Metrics: prometheus.NewRegistry(), Redactor: redactor}
	if _, err := evidence.New(good, slog.New(slog.DiscardHandler)); err != nil {
		t.Error(err)
	}
	for what, change := range map[string]func(*evidence.Config){
		"a URL of a file":   func(c *evidence.Config) { c.URL = "file:///etc/passwd" },
		"no URL":            func(c *evidence.Config) { c.URL = "" },
		"no instance":       func(c *evidence.Config) { c.Instance = "" },
		"an odd interval":   func(c *evidence.Config) { c.Interval = -1 },
		"unknown addresses": func(c *evidence.Config) { c.Addresses = "some" },
		"no redactor":       func(c *evidence.Config) { c.Redactor = nil },
		"no metrics":        func(c *evidence.Config) { c.Metrics = nil },
	} {
		bad := good
		change(&bad)
		if _, err := evidence.New(bad, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
}

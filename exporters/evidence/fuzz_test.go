package evidence

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/redact"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// answers is a server that gives one answer to everything.
type answers struct{ body []byte }

func (a answers) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(string(a.body)))}, nil
}

// name is that of the node.
const name = "n"

// bounds is a sink for what the evidence publishes: it checks that it is small and whole.
type bounds struct {
	t *testing.T
	n int
}

func (b *bounds) HandleEvent(e *event.Event) {
	// Not what the fuzzer sends in the observer's name.
	if e.Source != event.SourceObserver || e.NodeName != name {
		return
	}
	b.n++
	if e.Kind != event.KindObserverAlertEvidence || len(e.Data) > 64<<10 {
		b.t.Errorf("%v of %d bytes", e.Kind, len(e.Data))
	}
	if err := proto.Unmarshal(e.Data, new(eventpb.Event)); err != nil {
		b.t.Error(err)
	}
}

// fuzzed is a sink whose Prometheus gives an answer, with what it publishes and an emitter
// for what it is told.
func fuzzed(t *testing.T, redactor *redact.Redactor, addresses Addresses, answer []byte) (*Sink, *bounds, *event.Stream, *event.Ledger) {
	s, err := New(Config{
		URL: "http://127.0.0.1:9090", Client: &http.Client{Transport: answers{answer}}, Instance: "i", Metrics: prometheus.NewRegistry(),
		Addresses: addresses, Redactor: redactor, Clock: func() time.Time { return time.Unix(1_800_000_000, 0) },
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	b := &bounds{t: t}
	stream, ledger := event.NewStream(s, b), event.NewLedger()
	s.Publish(event.NewEmitter(event.SourceObserver, event.Origin{NodeName: name, BootID: 1}, stream, ledger))
	return s, b, stream, ledger
}

// forFuzzing makes a redactor, which takes too long to be made each time.
func forFuzzing(f *testing.F) *redact.Redactor {
	redactor, err := redact.New([]byte("sixteen bytes and more"))
	if err != nil {
		f.Fatal(err)
	}
	return redactor
}

// question asks once, and reads what HTTP serves.
func question(t *testing.T, s *Sink) (records int) {
	list, err := s.ask(t.Context())
	s.note(list, err)
	answer := httptest.NewRecorder()
	s.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, Path, nil))
	var served struct{ Records []json.RawMessage }
	if err := json.Unmarshal(answer.Body.Bytes(), &served); err != nil || answer.Code != http.StatusOK || len(served.Records) > maxRecords {
		t.Fatalf("%d, %v, %d records: %s", answer.Code, err, len(served.Records), answer.Body)
	}
	return len(served.Records)
}

// FuzzAnswer takes any answer of a Prometheus: what is kept, served and published of it is
// bounded, and every alert is published once when it fires and once when it has ended.
func FuzzAnswer(f *testing.F) {
	f.Add(false, []byte(`{"status":"success","data":{"alerts":[{"labels":{"alertname":"A","id":"B04","instance":"i"},"state":"firing","activeAt":"2026-01-02T03:04:05Z","value":"1e+01"}]}}`))
	f.Add(true, []byte(`{"status":"success","data":{"alerts":[{"labels":{"id":"Z99","instance":"i","\u0000":"\ud800"},"annotations":{"summary":"10.0.0.1"},"state":"firing","activeAt":"0000-01-01T00:00:00+23:59","value":"NaN"},{}]}}`))
	f.Add(true, []byte(`{"status":"error"}`))
	f.Add(true, []byte(`{"status":"success","data":{"alerts":[null]}}`))
	redactor := forFuzzing(f)
	f.Fuzz(func(t *testing.T, hidden bool, answer []byte) {
		addresses := AddressesAlways
		if hidden {
			addresses = AddressesNever
		}
		s, b, stream, ledger := fuzzed(t, redactor, addresses, answer)
		event.NewEmitter(event.SourceEBPF, event.Origin{}, stream, ledger).Emit(&eventpb.Event{PeerObserverEvent: &eventpb.Event_EbpfExtractor{
			EbpfExtractor: &eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Message{Message: &eventpb.MessageEvent{Meta: &eventpb.Metadata{
				PeerId: proto.Uint64(1), Addr: proto.String("8.8.8.8:1"), Command: proto.String("ping"), Inbound: proto.Bool(true), Size: proto.Uint64(8),
			}}}},
		}}, event.Times{})
		first := question(t, s)
		fired := b.n
		if question(t, s); b.n != fired {
			t.Errorf("%d events more of the same answer", b.n-fired)
		}
		s.note(nil, nil)
		if b.n != 2*fired || fired > first {
			t.Errorf("%d alerts fired, %d records, %d events in all", fired, first, b.n)
		}
		if lost := ledger.Loss(event.SourceObserver, event.StageEmit, event.ReasonEncode).Value(); lost != 0 {
			t.Errorf("%d events could not be encoded", lost)
		}
	})
}

// FuzzEvents takes any bytes as events of the node: what is remembered of peers is bounded,
// served and published.
func FuzzEvents(f *testing.F) {
	add := func(source event.Source, e *eventpb.Event) {
		data, err := proto.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(source), data)
	}
	add(event.SourceEBPF, &eventpb.Event{PeerObserverEvent: &eventpb.Event_EbpfExtractor{EbpfExtractor: &eventpb.EbpfExtractor{
		EbpfEvent: &eventpb.EbpfExtractor_Message{Message: &eventpb.MessageEvent{Meta: &eventpb.Metadata{
			PeerId: proto.Uint64(1), Addr: proto.String("[2001:db8::1]:1"), Command: proto.String("inv"), Inbound: proto.Bool(true), Size: proto.Uint64(37),
		}}},
	}}})
	add(event.SourceEBPF, &eventpb.Event{PeerObserverEvent: &eventpb.Event_EbpfExtractor{EbpfExtractor: &eventpb.EbpfExtractor{
		EbpfEvent: &eventpb.EbpfExtractor_Connection{Connection: &eventpb.ConnectionEvent{Event: &eventpb.ConnectionEvent_Misbehaving{
			Misbehaving: &eventpb.MisbehavingConnection{Id: proto.Uint64(1), Message: proto.String("\u20ac")},
		}}},
	}}})
	add(event.SourceRPC, &eventpb.Event{PeerObserverEvent: &eventpb.Event_RpcExtractor{RpcExtractor: &eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_PeerInfos{
		PeerInfos: &eventpb.PeerInfos{Infos: []*eventpb.PeerInfo{{Id: proto.Uint32(1), Address: proto.String("8.8.8.8:1"), Subversion: proto.String("/x/")}}},
	}}}})
	// Rules that rank by everything that there is of a peer.
	var list []string
	for _, id := range []string{"A01", "B02", "B03", "B11", "C01", "C02", "C06", "F01", "G06", "Z99"} {
		list = append(list, `{"labels":{"alertname":"A","id":"`+id+`","instance":"i"},"state":"firing","activeAt":"2026-01-02T03:04:05Z","value":"1"}`)
	}
	answer := []byte(`{"status":"success","data":{"alerts":[` + strings.Join(list, ",") + `]}}`)
	redactor := forFuzzing(f)
	f.Fuzz(func(t *testing.T, source uint8, data []byte) {
		s, b, stream, ledger := fuzzed(t, redactor, AddressesLoopback, answer)
		for range 3 {
			stream.Publish(&event.Event{Header: event.Header{Source: event.Source(source)}, Data: data})
		}
		if question(t, s); b.n != len(list) {
			t.Errorf("%d events of %d alerts", b.n, len(list))
		}
		if lost := ledger.Loss(event.SourceObserver, event.StageEmit, event.ReasonEncode).Value(); lost != 0 {
			t.Errorf("%d events could not be encoded", lost)
		}
		if len(s.peers.peers) > maxPeers {
			t.Errorf("%d peers", len(s.peers.peers))
		}
	})
}

package evidence_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/archive"
	"github.com/peerobserver/peerobserver/exporters/evidence"
	"github.com/peerobserver/peerobserver/exporters/logger"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// largest bounds an event of evidence in bytes, as observer.proto promises. NATS takes
// 1 MiB by default.
const largest = 64 << 10

// evidenceOf decodes an event that was published.
func evidenceOf(t *testing.T, p published) *eventpb.AlertEvidence {
	t.Helper()
	if p.subject != "observer.alert_evidence" || p.NodeName != "alice" || p.BootID != 3 || p.Sequence == 0 || len(p.data) > largest {
		t.Errorf("published on %s with %d bytes: %+v", p.subject, len(p.data), p.Header)
	}
	var e eventpb.Event
	if err := proto.Unmarshal(p.data, &e); err != nil {
		t.Fatal(err)
	}
	m := e.GetObserver().GetAlertEvidence()
	if m == nil {
		t.Fatalf("no evidence: %v", &e)
	}
	return m
}

// asJSON writes an event as the record that HTTP serves.
func asJSON(m *eventpb.AlertEvidence) map[string]any {
	when := func(ns *int64) string { return time.Unix(0, *ns).UTC().Format(time.RFC3339Nano) }
	leaveOut := func(o map[string]any) map[string]any {
		for name, v := range o {
			if v == "" || v == false || v == 0.0 || v == nil {
				delete(o, name)
			}
		}
		return o
	}
	record := map[string]any{
		"id": m.GetId(), "alert": m.GetAlert(), "severity": m.GetSeverity(), "summary": m.GetSummary(), "began": when(m.BeganTimeNs), "noticed": when(m.NoticedTimeNs),
		"state": map[eventpb.AlertEvidence_State]string{eventpb.AlertEvidence_STATE_FIRING: "firing", eventpb.AlertEvidence_STATE_ENDED: "ended"}[m.GetState()],
		"fired": when(m.FiredTimeNs), "value_first": m.GetValueFirst(), "value_largest": m.GetValueLargest(), "value_last": m.GetValueLast(), "peers_by": m.GetPeersBy(),
	}
	if m.EndedTimeNs != nil {
		record["ended"] = when(m.EndedTimeNs)
	}
	if m.RunbookUrl != nil {
		record["runbook_url"] = m.GetRunbookUrl()
	}
	labels := map[string]any{}
	for name, v := range m.GetLabels() {
		labels[name] = v
	}
	record["labels"] = labels
	var values []any
	for _, v := range m.GetValues() {
		value := map[string]any{"series": v.GetSeries(), "now": v.GetNow(), "usual": v.GetUsual(), "samples": float64(v.GetSamples())}
		if v.GetPerSecond() {
			value["per_second"] = true
		}
		values = append(values, value)
	}
	record["values"] = values
	var peers []any
	for _, p := range m.GetPeers() {
		direction := "outbound"
		if p.GetInbound() {
			direction = "inbound"
		}
		kind := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(p.GetConnectionType().String(), "CONNECTION_TYPE_")), "_", "-")
		received := map[string]any{}
		for name, n := range p.GetReceivedMessages() {
			received[name] = float64(n)
		}
		var last []any
		for _, l := range p.GetLastMessages() {
			last = append(last, map[string]any{"time": when(l.TimeNs), "type": l.GetType(), "received": l.GetInbound(), "bytes": float64(l.GetSize())})
		}
		i := p.GetInfo()
		peer := map[string]any{
			"peer_id": float64(p.GetPeerId()), "address": p.GetAddress(), "direction": direction, "connection_type": kind, "measure": p.GetMeasure(),
			"received_messages": received, "last_messages": last, "getpeerinfo": leaveOut(map[string]any{
				"user_agent": i.GetUserAgent(), "network": i.GetNetwork(), "mapped_as": float64(i.GetMappedAs()), "bytes_received": float64(i.GetBytesReceived()),
				"bytes_sent": float64(i.GetBytesSent()), "bytes_of_unread_messages": float64(i.GetBytesOfUnreadMessages()),
				"bytes_of_unfinished_message": float64(i.GetBytesOfUnfinishedMessage()), "blocks_in_flight": float64(i.GetBlocksInFlight()),
				"time_offset_seconds": float64(i.GetTimeOffsetSeconds()), "minimum_ping_seconds": i.GetMinimumPingSeconds(),
				"addresses_rate_limited": float64(i.GetAddressesRateLimited()), "seconds_since_last_send": i.GetSecondsSinceLastSend(),
				"announcements_waiting": float64(i.GetAnnouncementsWaiting()), "connection_time": float64(i.GetConnectionTime()),
			}),
		}
		maps.Copy(peer, leaveOut(map[string]any{
			"after_firing": p.GetAfterFiring(), "misbehaviours": float64(p.GetMisbehaviours()), "misbehaviour": p.GetMisbehaviourReason(),
		}))
		if p.ClosedTimeNs != nil {
			peer["closed"] = when(p.ClosedTimeNs)
		}
		peers = append(peers, peer)
	}
	record["peers"] = peers
	return record
}

// served gives the newest record that HTTP serves, its times in UTC.
func (r *rig) served() map[string]any {
	r.t.Helper()
	_, text, code := r.get(evidence.Path)
	var answer struct{ Records []map[string]any }
	if err := json.Unmarshal([]byte(text), &answer); err != nil || code != http.StatusOK || len(answer.Records) == 0 {
		r.t.Fatalf("%d %v: %s", code, err, text)
	}
	inUTC(r.t, answer.Records[0])
	return answer.Records[0]
}

func inUTC(t *testing.T, v any) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			inUTC(t, x)
		}
	case map[string]any:
		for name, x := range v {
			if text, ok := x.(string); ok && (name == "time" || name == "began" || name == "noticed" || name == "fired" || name == "ended" || name == "closed") {
				at, err := time.Parse(time.RFC3339Nano, text)
				if err != nil {
					t.Fatal(err)
				}
				v[name] = at.UTC().Format(time.RFC3339Nano)
			}
			inUTC(t, x)
		}
	}
}

// peerInfos makes an answer of getpeerinfo with everything that a record has of it.
func (r *rig) peerInfos(id uint32, address, agent string) {
	r.rpc.Emit(&eventpb.Event{PeerObserverEvent: &eventpb.Event_RpcExtractor{RpcExtractor: &eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_PeerInfos{
		PeerInfos: &eventpb.PeerInfos{Infos: []*eventpb.PeerInfo{{
			Id: proto.Uint32(id), Address: proto.String(address), Inbound: proto.Bool(true), ConnectionType: proto.String("inbound"), Subversion: proto.String(agent),
			Network: proto.String("ipv4"), MappedAs: proto.Uint32(1), BytesReceived: proto.Uint64(500), BytesSent: proto.Uint64(3),
			BytesReceivedPerMessage: map[string]uint64{"*other*": 4, "ping": 6}, Inflight: []uint64{1, 2}, TimeOffset: proto.Int64(-5), MinimumPing: proto.Float64(0.5),
			AddrRateLimited: proto.Uint64(7), InvToSend: proto.Uint64(8), ConnectionTime: proto.Int64(9), LastSend: proto.Int64(10),
		}}},
	}}}}, event.Times{Receive: time.Now().UnixNano()})
}

// When an alert begins to fire an event is published, and when it ends another one: once
// each, with what HTTP serves. Text, JSON and archive have it too.
func TestPublished(t *testing.T) {
	r := newRig(t, func(c *evidence.Config) { c.Addresses = evidence.AddressesAlways })
	for range 3 {
		r.message(7, "198.51.100.7:4000", "ping", 8)
	}
	r.peerInfos(7, "198.51.100.7:4000", "/\xf0\x9f\xa6\x80\n/")
	r.emit(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Connection{Connection: &eventpb.ConnectionEvent{Event: &eventpb.ConnectionEvent_Misbehaving{
		Misbehaving: &eventpb.MisbehavingConnection{Id: proto.Uint64(7), Message: proto.String("too many")},
	}}}})
	r.emit(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Connection{Connection: &eventpb.ConnectionEvent{Event: &eventpb.ConnectionEvent_Closed{
		Closed: &eventpb.ClosedConnection{Conn: &eventpb.Connection{
			PeerId: proto.Uint64(7), Addr: proto.String("198.51.100.7:4000"), ConnectionType: eventpb.ConnectionType_CONNECTION_TYPE_INBOUND.Enum(),
		}},
	}}}})
	ping := func(state, value string) string {
		return alert("B04", "PeerObserverPingFlood", instance, state, began, value)
	}
	r.alerts(ping("pending", "61"))
	r.eventually("the record", func(a answer, _ string) bool { return len(a.Records) == 1 })
	if n := len(r.events()); n != 0 {
		t.Errorf("%d events of an alert that only may fire", n)
	}
	r.alerts(ping("firing", "70"))
	r.eventually("firing", func(a answer, _ string) bool { return a.Records[0].State == "firing" && len(r.events()) > 0 })
	r.alerts(ping("firing", "80"), alert("B03", "PeerObserverAnnouncementFlood", instance, "pending", began, "1"))
	r.eventually("more", func(a answer, _ string) bool { return len(a.Records) == 2 && a.Records[1].Last == 80 })
	r.alerts()
	r.eventually("its end", func(a answer, _ string) bool {
		return len(a.Records) == 1 && a.Records[0].State == "ended" && len(r.events()) > 1
	})
	// Asked once more, nothing is new.
	r.alerts(alert("B04", "Other", "192.0.2.1:9789", "firing", began, "1"))
	before := r.questions()
	r.eventually("another question", func(answer, string) bool { return r.questions() > before+1 })

	list := r.events()
	if len(list) != 2 || list[1].Sequence != list[0].Sequence+1 {
		t.Fatalf("%d events", len(list))
	}
	first, last := evidenceOf(t, list[0]), evidenceOf(t, list[1])
	if first.GetState() != eventpb.AlertEvidence_STATE_FIRING || first.EndedTimeNs != nil || first.GetValueLast() != 70 || first.GetValueFirst() != 61 || len(first.GetPeers()) != 1 {
		t.Errorf("the first is %v", first)
	}
	want := r.served()
	if got := asJSON(last); !reflect.DeepEqual(got, want) {
		t.Errorf("the last event is\n%v\nand HTTP serves\n%v", got, want)
	}
	// Nothing that the record can say of a peer is missing in what was compared.
	peer := want["peers"].([]any)[0].(map[string]any)
	if len(peer) != 11 || len(peer["getpeerinfo"].(map[string]any)) != 14 || len(want["values"].([]any)) == 0 {
		t.Errorf("the peer has %d fields, %d of getpeerinfo: %v", len(peer), len(peer["getpeerinfo"].(map[string]any)), want)
	}
	keeps(t, list)
}

// questions is how often Prometheus was asked.
func (r *rig) questions() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

// keeps checks that events are the same after an archive, and are one line of text and of
// JSON.
func keeps(t *testing.T, list []published) {
	t.Helper()
	dir, ledger := t.TempDir(), event.NewLedger()
	sink, err := archive.New(archive.Config{Dir: dir}, ledger, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- sink.Run(ctx) }()
	for _, p := range list {
		sink.HandleEvent(&event.Event{Header: p.Header, Kind: event.KindOf(p.data), Subject: p.subject, Data: p.data})
	}
	cancel() // it writes what is queued first
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.zst"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v", files, err)
	}
	reader, err := archive.Open(files[0], archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for _, p := range list {
		e, err := reader.Next()
		if err != nil || !bytes.Equal(e.Data, p.data) || e.Kind != event.KindObserverAlertEvidence || e.Subject != p.subject {
			t.Fatalf("the archive has %+v, %v", e, err)
		}
		var decoded eventpb.Event
		if err := proto.Unmarshal(e.Data, &decoded); err != nil {
			t.Fatal(err)
		}
		text := string(logger.AppendText(nil, "alice", e, &decoded))
		for _, part := range []string{" observer alert_evidence ", " id=B04 ", " alert=PeerObserverPingFlood ", "198.51.100.7:4000", " peers_by=\"received pings\" "} {
			if !strings.Contains(text, part) {
				t.Errorf("%q is not in the text: %s", part, text)
			}
		}
		line, err := logger.AppendJSON(nil, &decoded)
		if err != nil || strings.ContainsAny(text+string(line), "\n") || !bytes.Contains(line, []byte(`"alert_evidence"`)) {
			t.Errorf("JSON %s, %v; text %s", line, err, text)
		}
	}
}

// Where nobody may see addresses, events have none either.
func TestPublishedPseudonyms(t *testing.T) {
	r := newRig(t, func(c *evidence.Config) { c.Addresses = evidence.AddressesNever })
	r.message(7, "198.51.100.7:4000", "ping", 8)
	r.peerInfos(7, "198.51.100.7:4000", "/I am 198.51.100.7/")
	r.alerts(alert("B04", "PeerObserverPingFlood", instance, "firing", began, "61"))
	r.eventually("firing", func(answer, string) bool { return len(r.events()) > 0 })
	r.alerts()
	r.eventually("its end", func(a answer, _ string) bool { return len(r.events()) > 1 })
	for _, p := range r.events() {
		m := evidenceOf(t, p)
		if len(m.GetPeers()) != 1 || m.GetPeers()[0].GetAddress() == "" || !strings.HasPrefix(m.GetPeers()[0].GetInfo().GetUserAgent(), "/I am ") {
			t.Errorf("the peers are %v", m.GetPeers())
		}
		for _, secret := range []string{"198.51.100", "203.0.113"} {
			if bytes.Contains(p.data, []byte(secret)) {
				t.Errorf("%s is published: %v", secret, m)
			}
		}
	}
	if got, want := asJSON(evidenceOf(t, r.events()[1])), r.served(); !reflect.DeepEqual(got, want) {
		t.Errorf("the event is\n%v\nand HTTP serves\n%v", got, want)
	}
}

// However large everything is that strangers and Prometheus send, an event is small.
func TestPublishedIsBounded(t *testing.T) {
	r := newRig(t, nil)
	types := []string{"ping", "pong", "inv", "tx", "block", "headers", "addr", "addrv2", "getdata", "getheaders", "notfound", strings.Repeat("x", 12)}
	for id := range uint64(8) {
		address := fmt.Sprintf("%d", id) + strings.Repeat("\u20ac", 1000)
		for range 20 {
			for _, kind := range types {
				r.message(id, address, kind, 1<<60)
			}
		}
		r.peerInfos(uint32(id), address, strings.Repeat("\u20ac", 1000))
	}
	huge := strings.Repeat("\u20ac", 1000)
	var labels []string
	for i := range 40 {
		labels = append(labels, fmt.Sprintf(`"l%02d%s":%q`, i, huge, huge))
	}
	r.prometheus(http.StatusOK, fmt.Sprintf(`{"status":"success","data":{"alerts":[{"labels":{"alertname":%q,"id":"Z99","instance":%q,"severity":%q,%s},
		"annotations":{"summary":%q,"runbook_url":%q},"state":"firing","activeAt":%q,"value":"-Inf"}]}}`,
		huge, instance, huge, strings.Join(labels, ","), huge, huge, began))
	r.eventually("an event", func(answer, string) bool { return len(r.events()) == 1 })
	m := evidenceOf(t, r.events()[0])
	if len(m.GetLabels()) != 16 || len(m.GetPeers()) != 5 || len(m.GetPeers()[0].GetLastMessages()) != 8 || len(m.GetSummary()) < 900 {
		t.Errorf("the event is %v", m)
	}
	if left := r.left("label"); left != 44-16 {
		t.Errorf("%v labels are counted as left out", left)
	}
	t.Logf("%d bytes", len(r.events()[0].data))
}

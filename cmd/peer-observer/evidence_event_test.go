package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// evidenceReader is a program of somebody's that subscribes to the evidence of an agent.
type evidenceReader struct {
	mu   sync.Mutex
	list []*eventpb.AlertEvidence
	size int
}

// readEvidence subscribes to the evidence of an agent, from before it has any.
func readEvidence(t *testing.T, o *observer) *evidenceReader {
	t.Helper()
	connection, err := nats.Connect("nats://"+o.nats, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(connection.Close)
	r := new(evidenceReader)
	if _, err := connection.Subscribe("observer.alert_evidence", func(m *nats.Msg) {
		decoded := new(eventpb.Event)
		if err := proto.Unmarshal(m.Data, decoded); err != nil || event.KindOf(m.Data) != event.KindObserverAlertEvidence {
			t.Errorf("on %s: %v, %v", m.Subject, event.KindOf(m.Data), err)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.list, r.size = append(r.list, decoded.GetObserver().GetAlertEvidence()), max(r.size, len(m.Data))
	}); err != nil {
		t.Fatal(err)
	}
	return r
}

// patiently waits longer than eventually: until a Prometheus has scraped, looked at its rules
// and been asked, on a machine that is busy with a flood.
func patiently(t *testing.T, what string, check func() error) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(5 * time.Minute); ; <-tick.C {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s: %v", what, err)
		}
	}
}

// of gives what was published of a rule, in order, and the size of the largest event.
func (r *evidenceReader) of(id string) (list []*eventpb.AlertEvidence, size int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.list {
		if m.GetId() == id {
			list = append(list, m)
		}
	}
	return list, r.size
}

// ended waits until the evidence of a rule has been published twice: its alert has ended.
func (r *evidenceReader) ended(t *testing.T, id string) (first, last *eventpb.AlertEvidence) {
	t.Helper()
	var list []*eventpb.AlertEvidence
	patiently(t, "the end of the alert", func() error {
		if list, _ = r.of(id); len(list) < 2 {
			return fmt.Errorf("%d events of %s", len(list), id)
		}
		return nil
	})
	if list[0].GetState() != eventpb.AlertEvidence_STATE_FIRING || list[1].GetState() != eventpb.AlertEvidence_STATE_ENDED || len(list)%2 != 0 {
		t.Errorf("%d events of %s: %v", len(list), id, list)
	}
	if _, size := r.of(id); size == 0 || size > 64<<10 {
		t.Errorf("the largest event has %d bytes", size)
	}
	return list[0], list[1]
}

// servedEvidence gives what an agent serves of a rule and began at a time, as a page that
// can be compared.
func servedEvidence(t *testing.T, o *observer, id string, began *int64) string {
	t.Helper()
	code, body, err := get("http://" + o.web + "/alerts/evidence/" + id)
	if err != nil || code != http.StatusOK {
		t.Fatalf("%d %s %v", code, body, err)
	}
	var answer struct {
		Records []struct {
			ID, Alert, Severity, State, Summary string
			Runbook                             string `json:"runbook_url"`
			Labels                              map[string]string
			Began, Noticed, Fired, Ended        time.Time
			First                               float64 `json:"value_first"`
			Largest                             float64 `json:"value_largest"`
			Last                                float64 `json:"value_last"`
			By                                  string  `json:"peers_by"`
			Values                              []struct {
				Series     string
				PerSecond  bool `json:"per_second"`
				Now, Usual float64
				Samples    uint64
			}
			Peers []struct {
				ID        uint64 `json:"peer_id"`
				Address   string
				Direction string
				Measure   float64
				Received  map[string]uint64 `json:"received_messages"`
				Facts     struct {
					UserAgent string `json:"user_agent"`
					Received  uint64 `json:"bytes_received"`
				} `json:"getpeerinfo"`
				Last []struct {
					Time     time.Time
					Type     string
					Received bool
					Bytes    uint64
				} `json:"last_messages"`
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	for i := range answer.Records {
		r := &answer.Records[i]
		if r.Began.UnixNano() != *began {
			continue
		}
		writeLine(&page, r.ID, r.Alert, r.Severity, r.State, r.Summary, r.Runbook, r.Labels, r.Began.UnixNano(), r.Noticed.UnixNano(), r.Fired.UnixNano(), r.Ended.UnixNano(),
			r.First, r.Largest, r.Last, r.By)
		for _, v := range r.Values {
			writeLine(&page, v.Series, v.PerSecond, v.Now, v.Usual, v.Samples)
		}
		for _, p := range r.Peers {
			writeLine(&page, p.ID, p.Address, p.Direction == "inbound", p.Measure, p.Received, p.Facts.UserAgent, p.Facts.Received)
			for _, m := range p.Last {
				writeLine(&page, m.Time.UnixNano(), m.Type, m.Received, m.Bytes)
			}
		}
	}
	return page.String()
}

// publishedEvidence is an event as the same page.
func publishedEvidence(m *eventpb.AlertEvidence) string {
	var page strings.Builder
	state := strings.ToLower(strings.TrimPrefix(m.GetState().String(), "STATE_"))
	writeLine(&page, m.GetId(), m.GetAlert(), m.GetSeverity(), state, m.GetSummary(), m.GetRunbookUrl(), m.GetLabels(), m.GetBeganTimeNs(), m.GetNoticedTimeNs(), m.GetFiredTimeNs(),
		m.GetEndedTimeNs(), m.GetValueFirst(), m.GetValueLargest(), m.GetValueLast(), m.GetPeersBy())
	for _, v := range m.GetValues() {
		writeLine(&page, v.GetSeries(), v.GetPerSecond(), v.GetNow(), v.GetUsual(), v.GetSamples())
	}
	for _, p := range m.GetPeers() {
		writeLine(&page, p.GetPeerId(), p.GetAddress(), p.GetInbound(), p.GetMeasure(), p.GetReceivedMessages(), p.GetInfo().GetUserAgent(), p.GetInfo().GetBytesReceived())
		for _, l := range p.GetLastMessages() {
			writeLine(&page, l.GetTimeNs(), l.GetType(), l.GetInbound(), l.GetSize())
		}
	}
	return page.String()
}

func writeLine(page *strings.Builder, facts ...any) {
	for _, fact := range facts {
		switch fact := fact.(type) {
		case map[string]string:
			for _, name := range slices.Sorted(maps.Keys(fact)) {
				fmt.Fprintf(page, "%s=%q ", name, fact[name])
			}
		case map[string]uint64:
			for _, name := range slices.Sorted(maps.Keys(fact)) {
				fmt.Fprintf(page, "%s=%d ", name, fact[name])
			}
		default:
			fmt.Fprintf(page, "%v ", fact)
		}
	}
	page.WriteByte('\n')
}

package metrics_test

import (
	"math/bits"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/metrics"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// byHand adds up metrics from events in the plainest way: generated types, maps, no
// labels made beforehand. It is a sink, so that it reads what an archive gives.
type byHand struct {
	t      *testing.T
	values map[string]float64
}

func (h *byHand) HandleEvent(e *event.Event) {
	var body eventpb.Event
	if err := proto.Unmarshal(e.Data, &body); err != nil {
		h.t.Errorf("event %d: %v", e.Sequence, err)
		return
	}
	if m := body.GetEbpfExtractor().GetMessage(); m != nil {
		h.message(m)
	}
	if c := body.GetEbpfExtractor().GetConnection(); c != nil {
		h.connection(c)
	}
	if m := body.GetEbpfExtractor().GetMempool(); m != nil {
		h.mempool(m)
	}
	if b := body.GetEbpfExtractor().GetValidation().GetBlockConnected(); b != nil {
		h.values[`block_connect_seconds_count`]++
		h.values[`block_transactions_total`] += float64(b.GetTransactions())
		h.values[`block_height`] = float64(b.GetHeight())
	}
	if l := body.GetLogExtractor(); l != nil && l.GetLogLevel() == eventpb.LogLevel_LOG_LEVEL_INFO &&
		l.GetCategory() == eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_UNKNOWN && l.GetCategoryName() == "" {
		h.values[`log_lines_total{category="none",level="info"}`]++
		h.values[`log_bytes_total{category="none",level="info"}`] += float64(l.GetLogLineBytes())
	}
	if p := body.GetP2PExtractor().GetPingDuration(); p != nil {
		h.values[`link_rtt_seconds_sum`] += float64(p.GetDuration()) / 1e9
		h.values[`link_rtt_seconds_count`]++
	}
}

func (h *byHand) message(m *eventpb.MessageEvent) {
	meta := m.GetMeta()
	direction := "outbound"
	if meta.GetInbound() {
		direction = "inbound"
	}
	kind := map[eventpb.ConnectionType]string{
		eventpb.ConnectionType_CONNECTION_TYPE_INBOUND:             "inbound",
		eventpb.ConnectionType_CONNECTION_TYPE_OUTBOUND_FULL_RELAY: "outbound-full-relay",
	}[meta.GetConnectionType()]
	if meta.GetCommand() == "inv" && kind != "" {
		labels := `{connection_type="` + kind + `",direction="` + direction + `",message="inv"}`
		h.values["p2p_messages_total"+labels]++
		h.values["p2p_message_bytes_total"+labels] += float64(meta.GetSize())
	}
	for _, item := range m.GetInv().GetItems() {
		if item.GetWtx() != nil {
			h.values[`p2p_inventory_items_total{direction="`+direction+`",message="inv",type="wtx"}`]++
		}
	}
	if p := m.GetPing(); p != nil && meta.GetInbound() && bits.Len64(p.GetValue()) > 32 {
		h.values[`p2p_ping_nonces_total{bits="64"}`]++
	}
	for _, list := range [][]*eventpb.Address{m.GetAddr().GetAddresses(), m.GetAddrv2().GetAddresses()} {
		for _, a := range list {
			if a.GetIpv4() != "" {
				h.values[`p2p_addr_entries_total{direction="`+direction+`",network="ipv4"}`]++
			}
		}
	}
}

func (h *byHand) connection(c *eventpb.ConnectionEvent) {
	if in := c.GetInbound().GetConn(); in != nil && in.GetNetwork() == 1 {
		h.values[`connections_opened_total{direction="inbound",network="ipv4"}`]++
	}
}

func (h *byHand) mempool(m *eventpb.MempoolEvent) {
	if a := m.GetAdded(); a != nil {
		h.values[`mempool_added_total`]++
		h.values[`mempool_added_vbytes_total`] += float64(a.GetVsize())
	}
	if r := m.GetRejected(); r != nil && r.GetReason() == "txn-mempool-conflict" {
		h.values[`mempool_rejected_total{reason="txn-mempool-conflict"}`]++
	}
}

// Metrics that are added up from an archived stream in the plainest way are those that
// are scraped.
func TestRecomputedFromArchive(t *testing.T) {
	record := new(recorder)
	r := newRig(t, metrics.Config{Replay: true, Seed: seed}, record)
	r.normalLife(2)
	r.hostile(1000)
	r.normalLife(1)
	h := &byHand{t: t, values: map[string]float64{}}
	throughArchive(t, record, h)
	if len(h.values) < 15 {
		t.Fatalf("only %d values: %v", len(h.values), h.values)
	}
	for name, v := range h.values {
		if v == 0 {
			t.Errorf("%s is 0: this proves nothing", name)
		}
	}
	r.want(h.values)
}

package metrics_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/metrics"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

func TestLink(t *testing.T) {
	r := newRig(t, metrics.Config{})
	link := &eventpb.Link{Id: proto.Uint64(1)}
	r.p2p(&eventpb.P2PExtractor{Link: link, P2PEvent: &eventpb.P2PExtractor_LinkState{LinkState: &eventpb.LinkState{State: eventpb.LinkState_STATE_UP.Enum()}}})
	r.p2p(&eventpb.P2PExtractor{Link: link, P2PEvent: &eventpb.P2PExtractor_PingDuration{PingDuration: &eventpb.PingDuration{Duration: proto.Uint64(2_000_000)}}})
	r.p2p(&eventpb.P2PExtractor{Link: link, P2PEvent: &eventpb.P2PExtractor_PingTimeout{PingTimeout: &eventpb.PingTimeout{}}})
	r.p2p(&eventpb.P2PExtractor{Link: link, P2PEvent: &eventpb.P2PExtractor_AddressAnnouncement{AddressAnnouncement: &eventpb.AddressAnnouncement{
		Addresses: []*eventpb.Address{ipv4("8.8.8.8", r.now, 1), {Address: &eventpb.Address_Torv3{Torv3: "x"}}}}}})
	r.p2p(&eventpb.P2PExtractor{Link: link, P2PEvent: &eventpb.P2PExtractor_InventoryAnnouncement{InventoryAnnouncement: &eventpb.InventoryAnnouncement{
		Inventory: []*eventpb.InventoryItem{wtx(hash("a", 1)), wtx(hash("a", 2)), blockItem(hash("b", 1))}}}})
	r.p2p(&eventpb.P2PExtractor{Link: link, P2PEvent: &eventpb.P2PExtractor_FeefilterAnnouncement{FeefilterAnnouncement: 1000}})
	r.p2p(&eventpb.P2PExtractor{Link: link, P2PEvent: &eventpb.P2PExtractor_BlockAnnouncement{BlockAnnouncement: &eventpb.BlockAnnouncement{
		Via: eventpb.BlockAnnouncement_VIA_COMPACT_BLOCK.Enum()}}})
	r.want(map[string]float64{
		"link_up": 1, "link_rtt_seconds_sum": 0.002, "link_last_rtt_seconds": 0.002, "link_ping_timeouts_total": 1,
		`link_addresses_total{network="ipv4"}`: 1, `link_addresses_total{network="torv3"}`: 1,
		`link_addr_message_entries_bucket{le="10"}`: 1, "link_last_addr_message_entries": 2,
		`link_inv_items_total{type="wtx"}`: 2, `link_inv_items_total{type="witness_block"}`: 1, "link_last_inv_message_entries": 3,
		"link_feefilter_messages_total": 1, "link_feefilter_satoshis_per_kvbyte": 1000,
		`link_block_announcements_total{via="cmpctblock"}`: 1, `link_state_changes_total{state="up"}`: 1,
	})
	r.p2p(&eventpb.P2PExtractor{Link: link, P2PEvent: &eventpb.P2PExtractor_LinkState{LinkState: &eventpb.LinkState{State: eventpb.LinkState_STATE_DOWN.Enum()}}})
	// What the link said last is no longer true.
	r.want(map[string]float64{
		"link_up": 0, "link_last_rtt_seconds": absent, "link_feefilter_satoshis_per_kvbyte": absent, `link_state_changes_total{state="down"}`: 1,
	})
}

func TestLog(t *testing.T) {
	r := newRig(t, metrics.Config{})
	line := func(category eventpb.LogDebugCategory, name string, l *eventpb.LogExtractor) {
		l.Category, l.LogLineBytes = category.Enum(), proto.Uint64(100)
		if name != "" {
			l.CategoryName = proto.String(name)
		}
		r.log(l)
	}
	line(eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_UNKNOWN, "", &eventpb.LogExtractor{LogEvent: &eventpb.LogExtractor_UnknownLogMessage{UnknownLogMessage: &eventpb.UnknownLogMessage{}}})
	line(eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_UNKNOWN, "privatebroadcast", &eventpb.LogExtractor{LogLevel: eventpb.LogLevel_LOG_LEVEL_DEBUG.Enum(), LogEvent: &eventpb.LogExtractor_UnknownLogMessage{UnknownLogMessage: &eventpb.UnknownLogMessage{}}})
	line(eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_NET, "", &eventpb.LogExtractor{LogLevel: eventpb.LogLevel_LOG_LEVEL_WARNING.Enum(),
		LogEvent: &eventpb.LogExtractor_KnownLogMessage{KnownLogMessage: &eventpb.KnownLogMessage{Template: eventpb.LogTemplate_LOG_TEMPLATE_CONNECTION_DROPPED_FULL.Enum()}}})
	line(eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_NET, "", &eventpb.LogExtractor{
		LogEvent: &eventpb.LogExtractor_KnownLogMessage{KnownLogMessage: &eventpb.KnownLogMessage{Template: eventpb.LogTemplate(9999).Enum()}}})
	line(eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_VALIDATION, "", &eventpb.LogExtractor{
		LogEvent: &eventpb.LogExtractor_BlockCheckedLog{BlockCheckedLog: &eventpb.BlockCheckedLog{State: proto.String("bad-witness-nonce-size")}}})
	line(eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_VALIDATION, "", &eventpb.LogExtractor{
		LogEvent: &eventpb.LogExtractor_BlockCheckedLog{BlockCheckedLog: &eventpb.BlockCheckedLog{State: proto.String("Valid")}}})
	line(eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_VALIDATION, "", &eventpb.LogExtractor{
		LogEvent: &eventpb.LogExtractor_BlockConnectedLog{BlockConnectedLog: &eventpb.BlockConnectedLog{Enqueuing: proto.Bool(true)}}})
	line(eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_VALIDATION, "", &eventpb.LogExtractor{
		LogEvent: &eventpb.LogExtractor_BlockConnectedLog{BlockConnectedLog: &eventpb.BlockConnectedLog{}}})
	for _, enqueuing := range []bool{true, false} {
		line(eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_VALIDATION, "", &eventpb.LogExtractor{
			LogEvent: &eventpb.LogExtractor_KnownLogMessage{KnownLogMessage: &eventpb.KnownLogMessage{
				Template: eventpb.LogTemplate_LOG_TEMPLATE_BLOCK_DISCONNECTED.Enum(), Enqueuing: proto.Bool(enqueuing)}}})
	}
	line(eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_VALIDATION, "", &eventpb.LogExtractor{
		LogEvent: &eventpb.LogExtractor_KnownLogMessage{KnownLogMessage: &eventpb.KnownLogMessage{
			Template: eventpb.LogTemplate_LOG_TEMPLATE_BLOCK_MUTATED.Enum(), Reason: proto.String("bad-txnmrklroot, hashMerkleRoot mismatch")}}})
	r.want(map[string]float64{
		`log_lines_total{category="none",level="info"}`: 1, `log_bytes_total{category="none",level="info"}`: 100,
		`log_lines_total{category="other",level="debug"}`: 1, `log_lines_total{category="net",level="warning"}`: 1,
		`log_known_lines_total{template="connection_dropped_full"}`: 1, `log_known_lines_total{template="other"}`: 1,
		`log_known_lines_total{template="connection_dropped_banned"}`: 0, `log_known_lines_total{template="block_disconnected"}`: 1,
		`log_block_checked_total`: 2, `log_block_connected_total`: 1, `log_mutated_blocks_total{status="bad-witness-nonce-size"}`: 1,
		`log_mutated_blocks_total{status="bad-txnmrklroot"}`: 1,
		`log_mutated_blocks_total{status="other"}`:           0,
	})
}

func TestStatus(t *testing.T) {
	r := newRig(t, metrics.Config{})
	r.status(&eventpb.Status{
		Sources: []*eventpb.SourceStatus{
			{Source: proto.String("ebpf"), Up: proto.Bool(true), Attempts: proto.Uint64(3), Failures: proto.Uint64(2)},
			{Source: proto.String("no such source"), Up: proto.Bool(true)},
			{Source: proto.String("observer"), Up: proto.Bool(false)},
		},
		Losses: []*eventpb.Loss{
			{Source: proto.String("ebpf"), Stage: proto.String("kernel"), Reason: proto.String("ring_full"), Count: proto.Uint64(5)},
			{Source: proto.String("?"), Stage: proto.String("?"), Reason: proto.String("\x00"), Count: proto.Uint64(7)},
		},
		Queues: []*eventpb.QueueStatus{{Sink: proto.String("nats"), Events: proto.Uint64(1), Bytes: proto.Uint64(10), CapacityBytes: proto.Uint64(100)}},
		Node:   &eventpb.NodeStatus{Chain: proto.String("regtest"), Restarts: proto.Uint64(1), StartTimeNs: proto.Int64(nodeStart), InboundCapacity: proto.Uint32(29)},
		Tracepoints: []*eventpb.TracepointStatus{{Name: proto.String("net:inbound_message"), Attached: proto.Bool(true),
			Records: proto.Uint64(90), Lost: proto.Uint64(10), PayloadShed: proto.Uint64(4)}},
	})
	r.want(map[string]float64{
		`source_up{source="ebpf"}`: 1, `source_up{source="observer"}`: absent, `source_attempts_total{source="ebpf"}`: 3, `source_failures_total{source="ebpf"}`: 2,
		`events_lost_total{reason="ring_full",source="ebpf",stage="kernel"}`: 5,
		`events_lost_total{reason="other",source="unknown",stage="other"}`:   7,
		`queue_bytes{sink="nats"}`: 10, `queue_capacity_bytes{sink="nats"}`: 100,
		`tracepoint_attached{tracepoint="net:inbound_message"}`:                                   1,
		`tracepoint_hits_total{outcome="recorded",tracepoint="net:inbound_message"}`:              90,
		`tracepoint_hits_total{outcome="lost",tracepoint="net:inbound_message"}`:                  10,
		`tracepoint_record_defects_total{defect="payload_shed",tracepoint="net:inbound_message"}`: 4,
		`tracepoint_record_defects_total{defect="string_cut",tracepoint="net:inbound_message"}`:   absent,
		`node_up`: 1, `node_info{chain="regtest"}`: 1, `node_restarts_total`: 1, `node_start_time_seconds`: float64(nodeStart / 1e9), `node_inbound_capacity`: 29,
		`events_total{event="observer.status",source="observer"}`: 1,
	})
	r.status(&eventpb.Status{HostClock: &eventpb.HostClock{
		Synchronized: proto.Bool(true), OffsetNs: proto.Int64(2_000_000), EstimatedErrorNs: proto.Int64(500_000_000), MaxErrorNs: proto.Int64(1_500_000_000)}})
	r.want(map[string]float64{
		"host_clock_synchronized": 1, "host_clock_offset_seconds": 0.002, "host_clock_estimated_error_seconds": 0.5, "host_clock_max_error_seconds": 1.5,
	})
	r.status(&eventpb.Status{})
	r.want(map[string]float64{"host_clock_synchronized": absent, "host_clock_offset_seconds": absent})
	r.want(map[string]float64{`node_up`: 0, `node_info{chain="regtest"}`: absent, `node_inbound_capacity`: absent})
	// A node that doesn't listen has none; of another it may not be known.
	r.status(&eventpb.Status{Node: &eventpb.NodeStatus{InboundCapacity: proto.Uint32(0)}})
	r.want(map[string]float64{`node_up`: 1, `node_inbound_capacity`: 0})
	r.status(&eventpb.Status{Node: &eventpb.NodeStatus{}})
	r.want(map[string]float64{`node_up`: 1, `node_inbound_capacity`: absent})
}

// An agent that tells how it is and then falls silent sees nothing any more.
func TestSilentAgent(t *testing.T) {
	r := newRig(t, metrics.Config{})
	r.open(alice)
	up := &eventpb.Status{
		Sources: []*eventpb.SourceStatus{{Source: proto.String("ebpf"), Up: proto.Bool(true), Failures: proto.Uint64(1)}},
		Node:    &eventpb.NodeStatus{Chain: proto.String("main")},
		Queues:  []*eventpb.QueueStatus{{Sink: proto.String("nats")}},
	}
	r.validation(&eventpb.ValidationEvent{Event: &eventpb.ValidationEvent_BlockConnected{BlockConnected: &eventpb.BlockConnected{Height: proto.Int32(7)}}})
	for range 3 {
		r.after(10 * time.Second).status(up)
	}
	r.want(map[string]float64{`source_up{source="ebpf"}`: 1, "node_up": 1, "block_height": 7, "connections_tracked": 1, `queue_events{sink="nats"}`: 0})
	r.after(31 * time.Second).want(map[string]float64{
		`source_up{source="ebpf"}`: 0, `source_failures_total{source="ebpf"}`: 1, "node_up": 0, `node_info{chain="main"}`: absent, "block_height": absent,
		"connections_tracked": absent, `queue_events{sink="nats"}`: absent,
	})
	r.status(up)
	r.want(map[string]float64{`source_up{source="ebpf"}`: 1, "block_height": 7})
	// With the tracepoints down, what they said is no longer true, but what is counted
	// stays.
	up.Sources[0].Up = proto.Bool(false)
	r.status(up)
	r.want(map[string]float64{"block_height": absent, "connections_tracked": absent, `connections_opened_total{direction="inbound",network="ipv4"}`: 1})
}

// In the agent the ledger is read at every scrape; elsewhere its losses are added to
// those in the Status events.
func TestLedger(t *testing.T) {
	ledger := event.NewLedger()
	ledger.Source(event.SourceRPC).Up("here")
	loss := ledger.Loss(event.SourceEBPF, event.StageQueue, event.ReasonQueueFull)
	local := newRig(t, metrics.Config{Ledger: ledger})
	loss.Add(3)
	remote := &eventpb.Status{
		Sources: []*eventpb.SourceStatus{{Source: proto.String("rpc"), Up: proto.Bool(false)}},
		Losses:  []*eventpb.Loss{{Source: proto.String("ebpf"), Stage: proto.String("queue"), Reason: proto.String("queue_full"), Count: proto.Uint64(100)}},
	}
	local.status(remote)
	lost := `events_lost_total{reason="queue_full",source="ebpf",stage="queue"}`
	local.want(map[string]float64{lost: 3, `source_up{source="rpc"}`: 1})
	far := newRig(t, metrics.Config{Ledger: ledger, Remote: true})
	far.want(map[string]float64{lost: 3, `source_up{source="rpc"}`: absent})
	far.status(remote)
	far.want(map[string]float64{lost: 103, `source_up{source="rpc"}`: 0})
}

// A process that serves several nodes tells them apart, up to a limit.
func TestNodes(t *testing.T) {
	ledger := event.NewLedger()
	ledger.Loss(event.SourceUnknown, event.StageSubscribe, event.ReasonGap).Add(2)
	sink, err := metrics.New(metrics.Config{NodeLabel: true, Remote: true, MaxNodes: 3, Ledger: ledger})
	if err != nil {
		t.Fatal(err)
	}
	stream := event.NewStream(sink)
	for i, name := range []string{"alpha", "beta", "", "gamma", "delta", "alpha"} {
		m := event.NewEmitter(event.SourceRPC, event.Origin{NodeName: name, BootID: uint64(i)}, stream, event.NewLedger())
		m.Emit(&eventpb.Event{PeerObserverEvent: &eventpb.Event_RpcExtractor{RpcExtractor: &eventpb.RpcExtractor{
			RpcEvent: &eventpb.RpcExtractor_Uptime{Uptime: uint32(i)}}}}, event.Times{})
	}
	r := &rig{t: t, sink: sink}
	r.want(map[string]float64{
		`node_uptime_seconds{node="alpha"}`:                                          5,
		`node_uptime_seconds{node="beta"}`:                                           1,
		`node_uptime_seconds{node="unnamed"}`:                                        2,
		`node_uptime_seconds{node="gamma"}`:                                          absent,
		`label_overflow_total{label="node",node=""}`:                                 2,
		`events_lost_total{node="",reason="gap",source="unknown",stage="subscribe"}`: 2,
	})
}

// In a replay age is judged by the time of the events.
func TestReplay(t *testing.T) {
	r := newRig(t, metrics.Config{Replay: true})
	r.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_Uptime{Uptime: 77}})
	r.want(map[string]float64{"node_uptime_seconds": 77, "event_handling_delay_seconds_sum": 0})
	r.after(time.Hour).message(alice, true, "ping", 8, nil)
	r.want(map[string]float64{"node_uptime_seconds": absent})
}

func TestUTXOCacheAndIPC(t *testing.T) {
	r := newRig(t, metrics.Config{})
	r.ebpf(event.KindUTXOCacheFlush.Subject(), &eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_UtxoCache{UtxoCache: &eventpb.UtxoCacheEvent{
		Event: &eventpb.UtxoCacheEvent_Flush{Flush: &eventpb.UtxoCacheFlush{Duration: proto.Int64(1_500_000), Coins: proto.Uint64(10)}}}}})
	r.ebpf(event.KindUTXOCacheFlush.Subject(), &eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_UtxoCache{UtxoCache: &eventpb.UtxoCacheEvent{
		Event: &eventpb.UtxoCacheEvent_Spent{Spent: &eventpb.UtxoCacheCoin{}}}}})
	r.other(event.SourceIPC, event.SubjectIPC, &eventpb.Event{PeerObserverEvent: &eventpb.Event_IpcExtractor{IpcExtractor: &eventpb.IpcExtractor{
		IpcEvent: &eventpb.IpcExtractor_BlockTip{BlockTip: &eventpb.BlockTip{Height: proto.Int32(5)}}}}})
	r.want(map[string]float64{
		"utxo_cache_flush_seconds_sum": 1.5, "utxo_cache_flushed_coins_total": 10, "ipc_block_tip_height": 5,
		`events_total{event="utxo_cache.spent",source="ebpf"}`: 1,
	})
}

// What isn't an event is counted and harms nothing.
func TestUndecoded(t *testing.T) {
	r := newRig(t, metrics.Config{})
	for _, source := range []event.Source{event.SourceEBPF, event.SourceRPC, event.SourceUnknown} {
		r.sink.HandleEvent(&event.Event{Header: event.Header{Source: source}, Data: []byte{0x0a, 0x05, 0xff}})
	}
	// Well-formed up to a body that isn't.
	r.sink.HandleEvent(&event.Event{Header: event.Header{Source: event.SourceLog}, Data: []byte{0x22, 0x04, 0x22, 0x02, 0x0a, 0x7f}})
	r.want(map[string]float64{
		`events_total{event="unknown",source="ebpf"}`: 1, `events_total{event="unknown",source="rpc"}`: 1, `events_total{event="unknown",source="unknown"}`: 1,
	})
}

package metrics_test

import (
	"encoding/hex"
	"fmt"
	"math"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/metrics"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
	"github.com/peerobserver/peerobserver/proto/field"
)

func info(id uint32, addr, network, kind, transport string) *eventpb.PeerInfo {
	return &eventpb.PeerInfo{
		Id: proto.Uint32(id), Address: proto.String(addr), Network: proto.String(network), ConnectionType: proto.String(kind),
		Inbound: proto.Bool(kind == "inbound"), TransportProtocolType: proto.String(transport), Version: proto.Uint32(70016),
		Subversion: proto.String("/Satoshi:29.0.0/"), Services: proto.String("0000000000000409"), RelayTransactions: proto.Bool(true),
		SyncedHeaders: proto.Int64(800_000), ConnectionTime: proto.Int64(start.Unix()),
	}
}

func (r *rig) peerInfos(list ...*eventpb.PeerInfo) {
	r.t.Helper()
	r.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_PeerInfos{PeerInfos: &eventpb.PeerInfos{Infos: list}}, CallDurationNs: proto.Uint64(5_000_000)})
}

func TestPeers(t *testing.T) {
	r := newRig(t, metrics.Config{})
	one, two := info(1, "8.8.8.8:41000", "ipv4", "inbound", "v1"), info(2, "9.9.9.9:8333", "ipv4", "outbound-full-relay", "v2")
	three, four := info(3, "127.0.0.1:5000", "onion", "inbound", "v2"), info(4, "8.8.100.1:99", "ipv4", "inbound", "detecting")
	one.PingTime, one.MinimumPing = proto.Float64(0.1), proto.Float64(0.05)
	two.PingTime, two.PingWait = proto.Float64(0.3), proto.Float64(6)
	three.AbsentFields = []uint32{uint32(field.PeerInfoPingTime), uint32(field.PeerInfoInvToSend)}
	one.InvToSend, two.InvToSend, three.InvToSend = proto.Uint64(10), proto.Uint64(30), proto.Uint64(7)
	one.TimeOffset, two.TimeOffset = proto.Int64(-11), proto.Int64(11)
	one.AddrProcessed, one.AddrRateLimited = proto.Uint64(100), proto.Uint64(3)
	one.AddrRelayEnabled = proto.Bool(true)
	two.Bip152HbTo, one.Bip152HbFrom = proto.Bool(true), proto.Bool(true)
	two.Inflight = []uint64{800_001, 800_002}
	one.Minfeefilter = proto.Float64(1e-6)
	one.BytesReceivedPerMessage = map[string]uint64{"tx": 5, "*other*": 77}
	four.SyncedHeaders = proto.Int64(799_900)
	four.RelayTransactions = proto.Bool(false)
	two.CpuLoad = proto.Float64(5)
	r.peerInfos(one, two, three, four)
	r.after(10*time.Second).peerInfos(one, two, three, four)
	r.want(map[string]float64{
		`peers{direction="inbound"}`:                                    3,
		`peers{direction="outbound"}`:                                   1,
		`peers_by_network{direction="inbound",network="ipv4"}`:          2,
		`peers_by_network{direction="inbound",network="onion"}`:         1,
		`peers_by_network{direction="inbound",network="i2p"}`:           0,
		`peers_by_connection_type{connection_type="inbound"}`:           3,
		`peers_by_transport{direction="inbound",transport="detecting"}`: 1,
		`peers_by_protocol_version{version="70016"}`:                    4,
		`peers_by_service{service="witness"}`:                           4,
		`peers_by_service{service="compact_filters"}`:                   0,
		`peers_by_user_agent{user_agent="satoshi"}`:                     4,
		`peers_ping_seconds{q="0.5"}`:                                   0.2,
		`peers_ping_mean_seconds`:                                       0.2,
		`peers_min_ping_seconds{q="0.5"}`:                               0.05,
		`peers_ping_overdue`:                                            1,
		`peers_time_offset_large{sign="ahead"}`:                         1,
		`peers_time_offset_large{sign="behind"}`:                        1,
		`peers_addr_processed`:                                          100,
		`peers_with_addr_rate_limited`:                                  1,
		`peers_addr_rate_limited`:                                       3,
		`peers_addr_relay_enabled`:                                      1,
		`peers_bip152_high_bandwidth{selection="to"}`:                   1,
		`peers_with_blocks_in_flight`:                                   1,
		`peers_blocks_in_flight_heights`:                                2,
		`peers_blocks_in_flight_oldest_seconds`:                         10,
		`peers_sub_1_sat_per_vbyte_relay`:                               1,
		`peers_inv_to_send`:                                             40,
		`peers_inv_to_send_max`:                                         30,
		`peers_inv_to_send_median`:                                      20,
		`peers_cpu_load_max_ratio`:                                      0.005,
		`peers_netgroups{direction="inbound"}`:                          2,
		`peers_netgroup_top_ratio{direction="inbound"}`:                 2.0 / 3,
		`peers_inbound_ipv4_netgroup_diversity_ratio`:                   0.5,
		`peers_as_unmapped{direction="inbound"}`:                        3,
		`peers_as_entropy_ratio{direction="inbound"}`:                   absent,
		`peers_headers_behind{blocks="6"}`:                              1,
		`peers_headers_behind{blocks="144"}`:                            0,
		`peers_received_other_bytes`:                                    77,
		`peers_fingerprint_top_ratio`:                                   0.75,
		`peers_receive_backlog_bytes`:                                   absent,
		`rpc_call_seconds_sum{method="getpeerinfo"}`:                    0.01,
	})
	// What the peers have is gone with them; what has no value is absent, not zero.
	r.after(10 * time.Second).peerInfos()
	r.want(map[string]float64{
		`peers{direction="inbound"}`:            0,
		`peers_ping_seconds{q="0.5"}`:           absent,
		`peers_inv_to_send`:                     absent,
		`peers_cpu_load_max_ratio`:              absent,
		`peers_blocks_in_flight_oldest_seconds`: absent,
	})
}

// What the node counted and what tracepoints saw are held against each other.
func TestBacklogAndReconciliation(t *testing.T) {
	r := newRig(t, metrics.Config{})
	one, two := info(1, alice.addr, "ipv4", "inbound", "v1"), info(2, bob.addr, "ipv4", "outbound-full-relay", "v2")
	r.open(alice)
	received, sent, total := uint64(0), uint64(0), uint64(0)
	poll := func() {
		one.BytesReceivedPerMessage = map[string]uint64{"inv": received, "*other*": 5}
		one.BytesSentPerMessage = map[string]uint64{"inv": sent}
		// What was exchanged before the observation began stays out.
		two.BytesReceivedPerMessage = map[string]uint64{"inv": 1_000_000}
		two.BytesSentPerMessage = map[string]uint64{"inv": 1_000_000}
		r.peerInfos(one, two)
		r.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_NetTotals{NetTotals: &eventpb.NetTotals{
			TotalBytesReceived: proto.Uint64(total), TotalBytesSent: proto.Uint64(total)}}})
	}
	r.message(bob, true, "inv", 37, nil)
	poll()
	for range 30 {
		r.after(10 * time.Second)
		// Of ten messages that arrive the node processes nine; all that it sends leaves.
		for i := range 10 {
			received += 1000 + 24
			total += 1000 + 24
			if i > 0 {
				r.message(alice, true, "inv", 1000, nil)
			}
		}
		poll()
	}
	r.after(10*time.Second).message(alice, false, "inv", 500, nil)
	poll()
	// The comparison waits for the next event of the tracepoints.
	r.after(10*time.Second).message(alice, false, "inv", 500, nil)
	r.want(map[string]float64{
		`peers_receive_backlog_bytes`:     30 * 1024,
		`peers_receive_backlog_max_bytes`: 30 * 1024,
		`peers_send_backlog_bytes`:        524,
		`peers_compared`:                  2,
		`p2p_reconciliation_ratio{direction="inbound",reference="getpeerinfo"}`:  0.9,
		`p2p_reconciliation_ratio{direction="inbound",reference="getnettotals"}`: 0.9,
		`node_network_bytes_total{direction="inbound"}`:                          float64(total),
	})
}

// What the node exchanged before its tracepoints were looked at was not missed; what it
// exchanges while an agent looks and sees nothing was.
func TestReconciliationOfBlindObserver(t *testing.T) {
	r := newRig(t, metrics.Config{})
	total := uint64(0)
	poll := func(bytes uint64) {
		t.Helper()
		total += bytes
		r.after(10 * time.Second).rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_NetTotals{NetTotals: &eventpb.NetTotals{
			TotalBytesReceived: proto.Uint64(total), TotalBytesSent: proto.Uint64(total)}}})
	}
	status := func(source string, start int64) {
		t.Helper()
		r.status(&eventpb.Status{
			Sources: []*eventpb.SourceStatus{{Source: proto.String(source), Up: proto.Bool(true)}},
			Node:    &eventpb.NodeStatus{Chain: proto.String("main"), StartTimeNs: proto.Int64(start)},
		})
	}
	const ratio = `p2p_reconciliation_ratio{direction="inbound",reference="getnettotals"}`
	ratioIs := func(value float64) {
		t.Helper()
		r.peerInfos()
		r.after(10 * time.Second).peerInfos()
		r.want(map[string]float64{ratio: value})
	}
	for range 3 {
		poll(100_000)
	}
	status("rpc", nodeStart)
	poll(100_000)
	poll(100_000)
	ratioIs(absent) // no extractor looks at tracepoints
	status("ebpf", nodeStart-1)
	poll(100_000)
	poll(100_000)
	ratioIs(absent) // it looked at a process that is gone
	status("ebpf", nodeStart)
	poll(100_000)
	ratioIs(absent) // the first poll is what the next is compared with
	poll(100_000)
	ratioIs(0)
	r.after(15 * time.Minute)
	status("ebpf", nodeStart)
	poll(100_000)
	for range 10 {
		r.message(alice, true, "inv", 976, nil)
	}
	poll(10_000)
	ratioIs(10_000.0 / 110_000)
}

// Histograms of blocks name the trace of a block, for formats that can carry it.
func TestExemplars(t *testing.T) {
	r := newRig(t, metrics.Config{})
	block := hash("block", 1)
	r.message(bob, true, "headers", 82, headers(header(block, r.now.Add(-20*time.Second))))
	r.after(2*time.Second).message(bob, false, "getdata", 37, getData(blockItem(block)))
	r.after(time.Second).message(bob, true, "block", 1_500_000, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Block{Block: &eventpb.Block{Header: header(block, r.now)}}})
	r.after(time.Second).validation(&eventpb.ValidationEvent{Event: &eventpb.ValidationEvent_BlockConnected{BlockConnected: &eventpb.BlockConnected{
		Hash: block, Height: proto.Int32(7), ConnectionTime: proto.Uint64(uint64(90 * time.Second))}}})
	// Without a hash there is no trace, and the value counts all the same.
	r.validation(&eventpb.ValidationEvent{Event: &eventpb.ValidationEvent_BlockConnected{BlockConnected: &eventpb.BlockConnected{Height: proto.Int32(7)}}})
	families, err := r.sink.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	id := event.BlockTraceID(block)
	want, found := hex.EncodeToString(id[:]), map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, b := range m.GetHistogram().GetBucket() {
				x := b.GetExemplar()
				if x == nil {
					continue
				}
				if l := x.GetLabel(); len(l) != 1 || l[0].GetName() != "trace_id" || l[0].GetValue() != want {
					t.Errorf("%s: exemplar %v, want trace %s", f.GetName(), x, want)
				}
				if at := x.GetTimestamp().AsTime(); at.Before(start) || at.After(r.now) {
					t.Errorf("%s: exemplar of %s", f.GetName(), at)
				}
				if b.GetUpperBound() < x.GetValue() {
					t.Errorf("%s: %v in the bucket up to %v", f.GetName(), x.GetValue(), b.GetUpperBound())
				}
				found[f.GetName()] = max(found[f.GetName()], x.GetValue())
			}
		}
	}
	for name, value := range map[string]float64{
		"block_connect_seconds": 90, "block_propagation_seconds": 4, "block_delivery_seconds": 1, "block_header_time_offset_seconds": 20,
	} {
		if got, ok := found["peerobserver_"+name]; !ok || got != value {
			t.Errorf("%s: exemplar of %v (%v), want %v", name, got, ok, value)
		}
	}
	r.want(map[string]float64{`block_connect_seconds_count`: 2, `chain_reorganization_depth_blocks_count`: 1})
}

// Values that are not polled any more vanish, at once when the source is down.
func TestStale(t *testing.T) {
	r := newRig(t, metrics.Config{})
	uptime := func() {
		r.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_Uptime{Uptime: 1000}})
	}
	uptime()
	r.after(10 * time.Second)
	uptime()
	r.want(map[string]float64{"node_uptime_seconds": 1000})
	r.after(29 * time.Second).want(map[string]float64{"node_uptime_seconds": 1000})
	r.after(2 * time.Second).want(map[string]float64{"node_uptime_seconds": absent})
	uptime()
	r.want(map[string]float64{"node_uptime_seconds": 1000})
	down := func(up bool) *eventpb.Status {
		return &eventpb.Status{Sources: []*eventpb.SourceStatus{{Source: proto.String("rpc"), Up: proto.Bool(up)}}}
	}
	r.status(down(false))
	r.want(map[string]float64{"node_uptime_seconds": absent, `source_up{source="rpc"}`: 0})
	r.status(down(true))
	r.want(map[string]float64{"node_uptime_seconds": 1000, `source_up{source="rpc"}`: 1})
	// A slow poll is not taken for a dead one.
	slow := newRig(t, metrics.Config{})
	for range 3 {
		slow.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_Uptime{Uptime: 5}})
		slow.after(20 * time.Minute)
	}
	slow.want(map[string]float64{"node_uptime_seconds": 5})
}

func TestNodeValues(t *testing.T) {
	r := newRig(t, metrics.Config{})
	send := func(x *eventpb.RpcExtractor) { r.rpc(x) }
	send(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_MempoolInfo{MempoolInfo: &eventpb.MempoolInfo{
		Loaded: proto.Bool(true), Size: proto.Int64(7), Bytes: proto.Int64(1000), Usage: proto.Int64(5000), TotalFee: proto.Float64(0.5),
		MaxMempool: proto.Int64(300_000_000), Mempoolminfee: proto.Float64(1.5), Unbroadcastcount: proto.Int64(0),
		AbsentFields: []uint32{uint32(field.MempoolInfoUnbroadcastcount)}}}})
	send(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_AddrmanInfo{AddrmanInfo: &eventpb.AddrManInfo{Networks: map[string]*eventpb.AddrManInfoNetwork{
		"ipv4": {New: proto.Uint64(10), Tried: proto.Uint64(3)}, "all_networks": {New: proto.Uint64(10), Tried: proto.Uint64(3)}, "mars": {}}}}})
	send(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_BlockchainInfo{BlockchainInfo: &eventpb.BlockchainInfo{
		Blocks: proto.Uint32(800_000), Headers: proto.Uint32(800_001), Initialblockdownload: proto.Bool(false), Pruned: proto.Bool(false),
		Warnings: []string{"a", "b"}, Time: proto.Uint32(1_700_000_000)}}})
	send(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_NetworkInfo{NetworkInfo: &eventpb.NetworkInfo{
		Version: proto.Int32(300_000), ConnectionsIn: proto.Uint32(3), NetworkActive: proto.Bool(true), LocalServices: proto.String("0000000000000409"),
		Networks: []*eventpb.NetworkInfoNetwork{{Name: proto.String("onion"), Reachable: proto.Bool(true)}}, RelayFee: proto.Float64(0.1),
		OtherNumbers: map[string]float64{"inv_buckets.inbound.backlog": 21_000}}}})
	send(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_ChainTips{ChainTips: &eventpb.ChainTips{Tips: []*eventpb.ChainTip{
		{Height: proto.Int32(1000), Status: proto.String("active")}, {Height: proto.Int32(990), BranchLength: proto.Int32(2), Status: proto.String("valid-fork")},
		{Height: proto.Int32(10), BranchLength: proto.Int32(9), Status: proto.String("headers-only")}}}}})
	orphans := func(ids ...int) {
		list := &eventpb.OrphanTxs{}
		for _, id := range ids {
			list.Orphans = append(list.Orphans, &eventpb.OrphanTx{Wtxid: proto.String(fmt.Sprint(id)), Bytes: proto.Uint64(100), From: []uint64{1, uint64(id)}})
		}
		send(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_OrphanTxs{OrphanTxs: list}})
	}
	orphans(1, 2)
	orphans(2, 3, 4)
	for i, errs := range [][]string{nil, {"Insufficient data"}} {
		send(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_EstimateSmartFee{EstimateSmartFee: &eventpb.EstimateSmartFee{
			FeeRate: proto.Float64(2), RequestedBlocks: proto.Uint32(uint32(1 + 5*i)), Mode: eventpb.FeeEstimateMode_FEE_ESTIMATE_MODE_ECONOMICAL.Enum(), Errors: errs}}})
	}
	send(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_BannedList{BannedList: &eventpb.BannedList{Count: proto.Uint64(4)}}})
	send(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_MemoryInfo{MemoryInfo: &eventpb.MemoryInfo{Used: proto.Uint64(64)}}})
	send(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_ChainTxStats{ChainTxStats: &eventpb.ChainTxStats{TxCount: proto.Uint32(9), TxRate: proto.Float64(3.5)}}})
	r.want(map[string]float64{
		"mempool_loaded": 1, "mempool_transactions": 7, "mempool_fees_satoshis": 5e7, "mempool_min_fee_satoshis_per_vbyte": 1.5,
		"mempool_unbroadcast_transactions":                 absent,
		`addrman_addresses{network="ipv4",table="tried"}`:  3,
		`addrman_addresses{network="onion",table="tried"}`: absent,
		"chain_blocks": 800_000, "chain_headers": 800_001, "chain_warnings": 2, "chain_prune_height": absent, "chain_initial_block_download": 0,
		"node_version": 300_000, `node_connections{direction="inbound"}`: 3, "node_network_active": 1, `node_service{service="witness"}`: 1,
		`node_networks{network="onion",property="reachable"}`: 1, `node_networks{network="ipv4",property="reachable"}`: absent,
		"node_relay_fee_satoshis_per_vbyte":              0.1,
		`node_announcement_backlog{direction="inbound"}`: 21_000, `node_announcement_backlog{direction="outbound"}`: absent,
		`chain_tips{status="active"}`: 1, `chain_tips{status="invalid"}`: 0, "chain_branch_length_max": 2,
		"orphans": 3, "orphans_bytes": 300, "orphans_announcers_mean": 2, "orphans_top_announcer_ratio": 1,
		`orphans_changed_total{change="added"}`: 2, `orphans_changed_total{change="removed"}`: 1, `orphans_changed_bytes_total{change="added"}`: 200,
		`fee_estimate_satoshis_per_vbyte{mode="economical",target_blocks="1"}`: 2,
		`fee_estimate_satoshis_per_vbyte{mode="economical",target_blocks="6"}`: absent,
		"node_banned_entries": 4, `node_locked_memory_bytes{state="used"}`: 64, "chain_transactions": 9, "chain_window_transactions_per_second": 3.5,
	})
	orphans()
	r.want(map[string]float64{"orphans": 0, "orphans_announcers_mean": absent, "orphans_announcers_min": absent})
}

func TestAddrman(t *testing.T) {
	r := newRig(t, metrics.Config{Seed: seed})
	entry := func(addr, source string, age time.Duration) *eventpb.AddrmanEntry {
		return &eventpb.AddrmanEntry{Address: proto.String(addr), Port: proto.Uint32(8333), Network: proto.String("ipv4"),
			Services: proto.Uint64(9), Time: proto.Int64(r.now.Add(-age).Unix()), Source: proto.String(source)}
	}
	buckets := func(entries map[uint32]*eventpb.AddrmanEntry) map[uint32]*eventpb.AddrmanBucket {
		return map[uint32]*eventpb.AddrmanBucket{3: {Entries: entries}}
	}
	poll := func(fresh, tried map[uint32]*eventpb.AddrmanEntry) {
		r.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_Addrman{Addrman: &eventpb.Addrman{New: buckets(fresh), Tried: buckets(tried)}}})
	}
	a, b := entry("8.8.8.8", "1.2.3.4", 2*time.Hour), entry("8.8.9.9", "1.2.9.9", 40*24*time.Hour)
	c, d := entry("9.9.9.9", "5.6.7.8", -time.Hour), entry("8.8.8.8", "1.2.3.4", 2*time.Hour)
	d.Port = proto.Uint32(1)
	tried := map[uint32]*eventpb.AddrmanEntry{0: a}
	poll(map[uint32]*eventpb.AddrmanEntry{0: a, 1: b, 2: c, 3: d}, tried)
	r.want(map[string]float64{
		`addrman_entries{network="ipv4",table="new"}`:                                 4,
		`addrman_distinct_entries{network="ipv4",table="new"}`:                        4,
		`addrman_distinct_addresses{network="ipv4",table="new"}`:                      3,
		`addrman_terrible_entries{network="ipv4",table="new"}`:                        2,
		`addrman_future_entries{min_offset_seconds="600",network="ipv4",table="new"}`: 1,
		`addrman_entries_younger{age="1d",table="new"}`:                               3,
		`addrman_entry_age_seconds{q="0.5",table="tried"}`:                            7200,
		`addrman_ports{port="other",table="new"}`:                                     1,
		`addrman_services{service="witness",table="new"}`:                             4,
		`addrman_distinct_sources{table="new"}`:                                       3,
		`addrman_source_netgroup_top_ratio{table="new"}`:                              0.75,
		`addrman_netgroup_top_ratio{table="new"}`:                                     0.75,
		`addrman_tried_similarity_ratio`:                                              absent,
		`addrman_changes_total{change="added",table="new"}`:                           0,
	})
	// One is replaced, one emptied, one filled, one newer with other services.
	r.after(25 * time.Hour)
	a2 := entry("8.8.8.8", "1.2.3.4", 0)
	a2.Services = proto.Uint64(1)
	a2.MappedAs, c.MappedAs = proto.Uint32(1), proto.Uint32(2)
	poll(map[uint32]*eventpb.AddrmanEntry{0: a2, 1: c, 2: c, 5: b}, map[uint32]*eventpb.AddrmanEntry{0: a, 1: c, 2: b})
	r.want(map[string]float64{
		`addrman_changes_total{change="added",table="new"}`:    1,
		`addrman_changes_total{change="replaced",table="new"}`: 1,
		`addrman_changes_total{change="removed",table="new"}`:  1,
		`addrman_changes_total{change="services",table="new"}`: 1,
		`addrman_changes_total{change="time",table="new"}`:     1,
		`addrman_changes_total{change="added",table="tried"}`:  2,
		`addrman_tried_similarity_ratio`:                       1.0 / 3,
		`addrman_as_top_ratio{table="new"}`:                    2.0 / 3,
		`addrman_as_entropy_ratio{table="new"}`:                1 - 2.0/3*math.Ln2/math.Log(3),
		`addrman_as_top_ratio{table="tried"}`:                  1,
		`addrman_as_entropy_ratio{table="tried"}`:              absent,
	})
}

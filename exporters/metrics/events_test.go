package metrics_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/metrics"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

func TestConnections(t *testing.T) {
	r := newRig(t, metrics.Config{})
	listed := peer{9, "162.218.65.7:5000", eventpb.ConnectionType_CONNECTION_TYPE_INBOUND, 1}
	r.open(alice)
	r.open(bob)
	r.open(carol)
	r.open(listed)
	r.message(alice, true, "version", 100, version("/a/"))
	r.message(listed, true, "getaddr", 0, nil)
	r.after(15*time.Second).misbehaving(alice, "inv message size = 50001")
	r.misbehaving(alice, "a text that a peer may have chosen")
	r.message(bob, false, "ping", 8, nil)
	r.connection(&eventpb.ConnectionEvent{Event: &eventpb.ConnectionEvent_InboundEvicted{InboundEvicted: &eventpb.EvictedInboundConnection{
		Conn: connectionOf(listed), TimeEstablished: proto.Uint64(uint64(start.Unix()))}}})
	r.want(map[string]float64{"connections_half_open": 1, "connections_opened_top_netgroup": 1, "connections_tracked": 4})
	r.close(listed, start)
	r.after(time.Hour).close(alice, start)
	r.close(peer{99, "1.1.1.1:1", eventpb.ConnectionType_CONNECTION_TYPE_INBOUND, 77}, start)
	r.want(map[string]float64{
		`connections_opened_total{direction="inbound",network="ipv4"}`:                        2,
		`connections_opened_total{direction="outbound",network="ipv4"}`:                       1,
		`connections_opened_total{direction="outbound",network="onion"}`:                      1,
		`connections_closed_total{direction="inbound",network="ipv4"}`:                        2,
		`connections_closed_total{direction="inbound",network="other"}`:                       1,
		`connections_evicted_total{network="ipv4"}`:                                           1,
		`connection_duration_seconds_bucket{direction="inbound",le="60"}`:                     1,
		`connection_duration_seconds_count{direction="inbound"}`:                              3,
		`connections_closed_before_version_total`:                                             1,
		`connections_listed_opened_total{direction="inbound",list="linkinglion"}`:             1,
		`p2p_listed_messages_total{direction="inbound",list="linkinglion",message="getaddr"}`: 1,
		`peers_misbehaving_total{reason="inv message size"}`:                                  1,
		`peers_misbehaving_total{reason="other"}`:                                             1,
		`peers_misbehaving_by_network_total{network="ipv4"}`:                                  2,
		`label_overflow_total{label="network"}`:                                               1,
		`label_overflow_total{label="reason"}`:                                                1,
		`connections_existing{direction="inbound"}`:                                           5,
	})
}

func TestMempool(t *testing.T) {
	r := newRig(t, metrics.Config{})
	added := func(id []byte, vsize int32) {
		r.mempool(&eventpb.MempoolEvent{Event: &eventpb.MempoolEvent_Added{Added: &eventpb.Added{Txid: id, Vsize: proto.Int32(vsize), Fee: proto.Int64(300)}}})
	}
	replaced := func(old, replacement []byte) {
		r.mempool(&eventpb.MempoolEvent{Event: &eventpb.MempoolEvent_Replaced{Replaced: &eventpb.Replaced{
			ReplacedTxid: old, ReplacedVsize: proto.Int32(100), ReplacementId: replacement, ReplacementVsize: proto.Int32(110)}}})
	}
	removed := func(reason string) {
		r.mempool(&eventpb.MempoolEvent{Event: &eventpb.MempoolEvent_Removed{Removed: &eventpb.Removed{
			Txid: hash("tx", 0), Reason: proto.String(reason), Vsize: proto.Int32(50), EntryTime: proto.Uint64(uint64(r.now.Unix() - 30))}}})
	}
	rejected := func(reason string) {
		r.mempool(&eventpb.MempoolEvent{Event: &eventpb.MempoolEvent_Rejected{Rejected: &eventpb.Rejected{Txid: hash("tx", 0), Reason: proto.String(reason)}}})
	}
	for i := range 4 {
		added(hash("tx", i), 100)
		if i > 0 {
			replaced(hash("tx", i-1), hash("tx", i))
		}
	}
	added(hash("tx", 1), 200)
	removed("sizelimi")
	removed("replaced")
	removed("a new reason")
	rejected("insufficient fee, rejecting replacement 0123456789abcdef; new feerate")
	rejected("mempool-script-verify-flag-failed (Script evaluated without error but finished with a false/empty top stack element)")
	rejected("bad-txns-inputs-missingorspent")
	rejected("sorry")
	r.after(11 * time.Second)
	added(hash("tx", 10), 100)
	r.want(map[string]float64{
		"mempool_added_total":                                                6,
		"mempool_added_vbytes_total":                                         700,
		"mempool_added_fees_satoshis_total":                                  1800,
		"mempool_replaced_total":                                             3,
		"mempool_replaced_vbytes_total":                                      300,
		"mempool_replacement_vbytes_total":                                   330,
		"mempool_replacement_depth_sum":                                      1 + 2 + 3,
		"mempool_readded_total":                                              1,
		`mempool_removed_total{reason="sizelimit"}`:                          1,
		`mempool_removed_total{reason="replaced"}`:                           1,
		`mempool_removed_total{reason="other"}`:                              1,
		`mempool_removed_vbytes_total{reason="sizelimit"}`:                   50,
		`mempool_residence_seconds_sum`:                                      90,
		`mempool_rejected_total{reason="insufficient fee"}`:                  1,
		`mempool_rejected_total{reason="mempool-script-verify-flag-failed"}`: 1,
		`mempool_rejected_total{reason="bad-txns-inputs-missingorspent"}`:    1,
		`mempool_rejected_total{reason="other"}`:                             1,
		`mempool_added_top_size_ratio`:                                       5.0 / 6,
	})
}

func TestAddresses(t *testing.T) {
	r := newRig(t, metrics.Config{Seed: seed})
	r.open(alice)
	r.open(bob)
	// Unasked for: one token to begin with.
	r.message(alice, true, "addrv2", 100, addrV2(
		ipv4("8.8.8.8", r.now.Add(-10*time.Second), 1033),
		ipv4("8.8.8.9", r.now.Add(9*time.Minute), 1|1<<24),
		ipv4("10.0.0.1", r.now.Add(-time.Hour), 0),
	))
	r.message(alice, true, "addrv2", 1, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Emptyaddrv2{Emptyaddrv2: true}})
	// Asked for: a thousand more tokens.
	r.message(bob, false, "getaddr", 0, nil)
	var reply []*eventpb.Address
	for i := range 1000 {
		reply = append(reply, &eventpb.Address{
			Timestamp: proto.Uint32(uint32(r.now.Unix())), Port: proto.Uint32(8333), Services: proto.Uint64(9),
			Address: &eventpb.Address_Ipv6{Ipv6: "2a01:" + string(rune('a'+i%6)) + string(rune('a'+i/6%6)) + ":" + string(rune('0'+i/36%10)) + string(rune('0'+i/360)) + "::1"},
		})
	}
	r.message(bob, true, "addrv2", 20_000, addrV2(reply...))
	r.message(bob, true, "addrv2", 30, addrV2(reply[0]))
	r.message(bob, true, "addrv2", 30, addrV2(reply[1]))
	r.message(alice, false, "addr", 31, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Addr{Addr: &eventpb.Addr{Addresses: []*eventpb.Address{ipv4("8.8.8.8", r.now, 1)}}}})
	r.after(time.Minute).message(bob, false, "ping", 8, nil)
	distinct := map[string]bool{}
	for _, a := range reply {
		distinct[a.GetIpv6()] = true
	}
	r.want(map[string]float64{
		`p2p_addr_entries_total{direction="inbound",network="ipv4"}`:                                    3,
		`p2p_addr_entries_total{direction="inbound",network="ipv6"}`:                                    1002,
		`p2p_addr_entries_total{direction="outbound",network="ipv4"}`:                                   1,
		`p2p_addr_received_entries_total{solicited="no"}`:                                               4,
		`p2p_addr_received_entries_total{solicited="yes"}`:                                              1001,
		`p2p_addr_message_entries_sum{direction="inbound",message="addrv2"}`:                            1005,
		`p2p_addr_message_entries_bucket{direction="inbound",le="0",message="addrv2"}`:                  1,
		`p2p_addr_empty_messages_total{direction="inbound",message="addrv2"}`:                           1,
		`p2p_addr_self_announcements_total{direction="inbound",network="ipv4"}`:                         1,
		`p2p_addr_self_announcements_total{direction="outbound",network="ipv4"}`:                        1,
		`p2p_addr_subnet_announcements_total{direction="inbound",network="ipv4"}`:                       1,
		`p2p_addr_unroutable_entries_total{direction="inbound"}`:                                        1,
		`p2p_addr_future_entries_total{direction="inbound"}`:                                            1,
		`p2p_addr_entry_time_offset_seconds_sum{direction="inbound",message="addrv2",sign="future"}`:    540,
		`p2p_addr_entry_time_offset_seconds_sum{direction="inbound",message="addrv2",sign="past"}`:      3610,
		`p2p_addr_entry_services_total{direction="inbound",message="addrv2",service="network"}`:         1004,
		`p2p_addr_entry_services_total{direction="inbound",message="addrv2",service="witness"}`:         1003,
		`p2p_addr_entry_services_total{direction="inbound",message="addrv2",service="network_limited"}`: 1,
		`p2p_addr_entry_services_total{direction="inbound",message="addrv2",service="other"}`:           1,
		`p2p_addr_first_seen_entries_total`:                                                             float64(3 + len(distinct)),
		// Of alice's three entries one has a token; bob has 1,001, of which none is left
		// after 1,000 and one more.
		`p2p_addr_rate_limited_entries_total`:  2 + 1,
		`p2p_addr_unique_hour{network="ipv4"}`: 3,
		`p2p_addr_known`:                       float64(3 + len(distinct)),
	})
}

func TestInventory(t *testing.T) {
	r := newRig(t, metrics.Config{Seed: seed})
	many := inventory(40, func(i int) *eventpb.InventoryItem { return wtx(hash("tx", i)) })
	r.message(alice, false, "inv", 1441, inv(many...))
	mixed := inv(many[0], blockItem(hash("block", 1)))
	r.message(bob, true, "inv", 73, mixed)
	r.message(bob, true, "inv", 1, inv())
	cut := inv(many[:2]...)
	cut.ElementCount = proto.Uint64(50_000)
	r.message(bob, true, "inv", 1_800_003, cut)
	// The node asks for four transactions: one comes, one isn't there, one not in time,
	// one from a peer that goes.
	r.message(bob, false, "getdata", 145, getData(many[0], many[1], many[2]))
	r.open(carol)
	r.message(carol, false, "getdata", 37, getData(many[3]))
	r.close(carol, start)
	r.after(250*time.Millisecond).message(bob, true, "tx", 250, txMessage(hash("tx", 0)))
	r.message(bob, true, "tx", 250, txMessage(hash("tx", 30)))
	r.message(bob, true, "notfound", 37, notFound(many[1]))
	r.want(map[string]float64{`tx_request_outcomes_total{outcome="timeout"}`: 0})
	r.after(61*time.Second).message(bob, false, "ping", 8, nil)
	// A peer asks for one block 20 times: the first requests aren't remembered.
	for range 20 {
		r.message(alice, true, "getdata", 37, getData(blockItem(hash("block", 5))))
	}
	r.want(map[string]float64{
		`p2p_inventory_items_total{direction="outbound",message="inv",type="wtx"}`:              40,
		`p2p_inventory_items_total{direction="inbound",message="inv",type="wtx"}`:               3,
		`p2p_inventory_items_total{direction="inbound",message="inv",type="witness_block"}`:     1,
		`p2p_inventory_items_total{direction="inbound",message="inv",type="unknown"}`:           49_998,
		`p2p_inventory_items_total{direction="inbound",message="getdata",type="witness_block"}`: 20,
		`p2p_inv_message_entries_sum{direction="inbound"}`:                                      50_002,
		`p2p_inv_messages_total{composition="homogeneous",direction="outbound"}`:                1,
		`p2p_inv_messages_total{composition="heterogeneous",direction="inbound"}`:               2,
		`p2p_inv_messages_total{composition="empty",direction="inbound"}`:                       1,
		`p2p_inv_large_sent_total`:                          1,
		`tx_requests_total`:                                 4,
		`tx_request_outcomes_total{outcome="delivered"}`:    1,
		`tx_request_outcomes_total{outcome="not_found"}`:    1,
		`tx_request_outcomes_total{outcome="timeout"}`:      1,
		`tx_request_outcomes_total{outcome="disconnected"}`: 1,
		`tx_unrequested_total`:                              1,
		`tx_delivery_seconds_sum`:                           0.25,
		`p2p_repeated_requests_total{type="block"}`:         12,
	})
}

// One block comes by a headers announcement and is fetched whole, a second one by a
// compact block of which transactions are missing.
func TestBlocks(t *testing.T) {
	r := newRig(t, metrics.Config{})
	r.open(alice)
	r.open(bob)
	connected := func(block []byte, height int32) {
		r.validation(&eventpb.ValidationEvent{Event: &eventpb.ValidationEvent_BlockConnected{BlockConnected: &eventpb.BlockConnected{
			Hash: block, Height: proto.Int32(height), Transactions: proto.Int64(2000), Inputs: proto.Int32(5000), Sigops: proto.Int64(9000),
			ConnectionTime: proto.Uint64(200_000_000)}}})
	}
	first := hash("block", 1)
	r.message(bob, true, "headers", 82, headers(header(first, r.now.Add(-20*time.Second))))
	r.after(100*time.Millisecond).message(bob, false, "getdata", 37, getData(blockItem(first)))
	r.after(200*time.Millisecond).message(alice, true, "headers", 82, headers(header(first, r.now)))
	// Who says it again is not another one.
	r.message(alice, true, "headers", 82, headers(header(first, r.now)))
	r.message(bob, true, "inv", 37, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Inv{Inv: &eventpb.Inv{Items: []*eventpb.InventoryItem{blockItem(first)}}}})
	r.after(700*time.Millisecond).message(bob, true, "block", 1_500_000, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Block{Block: &eventpb.Block{Header: header(first, r.now)}}})
	r.after(500 * time.Millisecond)
	connected(first, 100)
	r.after(500*time.Millisecond).message(alice, false, "headers", 82, headers(header(first, r.now)))
	// An old header is no announcement.
	r.message(bob, true, "headers", 82, headers(header(hash("block", 0), r.now.Add(-24*time.Hour))))

	second := hash("block", 2)
	compact := &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Compactblock{Compactblock: &eventpb.CompactBlock{Header: header(second, r.now.Add(10*time.Minute+5*time.Second))}}}
	r.after(10*time.Minute).message(bob, true, "cmpctblock", 15_000, compact)
	r.after(10*time.Millisecond).message(bob, false, "getblocktxn", 100, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Getblocktxn{Getblocktxn: &eventpb.GetBlockTxn{BlockHash: second}}})
	r.after(90*time.Millisecond).message(bob, true, "blocktxn", 5000, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Blocktxn{Blocktxn: &eventpb.BlockTxn{BlockHash: second}}})
	r.validation(&eventpb.ValidationEvent{Event: &eventpb.ValidationEvent_CompactBlockReconstructed{CompactBlockReconstructed: &eventpb.CompactBlockReconstructed{
		Hash: second, PeerId: proto.Uint64(2), PrefilledTransactions: proto.Uint64(1), MempoolTransactions: proto.Uint64(1990),
		ExtraPoolTransactions: proto.Uint64(2), RequestedTransactions: proto.Uint64(9), RequestedBytes: proto.Uint64(4900)}}})
	r.after(200 * time.Millisecond)
	connected(second, 101)
	// The log says the same again, and tells of a third one that no message showed.
	line := func(block string, missing int64) {
		r.log(&eventpb.LogExtractor{LogEvent: &eventpb.LogExtractor_KnownLogMessage{KnownLogMessage: &eventpb.KnownLogMessage{
			Template: eventpb.LogTemplate_LOG_TEMPLATE_BLOCK_RECONSTRUCTED.Enum(), BlockHash: proto.String(block),
			PrefilledCount: proto.Int64(1), MempoolCount: proto.Int64(100), ExtraPoolCount: proto.Int64(0), Count: proto.Int64(missing), Bytes: proto.Int64(0)}}})
	}
	reversed := ""
	for i := range 32 {
		reversed += string("0123456789abcdef"[second[31-i]>>4]) + string("0123456789abcdef"[second[31-i]&15])
	}
	line(reversed, 9)
	line("00000000000000000000000000000000000000000000000000000000000000ff", 0)
	// A block of the same height takes one away.
	r.after(time.Minute)
	connected(hash("fork", 101), 101)
	connected(hash("fork", 102), 102)
	r.want(map[string]float64{
		`block_first_announcements_total{connection_type="outbound-full-relay"}`:    2,
		`block_first_announcements_by_network_total{network="ipv4"}`:                2,
		`block_first_announcements_by_message_total{message="headers"}`:             1,
		`block_first_announcements_by_message_total{message="cmpctblock"}`:          1,
		`block_announcement_delay_seconds_count`:                                    1,
		`block_announcement_delay_seconds_sum`:                                      0.3,
		`block_announcements_total{connection_type="outbound-full-relay",rank="1"}`: 2,
		`block_announcements_total{connection_type="inbound",rank="2"}`:             1,
		`block_announcements_total{connection_type="inbound",rank="3"}`:             absent,
		`block_announcement_delay_by_rank_seconds_count{rank="2"}`:                  1,
		`block_announcement_delay_by_rank_seconds_sum{rank="2"}`:                    0.3,
		`block_header_time_offset_seconds_sum{sign="past"}`:                         20,
		`block_header_time_offset_seconds_count{sign="future"}`:                     1,
		`block_propagation_seconds_sum{phase="announcement_to_request"}`:            0.1,
		`block_propagation_seconds_sum{phase="request_to_delivery"}`:                0.9,
		`block_propagation_seconds_sum{phase="announcement_to_delivery"}`:           1.0 + 0.1,
		`block_propagation_seconds_sum{phase="compact_block_to_transactions"}`:      0.1,
		`block_propagation_seconds_sum{phase="delivery_to_connection"}`:             0.5 + 0.2,
		`block_propagation_seconds_sum{phase="announcement_to_connection"}`:         1.5 + 0.3,
		`block_propagation_seconds_sum{phase="announcement_to_relay"}`:              2,
		`block_propagation_seconds_count{phase="announcement_to_relay"}`:            1,
		`block_requests_total`:                                                  1,
		`block_request_outcomes_total{outcome="delivered"}`:                     1,
		`block_delivery_seconds_sum`:                                            0.9,
		`block_connect_seconds_count`:                                           4,
		`block_connect_seconds_sum`:                                             0.8,
		`block_transactions_total`:                                              8000,
		`block_height`:                                                          102,
		`chain_reorganization_depth_blocks_count`:                               1,
		`chain_reorganization_depth_blocks_sum`:                                 1,
		`compact_block_reconstructions_total{bandwidth="high",requested="yes"}`: 1,
		`compact_block_reconstructions_total{bandwidth="low",requested="no"}`:   1,
		`compact_block_reconstruction_seconds_sum{requested="yes"}`:             0.1,
		`compact_block_transactions_total{origin="mempool"}`:                    2090,
		`compact_block_transactions_total{origin="requested"}`:                  9,
		`compact_block_requested_bytes_total`:                                   4900,
		`log_known_lines_total{template="block_reconstructed"}`:                 2,
	})
}

package needs

// The categories of the node's log and the tracepoints that a metric's definition doesn't
// name: a template of a line is in a category, and a message has a direction.
const (
	net        = Debug + "net"
	txpackages = Debug + "txpackages"
	inbound    = Tracepoint + "net:inbound_connection"
	sent       = Tracepoint + "net:outbound_message"
)

// The fields of answers over RPC that a rule needs and that not every version of the node
// gives.
const (
	invToSend  = Field + "getpeerinfo:inv_to_send"
	invBuckets = Field + "getnetworkinfo:inv_buckets"
)

// Rules lists the rules by id. A test compares it with the expressions of the rule files.
func Rules() []Rule {
	activity := by("peer_activity_max_per_minute")
	opened := []string{"connections_opened_total", "connections_evicted_total"}
	return []Rule{
		{ID: "A01", Gated: true, Ways: []Way{by(opened...), by(logLines).with(net)}},
		{ID: "A02", Gated: true, Ways: []Way{
			by("peers_inbound_clearnet_netgroup_top_ratio", "peers_inbound_clearnet"), by("connections_opened_top_netgroup"),
		}},
		{ID: "A03", Gated: true, Ways: []Way{by("connection_duration_seconds", "connections_opened_top_netgroup")}},
		{ID: "A04", Gated: true, Ways: []Way{activity, by("p2p_addr_rate_limited_entries_total")},
			Besides: []string{"p2p_addr_future_entries_total", "p2p_addr_unroutable_entries_total", "p2p_addr_received_entries_total"}},
		{ID: "A05", Gated: true, Ways: []Way{by("p2p_addr_unique_day")}},
		{ID: "A06", Gated: true, Ways: []Way{by("addrman_source_netgroup_top_ratio", "addrman_entries"), by("addrman_source_netgroup_entropy_ratio", "addrman_entries")}},
		{ID: "A08", Gated: true, Ways: []Way{by(
			"peers_outbound_oldest_connection_seconds", "peers_outbound_address_age_seconds", "peers_address_memory_seconds",
			"peers_by_connection_type",
		)}},
		{ID: "A09", Ways: []Way{by("peers_by_connection_type")}},
		{ID: "A12", Gated: true, Ways: []Way{by("peers_by_network")}},
		{ID: "A13", Ways: []Way{by("chain_blocks", "chain_headers"), by("block_connected_timestamp_seconds"), by("chain_tip_timestamp_seconds")},
			Besides: []string{"chain_initial_block_download"}},
		{ID: "A14", Gated: true, Ways: []Way{by("peers")}},
		{ID: "B01", Gated: true, Ways: []Way{by("link_rtt_seconds"), by("link_ping_timeouts_total"), by("p2p_message_thread_cpu_ratio")},
			Besides: []string{"block_connected_timestamp_seconds"}},
		{ID: "B02", Gated: true, Ways: []Way{
			by("peers_inv_to_send").with(invToSend), by("peers_inv_to_send_max").with(invToSend), by("node_announcement_backlog").with(invBuckets),
		}, Besides: []string{"peers_inv_to_send_median"}},
		{ID: "B03", Gated: true, Ways: []Way{activity, by("p2p_inventory_items_total")}},
		{ID: "B04", Gated: true, Ways: []Way{activity, by("p2p_messages_total")}},
		{ID: "B05", Gated: true, Ways: []Way{activity}},
		{ID: "B06", Gated: true, Ways: []Way{by("orphans"), by(logLines).with(txpackages), by("mempool_rejected_total")}},
		{ID: "B08", Gated: true, Ways: []Way{by("block_last_connect_seconds")}},
		{ID: "B09", Gated: true, Ways: []Way{by(logLines).with(net), by("p2p_message_bytes_total")}},
		{ID: "B10", Gated: true, Ways: []Way{activity, by("p2p_messages_total")}, Besides: []string{"node_service"}},
		{ID: "B11", Gated: true, Ways: []Way{by(logLines).with(net), by("peers_received_other_bytes")}},
		{ID: "B12", Gated: true, Ways: []Way{by("connections_half_open").with(inbound), by(logLines).with(net)}, Besides: []string{"node_inbound_capacity"}},
		{ID: "C01", Gated: true, Ways: []Way{by("peers_send_stalled_seconds").with(sent)}},
		{ID: "C02", Gated: true, Ways: []Way{by("peers_incomplete_message_max_bytes"), by("peers_incomplete_message_bytes")}},
		{ID: "C05", Ways: []Way{by(logLines)}},
		{ID: "C06", Gated: true, Ways: []Way{by("peers_misbehaving_total")}},
		{ID: "D01", Gated: true, Ways: []Way{by("p2p_repeated_requests_total")}},
		{ID: "D02", Gated: true, Ways: []Way{by("p2p_repeated_requests_total", "p2p_messages_total").with(sent)}},
		{ID: "E01", Gated: true, Ways: []Way{by("peers_announced_to")}, Besides: []string{"node_uptime_seconds"}},
		{ID: "E03", Gated: true, Ways: []Way{by("connections_user_agents_top_netgroup")}},
		{ID: "E04", Gated: true, Ways: []Way{by("p2p_getaddr_top_netgroup"), by("p2p_messages_total")}},
		{ID: "E09", Gated: true, Ways: []Way{by(logLines).with(net), by("connections_closed_before_version_total")}},
		{ID: "F01", Gated: true, Ways: []Way{by("peers_blocks_in_flight_oldest_seconds", "chain_headers", "chain_blocks")}},
		{ID: "F02", Gated: true, Ways: []Way{by("peers_bip152_high_bandwidth", "peers_bip152_high_bandwidth_to_netgroups")}},
		{ID: "F03", Gated: true, Ways: []Way{by("compact_block_reconstructions_total", "node_uptime_seconds")}},
		{ID: "F04", Gated: true, Ways: []Way{by("tx_request_outcomes_total").with(sent)}},
		{ID: "F05", Gated: true, Ways: []Way{by("peers_misbehaving_total")}},
		{ID: "F06", Gated: true, Ways: []Way{by(logLines), by("chain_tips")}},
		{ID: "F09", Gated: true, Ways: []Way{by("peers_headers_behind", "peers"), by(logLines).with(net)}},
		{ID: "F10", Gated: true, Ways: []Way{by("mempool_added_total", "node_connections", "node_local_relay", "source_up")}},
		{ID: "G01", Ways: []Way{by("chain_reorganization_depth_blocks")}},
		{ID: "G02", Gated: true, Ways: []Way{by("chain_tips")}},
		{ID: "G03", Ways: []Way{by("chain_branch_length_max"), by("peers_headers_behind")}},
		{ID: "G04", Ways: []Way{by("chain_warnings"), by("node_network_warnings")}},
		{ID: "G06", Gated: true, Ways: []Way{by("peers_time_offset_seconds", "peers")}},
		{ID: "H01", Gated: true, Ways: []Way{
			by("mempool_usage_bytes", "mempool_max_bytes"), by("mempool_added_total", "mempool_added_top_size_ratio"),
		}},
		{ID: "H02", Gated: true, Ways: []Way{by("mempool_removed_total"), by("mempool_min_fee_satoshis_per_vbyte")}},
		{ID: "H03", Gated: true, Ways: []Way{
			by("mempool_replacement_depth"), by("mempool_readded_total"), by("mempool_replaced_total", "mempool_added_total"),
		}},
		{ID: "H04", Gated: true, Ways: []Way{by("mempool_rejected_total")}},
		{ID: "I01", Ways: []Way{by("node_up"), by("node_start_time_seconds"), by("node_uptime_seconds")}, Besides: []string{logLines}},
		{ID: "I02", Ways: []Way{by("chain_initial_block_download"), by("chain_headers", "chain_blocks")}},
		{ID: "I03", Gated: true, Ways: []Way{by("connections_opened_total", "source_up", "tracepoint_attached"), by("node_local_addresses")},
			Besides: []string{logLines, "node_inbound_capacity"}},
		{ID: "I04", Ways: []Way{
			by("build_info"), by("source_up"), by("last_event_timestamp_seconds"), by("events_lost_total", "events_total"),
		}, Besides: []string{"node_up"}},
		{ID: "I05", Ways: []Way{by("label_overflow_total")}},
		{ID: "I06", Gated: true, Ways: []Way{by("rpc_call_seconds")}},
		{ID: "I07", Ways: []Way{
			by("peers_version_time_offset_seconds"),
			by("host_clock_offset_seconds", "host_clock_estimated_error_seconds", "host_clock_synchronized").with(HostClock),
		}},
		{ID: "I08", Ways: []Way{by("link_up"), by("link_state_changes_total")}, Besides: []string{"node_up"}},
		{ID: "I09", Ways: []Way{
			by("node_network_active"), by("node_banned_entries"), by("node_local_relay"), by("node_version"),
		}},
	}
}

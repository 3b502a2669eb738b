package dashboards

// relaySignals are more of the signals of the alert rules: of announcements, blocks and
// transactions, and of the node's RPC.
func relaySignals() []Panel {
	return []Panel{
		series("Announcements that wait", Count, "Transactions that the node has yet to announce, over all peers. Bitcoin Core up to 31.",
			q(`peerobserver_peers_inv_to_send`, "{{who}}")).sized(8, 8).alert("B02", named("b02_announcements_ticket", Ticket), named("b02_announcements_page", Page)),
		series("Announcements that wait for one peer", Count, "Transactions that the node has yet to announce to the peer with most. Bitcoin Core up to 31.",
			q(`peerobserver_peers_inv_to_send_max`, "{{who}}")).sized(8, 8).alert("B02", named("b02_announcements_of_one_ticket", Ticket), named("b02_announcements_of_one_page", Page)),
		series("Slowest block", Seconds, "Longest time to connect a block within 15 minutes.",
			q(`max_over_time(peerobserver_block_last_connect_seconds[15m])`, "{{who}}")).sized(8, 8).alert("B08", named("b08_seconds_ticket", Ticket), named("b08_seconds_page", Page)),
		series("Headers asked for by one peer", Count, "getheaders and getblocks messages within a minute of the peer that sends most.",
			q(`peerobserver_peer_activity_max_per_minute{activity="header_queries"}`, "{{who}}")).sized(8, 8).alert("B10", named("b10_header_queries", Ticket)),
		series("Filters asked for by one peer", Count, "Requests for compact filters within a minute of the peer that sends most.",
			q(`peerobserver_peer_activity_max_per_minute{activity="filter_queries"}`, "{{who}}")).sized(8, 8).alert("B10", named("b10_filter_queries", Ticket)),
		series("Asked for and not offered", Count, "mempool and filterload messages within an hour.",
			q(`sum by (instance, node) (increase(peerobserver_p2p_messages_total{message=~"mempool|filterload",direction="inbound"}[1h]))`, "{{who}}")).sized(8, 8).alert("B10", named("b10_not_offered", Ticket)),
		series("Ended before a version message", Count, "Inbound connections within an hour: port scanners and other protocols.",
			q(`sum by (instance, node) (increase(peerobserver_connections_closed_before_version_total[1h]))`, "{{who}}")).sized(8, 8).alert("E09", named("e09_connections_info", Info), named("e09_connections_ticket", Ticket)),
		series("Networks of high-bandwidth peers", Plain, "Network groups of the peers that send the node compact blocks unasked. Three peers of one group are the sign.",
			q(`peerobserver_peers_bip152_high_bandwidth_to_netgroups`, "{{who}}")).sized(8, 8).alert("F02"),
		series("Compact blocks that were enough", Share, "Of those of the last twelve hours: nothing had to be requested.",
			q(`sum by (instance, node) (increase(peerobserver_compact_block_reconstructions_total{requested="no"}[12h])) / (sum by (instance, node) (increase(peerobserver_compact_block_reconstructions_total[12h])) > 0)`, "{{who}}")).sized(8, 8).low(Ticket).alert("F03", named("f03_ratio", Good)),
		series("Requests for transactions not answered", Count, "Within ten minutes.",
			q(`sum by (instance, node) (increase(peerobserver_tx_request_outcomes_total{outcome="timeout"}[10m]))`, "{{who}}")).sized(8, 8).alert("F04", named("f04_timeouts", Ticket)),
		series("Closed for an old chain", Count, "Connections within an hour; needs debug=net.",
			q(`sum by (instance, node) (increase(peerobserver_log_known_lines_total{template=~"old_chain|insufficient_work"}[1h]))`, "{{who}}")).sized(8, 8).alert("F09", named("f09_closed", Ticket)),
		series("Peers behind", Share, "Of all peers: headers end 6 blocks or more below the best of any peer.",
			q(`max by (instance, node) (peerobserver_peers_headers_behind{blocks="6"}) / (sum by (instance, node) (peerobserver_peers) > 0)`, "{{who}}")).sized(8, 8).alert("F09", named("f09_ratio", Ticket)),
		series("Transactions that come", Count, "Added to the mempool within ten minutes.",
			q(`increase(peerobserver_mempool_added_total[10m])`, "{{who}}")).sized(8, 8).alert("F10"),
		series("Behind the headers", Plain, "Blocks by which the chain is behind the headers that the node knows.",
			q(`peerobserver_chain_headers - peerobserver_chain_blocks`, "{{who}}")).sized(8, 8).alert("I02", named("i02_blocks", Page)),
		series("Slow calls", Seconds, "Time that one in twenty calls of RPC took; what is above five seconds counts as five.",
			q(`histogram_quantile(0.95, sum by (instance, node, le) (rate(peerobserver_rpc_call_seconds_bucket{method!="getrawaddrman"}[$__rate_interval])))`, "{{who}}")).sized(8, 8).alert("I06", named("i06_seconds", Ticket)),
	}
}

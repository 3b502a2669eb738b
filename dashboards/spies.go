package dashboards

func spies() Dashboard {
	return Dashboard{
		UID: "spies", Title: "Spies and entities",
		Question: "Who only listens, who looks like many and is one, and what do known networks of spies do here?",
		Rows: []Row{
			{Title: "Who only listens", Panels: []Panel{
				series("Peers that only listen", Plain, "Inbound peers that have been connected for an hour, got 100 kB of announcements and gave nothing.",
					q(`peerobserver_peers_listening_only`, "{{who}}")).sized(8, 8),
				series("Crawlers", PerSecond, "Requests for addresses that the node received, and inbound connections that were opened. Crawlers ask once in each connection and leave.",
					q(`sum(rate(peerobserver_p2p_messages_total{message="getaddr",direction="inbound"}[$__rate_interval]))`, "getaddr"),
					q(`sum(rate(peerobserver_connections_opened_total{direction="inbound"}[$__rate_interval]))`, "connections")).sized(8, 8),
				series("Scanners", Count, "Inbound connections that were closed without a version message, within ten minutes.",
					q(`sum by (instance, node) (increase(peerobserver_connections_closed_before_version_total[10m]))`, "{{who}}")).sized(8, 8),
				series("Private broadcast", Count, "Version messages within an hour with the user agent that Bitcoin Core uses for private broadcast only: somebody sends a transaction through the node without showing himself.",
					q(`sum by (instance, node) (increase(peerobserver_p2p_private_broadcast_versions_total[1h]))`, "{{who}}")).sized(8, 8),
				series("Pings without a nonce", Count, "Pings before BIP31, within an hour: very old or home-made software.",
					q(`sum by (instance, node) (increase(peerobserver_p2p_pings_without_nonce_total[1h]))`, "{{who}}")).sized(8, 8),
				series("Queries of a peer", Count, "Within a minute of the peer with most: headers, filters and the mempool are what statistics and wallets ask for.",
					q(`max by (activity) (peerobserver_peer_activity_max_per_minute{activity=~"header_queries|filter_queries|mempool_queries"})`, "{{activity}}")).sized(8, 8),
			}},
			{Title: "Who is one behind many", Panels: []Panel{
				series("Peers that look alike", Share, "Share of the largest class of peers with the same user agent, version, services and relay flag. A release of Bitcoin Core that everybody uses is a class too: it is the jump that tells.",
					q(`peerobserver_peers_fingerprint_top_ratio`, "{{who}}")).sized(8, 8),
				series("User agents of one network group", Plain, "Distinct user agents of inbound peers of one group within this hour: software that changes its name shows.",
					q(`peerobserver_peers_user_agents_per_netgroup_max`, "{{who}}")).sized(8, 8),
				series("Opened from one network group", Plain, "Inbound connections within five minutes from the group that opens most.",
					q(`peerobserver_connections_opened_top_netgroup`, "{{who}}")).sized(8, 8),
				series("Largest network group", Share, "Share of the largest group in the peers.",
					q(`peerobserver_peers_netgroup_top_ratio`, "{{direction}} {{who}}")).sized(8, 8),
				series("User agents of new peers", PerSecond, "Version messages by family of software.",
					q(`sum by (user_agent) (rate(peerobserver_p2p_version_messages_total[$__rate_interval])) > 0`, "{{user_agent}}")).sized(8, 8).stacked(),
				series("Subnet announcements in an hour", Count, "Addresses in the sender's own /24 (IPv4) or /64 (IPv6) that are not its own.",
					q(`sum by (network) (increase(peerobserver_p2p_addr_subnet_announcements_total{direction="inbound"}[1h]))`, "{{network}}")).sized(8, 8).stacked(),
			}},
			{Title: "On a list", Panels: []Panel{
				series("Peers on a list", Plain, "Peers whose address is on a list of prefixes. LinkingLion is built in; others are files that the operator gives, such as lists of Tor exits or bans.",
					q(`peerobserver_peers_listed`, "{{list}} {{direction}} {{who}}")).sized(8, 8),
				series("Connections opened", Count, "Within ten minutes, with addresses on a list.",
					q(`sum by (list, direction) (increase(peerobserver_connections_listed_opened_total[10m]))`, "{{list}} {{direction}}")).sized(8, 8),
				series("Share of peers", Share, "Peers on a list by all peers.",
					q(`sum by (list, instance, node) (peerobserver_peers_listed) / on (instance, node) group_left () (sum by (instance, node) (peerobserver_peers) > 0)`, "{{list}} {{who}}")).sized(8, 8),
				series("Share of messages", Share, "Messages exchanged with listed peers by all messages, within an hour.",
					q(`sum by (list, direction) (increase(peerobserver_p2p_listed_messages_total[1h])) / on (direction) group_left () (sum by (direction) (increase(peerobserver_p2p_messages_total[1h])) > 0)`, "{{list}} {{direction}}")).sized(8, 8),
				series("Share of bytes", Share, "Payload bytes exchanged with listed peers by all, within an hour.",
					q(`sum by (list, direction) (increase(peerobserver_p2p_listed_message_bytes_total[1h])) / on (direction) group_left () (sum by (direction) (increase(peerobserver_p2p_message_bytes_total[1h])) > 0)`, "{{list}} {{direction}}")).sized(8, 8),
				bars("What they send and get", Count, "Messages exchanged with listed peers within an hour, by type.",
					q(`sum by (list, message, direction) (increase(peerobserver_p2p_listed_messages_total[1h]))`, "{{list}} {{message}} {{direction}}")).sized(8, 8),
			}},
		},
	}
}

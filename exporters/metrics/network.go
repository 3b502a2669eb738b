package metrics

import (
	"github.com/peerobserver/peerobserver/proto/eventpb"
	"github.com/peerobserver/peerobserver/proto/field"
)

// networkMetrics copies getnetworkinfo.
type networkMetrics struct {
	age    *age
	labels *labels

	version, protocol, timeOffset      *gauges
	connections, active, localRelay    *gauges
	relayFee, incrementalFee, warnings *gauges
	localAddresses, networks           *gauges
	service, backlog                   *gauges
}

func (n *networkMetrics) define(r *registry, a *age, l *labels) {
	n.age, n.labels = a, l
	gauge := func(name, unit, help string, labels ...*label) *gauges {
		return r.gauge(spec{name: name, events: "rpc.network_info", unit: unit, help: help}, a, labels...)
	}
	n.version = gauge("node_version", "version number", "Version of the node's software as a number, such as 310000.")
	n.protocol = gauge("node_protocol_version", "version number", "Protocol version of the node.")
	n.timeOffset = gauge("node_time_offset_seconds", "seconds", "Median offset of the clocks of the node's outbound peers.")
	n.connections = gauge("node_connections", "connections", "Connections of the node, as getnetworkinfo counts them.", l.direction)
	n.active = gauge("node_network_active", "1 or 0", "Whether the node's P2P network is switched on.")
	n.localRelay = gauge("node_local_relay", "1 or 0", "Whether the node asks its peers for transactions.")
	n.relayFee = gauge("node_relay_fee_satoshis_per_vbyte", "satoshi per vbyte", "Lowest fee rate that the node relays.")
	n.incrementalFee = gauge("node_incremental_fee_satoshis_per_vbyte", "satoshi per vbyte", "Lowest increase of the fee rate for a replacement.")
	n.warnings = gauge("node_network_warnings", "warnings", "Warnings in getnetworkinfo.")
	n.localAddresses = gauge("node_local_addresses", "addresses", "Addresses of its own that the node knows.")
	n.networks = gauge("node_networks", "1 or 0", "Properties of the networks: limited by -onlynet, reachable.", l.network, closedLabel("property", "limited", "reachable"))
	n.backlog = gauge("node_announcement_backlog", "transactions",
		"Transactions that wait until the node may announce them to its inbound and to its outbound peers; absent before Bitcoin Core 32, which has a list for each peer.", l.direction)
	n.service = gauge("node_service", "1 or 0", "Services that the node offers.", serviceLabel())
}

func (n *networkMetrics) set(i *eventpb.NetworkInfo, at int64) {
	missing := i.GetAbsentFields()
	n.version.set(value(missing, field.NetworkInfoVersion, float64(i.GetVersion())))
	n.protocol.set(value(missing, field.NetworkInfoProtocolVersion, float64(i.GetProtocolVersion())))
	n.timeOffset.set(value(missing, field.NetworkInfoTimeOffset, float64(i.GetTimeOffset())))
	n.connections.at(inbound).set(value(missing, field.NetworkInfoConnectionsIn, float64(i.GetConnectionsIn())))
	n.connections.at(outbound).set(value(missing, field.NetworkInfoConnectionsOut, float64(i.GetConnectionsOut())))
	n.active.set(value(missing, field.NetworkInfoNetworkActive, boolean(i.GetNetworkActive())))
	n.localRelay.set(value(missing, field.NetworkInfoLocalRelay, boolean(i.GetLocalRelay())))
	n.relayFee.set(value(missing, field.NetworkInfoRelayFee, i.GetRelayFee()))
	n.incrementalFee.set(value(missing, field.NetworkInfoIncrementalFee, i.GetIncrementalFee()))
	n.warnings.set(value(missing, field.NetworkInfoWarnings, float64(len(i.GetWarnings()))))
	n.localAddresses.set(value(missing, field.NetworkInfoLocalAddresses, float64(len(i.GetLocalAddresses()))))

	for direction, key := range map[int]string{inbound: "inv_buckets.inbound.backlog", outbound: "inv_buckets.outbound.backlog"} {
		waiting, known := i.GetOtherNumbers()[key]
		if !known {
			waiting = absent
		}
		n.backlog.at(direction).set(waiting)
	}

	values := make([]float64, n.networks.cells)
	for j := range values {
		values[j] = absent
	}
	for _, network := range i.GetNetworks() {
		if !n.labels.network.has(network.GetName()) {
			continue
		}
		j := n.labels.network.of(network.GetName()) * n.networks.stride[0]
		values[j] = boolean(network.GetLimited())
		values[j+1] = boolean(network.GetReachable())
	}
	n.networks.replace(values)

	offered := make([]float64, n.service.cells)
	eachService(hexBits(i.GetLocalServices()), func(place int) { offered[place] = 1 })
	n.service.replace(offered)
	n.age.touch(at)
}

// blockchainMetrics copies getblockchaininfo.
type blockchainMetrics struct {
	age *age

	blocks, headers, difficulty, progress, ibd *gauges
	size, pruned, pruneHeight, pruneTarget     *gauges
	warnings, tipTime                          *gauges
}

func (b *blockchainMetrics) define(r *registry, a *age) {
	b.age = a
	gauge := func(name, unit, help string) *gauges {
		return r.gauge(spec{name: name, events: "rpc.blockchain_info", unit: unit, help: help}, a)
	}
	b.blocks = gauge("chain_blocks", "blocks", "Height of the chain that the node has validated.")
	b.headers = gauge("chain_headers", "blocks", "Height of the best header that the node knows.")
	b.difficulty = gauge("chain_difficulty", "difficulty", "Difficulty of the tip.")
	b.progress = gauge("chain_verification_progress_ratio", "share", "Share of the chain's transactions that the node has validated, as it estimates.")
	b.ibd = gauge("chain_initial_block_download", "1 or 0", "Whether the node is in initial block download.")
	b.size = gauge("chain_size_on_disk_bytes", "bytes", "Size of the node's block files.")
	b.pruned = gauge("chain_pruned", "1 or 0", "Whether the node deletes old blocks.")
	b.pruneHeight = gauge("chain_prune_height", "blocks", "Height of the last block that was deleted plus one; absent when the node doesn't prune.")
	b.pruneTarget = gauge("chain_prune_target_size_bytes", "bytes", "Size that pruning keeps to; absent when the node doesn't prune automatically.")
	b.warnings = gauge("chain_warnings", "warnings", "Warnings in getblockchaininfo.")
	b.tipTime = gauge("chain_tip_timestamp_seconds", "seconds", "Time in the header of the tip, as UNIX time.")
}

func (b *blockchainMetrics) set(i *eventpb.BlockchainInfo, at int64) {
	missing := i.GetAbsentFields()
	b.blocks.set(value(missing, field.BlockchainInfoBlocks, float64(i.GetBlocks())))
	b.headers.set(value(missing, field.BlockchainInfoHeaders, float64(i.GetHeaders())))
	b.difficulty.set(value(missing, field.BlockchainInfoDifficulty, i.GetDifficulty()))
	b.progress.set(value(missing, field.BlockchainInfoVerificationprogress, i.GetVerificationprogress()))
	b.ibd.set(value(missing, field.BlockchainInfoInitialblockdownload, boolean(i.GetInitialblockdownload())))
	b.size.set(value(missing, field.BlockchainInfoSizeOnDisk, float64(i.GetSizeOnDisk())))
	b.pruned.set(value(missing, field.BlockchainInfoPruned, boolean(i.GetPruned())))
	b.pruneHeight.set(zeroAbsent(value(missing, field.BlockchainInfoPruneHeight, float64(i.GetPruneHeight())), i.GetPruned()))
	b.pruneTarget.set(zeroAbsent(value(missing, field.BlockchainInfoPruneTargetSize, float64(i.GetPruneTargetSize())), i.GetPruned()))
	b.warnings.set(value(missing, field.BlockchainInfoWarnings, float64(len(i.GetWarnings()))))
	b.tipTime.set(zeroAbsent(value(missing, field.BlockchainInfoTime, float64(i.GetTime())), true))
	b.age.touch(at)
}

// zeroAbsent makes a zero absent, for fields in which zero stands for "not given".
func zeroAbsent(v float64, applies bool) float64 {
	if v == 0 || !applies {
		return absent
	}
	return v
}

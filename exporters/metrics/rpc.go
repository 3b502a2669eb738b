package metrics

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
	"github.com/peerobserver/peerobserver/proto/field"
)

// rpc copies what the node says of itself over RPC. Every method has an age of its own,
// because each is polled on its own clock.
type rpc struct {
	labels *labels
	status *status

	call   *histograms
	method *label

	uptimeAge *age
	uptime    *gauges

	totalsAge *age
	traffic   *gauges
	target    *gauges

	memoryAge    *age
	memory       *gauges
	memoryChunks *gauges

	mempoolAge                                       *age
	mempoolLoaded, mempoolSize, mempoolVBytes        *gauges
	mempoolUsage, mempoolMax, mempoolFees            *gauges
	mempoolMinFee, mempoolMinRelay, mempoolIncrement *gauges
	mempoolUnbroadcast                               *gauges

	addrmanAge *age
	addrman    *gauges

	// ipcHeight comes over the node's IPC socket.
	ipcHeight *gauges

	network    networkMetrics
	blockchain blockchainMetrics
	chain      chainMetrics
}

func newRPC(r *registry, l *labels, s *status) *rpc {
	c := &rpc{labels: l, status: s}
	c.method = closedLabel("method", rpcMethods()...)
	c.call = r.sparseHistogram(spec{
		name: "rpc_call_seconds", events: "rpc.*", unit: "seconds",
		help: "How long the calls to the node took.",
	}, nanoseconds, milliseconds(5000), c.method)

	c.uptimeAge = c.newAge()
	c.uptime = r.gauge(spec{
		name: "node_uptime_seconds", events: "rpc.uptime", unit: "seconds",
		help: "How long the node has been running, as it says itself.",
	}, c.uptimeAge)

	c.totalsAge = c.newAge()
	c.traffic = r.total(spec{
		name: "node_network_bytes_total", events: "rpc.net_totals", unit: "bytes",
		help: "Bytes that the node received (inbound) and sent (outbound) on its P2P connections since its start.",
	}, c.totalsAge, l.direction)
	c.target = r.gauge(spec{
		name: "node_upload_target_reached", events: "rpc.net_totals", unit: "1 or 0",
		help: "Whether the node has reached its upload target.",
	}, c.totalsAge)

	c.memoryAge = c.newAge()
	c.memory = r.gauge(spec{
		name: "node_locked_memory_bytes", events: "rpc.memory_info", unit: "bytes",
		help: "Memory of the node's pool for secrets. Total is what the pool has, used and free its parts, locked what can't be swapped out.",
	}, c.memoryAge, closedLabel("state", "used", "free", "total", "locked"))
	c.memoryChunks = r.gauge(spec{
		name: "node_locked_memory_chunks", events: "rpc.memory_info", unit: "chunks",
		help: "Chunks of the node's pool for secrets.",
	}, c.memoryAge, closedLabel("state", "used", "free"))

	c.mempoolAge = c.newAge()
	gauge := func(name, unit, help string) *gauges {
		return r.gauge(spec{name: name, events: "rpc.mempool_info", unit: unit, help: help}, c.mempoolAge)
	}
	c.mempoolLoaded = gauge("mempool_loaded", "1 or 0", "Whether the node has read its saved mempool.")
	c.mempoolSize = gauge("mempool_transactions", "transactions", "Transactions in the mempool.")
	c.mempoolVBytes = gauge("mempool_vbytes", "vbytes", "Virtual size of the mempool.")
	c.mempoolUsage = gauge("mempool_usage_bytes", "bytes", "Memory that the mempool uses.")
	c.mempoolMax = gauge("mempool_max_bytes", "bytes", "Memory that the mempool may use.")
	c.mempoolFees = gauge("mempool_fees_satoshis", "satoshi", "Fees of all transactions in the mempool.")
	c.mempoolMinFee = gauge("mempool_min_fee_satoshis_per_vbyte", "satoshi per vbyte", "Lowest fee rate that the mempool accepts.")
	c.mempoolMinRelay = gauge("mempool_min_relay_fee_satoshis_per_vbyte", "satoshi per vbyte", "Lowest fee rate that the node relays.")
	c.mempoolIncrement = gauge("mempool_incremental_relay_fee_satoshis_per_vbyte", "satoshi per vbyte", "Lowest increase of the fee rate for a replacement.")
	c.mempoolUnbroadcast = gauge("mempool_unbroadcast_transactions", "transactions", "Transactions of the node's own that no peer has asked for yet.")

	c.addrmanAge = c.newAge()
	c.addrman = r.gauge(spec{
		name: "addrman_addresses", events: "rpc.addrman_info", unit: "addresses",
		help: "Addresses in the node's address manager.",
	}, c.addrmanAge, l.network, l.table)

	c.ipcHeight = r.gauge(spec{
		name: "ipc_block_tip_height", events: "ipc.block_tip", unit: "blocks",
		help: "Height of the tip as the node says over its IPC socket.",
	}, lasting(s.gone(event.SourceIPC)))
	c.network.define(r, c.newAge(), l)
	c.blockchain.define(r, c.newAge())
	c.chain.define(r, c)
	return c
}

func (c *rpc) newAge() *age { return polled(c.status.gone(event.SourceRPC)) }

func rpcMethods() []string {
	return []string{
		"getpeerinfo", "getmempoolinfo", "uptime", "getnettotals", "getmemoryinfo", "getaddrmaninfo",
		"getchaintxstats", "getnetworkinfo", "getblockchaininfo", "getorphantxs", "getrawaddrman",
		"estimatesmartfee", "getchaintips", "listbanned",
	}
}

// methodRawAddrman is the place of getrawaddrman in rpcMethods.
const methodRawAddrman = 10

// maxCall bounds the duration of a call that is believed, in nanoseconds.
const maxCall = uint64(3600e9)

// handleRPC takes an answer of the node.
func (n *node) handleRPC(e *event.Event, answer *eventpb.RpcExtractor) {
	c := n.rpc
	at := e.Time().UnixNano()
	method := -1
	switch body := answer.GetRpcEvent().(type) {
	case *eventpb.RpcExtractor_PeerInfos:
		method = 0
		n.peers.handle(e, body.PeerInfos.GetInfos())
		n.sight.peerInfos(body.PeerInfos.GetInfos())
		// The node looked at its peers at some moment of the call.
		asked := at - int64(min(answer.GetCallDurationNs(), maxCall))/2
		n.groups.set(n.state.PeerInfos(body.PeerInfos.GetInfos(), asked))
	case *eventpb.RpcExtractor_MempoolInfo:
		method = 1
		c.mempoolInfo(body.MempoolInfo)
		c.mempoolAge.touch(at)
	case *eventpb.RpcExtractor_Uptime:
		method = 2
		c.uptime.set(float64(body.Uptime))
		c.uptimeAge.touch(at)
	case *eventpb.RpcExtractor_NetTotals:
		method = 3
		c.netTotals(body.NetTotals)
		n.state.NetTotals(body.NetTotals)
		c.totalsAge.touch(at)
	case *eventpb.RpcExtractor_MemoryInfo:
		method = 4
		c.memoryInfo(body.MemoryInfo)
		c.memoryAge.touch(at)
	case *eventpb.RpcExtractor_AddrmanInfo:
		method = 5
		c.addrmanInfo(body.AddrmanInfo)
		c.addrmanAge.touch(at)
	case *eventpb.RpcExtractor_ChainTxStats:
		method = 6
		c.chain.txStats(body.ChainTxStats, at)
	case *eventpb.RpcExtractor_NetworkInfo:
		method = 7
		c.network.set(body.NetworkInfo, at)
		n.sight.networkInfo(body.NetworkInfo)
	case *eventpb.RpcExtractor_BlockchainInfo:
		method = 8
		c.blockchain.set(body.BlockchainInfo, at)
	case *eventpb.RpcExtractor_OrphanTxs:
		method = 9
		c.chain.orphans(body.OrphanTxs, at)
	case *eventpb.RpcExtractor_EstimateSmartFee:
		method = 11
		c.chain.estimate(body.EstimateSmartFee, at)
	case *eventpb.RpcExtractor_ChainTips:
		method = 12
		c.chain.tips(body.ChainTips, at)
	case *eventpb.RpcExtractor_BannedList:
		method = 13
		c.chain.banned(body.BannedList, at)
	}
	if method >= 0 && answer.CallDurationNs != nil {
		c.called(method, answer.GetCallDurationNs())
	}
}

// called notes how long a call took, in nanoseconds.
func (c *rpc) called(method int, duration uint64) {
	c.call.observe(method, int64(min(duration, maxCall)))
}

// value gives v, or absent when the node's answer didn't have the field.
func value(missing []uint32, number protowire.Number, v float64) float64 {
	if absentFields(missing).has(number) {
		return absent
	}
	return v
}

func (c *rpc) mempoolInfo(m *eventpb.MempoolInfo) {
	missing := m.GetAbsentFields()
	c.mempoolLoaded.set(value(missing, field.MempoolInfoLoaded, boolean(m.GetLoaded())))
	c.mempoolSize.set(value(missing, field.MempoolInfoSize, float64(m.GetSize())))
	c.mempoolVBytes.set(value(missing, field.MempoolInfoBytes, float64(m.GetBytes())))
	c.mempoolUsage.set(value(missing, field.MempoolInfoUsage, float64(m.GetUsage())))
	c.mempoolMax.set(value(missing, field.MempoolInfoMaxMempool, float64(m.GetMaxMempool())))
	c.mempoolFees.set(value(missing, field.MempoolInfoTotalFee, m.GetTotalFee()*1e8))
	c.mempoolMinFee.set(value(missing, field.MempoolInfoMempoolminfee, m.GetMempoolminfee()))
	c.mempoolMinRelay.set(value(missing, field.MempoolInfoMinrelaytxfee, m.GetMinrelaytxfee()))
	c.mempoolIncrement.set(value(missing, field.MempoolInfoIncrementalrelayfee, m.GetIncrementalrelayfee()))
	c.mempoolUnbroadcast.set(value(missing, field.MempoolInfoUnbroadcastcount, float64(m.GetUnbroadcastcount())))
}

func (c *rpc) netTotals(t *eventpb.NetTotals) {
	missing := t.GetAbsentFields()
	c.traffic.at(inbound).set(value(missing, field.NetTotalsTotalBytesReceived, float64(t.GetTotalBytesReceived())))
	c.traffic.at(outbound).set(value(missing, field.NetTotalsTotalBytesSent, float64(t.GetTotalBytesSent())))
	reached := absent
	if t.GetUploadTarget() != nil && !absentFields(missing).has(field.NetTotalsUploadTarget) {
		reached = value(t.GetUploadTarget().GetAbsentFields(), field.UploadTargetTargetReached, boolean(t.GetUploadTarget().GetTargetReached()))
	}
	c.target.set(reached)
}

func (c *rpc) memoryInfo(m *eventpb.MemoryInfo) {
	for i, v := range []uint64{m.GetUsed(), m.GetFree(), m.GetTotal(), m.GetLocked()} {
		c.memory.at(i).set(float64(v))
	}
	c.memoryChunks.at(0).set(float64(m.GetChunksUsed()))
	c.memoryChunks.at(1).set(float64(m.GetChunksFree()))
}

func (c *rpc) addrmanInfo(info *eventpb.AddrManInfo) {
	values := make([]float64, c.addrman.cells)
	for i := range values {
		values[i] = absent
	}
	for name, n := range info.GetNetworks() {
		if name == "all_networks" || !c.labels.network.has(name) {
			// The sum of the others, and what a newer node may add.
			continue
		}
		i := c.labels.network.of(name) * c.addrman.stride[0]
		values[i] = float64(n.GetNew())
		values[i+1] = float64(n.GetTried())
	}
	c.addrman.replace(values)
}

package metrics_test

import (
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// normalLife lets a node with all sources live for some minutes: every kind of event,
// and of messages those that Bitcoin Core exchanges.
func (r *rig) normalLife(minutes int) {
	r.t.Helper()
	random := rand.New(rand.NewPCG(1, 1))
	var peers []peer
	var infos []*eventpb.PeerInfo
	types := []eventpb.ConnectionType{
		eventpb.ConnectionType_CONNECTION_TYPE_INBOUND, eventpb.ConnectionType_CONNECTION_TYPE_OUTBOUND_FULL_RELAY, eventpb.ConnectionType_CONNECTION_TYPE_BLOCK_RELAY_ONLY,
	}
	names := []string{"inbound", "outbound-full-relay", "block-relay-only"}
	for i := range 60 {
		kind := 0
		if i >= 50 {
			kind = 1 + i%2
		}
		p := peer{uint64(i), fmt.Sprintf("%d.%d.8.8:8333", 20+i, i), types[kind], 1}
		network := "ipv4"
		if i%7 == 0 {
			p.addr, p.network, network = fmt.Sprintf("[2a01:%x::1]:8333", i), 2, "ipv6"
		}
		if i%5 == 0 && kind == 0 {
			p.addr, p.network, network = fmt.Sprintf("127.0.0.1:%d", 40_000+i), 3, "onion"
		}
		peers = append(peers, p)
		r.open(p)
		r.after(time.Second)
		in := info(uint32(i), p.addr, network, names[kind], []string{"v1", "v2"}[i%2])
		in.PingTime, in.MinimumPing = proto.Float64(0.05), proto.Float64(0.04)
		in.MappedAs = proto.Uint32(uint32(i % 9))
		in.BytesReceivedPerMessage, in.BytesSentPerMessage = map[string]uint64{"inv": 1}, map[string]uint64{"inv": 1}
		infos = append(infos, in)
		for _, command := range []string{"verack", "sendheaders", "sendcmpct", "wtxidrelay", "sendaddrv2"} {
			r.message(p, true, command, 0, nil)
			r.message(p, false, command, 0, nil)
		}
		r.message(p, true, "version", 120, version("/Satoshi:29.0.0/"))
		r.message(p, false, "version", 120, version("/Satoshi:30.0.0/"))
		if kind == 1 {
			r.message(p, false, "getaddr", 0, nil)
		} else {
			r.message(p, true, "getaddr", 0, nil)
		}
		r.message(p, true, "getheaders", 1000, nil)
		r.message(p, false, "getheaders", 1000, nil)
		fee := &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Feefilter{Feefilter: &eventpb.FeeFilter{Fee: proto.Int64(1000)}}}
		r.message(p, true, "feefilter", 8, fee)
		r.message(p, false, "feefilter", 8, fee)
	}
	for minute := range minutes {
		for second := range 60 {
			r.work(time.Duration(random.IntN(300)) * time.Microsecond).after(time.Second)
			p, q := peers[random.IntN(len(peers))], peers[50+random.IntN(10)]
			tx := hash("tx", minute*1000+second)
			item := wtx(tx)
			r.message(q, true, "inv", 37, inv(item))
			r.work(50*time.Microsecond).message(q, false, "getdata", 37, getData(item))
			r.after(80*time.Millisecond).message(q, true, "tx", 250, txMessage(tx))
			r.work(500 * time.Microsecond)
			if second%10 == 0 {
				r.mempool(&eventpb.MempoolEvent{Event: &eventpb.MempoolEvent_Rejected{Rejected: &eventpb.Rejected{Txid: tx, Reason: proto.String("min relay fee not met, 1 < 2")}}})
			} else {
				r.mempool(&eventpb.MempoolEvent{Event: &eventpb.MempoolEvent_Added{Added: &eventpb.Added{Txid: tx, Vsize: proto.Int32(140), Fee: proto.Int64(300)}}})
			}
			r.message(p, false, "inv", 37, inv(item))
			r.message(p, true, "getdata", 37, getData(item))
			r.message(p, false, "tx", 250, txMessage(tx))
			ping := &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Ping{Ping: &eventpb.Ping{Value: proto.Uint64(random.Uint64())}}}
			r.message(p, true, "ping", 8, ping)
			r.message(p, false, "pong", 8, nil)
			r.message(q, false, "ping", 8, ping)
			r.message(q, true, "pong", 8, nil)
			list := addrV2(ipv4(fmt.Sprintf("8.8.%d.%d", minute, second), r.now.Add(-time.Duration(random.IntN(1e5))*time.Second), 1033))
			r.message(p, true, "addrv2", 60, list)
			r.message(q, false, "addrv2", 60, list)
			r.p2p(&eventpb.P2PExtractor{P2PEvent: &eventpb.P2PExtractor_PingDuration{PingDuration: &eventpb.PingDuration{Duration: proto.Uint64(400_000 + random.Uint64N(1e6))}}})
			r.log(&eventpb.LogExtractor{LogLineBytes: proto.Uint64(90), LogEvent: &eventpb.LogExtractor_UnknownLogMessage{UnknownLogMessage: &eventpb.UnknownLogMessage{}}})
			if second%10 == 0 {
				r.polls(infos, minute)
			}
		}
		r.everythingOnce(peers, minute)
	}
}

// polls is one round of the RPC source.
func (r *rig) polls(infos []*eventpb.PeerInfo, minute int) {
	r.t.Helper()
	r.peerInfos(infos...)
	for _, x := range []*eventpb.RpcExtractor{
		{RpcEvent: &eventpb.RpcExtractor_MempoolInfo{MempoolInfo: &eventpb.MempoolInfo{Size: proto.Int64(10)}}},
		{RpcEvent: &eventpb.RpcExtractor_Uptime{Uptime: uint32(3600 + minute*60)}},
		{RpcEvent: &eventpb.RpcExtractor_NetTotals{NetTotals: &eventpb.NetTotals{TotalBytesReceived: proto.Uint64(1 << 30), UploadTarget: &eventpb.UploadTarget{}}}},
		{RpcEvent: &eventpb.RpcExtractor_MemoryInfo{MemoryInfo: &eventpb.MemoryInfo{}}},
		{RpcEvent: &eventpb.RpcExtractor_AddrmanInfo{AddrmanInfo: &eventpb.AddrManInfo{Networks: map[string]*eventpb.AddrManInfoNetwork{
			"ipv4": {}, "ipv6": {}, "onion": {}, "i2p": {}, "cjdns": {}}}}},
		{RpcEvent: &eventpb.RpcExtractor_ChainTxStats{ChainTxStats: &eventpb.ChainTxStats{}}},
		{RpcEvent: &eventpb.RpcExtractor_NetworkInfo{NetworkInfo: &eventpb.NetworkInfo{Networks: []*eventpb.NetworkInfoNetwork{
			{Name: proto.String("ipv4")}, {Name: proto.String("ipv6")}, {Name: proto.String("onion")}, {Name: proto.String("i2p")}, {Name: proto.String("cjdns")}}}}},
		{RpcEvent: &eventpb.RpcExtractor_BlockchainInfo{BlockchainInfo: &eventpb.BlockchainInfo{Pruned: proto.Bool(true), PruneHeight: proto.Uint32(1), PruneTargetSize: proto.Uint64(1), Time: proto.Uint32(1)}}},
		{RpcEvent: &eventpb.RpcExtractor_OrphanTxs{OrphanTxs: &eventpb.OrphanTxs{Orphans: []*eventpb.OrphanTx{{Wtxid: proto.String("a"), From: []uint64{1}}}}}},
		{RpcEvent: &eventpb.RpcExtractor_Addrman{Addrman: &eventpb.Addrman{New: map[uint32]*eventpb.AddrmanBucket{1: {Entries: map[uint32]*eventpb.AddrmanEntry{
			1: {Address: proto.String("8.8.8.8"), Network: proto.String("ipv4"), Source: proto.String("9.9.9.9")},
			2: {Address: proto.String("8.8.4.4"), Network: proto.String("ipv4"), Source: proto.String("9.9.9.9")}}}},
			Tried: map[uint32]*eventpb.AddrmanBucket{1: {Entries: map[uint32]*eventpb.AddrmanEntry{
				1: {Address: proto.String("8.8.8.8"), Network: proto.String("ipv4"), Source: proto.String("9.9.9.9")},
				2: {Address: proto.String("8.8.4.4"), Network: proto.String("ipv4"), Source: proto.String("9.9.9.9")}}}}}}},
		{RpcEvent: &eventpb.RpcExtractor_ChainTips{ChainTips: &eventpb.ChainTips{}}},
		{RpcEvent: &eventpb.RpcExtractor_BannedList{BannedList: &eventpb.BannedList{}}},
	} {
		x.CallDurationNs = proto.Uint64(3_000_000)
		r.rpc(x)
	}
	for _, target := range []uint32{1, 6, 144} {
		for _, mode := range []eventpb.FeeEstimateMode{1, 2} {
			r.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_EstimateSmartFee{EstimateSmartFee: &eventpb.EstimateSmartFee{
				FeeRate: proto.Float64(2), RequestedBlocks: proto.Uint32(target), Mode: mode.Enum()}}})
		}
	}
	var tracepoints []*eventpb.TracepointStatus
	for _, name := range []string{
		"net:inbound_message", "net:outbound_message", "net:inbound_connection", "net:outbound_connection", "net:closed_connection",
		"net:evicted_inbound_connection", "net:misbehaving_connection", "mempool:added", "mempool:removed", "mempool:replaced",
		"mempool:rejected", "validation:block_connected",
	} {
		tracepoints = append(tracepoints, &eventpb.TracepointStatus{Name: proto.String(name), Attached: proto.Bool(true), Records: proto.Uint64(1)})
	}
	status := &eventpb.Status{
		Tracepoints: tracepoints, Node: &eventpb.NodeStatus{Chain: proto.String("main")},
		Queues: []*eventpb.QueueStatus{{Sink: proto.String("nats")}},
	}
	for _, source := range []string{"ebpf", "rpc", "p2p", "log", "observer"} {
		status.Sources = append(status.Sources, &eventpb.SourceStatus{Source: proto.String(source), Up: proto.Bool(true)})
		for _, stage := range []string{"emit", "queue", "publish"} {
			status.Losses = append(status.Losses, &eventpb.Loss{Source: proto.String(source), Stage: proto.String(stage), Reason: proto.String("too_large"), Count: proto.Uint64(0)})
		}
	}
	r.status(status)
}

// everythingOnce lets the rarer things happen.
func (r *rig) everythingOnce(peers []peer, minute int) {
	r.t.Helper()
	p, q := peers[1], peers[51]
	block := hash("block", minute)
	compact := &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Compactblock{Compactblock: &eventpb.CompactBlock{Header: header(block, r.now.Add(-10*time.Second))}}}
	r.message(q, true, "cmpctblock", 15_000, compact)
	r.message(peers[53], true, "headers", 82, headers(header(block, r.now)))
	r.work(20*time.Millisecond).message(q, false, "getblocktxn", 50, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Getblocktxn{Getblocktxn: &eventpb.GetBlockTxn{BlockHash: block}}})
	r.after(50*time.Millisecond).message(q, true, "blocktxn", 500, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Blocktxn{Blocktxn: &eventpb.BlockTxn{BlockHash: block}}})
	r.work(200 * time.Millisecond)
	r.validation(&eventpb.ValidationEvent{Event: &eventpb.ValidationEvent_BlockConnected{BlockConnected: &eventpb.BlockConnected{
		Hash: block, Height: proto.Int32(int32(800_000 + minute)), Transactions: proto.Int64(3000), ConnectionTime: proto.Uint64(150_000_000)}}})
	r.message(p, false, "headers", 82, headers(header(block, r.now)))
	r.message(p, false, "cmpctblock", 15_000, compact)
	r.message(p, true, "getblocktxn", 50, nil)
	r.message(p, false, "blocktxn", 500, nil)
	older := hash("older", minute)
	r.message(q, false, "getdata", 37, getData(blockItem(older)))
	r.message(q, true, "block", 1_500_000, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Block{Block: &eventpb.Block{Header: header(older, r.now)}}})
	r.message(p, true, "getdata", 37, getData(blockItem(older)))
	r.message(p, false, "block", 1_500_000, nil)
	r.message(p, false, "notfound", 37, notFound(wtx(older)))
	r.message(p, true, "addr", 31, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Addr{Addr: &eventpb.Addr{Addresses: []*eventpb.Address{ipv4("8.8.8.8", r.now, 1)}}}})
	for _, reason := range []string{"bad-txns-inputs-missingorspent", "insufficient fee, rejecting", "txn-mempool-conflict", "dust", "too-long-mempool-chain"} {
		r.mempool(&eventpb.MempoolEvent{Event: &eventpb.MempoolEvent_Rejected{Rejected: &eventpb.Rejected{Txid: older, Reason: proto.String(reason)}}})
	}
	r.mempool(&eventpb.MempoolEvent{Event: &eventpb.MempoolEvent_Replaced{Replaced: &eventpb.Replaced{ReplacedTxid: older, ReplacementId: block}}})
	r.mempool(&eventpb.MempoolEvent{Event: &eventpb.MempoolEvent_Removed{Removed: &eventpb.Removed{Txid: older, Reason: proto.String("block"), EntryTime: proto.Uint64(uint64(start.Unix()))}}})
	feeler := peer{uint64(1000 + minute), "30.3.3.3:8333", eventpb.ConnectionType_CONNECTION_TYPE_FEELER, 1}
	r.open(feeler)
	r.message(feeler, false, "version", 100, version("/Satoshi:30.0.0/"))
	r.message(feeler, true, "version", 100, version("/Satoshi:28.1.0/"))
	r.close(feeler, r.now.Add(-time.Second))
	visitor := peer{uint64(2000 + minute), "31.3.3.3:5000", eventpb.ConnectionType_CONNECTION_TYPE_INBOUND, 1}
	r.open(visitor)
	r.close(visitor, r.now)
	r.misbehaving(visitor, "mutated block")
	r.p2p(&eventpb.P2PExtractor{P2PEvent: &eventpb.P2PExtractor_LinkState{LinkState: &eventpb.LinkState{State: eventpb.LinkState_STATE_UP.Enum()}}, Link: &eventpb.Link{Id: proto.Uint64(1)}})
	r.p2p(&eventpb.P2PExtractor{P2PEvent: &eventpb.P2PExtractor_FeefilterAnnouncement{FeefilterAnnouncement: 1000}})
	r.p2p(&eventpb.P2PExtractor{P2PEvent: &eventpb.P2PExtractor_InventoryAnnouncement{InventoryAnnouncement: &eventpb.InventoryAnnouncement{Inventory: []*eventpb.InventoryItem{wtx(older)}}}})
	r.p2p(&eventpb.P2PExtractor{P2PEvent: &eventpb.P2PExtractor_AddressAnnouncement{AddressAnnouncement: &eventpb.AddressAnnouncement{Addresses: []*eventpb.Address{ipv4("8.8.8.8", r.now, 1)}}}})
	for _, category := range []eventpb.LogDebugCategory{
		eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_NET, eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_VALIDATION,
		eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_CMPCTBLOCK, eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_ADDRMAN,
	} {
		for _, template := range []eventpb.LogTemplate{108, 110, 200, 211, 212, 300, 600, 604} {
			r.log(&eventpb.LogExtractor{Category: category.Enum(), LogLevel: eventpb.LogLevel_LOG_LEVEL_DEBUG.Enum(),
				LogEvent: &eventpb.LogExtractor_KnownLogMessage{KnownLogMessage: &eventpb.KnownLogMessage{Template: template.Enum()}}})
		}
	}
	r.other(event.SourceIPC, event.SubjectIPC, &eventpb.Event{PeerObserverEvent: &eventpb.Event_IpcExtractor{IpcExtractor: &eventpb.IpcExtractor{
		IpcEvent: &eventpb.IpcExtractor_BlockTip{BlockTip: &eventpb.BlockTip{}}}}})
}

// hostile sends n events in which everything that a peer can choose is chosen anew, and
// everything that a foreign producer can.
func (r *rig) hostile(n int) {
	r.t.Helper()
	random := rand.New(rand.NewPCG(2, 2))
	text := func() string { return fmt.Sprintf("x%x", random.Uint64()) }
	for i := range n {
		r.after(time.Duration(random.IntN(50)) * time.Millisecond)
		// Any number of peers with addresses of any network, and types that don't exist.
		p := peer{random.Uint64N(100_000), fmt.Sprintf("%d.%d.%d.%d:%d", random.IntN(256), random.IntN(256), random.IntN(256), random.IntN(256), random.IntN(65_536)),
			eventpb.ConnectionType(random.IntN(6)), uint32(random.IntN(9))}
		switch random.IntN(3) {
		case 0:
			p.kind = eventpb.ConnectionType(1001 + random.IntN(4))
		case 1:
			p.addr = text()
		}
		switch i % 10 {
		case 0:
			r.open(p)
		case 1:
			r.message(p, true, "version", random.IntN(500), version(text()))
		case 2:
			list := addrV2()
			for range random.IntN(4) {
				a := ipv4(p.addr, r.now.Add(time.Duration(random.Int64N(int64(20*365*24*time.Hour)))-10*365*24*time.Hour), random.Uint64())
				list.GetAddrv2().Addresses = append(list.GetAddrv2().GetAddresses(), a)
			}
			r.message(p, random.IntN(2) == 0, []string{"addr", "addrv2"}[random.IntN(2)], random.IntN(30_000), list)
		case 3:
			t, in := decode.MessageType(random.IntN(int(decode.MessageTypes))), true
			if sentByCore(t) {
				in = random.IntN(2) == 0
			}
			r.message(p, in, t.String(), random.IntN(4_000_000), nil)
			r.work(time.Duration(random.Int64N(int64(time.Second))))
		case 4:
			r.message(p, true, text(), random.IntN(4_000_000), nil)
		case 5:
			r.misbehaving(p, text())
			r.mempool(&eventpb.MempoolEvent{Event: &eventpb.MempoolEvent_Rejected{Rejected: &eventpb.Rejected{Txid: hash(text(), i), Reason: proto.String(text())}}})
			r.mempool(&eventpb.MempoolEvent{Event: &eventpb.MempoolEvent_Replaced{Replaced: &eventpb.Replaced{ReplacedTxid: hash("r", i), ReplacementId: hash("r", i+10)}}})
		case 6:
			items := inventory(random.IntN(10), func(int) *eventpb.InventoryItem { return wtx(hash(text(), i)) })
			r.message(p, random.IntN(2) == 0, "getdata", 37*len(items), getData(items...))
		case 7:
			r.message(p, true, "headers", 82, headers(header(hash(text(), i), r.now)))
			r.message(p, true, "reject", 50, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Reject{Reject: &eventpb.Reject{
				RejectedCommand: proto.String(text()), Reason: eventpb.Reject_RejectReason(random.IntN(300)).Enum()}}})
			r.message(p, true, "feefilter", 8, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Feefilter{Feefilter: &eventpb.FeeFilter{Fee: proto.Int64(int64(random.Uint64()))}}})
		case 8:
			r.close(p, r.now.Add(-time.Duration(random.Int64N(int64(100*24*time.Hour)))))
			r.mempool(&eventpb.MempoolEvent{Event: &eventpb.MempoolEvent_Removed{Removed: &eventpb.Removed{Txid: hash(text(), i), Reason: proto.String(text()), EntryTime: proto.Uint64(random.Uint64())}}})
		default:
			r.hostileRest(random, text)
		}
	}
}

// sentByCore is whether Bitcoin Core ever sends a message type.
func sentByCore(t decode.MessageType) bool {
	switch t {
	case decode.MessageAlert, decode.MessageFilterAdd, decode.MessageFilterClear, decode.MessageFilterLoad,
		decode.MessageGetBlocks, decode.MessageGetCFCheckpt, decode.MessageGetCFHeaders, decode.MessageGetCFilters,
		decode.MessageMempool, decode.MessageReject, decode.MessageOther:
		return false
	default:
		return true
	}
}

// hostileRest are the sources other than the tracepoints.
func (r *rig) hostileRest(random *rand.Rand, text func() string) {
	r.t.Helper()
	switch random.IntN(8) {
	case 0:
		in := info(random.Uint32(), text(), text(), text(), text())
		in.Subversion, in.Services, in.Version = proto.String(text()), proto.String(text()), proto.Uint32(random.Uint32())
		in.BytesReceivedPerMessage = map[string]uint64{text(): random.Uint64()}
		r.peerInfos(in)
	case 1:
		r.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_EstimateSmartFee{EstimateSmartFee: &eventpb.EstimateSmartFee{
			FeeRate: proto.Float64(1), RequestedBlocks: proto.Uint32(random.Uint32()), Mode: eventpb.FeeEstimateMode(random.IntN(9)).Enum()}}})
	case 2:
		r.log(&eventpb.LogExtractor{Category: eventpb.LogDebugCategory(random.IntN(100)).Enum(), LogLevel: eventpb.LogLevel(random.IntN(10)).Enum(), CategoryName: proto.String(text()),
			LogEvent: &eventpb.LogExtractor_KnownLogMessage{KnownLogMessage: &eventpb.KnownLogMessage{Template: eventpb.LogTemplate(random.IntN(1000)).Enum()}}})
	case 3:
		r.log(&eventpb.LogExtractor{LogEvent: &eventpb.LogExtractor_BlockCheckedLog{BlockCheckedLog: &eventpb.BlockCheckedLog{State: proto.String(text())}}})
	case 4:
		r.status(&eventpb.Status{
			Sources:     []*eventpb.SourceStatus{{Source: proto.String(text()), Up: proto.Bool(true)}},
			Losses:      []*eventpb.Loss{{Source: proto.String(text()), Stage: proto.String(text()), Reason: proto.String(text()), Count: proto.Uint64(1)}},
			Queues:      []*eventpb.QueueStatus{{Sink: proto.String(text())}},
			Tracepoints: []*eventpb.TracepointStatus{{Name: proto.String(text())}},
			Node:        &eventpb.NodeStatus{Chain: proto.String(text())},
		})
	case 5:
		r.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_ChainTips{ChainTips: &eventpb.ChainTips{Tips: []*eventpb.ChainTip{{Status: proto.String(text())}}}}})
	case 6:
		r.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_AddrmanInfo{AddrmanInfo: &eventpb.AddrManInfo{Networks: map[string]*eventpb.AddrManInfoNetwork{text(): {}}}}})
	default:
		r.p2p(&eventpb.P2PExtractor{P2PEvent: &eventpb.P2PExtractor_LinkState{LinkState: &eventpb.LinkState{State: eventpb.LinkState_STATE_UP.Enum()}}, Link: &eventpb.Link{Id: proto.Uint64(random.Uint64())}})
	}
}

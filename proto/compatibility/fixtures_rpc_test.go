package compatibility_test

import (
	pb "github.com/peerobserver/peerobserver/proto/eventpb"
)

func rpcFixtures() []fixture {
	networkWire := [][]byte{varint(1, 71), varint(2, 72), varint(3, 73)}
	network := &pb.AddrManInfoNetwork{New: new(uint64(71)), Tried: new(uint64(72)), Total: new(uint64(73))}
	uploadWire := [][]byte{varint(1, 86400), varint(2, 81), varint(3, 1), varint(4, 1), varint(5, 82), varint(6, 83)}
	upload := &pb.UploadTarget{
		Timeframe: new(uint64(86400)), Target: new(uint64(81)), TargetReached: new(true), ServeHistoricalBlocks: new(true),
		BytesLeftInCycle: new(uint64(82)), TimeLeftInCycle: new(uint64(83)),
	}
	totalsWire := [][]byte{varint(1, 84), varint(2, 85), varint(3, 1_700_000_000_000), chunk(4, uploadWire...)}
	totals := &pb.NetTotals{
		TotalBytesReceived: new(uint64(84)), TotalBytesSent: new(uint64(85)), TimeMillis: new(uint64(1_700_000_000_000)), UploadTarget: upload,
	}
	memoryWire := [][]byte{varint(1, 1), varint(2, 2), varint(3, 3), varint(4, 4), varint(5, 5), varint(6, 6)}
	memory := &pb.MemoryInfo{
		Used: new(uint64(1)), Free: new(uint64(2)), Total: new(uint64(3)), Locked: new(uint64(4)), ChunksUsed: new(uint64(5)), ChunksFree: new(uint64(6)),
	}
	addrmanInfoWire := [][]byte{chunk(1, text(1, "ipv4"), chunk(2, networkWire...))}
	addrmanInfo := &pb.AddrManInfo{Networks: map[string]*pb.AddrManInfoNetwork{"ipv4": network}}
	feeWire := [][]byte{double(1, 1.5), varint(2, 2), varint(3, 1), varint(4, 2), text(5, "Insufficient data")}
	fee := &pb.EstimateSmartFee{
		FeeRate: new(1.5), Blocks: new(uint32(2)), RequestedBlocks: new(uint32(1)),
		Mode: pb.FeeEstimateMode_FEE_ESTIMATE_MODE_CONSERVATIVE.Enum(), Errors: []string{"Insufficient data"},
	}
	return []fixture{
		{peerInfoWire(), peerInfo()},
		{[][]byte{chunk(1, peerInfoWire()...)}, &pb.PeerInfos{Infos: []*pb.PeerInfo{peerInfo()}}},
		{mempoolInfoWire(), mempoolInfo()},
		{uploadWire, upload},
		{totalsWire, totals},
		{memoryWire, memory},
		{networkWire, network},
		{addrmanInfoWire, addrmanInfo},
		{chainTxStatsWire(), chainTxStats()},
		{networkInfoWire(), networkInfo()},
		{networkInfoNetworkWire(), networkInfoNetwork()},
		{localAddressWire(), localAddress()},
		{blockchainInfoWire(), blockchainInfo()},
		{orphanWire(), orphan()},
		{[][]byte{chunk(1, orphanWire()...)}, &pb.OrphanTxs{Orphans: []*pb.OrphanTx{orphan()}}},
		{addrmanEntryWire(), addrmanEntry()},
		{bucketWire(), bucket()},
		{addrmanWire(), addrman()},
		{feeWire, fee},
		{[][]byte{chunk(1, chunk(1, peerInfoWire()...))}, &pb.RpcExtractor{
			RpcEvent: &pb.RpcExtractor_PeerInfos{PeerInfos: &pb.PeerInfos{Infos: []*pb.PeerInfo{peerInfo()}}},
		}},
		{[][]byte{chunk(2, mempoolInfoWire()...)}, &pb.RpcExtractor{RpcEvent: &pb.RpcExtractor_MempoolInfo{MempoolInfo: mempoolInfo()}}},
		{[][]byte{varint(3, 3600)}, &pb.RpcExtractor{RpcEvent: &pb.RpcExtractor_Uptime{Uptime: 3600}}},
		{[][]byte{chunk(4, totalsWire...)}, &pb.RpcExtractor{RpcEvent: &pb.RpcExtractor_NetTotals{NetTotals: totals}}},
		{[][]byte{chunk(5, memoryWire...)}, &pb.RpcExtractor{RpcEvent: &pb.RpcExtractor_MemoryInfo{MemoryInfo: memory}}},
		{[][]byte{chunk(6, addrmanInfoWire...)}, &pb.RpcExtractor{RpcEvent: &pb.RpcExtractor_AddrmanInfo{AddrmanInfo: addrmanInfo}}},
		{[][]byte{chunk(7, chainTxStatsWire()...)}, &pb.RpcExtractor{RpcEvent: &pb.RpcExtractor_ChainTxStats{ChainTxStats: chainTxStats()}}},
		{[][]byte{chunk(8, networkInfoWire()...)}, &pb.RpcExtractor{RpcEvent: &pb.RpcExtractor_NetworkInfo{NetworkInfo: networkInfo()}}},
		{[][]byte{chunk(9, blockchainInfoWire()...)}, &pb.RpcExtractor{RpcEvent: &pb.RpcExtractor_BlockchainInfo{BlockchainInfo: blockchainInfo()}}},
		{[][]byte{chunk(10, chunk(1, orphanWire()...))}, &pb.RpcExtractor{
			RpcEvent: &pb.RpcExtractor_OrphanTxs{OrphanTxs: &pb.OrphanTxs{Orphans: []*pb.OrphanTx{orphan()}}},
		}},
		{[][]byte{chunk(11, addrmanWire()...)}, &pb.RpcExtractor{RpcEvent: &pb.RpcExtractor_Addrman{Addrman: addrman()}}},
		{[][]byte{chunk(12, feeWire...)}, &pb.RpcExtractor{RpcEvent: &pb.RpcExtractor_EstimateSmartFee{EstimateSmartFee: fee}}},
	}
}

func peerInfoWire() [][]byte {
	return [][]byte{
		varint(1, 101), text(2, "192.0.2.2:8333"), text(3, "192.0.2.3:8333"), text(4, "192.0.2.4:8333"), text(5, "ipv4"),
		varint(6, 64496), text(7, "0000000000000c09"), varint(8, 1), varint(9, 109), varint(10, 110), varint(11, 111),
		varint(12, 112), varint(13, 113), varint(14, 114), varint(15, 115), varint(16, 1<<64-116), double(17, 0.017), double(18, 0.018),
		double(19, 0.019), varint(20, 70016), text(21, "/x:1/"), varint(22, 1), varint(23, 1), varint(24, 1), varint(25, 125),
		varint(26, 126), varint(27, 127), varint(28, 900001), varint(28, 900002), varint(29, 1), varint(30, 130), varint(31, 131),
		text(32, "noban"), double(33, 0.00001), chunk(34, text(1, "inv"), varint(2, 134)), chunk(35, text(1, "tx"), varint(2, 135)),
		text(36, "manual"), text(37, "v2"), varint(38, 138), double(129, 1.29),
	}
}

func peerInfo() *pb.PeerInfo {
	return &pb.PeerInfo{
		Id: new(uint32(101)), Address: new("192.0.2.2:8333"), AddressBind: new("192.0.2.3:8333"), AddressLocal: new("192.0.2.4:8333"), Network: new("ipv4"),
		MappedAs: new(uint32(64496)), Services: new("0000000000000c09"), RelayTransactions: new(true), LastSend: new(int64(109)),
		LastReceived: new(int64(110)), LastTransaction: new(int64(111)), LastBlock: new(int64(112)), BytesSent: new(uint64(113)), BytesReceived: new(uint64(114)),
		ConnectionTime: new(int64(115)), TimeOffset: new(int64(-116)), PingTime: new(0.017), MinimumPing: new(0.018), PingWait: new(0.019),
		Version: new(uint32(70016)), Subversion: new("/x:1/"), Inbound: new(true), Bip152HbTo: new(true), Bip152HbFrom: new(true),
		StartingHeight: new(int64(125)), SyncedHeaders: new(int64(126)), SyncedBlocks: new(int64(127)), Inflight: []uint64{900001, 900002},
		AddrRelayEnabled: new(true), AddrProcessed: new(uint64(130)), AddrRateLimited: new(uint64(131)), Permissions: []string{"noban"},
		Minfeefilter: new(0.00001), BytesSentPerMessage: map[string]uint64{"inv": 134}, BytesReceivedPerMessage: map[string]uint64{"tx": 135},
		ConnectionType: new("manual"), TransportProtocolType: new("v2"), InvToSend: new(uint64(138)), CpuLoad: new(1.29),
	}
}

func mempoolInfoWire() [][]byte {
	return [][]byte{
		varint(1, 1), varint(2, 202), varint(3, 203), varint(4, 204), double(5, 2.05), varint(6, 206), double(7, 2.07), double(8, 2.08),
		double(9, 2.09), varint(10, 210), varint(11, 1),
	}
}

func mempoolInfo() *pb.MempoolInfo {
	return &pb.MempoolInfo{
		Loaded: new(true), Size: new(int64(202)), Bytes: new(int64(203)), Usage: new(int64(204)), TotalFee: new(2.05), MaxMempool: new(int64(206)),
		Mempoolminfee: new(2.07), Minrelaytxfee: new(2.08), Incrementalrelayfee: new(2.09), Unbroadcastcount: new(int64(210)), Fullrbf: new(true),
	}
}

func chainTxStatsWire() [][]byte {
	return [][]byte{
		varint(1, 1_700_000_000), varint(2, 1<<32-1), text(3, "00ee"), varint(4, 304), varint(5, 305), varint(6, 306), varint(7, 307), double(8, 3.08),
	}
}

func chainTxStats() *pb.ChainTxStats {
	return &pb.ChainTxStats{
		Time: new(uint32(1_700_000_000)), TxCount: new(uint32(1<<32 - 1)), WindowFinalBlockHash: new("00ee"), WindowFinalBlockHeight: new(uint32(304)),
		WindowBlockCount: new(uint32(305)), WindowTxCount: new(uint32(306)), WindowInterval: new(uint32(307)), TxRate: new(3.08),
	}
}

func networkInfoNetworkWire() [][]byte {
	return [][]byte{text(1, "onion"), varint(2, 1), varint(3, 1), text(4, "127.0.0.1:9050"), varint(5, 1)}
}

func networkInfoNetwork() *pb.NetworkInfoNetwork {
	return &pb.NetworkInfoNetwork{
		Name: new("onion"), Limited: new(true), Reachable: new(true), Proxy: new("127.0.0.1:9050"), ProxyRandomizeCredentials: new(true),
	}
}

func localAddressWire() [][]byte {
	return [][]byte{text(1, "192.0.2.5"), varint(2, 8333), varint(3, 403)}
}

func localAddress() *pb.NetworkInfoLocalAddress {
	return &pb.NetworkInfoLocalAddress{Address: new("192.0.2.5"), Port: new(uint32(8333)), Score: new(uint32(403))}
}

func networkInfoWire() [][]byte {
	return [][]byte{
		varint(1, 310000), text(2, "/Satoshi:31.0.0/"), varint(3, 70016), text(4, "0c09"), text(5, "NETWORK"), text(5, "WITNESS"), varint(6, 1),
		varint(7, 1<<64-7), varint(8, 408), varint(9, 409), varint(10, 410), varint(11, 1), chunk(12, networkInfoNetworkWire()...),
		double(13, 0.1), double(14, 0.2), chunk(15, localAddressWire()...), text(16, "pre-release"),
	}
}

func networkInfo() *pb.NetworkInfo {
	return &pb.NetworkInfo{
		Version: new(int32(310000)), Subversion: new("/Satoshi:31.0.0/"), ProtocolVersion: new(int32(70016)), LocalServices: new("0c09"),
		LocalServicesNames: []string{"NETWORK", "WITNESS"}, LocalRelay: new(true), TimeOffset: new(int32(-7)), Connections: new(uint32(408)),
		ConnectionsIn: new(uint32(409)), ConnectionsOut: new(uint32(410)), NetworkActive: new(true), Networks: []*pb.NetworkInfoNetwork{networkInfoNetwork()},
		RelayFee: new(0.1), IncrementalFee: new(0.2), LocalAddresses: []*pb.NetworkInfoLocalAddress{localAddress()}, Warnings: []string{"pre-release"},
	}
}

func blockchainInfoWire() [][]byte {
	return [][]byte{
		text(1, "regtest"), varint(2, 502), varint(3, 503), text(4, "00ff"), double(5, 5.05), varint(6, 506), varint(7, 507), double(8, 0.99),
		varint(9, 1), text(10, "0200"), varint(11, 1<<40), varint(12, 1), varint(13, 513), varint(14, 514), text(15, "w1"), text(15, "w2"),
	}
}

func blockchainInfo() *pb.BlockchainInfo {
	return &pb.BlockchainInfo{
		Chain: new("regtest"), Blocks: new(uint32(502)), Headers: new(uint32(503)), Bestblockhash: new("00ff"), Difficulty: new(5.05), Time: new(uint32(506)),
		Mediantime: new(uint32(507)), Verificationprogress: new(0.99), Initialblockdownload: new(true), Chainwork: new("0200"), SizeOnDisk: new(uint64(1 << 40)),
		Pruned: new(true), PruneHeight: new(uint32(513)), PruneTargetSize: new(uint64(514)), Warnings: []string{"w1", "w2"},
	}
}

func orphanWire() [][]byte {
	return [][]byte{
		text(1, "aa"), text(2, "bb"), varint(3, 603), varint(4, 604), varint(5, 605), varint(6, 7), varint(6, 8), chunk(7, transactionWire()...),
	}
}

func orphan() *pb.OrphanTx {
	return &pb.OrphanTx{
		Txid: new("aa"), Wtxid: new("bb"), Bytes: new(uint64(603)), Vsize: new(uint64(604)), Weight: new(uint64(605)), From: []uint64{7, 8}, Transaction: transaction(),
	}
}

func addrmanEntryWire() [][]byte {
	return [][]byte{
		text(1, "192.0.2.6"), varint(2, 8333), text(3, "ipv4"), varint(4, 9), varint(5, 705), text(6, "192.0.2.7"), text(7, "ipv6"), varint(8, 708), varint(9, 709),
	}
}

func addrmanEntry() *pb.AddrmanEntry {
	return &pb.AddrmanEntry{
		Address: new("192.0.2.6"), Port: new(uint32(8333)), Network: new("ipv4"), Services: new(uint64(9)), Time: new(int64(705)), Source: new("192.0.2.7"),
		SourceNetwork: new("ipv6"), MappedAs: new(uint32(708)), SourceMappedAs: new(uint32(709)),
	}
}

func bucketWire() [][]byte {
	return [][]byte{chunk(1, varint(1, 63), chunk(2, addrmanEntryWire()...))}
}

func bucket() *pb.AddrmanBucket {
	return &pb.AddrmanBucket{Entries: map[uint32]*pb.AddrmanEntry{63: addrmanEntry()}}
}

func addrmanWire() [][]byte {
	return [][]byte{
		chunk(1, varint(1, 1023), chunk(2, bucketWire()...)),
		chunk(2, varint(1, 255), chunk(2, bucketWire()...)),
	}
}

func addrman() *pb.Addrman {
	return &pb.Addrman{New: map[uint32]*pb.AddrmanBucket{1023: bucket()}, Tried: map[uint32]*pb.AddrmanBucket{255: bucket()}}
}

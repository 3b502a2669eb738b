package compatibility_test

import (
	pb "github.com/peerobserver/peerobserver/proto/eventpb"
)

// messageEventFixtures has one message event for each case of its oneof. Fields of the
// payloads themselves are in payloadFixtures.
func messageEventFixtures() []fixture {
	with := func(payload []byte) [][]byte { return [][]byte{chunk(1, metadataWire()...), payload} }
	event := func(m *pb.MessageEvent) *pb.MessageEvent {
		m.Meta = metadata()
		return m
	}
	address := chunk(1, varint(1, 1), text(2, "192.0.2.1"), varint(9, 2), varint(10, 3))
	addresses := []*pb.Address{{
		Timestamp: new(uint32(1)), Address: &pb.Address_Ipv4{Ipv4: "192.0.2.1"}, Services: new(uint64(2)), Port: new(uint32(3)),
	}}
	item := chunk(1, chunk(3, hash(1)))
	items := []*pb.InventoryItem{{Item: &pb.InventoryItem_Wtx{Wtx: hash(1)}}}
	header := chunk(1, blockHeaderWire()...)

	return []fixture{
		{metadataWire(), metadata()},
		{with(chunk(2, fixed64(1, 21))), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Ping{Ping: &pb.Ping{Value: new(uint64(21))}}})},
		{with(chunk(3, fixed64(1, 22))), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Pong{Pong: &pb.Pong{Value: new(uint64(22))}}})},
		{with(chunk(4, item)), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Inv{Inv: &pb.Inv{Items: items}}})},
		{with(chunk(5, item)), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Getdata{Getdata: &pb.GetData{Items: items}}})},
		{with(chunk(6, chunk(1, transactionWire()...))), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Tx{Tx: &pb.Tx{Tx: transaction()}}})},
		{with(chunk(7, header)), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Headers{Headers: &pb.Headers{Headers: []*pb.BlockHeader{blockHeader()}}}})},
		{with(chunk(8, address)), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Addr{Addr: &pb.Addr{Addresses: addresses}}})},
		{with(chunk(9, address)), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Addrv2{Addrv2: &pb.AddrV2{Addresses: addresses}}})},
		{with(chunk(10, zigzag(1, 1000))), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Feefilter{Feefilter: &pb.FeeFilter{Fee: new(int64(1000))}}})},
		{with(chunk(11, locatorWire()...)), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Getheaders{Getheaders: &pb.GetHeaders{
			Version: new(uint32(70016)), LocatorHashes: [][]byte{hash(1), hash(2)}, StopHash: hash(0),
		}}})},
		{with(chunk(12, locatorWire()...)), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Getblocks{Getblocks: &pb.GetBlocks{
			Version: new(uint32(70016)), LocatorHashes: [][]byte{hash(1), hash(2)}, StopHash: hash(0),
		}}})},
		{with(chunk(13, versionWire()...)), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Version{Version: version()}})},
		{with(chunk(14, item)), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Notfound{Notfound: &pb.NotFound{Items: items}}})},
		{with(chunk(16, header, varint(2, 1))), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Compactblock{Compactblock: &pb.CompactBlock{
			Header: blockHeader(), Nonce: new(uint64(1)),
		}}})},
		{with(chunk(17, varint(1, 1), varint(2, 2))), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Sendcompact{Sendcompact: &pb.SendCompact{
			SendCompact: new(true), Version: new(uint64(2)),
		}}})},
		{with(chunk(18, header)), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Block{Block: &pb.Block{Header: blockHeader()}}})},
		{with(chunk(19, chunk(1, hash(3)))), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Getblocktxn{Getblocktxn: &pb.GetBlockTxn{BlockHash: hash(3)}}})},
		{with(chunk(20, chunk(1, hash(4)))), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Blocktxn{Blocktxn: &pb.BlockTxn{BlockHash: hash(4)}}})},
		{with(chunk(21, chunk(1, []byte{9}))), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Alert{Alert: &pb.Alert{Alert: []byte{9}}}})},
		{with(chunk(22, chunk(1, []byte{8}))), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Filteradd{Filteradd: &pb.FilterAdd{Filter: []byte{8}}}})},
		{with(chunk(23, filterLoadWire()...)), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Filterload{Filterload: filterLoad()}})},
		{with(chunk(24, varint(1, 0), chunk(2, hash(5)))), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Getcfcheckpt{Getcfcheckpt: &pb.GetCFCheckpt{
			FilterType: new(uint32(0)), StopHash: hash(5),
		}}})},
		{with(chunk(25, varint(1, 0), chunk(2, hash(6)), chunk(3, hash(7)))), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Cfheaders{Cfheaders: &pb.CFHeaders{
			FilterType: new(uint32(0)), StopHash: hash(6), PreviousFilterHeader: hash(7),
		}}})},
		{with(chunk(26, varint(1, 0), chunk(2, hash(8)), chunk(3, []byte{1}))), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Cfilter{Cfilter: &pb.CFilter{
			FilterType: new(uint32(0)), BlockHash: hash(8), Filter: []byte{1},
		}}})},
		{with(chunk(27, varint(1, 0), chunk(2, hash(9)))), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Cfcheckpt{Cfcheckpt: &pb.CFCheckpt{
			FilterType: new(uint32(0)), StopHash: hash(9),
		}}})},
		{with(chunk(28, varint(1, 0), varint(2, 4), chunk(3, hash(1)))), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Getcfheaders{Getcfheaders: &pb.GetCFHeaders{
			FilterType: new(uint32(0)), StartHeight: new(uint32(4)), StopHash: hash(1),
		}}})},
		{with(chunk(29, varint(1, 0), varint(2, 5), chunk(3, hash(2)))), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Getcfilter{Getcfilter: &pb.GetCFilter{
			FilterType: new(uint32(0)), StartHeight: new(uint32(5)), StopHash: hash(2),
		}}})},
		{with(chunk(30, header, varint(2, 6))), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Merkleblock{Merkleblock: &pb.MerkleBlock{
			Header: blockHeader(), NumTransactions: new(uint32(6)),
		}}})},
		{with(chunk(31, text(1, "abc"), chunk(2, []byte{7}))), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Unknown{Unknown: &pb.Unknown{
			Command: new("abc"), Payload: []byte{7},
		}}})},
		{with(varint(32, 1)), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Verack{Verack: true}})},
		{with(varint(33, 1)), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Sendheaders{Sendheaders: true}})},
		{with(varint(34, 1)), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Getaddr{Getaddr: true}})},
		{with(varint(35, 1)), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Mempool{Mempool: true}})},
		{with(varint(36, 1)), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Wtxidrelay{Wtxidrelay: true}})},
		{with(varint(37, 1)), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Sendaddrv2{Sendaddrv2: true}})},
		{with(varint(38, 1)), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Filterclear{Filterclear: true}})},
		{with(chunk(39, rejectWire()...)), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Reject{Reject: reject()}})},
		{with(varint(40, 1)), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Emptyaddrv2{Emptyaddrv2: true}})},
		{with(varint(41, 1)), event(&pb.MessageEvent{Msg: &pb.MessageEvent_Oldping{Oldping: true}})},
	}
}

func payloadFixtures() []fixture {
	item := chunk(1, varint(15, 1))
	items := []*pb.InventoryItem{{Item: &pb.InventoryItem_Error{Error: true}}}
	address := chunk(1, varint(1, 4), text(7, "fc00::2"), varint(9, 5), varint(10, 6))
	addresses := []*pb.Address{{
		Timestamp: new(uint32(4)), Address: &pb.Address_Cjdns{Cjdns: "fc00::2"}, Services: new(uint64(5)), Port: new(uint32(6)),
	}}
	twice := func(one []byte) [][]byte { return [][]byte{one, one} }
	header := chunk(1, blockHeaderWire()...)

	return []fixture{
		{[][]byte{fixed64(1, 1<<63)}, &pb.Ping{Value: new(uint64(1 << 63))}},
		{[][]byte{fixed64(1, 1<<63+1)}, &pb.Pong{Value: new(uint64(1<<63 + 1))}},
		{twice(item), &pb.Inv{Items: []*pb.InventoryItem{items[0], items[0]}}},
		{twice(item), &pb.NotFound{Items: []*pb.InventoryItem{items[0], items[0]}}},
		{twice(item), &pb.GetData{Items: []*pb.InventoryItem{items[0], items[0]}}},
		{twice(address), &pb.Addr{Addresses: []*pb.Address{addresses[0], addresses[0]}}},
		{twice(address), &pb.AddrV2{Addresses: []*pb.Address{addresses[0], addresses[0]}}},
		{[][]byte{
			header, varint(2, 1<<63), chunk(3, []byte{1, 2, 3, 4, 5, 6}), chunk(3, []byte{7, 8, 9, 10, 11, 12}),
			chunk(4, varint(1, 0), chunk(2, transactionWire()...)),
		}, &pb.CompactBlock{
			Header: blockHeader(), Nonce: new(uint64(1 << 63)), ShortIds: [][]byte{{1, 2, 3, 4, 5, 6}, {7, 8, 9, 10, 11, 12}},
			Transactions: []*pb.PrefilledTransaction{{DiffIndex: new(uint32(0)), Tx: transaction()}},
		}},
		{[][]byte{chunk(1, transactionWire()...)}, &pb.Tx{Tx: transaction()}},
		{[][]byte{header, header}, &pb.Headers{Headers: []*pb.BlockHeader{blockHeader(), blockHeader()}}},
		// Repeated numbers come one by one from a proto2 writer …
		{[][]byte{chunk(1, hash(1)), varint(2, 1), varint(2, 300)}, &pb.GetBlockTxn{BlockHash: hash(1), TxIndexes: []uint64{1, 300}}},
		// … and packed from a proto3 writer; either is understood.
		{[][]byte{chunk(1, hash(1)), chunk(2, []byte{1, 0xac, 0x02})}, &pb.GetBlockTxn{BlockHash: hash(1), TxIndexes: []uint64{1, 300}}},
		{[][]byte{chunk(1, hash(2)), chunk(2, transactionWire()...)}, &pb.BlockTxn{BlockHash: hash(2), Transactions: []*pb.Transaction{transaction()}}},
		{[][]byte{chunk(1, []byte{1, 2, 3})}, &pb.Alert{Alert: []byte{1, 2, 3}}},
		{rejectWire(), reject()},
		{[][]byte{varint(1, 0), varint(2, 1)}, &pb.SendCompact{SendCompact: new(false), Version: new(uint64(1))}},
		{[][]byte{zigzag(1, -5)}, &pb.FeeFilter{Fee: new(int64(-5))}},
		{locatorWire(), &pb.GetHeaders{Version: new(uint32(70016)), LocatorHashes: [][]byte{hash(1), hash(2)}, StopHash: hash(0)}},
		{locatorWire(), &pb.GetBlocks{Version: new(uint32(70016)), LocatorHashes: [][]byte{hash(1), hash(2)}, StopHash: hash(0)}},
		{versionWire(), version()},
		{[][]byte{header, chunk(2, transactionWire()...), chunk(2, transactionWire()...)}, &pb.Block{
			Header: blockHeader(), Transactions: []*pb.Transaction{transaction(), transaction()},
		}},
		{[][]byte{chunk(1, []byte{4})}, &pb.FilterAdd{Filter: []byte{4}}},
		{filterLoadWire(), filterLoad()},
		{[][]byte{varint(1, 1), chunk(2, hash(1))}, &pb.GetCFCheckpt{FilterType: new(uint32(1)), StopHash: hash(1)}},
		{[][]byte{varint(1, 2), chunk(2, hash(2)), chunk(3, hash(3)), chunk(3, hash(4))}, &pb.CFCheckpt{
			FilterType: new(uint32(2)), StopHash: hash(2), FilterHeaders: [][]byte{hash(3), hash(4)},
		}},
		{[][]byte{varint(1, 3), varint(2, 800000), chunk(3, hash(5))}, &pb.GetCFHeaders{
			FilterType: new(uint32(3)), StartHeight: new(uint32(800000)), StopHash: hash(5),
		}},
		{[][]byte{varint(1, 4), chunk(2, hash(6)), chunk(3, hash(7)), chunk(4, hash(8))}, &pb.CFHeaders{
			FilterType: new(uint32(4)), StopHash: hash(6), PreviousFilterHeader: hash(7), FilterHashes: [][]byte{hash(8)},
		}},
		{[][]byte{varint(1, 5), varint(2, 700000), chunk(3, hash(9))}, &pb.GetCFilter{
			FilterType: new(uint32(5)), StartHeight: new(uint32(700000)), StopHash: hash(9),
		}},
		{[][]byte{varint(1, 6), chunk(2, hash(1)), chunk(3, []byte{5})}, &pb.CFilter{
			FilterType: new(uint32(6)), BlockHash: hash(1), Filter: []byte{5},
		}},
		{[][]byte{header, varint(2, 7), varint(3, 1), varint(3, 0), chunk(4, hash(2)), chunk(4, hash(3))}, &pb.MerkleBlock{
			Header: blockHeader(), NumTransactions: new(uint32(7)), Bits: []bool{true, false}, Hashes: [][]byte{hash(2), hash(3)},
		}},
		{[][]byte{text(1, "feature"), chunk(2, []byte{6})}, &pb.Unknown{Command: new("feature"), Payload: []byte{6}}},
	}
}

func locatorWire() [][]byte {
	return [][]byte{varint(1, 70016), chunk(2, hash(1)), chunk(2, hash(2)), chunk(3, hash(0))}
}

func rejectWire() [][]byte {
	return [][]byte{text(1, "tx"), varint(2, 6), text(3, "low"), chunk(4, hash(3))}
}

func reject() *pb.Reject {
	return &pb.Reject{
		RejectedCommand: new("tx"), Reason: pb.Reject_REJECT_REASON_FEE.Enum(), ReasonDetails: new("low"), Hash: hash(3),
	}
}

func filterLoadWire() [][]byte {
	return [][]byte{chunk(1, []byte{0xff}), varint(2, 11), varint(3, 1<<32-1), varint(4, 2)}
}

func filterLoad() *pb.FilterLoad {
	return &pb.FilterLoad{
		Filter: []byte{0xff}, HashFuncs: new(uint32(11)), Tweak: new(uint32(1<<32 - 1)),
		Flags: pb.FilterLoad_BLOOM_FLAGS_PUBKEY_ONLY.Enum(),
	}
}

func versionWire() [][]byte {
	address := func(number int, port uint64) []byte {
		return chunk(number, varint(1, 0), text(3, "::"), varint(9, 9), varint(10, port))
	}
	return [][]byte{
		varint(1, 70016), varint(2, 3081), zigzag(3, -1), address(4, 8333), address(5, 0),
		varint(6, 1<<63+5), text(7, "/Satoshi:31.0.0/"), zigzag(8, -2), varint(9, 1),
	}
}

func version() *pb.Version {
	address := func(port uint32) *pb.Address {
		return &pb.Address{
			Timestamp: new(uint32(0)), Address: &pb.Address_Ipv6{Ipv6: "::"}, Services: new(uint64(9)), Port: new(port),
		}
	}
	return &pb.Version{
		Version: new(uint32(70016)), Services: new(uint64(3081)), Timestamp: new(int64(-1)),
		Receiver: address(8333), Sender: address(0), Nonce: new(uint64(1<<63 + 5)),
		UserAgent: new("/Satoshi:31.0.0/"), StartHeight: new(int32(-2)), Relay: new(true),
	}
}

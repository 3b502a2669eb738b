package compatibility_test

import (
	pb "github.com/peerobserver/peerobserver/proto/eventpb"
)

func connectionFixtures() []fixture {
	wire := [][]byte{varint(1, 1<<40), text(2, "192.0.2.9:8333"), varint(3, 4), varint(4, 6)}
	conn := &pb.Connection{
		PeerId: new(uint64(1 << 40)), Addr: new("192.0.2.9:8333"), ConnType: pb.ConnType_CONN_TYPE_FEELER.Enum(), Network: new(uint32(6)),
	}
	with := func(v uint64) [][]byte { return [][]byte{chunk(1, wire...), varint(2, v)} }
	closed := &pb.ClosedConnection{Conn: conn, TimeEstablished: new(uint64(61))}
	evicted := &pb.EvictedInboundConnection{Conn: conn, TimeEstablished: new(uint64(62))}
	inbound := &pb.InboundConnection{Conn: conn, ExistingConnections: new(uint64(63))}
	outbound := &pb.OutboundConnection{Conn: conn, ExistingConnections: new(uint64(64))}
	misbehaving := &pb.MisbehavingConnection{Id: new(uint64(65)), Message: new("headers not connected")}
	misbehavingWire := [][]byte{varint(1, 65), text(2, "headers not connected")}
	return []fixture{
		{wire, conn},
		{with(61), closed},
		{with(62), evicted},
		{with(63), inbound},
		{with(64), outbound},
		{misbehavingWire, misbehaving},
		{[][]byte{chunk(1, with(61)...)}, &pb.ConnectionEvent{Event: &pb.ConnectionEvent_Closed{Closed: closed}}},
		{[][]byte{chunk(2, with(62)...)}, &pb.ConnectionEvent{Event: &pb.ConnectionEvent_InboundEvicted{InboundEvicted: evicted}}},
		{[][]byte{chunk(3, with(63)...)}, &pb.ConnectionEvent{Event: &pb.ConnectionEvent_Inbound{Inbound: inbound}}},
		{[][]byte{chunk(4, with(64)...)}, &pb.ConnectionEvent{Event: &pb.ConnectionEvent_Outbound{Outbound: outbound}}},
		{[][]byte{chunk(5, misbehavingWire...)}, &pb.ConnectionEvent{Event: &pb.ConnectionEvent_Misbehaving{Misbehaving: misbehaving}}},
	}
}

func mempoolFixtures() []fixture {
	addedWire := [][]byte{chunk(1, hash(1)), varint(2, 141), varint(3, 1410)}
	added := &pb.Added{Txid: hash(1), Vsize: new(int32(141)), Fee: new(int64(1410))}
	replacedWire := [][]byte{
		chunk(1, hash(2)), varint(2, 142), varint(3, 1420), varint(4, 1_700_000_001),
		chunk(5, hash(3)), varint(6, 143), varint(7, 1430), varint(8, 1),
	}
	replaced := &pb.Replaced{
		ReplacedTxid: hash(2), ReplacedVsize: new(int32(142)), ReplacedFee: new(int64(1420)), ReplacedEntryTime: new(uint64(1_700_000_001)),
		ReplacementId: hash(3), ReplacementVsize: new(int32(143)), ReplacementFee: new(int64(1430)), ReplacedByTransaction: new(true),
	}
	removedWire := [][]byte{chunk(1, hash(4)), text(2, "sizelimit"), varint(3, 144), varint(4, 1440), varint(5, 1_700_000_002)}
	removed := &pb.Removed{
		Txid: hash(4), Reason: new("sizelimit"), Vsize: new(int32(144)), Fee: new(int64(1440)), EntryTime: new(uint64(1_700_000_002)),
	}
	rejectedWire := [][]byte{chunk(1, hash(5)), text(2, "min relay fee not met")}
	rejected := &pb.Rejected{Txid: hash(5), Reason: new("min relay fee not met")}
	blockWire := [][]byte{chunk(1, hash(6)), varint(2, 900000), varint(3, 4000), varint(4, 7000), varint(5, 20000), varint(6, 150_000_000)}
	block := &pb.BlockConnected{
		Hash: hash(6), Height: new(int32(900000)), Transactions: new(int64(4000)), Inputs: new(int32(7000)),
		Sigops: new(int64(20000)), ConnectionTime: new(uint64(150_000_000)),
	}
	return []fixture{
		{addedWire, added},
		{replacedWire, replaced},
		{removedWire, removed},
		{rejectedWire, rejected},
		{[][]byte{chunk(1, addedWire...)}, &pb.MempoolEvent{Event: &pb.MempoolEvent_Added{Added: added}}},
		{[][]byte{chunk(2, replacedWire...)}, &pb.MempoolEvent{Event: &pb.MempoolEvent_Replaced{Replaced: replaced}}},
		{[][]byte{chunk(3, removedWire...)}, &pb.MempoolEvent{Event: &pb.MempoolEvent_Removed{Removed: removed}}},
		{[][]byte{chunk(4, rejectedWire...)}, &pb.MempoolEvent{Event: &pb.MempoolEvent_Rejected{Rejected: rejected}}},
		{blockWire, block},
		{[][]byte{chunk(1, blockWire...)}, &pb.ValidationEvent{Event: &pb.ValidationEvent_BlockConnected{BlockConnected: block}}},
	}
}

func p2pFixtures() []fixture {
	address := chunk(1, varint(1, 1), text(6, "x.b32.i2p"), varint(9, 2), varint(10, 0))
	announced := &pb.AddressAnnouncement{Addresses: []*pb.Address{{
		Timestamp: new(uint32(1)), Address: &pb.Address_I2P{I2P: "x.b32.i2p"}, Services: new(uint64(2)), Port: new(uint32(0)),
	}}}
	item := chunk(1, chunk(2, hash(1)))
	inventory := &pb.InventoryAnnouncement{Inventory: []*pb.InventoryItem{{Item: &pb.InventoryItem_Block{Block: hash(1)}}}}
	return []fixture{
		{[][]byte{varint(1, 1_234_567)}, &pb.PingDuration{Duration: new(uint64(1_234_567))}},
		{[][]byte{address}, announced},
		{[][]byte{item}, inventory},
		{[][]byte{chunk(1, varint(1, 5))}, &pb.P2PExtractor{
			P2PEvent: &pb.P2PExtractor_PingDuration{PingDuration: &pb.PingDuration{Duration: new(uint64(5))}},
		}},
		{[][]byte{chunk(2, address)}, &pb.P2PExtractor{P2PEvent: &pb.P2PExtractor_AddressAnnouncement{AddressAnnouncement: announced}}},
		{[][]byte{chunk(3, item)}, &pb.P2PExtractor{P2PEvent: &pb.P2PExtractor_InventoryAnnouncement{InventoryAnnouncement: inventory}}},
		{[][]byte{zigzag(4, 100)}, &pb.P2PExtractor{P2PEvent: &pb.P2PExtractor_FeefilterAnnouncement{FeefilterAnnouncement: 100}}},
	}
}

func logFixtures() []fixture {
	head := func(event []byte) [][]byte {
		return [][]byte{varint(1, 1_700_000_000_000_001), varint(2, 26), text(3, "msghand"), event, varint(7, 3), varint(8, 120)}
	}
	entry := func(e *pb.LogExtractor) *pb.LogExtractor {
		e.LogTimestamp = new(uint64(1_700_000_000_000_001))
		e.Category = pb.LogDebugCategory_LOG_DEBUG_CATEGORY_VALIDATION.Enum()
		e.Threadname = new("msghand")
		e.LogLevel = pb.LogLevel_LOG_LEVEL_DEBUG.Enum()
		e.LogLineBytes = new(uint64(120))
		return e
	}
	unknown := &pb.UnknownLogMessage{RawMessage: new("UpdateTip: new best=…")}
	connected := &pb.BlockConnectedLog{BlockHash: new("00ab"), BlockHeight: new(uint32(9))}
	connectedWire := [][]byte{text(1, "00ab"), varint(2, 9)}
	checked := &pb.BlockCheckedLog{BlockHash: new("00cd"), State: new("bad-txnmrklroot"), DebugMessage: new("hashMerkleRoot mismatch")}
	checkedWire := [][]byte{text(1, "00cd"), text(2, "bad-txnmrklroot"), text(3, "hashMerkleRoot mismatch")}
	return []fixture{
		{[][]byte{text(1, "UpdateTip: new best=…")}, unknown},
		{connectedWire, connected},
		{checkedWire, checked},
		{head(chunk(4, text(1, "UpdateTip: new best=…"))), entry(&pb.LogExtractor{LogEvent: &pb.LogExtractor_UnknownLogMessage{UnknownLogMessage: unknown}})},
		{head(chunk(5, connectedWire...)), entry(&pb.LogExtractor{LogEvent: &pb.LogExtractor_BlockConnectedLog{BlockConnectedLog: connected}})},
		{head(chunk(6, checkedWire...)), entry(&pb.LogExtractor{LogEvent: &pb.LogExtractor_BlockCheckedLog{BlockCheckedLog: checked}})},
	}
}

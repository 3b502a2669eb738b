package compatibility_test

import (
	pb "github.com/peerobserver/peerobserver/proto/eventpb"
)

func eventFixtures() []fixture {
	return []fixture{
		{[][]byte{chunk(1), varint(10, 1_700_000_000_123)}, &pb.Event{
			PeerObserverEvent: &pb.Event_EbpfExtractor{EbpfExtractor: &pb.EbpfExtractor{}}, Timestamp: new(uint64(1_700_000_000_123)),
		}},
		{[][]byte{chunk(2, varint(3, 9)), varint(10, 0)}, &pb.Event{
			PeerObserverEvent: &pb.Event_RpcExtractor{RpcExtractor: &pb.RpcExtractor{
				RpcEvent: &pb.RpcExtractor_Uptime{Uptime: 9},
			}}, Timestamp: new(uint64(0)),
		}},
		{[][]byte{chunk(3, zigzag(4, -1)), varint(10, 3)}, &pb.Event{
			PeerObserverEvent: &pb.Event_P2PExtractor{P2PExtractor: &pb.P2PExtractor{
				P2PEvent: &pb.P2PExtractor_FeefilterAnnouncement{FeefilterAnnouncement: -1},
			}}, Timestamp: new(uint64(3)),
		}},
		{[][]byte{
			chunk(4, varint(1, 0), varint(2, 0), text(3, ""), chunk(4, text(1, "x")), varint(7, 0), varint(8, 1)),
			varint(10, 4),
		}, &pb.Event{
			PeerObserverEvent: &pb.Event_LogExtractor{LogExtractor: &pb.LogExtractor{
				LogTimestamp: new(uint64(0)), Category: pb.LogDebugCategory_LOG_DEBUG_CATEGORY_UNKNOWN.Enum(), Threadname: new(""),
				LogEvent: &pb.LogExtractor_UnknownLogMessage{UnknownLogMessage: &pb.UnknownLogMessage{RawMessage: new("x")}},
				LogLevel: pb.LogLevel_LOG_LEVEL_INFO.Enum(), LogLineBytes: new(uint64(1)),
			}}, Timestamp: new(uint64(4)),
		}},
		{[][]byte{chunk(5, chunk(1, varint(1, 7), chunk(2, hash(5)))), varint(10, 5)}, &pb.Event{
			PeerObserverEvent: &pb.Event_IpcExtractor{IpcExtractor: &pb.IpcExtractor{
				IpcEvent: &pb.IpcExtractor_BlockTip{BlockTip: &pb.BlockTip{Height: new(int32(7)), Hash: hash(5)}},
			}}, Timestamp: new(uint64(5)),
		}},
		{[][]byte{chunk(1, varint(1, 8), chunk(2, hash(6)))}, &pb.IpcExtractor{
			IpcEvent: &pb.IpcExtractor_BlockTip{BlockTip: &pb.BlockTip{Height: new(int32(8)), Hash: hash(6)}},
		}},
		{[][]byte{varint(1, 9), chunk(2, hash(7))}, &pb.BlockTip{Height: new(int32(9)), Hash: hash(7)}},

		{[][]byte{chunk(1, chunk(1, metadataWire()...), varint(32, 1))}, &pb.EbpfExtractor{
			EbpfEvent: &pb.EbpfExtractor_Message{Message: &pb.MessageEvent{
				Meta: metadata(), Msg: &pb.MessageEvent_Verack{Verack: true},
			}},
		}},
		{[][]byte{chunk(2, chunk(5, varint(1, 2), text(2, "m")))}, &pb.EbpfExtractor{
			EbpfEvent: &pb.EbpfExtractor_Connection{Connection: &pb.ConnectionEvent{
				Event: &pb.ConnectionEvent_Misbehaving{Misbehaving: &pb.MisbehavingConnection{Id: new(uint64(2)), Message: new("m")}},
			}},
		}},
		{[][]byte{chunk(4, chunk(4, chunk(1, hash(1)), text(2, "r")))}, &pb.EbpfExtractor{
			EbpfEvent: &pb.EbpfExtractor_Mempool{Mempool: &pb.MempoolEvent{
				Event: &pb.MempoolEvent_Rejected{Rejected: &pb.Rejected{Txid: hash(1), Reason: new("r")}},
			}},
		}},
		{[][]byte{chunk(5)}, &pb.EbpfExtractor{
			EbpfEvent: &pb.EbpfExtractor_Validation{Validation: &pb.ValidationEvent{}},
		}},
	}
}

func primitiveFixtures() []fixture {
	address := func(number int, name string) [][]byte {
		return [][]byte{varint(1, 1_600_000_000), text(number, name), varint(9, 1033), varint(10, 65535)}
	}
	return []fixture{
		{transactionWire(), transaction()},
		{blockHeaderWire(), blockHeader()},
		{address(2, "192.0.2.1"), &pb.Address{
			Timestamp: new(uint32(1_600_000_000)), Address: &pb.Address_Ipv4{Ipv4: "192.0.2.1"}, Services: new(uint64(1033)), Port: new(uint32(65535)),
		}},
		{address(3, "2001:db8::1"), &pb.Address{
			Timestamp: new(uint32(1_600_000_000)), Address: &pb.Address_Ipv6{Ipv6: "2001:db8::1"}, Services: new(uint64(1033)), Port: new(uint32(65535)),
		}},
		{address(4, "aaaaaaaaaaaaaaaa.onion"), &pb.Address{
			Timestamp: new(uint32(1_600_000_000)), Address: &pb.Address_Torv2{Torv2: "aaaaaaaaaaaaaaaa.onion"}, Services: new(uint64(1033)), Port: new(uint32(65535)),
		}},
		{address(5, "b.onion"), &pb.Address{
			Timestamp: new(uint32(1_600_000_000)), Address: &pb.Address_Torv3{Torv3: "b.onion"}, Services: new(uint64(1033)), Port: new(uint32(65535)),
		}},
		{address(6, "c.b32.i2p"), &pb.Address{
			Timestamp: new(uint32(1_600_000_000)), Address: &pb.Address_I2P{I2P: "c.b32.i2p"}, Services: new(uint64(1033)), Port: new(uint32(65535)),
		}},
		{address(7, "fc00::1"), &pb.Address{
			Timestamp: new(uint32(1_600_000_000)), Address: &pb.Address_Cjdns{Cjdns: "fc00::1"}, Services: new(uint64(1033)), Port: new(uint32(65535)),
		}},
		{[][]byte{varint(1, 0), chunk(8, varint(1, 99), chunk(2, []byte{1, 2})), varint(9, 0), varint(10, 0)}, &pb.Address{
			Timestamp: new(uint32(0)),
			Address:   &pb.Address_Unknown{Unknown: &pb.UnknownAddress{Id: new(uint32(99)), Address: []byte{1, 2}}},
			Services:  new(uint64(0)), Port: new(uint32(0)),
		}},
		{[][]byte{varint(1, 200), chunk(2, []byte{3})}, &pb.UnknownAddress{Id: new(uint32(200)), Address: []byte{3}}},
		{[][]byte{chunk(1, hash(1))}, &pb.InventoryItem{Item: &pb.InventoryItem_Transaction{Transaction: hash(1)}}},
		{[][]byte{chunk(2, hash(2))}, &pb.InventoryItem{Item: &pb.InventoryItem_Block{Block: hash(2)}}},
		{[][]byte{chunk(3, hash(3))}, &pb.InventoryItem{Item: &pb.InventoryItem_Wtx{Wtx: hash(3)}}},
		{[][]byte{chunk(4, hash(4))}, &pb.InventoryItem{Item: &pb.InventoryItem_WitnessTransaction{WitnessTransaction: hash(4)}}},
		{[][]byte{chunk(5, hash(5))}, &pb.InventoryItem{Item: &pb.InventoryItem_WitnessBlock{WitnessBlock: hash(5)}}},
		{[][]byte{chunk(6, hash(6))}, &pb.InventoryItem{Item: &pb.InventoryItem_CompactBlock{CompactBlock: hash(6)}}},
		{[][]byte{chunk(7, varint(1, 0x40000003), chunk(2, hash(7)))}, &pb.InventoryItem{
			Item: &pb.InventoryItem_Unknown{Unknown: &pb.UnknownItem{InvType: new(uint32(0x40000003)), Hash: hash(7)}},
		}},
		{[][]byte{varint(15, 1)}, &pb.InventoryItem{Item: &pb.InventoryItem_Error{Error: true}}},
		{[][]byte{varint(1, 3), chunk(2, hash(8))}, &pb.UnknownItem{InvType: new(uint32(3)), Hash: hash(8)}},
		{[][]byte{varint(1, 17), chunk(2, transactionWire()...)}, &pb.PrefilledTransaction{DiffIndex: new(uint32(17)), Tx: transaction()}},
	}
}

// The parts that other fixtures contain, as bytes and as types.

func transactionWire() [][]byte {
	return [][]byte{chunk(1, hash(0x11)), chunk(2, hash(0x22)), chunk(3, []byte{1, 0, 0, 0})}
}

func transaction() *pb.Transaction {
	return &pb.Transaction{Txid: hash(0x11), Wtxid: hash(0x22), Raw: []byte{1, 0, 0, 0}}
}

func blockHeaderWire() [][]byte {
	return [][]byte{
		zigzag(1, -536870912), chunk(2, hash(0x33)), chunk(3, hash(0x44)), varint(4, 1231006505),
		varint(5, 0x1d00ffff), varint(6, 2083236893), chunk(7, hash(0x55)),
	}
}

func blockHeader() *pb.BlockHeader {
	return &pb.BlockHeader{
		Version: new(int32(-536870912)), PrevBlockhash: hash(0x33), MerkleRoot: hash(0x44), Time: new(uint32(1231006505)),
		Bits: new(uint32(0x1d00ffff)), Nonce: new(uint32(2083236893)), Hash: hash(0x55),
	}
}

func metadataWire() [][]byte {
	return [][]byte{varint(1, 12), text(2, "[2001:db8::1]:8333"), varint(3, 3), text(4, "getcfcheckpt"), varint(5, 1), varint(6, 4_000_000)}
}

func metadata() *pb.Metadata {
	return &pb.Metadata{
		PeerId: new(uint64(12)), Addr: new("[2001:db8::1]:8333"), ConnType: pb.ConnType_CONN_TYPE_BLOCK_RELAY_ONLY.Enum(),
		Command: new("getcfcheckpt"), Inbound: new(true), Size: new(uint64(4_000_000)),
	}
}

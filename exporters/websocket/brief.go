package websocket

import (
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// What a brief event keeps of its lists.
const (
	briefItems     = 4
	briefBlocks    = 16
	briefHeaders   = 8
	briefAddresses = 10
)

// shorten leaves out of an event what is large: transactions, payloads, long lists.
// Sizes and counts stay.
func shorten(e *eventpb.Event) {
	switch source := e.GetPeerObserverEvent().(type) {
	case *eventpb.Event_EbpfExtractor:
		if m := source.EbpfExtractor.GetMessage(); m != nil {
			if count, ok := shortenMessage(m); ok && m.ElementCount == nil {
				m.ElementCount = proto.Uint64(uint64(count))
			}
		}
	case *eventpb.Event_RpcExtractor:
		if a := source.RpcExtractor.GetAddrman(); a != nil {
			proto.Reset(a)
		}
		if o := source.RpcExtractor.GetOrphanTxs(); o != nil {
			proto.Reset(o)
		}
	case *eventpb.Event_P2PExtractor:
		if i := source.P2PExtractor.GetInventoryAnnouncement(); i != nil {
			i.Inventory = shortenItems(i.Inventory)
		}
		if a := source.P2PExtractor.GetAddressAnnouncement(); a != nil {
			a.Addresses = first(a.Addresses, briefAddresses)
		}
	}
}

// shortenMessage gives the length of the message's list, if it has one.
func shortenMessage(m *eventpb.MessageEvent) (count int, ok bool) {
	switch msg := m.GetMsg().(type) {
	case *eventpb.MessageEvent_Inv:
		count, ok = len(msg.Inv.Items), true
		msg.Inv.Items = shortenItems(msg.Inv.Items)
	case *eventpb.MessageEvent_Getdata:
		count, ok = len(msg.Getdata.Items), true
		msg.Getdata.Items = shortenItems(msg.Getdata.Items)
	case *eventpb.MessageEvent_Notfound:
		count, ok = len(msg.Notfound.Items), true
		msg.Notfound.Items = shortenItems(msg.Notfound.Items)
	case *eventpb.MessageEvent_Headers:
		count, ok = len(msg.Headers.Headers), true
		msg.Headers.Headers = first(msg.Headers.Headers, briefHeaders)
	case *eventpb.MessageEvent_Addr:
		count, ok = len(msg.Addr.Addresses), true
		msg.Addr.Addresses = first(msg.Addr.Addresses, briefAddresses)
	case *eventpb.MessageEvent_Addrv2:
		count, ok = len(msg.Addrv2.Addresses), true
		msg.Addrv2.Addresses = first(msg.Addrv2.Addresses, briefAddresses)
	case *eventpb.MessageEvent_Compactblock:
		count, ok = len(msg.Compactblock.ShortIds)+len(msg.Compactblock.Transactions), true
		msg.Compactblock.ShortIds, msg.Compactblock.Transactions = nil, nil
	case *eventpb.MessageEvent_Block:
		count, ok = len(msg.Block.Transactions), true
		msg.Block.Transactions = nil
	case *eventpb.MessageEvent_Getblocktxn:
		count, ok = len(msg.Getblocktxn.TxIndexes), true
		msg.Getblocktxn.TxIndexes = nil
	case *eventpb.MessageEvent_Blocktxn:
		count, ok = len(msg.Blocktxn.Transactions), true
		msg.Blocktxn.Transactions = nil
	case *eventpb.MessageEvent_Tx:
		if msg.Tx.Tx != nil {
			msg.Tx.Tx.Raw = nil
		}
	case *eventpb.MessageEvent_Getheaders:
		count, ok = len(msg.Getheaders.LocatorHashes), true
		msg.Getheaders.LocatorHashes = nil
	case *eventpb.MessageEvent_Getblocks:
		count, ok = len(msg.Getblocks.LocatorHashes), true
		msg.Getblocks.LocatorHashes = nil
	default:
		shortenRareMessage(m)
	}
	return count, ok
}

func shortenRareMessage(m *eventpb.MessageEvent) {
	switch msg := m.GetMsg().(type) {
	case *eventpb.MessageEvent_Unknown:
		msg.Unknown.Payload = nil
	case *eventpb.MessageEvent_Merkleblock:
		msg.Merkleblock.Bits, msg.Merkleblock.Hashes = nil, nil
	case *eventpb.MessageEvent_Cfilter:
		msg.Cfilter.Filter = nil
	case *eventpb.MessageEvent_Cfheaders:
		msg.Cfheaders.FilterHashes = nil
	case *eventpb.MessageEvent_Cfcheckpt:
		msg.Cfcheckpt.FilterHeaders = nil
	case *eventpb.MessageEvent_Filterload:
		msg.Filterload.Filter = nil
	case *eventpb.MessageEvent_Filteradd:
		msg.Filteradd.Filter = nil
	case *eventpb.MessageEvent_Alert:
		msg.Alert.Alert, msg.Alert.Signature = nil, nil
	}
}

// shortenItems keeps the first items, and of the others the first that are blocks.
func shortenItems(items []*eventpb.InventoryItem) []*eventpb.InventoryItem {
	kept := items[:0:0]
	blocks := 0
	for i, item := range items {
		isBlock := item.GetBlock() != nil || item.GetWitnessBlock() != nil || item.GetCompactBlock() != nil
		if isBlock {
			blocks++
		}
		if i < briefItems || isBlock && blocks <= briefBlocks {
			kept = append(kept, item)
		}
	}
	return kept
}

func first[T any](list []T, n int) []T { return list[:min(len(list), n)] }

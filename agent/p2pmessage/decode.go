package p2pmessage

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/field"
)

// decode writes the fields of the message that a payload holds, and gives the number
// of its case of MessageEvent.msg, 0 for a type that isn't known. What it wrote is
// whole only if r is still well. The types are Bitcoin Core's (its protocol.h), and
// two that it no longer has, alert and reject.
func (t *Transcoder) decode(dst []byte, messageType []byte, r *reader) ([]byte, protowire.Number) {
	switch string(messageType) {
	case "inv":
		return t.inventory(dst, field.InvItems, r), field.MessageEventInv
	case "getdata":
		return t.inventory(dst, field.GetDataItems, r), field.MessageEventGetdata
	case "notfound":
		return t.inventory(dst, field.NotFoundItems, r), field.MessageEventNotfound
	case "tx":
		tx := r.transaction()
		if r.ok() {
			dst = t.appendTransaction(dst, field.TxTx, &tx)
		}
		return dst, field.MessageEventTx
	case "ping":
		if r.left() == 0 {
			return dst, field.MessageEventOldping
		}
		return event.AppendFixed64Field(dst, field.PingValue, r.uint64()), field.MessageEventPing
	case "pong":
		return event.AppendFixed64Field(dst, field.PongValue, r.uint64()), field.MessageEventPong
	case "addr":
		return t.addr(dst, field.AddrAddresses, r), field.MessageEventAddr
	case "addrv2":
		if r.left() == 0 {
			return dst, field.MessageEventEmptyaddrv2
		}
		return t.addrV2(dst, field.AddrV2Addresses, r), field.MessageEventAddrv2
	case "headers":
		return t.headers(dst, field.HeadersHeaders, r), field.MessageEventHeaders
	case "feefilter":
		fee := int64(r.uint64())
		return event.AppendSintField(dst, field.FeeFilterFee, fee), field.MessageEventFeefilter
	case "getheaders":
		return locator(dst, r), field.MessageEventGetheaders
	case "getblocks":
		return locator(dst, r), field.MessageEventGetblocks
	case "version":
		return t.version(dst, r), field.MessageEventVersion
	case "cmpctblock":
		return t.compactBlock(dst, r), field.MessageEventCompactblock
	case "getblocktxn":
		return getBlockTxn(dst, r), field.MessageEventGetblocktxn
	case "blocktxn":
		return t.blockTxn(dst, r), field.MessageEventBlocktxn
	case "block":
		return t.block(dst, r), field.MessageEventBlock
	case "sendcmpct":
		return sendCompact(dst, r), field.MessageEventSendcompact
	case "merkleblock":
		return merkleBlock(dst, r), field.MessageEventMerkleblock
	case "filterload":
		return filterLoad(dst, r), field.MessageEventFilterload
	case "filteradd":
		return filterAdd(dst, r), field.MessageEventFilteradd
	case "getcfilters":
		return getCFilters(dst, r), field.MessageEventGetcfilter
	case "cfilter":
		return cFilter(dst, r), field.MessageEventCfilter
	case "getcfheaders":
		return getCFHeaders(dst, r), field.MessageEventGetcfheaders
	case "cfheaders":
		return cFHeaders(dst, r), field.MessageEventCfheaders
	case "getcfcheckpt":
		return getCFCheckpt(dst, r), field.MessageEventGetcfcheckpt
	case "cfcheckpt":
		return cFCheckpt(dst, r), field.MessageEventCfcheckpt
	case "sendtxrcncl":
		return sendTxRcncl(dst, r), field.MessageEventSendtxrcncl
	case "feature":
		return feature(dst, r), field.MessageEventFeature
	case "reject":
		return reject(dst, r), field.MessageEventReject
	case "alert":
		return alert(dst, r), field.MessageEventAlert
	case "verack":
		return dst, field.MessageEventVerack
	case "sendheaders":
		return dst, field.MessageEventSendheaders
	case "getaddr":
		return dst, field.MessageEventGetaddr
	case "mempool":
		return dst, field.MessageEventMempool
	case "wtxidrelay":
		return dst, field.MessageEventWtxidrelay
	case "sendaddrv2":
		return dst, field.MessageEventSendaddrv2
	case "filterclear":
		return dst, field.MessageEventFilterclear
	default:
		return dst, 0
	}
}

// isFlag says that a case of MessageEvent.msg is a bool, for messages without content.
func isFlag(number protowire.Number) bool {
	switch number {
	case field.MessageEventVerack, field.MessageEventSendheaders, field.MessageEventGetaddr,
		field.MessageEventMempool, field.MessageEventWtxidrelay, field.MessageEventSendaddrv2,
		field.MessageEventFilterclear, field.MessageEventEmptyaddrv2, field.MessageEventOldping:
		return true
	default:
		return false
	}
}

// locator writes a GetHeaders or GetBlocks, which have the same fields.
func locator(dst []byte, r *reader) []byte {
	dst = appendUint(dst, field.GetHeadersVersion, uint64(r.uint32()))
	dst = hashes(dst, field.GetHeadersLocatorHashes, r, r.elements(hashSize))
	return appendBytes(dst, field.GetHeadersStopHash, r.take(hashSize))
}

package decode

// MessageType is the type of a P2P message as a small number: a place in the list of
// the types that are known. Everything else is MessageOther, whatever a peer calls it.
type MessageType uint8

// The message types that Bitcoin Core or an implementation before it knows. Their
// names are those of protocol.h.
const (
	MessageOther MessageType = iota
	MessageAddr
	MessageAddrV2
	MessageAlert
	MessageBlock
	MessageBlockTxn
	MessageCFCheckpt
	MessageCFHeaders
	MessageCFilter
	MessageCmpctBlock
	MessageFeature
	MessageFeeFilter
	MessageFilterAdd
	MessageFilterClear
	MessageFilterLoad
	MessageGetAddr
	MessageGetBlocks
	MessageGetBlockTxn
	MessageGetCFCheckpt
	MessageGetCFHeaders
	MessageGetCFilters
	MessageGetData
	MessageGetHeaders
	MessageHeaders
	MessageInv
	MessageMempool
	MessageMerkleBlock
	MessageNotFound
	MessagePing
	MessagePong
	MessageReject
	MessageSendAddrV2
	MessageSendCmpct
	MessageSendHeaders
	MessageSendTxRcncl
	MessageTx
	MessageVerAck
	MessageVersion
	MessageWTxIDRelay
	// MessageTypes is the number of message types, for arrays indexed by them.
	MessageTypes
)

var messageNames = [MessageTypes]string{
	MessageOther:        "other",
	MessageAddr:         "addr",
	MessageAddrV2:       "addrv2",
	MessageAlert:        "alert",
	MessageBlock:        "block",
	MessageBlockTxn:     "blocktxn",
	MessageCFCheckpt:    "cfcheckpt",
	MessageCFHeaders:    "cfheaders",
	MessageCFilter:      "cfilter",
	MessageCmpctBlock:   "cmpctblock",
	MessageFeature:      "feature",
	MessageFeeFilter:    "feefilter",
	MessageFilterAdd:    "filteradd",
	MessageFilterClear:  "filterclear",
	MessageFilterLoad:   "filterload",
	MessageGetAddr:      "getaddr",
	MessageGetBlocks:    "getblocks",
	MessageGetBlockTxn:  "getblocktxn",
	MessageGetCFCheckpt: "getcfcheckpt",
	MessageGetCFHeaders: "getcfheaders",
	MessageGetCFilters:  "getcfilters",
	MessageGetData:      "getdata",
	MessageGetHeaders:   "getheaders",
	MessageHeaders:      "headers",
	MessageInv:          "inv",
	MessageMempool:      "mempool",
	MessageMerkleBlock:  "merkleblock",
	MessageNotFound:     "notfound",
	MessagePing:         "ping",
	MessagePong:         "pong",
	MessageReject:       "reject",
	MessageSendAddrV2:   "sendaddrv2",
	MessageSendCmpct:    "sendcmpct",
	MessageSendHeaders:  "sendheaders",
	MessageSendTxRcncl:  "sendtxrcncl",
	MessageTx:           "tx",
	MessageVerAck:       "verack",
	MessageVersion:      "version",
	MessageWTxIDRelay:   "wtxidrelay",
}

// String is the name on the wire.
func (t MessageType) String() string {
	if t < MessageTypes {
		return messageNames[t]
	}
	return messageNames[MessageOther]
}

// typeOf finds the type of a name on the wire. The existing eBPF extractor cuts names
// to 11 characters, so that two names lost their last letter.
func typeOf(name []byte) MessageType {
	switch string(name) {
	case "inv":
		return MessageInv
	case "tx":
		return MessageTx
	case "getdata":
		return MessageGetData
	case "ping":
		return MessagePing
	case "pong":
		return MessagePong
	case "headers":
		return MessageHeaders
	case "addr":
		return MessageAddr
	case "addrv2":
		return MessageAddrV2
	case "feefilter":
		return MessageFeeFilter
	case "getcfheader":
		return MessageGetCFHeaders
	case "getcfcheckp":
		return MessageGetCFCheckpt
	case "", "other":
		return MessageOther
	}
	for t := MessageOther + 1; t < MessageTypes; t++ {
		if messageNames[t] == string(name) {
			return t
		}
	}
	return MessageOther
}

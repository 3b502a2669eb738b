package event

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/peerobserver/peerobserver/proto/field"
)

// Kind is what an event tells: the innermost oneof case of its body. P2P messages are
// one kind; their type is another question. The kinds are few and fixed, so that they
// may be a metric label and an array index.
type Kind uint16

// The kinds, in the order of their field numbers.
const (
	// KindUnknown is an event that isn't understood: malformed, empty or of a newer
	// producer.
	KindUnknown Kind = iota
	KindMessage
	KindConnectionClosed
	KindConnectionInboundEvicted
	KindConnectionInbound
	KindConnectionOutbound
	KindConnectionMisbehaving
	KindMempoolAdded
	KindMempoolReplaced
	KindMempoolRemoved
	KindMempoolRejected
	KindValidationBlockConnected
	KindValidationBlockHeader
	KindValidationCompactBlockReconstructed
	KindUTXOCacheFlush
	KindUTXOCacheAdd
	KindUTXOCacheSpent
	KindUTXOCacheUncache
	KindRPCPeerInfos
	KindRPCMempoolInfo
	KindRPCUptime
	KindRPCNetTotals
	KindRPCMemoryInfo
	KindRPCAddrmanInfo
	KindRPCChainTxStats
	KindRPCNetworkInfo
	KindRPCBlockchainInfo
	KindRPCOrphanTxs
	KindRPCAddrman
	KindRPCEstimateSmartFee
	KindRPCChainTips
	KindRPCBannedList
	KindP2PPingDuration
	KindP2PAddressAnnouncement
	KindP2PInventoryAnnouncement
	KindP2PFeefilterAnnouncement
	KindP2PBlockAnnouncement
	KindP2PLinkState
	KindP2PPingTimeout
	KindLogUnknown
	KindLogBlockConnected
	KindLogBlockChecked
	KindLogKnown
	KindIPCBlockTip
	KindObserverStatus
	KindObserverAlertEvidence
	// KindCount is the number of kinds, for arrays indexed by Kind.
	KindCount
)

// kindTable gives name, source and subject of each kind. The kinds without a subject
// are those that only this project knows.
var kindTable = [KindCount]struct {
	name    string
	source  Source
	subject string
}{
	KindUnknown:                             {"unknown", SourceUnknown, ""},
	KindMessage:                             {"message", SourceEBPF, SubjectMessages},
	KindConnectionClosed:                    {"connection.closed", SourceEBPF, SubjectConnections},
	KindConnectionInboundEvicted:            {"connection.inbound_evicted", SourceEBPF, SubjectConnections},
	KindConnectionInbound:                   {"connection.inbound", SourceEBPF, SubjectConnections},
	KindConnectionOutbound:                  {"connection.outbound", SourceEBPF, SubjectConnections},
	KindConnectionMisbehaving:               {"connection.misbehaving", SourceEBPF, SubjectConnections},
	KindMempoolAdded:                        {"mempool.added", SourceEBPF, SubjectMempool},
	KindMempoolReplaced:                     {"mempool.replaced", SourceEBPF, SubjectMempool},
	KindMempoolRemoved:                      {"mempool.removed", SourceEBPF, SubjectMempool},
	KindMempoolRejected:                     {"mempool.rejected", SourceEBPF, SubjectMempool},
	KindValidationBlockConnected:            {"validation.block_connected", SourceEBPF, SubjectValidation},
	KindValidationBlockHeader:               {"validation.block_header", SourceEBPF, ""},
	KindValidationCompactBlockReconstructed: {"validation.compact_block_reconstructed", SourceEBPF, ""},
	KindUTXOCacheFlush:                      {"utxo_cache.flush", SourceEBPF, ""},
	KindUTXOCacheAdd:                        {"utxo_cache.add", SourceEBPF, ""},
	KindUTXOCacheSpent:                      {"utxo_cache.spent", SourceEBPF, ""},
	KindUTXOCacheUncache:                    {"utxo_cache.uncache", SourceEBPF, ""},
	KindRPCPeerInfos:                        {"rpc.peer_infos", SourceRPC, SubjectRPC},
	KindRPCMempoolInfo:                      {"rpc.mempool_info", SourceRPC, SubjectRPC},
	KindRPCUptime:                           {"rpc.uptime", SourceRPC, SubjectRPC},
	KindRPCNetTotals:                        {"rpc.net_totals", SourceRPC, SubjectRPC},
	KindRPCMemoryInfo:                       {"rpc.memory_info", SourceRPC, SubjectRPC},
	KindRPCAddrmanInfo:                      {"rpc.addrman_info", SourceRPC, SubjectRPC},
	KindRPCChainTxStats:                     {"rpc.chain_tx_stats", SourceRPC, SubjectRPC},
	KindRPCNetworkInfo:                      {"rpc.network_info", SourceRPC, SubjectRPC},
	KindRPCBlockchainInfo:                   {"rpc.blockchain_info", SourceRPC, SubjectRPC},
	KindRPCOrphanTxs:                        {"rpc.orphan_txs", SourceRPC, SubjectRPC},
	KindRPCAddrman:                          {"rpc.addrman", SourceRPC, SubjectRPC},
	KindRPCEstimateSmartFee:                 {"rpc.estimate_smart_fee", SourceRPC, SubjectRPC},
	KindRPCChainTips:                        {"rpc.chain_tips", SourceRPC, ""},
	KindRPCBannedList:                       {"rpc.banned_list", SourceRPC, ""},
	KindP2PPingDuration:                     {"p2p.ping_duration", SourceP2P, SubjectP2P},
	KindP2PAddressAnnouncement:              {"p2p.address_announcement", SourceP2P, SubjectP2P},
	KindP2PInventoryAnnouncement:            {"p2p.inventory_announcement", SourceP2P, SubjectP2P},
	KindP2PFeefilterAnnouncement:            {"p2p.feefilter_announcement", SourceP2P, SubjectP2P},
	KindP2PBlockAnnouncement:                {"p2p.block_announcement", SourceP2P, ""},
	KindP2PLinkState:                        {"p2p.link_state", SourceP2P, ""},
	KindP2PPingTimeout:                      {"p2p.ping_timeout", SourceP2P, ""},
	KindLogUnknown:                          {"log.unknown", SourceLog, SubjectLog},
	KindLogBlockConnected:                   {"log.block_connected", SourceLog, SubjectLog},
	KindLogBlockChecked:                     {"log.block_checked", SourceLog, SubjectLog},
	KindLogKnown:                            {"log.known", SourceLog, ""},
	KindIPCBlockTip:                         {"ipc.block_tip", SourceIPC, SubjectIPC},
	KindObserverStatus:                      {"observer.status", SourceObserver, ""},
	KindObserverAlertEvidence:               {"observer.alert_evidence", SourceObserver, ""},
}

// String gives the name that flags, metrics and the logger use, such as
// "connection.inbound".
func (k Kind) String() string {
	if k < KindCount {
		return kindTable[k].name
	}
	return kindTable[KindUnknown].name
}

// Source is the source of the kind's events; SourceUnknown for KindUnknown.
func (k Kind) Source() Source {
	if k < KindCount {
		return kindTable[k].source
	}
	return SourceUnknown
}

// Subject is the NATS subject, before an optional prefix, of the kind's events. A kind
// that the existing peer-observer tools don't know has its own name as subject: that
// has two parts, and these tools subscribe to *, which matches one. Some of them end
// when they get an event without a case that they know.
func (k Kind) Subject() string {
	if k == KindUnknown || k >= KindCount {
		return ""
	}
	if subject := kindTable[k].subject; subject != "" {
		return subject
	}
	return kindTable[k].name
}

// Kinds lists every kind but KindUnknown.
func Kinds() []Kind {
	kinds := make([]Kind, 0, KindCount-1)
	for k := KindUnknown + 1; k < KindCount; k++ {
		kinds = append(kinds, k)
	}
	return kinds
}

// ParseKind is the inverse of Kind.String.
func ParseKind(name string) (Kind, error) {
	for k := KindUnknown + 1; k < KindCount; k++ {
		if kindTable[k].name == name {
			return k, nil
		}
	}
	return KindUnknown, fmt.Errorf("unknown event %q (examples: message, connection.inbound, rpc.peer_infos)", name)
}

// MatchKinds gives the kinds of all names. A name is that of an event or its first part,
// such as "connection". One that matches nothing is an error that lists the known ones.
func MatchKinds(names []string) ([]Kind, error) {
	var matched []Kind
	for _, name := range names {
		before := len(matched)
		for _, kind := range Kinds() {
			if kind.String() == name || strings.HasPrefix(kind.String(), name+".") {
				matched = append(matched, kind)
			}
		}
		if len(matched) == before {
			var known []string
			for _, kind := range Kinds() {
				known = append(known, kind.String())
			}
			return nil, fmt.Errorf("unknown event %q (known: %s)", name, strings.Join(known, ", "))
		}
	}
	return matched, nil
}

// KindOf finds the kind of an encoded event without decoding it and without
// allocating: it walks the fields of at most three nested messages. Data may come
// from anybody; what isn't an event is KindUnknown. As in protobuf, the last case of
// a oneof counts; unlike there, a message that is split over several occurrences of
// its field isn't put together, which no producer does.
func KindOf(data []byte) Kind {
	cases := eventCases
	for {
		found, body := lastCase(data, cases)
		if found == nil {
			return KindUnknown
		}
		if found.cases == nil {
			return found.kind
		}
		data, cases = body, found.cases
	}
}

// oneofCase is one case of a oneof: a kind, or a message with a oneof inside.
type oneofCase struct {
	num   protowire.Number
	typ   protowire.Type
	kind  Kind
	cases []oneofCase
}

// leaf is a case that is a message and a kind.
func leaf(num protowire.Number, kind Kind) oneofCase {
	return oneofCase{num: num, typ: protowire.BytesType, kind: kind}
}

// scalar is a case that is an integer and a kind.
func scalar(num protowire.Number, kind Kind) oneofCase {
	return oneofCase{num: num, typ: protowire.VarintType, kind: kind}
}

// branch is a case that is a message with a oneof inside.
func branch(num protowire.Number, cases ...oneofCase) oneofCase {
	return oneofCase{num: num, typ: protowire.BytesType, cases: cases}
}

// eventCases is the tree of the oneofs that lead from Event to the kinds. A test
// holds it against the descriptors.
var eventCases = []oneofCase{
	branch(field.EventEbpfExtractor,
		leaf(field.EbpfExtractorMessage, KindMessage),
		branch(field.EbpfExtractorConnection,
			leaf(field.ConnectionEventClosed, KindConnectionClosed),
			leaf(field.ConnectionEventInboundEvicted, KindConnectionInboundEvicted),
			leaf(field.ConnectionEventInbound, KindConnectionInbound),
			leaf(field.ConnectionEventOutbound, KindConnectionOutbound),
			leaf(field.ConnectionEventMisbehaving, KindConnectionMisbehaving),
		),
		branch(field.EbpfExtractorMempool,
			leaf(field.MempoolEventAdded, KindMempoolAdded),
			leaf(field.MempoolEventReplaced, KindMempoolReplaced),
			leaf(field.MempoolEventRemoved, KindMempoolRemoved),
			leaf(field.MempoolEventRejected, KindMempoolRejected),
		),
		branch(field.EbpfExtractorValidation,
			leaf(field.ValidationEventBlockConnected, KindValidationBlockConnected),
			leaf(field.ValidationEventBlockHeader, KindValidationBlockHeader),
			leaf(field.ValidationEventCompactBlockReconstructed, KindValidationCompactBlockReconstructed),
		),
		branch(field.EbpfExtractorUtxoCache,
			leaf(field.UtxoCacheEventFlush, KindUTXOCacheFlush),
			leaf(field.UtxoCacheEventAdd, KindUTXOCacheAdd),
			leaf(field.UtxoCacheEventSpent, KindUTXOCacheSpent),
			leaf(field.UtxoCacheEventUncache, KindUTXOCacheUncache),
		),
	),
	branch(field.EventRpcExtractor,
		leaf(field.RpcExtractorPeerInfos, KindRPCPeerInfos),
		leaf(field.RpcExtractorMempoolInfo, KindRPCMempoolInfo),
		scalar(field.RpcExtractorUptime, KindRPCUptime),
		leaf(field.RpcExtractorNetTotals, KindRPCNetTotals),
		leaf(field.RpcExtractorMemoryInfo, KindRPCMemoryInfo),
		leaf(field.RpcExtractorAddrmanInfo, KindRPCAddrmanInfo),
		leaf(field.RpcExtractorChainTxStats, KindRPCChainTxStats),
		leaf(field.RpcExtractorNetworkInfo, KindRPCNetworkInfo),
		leaf(field.RpcExtractorBlockchainInfo, KindRPCBlockchainInfo),
		leaf(field.RpcExtractorOrphanTxs, KindRPCOrphanTxs),
		leaf(field.RpcExtractorAddrman, KindRPCAddrman),
		leaf(field.RpcExtractorEstimateSmartFee, KindRPCEstimateSmartFee),
		leaf(field.RpcExtractorChainTips, KindRPCChainTips),
		leaf(field.RpcExtractorBannedList, KindRPCBannedList),
	),
	branch(field.EventP2pExtractor,
		leaf(field.P2pExtractorPingDuration, KindP2PPingDuration),
		leaf(field.P2pExtractorAddressAnnouncement, KindP2PAddressAnnouncement),
		leaf(field.P2pExtractorInventoryAnnouncement, KindP2PInventoryAnnouncement),
		scalar(field.P2pExtractorFeefilterAnnouncement, KindP2PFeefilterAnnouncement),
		leaf(field.P2pExtractorBlockAnnouncement, KindP2PBlockAnnouncement),
		leaf(field.P2pExtractorLinkState, KindP2PLinkState),
		leaf(field.P2pExtractorPingTimeout, KindP2PPingTimeout),
	),
	branch(field.EventLogExtractor,
		leaf(field.LogExtractorUnknownLogMessage, KindLogUnknown),
		leaf(field.LogExtractorBlockConnectedLog, KindLogBlockConnected),
		leaf(field.LogExtractorBlockCheckedLog, KindLogBlockChecked),
		leaf(field.LogExtractorKnownLogMessage, KindLogKnown),
	),
	branch(field.EventIpcExtractor,
		leaf(field.IpcExtractorBlockTip, KindIPCBlockTip),
	),
	branch(field.EventObserver,
		leaf(field.ObserverStatus, KindObserverStatus),
		leaf(field.ObserverAlertEvidence, KindObserverAlertEvidence),
	),
}

// lastCase walks the fields of an encoded message and gives the last one that is one
// of the cases, with its content when it is length-delimited; nil when there is none
// or the bytes are damaged.
func lastCase(data []byte, cases []oneofCase) (*oneofCase, []byte) {
	var found *oneofCase
	var body []byte
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return nil, nil
		}
		data = data[n:]
		var content []byte
		switch typ {
		case protowire.BytesType:
			content, n = protowire.ConsumeBytes(data)
		case protowire.VarintType:
			_, n = protowire.ConsumeVarint(data)
		case protowire.Fixed64Type:
			_, n = protowire.ConsumeFixed64(data)
		default:
			n = protowire.ConsumeFieldValue(num, typ, data)
		}
		if n < 0 {
			return nil, nil
		}
		data = data[n:]
		for i := range cases {
			if c := &cases[i]; c.num == num && c.typ == typ {
				found, body = c, content
				break
			}
		}
	}
	return found, body
}

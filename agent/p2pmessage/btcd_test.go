package p2pmessage

import (
	"bytes"
	"crypto/sha3"
	"encoding/base32"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// errNotInBtcd is for messages that btcd's wire package doesn't have, or can't
// represent in full.
var errNotInBtcd = errors.New("not in btcd")

// decodeWithBtcd decodes a payload with btcd's wire package and turns it into the
// message that we should make of it. It also gives the number of bytes left over.
func decodeWithBtcd(name string, payload []byte) (*eventpb.MessageEvent, int, error) {
	m, err := emptyWireMessage(name)
	if err != nil {
		return nil, 0, err
	}
	buffer := bytes.NewBuffer(payload)
	if err := m.BtcDecode(buffer, wire.ProtocolVersion, wire.WitnessEncoding); err != nil {
		return nil, 0, fmt.Errorf("btcd: %w", err)
	}
	converted, err := fromBtcd(m)
	return converted, buffer.Len(), err
}

func emptyWireMessage(name string) (wire.Message, error) {
	switch name {
	case "version":
		return &wire.MsgVersion{}, nil
	case "verack":
		return &wire.MsgVerAck{}, nil
	case "sendaddrv2":
		return &wire.MsgSendAddrV2{}, nil
	case "getaddr":
		return &wire.MsgGetAddr{}, nil
	case "addr":
		return &wire.MsgAddr{}, nil
	case "addrv2":
		return &wire.MsgAddrV2{}, nil
	case "getblocks":
		return &wire.MsgGetBlocks{}, nil
	case "block":
		return &wire.MsgBlock{}, nil
	case "inv":
		return &wire.MsgInv{}, nil
	case "getdata":
		return &wire.MsgGetData{}, nil
	case "notfound":
		return &wire.MsgNotFound{}, nil
	case "tx":
		return &wire.MsgTx{}, nil
	case "ping":
		return &wire.MsgPing{}, nil
	case "pong":
		return &wire.MsgPong{}, nil
	case "getheaders":
		return &wire.MsgGetHeaders{}, nil
	case "headers":
		return &wire.MsgHeaders{}, nil
	case "mempool":
		return &wire.MsgMemPool{}, nil
	case "filteradd":
		return &wire.MsgFilterAdd{}, nil
	case "filterclear":
		return &wire.MsgFilterClear{}, nil
	case "filterload":
		return &wire.MsgFilterLoad{}, nil
	case "merkleblock":
		return &wire.MsgMerkleBlock{}, nil
	case "reject":
		return &wire.MsgReject{}, nil
	case "sendheaders":
		return &wire.MsgSendHeaders{}, nil
	case "feefilter":
		return &wire.MsgFeeFilter{}, nil
	case "getcfilters":
		return &wire.MsgGetCFilters{}, nil
	case "getcfheaders":
		return &wire.MsgGetCFHeaders{}, nil
	case "getcfcheckpt":
		return &wire.MsgGetCFCheckpt{}, nil
	case "cfilter":
		return &wire.MsgCFilter{}, nil
	case "cfheaders":
		return &wire.MsgCFHeaders{}, nil
	case "cfcheckpt":
		return &wire.MsgCFCheckpt{}, nil
	case "wtxidrelay":
		return &wire.MsgWTxIdRelay{}, nil
	default:
		return nil, errNotInBtcd
	}
}

func fromBtcd(m wire.Message) (*eventpb.MessageEvent, error) {
	e := &eventpb.MessageEvent{}
	count := func(n int) { e.ElementCount = proto.Uint64(uint64(n)) }
	switch m := m.(type) {
	case *wire.MsgVersion:
		v := &eventpb.Version{
			Version:     proto.Uint32(uint32(m.ProtocolVersion)),
			Services:    proto.Uint64(uint64(m.Services)),
			Timestamp:   proto.Int64(m.Timestamp.Unix()),
			Receiver:    addressFromBtcd(&m.AddrYou),
			Sender:      addressFromBtcd(&m.AddrMe),
			Nonce:       proto.Uint64(m.Nonce),
			UserAgent:   proto.String(m.UserAgent),
			StartHeight: proto.Int32(m.LastBlock),
			Relay:       proto.Bool(!m.DisableRelayTx),
		}
		// btcd has no time here and gives year 1.
		v.Receiver.Timestamp, v.Sender.Timestamp = proto.Uint32(0), proto.Uint32(0)
		e.Msg = &eventpb.MessageEvent_Version{Version: v}
	case *wire.MsgVerAck:
		e.Msg = &eventpb.MessageEvent_Verack{Verack: true}
	case *wire.MsgSendAddrV2:
		e.Msg = &eventpb.MessageEvent_Sendaddrv2{Sendaddrv2: true}
	case *wire.MsgGetAddr:
		e.Msg = &eventpb.MessageEvent_Getaddr{Getaddr: true}
	case *wire.MsgMemPool:
		e.Msg = &eventpb.MessageEvent_Mempool{Mempool: true}
	case *wire.MsgFilterClear:
		e.Msg = &eventpb.MessageEvent_Filterclear{Filterclear: true}
	case *wire.MsgSendHeaders:
		e.Msg = &eventpb.MessageEvent_Sendheaders{Sendheaders: true}
	case *wire.MsgWTxIdRelay:
		e.Msg = &eventpb.MessageEvent_Wtxidrelay{Wtxidrelay: true}
	case *wire.MsgAddr:
		addr := &eventpb.Addr{}
		for _, a := range m.AddrList {
			addr.Addresses = append(addr.Addresses, addressFromBtcd(a))
		}
		count(len(m.AddrList))
		e.Msg = &eventpb.MessageEvent_Addr{Addr: addr}
	case *wire.MsgAddrV2:
		addr := &eventpb.AddrV2{}
		for _, a := range m.AddrList {
			addr.Addresses = append(addr.Addresses, addressV2FromBtcd(a))
		}
		count(len(m.AddrList))
		e.Msg = &eventpb.MessageEvent_Addrv2{Addrv2: addr}
	case *wire.MsgInv:
		count(len(m.InvList))
		e.Msg = &eventpb.MessageEvent_Inv{Inv: &eventpb.Inv{Items: itemsFromBtcd(m.InvList)}}
	case *wire.MsgGetData:
		count(len(m.InvList))
		e.Msg = &eventpb.MessageEvent_Getdata{Getdata: &eventpb.GetData{Items: itemsFromBtcd(m.InvList)}}
	case *wire.MsgNotFound:
		count(len(m.InvList))
		e.Msg = &eventpb.MessageEvent_Notfound{Notfound: &eventpb.NotFound{Items: itemsFromBtcd(m.InvList)}}
	case *wire.MsgTx:
		tx, err := transactionFromBtcd(m)
		if err != nil {
			return nil, err
		}
		e.Msg = &eventpb.MessageEvent_Tx{Tx: &eventpb.Tx{Tx: tx}}
	case *wire.MsgBlock:
		block := &eventpb.Block{Header: headerFromBtcd(&m.Header)}
		for _, t := range m.Transactions {
			tx, err := transactionFromBtcd(t)
			if err != nil {
				return nil, err
			}
			block.Transactions = append(block.Transactions, tx)
		}
		count(len(m.Transactions))
		e.Msg = &eventpb.MessageEvent_Block{Block: block}
	case *wire.MsgHeaders:
		headers := &eventpb.Headers{}
		for _, h := range m.Headers {
			headers.Headers = append(headers.Headers, headerFromBtcd(h))
		}
		count(len(m.Headers))
		e.Msg = &eventpb.MessageEvent_Headers{Headers: headers}
	case *wire.MsgGetHeaders:
		count(len(m.BlockLocatorHashes))
		e.Msg = &eventpb.MessageEvent_Getheaders{Getheaders: &eventpb.GetHeaders{
			Version: proto.Uint32(m.ProtocolVersion), LocatorHashes: hashesFromBtcd(m.BlockLocatorHashes), StopHash: m.HashStop[:],
		}}
	case *wire.MsgGetBlocks:
		count(len(m.BlockLocatorHashes))
		e.Msg = &eventpb.MessageEvent_Getblocks{Getblocks: &eventpb.GetBlocks{
			Version: proto.Uint32(m.ProtocolVersion), LocatorHashes: hashesFromBtcd(m.BlockLocatorHashes), StopHash: m.HashStop[:],
		}}
	case *wire.MsgPing:
		e.Msg = &eventpb.MessageEvent_Ping{Ping: &eventpb.Ping{Value: proto.Uint64(m.Nonce)}}
	case *wire.MsgPong:
		e.Msg = &eventpb.MessageEvent_Pong{Pong: &eventpb.Pong{Value: proto.Uint64(m.Nonce)}}
	case *wire.MsgFeeFilter:
		e.Msg = &eventpb.MessageEvent_Feefilter{Feefilter: &eventpb.FeeFilter{Fee: proto.Int64(m.MinFee)}}
	case *wire.MsgFilterAdd:
		e.Msg = &eventpb.MessageEvent_Filteradd{Filteradd: &eventpb.FilterAdd{Filter: m.Data}}
	case *wire.MsgFilterLoad:
		e.Msg = &eventpb.MessageEvent_Filterload{Filterload: &eventpb.FilterLoad{
			Filter: m.Filter, HashFuncs: proto.Uint32(m.HashFuncs), Tweak: proto.Uint32(m.Tweak),
			Flags: eventpb.FilterLoad_BloomFlags(m.Flags & 3 % 3).Enum(), FlagsByte: proto.Uint32(uint32(m.Flags)),
		}}
	case *wire.MsgMerkleBlock:
		mb := &eventpb.MerkleBlock{
			Header: headerFromBtcd(&m.Header), NumTransactions: proto.Uint32(m.Transactions), Hashes: hashesFromBtcd(m.Hashes),
		}
		for i := range len(m.Flags) * 8 {
			mb.Bits = append(mb.Bits, m.Flags[i/8]>>(i%8)&1 == 1)
		}
		count(len(m.Hashes))
		e.Msg = &eventpb.MessageEvent_Merkleblock{Merkleblock: mb}
	case *wire.MsgReject:
		e.Msg = &eventpb.MessageEvent_Reject{Reject: rejectFromBtcd(m)}
	case *wire.MsgGetCFilters:
		e.Msg = &eventpb.MessageEvent_Getcfilter{Getcfilter: &eventpb.GetCFilter{
			FilterType: proto.Uint32(uint32(m.FilterType)), StartHeight: proto.Uint32(m.StartHeight), StopHash: m.StopHash[:],
		}}
	case *wire.MsgGetCFHeaders:
		e.Msg = &eventpb.MessageEvent_Getcfheaders{Getcfheaders: &eventpb.GetCFHeaders{
			FilterType: proto.Uint32(uint32(m.FilterType)), StartHeight: proto.Uint32(m.StartHeight), StopHash: m.StopHash[:],
		}}
	case *wire.MsgGetCFCheckpt:
		e.Msg = &eventpb.MessageEvent_Getcfcheckpt{Getcfcheckpt: &eventpb.GetCFCheckpt{
			FilterType: proto.Uint32(uint32(m.FilterType)), StopHash: m.StopHash[:],
		}}
	case *wire.MsgCFilter:
		e.Msg = &eventpb.MessageEvent_Cfilter{Cfilter: &eventpb.CFilter{
			FilterType: proto.Uint32(uint32(m.FilterType)), BlockHash: m.BlockHash[:], Filter: m.Data,
		}}
	case *wire.MsgCFHeaders:
		count(len(m.FilterHashes))
		e.Msg = &eventpb.MessageEvent_Cfheaders{Cfheaders: &eventpb.CFHeaders{
			FilterType: proto.Uint32(uint32(m.FilterType)), StopHash: m.StopHash[:],
			PreviousFilterHeader: m.PrevFilterHeader[:], FilterHashes: hashesFromBtcd(m.FilterHashes),
		}}
	case *wire.MsgCFCheckpt:
		count(len(m.FilterHeaders))
		e.Msg = &eventpb.MessageEvent_Cfcheckpt{Cfcheckpt: &eventpb.CFCheckpt{
			FilterType: proto.Uint32(uint32(m.FilterType)), StopHash: m.StopHash[:], FilterHeaders: hashesFromBtcd(m.FilterHeaders),
		}}
	default:
		return nil, errNotInBtcd
	}
	return e, nil
}

func hashesFromBtcd(list []*chainhash.Hash) [][]byte {
	var out [][]byte
	for _, h := range list {
		out = append(out, h[:])
	}
	return out
}

func headerFromBtcd(h *wire.BlockHeader) *eventpb.BlockHeader {
	hash := h.BlockHash()
	return &eventpb.BlockHeader{
		Version:       proto.Int32(h.Version),
		PrevBlockhash: h.PrevBlock[:],
		MerkleRoot:    h.MerkleRoot[:],
		Time:          proto.Uint32(uint32(h.Timestamp.Unix())),
		Bits:          proto.Uint32(h.Bits),
		Nonce:         proto.Uint32(h.Nonce),
		Hash:          hash[:],
	}
}

func transactionFromBtcd(tx *wire.MsgTx) (*eventpb.Transaction, error) {
	var raw bytes.Buffer
	raw.Grow(tx.SerializeSize())
	if err := tx.Serialize(&raw); err != nil {
		return nil, err
	}
	txid, wtxid := tx.TxHash(), tx.WitnessHash()
	return &eventpb.Transaction{Txid: txid[:], Wtxid: wtxid[:], Raw: raw.Bytes()}, nil
}

func itemsFromBtcd(list []*wire.InvVect) []*eventpb.InventoryItem {
	var items []*eventpb.InventoryItem
	for _, i := range list {
		item := &eventpb.InventoryItem{}
		switch hash := i.Hash[:]; i.Type {
		case wire.InvTypeError:
			item.Item = &eventpb.InventoryItem_Error{Error: true}
		case wire.InvTypeTx:
			item.Item = &eventpb.InventoryItem_Transaction{Transaction: hash}
		case wire.InvTypeBlock:
			item.Item = &eventpb.InventoryItem_Block{Block: hash}
		case wire.InvTypeWitnessTx:
			item.Item = &eventpb.InventoryItem_WitnessTransaction{WitnessTransaction: hash}
		case wire.InvTypeWitnessBlock:
			item.Item = &eventpb.InventoryItem_WitnessBlock{WitnessBlock: hash}
		case 4: // MSG_CMPCT_BLOCK, BIP152
			item.Item = &eventpb.InventoryItem_CompactBlock{CompactBlock: hash}
		case 5: // MSG_WTX, BIP339
			item.Item = &eventpb.InventoryItem_Wtx{Wtx: hash}
		default:
			item.Item = &eventpb.InventoryItem_Unknown{Unknown: &eventpb.UnknownItem{
				InvType: proto.Uint32(uint32(i.Type)), Hash: hash,
			}}
		}
		items = append(items, item)
	}
	return items
}

func addressFromBtcd(a *wire.NetAddress) *eventpb.Address {
	out := &eventpb.Address{
		Timestamp: proto.Uint32(uint32(a.Timestamp.Unix())),
		Services:  proto.Uint64(uint64(a.Services)),
		Port:      proto.Uint32(uint32(a.Port)),
	}
	ip := a.IP
	if ip == nil {
		ip = net.IPv6zero
	}
	switch onion := bytes.HasPrefix(ip, []byte{0xfd, 0x87, 0xd8, 0x7e, 0xeb, 0x43}); {
	case ip.To4() != nil:
		out.Address = &eventpb.Address_Ipv4{Ipv4: ip.String()}
	case onion:
		out.Address = &eventpb.Address_Torv2{Torv2: lowerBase32(ip[6:]) + ".onion"}
	default:
		out.Address = &eventpb.Address_Ipv6{Ipv6: ip.String()}
	}
	return out
}

// addressV2FromBtcd goes through the text that btcd gives to an address.
func addressV2FromBtcd(a *wire.NetAddressV2) *eventpb.Address {
	out := &eventpb.Address{
		Timestamp: proto.Uint32(uint32(a.Timestamp.Unix())),
		Services:  proto.Uint64(uint64(a.Services)),
		Port:      proto.Uint32(uint32(a.Port)),
	}
	text := a.Addr.String()
	if network := a.Addr.Network()[0]; Network(network) == NetworkIPv6 && !strings.Contains(text, ":") {
		// net.IP takes the IPv4-mapped address for IPv4.
		ip := net.ParseIP(text).To16()
		text = fmt.Sprintf("::ffff:%x:%x", int(ip[12])<<8|int(ip[13]), int(ip[14])<<8|int(ip[15]))
	}
	switch ip, err := netip.ParseAddr(text); {
	case err == nil && ip.Is4():
		out.Address = &eventpb.Address_Ipv4{Ipv4: text}
	case err == nil:
		out.Address = &eventpb.Address_Ipv6{Ipv6: text}
	case a.IsTorV3():
		out.Address = &eventpb.Address_Torv3{Torv3: text}
	default:
		out.Address = &eventpb.Address_Torv2{Torv2: text}
	}
	return out
}

func lowerBase32(b []byte) string {
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}

// torV3Text is the name of a Tor v3 service by another implementation of SHA-3 and
// base32 than ours.
func torV3Text(key []byte) string {
	sum := sha3.Sum256(append(append([]byte(".onion checksum"), key...), 3))
	return lowerBase32(append(append([]byte{}, key...), sum[0], sum[1], 3)) + ".onion"
}

func rejectFromBtcd(m *wire.MsgReject) *eventpb.Reject {
	reasons := map[wire.RejectCode]eventpb.Reject_RejectReason{
		wire.RejectMalformed:       eventpb.Reject_REJECT_REASON_MALFORMED,
		wire.RejectInvalid:         eventpb.Reject_REJECT_REASON_INVALID,
		wire.RejectObsolete:        eventpb.Reject_REJECT_REASON_OBSOLETE,
		wire.RejectDuplicate:       eventpb.Reject_REJECT_REASON_DUPLICATE,
		wire.RejectNonstandard:     eventpb.Reject_REJECT_REASON_NONSTANDARD,
		wire.RejectDust:            eventpb.Reject_REJECT_REASON_DUST,
		wire.RejectInsufficientFee: eventpb.Reject_REJECT_REASON_FEE,
		wire.RejectCheckpoint:      eventpb.Reject_REJECT_REASON_CHECKPOINT,
	}
	reason, ok := reasons[m.Code]
	if !ok {
		// The first code of the class.
		reason = map[wire.RejectCode]eventpb.Reject_RejectReason{
			0x00: eventpb.Reject_REJECT_REASON_MALFORMED,
			0x10: eventpb.Reject_REJECT_REASON_INVALID,
			0x40: eventpb.Reject_REJECT_REASON_NONSTANDARD,
		}[m.Code&0xf0]
	}
	return &eventpb.Reject{
		RejectedCommand: proto.String(m.Cmd), Reason: reason.Enum(), ReasonDetails: proto.String(m.Reason),
		Hash: m.Hash[:], Code: proto.Uint32(uint32(m.Code)),
	}
}

package p2pmessage

import (
	"bytes"
	"encoding/base32"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// reencode makes the payload again that a message was decoded from. It knows nothing
// of the decoder but the meaning of the fields, and so holds it to every byte.
// A list that was cut off is given the number of elements that was announced.
func reencode(m *eventpb.MessageEvent) (payload, error) {
	var p payload
	count := func(have int) uint64 {
		if m.GetPayloadState() == eventpb.PayloadState_PAYLOAD_STATE_TRUNCATED {
			return m.GetElementCount()
		}
		return uint64(have)
	}
	hashList := func(list [][]byte) {
		p = p.compact(count(len(list)))
		for _, h := range list {
			p = p.raw(h...)
		}
	}
	items := func(list []*eventpb.InventoryItem) {
		p = p.compact(count(len(list)))
		for _, i := range list {
			p = p.item(i)
		}
	}
	switch msg := m.GetMsg().(type) {
	case *eventpb.MessageEvent_Ping:
		p = p.u64(msg.Ping.GetValue())
	case *eventpb.MessageEvent_Pong:
		p = p.u64(msg.Pong.GetValue())
	case *eventpb.MessageEvent_Inv:
		items(msg.Inv.GetItems())
	case *eventpb.MessageEvent_Getdata:
		items(msg.Getdata.GetItems())
	case *eventpb.MessageEvent_Notfound:
		items(msg.Notfound.GetItems())
	case *eventpb.MessageEvent_Tx:
		p = p.raw(msg.Tx.GetTx().GetRaw()...)
	case *eventpb.MessageEvent_Headers:
		p = p.compact(count(len(msg.Headers.GetHeaders())))
		for _, h := range msg.Headers.GetHeaders() {
			p = p.blockHeader(h).u8(0)
		}
	case *eventpb.MessageEvent_Addr:
		p = p.compact(count(len(msg.Addr.GetAddresses())))
		for _, a := range msg.Addr.GetAddresses() {
			p = p.u32(a.GetTimestamp()).legacyAddress(a)
		}
	case *eventpb.MessageEvent_Addrv2:
		p = p.compact(count(len(msg.Addrv2.GetAddresses())))
		for _, a := range msg.Addrv2.GetAddresses() {
			p = p.addressV2(a)
		}
	case *eventpb.MessageEvent_Feefilter:
		p = p.u64(uint64(msg.Feefilter.GetFee()))
	case *eventpb.MessageEvent_Getheaders:
		p = p.u32(msg.Getheaders.GetVersion())
		hashList(msg.Getheaders.GetLocatorHashes())
		p = p.raw(msg.Getheaders.GetStopHash()...)
	case *eventpb.MessageEvent_Getblocks:
		p = p.u32(msg.Getblocks.GetVersion())
		hashList(msg.Getblocks.GetLocatorHashes())
		p = p.raw(msg.Getblocks.GetStopHash()...)
	case *eventpb.MessageEvent_Version:
		p = p.version(msg.Version)
	case *eventpb.MessageEvent_Compactblock:
		p = p.blockHeader(msg.Compactblock.GetHeader()).u64(msg.Compactblock.GetNonce())
		p = p.compact(uint64(len(msg.Compactblock.GetShortIds())))
		for _, id := range msg.Compactblock.GetShortIds() {
			p = p.raw(id...)
		}
		p = p.compact(count(len(msg.Compactblock.GetTransactions())+len(msg.Compactblock.GetShortIds())) -
			uint64(len(msg.Compactblock.GetShortIds())))
		for _, t := range msg.Compactblock.GetTransactions() {
			p = p.compact(uint64(t.GetDiffIndex())).raw(t.GetTx().GetRaw()...)
		}
	case *eventpb.MessageEvent_Sendcompact:
		p = p.bool(msg.Sendcompact.GetSendCompact()).u64(msg.Sendcompact.GetVersion())
	case *eventpb.MessageEvent_Block:
		p = p.blockHeader(msg.Block.GetHeader()).compact(count(len(msg.Block.GetTransactions())))
		for _, t := range msg.Block.GetTransactions() {
			p = p.raw(t.GetRaw()...)
		}
	case *eventpb.MessageEvent_Getblocktxn:
		p = p.raw(msg.Getblocktxn.GetBlockHash()...).compact(count(len(msg.Getblocktxn.GetTxIndexes())))
		var next uint64
		for _, i := range msg.Getblocktxn.GetTxIndexes() {
			p = p.compact(i - next)
			next = i + 1
		}
	case *eventpb.MessageEvent_Blocktxn:
		p = p.raw(msg.Blocktxn.GetBlockHash()...).compact(count(len(msg.Blocktxn.GetTransactions())))
		for _, t := range msg.Blocktxn.GetTransactions() {
			p = p.raw(t.GetRaw()...)
		}
	case *eventpb.MessageEvent_Alert:
		p = p.varBytes(msg.Alert.GetAlert())
		if msg.Alert.Signature != nil {
			p = p.varBytes(msg.Alert.GetSignature())
		}
	case *eventpb.MessageEvent_Filteradd:
		p = p.varBytes(msg.Filteradd.GetFilter())
	case *eventpb.MessageEvent_Filterload:
		f := msg.Filterload
		p = p.varBytes(f.GetFilter()).u32(f.GetHashFuncs()).u32(f.GetTweak()).u8(uint8(f.GetFlagsByte()))
	case *eventpb.MessageEvent_Getcfcheckpt:
		p = p.u8(uint8(msg.Getcfcheckpt.GetFilterType())).raw(msg.Getcfcheckpt.GetStopHash()...)
	case *eventpb.MessageEvent_Cfheaders:
		f := msg.Cfheaders
		p = p.u8(uint8(f.GetFilterType())).raw(f.GetStopHash()...).raw(f.GetPreviousFilterHeader()...)
		hashList(f.GetFilterHashes())
	case *eventpb.MessageEvent_Cfilter:
		f := msg.Cfilter
		p = p.u8(uint8(f.GetFilterType())).raw(f.GetBlockHash()...).varBytes(f.GetFilter())
	case *eventpb.MessageEvent_Cfcheckpt:
		p = p.u8(uint8(msg.Cfcheckpt.GetFilterType())).raw(msg.Cfcheckpt.GetStopHash()...)
		hashList(msg.Cfcheckpt.GetFilterHeaders())
	case *eventpb.MessageEvent_Getcfheaders:
		f := msg.Getcfheaders
		p = p.u8(uint8(f.GetFilterType())).u32(f.GetStartHeight()).raw(f.GetStopHash()...)
	case *eventpb.MessageEvent_Getcfilter:
		f := msg.Getcfilter
		p = p.u8(uint8(f.GetFilterType())).u32(f.GetStartHeight()).raw(f.GetStopHash()...)
	case *eventpb.MessageEvent_Merkleblock:
		f := msg.Merkleblock
		p = p.blockHeader(f.GetHeader()).u32(f.GetNumTransactions())
		hashList(f.GetHashes())
		flags := make([]byte, len(f.GetBits())/8)
		for i, bit := range f.GetBits() {
			if bit {
				flags[i/8] |= 1 << (i % 8)
			}
		}
		p = p.varBytes(flags)
	case *eventpb.MessageEvent_Sendtxrcncl:
		p = p.u32(msg.Sendtxrcncl.GetVersion()).u64(msg.Sendtxrcncl.GetSalt())
	case *eventpb.MessageEvent_Feature:
		p = p.varBytes([]byte(msg.Feature.GetFeatureId())).varBytes(msg.Feature.GetFeatureData())
	case *eventpb.MessageEvent_Reject:
		f := msg.Reject
		p = p.varBytes([]byte(f.GetRejectedCommand())).u8(uint8(f.GetCode())).varBytes([]byte(f.GetReasonDetails()))
		if !bytes.Equal(f.GetHash(), make([]byte, hashSize)) {
			p = p.raw(f.GetHash()...)
		}
	case *eventpb.MessageEvent_Verack, *eventpb.MessageEvent_Sendheaders, *eventpb.MessageEvent_Getaddr,
		*eventpb.MessageEvent_Mempool, *eventpb.MessageEvent_Wtxidrelay, *eventpb.MessageEvent_Sendaddrv2,
		*eventpb.MessageEvent_Filterclear, *eventpb.MessageEvent_Emptyaddrv2, *eventpb.MessageEvent_Oldping:
	default:
		return nil, fmt.Errorf("can't encode a %T", msg)
	}
	return p, nil
}

func (p payload) bool(v bool) payload {
	if v {
		return p.u8(1)
	}
	return p.u8(0)
}

func (p payload) item(i *eventpb.InventoryItem) payload {
	switch item := i.GetItem().(type) {
	case *eventpb.InventoryItem_Transaction:
		return p.u32(1).raw(item.Transaction...)
	case *eventpb.InventoryItem_Block:
		return p.u32(2).raw(item.Block...)
	case *eventpb.InventoryItem_CompactBlock:
		return p.u32(4).raw(item.CompactBlock...)
	case *eventpb.InventoryItem_Wtx:
		return p.u32(5).raw(item.Wtx...)
	case *eventpb.InventoryItem_WitnessTransaction:
		return p.u32(0x40000001).raw(item.WitnessTransaction...)
	case *eventpb.InventoryItem_WitnessBlock:
		return p.u32(0x40000002).raw(item.WitnessBlock...)
	case *eventpb.InventoryItem_Unknown:
		return p.u32(item.Unknown.GetInvType()).raw(item.Unknown.GetHash()...)
	default: // error, whose hash isn't kept
		return p.u32(0).raw(make([]byte, hashSize)...)
	}
}

func (p payload) blockHeader(h *eventpb.BlockHeader) payload {
	return p.u32(uint32(h.GetVersion())).raw(h.GetPrevBlockhash()...).raw(h.GetMerkleRoot()...).
		u32(h.GetTime()).u32(h.GetBits()).u32(h.GetNonce())
}

// addressBytes reads an address text and says which network it is of.
func addressBytes(a *eventpb.Address) (network uint8, address []byte) {
	base32Text := func(s, suffix string) []byte {
		s, ok := strings.CutSuffix(s, suffix)
		if !ok {
			panic("no " + suffix + " in " + s)
		}
		b, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ToUpper(s))
		if err != nil {
			panic(err)
		}
		return b
	}
	ip := func(s string) []byte { return netip.MustParseAddr(s).AsSlice() }
	switch text := a.GetAddress().(type) {
	case *eventpb.Address_Ipv4:
		return 1, ip(text.Ipv4)
	case *eventpb.Address_Ipv6:
		return 2, ip(text.Ipv6)
	case *eventpb.Address_Torv2:
		return 3, base32Text(text.Torv2, ".onion")
	case *eventpb.Address_Torv3:
		return 4, base32Text(text.Torv3, ".onion")[:32]
	case *eventpb.Address_I2P:
		return 5, base32Text(text.I2P, ".b32.i2p")
	case *eventpb.Address_Cjdns:
		return 6, ip(text.Cjdns)
	default:
		return uint8(a.GetUnknown().GetId()), a.GetUnknown().GetAddress()
	}
}

// legacyAddress writes services, address and port.
func (p payload) legacyAddress(a *eventpb.Address) payload {
	p = p.u64(a.GetServices())
	network, address := addressBytes(a)
	switch network {
	case 1:
		p = p.raw(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff)
	case 3:
		p = p.raw(0xfd, 0x87, 0xd8, 0x7e, 0xeb, 0x43)
	}
	return p.raw(address...).port(uint16(a.GetPort()))
}

func (p payload) addressV2(a *eventpb.Address) payload {
	network, address := addressBytes(a)
	return p.u32(a.GetTimestamp()).compact(a.GetServices()).u8(network).varBytes(address).port(uint16(a.GetPort()))
}

func (p payload) version(v *eventpb.Version) payload {
	p = p.u32(v.GetVersion()).u64(v.GetServices()).u64(uint64(v.GetTimestamp())).legacyAddress(v.GetReceiver())
	has := func(number uint32) bool {
		return !slices.Contains(v.GetAbsentFields(), number)
	}
	if has(5) {
		p = p.legacyAddress(v.GetSender()).u64(v.GetNonce())
	}
	if has(7) {
		p = p.varBytes([]byte(v.GetUserAgent()))
	}
	if has(8) {
		p = p.u32(uint32(v.GetStartHeight()))
	}
	if has(9) {
		p = p.bool(v.GetRelay())
	}
	return p
}

package rpc

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/eventpb"
	"github.com/peerobserver/peerobserver/proto/field"
)

// peerInfoColumns are the keys of an entry of getpeerinfo (rpc/net.cpp).
func peerInfoColumns() []column {
	return []column{
		{number: field.PeerInfoId, key: "id"},
		{number: field.PeerInfoAddress, key: "addr"},
		{number: field.PeerInfoAddressBind, key: "addrbind"},
		{number: field.PeerInfoAddressLocal, key: "addrlocal"},
		{number: field.PeerInfoNetwork, key: "network"},
		{number: field.PeerInfoMappedAs, key: "mapped_as"},
		{number: field.PeerInfoServices, key: "services"},
		{number: field.PeerInfoRelayTransactions, key: "relaytxes"},
		{number: field.PeerInfoLastSend, key: "lastsend"},
		{number: field.PeerInfoLastReceived, key: "lastrecv"},
		{number: field.PeerInfoLastTransaction, key: "last_transaction"},
		{number: field.PeerInfoLastBlock, key: "last_block"},
		{number: field.PeerInfoBytesSent, key: "bytessent"},
		{number: field.PeerInfoBytesReceived, key: "bytesrecv"},
		{number: field.PeerInfoConnectionTime, key: "conntime"},
		{number: field.PeerInfoTimeOffset, key: "timeoffset"},
		{number: field.PeerInfoPingTime, key: "pingtime"},
		{number: field.PeerInfoMinimumPing, key: "minping"},
		{number: field.PeerInfoPingWait, key: "pingwait"},
		{number: field.PeerInfoVersion, key: "version"},
		{number: field.PeerInfoSubversion, key: "subver"},
		{number: field.PeerInfoInbound, key: "inbound"},
		{number: field.PeerInfoBip152HbTo, key: "bip152_hb_to"},
		{number: field.PeerInfoBip152HbFrom, key: "bip152_hb_from"},
		{number: field.PeerInfoStartingHeight, key: "startingheight"},
		{number: field.PeerInfoSyncedHeaders, key: "synced_headers"},
		{number: field.PeerInfoSyncedBlocks, key: "synced_blocks"},
		{number: field.PeerInfoInflight, key: "inflight"},
		{number: field.PeerInfoAddrRelayEnabled, key: "addr_relay_enabled"},
		{number: field.PeerInfoAddrProcessed, key: "addr_processed"},
		{number: field.PeerInfoAddrRateLimited, key: "addr_rate_limited"},
		{number: field.PeerInfoPermissions, key: "permissions"},
		{number: field.PeerInfoMinfeefilter, key: "minfeefilter"},
		{number: field.PeerInfoBytesSentPerMessage, key: "bytessent_per_msg"},
		{number: field.PeerInfoBytesReceivedPerMessage, key: "bytesrecv_per_msg"},
		{number: field.PeerInfoConnectionType, key: "connection_type"},
		{number: field.PeerInfoTransportProtocolType, key: "transport_protocol_type"},
		{number: field.PeerInfoInvToSend, key: "inv_to_send"},
		{number: field.PeerInfoCpuLoad, key: "cpu_load"},
		{number: field.PeerInfoPresyncedHeaders, key: "presynced_headers", optional: true},
		{number: field.PeerInfoLastInvSequence, key: "last_inv_sequence", optional: true},
	}
}

func convertPeerInfo(raw []byte, p *problems) ([]byte, error) {
	columns := peerInfoColumns()
	infos := new(eventpb.PeerInfos)
	err := eachEntry(raw, p, func(o object) {
		info := new(eventpb.PeerInfo)
		fill(info, o, columns, p)
		infos.Infos = append(infos.Infos, info)
	})
	if err != nil {
		return nil, err
	}
	return encode(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_PeerInfos{PeerInfos: infos}})
}

func convertNetTotals(raw []byte, p *problems) ([]byte, error) {
	o, err := parseObject(raw)
	if err != nil {
		return nil, err
	}
	totals := new(eventpb.NetTotals)
	fill(totals, o, []column{
		{number: field.NetTotalsTotalBytesReceived, key: "totalbytesrecv"},
		{number: field.NetTotalsTotalBytesSent, key: "totalbytessent"},
		{number: field.NetTotalsTimeMillis, key: "timemillis"},
	}, p)
	target := new(eventpb.UploadTarget)
	part, ok := o.has("uploadtarget")
	inner, err := parseObject(part)
	if !ok || err != nil {
		if ok {
			p.note("uploadtarget")
		}
		totals.AbsentFields = append(totals.AbsentFields, uint32(field.NetTotalsUploadTarget))
	}
	fill(target, inner, []column{
		{number: field.UploadTargetTimeframe, key: "timeframe"},
		{number: field.UploadTargetTarget, key: "target"},
		{number: field.UploadTargetTargetReached, key: "target_reached"},
		{number: field.UploadTargetServeHistoricalBlocks, key: "serve_historical_blocks"},
		{number: field.UploadTargetBytesLeftInCycle, key: "bytes_left_in_cycle"},
		{number: field.UploadTargetTimeLeftInCycle, key: "time_left_in_cycle"},
	}, p)
	totals.UploadTarget = target
	return encode(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_NetTotals{NetTotals: totals}})
}

// networkInfoColumns are the keys of getnetworkinfo.
func networkInfoColumns() []column {
	return []column{
		{number: field.NetworkInfoVersion, key: "version"},
		{number: field.NetworkInfoSubversion, key: "subversion"},
		{number: field.NetworkInfoProtocolVersion, key: "protocolversion"},
		{number: field.NetworkInfoLocalServices, key: "localservices"},
		{number: field.NetworkInfoLocalServicesNames, key: "localservicesnames"},
		{number: field.NetworkInfoLocalRelay, key: "localrelay"},
		{number: field.NetworkInfoTimeOffset, key: "timeoffset"},
		{number: field.NetworkInfoConnections, key: "connections"},
		{number: field.NetworkInfoConnectionsIn, key: "connections_in"},
		{number: field.NetworkInfoConnectionsOut, key: "connections_out"},
		{number: field.NetworkInfoNetworkActive, key: "networkactive"},
		{number: field.NetworkInfoRelayFee, key: "relayfee", unit: satPerVB},
		{number: field.NetworkInfoIncrementalFee, key: "incrementalfee", unit: satPerVB},
		{number: field.NetworkInfoWarnings, key: "warnings"},
	}
}

func convertNetworkInfo(raw []byte, p *problems) ([]byte, error) {
	o, err := parseObject(raw)
	if err != nil {
		return nil, err
	}
	info := new(eventpb.NetworkInfo)
	columns := networkInfoColumns()
	fill(info, o, columns, p)
	if list, ok := o.has("networks"); ok {
		entry := []column{
			{number: field.NetworkInfoNetworkName, key: "name"},
			{number: field.NetworkInfoNetworkLimited, key: "limited"},
			{number: field.NetworkInfoNetworkReachable, key: "reachable"},
			{number: field.NetworkInfoNetworkProxy, key: "proxy"},
			{number: field.NetworkInfoNetworkProxyRandomizeCredentials, key: "proxy_randomize_credentials"},
		}
		if err := eachEntry(list, p, func(o object) {
			network := new(eventpb.NetworkInfoNetwork)
			fill(network, o, entry, p)
			info.Networks = append(info.Networks, network)
		}); err != nil {
			p.note("networks")
		}
	}
	if list, ok := o.has("localaddresses"); ok {
		entry := []column{
			{number: field.NetworkInfoLocalAddressAddress, key: "address"},
			{number: field.NetworkInfoLocalAddressPort, key: "port"},
			{number: field.NetworkInfoLocalAddressScore, key: "score"},
		}
		if err := eachEntry(list, p, func(o object) {
			address := new(eventpb.NetworkInfoLocalAddress)
			fill(address, o, entry, p)
			info.LocalAddresses = append(info.LocalAddresses, address)
		}); err != nil {
			p.note("localaddresses")
		}
	}
	for _, c := range columns {
		delete(o, c.key)
	}
	info.OtherNumbers = map[string]float64{}
	otherNumbers(info.OtherNumbers, "", o, 0, p)
	return encode(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_NetworkInfo{NetworkInfo: info}})
}

// Bounds of otherNumbers.
const (
	maxOtherNumbers = 64
	maxOtherDepth   = 3
)

// otherNumbers collects the numbers of o, and of objects inside it, under their keys.
func otherNumbers(into map[string]float64, prefix string, o object, depth int, p *problems) {
	for _, key := range slices.Sorted(maps.Keys(o)) {
		raw := o[key]
		name := clean(prefix+key, maxText)
		switch {
		case raw[0] == '{' && depth < maxOtherDepth:
			if inner, err := parseObject(raw); err == nil {
				otherNumbers(into, name+".", inner, depth+1, p)
			}
		case raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9':
			n, err := parseFloat(raw)
			switch {
			case err != nil:
				p.note(name)
			case len(into) == maxOtherNumbers:
				p.omitted++
			default:
				into[name] = n
			}
		}
	}
}

func convertAddrManInfo(raw []byte, p *problems) ([]byte, error) {
	o, err := parseObject(raw)
	if err != nil {
		return nil, err
	}
	columns := []column{
		{number: field.AddrManInfoNetworkNew, key: "new"},
		{number: field.AddrManInfoNetworkTried, key: "tried"},
		{number: field.AddrManInfoNetworkTotal, key: "total"},
	}
	info := &eventpb.AddrManInfo{Networks: map[string]*eventpb.AddrManInfoNetwork{}}
	for name, part := range o {
		if len(info.GetNetworks()) == maxList {
			p.omitted++
			break
		}
		inner, err := parseObject(part)
		if err != nil {
			p.note(clean(name, maxText))
			continue
		}
		network := new(eventpb.AddrManInfoNetwork)
		fill(network, inner, columns, p)
		info.Networks[clean(name, maxText)] = network
	}
	return encode(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_AddrmanInfo{AddrmanInfo: info}})
}

func convertBanned(raw []byte, _ *problems) ([]byte, error) {
	var count uint64
	if err := eachRaw(raw, func(json.RawMessage) { count++ }); err != nil {
		return nil, err
	}
	return encode(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_BannedList{
		BannedList: &eventpb.BannedList{Count: proto.Uint64(count)},
	}})
}

// eachEntry calls do for every object of a JSON array.
func eachEntry(raw []byte, p *problems, do func(o object)) error {
	entries := 0
	return eachRaw(raw, func(item json.RawMessage) {
		if entries == maxEntries {
			p.omitted++
			return
		}
		o, err := parseObject(item)
		if err != nil {
			p.note(fmt.Sprintf("entry %d", entries))
			return
		}
		entries++
		do(o)
	})
}

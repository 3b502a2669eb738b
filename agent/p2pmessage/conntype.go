package p2pmessage

import "github.com/peerobserver/peerobserver/proto/eventpb"

// ConnectionType gives the value for a connection type as Bitcoin Core names it in the
// tracepoints (ConnectionTypeAsString in its node/connection_types.cpp). A name that
// isn't known is CONNECTION_TYPE_UNKNOWN.
func ConnectionType(text []byte) eventpb.ConnectionType {
	switch string(text) {
	case "inbound":
		return eventpb.ConnectionType_CONNECTION_TYPE_INBOUND
	case "outbound-full-relay":
		return eventpb.ConnectionType_CONNECTION_TYPE_OUTBOUND_FULL_RELAY
	case "block-relay-only":
		return eventpb.ConnectionType_CONNECTION_TYPE_BLOCK_RELAY_ONLY
	case "feeler":
		return eventpb.ConnectionType_CONNECTION_TYPE_FEELER
	case "manual":
		return eventpb.ConnectionType_CONNECTION_TYPE_MANUAL
	case "addr-fetch":
		return eventpb.ConnectionType_CONNECTION_TYPE_ADDR_FETCH
	case "private-broadcast":
		return eventpb.ConnectionType_CONNECTION_TYPE_PRIVATE_BROADCAST
	default:
		return eventpb.ConnectionType_CONNECTION_TYPE_UNKNOWN
	}
}

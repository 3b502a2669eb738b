// Package eventpb holds the types of the events. All but this file is generated from
// proto/peerobserver/v1.
package eventpb

// The existing tools know five types of connections, and readers that were generated
// from their schema refuse others, so every event has both fields.

// ConnType gives the value for conn_type: unknown for the types that only
// connection_type has.
func (x ConnectionType) ConnType() ConnType {
	switch x {
	case ConnectionType_CONNECTION_TYPE_INBOUND:
		return ConnType_CONN_TYPE_INBOUND
	case ConnectionType_CONNECTION_TYPE_OUTBOUND_FULL_RELAY:
		return ConnType_CONN_TYPE_OUTBOUND_FULL_RELAY
	case ConnectionType_CONNECTION_TYPE_BLOCK_RELAY_ONLY:
		return ConnType_CONN_TYPE_BLOCK_RELAY_ONLY
	case ConnectionType_CONNECTION_TYPE_FEELER:
		return ConnType_CONN_TYPE_FEELER
	default:
		return ConnType_CONN_TYPE_UNKNOWN
	}
}

// ConnectionType gives the type of a connection in an event of the existing tools,
// which have conn_type alone.
func (x ConnType) ConnectionType() ConnectionType {
	switch x {
	case ConnType_CONN_TYPE_INBOUND:
		return ConnectionType_CONNECTION_TYPE_INBOUND
	case ConnType_CONN_TYPE_OUTBOUND_FULL_RELAY:
		return ConnectionType_CONNECTION_TYPE_OUTBOUND_FULL_RELAY
	case ConnType_CONN_TYPE_BLOCK_RELAY_ONLY:
		return ConnectionType_CONNECTION_TYPE_BLOCK_RELAY_ONLY
	case ConnType_CONN_TYPE_FEELER:
		return ConnectionType_CONNECTION_TYPE_FEELER
	default:
		return ConnectionType_CONNECTION_TYPE_UNKNOWN
	}
}

package metrics

import (
	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// Places in the direction label.
const (
	inbound = iota
	outbound
)

// labels are the labels that several metrics have.
type labels struct {
	// direction: of a message, received or sent by the node; of a connection, opened by
	// the peer or by the node.
	direction *label
	message   *label
	// connectionType has Bitcoin Core's names (node/connection_types.cpp).
	connectionType *label
	// network has Bitcoin Core's names (GetNetworkName in netbase.cpp).
	network *label
	// table is one of the two of the address manager.
	table *label
	// item is the type of an inventory item.
	item *label
	// list is the prefix list that an address is on.
	list *label
}

func newLabels(r *registry, lists []string) *labels {
	names := make([]string, 0, decode.MessageTypes-1)
	for t := decode.MessageOther + 1; t < decode.MessageTypes; t++ {
		names = append(names, t.String())
	}
	return &labels{
		direction:      closedLabel("direction", "inbound", "outbound"),
		message:        r.bounded("message", names...),
		connectionType: r.bounded("connection_type", connectionTypes()...),
		network:        r.bounded("network", networks()...),
		table:          closedLabel("table", "new", "tried"),
		item:           closedLabel("type", "unknown", "error", "tx", "wtx", "witness_tx", "block", "witness_block", "compact_block"),
		list:           closedLabel("list", lists...),
	}
}

func connectionTypes() []string {
	return []string{
		"inbound", "outbound-full-relay", "block-relay-only", "feeler", "manual", "addr-fetch", "private-broadcast",
	}
}

func networks() []string {
	return []string{"not_publicly_routable", "ipv4", "ipv6", "onion", "i2p", "cjdns", "internal"}
}

// messageIndex is the place of a message type in the message label; an unknown type is
// counted as folded.
func (l *labels) messageIndex(t decode.MessageType) int {
	if t == decode.MessageOther {
		return l.message.unknown("")
	}
	return int(t) - 1
}

// messagePlace is messageIndex for a message that was counted already.
func (l *labels) messagePlace(t decode.MessageType) int {
	if t == decode.MessageOther {
		return l.message.rest
	}
	return int(t) - 1
}

// directionIndex is the place of a direction.
func directionIndex(in bool) int {
	if in {
		return inbound
	}
	return outbound
}

// connectionTypeIndex is the place of a connection type; an unknown type is counted as
// folded.
func (l *labels) connectionTypeIndex(t eventpb.ConnectionType) int {
	i := l.connectionTypePlace(t)
	if i == l.connectionType.rest {
		l.connectionType.unknown("")
	}
	return i
}

// connectionTypePlace is connectionTypeIndex for a peer that was counted already.
func (l *labels) connectionTypePlace(t eventpb.ConnectionType) int {
	if i := connectionTypePlace(t); i >= 0 {
		return i
	}
	return l.connectionType.rest
}

// connectionTypePlace is the place of a connection type in connectionTypes, -1 for an
// unknown one.
func connectionTypePlace(t eventpb.ConnectionType) int {
	switch t {
	case eventpb.ConnectionType_CONNECTION_TYPE_INBOUND:
		return 0
	case eventpb.ConnectionType_CONNECTION_TYPE_OUTBOUND_FULL_RELAY:
		return 1
	case eventpb.ConnectionType_CONNECTION_TYPE_BLOCK_RELAY_ONLY:
		return 2
	case eventpb.ConnectionType_CONNECTION_TYPE_FEELER:
		return 3
	case eventpb.ConnectionType_CONNECTION_TYPE_MANUAL:
		return 4
	case eventpb.ConnectionType_CONNECTION_TYPE_ADDR_FETCH:
		return 5
	case eventpb.ConnectionType_CONNECTION_TYPE_PRIVATE_BROADCAST:
		return 6
	default:
		return -1
	}
}

// connectionTypeName is Bitcoin Core's name of a connection type.
func connectionTypeName(t eventpb.ConnectionType) string {
	if i := connectionTypePlace(t); i >= 0 {
		return connectionTypes()[i]
	}
	return other
}

// networkIndex is the place of a network in Bitcoin Core's enum Network.
func (l *labels) networkIndex(network uint32) int {
	if network < uint32(l.network.rest) {
		return int(network)
	}
	return l.network.unknown("")
}

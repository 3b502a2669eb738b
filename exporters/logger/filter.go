package logger

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// Direction is whether the node got a P2P message or sent it.
type Direction uint8

// The directions.
const (
	DirectionBoth Direction = iota
	DirectionInbound
	DirectionOutbound
)

// Filter says which events are shown. A list that is empty lets everything through;
// lists are combined: an event has to be in each.
type Filter struct {
	Sources []event.Source
	Kinds   []event.Kind
	// Messages are P2P message types ("inv"). What isn't a P2P message isn't shown
	// then.
	Messages []string
	// Direction other than DirectionBoth shows P2P messages only.
	Direction Direction
	// PeerIDs and Addresses show what concerns one of these peers; either may match.
	PeerIDs   []uint64
	Addresses []netip.Prefix
	// Hosts are peers by what the node calls them, such as onion names, with or
	// without a port.
	Hosts []string
}

// ParseFilter makes a filter of what the flags say: names of sources and events (an
// event's name or its first part, such as "connection"), P2P message types, a direction
// ("inbound", "outbound" or empty) and peers by id, IP address, subnet, or name, with
// or without a port.
func ParseFilter(sources, events, messages []string, direction string, peers []string) (Filter, error) {
	f := Filter{Messages: messages}
	for _, name := range sources {
		source, err := event.ParseSource(name)
		if err != nil {
			return Filter{}, err
		}
		f.Sources = append(f.Sources, source)
	}
	kinds, err := event.MatchKinds(events)
	if err != nil {
		return Filter{}, err
	}
	f.Kinds = kinds
	switch direction {
	case "":
	case "inbound":
		f.Direction = DirectionInbound
	case "outbound":
		f.Direction = DirectionOutbound
	default:
		return Filter{}, fmt.Errorf("unknown direction %q (known: inbound, outbound)", direction)
	}
	for _, text := range peers {
		f.addPeer(text)
	}
	return f, nil
}

func (f *Filter) addPeer(text string) {
	if id, err := strconv.ParseUint(text, 10, 64); err == nil {
		f.PeerIDs = append(f.PeerIDs, id)
	} else if prefix, err := netip.ParsePrefix(text); err == nil {
		f.Addresses = append(f.Addresses, prefix.Masked())
	} else if address, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		address = address.Unmap()
		f.Addresses = append(f.Addresses, netip.PrefixFrom(address, address.BitLen()))
	} else {
		f.Hosts = append(f.Hosts, text)
	}
}

// Admits decides by what can be had without decoding. An event that it lets through
// may still be refused by AdmitsDecoded.
func (f *Filter) Admits(e *event.Event) bool {
	if len(f.Sources) > 0 && !slices.Contains(f.Sources, e.Source) {
		return false
	}
	if len(f.Kinds) > 0 && !slices.Contains(f.Kinds, e.Kind) {
		return false
	}
	if !f.aboutMessages() && !f.aboutPeers() {
		return true
	}
	if e.Kind != event.KindMessage {
		return !f.aboutMessages()
	}
	m, found := peekMessage(e.Data)
	if !found {
		return false
	}
	if f.Direction != DirectionBoth && m.inbound != (f.Direction == DirectionInbound) {
		return false
	}
	if len(f.Messages) > 0 && !slices.Contains(f.Messages, string(m.kind)) {
		return false
	}
	return !f.aboutPeers() || f.hasPeer(&peer{id: m.peerID, hasID: true, address: string(m.address)})
}

func (f *Filter) aboutMessages() bool { return len(f.Messages) > 0 || f.Direction != DirectionBoth }

func (f *Filter) aboutPeers() bool {
	return len(f.PeerIDs) > 0 || len(f.Addresses) > 0 || len(f.Hosts) > 0
}

// NeedsDecoding says whether Admits could not decide.
func (f *Filter) NeedsDecoding(e *event.Event) bool {
	return f.aboutPeers() && e.Kind != event.KindMessage
}

// AdmitsDecoded decides about the peers of events that aren't P2P messages.
func (f *Filter) AdmitsDecoded(e *eventpb.Event) bool {
	if !f.aboutPeers() {
		return true
	}
	p := peerOf(e)
	return p != nil && f.hasPeer(p)
}

func (f *Filter) hasPeer(p *peer) bool {
	if p.hasID && slices.Contains(f.PeerIDs, p.id) {
		return true
	}
	if p.address == "" {
		return false
	}
	host := p.address
	if address, err := netip.ParseAddrPort(p.address); err == nil {
		if f.hasAddress(address.Addr()) {
			return true
		}
	} else if address, err := netip.ParseAddr(p.address); err == nil {
		if f.hasAddress(address) {
			return true
		}
	}
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	return slices.Contains(f.Hosts, p.address) || slices.Contains(f.Hosts, host)
}

func (f *Filter) hasAddress(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	return slices.ContainsFunc(f.Addresses, func(p netip.Prefix) bool { return p.Contains(address) })
}

// peer is the peer that an event concerns.
type peer struct {
	id      uint64
	hasID   bool
	address string
	// connection is the type of the connection, empty when the event doesn't say.
	connection string
}

// peerOf finds the peer that an event concerns, nil when it concerns none.
func peerOf(e *eventpb.Event) *peer {
	ebpf := e.GetEbpfExtractor()
	if ebpf == nil {
		return peerOfLog(e.GetLogExtractor())
	}
	if meta := ebpf.GetMessage().GetMeta(); meta != nil {
		return &peer{id: meta.GetPeerId(), hasID: true, address: meta.GetAddr(), connection: connectionType(meta.ConnectionType, meta.GetConnType())}
	}
	connection := ebpf.GetConnection()
	for _, c := range []*eventpb.Connection{
		connection.GetClosed().GetConn(), connection.GetInboundEvicted().GetConn(),
		connection.GetInbound().GetConn(), connection.GetOutbound().GetConn(),
	} {
		if c != nil {
			return &peer{id: c.GetPeerId(), hasID: true, address: c.GetAddr(), connection: connectionType(c.ConnectionType, c.GetConnType())}
		}
	}
	if m := connection.GetMisbehaving(); m != nil {
		return &peer{id: m.GetId(), hasID: true}
	}
	validation := ebpf.GetValidation()
	if h := validation.GetBlockHeader(); h != nil {
		return &peer{id: h.GetPeerId(), hasID: true}
	}
	if c := validation.GetCompactBlockReconstructed(); c != nil {
		return &peer{id: c.GetPeerId(), hasID: true}
	}
	return nil
}

func peerOfLog(e *eventpb.LogExtractor) *peer {
	known := e.GetKnownLogMessage()
	if known == nil || known.PeerId == nil && known.Address == nil {
		return nil
	}
	return &peer{id: known.GetPeerId(), hasID: known.PeerId != nil, address: known.GetAddress()}
}

// connectionType gives Bitcoin Core's name of a connection type, from the old field in
// events of the existing tools.
func connectionType(given *eventpb.ConnectionType, old eventpb.ConnType) string {
	t := old.ConnectionType()
	if given != nil {
		t = *given
	}
	return strings.ReplaceAll(enumName(t.Descriptor(), t.Number()), "_", "-")
}

package p2p

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
	"github.com/peerobserver/peerobserver/proto/field"
)

// times are those of an event that was read from the connection.
func (l *link) times() event.Times {
	times := l.timesNow()
	times.Receive = l.stream.readAt.UnixNano()
	return times
}

// timesNow are those of an event that nothing was read for. The node's start is looked
// up each time: after a restart the link may be there before the process is found.
func (l *link) timesNow() event.Times { return event.Times{NodeStart: l.source.config.NodeStart()} }

// emitBuffer publishes the announcement whose content is in the buffer.
func (l *link) emitBuffer(announcement protowire.Number) {
	l.buffer.Enclose(announcement)
	// The link is put in front, the last field first.
	var description [3 * (1 + 10)]byte
	link := event.AppendVarintField(description[:0], field.LinkId, l.id)
	link = event.AppendVarintField(link, field.LinkTransportVersion, uint64(l.transport.version()))
	link = event.AppendVarintField(link, field.LinkPeerId, l.peerID)
	l.buffer.PrependBytesField(field.P2pExtractorLink, link)
	l.buffer.Enclose(field.EventP2pExtractor)
	l.source.emitter.EmitEncoded(l.buffer, l.times())
}

// emit publishes an event that is rare or small.
func (l *link) emit(e *eventpb.P2PExtractor, times event.Times) {
	e.Link = &eventpb.Link{
		Id:               proto.Uint64(l.id),
		TransportVersion: proto.Uint32(l.transport.version()),
		PeerId:           proto.Uint64(l.peerID),
	}
	l.source.emitter.Emit(&eventpb.Event{
		PeerObserverEvent: &eventpb.Event_P2PExtractor{P2PExtractor: e},
	}, times)
}

func (l *link) emitPing(roundTrip time.Duration) {
	l.emit(&eventpb.P2PExtractor{P2PEvent: &eventpb.P2PExtractor_PingDuration{
		PingDuration: &eventpb.PingDuration{Duration: proto.Uint64(nanoseconds(roundTrip))},
	}}, l.times())
}

func (l *link) emitPingTimeout(waited time.Duration) {
	l.emit(&eventpb.P2PExtractor{P2PEvent: &eventpb.P2PExtractor_PingTimeout{
		PingTimeout: &eventpb.PingTimeout{Waited: proto.Uint64(nanoseconds(waited))},
	}}, l.timesNow())
}

func (l *link) emitUp(version nodeVersion) {
	l.emitState(&eventpb.LinkState{
		State:           eventpb.LinkState_STATE_UP.Enum(),
		ProtocolVersion: proto.Uint32(uint32(version.protocol)),
		Services:        proto.Uint64(version.services),
		UserAgent:       proto.String(version.userAgent),
		StartHeight:     proto.Int32(version.height),
		ObservedNode:    proto.Bool(true),
	})
}

func (l *link) emitDown(reason string) {
	l.emitState(&eventpb.LinkState{
		State:        eventpb.LinkState_STATE_DOWN.Enum(),
		Reason:       proto.String(reason),
		ObservedNode: proto.Bool(true),
	})
}

func (l *link) emitState(state *eventpb.LinkState) {
	l.emit(&eventpb.P2PExtractor{P2PEvent: &eventpb.P2PExtractor_LinkState{LinkState: state}}, l.timesNow())
}

// nanoseconds is d, which a monotonic clock keeps from being negative.
func nanoseconds(d time.Duration) uint64 { return uint64(max(0, d)) }

package evidence

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// publish emits an event with a record. It has addresses, as most events have, unless
// nobody may see them.
func (s *Sink) publish(r *Record) {
	if s.emitter == nil {
		return
	}
	if s.config.Addresses == AddressesNever {
		r.redact(s.config.Redactor)
	}
	s.emitter.Emit(&eventpb.Event{PeerObserverEvent: &eventpb.Event_Observer{Observer: &eventpb.Observer{
		ObserverEvent: &eventpb.Observer_AlertEvidence{AlertEvidence: r.message()},
	}}}, event.Times{})
}

// message is the record as a message.
func (r *Record) message() *eventpb.AlertEvidence {
	m := &eventpb.AlertEvidence{
		State: eventpb.AlertEvidence_STATE_FIRING.Enum(), Id: proto.String(r.ID), Alert: proto.String(r.Alert), Severity: proto.String(r.Severity),
		Summary: proto.String(r.Summary), RunbookUrl: optional(r.Runbook), Labels: r.Labels,
		BeganTimeNs: nanoseconds(&r.Began), NoticedTimeNs: nanoseconds(&r.Noticed), FiredTimeNs: nanoseconds(r.Fired), EndedTimeNs: nanoseconds(r.Ended),
		ValueFirst: proto.Float64(r.First), ValueLargest: proto.Float64(r.Largest), ValueLast: proto.Float64(r.Last), PeersBy: optional(r.Measure),
	}
	if r.Ended != nil {
		m.State = eventpb.AlertEvidence_STATE_ENDED.Enum()
	}
	for _, v := range r.Values {
		m.Values = append(m.Values, &eventpb.EvidenceValue{
			Series: proto.String(v.Series), PerSecond: optional(v.PerSecond), Now: proto.Float64(v.Now), Usual: proto.Float64(v.Usual),
			Samples: proto.Uint64(uint64(v.Samples)),
		})
	}
	for i := range r.Peers {
		m.Peers = append(m.Peers, r.Peers[i].message())
	}
	return m
}

func (s *suspect) message() *eventpb.EvidencePeer {
	kind := connectionType(s.ConnectionType)
	m := &eventpb.EvidencePeer{
		PeerId: proto.Uint64(s.ID), Address: proto.String(s.Address), Inbound: proto.Bool(s.Direction == directionInbound), ConnectionType: &kind,
		Measure: proto.Float64(s.Measure), AfterFiring: optional(s.AfterFiring), ReceivedMessages: s.Received,
		Misbehaviours: optional(s.Misbehaviours), MisbehaviourReason: optional(s.Reason), ClosedTimeNs: nanoseconds(s.Closed),
	}
	for _, l := range s.Last {
		m.LastMessages = append(m.LastMessages, &eventpb.EvidenceMessage{
			TimeNs: nanoseconds(&l.Time), Type: proto.String(l.Type), Inbound: proto.Bool(l.Inbound), Size: proto.Uint64(l.Size),
		})
	}
	if f := s.Facts; f != (facts{}) {
		m.Info = &eventpb.EvidencePeerInfo{
			UserAgent: optional(f.UserAgent), Network: optional(f.Network), MappedAs: optional(f.MappedAS),
			BytesReceived: optional(f.BytesReceived), BytesSent: optional(f.BytesSent),
			BytesOfUnreadMessages: optional(f.UnknownBytes), BytesOfUnfinishedMessage: optional(f.Incomplete),
			BlocksInFlight: optional(uint32(f.Inflight)), TimeOffsetSeconds: optional(f.TimeOffset), MinimumPingSeconds: optional(f.MinimumPing),
			AddressesRateLimited: optional(f.AddrLimited), SecondsSinceLastSend: optional(f.Unsent), AnnouncementsWaiting: optional(f.InvToSend),
			ConnectionTime: optional(f.ConnectionTime),
		}
	}
	return m
}

// optional leaves out what is zero, as the JSON does.
func optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// nanoseconds is a time as UNIX time; nil for none.
func nanoseconds(t *time.Time) *int64 {
	if t == nil {
		return nil
	}
	n := t.UnixNano()
	return &n
}

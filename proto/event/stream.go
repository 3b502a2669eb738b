package event

import (
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/eventpb"
	"github.com/peerobserver/peerobserver/proto/field"
)

// Stream hands every event to every sink, one event at a time, so that all sinks see
// one order.
type Stream struct {
	mu    sync.Mutex
	sinks []Sink
}

// NewStream makes a stream to the sinks.
func NewStream(sinks ...Sink) *Stream { return &Stream{sinks: sinks} }

// Publish hands e to the sinks, with its kind when that isn't set. It may be called
// from several goroutines.
func (s *Stream) Publish(e *Event) {
	if e.Kind == KindUnknown {
		e.Kind = KindOf(e.Data)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.publish(e)
}

func (s *Stream) publish(e *Event) {
	for _, sink := range s.sinks {
		sink.HandleEvent(e)
	}
}

// Origin says which node and which run of the agent events come from.
type Origin struct {
	// NodeName is the operator's name for the node.
	NodeName string
	// BootID is a random number of this run of the agent.
	BootID uint64
}

// Times are the times of one event in UNIX nanoseconds, zero when unknown.
type Times struct {
	// Kernel is the time of the tracepoint hit, Receive that of the source; zero
	// for now.
	Kernel, Receive int64
	// NodeStart is the start of the node's process.
	NodeStart int64
}

// Emitter numbers and stamps the events of one source and puts them on the stream.
// Its methods may be called from several goroutines.
type Emitter struct {
	source   Source
	origin   Origin
	stream   *Stream
	account  *SourceAccount
	oversize *Counter

	// The stream's lock guards what follows: a number is given and the event handed
	// out in one step, so that the order of numbers is the order of the stream.
	sequence uint64
	cold     *Buffer
	event    Event
}

// NewEmitter makes the emitter of a source. A node name that Parse would refuse is cut
// and cleaned.
func NewEmitter(source Source, origin Origin, stream *Stream, ledger *Ledger) *Emitter {
	if len(origin.NodeName) > maxNodeName {
		origin.NodeName = origin.NodeName[:maxNodeName]
	}
	origin.NodeName = strings.ToValidUTF8(origin.NodeName, "")
	return &Emitter{
		source:   source,
		origin:   origin,
		stream:   stream,
		account:  ledger.Source(source),
		oversize: ledger.Loss(source, StageEmit, ReasonTooLarge),
		cold:     NewBuffer(4096),
	}
}

// Account is the source's account in the ledger.
func (m *Emitter) Account() *SourceAccount { return m.account }

// Emit puts e on the stream. Only the oneof of e is read: the emitter writes time,
// number and origin. Use it where events are rare.
func (m *Emitter) Emit(e *eventpb.Event, times Times) {
	m.stream.mu.Lock()
	defer m.stream.mu.Unlock()
	m.cold.Reset()
	grown, err := proto.MarshalOptions{}.MarshalAppend(m.cold.Grow(), &eventpb.Event{PeerObserverEvent: e.GetPeerObserverEvent()})
	if err != nil {
		// Only text that isn't UTF-8 gets here, which sources clean; it must not
		// vanish unseen if one forgets.
		m.sequence++
		m.account.ledger.Loss(m.source, StageEmit, ReasonEncode).Add(1)
		return
	}
	m.cold.SetGrown(grown)
	m.emit(m.cold, times)
}

// EmitEncoded puts an event on the stream whose oneof field is already encoded in b.
// It appends to b; the caller resets b afterwards. It allocates nothing.
func (m *Emitter) EmitEncoded(b *Buffer, times Times) {
	m.stream.mu.Lock()
	defer m.stream.mu.Unlock()
	m.emit(b, times)
}

func (m *Emitter) emit(b *Buffer, times Times) {
	kind := KindOf(b.Bytes())
	// A number is used up also by an event that can't be sent, so that readers see
	// the gap.
	m.sequence++
	if times.Receive == 0 {
		times.Receive = time.Now().UnixNano()
	}
	milliseconds := times.Receive / int64(time.Millisecond)
	if times.Kernel != 0 {
		milliseconds = times.Kernel / int64(time.Millisecond)
	}
	dst := b.Grow()
	dst = AppendVarintField(dst, field.EventTimestamp, uint64(milliseconds))
	dst = AppendStringField(dst, field.EventNodeName, m.origin.NodeName)
	dst = AppendFixed64Field(dst, field.EventBootId, m.origin.BootID)
	dst = AppendVarintField(dst, field.EventSequence, m.sequence)
	if times.Kernel != 0 {
		dst = AppendFixed64Field(dst, field.EventKernelTimeNs, uint64(times.Kernel))
	}
	dst = AppendFixed64Field(dst, field.EventReceiveTimeNs, uint64(times.Receive))
	if times.NodeStart != 0 {
		dst = AppendFixed64Field(dst, field.EventNodeStartTimeNs, uint64(times.NodeStart))
	}
	b.SetGrown(dst)
	if b.Len() > MaxSize {
		m.oversize.Add(1)
		return
	}
	m.account.events.Add(1)
	m.account.lastEvent.Store(times.Receive)
	m.event = Event{
		Header: Header{
			Source:        m.source,
			Timestamp:     uint64(milliseconds),
			NodeName:      m.origin.NodeName,
			BootID:        m.origin.BootID,
			Sequence:      m.sequence,
			KernelTime:    times.Kernel,
			ReceiveTime:   times.Receive,
			NodeStartTime: times.NodeStart,
		},
		Kind:    kind,
		Subject: kind.Subject(),
		Data:    b.Bytes(),
	}
	m.stream.publish(&m.event)
	m.event.Data = nil
}

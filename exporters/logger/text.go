package logger

import (
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// timeFormat is UTC with microseconds, of constant width.
const timeFormat = "2006-01-02T15:04:05.000000Z"

// maxLine bounds a line of text in bytes; the rest is left out.
const maxLine = 4096

// AppendText appends an event as one readable line to dst, without line end: time, node
// (when given), source, event, the peer and the message where there are any, and the
// event's facts. An arrow says whether the node got a message (<-) or sent it (->).
func AppendText(dst []byte, node string, e *event.Event, decoded *eventpb.Event) []byte {
	start := len(dst)
	dst = e.Time().UTC().AppendFormat(dst, timeFormat)
	if node != "" {
		dst = append(dst, ' ')
		dst = appendText(dst, node)
	}
	dst = append(dst, ' ')
	dst = append(dst, e.Source.String()...)
	dst = append(dst, ' ')
	dst = append(dst, strings.TrimPrefix(e.Kind.String(), e.Source.String()+".")...)
	w := &writer{line: dst, limit: start + maxLine}
	if m := decoded.GetEbpfExtractor().GetMessage(); m != nil {
		w.message(m)
	} else {
		w.peer(peerOf(decoded))
	}
	if link := decoded.GetP2PExtractor().GetLink(); link != nil && link.Id != nil {
		w.fact("link", strconv.FormatUint(link.GetId(), 10))
	}
	if log := decoded.GetLogExtractor(); log != nil {
		w.log(log)
	}
	w.body(decoded)
	return w.line
}

// message writes arrow, type, peer and size of a P2P message.
func (w *writer) message(m *eventpb.MessageEvent) {
	meta := m.GetMeta()
	arrow := "->"
	if meta.GetInbound() {
		arrow = "<-"
	}
	w.word(arrow)
	w.text(meta.GetCommand())
	w.peer(&peer{id: meta.GetPeerId(), hasID: true, address: meta.GetAddr(), connection: connectionType(meta.ConnectionType, meta.GetConnType())})
	w.word(strconv.FormatUint(meta.GetSize(), 10) + "B")
	if m.PayloadState != nil {
		state := m.GetPayloadState()
		w.word("payload " + enumName(state.Descriptor(), state.Number()))
	}
}

func (w *writer) peer(p *peer) {
	if p == nil {
		return
	}
	if p.hasID {
		w.fact("peer", strconv.FormatUint(p.id, 10))
	}
	if p.address != "" {
		w.text(p.address)
	}
	if p.connection != "" {
		w.word(p.connection)
	}
}

// log writes what a debug.log entry has beside its message.
func (w *writer) log(e *eventpb.LogExtractor) {
	level, category := e.GetLogLevel(), e.GetCategory()
	w.word(enumName(level.Descriptor(), level.Number()))
	switch {
	case e.GetCategoryName() != "":
		w.text(e.GetCategoryName())
	case category != eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_UNKNOWN:
		w.word(enumName(category.Descriptor(), category.Number()))
	}
	if e.GetThreadname() != "" {
		w.fact("thread", string(appendText(nil, e.GetThreadname())))
	}
}

// body writes the facts of the innermost oneof case.
func (w *writer) body(e *eventpb.Event) {
	m := e.ProtoReflect()
	for {
		f := currentCase(m)
		switch {
		case f == nil:
			w.facts("", m)
			return
		case f.Kind() == protoreflect.MessageKind:
			m = m.Get(f).Message()
		case f.Kind() == protoreflect.BoolKind:
			// A P2P message without content is a bool that is always true.
			return
		default:
			w.value(string(f.Name()), f, m.Get(f))
			return
		}
	}
}

// currentCase is the case that the oneof of a message has, nil when it has none.
func currentCase(m protoreflect.Message) protoreflect.FieldDescriptor {
	oneofs := m.Descriptor().Oneofs()
	for i := range oneofs.Len() {
		if oneof := oneofs.Get(i); !oneof.IsSynthetic() {
			return m.WhichOneof(oneof)
		}
	}
	return nil
}

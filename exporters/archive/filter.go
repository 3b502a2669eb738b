package archive

import (
	"slices"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// Filter says which events are archived or replayed. A list that is empty lets
// everything through; lists are combined: an event has to be in each.
type Filter struct {
	Sources []event.Source
	Kinds   []event.Kind
	// Messages are P2P message types ("inv"). What isn't a P2P message is left out
	// then.
	Messages []string
}

// ParseFilter makes a filter of names: of sources, of events (an event's name or its
// first part, such as "connection") and of P2P message types.
func ParseFilter(sources, events, messages []string) (Filter, error) {
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
	return f, nil
}

// admits tells whether an event is let through. scratch is for decoding.
func (f *Filter) admits(e *event.Event, scratch *decode.Event) bool {
	if len(f.Sources) > 0 && !slices.Contains(f.Sources, e.Source) {
		return false
	}
	if len(f.Kinds) > 0 && !slices.Contains(f.Kinds, e.Kind) {
		return false
	}
	if len(f.Messages) == 0 {
		return true
	}
	if e.Kind != event.KindMessage || !scratch.Decode(e.Source, e.Data) {
		return false
	}
	return slices.Contains(f.Messages, string(scratch.Message.Command))
}

// selection describes the filter for the header; nil when everything is let through.
func (f *Filter) selection(withoutPayloads bool) *eventpb.ArchiveSelection {
	if len(f.Sources) == 0 && len(f.Kinds) == 0 && len(f.Messages) == 0 && !withoutPayloads {
		return nil
	}
	s := &eventpb.ArchiveSelection{WithoutPayloads: ptr(withoutPayloads), Messages: f.Messages}
	for _, source := range f.Sources {
		s.Sources = append(s.Sources, source.String())
	}
	for _, kind := range f.Kinds {
		s.Events = append(s.Events, kind.String())
	}
	return s
}

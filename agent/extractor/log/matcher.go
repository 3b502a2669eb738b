package log

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// keyLength is how much of a message's beginning selects the patterns that it is held
// against. Every pattern begins with at least so much text, or with a transaction id.
const keyLength = 4

// matcher finds the template of a message. It may be used by one goroutine at a time.
type matcher struct {
	byKey map[string][]*matchEntry
	// byHash are the patterns that begin with a hash.
	byHash []*matchEntry
	// connected and checked are the two messages with types of their own.
	connected, enqueuing, checked pattern
	disconnect                    pattern
	scratch                       *eventpb.KnownLogMessage
}

type matchEntry struct {
	template
	compiled pattern
	prefix   string
}

// newMatcher compiles the table of templates.
func newMatcher() (*matcher, error) {
	m := &matcher{byKey: map[string][]*matchEntry{}}
	for _, t := range templates() {
		p, err := compile(t.pattern)
		if err != nil {
			return nil, fmt.Errorf("template %v: %w", t.id, err)
		}
		entry := &matchEntry{template: t, compiled: p, prefix: p.prefix()}
		switch {
		case len(entry.prefix) >= keyLength:
			key := entry.prefix[:keyLength]
			m.byKey[key] = append(m.byKey[key], entry)
		case p.tokens[0].kind == kindTxid:
			m.byHash = append(m.byHash, entry)
		default:
			return nil, fmt.Errorf("template %v: pattern %q begins with less than %d bytes of text", t.id, t.pattern, keyLength)
		}
	}
	for _, entries := range m.byKey {
		// The longest common beginning first: it is the most particular.
		slices.SortStableFunc(entries, func(a, b *matchEntry) int { return cmp.Compare(len(b.prefix), len(a.prefix)) })
	}
	var err error
	for _, own := range []struct {
		into *pattern
		text string
	}{
		{&m.connected, "BlockConnected: block hash={hash} block height={height}"},
		{&m.enqueuing, "Enqueuing BlockConnected: block hash={hash} block height={height}"},
		{&m.checked, "BlockChecked: block hash={hash} state={text}"},
		{&m.disconnect, "{text}" + disconnect},
	} {
		if *own.into, err = compile(own.text); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// event fills the oneof of e from its message.
func (m *matcher) event(e *eventpb.LogExtractor, message string, category eventpb.LogDebugCategory) {
	if m.validationSignal(e, message) {
		return
	}
	if known := m.find(message, category); known != nil {
		known.RawMessage = &message
		e.LogEvent = &eventpb.LogExtractor_KnownLogMessage{KnownLogMessage: known}
		return
	}
	e.LogEvent = &eventpb.LogExtractor_UnknownLogMessage{
		UnknownLogMessage: &eventpb.UnknownLogMessage{RawMessage: &message},
	}
}

// validationSignal matches the messages that have types of their own.
func (m *matcher) validationSignal(e *eventpb.LogExtractor, message string) bool {
	k := m.fresh()
	switch {
	case m.connected.match(message, k):
	case strings.HasPrefix(message, "Enqueuing B") && m.enqueuing.match(message, k):
		k.Enqueuing = new(true)
	case strings.HasPrefix(message, "BlockChecked") && m.checked.match(message, k):
		state, debug, _ := strings.Cut(k.GetReason(), ", ")
		e.LogEvent = &eventpb.LogExtractor_BlockCheckedLog{BlockCheckedLog: &eventpb.BlockCheckedLog{
			BlockHash: k.BlockHash, State: &state, DebugMessage: &debug,
		}}
		m.scratch = nil
		return true
	default:
		return false
	}
	if k.GetHeight() < 0 {
		return false
	}
	e.LogEvent = &eventpb.LogExtractor_BlockConnectedLog{BlockConnectedLog: &eventpb.BlockConnectedLog{
		BlockHash: k.BlockHash, BlockHeight: new(uint32(k.GetHeight())), Enqueuing: k.Enqueuing,
	}}
	m.scratch = nil
	return true
}

// find gives what a message says, nil if it is none of the table.
func (m *matcher) find(message string, category eventpb.LogDebugCategory) *eventpb.KnownLogMessage {
	if len(message) < keyLength {
		return nil
	}
	for _, entry := range m.byKey[message[:keyLength]] {
		if strings.HasPrefix(message, entry.prefix) {
			if known := m.try(entry, message); known != nil {
				return known
			}
		}
	}
	if hexLength(message[:min(len(message), hashDigits)]) == hashDigits {
		for _, entry := range m.byHash {
			if known := m.try(entry, message); known != nil {
				return known
			}
		}
	}
	// Every disconnection ends in the same words, whatever its reason.
	if category == eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_NET || category == eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_UNKNOWN {
		if strings.Contains(message, ", disconnecting peer=") {
			k := m.fresh()
			if m.disconnect.match(message, k) {
				k.Template = eventpb.LogTemplate_LOG_TEMPLATE_DISCONNECTED.Enum()
				m.scratch = nil
				return k
			}
			m.spoiled()
		}
	}
	return nil
}

func (m *matcher) try(entry *matchEntry, message string) *eventpb.KnownLogMessage {
	k := m.fresh()
	if !entry.compiled.match(message, k) {
		m.spoiled()
		return nil
	}
	k.Template = entry.id.Enum()
	if entry.reason != "" {
		k.Reason = &entry.reason
	}
	if entry.messageType != "" {
		k.MessageType = &entry.messageType
	}
	if entry.enqueuing {
		k.Enqueuing = new(true)
	}
	m.scratch = nil
	return k
}

// fresh gives an empty message. It is the same one until it is used or spoiled, as
// most lines match nothing.
func (m *matcher) fresh() *eventpb.KnownLogMessage {
	if m.scratch == nil {
		m.scratch = new(eventpb.KnownLogMessage)
	}
	return m.scratch
}

// spoiled says that a pattern that didn't match may have filled fields.
func (m *matcher) spoiled() { m.scratch = nil }

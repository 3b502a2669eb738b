package logger

import (
	"encoding/hex"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/peerobserver/peerobserver/proto/eventpb"
)

const (
	// maxElements is how many elements of a list are shown; the number of all is
	// always.
	maxElements = 3
	// maxBytes is how many bytes of a byte string are shown, unless it is a hash.
	maxBytes = 40
	// hashSize is the size in bytes of what is shown as a hash.
	hashSize = 32
	// maxText bounds a text in bytes.
	maxText = 1000
	// maxDepth bounds nested messages.
	maxDepth = 3
)

// writer builds one line.
type writer struct {
	line []byte
	// limit is the length at which the rest is left out.
	limit int
	full  bool
	depth int
}

// word appends a word that holds nothing from outside.
func (w *writer) word(word string) {
	if w.full {
		return
	}
	if len(w.line)+len(word) > w.limit {
		w.line = append(w.line, " ..."...)
		w.full = true
		return
	}
	w.line = append(w.line, ' ')
	w.line = append(w.line, word...)
}

// text appends a word from outside, made harmless.
func (w *writer) text(text string) { w.word(string(appendText(nil, text))) }

// fact appends name=value; the value must be harmless.
func (w *writer) fact(name, value string) { w.word(name + "=" + value) }

// facts appends all fields that a message has, in the order of the .proto file.
func (w *writer) facts(prefix string, m protoreflect.Message) {
	absent := absentFields(m)
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !m.Has(f) || slices.Contains(absent, f.Number()) || saidElsewhere(f.FullName()) {
			continue
		}
		w.value(prefix+string(f.Name()), f, m.Get(f))
	}
}

// saidElsewhere says whether a field is left out of the facts: the peer is at the front
// of the line, and absent fields are simply not there.
func saidElsewhere(name protoreflect.FullName) bool {
	if name.Name() == "absent_fields" {
		return true
	}
	switch name.Parent().Name() {
	case "Connection":
		return name.Name() != "network"
	case "KnownLogMessage":
		return name.Name() == "peer_id" || name.Name() == "address"
	case "BlockHeaderSeen", "CompactBlockReconstructed":
		return name.Name() == "peer_id"
	case "MisbehavingConnection":
		return name.Name() == "id"
	default:
		return false
	}
}

// networkName is Bitcoin Core's name of a value of its enum Network.
func networkName(n uint64) string {
	names := []string{"not_publicly_routable", "ipv4", "ipv6", "onion", "i2p", "cjdns", "internal"}
	if n < uint64(len(names)) {
		return names[n]
	}
	return strconv.FormatUint(n, 10)
}

// absentFields are the numbers of the fields that the node didn't give. They are written
// as zero for other readers, and would mislead here.
func absentFields(m protoreflect.Message) []protoreflect.FieldNumber {
	f := m.Descriptor().Fields().ByName("absent_fields")
	if f == nil || !f.IsList() {
		return nil
	}
	list := m.Get(f).List()
	numbers := make([]protoreflect.FieldNumber, 0, list.Len())
	for i := range list.Len() {
		numbers = append(numbers, protoreflect.FieldNumber(list.Get(i).Uint()))
	}
	return numbers
}

// value appends one field.
func (w *writer) value(name string, f protoreflect.FieldDescriptor, v protoreflect.Value) {
	switch {
	case f.IsMap():
		w.mapping(name, f, v.Map())
	case f.IsList():
		w.list(name, f, v.List())
	case f.Kind() == protoreflect.MessageKind:
		if short, ok := shortMessage(v.Message().Interface()); ok {
			w.fact(name, short)
			return
		}
		if w.depth < maxDepth {
			w.depth++
			w.facts(name+".", v.Message())
			w.depth--
		}
	default:
		w.fact(name, scalar(f, v))
	}
}

// list appends the number of elements and the first of them.
func (w *writer) list(name string, f protoreflect.FieldDescriptor, list protoreflect.List) {
	w.fact(name, strconv.Itoa(list.Len()))
	if w.full {
		return
	}
	var shown []string
	for i := range min(list.Len(), maxElements) {
		if f.Kind() == protoreflect.MessageKind {
			shown = append(shown, w.element(list.Get(i).Message()))
		} else {
			shown = append(shown, scalar(f, list.Get(i)))
		}
	}
	if list.Len() > maxElements {
		shown = append(shown, "...")
	}
	if list.Len() > 0 {
		w.word("[" + strings.Join(shown, " ") + "]")
	}
}

// mapping appends the entries of a map, sorted by key.
func (w *writer) mapping(name string, f protoreflect.FieldDescriptor, entries protoreflect.Map) {
	var shown []string
	entries.Range(func(key protoreflect.MapKey, v protoreflect.Value) bool {
		text := string(appendText(nil, key.String()))
		if f.MapValue().Kind() == protoreflect.MessageKind {
			text += w.element(v.Message())
		} else {
			text += ":" + scalar(f.MapValue(), v)
		}
		shown = append(shown, text)
		return true
	})
	sort.Strings(shown)
	w.fact(name, strconv.Itoa(entries.Len()))
	if len(shown) > 0 {
		w.word("[" + strings.Join(shown, " ") + "]")
	}
}

// element shows a message in a list.
func (w *writer) element(m protoreflect.Message) string {
	if short, ok := shortMessage(m.Interface()); ok {
		return short
	}
	inner := &writer{limit: maxText, depth: w.depth + 1}
	if inner.depth <= maxDepth {
		inner.facts("", m)
	}
	return "{" + strings.TrimPrefix(string(inner.line), " ") + "}"
}

// shortMessage shows by one word a message that one field says it all of.
func shortMessage(m protoreflect.ProtoMessage) (string, bool) {
	switch m := m.(type) {
	case *eventpb.InventoryItem:
		return shortInventory(m), true
	case *eventpb.Address:
		return shortAddress(m), true
	case *eventpb.BlockHeader:
		return displayHash(m.GetHash()), true
	case *eventpb.Transaction:
		return displayHash(m.GetTxid()), true
	case *eventpb.PrefilledTransaction:
		return displayHash(m.GetTx().GetTxid()), true
	default:
		return "", false
	}
}

func shortInventory(item *eventpb.InventoryItem) string {
	m := item.ProtoReflect()
	f := m.WhichOneof(m.Descriptor().Oneofs().ByName("item"))
	switch {
	case f == nil:
		return "nothing"
	case f.Kind() == protoreflect.BytesKind:
		return string(f.Name()) + ":" + displayHash(m.Get(f).Bytes())
	case f.Kind() == protoreflect.MessageKind:
		unknown := item.GetUnknown()
		return "type" + strconv.FormatUint(uint64(unknown.GetInvType()), 10) + ":" + displayHash(unknown.GetHash())
	default:
		return string(f.Name())
	}
}

func shortAddress(address *eventpb.Address) string {
	m := address.ProtoReflect()
	f := m.WhichOneof(m.Descriptor().Oneofs().ByName("address"))
	port := strconv.FormatUint(uint64(address.GetPort()), 10)
	switch {
	case f == nil:
		return "none:" + port
	case f.Kind() == protoreflect.StringKind:
		text := string(appendText(nil, m.Get(f).String()))
		if strings.Contains(text, ":") {
			text = "[" + text + "]"
		}
		return text + ":" + port
	default:
		unknown := address.GetUnknown()
		return "network" + strconv.FormatUint(uint64(unknown.GetId()), 10) + "-" + hexText(unknown.GetAddress()) + ":" + port
	}
}

// scalar shows a value that is no message.
func scalar(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	if f.FullName() == "peerobserver.v1.Connection.network" {
		return networkName(v.Uint())
	}
	switch f.Kind() {
	case protoreflect.BytesKind:
		if isHash(f.Name()) {
			return displayHash(v.Bytes())
		}
		return hexText(v.Bytes())
	case protoreflect.StringKind:
		return string(appendText(nil, v.String()))
	case protoreflect.EnumKind:
		return enumName(f.Enum(), v.Enum())
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	default:
		return v.String()
	}
}

// enumName gives the name of an enum's value in lower case without the enum's own name,
// or the number when it has none.
func enumName(d protoreflect.EnumDescriptor, n protoreflect.EnumNumber) string {
	value := d.Values().ByNumber(n)
	if value == nil {
		return strconv.Itoa(int(n))
	}
	name := string(value.Name())
	// The names begin with the enum's name in capitals; the zero value's shows how
	// long it is where all have it in common.
	prefix := enumPrefix(string(d.Name()))
	return strings.ToLower(strings.TrimPrefix(name, prefix))
}

// enumPrefix turns "ConnectionType" into "CONNECTION_TYPE_".
func enumPrefix(name string) string {
	var prefix strings.Builder
	for i, r := range name {
		if i > 0 && unicode.IsUpper(r) {
			prefix.WriteByte('_')
		}
		prefix.WriteRune(unicode.ToUpper(r))
	}
	prefix.WriteByte('_')
	return prefix.String()
}

// isHash says whether a field of bytes is a hash, as nearly all are.
func isHash(name protoreflect.Name) bool {
	switch name {
	case "address", "alert", "feature_data", "filter", "payload", "raw", "short_ids":
		return false
	default:
		return true
	}
}

// displayHash shows a hash as Bitcoin's tools do: its bytes in reverse. What hasn't the
// size of a hash is shown as it is.
func displayHash(b []byte) string {
	if len(b) != hashSize {
		return hexText(b)
	}
	reversed := slices.Clone(b)
	slices.Reverse(reversed)
	return hex.EncodeToString(reversed)
}

func hexText(b []byte) string {
	if len(b) == 0 {
		return "-"
	}
	if len(b) <= maxBytes {
		return hex.EncodeToString(b)
	}
	return hex.EncodeToString(b[:maxBytes/2]) + "...(" + strconv.Itoa(len(b)) + "B)"
}

// appendText appends a text from outside so that it is one word and can't act on a
// terminal: it is quoted as in Go unless it is plain.
func appendText(dst []byte, text string) []byte {
	cut := ""
	if len(text) > maxText {
		n := maxText
		for n > 0 && !utf8.RuneStart(text[n]) {
			n--
		}
		cut = "...(" + strconv.Itoa(len(text)) + "B)"
		text = text[:n]
	}
	if plain(text) {
		dst = append(dst, text...)
	} else {
		dst = strconv.AppendQuote(dst, text)
	}
	return append(dst, cut...)
}

// plain says whether a text needs no quotes: printable ASCII without space, quote and
// what would make a value look like several.
func plain(text string) bool {
	if text == "" {
		return false
	}
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' || c == '=' {
			return false
		}
	}
	return true
}

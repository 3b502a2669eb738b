package rpc

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Bounds of what an answer may hold. The node is trusted, but it passes on what peers
// chose.
const (
	// maxText is the largest text taken, in bytes; longer ones are cut.
	maxText = 256
	// maxListText is the same for entries of lists of the node's own texts
	// (warnings).
	maxListText = 1024
	// maxList is the largest number of entries in a list or map inside an entry.
	maxList = 1024
	// maxEntries is the largest number of peers, tips or orphans.
	maxEntries = 20_000
)

// unit says how a number of the node becomes a field's number; zero is as given.
type unit int

// satPerVB makes sat/vB of a fee rate in BTC/kvB.
const satPerVB unit = 1

// column says which key of a JSON object fills which field of a message.
type column struct {
	number protowire.Number
	key    string
	unit   unit
	// optional fields stay unset when the key is absent. The others are written as
	// zero and listed in absent_fields, as older readers want to find them.
	optional bool
}

// absentFields is the name of the field that lists what the node didn't say.
const absentFields protoreflect.Name = "absent_fields"

// object is a JSON object whose values are still text.
type object map[string]json.RawMessage

// parseObject reads raw as an object.
func parseObject(raw []byte) (object, error) {
	var o object
	if err := json.Unmarshal(raw, &o); err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	if o == nil {
		return nil, fmt.Errorf("%w: null", errMalformed)
	}
	return o, nil
}

// has gives the value of a key; null counts as absent.
func (o object) has(key string) (json.RawMessage, bool) {
	raw, ok := o[key]
	return raw, ok && string(raw) != "null"
}

// fill sets the fields of message that columns name from o.
func fill(message proto.Message, o object, columns []column, p *problems) {
	m := message.ProtoReflect()
	fields := m.Descriptor().Fields()
	for _, c := range columns {
		fd := fields.ByNumber(c.number)
		raw, ok := o.has(c.key)
		if ok {
			if err := set(m, fd, raw, c.unit, p); err == nil {
				continue
			}
			p.note(c.key)
		}
		if c.optional || fd.IsList() || fd.IsMap() {
			continue
		}
		if fd.Message() == nil {
			m.Set(fd, fd.Default())
		}
		if list := fields.ByName(absentFields); list != nil {
			m.Mutable(list).List().Append(protoreflect.ValueOfUint32(uint32(c.number)))
		}
	}
}

// set sets one field from a JSON value.
func set(m protoreflect.Message, fd protoreflect.FieldDescriptor, raw json.RawMessage, u unit, p *problems) error {
	switch {
	case fd.IsMap():
		return setMap(m, fd, raw, p)
	case fd.IsList():
		return setList(m, fd, raw, p)
	}
	value, err := scalar(fd.Kind(), raw, maxText)
	if err != nil {
		return err
	}
	if u == satPerVB {
		value = protoreflect.ValueOfFloat64(feeRate(value.Float()))
	}
	m.Set(fd, value)
	return nil
}

func setList(m protoreflect.Message, fd protoreflect.FieldDescriptor, raw json.RawMessage, p *problems) error {
	var items []json.RawMessage
	if raw[0] == '"' && fd.Kind() == protoreflect.StringKind {
		// Where a list is now, older nodes and -deprecatedrpc=warnings give one
		// text, empty for none.
		items = []json.RawMessage{raw}
		if string(raw) == `""` {
			items = nil
		}
	} else if err := json.Unmarshal(raw, &items); err != nil {
		return err
	}
	list := m.NewField(fd).List()
	for _, item := range items {
		if list.Len() == maxList {
			p.omitted++
			break
		}
		value, err := scalar(fd.Kind(), item, maxListText)
		if err != nil {
			return err
		}
		list.Append(value)
	}
	if list.Len() > 0 {
		m.Set(fd, protoreflect.ValueOfList(list))
	}
	return nil
}

func setMap(m protoreflect.Message, fd protoreflect.FieldDescriptor, raw json.RawMessage, p *problems) error {
	items, err := parseObject(raw)
	if err != nil {
		return err
	}
	entries := m.NewField(fd).Map()
	for key, item := range items {
		if entries.Len() == maxList {
			p.omitted++
			break
		}
		value, err := scalar(fd.MapValue().Kind(), item, maxText)
		if err != nil {
			return err
		}
		entries.Set(protoreflect.ValueOfString(clean(key, maxText)).MapKey(), value)
	}
	if entries.Len() > 0 {
		m.Set(fd, protoreflect.ValueOfMap(entries))
	}
	return nil
}

// scalar reads a JSON value as a field's kind.
func scalar(kind protoreflect.Kind, raw json.RawMessage, limit int) (protoreflect.Value, error) {
	switch kind {
	case protoreflect.BoolKind:
		switch string(raw) {
		case "true":
			return protoreflect.ValueOfBool(true), nil
		case "false":
			return protoreflect.ValueOfBool(false), nil
		}
		return protoreflect.Value{}, errMalformed
	case protoreflect.StringKind:
		text, err := parseText(raw, limit)
		return protoreflect.ValueOfString(text), err
	case protoreflect.DoubleKind:
		n, err := parseFloat(raw)
		return protoreflect.ValueOfFloat64(n), err
	case protoreflect.Uint32Kind:
		n, err := parseUint(raw, 32)
		return protoreflect.ValueOfUint32(uint32(n)), err
	case protoreflect.Uint64Kind:
		n, err := parseUint(raw, 64)
		return protoreflect.ValueOfUint64(n), err
	case protoreflect.Int32Kind:
		n, err := parseInt(raw, 32)
		return protoreflect.ValueOfInt32(int32(n)), err
	case protoreflect.Int64Kind:
		n, err := parseInt(raw, 64)
		return protoreflect.ValueOfInt64(n), err
	default:
		return protoreflect.Value{}, fmt.Errorf("no conversion to %v", kind)
	}
}

// parseText reads a JSON string and bounds it.
func parseText(raw []byte, limit int) (string, error) {
	var text string
	if len(raw) == 0 || raw[0] != '"' {
		return "", errMalformed
	}
	if err := json.Unmarshal(raw, &text); err != nil {
		return "", err
	}
	return clean(text, limit), nil
}

// clean makes valid UTF-8 of at most limit bytes.
func clean(text string, limit int) string {
	if len(text) > limit {
		// Not in the middle of a character.
		for limit > 0 && !utf8.RuneStart(text[limit]) {
			limit--
		}
		text = text[:limit]
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// parseUint reads a JSON number as an unsigned integer of so many bits. A number in
// another notation (1.0, 1e3) is taken if it is whole.
func parseUint(raw []byte, bits int) (uint64, error) {
	n, err := strconv.ParseUint(string(raw), 10, bits)
	if err == nil {
		return n, nil
	}
	f, err := wholeFloat(raw)
	if err != nil || f < 0 || f >= math.Ldexp(1, min(bits, 53)) {
		return 0, errMalformed
	}
	return uint64(f), nil
}

// parseInt is parseUint for signed integers.
func parseInt(raw []byte, bits int) (int64, error) {
	n, err := strconv.ParseInt(string(raw), 10, bits)
	if err == nil {
		return n, nil
	}
	f, err := wholeFloat(raw)
	if limit := math.Ldexp(1, min(bits-1, 53)); err != nil || f < -limit || f >= limit {
		return 0, errMalformed
	}
	return int64(f), nil
}

func wholeFloat(raw []byte) (float64, error) {
	f, err := parseFloat(raw)
	if err != nil || f != math.Trunc(f) {
		return 0, errMalformed
	}
	return f, nil
}

// parseFloat reads a JSON number.
func parseFloat(raw []byte) (float64, error) {
	// JSON knows neither NaN, Inf, hexadecimal numbers nor underscores, all of which
	// strconv takes.
	if len(raw) == 0 || strings.ContainsAny(string(raw), "xXpP_nNiI") {
		return 0, errMalformed
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil {
		return 0, errMalformed
	}
	return f, nil
}

// satPerBTC and vBPerKvB convert fee rates.
const (
	satPerBTC = 1e8
	vBPerKvB  = 1e3
)

// feeRate makes sat/vB of BTC/kvB. The node gives whole satoshis a kvB, which a binary
// fraction can't hold exactly: rounding restores them.
func feeRate(btcPerKvB float64) float64 {
	return math.Round(btcPerKvB*satPerBTC) / vBPerKvB
}

package main

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/generate/schema"
)

const subjectsHead = `## Subjects

The NATS subjects, behind the prefix that ` + "`--nats.subject-prefix`" + ` sets. An event that the existing
tools don't know is published on its own name, which has two parts: they subscribe to ` + "`*`" + `, which
matches one. ` + "`>`" + ` matches everything.

| subject | event | content |
|---|---|---|
`

// subjectTable lists the kinds of events, each with the subject that it is published on
// and the message or field that holds what it tells.
func subjectTable(files *protoregistry.Files) (string, error) {
	root, err := files.FindDescriptorByName(schema.Package + ".Event")
	if err != nil {
		return "", err
	}
	fields := map[event.Kind]protoreflect.FieldDescriptor{}
	kindFields(root.(protoreflect.MessageDescriptor), nil, fields)
	var table strings.Builder
	table.WriteString(subjectsHead)
	for _, kind := range event.Kinds() {
		field := fields[kind]
		if field == nil {
			return "", fmt.Errorf("no field of the .proto files is a %s event", kind)
		}
		content := fmt.Sprintf("`%s` of %s", field.Name(), link(field.Parent()))
		if m := field.Message(); m != nil {
			content = link(m)
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", kind.Subject(), kind, content)
	}
	return table.String() + "\n", nil
}

// kindFields finds the field that each kind of event consists in. The path leads from
// Event to m: an event with these fields and nothing else in them has a kind, or none
// yet when the next field decides.
func kindFields(m protoreflect.MessageDescriptor, path []protoreflect.FieldDescriptor, found map[event.Kind]protoreflect.FieldDescriptor) {
	for i := range m.Fields().Len() {
		field := m.Fields().Get(i)
		if field.ContainingOneof() == nil || field.ContainingOneof().IsSynthetic() {
			continue
		}
		deeper := append(slices.Clone(path), field)
		if kind := event.KindOf(encodePath(deeper)); kind != event.KindUnknown {
			found[kind] = field
		} else if field.Message() != nil {
			kindFields(field.Message(), deeper, found)
		}
	}
}

// encodePath encodes an event that has only these fields, each within the one before;
// the last one is empty.
func encodePath(path []protoreflect.FieldDescriptor) []byte {
	var data []byte
	for _, field := range slices.Backward(path) {
		if field.Message() == nil {
			data = protowire.AppendVarint(protowire.AppendTag(nil, field.Number(), protowire.VarintType), 0)
			continue
		}
		data = protowire.AppendBytes(protowire.AppendTag(nil, field.Number(), protowire.BytesType), data)
	}
	return data
}

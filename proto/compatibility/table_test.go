package compatibility_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/peerobserver/peerobserver/proto/compatibility"

	// The descriptors under test register themselves.
	_ "github.com/peerobserver/peerobserver/proto/eventpb"
)

const (
	ourPackage = "peerobserver.v1"
	// firstAddition is the lowest number that this project gives to a field of a message
	// that the existing tools have.
	firstAddition = 1000
)

// TestEveryFieldOfTheExistingFormat holds our descriptors against the table.
func TestEveryFieldOfTheExistingFormat(t *testing.T) {
	for _, want := range existingFields(t) {
		message := findMessage(t, want.Message)
		field := message.Fields().ByNumber(want.Number)
		if field == nil {
			t.Errorf("%s has no field %d (%s)", want.Message, want.Number, want.Name)
			continue
		}
		if got := string(field.Name()); got != want.Name {
			t.Errorf("%s field %d is called %s, want %s", want.Message, want.Number, got, want.Name)
		}
		if got := typeOf(field); got != want.Type {
			t.Errorf("%s.%s is a %s, want %s", want.Message, want.Name, got, want.Type)
		}
		if got := presenceOf(field); got != presenceHere(want) {
			t.Errorf("%s.%s is %s, want %s", want.Message, want.Name, got, presenceHere(want))
		}
	}
}

// presenceHere is how a field of the table is declared in our files: always with
// presence, never required.
func presenceHere(f compatibility.Field) string {
	switch f.Presence {
	case compatibility.Required, compatibility.Optional:
		return "optional"
	case compatibility.OneOf:
		return "oneof " + f.Oneof
	default:
		return string(f.Presence)
	}
}

// TestAdditionsStayAbove fails for a field that we gave a number which the existing
// tools may give to something else, and for any value added to one of their enums.
func TestAdditionsStayAbove(t *testing.T) {
	type key struct {
		message string
		number  protowire.Number
	}
	known := map[key]bool{}
	theirs := map[string]bool{}
	for _, f := range existingFields(t) {
		known[key{f.Message, f.Number}] = true
		theirs[f.Message] = true
	}
	for _, m := range ourMessages() {
		name := nameOf(m)
		if !theirs[name] {
			continue
		}
		fields := m.Fields()
		for i := range fields.Len() {
			f := fields.Get(i)
			if f.Number() < firstAddition && !known[key{name, f.Number()}] {
				t.Errorf("%s.%s has number %d: additions begin at %d", name, f.Name(), f.Number(), firstAddition)
			}
		}
	}

	values := map[string]map[int32]string{}
	for _, v := range existingEnumValues(t) {
		if values[v.Enum] == nil {
			values[v.Enum] = map[int32]string{}
		}
		values[v.Enum][v.Number] = v.Name
	}
	for _, e := range ourEnums() {
		names := values[nameOf(e)]
		if names == nil {
			continue
		}
		for i := range e.Values().Len() {
			v := e.Values().Get(i)
			if _, ok := names[int32(v.Number())]; !ok {
				t.Errorf("%s is a value that the existing tools don't know: a strict reader of theirs takes the field for a missing one", v.FullName())
			}
		}
	}
}

// TestEveryEnumValueOfTheExistingFormat holds our enums against the table. Our values
// carry the enum's name in front, as the protobuf style guide wants.
func TestEveryEnumValueOfTheExistingFormat(t *testing.T) {
	enums := map[string]protoreflect.EnumDescriptor{}
	for _, e := range ourEnums() {
		enums[nameOf(e)] = e
	}
	for _, want := range existingEnumValues(t) {
		e := enums[want.Enum]
		if e == nil {
			t.Errorf("enum %s is missing", want.Enum)
			continue
		}
		v := e.Values().ByNumber(protoreflect.EnumNumber(want.Number))
		if v == nil {
			t.Errorf("enum %s has no value %d (%s)", want.Enum, want.Number, want.Name)
			continue
		}
		got := strings.ToLower(strings.ReplaceAll(string(v.Name()), "_", ""))
		suffix := strings.ToLower(strings.ReplaceAll(want.Name, "_", ""))
		if !strings.HasSuffix(got, suffix) {
			t.Errorf("enum %s value %d is called %s, want …%s", want.Enum, want.Number, v.Name(), want.Name)
		}
	}
}

func existingFields(t *testing.T) []compatibility.Field {
	t.Helper()
	fields, err := compatibility.Fields()
	if err != nil {
		t.Fatal(err)
	}
	if len(fields) < 300 {
		t.Fatalf("the table has only %d fields", len(fields))
	}
	return fields
}

func existingEnumValues(t *testing.T) []compatibility.EnumValue {
	t.Helper()
	values, err := compatibility.EnumValues()
	if err != nil {
		t.Fatal(err)
	}
	if len(values) < 50 {
		t.Fatalf("the table has only %d enum values", len(values))
	}
	return values
}

// nameOf is the name of a message or enum within our package.
func nameOf(d protoreflect.Descriptor) string {
	return strings.TrimPrefix(string(d.FullName()), ourPackage+".")
}

func findMessage(t *testing.T, name string) protoreflect.MessageDescriptor {
	t.Helper()
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(ourPackage + "." + name))
	if err != nil {
		t.Fatalf("message %s is missing: %v", name, err)
	}
	return d.(protoreflect.MessageDescriptor)
}

// ourMessages lists every message of our package but the entries of maps.
func ourMessages() []protoreflect.MessageDescriptor {
	var all []protoreflect.MessageDescriptor
	var walk func(list protoreflect.MessageDescriptors)
	walk = func(list protoreflect.MessageDescriptors) {
		for i := range list.Len() {
			if m := list.Get(i); !m.IsMapEntry() {
				all = append(all, m)
				walk(m.Messages())
			}
		}
	}
	protoregistry.GlobalFiles.RangeFilesByPackage(ourPackage, func(f protoreflect.FileDescriptor) bool {
		walk(f.Messages())
		return true
	})
	return all
}

// ourEnums lists every enum of our package.
func ourEnums() []protoreflect.EnumDescriptor {
	var all []protoreflect.EnumDescriptor
	add := func(list protoreflect.EnumDescriptors) {
		for i := range list.Len() {
			all = append(all, list.Get(i))
		}
	}
	protoregistry.GlobalFiles.RangeFilesByPackage(ourPackage, func(f protoreflect.FileDescriptor) bool {
		add(f.Enums())
		return true
	})
	for _, m := range ourMessages() {
		add(m.Enums())
	}
	return all
}

// typeOf writes a field's type as the tables do.
func typeOf(f protoreflect.FieldDescriptor) string {
	switch {
	case f.IsMap():
		return fmt.Sprintf("map<%s,%s>", typeOf(f.MapKey()), typeOf(f.MapValue()))
	case f.Message() != nil:
		return nameOf(f.Message())
	case f.Enum() != nil:
		return nameOf(f.Enum())
	default:
		return f.Kind().String()
	}
}

func presenceOf(f protoreflect.FieldDescriptor) string {
	switch {
	case f.IsMap():
		return "map"
	case f.IsList():
		return "repeated"
	case f.ContainingOneof() != nil && !f.ContainingOneof().IsSynthetic():
		return "oneof " + string(f.ContainingOneof().Name())
	case f.HasPresence():
		return "optional"
	default:
		return "no presence"
	}
}

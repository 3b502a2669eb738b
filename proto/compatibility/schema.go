package compatibility

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

const schemaPackage = "existing"

// Schema builds the descriptors of the existing format from the tables: proto2, with
// the required fields that strict readers insist on.
func Schema() (protoreflect.FileDescriptor, error) {
	fields, err := Fields()
	if err != nil {
		return nil, err
	}
	values, err := EnumValues()
	if err != nil {
		return nil, err
	}
	b := schemaBuilder{
		file: &descriptorpb.FileDescriptorProto{
			Name:    proto.String("existing.proto"),
			Package: proto.String(schemaPackage),
			Syntax:  proto.String("proto2"),
		},
		messages: map[string]*descriptorpb.DescriptorProto{},
		enums:    map[string]*descriptorpb.EnumDescriptorProto{},
	}
	for _, v := range values {
		b.addEnumValue(v)
	}
	for _, f := range fields {
		if b.messages[f.Message] == nil {
			m := &descriptorpb.DescriptorProto{Name: proto.String(f.Message)}
			b.messages[f.Message] = m
			b.file.MessageType = append(b.file.MessageType, m)
		}
	}
	for _, f := range fields {
		if err := b.addField(f); err != nil {
			return nil, fmt.Errorf("%s.%s: %w", f.Message, f.Name, err)
		}
	}
	return protodesc.NewFile(b.file, nil)
}

type schemaBuilder struct {
	file     *descriptorpb.FileDescriptorProto
	messages map[string]*descriptorpb.DescriptorProto
	enums    map[string]*descriptorpb.EnumDescriptorProto
}

// flat makes one word of an enum's name: all enums are top-level in the schema.
func flat(enum string) string { return strings.ReplaceAll(enum, ".", "_") }

func (b *schemaBuilder) addEnumValue(v EnumValue) {
	e := b.enums[v.Enum]
	if e == nil {
		e = &descriptorpb.EnumDescriptorProto{Name: proto.String(flat(v.Enum))}
		b.enums[v.Enum] = e
		b.file.EnumType = append(b.file.EnumType, e)
	}
	e.Value = append(e.Value, &descriptorpb.EnumValueDescriptorProto{
		Name:   proto.String(flat(v.Enum) + "_" + v.Name),
		Number: proto.Int32(v.Number),
	})
}

func (b *schemaBuilder) addField(f Field) error {
	message := b.messages[f.Message]
	field := &descriptorpb.FieldDescriptorProto{
		Name:   proto.String(f.Name),
		Number: proto.Int32(int32(f.Number)),
	}
	switch f.Presence {
	case Required:
		field.Label = descriptorpb.FieldDescriptorProto_LABEL_REQUIRED.Enum()
	case Repeated, Map:
		field.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
	case Optional, OneOf:
		field.Label = descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()
	}
	if f.Presence == OneOf {
		field.OneofIndex = proto.Int32(oneofIndex(message, f.Oneof))
	}
	typeName := f.Type
	if f.Presence == Map {
		entry, err := b.mapEntry(f)
		if err != nil {
			return err
		}
		message.NestedType = append(message.NestedType, entry)
		typeName = f.Message + "." + entry.GetName()
		field.Type = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum()
		field.TypeName = proto.String("." + schemaPackage + "." + typeName)
	} else if err := b.setType(field, typeName); err != nil {
		return err
	}
	message.Field = append(message.Field, field)
	return nil
}

func oneofIndex(message *descriptorpb.DescriptorProto, name string) int32 {
	for i, o := range message.GetOneofDecl() {
		if o.GetName() == name {
			return int32(i)
		}
	}
	message.OneofDecl = append(message.OneofDecl, &descriptorpb.OneofDescriptorProto{Name: proto.String(name)})
	return int32(len(message.GetOneofDecl()) - 1)
}

// mapEntry makes the message that protobuf puts behind a map field.
func (b *schemaBuilder) mapEntry(f Field) (*descriptorpb.DescriptorProto, error) {
	inner, ok := strings.CutPrefix(strings.TrimSuffix(f.Type, ">"), "map<")
	key, value, found := strings.Cut(inner, ",")
	if !ok || !found {
		return nil, fmt.Errorf("%q is no map type", f.Type)
	}
	entry := &descriptorpb.DescriptorProto{
		Name:    proto.String(camel(f.Name) + "Entry"),
		Options: &descriptorpb.MessageOptions{MapEntry: proto.Bool(true)},
	}
	for i, t := range []struct{ name, typeName string }{{"key", key}, {"value", value}} {
		field := &descriptorpb.FieldDescriptorProto{
			Name:   proto.String(t.name),
			Number: proto.Int32(int32(i + 1)),
			Label:  descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}
		if err := b.setType(field, t.typeName); err != nil {
			return nil, err
		}
		entry.Field = append(entry.Field, field)
	}
	return entry, nil
}

func (b *schemaBuilder) setType(field *descriptorpb.FieldDescriptorProto, typeName string) error {
	scalar, isScalar := descriptorpb.FieldDescriptorProto_Type_value["TYPE_"+strings.ToUpper(typeName)]
	switch {
	case isScalar:
		field.Type = descriptorpb.FieldDescriptorProto_Type(scalar).Enum()
	case b.enums[typeName] != nil:
		field.Type = descriptorpb.FieldDescriptorProto_TYPE_ENUM.Enum()
		field.TypeName = proto.String("." + schemaPackage + "." + flat(typeName))
	case b.messages[typeName] != nil:
		field.Type = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum()
		field.TypeName = proto.String("." + schemaPackage + "." + typeName)
	default:
		return fmt.Errorf("unknown type %q", typeName)
	}
	return nil
}

// camel turns snake_case into CamelCase, as protobuf names the entries of a map.
func camel(s string) string {
	var out strings.Builder
	for word := range strings.SplitSeq(s, "_") {
		if word != "" {
			out.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return out.String()
}

package compatibility

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Checker tells whether strict readers of the existing format would take an event. It
// may be used by several goroutines.
type Checker struct {
	event protoreflect.MessageDescriptor
}

// NewChecker builds the schema of the existing format.
func NewChecker() (*Checker, error) {
	schema, err := Schema()
	if err != nil {
		return nil, fmt.Errorf("schema of the existing tools: %w", err)
	}
	return &Checker{event: schema.Messages().ByName("Event")}, nil
}

// ErrAddition is returned for an event whose content is an addition of this project
// as a whole, such as a status: the existing tools see an empty event and skip it.
var ErrAddition = errors.New("the event is an addition that the existing tools don't know")

// Check decodes an encoded event as a strict reader of the existing format does. The
// error names the first required field that is missing, or the first enum field whose
// value the existing tools don't know.
func (c *Checker) Check(data []byte) error {
	e := dynamicpb.NewMessage(c.event)
	if err := proto.Unmarshal(data, e); err != nil {
		return err
	}
	if err := knownEnums(e); err != nil {
		return err
	}
	return addition(e)
}

// knownEnums finds enum values that the existing tools don't know. A strict proto2
// reader takes such a field for missing.
func knownEnums(e protoreflect.ProtoMessage) error {
	return protorange.Range(e.ProtoReflect(), func(p protopath.Values) error {
		last := p.Index(-1)
		step := last.Step
		if step.Kind() != protopath.FieldAccessStep {
			return nil
		}
		field := step.FieldDescriptor()
		if field.Enum() == nil || field.IsList() {
			return nil
		}
		number := last.Value.Enum()
		if field.Enum().Values().ByNumber(number) == nil {
			return fmt.Errorf("%s: value %d is unknown to the existing tools", field.FullName(), number)
		}
		return nil
	})
}

// addition finds an event, or a message that is nothing but a choice of cases, none of
// whose cases the existing tools know.
func addition(e protoreflect.ProtoMessage) error {
	m := e.ProtoReflect()
	for {
		if m.Descriptor().Oneofs().Len() == 0 {
			return nil
		}
		oneof := m.Descriptor().Oneofs().Get(0)
		field := m.WhichOneof(oneof)
		if field == nil {
			return fmt.Errorf("%w: %s", ErrAddition, oneof.FullName())
		}
		if field.Message() == nil {
			return nil
		}
		m = m.Get(field).Message()
	}
}

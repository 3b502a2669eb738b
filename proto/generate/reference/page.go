package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/peerobserver/peerobserver/proto/compatibility"
	"github.com/peerobserver/peerobserver/proto/generate/schema"
)

// pageOrder is the order of the files on the page: from the envelope inward, each
// source followed by what it alone uses. A file that isn't named comes last.
var pageOrder = []string{
	"event", "ebpf_extractor", "message", "connection", "mempool", "validation", "utxocache",
	"rpc_extractor", "p2p_extractor", "log_extractor", "ipc_extractor", "observer", "archive", "primitives",
}

const pageHead = `# Events

<!-- Generated from proto/peerobserver/v1 by make proto. Don't edit. -->

Everything that is observed is published as an [Event](#event), encoded as
[protobuf](https://protobuf.dev/programming-guides/encoding/). The same bytes go over NATS,
into archives and between the parts of the program. The files are in
[proto/peerobserver/v1](../proto/peerobserver/v1); Go types are in
[proto/eventpb](../proto/eventpb), Python types in [proto/python](../proto/python).

## How to read this page

- **Numbers.** Below 1000, messages, fields and types are those that the existing
  peer-observer tools (Rust) read and write; they never change. From 1000 on, and in messages
  marked "addition", they are additions of this project, which those tools skip.
- **Written.** "always": the field is written in every such message, zero values too, because
  readers of the existing format may insist on it. "when known": it may be absent, and absent
  differs from zero. "one of": exactly one of the fields with the same name there. "list" and
  "map" may be empty. Readers should insist on nothing and skip what they don't know.
- **Absent in always-written fields.** Where a node gives no value for such a field, zero or an
  empty text is written and the field's number is listed in ` + "`absent_fields`" + `.
- **Hashes** in ` + "`bytes`" + ` fields are 32 bytes in internal byte order, as on the wire; in
  ` + "`string`" + ` fields they are hex text in display order, the reverse.
- **Text** is valid UTF-8; bytes that are not are replaced by U+FFFD. Text that a peer chose is
  marked so, or follows from the field; it may hold anything.
- **Amounts** are satoshi unless a field says otherwise.

`

const messagesHead = `## Messages

`

// reference writes the page that documents every message and enum.
func reference(files *protoregistry.Files) ([]byte, error) {
	written, err := alwaysWritten()
	if err != nil {
		return nil, err
	}
	subjects, err := subjectTable(files)
	if err != nil {
		return nil, err
	}
	var all []protoreflect.FileDescriptor
	files.RangeFilesByPackage(schema.Package, func(f protoreflect.FileDescriptor) bool {
		all = append(all, f)
		return true
	})
	rank := func(f protoreflect.FileDescriptor) int {
		if i := slices.Index(pageOrder, fileName(f)); i >= 0 {
			return i
		}
		return len(pageOrder)
	}
	slices.SortFunc(all, func(a, b protoreflect.FileDescriptor) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return strings.Compare(a.Path(), b.Path())
	})

	p := &page{written: written}
	p.out.WriteString(pageHead + subjects + messagesHead)
	for _, f := range all {
		fmt.Fprintf(&p.out, "- [%s.proto](#%sproto): %s\n", fileName(f), strings.ReplaceAll(fileName(f), ".", ""), oneLine(fileComment(f)))
	}
	for _, f := range all {
		p.file(f)
	}
	return p.out.Bytes(), nil
}

// field names a field of the existing format.
type field struct {
	message string
	number  protowire.Number
}

// existing is what the reference says of the existing format.
type existing struct {
	presence map[field]compatibility.Presence
	messages map[string]bool
}

func alwaysWritten() (existing, error) {
	fields, err := compatibility.Fields()
	if err != nil {
		return existing{}, err
	}
	e := existing{presence: map[field]compatibility.Presence{}, messages: map[string]bool{}}
	for _, f := range fields {
		e.presence[field{f.Message, f.Number}] = f.Presence
		e.messages[f.Message] = true
	}
	return e, nil
}

// page is the page being written.
type page struct {
	out     bytes.Buffer
	written existing
}

func (p *page) file(f protoreflect.FileDescriptor) {
	fmt.Fprintf(&p.out, "\n## %s.proto\n\n%s\n", fileName(f), fileComment(f))
	for _, m := range schema.Messages(f.Messages()) {
		p.message(m)
		p.enums(m.Enums())
	}
	p.enums(f.Enums())
}

func (p *page) message(m protoreflect.MessageDescriptor) {
	name := localName(m)
	addition := ""
	if !p.written.messages[name] {
		addition = " (addition)"
	}
	// The anchor is explicit so that links don't depend on how a site derives them.
	fmt.Fprintf(&p.out, "\n<a id=%q></a>\n### %s%s\n\n%s\n", anchor(m), name, addition, comment(m))
	if m.Fields().Len() == 0 {
		return
	}
	p.out.WriteString("\n| # | field | type | written | meaning |\n|--:|---|---|---|---|\n")
	for _, f := range byNumber(m) {
		fmt.Fprintf(&p.out, "| %d | `%s` | %s | %s | %s |\n", f.Number(), f.Name(), typeLink(f), p.presence(name, f), cell(comment(f)))
	}
}

func byNumber(m protoreflect.MessageDescriptor) []protoreflect.FieldDescriptor {
	fields := make([]protoreflect.FieldDescriptor, 0, m.Fields().Len())
	for i := range m.Fields().Len() {
		fields = append(fields, m.Fields().Get(i))
	}
	slices.SortFunc(fields, func(a, b protoreflect.FieldDescriptor) int { return int(a.Number()) - int(b.Number()) })
	return fields
}

// presence tells when a field is written.
func (p *page) presence(message string, f protoreflect.FieldDescriptor) string {
	switch {
	case f.IsMap():
		return "map"
	case f.IsList():
		return "list"
	case f.ContainingOneof() != nil && !f.ContainingOneof().IsSynthetic():
		return "one of `" + string(f.ContainingOneof().Name()) + "`"
	case p.written.presence[field{message, f.Number()}] == compatibility.Required:
		return "always"
	default:
		return "when known"
	}
}

func (p *page) enums(list protoreflect.EnumDescriptors) {
	for i := range list.Len() {
		e := list.Get(i)
		fmt.Fprintf(&p.out, "\n<a id=%q></a>\n### enum %s\n\n%s\n\n| # | value | meaning |\n|--:|---|---|\n", anchor(e), localName(e), comment(e))
		for i := range e.Values().Len() {
			v := e.Values().Get(i)
			fmt.Fprintf(&p.out, "| %d | `%s` | %s |\n", v.Number(), v.Name(), cell(comment(v)))
		}
	}
}

// typeLink names a field's type, linked to its description on the page.
func typeLink(f protoreflect.FieldDescriptor) string {
	switch {
	case f.IsMap():
		return "map of " + typeLink(f.MapKey()) + " to " + typeLink(f.MapValue())
	case f.Message() != nil:
		return link(f.Message())
	case f.Enum() != nil:
		return link(f.Enum())
	default:
		return f.Kind().String()
	}
}

func link(d protoreflect.Descriptor) string {
	return fmt.Sprintf("[%s](#%s)", localName(d), anchor(d))
}

// localName is the name within the package.
func localName(d protoreflect.Descriptor) string {
	return strings.TrimPrefix(string(d.FullName()), schema.Package+".")
}

func anchor(d protoreflect.Descriptor) string {
	return strings.ToLower(strings.ReplaceAll(localName(d), ".", "-"))
}

func fileName(f protoreflect.FileDescriptor) string {
	return strings.TrimSuffix(f.Path()[strings.LastIndexByte(f.Path(), '/')+1:], ".proto")
}

// fileComment is the comment at the head of a file.
func fileComment(f protoreflect.FileDescriptor) string {
	// The syntax statement is field 12 of a FileDescriptorProto.
	location := f.SourceLocations().ByPath(protoreflect.SourcePath{12})
	return clean(location.LeadingComments)
}

// comment is what the .proto file says of d.
func comment(d protoreflect.Descriptor) string {
	return clean(d.ParentFile().SourceLocations().ByDescriptor(d).LeadingComments)
}

// clean removes the blank after the slashes of each line.
func clean(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// cell makes text fit into a table.
func cell(s string) string { return strings.ReplaceAll(oneLine(s), "|", "\\|") }

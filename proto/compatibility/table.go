// Package compatibility holds what is known of the wire format of the existing
// peer-observer tools: the tables of their fields, a schema that is as strict as
// theirs, and a check of events against it. Our events must be readable by them, ever.
package compatibility

import (
	"embed"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

//go:embed fields.tsv enums.tsv
var tables embed.FS

// Presence is how a field is declared.
type Presence string

// The presences.
const (
	Required Presence = "required"
	Optional Presence = "optional"
	Repeated Presence = "repeated"
	Map      Presence = "map"
	OneOf    Presence = "oneof"
)

// Field is one field of the existing format.
type Field struct {
	Message string
	Number  protowire.Number
	Name    string
	// Type is a scalar type of protobuf, a message or enum of the tables, or
	// map<K,V>.
	Type     string
	Presence Presence
	// Oneof is the name of the oneof that the field is a case of.
	Oneof string
}

// EnumValue is one value of an enum of the existing format.
type EnumValue struct {
	// Enum is the name of the enum, after a dot when it is nested in a message.
	Enum   string
	Number int32
	Name   string
}

// Fields lists every field of the existing format.
func Fields() ([]Field, error) {
	rows, err := readTable("fields.tsv", 5)
	if err != nil {
		return nil, err
	}
	fields := make([]Field, 0, len(rows))
	for _, row := range rows {
		number, err := strconv.ParseInt(row[1], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("fields.tsv: %s.%s: %w", row[0], row[2], err)
		}
		presence, oneof, _ := strings.Cut(row[4], " ")
		f := Field{
			Message:  row[0],
			Number:   protowire.Number(number),
			Name:     row[2],
			Type:     row[3],
			Presence: Presence(presence),
			Oneof:    oneof,
		}
		switch f.Presence {
		case Required, Optional, Repeated, Map, OneOf:
		default:
			return nil, fmt.Errorf("fields.tsv: %s.%s: unknown presence %q", f.Message, f.Name, row[4])
		}
		fields = append(fields, f)
	}
	return fields, nil
}

// EnumValues lists every enum value of the existing format.
func EnumValues() ([]EnumValue, error) {
	rows, err := readTable("enums.tsv", 3)
	if err != nil {
		return nil, err
	}
	values := make([]EnumValue, 0, len(rows))
	for _, row := range rows {
		number, err := strconv.ParseInt(row[1], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("enums.tsv: %s.%s: %w", row[0], row[2], err)
		}
		values = append(values, EnumValue{Enum: row[0], Number: int32(number), Name: row[2]})
	}
	return values, nil
}

// readTable reads a table of tab-separated columns with comment lines.
func readTable(name string, columns int) ([][]string, error) {
	data, err := tables.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var rows [][]string
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		row := strings.Split(line, "\t")
		if len(row) != columns {
			return nil, fmt.Errorf("%s: %q has %d columns, want %d", name, line, len(row), columns)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

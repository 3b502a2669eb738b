package main

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/generate/schema"
)

// TestEverythingIsDocumented fails for a message, field, enum or value without a
// comment: the page is all that a reader far away has.
func TestEverythingIsDocumented(t *testing.T) {
	files, err := schema.Read("../../..")
	if err != nil {
		t.Fatal(err)
	}
	documented := func(d protoreflect.Descriptor) {
		if comment(d) == "" {
			t.Errorf("%s: %s has no comment", d.ParentFile().Path(), d.FullName())
		}
	}
	enums := func(list protoreflect.EnumDescriptors) {
		for i := range list.Len() {
			documented(list.Get(i))
			for j := range list.Get(i).Values().Len() {
				documented(list.Get(i).Values().Get(j))
			}
		}
	}
	count := 0
	files.RangeFilesByPackage(schema.Package, func(f protoreflect.FileDescriptor) bool {
		if fileComment(f) == "" {
			t.Errorf("%s has no comment in front of its syntax statement", f.Path())
		}
		enums(f.Enums())
		for _, m := range schema.Messages(f.Messages()) {
			documented(m)
			enums(m.Enums())
			for i := range m.Fields().Len() {
				documented(m.Fields().Get(i))
				count++
			}
		}
		return true
	})
	if count < 400 {
		t.Errorf("found only %d fields", count)
	}
}

// TestSubjects looks for each kind of event in the table of subjects: with its subject,
// and a link to a message that the page describes.
func TestSubjects(t *testing.T) {
	page, err := os.ReadFile("../../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range event.Kinds() {
		row := regexp.MustCompile(fmt.Sprintf(
			"(?m)^\\| `%s` \\| %s \\| (?:`[a-z_]+` of )?\\[[A-Za-z0-9]+\\]\\(#([a-z0-9]+)\\) \\|$",
			regexp.QuoteMeta(kind.Subject()), regexp.QuoteMeta(kind.String())))
		match := row.FindSubmatch(page)
		if match == nil {
			t.Errorf("event %s has no row with its subject %s", kind, kind.Subject())
		} else if !bytes.Contains(page, []byte(`<a id="`+string(match[1])+`">`)) {
			t.Errorf("event %s: no %s on the page", kind, match[1])
		}
	}
}

package compatibility_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "append new additions to testdata/additions.tsv")

const additionsFile = "testdata/additions.tsv"

// TestAdditionsAreStable holds our own additions to the numbers and types that were
// once published: programs of others have been written against them. A new addition
// has to be entered (go test -update appends it); an entered one never changes.
func TestAdditionsAreStable(t *testing.T) {
	data, err := os.ReadFile(additionsFile)
	if err != nil {
		t.Fatal(err)
	}
	entered := map[string]string{} // thing and number → name and type
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		columns := strings.SplitN(line, "\t", 3)
		if len(columns) != 3 {
			t.Fatalf("%s: %q has too few columns", additionsFile, line)
		}
		entered[columns[0]+"\t"+columns[1]] = columns[2]
	}
	current := additions(t)
	for key, was := range entered {
		is, ok := current[key]
		switch {
		case !ok:
			t.Errorf("%s is gone; it was %s. Numbers that were published stay: mark it deprecated instead",
				strings.ReplaceAll(key, "\t", " number "), was)
		case is != was:
			t.Errorf("%s is %s now; it was %s. Give the new thing a new number",
				strings.ReplaceAll(key, "\t", " number "), is, was)
		}
	}
	var missing []string
	for key, is := range current {
		if _, ok := entered[key]; !ok {
			missing = append(missing, key+"\t"+is)
		}
	}
	if len(missing) == 0 {
		return
	}
	slices.Sort(missing)
	if *update {
		all := strings.TrimSuffix(string(data), "\n") + "\n" + strings.Join(missing, "\n") + "\n"
		if err := os.WriteFile(additionsFile, []byte(all), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("not yet entered (go test ./proto/compatibility -update does it):\n%s", strings.Join(missing, "\n"))
}

// additions lists what our descriptors have beyond the tables: fields and enum values.
func additions(t *testing.T) map[string]string {
	t.Helper()
	known := map[string]bool{}
	for _, f := range existingFields(t) {
		known[fmt.Sprintf("%s\t%d", f.Message, f.Number)] = true
	}
	for _, v := range existingEnumValues(t) {
		known[fmt.Sprintf("%s\t%d", v.Enum, v.Number)] = true
	}
	all := map[string]string{}
	for _, m := range ourMessages() {
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			key := fmt.Sprintf("%s\t%d", nameOf(m), f.Number())
			if !known[key] {
				all[key] = fmt.Sprintf("%s\t%s\t%s", f.Name(), typeOf(f), presenceOf(f))
			}
		}
	}
	for _, e := range ourEnums() {
		for i := range e.Values().Len() {
			v := e.Values().Get(i)
			key := fmt.Sprintf("%s\t%d", nameOf(e), v.Number())
			if !known[key] {
				all[key] = fmt.Sprintf("%s\tenum value\t-", v.Name())
			}
		}
	}
	return all
}

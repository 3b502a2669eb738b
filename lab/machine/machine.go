// Package machine says what a test can't do for lack of something on this machine.
package machine

import (
	"fmt"
	"os"
)

// TB is what Lacks needs of testing.TB.
type TB interface {
	Helper()
	Name() string
	Fatalf(format string, args ...any)
	Skip(args ...any)
}

// Lacks ends a test that needs something which this machine hasn't got: with $CI "true" it
// fails, otherwise it is skipped with a line on standard error, where `go test` without
// -v shows it.
func Lacks(t TB, needs string) {
	t.Helper()
	line := fmt.Sprintf("NOT RUN: %s needs %s", t.Name(), needs)
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s", line)
	}
	fmt.Fprintln(os.Stderr, line)
	t.Skip(line)
}

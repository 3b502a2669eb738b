package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/alecthomas/kingpin/v2"
)

// nameFlag names the flag, argument or environment variable whose value isn't one, which
// the parser doesn't. It sets values again, so nothing may be run with them afterwards.
func nameFlag(app *kingpin.Application, args []string, err error) error {
	parsed, parseErr := app.ParseContext(args)
	if parseErr != nil {
		return err // not about a value
	}
	is := func(value kingpin.Value, text string) bool {
		again := value.Set(text)
		return again != nil && again.Error() == err.Error()
	}
	given := map[string]bool{}
	flags := app.Model().Flags
	for _, element := range parsed.Elements {
		switch clause := element.Clause.(type) {
		case *kingpin.FlagClause:
			model := clause.Model()
			given[model.Name] = true
			if is(model.Value, *element.Value) {
				return named("--"+model.Name, err)
			}
		case *kingpin.ArgClause:
			if model := clause.Model(); is(model.Value, *element.Value) {
				return named("<"+model.Name+">", err)
			}
		case *kingpin.CmdClause:
			flags = append(flags, clause.Model().Flags...)
		}
	}
	for _, flag := range flags {
		value := ""
		if flag.Envar != "" && !given[flag.Name] {
			value = os.Getenv(flag.Envar)
		}
		if value == "" {
			continue
		}
		values := []string{value}
		if list, ok := flag.Value.(interface{ IsCumulative() bool }); ok && list.IsCumulative() {
			values = strings.Split(strings.ReplaceAll(value, "\r\n", "\n"), "\n")
		}
		for _, value := range values {
			if is(flag.Value, value) {
				return named(flag.Envar+" (--"+flag.Name+")", err)
			}
		}
	}
	return err
}

// named puts the name in front of what is wrong with the value, without the names of Go's
// functions.
func named(name string, err error) error {
	if number, ok := errors.AsType[*strconv.NumError](err); ok {
		return fmt.Errorf("%s: %q: %w", name, number.Num, number.Err)
	}
	return fmt.Errorf("%s: %w", name, err)
}

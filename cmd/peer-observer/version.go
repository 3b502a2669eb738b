package main

import (
	"context"
	"fmt"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/version"
)

func registerVersion(clause *kingpin.CmdClause, handlers map[string]handler) {
	handlers[clause.FullCommand()] = func(_ context.Context, env *environment) error {
		_, err := fmt.Fprintln(env.stdout, version.Print("peer-observer"))
		return err
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/peerobserver/peerobserver/lab/incident"
)

// registerLabIncident declares `lab incident`.
func registerLabIncident(clause *kingpin.CmdClause, handlers map[string]handler) {
	command := clause.Command("incident", "Write an incident of the Bitcoin network, or a day of honest traffic, as an archive for `alerts backtest`, or list them.")
	name := command.Arg("name", "Name of the incident or of the honest traffic; the list when not given.").String()
	output := command.Flag("output", "The archive file to write; it must not exist.").Short('o').String()
	handlers[command.FullCommand()] = func(ctx context.Context, env *environment) error {
		switch {
		case *name == "" && *output == "":
			return listIncidents(env)
		case *name == "" || *output == "":
			return withCode(exitUsage, errors.New("give the name of an incident and --output=FILE, or neither for the list"))
		}
		i, err := incident.Find(*name)
		if err != nil {
			return withCode(exitUsage, err)
		}
		if err := i.Record(ctx, *output, archiveWriter()); err != nil {
			return err
		}
		fmt.Fprintf(env.stdout, "%s: next, peer-observer alerts backtest %s\n", i.Name, *output)
		return nil
	}
}

// listIncidents prints what can be written, and what must come of it.
func listIncidents(env *environment) error {
	w := env.stdout
	for _, i := range incident.All() {
		fmt.Fprintf(w, "%s\n  %s\n  Source: %s.\n  In the recording: %s\n", i.Name, i.What, i.Source, i.Shape)
		for _, e := range i.Expected {
			from := i.Begins.Add(e.After)
			fmt.Fprintf(w, "  must fire: %s from %s on, by %s\n", e.Alert, from.Format(time.RFC3339), from.Add(e.Within).Format(time.RFC3339))
		}
		fmt.Fprintf(w, "  may fire: %s\n\n", strings.Join(append(i.Allowed, "nothing else"), ", "))
	}
	fmt.Fprintf(w, "HONEST TRAFFIC, a day of each, of which no page and no ticket may come.\nIn the recordings: %s\n\n", incident.Honest()[0].Shape)
	for _, i := range incident.Honest() {
		fmt.Fprintf(w, "%s\n  %s\n  may fire: %s\n\n", i.Name, i.What, strings.Join(append(i.Allowed, "nothing else"), ", "))
	}
	return nil
}

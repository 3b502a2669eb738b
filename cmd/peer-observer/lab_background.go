package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/peerobserver/peerobserver/lab/scenario"
)

// backgrounds are the kinds of honest traffic that names choose: all of them or none.
func backgrounds(names []string) ([]scenario.Background, error) {
	var chosen []scenario.Background
	for _, name := range names {
		if b, err := scenario.FindBackground(name); err == nil {
			chosen = append(chosen, b)
		}
	}
	if len(chosen) > 0 && len(chosen) < len(names) {
		return nil, withCode(exitUsage, errors.New("honest traffic and scenarios don't go together: run one, then the other"))
	}
	return chosen, nil
}

// listBackgrounds says what there is of honest traffic.
func listBackgrounds(w io.Writer) {
	fmt.Fprintln(w, "\nHONEST TRAFFIC, of which no page and no ticket may come; it needs a namespace (`lab namespace`)")
	for _, b := range scenario.Backgrounds() {
		fmt.Fprintf(w, "%s  %s: %s%s\n", b.Name, b.Title, b.Does, except(b.May))
	}
}

// except names the alerts that may come nevertheless.
func except(alerts []string) string {
	if len(alerts) == 0 {
		return ""
	}
	return " Except " + strings.Join(alerts, ", ") + "."
}

// runBackgrounds runs them one after the other. The peers stay from one to the next.
func runBackgrounds(ctx context.Context, env *environment, flags *labRunFlags, chosen []scenario.Background) error {
	target, err := flags.target(ctx)
	if err != nil {
		return err
	}
	defer target.Close()
	for _, b := range chosen {
		span := max(flags.duration, b.Least)
		fmt.Fprintf(env.stdout, "%s  %s, %s: %s\n          until about %s no page and no ticket may come.%s\n", time.Now().Format(time.TimeOnly), b.Name, b.Title, b.Does,
			time.Now().Add(time.Duration(float64(span)/flags.timeScale)).Format(time.TimeOnly), except(b.May))
		if err := b.Run(ctx, target, span); err != nil {
			return err
		}
	}
	fmt.Fprintf(env.stdout, "%s  done; all peers leave now, which alerts do see\n", time.Now().Format(time.TimeOnly))
	return nil
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/peerobserver/peerobserver/alerts"
	"github.com/peerobserver/peerobserver/alerts/backtest"
)

// backtestFlags are the flags of `alerts backtest`.
type backtestFlags struct {
	paths      []string
	rules      []string
	times      timeRangeFlags
	networks   networkFlags
	interval   time.Duration
	timeScale  float64
	thresholds map[string]string
	format     string
}

func registerAlerts(clause *kingpin.CmdClause, handlers map[string]handler) {
	command := clause.Command("backtest", "Say which alerts would have fired, and when, over archive files.")
	flags := &backtestFlags{thresholds: map[string]string{}}
	command.Arg("file", "Archive files, also of the existing peer-observer; their order doesn't matter.").Required().StringsVar(&flags.paths)
	flags.times.register(command, "from", "to-time")
	flags.networks.register(command)
	command.Flag("interval", "Time between two scrapes, in the archive's time.").Default(backtest.DefaultInterval.String()).DurationVar(&flags.interval)
	command.Flag("rule", "Evaluate the rule with this id only, such as B04, which is quicker; repeatable.").StringsVar(&flags.rules)
	command.Flag("threshold", "NAME=NUMBER: replace a threshold of thresholds.rules.yml; repeatable.").StringMapVar(&flags.thresholds)
	command.Flag("time-scale", "Divide every span of time in the rules by this, for an archive of the lab.").Default("1").Float64Var(&flags.timeScale)
	command.Flag("format", "Form of the output: text or json.").Default(formatText).EnumVar(&flags.format, formatText, formatJSON)
	handlers[command.FullCommand()] = flags.run
}

// The forms of the output.
const (
	formatText = "text"
	formatJSON = "json"
)

func (f *backtestFlags) run(ctx context.Context, env *environment) error {
	rules, err := ruleOptions(f.timeScale, f.thresholds)
	if err != nil {
		return err
	}
	options, err := f.times.options()
	if err != nil {
		return withCode(exitUsage, err)
	}
	networks, err := f.networks.load(env)
	if err != nil {
		return err
	}
	result, err := backtest.Run(ctx, backtest.Config{
		Paths: f.paths, Options: options, Rules: rules, IDs: f.rules, Interval: f.interval, Networks: networks,
	}, env.logger)
	if result == nil {
		return withCode(exitUsage, err)
	}
	return errors.Join(err, f.print(env.stdout, result))
}

func (f *backtestFlags) print(w io.Writer, result *backtest.Result) error {
	if f.format == formatJSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(result)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "FIRED\tENDED\tRULE\tALERT\tSEVERITY\tLARGEST VALUE\tNODE\tLABELS")
	for i := range result.Alerts {
		a := &result.Alerts[i]
		ended := "fires at the end"
		if a.Ended != nil {
			ended = a.Ended.Format(time.RFC3339)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%.4g\t%s\t", a.Fired.Format(time.RFC3339), ended, a.ID, a.Alert, a.Severity, a.Largest, a.Node)
		for name, value := range a.Labels {
			fmt.Fprintf(table, "%s=%q ", name, value)
		}
		fmt.Fprintln(table)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d alerts in %d scrapes from %s to %s; %d events, %d gaps, %d damaged places\n", uint64(len(result.Alerts))+result.Left, result.Scrapes,
		result.From.Format(time.RFC3339), result.To.Format(time.RFC3339), result.Events, result.Gaps, result.Damages)
	return err
}

// ruleOptions reads the flags that change the rules.
func ruleOptions(scale float64, thresholds map[string]string) (alerts.Options, error) {
	options := alerts.Options{TimeScale: scale, Thresholds: map[string]float64{}}
	if !(scale > 0) {
		return options, withCode(exitUsage, fmt.Errorf("--time-scale=%v: it must be above zero", scale))
	}
	for name, text := range thresholds {
		value, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(value) || math.IsInf(value, 0) {
			return options, withCode(exitUsage, fmt.Errorf("--threshold=%s=%s: not a number", name, text))
		}
		options.Thresholds[name] = value
	}
	return options, nil
}

package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"
)

//go:generate go test -run TestFlagsPage . -update

var update = flag.Bool("update", false, "write docs/flags.md anew")

const flagsPage = "../../docs/flags.md"

// TestFlagsPage holds docs/flags.md, which is made of the program's own declarations,
// against them.
func TestFlagsPage(t *testing.T) {
	page := flagsReference(t)
	if *update {
		if err := os.WriteFile(flagsPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(flagsPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(committed) != page {
		t.Error("docs/flags.md is stale: run make docs")
	}
}

// TestFlagsHaveHelp fails for a flag, argument or command that says nothing of itself,
// and for one whose environment variable isn't named as all are.
func TestFlagsHaveHelp(t *testing.T) {
	var walk func(command string, flags *kingpin.FlagGroupModel, arguments *kingpin.ArgGroupModel, commands *kingpin.CmdGroupModel)
	walk = func(command string, flags *kingpin.FlagGroupModel, arguments *kingpin.ArgGroupModel, commands *kingpin.CmdGroupModel) {
		for _, f := range shown(flags) {
			if f.Help == "" {
				t.Errorf("%s --%s has no help", command, f.Name)
			}
			want := "PEER_OBSERVER_" + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(f.Name))
			if f.Envar != want && f.Name != "version" {
				t.Errorf("%s --%s has the environment variable %q, want %s", command, f.Name, f.Envar, want)
			}
		}
		for _, a := range arguments.Args {
			if a.Help == "" {
				t.Errorf("%s: argument %s has no help", command, a.Name)
			}
		}
		for _, c := range commands.Commands {
			if c.Help == "" {
				t.Errorf("command %s has no help", c.FullCommand)
			}
			walk(c.FullCommand, c.FlagGroupModel, c.ArgGroupModel, c.CmdGroupModel)
		}
	}
	model := applicationModel(t)
	walk("peer-observer", model.FlagGroupModel, model.ArgGroupModel, model.CmdGroupModel)
}

func applicationModel(t *testing.T) *kingpin.ApplicationModel {
	t.Helper()
	app, _, _ := application(io.Discard, io.Discard)
	// The environment variables get their names when something is parsed.
	if _, err := parse(app, []string{"version"}); err != nil {
		t.Fatal(err)
	}
	return app.Model()
}

func flagsReference(t *testing.T) string {
	t.Helper()
	model := applicationModel(t)
	var page strings.Builder
	page.WriteString(`# Flags

<!-- Generated from the program by make docs. Don't edit. -->

Every flag can be given as an environment variable; the flag wins. A flag that is repeatable takes
one value a line from its variable. A flag with ` + "`[no-]`" + ` is on or off: ` + "`--no-extractor.p2p`" + `, or
` + "`PEER_OBSERVER_EXTRACTOR_P2P=false`" + `.

## All commands
`)
	writeRows(&page, flagRows(model.FlagGroupModel))
	// Other commands that have every flag of the agent refer to it.
	var ofAgent []string
	for _, c := range model.Commands {
		if c.Name == "agent" {
			ofAgent = flagRows(c.FlagGroupModel)
		}
	}
	for _, c := range model.Commands {
		commandSection(&page, c, "##", ofAgent)
	}
	return page.String()
}

func commandSection(page *strings.Builder, c *kingpin.CmdModel, heading string, ofAgent []string) {
	if c.Hidden || c.Name == "help" {
		return
	}
	fmt.Fprintf(page, "\n%s %s\n\n%s\n", heading, c.FullCommand, c.Help)
	if len(c.Args) > 0 {
		fmt.Fprintf(page, "\n    peer-observer %s %s\n\n| argument | meaning |\n|---|---|\n", c.FullCommand, c.ArgSummary())
		for _, a := range c.Args {
			fmt.Fprintf(page, "| `%s` | %s |\n", a.Name, cell(a.Help))
		}
	}
	rows := flagRows(c.FlagGroupModel)
	own := slices.DeleteFunc(slices.Clone(rows), func(row string) bool { return slices.Contains(ofAgent, row) })
	if c.Name != "agent" && len(rows)-len(own) == len(ofAgent) {
		page.WriteString("\nIt takes all flags of [agent](#agent).\n")
		rows = own
	}
	writeRows(page, rows)
	for _, sub := range c.Commands {
		commandSection(page, sub, heading+"#", ofAgent)
	}
}

func writeRows(page *strings.Builder, rows []string) {
	if len(rows) > 0 {
		page.WriteString("\n| flag | default | environment variable | meaning |\n|---|---|---|---|\n" + strings.Join(rows, ""))
	}
}

func flagRows(group *kingpin.FlagGroupModel) []string {
	var rows []string
	for _, f := range shown(group) {
		name, variable, help := "--"+f.Name, "–", cell(f.Help)
		if f.IsBoolFlag() && f.Envar != "" {
			name = "--[no-]" + f.Name
		}
		if f.Envar != "" {
			variable = "`" + f.Envar + "`"
		}
		if c, ok := f.Value.(interface{ IsCumulative() bool }); ok && c.IsCumulative() && !strings.Contains(help, "repeatable") {
			help += " Repeatable."
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s |\n", name, defaultOf(f), variable, help))
	}
	return rows
}

// shown are the flags without the variants of --help.
func shown(group *kingpin.FlagGroupModel) []*kingpin.FlagModel {
	var flags []*kingpin.FlagModel
	for _, f := range group.Flags {
		if !f.Hidden && !strings.HasPrefix(f.Name, "help") && !strings.HasPrefix(f.Name, "completion-") {
			flags = append(flags, f)
		}
	}
	return flags
}

func defaultOf(f *kingpin.FlagModel) string {
	switch {
	case f.Name == "version":
		return "–"
	case f.Name == "node.name":
		return "the host's name"
	case len(f.Default) > 0:
		return "`" + cell(strings.Join(f.Default, "`, `")) + "`"
	case f.IsBoolFlag():
		return "`false`"
	case f.Required:
		return "required"
	default:
		return "–"
	}
}

// cell makes text fit into a table.
func cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}

package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"
)

//go:generate go test -run TestManualPage . -update

const manualFile = "../../deploy/packages/peer-observer.1"

// TestManualPage holds the manual page, which is made of the program's own declarations,
// against them. That of kingpin has the name and the architecture of the machine in it
// that it was made on.
func TestManualPage(t *testing.T) {
	page := manualPage(t)
	if *update {
		if err := os.WriteFile(manualFile, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(manualFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(committed) != page {
		t.Errorf("%s is stale: run make docs", manualFile)
	}
}

// manualPage is the page in the man macros (man(7)).
func manualPage(t *testing.T) string {
	t.Helper()
	model := applicationModel(t)
	var page strings.Builder
	page.WriteString(`.\" Generated from the program by make docs. Don't edit.
.TH PEER-OBSERVER 1 "" "peer-observer" "User Commands"
.SH NAME
peer-observer \- see everything a Bitcoin node does on the P2P network
.SH SYNOPSIS
.B peer-observer
.RI [ flags ]
.RI [ command ]
.RI [ argument " .\|.\|.\&]"
.SH DESCRIPTION
Sits beside a Bitcoin node, sees what the node does on the P2P network, publishes it as
events on NATS and turns it into metrics, traces and alerts. Without a command it is the
.BR agent .
.PP
Every flag can be given as an environment variable, which is named with it; the flag
wins. A flag that is repeatable takes one value a line from its variable.
.SH FLAGS OF ALL COMMANDS
`)
	manualFlags(&page, model.FlagGroupModel)
	page.WriteString(".SH COMMANDS\n")
	var ofAgent []string
	for _, c := range model.Commands {
		if c.Name == "agent" {
			ofAgent = flagRows(c.FlagGroupModel)
		}
	}
	for _, c := range model.Commands {
		manualCommand(&page, c, ofAgent)
	}
	page.WriteString(`.SH FILES
.TP
.I /etc/default/peer-observer
Environment of the service.
.TP
.I /usr/share/peer-observer
Alert rules with their runbooks, dashboards, and additions to the service.
.TP
.I /var/lib/peer-observer
What the service may write, such as archive files.
.SH EXIT STATUS
.TP
0
Ended as asked.
.TP
1
Something failed while running, or a check found a fault.
.TP
2
A flag, a file that it names or the configuration is wrong.
.TP
3
The node can't be chosen or is unusable.
.TP
4
An address to listen on can't be had.
.TP
5
The node or the NATS server refused the credentials, or they can't be read.
.SH SEE ALSO
.BR bitcoind (1),
.IR /usr/share/doc/peer-observer ,
.UR https://github.com/peerobserver/peerobserver
.UE
`)
	return page.String()
}

func manualCommand(page *strings.Builder, c *kingpin.CmdModel, ofAgent []string) {
	if c.Hidden || c.Name == "help" {
		return
	}
	synopsis := c.FullCommand
	if len(c.Args) > 0 {
		synopsis += " " + c.ArgSummary()
	}
	fmt.Fprintf(page, ".SS %s\n%s\n", roff(synopsis), roffLine(c.Help))
	for _, a := range c.Args {
		fmt.Fprintf(page, ".TP\n.I %s\n%s\n", roff(a.Name), roffLine(a.Help))
	}
	if c.Name != "agent" && hasAll(flagRows(c.FlagGroupModel), ofAgent) {
		page.WriteString(".PP\nIt takes all flags of\n.BR agent .\n")
	} else {
		manualFlags(page, c.FlagGroupModel)
	}
	for _, sub := range c.Commands {
		manualCommand(page, sub, ofAgent)
	}
}

// hasAll says whether every element of some is one of all.
func hasAll(all, some []string) bool {
	have := map[string]bool{}
	for _, element := range all {
		have[element] = true
	}
	for _, element := range some {
		if !have[element] {
			return false
		}
	}
	return true
}

func manualFlags(page *strings.Builder, group *kingpin.FlagGroupModel) {
	for _, f := range shown(group) {
		name := "--" + f.Name
		if f.IsBoolFlag() && f.Envar != "" {
			name = "--[no-]" + f.Name
		}
		fmt.Fprintf(page, ".TP\n.B %s\n%s\n", roff(name), roffLine(f.Help))
		if value := strings.ReplaceAll(defaultOf(f), "`", ""); value == "required" {
			page.WriteString("Required.\n")
		} else if value != "–" {
			fmt.Fprintf(page, "Default: %s.\n", roff(value))
		}
		if f.Envar != "" {
			fmt.Fprintf(page, "Variable:\n.BR %s .\n", roff(f.Envar))
		}
	}
}

// roff escapes what troff would read as its own.
func roff(text string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`).Replace(strings.Join(strings.Fields(text), " "))
}

// roffLine is roff for a line of its own, which must not begin as a request does.
func roffLine(text string) string {
	text = roff(text)
	if strings.HasPrefix(text, ".") {
		return `\&` + text
	}
	return text
}

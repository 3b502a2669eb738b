package main

import (
	"fmt"

	"github.com/alecthomas/kingpin/v2"

	"github.com/peerobserver/peerobserver/exporters/redact"
	"github.com/peerobserver/peerobserver/proto/event"
)

// redactionFlag is the flag that turns redaction on.
type redactionFlag struct {
	flag, keyFile string
}

func (f *redactionFlag) register(clause *kingpin.CmdClause, prefix string) {
	f.flag = prefix + "redact-key-file"
	clause.Flag(f.flag, "Replace every address by a pseudonym made with the key in this file (16 to 4096 bytes), so that the output can be shared.").StringVar(&f.keyFile)
}

// redactor is nil when nothing is to be redacted. Without its key nothing must run.
func (f *redactionFlag) redactor() (*redact.Redactor, error) {
	if f.keyFile == "" {
		return nil, nil
	}
	r, err := redact.FromFile(f.keyFile)
	if err != nil {
		return nil, withCode(exitUsage, fmt.Errorf("--%s: %w", f.flag, err))
	}
	return r, nil
}

// sink puts redaction in front of a sink when it is wanted.
func (f *redactionFlag) sink(next event.Sink, ledger *event.Ledger) (event.Sink, error) {
	r, err := f.redactor()
	if r == nil || err != nil {
		return next, err
	}
	return r.Sink(next, ledger), nil
}

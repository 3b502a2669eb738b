// Package incident plays what happened to nodes of the Bitcoin network, and days on which nothing
// happened, as the events that an agent on such a node would have recorded: `peer-observer alerts
// backtest` and the tests say which alerts would have fired.
//
// The events are made up after public descriptions, each named with its incident, and are the
// same every time. There is what an incident consists of, and the usual life of a node in
// blocks, peers, mempool, pings and RPC; spans of time without anything new are as short as
// the rules allow, which each incident says. A rule that reads something else, such as
// debug.log, is silent whatever it is worth.
package incident

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/peerobserver/peerobserver/exporters/archive"
	"github.com/peerobserver/peerobserver/proto/event"
)

// Incident is something that happened, or a day on which nothing did.
type Incident struct {
	// Name is how it is chosen, such as "address-spam-2021".
	Name string
	// What says what happened, Source where that is described, Shape what the recording
	// leaves out or makes shorter.
	What, Source, Shape string
	// Begins is the time of the first event.
	Begins time.Time
	// Expected are the alerts that must fire.
	Expected []Expected
	// Allowed are alerts that may fire too, with good reason. No other may.
	Allowed []string

	play func(l *life)
}

// Expected is an alert that must fire.
type Expected struct {
	Alert string
	// After is the time from the first event until what it watches for begins; the alert
	// fires not before that, and at most Within later.
	After, Within time.Duration
}

// All lists the incidents, the oldest first.
func All() []Incident {
	return []Incident{
		addressSpam(), announcementBacklog(), mints(), i2pFlood(), reorganization(), operatorLeaves(), slowBlocks(), quietYear(),
	}
}

// Find gives the incident, or the honest traffic, of a name.
func Find(name string) (Incident, error) {
	for _, i := range append(All(), Honest()...) {
		if i.Name == name {
			return i, nil
		}
	}
	return Incident{}, fmt.Errorf("there is no incident %q, see `peer-observer lab incident`", name)
}

// Play hands the events to a sink until they end or ctx does.
func (i Incident) Play(ctx context.Context, sink event.Sink) error {
	l := newLife(ctx, i.Begins, sink)
	i.play(l)
	return ctx.Err()
}

// Record plays into a new archive file; writer is the name and version of the program. When it
// fails there is no new file.
func (i Incident) Record(ctx context.Context, path, writer string) (err error) {
	w, err := archive.Create(path, writer)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, w.Close()); err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	return i.Play(ctx, w)
}

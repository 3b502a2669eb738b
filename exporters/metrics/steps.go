package metrics

import "github.com/peerobserver/peerobserver/exporters/peerstate"

// clockSteps counts how often the clock of the events was set, so that what is derived from
// them has begun anew.
type clockSteps struct{ steps *counters }

func newClockSteps(r *registry) *clockSteps {
	return &clockSteps{steps: r.counter(spec{
		name: "clock_steps_total", events: "all", unit: "steps",
		help: "How often the clock by which events are stamped was set back by more than ten minutes or forward by more than a year, so that all that is remembered of peers has begun anew.",
	}, closedLabel("direction", "back", "forward"))}
}

// observe takes what an event added to the state.
func (c *clockSteps) observe(o *peerstate.Observation) {
	switch o.Stepped {
	case peerstate.StepBack:
		c.steps.inc(0)
	case peerstate.StepForward:
		c.steps.inc(1)
	}
}

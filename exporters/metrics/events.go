package metrics

import (
	"github.com/peerobserver/peerobserver/proto/event"
)

// events counts the events themselves: what came from where, and how late.
type events struct {
	total *counters
	// byKind is the cell of each kind; unknown that of each source's events that are
	// not understood.
	byKind   [event.KindCount]*cell
	unknown  [8]*cell
	receive  *histograms
	handling *histograms
	newest   *gauges
}

func newEvents(r *registry) *events {
	var kinds []string
	for k := range event.KindCount {
		kinds = append(kinds, k.String())
	}
	sources := []string{"unknown", "ebpf", "rpc", "p2p", "log", "ipc", "observer"}
	source := closedLabel("source", sources...)
	ev := &events{}
	ev.total = r.sparseCounter(spec{
		name: "events_total", events: "all", unit: "events",
		help: "Events that were handled, by source and kind. The kind unknown stands for events that were not understood.",
	}, source, closedLabel("event", kinds...))
	for k := event.KindUnknown + 1; k < event.KindCount; k++ {
		c := ev.total.at2(int(k.Source()), int(k))
		// Sources that most agents don't have appear with their first event.
		c.shown = k.Source() != event.SourceIPC && (k < event.KindUTXOCacheFlush || k > event.KindUTXOCacheUncache)
		ev.byKind[k] = c
	}
	for i := range sources {
		ev.unknown[i] = ev.total.at2(i, int(event.KindUnknown))
	}
	bounds := milliseconds(1, 100, 1000)
	ev.receive = r.histogram(spec{
		name: "event_receive_delay_seconds", events: "all with a kernel time", unit: "seconds",
		help: "Time from the hit of a tracepoint to the receipt of its event by the agent.",
	}, nanoseconds, bounds)
	ev.handling = r.histogram(spec{
		name: "event_handling_delay_seconds", events: "all", unit: "seconds",
		help: "Time from the receipt of an event by its source to its arrival here, which includes NATS when the metrics are made elsewhere.",
	}, nanoseconds, bounds)
	ev.newest = r.gauge(spec{
		name: "last_event_timestamp_seconds", events: "all", unit: "seconds",
		help: "Time of the newest event by source, as UNIX time.",
	}, nil, source)
	return ev
}

// handle counts an event that arrived at a time in UNIX nanoseconds.
func (ev *events) handle(e *event.Event, kind event.Kind, ok bool, now int64) {
	if ok {
		ev.byKind[kind].add(1)
	} else {
		ev.undecoded(e)
	}
	at := e.ReceiveTime
	if e.KernelTime != 0 {
		if at != 0 {
			ev.receive.observe(0, at-e.KernelTime)
		} else {
			at = e.KernelTime
		}
	}
	if at == 0 {
		at = int64(e.Timestamp) * 1e6
	} else {
		ev.handling.observe(0, now-at)
	}
	ev.newest.at(int(e.Source)).set(float64(at) / 1e9)
}

// undecoded counts an event that was not understood.
func (ev *events) undecoded(e *event.Event) { ev.unknown[e.Source].add(1) }

package metrics

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// Bounds of what a status event may name.
const (
	maxLosses      = 64
	maxQueues      = 16
	maxTracepoints = 32
)

// status exports what the observer knows of itself: the ledger of this process and,
// where the events come from an agent elsewhere, that agent's last Status event.
type status struct {
	ledger *event.Ledger
	remote bool
	// last is the newest Status event, age when it came.
	last atomic.Pointer[eventpb.Status]
	age  *age
	// down are the sources that it says are down.
	down [event.SourceObserver + 1]atomic.Bool

	// mu guards what only scrapes use.
	mu          sync.Mutex
	definitions []Definition
	known       map[lossKey]bool
	queues      map[string]bool
	tracepoints map[string]bool

	sourceUp, attempts, failures, lost                 *prometheus.Desc
	queueEvents, queueBytes, queueCapacity             *prometheus.Desc
	tracepointUp, tracepointHits, tracepointDefects    *prometheus.Desc
	nodeUp, nodeInfo, nodeStart, restarts, replacement *prometheus.Desc
	inboundCapacity                                    *prometheus.Desc
	clockKept, clockOffset, clockError, clockMaxError  *prometheus.Desc
}

type lossKey struct{ source, stage, reason string }

func newStatus(ledger *event.Ledger, remote bool) *status {
	s := &status{
		ledger: ledger, remote: remote, age: polled(nil),
		known: map[lossKey]bool{}, queues: map[string]bool{}, tracepoints: map[string]bool{},
	}
	desc := func(kind, name, unit, help string, labels ...string) *prometheus.Desc {
		d := Definition{Name: prefix + name, Type: kind, Events: "observer.status", Unit: unit, Help: help}
		for _, l := range labels {
			values := statusLabel(l)
			if l == "source" && strings.HasPrefix(name, "source_") {
				values = nodeSources()
			}
			d.Labels = append(d.Labels, LabelDefinition{Name: l, Values: values, Learning: values == nil, Limit: maxLosses})
		}
		s.definitions = append(s.definitions, d)
		return prometheus.NewDesc(prefix+name, help, labels, nil)
	}
	s.sourceUp = desc("gauge", "source_up", "1 or 0",
		"Whether the source sees what it is there to see.", "source")
	s.attempts = desc("counter", "source_attempts_total", "attempts",
		"How often the source was started.", "source")
	s.failures = desc("counter", "source_failures_total", "failures",
		"How often the source failed.", "source")
	s.lost = desc("counter", "events_lost_total", "events",
		"Events that were lost, by source, the stage where and the reason why.", "source", "stage", "reason")
	s.queueEvents = desc("gauge", "queue_events", "events",
		"Events that wait in the queue of a sink.", "sink")
	s.queueBytes = desc("gauge", "queue_bytes", "bytes",
		"Bytes of the events that wait in the queue of a sink.", "sink")
	s.queueCapacity = desc("gauge", "queue_capacity_bytes", "bytes",
		"Size of the queue of a sink.", "sink")
	s.tracepointUp = desc("gauge", "tracepoint_attached", "1 or 0",
		"Whether a probe is attached to the tracepoint.", "tracepoint")
	s.tracepointHits = desc("counter", "tracepoint_hits_total", "hits",
		"Hits of the tracepoint by what became of them: recorded, filtered by a rule of the operator, or lost for lack of room.",
		"tracepoint", "outcome")
	s.tracepointDefects = desc("counter", "tracepoint_record_defects_total", "records",
		"Recorded hits of which something is missing; a defect that never occurred is left out.", "tracepoint", "defect")
	s.nodeUp = desc("gauge", "node_up", "1 or 0",
		"Whether the observed node is running.")
	s.nodeInfo = desc("gauge", "node_info", "1",
		"Facts on the observed node: the chain it is on.", "chain")
	s.nodeStart = desc("gauge", "node_start_time_seconds", "seconds",
		"Start of the node's process, as UNIX time.")
	s.restarts = desc("counter", "node_restarts_total", "restarts",
		"How often the agent found the node restarted.")
	s.replacement = desc("counter", "node_replacements_total", "replacements",
		"How often the agent found the node's program file replaced.")
	s.inboundCapacity = desc("gauge", "node_inbound_capacity", "connections",
		"Inbound connections that the node can have at once, by the settings that it runs with; 0 when it doesn't listen, absent when it isn't known.")
	s.clockKept = desc("gauge", "host_clock_synchronized", "1 or 0",
		"Whether a time service keeps the clock of the agent's host, as its kernel says.")
	s.clockOffset = desc("gauge", "host_clock_offset_seconds", "seconds",
		"How far the kernel of the agent's host still has to move the clock: half a second at most, and always 0 with chrony.")
	s.clockError = desc("gauge", "host_clock_estimated_error_seconds", "seconds",
		"How far the time service takes the clock of the agent's host to be off; means nothing while no service keeps it.")
	s.clockMaxError = desc("gauge", "host_clock_max_error_seconds", "seconds",
		"How far off the clock of the agent's host can be: it grows by half a millisecond a second until the time service sets it anew, to 16 seconds at most.")
	return s
}

// statusLabel gives the values of a closed label, nil for one with names that become
// known at run time.
func statusLabel(name string) []string {
	switch name {
	case "source":
		return []string{"unknown", "ebpf", "rpc", "p2p", "log", "ipc", "observer"}
	case "stage":
		return []string{"accept", "kernel", "read", "emit", "queue", "publish", "subscribe", "decode", "write", other}
	case "outcome":
		return []string{"recorded", "filtered", "lost"}
	case "defect":
		return []string{"payload_shed", "payload_truncated", "payload_fault", "argument_fault", "string_cut"}
	case "chain":
		return []string{"main", "test", "testnet4", "signet", "regtest", other}
	default:
		return nil
	}
}

// nodeSources are the sources that can be up or down: the observer has an account, and
// loses its status events at worst.
func nodeSources() []string { return []string{"ebpf", "rpc", "p2p", "log", "ipc"} }

func oneOf(value string, list []string) string {
	for _, v := range list {
		if v == value {
			return v
		}
	}
	return list[len(list)-1]
}

// observe takes a Status event of a time in UNIX nanoseconds.
func (s *status) observe(st *eventpb.Status, at int64) {
	if st == nil {
		return
	}
	s.last.Store(st)
	s.age.touch(at)
	for _, listed := range st.GetSources() {
		if source, err := event.ParseSource(listed.GetSource()); err == nil {
			s.down[source].Store(!listed.GetUp())
		}
	}
}

// watching is whether an agent says that it looks at the tracepoints of a running node.
func watching(st *eventpb.Status) bool {
	return st.GetNode() != nil && slices.ContainsFunc(st.GetSources(), func(s *eventpb.SourceStatus) bool {
		return s.GetSource() == event.SourceEBPF.String() && s.GetUp()
	})
}

// gone gives a function that says whether what sources tell is worth nothing: one of
// them is down, or the agent has fallen silent that used to tell how it is.
func (s *status) gone(sources ...event.Source) func(now int64) bool {
	return func(now int64) bool {
		for _, source := range sources {
			if s.down[source].Load() {
				return true
			}
		}
		return s.age.stale(now)
	}
}

// current gives the status that describes the sources, and the one that has further
// losses; each may be nil.
func (s *status) current() (state, more *eventpb.Status) {
	switch {
	case s.ledger == nil:
		return s.last.Load(), nil
	case s.remote:
		return s.last.Load(), s.ledger.Status()
	default:
		return s.ledger.Status(), nil
	}
}

// describe lists what collect exports.
func (s *status) describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		s.sourceUp, s.attempts, s.failures, s.lost, s.queueEvents, s.queueBytes, s.queueCapacity,
		s.tracepointUp, s.tracepointHits, s.tracepointDefects,
		s.nodeUp, s.nodeInfo, s.nodeStart, s.restarts, s.replacement, s.inboundCapacity,
		s.clockKept, s.clockOffset, s.clockError, s.clockMaxError,
	} {
		ch <- d
	}
}

// collect exports the state at a time in UNIX nanoseconds.
func (s *status) collect(now int64, ch chan<- prometheus.Metric) {
	state, more := s.current()
	// An agent that has fallen silent sees nothing, whatever it said last.
	silent := (s.ledger == nil || s.remote) && s.age.stale(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == nil {
		s.collectLosses(ch, nil, more)
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	seen := map[string]bool{}
	for _, source := range state.GetSources() {
		name := source.GetSource()
		if !slices.Contains(nodeSources(), name) || seen[name] {
			continue
		}
		seen[name] = true
		gauge(s.sourceUp, boolean(source.GetUp() && !silent), name)
		counter(s.attempts, source.GetAttempts(), name)
		counter(s.failures, source.GetFailures(), name)
	}
	s.collectLosses(ch, state, more)
	if silent {
		gauge(s.nodeUp, 0)
		return
	}
	clear(seen)
	for _, q := range append(state.GetQueues(), more.GetQueues()...) {
		name := q.GetSink()
		if seen[name] || !admit(s.queues, name, maxQueues) {
			continue
		}
		seen[name] = true
		gauge(s.queueEvents, float64(q.GetEvents()), name)
		gauge(s.queueBytes, float64(q.GetBytes()), name)
		gauge(s.queueCapacity, float64(q.GetCapacityBytes()), name)
	}
	clear(seen)
	for _, t := range state.GetTracepoints() {
		name := t.GetName()
		if seen[name] || !admit(s.tracepoints, name, maxTracepoints) {
			continue
		}
		seen[name] = true
		gauge(s.tracepointUp, boolean(t.GetAttached()), name)
		counter(s.tracepointHits, t.GetRecords(), name, "recorded")
		if t.GetFiltered() > 0 {
			counter(s.tracepointHits, t.GetFiltered(), name, "filtered")
		}
		counter(s.tracepointHits, t.GetLost(), name, "lost")
		for i, n := range []uint64{
			t.GetPayloadShed(), t.GetPayloadTruncated(), t.GetPayloadFaults(), t.GetArgumentFaults(), t.GetStringsCut(),
		} {
			if n > 0 {
				counter(s.tracepointDefects, n, name, statusLabel("defect")[i])
			}
		}
	}
	if c := state.GetHostClock(); c != nil {
		gauge(s.clockKept, boolean(c.GetSynchronized()))
		gauge(s.clockOffset, float64(c.GetOffsetNs())/1e9)
		gauge(s.clockError, float64(c.GetEstimatedErrorNs())/1e9)
		gauge(s.clockMaxError, float64(c.GetMaxErrorNs())/1e9)
	}
	gauge(s.nodeUp, boolean(state.GetNode() != nil))
	if n := state.GetNode(); n != nil {
		gauge(s.nodeInfo, 1, oneOf(n.GetChain(), statusLabel("chain")))
		gauge(s.nodeStart, float64(n.GetStartTimeNs())/1e9)
		counter(s.restarts, n.GetRestarts())
		counter(s.replacement, n.GetReplacements())
		if n.InboundCapacity != nil {
			gauge(s.inboundCapacity, float64(n.GetInboundCapacity()))
		}
	}
}

// collectLosses adds up the losses of both and bounds what they name.
func (s *status) collectLosses(ch chan<- prometheus.Metric, state, more *eventpb.Status) {
	sums := map[lossKey]uint64{}
	for _, st := range []*eventpb.Status{state, more} {
		for _, l := range st.GetLosses() {
			key := lossKey{l.GetSource(), oneOf(l.GetStage(), statusLabel("stage")), l.GetReason()}
			if _, err := event.ParseSource(key.source); err != nil {
				key.source = event.SourceUnknown.String()
			}
			if !s.known[key] {
				if len(s.known) >= maxLosses || !presentable(key.reason) {
					key.reason = other
				} else {
					s.known[key] = true
				}
			}
			sums[key] += l.GetCount()
		}
	}
	for key, n := range sums {
		ch <- prometheus.MustNewConstMetric(s.lost, prometheus.CounterValue, float64(n), key.source, key.stage, key.reason)
	}
}

// admit lets the first limit names in.
func admit(known map[string]bool, name string, limit int) bool {
	if known[name] {
		return true
	}
	if len(known) >= limit || !presentable(name) {
		return false
	}
	known[name] = true
	return true
}

// presentable is whether a name from elsewhere may be a label value.
func presentable(name string) bool {
	if name == "" || len(name) > maxLabelText {
		return false
	}
	for _, r := range name {
		if r < ' ' || r > '~' {
			return false
		}
	}
	return true
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// process exports what belongs to a process that serves several nodes and to none of
// them.
type process struct {
	*registry
	*status
	nodesFolded *cell
}

func newProcess(config Config, now func() int64) *process {
	p := &process{registry: newRegistry(now), status: newStatus(config.Ledger, true)}
	nodes := p.bounded("node")
	p.nodesFolded = nodes.overflow
	return p
}

// Describe implements prometheus.Collector.
func (p *process) Describe(ch chan<- *prometheus.Desc) {
	p.registry.Describe(ch)
	p.describe(ch)
}

// Collect implements prometheus.Collector.
func (p *process) Collect(ch chan<- prometheus.Metric) {
	p.registry.Collect(ch)
	p.collect(p.now(), ch)
}

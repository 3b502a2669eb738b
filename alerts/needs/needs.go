// Package needs says what each alert rule needs to see: which metrics make it fire, and
// what they need of the node that is observed. From it the agent finds the rules that are
// blind on its node, and docs/alerts.md its table.
//
// It imports nothing of this project's, so that the rules and the metrics may both use it.
package needs

// Prefixes of what can be needed beside metrics.
const (
	// Debug is in front of a category of the node's log, as -debug has it.
	Debug = "debug:"
	// Tracepoint is in front of provider and name of a tracepoint.
	Tracepoint = "tracepoint:"
	// Field is in front of a method of the node's RPC and a field of its answers that not
	// every version of the node gives.
	Field = "field:"
	// HostClock is a clock of the agent's host that a time service keeps, of which the
	// kernel tells.
	HostClock = "host:clock"
)

// Rule says what the alerts of an id need.
type Rule struct {
	// ID is that of the rule, as in the label id of its alerts.
	ID string
	// Gated says that its alerts hold only while peerobserver:gate_warm has a value.
	Gated bool
	// Ways are the ways in which one of its alerts comes to fire. Each is enough.
	Ways []Way
	// Besides are metrics that its alerts read and don't need to fire: they only keep them
	// silent, or compare.
	Besides []string
}

// Way is one way in which an alert comes to fire. All of it is needed.
type Way struct {
	// Metrics are their names, without "peerobserver_" and without the suffix of a
	// histogram's series.
	Metrics []string
	// Also is what the metrics need of the node that their own definitions don't say:
	// categories of the log, tracepoints and fields, with their prefix, and HostClock.
	Also []string
}

// Gate are the metrics of peerobserver:gate_warm.
func Gate() Way {
	return Way{Metrics: []string{"node_uptime_seconds", "chain_initial_block_download", "node_network_active"}}
}

// by is a way that needs metrics alone.
func by(metrics ...string) Way { return Way{Metrics: metrics} }

// with is the way with something else that it needs.
func (w Way) with(also ...string) Way {
	w.Also = also
	return w
}

// The lines of debug.log of which the rules know the meaning.
const logLines = "log_known_lines_total"

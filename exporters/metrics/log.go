package metrics

import (
	"strings"

	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// logLines counts the lines of debug.log.
type logLines struct {
	lines, bytes    *counters
	category, level *label
	connected       *counters
	checked         *counters
	mutated         *counters
	status          *label
	known           *counters
	template        *label
	// places are the places of the templates that have one.
	places map[eventpb.LogTemplate]int
}

// countedTemplates are the templates that are counted one by one: those that mean
// something when they occur once or often, of the peers, of the chain or of the node
// itself. What is part of everyday life, or is seen better by another source, counts as
// other. Their number is part of the budget of series.
func countedTemplates() []eventpb.LogTemplate {
	return []eventpb.LogTemplate{
		eventpb.LogTemplate_LOG_TEMPLATE_NODE_STARTED,
		eventpb.LogTemplate_LOG_TEMPLATE_SHUTDOWN_STARTED,
		eventpb.LogTemplate_LOG_TEMPLATE_DISK_SPACE_LOW,
		eventpb.LogTemplate_LOG_TEMPLATE_UPDATE_TIP,
		eventpb.LogTemplate_LOG_TEMPLATE_BLOCK_RECONSTRUCTED,
		eventpb.LogTemplate_LOG_TEMPLATE_BLOCK_DISCONNECTED,
		eventpb.LogTemplate_LOG_TEMPLATE_INVALID_CHAIN_FOUND,
		eventpb.LogTemplate_LOG_TEMPLATE_INVALID_CHAIN_CURRENT_BEST,
		eventpb.LogTemplate_LOG_TEMPLATE_LARGE_WORK_INVALID_CHAIN,
		eventpb.LogTemplate_LOG_TEMPLATE_BLOCK_VALIDATION_ERROR,
		eventpb.LogTemplate_LOG_TEMPLATE_ACCEPT_BLOCK_FAILED,
		eventpb.LogTemplate_LOG_TEMPLATE_BLOCK_MUTATED,
		eventpb.LogTemplate_LOG_TEMPLATE_MUTATED_BLOCK_RECEIVED,
		eventpb.LogTemplate_LOG_TEMPLATE_HEADER_REJECTED,
		eventpb.LogTemplate_LOG_TEMPLATE_HEADER_PARENT_UNKNOWN,
		eventpb.LogTemplate_LOG_TEMPLATE_HEADER_PARENT_INVALID,
		eventpb.LogTemplate_LOG_TEMPLATE_HEADER_LOW_WORK,
		eventpb.LogTemplate_LOG_TEMPLATE_LARGE_REORG,
		eventpb.LogTemplate_LOG_TEMPLATE_CHAINSTATE_FLUSH,
		eventpb.LogTemplate_LOG_TEMPLATE_CONNECTION_DROPPED_FULL,
		eventpb.LogTemplate_LOG_TEMPLATE_CONNECTION_DROPPED_BANNED,
		eventpb.LogTemplate_LOG_TEMPLATE_CONNECTION_DROPPED_DISCOURAGED,
		eventpb.LogTemplate_LOG_TEMPLATE_CONNECTION_DROPPED_NOT_ACCEPTING,
		eventpb.LogTemplate_LOG_TEMPLATE_CONNECTION_DROPPED_NON_SELECTABLE,
		eventpb.LogTemplate_LOG_TEMPLATE_ACCEPT_FAILED,
		eventpb.LogTemplate_LOG_TEMPLATE_CONNECTED_TO_SELF,
		eventpb.LogTemplate_LOG_TEMPLATE_STALE_TIP,
		eventpb.LogTemplate_LOG_TEMPLATE_CLOCK_OUT_OF_SYNC,
		eventpb.LogTemplate_LOG_TEMPLATE_VERSION_HANDSHAKE_TIMEOUT,
		eventpb.LogTemplate_LOG_TEMPLATE_PING_TIMEOUT,
		eventpb.LogTemplate_LOG_TEMPLATE_OLD_CHAIN,
		eventpb.LogTemplate_LOG_TEMPLATE_INSUFFICIENT_WORK,
		eventpb.LogTemplate_LOG_TEMPLATE_BLOCK_STALLING,
		eventpb.LogTemplate_LOG_TEMPLATE_BLOCK_TIMEOUT,
		eventpb.LogTemplate_LOG_TEMPLATE_HEADERS_TIMEOUT,
		eventpb.LogTemplate_LOG_TEMPLATE_HEADER_UNREADABLE,
		eventpb.LogTemplate_LOG_TEMPLATE_HEADER_WRONG_MAGIC,
		eventpb.LogTemplate_LOG_TEMPLATE_HEADER_OVERSIZE,
		eventpb.LogTemplate_LOG_TEMPLATE_HEADER_WRONG_CHECKSUM,
		eventpb.LogTemplate_LOG_TEMPLATE_HEADER_WRONG_MESSAGE_TYPE,
		eventpb.LogTemplate_LOG_TEMPLATE_V2_WRONG_MAGIC,
		eventpb.LogTemplate_LOG_TEMPLATE_V2_NO_GARBAGE_TERMINATOR,
		eventpb.LogTemplate_LOG_TEMPLATE_V2_OVERSIZE,
		eventpb.LogTemplate_LOG_TEMPLATE_V2_DECRYPTION_FAILED,
		eventpb.LogTemplate_LOG_TEMPLATE_V2_WRONG_MESSAGE_TYPE,
		eventpb.LogTemplate_LOG_TEMPLATE_DISCOURAGED,
		eventpb.LogTemplate_LOG_TEMPLATE_OLD_BLOCK_REQUEST,
		eventpb.LogTemplate_LOG_TEMPLATE_OLD_HEADER_REQUEST,
		eventpb.LogTemplate_LOG_TEMPLATE_LOW_WORK_CHAIN,
		eventpb.LogTemplate_LOG_TEMPLATE_UNCONNECTING_HEADERS,
		eventpb.LogTemplate_LOG_TEMPLATE_HEADERS_SYNC_ABORTED,
		eventpb.LogTemplate_LOG_TEMPLATE_STALL_STARTED,
		eventpb.LogTemplate_LOG_TEMPLATE_ADDRMAN_COLLISION,
		eventpb.LogTemplate_LOG_TEMPLATE_ADDRMAN_MOVED_TO_TRIED,
		eventpb.LogTemplate_LOG_TEMPLATE_ADDRMAN_REPLACED_UNTESTED,
		eventpb.LogTemplate_LOG_TEMPLATE_TX_TIMEOUT,
		eventpb.LogTemplate_LOG_TEMPLATE_ORPHANAGE_OVERFLOW,
		eventpb.LogTemplate_LOG_TEMPLATE_LOGGING_SUPPRESSED,
		eventpb.LogTemplate_LOG_TEMPLATE_LOGGING_RESUMED,
	}
}

// templateLabel makes the label of the templates.
func templateLabel() (*label, map[eventpb.LogTemplate]int) {
	counted := countedTemplates()
	places := make(map[eventpb.LogTemplate]int, len(counted))
	names := make([]string, 0, len(counted)+1)
	for i, t := range counted {
		places[t] = i
		names = append(names, labelName(t.String(), "LOG_TEMPLATE_"))
	}
	return closedLabel("template", append(names, other)...), places
}

func newLogLines(r *registry) *logLines {
	g := &logLines{}
	var categories []string
	for i := range int32(len(eventpb.LogDebugCategory_name)) {
		name := labelName(eventpb.LogDebugCategory(i).String(), "LOG_DEBUG_CATEGORY_")
		if name == "unknown" {
			// Lines without a category, which are most lines of a node without -debug.
			name = "none"
		}
		categories = append(categories, name)
	}
	g.category = r.bounded("category", categories...)
	g.level = closedLabel("level", "info", "warning", "error", "debug", "trace")
	const lines = "log.*"
	g.lines = r.sparseCounter(spec{
		name: "log_lines_total", events: lines, unit: "lines",
		help: "Lines of debug.log by category and level.",
	}, g.category, g.level)
	g.bytes = r.sparseCounter(spec{
		name: "log_bytes_total", events: lines, unit: "bytes",
		help: "Size of the lines of debug.log.",
	}, g.category, g.level)
	g.bytes.with = g.lines
	for level := range 3 {
		g.lines.at2(0, level).shown = true
	}
	g.connected = r.counter(spec{
		name: "log_block_connected_total", events: "log.block_connected", unit: "lines",
		help: "Lines that say that a block was connected, one a block: that the node queues this news for its own parts isn't counted.",
	})
	g.checked = r.counter(spec{
		name: "log_block_checked_total", events: "log.block_checked", unit: "lines",
		help: "Lines that give the result of the check of a block.",
	})
	g.status = r.bounded("status", mutatedStates()...)
	g.mutated = r.counter(spec{
		name: "log_mutated_blocks_total", events: "log.block_checked, log.known", unit: "lines",
		help: "Blocks whose check says that they were mutated on their way, by state.",
	}, g.status)
	g.template, g.places = templateLabel()
	g.known = r.counter(spec{
		name: "log_known_lines_total", events: "log.known", unit: "lines",
		help: "Lines of debug.log with a known meaning, by template; those of everyday life are other. A line that says that news is queued within the node isn't counted, only the news itself.",
	}, g.template)
	return g
}

// mutatedStates are the results of CheckMerkleRoot and CheckWitnessMalleation in
// validation.cpp, which blame the one who relayed the block and not its miner.
func mutatedStates() []string {
	return []string{"bad-txnmrklroot", "bad-txns-duplicate", "bad-witness-nonce-size", "bad-witness-merkle-match", "unexpected-witness"}
}

func (g *logLines) handle(l *eventpb.LogExtractor) {
	category := int(l.GetCategory())
	if category < 0 || category >= g.category.rest || (category == 0 && l.GetCategoryName() != "") {
		category = g.category.unknown("")
	}
	level := int(l.GetLogLevel())
	if level < 0 || level >= g.level.size() {
		level = 0
	}
	g.lines.inc2(category, level)
	g.bytes.at2(category, level).add(l.GetLogLineBytes())
	switch body := l.GetLogEvent().(type) {
	case *eventpb.LogExtractor_BlockConnectedLog:
		if !body.BlockConnectedLog.GetEnqueuing() {
			g.connected.add(1)
		}
	case *eventpb.LogExtractor_BlockCheckedLog:
		g.checked.add(1)
		g.countMutated(body.BlockCheckedLog.GetState())
	case *eventpb.LogExtractor_KnownLogMessage:
		if body.KnownLogMessage.GetEnqueuing() {
			return
		}
		if body.KnownLogMessage.GetTemplate() == eventpb.LogTemplate_LOG_TEMPLATE_BLOCK_MUTATED {
			// What ValidationState::ToString gives: the state, and often what else is known.
			state, _, _ := strings.Cut(body.KnownLogMessage.GetReason(), ",")
			g.countMutated(state)
		}
		template, ok := g.places[body.KnownLogMessage.GetTemplate()]
		if !ok {
			template = g.template.size() - 1
		}
		g.known.inc(template)
	}
}

// countMutated counts a block by the state that its check gave: nodes since Bitcoin Core 27
// look for a mutation before they check anything else (IsBlockMutated in validation.cpp) and
// log it in a line of its own, older ones log the result of the whole check.
func (g *logLines) countMutated(state string) {
	if g.status.has(state) {
		g.mutated.inc(g.status.of(state))
	}
}

package metrics

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/peerobserver/peerobserver/alerts/needs"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
	"github.com/peerobserver/peerobserver/proto/field"
)

const (
	// sightGrace is how long after the first event nothing is said to be missing that
	// has not had the time to come: an answer to the first polls, a line of the log.
	sightGrace = 30 * time.Second
	// unloggedMessages is after how many messages without a line of category net that
	// category is taken for off: with it the node writes a line for every message.
	unloggedMessages = 50
	// gateMemory is how long peerobserver:gate_warm holds on the last known values.
	gateMemory = time.Hour
)

// sight finds the alert rules that are blind on the node: what they need, as the package
// needs says, and the node or the agent doesn't give.
type sight struct {
	status *status
	events *events
	desc   *prometheus.Desc
	rules  []ruleSight

	// began is the time of the first event in UNIX nanoseconds.
	began atomic.Int64
	// answers are the ages of the answers over RPC by kind.
	answers map[event.Kind]*age
	// netMessages is how many messages there had been at the last line of category net,
	// netLine the time of the last one.
	netMessages atomic.Uint64
	netLine     atomic.Int64
	// lacking are the fields that not every node gives: whether the last answer that could
	// have had one did not.
	lacking map[string]*atomic.Bool
}

// ruleSight is a rule with what each of its ways needs.
type ruleSight struct {
	id    string
	gated bool
	ways  [][]need
}

// need is something that the node and the agent have to give.
type need struct {
	// reason names it in the label, such as "rpc:getorphantxs".
	reason string
	source event.Source
	// kind is that of an answer over RPC, KindUnknown otherwise.
	kind event.Kind
	// tracepoint is its name, empty for none.
	tracepoint string
	// category is that of the node's log, empty for none.
	category string
	// field is a field of the answers over RPC, empty for none.
	field string
	// clock is whether it is the host's clock.
	clock bool
}

func newSight(r *registry, s *status, ev *events) *sight {
	b := &sight{status: s, events: ev, answers: map[event.Kind]*age{}, lacking: map[string]*atomic.Bool{}}
	d := Definition{
		Name: prefix + "alert_rule_blind", Type: "gauge", Events: "all", Unit: "1 or 0",
		Help: "1 for an alert rule that can't see on this node, with the reason; 0 when the reason takes away one of several ways in which the rule sees. " +
			"Absent when nothing is missing.",
		Labels: []LabelDefinition{{Name: "id"}, {Name: "reason"}},
	}
	b.desc = prometheus.NewDesc(d.Name, d.Help, []string{"id", "reason"}, nil)
	s.definitions = append(s.definitions, d)
	for k := event.KindUnknown + 1; k < event.KindCount; k++ {
		if k.Source() == event.SourceRPC {
			b.answers[k] = polled(nil)
		}
	}
	kinds := map[string]string{}
	for _, d := range slices.Concat(r.definitions, s.definitions) {
		kinds[d.Name] = d.Events
	}
	for _, rule := range needs.Rules() {
		sees := ruleSight{id: rule.ID, gated: rule.Gated}
		for _, way := range rule.Ways {
			list := needsOf(way, kinds)
			sees.ways = append(sees.ways, list)
			for _, n := range list {
				if n.field != "" {
					b.lacking[n.field] = new(atomic.Bool)
				}
			}
		}
		b.rules = append(b.rules, sees)
	}
	return b
}

// RuleNeeds says what an alert rule needs of the node and the agent.
type RuleNeeds struct {
	ID string
	// Ways are the ways in which it sees, each with the needs that are named in the label
	// reason; an empty one needs nothing.
	Ways [][]string
}

// NeedsOfRules lists the alert rules by id with what they need.
func NeedsOfRules() []RuleNeeds {
	config := Config{}
	if err := config.validate(); err != nil {
		return nil
	}
	var list []RuleNeeds
	for _, rule := range newNode(config, func() int64 { return 0 }).sight.rules {
		n := RuleNeeds{ID: rule.id}
		for _, way := range rule.ways {
			reasons := []string{}
			for _, need := range way {
				reasons = append(reasons, need.reason)
			}
			n.Ways = append(n.Ways, reasons)
		}
		list = append(list, n)
	}
	return list
}

// needsOf gives what a way needs; kinds are the kinds of events behind each metric.
func needsOf(way needs.Way, kinds map[string]string) []need {
	var list []need
	add := func(n need) {
		if n.reason != "" && !slices.Contains(list, n) {
			list = append(list, n)
		}
	}
	for _, metric := range way.Metrics {
		// Of several kinds of one source each gives series of its own, by direction, and
		// rules are about the first.
		seen := map[event.Source]bool{}
		for token := range strings.SplitSeq(kinds[prefix+metric], ", ") {
			if n := needNamed(token); !seen[n.source] {
				seen[n.source] = true
				add(n)
			}
		}
	}
	for _, also := range way.Also {
		if name, ok := strings.CutPrefix(also, needs.Tracepoint); ok {
			add(need{reason: also, source: event.SourceEBPF, tracepoint: name})
		}
		if name, ok := strings.CutPrefix(also, needs.Debug); ok {
			add(need{reason: also, source: event.SourceLog, category: name})
		}
		if name, ok := strings.CutPrefix(also, needs.Field); ok {
			add(need{reason: also, source: event.SourceRPC, field: name})
		}
		if also == needs.HostClock {
			add(need{reason: also, source: event.SourceObserver, clock: true})
		}
	}
	return list
}

// needNamed gives what the events of a metric's definition need. Events of the observer
// itself, or of any source, need nothing.
func needNamed(token string) need {
	if name, ok := strings.CutSuffix(token, ".*"); ok {
		if source, err := event.ParseSource(name); err == nil {
			return need{reason: "source:" + name, source: source}
		}
		return need{}
	}
	for k := event.KindUnknown + 1; k < event.KindCount; k++ {
		if k.String() != token {
			continue
		}
		switch source := k.Source(); {
		case tracepointOf(k) != "":
			return need{reason: needs.Tracepoint + tracepointOf(k), source: source, tracepoint: tracepointOf(k)}
		case source == event.SourceRPC:
			return need{reason: "rpc:" + methodOf(k), source: source, kind: k}
		case source != event.SourceObserver:
			return need{reason: "source:" + source.String(), source: source}
		}
	}
	return need{}
}

// tracepointOf is the tracepoint that events of a kind come from. Messages are taken for
// those that the node receives.
func tracepointOf(k event.Kind) string {
	switch k {
	case event.KindMessage:
		return "net:inbound_message"
	case event.KindConnectionClosed:
		return "net:closed_connection"
	case event.KindConnectionInboundEvicted:
		return "net:evicted_inbound_connection"
	case event.KindConnectionInbound:
		return "net:inbound_connection"
	case event.KindConnectionOutbound:
		return "net:outbound_connection"
	case event.KindConnectionMisbehaving:
		return "net:misbehaving_connection"
	case event.KindMempoolAdded:
		return "mempool:added"
	case event.KindMempoolReplaced:
		return "mempool:replaced"
	case event.KindMempoolRemoved:
		return "mempool:removed"
	case event.KindMempoolRejected:
		return "mempool:rejected"
	case event.KindValidationBlockConnected:
		return "validation:block_connected"
	default:
		return ""
	}
}

// methodOf is the method of the node that gives answers of a kind.
func methodOf(k event.Kind) string {
	switch k {
	case event.KindRPCPeerInfos:
		return "getpeerinfo"
	case event.KindRPCMempoolInfo:
		return "getmempoolinfo"
	case event.KindRPCUptime:
		return "uptime"
	case event.KindRPCNetTotals:
		return "getnettotals"
	case event.KindRPCMemoryInfo:
		return "getmemoryinfo"
	case event.KindRPCAddrmanInfo:
		return "getaddrmaninfo"
	case event.KindRPCChainTxStats:
		return "getchaintxstats"
	case event.KindRPCNetworkInfo:
		return "getnetworkinfo"
	case event.KindRPCBlockchainInfo:
		return "getblockchaininfo"
	case event.KindRPCOrphanTxs:
		return "getorphantxs"
	case event.KindRPCAddrman:
		return "getrawaddrman"
	case event.KindRPCEstimateSmartFee:
		return "estimatesmartfee"
	case event.KindRPCChainTips:
		return "getchaintips"
	case event.KindRPCBannedList:
		return "listbanned"
	default:
		return "unknown"
	}
}

// begin notes an event that is handled at a time in UNIX nanoseconds.
func (b *sight) begin(now int64) {
	if b.began.Load() == 0 {
		b.began.Store(now)
	}
}

// answered notes an answer over RPC of a kind, of a time in UNIX nanoseconds.
func (b *sight) answered(k event.Kind, at int64) {
	if a := b.answers[k]; a != nil {
		a.touch(at)
	}
}

// The fields that not every node gives.
const (
	fieldInvToSend  = "getpeerinfo:inv_to_send"
	fieldInvBuckets = "getnetworkinfo:inv_buckets"
)

// gave notes whether an answer had a field that not every node gives.
func (b *sight) gave(name string, there bool) {
	if lacking := b.lacking[name]; lacking != nil {
		lacking.Store(!there)
	}
}

// peerInfos notes what an answer of getpeerinfo has. Of peers without transactions a node
// that knows the field may say nothing.
func (b *sight) peerInfos(infos []*eventpb.PeerInfo) {
	for _, info := range infos {
		if info.GetRelayTransactions() {
			b.gave(fieldInvToSend, !absentFields(info.GetAbsentFields()).has(field.PeerInfoInvToSend))
			return
		}
	}
}

// networkInfo notes what an answer of getnetworkinfo has.
func (b *sight) networkInfo(info *eventpb.NetworkInfo) {
	_, there := info.GetOtherNumbers()["inv_buckets.inbound.backlog"]
	b.gave(fieldInvBuckets, there)
}

// line notes a line of the node's log. Warnings and errors are written without -debug too.
func (b *sight) line(l *eventpb.LogExtractor, at int64) {
	if l.GetCategory() != eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_NET ||
		l.GetLogLevel() == eventpb.LogLevel_LOG_LEVEL_WARNING || l.GetLogLevel() == eventpb.LogLevel_LOG_LEVEL_ERROR {
		return
	}
	b.netLine.Store(at)
	b.netMessages.Store(b.messages())
}

// messages counts the messages of which the node's log has a line with -debug=net.
func (b *sight) messages() uint64 { return b.events.byKind[event.KindMessage].n.Load() }

// without is what the node or the agent doesn't give, as far as it is known.
type without struct {
	sources map[event.Source]bool
	// attached are the tracepoints that a probe is attached to, nil when none is known of.
	attached map[string]bool
	// starting: it is too early to miss an answer or a line.
	starting bool
	net      bool
	// clock: no time service keeps the host's clock, or the kernel doesn't tell.
	clock bool
}

func (b *sight) without(st *eventpb.Status, silent bool, now int64) without {
	w := without{sources: map[event.Source]bool{}}
	for _, source := range []event.Source{event.SourceEBPF, event.SourceRPC, event.SourceP2P, event.SourceLog} {
		w.sources[source] = silent || !slices.ContainsFunc(st.GetSources(), func(s *eventpb.SourceStatus) bool {
			return s.GetSource() == source.String() && s.GetUp()
		})
	}
	// Those that are switched off aren't listed.
	if list := st.GetTracepoints(); len(list) > 0 {
		w.attached = map[string]bool{}
		for _, t := range list {
			w.attached[t.GetName()] = t.GetAttached()
		}
	}
	w.clock = silent || !st.GetHostClock().GetSynchronized()
	began := b.began.Load()
	w.starting = began == 0 || now-began < int64(sightGrace)
	w.net = !w.starting && now-b.netLine.Load() >= int64(sightGrace) && b.messages()-min(b.messages(), b.netMessages.Load()) >= unloggedMessages
	return w
}

// missing gives the reason why a need isn't met, empty when it is.
func (b *sight) missing(n need, w without, now int64) string {
	switch {
	case w.sources[n.source]:
		return "source:" + n.source.String()
	case n.tracepoint != "" && w.attached != nil && !w.attached[n.tracepoint]:
		return n.reason
	case n.kind != event.KindUnknown && !w.starting && !b.answers[n.kind].fresh(now):
		return n.reason
	case n.category == "net" && w.net:
		return n.reason
	case n.field != "" && b.lacking[n.field].Load():
		return n.reason
	case n.clock && w.clock:
		return n.reason
	default:
		return ""
	}
}

// closed gives the reasons why the gate is closed for want of answers.
func (b *sight) closed(w without, now int64) []string {
	var reasons []string
	for _, k := range []event.Kind{event.KindRPCUptime, event.KindRPCBlockchainInfo, event.KindRPCNetworkInfo} {
		last := b.answers[k].last.Load()
		switch {
		case w.starting || (last != 0 && now-last < int64(gateMemory)):
		case w.sources[event.SourceRPC]:
			return []string{"source:" + event.SourceRPC.String()}
		default:
			reasons = append(reasons, "rpc:"+methodOf(k))
		}
	}
	return reasons
}

// collect exports what is known at a time in UNIX nanoseconds.
func (b *sight) collect(now int64, ch chan<- prometheus.Metric) {
	st, _ := b.status.current()
	if st == nil {
		return
	}
	silent := (b.status.ledger == nil || b.status.remote) && b.status.age.stale(now)
	w := b.without(st, silent, now)
	gate := b.closed(w, now)
	for _, rule := range b.rules {
		reasons := map[string]bool{}
		blind := true
		for _, way := range rule.ways {
			sees := true
			for _, n := range way {
				if reason := b.missing(n, w, now); reason != "" {
					reasons[reason] = true
					sees = false
				}
			}
			blind = blind && !sees
		}
		if rule.gated && len(gate) > 0 {
			blind = true
			for _, reason := range gate {
				reasons[reason] = true
			}
		}
		for reason := range reasons {
			ch <- prometheus.MustNewConstMetric(b.desc, prometheus.GaugeValue, boolean(blind), rule.id, reason)
		}
	}
}

package metrics_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/metrics"
	"github.com/peerobserver/peerobserver/proto/eventpb"
	"github.com/peerobserver/peerobserver/proto/field"
)

// blind gives the series of alert_rule_blind.
func (r *rig) blind() map[string]float64 {
	r.t.Helper()
	found := map[string]float64{}
	for name, value := range gather(r.t, r.sink.Registry()) {
		if labels, ok := strings.CutPrefix(name, "peerobserver_alert_rule_blind"); ok {
			found[labels] = value
		}
	}
	return found
}

// wantBlind checks some of the series; a value below zero stands for none.
func (r *rig) wantBlind(when string, want map[string]float64) {
	r.t.Helper()
	got := r.blind()
	for labels, value := range want {
		if v, ok := got[labels]; ok != (value >= 0) || (ok && v != value) {
			r.t.Errorf("%s: alert_rule_blind%s is %v (there: %t), want %v", when, labels, v, ok, value)
		}
	}
}

func TestBlindRules(t *testing.T) {
	const none = -1.0
	r := newRig(t, metrics.Config{})
	if got := r.blind(); len(got) != 0 {
		t.Errorf("before anything is known: %v", got)
	}
	st := &eventpb.Status{Node: &eventpb.NodeStatus{Chain: proto.String("main")}}
	for _, name := range []string{"ebpf", "rpc", "p2p", "log"} {
		st.Sources = append(st.Sources, &eventpb.SourceStatus{Source: proto.String(name), Up: proto.Bool(true)})
	}
	// The first is missing in the node's program; one that is switched off isn't listed.
	for _, name := range []string{
		"net:misbehaving_connection", "net:inbound_message", "net:outbound_message", "net:inbound_connection", "net:evicted_inbound_connection",
		"net:closed_connection", "mempool:added", "mempool:removed", "mempool:replaced", "validation:block_connected",
	} {
		st.Tracepoints = append(st.Tracepoints, &eventpb.TracepointStatus{Name: proto.String(name), Attached: proto.Bool(name != "net:misbehaving_connection")})
	}
	r.status(st)
	r.wantBlind("in the beginning", map[string]float64{
		`{id="C06",reason="tracepoint:net:misbehaving_connection"}`: 1,
		`{id="F05",reason="tracepoint:net:misbehaving_connection"}`: 1,
		`{id="H04",reason="tracepoint:mempool:rejected"}`:           1,
		`{id="B06",reason="tracepoint:mempool:rejected"}`:           0,
		`{id="B06",reason="rpc:getorphantxs"}`:                      none,
		`{id="B11",reason="debug:net"}`:                             none,
		`{id="B03",reason="tracepoint:net:inbound_message"}`:        none,
	})
	polls := func() {
		r.status(st)
		r.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_Uptime{Uptime: 9000}})
		r.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_BlockchainInfo{BlockchainInfo: &eventpb.BlockchainInfo{}}})
		r.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_NetworkInfo{NetworkInfo: &eventpb.NetworkInfo{}}})
		r.peerInfos()
	}
	polls()
	for range 60 {
		r.message(alice, true, "ping", 8, nil)
	}
	r.after(31 * time.Second)
	polls()
	r.wantBlind("without getorphantxs and debug=net", map[string]float64{
		`{id="B06",reason="rpc:getorphantxs"}`: 0, // it has other ways
		`{id="G02",reason="rpc:getchaintips"}`: 1,
		`{id="A14",reason="rpc:getpeerinfo"}`:  none,
		`{id="B11",reason="debug:net"}`:        0,
		`{id="C05",reason="debug:net"}`:        none,
		`{id="I04",reason="source:log"}`:       none,
	})
	// A warning is written whatever -debug says, other lines only with debug=net.
	line := &eventpb.LogExtractor{Category: eventpb.LogDebugCategory_LOG_DEBUG_CATEGORY_NET.Enum(), LogLevel: eventpb.LogLevel_LOG_LEVEL_WARNING.Enum(),
		LogEvent: &eventpb.LogExtractor_UnknownLogMessage{UnknownLogMessage: &eventpb.UnknownLogMessage{}}}
	r.log(line)
	r.wantBlind("after a warning", map[string]float64{`{id="B11",reason="debug:net"}`: 0})
	line.LogLevel = eventpb.LogLevel_LOG_LEVEL_DEBUG.Enum()
	r.log(line)
	r.wantBlind("after a line of debug=net", map[string]float64{`{id="B11",reason="debug:net"}`: none})

	// With the tracepoints' source down, one reason says it all.
	st.Sources[0].Up = proto.Bool(false)
	r.status(st)
	r.wantBlind("without ebpf", map[string]float64{
		`{id="C06",reason="source:ebpf"}`:                           1,
		`{id="C06",reason="tracepoint:net:misbehaving_connection"}`: none,
		`{id="B06",reason="source:ebpf"}`:                           0,
		`{id="G02",reason="source:ebpf"}`:                           none,
	})
	// Without RPC the gate holds for an hour; what asks for it is blind then.
	st.Sources[0].Up, st.Sources[1].Up = proto.Bool(true), proto.Bool(false)
	st.Tracepoints[0].Attached = proto.Bool(true)
	r.after(time.Minute).status(st)
	r.wantBlind("a minute without RPC", map[string]float64{
		`{id="A14",reason="source:rpc"}`: 1, `{id="C06",reason="source:rpc"}`: none, `{id="G01",reason="source:rpc"}`: none,
	})
	for range 61 {
		r.after(time.Minute).status(st)
	}
	r.wantBlind("an hour without RPC", map[string]float64{
		`{id="A14",reason="source:rpc"}`: 1, `{id="C06",reason="source:rpc"}`: 1, `{id="G01",reason="source:rpc"}`: none,
	})
	// A source that is switched off isn't in the list.
	st.Sources = st.Sources[:1]
	r.status(st)
	r.wantBlind("without a log", map[string]float64{`{id="C05",reason="source:log"}`: 1, `{id="B01",reason="source:p2p"}`: 1})
	// An agent that has fallen silent sees nothing.
	r.after(10 * time.Minute)
	r.wantBlind("with a silent agent", map[string]float64{`{id="G01",reason="source:ebpf"}`: 1, `{id="I04",reason="source:ebpf"}`: none})
}

// A node answers, and its answers have no such field: its version has another one, or none.
func TestBlindForWantOfFields(t *testing.T) {
	const none = -1.0
	r := newRig(t, metrics.Config{})
	r.status(&eventpb.Status{Sources: []*eventpb.SourceStatus{{Source: proto.String("rpc"), Up: proto.Bool(true)}}})
	answer := func(old bool, buckets map[string]float64, relays bool) {
		r.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_Uptime{Uptime: 9000}})
		r.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_BlockchainInfo{BlockchainInfo: &eventpb.BlockchainInfo{}}})
		r.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_NetworkInfo{NetworkInfo: &eventpb.NetworkInfo{OtherNumbers: buckets}}})
		info := &eventpb.PeerInfo{RelayTransactions: proto.Bool(relays), InvToSend: proto.Uint64(0)}
		if old {
			info.AbsentFields = []uint32{uint32(field.PeerInfoInvToSend)}
		}
		r.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_PeerInfos{PeerInfos: &eventpb.PeerInfos{Infos: []*eventpb.PeerInfo{info}}}})
	}
	is := func(when string, blind, lists, buckets float64) {
		t.Helper()
		r.wantBlind(when, map[string]float64{
			`{id="B02",reason="field:getpeerinfo:inv_to_send"}`: lists, `{id="B02",reason="field:getnetworkinfo:inv_buckets"}`: buckets,
			`{id="A14",reason="field:getpeerinfo:inv_to_send"}`: none,
		})
		if got := max(r.blind()[`{id="B02",reason="field:getpeerinfo:inv_to_send"}`], r.blind()[`{id="B02",reason="field:getnetworkinfo:inv_buckets"}`]); got != blind {
			t.Errorf("%s: B02 is blind: %v, want %v", when, got, blind)
		}
	}
	is("before any answer", 0, none, none)
	answer(false, nil, true)
	is("with a list for each peer", 0, none, 0)
	answer(true, map[string]float64{"inv_buckets.inbound.backlog": 3}, true)
	is("with a list for all", 0, 0, none)
	answer(true, nil, true)
	is("with neither", 1, 1, 1)
	answer(true, nil, false)
	is("with neither, and no peer with transactions", 1, 1, 1)
	answer(false, nil, true)
	is("after an update", 0, none, 0)
}

// A clock that nobody keeps, and one of which the kernel doesn't tell, say nothing of its error.
func TestBlindForWantOfClock(t *testing.T) {
	r := newRig(t, metrics.Config{})
	st := &eventpb.Status{HostClock: &eventpb.HostClock{Synchronized: proto.Bool(true)}}
	for _, test := range []struct {
		when  string
		clock *eventpb.HostClock
		want  float64
	}{
		{"with a time service", &eventpb.HostClock{Synchronized: proto.Bool(true)}, -1},
		{"without a time service", &eventpb.HostClock{Synchronized: proto.Bool(false)}, 1},
		{"without an answer of the kernel", nil, 1},
	} {
		st.HostClock = test.clock
		r.status(st)
		// The tracepoints' source is off, so that the other way doesn't see either.
		r.wantBlind(test.when, map[string]float64{`{id="I07",reason="host:clock"}`: test.want})
	}
	st.Sources = []*eventpb.SourceStatus{{Source: proto.String("ebpf"), Up: proto.Bool(true)}}
	r.status(st)
	r.wantBlind("with the peers' clocks", map[string]float64{`{id="I07",reason="host:clock"}`: 0})
}

// Every rule needs something that is known, or nothing because the agent itself tells.
func TestNeedsOfRulesAreKnown(t *testing.T) {
	itself := map[string]bool{"I01": true, "I04": true, "I05": true}
	for _, rule := range metrics.NeedsOfRules() {
		for _, way := range rule.Ways {
			if len(way) == 0 && !itself[rule.ID] {
				t.Errorf("%s: a way needs nothing that is known, so that the rule never counts as blind; if its metrics are the agent's own, add it to this test", rule.ID)
			}
			for _, reason := range way {
				if strings.Contains(reason, "unknown") {
					t.Errorf("%s: needs %s", rule.ID, reason)
				}
			}
		}
	}
}

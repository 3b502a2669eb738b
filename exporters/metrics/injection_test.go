package metrics_test

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/metrics"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// injections are texts that would do harm if they became part of a series: they end a label
// or a line, take a name that means something, or are no text at all.
func injections() []string {
	return []string{
		`x"} 1`, "x\npeerobserver_node_up 0\n", `\`, `\"`, "{", "}", ",instance=\"y\"", "__name__", "le", "\x00", "\u2028", "\u202e", "😀", " ", "", "NaN", "+Inf", "other",
		"page", "# EOF", `$1`, "{{ $value }}", "%s%n", strings.Repeat("a", 70_000), "ping ", "PING", "ping\x00", "addr\u200b",
	}
}

// Whatever text a peer sends, or somebody who may publish, the page is well-formed, has the
// metrics that it has without them, and label values from the lists only.
func TestLabelInjection(t *testing.T) {
	r := newRig(t, metrics.Config{Remote: true, NodeLabel: true})
	r.normalLife(1)
	list := injections()
	for i, text := range list {
		p := alice
		p.id = uint64(1000 + i)
		r.after(time.Millisecond).open(p)
		r.message(p, true, "version", 120, version(text))
		r.message(p, true, text, 8, nil)
		r.misbehaving(p, text)
		r.mempool(&eventpb.MempoolEvent{Event: &eventpb.MempoolEvent_Rejected{Rejected: &eventpb.Rejected{Txid: hash("t", i), Reason: proto.String(text)}}})
		r.mempool(&eventpb.MempoolEvent{Event: &eventpb.MempoolEvent_Removed{Removed: &eventpb.Removed{Txid: hash("t", i), Reason: proto.String(text)}}})
		r.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_PeerInfos{PeerInfos: &eventpb.PeerInfos{Infos: []*eventpb.PeerInfo{{
			Id: proto.Uint32(uint32(p.id)), Address: proto.String(text), Subversion: proto.String(text), Network: proto.String(text), ConnectionType: proto.String(text),
			BytesReceivedPerMessage: map[string]uint64{text: 1}, TransportProtocolType: proto.String(text),
		}}}}})
		r.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_ChainTips{ChainTips: &eventpb.ChainTips{Tips: []*eventpb.ChainTip{{Status: proto.String(text)}}}}})
		r.other(event.SourceObserver, event.KindObserverStatus.Subject(), &eventpb.Event{PeerObserverEvent: &eventpb.Event_Observer{Observer: &eventpb.Observer{
			ObserverEvent: &eventpb.Observer_Status{Status: &eventpb.Status{
				Version: proto.String(text), Node: &eventpb.NodeStatus{Chain: proto.String(text), Version: proto.String(text)},
				Losses:      []*eventpb.Loss{{Source: proto.String(text), Stage: proto.String(text), Reason: proto.String(text), Count: proto.Uint64(1)}},
				Queues:      []*eventpb.QueueStatus{{Sink: proto.String(text)}},
				Tracepoints: []*eventpb.TracepointStatus{{Name: proto.String(text)}},
				Sources:     []*eventpb.SourceStatus{{Source: proto.String(text)}},
			}}}}})
		r.close(p, r.now)
	}
	families, err := r.sink.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var page bytes.Buffer
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&page, family); err != nil {
			t.Fatal(err)
		}
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	parsed, err := parser.TextToMetricFamilies(bytes.NewReader(page.Bytes()))
	if err != nil {
		t.Fatalf("the page is not well-formed: %v", err)
	}
	known := map[string]map[string]metrics.LabelDefinition{}
	for _, d := range metrics.Definitions() {
		known[d.Name] = map[string]metrics.LabelDefinition{}
		for _, l := range d.Labels {
			known[d.Name][l.Name] = l
		}
	}
	if len(parsed) != len(families) {
		t.Errorf("%d metrics are written, %d are read", len(families), len(parsed))
	}
	folded, plain := 0.0, regexp.MustCompile(`^[A-Z]\d\d$|^[a-z0-9_]+(:[a-z0-9_]+)*$`)
	for name, family := range parsed {
		labels, ok := known[name]
		if !ok && name != "peerobserver_build_info" {
			t.Errorf("nobody knows the metric %s", name)
		}
		for _, m := range family.GetMetric() {
			for _, pair := range m.GetLabel() {
				l, ok := labels[pair.GetName()]
				switch {
				case pair.GetName() == "node" || name == "peerobserver_build_info":
				case !ok:
					t.Errorf("%s has a label %s", name, pair.GetName())
				case l.Learning && len(pair.GetValue()) > 64:
					t.Errorf("%s: a value of %d bytes", name, len(pair.GetValue()))
				case name == "peerobserver_alert_rule_blind":
					// What rules need is in this program's own table.
					if !plain.MatchString(pair.GetValue()) {
						t.Errorf("%s has %s=%q", name, pair.GetName(), pair.GetValue())
					}
				case !l.Learning && !slices.Contains(l.Values, pair.GetValue()):
					t.Errorf("%s has %s=%q", name, pair.GetName(), pair.GetValue())
				}
			}
			if name == "peerobserver_label_overflow_total" {
				folded += m.GetCounter().GetValue()
			}
		}
	}
	if folded < float64(len(list)) {
		t.Errorf("%v folded values are counted", folded)
	}
}

// Names of nodes come from whoever may publish: the page stays well-formed, and there are as
// many as there may be, the rest is counted.
func TestNodeNames(t *testing.T) {
	sink, err := metrics.New(metrics.Config{NodeLabel: true, Remote: true, MaxNodes: 10})
	if err != nil {
		t.Fatal(err)
	}
	stream := event.NewStream(sink)
	for i, name := range injections() {
		event.NewEmitter(event.SourceRPC, event.Origin{NodeName: name, BootID: uint64(i)}, stream, event.NewLedger()).Emit(&eventpb.Event{
			PeerObserverEvent: &eventpb.Event_RpcExtractor{RpcExtractor: &eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_Uptime{Uptime: 1}}},
		}, event.Times{})
	}
	families, err := sink.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var page bytes.Buffer
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&page, family); err != nil {
			t.Fatal(err)
		}
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	parsed, err := parser.TextToMetricFamilies(&page)
	if err != nil {
		t.Fatalf("the page is not well-formed: %v", err)
	}
	if n := len(parsed["peerobserver_node_uptime_seconds"].GetMetric()); n != 10 {
		t.Errorf("%d nodes, want 10", n)
	}
	folded := 0.0
	for _, m := range parsed["peerobserver_label_overflow_total"].GetMetric() {
		folded += m.GetCounter().GetValue()
	}
	if want := float64(len(injections()) - 10); folded != want {
		t.Errorf("%v nodes are counted as left out, want %v", folded, want)
	}
}

// Nobody can choose values that meet in one place of a sketch, because nobody knows the
// seed: each process has another one.
func TestSeedsDiffer(t *testing.T) {
	estimate := func(config metrics.Config) float64 {
		r := newRig(t, config)
		var list []*eventpb.Address
		for i := range 10_000 {
			list = append(list, ipv4(fmt.Sprintf("%d.%d.%d.8", 1+i>>12, i>>6&63, i&63), r.now, 1))
			if len(list) == 1000 {
				r.message(alice, true, "addrv2", 25*len(list), addrV2(list...))
				list = nil
			}
		}
		r.after(time.Minute).message(alice, true, "ping", 8, nil)
		n := sum(gather(t, r.sink.Registry()), "p2p_addr_unique_hour", "")
		if n < 9_500 || n > 10_500 {
			t.Errorf("%v different addresses, want about 10000", n)
		}
		return n
	}
	seeded := metrics.Config{Seed: seed}
	if a, b := estimate(seeded), estimate(seeded); a != b {
		t.Errorf("with the same seed: %v and %v", a, b)
	}
	different := map[float64]bool{}
	for range 4 {
		different[estimate(metrics.Config{})] = true
	}
	if len(different) < 2 {
		t.Errorf("four processes come to the same estimate: %v", different)
	}
}

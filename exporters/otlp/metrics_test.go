package otlp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/metrics"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// registry is the registry of a metrics sink that has seen some events, whose histograms
// are both classic and native, with a histogram that is only one of the two each.
func registry(t *testing.T) *prometheus.Registry {
	t.Helper()
	ledger := event.NewLedger()
	sink, err := metrics.New(metrics.Config{Ledger: ledger})
	if err != nil {
		t.Fatal(err)
	}
	emitter := event.NewEmitter(event.SourceEBPF, event.Origin{NodeName: "alice", BootID: 1}, event.NewStream(sink), ledger)
	for i := range 20 {
		emitter.Emit(blockConnected(hashOf(byte(i)), int32(i), uint64(i)*10_000_000), event.Times{})
		emitter.Emit(pingMessage(uint64(i)), event.Times{})
	}
	native := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "test_native_seconds", Help: "A native histogram.", NativeHistogramBucketFactor: 1.1,
	})
	for _, v := range []float64{0.001, 0.5, 0.5, 3, -2, 0} {
		native.Observe(v)
	}
	classic := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "test_classic_seconds", Help: "A classic histogram.", Buckets: []float64{0.5, 1, 2},
	})
	for _, v := range []float64{0.001, 0.5, 0.6, 3} {
		classic.(prometheus.ExemplarObserver).ObserveWithExemplar(v, prometheus.Labels{"trace_id": fmt.Sprintf("%032x", int(1000*v))})
	}
	sink.Registry().MustRegister(native, classic)
	return sink.Registry()
}

// The metrics that arrive are those that Prometheus would scrape: the same names, types,
// labels and values. Through our own receiver this tests what is sent; through rotel
// also that somebody else understands it.
func TestMetricsArriveAsScraped(t *testing.T) {
	for _, c := range []struct{ protocol, receiver, form string }{
		{"grpc", ownReceiver, ""},
		{"grpc", "rotel", ""},
		{"grpc", "rotel", histogramExponential},
		{"http/protobuf", ownReceiver, ""},
		{"http/protobuf", ownReceiver, histogramExponential},
		{"http/protobuf", "rotel", histogramExplicit},
	} {
		t.Run(c.protocol+" to "+c.receiver+" "+c.form, func(t *testing.T) { testMetricsArrive(t, c.protocol, c.receiver, c.form) })
	}
}

const ownReceiver = "our own receiver"

func testMetricsArrive(t *testing.T, protocol, receiver, form string) {
	sink := startOwnSink(t)
	grpcAddress, httpAddress := sink.grpcAddress, sink.httpAddress
	if receiver == "rotel" {
		r := startRotel(t, sink)
		grpcAddress, httpAddress = r.grpcAddress, r.httpAddress
	}
	address := httpAddress
	if protocol == "grpc" {
		address = grpcAddress
	}
	ask(t, protocol, address, "OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test", variableHistograms, form)
	scraped := registry(t)
	gathered, err := scraped.Gather()
	if err != nil {
		t.Fatal(err)
	}
	text := new(logs)
	x, err := New(t.Context(), Config{
		NodeName: "alice", Version: "1.2.3",
		// What is sent is what was scraped at this moment.
		Gatherer: prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return gathered, nil }),
	}, event.NewLedger(), text.logger())
	if err != nil {
		t.Fatal(err)
	}
	run(t, x)()
	eventually(t, "the metrics", func() error {
		if received, _ := sink.received(); len(received) == 0 {
			return notYet("%s", text)
		}
		return nil
	})
	received, _ := sink.received()
	attributes := attributesOf(received[0].GetResource().GetAttributes())
	for name, want := range map[string]string{
		"service.name": "peer-observer", "service.version": "1.2.3", "service.instance.id": "alice",
		"peerobserver.node.name": "alice", "deployment.environment.name": "test", "telemetry.sdk.language": "go",
	} {
		if attributes[name] != want {
			t.Errorf("resource attribute %s is %q, want %q", name, attributes[name], want)
		}
	}
	if attributes["host.name"] == "" {
		t.Error("no host.name")
	}
	got, want := arrivedSeries(t, received), scrapedSeries(gathered, form == histogramExponential)
	if len(want) < 300 {
		t.Fatalf("only %d series: this proves little", len(want))
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			t.Errorf("%s:\n got %s\nwant %s", name, got[name], want[name])
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s arrived, which nobody sent", name)
		}
	}
	if s := text.String(); strings.Contains(s, "level=WARN") || strings.Contains(s, "level=ERROR") {
		t.Errorf("log:\n%s", s)
	}
}

func attributesOf(list []*commonpb.KeyValue) map[string]string {
	m := map[string]string{}
	for _, a := range list {
		switch v := a.GetValue().GetValue().(type) {
		case *commonpb.AnyValue_StringValue:
			m[a.GetKey()] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			m[a.GetKey()] = fmt.Sprint(v.IntValue)
		case *commonpb.AnyValue_BoolValue:
			m[a.GetKey()] = fmt.Sprint(v.BoolValue)
		case *commonpb.AnyValue_ArrayValue:
			var parts []string
			for _, part := range v.ArrayValue.GetValues() {
				parts = append(parts, part.GetStringValue())
			}
			m[a.GetKey()] = strings.Join(parts, ",")
		}
	}
	return m
}

// seriesName names a series by its labels in order.
func seriesName(name string, labels map[string]string) string {
	text, _ := json.Marshal(labels) // a map of strings has a JSON form
	return name + string(text)
}

// scrapedSeries describes what client_golang gathered, by type and value. Of histograms
// that are both classic and native it takes one form.
func scrapedSeries(families []*dto.MetricFamily, exponential bool) map[string]string {
	all := map[string]string{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			var s string
			switch f.GetType() {
			case dto.MetricType_COUNTER:
				s = fmt.Sprint("counter ", m.GetCounter().GetValue())
			case dto.MetricType_GAUGE:
				s = fmt.Sprint("gauge ", m.GetGauge().GetValue())
			case dto.MetricType_UNTYPED:
				s = fmt.Sprint("gauge ", m.GetUntyped().GetValue())
			case dto.MetricType_HISTOGRAM:
				h := m.GetHistogram()
				if isNative(h, exponential) {
					s = fmt.Sprint("native ", h.GetSampleCount(), h.GetSampleSum(), h.GetSchema(), h.GetZeroCount(), nativeBuckets(h.GetPositiveSpan(), h.GetPositiveDelta()), nativeBuckets(h.GetNegativeSpan(), h.GetNegativeDelta()))
					break
				}
				var buckets []string
				for _, b := range h.GetBucket() {
					if !math.IsInf(b.GetUpperBound(), 1) {
						buckets = append(buckets, fmt.Sprint(b.GetUpperBound(), "=", b.GetCumulativeCount()))
					}
				}
				var exemplars []string
				for _, b := range h.GetBucket() {
					if x := b.GetExemplar(); x != nil {
						exemplars = append(exemplars, fmt.Sprint(x.GetValue(), " of ", x.GetLabel()[0].GetValue()))
					}
				}
				s = fmt.Sprint("histogram ", h.GetSampleCount(), h.GetSampleSum(), buckets, exemplars)
			case dto.MetricType_SUMMARY:
				s = fmt.Sprint("summary ", m.GetSummary().GetSampleCount(), m.GetSummary().GetSampleSum())
			}
			all[seriesName(f.GetName(), labels)] = f.GetHelp() + ": " + s
		}
	}
	return all
}

// isNative says in which form a histogram is sent.
func isNative(h *dto.Histogram, exponential bool) bool {
	return h.GetZeroThreshold() > 0 && (exponential || len(h.GetBucket()) == 0)
}

// nativeBuckets gives the counts by index: that of Prometheus is of the upper bound.
func nativeBuckets(spans []*dto.BucketSpan, deltas []int64) string {
	counts := map[int32]uint64{}
	var index int32
	var count int64
	for _, s := range spans {
		index += s.GetOffset()
		for range s.GetLength() {
			count += deltas[0]
			deltas = deltas[1:]
			if count > 0 {
				counts[index] = uint64(count)
			}
			index++
		}
	}
	return fmt.Sprint(counts)
}

func exponentialBuckets(b *metricspb.ExponentialHistogramDataPoint_Buckets) string {
	counts := map[int32]uint64{}
	for i, n := range b.GetBucketCounts() {
		if n > 0 {
			counts[b.GetOffset()+int32(i)+1] = n
		}
	}
	return fmt.Sprint(counts)
}

// arrivedSeries describes what arrived in the same way.
func arrivedSeries(t *testing.T, received []*metricspb.ResourceMetrics) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, r := range received {
		for _, scope := range r.GetScopeMetrics() {
			for _, m := range scope.GetMetrics() {
				put := func(labels []*commonpb.KeyValue, v ...any) {
					name := seriesName(m.GetName(), attributesOf(labels))
					if _, ok := all[name]; ok {
						t.Errorf("%s arrived twice", name)
					}
					all[name] = m.GetDescription() + ": " + fmt.Sprint(v...)
				}
				const cumulative = metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE
				switch data := m.GetData().(type) {
				case *metricspb.Metric_Sum:
					for _, p := range data.Sum.GetDataPoints() {
						if !data.Sum.GetIsMonotonic() || data.Sum.GetAggregationTemporality() != cumulative {
							t.Errorf("%s is no cumulative counter", m.GetName())
						}
						put(p.GetAttributes(), "counter ", p.GetAsDouble())
					}
				case *metricspb.Metric_Gauge:
					for _, p := range data.Gauge.GetDataPoints() {
						put(p.GetAttributes(), "gauge ", p.GetAsDouble())
					}
				case *metricspb.Metric_Histogram:
					for _, p := range data.Histogram.GetDataPoints() {
						var buckets []string
						var sum uint64
						for i, bound := range p.GetExplicitBounds() {
							sum += p.GetBucketCounts()[i]
							buckets = append(buckets, fmt.Sprint(bound, "=", sum))
						}
						var exemplars []string
						for _, x := range p.GetExemplars() {
							exemplars = append(exemplars, fmt.Sprintf("%v of %x", x.GetAsDouble(), x.GetTraceId()))
						}
						put(p.GetAttributes(), "histogram ", p.GetCount(), p.GetSum(), buckets, exemplars)
					}
				case *metricspb.Metric_ExponentialHistogram:
					for _, p := range data.ExponentialHistogram.GetDataPoints() {
						put(p.GetAttributes(), "native ", p.GetCount(), p.GetSum(), p.GetScale(), p.GetZeroCount(), exponentialBuckets(p.GetPositive()), exponentialBuckets(p.GetNegative()))
					}
				case *metricspb.Metric_Summary:
					for _, p := range data.Summary.GetDataPoints() {
						put(p.GetAttributes(), "summary ", p.GetCount(), p.GetSum())
					}
				default:
					t.Errorf("%s has the type %T", m.GetName(), data)
				}
			}
		}
	}
	return all
}

func hashOf(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func blockConnected(hash []byte, height int32, duration uint64) *eventpb.Event {
	return wrap(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Validation{Validation: &eventpb.ValidationEvent{
		Event: &eventpb.ValidationEvent_BlockConnected{BlockConnected: &eventpb.BlockConnected{
			Hash: hash, Height: proto.Int32(height), Transactions: proto.Int64(1), ConnectionTime: proto.Uint64(duration),
		}},
	}}})
}

func pingMessage(peer uint64) *eventpb.Event {
	return wrap(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Message{Message: &eventpb.MessageEvent{
		Meta: &eventpb.Metadata{PeerId: proto.Uint64(peer), Command: proto.String("ping"), Inbound: proto.Bool(true), Size: proto.Uint64(8)},
		Msg:  &eventpb.MessageEvent_Ping{Ping: &eventpb.Ping{Value: proto.Uint64(1)}},
	}}})
}

func wrap(e *eventpb.EbpfExtractor) *eventpb.Event {
	return &eventpb.Event{PeerObserverEvent: &eventpb.Event_EbpfExtractor{EbpfExtractor: e}}
}

func closedConnection(peer, established uint64) *eventpb.Event {
	return wrap(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Connection{Connection: &eventpb.ConnectionEvent{
		Event: &eventpb.ConnectionEvent_Closed{Closed: &eventpb.ClosedConnection{
			Conn: &eventpb.Connection{PeerId: proto.Uint64(peer), Network: proto.Uint32(1)}, TimeEstablished: proto.Uint64(established),
		}},
	}}})
}

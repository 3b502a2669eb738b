package otlp

import (
	"context"
	"encoding/hex"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	prometheusbridge "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// newProducer makes OpenTelemetry's metrics from those that are gathered. OTLP has one
// form of a histogram at a time, and the bridge takes the native one where there are both;
// the buckets are what our alert rules and most receivers want, so that is only done when
// asked for.
func newProducer(from prometheus.Gatherer, exponential bool) metric.Producer {
	if !exponential {
		from = classicGatherer{from}
	}
	return producer{prometheusbridge.NewMetricProducer(prometheusbridge.WithGatherer(from))}
}

// classicGatherer leaves the native form out of histograms that have a classic one.
type classicGatherer struct{ prometheus.Gatherer }

func (g classicGatherer) Gather() ([]*dto.MetricFamily, error) {
	gathered, err := g.Gatherer.Gather()
	families := make([]*dto.MetricFamily, len(gathered))
	for i, f := range gathered {
		families[i] = f
		if f.GetType() == dto.MetricType_HISTOGRAM {
			families[i] = classicFamily(f)
		}
	}
	return families, err
}

// classicFamily doesn't change f: others may have it too.
func classicFamily(f *dto.MetricFamily) *dto.MetricFamily {
	classic := &dto.MetricFamily{Name: f.Name, Help: f.Help, Type: f.Type, Unit: f.Unit}
	for _, m := range f.GetMetric() {
		h := m.GetHistogram()
		if len(h.GetBucket()) > 0 {
			h = &dto.Histogram{
				SampleCount: h.SampleCount, SampleSum: h.SampleSum, Bucket: h.Bucket, CreatedTimestamp: h.CreatedTimestamp,
			}
		}
		classic.Metric = append(classic.Metric, &dto.Metric{Label: m.Label, Histogram: h, TimestampMs: m.TimestampMs})
	}
	return classic
}

// producer mends what the bridge makes.
type producer struct{ bridge metric.Producer }

// Produce implements metric.Producer.
func (p producer) Produce(ctx context.Context) ([]metricdata.ScopeMetrics, error) {
	scopes, err := p.bridge.Produce(ctx)
	for _, s := range scopes {
		for _, m := range s.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Histogram[float64]:
				for i := range data.DataPoints {
					mendExemplars(data.DataPoints[i].Exemplars)
				}
			case metricdata.Sum[float64]:
				for i := range data.DataPoints {
					mendExemplars(data.DataPoints[i].Exemplars)
				}
			}
		}
	}
	return scopes, err
}

// mendExemplars makes the bytes of the ids of traces and spans from their text: the bridge
// takes the text for the bytes, with which receivers refuse everything.
func mendExemplars(list []metricdata.Exemplar[float64]) {
	for i := range list {
		list[i].TraceID = bytesOfID(list[i].TraceID, 16)
		list[i].SpanID = bytesOfID(list[i].SpanID, 8)
	}
}

// bytesOfID reads an id of some bytes from hexadecimal text; nil when it is none.
func bytesOfID(text []byte, size int) []byte {
	if len(text) == size {
		return text
	}
	id := make([]byte, hex.DecodedLen(len(text)))
	if _, err := hex.Decode(id, text); err != nil || len(id) != size {
		return nil
	}
	return id
}

package evidence

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/peerobserver/peerobserver/proto/event"
)

// Register registers the metrics of the sink. No label has a value that a peer chooses.
func (s *Sink) Register(r prometheus.Registerer) error {
	for _, left := range []struct {
		what  string
		count *event.Counter
	}{
		{"peer", &s.peers.forgotten}, {"record", &s.records.forgotten}, {"label", &s.records.labels},
		{"alert", &s.alertsLeft}, {"sample", &s.values.left},
	} {
		if err := r.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name:        "peerobserver_evidence_left_out_total",
			Help:        "What the evidence of alerts has no room for: peers that were forgotten, alerts without a record, labels of alerts, alerts of an answer of Prometheus, samples of series.",
			ConstLabels: prometheus.Labels{"what": left.what},
		}, func() float64 { return float64(left.count.Value()) })); err != nil {
			return err
		}
	}
	return r.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "peerobserver_evidence_clock_steps_total",
		Help: "How often the clock of this machine went back by five minutes or more, so that what the evidence of alerts had counted was dropped.",
	}, func() float64 { return float64(s.peers.steps.Value()) }))
}

package connectivity

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/peerobserver/peerobserver/exporters/netgroup"
)

// instruments are the metrics of a check. No label has a value that a peer chooses.
type instruments struct {
	announced *prometheus.CounterVec
	skipped   *prometheus.CounterVec
	checks    *prometheus.CounterVec
	connect   *prometheus.HistogramVec
	handshake *prometheus.HistogramVec
	age       *prometheus.HistogramVec
	unwritten prometheus.Counter
	fills     []prometheus.Collector
}

func newInstruments(s *schedule) *instruments {
	gauge := func(name, help string, labels prometheus.Labels, value func(fill) int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, func() float64 { return float64(value(s.fill())) })
	}
	const cached = "peerobserver_connectivity_cached_addresses"
	const cachedHelp = "Addresses that are not dialed again yet, by how the last check ended."
	m := &instruments{
		announced: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "peerobserver_connectivity_announced_addresses_total",
			Help: "Addresses in the announcements of peers, by network.",
		}, []string{"network"}),
		skipped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "peerobserver_connectivity_skipped_addresses_total",
			Help: "Announced addresses that are not dialed, by reason.",
		}, []string{"reason"}),
		checks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "peerobserver_connectivity_checks_total",
			Help: "Addresses that were dialed, by network, transport (none without a connection) and result.",
		}, []string{"network", "transport", "result"}),
		connect: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:                        "peerobserver_connectivity_connect_seconds",
			Help:                        "Time to connect, or to fail to, by network.",
			Buckets:                     []float64{0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 15, 60},
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
		}, []string{"network"}),
		handshake: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:                        "peerobserver_connectivity_handshake_seconds",
			Help:                        "Time of the handshakes that succeeded, by network.",
			Buckets:                     []float64{0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 15},
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
		}, []string{"network"}),
		age: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:                        "peerobserver_connectivity_announced_age_seconds",
			Help:                        "How long ago the node was last seen when it was announced, as was claimed, by whether it is reachable.",
			Buckets:                     []float64{600, 3600, 10800, 21600, 43200, 86400, 604800, 2592000},
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
		}, []string{"reachable"}),
		unwritten: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "peerobserver_connectivity_unwritten_rows_total",
			Help: "Checks that could not be written to the record.",
		}),
		fills: []prometheus.Collector{
			gauge("peerobserver_connectivity_waiting_addresses", "Addresses that wait to be dialed.", nil, func(f fill) int { return f.waiting }),
			gauge("peerobserver_connectivity_checks_in_progress", "Addresses that are being dialed.", nil, func(f fill) int { return f.dialing }),
			gauge(cached, cachedHelp, prometheus.Labels{"result": "success"}, func(f fill) int { return f.success }),
			gauge(cached, cachedHelp, prometheus.Labels{"result": "failure"}, func(f fill) int { return f.failure }),
		},
	}
	for _, reason := range skipReasons() {
		m.skipped.WithLabelValues(string(reason))
	}
	for network := netgroup.IPv4; network <= netgroup.CJDNS; network++ {
		m.announced.WithLabelValues(network.String())
	}
	return m
}

func (m *instruments) register(r prometheus.Registerer) error {
	for _, c := range append([]prometheus.Collector{m.announced, m.skipped, m.checks, m.connect, m.handshake, m.age, m.unwritten}, m.fills...) {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}

func (m *instruments) observe(a *announcement, o *outcome) {
	network, transport := a.address.Network.String(), "none"
	switch o.transport {
	case 1:
		transport = "v1"
	case 2:
		transport = "v2"
	}
	m.checks.WithLabelValues(network, transport, string(o.result)).Inc()
	if !o.result.aboutTarget() {
		return
	}
	m.connect.WithLabelValues(network).Observe(o.connect.Seconds())
	reachable := "no"
	if o.result == ResultSuccess {
		reachable = "yes"
		m.handshake.WithLabelValues(network).Observe(o.handshake.Seconds())
	}
	// An address with a time of its own in the future is as fresh as can be.
	m.age.WithLabelValues(reachable).Observe(max(0, a.at.Sub(fromUnix(a.seen)).Seconds()))
}

// Package metrics turns events into Prometheus metrics. It knows nothing of where the
// events come from: a tracepoint in the same process, NATS or an archive give the same
// series.
//
// One goroutine hands in the events; scrapes run beside it. They share atomic cells
// and no lock. Nothing that a peer chooses becomes a label value.
package metrics

import (
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"

	"github.com/peerobserver/peerobserver/exporters/netgroup"
	"github.com/peerobserver/peerobserver/proto/event"
)

// DefaultMaxNodes is the number of nodes that are told apart by default.
const DefaultMaxNodes = 64

// Config says how the metrics are made.
type Config struct {
	// Ledger is the account of this process, read at every scrape; nil for none. In
	// the agent it is also what Status events carry, so that these are not needed.
	Ledger *event.Ledger
	// Remote says that the events come from an agent elsewhere (over NATS or from an
	// archive): the state of the sources and the losses of the agent are then taken
	// from its Status events, and the losses in Ledger are added to them.
	Remote bool
	// NodeLabel puts the name of the node on every series, for a process that serves
	// several nodes. Without it all events belong to one node.
	NodeLabel bool
	// MaxNodes bounds the nodes that are told apart with NodeLabel; events of further
	// ones are counted in peerobserver_label_overflow_total{label="node"} and left out.
	// DefaultMaxNodes when zero.
	MaxNodes int
	// Clock is the time at which the age of values is judged; time.Now when nil.
	Clock func() time.Time
	// Replay judges by the time of the newest event instead of Clock, for events of
	// the past.
	Replay bool
	// Networks knows autonomous systems and prefix lists; netgroup.Builtin when nil. The
	// names of its lists are the values of the label list.
	Networks *netgroup.Data
	// Seed is that of all hashes; random when zero. Sinks with the same seed come to
	// equal estimates.
	Seed maphash.Seed
	// Only says which metrics are collected, by name, for a reader that looks at few and
	// often; nil for all. What the agent says of itself is collected in any case.
	Only func(name string) bool
	// ProcessMetrics adds the metrics of the Go runtime and of this process.
	ProcessMetrics bool
}

func (c *Config) validate() error {
	if c.MaxNodes < 0 {
		return fmt.Errorf("the number of nodes is %d, it must not be negative", c.MaxNodes)
	}
	if c.Replay && c.Clock != nil {
		return errors.New("replay uses the time of the events: a clock can't be given too")
	}
	if c.MaxNodes == 0 {
		c.MaxNodes = DefaultMaxNodes
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Networks == nil {
		c.Networks = netgroup.Builtin()
	}
	if c.Seed == (maphash.Seed{}) {
		c.Seed = maphash.MakeSeed()
	}
	return nil
}

// Sink makes metrics from events. It implements event.Sink.
type Sink struct {
	config   Config
	registry *prometheus.Registry
	// nodes holds the metrics of each node by name; only HandleEvent uses it.
	nodes map[string]*node
	// last is the node of the last event, which the next one nearly always has too.
	last     *node
	lastName string
	// newest is the time of the newest event in UNIX nanoseconds.
	newest      atomic.Int64
	nodesFolded *cell
	// mu guards heaviest, the heaviest peers of each node by name.
	mu       sync.Mutex
	heaviest map[string]HeaviestPeers
}

// New makes the metrics. With NodeLabel the series of a node appear with its first
// event, otherwise all are there from the start.
func New(config Config) (*Sink, error) {
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	s := &Sink{config: config, registry: prometheus.NewPedanticRegistry(), nodes: map[string]*node{}, heaviest: map[string]HeaviestPeers{}}
	if err := s.registry.Register(versioncollector.NewCollector("peerobserver")); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	if config.ProcessMetrics {
		if err := errors.Join(
			s.registry.Register(collectors.NewGoCollector()),
			s.registry.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})),
		); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	if config.NodeLabel {
		// What belongs to this process and to no node has an empty node label, which
		// Prometheus treats as none.
		process := newProcess(config, s.now)
		s.nodesFolded = process.nodesFolded
		if err := prometheus.WrapRegistererWith(prometheus.Labels{"node": ""}, s.registry).Register(process); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
		return s, nil
	}
	s.last = newNode(config, s.now)
	if err := s.registry.Register(s.last); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return s, nil
}

// Registry is where the metrics are registered; others may register theirs too.
func (s *Sink) Registry() *prometheus.Registry { return s.registry }

// now is the time at which values are judged, in UNIX nanoseconds.
func (s *Sink) now() int64 {
	if s.config.Replay {
		return s.newest.Load()
	}
	return s.config.Clock().UnixNano()
}

// HandleEvent implements event.Sink.
func (s *Sink) HandleEvent(e *event.Event) {
	// An event that is much older than the newest wasn't delayed: the clock was set back.
	if at, newest := e.Time().UnixNano(), s.newest.Load(); at > newest || newest-at > int64(staleFirst) {
		s.newest.Store(at)
	}
	if n := s.node(e.NodeName); n != nil {
		n.handle(e, s.now())
		if n.heaviest != nil {
			s.keepHeaviest(e, n.heaviest)
			n.heaviest = nil
		}
	}
}

// node gives the metrics of a node, nil when there are too many nodes.
func (s *Sink) node(name string) *node {
	if !s.config.NodeLabel || (s.last != nil && s.lastName == name) {
		return s.last
	}
	n := s.nodes[name]
	if n == nil {
		if n = s.newNode(name); n == nil {
			s.nodesFolded.add(1)
			return nil
		}
	}
	s.last, s.lastName = n, name
	return n
}

// maxNodeName bounds the length of a node's name in bytes.
const maxNodeName = 128

func (s *Sink) newNode(name string) *node {
	if len(s.nodes) >= s.config.MaxNodes || len(name) > maxNodeName {
		return nil
	}
	label := name
	if label == "" {
		// The existing peer-observer (Rust) doesn't name its node.
		label = "unnamed"
	}
	config := s.config
	config.Ledger = nil
	n := newNode(config, s.now)
	if err := prometheus.WrapRegistererWith(prometheus.Labels{"node": label}, s.registry).Register(n); err != nil {
		return nil
	}
	s.nodes[name] = n
	return n
}

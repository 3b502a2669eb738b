package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/exporters/peerstate"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// node holds the metrics of one observed node.
type node struct {
	*registry
	status *status
	state  *peerstate.State

	decoded decode.Event
	// summary is the age of what is computed from the state every few seconds.
	summary *age
	// heaviest are the heaviest peers when they are known anew, nil otherwise.
	heaviest []peerstate.Heavy

	events        *events
	messages      *messages
	addresses     *addresses
	inventory     *inventory
	connections   *connections
	mempool       *mempool
	blocks        *blocks
	compactBlocks *compactBlocks
	utxo          *utxoCache
	peers         *peers
	groups        *peerGroups
	addrman       *addrman
	rpc           *rpc
	log           *logLines
	clock         *clock
	steps         *clockSteps
	link          *link
	sight         *sight
}

func newNode(config Config, now func() int64) *node {
	r := newRegistry(now)
	l := newLabels(r, config.Networks.Names())
	n := &node{registry: r}
	n.state = peerstate.New(peerstate.Config{Networks: config.Networks, Seed: config.Seed})
	n.status = newStatus(config.Ledger, config.Remote)
	n.events = newEvents(r)
	ebpfGone := n.status.gone(event.SourceEBPF)
	n.summary = polled(ebpfGone)
	n.messages = newMessages(r, l, n.summary)
	n.addresses = newAddresses(r, l, n.summary)
	n.inventory = newInventory(r, l, n.summary)
	n.connections = newConnections(r, l, n.summary, lasting(ebpfGone))
	n.mempool = newMempool(r, n.summary)
	n.blocks = newBlocks(r, l, lasting(ebpfGone))
	n.compactBlocks = newCompactBlocks(r)
	n.utxo = newUTXOCache(r)
	n.peers = newPeers(r, l, n.status)
	n.groups = newPeerGroups(r, l, n.peers.age, polled(n.status.gone(event.SourceRPC, event.SourceEBPF)))
	n.addrman = newAddrman(r, l, n.status)
	n.rpc = newRPC(r, l, n.status)
	n.log = newLogLines(r)
	n.clock = newClock(r, l, n.summary)
	n.steps = newClockSteps(r)
	n.link = newLink(r, l, lasting(n.status.gone(event.SourceP2P)))
	n.sight = newSight(r, n.status, n.events)
	r.only(config.Only)
	return n
}

// Describe implements prometheus.Collector.
func (n *node) Describe(ch chan<- *prometheus.Desc) {
	n.registry.Describe(ch)
	n.status.describe(ch)
	ch <- n.sight.desc
}

// Collect implements prometheus.Collector.
func (n *node) Collect(ch chan<- prometheus.Metric) {
	n.registry.Collect(ch)
	n.status.collect(n.now(), ch)
	n.sight.collect(n.now(), ch)
}

// handle counts one event. now is the time at which it is handled.
func (n *node) handle(e *event.Event, now int64) {
	d := &n.decoded
	ok := d.Decode(e.Source, e.Data)
	n.events.handle(e, d.Kind, ok, now)
	if !ok {
		return
	}
	n.sight.begin(now)
	o := n.state.Observe(e, d)
	switch d.Kind {
	case event.KindMessage:
		n.message(&d.Message, o)
	case event.KindConnectionClosed, event.KindConnectionInboundEvicted, event.KindConnectionInbound,
		event.KindConnectionOutbound, event.KindConnectionMisbehaving:
		n.connections.handle(e, d.Kind, &d.Connection, o)
	case event.KindMempoolAdded, event.KindMempoolReplaced, event.KindMempoolRemoved, event.KindMempoolRejected:
		n.mempool.handle(e, d.Kind, &d.Mempool, o)
	case event.KindValidationBlockConnected:
		n.blocks.connected(e, &d.Validation)
	case event.KindValidationBlockHeader:
		n.blocks.header(&d.Validation)
	case event.KindValidationCompactBlockReconstructed:
		// What it says is in the observation.
	case event.KindUTXOCacheAdd, event.KindUTXOCacheSpent, event.KindUTXOCacheUncache:
		// Their number is all that counts.
	case event.KindRPCAddrman:
		n.sight.answered(d.Kind, e.Time().UnixNano())
		// Too large for the generated types.
		if u := n.state.Addrman(e.Data); u != nil {
			n.addrman.set(u, e.Time().UnixNano())
		}
		if d, ok := decode.CallDurationOf(e.Data); ok {
			n.rpc.called(methodRawAddrman, d)
		}
	default:
		n.cold(e, o)
	}
	n.observed(o, e.Time().UnixNano())
}

// message counts a P2P message and what is in it.
func (n *node) message(m *decode.Message, o *peerstate.Observation) {
	n.messages.handle(m, o)
	switch m.Type {
	case decode.MessageInv, decode.MessageGetData, decode.MessageNotFound:
		n.inventory.handle(m, o)
	case decode.MessageAddr, decode.MessageAddrV2:
		n.addresses.handle(m, o)
	}
}

// observed counts what an event of a time in UNIX nanoseconds added to the state.
func (n *node) observed(o *peerstate.Observation, at int64) {
	n.steps.observe(o)
	if o.Service.Valid {
		n.messages.work(&o.Service)
	}
	n.inventory.requests(o, at)
	n.blocks.travel(o, at)
	n.compactBlocks.handle(o, at)
	if u := o.Summary; u != nil {
		n.summary.touch(n.state.Now())
		n.heaviest = append([]peerstate.Heavy{}, u.Heaviest...)
		n.messages.summarise(u)
		n.addresses.summarise(u)
		n.inventory.summarise(u)
		n.connections.summarise(u)
		n.mempool.summarise(u)
		n.groups.summarise(u, n.state.Now())
		n.clock.summarise(u)
	}
}

// cold handles the events that are rare enough for the generated types.
func (n *node) cold(e *event.Event, o *peerstate.Observation) {
	var body eventpb.Event
	if err := proto.Unmarshal(e.Data, &body); err != nil {
		n.events.undecoded(e)
		return
	}
	at := e.Time().UnixNano()
	switch source := body.GetPeerObserverEvent().(type) {
	case *eventpb.Event_EbpfExtractor:
		n.utxo.flushed(source.EbpfExtractor.GetUtxoCache().GetFlush())
	case *eventpb.Event_RpcExtractor:
		n.sight.answered(n.decoded.Kind, at)
		n.handleRPC(e, source.RpcExtractor)
	case *eventpb.Event_P2PExtractor:
		n.link.handle(e, source.P2PExtractor)
	case *eventpb.Event_LogExtractor:
		n.sight.line(source.LogExtractor, at)
		n.handleLog(source.LogExtractor, o)
	case *eventpb.Event_IpcExtractor:
		n.rpc.ipcHeight.set(float64(source.IpcExtractor.GetBlockTip().GetHeight()))
		n.rpc.ipcHeight.age.touch(e.Time().UnixNano())
	case *eventpb.Event_Observer:
		st := source.Observer.GetStatus()
		n.status.observe(st, at)
		if watching(st) {
			n.state.Watching(st.GetNode().GetStartTimeNs())
		}
	}
}

// handleLog takes a line of debug.log.
func (n *node) handleLog(l *eventpb.LogExtractor, o *peerstate.Observation) {
	n.log.handle(l)
	known := l.GetKnownLogMessage()
	if known.GetTemplate() != eventpb.LogTemplate_LOG_TEMPLATE_BLOCK_RECONSTRUCTED {
		return
	}
	if hash, c, ok := reconstructedLine(known); ok {
		n.state.Reconstructed(hash, c, lineTime(l), o)
	}
}

package incident

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

const (
	// step is the time between two looks at the node: the agent's default for its own
	// status and its pings. RPC is polled less often than by default, which is many events
	// less and no difference to the rules.
	step         = 10 * time.Second
	stepsOfPolls = 3
	stepsOfTips  = 6
	// loopbackRTT is the usual round trip of a ping on the observer's link.
	loopbackRTT = 500 * time.Microsecond
	// connectTime is the usual time to connect a block, the median of the slow-block
	// demonstration's undisturbed blocks on signet.
	connectTime = 176 * time.Millisecond
	// blockTime is the mean time between two blocks.
	blockTime = 600 * time.Second
	// maxMempool is Bitcoin Core's default of -maxmempool in bytes.
	maxMempool = 300_000_000
)

// life is a node and the agent that watches it: what it does when nothing happens, and the
// state that an incident changes.
type life struct {
	ctx      context.Context
	node     string
	random   *rand.Rand
	stream   *event.Stream
	ledger   *event.Ledger
	emitters map[event.Source]*event.Emitter
	now      time.Time
	start    time.Time
	steps    int
	// pace is the time between two looks.
	pace time.Duration

	chain string
	peers []*peer
	// visitors are peers that stay for minutes.
	visitors []*peer
	nextID   uint64

	height, headers int32
	tip             []byte
	tipTime         time.Time
	nextBlock       time.Time
	// forks are the tips that lost.
	forks []*eventpb.ChainTip

	rtt time.Duration
	// cpu is the processor time of the message thread.
	cpu     time.Duration
	usage   int64
	addedBy int
}

// peer is a peer of the node.
type peer struct {
	id      uint64
	address string
	opened  time.Time
	info    *eventpb.PeerInfo
}

func newLife(ctx context.Context, begins time.Time, sink event.Sink) *life {
	// The same events each time.
	random := rand.New(rand.NewPCG(uint64(begins.Unix()), 1))
	l := &life{
		ctx: ctx, node: "incident", random: random, stream: event.NewStream(sink), ledger: event.NewLedger(), emitters: map[event.Source]*event.Emitter{},
		now: begins, pace: step, start: begins.Add(-30 * 24 * time.Hour), chain: "main", height: 800_000, tipTime: begins.Add(-5 * time.Minute),
		rtt: loopbackRTT, usage: maxMempool / 5, addedBy: 2,
	}
	l.headers, l.tip = l.height, l.hash()
	l.nextBlock = begins.Add(l.blockGap())
	return l
}

func (l *life) emit(source event.Source, e *eventpb.Event) {
	m := l.emitters[source]
	if m == nil {
		m = event.NewEmitter(source, event.Origin{NodeName: l.node, BootID: 1}, l.stream, l.ledger)
		l.emitters[source] = m
	}
	times := event.Times{Receive: l.now.UnixNano(), NodeStart: l.start.UnixNano()}
	if source == event.SourceEBPF {
		times.Kernel = times.Receive
	}
	m.Emit(e, times)
}

func (l *life) tracepoint(x *eventpb.EbpfExtractor) {
	l.emit(event.SourceEBPF, &eventpb.Event{PeerObserverEvent: &eventpb.Event_EbpfExtractor{EbpfExtractor: x}})
}

func (l *life) rpc(x *eventpb.RpcExtractor) {
	x.CallDurationNs = proto.Uint64(3_000_000)
	l.emit(event.SourceRPC, &eventpb.Event{PeerObserverEvent: &eventpb.Event_RpcExtractor{RpcExtractor: x}})
}

// live lets time pass; each is called before every step and may be nil.
func (l *life) live(d time.Duration, each func()) {
	for end := l.now.Add(d); l.now.Before(end) && l.ctx.Err() == nil; l.now = l.now.Add(l.pace) {
		if each != nil {
			each()
		}
		for !l.nextBlock.After(l.now) {
			l.connect(l.hash(), l.height+1, connectTime)
			l.nextBlock = l.nextBlock.Add(l.blockGap())
		}
		l.look()
		l.steps++
	}
}

// look is what the agent sees in one step of a node to which nothing happens.
func (l *life) look() {
	l.status()
	l.emit(event.SourceP2P, &eventpb.Event{PeerObserverEvent: &eventpb.Event_P2PExtractor{P2PExtractor: &eventpb.P2PExtractor{
		P2PEvent: &eventpb.P2PExtractor_PingDuration{PingDuration: &eventpb.PingDuration{Duration: proto.Uint64(uint64(l.rtt))}}}}})
	for range l.addedBy {
		l.added(110 + l.random.Int32N(900))
	}
	if l.steps%stepsOfPolls == 0 {
		l.polls()
	}
	if l.steps%stepsOfTips == 0 {
		l.tips()
	}
}

// status is what the agent says of itself.
func (l *life) status() {
	st := &eventpb.Status{Node: &eventpb.NodeStatus{Chain: proto.String(l.chain), StartTimeNs: proto.Int64(l.start.UnixNano())}}
	for _, source := range []event.Source{event.SourceEBPF, event.SourceRPC, event.SourceP2P, event.SourceLog} {
		st.Sources = append(st.Sources, &eventpb.SourceStatus{Source: proto.String(source.String()), Up: proto.Bool(true)})
	}
	l.emit(event.SourceObserver, &eventpb.Event{PeerObserverEvent: &eventpb.Event_Observer{
		Observer: &eventpb.Observer{ObserverEvent: &eventpb.Observer_Status{Status: st}}}})
}

// polls is a round of RPC.
func (l *life) polls() {
	inbound := uint32(0)
	infos := make([]*eventpb.PeerInfo, 0, len(l.peers)+len(l.visitors))
	for _, list := range [][]*peer{l.peers, l.visitors} {
		for _, p := range list {
			p.info.SyncedHeaders = proto.Int64(int64(l.height))
			infos = append(infos, p.info)
			if p.info.GetInbound() {
				inbound++
			}
		}
	}
	if len(infos) > 0 {
		l.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_PeerInfos{PeerInfos: &eventpb.PeerInfos{Infos: infos}}})
	}
	l.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_MempoolInfo{MempoolInfo: &eventpb.MempoolInfo{
		Loaded: proto.Bool(true), Usage: proto.Int64(l.usage), MaxMempool: proto.Int64(maxMempool), Mempoolminfee: proto.Float64(0.1)}}})
	l.network(inbound, uint32(len(infos))-inbound)
	l.blockchain()
}

// network is what opens the gates of the rules, but for the download of the chain.
func (l *life) network(inbound, outbound uint32) {
	l.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_Uptime{Uptime: uint32(l.now.Sub(l.start) / time.Second)}})
	l.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_NetworkInfo{NetworkInfo: &eventpb.NetworkInfo{
		Version: proto.Int32(300000), LocalRelay: proto.Bool(true), NetworkActive: proto.Bool(true),
		Connections: proto.Uint32(inbound + outbound), ConnectionsIn: proto.Uint32(inbound), ConnectionsOut: proto.Uint32(outbound)}}})
}

func (l *life) blockchain() {
	l.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_BlockchainInfo{BlockchainInfo: &eventpb.BlockchainInfo{
		Chain: proto.String(l.chain), Blocks: proto.Uint32(uint32(l.height)), Headers: proto.Uint32(uint32(l.headers)),
		Time: proto.Uint32(uint32(l.tipTime.Unix())), Initialblockdownload: proto.Bool(false)}}})
}

func (l *life) tips() {
	tips := []*eventpb.ChainTip{{Height: proto.Int32(l.height), Hash: proto.String(hex.EncodeToString(l.tip)), BranchLength: proto.Int32(0), Status: proto.String("active")}}
	l.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_ChainTips{ChainTips: &eventpb.ChainTips{Tips: append(tips, l.forks...)}}})
}

func (l *life) added(vsize int32) {
	l.tracepoint(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Mempool{Mempool: &eventpb.MempoolEvent{Event: &eventpb.MempoolEvent_Added{
		Added: &eventpb.Added{Txid: l.hash(), Vsize: proto.Int32(vsize), Fee: proto.Int64(2 * int64(vsize))}}}}})
}

// connect connects a block.
func (l *life) connect(hash []byte, height int32, took time.Duration) {
	l.tracepoint(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Validation{Validation: &eventpb.ValidationEvent{Event: &eventpb.ValidationEvent_BlockConnected{
		BlockConnected: &eventpb.BlockConnected{Hash: hash, Height: proto.Int32(height), Transactions: proto.Int64(3000), Inputs: proto.Int32(7000),
			ConnectionTime: proto.Uint64(uint64(took))}}}}})
	l.tip, l.height, l.headers = hash, height, max(l.headers, height)
	l.tipTime = l.now.Add(-time.Duration(l.random.Int64N(int64(20 * time.Second))))
}

// lost adds a tip that lost.
func (l *life) lost(height, length int32) {
	l.forks = append(l.forks, &eventpb.ChainTip{
		Height: proto.Int32(height), Hash: proto.String(hex.EncodeToString(l.hash())), BranchLength: proto.Int32(length), Status: proto.String("valid-headers")})
}

// blockGap is a time between two blocks. Long ones, which by themselves alert somebody now and
// then, are the quiet year's.
func (l *life) blockGap() time.Duration {
	return min(time.Duration(l.random.ExpFloat64()*float64(blockTime)), time.Hour)
}

func (l *life) hash() []byte {
	h := make([]byte, 32)
	for i := range h {
		h[i] = byte(l.random.Uint32())
	}
	return h
}

// Networks of peers, as getpeerinfo names them.
const (
	ipv4  = "ipv4"
	onion = "onion"
	i2p   = "i2p"
)

// Connection types, as getpeerinfo names them.
const (
	inbound        = "inbound"
	fullRelay      = "outbound-full-relay"
	blockRelayOnly = "block-relay-only"
)

// newPeer is a peer that is known to getpeerinfo; inbound ones of IPv4 are each from a
// network group of their own as far as there are enough.
func (l *life) newPeer(network, kind string) *peer {
	l.nextID++
	p := &peer{id: l.nextID, opened: l.now, address: fmt.Sprintf("%d.%d.8.8:%d", 20+l.nextID%60, l.nextID/60%250, 20_000+l.nextID%40_000)}
	if network != ipv4 {
		p.address = fmt.Sprintf("127.0.0.1:%d", 20_000+l.nextID%40_000)
	}
	p.info = &eventpb.PeerInfo{
		Id: proto.Uint32(uint32(p.id)), Address: proto.String(p.address), Network: proto.String(network), ConnectionType: proto.String(kind), Inbound: proto.Bool(kind == inbound),
		TransportProtocolType: proto.String("v2"), Version: proto.Uint32(70016), Subversion: proto.String("/Satoshi:29.0.0/"), Services: proto.String("0000000000000c09"),
		RelayTransactions: proto.Bool(kind != blockRelayOnly), ConnectionTime: proto.Int64(l.now.Unix()), PingTime: proto.Float64(0.08), MinimumPing: proto.Float64(0.06),
		InvToSend: proto.Uint64(5),
	}
	return p
}

// settle gives the node peers that came days ago: outbound 8 and 2, and inbound as many as
// given.
func (l *life) settle(inboundPeers int) {
	now := l.now
	l.now = now.Add(-72 * time.Hour)
	for range inboundPeers {
		l.peers = append(l.peers, l.newPeer(ipv4, inbound))
	}
	for i := range 10 {
		kind := fullRelay
		if i >= 8 {
			kind = blockRelayOnly
		}
		l.peers = append(l.peers, l.newPeer(ipv4, kind))
	}
	l.now = now
}

func (p *peer) connection() *eventpb.Connection {
	kind := eventpb.ConnectionType_CONNECTION_TYPE_INBOUND
	return &eventpb.Connection{PeerId: proto.Uint64(p.id), Addr: proto.String(p.address), ConnType: kind.ConnType().Enum(), ConnectionType: kind.Enum(), Network: proto.Uint32(1)}
}

func (l *life) connection(c *eventpb.ConnectionEvent) {
	l.tracepoint(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Connection{Connection: c}})
}

// accept lets an inbound peer of IPv4 come and say who it is.
func (l *life) accept() *peer {
	p := l.newPeer(ipv4, inbound)
	l.connection(&eventpb.ConnectionEvent{Event: &eventpb.ConnectionEvent_Inbound{Inbound: &eventpb.InboundConnection{Conn: p.connection(), ExistingConnections: proto.Uint64(uint64(len(l.peers) + len(l.visitors)))}}})
	l.message(p, "version", 110, &eventpb.MessageEvent{Msg: &eventpb.MessageEvent_Version{Version: &eventpb.Version{
		Version: proto.Uint32(70016), UserAgent: proto.String("/Satoshi:29.0.0/"), StartHeight: proto.Int32(l.height)}}})
	return p
}

// evict lets the node close the connection of a peer to make room.
func (l *life) evict(p *peer) {
	l.connection(&eventpb.ConnectionEvent{Event: &eventpb.ConnectionEvent_InboundEvicted{InboundEvicted: &eventpb.EvictedInboundConnection{
		Conn: p.connection(), TimeEstablished: proto.Uint64(uint64(p.opened.Unix()))}}})
	l.close(p)
}

func (l *life) close(p *peer) {
	l.connection(&eventpb.ConnectionEvent{Event: &eventpb.ConnectionEvent_Closed{Closed: &eventpb.ClosedConnection{
		Conn: p.connection(), TimeEstablished: proto.Uint64(uint64(p.opened.Unix()))}}})
}

// closeFirst ends the connections of so many settled peers.
func (l *life) closeFirst(n int) {
	for _, p := range l.peers[:n] {
		l.close(p)
	}
	l.peers = l.peers[n:]
}

// message is one that a peer sent.
func (l *life) message(p *peer, command string, size int, body *eventpb.MessageEvent) {
	kind := eventpb.ConnectionType_CONNECTION_TYPE_INBOUND
	body.Meta = &eventpb.Metadata{
		PeerId: proto.Uint64(p.id), Addr: proto.String(p.address), ConnType: kind.ConnType().Enum(), ConnectionType: kind.Enum(),
		Command: proto.String(command), Inbound: proto.Bool(true), Size: proto.Uint64(uint64(size)),
	}
	l.tracepoint(&eventpb.EbpfExtractor{EbpfEvent: &eventpb.EbpfExtractor_Message{Message: body}})
}

// busy is how the message thread was busy in the last step, for a share of each second: with
// what a peer asked for, of which the last was sent when that share had passed.
func (l *life) busy(p *peer, share float64) {
	now := l.now
	defer func() { l.now = now }()
	work := time.Duration(share * float64(time.Second))
	for l.now = now.Add(-l.pace); l.now.Before(now); l.now = l.now.Add(time.Second - work) {
		l.hit(p, "getdata", true)
		l.now, l.cpu = l.now.Add(work), l.cpu+work
		l.hit(p, "tx", false)
	}
}

// hit is a message that the message thread begins to handle or that it sends.
func (l *life) hit(p *peer, command string, received bool) {
	const thread, started = 1, time.Second
	kind := eventpb.ConnectionType_CONNECTION_TYPE_INBOUND
	l.tracepoint(&eventpb.EbpfExtractor{
		Hit: &eventpb.TracepointHit{Pid: proto.Uint32(thread), Tid: proto.Uint32(thread), Cpu: proto.Uint32(0), ThreadCpuTimeNs: proto.Uint64(uint64(started + l.cpu))},
		EbpfEvent: &eventpb.EbpfExtractor_Message{Message: &eventpb.MessageEvent{Meta: &eventpb.Metadata{
			PeerId: proto.Uint64(p.id), Addr: proto.String(p.address), ConnType: kind.ConnType().Enum(), ConnectionType: kind.Enum(),
			Command: proto.String(command), Inbound: proto.Bool(received), Size: proto.Uint64(352),
		}}},
	})
}

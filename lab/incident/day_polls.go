package incident

import (
	"fmt"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// addrmanEvery is the time between two polls of the address manager, whose tables are large.
const addrmanEvery = 30 * time.Minute

// lookAround is what the agent itself sees, every ten seconds.
func (d *day) lookAround() {
	d.agentStatus()
	if d.stopped {
		return
	}
	d.p2p(&eventpb.P2PExtractor{P2PEvent: &eventpb.P2PExtractor_PingDuration{PingDuration: &eventpb.PingDuration{
		Duration: proto.Uint64(uint64(loopbackRTT/2 + d.exponential(loopbackRTT)))}}})
	if d.steps%stepsOfPolls == 0 {
		d.pollPeers()
	}
	if d.steps%stepsOfTips == 0 {
		d.tips()
		orphans := make([]*eventpb.OrphanTx, d.orphaned)
		for i := range orphans {
			orphans[i] = &eventpb.OrphanTx{Wtxid: proto.String(strconv.Itoa(i)), Bytes: proto.Uint64(300), Vsize: proto.Uint64(200), Weight: proto.Uint64(800), From: []uint64{1}}
		}
		d.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_OrphanTxs{OrphanTxs: &eventpb.OrphanTxs{Orphans: orphans}}})
		d.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_BannedList{BannedList: &eventpb.BannedList{Count: proto.Uint64(0)}}})
	}
	if d.steps%int(addrmanEvery/step) == 0 {
		d.shared.poll(d)
	}
	d.steps++
}

// tracepoints are those that the agent attaches to.
func tracepoints() []string {
	return []string{
		"net:inbound_message", "net:outbound_message", "net:inbound_connection", "net:outbound_connection", "net:closed_connection",
		"net:evicted_inbound_connection", "net:misbehaving_connection", "mempool:added", "mempool:removed", "mempool:replaced", "mempool:rejected",
		"validation:block_connected",
	}
}

// agentStatus is what the agent says of itself and of the node's process.
func (d *day) agentStatus() {
	st := &eventpb.Status{}
	if !d.stopped {
		st.Node = &eventpb.NodeStatus{Chain: proto.String(d.chain), StartTimeNs: proto.Int64(d.start.UnixNano()), InboundCapacity: proto.Uint32(inboundSlots)}
	}
	for _, source := range []event.Source{event.SourceEBPF, event.SourceRPC, event.SourceP2P, event.SourceLog} {
		st.Sources = append(st.Sources, &eventpb.SourceStatus{Source: proto.String(source.String()), Up: proto.Bool(!d.stopped)})
	}
	st.HostClock = &eventpb.HostClock{Synchronized: proto.Bool(true), OffsetNs: proto.Int64(d.random.Int64N(400_000) - 200_000), EstimatedErrorNs: proto.Int64(1_000_000), MaxErrorNs: proto.Int64(20_000_000)}
	for _, name := range tracepoints() {
		st.Tracepoints = append(st.Tracepoints, &eventpb.TracepointStatus{Name: proto.String(name), Attached: proto.Bool(!d.stopped)})
	}
	d.emit(event.SourceObserver, &eventpb.Event{PeerObserverEvent: &eventpb.Event_Observer{
		Observer: &eventpb.Observer{ObserverEvent: &eventpb.Observer_Status{Status: st}}}})
}

func (d *day) p2p(x *eventpb.P2PExtractor) {
	x.Link = &eventpb.Link{Id: proto.Uint64(uint64(d.start.Unix())), TransportVersion: proto.Uint32(2)}
	d.emit(event.SourceP2P, &eventpb.Event{PeerObserverEvent: &eventpb.Event_P2PExtractor{P2PExtractor: x}})
}

// link is the observer's own link as it comes and goes.
func (d *day) link(state eventpb.LinkState_State) {
	d.p2p(&eventpb.P2PExtractor{P2PEvent: &eventpb.P2PExtractor_LinkState{LinkState: &eventpb.LinkState{State: state.Enum(), ObservedNode: proto.Bool(true)}}})
}

func (d *day) log(x *eventpb.LogExtractor) {
	d.emit(event.SourceLog, &eventpb.Event{PeerObserverEvent: &eventpb.Event_LogExtractor{LogExtractor: x}})
}

// pollPeers is a round of RPC.
func (d *day) pollPeers() {
	infos, in := make([]*eventpb.PeerInfo, 0, len(d.members)), uint32(0)
	for _, m := range d.members {
		if m.gone {
			continue
		}
		m.info.SyncedHeaders, m.info.SyncedBlocks = proto.Int64(int64(d.height-m.lacks)), proto.Int64(int64(d.height-m.lacks))
		m.info.LastReceived = proto.Int64(d.now.Unix())
		m.info.PingTime = proto.Float64(0.06 + 0.1*d.random.Float64())
		infos = append(infos, m.info)
		if m.info.GetInbound() {
			in++
		}
	}
	out := uint32(len(infos)) - in
	if len(infos) > 0 {
		// One of them has sent a part of a message.
		one := infos[d.random.IntN(len(infos))]
		whole := one.GetBytesReceived()
		one.BytesReceived = proto.Uint64(whole + uint64(d.random.IntN(100_000)))
		d.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_PeerInfos{PeerInfos: &eventpb.PeerInfos{Infos: infos}}})
		one.BytesReceived = proto.Uint64(whole)
	}
	const each = 2000 // bytes of memory of a transaction
	d.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_MempoolInfo{MempoolInfo: &eventpb.MempoolInfo{
		Loaded: proto.Bool(true), Size: proto.Int64(int64(len(d.pool))), Usage: proto.Int64(d.usage + each*int64(len(d.pool))), MaxMempool: proto.Int64(maxMempool),
		Mempoolminfee: proto.Float64(d.fee), Minrelaytxfee: proto.Float64(usualFee)}}})
	d.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_NetTotals{NetTotals: &eventpb.NetTotals{
		TotalBytesReceived: proto.Uint64(d.total.received), TotalBytesSent: proto.Uint64(d.total.sent), TimeMillis: proto.Uint64(uint64(d.now.UnixMilli()))}}})
	d.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_Uptime{Uptime: uint32(d.now.Sub(d.start) / time.Second)}})
	d.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_NetworkInfo{NetworkInfo: &eventpb.NetworkInfo{
		Version: proto.Int32(300000), LocalServices: proto.String("0000000000000c09"), LocalRelay: proto.Bool(true), NetworkActive: proto.Bool(true),
		Connections: proto.Uint32(in + out), ConnectionsIn: proto.Uint32(in), ConnectionsOut: proto.Uint32(out),
		LocalAddresses: []*eventpb.NetworkInfoLocalAddress{{Address: proto.String("20.1.2.3"), Port: proto.Uint32(8333), Score: proto.Uint32(100)}}}}})
	d.blockchain()
}

// tables are those of the address manager.
type tables struct {
	entries []tableEntry
}

type tableEntry struct {
	address, source string
	tried           bool
	at              time.Time
}

// Entries of the tables of the address manager: a quarter of what they can hold.
const (
	newEntries   = 16_384
	triedEntries = 4096
	bucketSize   = 64
)

// fill makes them, with the peers that the node has connected to.
func (t *tables) fill(d *day) {
	for i := range newEntries + triedEntries {
		e := d.newEntry(i)
		e.tried = i >= newEntries
		t.entries = append(t.entries, e)
	}
	for i, m := range d.members {
		if !m.info.GetInbound() {
			var a, b, x, y, port int
			if _, err := fmt.Sscanf(m.address, "%d.%d.%d.%d:%d", &a, &b, &x, &y, &port); err == nil {
				t.entries[newEntries+i].address = fmt.Sprintf("%d.%d.%d.%d", a, b, x, y)
			}
		}
	}
}

// newEntry is an address that one of many sources has told.
func (d *day) newEntry(i int) tableEntry {
	return tableEntry{
		address: fmt.Sprintf("%d.%d.%d.8", 20+i%60, i/60%250, d.random.IntN(250)),
		source:  fmt.Sprintf("%d.%d.8.8", 20+d.random.IntN(60), d.random.IntN(200)),
		at:      d.now.Add(-d.within(10 * 24 * time.Hour)),
	}
}

// poll is an answer of getrawaddrman; in each some of the new addresses are others.
func (t *tables) poll(d *day) {
	for range len(t.entries) / 100 {
		i := d.random.IntN(newEntries)
		t.entries[i] = d.newEntry(d.random.IntN(newEntries))
	}
	answer := &eventpb.Addrman{New: map[uint32]*eventpb.AddrmanBucket{}, Tried: map[uint32]*eventpb.AddrmanBucket{}}
	for i, e := range t.entries {
		table, place := answer.GetNew(), uint32(i)
		if e.tried {
			table, place = answer.GetTried(), uint32(i-newEntries)
		}
		bucket := table[place/bucketSize]
		if bucket == nil {
			bucket = &eventpb.AddrmanBucket{Entries: map[uint32]*eventpb.AddrmanEntry{}}
			table[place/bucketSize] = bucket
		}
		bucket.Entries[place%bucketSize] = &eventpb.AddrmanEntry{
			Address: proto.String(e.address), Port: proto.Uint32(8333), Network: proto.String(ipv4), Services: proto.Uint64(1033), Time: proto.Int64(e.at.Unix()),
			Source: proto.String(e.source), SourceNetwork: proto.String(ipv4),
		}
	}
	d.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_Addrman{Addrman: answer}})
	d.rpc(&eventpb.RpcExtractor{RpcEvent: &eventpb.RpcExtractor_AddrmanInfo{AddrmanInfo: &eventpb.AddrManInfo{Networks: map[string]*eventpb.AddrManInfoNetwork{
		ipv4: {New: proto.Uint64(newEntries), Tried: proto.Uint64(triedEntries), Total: proto.Uint64(newEntries + triedEntries)}}}}})
}

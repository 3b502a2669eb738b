package ebpf

import (
	"encoding/hex"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/bpf"
	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// truth is a node with everything that the extractor saw of it.
type truth struct {
	*observation
	node *regtest.Node
	// other is the node that makes connections with it; the onion address leads there too.
	other *regtest.Node
	// mark is where the events of the present step begin.
	mark int
}

// Every tracepoint that the node's program has fires, and all its arguments are what
// the node says by RPC or in its log.
func TestTracepointsEqualTheNodesWord(t *testing.T) {
	first := regtest.WithTracepoints(t, regtest.Config{})
	if err := first.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	binary := copyFile(t, first.Binary(), filepath.Join(t.TempDir(), "bitcoind"))
	o, stop := observe(t, Config{Node: noNode, Binary: binary, All: true, Probes: bpf.Options{Groups: bpf.Groups()}})
	o.waitUp(true)
	other := regtest.ForTest(t, regtest.Config{Binary: binary})
	node := regtest.ForTest(t, regtest.Config{Binary: binary, Debug: []string{"net"}, Args: []string{
		// Few inbound slots and a small mempool, so that both overflow soon.
		"-maxconnections=41", "-maxmempool=5", "-mempoolexpiry=1",
		// Onion addresses all lead to the other node.
		"-onion=" + proxy(t, other.P2PAddress()),
	}})
	w := &truth{observation: o, node: node, other: other}
	w.step(t, "eviction", w.eviction)
	w.step(t, "block", w.block)
	w.step(t, "mempool", w.mempool)
	w.step(t, "reorganisation", w.reorganisation)
	w.step(t, "expiry", w.expiry)
	w.step(t, "size limit", w.sizeLimit)
	w.step(t, "flush", w.flush)
	w.step(t, "rejection", w.rejection)
	w.step(t, "connection types", w.connectionTypes)
	w.step(t, "messages", w.messages)
	w.step(t, "connections", w.connections)
	stop()
	o.conserved()
	for i, s := range o.extractor.Status() {
		if tracepoint := bpf.Tracepoints()[i]; s.GetName() != tracepoint.String() || !s.GetAttached() && !tracepoint.Optional {
			t.Errorf("%v is not attached: %v", tracepoint, s)
		}
		if s.GetAttached() && (s.GetHits() == 0 || s.GetLost() != 0 || s.GetArgumentFaults() != 0 || s.GetStringsCut() != 0 || s.GetPayloadFaults() != 0) {
			t.Errorf("not seen, or not whole: %v", s)
		}
		t.Logf("%-34s attached=%-5v hits=%d", s.GetName(), s.GetAttached(), s.GetHits())
	}
}

func (w *truth) step(t *testing.T, name string, f func(t *testing.T)) {
	if !t.Run(name, func(t *testing.T) {
		w.mark = len(w.all())
		f(t)
	}) {
		t.FailNow()
	}
}

// seen are the events of this step of one kind and process.
func seen[M any](w *truth, pid int, pick func(*eventpb.EbpfExtractor) (M, bool)) []M {
	var list []M
	for _, e := range w.all()[w.mark:] {
		if x := e.GetEbpfExtractor(); int(x.GetHit().GetPid()) == pid {
			if m, ok := pick(x); ok {
				list = append(list, m)
			}
		}
	}
	return list
}

// expect waits until an event with exactly these arguments was seen.
func expect[M proto.Message](t *testing.T, w *truth, pid int, pick func(*eventpb.EbpfExtractor) (M, bool), want M) {
	t.Helper()
	eventually(t, fmt.Sprintf("%T", want), func() error {
		list := seen(w, pid, pick)
		for _, got := range list {
			if proto.Equal(got, want) {
				return nil
			}
		}
		return fmt.Errorf("want {%v}, have %v", want, list[max(0, len(list)-5):])
	})
}

func added(x *eventpb.EbpfExtractor) (*eventpb.Added, bool) {
	m := x.GetMempool().GetAdded()
	return m, m != nil
}

func removed(x *eventpb.EbpfExtractor) (*eventpb.Removed, bool) {
	m := x.GetMempool().GetRemoved()
	return m, m != nil
}

func replaced(x *eventpb.EbpfExtractor) (*eventpb.Replaced, bool) {
	m := x.GetMempool().GetReplaced()
	return m, m != nil
}

func rejected(x *eventpb.EbpfExtractor) (*eventpb.Rejected, bool) {
	m := x.GetMempool().GetRejected()
	return m, m != nil
}

func blockConnected(x *eventpb.EbpfExtractor) (*eventpb.BlockConnected, bool) {
	m := x.GetValidation().GetBlockConnected()
	return m, m != nil
}

func inboundConnection(x *eventpb.EbpfExtractor) (*eventpb.InboundConnection, bool) {
	m := x.GetConnection().GetInbound()
	return m, m != nil
}

func outboundConnection(x *eventpb.EbpfExtractor) (*eventpb.OutboundConnection, bool) {
	m := x.GetConnection().GetOutbound()
	return m, m != nil
}

func closedConnection(x *eventpb.EbpfExtractor) (*eventpb.ClosedConnection, bool) {
	m := x.GetConnection().GetClosed()
	return m, m != nil
}

func evictedConnection(x *eventpb.EbpfExtractor) (*eventpb.EvictedInboundConnection, bool) {
	m := x.GetConnection().GetInboundEvicted()
	return m, m != nil
}

func misbehaving(x *eventpb.EbpfExtractor) (*eventpb.MisbehavingConnection, bool) {
	m := x.GetConnection().GetMisbehaving()
	return m, m != nil
}

func coinAdded(x *eventpb.EbpfExtractor) (*eventpb.UtxoCacheCoin, bool) {
	m := x.GetUtxoCache().GetAdd()
	return m, m != nil
}

func coinSpent(x *eventpb.EbpfExtractor) (*eventpb.UtxoCacheCoin, bool) {
	m := x.GetUtxoCache().GetSpent()
	return m, m != nil
}

func coinUncached(x *eventpb.EbpfExtractor) (*eventpb.UtxoCacheCoin, bool) {
	m := x.GetUtxoCache().GetUncache()
	return m, m != nil
}

// peerInfo is an entry of getpeerinfo.
type peerInfo struct {
	ID             uint64 `json:"id"`
	Address        string `json:"addr"`
	ConnectionType string `json:"connection_type"`
	Network        string `json:"network"`
	Connected      uint64 `json:"conntime"`
}

// connection is the peer as a tracepoint should tell it.
func (p *peerInfo) connection(t *testing.T) *eventpb.Connection {
	t.Helper()
	// enum Network (netaddress.h)
	network, ok := map[string]uint32{"not_publicly_routable": 0, "onion": 3}[p.Network]
	if !ok {
		t.Fatalf("peer on network %q", p.Network)
	}
	kind, old := p.kind(t)
	return &eventpb.Connection{PeerId: &p.ID, Addr: &p.Address, ConnType: &old, ConnectionType: &kind, Network: &network}
}

// kind is the type of the connection, and the same in the existing tool's list of types.
func (p *peerInfo) kind(t *testing.T) (eventpb.ConnectionType, eventpb.ConnType) {
	t.Helper()
	kind, ok := map[string]eventpb.ConnectionType{
		"inbound":             eventpb.ConnectionType_CONNECTION_TYPE_INBOUND,
		"manual":              eventpb.ConnectionType_CONNECTION_TYPE_MANUAL,
		"outbound-full-relay": eventpb.ConnectionType_CONNECTION_TYPE_OUTBOUND_FULL_RELAY,
		"block-relay-only":    eventpb.ConnectionType_CONNECTION_TYPE_BLOCK_RELAY_ONLY,
	}[p.ConnectionType]
	if !ok {
		t.Fatalf("connection of type %q", p.ConnectionType)
	}
	return kind, map[string]eventpb.ConnType{
		"inbound":             eventpb.ConnType_CONN_TYPE_INBOUND,
		"manual":              eventpb.ConnType_CONN_TYPE_UNKNOWN,
		"outbound-full-relay": eventpb.ConnType_CONN_TYPE_OUTBOUND_FULL_RELAY,
		"block-relay-only":    eventpb.ConnType_CONN_TYPE_BLOCK_RELAY_ONLY,
	}[p.ConnectionType]
}

func call[R any](t *testing.T, n *regtest.Node, method string, params ...any) R {
	t.Helper()
	var result R
	if err := n.Call(t.Context(), method, params, &result); err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	return result
}

func peersOf(t *testing.T, n *regtest.Node) []peerInfo {
	t.Helper()
	return call[[]peerInfo](t, n, "getpeerinfo")
}

// connectionCount is the number of connections of one direction ("in", "out").
func connectionCount(t *testing.T, n *regtest.Node, direction string) uint64 {
	t.Helper()
	info := call[map[string]any](t, n, "getnetworkinfo")
	return uint64(info["connections_"+direction].(float64))
}

// eviction fills the node's inbound slots until a connection has to give way. All come
// from one group of addresses; Core protects some 20 by other merits (eviction.cpp).
func (w *truth) eviction(t *testing.T) {
	known := map[uint64]peerInfo{}
	pid := w.node.PID()
	for range 100 {
		if list := seen(w, pid, evictedConnection); len(list) > 0 {
			break
		}
		before := uint64(len(seen(w, pid, inboundConnection)))
		conn, err := net.Dial("tcp", w.node.P2PAddress())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		// Accepted, refused for want of a slot, or let in for another.
		eventually(t, "the connection", func() error {
			if uint64(len(seen(w, pid, inboundConnection))) == before {
				return fmt.Errorf("%d inbound connections", before)
			}
			return nil
		})
		for _, p := range peersOf(t, w.node) {
			if _, old := known[p.ID]; !old {
				known[p.ID] = p
				if p.Address == conn.LocalAddr().String() && len(seen(w, pid, evictedConnection)) == 0 {
					expect(t, w, pid, inboundConnection, &eventpb.InboundConnection{
						Conn: p.connection(t), ExistingConnections: proto.Uint64(connectionCount(t, w.node, "in")),
					})
				}
			}
		}
	}
	list := seen(w, pid, evictedConnection)
	if len(list) == 0 {
		t.Fatalf("no eviction with %d connections", len(known))
	}
	for _, got := range list {
		p, ok := known[got.GetConn().GetPeerId()]
		if !ok {
			t.Fatalf("evicted a connection that never was: %v", got)
		}
		want := &eventpb.EvictedInboundConnection{Conn: p.connection(t), TimeEstablished: &p.Connected}
		if !proto.Equal(got, want) {
			t.Errorf("evicted %v, want %v", got, want)
		}
		expect(t, w, pid, closedConnection, &eventpb.ClosedConnection{Conn: p.connection(t), TimeEstablished: &p.Connected})
	}
}

// txEntry is an answer of getmempoolentry.
type txEntry struct {
	Vsize int32  `json:"vsize"`
	Time  uint64 `json:"time"`
	Fees  struct {
		Base float64 `json:"base"` // BTC
	} `json:"fees"`
}

func (e *txEntry) fee() int64 { return satoshi(e.Fees.Base) }

func satoshi(btc float64) int64 { return int64(math.Round(btc * 1e8)) }

// internal is the byte order of the protocol for a hash as RPC prints it.
func internal(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(b)
	return b
}

func (w *truth) expectRemoved(t *testing.T, id, reason string, e *txEntry) {
	t.Helper()
	expect(t, w, w.node.PID(), removed, &eventpb.Removed{
		Txid: internal(t, id), Reason: &reason, Vsize: &e.Vsize, Fee: proto.Int64(e.fee()), EntryTime: &e.Time,
	})
}

// flush lets the node write its coins to disk. What the cache held is in the log line of
// the last block.
func (w *truth) flush(t *testing.T) {
	if _, err := w.node.Mine(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(w.node.LogFile())
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`UpdateTip: .* cache=([0-9.]+)MiB\((\d+)txo\)`).FindAllSubmatch(log, -1)
	if len(lines) == 0 {
		t.Fatal("the log doesn't tell the size of the cache")
	}
	last := lines[len(lines)-1]
	coins, _ := strconv.ParseUint(string(last[2]), 10, 64)
	mebibytes, _ := strconv.ParseFloat(string(last[1]), 64)
	w.mark = len(w.all())
	start := time.Now()
	call[map[string]any](t, w.node, "gettxoutsetinfo")
	took := time.Since(start)
	pick := func(x *eventpb.EbpfExtractor) (*eventpb.UtxoCacheFlush, bool) {
		m := x.GetUtxoCache().GetFlush()
		return m, m != nil
	}
	eventually(t, "the flush", func() error {
		if list := seen(w, w.node.PID(), pick); len(list) != 1 {
			return fmt.Errorf("%d flushes", len(list))
		}
		return nil
	})
	f := seen(w, w.node.PID(), pick)[0]
	const forceSync = 4 // FlushStateMode::FORCE_SYNC (validation.h)
	if f.GetMode() != forceSync || f.GetForPrune() || f.GetCoins() != coins ||
		math.Abs(float64(f.GetMemoryUsage())/(1<<20)-mebibytes) > 0.06 ||
		f.GetDuration() < 0 || f.GetDuration() > took.Microseconds() {
		t.Errorf("flush %v, want mode %d of %d coins in %.1f MiB in less than %v", f, forceSync, coins, mebibytes, took)
	}
}

// connections lets another node connect, behave badly and leave.
func (w *truth) connections(t *testing.T) {
	other := w.other
	if err := other.Connect(t.Context(), w.node); err != nil {
		t.Fatal(err)
	}
	here, there := peersOf(t, w.node), peersOf(t, other)
	if len(here) != 1 || len(there) != 1 {
		t.Fatalf("%d and %d peers", len(here), len(there))
	}
	expect(t, w, w.node.PID(), inboundConnection, &eventpb.InboundConnection{
		Conn: here[0].connection(t), ExistingConnections: proto.Uint64(connectionCount(t, w.node, "in")),
	})
	expect(t, w, other.PID(), outboundConnection, &eventpb.OutboundConnection{
		Conn: there[0].connection(t), ExistingConnections: proto.Uint64(connectionCount(t, other, "out")),
	})

	// A sendcmpct with another announce field than 0 or 1 (BIP152) is a fault.
	send(t, other, there[0].ID, "sendcmpct", []byte{7, 2, 0, 0, 0, 0, 0, 0, 0})
	line := regexp.MustCompile(`Misbehaving: peer=(\d+): (.*)\n`)
	var reason string
	eventually(t, "the misbehaviour in the log", func() error {
		log, err := os.ReadFile(w.node.LogFile())
		if err != nil {
			return err
		}
		m := line.FindSubmatch(log)
		if m == nil || string(m[1]) != strconv.FormatUint(here[0].ID, 10) {
			return fmt.Errorf("found %q", m)
		}
		reason = string(m[2])
		return nil
	})
	expect(t, w, w.node.PID(), misbehaving, &eventpb.MisbehavingConnection{Id: &here[0].ID, Message: &reason})
	expect(t, w, w.node.PID(), closedConnection, &eventpb.ClosedConnection{Conn: here[0].connection(t), TimeEstablished: &here[0].Connected})
	expect(t, w, other.PID(), closedConnection, &eventpb.ClosedConnection{Conn: there[0].connection(t), TimeEstablished: &there[0].Connected})
}

package rpc

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// sendOrphan makes from send to its only peer a transaction whose parent nobody knows.
func sendOrphan(ctx context.Context, from *regtest.Node) (*wire.MsgTx, error) {
	tx := wire.NewMsgTx(2)
	tx.AddTxIn(wire.NewTxIn(wire.NewOutPoint(&chainhash.Hash{0x77}, 0), nil, nil))
	tx.AddTxOut(wire.NewTxOut(50_000, append([]byte{0x00, 0x14}, make([]byte, 20)...)))
	var body bytes.Buffer
	if err := tx.Serialize(&body); err != nil {
		return nil, err
	}
	peers, err := from.Peers(ctx)
	if err != nil {
		return nil, err
	}
	return tx, from.Call(ctx, "sendmsgtopeer", []any{peers[0].ID, "tx", hex.EncodeToString(body.Bytes())}, nil)
}

// TestRealNode holds the events of every method against what the node says to a
// direct call.
func TestRealNode(t *testing.T) {
	nodes := regtest.NetworkForTest(t, 2, regtest.Config{V2: true, Args: []string{"-test=addrman"}})
	n, other := nodes[0], nodes[1]
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(n.Fund(ctx, 3))
	_, err := n.SendTransactions(ctx, 3)
	must(err)
	must(regtest.SyncBlocks(ctx, nodes...))
	must(regtest.SyncMempools(ctx, nodes...))
	for _, address := range []string{"1.2.3.4", "5.6.7.8", "2001:470::77"} {
		must(n.Call(ctx, "addpeeraddress", []any{address, 8333}, nil))
	}
	must(n.Call(ctx, "setban", []any{"10.1.2.0/24", "add"}, nil))
	orphan, err := sendOrphan(ctx, other)
	must(err)
	must(regtest.Eventually(ctx, func() error {
		var list []string
		if err := n.Call(ctx, "getorphantxs", []any{0}, &list); err != nil || len(list) != 1 {
			return fmt.Errorf("orphans %v: %w", list, err)
		}
		return nil
	}))

	intervals := map[string]time.Duration{}
	for _, m := range methods() {
		intervals[m.name] = 300 * time.Millisecond
	}
	r := newRig(t, n.RPC(), func(c *Config) { c.Intervals = intervals })
	stop := r.run(t)
	defer stop()

	last := func() map[string]*eventpb.RpcExtractor {
		kinds := map[string]*eventpb.RpcExtractor{}
		for _, e := range r.recorder.all() {
			rpc := e.GetRpcExtractor()
			kinds[fmt.Sprintf("%T", rpc.GetRpcEvent())] = rpc
			if e.GetTimestamp() == 0 || e.GetNodeStartTimeNs() == 0 || rpc.GetCallDurationNs() == 0 {
				t.Fatalf("event without time, start of the node or duration: %v", e)
			}
		}
		return kinds
	}
	must(regtest.Eventually(ctx, func() error {
		if kinds := last(); len(kinds) != 14 {
			return fmt.Errorf("%d kinds of events, want 14", len(kinds))
		}
		if up, detail := r.emitter.Account().State(); !up {
			return fmt.Errorf("source down: %s", detail)
		}
		return nil
	}))
	kinds := last()
	check := func(what string, got, want any) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: event says %v, node says %v", what, got, want)
		}
	}
	ask := func(method string, params any) map[string]any {
		t.Helper()
		var answer map[string]any
		must(n.Call(ctx, method, params, &answer))
		return answer
	}

	var peers []map[string]any
	must(n.Call(ctx, "getpeerinfo", nil, &peers))
	infos := kinds["*eventpb.RpcExtractor_PeerInfos"].GetPeerInfos().GetInfos()
	if len(infos) != 1 || len(peers) != 1 {
		t.Fatalf("%d peers in the event, %d in the answer", len(infos), len(peers))
	}
	peer := infos[0]
	for _, c := range []struct {
		key string
		got any
	}{
		{"id", peer.GetId()}, {"addr", peer.GetAddress()}, {"addrbind", peer.GetAddressBind()}, {"network", peer.GetNetwork()},
		{"services", peer.GetServices()}, {"relaytxes", peer.GetRelayTransactions()}, {"version", peer.GetVersion()},
		{"subver", peer.GetSubversion()}, {"inbound", peer.GetInbound()}, {"connection_type", peer.GetConnectionType()},
		{"transport_protocol_type", peer.GetTransportProtocolType()}, {"minping", peer.GetMinimumPing()},
		{"presynced_headers", peer.GetPresyncedHeaders()}, {"addr_relay_enabled", peer.GetAddrRelayEnabled()},
	} {
		if value := peers[0][c.key]; c.key == "id" || c.key == "version" || c.key == "presynced_headers" {
			check(c.key, c.got, int64(value.(float64)))
		} else {
			check(c.key, c.got, value)
		}
	}
	if sum(peer.GetBytesReceivedPerMessage()) == 0 || peer.GetBytesReceivedPerMessage()["version"] == 0 {
		t.Errorf("bytes by message type: %v", peer.GetBytesReceivedPerMessage())
	}

	mempool, want := kinds["*eventpb.RpcExtractor_MempoolInfo"].GetMempoolInfo(), ask("getmempoolinfo", nil)
	check("mempool size", mempool.GetSize(), 3)
	check("mempool bytes", mempool.GetBytes(), want["bytes"])
	check("total fee", mempool.GetTotalFee(), want["total_fee"])
	check("mempoolminfee", mempool.GetMempoolminfee(), feeRate(want["mempoolminfee"].(float64)))

	chain, want := kinds["*eventpb.RpcExtractor_BlockchainInfo"].GetBlockchainInfo(), ask("getblockchaininfo", nil)
	check("chain", chain.GetChain(), "regtest")
	check("height", chain.GetBlocks(), want["blocks"])
	check("tip", chain.GetBestblockhash(), want["bestblockhash"])
	check("chainwork", chain.GetChainwork(), want["chainwork"])
	check("difficulty", chain.GetDifficulty(), want["difficulty"])

	network, want := kinds["*eventpb.RpcExtractor_NetworkInfo"].GetNetworkInfo(), ask("getnetworkinfo", nil)
	check("version", network.GetVersion(), int(want["version"].(float64)))
	check("subversion", network.GetSubversion(), want["subversion"])
	check("connections in", network.GetConnectionsIn(), 1)
	check("relay fee", network.GetRelayFee(), feeRate(want["relayfee"].(float64)))
	check("networks", len(network.GetNetworks()), len(want["networks"].([]any)))
	check("first network", network.GetNetworks()[0].GetName(), "ipv4")

	stats, want := kinds["*eventpb.RpcExtractor_ChainTxStats"].GetChainTxStats(), ask("getchaintxstats", nil)
	check("transactions", stats.GetTxCount(), want["txcount"])
	check("transactions", stats.GetTxCount_64(), want["txcount"])
	check("window", stats.GetWindowFinalBlockHash(), want["window_final_block_hash"])

	var tips []map[string]any
	must(n.Call(ctx, "getchaintips", nil, &tips))
	gotTips := kinds["*eventpb.RpcExtractor_ChainTips"].GetChainTips().GetTips()
	check("tips", len(gotTips), len(tips))
	check("tip's hash", gotTips[0].GetHash(), tips[0]["hash"])
	check("tip's status", gotTips[0].GetStatus(), "active")

	check("banned", kinds["*eventpb.RpcExtractor_BannedList"].GetBannedList().GetCount(), 1)
	check("new addresses", kinds["*eventpb.RpcExtractor_AddrmanInfo"].GetAddrmanInfo().GetNetworks()["all_networks"].GetNew(), 3)
	check("locked memory", kinds["*eventpb.RpcExtractor_MemoryInfo"].GetMemoryInfo().GetTotal(),
		int64(ask("getmemoryinfo", nil)["locked"].(map[string]any)["total"].(float64)))
	if totals := kinds["*eventpb.RpcExtractor_NetTotals"].GetNetTotals(); totals.GetTotalBytesReceived() == 0 || totals.GetTimeMillis() < 1.7e12 {
		t.Errorf("net totals: %v", totals)
	}
	var uptime uint32
	must(n.Call(ctx, "uptime", nil, &uptime))
	if got := kinds["*eventpb.RpcExtractor_Uptime"].GetUptime(); got > uptime || got+60 < uptime {
		t.Errorf("uptime: event says %d, node says %d", got, uptime)
	}
	if fee := kinds["*eventpb.RpcExtractor_EstimateSmartFee"].GetEstimateSmartFee(); fee.FeeRate != nil || len(fee.GetErrors()) != 1 {
		t.Errorf("a node without data answers estimatesmartfee with %v", fee)
	}

	orphans := kinds["*eventpb.RpcExtractor_OrphanTxs"].GetOrphanTxs().GetOrphans()
	if len(orphans) != 1 {
		t.Fatalf("orphans: %v", orphans)
	}
	hash := orphan.TxHash()
	check("orphan's txid", orphans[0].GetTxid(), hash.String())
	check("orphan's txid in internal order", orphans[0].GetTransaction().GetTxid(), hash[:])
	check("orphan's sender", orphans[0].GetFrom(), []uint64{uint64(peer.GetId())})
	check("orphan's size", len(orphans[0].GetTransaction().GetRaw()), orphan.SerializeSize())

	var raw map[string]map[string]struct {
		Address string `json:"address"`
	}
	must(n.Call(ctx, "getrawaddrman", nil, &raw))
	addrman := kinds["*eventpb.RpcExtractor_Addrman"].GetAddrman()
	var got, places []string
	for bucket, b := range addrman.GetNew() {
		for position, e := range b.GetEntries() {
			got = append(got, fmt.Sprintf("%d/%d %s", bucket, position, e.GetAddress()))
		}
	}
	for place, e := range raw["new"] {
		places = append(places, place+" "+e.Address)
	}
	slices.Sort(got)
	slices.Sort(places)
	check("address manager", got, places)
	if len(got) != 3 {
		t.Errorf("%d addresses, want 3", len(got))
	}
	for _, loss := range r.ledger.Status().GetLosses() {
		if loss.GetCount() != 0 {
			t.Errorf("%d lost at %s by %s", loss.GetCount(), loss.GetStage(), loss.GetReason())
		}
	}

	// A restart rotates the cookie; nobody tells the extractor.
	n.Kill()
	must(regtest.Eventually(ctx, func() error {
		if up, _ := r.emitter.Account().State(); up {
			return fmt.Errorf("source is up while the node is dead")
		}
		return nil
	}))
	must(n.Restart(ctx))
	r.setNode(n.RPC(), 2)
	before := len(r.recorder.all())
	must(regtest.Eventually(ctx, func() error {
		if up, detail := r.emitter.Account().State(); !up {
			return fmt.Errorf("source down after the restart: %s", detail)
		}
		if len(r.recorder.all()) < before+20 {
			return fmt.Errorf("%d events after the restart", len(r.recorder.all())-before)
		}
		return nil
	}))
}

func sum(counts map[string]uint64) (total uint64) {
	for _, n := range counts {
		total += n
	}
	return total
}

// TestRealNodesAnswersHaveNoUnknownPeerFields notices a node that says more of its
// peers than we pass on, so that nobody overlooks it.
func TestRealNodesAnswersHaveNoUnknownPeerFields(t *testing.T) {
	known := map[string]bool{
		// Derived from what we carry, or not worth carrying.
		"servicesnames": true, "session_id": true,
		// Bitcoin Knots.
		"forced_inbound": true, "misbehavior_score": true, "last_block_announcement": true,
	}
	for _, c := range peerInfoColumns() {
		known[c.key] = true
	}
	nodes := regtest.NetworkForTest(t, 2, regtest.Config{})
	var peers []map[string]json.RawMessage
	if err := nodes[0].Call(t.Context(), "getpeerinfo", nil, &peers); err != nil || len(peers) == 0 {
		t.Fatalf("%d peers, %v", len(peers), err)
	}
	for key := range peers[0] {
		if !known[key] {
			t.Errorf("getpeerinfo has %q, which no field carries", key)
		}
	}
}

package p2pmessage

import (
	"bytes"
	"encoding/binary"
	"io"
	"maps"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"

	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// A real node's messages of every type that it can be brought to send are decoded,
// and say what the node says by RPC.
func TestMessagesOfARealNode(t *testing.T) {
	node := regtest.ForTest(t, regtest.Config{Args: []string{
		"-peerbloomfilters=1", "-blockfilterindex=1", "-peerblockfilters=1", "-txreconciliation=1",
	}})
	ctx := t.Context()
	if _, err := node.SendTransactions(ctx, 30); err != nil {
		t.Fatal(err)
	}
	tip, err := node.Mine(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	addresses := fillAddressManager(t, node)

	peer := connect(t, node, true)
	blockHash, err := chainhash.NewHashFromStr(tip[0])
	if err != nil {
		t.Fatal(err)
	}
	request := func(kind uint32, hash []byte) payload { return payload{}.u8(1).u32(kind).raw(hash...) }

	var truth struct {
		Height int
		Tx     []struct{ Txid, Hash string }
	}
	if err := node.Call(ctx, "getblock", []any{tip[0], 2}, &truth); err != nil {
		t.Fatal(err)
	}

	peer.send("getdata", request(inventoryWitnessBlock, blockHash[:]))
	block := peer.expect("block").GetBlock()
	if display(block.GetHeader().GetHash()) != tip[0] {
		t.Errorf("block %s, want %s", display(block.GetHeader().GetHash()), tip[0])
	}
	if len(truth.Tx) < 31 || len(block.GetTransactions()) != len(truth.Tx) {
		t.Fatalf("%d transactions, want %d", len(block.GetTransactions()), len(truth.Tx))
	}
	for i, tx := range block.GetTransactions() {
		if display(tx.GetTxid()) != truth.Tx[i].Txid || display(tx.GetWtxid()) != truth.Tx[i].Hash {
			t.Errorf("transaction %d: %s %s, want %v", i, display(tx.GetTxid()), display(tx.GetWtxid()), truth.Tx[i])
		}
	}

	peer.send("getdata", request(inventoryCompactBlock, blockHash[:]))
	compact := peer.expect("cmpctblock").GetCompactblock()
	if n := len(compact.GetShortIds()) + len(compact.GetTransactions()); n != len(truth.Tx) {
		t.Errorf("compact block of %d transactions, want %d", n, len(truth.Tx))
	}
	peer.send("getblocktxn", payload{}.raw(blockHash[:]...).u8(3).raw(0, 1, 5)) // 0, 2, 8
	for i, tx := range peer.expect("blocktxn").GetBlocktxn().GetTransactions() {
		if want := truth.Tx[[]int{0, 2, 8}[i]].Txid; display(tx.GetTxid()) != want {
			t.Errorf("blocktxn has %s, want %s", display(tx.GetTxid()), want)
		}
	}

	peer.send("getheaders", payload{}.u32(70016).u8(0).raw(blockHash[:]...))
	if h := peer.expect("headers").GetHeaders().GetHeaders(); len(h) != 1 || display(h[0].GetHash()) != tip[0] {
		t.Errorf("headers %v", h)
	}
	peer.send("getheaders", payload{}.u32(70016).u8(1).raw(genesisOf(t, node)...).raw(make([]byte, hashSize)...))
	if h := peer.expect("headers").GetHeaders().GetHeaders(); len(h) != truth.Height || display(h[len(h)-1].GetHash()) != tip[0] {
		t.Errorf("%d headers, want %d", len(h), truth.Height)
	}
	peer.send("getblocks", payload{}.u32(70016).u8(1).raw(genesisOf(t, node)...).raw(make([]byte, hashSize)...))
	peer.expect("inv")
	peer.send("getdata", request(inventoryWtx, bytes.Repeat([]byte{9}, hashSize)))
	peer.expect("notfound")

	height := uint32(truth.Height)
	peer.send("getcfilters", payload{}.u8(0).u32(height).raw(blockHash[:]...))
	filter := peer.expect("cfilter").GetCfilter()
	var filterTruth struct{ Filter string }
	if err := node.Call(ctx, "getblockfilter", []any{tip[0]}, &filterTruth); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(filter.GetFilter(), fromHex(t, filterTruth.Filter)) {
		t.Errorf("filter %x, want %s", filter.GetFilter(), filterTruth.Filter)
	}
	peer.send("getcfheaders", payload{}.u8(0).u32(height-3).raw(blockHash[:]...))
	if n := len(peer.expect("cfheaders").GetCfheaders().GetFilterHashes()); n != 4 {
		t.Errorf("%d filter hashes", n)
	}
	peer.send("getcfcheckpt", payload{}.u8(0).raw(blockHash[:]...))
	peer.expect("cfcheckpt")

	// A filter of ones matches everything.
	peer.send("filterload", payload{}.varBytes([]byte{0xff}).u32(1).u32(0).u8(0))
	peer.send("getdata", request(3, blockHash[:]))
	merkle := peer.expect("merkleblock").GetMerkleblock()
	if int(merkle.GetNumTransactions()) != len(truth.Tx) || len(merkle.GetHashes()) != len(truth.Tx) {
		t.Errorf("Merkle block of %d transactions with %d hashes", merkle.GetNumTransactions(), len(merkle.GetHashes()))
	}

	ids, err := node.SendTransactions(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	var entry struct{ Wtxid string }
	if err := node.Call(ctx, "getmempoolentry", []any{ids[0]}, &entry); err != nil {
		t.Fatal(err)
	}
	wtxid, err := chainhash.NewHashFromStr(entry.Wtxid)
	if err != nil {
		t.Fatal(err)
	}
	peer.send("mempool", nil)
	for !slices.ContainsFunc(peer.expect("inv").GetInv().GetItems(), func(i *eventpb.InventoryItem) bool {
		return bytes.Equal(i.GetWtx(), wtxid[:])
	}) {
	}
	peer.send("getdata", request(inventoryWtx, wtxid[:]))
	for display(peer.expect("tx").GetTx().GetTx().GetTxid()) != ids[0] {
		// Transactions of the Merkle block come before it.
	}

	old := connect(t, node, false)
	peer.send("getaddr", nil)
	old.send("getaddr", nil)
	for _, a := range peer.expect("addrv2").GetAddrv2().GetAddresses() {
		if text := textOf(a); !addresses[text] {
			t.Errorf("the node doesn't know %s", text)
		}
	}
	for _, a := range old.expect("addr").GetAddr().GetAddresses() {
		if text := textOf(a); !addresses[text] {
			t.Errorf("the node doesn't know %s", text)
		}
	}

	for _, name := range []string{
		"version", "verack", "wtxidrelay", "sendaddrv2", "sendtxrcncl", "sendcmpct", "ping", "getheaders", "feefilter",
	} {
		if !peer.seen[name] {
			t.Errorf("the node sent no %s", name)
		}
	}
	t.Logf("types seen: %v", slices.Sorted(maps.Keys(peer.seen)))
}

func genesisOf(t *testing.T, node *regtest.Node) []byte {
	t.Helper()
	var text string
	if err := node.Call(t.Context(), "getblockhash", []any{0}, &text); err != nil {
		t.Fatal(err)
	}
	hash, err := chainhash.NewHashFromStr(text)
	if err != nil {
		t.Fatal(err)
	}
	return hash[:]
}

// fillAddressManager tells the node of addresses of all networks that it knows and
// gives their texts.
func fillAddressManager(t *testing.T, node *regtest.Node) map[string]bool {
	t.Helper()
	c := newSeeded(6)
	addresses := map[string]bool{}
	routable := []struct {
		network Network
		prefix  []byte
	}{
		{NetworkIPv4, []byte{8}}, {NetworkIPv6, []byte{0x2a}}, {NetworkTorV3, nil}, {NetworkI2P, nil}, {NetworkCJDNS, []byte{0xfc}},
	}
	for range 25 {
		for _, r := range routable {
			network, prefix := r.network, r.prefix
			address := append(slices.Clone(prefix), c.bytes(network.size()-len(prefix))...)
			text, ok := AddressText(network, address)
			if !ok {
				t.Fatalf("no text for network %d", network)
			}
			port := 8333
			if network == NetworkI2P {
				port = 0
			}
			// The node reads the texts, and would refuse one that isn't right.
			var answer struct{ Success bool }
			if err := node.Call(t.Context(), "addpeeraddress", []any{text, port, false}, &answer); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			addresses[text] = true
		}
	}
	// What it prints must be what we print.
	var known []struct{ Address, Network string }
	if err := node.Call(t.Context(), "getnodeaddresses", []any{0}, &known); err != nil {
		t.Fatal(err)
	}
	networks := map[string]int{}
	for _, k := range known {
		networks[k.Network]++
		if !addresses[k.Address] {
			t.Errorf("the node has %s", k.Address)
		}
	}
	for _, network := range []string{"ipv4", "ipv6", "onion", "i2p"} {
		if networks[network] == 0 {
			t.Errorf("no %s address got into the node: %v", network, networks)
		}
	}
	return addresses
}

func textOf(a *eventpb.Address) string {
	// One of them.
	return a.GetIpv4() + a.GetIpv6() + a.GetTorv2() + a.GetTorv3() + a.GetI2P() + a.GetCjdns()
}

// scriptedPeer is a connection to a node over the old transport. Everything that the
// node sends is decoded and checked.
type scriptedPeer struct {
	t     *testing.T
	conn  net.Conn
	coder *Transcoder
	seen  map[string]bool
}

const (
	regtestMagic    = "\xfa\xbf\xb5\xda"
	transportHeader = 24
	answerTimeout   = 60 * time.Second
)

// connect opens a connection and finishes the handshake.
func connect(t *testing.T, node *regtest.Node, addrV2 bool) *scriptedPeer {
	t.Helper()
	conn, err := net.Dial("tcp", node.P2PAddress())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	p := &scriptedPeer{t: t, conn: conn, coder: New(), seen: map[string]bool{}}
	p.send("version", payload{}.u32(70016).u64(9).u64(uint64(time.Now().Unix())).raw(make([]byte, 52)...).
		u64(4711).varBytes([]byte("/test:1/")).u32(0).u8(1))
	p.expect("version")
	p.send("wtxidrelay", nil)
	if addrV2 {
		p.send("sendaddrv2", nil)
	}
	p.send("verack", nil)
	p.expect("verack")
	return p
}

func (p *scriptedPeer) send(name string, content payload) {
	p.t.Helper()
	var command [12]byte
	copy(command[:], name)
	message := payload{}.raw([]byte(regtestMagic)...).raw(command[:]...).u32(uint32(len(content))).
		raw(chainhash.DoubleHashB(content)[:4]...).raw(content...)
	if _, err := p.conn.Write(message); err != nil {
		p.t.Fatalf("sending %s: %v", name, err)
	}
	check(p.t, p.coder, name, content, len(content))
}

// expect reads messages until one of the type comes.
func (p *scriptedPeer) expect(name string) *eventpb.MessageEvent {
	p.t.Helper()
	if err := p.conn.SetReadDeadline(time.Now().Add(answerTimeout)); err != nil {
		p.t.Fatal(err)
	}
	for {
		var header [transportHeader]byte
		if _, err := io.ReadFull(p.conn, header[:]); err != nil {
			p.t.Fatalf("waiting for %s: %v", name, err)
		}
		got := string(bytes.TrimRight(header[4:16], "\x00"))
		content := make([]byte, binary.LittleEndian.Uint32(header[16:]))
		if _, err := io.ReadFull(p.conn, content); err != nil {
			p.t.Fatalf("reading %s: %v", got, err)
		}
		p.seen[got] = true
		e := check(p.t, p.coder, got, content, len(content))
		if e.GetUnknown() != nil || e.TrailingBytes != nil {
			p.t.Errorf("a real node's %s isn't understood: %v", got, e)
		}
		checkAgainstBtcd(p.t, got, content, e)
		if got == "ping" {
			p.send("pong", content)
		}
		if got == name {
			return e
		}
	}
}

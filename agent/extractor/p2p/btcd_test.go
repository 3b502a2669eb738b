package p2p

import (
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/peer"
	"github.com/btcsuite/btcd/wire/v2"

	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// btcd's peer as the node: a second implementation of the other side. (The btcd
// program itself keeps no connection to a peer without services.)
func TestLinkWithBtcd(t *testing.T) {
	scriptedTransports(t, func(t *testing.T, n *scriptedNode) {
		n.linked = make(chan *scriptedLink, 8)
		requests := make(chan *wire.MsgGetHeaders, 8)
		headers := make(chan *wire.MsgHeaders, 8)
		config := peer.Config{
			UserAgentName: "btcd", UserAgentVersion: "0.0.1",
			ChainParams:     &chaincfg.RegressionNetParams,
			Services:        wire.SFNodeNetwork | wire.SFNodeP2PV2,
			UsingV2Conn:     n.v2,
			TrickleInterval: time.Second,
			Listeners: peer.MessageListeners{
				OnGetHeaders: func(_ *peer.Peer, m *wire.MsgGetHeaders) { requests <- m },
				OnHeaders:    func(_ *peer.Peer, m *wire.MsgHeaders) { headers <- m },
			},
		}
		source := make(chan *Source, 1)
		n.source = func() *Source {
			s := <-source
			source <- s
			return s
		}
		r := startRig(t, Config{Client: func() Caller { return n }, PingInterval: 50 * time.Millisecond})
		source <- r.source
		accepted := <-n.linked
		p, err := peer.NewOutboundPeer(&config, r.address())
		if err != nil {
			t.Fatal(err)
		}
		p.AssociateConnection(accepted.conn)
		t.Cleanup(func() {
			p.Disconnect()
			p.WaitForDisconnect()
		})

		up := r.waitLinked(t, 1)
		if got := up.GetLinkState(); got.GetUserAgent() != "/btcwire:0.5.0/btcd:0.0.1/" || got.GetServices() != uint64(config.Services) || got.GetProtocolVersion() == 0 {
			t.Errorf("link state %v", got)
		}
		if got := up.GetLink().GetTransportVersion(); got != map[bool]uint32{false: 1, true: 2}[n.v2] {
			t.Errorf("link over v%d", got)
		}
		r.waitPings(t, 3)
		if request := <-requests; request.HashStop.String() != bestHash || len(request.BlockLocatorHashes) != 0 {
			t.Errorf("getheaders %v", request)
		}

		// btcd's own encoding of what we publish.
		p.QueueMessage(wire.NewMsgFeeFilter(1234), nil)
		block := chaincfg.RegressionNetParams.GenesisBlock
		announced := wire.NewMsgHeaders()
		if err := announced.AddBlockHeader(&block.Header); err != nil {
			t.Fatal(err)
		}
		p.QueueMessage(announced, nil)
		hash := block.BlockHash()
		txInv := wire.NewMsgInv()
		if err := txInv.AddInvVect(wire.NewInvVect(wire.InvTypeTx, &hash)); err != nil {
			t.Fatal(err)
		}
		p.QueueMessage(txInv, nil)
		// getheaders without a block that we know gets an empty answer.
		p.QueueMessage(wire.NewMsgGetHeaders(), nil)

		r.waitFor(t, "the fee filter", 0, func(e *eventpb.P2PExtractor) bool { return e.GetFeefilterAnnouncement() == 1234 })
		found := r.waitFor(t, "the header", 0, func(e *eventpb.P2PExtractor) bool { return e.GetBlockAnnouncement() != nil })
		h := found.GetBlockAnnouncement().GetHeaders()[0]
		if string(h.GetHash()) != string(hash[:]) || h.GetBits() != block.Header.Bits || h.GetTime() != uint32(block.Header.Timestamp.Unix()) ||
			h.GetNonce() != block.Header.Nonce || h.GetVersion() != block.Header.Version || string(h.GetMerkleRoot()) != string(block.Header.MerkleRoot[:]) {
			t.Errorf("header %v, want %+v", h, block.Header)
		}
		item := r.waitFor(t, "the inv", 0, func(e *eventpb.P2PExtractor) bool { return e.GetInventoryAnnouncement() != nil })
		if got := item.GetInventoryAnnouncement().GetInventory(); len(got) != 1 || string(got[0].GetTransaction()) != string(hash[:]) {
			t.Errorf("inventory %v", got)
		}
		if answer := <-headers; len(answer.Headers) != 0 {
			t.Errorf("%d headers from a peer without blocks", len(answer.Headers))
		}
		if lost := r.lost(event.StageRead, event.ReasonMalformed) + r.lost(event.StageRead, reasonChecksum); lost != 0 {
			t.Errorf("%d messages of btcd could not be read", lost)
		}
	})
}

package p2p

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// transports are the two ways in which a node speaks to us.
func transports(t *testing.T, test func(t *testing.T, v2 bool, version uint32)) {
	t.Run("v1", func(t *testing.T) { test(t, false, 1) })
	t.Run("v2", func(t *testing.T) { test(t, true, 2) })
}

// wakeUp mines a block, with which a fresh node leaves initial block download.
func wakeUp(t *testing.T, n *regtest.Node) {
	t.Helper()
	if _, err := n.Mine(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
}

// reversed is a hash as RPC prints it, in the byte order of the wire.
func reversed(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(b)
	return b
}

func TestLinkWithRealNode(t *testing.T) {
	transports(t, func(t *testing.T, v2 bool, version uint32) {
		n := regtest.ForTest(t, regtest.Config{V2: v2, Debug: []string{"net"}})
		wakeUp(t, n)
		r := startRig(t, Config{Client: rpcOf(n), UserAgent: "/peer-observer:test/", NodeStart: func() int64 { return 42 }})

		up := r.waitLinked(t, 1)
		state := up.GetLinkState()
		var info struct {
			ProtocolVersion uint32 `json:"protocolversion"`
			Subversion      string `json:"subversion"`
			Services        string `json:"localservices"`
		}
		if err := n.Call(t.Context(), "getnetworkinfo", nil, &info); err != nil {
			t.Fatal(err)
		}
		if state.GetProtocolVersion() != info.ProtocolVersion || state.GetUserAgent() != info.Subversion ||
			state.GetStartHeight() != 1 || !state.GetObservedNode() || state.GetServices()&1 == 0 {
			t.Errorf("link state %v, node says %+v", state, info)
		}
		if up.GetLink().GetTransportVersion() != version {
			t.Errorf("link over v%d, want v%d", up.GetLink().GetTransportVersion(), version)
		}

		// The node must see a well-behaved manual peer.
		r.waitPings(t, 3)
		peers, err := n.Peers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(peers) != 1 {
			t.Fatalf("the node has %d peers, want 1: %+v", len(peers), peers)
		}
		peer := peers[0]
		if peer.Subversion != "/peer-observer:test/" || peer.ConnectionType != "manual" || peer.Inbound ||
			peer.Transport != map[bool]string{false: "v1", true: "v2"}[v2] || uint64(peer.ID) != up.GetLink().GetPeerId() {
			t.Errorf("the node sees %+v, the link is %v", peer, up.GetLink())
		}
		if up, detail := r.ledger.Source(event.SourceP2P).State(); !up {
			t.Errorf("the account says down: %s", detail)
		}
		for i, e := range r.received() {
			if e.GetNodeStartTimeNs() != 42 || e.GetReceiveTimeNs() == 0 || e.GetSequence() != uint64(i+1) {
				t.Errorf("event %d has header %v", i, e)
			}
		}
		for _, e := range r.all() {
			if p := e.GetPingDuration(); p != nil && (p.GetDuration() == 0 || p.GetDuration() > uint64(time.Minute)) {
				t.Errorf("round trip of %d ns", p.GetDuration())
			}
		}

		// Nothing is left in the node after the end.
		r.stop()
		eventually(t, "the node to see the end", func() bool {
			peers, err := n.Peers(t.Context())
			return err == nil && len(peers) == 0
		})
		var added []any
		if err := n.Call(t.Context(), "getaddednodeinfo", nil, &added); err != nil {
			t.Fatal(err)
		}
		if len(added) != 0 {
			t.Errorf("added nodes left in the node: %v", added)
		}
		last := r.all()[len(r.all())-1]
		if last.GetLinkState().GetState() != eventpb.LinkState_STATE_DOWN || last.GetLink().GetId() != 1 {
			t.Errorf("last event %v, want the link's end", last)
		}
	})
}

func TestAnnouncementsOfRealNode(t *testing.T) {
	transports(t, func(t *testing.T, v2 bool, _ uint32) {
		n := regtest.ForTest(t, regtest.Config{V2: v2, Debug: []string{"net"}})
		if err := n.Fund(t.Context(), 20); err != nil {
			t.Fatal(err)
		}
		r := startRig(t, Config{Client: rpcOf(n)})
		r.waitLinked(t, 1)
		// The answers to getheaders and to this ping have come.
		r.waitPings(t, 2)

		fee := r.waitFor(t, "feefilter", 0, func(e *eventpb.P2PExtractor) bool {
			_, is := e.GetP2PEvent().(*eventpb.P2PExtractor_FeefilterAnnouncement)
			return is
		})
		if got := fee.GetFeefilterAnnouncement(); got < 1 || got > 10_000 {
			t.Errorf("fee filter of %d sat/kvB", got)
		}

		t.Run("transactions", func(t *testing.T) {
			txids, err := n.SendTransactions(t.Context(), 20)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]bool{}
			for _, txid := range txids {
				var entry struct {
					WTXID string `json:"wtxid"`
				}
				if err := n.Call(t.Context(), "getmempoolentry", []any{txid}, &entry); err != nil {
					t.Fatal(err)
				}
				want[string(reversed(t, entry.WTXID))] = true
			}
			eventually(t, "all transactions to be announced", func() bool {
				seen := 0
				for _, e := range r.all() {
					for _, item := range e.GetInventoryAnnouncement().GetInventory() {
						if want[string(item.GetWtx())] {
							seen++
						}
					}
				}
				return seen == len(want)
			})
		})

		t.Run("compact block", func(t *testing.T) {
			hashes, err := n.Mine(t.Context(), 2)
			if err != nil {
				t.Fatal(err)
			}
			for _, hash := range hashes {
				want := string(reversed(t, hash))
				found := r.waitFor(t, "block "+hash, 0, func(e *eventpb.P2PExtractor) bool {
					headers := e.GetBlockAnnouncement().GetHeaders()
					return len(headers) == 1 && string(headers[0].GetHash()) == want
				})
				if via := found.GetBlockAnnouncement().GetVia(); via != eventpb.BlockAnnouncement_VIA_COMPACT_BLOCK {
					t.Errorf("block announced %s, want by compact block", via)
				}
			}
		})

		t.Run("headers", func(t *testing.T) {
			// Another node brings a branch that is longer by one: the node switches
			// to it and announces its two blocks by one message.
			other := regtest.ForTest(t, regtest.Config{V2: v2})
			if err := other.Connect(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			if err := regtest.SyncBlocks(t.Context(), n, other); err != nil {
				t.Fatal(err)
			}
			if err := other.Disconnect(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			if _, err := n.Mine(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			// With another script, or both would mine the same block.
			var branch []string
			if err := other.Call(t.Context(), "generatetodescriptor", []any{2, "raw(52)"}, &branch); err != nil {
				t.Fatal(err)
			}
			if err := other.Connect(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			first, second := string(reversed(t, branch[0])), string(reversed(t, branch[1]))
			found := r.waitFor(t, "the new branch", 0, func(e *eventpb.P2PExtractor) bool {
				headers := e.GetBlockAnnouncement().GetHeaders()
				return len(headers) > 0 && string(headers[len(headers)-1].GetHash()) == second
			})
			headers := found.GetBlockAnnouncement().GetHeaders()
			if via := found.GetBlockAnnouncement().GetVia(); via != eventpb.BlockAnnouncement_VIA_HEADERS || len(headers) != 2 ||
				string(headers[0].GetHash()) != first || string(headers[1].GetPrevBlockhash()) != first {
				t.Errorf("announcement %v, want both headers of the branch", found)
			}
		})
		if lost := r.lost(event.StageRead, event.ReasonMalformed); lost != 0 {
			t.Errorf("%d messages of the node could not be decoded", lost)
		}
	})
}

func TestAddressesRelayedByRealNode(t *testing.T) {
	transports(t, func(t *testing.T, v2 bool, _ uint32) {
		// Without the permission the node takes one address in ten seconds from a
		// peer that connected to it.
		n := regtest.ForTest(t, regtest.Config{V2: v2, Debug: []string{"net"}, Args: []string{"-whitelist=addr,in@127.0.0.1"}})
		wakeUp(t, n)
		r := startRig(t, Config{Client: rpcOf(n)})
		r.waitLinked(t, 1)

		now := time.Now()
		want := announceAddresses(t, n, now)
		// The node sends addresses on after a random time with a mean of 30 s: its
		// clock is moved, in steps that no ping timeout notices.
		for step := 1; ; step++ {
			if err := n.Call(t.Context(), "setmocktime", []any{now.Unix() + int64(step)*60}, nil); err != nil {
				t.Fatal(err)
			}
			r.waitPings(t, 2)
			if seen := seenAddresses(r.all()); len(seen) == len(want) || step == 30 {
				for _, address := range want {
					if !slices.Contains(seen, address) {
						t.Errorf("the node did not send on %s (it sent %v)", address, seen)
					}
				}
				break
			}
		}
	})
}

// seenAddresses are all announced addresses with their network in front.
func seenAddresses(events []*eventpb.P2PExtractor) []string {
	var list []string
	for _, e := range events {
		for _, a := range e.GetAddressAnnouncement().GetAddresses() {
			text := "?"
			switch a.GetAddress().(type) {
			case *eventpb.Address_Ipv4:
				text = "ipv4 " + a.GetIpv4()
			case *eventpb.Address_Ipv6:
				text = "ipv6 " + netip.MustParseAddr(a.GetIpv6()).String()
			case *eventpb.Address_Torv3:
				text = "torv3 " + a.GetTorv3()
			case *eventpb.Address_I2P:
				text = "i2p " + a.GetI2P()
			case *eventpb.Address_Cjdns:
				text = "cjdns " + netip.MustParseAddr(a.GetCjdns()).String()
			}
			if !slices.Contains(list, text) {
				list = append(list, text)
			}
		}
	}
	return list
}

func TestNodeRestarts(t *testing.T) {
	transports(t, func(t *testing.T, v2 bool, _ uint32) {
		n := regtest.ForTest(t, regtest.Config{V2: v2, Debug: []string{"net"}})
		wakeUp(t, n)
		var start atomic.Int64
		start.Store(1)
		r := startRig(t, Config{Client: rpcOf(n), NodeStart: start.Load})
		r.waitLinked(t, 1)
		if err := n.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		start.Store(2)
		r.waitLinked(t, 2)
		r.waitPings(t, 2)
		n.Kill()
		r.waitFor(t, "the end of link 2", 0, func(e *eventpb.P2PExtractor) bool {
			return e.GetLinkState().GetState() == eventpb.LinkState_STATE_DOWN && e.GetLink().GetId() == 2
		})
		if up, _ := r.ledger.Source(event.SourceP2P).State(); up {
			t.Error("the account says up while the node is dead")
		}
		if err := n.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		start.Store(3)
		r.waitLinked(t, 3)

		// An operator, or the node itself, may close it as well.
		if err := n.Call(t.Context(), "disconnectnode", []any{r.source.advertised}, nil); err != nil {
			t.Fatal(err)
		}
		r.waitLinked(t, 4)
	})
}

func TestNodeStartsAfterTheSource(t *testing.T) {
	var client atomic.Pointer[regtest.Node]
	r := startRig(t, Config{
		Client: func() Caller {
			if n := client.Load(); n != nil {
				return n.RPC()
			}
			return nil
		},
		Chain: func() string {
			if client.Load() != nil {
				return "regtest"
			}
			return ""
		},
	})
	eventually(t, "the account to say what it waits for", func() bool {
		up, detail := r.ledger.Source(event.SourceP2P).State()
		return !up && detail == "waiting for the node"
	})
	client.Store(regtest.ForTest(t, regtest.Config{V2: true}))
	r.waitLinked(t, 1)
}

// Of a node whose process isn't seen, somebody has to say the chain; the account says which
// flag does.
func TestChainUnknown(t *testing.T) {
	n := regtest.ForTest(t, regtest.Config{})
	var chain atomic.Value
	chain.Store("")
	r := startRig(t, Config{Client: rpcOf(n), Chain: func() string { return chain.Load().(string) }})
	eventually(t, "the account to name the flag", func() bool {
		up, detail := r.ledger.Source(event.SourceP2P).State()
		return !up && strings.Contains(detail, "--bitcoin.chain")
	})
	chain.Store("regtest")
	r.waitLinked(t, 1)
}

func TestNetworkingOff(t *testing.T) {
	n := regtest.ForTest(t, regtest.Config{})
	if err := n.Call(t.Context(), "setnetworkactive", []any{false}, nil); err != nil {
		t.Fatal(err)
	}
	r := startRig(t, Config{Client: rpcOf(n)})
	eventually(t, "the reason", func() bool {
		_, detail := r.ledger.Source(event.SourceP2P).State()
		return detail == "the node's networking is off (bitcoin-cli setnetworkactive true)"
	})
	if err := n.Call(t.Context(), "setnetworkactive", []any{true}, nil); err != nil {
		t.Fatal(err)
	}
	r.waitLinked(t, 1)
}

// A node may have more than one way to us, such as a line in bitcoin.conf and a
// forwarded port: one link is enough.
func TestSecondConnectionOfTheNode(t *testing.T) {
	n := regtest.ForTest(t, regtest.Config{V2: true})
	r := startRig(t, Config{Client: rpcOf(n)})
	r.waitLinked(t, 1)
	forward := startForwarder(t, r.address())
	if err := n.Call(t.Context(), "addnode", []any{forward.address, "onetry"}, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second connection to be turned away", func() bool { return r.lost(StageAccept, reasonDuplicate) == 1 })
	r.waitPings(t, 3)
	for _, e := range r.all() {
		if e.GetLink().GetId() != 1 {
			t.Errorf("event of a second link: %v", e)
		}
	}
}

// Where addresses are translated on the way, the session id of BIP324 still tells.
func TestLinkThroughForwarder(t *testing.T) {
	forward := startForwarder(t, "")
	n := regtest.ForTest(t, regtest.Config{V2: true})
	r := startRig(t, Config{Client: rpcOf(n), AdvertiseAddress: forward.address, PingTimeout: 200 * time.Millisecond})
	forward.to(r.address())
	r.waitLinked(t, 1)
	r.waitPings(t, 2)

	// The forwarder drops the node's end without a word to ours.
	forward.forget()
	down := r.waitFor(t, "the link's end", 0, func(e *eventpb.P2PExtractor) bool {
		return e.GetLinkState().GetState() == eventpb.LinkState_STATE_DOWN
	})
	if reason := down.GetLinkState().GetReason(); reason != "the node no longer has this connection" {
		t.Errorf("link ended because %q", reason)
	}
	r.waitLinked(t, 2)
}

func TestUnencryptedLinkThroughForwarderIsNotTrusted(t *testing.T) {
	forward := startForwarder(t, "")
	n := regtest.ForTest(t, regtest.Config{V2: false})
	r := startRig(t, Config{Client: rpcOf(n), AdvertiseAddress: forward.address})
	forward.to(r.address())
	eventually(t, "the connection to be turned away", func() bool { return r.lost(StageAccept, reasonNotObserved) >= 2 })
	if events := r.all(); len(events) != 0 {
		t.Errorf("events of a connection that isn't verified: %v", events)
	}
	eventually(t, "a reason that helps", func() bool {
		_, detail := r.ledger.Source(event.SourceP2P).State()
		return strings.Contains(detail, "-v2transport=1")
	})
}

func TestStoppedNodeIsReported(t *testing.T) {
	n := regtest.ForTest(t, regtest.Config{V2: true})
	r := startRig(t, Config{Client: rpcOf(n), PingTimeout: 100 * time.Millisecond})
	r.waitLinked(t, 1)
	r.waitPings(t, 1)
	if err := syscall.Kill(n.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(n.PID(), syscall.SIGCONT) })
	var waited uint64
	r.waitFor(t, "the ping timeout", 0, func(e *eventpb.P2PExtractor) bool {
		waited = e.GetPingTimeout().GetWaited()
		return waited != 0
	})
	if waited < uint64(100*time.Millisecond) {
		t.Errorf("timeout after %d ns, want at least 100 ms", waited)
	}
	if err := syscall.Kill(n.PID(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	// The answer that came late is measured in full, and the link is the same one.
	late := r.waitFor(t, "the late answer", 0, func(e *eventpb.P2PExtractor) bool {
		return e.GetPingDuration().GetDuration() >= waited
	})
	if late.GetLink().GetId() != 1 {
		t.Errorf("late answer on link %d", late.GetLink().GetId())
	}
	r.waitPings(t, 2)
}

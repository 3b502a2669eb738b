package regtest

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestNetworkRelaysBlocksAndTransactions(t *testing.T) {
	for _, v2 := range []bool{false, true} {
		name, transport := "v1", "v1"
		if v2 {
			name, transport = "v2", "v2"
		}
		t.Run(name, func(t *testing.T) {
			nodes := NetworkForTest(t, 2, Config{V2: v2, Debug: []string{"net"}})
			miner, other := nodes[0], nodes[1]
			// The coins' block must be everywhere before the transactions, or
			// these wait as orphans.
			if err := miner.Fund(t.Context(), 5); err != nil {
				t.Fatal(err)
			}
			if err := SyncBlocks(t.Context(), nodes...); err != nil {
				t.Fatal(err)
			}
			sent, err := miner.SendTransactions(t.Context(), 5)
			if err != nil {
				t.Fatal(err)
			}
			if len(sent) != 5 {
				t.Fatalf("sent %d transactions, want 5", len(sent))
			}
			if err := SyncBlocks(t.Context(), nodes...); err != nil {
				t.Fatal(err)
			}
			if err := SyncMempools(t.Context(), nodes...); err != nil {
				t.Fatal(err)
			}
			ids, err := other.mempool(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, id := range sent {
				if !ids[id] {
					t.Errorf("transaction %s did not reach the other node", id)
				}
			}
			// A block confirms them, and their outputs can be spent again.
			if _, err := other.Mine(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			if err := SyncMempools(t.Context(), nodes...); err != nil {
				t.Fatal(err)
			}
			if ids, err := miner.mempool(t.Context()); err != nil || len(ids) != 0 {
				t.Errorf("after a block the mempool has %d transactions (%v), want none", len(ids), err)
			}
			peers, err := other.Peers(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(peers) != 1 || peers[0].Transport != transport || peers[0].ConnectionType != "manual" {
				t.Errorf("peers %+v, want one manual connection over %s", peers, transport)
			}
			if err := other.Disconnect(t.Context(), miner); err != nil {
				t.Fatal(err)
			}
			if err := other.Connect(t.Context(), miner); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestMoreTransactionsThanOneBatchOfCoins(t *testing.T) {
	n := ForTest(t, Config{})
	// 150 exceed what one funding round makes; the second round must confirm
	// and reuse the first one's outputs.
	for round := range 2 {
		ids, err := n.SendTransactions(t.Context(), 150)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		distinct := make(map[string]bool)
		for _, id := range ids {
			distinct[id] = true
		}
		if len(distinct) != 150 {
			t.Fatalf("round %d: %d different transactions, want 150", round, len(distinct))
		}
		if _, err := n.Mine(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCoinsAreNotLost sends through another node, whose transactions take
// seconds to come back: all the same every coin can be spent again later.
func TestCoinsAreNotLost(t *testing.T) {
	nodes := NetworkForTest(t, 2, Config{V2: true})
	funder, other := nodes[0], nodes[1]
	if err := funder.Fund(t.Context(), 20); err != nil {
		t.Fatal(err)
	}
	if err := SyncBlocks(t.Context(), nodes...); err != nil {
		t.Fatal(err)
	}
	count := func() int { return len(funder.coins.ready) + len(funder.coins.pending) }
	before := count()
	for range 10 {
		if _, err := funder.SendTransactionsVia(t.Context(), other, 2); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := other.Mine(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := SyncBlocks(t.Context(), nodes...); err != nil {
		t.Fatal(err)
	}
	if _, err := funder.SendTransactionsVia(t.Context(), other, 1); err != nil {
		t.Fatal(err)
	}
	if after := count(); after != before {
		t.Errorf("%d coins, %d before", after, before)
	}
	if pending := len(funder.coins.pending); pending != 1 {
		t.Errorf("%d coins wait for confirmation, want 1", pending)
	}
	if _, err := other.Mine(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := SyncBlocks(t.Context(), nodes...); err != nil {
		t.Fatal(err)
	}
	// A transaction that nobody ever sees is given up.
	if _, err := funder.NewTransactions(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	if _, err := funder.Mine(t.Context(), forgetAfter+1); err != nil {
		t.Fatal(err)
	}
	if err := funder.Fund(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if after := count(); after != before-3 {
		t.Errorf("%d coins after losing 3 of %d", after, before)
	}
}

func TestBtcdIsAPeer(t *testing.T) {
	for _, v2 := range []bool{false, true} {
		transport := "v1"
		if v2 {
			transport = "v2"
		}
		t.Run(transport, func(t *testing.T) {
			n := ForTest(t, Config{V2: v2})
			if _, err := n.Mine(t.Context(), 3); err != nil {
				t.Fatal(err)
			}
			b := BtcdForTest(t, BtcdConfig{V2: v2, Connect: []string{n.P2PAddress()}})
			err := Eventually(t.Context(), func() error {
				var height int
				if err := b.Call(t.Context(), &height, "getblockcount"); err != nil {
					return err
				}
				if height != 3 {
					return fmt.Errorf("btcd has %d blocks, want 3", height)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			peers, err := n.Peers(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(peers) != 1 || !strings.Contains(peers[0].Subversion, "btcd") || peers[0].Transport != transport {
				t.Errorf("peers %+v, want btcd over %s", peers, transport)
			}
			// And the other way round: the node connects to btcd's listener.
			if err := n.ConnectAddress(t.Context(), b.P2PAddress()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRestartKillAndStop(t *testing.T) {
	binary := Binary(t)
	n, err := Start(t.Context(), Config{Binary: binary.Path})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Mine(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	first := n.PID()
	if err := n.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n.PID() == first {
		t.Error("restart kept the process")
	}
	n.Kill()
	if n.Running() {
		t.Error("running after Kill")
	}
	if err := n.RestartWith(t.Context(), func(c *Config) { c.Args = append(c.Args, "-uacomment=again") }); err != nil {
		t.Fatal(err)
	}
	var info struct {
		Subversion string `json:"subversion"`
	}
	if err := n.Call(t.Context(), "getnetworkinfo", nil, &info); err != nil {
		t.Fatal(err)
	}
	if want := "(again)"; !strings.Contains(info.Subversion, want) {
		t.Errorf("subversion %q after RestartWith, want %q in it", info.Subversion, want)
	}
	if err := n.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n.Running() {
		t.Error("running after Stop")
	}
	if _, err := os.Stat(n.DataDir()); !os.IsNotExist(err) {
		t.Errorf("temporary data directory after Stop: %v", err)
	}
}

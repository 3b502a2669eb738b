package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/proto/compatibility"
	"github.com/peerobserver/peerobserver/proto/event"
)

// The existing tools subscribe to * and end when they get what they don't know. Here
// somebody does that at an agent whose sources are all live, and is strict.
func TestExistingToolsReadEveryEvent(t *testing.T) {
	checker, err := compatibility.NewChecker()
	if err != nil {
		t.Fatal(err)
	}
	node := regtest.WithTracepoints(t, regtest.Config{V2: true, Debug: []string{"net", "validation"}})
	other := regtest.ForTest(t, regtest.Config{V2: true})
	var often []string
	for _, method := range []string{
		"getpeerinfo", "getnettotals", "getmempoolinfo", "getmemoryinfo", "uptime", "getaddrmaninfo", "getnetworkinfo", "getblockchaininfo",
		"getchaintips", "getchaintxstats", "getorphantxs", "estimatesmartfee", "listbanned", "getrawaddrman",
	} {
		often = append(often, "--extractor.rpc.interval."+method+"=1s")
	}
	o := observe(t, node, nil, append(often, "--extractor.p2p.ping-interval=500ms", "--extractor.ebpf.utxocache")...)

	// The kinds that the existing tools know, but those that take a hostile peer, a
	// full node, another program or more patience.
	var mu sync.Mutex
	missing := map[event.Kind]bool{}
	for _, kind := range event.Kinds() {
		switch kind {
		case event.KindConnectionInboundEvicted, event.KindConnectionMisbehaving, event.KindMempoolReplaced,
			event.KindMempoolRejected, event.KindLogBlockChecked, event.KindIPCBlockTip, event.KindP2PAddressAnnouncement:
		default:
			if kind.Subject() != kind.String() {
				missing[kind] = true
			}
		}
	}
	connection, err := nats.Connect("nats://"+o.nats, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(connection.Close)
	if _, err := connection.Subscribe("*", func(m *nats.Msg) {
		kind := event.KindOf(m.Data)
		if err := checker.Check(m.Data); err != nil {
			t.Errorf("event %s on subject %s: %v", kind, m.Subject, err)
		}
		mu.Lock()
		defer mu.Unlock()
		delete(missing, kind)
	}); err != nil {
		t.Fatal(err)
	}
	o.ready()

	if err := node.Connect(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if err := other.Connect(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	if err := node.Fund(t.Context(), 20); err != nil {
		t.Fatal(err)
	}
	if _, err := node.SendTransactions(t.Context(), 20); err != nil {
		t.Fatal(err)
	}
	without := func(kinds ...event.Kind) func() error {
		return func() error {
			mu.Lock()
			defer mu.Unlock()
			var list []string
			for kind := range missing {
				if !slices.Contains(kinds, kind) {
					list = append(list, kind.String())
				}
			}
			if len(list) > 0 {
				return fmt.Errorf("not seen: %s", strings.Join(list, ", "))
			}
			return nil
		}
	}
	// A block takes the transactions before they are announced.
	eventually(t, "the events of connections and transactions", without(event.KindMempoolRemoved, event.KindConnectionClosed))
	if _, err := node.Mine(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := node.Disconnect(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	eventually(t, "every kind of event", without())
}

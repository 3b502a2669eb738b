package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/peerobserver/peerobserver/lab/regtest"
)

// Two agents publish to one NATS server; the pages of one `peer-observer websocket` show
// the node that the reader picks, and nothing of the other one.
func TestLivePagesOfTwoNodes(t *testing.T) {
	nodes := regtest.NetworkForTest(t, 2, regtest.Config{})
	if _, err := nodes[0].Mine(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	if err := regtest.SyncBlocks(t.Context(), nodes...); err != nil {
		t.Fatal(err)
	}
	agent := func(node *regtest.Node, name string, args ...string) *observer {
		o := &observer{web: freeAddress(t)}
		o.program = start(t, nil, append([]string{
			"agent", "--node.name=" + name, "--bitcoin.datadir=" + node.DataDir(), "--web.listen-address=" + o.web,
			"--no-extractor.ebpf", "--extractor.rpc.interval.getpeerinfo=1s",
		}, args...)...)
		return o
	}
	hub := freeAddress(t)
	alice := agent(nodes[0], "alice", "--nats.listen-address="+hub, "--nats.allow-publish")
	eventually(t, "the first agent's NATS server", func() error {
		_, _, err := get("http://" + alice.web + "/-/healthy")
		return err
	})
	bob := agent(nodes[1], "bob", "--nats.url=nats://"+hub)
	alice.ready()
	bob.ready()
	web := freeAddress(t)
	live := start(t, nil, "websocket", "--nats.url=nats://"+hub, "--web.listen-address="+web)
	eventually(t, "the pages to be served", func() error {
		if !strings.Contains(live.stderr.String(), "subscribed on NATS") {
			return fmt.Errorf("not yet")
		}
		_, _, err := get("http://" + web + "/")
		return err
	})

	b := startBrowser(t)
	b.viewport(1280, "light")
	b.open("http://" + web + "/#/overview")
	b.shows("Connected", "All nodes", "alice", "bob", "--websocket.alerts-url")
	eventually(t, "both nodes in the picker", func() error {
		var names []string
		b.evaluate("[...document.querySelectorAll('#node option')].map((option) => option.value)", &names)
		if fmt.Sprint(names) != "[alice bob]" {
			return fmt.Errorf("it has %v", names)
		}
		return nil
	})
	for i, name := range []string{"bob", "alice", "bob"} {
		b.evaluate(fmt.Sprintf(`{ const picker = document.getElementById("node"); picker.value = %q; picker.dispatchEvent(new Event("change")); }`, name), nil)
		node := nodes[0]
		if name == "bob" {
			node = nodes[1]
		}
		eventually(t, "the node "+name, func() error {
			var card string
			b.evaluate("document.querySelector('.card')?.innerText ?? ''", &card)
			for _, text := range []string{"Name\t" + name, fmt.Sprintf("Process\t%d", node.PID())} {
				if !strings.Contains(strings.Join(strings.Fields(card), "\t"), text) {
					return fmt.Errorf("%q is not in %q", text, card)
				}
			}
			return nil
		})
		if i == 0 {
			b.screenshot("two-nodes")
		}
	}
	// The picker holds on the other pages too: each node's peers are its own.
	for _, name := range []string{"alice", "bob"} {
		node := nodes[0]
		if name == "bob" {
			node = nodes[1]
		}
		b.evaluate(fmt.Sprintf(`{ const picker = document.getElementById("node"); picker.value = %q; picker.dispatchEvent(new Event("change")); location.hash = "#/peers"; }`, name), nil)
		peers, err := node.Peers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, peer := range peers {
			b.shows(peer.Address)
		}
	}
	b.content()
}

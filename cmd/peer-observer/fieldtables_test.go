package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/proto/event"
)

// decoded is an event as testdata/subscribe.py makes it of the field numbers.
type decoded struct {
	Subscribed bool
	Subject    string
	Event      struct {
		Node      string `json:"node_name"`
		Sequence  uint64
		Timestamp uint64 `json:"timestamp_ms"`
		EBPF      struct {
			Message struct {
				Meta struct {
					Command string
					Inbound int
					Size    int
				}
			}
			Connection struct {
				Closed, Inbound, Outbound struct{ Connection struct{ Address string } }
			}
			Mempool struct {
				Added   struct{ TXID string }
				Removed struct{ TXID, Reason string }
			}
			Validation struct {
				Connected struct {
					Hash                 string
					Height, Transactions int
				} `json:"block_connected"`
			}
			UTXOCache struct {
				Flush *struct{ Coins int }
				Add   *struct{ TXID string }
				Spent *struct{ TXID string }
			} `json:"utxo_cache"`
		}
		RPC struct {
			Uptime     int
			Blockchain struct {
				Chain  string
				Blocks int
				Best   string `json:"best_block_hash"`
			} `json:"blockchain_info"`
		}
		P2P struct {
			Ping struct {
				Duration uint64 `json:"duration_ns"`
			} `json:"ping_duration"`
		}
		Log struct {
			Unknown   struct{ Line string }
			Connected struct {
				Hash   string `json:"block_hash"`
				Height int    `json:"block_height"`
			} `json:"block_connected"`
		}
		Observer struct {
			Status struct{ Node struct{ Chain string } }
		}
	}
}

// A subscriber that has nothing of ours but the tables of field numbers, in plain Python,
// reads every subject, and what it reads is what the node says.
func TestSubscriberWithFieldTablesOnly(t *testing.T) {
	t.Parallel()
	nodes := make([]*regtest.Node, 2)
	for i := range nodes {
		nodes[i] = regtest.WithTracepoints(t, regtest.Config{V2: true, Debug: []string{"net", "validation"}})
	}
	node, other := nodes[0], nodes[1]
	o := observe(t, node, nil, "--extractor.ebpf.utxocache", "--extractor.rpc.interval.uptime=200ms", "--extractor.rpc.interval.getblockchaininfo=200ms", "--extractor.p2p.ping-interval=200ms")
	o.ready()
	lines := subscribePlain(t, o.nats)
	payloads := collectPayloads(t, o.nats)

	if err := other.Connect(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	if _, err := node.Mine(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	sent, err := node.SendTransactions(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Call(t.Context(), "sendmsgtopeer", []any{0, "notfound", "00"}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := node.Mine(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	var best string
	if err := node.Call(t.Context(), "getbestblockhash", nil, &best); err != nil {
		t.Fatal(err)
	}
	var chain struct {
		Height       int `json:"height"`
		Transactions int `json:"nTx"`
	}
	if err := node.Call(t.Context(), "getblock", []any{best}, &chain); err != nil {
		t.Fatal(err)
	}
	if chain.Transactions != 1+len(sent) {
		t.Fatalf("the last block has %d transactions, want coinbase and %d", chain.Transactions, len(sent))
	}
	if err := other.Disconnect(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	// A graceful end of the node isn't needed: this writes the coins to disk.
	if err := node.Call(t.Context(), "gettxoutsetinfo", nil, nil); err != nil {
		t.Fatal(err)
	}

	for _, want := range []struct {
		subject, what string
		fits          func(*decoded) bool
	}{
		{"netmsg", "a notfound of one byte", func(d *decoded) bool {
			m := d.Event.EBPF.Message.Meta
			return m.Command == "notfound" && m.Inbound == 1 && m.Size == 1
		}},
		{"netmsg", "a version that was sent", func(d *decoded) bool {
			m := d.Event.EBPF.Message.Meta
			return m.Command == "version" && m.Inbound == 0 && m.Size > 80
		}},
		{"netconn", "the inbound connection", func(d *decoded) bool {
			return strings.HasPrefix(d.Event.EBPF.Connection.Inbound.Connection.Address, "127.0.0.1:")
		}},
		{"netconn", "its end", func(d *decoded) bool {
			return strings.HasPrefix(d.Event.EBPF.Connection.Closed.Connection.Address, "127.0.0.1:")
		}},
		{"mempool", "a transaction that came", func(d *decoded) bool { return d.Event.EBPF.Mempool.Added.TXID == sent[1] }},
		{"mempool", "a transaction that went into a block", func(d *decoded) bool {
			m := d.Event.EBPF.Mempool.Removed
			return m.TXID == sent[0] && m.Reason == "block"
		}},
		{"validation", "the block", func(d *decoded) bool {
			b := d.Event.EBPF.Validation.Connected
			return b.Hash == best && b.Height == chain.Height && b.Transactions == chain.Transactions
		}},
		{"utxo_cache.add", "an output of a transaction", func(d *decoded) bool {
			return d.Event.EBPF.UTXOCache.Add != nil && d.Event.EBPF.UTXOCache.Add.TXID == sent[0]
		}},
		{"utxo_cache.spent", "a spent coin", func(d *decoded) bool { return d.Event.EBPF.UTXOCache.Spent != nil }},
		{"utxo_cache.flush", "coins written", func(d *decoded) bool { return d.Event.EBPF.UTXOCache.Flush != nil }},
		{"rpc", "uptime", func(d *decoded) bool { return d.Event.RPC.Uptime > 0 }},
		{"rpc", "the chain", func(d *decoded) bool {
			r := d.Event.RPC.Blockchain
			return r.Chain == "regtest" && r.Blocks == chain.Height && r.Best == best
		}},
		{"p2p-extractor", "a round trip", func(d *decoded) bool {
			return d.Event.P2P.Ping.Duration > 0 && d.Event.P2P.Ping.Duration < 60e9
		}},
		{"log-extractor", "the block", func(d *decoded) bool {
			return d.Event.Log.Connected.Hash == best && d.Event.Log.Connected.Height == chain.Height
		}},
		{"log-extractor", "another line", func(d *decoded) bool { return d.Event.Log.Unknown.Line != "" }},
		{"observer.status", "the node", func(d *decoded) bool { return d.Event.Observer.Status.Node.Chain == "regtest" }},
	} {
		eventually(t, want.subject+": "+want.what, func() error {
			seen := 0
			for _, d := range lines() {
				if d.Subject != want.subject {
					continue
				}
				seen++
				if d.Event.Node != "test" || d.Event.Sequence == 0 || d.Event.Timestamp == 0 {
					t.Fatalf("%s: an event without name, number or time: %+v", d.Subject, d.Event)
				}
				if want.fits(&d) {
					return nil
				}
			}
			return fmt.Errorf("not among %d events", seen)
		})
	}

	// protoc, which knows nothing either, finds the number of the source's case in
	// every kind of payload, and the node's name.
	sources := map[string]int{
		"netmsg": 1, "netconn": 1, "mempool": 1, "validation": 1, "rpc": 2, "p2p-extractor": 3, "log-extractor": 4,
		"utxo_cache.flush": 1, "utxo_cache.add": 1, "utxo_cache.spent": 1, "observer.status": 1000,
	}
	for subject, payload := range payloads() {
		text := decodeRaw(t, payload)
		if !strings.Contains(text, "\n1001: \"test\"\n") || !regexp.MustCompile(`(?m)^10: [0-9]+$`).MatchString(text) {
			t.Errorf("%s: protoc prints %s", subject, text)
		}
		if number, known := sources[subject]; known && !strings.HasPrefix("\n"+text, fmt.Sprintf("\n%d {", number)) && !strings.Contains(text, fmt.Sprintf("\n%d {", number)) {
			t.Errorf("%s: no field %d in what protoc prints: %s", subject, number, text)
		}
		delete(sources, subject)
	}
	for subject := range sources {
		t.Errorf("nothing was published on %s", subject)
	}
}

// subscribePlain runs testdata/subscribe.py; the function gives what it has printed.
func subscribePlain(t *testing.T, address string) func() []decoded {
	t.Helper()
	var stdout, stderr output
	script := exec.CommandContext(t.Context(), "python3", "testdata/subscribe.py", address)
	script.Stdout, script.Stderr = &stdout, &stderr
	if err := script.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Its context has ended, and killed it, or the server has gone.
		_ = script.Wait()
		if t.Failed() || stderr.String() != "" {
			t.Logf("subscribe.py: %s", &stderr)
		}
	})
	lines := func() []decoded {
		text := stdout.String()
		var list []decoded
		for line := range strings.Lines(text[:strings.LastIndexByte(text, '\n')+1]) {
			var d decoded
			if err := json.Unmarshal([]byte(line), &d); err != nil {
				t.Fatalf("subscribe.py prints %q: %v", line, err)
			}
			list = append(list, d)
		}
		return list
	}
	eventually(t, "the subscription", func() error {
		if list := lines(); len(list) == 0 || !slices.ContainsFunc(list, func(d decoded) bool { return d.Subscribed }) {
			return fmt.Errorf("not subscribed: %s", &stderr)
		}
		return nil
	})
	return lines
}

// collectPayloads keeps one payload of each subject.
func collectPayloads(t *testing.T, address string) func() map[string][]byte {
	t.Helper()
	connection, err := nats.Connect("nats://" + address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(connection.Close)
	var mutex sync.Mutex
	payloads := map[string][]byte{}
	if _, err := connection.Subscribe(">", func(m *nats.Msg) {
		mutex.Lock()
		defer mutex.Unlock()
		if payloads[m.Subject] == nil || len(m.Data) < len(payloads[m.Subject]) {
			payloads[m.Subject] = m.Data
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := connection.Flush(); err != nil {
		t.Fatal(err)
	}
	return func() map[string][]byte {
		mutex.Lock()
		defer mutex.Unlock()
		copied := map[string][]byte{}
		maps.Copy(copied, payloads)
		return copied
	}
}

// decodeRaw is what `protoc --decode_raw` prints.
func decodeRaw(t *testing.T, payload []byte) string {
	t.Helper()
	if len(payload) == 0 || len(payload) > event.MaxSize {
		t.Fatalf("a payload of %d bytes", len(payload))
	}
	protoc := exec.CommandContext(t.Context(), "protoc", "--decode_raw")
	protoc.Stdin = bytes.NewReader(payload)
	text, err := protoc.Output()
	if err != nil {
		t.Fatalf("protoc --decode_raw: %v", err)
	}
	return string(text)
}

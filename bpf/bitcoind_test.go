package bpf_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/bpf"
	"github.com/peerobserver/peerobserver/lab/machine"
)

// findBitcoind returns a node with tracepoints, from $BITCOIND or the path.
func findBitcoind(t *testing.T) (node, cli string) {
	t.Helper()
	node = os.Getenv("BITCOIND")
	if node == "" {
		node, _ = exec.LookPath("bitcoind")
	}
	if node == "" {
		machine.Lacks(t, "a bitcoind with tracepoints on the path or in $BITCOIND")
	}
	exe, err := bpf.Open(node)
	if errors.Is(err, bpf.ErrNoTracepoints) {
		machine.Lacks(t, fmt.Sprintf("a bitcoind with tracepoints: %v", err))
	}
	if err != nil {
		t.Fatal(err)
	}
	exe.Close()
	cli = filepath.Join(filepath.Dir(node), "bitcoin-cli")
	if _, err := os.Stat(cli); err != nil {
		machine.Lacks(t, "bitcoin-cli beside "+node)
	}
	// A file of our own: other nodes on this machine may run the same one.
	b, err := os.ReadFile(node)
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(t.TempDir(), "bitcoind")
	if err := os.WriteFile(own, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return own, cli
}

// node is a bitcoind on regtest.
type node struct {
	t    *testing.T
	cli  string
	args []string
	p2p  string
	pid  int
	done chan struct{}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func startNode(t *testing.T, bitcoind, cli string, extra ...string) *node {
	t.Helper()
	n := &node{t: t, cli: cli, p2p: "127.0.0.1:" + freePort(t), done: make(chan struct{})}
	dir := t.TempDir()
	rpc := freePort(t)
	n.args = []string{"-regtest", "-datadir=" + dir, "-rpcport=" + rpc}
	cmd := exec.Command(bitcoind, append(slices.Concat(n.args, extra), "-server", "-bind="+n.p2p, "-rpcbind=127.0.0.1",
		"-rpcallowip=127.0.0.1", "-dnsseed=0", "-fixedseeds=0", "-listenonion=0", "-discover=0", "-natpmp=0",
		"-printtoconsole=0", "-fallbackfee=0.0001", "-debug=net")...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n.pid = cmd.Process.Pid
	go func() { _ = cmd.Wait(); close(n.done) }()
	t.Cleanup(func() {
		_, _ = n.try("stop")
		select {
		case <-n.done:
		case <-time.After(30 * time.Second):
			_ = cmd.Process.Kill()
			<-n.done
		}
	})
	eventually(t, "node answers", func() bool { _, err := n.try("getblockcount"); return err == nil })
	return n
}

func (n *node) try(args ...string) (string, error) {
	out, err := exec.Command(n.cli, append(slices.Clone(n.args), args...)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (n *node) rpc(args ...string) string {
	n.t.Helper()
	out, err := n.try(args...)
	if err != nil {
		n.t.Fatalf("bitcoin-cli %v: %v: %s", args, err, out)
	}
	return out
}

// TestBitcoind attaches to a real node before it starts and compares what is
// recorded with what the node says.
func TestBitcoind(t *testing.T) {
	bitcoind, cli := findBitcoind(t)
	exe, err := bpf.Open(bitcoind)
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	prog, err := bpf.Load(bpf.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	att, err := prog.Attach(exe, bpf.Options{Groups: bpf.Groups()})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range att.Probes() {
		t.Logf("%v: %v, %d sites %v", p.Tracepoint, p.State, p.Sites, p.Err)
		if p.State != bpf.Attached && !p.Tracepoint.Optional {
			t.Errorf("%v: %v, %v", p.Tracepoint, p.State, p.Err)
		}
	}

	a := startNode(t, bitcoind, cli)
	b := startNode(t, bitcoind, cli)
	if err := prog.SetProcesses(a.pid); err != nil {
		t.Fatal(err)
	}
	a.rpc("addnode", b.p2p, "onetry")
	eventually(t, "nodes are connected", func() bool {
		return a.rpc("getconnectioncount") == "1" && strings.Contains(b.rpc("getpeerinfo"), `"verack"`)
	})
	// The script OP_TRUE: no wallet is needed.
	address := "raw(51)#8lvh9jxk"
	a.rpc("generatetodescriptor", "105", address)
	eventually(t, "node b has the blocks", func() bool { return b.rpc("getblockcount") == "105" })
	a.rpc("setnetworkactive", "false")
	eventually(t, "connection closed", func() bool { return a.rpc("getconnectioncount") == "0" })
	a.rpc("gettxoutsetinfo") // flushes the UTXO cache
	if _, err := a.try("stop"); err != nil {
		t.Fatal(err)
	}
	<-a.done

	type message struct{ direction, kind string }
	sent := make(map[message]int)
	blocks, hashes := 0, []string{}
	fired := make(map[bpf.ID]int)
	var rec bpf.Record
	for {
		ok, err := prog.Reader().TryRead(&rec)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		fired[rec.Tracepoint]++
		if rec.Flags != 0 || int(rec.PID) != a.pid {
			t.Errorf("tracepoint %d: flags %b, pid %d", rec.Tracepoint, rec.Flags, rec.PID)
		}
		switch rec.Tracepoint {
		case bpf.NetInboundMessage, bpf.NetOutboundMessage:
			d := "received"
			if rec.Tracepoint == bpf.NetOutboundMessage {
				d = "sending"
			}
			sent[message{d, rec.Text(3)}]++
			if int(rec.PayloadSize()) != len(rec.Payload()) || rec.Int(0) != 0 || rec.Text(2) != "manual" {
				t.Errorf("%s %s of peer %d (%s): %d of %d bytes", d, rec.Text(3), rec.Int(0), rec.Text(2), len(rec.Payload()), rec.PayloadSize())
			}
		case bpf.NetOutboundConnection, bpf.NetClosedConnection:
			if rec.Int(0) != 0 || rec.Text(1) != b.p2p || rec.Text(2) != "manual" {
				t.Errorf("connection %d to %s, %s; want %s", rec.Int(0), rec.Text(1), rec.Text(2), b.p2p)
			}
		case bpf.ValidationBlockConnected:
			blocks++
			h := slices.Clone(rec.Hash(0)[:])
			slices.Reverse(h)
			hashes = append(hashes, hex.EncodeToString(h))
			if rec.Int(1) != int64(blocks) || rec.Int(2) != 1 || rec.Int(5) <= 0 {
				t.Errorf("block %d: height %d, %d transactions, %d ns", blocks, rec.Int(1), rec.Int(2), rec.Int(5))
			}
		}
	}
	if blocks != 105 {
		t.Errorf("%d blocks connected, want 105", blocks)
	}
	for i, h := range hashes {
		if want := b.rpc("getblockhash", fmt.Sprint(i+1)); h != want {
			t.Fatalf("block %d: hash %s, want %s", i+1, h, want)
		}
	}
	for _, id := range []bpf.ID{bpf.NetInboundMessage, bpf.NetOutboundMessage, bpf.NetOutboundConnection,
		bpf.NetClosedConnection, bpf.ValidationBlockConnected, bpf.UTXOCacheFlush, bpf.UTXOCacheAdd} {
		if fired[id] == 0 {
			t.Errorf("%v did not fire", bpf.Tracepoints()[id])
		}
	}
	c, err := prog.Counters()
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range c.Tracepoints {
		if n.Hits != n.Records || int(n.Records) != fired[bpf.ID(i)] {
			t.Errorf("%v: %+v, %d read", bpf.Tracepoints()[i], n, fired[bpf.ID(i)])
		}
	}

	// The node's own log says the same.
	logged := make(map[message]int)
	var logFile string
	for _, arg := range a.args {
		if dir, ok := strings.CutPrefix(arg, "-datadir="); ok {
			logFile = filepath.Join(dir, "regtest", "debug.log")
		}
	}
	log, err := os.ReadFile(logFile)
	if err != nil {
		t.Fatal(err)
	}
	// "[net] received: ping (8 bytes) peer=0", "[net] sending ping (8 bytes) peer=0"
	for _, m := range regexp.MustCompile(`(?m)\[net\] (received|sending):? (\S+) \(\d+ bytes\)`).FindAllSubmatch(log, -1) {
		logged[message{string(m[1]), string(m[2])}]++
	}
	t.Logf("messages: %v", sent)
	if len(logged) == 0 {
		t.Fatal("no message found in debug.log")
	}
	for m, n := range logged {
		if sent[m] != n {
			t.Errorf("%s %s: %d records, %d in debug.log", m.direction, m.kind, sent[m], n)
		}
	}
	for m := range sent {
		if logged[m] == 0 {
			t.Errorf("%s %s: recorded, not in debug.log", m.direction, m.kind)
		}
	}
}

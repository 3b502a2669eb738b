package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/peerobserver/peerobserver/exporters/archive"
	"github.com/peerobserver/peerobserver/exporters/connectivity"
	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// One agent runs every sink at once, each by its flag: events come out of NATS, metrics,
// logger, websocket and archive, rows out of the connectivity check and the recorder of
// getblocktxn messages.
func TestAgentRunsAllSinks(t *testing.T) {
	config := regtest.Config{V2: true}
	node := regtest.WithTracepoints(t, config)
	other := regtest.ForTest(t, config)
	if err := other.Connect(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	nodes, rows := filepath.Join(dir, "nodes.jsonl"), filepath.Join(dir, "getblocktxn.csv")
	o := observe(t, node, nil,
		"--exporter.logger", "--exporter.logger.format=json", "--exporter.logger.event=message", "--exporter.logger.message=addrv2",
		"--exporter.websocket",
		"--exporter.archive", "--exporter.archive.dir="+filepath.Join(dir, "archive"), "--exporter.archive.flush-interval=100ms",
		"--exporter.getblocktxn", "--exporter.getblocktxn.output="+rows, "--exporter.getblocktxn.format=csv",
		"--exporter.connectivity-check", "--exporter.connectivity-check.output="+nodes, "--exporter.connectivity-check.chain=regtest",
		"--exporter.connectivity-check.allow=127.0.0.1/32")
	o.ready()
	onNATS := subscribeNow(t, o.nats)
	live, _, err := websocket.Dial(t.Context(), "ws://"+o.web+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = live.CloseNow() }()
	if err := live.Write(t.Context(), websocket.MessageText, []byte(`{"filters":[{"messages":["addrv2"]}],"notices":true}`)); err != nil {
		t.Fatal(err)
	}
	if _, text, err := live.Read(t.Context()); err != nil || string(text) != `{"notice":{"subscribed":true}}` {
		t.Fatalf("the websocket sink says %s, %v", text, err)
	}

	// The other node tells of its own address: 127.0.0.1 and its port, as addrv2 (BIP155):
	// count, time, services, network, address, port.
	target := netip.MustParseAddrPort(other.P2PAddress())
	payload := fmt.Sprintf("01%s%02x%s%04x", "00f15365", 0, "01047f000001", target.Port())
	if err := other.Call(t.Context(), "sendmsgtopeer", []any{peerOf(t, other, node), "addrv2", payload}, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the announced node in the record of the connectivity check", func() error {
		text, err := os.ReadFile(nodes)
		if err != nil {
			return err
		}
		var row connectivity.Row
		if err := json.Unmarshal(text, &row); err != nil {
			return fmt.Errorf("%q: %w", text, err)
		}
		if row.Result != connectivity.ResultSuccess || row.Port != target.Port() {
			return fmt.Errorf("%+v", row)
		}
		return nil
	})
	eventually(t, "the message in the logger", func() error {
		if text := o.stdout.String(); !strings.Contains(text, `"addrv2"`) {
			return fmt.Errorf("it prints %q", text)
		}
		return nil
	})
	if _, text, err := live.Read(t.Context()); err != nil || !strings.Contains(string(text), `"addrv2"`) {
		t.Errorf("the websocket sink gives %s, %v", text, err)
	}
	onNATS.next("the message on NATS", func(e *eventpb.Event) bool { return e.GetEbpfExtractor().GetMessage().GetAddrv2() != nil })
	const checked = `peerobserver_connectivity_checks_total{network="ipv4",result="success",transport="v1"}`
	if n, err := o.sample(checked); err != nil || n != 1 {
		t.Errorf("%s is %v, %v", checked, n, err)
	}
	if header, err := os.ReadFile(rows); err != nil || !strings.HasPrefix(string(header), "time") {
		t.Errorf("the record of getblocktxn messages is %q, %v", header, err)
	}
	eventually(t, "the message in the archive", func() error {
		files := archiveFiles(t, filepath.Join(dir, "archive"))
		if len(files) == 0 {
			return fmt.Errorf("no file yet")
		}
		info, err := archive.Inspect(t.Context(), files[0], true)
		if err == nil && info.Kinds["message"] == 0 {
			err = fmt.Errorf("it has %v", info.Kinds)
		}
		return err
	})
	if code := o.stop(); code != exitOK {
		t.Errorf("ends with %d", code)
	}
	for line := range strings.Lines(o.stderr.String()) {
		if strings.Contains(line, "level=ERROR") {
			t.Errorf("the agent says %s", line)
		}
	}
}

// An agent whose standard output nobody reads any more goes on observing.
func TestAgentOutlivesReaderOfLogger(t *testing.T) {
	node := regtest.ForTest(t, regtest.Config{})
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	o := observe(t, node, func(cmd *exec.Cmd) { cmd.Stdout = write }, "--no-extractor.ebpf", "--exporter.logger")
	_ = write.Close()
	if _, err := bufio.NewReader(read).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	_ = read.Close()
	eventually(t, "the agent to notice", func() error {
		if text := o.stderr.String(); !strings.Contains(text, "nobody reads standard output") {
			return fmt.Errorf("it says %s", text)
		}
		return nil
	})
	o.ready()
	if code := o.stop(); code != exitOK {
		t.Errorf("ends with %d", code)
	}
}

func TestMistakesInFlagsOfSinks(t *testing.T) {
	for _, c := range []struct {
		args []string
		text string
	}{
		{[]string{"--exporter.connectivity-check"}, "--exporter.connectivity-check.output"},
		{[]string{"--exporter.connectivity-check", "--exporter.connectivity-check.output=/does/not/exist"}, "/does/not/exist"},
		{[]string{"--exporter.connectivity-check", "--exporter.connectivity-check.output=x", "--exporter.connectivity-check.allow=here"}, "--exporter.connectivity-check.allow"},
		{[]string{"--exporter.logger", "--exporter.getblocktxn"}, "--exporter.getblocktxn.output"},
		{[]string{"--exporter.logger", "--exporter.logger.source=nothing"}, "nothing"},
		{[]string{"--exporter.websocket", "--exporter.websocket.alerts-url=localhost:9090"}, "alerts"},
		{[]string{"--exporter.websocket", "--exporter.websocket.alerts-http-config-file=/does/not/exist"}, "--exporter.websocket.alerts-http-config-file"},
	} {
		args := append([]string{"agent", "--bitcoin.datadir=" + t.TempDir(), "--no-extractor.ebpf", "--nats.listen-address=127.0.0.1:0", "--web.listen-address=" + freeAddress(t)}, c.args...)
		p := start(t, nil, args...)
		if code := p.wait(); code != exitUsage || !strings.Contains(p.stderr.String(), c.text) {
			t.Errorf("%v: exit code %d, want %d; it prints %s", c.args, code, exitUsage, p.stderr)
		}
	}
}

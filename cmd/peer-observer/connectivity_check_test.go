package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/archive"
	"github.com/peerobserver/peerobserver/exporters/connectivity"
	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// archiveOfAddresses makes an archive file with one address message.
func archiveOfAddresses(t *testing.T, addresses []*eventpb.Address) string {
	t.Helper()
	dir := t.TempDir()
	ledger := event.NewLedger()
	sink, err := archive.New(archive.Config{Dir: dir}, ledger, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	event.NewEmitter(event.SourceEBPF, event.Origin{NodeName: "test", BootID: 1}, event.NewStream(sink), ledger).Emit(
		&eventpb.Event{PeerObserverEvent: &eventpb.Event_EbpfExtractor{EbpfExtractor: &eventpb.EbpfExtractor{
			EbpfEvent: &eventpb.EbpfExtractor_Message{Message: &eventpb.MessageEvent{
				Meta: &eventpb.Metadata{Command: proto.String("addr"), Inbound: proto.Bool(true), PeerId: proto.Uint64(1), Addr: proto.String("192.0.2.1:8333")},
				Msg:  &eventpb.MessageEvent_Addr{Addr: &eventpb.Addr{Addresses: addresses}},
			}},
		}}}, event.Times{Receive: time.Now().UnixNano()})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := sink.Run(ended); err != nil {
		t.Fatal(err)
	}
	files := archiveFiles(t, dir)
	if len(files) != 1 {
		t.Fatalf("files %v", files)
	}
	return files[0]
}

// An address that is announced on NATS is dialed and recorded when that is permitted, and
// only then.
func TestConnectivityCheckRecordsNode(t *testing.T) {
	node := regtest.ForTest(t, regtest.Config{V2: true})
	target := netip.MustParseAddrPort(node.P2PAddress())
	var touched bool
	other, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		if conn, err := other.Accept(); err == nil {
			touched = true
			_ = conn.Close()
		}
	}()
	forbidden := netip.MustParseAddrPort(other.Addr().String())
	address := func(a netip.AddrPort) *eventpb.Address {
		return &eventpb.Address{
			Address: &eventpb.Address_Ipv4{Ipv4: a.Addr().String()}, Port: proto.Uint32(uint32(a.Port())),
			Services: proto.Uint64(1 << 11), Timestamp: proto.Uint32(uint32(time.Now().Unix())),
		}
	}
	file := archiveOfAddresses(t, []*eventpb.Address{address(forbidden), address(target)})

	bus, hubWeb, web := freeAddress(t), freeAddress(t), freeAddress(t)
	hub := start(t, nil, "agent", "--node.name=hub", "--bitcoin.datadir="+t.TempDir(), "--no-extractor.ebpf", "--no-extractor.p2p", "--no-extractor.log",
		"--nats.listen-address="+bus, "--nats.allow-publish", "--web.listen-address="+hubWeb)
	output := filepath.Join(t.TempDir(), "nodes.jsonl")
	check := start(t, nil, "connectivity-check", "--nats.url=nats://"+bus, "--web.listen-address="+web, "--output="+output,
		"--chain=regtest", "--allow=127.0.0.1/32", "--user-agent=/test-check:1/")
	eventually(t, "the check to subscribe", func() error {
		if !strings.Contains(check.stderr.String(), "subscribed on NATS") {
			return fmt.Errorf("not yet: %s", check.stderr)
		}
		return nil
	})
	if code := start(t, nil, "replay", "--to=nats", "--speed=max", "--nats.url=nats://"+bus, file).wait(); code != exitOK {
		t.Fatalf("replay to NATS ends with %d", code)
	}
	var row connectivity.Row
	eventually(t, "a row in the record", func() error {
		data, err := os.ReadFile(output)
		if err != nil {
			return err
		}
		return json.Unmarshal(data, &row)
	})
	if row.Address != "127.0.0.1" || row.Port != target.Port() || row.Result != connectivity.ResultSuccess || row.Transport != "v2" || !strings.HasPrefix(row.UserAgent, "/Satoshi:") {
		t.Errorf("row %+v", row)
	}
	metrics := &observer{program: check, web: web}
	for series, want := range map[string]float64{
		`peerobserver_connectivity_checks_total{network="ipv4",result="success",transport="v2"}`: 1,
		`peerobserver_connectivity_skipped_addresses_total{reason="not_routable"}`:               1,
		`peerobserver_connectivity_announced_addresses_total{network="ipv4"}`:                    2,
		`peerobserver_connectivity_cached_addresses{result="success"}`:                           1,
	} {
		if got, err := metrics.sample(series); err != nil || got != want {
			t.Errorf("%s is %v, want %v (%v)", series, got, want, err)
		}
	}
	for _, p := range []*program{check, hub} {
		if code := p.stop(); code != exitOK {
			t.Errorf("%v ends with %d: %s", p.cmd.Args[1:], code, p.stderr)
		}
	}
	_ = other.Close()
	if <-accepted; touched {
		t.Error("what is not permitted was dialed")
	}
	if data, err := os.ReadFile(output); err != nil || strings.Count(string(data), "\n") != 1 {
		t.Errorf("record %q, %v, want one row", data, err)
	}
}

func TestMistakesInConnectivityFlags(t *testing.T) {
	for _, c := range []struct {
		args []string
		text string
	}{
		{nil, "--output"},
		{[]string{"--output=/does/not/exist"}, "/does/not/exist"},
		{[]string{"--output=x", "--chain=mainnet"}, "--chain"},
		{[]string{"--output=x", "--allow=here"}, "--allow"},
		{[]string{"--output=x", "--exclude=10.0.0.0/99"}, "--exclude"},
		{[]string{"--output=x", "--tor-proxy=nowhere"}, "--tor-proxy"},
		{[]string{"--output=x", "--concurrency=" + strconv.Itoa(1<<20)}, "at one time"},
		{[]string{"--output=x", "--user-agent=a\tb"}, "user agent"},
	} {
		p := start(t, nil, append([]string{"connectivity-check"}, c.args...)...)
		if code := p.wait(); code != exitUsage || !strings.Contains(p.stderr.String(), c.text) {
			t.Errorf("%v: exit code %d, want %d; it prints %s", c.args, code, exitUsage, p.stderr)
		}
	}
}

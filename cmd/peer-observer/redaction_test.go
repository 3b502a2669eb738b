package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/exporters/archive"
	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

func keyFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, bytes.Repeat([]byte("k"), 32), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// eventBytes gives the events of archive files, one after the other, and their number.
func eventBytes(t *testing.T, paths ...string) (all []byte, n int) {
	t.Helper()
	set, err := archive.OpenSet(paths, archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	for {
		e, err := set.Next()
		if errors.Is(err, io.EOF) {
			return all, n
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e.Data...)
		n++
	}
}

// Archive and websocket of an agent with a key have no address of its node, whether it is told
// by RPC, the log or the link.
func TestAgentRedacts(t *testing.T) {
	node := regtest.ForTest(t, regtest.Config{Debug: []string{"net"}, Args: []string{"-logips", "-externalip=8.23.45.67", "-uacomment=at-8.23.45.67"}})
	dir, key := t.TempDir(), keyFile(t)
	o := observe(t, node, nil, "--no-extractor.ebpf", "--exporter.archive", "--exporter.archive.dir="+dir,
		"--exporter.archive.flush-interval=100ms", "--exporter.archive.redact-key-file="+key,
		"--exporter.websocket", "--exporter.websocket.redact-key-file="+key)
	o.ready()
	live := liveEvents(t, o.web, "peer_infos", "network_info", "unknown_log_message", "link_state")
	eventually(t, "log, RPC and link in the archive", func() error {
		files := archiveFiles(t, dir)
		if len(files) == 0 {
			return fmt.Errorf("no file yet")
		}
		info, err := archive.Inspect(t.Context(), files[0], false)
		if err != nil {
			return err
		}
		for _, kind := range []string{"rpc.peer_infos", "rpc.network_info", "log.unknown", "p2p.link_state"} {
			if info.Kinds[kind] == 0 {
				return fmt.Errorf("no %s", kind)
			}
		}
		return nil
	})
	if code := o.stop(); code != exitOK {
		t.Errorf("ends with %d", code)
	}
	archived, _ := eventBytes(t, archiveFiles(t, dir)...)
	for name, all := range map[string][]byte{"archive": archived, "websocket": live} {
		for _, address := range []string{"127.0.0.1", "8.23.45.67", "\x7f\x00\x00\x01", "\x08\x17\x2d\x43"} {
			if i := bytes.Index(all, []byte(address)); i >= 0 {
				t.Errorf("%s: %q is there: %q", name, address, all[max(0, i-100):min(len(all), i+50)])
			}
		}
		if !bytes.Contains(all, []byte("at-24")) && !bytes.Contains(all, []byte("at-25")) {
			t.Errorf("%s: no pseudonym in the user agent", name)
		}
	}
}

// liveEvents gives what a client of the websocket gets until each of some texts was there.
func liveEvents(t *testing.T, web string, wanted ...string) (all []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, response, err := websocket.Dial(ctx, "ws://"+web+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	if response.Body != nil {
		defer response.Body.Close()
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(64 << 20)
	if err := conn.Write(ctx, websocket.MessageText, []byte(`{"rpc":true,"p2p":true,"log":true,"observer":true,"retained":true}`)); err != nil {
		t.Fatal(err)
	}
	for len(wanted) > 0 {
		_, data, err := conn.Read(ctx)
		if err != nil {
			t.Fatalf("waiting for %q: %v", wanted, err)
		}
		all = append(all, data...)
		for len(wanted) > 0 && bytes.Contains(all, []byte(wanted[0])) {
			wanted = wanted[1:]
		}
	}
	return all
}

// An archive that exists already is redacted by cut and by replay, both with the same
// pseudonyms, and nothing is written without the key that was asked for.
func TestCutAndReplayRedact(t *testing.T) {
	file := archiveOfAddresses(t, []*eventpb.Address{{Address: &eventpb.Address_Ipv4{Ipv4: "8.23.45.67"}, Port: proto.Uint32(8333)}})
	if all, _ := eventBytes(t, file); !bytes.Contains(all, []byte("8.23.45.67")) || !bytes.Contains(all, []byte("192.0.2.1")) {
		t.Fatal("the file doesn't hold its addresses")
	}
	key := keyFile(t)
	output := filepath.Join(t.TempDir(), "shared.bin.zst")
	if code := start(t, nil, "archive", "cut", "--redact-key-file="+key, "-o", output, file).wait(); code != exitOK {
		t.Fatalf("archive cut ends with %d", code)
	}
	replayed := func(args ...string) string {
		p := start(t, nil, append([]string{"replay", "--to=logger", "--speed=max", "--format=json"}, args...)...)
		if code := p.wait(); code != exitOK {
			t.Fatalf("replay ends with %d", code)
		}
		return p.stdout.String()
	}
	fromCut, fromFile := replayed(output), replayed("--redact-key-file="+key, file)
	if fromCut != fromFile || strings.Contains(fromCut, "8.23.45.67") || strings.Contains(fromCut, "192.0.2.1") || !strings.Contains(fromCut, `"ipv4":"24`) && !strings.Contains(fromCut, `"ipv4":"25`) {
		t.Errorf("cut: %s\nreplayed: %s", fromCut, fromFile)
	}
	if code := start(t, nil, "archive", "verify", output).wait(); code != exitOK {
		t.Errorf("archive verify ends with %d", code)
	}
	for _, args := range [][]string{
		{"replay", "--to=logger", file}, {"archive", "cut", "-o", output + "2", file}, {"logger"}, {"archive", "--dir=" + t.TempDir()},
		{"agent", "--exporter.archive", "--exporter.archive.dir=" + t.TempDir()}, {"agent", "--exporter.websocket"}, {"websocket"},
	} {
		flag := "--redact-key-file="
		switch {
		case args[0] == "agent":
			flag = "--" + strings.TrimPrefix(args[1], "--") + ".redact-key-file="
		case args[0] == "websocket":
			flag = "--websocket.redact-key-file="
		}
		p := start(t, nil, append(args, flag+"/does/not/exist")...)
		if code := p.wait(); code != exitUsage || !strings.Contains(p.stderr.String(), "/does/not/exist") {
			t.Errorf("%v: ends with %d, %s", args, code, p.stderr)
		}
	}
	if _, err := os.Stat(output + "2"); err == nil {
		t.Error("cut without its key wrote a file")
	}
}

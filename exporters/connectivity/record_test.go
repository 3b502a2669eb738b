package connectivity

import (
	"bytes"
	"encoding/csv"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/wire/v2"

	"github.com/peerobserver/peerobserver/proto/event"
)

func aRow() *Row {
	a := at("8.1.2.3", 8333)
	a.at, a.seen, a.services = time.Unix(1_700_000_000, 0), 1_600_000_000, 0x409
	return newRow(a, &outcome{
		result: ResultSuccess, transport: 2, connect: 20 * time.Millisecond, handshake: time.Second,
		node: nodeInfo{protocol: 70016, services: 0xc09, userAgent: scriptedAgent, height: 7},
	}, time.Unix(1_700_000_001, 5_000_000))
}

func TestCSV(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record.csv")
	for range 2 { // a second run appends, without a second header
		r, err := openRecord(path, FormatCSV)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.write(aRow()); err != nil {
			t.Fatal(err)
		}
		if err := r.close(); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"2023-11-14T22:13:21.005Z", "ipv4", "8.1.2.3", "8333", "success", "v2", "false", "20", "1000",
		"2023-11-14T22:13:20Z", "2020-09-13T12:26:40Z", "0000000000000409", "70016", "0000000000000c09", "'" + scriptedAgent, "7",
	}
	if len(rows) != 3 || len(rows[0]) != len(want) || strings.Join(rows[1], "|") != strings.Join(want, "|") || strings.Join(rows[2], "|") != strings.Join(want, "|") {
		t.Errorf("%q", rows)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// A row that can't be written is counted and said, and the check goes on.
func TestRecordOnFullDevice(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := &record{f: full}
	if err := r.write(aRow()); err == nil {
		t.Error("a row on a full device")
	}
	if err := full.Close(); err != nil {
		t.Fatal(err)
	}
	if r.size != 0 {
		t.Errorf("size %d", r.size)
	}
	if _, err := openRecord("/dev/full", FormatJSON); err == nil {
		t.Error("a device is a record")
	}
}

func TestMistakesInConfig(t *testing.T) {
	for name, c := range map[string]Config{
		"--output":   {},
		"user agent": {Output: "x", UserAgent: "a\nb"},
		"at most":    {Output: "x", UserAgent: strings.Repeat("a", 257)},
		"one time":   {Output: "x", Concurrency: 5000},
		"queue":      {Output: "x", Queue: -1},
		"caches":     {Output: "x", CacheEntries: 1 << 30},
		"negative":   {Output: "x", SuccessTTL: -1},
	} {
		if _, err := New(c, event.NewLedger(), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseChain("mainnet"); err == nil {
		t.Error("mainnet is a chain")
	}
	if n, err := ParseChain("signet"); err != nil || n != wire.SigNet {
		t.Errorf("signet: %v, %v", n, err)
	}
	if _, err := ParseTransport("v3"); err == nil {
		t.Error("v3 is a transport")
	}
	if _, err := ParseFormat("xml"); err == nil {
		t.Error("xml is a format")
	}
}

// What a stranger sends neither panics nor takes more than its bounds.
func FuzzMessages(f *testing.F) {
	f.Add(message(wire.TestNet, "version", versionOf(70016)))
	f.Add([]byte("\xfa\xbf\xb5\xdaversion\x00\x00\x00\x00\x00\xff\xff\xff\xff0000"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := &sessionV1{in: bytes.NewReader(data), net: wire.TestNet}
		for range maxMessages {
			kind, payload, err := s.receive()
			if err != nil {
				break
			}
			if len(kind) == 0 || len(kind) > typeSize || len(payload) > maxPayload {
				t.Fatalf("%q with %d bytes", kind, len(payload))
			}
			if kind == wire.CmdVersion {
				if node, err := parseVersion(payload); err == nil && len(node.userAgent) > 3*maxUserAgent {
					t.Fatalf("user agent of %d bytes", len(node.userAgent))
				}
			}
		}
		if cap(s.payload) > maxPayload {
			t.Fatalf("%d bytes reserved", cap(s.payload))
		}
	})
}

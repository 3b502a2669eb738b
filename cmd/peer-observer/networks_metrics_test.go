package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A prefix list is a value of the label list from the start; when its file is damaged
// later, the program says so and goes on.
func TestPrefixListFlag(t *testing.T) {
	path := filepath.Join(t.TempDir(), "exits.txt")
	if err := os.WriteFile(path, []byte("198.51.100.7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := &observer{web: freeAddress(t), nats: freeAddress(t)}
	o.program = start(t, nil, "agent", "--node.name=test", "--bitcoin.datadir="+t.TempDir(), "--no-extractor.ebpf", "--no-extractor.p2p", "--no-extractor.log",
		"--web.listen-address="+o.web, "--nats.listen-address="+o.nats, "--metrics.prefix-list=tor_exit="+path, "--metrics.reload-interval=20ms")
	for _, list := range []string{"tor_exit", "linkinglion"} {
		eventually(t, "the list as a label value", func() error {
			_, err := o.sample(`peerobserver_connections_listed_opened_total{direction="inbound",list="` + list + `"}`)
			return err
		})
	}
	if err := os.WriteFile(path, []byte("not an address\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a report of the damaged file", func() error {
		if !strings.Contains(o.stderr.String(), "line 1") {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	if code := o.stop(); code != exitOK {
		t.Errorf("exit code %d, want 0", code)
	}
}

func TestMistakesInNetworkFlags(t *testing.T) {
	for _, c := range []struct{ flag, text string }{
		{"--metrics.asmap-file=/does/not/exist", "/does/not/exist"},
		{"--metrics.prefix-list=exits", "NAME=FILE"},
		{"--metrics.prefix-list=Exits=/dev/null", "Exits"},
		{"--metrics.prefix-list=exits=/does/not/exist", "/does/not/exist"},
		{"--metrics.reload-interval=0s", "--metrics.reload-interval"},
	} {
		for _, command := range []string{"agent", "metrics"} {
			p := start(t, nil, command, "--web.listen-address=127.0.0.1:0", "--nats."+map[string]string{"agent": "listen-address=127.0.0.1:0", "metrics": "url=nats://127.0.0.1:1"}[command], c.flag)
			if code := p.wait(); code != exitUsage {
				t.Errorf("%s %s: exit code %d, want %d", command, c.flag, code, exitUsage)
			}
			lines := strings.Split(strings.TrimSpace(p.stderr.String()), "\n")
			if last := lines[len(lines)-1]; !strings.HasPrefix(last, "peer-observer: ") || !strings.Contains(last, c.text) {
				t.Errorf("%s %s prints %q, want one line that names %s", command, c.flag, lines, c.text)
			}
		}
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/exporters/archive"
	"github.com/peerobserver/peerobserver/lab/regtest"
)

func archiveFiles(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*.bin.zst"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func verification(t *testing.T, code int, args ...string) *archive.Verification {
	t.Helper()
	p := start(t, nil, append([]string{"archive", "verify", "--json"}, args...)...)
	if got := p.wait(); got != code {
		t.Fatalf("archive verify ends with %d, want %d", got, code)
	}
	v := new(archive.Verification)
	if err := json.Unmarshal([]byte(p.stdout.String()), v); err != nil {
		t.Fatal(err)
	}
	return v
}

func countOf(v *archive.Verification) (events uint64) {
	for _, f := range v.Files {
		events += f.Events
	}
	return events
}

// What an agent archived until it was killed can be verified, cut and replayed, over NATS
// into a second archive that holds the same bytes, and as metrics.
func TestArchiveSurvivesKillAndReplays(t *testing.T) {
	node := regtest.ForTest(t, regtest.Config{})
	dir := t.TempDir()
	o := observe(t, node, nil, "--no-extractor.ebpf", "--exporter.archive", "--exporter.archive.dir="+dir, "--exporter.archive.flush-interval=100ms")
	o.ready()
	const series = `peerobserver_events_total{event="rpc.peer_infos",source="rpc"}`
	eventually(t, "some events in the archive", func() error {
		files := archiveFiles(t, dir)
		if len(files) == 0 {
			return fmt.Errorf("no file yet")
		}
		info, err := archive.Inspect(t.Context(), files[0], false)
		if err != nil {
			return err
		}
		if info.Events < 50 {
			return fmt.Errorf("%d events", info.Events)
		}
		return nil
	})
	if _, err := o.sample(series); err != nil {
		t.Error(err)
	}
	if err := o.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-o.done
	files := archiveFiles(t, dir)
	if len(files) != 1 {
		t.Fatalf("files %v, want one", files)
	}
	v := verification(t, exitOK, files...)
	events := countOf(v)
	if events < 50 || v.Missing() != 0 || v.Files[0].Indexed {
		t.Errorf("%d events, %d missing, with index %v", events, v.Missing(), v.Files[0].Indexed)
	}

	// Torn in its last block it is damaged, and cut saves the rest.
	whole, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	torn := filepath.Join(t.TempDir(), "torn.bin.zst")
	if err := os.WriteFile(torn, whole[:len(whole)-3], 0o600); err != nil {
		t.Fatal(err)
	}
	if d := verification(t, exitFailure, torn); len(d.Files[0].Damage) != 1 || !d.Files[0].Damage[0].Torn {
		t.Errorf("torn: %+v", d.Files[0].Damage)
	}
	saved := filepath.Join(t.TempDir(), "saved.bin.zst")
	if code := start(t, nil, "archive", "cut", "-o", saved, torn).wait(); code != exitOK {
		t.Errorf("archive cut ends with %d", code)
	}
	if n := countOf(verification(t, exitOK, saved)); n == 0 || n >= events {
		t.Errorf("%d events are saved of %d", n, events)
	}

	// Info for people.
	p := start(t, nil, "archive", "info", "--messages", files[0])
	if code := p.wait(); code != exitOK || !strings.Contains(p.stdout.String(), "rpc.peer_infos") {
		t.Errorf("archive info ends with %d and prints %s", code, p.stdout)
	}

	// As text.
	p = start(t, nil, "replay", "--to=logger", "--speed=max", "--format=json", files[0])
	if code := p.wait(); code != exitOK || uint64(strings.Count(p.stdout.String(), "\n")) != events {
		t.Errorf("replay to the logger ends with %d and prints %d lines, want %d", code, strings.Count(p.stdout.String(), "\n"), events)
	}

	// As metrics.
	web := freeAddress(t)
	p = start(t, nil, "replay", "--to=prometheus", "--speed=max", "--no-metrics.node-label", "--web.listen-address="+web, files[0])
	metrics := &observer{program: p, web: web}
	var peerInfos float64
	eventually(t, "the replayed metrics", func() error {
		if !strings.Contains(p.stderr.String(), "replay finished") {
			return fmt.Errorf("not finished: %s", p.stderr)
		}
		var err error
		peerInfos, err = metrics.sample(series)
		return err
	})
	if want := v.Files[0].Kinds["rpc.peer_infos"]; peerInfos != float64(want) || want == 0 {
		t.Errorf("%v peer infos in the metrics, %d in the file", peerInfos, want)
	}
	if code := p.stop(); code != exitOK {
		t.Errorf("ends with %d", code)
	}

	replayOverNATS(t, files[0], events)
}

// replayOverNATS replays a file through the NATS server of an agent without events of its
// own into a second archive.
func replayOverNATS(t *testing.T, file string, events uint64) {
	t.Helper()
	nats, web := freeAddress(t), freeAddress(t)
	hub := start(t, nil, "agent", "--node.name=hub", "--bitcoin.datadir="+t.TempDir(), "--no-extractor.ebpf", "--no-extractor.p2p", "--no-extractor.log",
		"--nats.listen-address="+nats, "--nats.allow-publish", "--web.listen-address="+web)
	eventually(t, "the NATS server", func() error {
		_, _, err := get("http://" + web + "/-/healthy")
		return err
	})
	dir := t.TempDir()
	second := start(t, nil, "archive", "--nats.url=nats://"+nats, "--dir="+dir, "--flush-interval=100ms")
	eventually(t, "the archive to subscribe", func() error {
		if !strings.Contains(second.stderr.String(), "subscribed on NATS") {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	if code := start(t, nil, "replay", "--to=nats", "--speed=max", "--nats.url=nats://"+nats, file).wait(); code != exitOK {
		t.Errorf("replay to NATS ends with %d", code)
	}
	// The hub's own status events are in the archive too.
	fromNode := func(v *archive.Verification) (n uint64) {
		for _, g := range v.Sources {
			if g.Node == "test" {
				n += g.Events
			}
		}
		return n
	}
	eventually(t, "the second archive", func() error {
		v, err := archive.Verify(t.Context(), archiveFiles(t, dir))
		if err != nil {
			return err
		}
		if n := fromNode(v); n < events {
			return fmt.Errorf("%d of %d events", n, events)
		}
		return nil
	})
	for _, p := range []*program{second, hub} {
		if code := p.stop(); code != exitOK {
			t.Errorf("%v ends with %d", p.cmd.Args[1:], code)
		}
	}
	v := verification(t, exitOK, append([]string{"--strict"}, archiveFiles(t, dir)...)...)
	if n := fromNode(v); n != events || !v.Files[0].Indexed {
		t.Errorf("%d events, want %d; with index %v", n, events, v.Files[0].Indexed)
	}
}

func TestMistakesInArchiveFlags(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no archive at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"archive"}, exitUsage, "--dir"},
		{[]string{"archive", "--dir=x", "--compression-level=99"}, exitUsage, "99"},
		{[]string{"agent", "--exporter.archive"}, exitUsage, "--exporter.archive.dir"},
		{[]string{"archive", "info", "/does/not/exist"}, exitFailure, "/does/not/exist"},
		{[]string{"archive", "verify", text}, exitFailure, "damaged"},
		{[]string{"archive", "cut", "-o", text, "--from=yesterday", text}, exitUsage, "yesterday"},
		{[]string{"replay", text}, exitUsage, "--to"},
		{[]string{"replay", "--to=logger", "--speed=-1", text}, exitUsage, "--speed"},
		{[]string{"replay", "--to=logger", text}, exitUsage, "not an archive"},
		{[]string{"replay", "--to=nats", "--peer=1", text}, exitUsage, "--peer"},
		{[]string{"replay", "--to=logger", "--from=200", "--to-time=100", text}, exitUsage, "not before"},
	} {
		p := start(t, nil, c.args...)
		if code := p.wait(); code != c.code {
			t.Errorf("%v: exit code %d, want %d; it prints %s", c.args, code, c.code, p.stderr)
		}
		lines := strings.Split(strings.TrimSpace(p.stderr.String()), "\n")
		if last := lines[len(lines)-1]; !strings.HasPrefix(last, "peer-observer: ") || !strings.Contains(last, c.text) {
			t.Errorf("%v prints %q, want one line that names %s", c.args, lines, c.text)
		}
	}
}

func TestParseTime(t *testing.T) {
	for text, want := range map[string]time.Time{
		"":                          {},
		"1700000000":                time.Unix(1_700_000_000, 0),
		"1700000000.5":              time.Unix(1_700_000_000, 500_000_000),
		"2023-11-14T22:13:20.25Z":   time.Unix(1_700_000_000, 250_000_000),
		"2023-11-14T23:13:20+01:00": time.Unix(1_700_000_000, 0),
	} {
		if got, err := parseTime(text); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"yesterday", "-1", "1e300", "NaN", "5 apples"} {
		if got, err := parseTime(text); err == nil {
			t.Errorf("%q: %v, want an error", text, got)
		}
	}
}

package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peerobserver/peerobserver/agent/node"
	"github.com/peerobserver/peerobserver/lab/regtest"
)

// withoutTracepoints is a node's program without the notes that tell where its
// tracepoints are, as if it had been built without.
func withoutTracepoints(t *testing.T) string {
	t.Helper()
	binary := regtest.Binary(t)
	own := ownBinary(t, binary.Path, "bitcoind")
	if binary.HasTracepoints {
		if output, err := exec.CommandContext(t.Context(), "objcopy", "--remove-section=.note.stapsdt", binary.Path, own).CombinedOutput(); err != nil {
			t.Fatalf("objcopy: %v\n%s", err, output)
		}
	}
	if has, err := node.HasTracepoints(own); err != nil || has {
		t.Fatalf("%s has tracepoints: %v, %v", own, has, err)
	}
	return own
}

// A node without tracepoints: one line says so and what helps, and all other sources run.
func TestNodeWithoutTracepoints(t *testing.T) {
	t.Parallel()
	node := regtest.ForTest(t, regtest.Config{Binary: withoutTracepoints(t), V2: true})
	o := observe(t, node, nil)
	o.sources(sourceRPC, sourceP2P, sourceLog)
	report := o.notReady("source ebpf is not live: ", "no tracepoints", "official release")
	if n := strings.Count(report, "\n- "); n != 1 {
		t.Errorf("%d things are missing, want one: %s", n, report)
	}
	complaints := linesWith(o.stderr.String(), "tracepoints")
	if len(complaints) != 1 || !strings.Contains(complaints[0], "official release of Bitcoin Core") {
		t.Errorf("the log speaks of tracepoints in %d lines, want one that says what helps:\n%s", len(complaints), strings.Join(complaints, "\n"))
	}
	if code := o.stop(); code != exitOK {
		t.Errorf("exit code %d, want 0", code)
	}

	addresses := []string{"--bitcoin.datadir=" + node.DataDir(), "--web.listen-address=127.0.0.1:0", "--nats.listen-address=127.0.0.1:0"}
	doctor := start(t, nil, append([]string{"doctor"}, addresses...)...)
	if code := doctor.wait(); code != exitFailure {
		t.Errorf("doctor: exit code %d, want %d", code, exitFailure)
	}
	if failures := linesWith(doctor.stdout.String(), "FAIL"); len(failures) != 1 || !strings.Contains(failures[0], "no tracepoints") {
		t.Errorf("doctor finds %q, want missing tracepoints only", failures)
	}
	fixes := linesWith(doctor.stdout.String(), "fix: ")
	if len(fixes) != 1 || !strings.Contains(fixes[0], "--no-extractor.ebpf") {
		t.Errorf("doctor names as fix %q, want --no-extractor.ebpf", fixes)
	}
	// And that is one.
	if code := start(t, nil, append([]string{"doctor", "--no-extractor.ebpf"}, addresses...)...).wait(); code != exitOK {
		t.Errorf("doctor --no-extractor.ebpf: exit code %d, want 0", code)
	}
	o = observe(t, node, nil, "--no-extractor.ebpf")
	o.ready()
}

// The program file may be replaced by one with tracepoints: they are seen from then on.
func TestNodeGetsTracepoints(t *testing.T) {
	t.Parallel()
	binary := regtest.Binary(t)
	path := filepath.Join(t.TempDir(), "bitcoind")
	copyFile(t, withoutTracepoints(t), path)
	config := regtest.Config{V2: true}
	if binary.HasTracepoints {
		config.Binary = path
	}
	node := regtest.WithTracepoints(t, config)
	o := observe(t, node, nil)
	o.sources(sourceRPC, sourceP2P, sourceLog)
	events := subscribeNow(t, o.nats)
	copyFile(t, binary.Path, path)
	if err := node.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.ready()
	seesBlocks(t, "after an upgrade", node, events)
}

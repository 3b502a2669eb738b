package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/peerobserver/peerobserver/exporters/getblocktxn"
	"github.com/peerobserver/peerobserver/lab/regtest"
)

// One real stream, of a node that misses a transaction of a compact block, that another
// asks for it, and that is asked for nonsense, gives the same rows in the agent, in Go and
// in Python over NATS, in both formats, and they tell what happened.
func TestRecordGetBlockTxn(t *testing.T) {
	r := startBlockTxnRig(t)
	dir := t.TempDir()
	inAgent := filepath.Join(dir, "agent.json")
	o := observe(t, r.bob, nil, "--exporter.getblocktxn", "--exporter.getblocktxn.output="+inAgent)
	o.ready()

	files := map[string]string{}
	var recorders []interface{ stop() int }
	var programs []*program
	for _, format := range []string{"json", "csv"} {
		for _, language := range []string{"go", "python"} {
			name := language + "." + format
			files[name] = filepath.Join(dir, name)
			args := []string{"--output=" + files[name], "--format=" + format}
			if language == "go" {
				p := start(t, nil, append([]string{"record-getblocktxn", "--nats.url=nats://" + o.nats}, args...)...)
				eventually(t, name, func() error { return contains(p.stderr.String(), "subscribed on NATS") })
				recorders, programs = append(recorders, p), append(programs, p)
				continue
			}
			recorders = append(recorders, startPythonRecorder(t, append([]string{"--url=nats://" + o.nats}, args...)...))
		}
	}

	key := filepath.Join(dir, "key")
	if err := os.WriteFile(key, []byte("a key of twenty bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	redacted := start(t, nil, "record-getblocktxn", "--nats.url=nats://"+o.nats, "--redact-key-file="+key)
	eventually(t, "the recorder with redaction", func() error { return contains(redacted.stderr.String(), "subscribed on NATS") })
	recorders, programs = append(recorders, redacted), append(programs, redacted)

	hidden := r.mineHidden()
	carol, alice := onlyPeer(t, r.carol), onlyPeer(t, r.alice)
	deep := r.hashAt(5)
	unknown := bytes.Repeat([]byte{0xab}, 32)
	r.send(r.carol, carol, append(slices.Clone(deep), 2, 0, 0)) // positions 0 and 1
	r.send(r.carol, carol, append(slices.Clone(unknown), 1, 7))
	r.send(r.carol, carol, append(slices.Clone(unknown), 1, 8))
	rowsWhere := func(outcome getblocktxn.Outcome) func() error {
		return func() error {
			for name, path := range files {
				content, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				pattern := `"outcome":"` + string(outcome) + `"`
				if strings.HasSuffix(name, "csv") {
					pattern = "," + string(outcome) + ","
				}
				if err := contains(string(content), pattern); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
			return nil
		}
	}
	eventually(t, "the second question about an unknown block", rowsWhere(getblocktxn.OutcomeRepeated))
	if err := r.carol.Disconnect(t.Context(), r.bob); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the connection", rowsWhere(getblocktxn.OutcomeClosed))
	r.send(r.alice, alice, append(slices.Clone(unknown), 0))
	r.send(r.alice, alice, []byte{0})
	eventually(t, "a message that can't be read", rowsWhere(getblocktxn.OutcomeMalformed))
	for _, recorder := range recorders {
		if code := recorder.stop(); code != exitOK {
			t.Errorf("exit code %d", code)
		}
	}
	for _, p := range programs {
		if err := contains(p.stderr.String(), "level=WARN"); err == nil {
			t.Errorf("the recorder warns:\n%s", p.stderr)
		}
	}
	if code := o.stop(); code != exitOK {
		t.Errorf("exit code of the agent: %d", code)
	}
	contents := map[string]string{}
	files["agent.json"] = inAgent
	for name, path := range files {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		contents[name] = string(content)
	}
	for _, format := range []string{"json", "csv"} {
		if contents["go."+format] != contents["python."+format] {
			t.Errorf("%s: Go wrote\n%s\nPython\n%s", format, contents["go."+format], contents["python."+format])
		}
	}
	if contents["agent.json"] != contents["go.json"] {
		t.Errorf("in the agent:\n%s\nover NATS:\n%s", contents["agent.json"], contents["go.json"])
	}
	if text := redacted.stdout.String(); strings.Contains(text, "127.0.0.1") || strings.Count(text, "\n") != strings.Count(contents["go.json"], "\n") {
		t.Errorf("with pseudonyms:\n%s", text)
	}
	t.Logf("rows:\n%s", contents["go.json"])
	r.check(contents["go.json"], hidden, hex.EncodeToString(reversed(deep)), hex.EncodeToString(unknown))
	if lines := strings.Count(contents["go.csv"], "\n"); lines != 1+strings.Count(contents["go.json"], "\n") {
		t.Errorf("the CSV file has %d lines:\n%s", lines, contents["go.csv"])
	}
}

// blockTxnRig is bob between alice, who mines, and carol.
type blockTxnRig struct {
	t                 *testing.T
	alice, bob, carol *regtest.Node
}

func startBlockTxnRig(t *testing.T) *blockTxnRig {
	t.Helper()
	r := &blockTxnRig{t: t, alice: regtest.ForTest(t, regtest.Config{V2: true}), bob: regtest.WithTracepoints(t, regtest.Config{V2: true}), carol: regtest.ForTest(t, regtest.Config{V2: true})}
	for _, from := range []*regtest.Node{r.alice, r.carol} {
		if err := from.Connect(t.Context(), r.bob); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.alice.Fund(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	if err := regtest.SyncBlocks(t.Context(), r.alice, r.bob, r.carol); err != nil {
		t.Fatal(err)
	}
	return r
}

// mineHidden mines a block with a transaction that only alice has seen and gives its hash.
func (r *blockTxnRig) mineHidden() string {
	r.t.Helper()
	transactions, err := r.alice.NewTransactions(r.t.Context(), 1)
	if err != nil {
		r.t.Fatal(err)
	}
	var raw bytes.Buffer
	if err := transactions[0].Serialize(&raw); err != nil {
		r.t.Fatal(err)
	}
	var mined struct{ Hash string }
	r.call(r.alice, "generateblock", []any{"raw(51)", []string{hex.EncodeToString(raw.Bytes())}}, &mined)
	if err := regtest.SyncBlocks(r.t.Context(), r.alice, r.bob, r.carol); err != nil {
		r.t.Fatal(err)
	}
	return mined.Hash
}

func (r *blockTxnRig) call(node *regtest.Node, method string, params, result any) {
	r.t.Helper()
	if err := node.Call(r.t.Context(), method, params, result); err != nil {
		r.t.Fatal(err)
	}
}

// hashAt is the hash of a block in internal byte order.
func (r *blockTxnRig) hashAt(height int) []byte {
	r.t.Helper()
	var text string
	r.call(r.bob, "getblockhash", []any{height}, &text)
	hash, err := hex.DecodeString(text)
	if err != nil {
		r.t.Fatal(err)
	}
	return reversed(hash)
}

// send sends a getblocktxn message with any payload to bob.
func (r *blockTxnRig) send(from *regtest.Node, peer int64, payload []byte) {
	r.t.Helper()
	r.call(from, "sendmsgtopeer", []any{peer, "getblocktxn", hex.EncodeToString(payload)}, nil)
}

// check compares the rows with what was done.
func (r *blockTxnRig) check(text, hidden, deep, unknown string) {
	r.t.Helper()
	type told struct {
		direction, block, indexes string
		outcome                   getblocktxn.Outcome
		transactions              int
	}
	seen := map[told]int{}
	for line := range strings.Lines(text) {
		var row getblocktxn.Row
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			r.t.Fatalf("%v: %s", err, line)
		}
		what := told{row.Direction, row.Block, fmt.Sprint(row.Indexes), row.Outcome, -1}
		if row.Transactions != nil {
			what.transactions = *row.Transactions
		}
		seen[what]++
		answered := row.Outcome == getblocktxn.OutcomeBlockTxn || row.Outcome == getblocktxn.OutcomeBlock
		if answered != (row.Delay != nil) || answered != (row.AnswerBytes != nil) {
			r.t.Errorf("delay and size don't fit the outcome: %s", line)
		}
		if answered && (*row.Delay <= 0 || *row.AnswerBytes < 32) {
			r.t.Errorf("an answer of %d bytes after %d ns: %s", *row.AnswerBytes, *row.Delay, line)
		}
		if row.Node != "test" || row.Address == "" || row.ConnectionType != "inbound" {
			r.t.Errorf("node, address or type of the connection: %s", line)
		}
	}
	for _, want := range []told{
		{"sent", hidden, "[1]", getblocktxn.OutcomeBlockTxn, 1},
		{"received", hidden, "[1]", getblocktxn.OutcomeBlockTxn, 1},
		{"received", deep, "[0 1]", getblocktxn.OutcomeBlock, -1},
		{"received", unknown, "[7]", getblocktxn.OutcomeRepeated, -1},
		{"received", unknown, "[8]", getblocktxn.OutcomeClosed, -1},
		{"received", unknown, "[]", getblocktxn.OutcomeEnd, -1},
		{"received", "", "[]", getblocktxn.OutcomeMalformed, -1},
	} {
		if seen[want] != 1 {
			r.t.Errorf("%d rows say %+v, want one", seen[want], want)
		}
		delete(seen, want)
	}
	if len(seen) > 0 {
		r.t.Errorf("rows that nobody caused: %+v", seen)
	}
}

// onlyPeer is the number that a node's only peer has there.
func onlyPeer(t *testing.T, node *regtest.Node) int64 {
	t.Helper()
	var peers []struct {
		ID int64 `json:"id"`
	}
	if err := node.Call(t.Context(), "getpeerinfo", nil, &peers); err != nil || len(peers) != 1 {
		t.Fatalf("peers %+v, %v", peers, err)
	}
	return peers[0].ID
}

func reversed(b []byte) []byte {
	b = slices.Clone(b)
	slices.Reverse(b)
	return b
}

func contains(text, part string) error {
	if !strings.Contains(text, part) {
		return fmt.Errorf("no %q in %q", part, text)
	}
	return nil
}

// pythonRecorder is a run of the recorder in Python.
type pythonRecorder struct {
	t      *testing.T
	cmd    *exec.Cmd
	stderr *output
	ended  bool
}

func startPythonRecorder(t *testing.T, args ...string) *pythonRecorder {
	t.Helper()
	interpreter := "python3"
	if err := exec.Command(interpreter, "-c", "import google.protobuf").Run(); err != nil {
		interpreter = "/usr/bin/python3" // the system's, for which setup installs it
	}
	p := &pythonRecorder{t: t, stderr: new(output)}
	p.cmd = exec.Command(interpreter, append([]string{"../../proto/python/examples/record_getblocktxn.py"}, args...)...)
	p.cmd.Stderr = p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !p.ended {
			p.stop()
		}
	})
	eventually(t, "the recorder in Python", func() error { return contains(p.stderr.String(), "subscribed") })
	return p
}

func (p *pythonRecorder) stop() int {
	p.t.Helper()
	p.ended = true
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Error(err)
	}
	err := p.cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		p.t.Logf("the recorder in Python: %s", p.stderr)
		return exit.ExitCode()
	}
	if err != nil {
		p.t.Error(err)
	}
	return exitOK
}

func TestMistakesInRecorderFlags(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--format=xml"}, "xml"},
		{[]string{"--answer-timeout=0s"}, "more than 0"},
		{[]string{"--output=" + filepath.Join(t.TempDir(), "no", "such", "directory")}, "no such file"},
		{[]string{"--nats.url=http://127.0.0.1"}, "http"},
		{[]string{"--nats.subject-prefix=a b."}, "prefix"},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), append([]string{"record-getblocktxn"}, c.args...), &stdout, &stderr); code != exitUsage {
			t.Errorf("%q: exit code %d, want %d", c.args, code, exitUsage)
		}
		if err := contains(stderr.String(), c.says); err != nil {
			t.Errorf("%q: %v", c.args, err)
		}
	}
}

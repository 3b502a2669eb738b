package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/agent/extractor/rpc"
	"github.com/peerobserver/peerobserver/lab/machine"
	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// nobody is the user with no rights to anything.
const nobody = 65534

// Numbers of capabilities, from include/uapi/linux/capability.h.
const (
	capPerfmon = 38
	capBPF     = 39
)

// needsRoot ends a test that makes processes of other users where that isn't possible.
func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		machine.Lacks(t, "root, to start processes of another user")
	}
}

// publicDir is a directory that every user can read, unlike those of t.TempDir.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "peer-observer-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// copyFile copies a program to where every user can run it.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	// By another name first: a program that runs can't be written to.
	if err := os.WriteFile(to+".new", content, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(to+".new", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(to+".new", to); err != nil {
		t.Fatal(err)
	}
}

// asNobody lets start run the program as another user, with nothing but the capabilities
// given.
func asNobody(t *testing.T, capabilities ...uintptr) func(*exec.Cmd) {
	t.Helper()
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(publicDir(t), "peer-observer")
	copyFile(t, own, path)
	return func(cmd *exec.Cmd) {
		cmd.Path, cmd.Dir = path, "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Credential:  &syscall.Credential{Uid: nobody, Gid: nobody},
			AmbientCaps: capabilities,
		}
	}
}

// notReady waits until the agent's own report on why it isn't ready has all of the texts.
func (o *observer) notReady(texts ...string) string {
	o.t.Helper()
	report := ""
	eventually(o.t, "the agent to say what is missing", func() error {
		code, body, err := get("http://" + o.web + "/-/ready")
		if err != nil {
			return err
		}
		if code != http.StatusServiceUnavailable {
			return fmt.Errorf("%d: %s", code, body)
		}
		for _, text := range texts {
			if !strings.Contains(body, text) {
				return fmt.Errorf("%q is not in %s", text, body)
			}
		}
		report = body
		return nil
	})
	return report
}

// sources waits until just these sources are up.
func (o *observer) sources(up ...string) {
	o.t.Helper()
	eventually(o.t, fmt.Sprintf("just the sources %v to be up", up), func() error {
		for _, source := range []string{sourceEBPF, sourceRPC, sourceP2P, sourceLog} {
			// A source that is switched off has no series.
			value, err := o.sample(fmt.Sprintf(`peerobserver_source_up{source=%q}`, source))
			if want := slices.Contains(up, source); want != (value == 1) {
				return fmt.Errorf("source %s up: %v (%w)", source, value, err)
			}
		}
		return nil
	})
}

// seesBlocks mines a block and waits until the agent has seen its tracepoint.
func seesBlocks(t *testing.T, what string, node *regtest.Node, events *watch) {
	t.Helper()
	if _, err := node.Mine(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	height := 0
	if err := node.Call(t.Context(), "getblockcount", nil, &height); err != nil {
		t.Fatal(err)
	}
	events.next("a block seen by tracepoint "+what, func(e *eventpb.Event) bool {
		return blockConnected(e) && int(e.GetEbpfExtractor().GetValidation().GetBlockConnected().GetHeight()) == height
	})
}

// subscribeNow is subscribe for a server that runs: every event from now on is seen.
func subscribeNow(t *testing.T, address string) *watch {
	t.Helper()
	connection, err := nats.Connect("nats://" + address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(connection.Close)
	w := &watch{t: t, events: make(chan *eventpb.Event, 1<<20)}
	if _, err := connection.Subscribe(">", func(m *nats.Msg) {
		e := new(eventpb.Event)
		if err := proto.Unmarshal(m.Data, e); err != nil {
			t.Errorf("%s: %v", m.Subject, err)
			return
		}
		w.events <- e
	}); err != nil {
		t.Fatal(err)
	}
	if err := connection.Flush(); err != nil {
		t.Fatal(err)
	}
	return w
}

// As a user who may read nothing of the node, with the two capabilities that eBPF needs:
// tracepoints are seen, every other source says what it lacks and comes when it gets that,
// and of the capabilities nothing is left, which is no hindrance when the node is
// restarted from a new program file.
func TestCapabilitiesOfEBPFOnly(t *testing.T) {
	needsRoot(t)
	t.Parallel()
	binary := regtest.Binary(t)
	own := filepath.Join(publicDir(t), "bitcoind")
	copyFile(t, binary.Path, own)
	config := regtest.Config{V2: true, Dir: publicDir(t)}
	if binary.HasTracepoints {
		config.Binary = own
	}
	node := regtest.WithTracepoints(t, config)
	o := observe(t, node, asNobody(t, capBPF, capPerfmon), "--extractor.p2p.listen-address="+freeAddress(t))
	o.sources(sourceEBPF)
	report := o.notReady(
		"source rpc is not live: ", node.CookieFile()+" cannot be read by user id 65534",
		"source p2p is not live: ",
		"source log is not live: can't read "+node.LogFile(),
	)
	if strings.Contains(report, "ebpf") {
		t.Errorf("with CAP_BPF and CAP_PERFMON: %s", report)
	}
	events := subscribeNow(t, o.nats)
	seesBlocks(t, "with two capabilities", node, events)
	noCapabilities(t, o)

	copyFile(t, own, own)
	eventually(t, "the new program file to be found", func() error {
		if len(linesWith(o.stderr.String(), "program file was replaced")) == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	if err := node.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	seesBlocks(t, "after a restart from a new program file, without capabilities", node, events)
	noCapabilities(t, o)

	makeReadable(t, node)
	o.sources(sourceEBPF, sourceRPC, sourceP2P, sourceLog)
	o.ready()
	if code := o.stop(); code != exitOK {
		t.Errorf("exit code %d, want 0", code)
	}
}

// The program file itself has the two capabilities, by the command of docs/install.md. Who
// runs it as a user without any sees tracepoints.
func TestCapabilitiesOfFile(t *testing.T) {
	needsRoot(t)
	t.Parallel()
	binary := regtest.Binary(t)
	config := regtest.Config{V2: true, Dir: publicDir(t)}
	if binary.HasTracepoints {
		config.Binary = filepath.Join(publicDir(t), "bitcoind")
		copyFile(t, binary.Path, config.Binary)
	}
	node := regtest.WithTracepoints(t, config)
	asUser := asNobody(t)
	o := observe(t, node, func(cmd *exec.Cmd) {
		asUser(cmd)
		setcap := exec.Command("setcap", "cap_bpf,cap_perfmon+ep", "./peer-observer")
		setcap.Dir = filepath.Dir(cmd.Path)
		if out, err := setcap.CombinedOutput(); err != nil {
			t.Fatalf("setcap: %v: %s", err, out)
		}
	}, "--extractor.p2p.listen-address="+freeAddress(t))
	o.sources(sourceEBPF)
	seesBlocks(t, "with a program that has capabilities", node, subscribeNow(t, o.nats))
	noCapabilities(t, o)
	if code := o.stop(); code != exitOK {
		t.Errorf("exit code %d, want 0", code)
	}
}

// noCapabilities checks that no thread of the agent has, or can get, a capability.
func noCapabilities(t *testing.T, o *observer) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", o.cmd.Process.Pid))
	if err != nil || len(files) == 0 {
		t.Fatalf("no threads: %v", err)
	}
	for _, file := range files {
		status, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // the thread has ended
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, set := range []string{"CapEff", "CapPrm", "CapInh", "CapAmb"} {
			if !strings.Contains(string(status), "\n"+set+":\t0000000000000000\n") {
				t.Errorf("%s: %s is not empty:\n%s", file, set, status)
			}
		}
	}
}

// makeReadable lets every user read the node's cookie and log.
func makeReadable(t *testing.T, node *regtest.Node) {
	t.Helper()
	for path, mode := range map[string]os.FileMode{node.DataDir(): 0o755, node.NetworkDir(): 0o755, node.CookieFile(): 0o644, node.LogFile(): 0o644} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
}

// Without any capability every source runs but eBPF, which names what it needs.
func TestWithoutCapabilities(t *testing.T) {
	needsRoot(t)
	t.Parallel()
	node := regtest.ForTest(t, regtest.Config{V2: true, Dir: publicDir(t)})
	makeReadable(t, node)
	asUser := asNobody(t)
	o := observe(t, node, asUser)
	o.sources(sourceRPC, sourceP2P, sourceLog)
	report := o.notReady("source ebpf is not live: ", "CAP_BPF", "CAP_PERFMON")
	if n := strings.Count(report, "\n- "); n != 1 {
		t.Errorf("%d things are missing, want one: %s", n, report)
	}
	if n := linesWith(o.stderr.String(), "level=ERROR"); len(n) != 1 || !strings.Contains(n[0], "CAP_BPF") {
		t.Errorf("errors in the log, want one that names CAP_BPF: %q", n)
	}

	doctor := start(t, asUser, "doctor", "--bitcoin.datadir="+node.DataDir(), "--web.listen-address=127.0.0.1:0", "--nats.listen-address=127.0.0.1:0")
	if code := doctor.wait(); code != exitFailure {
		t.Errorf("doctor: exit code %d, want %d", code, exitFailure)
	}
	if out := doctor.stdout.String(); !strings.Contains(out, "grant CAP_BPF and CAP_PERFMON") {
		t.Errorf("doctor doesn't say what to grant:\n%s", out)
	}
	if code := o.stop(); code != exitOK {
		t.Errorf("exit code %d, want 0", code)
	}
}

// A cookie that can't be read is one clear line; a user and a password make up for it.
func TestUnreadableCookie(t *testing.T) {
	needsRoot(t)
	t.Parallel()
	// -rpcauth takes user, salt and HMAC-SHA256(salt, password); share/rpcauth in Core.
	const user, password, salt = "alice", "correct horse", "5a17"
	mac := hmac.New(sha256.New, []byte(salt))
	mac.Write([]byte(password))
	node := regtest.ForTest(t, regtest.Config{V2: true, Dir: publicDir(t),
		Args: []string{fmt.Sprintf("-rpcauth=%s:%s$%s", user, salt, hex.EncodeToString(mac.Sum(nil)))}})
	asUser := asNobody(t)

	o := observe(t, node, asUser, "--no-extractor.ebpf", "--no-extractor.log", "--no-extractor.p2p")
	o.notReady("source rpc is not live: ", "cookie file "+node.CookieFile()+" cannot be read by user id 65534", "-rpccookieperms=group", "--rpc.cookie-file")
	// Every method has failed on it by then.
	eventually(t, "all calls to fail", func() error {
		if n, err := o.sum("peerobserver_events_lost_total", `source="rpc"`); err != nil || int(n) < len(rpc.Methods()) {
			return fmt.Errorf("%v calls failed (%w)", n, err)
		}
		return nil
	})
	if lines := linesWith(o.stderr.String(), node.CookieFile()); len(lines) != 1 {
		t.Errorf("the log speaks of the cookie in %d lines, want one:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	if code := o.stop(); code != exitOK {
		t.Errorf("exit code %d, want 0", code)
	}

	secret := filepath.Join(publicDir(t), "password")
	if err := os.WriteFile(secret, []byte(password+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*exec.Cmd){"as nobody": asUser, "as root": nil} {
		o := observe(t, node, change, "--no-extractor.ebpf", "--no-extractor.log", "--rpc.user="+user, "--rpc.password-file="+secret)
		o.sources(sourceRPC, sourceP2P)
		if code := o.stop(); code != exitOK {
			t.Errorf("%s: exit code %d, want 0", name, code)
		}
	}
}

// linesWith are the lines of a text that have another in them.
func linesWith(text, part string) []string {
	var list []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			list = append(list, strings.TrimSuffix(line, "\n"))
		}
	}
	return list
}

// sum adds up the series of a metric whose labels have a text in them.
func (o *observer) sum(metric, labels string) (float64, error) {
	_, body, err := get("http://" + o.web + "/metrics")
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for _, line := range linesWith(body, metric+"{") {
		name, value, found := strings.Cut(line, "} ")
		if !found || !strings.HasPrefix(name, metric) || !strings.Contains(name, labels) {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, err
		}
		sum += v
	}
	return sum, nil
}

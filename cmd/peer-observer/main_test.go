package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/peerobserver/peerobserver/lab/regtest"
)

// asProgram makes the test binary the program itself, so that tests run real processes
// under the race detector.
const asProgram = "PEER_OBSERVER_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// program is one run of the program.
type program struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout *output
	stderr *output
	done   chan struct{}
	err    error
}

// output collects what a program prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start runs the program with change applied to the command first; it is stopped at the
// end of the test.
func start(t *testing.T, change func(*exec.Cmd), args ...string) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.Command(os.Args[0], args...), stdout: new(output), stderr: new(output), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
	p.cmd.Stdout, p.cmd.Stderr = p.stdout, p.stderr
	if change != nil {
		change(p.cmd)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		if p.running() {
			_ = p.cmd.Process.Signal(syscall.SIGTERM)
			select {
			case <-p.done:
			case <-time.After(30 * time.Second):
				t.Errorf("%v does not end on SIGTERM", args)
				_ = p.cmd.Process.Kill()
				<-p.done
			}
		}
		if t.Failed() {
			t.Logf("standard output of %v:\n%s", args, p.stdout)
			t.Logf("standard error of %v:\n%s", args, p.stderr)
		}
	})
	return p
}

func (p *program) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// wait waits for the end and gives the exit code.
func (p *program) wait() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(60 * time.Second):
		p.t.Fatalf("%v does not end", p.cmd.Args[1:])
	}
	if exit, ok := errors.AsType[*exec.ExitError](p.err); ok {
		return exit.ExitCode()
	}
	if p.err != nil {
		p.t.Fatal(p.err)
	}
	return 0
}

// stop ends the program in order and gives the exit code.
func (p *program) stop() int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	return p.wait()
}

// eventually waits until check gives no error.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	within(t, time.Minute, what, check)
}

// within waits as long as it may take until check gives no error.
func within(t *testing.T, patience time.Duration, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := regtest.Eventually(ctx, check); err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}

func get(url string) (code int, body string, err error) {
	// Connections that stay open would be counted with those of the program.
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// observer is an agent that observes a node, with the addresses it serves.
type observer struct {
	*program
	web, nats string
}

// observe starts an agent for a node, on free ports.
func observe(t *testing.T, node *regtest.Node, change func(*exec.Cmd), args ...string) *observer {
	t.Helper()
	o := &observer{web: freeAddress(t), nats: freeAddress(t)}
	o.program = start(t, change, append([]string{
		"agent", "--node.name=test", "--bitcoin.datadir=" + node.DataDir(), "--web.listen-address=" + o.web, "--nats.listen-address=" + o.nats,
	}, args...)...)
	return o
}

// ready waits until every source is live.
func (o *observer) ready() {
	o.t.Helper()
	eventually(o.t, "the agent to be ready", func() error {
		if !o.running() {
			o.t.Fatalf("the agent ended: %s", o.stderr)
		}
		code, body, err := get("http://" + o.web + "/-/ready")
		if err != nil {
			return err
		}
		if code != http.StatusOK {
			return fmt.Errorf("%d: %s", code, body)
		}
		return nil
	})
}

// sample reads a metric's value by its whole name with labels.
func (o *observer) sample(series string) (value float64, err error) {
	_, body, err := get("http://" + o.web + "/metrics")
	if err != nil {
		return 0, err
	}
	line := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\S+)$`).FindStringSubmatch(body)
	if line == nil {
		return 0, fmt.Errorf("there is no series %s", series)
	}
	_, err = fmt.Sscan(line[1], &value)
	return value, err
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func TestHelpAndVersion(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"agent", "--help"}, {"lab", "demo", "--help"}, {"--version"}, {"version"}} {
		p := start(t, nil, args...)
		if code := p.wait(); code != exitOK {
			t.Errorf("%v: exit code %d, want 0", args, code)
		}
		if out := p.stdout.String(); !strings.Contains(out, "peer-observer") {
			t.Errorf("%v prints %q", args, out)
		}
	}
}

// What no waiting will mend ends the program with one line that names the flag.
func TestMistakesInFlags(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	for _, c := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"--no-such-flag"}, exitUsage, "no-such-flag"},
		{[]string{"frobnicate"}, exitUsage, "frobnicate"},
		{[]string{"--bitcoin.chain=moon"}, exitNode, "--bitcoin.chain"},
		{[]string{"--bitcoin.all"}, exitUsage, "--bitcoin.binary"},
		{[]string{"--rpc.user=alice"}, exitUsage, "--rpc.password-file"},
		{[]string{"--extractor.ebpf.without=net:nothing"}, exitUsage, "net:inbound_message"},
		{[]string{"--web.listen-address=" + address}, exitListen, "--web.listen-address"},
		{[]string{"--nats.listen-address=" + address, "--web.listen-address=" + freeAddress(t)}, exitListen, "--nats.listen-address"},
		{[]string{"--extractor.p2p.listen-address=" + address, "--nats.listen-address=127.0.0.1:0", "--web.listen-address=" + freeAddress(t)}, exitListen, "--extractor.p2p.listen-address"},
		{[]string{"--bitcoin.pid=abc"}, exitUsage, "--bitcoin.pid: \"abc\""},
		{[]string{"logger", "--source=nothing"}, exitUsage, "nothing"},
		{[]string{"logger", "--format=xml"}, exitUsage, "--format: "},
		{[]string{"lab", "rules", "--output=" + t.TempDir(), "--threshold=warm_up_seconds=3s"}, exitUsage, "--threshold=warm_up_seconds=3s"},
		{[]string{"lab", "rules", "--output=" + t.TempDir(), "--time-scale=0"}, exitUsage, "--time-scale=0"},
		{[]string{"logger", "--nats.creds=/does/not/exist"}, exitUsage, "/does/not/exist"},
		{[]string{"metrics", "--web.listen-address=" + address}, exitListen, "--web.listen-address"},
	} {
		p := start(t, nil, c.args...)
		if code := p.wait(); code != c.code {
			t.Errorf("%v: exit code %d, want %d; it prints %s", c.args, code, c.code, p.stderr)
		}
		text := strings.TrimSpace(p.stderr.String())
		lines := strings.Split(text, "\n")
		if last := lines[len(lines)-1]; !strings.HasPrefix(last, "peer-observer: ") || !strings.Contains(last, c.text) {
			t.Errorf("%v prints %q, want one line that names %s", c.args, text, c.text)
		}
	}
}

// A variable with a wrong value is named, with its flag.
func TestMistakesInVariables(t *testing.T) {
	for variable, name := range map[string]string{
		"PEER_OBSERVER_BITCOIN_PID=abc":                  "PEER_OBSERVER_BITCOIN_PID (--bitcoin.pid): \"abc\"",
		"PEER_OBSERVER_EXTRACTOR_P2P=maybe":              "PEER_OBSERVER_EXTRACTOR_P2P (--extractor.p2p): \"maybe\"",
		"PEER_OBSERVER_EXTRACTOR_RPC_INTERVAL_UPTIME=1x": "PEER_OBSERVER_EXTRACTOR_RPC_INTERVAL_UPTIME (--extractor.rpc.interval.uptime): ",
		"PEER_OBSERVER_LOG_LEVEL=loud":                   "PEER_OBSERVER_LOG_LEVEL (--log.level): ",
	} {
		p := start(t, func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, variable) }, "agent")
		if code := p.wait(); code != exitUsage || !strings.HasPrefix(p.stderr.String(), "peer-observer: "+name) {
			t.Errorf("%s: exit code %d, it prints %q, want %d and %q", variable, code, p.stderr, exitUsage, name)
		}
	}
}

// --config.check and doctor find what is wrong, name what helps and end with its code.
func TestCheckFindsWhatIsWrong(t *testing.T) {
	node := regtest.ForTest(t, regtest.Config{})
	other := regtest.ForTest(t, regtest.Config{})
	wrong := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(wrong, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	base := []string{"--web.listen-address=127.0.0.1:0", "--nats.listen-address=127.0.0.1:0"}
	mine := "--bitcoin.datadir=" + node.DataDir()
	for _, c := range []struct {
		name string
		args []string
		code int
		text []string
	}{
		{"two nodes", nil, exitNode, []string{"--bitcoin.pid", node.DataDir(), other.DataDir()}},
		{"no node", []string{"--bitcoin.datadir=" + t.TempDir()}, exitNode, []string{"no running Bitcoin node", "fix:"}},
		{"wrong password", []string{mine, "--rpc.user=alice", "--rpc.password-file=" + wrong}, exitCredentials, []string{"FAIL  rpc", "--rpc.user"}},
		{"no cookie", []string{mine, "--rpc.cookie-file=/does/not/exist"}, exitCredentials, []string{"FAIL  rpc", "/does/not/exist"}},
		{"no NATS", []string{mine, "--nats.url=nats://127.0.0.1:1"}, exitFailure, []string{"FAIL  nats", "127.0.0.1:1"}},
	} {
		for _, command := range [][]string{{"agent", "--config.check"}, {"doctor"}} {
			p := start(t, nil, append(append(command, base...), c.args...)...)
			code, out := p.wait(), p.stdout.String()
			if code != c.code {
				t.Errorf("%s, %v: exit code %d, want %d; it prints %s", c.name, command, code, c.code, out)
			}
			for _, text := range c.text {
				if !strings.Contains(out, text) {
					t.Errorf("%s, %v prints %q, which lacks %q", c.name, command, out, text)
				}
			}
		}
	}
}

// Beside an agent that runs, doctor knows its ports; who checks the flags of one that is
// to be started is told who has them.
func TestDoctorBesideAnAgent(t *testing.T) {
	node := regtest.ForTest(t, regtest.Config{})
	o := observe(t, node, nil, "--no-extractor.ebpf")
	o.ready()
	args := []string{"--no-extractor.ebpf", "--bitcoin.datadir=" + node.DataDir(), "--web.listen-address=" + o.web, "--nats.listen-address=" + o.nats}
	doctor := start(t, nil, append([]string{"doctor"}, args...)...)
	if code := doctor.wait(); code != exitOK {
		t.Errorf("doctor: exit code %d, it prints %s", code, doctor.stdout)
	}
	for _, want := range []string{o.web + " is taken by a peer-observer that runs and is ready", o.nats + " is taken by a peer-observer that runs"} {
		if !strings.Contains(doctor.stdout.String(), want) {
			t.Errorf("doctor prints %q, which lacks %q", doctor.stdout, want)
		}
	}
	check := start(t, nil, append([]string{"agent", "--config.check"}, args...)...)
	if code := check.wait(); code != exitListen || len(linesWith(check.stdout.String(), "end it, or choose another address")) != 2 {
		t.Errorf("--config.check: exit code %d, it prints %s", code, check.stdout)
	}
	// Without the password nobody knows who it is.
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	config, closed := filepath.Join(t.TempDir(), "web.yml"), freeAddress(t)
	if err := os.WriteFile(config, []byte("basic_auth_users:\n  alice: "+string(hash)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args = []string{"--no-extractor.ebpf", "--bitcoin.datadir=" + node.DataDir(), "--web.listen-address=" + closed, "--nats.listen-address=127.0.0.1:0"}
	start(t, nil, append([]string{"agent", "--web.config.file=" + config}, args...)...)
	eventually(t, "the agent with a password", func() error {
		code, body, err := get("http://" + closed + "/-/ready")
		if err == nil && code != http.StatusUnauthorized {
			err = fmt.Errorf("%d: %s", code, body)
		}
		return err
	})
	for _, c := range []struct {
		command []string
		code    int
	}{{[]string{"doctor"}, exitOK}, {[]string{"agent", "--config.check"}, exitListen}} {
		p := start(t, nil, append(c.command, args...)...)
		if code := p.wait(); code != c.code || !strings.Contains(p.stdout.String(), "a web server that asks for a password") {
			t.Errorf("%v: exit code %d, want %d; it prints %s", c.command, code, c.code, p.stdout)
		}
	}

	// Others are not taken for it, whatever they say.
	strangers, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "\x1b[2Jready")
	})}
	go func() { _ = server.Serve(strangers) }()
	defer server.Close()
	address := strangers.Addr().String()
	for flag, other := range map[string]string{"--web.listen-address=": "--nats.listen-address=", "--nats.listen-address=": "--web.listen-address="} {
		doctor := start(t, nil, "doctor", "--no-extractor.ebpf", "--bitcoin.datadir="+node.DataDir(), flag+address, other+"127.0.0.1:0")
		code, out := doctor.wait(), doctor.stdout.String()
		if code != exitListen || len(linesWith(out, "fix: choose another address with "+strings.TrimSuffix(flag, "="))) != 1 || strings.Contains(out, "\x1b") {
			t.Errorf("%s, taken by a stranger: exit code %d, it prints %q", flag, code, out)
		}
	}
}

func TestCheckOfGoodConfiguration(t *testing.T) {
	node := regtest.WithTracepoints(t, regtest.Config{})
	p := start(t, nil, "doctor", "--bitcoin.datadir="+node.DataDir(), "--web.listen-address=127.0.0.1:0", "--nats.listen-address=127.0.0.1:0")
	if code := p.wait(); code != exitOK {
		t.Errorf("exit code %d, want 0", code)
	}
	for _, text := range []string{"net:inbound_message", "/Satoshi:", "debug.log", "everything is in order"} {
		if !strings.Contains(p.stdout.String(), text) {
			t.Errorf("doctor prints %q, which lacks %q", p.stdout, text)
		}
	}
}

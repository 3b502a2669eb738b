// Package fleet tests the files of this directory with real servers: NATS servers and
// agents as processes, with the configuration that ships, beside real nodes.
package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	readerPassword, operatorPassword, agentPassword = "reader's", "operator's", "agent's"

	stopTimeout = 30 * time.Second
	waitTimeout = 90 * time.Second
)

// programs are the real ones, built once for all tests.
var programs = sync.OnceValues(func() (built struct{ nats, peerObserver string }, err error) {
	// Beside the test's own program, in a directory that go test removes.
	own, err := os.Executable()
	if err != nil {
		return built, err
	}
	built.nats = filepath.Join(filepath.Dir(own), "nats-server")
	built.peerObserver = filepath.Join(filepath.Dir(own), "peer-observer")
	for path, pkg := range map[string]string{
		built.nats:         "github.com/nats-io/nats-server/v2",
		built.peerObserver: "github.com/peerobserver/peerobserver/cmd/peer-observer",
	} {
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if output, err := build.CombinedOutput(); err != nil {
			return built, fmt.Errorf("building %s: %w\n%s", pkg, err, output)
		}
	}
	return built, nil
})

// program is a child process that ends with the test, or with the test's process.
type program struct {
	t      testing.TB
	cmd    *exec.Cmd
	output *output
	exited chan struct{}
}

// output keeps what a program prints.
type output struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return o.text.String()
}

func start(t testing.TB, dir, path string, args ...string) *program {
	t.Helper()
	return startWith(t, nil, dir, path, args...)
}

// startWith starts a program with more variables in its environment.
func startWith(t testing.TB, environment []string, dir, path string, args ...string) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.Command(path, args...), output: new(output), exited: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), environment...)
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		// The kernel sends Pdeathsig when the thread that forked ends: this goroutine
		// keeps it as long as the child lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait()
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			text := p.output.String()
			t.Logf("%s printed:\n%s", p.cmd.Args, text[max(0, len(text)-4000):])
		}
	})
	return p
}

// stop ends the program in order and gives the exit code.
func (p *program) stop() int {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		p.t.Errorf("%s does not end on SIGTERM", p.cmd.Args)
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
	return p.cmd.ProcessState.ExitCode()
}

// run runs a program to its end.
func run(t testing.TB, dir, path string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Dir = dir
	text, err := cmd.CombinedOutput()
	return string(text), err
}

// freeAddress is a loopback address nobody listens on now, with a port from below the
// range that Linux gives to outgoing connections, so that it stays free when a server
// that had it is stopped for a while.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range 200 {
		address := fmt.Sprintf("127.0.0.1:%d", 12000+rand.IntN(20000))
		if listener, err := net.Listen("tcp4", address); err == nil {
			if err := listener.Close(); err != nil {
				t.Fatal(err)
			}
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

// eventually waits until check gives no error.
func eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waiting for %s: %v", what, err)
		case <-tick.C:
		}
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// settings replaces values in a file of settings that ships; each must be there.
func settings(t testing.TB, file string, values map[string]string) string {
	t.Helper()
	text := read(t, file)
	for name, value := range values {
		line := regexp.MustCompile(`(?m)^` + name + `: .*$`)
		if len(line.FindAllString(text, -1)) != 1 {
			t.Fatalf("%s doesn't set %s once", file, name)
		}
		text = line.ReplaceAllLiteralString(text, fmt.Sprintf("%s: %q", name, value))
	}
	return text
}

// get fetches a page; another status than 200 is an error.
func get(url string) (string, error) {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	return string(text), err
}

// bus is the NATS part of a fleet: a hub and a leaf for each node.
type bus struct {
	t     testing.TB
	dir   string
	nodes []string
	// hub is the present process of the hub.
	hub                      *program
	hubClients, hubMonitor   string
	hubLeafs                 string
	leafClients, leafMonitor map[string]string
}

// startBus makes the files of a fleet by the scripts that ship and starts its servers.
func startBus(t testing.TB, nodes ...string) *bus {
	t.Helper()
	b := &bus{
		t: t, dir: t.TempDir(), nodes: nodes,
		hubClients: freeAddress(t), hubMonitor: freeAddress(t), hubLeafs: freeAddress(t),
		leafClients: map[string]string{}, leafMonitor: map[string]string{},
	}
	hub, certificates := filepath.Join(b.dir, "hub"), filepath.Join(b.dir, "certificates")
	b.runScripts()
	write(t, filepath.Join(hub, "hub.conf"), read(t, "hub.conf"))
	write(t, filepath.Join(hub, "hub-settings.conf"), settings(t, "hub-settings.conf", map[string]string{
		"LISTEN": b.hubClients, "MONITOR": b.hubMonitor, "LEAF_LISTEN": b.hubLeafs, "STORE": filepath.Join(hub, "store"),
		"CERTIFICATE": filepath.Join(certificates, "hub.crt"), "KEY": filepath.Join(certificates, "hub.key"), "AUTHORITY": b.authority(),
		"READER_PASSWORD": readerPassword, "OPERATOR_PASSWORD": operatorPassword,
	}))
	write(t, filepath.Join(hub, "password"), readerPassword+"\n")
	b.startHub()
	for _, node := range nodes {
		b.startLeaf(node)
	}
	b.waitConnected()
	return b
}

// runScripts makes what names the nodes, as the documentation has it done.
func (b *bus) runScripts() {
	b.t.Helper()
	for _, script := range [][]string{
		append([]string{"hosts.sh", filepath.Join(b.dir, "hub")}, b.nodes...),
		append([]string{"certificates.sh", filepath.Join(b.dir, "certificates"), "127.0.0.1"}, b.nodes...),
	} {
		if text, err := run(b.t, ".", "./"+script[0], script[1:]...); err != nil || text != "" {
			b.t.Fatalf("%s: %v\n%s", script, err, text)
		}
	}
}

// startLeaf starts the server beside a node.
func (b *bus) startLeaf(node string) {
	b.t.Helper()
	built, err := programs()
	if err != nil {
		b.t.Fatal(err)
	}
	b.leafClients[node], b.leafMonitor[node] = freeAddress(b.t), freeAddress(b.t)
	dir, certificate := filepath.Join(b.dir, node), filepath.Join(b.dir, "certificates", "node-"+node)
	write(b.t, filepath.Join(dir, "leaf.conf"), read(b.t, "leaf.conf"))
	write(b.t, filepath.Join(dir, "leaf-settings.conf"), settings(b.t, "leaf-settings.conf", map[string]string{
		"NODE": node, "HUB": "tls://" + b.hubLeafs, "LISTEN": b.leafClients[node], "MONITOR": b.leafMonitor[node], "STORE": filepath.Join(dir, "store"),
		"CERTIFICATE": certificate + ".crt", "KEY": certificate + ".key", "AUTHORITY": b.authority(),
		"AGENT_PASSWORD": agentPassword, "OPERATOR_PASSWORD": operatorPassword,
	}))
	write(b.t, filepath.Join(dir, "password"), agentPassword+"\n")
	if text, err := run(b.t, dir, built.nats, "--config=leaf.conf", "-t"); err != nil {
		b.t.Fatalf("leaf.conf: %v\n%s", err, text)
	}
	start(b.t, dir, built.nats, "--config=leaf.conf")
}

// authority is the file with the certificate that signs all others.
func (b *bus) authority() string { return filepath.Join(b.dir, "certificates", "authority.crt") }

// startHub starts the hub's server, again if it was stopped.
func (b *bus) startHub() {
	b.t.Helper()
	built, err := programs()
	if err != nil {
		b.t.Fatal(err)
	}
	dir := filepath.Join(b.dir, "hub")
	if text, err := run(b.t, dir, built.nats, "--config=hub.conf", "-t"); err != nil {
		b.t.Fatalf("hub.conf: %v\n%s", err, text)
	}
	b.hub = start(b.t, dir, built.nats, "--config=hub.conf")
	eventually(b.t, "the hub", func() error {
		_, err := get("http://" + b.hubMonitor + "/healthz")
		return err
	})
}

// waitConnected waits until every leaf has its connection to the hub.
func (b *bus) waitConnected() {
	b.t.Helper()
	eventually(b.t, "the leafs at the hub", func() error {
		text, err := get("http://" + b.hubMonitor + "/leafz")
		if err != nil {
			return err
		}
		var answer struct {
			Leafs []struct{ Name, Account string }
		}
		if err := json.Unmarshal([]byte(text), &answer); err != nil {
			return err
		}
		if len(answer.Leafs) != len(b.nodes) {
			return fmt.Errorf("%d leafs", len(answer.Leafs))
		}
		for _, l := range answer.Leafs {
			if l.Name != l.Account {
				return fmt.Errorf("the leaf %s is in the account %s", l.Name, l.Account)
			}
		}
		return nil
	})
}

// sample reads the sum of all series of a metric whose name with labels contains each of
// the texts.
func sample(url, metric string, labels ...string) (sum float64, err error) {
	text, err := get(url + "/metrics")
	if err != nil {
		return 0, err
	}
lines:
	for line := range strings.Lines(text) {
		series, value, found := strings.Cut(strings.TrimSpace(line), " ")
		if !found || (series != metric && !strings.HasPrefix(series, metric+"{")) {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(series, l) {
				continue lines
			}
		}
		var v float64
		if _, err := fmt.Sscan(value, &v); err != nil {
			return 0, err
		}
		sum += v
	}
	return sum, nil
}

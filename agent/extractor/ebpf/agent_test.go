package ebpf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/peerobserver/peerobserver/proto/event"
)

// buildAgent builds the whole program as users get it, without the race detector, which
// needs several times the memory and time.
func buildAgent(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "peer-observer")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "../../../cmd/peer-observer")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the agent: %v\n%s", err, out)
	}
	return path
}

// runningAgent is the whole program with this source only, and a subscriber to its NATS
// server.
type runningAgent struct {
	t    *testing.T
	cmd  *exec.Cmd
	web  string
	conn *nats.Conn
	sink *subscribed
}

// startAgent starts the program at path for every process of the program binary.
func startAgent(t *testing.T, path, binary string, args ...string) *runningAgent {
	t.Helper()
	a := &runningAgent{t: t, web: freeAddress(t), sink: newSubscribed(t)}
	bus := freeAddress(t)
	a.cmd = exec.CommandContext(t.Context(), path, append([]string{"agent", "--node.name=test", "--bitcoin.binary=" + binary, "--bitcoin.all",
		"--no-extractor.rpc", "--no-extractor.p2p", "--no-extractor.log", "--nats.listen-address=" + bus, "--web.listen-address=" + a.web}, args...)...)
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var stderr bytes.Buffer
	a.cmd.Stderr = &stderr
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = a.cmd.Process.Kill()
		_ = a.cmd.Wait()
		if t.Failed() {
			t.Logf("the agent's log:\n%s", stderr.String())
		}
	})
	eventually(t, "the agent to be attached", func() error {
		samples, err := a.samples()
		if err != nil {
			return err
		}
		if samples.sum("peerobserver_source_up", `source="ebpf"`) != 1 {
			return errors.New("not yet")
		}
		return nil
	})

	var err error
	a.conn, err = nats.Connect("nats://"+bus, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.conn.Close)
	subscription, err := a.conn.Subscribe(">", a.sink.take)
	if err != nil {
		t.Fatal(err)
	}
	// Nothing is to be lost here.
	if err := subscription.SetPendingLimits(-1, -1); err != nil {
		t.Fatal(err)
	}
	if err := a.conn.Flush(); err != nil {
		t.Fatal(err)
	}
	return a
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// samples are the lines of a scrape.
type samples []string

func (a *runningAgent) samples() (samples, error) {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + a.web + "/metrics")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", response.Status, body)
	}
	return strings.Split(string(body), "\n"), nil
}

// sum adds up the series of a metric that have all of the labels, each as name="value".
func (s samples) sum(metric string, labels ...string) uint64 {
	total := 0.0
line:
	for _, line := range s {
		name, value, found := strings.Cut(line, "} ")
		if !found || !strings.HasPrefix(name, metric+"{") {
			continue
		}
		for _, label := range labels {
			if !strings.Contains(name, label) {
				continue line
			}
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			continue
		}
		total += v
	}
	return uint64(total)
}

// memory gives the most that was ever resident of the agent's process, without the ring,
// and what the kernel keeps for its eBPF maps, the ring among them, in bytes.
func (a *runningAgent) memory() (resident, maps uint64) {
	a.t.Helper()
	directory := fmt.Sprintf("/proc/%d", a.cmd.Process.Pid)
	read := func(name string) string {
		content, err := os.ReadFile(filepath.Join(directory, name))
		if err != nil {
			a.t.Fatal(err)
		}
		return string(content)
	}
	for line := range strings.Lines(read("status")) {
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &resident); err == nil {
			resident <<= 10
		}
	}
	// What is mapped of the ring stays so.
	inMap := false
	for line := range strings.Lines(read("smaps")) {
		var kibibytes uint64
		if _, err := fmt.Sscanf(line, "Rss: %d kB", &kibibytes); err == nil && inMap {
			resident -= kibibytes << 10
		}
		if first, _, _ := strings.Cut(line, " "); strings.Contains(first, "-") {
			inMap = strings.Contains(line, "bpf-map")
		}
	}
	byID := map[uint64]uint64{}
	files, err := filepath.Glob(directory + "/fdinfo/*")
	if err != nil {
		a.t.Fatal(err)
	}
	for _, file := range files {
		info, err := os.ReadFile(file)
		if err != nil {
			continue // closed since
		}
		var id, size uint64
		for line := range strings.Lines(string(info)) {
			_, _ = fmt.Sscanf(line, "map_id: %d", &id)
			_, _ = fmt.Sscanf(line, "memlock: %d", &size)
		}
		if id != 0 {
			// Several files may be open of one map.
			byID[id] = size
		}
	}
	for _, size := range byID {
		maps += size
	}
	if resident == 0 || maps == 0 {
		a.t.Fatalf("%d bytes resident, %d bytes of maps", resident, maps)
	}
	return resident, maps
}

// subscribed is what came over NATS from the tracepoints.
type subscribed struct {
	t  *testing.T
	mu sync.Mutex
	// events is how many came, by kind; last is the number of the last one.
	events map[event.Kind]uint64
	last   uint64
}

func newSubscribed(t *testing.T) *subscribed {
	return &subscribed{t: t, events: map[event.Kind]uint64{}}
}

func (s *subscribed) take(m *nats.Msg) {
	header, err := event.Parse(m.Data)
	if err != nil {
		s.t.Errorf("%s: %v", m.Subject, err)
		return
	}
	if header.Source != event.SourceEBPF {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if header.Sequence <= s.last {
		s.t.Errorf("event %d after %d", header.Sequence, s.last)
	}
	s.last = header.Sequence
	s.events[event.KindOf(m.Data)]++
}

// ofKind is the number of events of a kind that came.
func (s *subscribed) ofKind(k event.Kind) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.events[k]
}

// received gives the number of events that came, and that of the last one.
func (s *subscribed) received() (total, last uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.events {
		total += n
	}
	return total, s.last
}

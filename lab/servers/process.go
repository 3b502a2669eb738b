package servers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// server is a child process that serves HTTP and ends with the test, or with the test's
// process.
type server struct {
	t       testing.TB
	name    string
	address string
	cmd     *exec.Cmd
	output  *output
	exited  chan struct{}
	once    sync.Once
}

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 20 * time.Second
	pollInterval = 20 * time.Millisecond
	attempts     = 5
)

// startServer starts a program, whose arguments may depend on the address it shall
// listen on, and waits until path answers 200.
func startServer(t testing.TB, program, dir, path string, arguments func(address string) []string) *server {
	t.Helper()
	var s *server
	for range attempts {
		address, err := freeAddress()
		if err != nil {
			t.Fatal(err)
		}
		s = &server{t: t, name: program, address: address, output: new(output), exited: make(chan struct{})}
		s.cmd = exec.Command(program, arguments(address)...)
		s.cmd.Dir = dir
		s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
		s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := s.launch(); err != nil {
			t.Fatalf("starting %s: %v", program, err)
		}
		t.Cleanup(s.Stop)
		err = s.waitFor(path)
		if err == nil {
			return s
		}
		// Somebody may have taken the port between our look and the server's.
		if !strings.Contains(s.output.String(), "address already in use") {
			t.Fatalf("%s isn't ready: %v\n%s", program, err, s.output)
		}
		s.Stop()
	}
	t.Fatalf("%s found its port taken %d times", program, attempts)
	return nil
}

func (s *server) launch() error {
	started := make(chan error, 1)
	go func() {
		// The kernel sends Pdeathsig when the thread that forked ends: this
		// goroutine keeps it as long as the child lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			_ = s.cmd.Wait()
			close(s.exited)
		}
	}()
	return <-started
}

func (s *server) waitFor(path string) error {
	client := &http.Client{Timeout: 5 * time.Second}
	deadline := time.NewTimer(startTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := ask(client, "http://"+s.address+path)
		if err == nil {
			return nil
		}
		select {
		case <-s.exited:
			return errors.New("it ended")
		case <-s.t.Context().Done():
			return s.t.Context().Err()
		case <-deadline.C:
			return err
		case <-tick.C:
		}
	}
}

func ask(client *http.Client, url string) error {
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

// URL is where the server listens: http://HOST:PORT.
func (s *server) URL() string { return "http://" + s.address }

// Address is HOST:PORT.
func (s *server) Address() string { return s.address }

// PID is the process id.
func (s *server) PID() int { return s.cmd.Process.Pid }

// Log is what the server has printed so far.
func (s *server) Log() string { return s.output.String() }

// Stop ends the server; the end of the test does it too.
func (s *server) Stop() {
	s.once.Do(func() {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		timer := time.NewTimer(stopTimeout)
		defer timer.Stop()
		select {
		case <-s.exited:
		case <-timer.C:
			s.t.Errorf("%s does not end on SIGTERM", s.name)
			_ = s.cmd.Process.Kill()
			<-s.exited
		}
		if s.t.Failed() {
			s.t.Logf("%s printed:\n%s", s.name, s.output)
		}
	})
}

// output collects what a server prints.
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

// freeAddress is a loopback address nobody listens on now, with a port from below the
// range that Linux gives to outgoing connections.
func freeAddress() (string, error) {
	var err error
	for range 200 {
		address := fmt.Sprintf("127.0.0.1:%d", 12000+rand.IntN(20000))
		var listener net.Listener
		if listener, err = net.Listen("tcp4", address); err == nil {
			return address, listener.Close()
		}
	}
	return "", fmt.Errorf("finding a free port: %w", err)
}

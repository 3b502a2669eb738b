package p2p

import (
	"io"
	"net"
	"sync"
	"testing"
)

// forwarder is a TCP port that forwards to another one, as container engines have.
type forwarder struct {
	address  string
	listener net.Listener
	wait     sync.WaitGroup

	mu     sync.Mutex
	target string
	// outer are the ends towards those who connected, inner those towards target.
	outer, inner []net.Conn
	// forgotten are the inner ends to leave open when the outer ones close.
	forgotten map[net.Conn]bool
}

func startForwarder(t *testing.T, target string) *forwarder {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &forwarder{address: listener.Addr().String(), listener: listener, target: target, forgotten: map[net.Conn]bool{}}
	f.wait.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			f.wait.Go(func() { f.forward(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		f.mu.Lock()
		for _, conn := range append(f.outer, f.inner...) {
			conn.Close()
		}
		f.mu.Unlock()
		f.wait.Wait()
	})
	return f
}

// to sets where to forward.
func (f *forwarder) to(target string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.target = target
}

func (f *forwarder) forward(outer net.Conn) {
	defer outer.Close()
	f.mu.Lock()
	target := f.target
	f.mu.Unlock()
	inner, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	f.mu.Lock()
	f.outer, f.inner = append(f.outer, outer), append(f.inner, inner)
	f.mu.Unlock()
	f.wait.Go(func() {
		_, _ = io.Copy(outer, inner)
		outer.Close()
	})
	_, _ = io.Copy(inner, outer)
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.forgotten[inner] {
		inner.Close()
	}
}

// forget closes the ends towards those who connected, and leaves the other ends open.
func (f *forwarder) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, outer := range f.outer {
		f.forgotten[f.inner[i]] = true
		outer.Close()
	}
}

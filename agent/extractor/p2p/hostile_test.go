package p2p

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/btcsuite/btcd/v2transport"
	"github.com/btcsuite/btcd/wire/v2"

	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// strangers are ways in which somebody who isn't the node may use the port. Each one
// gets a connection and returns when it has done its worst; the connection stays open.
func strangers(t *testing.T) map[string]func(conn net.Conn) {
	version := func() []byte {
		payload, err := versionPayload("/stranger/")
		if err != nil {
			t.Error(err)
		}
		return payload
	}
	v1 := func(conn net.Conn, kind string, payload []byte) {
		_ = newTransportV1(newStream(conn, -1), wire.TestNet).send(kind, payload)
	}
	prefix := v1Prefix(wire.TestNet)
	return map[string]func(net.Conn){
		"silent":       func(net.Conn) {},
		"garbage":      func(conn net.Conn) { _, _ = conn.Write(bytes.Repeat([]byte("GET / HTTP/1.1\r\n"), 1000)) },
		"half a key":   func(conn net.Conn) { _, _ = conn.Write(make([]byte, 30)) },
		"prefix only":  func(conn net.Conn) { _, _ = conn.Write(prefix[:]) },
		"large length": func(conn net.Conn) { _, _ = conn.Write(append(prefix[:], 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0)) },
		"closes":       func(conn net.Conn) { conn.Close() },
		"half-closed": func(conn net.Conn) {
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.CloseWrite()
			}
		},
		"version only": func(conn net.Conn) { v1(conn, "version", version()) },
		// A perfect handshake over v1: only RPC can tell that it isn't the node.
		"impostor over v1": func(conn net.Conn) {
			v1(conn, "version", version())
			v1(conn, "verack", nil)
			v1(conn, "feefilter", make([]byte, 8))
		},
		"impostor over v2": func(conn net.Conn) {
			p := v2transport.NewPeer()
			p.UseReadWriter(conn)
			if p.InitiateV2Handshake(10) != nil || p.CompleteHandshake(true, nil, v2transport.BitcoinNet(wire.TestNet)) != nil {
				return
			}
			long := func(kind string, payload []byte) {
				content := append([]byte{0}, make([]byte, typeSize)...)
				copy(content[1:], kind)
				_, _, _ = p.V2EncPacket(append(content, payload...), nil, false)
			}
			long("version", version())
			long("verack", nil)
			_, _, _ = p.V2EncPacket(append([]byte{shortID("feefilter")}, make([]byte, 8)...), nil, false)
		},
	}
}

// attack lets strangers use the port in turn, total connections in all, at most
// parallel at once; each is held for a moment.
func attack(t *testing.T, address string, total, parallel int) {
	t.Helper()
	var kinds []func(net.Conn)
	for _, use := range strangers(t) {
		kinds = append(kinds, use)
	}
	var group sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for i := range total {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			conn, err := net.DialTimeout("tcp", address, 10*time.Second)
			if err != nil {
				t.Errorf("connection %d: %v", i, err)
				return
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(300 * time.Millisecond))
			kinds[i%len(kinds)](conn)
			_, _ = io.Copy(io.Discard, conn)
		})
	}
	group.Wait()
}

// turnedAway is the number of connections that were not the node's.
func (r *rig) turnedAway() (n uint64) {
	for _, reason := range []event.Reason{reasonConnectionLimit, reasonHandshakeTimeout, reasonHandshake, reasonNotObserved, reasonUnverified, reasonDuplicate} {
		n += r.lost(StageAccept, reason)
	}
	return n
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestStrangersDontDisturbTheLink(t *testing.T) {
	transports(t, func(t *testing.T, v2 bool, _ uint32) {
		n := regtest.ForTest(t, regtest.Config{V2: v2})
		r := startRig(t, Config{Client: rpcOf(n), HandshakeTimeout: 2 * time.Second})
		r.waitLinked(t, 1)
		r.waitPings(t, 2)
		goroutines, files := runtime.NumGoroutine(), openFiles(t)

		const total = 1000
		attack(t, r.address(), total, 2*DefaultMaxConnections)
		eventually(t, "all strangers to be turned away and counted", func() bool { return r.turnedAway() == total })
		r.waitPings(t, 3)
		for _, e := range r.all() {
			if e.GetLink().GetId() != 1 || e.GetLinkState().GetState() == eventpb.LinkState_STATE_DOWN {
				t.Fatalf("the node's link was disturbed: %v", e)
			}
			// The node's filter on regtest isn't zero, that of the strangers is.
			if fee, is := e.GetP2PEvent().(*eventpb.P2PExtractor_FeefilterAnnouncement); is && fee.FeefilterAnnouncement == 0 {
				t.Error("a stranger's message was published")
			}
		}
		// Both ways to end at once; the others have tests of their own.
		for _, reason := range []event.Reason{reasonHandshake, reasonConnectionLimit} {
			if r.lost(StageAccept, reason) == 0 {
				t.Errorf("nothing counted as %s", reason)
			}
		}
		eventually(t, "no goroutine and no file descriptor to be left", func() bool {
			return runtime.NumGoroutine() <= goroutines && openFiles(t) <= files
		})
	})
}

func TestImpostorsAreNotTheNode(t *testing.T) {
	n := regtest.ForTest(t, regtest.Config{V2: true})
	r := startRig(t, Config{Client: rpcOf(n)})
	r.waitLinked(t, 1)
	for _, kind := range []string{"impostor over v1", "impostor over v2"} {
		before := r.lost(StageAccept, reasonNotObserved)
		conn, err := net.Dial("tcp", r.address())
		if err != nil {
			t.Fatal(err)
		}
		strangers(t)[kind](conn)
		eventually(t, kind+" to be found out", func() bool { return r.lost(StageAccept, reasonNotObserved) == before+1 })
		conn.Close()
	}
}

func TestNodeGetsInAmongHeldConnections(t *testing.T) {
	transports(t, func(t *testing.T, v2 bool, _ uint32) {
		n := regtest.ForTest(t, regtest.Config{V2: v2})
		var start atomic.Int64
		r := startRig(t, Config{Client: rpcOf(n), HandshakeTimeout: time.Hour, NodeStart: start.Load})
		r.waitLinked(t, 1)
		// Whoever is turned away connects again at once: the port is full all the
		// time.
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		defer group.Wait()
		defer cancel()
		for range DefaultMaxConnections + 64 {
			group.Go(func() {
				for ctx.Err() == nil {
					conn, err := net.Dial("tcp", r.address())
					if err != nil {
						t.Error(err)
						return
					}
					stop := context.AfterFunc(ctx, func() { conn.Close() })
					_, _ = conn.Write([]byte{1})
					_, _ = io.Copy(io.Discard, conn)
					stop()
					conn.Close()
					// A pause, or this would measure how fast the machine can
					// connect: this is some 300 connections a second.
					_ = sleep(ctx, 200*time.Millisecond)
				}
			})
		}
		eventually(t, "the port to be full", func() bool { return r.lost(StageAccept, reasonConnectionLimit) > 100 })
		r.waitPings(t, 2)
		if err := n.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		start.Add(1)
		r.waitLinked(t, 2)
		r.waitPings(t, 2)
		r.source.mu.Lock()
		open := len(r.source.open)
		r.source.mu.Unlock()
		if open > DefaultMaxConnections {
			t.Errorf("%d connections open, want at most %d", open, DefaultMaxConnections)
		}
	})
}

// One byte at a time is as bad as none: the time of a handshake is bounded as a whole.
func TestSlowHandshake(t *testing.T) {
	n := regtest.ForTest(t, regtest.Config{})
	r := startRig(t, Config{Client: rpcOf(n), HandshakeTimeout: 500 * time.Millisecond})
	r.waitLinked(t, 1)
	conn, err := net.Dial("tcp", r.address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, conn)
	}()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for open := true; open; {
		select {
		case <-ended:
			open = false
		case <-ticker.C:
			_, _ = conn.Write([]byte{0x55})
		}
	}
	eventually(t, "the timeout to be counted", func() bool { return r.lost(StageAccept, reasonHandshakeTimeout) == 1 })
	r.waitPings(t, 1)
}

// Nobody can make the node work by connecting to us.
func TestPeerListIsSharedAndPaced(t *testing.T) {
	var calls atomic.Int64
	list := newPeerList(func() Caller {
		return callerFunc(func(_ context.Context, method string, _, result any) error {
			calls.Add(1)
			peers, ok := result.(*[]nodePeer)
			if !ok || method != "getpeerinfo" {
				return fmt.Errorf("call of %s", method)
			}
			*peers = []nodePeer{{ID: uint64(calls.Load())}}
			return nil
		})
	})
	began := time.Now()
	var group sync.WaitGroup
	for range 200 {
		group.Go(func() {
			before := calls.Load()
			peers, err := list.fresh(t.Context())
			if err != nil || len(peers) != 1 {
				t.Errorf("peers %v, %v", peers, err)
			} else if int64(peers[0].ID) <= before {
				t.Error("got a list from before the question")
			}
		})
	}
	group.Wait()
	if most := 2 + int64(time.Since(began)/peerListAge); calls.Load() > most {
		t.Errorf("%d calls for 200 questions, want at most %d", calls.Load(), most)
	}
}

type callerFunc func(ctx context.Context, method string, params, result any) error

func (f callerFunc) Call(ctx context.Context, method string, params, result any) error {
	return f(ctx, method, params, result)
}

func TestPortInUse(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ledger := event.NewLedger()
	emitter := event.NewEmitter(event.SourceP2P, event.Origin{}, event.NewStream(), ledger)
	source, err := New(Config{
		ListenAddress: listener.Addr().String(),
		Client:        func() Caller { return nil },
		Chain:         func() string { return "" },
	}, emitter, ledger, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = source.Run(t.Context())
	if !errors.Is(err, syscall.EADDRINUSE) || !bytes.Contains([]byte(err.Error()), []byte("--extractor.p2p.listen-address")) {
		t.Errorf("error %v, want one that names the flag", err)
	}
}

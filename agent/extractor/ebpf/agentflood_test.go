package ebpf

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/wire/v2"

	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/proto/event"
)

// maxMemory is what the agent and its eBPF program may need together, in bytes.
const maxMemory = 128 << 20

// natsBuffer is the agent's buffer for NATS where no flag says otherwise, in bytes.
const natsBuffer = 32 << 20

// The whole agent, as it is built for users, in floods far above what a node on mainnet
// sees, which is some hundred messages a second.
func TestAgentInAFlood(t *testing.T) {
	path := buildAgent(t)
	t.Run("with limits", func(t *testing.T) { limited(t, path) })
	t.Run("of all that the kernel takes", func(t *testing.T) { floodFromEmitter(t, path, false) })
	t.Run("with buffers far too small", func(t *testing.T) {
		floodFromEmitter(t, path, true, "--extractor.ebpf.ring-size=65536", "--nats.buffer-size=131072")
	})
	t.Run("of a node", func(t *testing.T) { floodOfNode(t, path) })
}

// floodFromEmitter fires small, middle and large messages and other tracepoints as fast
// as threads can.
func floodFromEmitter(t *testing.T, path string, mustLose bool, args ...string) {
	p, binary := startEmitter(t)
	a := startAgent(t, path, binary, args...)
	fired, messages := uint64(0), uint64(0)
	start := time.Now()
	for _, round := range []struct {
		message bool
		command string
	}{
		{true, "net:inbound_message threads=2 count=50000 type=ping size=8"},
		{true, "net:outbound_message threads=2 count=25000 type=tx size=300"},
		{true, "net:inbound_message threads=2 count=5000 type=inv size=4000"},
		{true, "net:inbound_message threads=2 count=300 type=cmpctblock size=60000"},
		{true, "net:inbound_message threads=2 count=100 type=block size=1000000"},
		{false, "mempool:removed threads=2 count=10000 reason=block"},
		{false, "net:closed_connection threads=2 count=10000 connection=inbound"},
	} {
		r := fire(t, p, "%s", round.command)
		fired += r.Fired
		if round.message {
			messages += r.Fired
		}
	}
	took := time.Since(start)
	// What is lost last shows by what comes after it.
	eventually(t, "everything to be accounted for", func() error {
		r := fire(t, p, "net:inbound_message type=ping size=8")
		fired += r.Fired
		messages += r.Fired
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		return regtest.Eventually(ctx, func() error { return a.accounted(fired) })
	})
	s := a.balance(fired)
	lost := s.sum("peerobserver_events_lost_total", `source="ebpf"`, `stage="kernel"`)
	if counted := s.sum("peerobserver_p2p_messages_total"); counted > messages || messages-counted > lost {
		t.Errorf("%d messages fired, the metrics count %d, and %d hits are lost", messages, counted, lost)
	}
	if mustLose && lost == 0 {
		t.Error("nothing was lost in the kernel: no overload")
	}
	t.Logf("%d hits in %v: %.0f a second", fired, took.Round(time.Millisecond), float64(fired)/took.Seconds())
}

// limited has the agent keep less than there is, as flags say.
func limited(t *testing.T, path string) {
	p, binary := startEmitter(t)
	a := startAgent(t, path, binary, "--extractor.ebpf.payload-limit=*=4000", "--extractor.ebpf.payload-limit=outbound:tx=20",
		"--extractor.ebpf.drop-message=inbound:ping")
	const each = 500
	for _, message := range []string{"inbound_message type=ping size=8", "outbound_message type=ping size=8", "inbound_message type=tx size=300",
		"outbound_message type=tx size=300", "inbound_message type=block size=1000000", "outbound_message type=inv size=4000"} {
		fire(t, p, "net:%s count=%d", message, each)
	}
	want := map[[2]string]uint64{
		{"peerobserver_tracepoint_hits_total", `outcome="recorded"`}:                   5 * each,
		{"peerobserver_tracepoint_hits_total", `outcome="filtered"`}:                   each,
		{"peerobserver_tracepoint_hits_total", `outcome="lost"`}:                       0,
		{"peerobserver_tracepoint_record_defects_total", `defect="payload_truncated"`}: 2 * each,
		{"peerobserver_p2p_messages_total", `message="ping"`}:                          each,
		{"peerobserver_p2p_message_bytes_total", `message="block"`}:                    each * 1_000_000,
		{"peerobserver_p2p_message_bytes_total", `message="tx",direction="outbound"`}:  each * 300,
	}
	eventually(t, "the counts", func() error {
		s, err := a.samples()
		if err != nil {
			return err
		}
		for of, n := range want {
			if got := s.sum(of[0], strings.Split(of[1], ",")...); got != n {
				return fmt.Errorf("%s %s is %d, want %d", of[0], of[1], got, n)
			}
		}
		return nil
	})
}

// accounted says whether every hit is at the subscriber or counted as lost.
func (a *runningAgent) accounted(fired uint64) error {
	s, err := a.samples()
	if err != nil {
		return err
	}
	events := s.sum("peerobserver_events_total", `source="ebpf"`)
	lost := s.sum("peerobserver_events_lost_total", `source="ebpf"`, `stage="kernel"`)
	received, last := a.sink.received()
	if events+lost != fired || last != events {
		return fmt.Errorf("%d hits, %d events and %d lost in the kernel; %d received, the last is number %d", fired, events, lost, received, last)
	}
	return nil
}

// balance checks the account of a flood that is over, from the hit to the subscriber, and
// the memory that it took.
func (a *runningAgent) balance(fired uint64) samples {
	a.t.Helper()
	s, err := a.samples()
	if err != nil {
		a.t.Fatal(err)
	}
	events := s.sum("peerobserver_events_total", `source="ebpf"`)
	all := s.sum("peerobserver_events_lost_total", `source="ebpf"`)
	kernel := s.sum("peerobserver_events_lost_total", `source="ebpf"`, `stage="kernel"`)
	received, last := a.sink.received()
	missed := last - received
	if fired != events+kernel {
		a.t.Errorf("%d hits, but %d events and %d lost in the kernel", fired, events, kernel)
	}
	if last != events {
		a.t.Errorf("%d events, but the last that was received is number %d", events, last)
	}
	// What the agent lost behind the kernel is what the subscriber misses, unless the
	// server gave it up because it was too slow.
	before := all - kernel
	if before > missed || before < missed && a.conn.Stats().Reconnects == 0 {
		a.t.Errorf("the agent counts %d lost on the way to NATS, the subscriber misses %d", before, missed)
	}
	if hits := s.sum("peerobserver_tracepoint_hits_total"); hits != fired {
		a.t.Errorf("%d hits by the agent's count, %d fired", hits, fired)
	}
	resident, maps := a.memory()
	limit := uint64(maxMemory)
	if before > 0 {
		// What waits for NATS was more than its buffer, as in an outage.
		limit += natsBuffer
	}
	if resident+maps > limit {
		a.t.Errorf("%d MiB resident at most and %d MiB of maps, want at most %d MiB", resident>>20, maps>>20, limit>>20)
	}
	a.t.Logf("%d hits = %d received + %d lost in the kernel + %d lost before NATS + %d behind it; at most %d MiB resident and %d MiB of maps",
		fired, received, kernel, before, missed-before, resident>>20, maps>>20)
	return s
}

// floodOfNode has a peer write to a real node as fast as the node reads.
func floodOfNode(t *testing.T, path string) {
	node := regtest.WithTracepoints(t, regtest.Config{})
	own := copyFile(t, node.Binary(), filepath.Join(t.TempDir(), "bitcoind"))
	if err := node.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	a := startAgent(t, path, own)
	node = regtest.ForTest(t, regtest.Config{Binary: own})
	conn := handshake(t, node)
	drained := make(chan uint64, 1)
	const last = 1<<64 - 1
	go func() { drained <- readUntilPong(conn, last) }()

	const pings, invs = 40_000, 4_000
	var stream bytes.Buffer
	for i := range pings {
		writeMessage(t, &stream, wire.NewMsgPing(uint64(i)))
		if i%(pings/invs) == 0 {
			// Blocks nobody has would be asked for; these are transactions (BIP339).
			inv := wire.NewMsgInv()
			for j := range 35 {
				v := wire.InvVect{Type: 5}
				binary.LittleEndian.PutUint64(v.Hash[:], uint64(i*35+j))
				if err := inv.AddInvVect(&v); err != nil {
					t.Fatal(err)
				}
			}
			writeMessage(t, &stream, inv)
		}
	}
	writeMessage(t, &stream, wire.NewMsgPing(last))
	start := time.Now()
	if _, err := conn.Write(stream.Bytes()); err != nil {
		t.Fatal(err)
	}
	pongs := <-drained
	took := time.Since(start)
	if pongs != pings+1 {
		t.Errorf("the node answered %d of %d pings", pongs, pings+1)
	}
	if _, err := node.Mine(t.Context(), 1); err != nil {
		t.Errorf("the node after the flood: %v", err)
	}
	received := call[[]struct {
		Received map[string]uint64 `json:"bytesrecv_per_msg"`
		Sent     map[string]uint64 `json:"bytessent_per_msg"`
	}](t, node, "getpeerinfo")
	if len(received) != 1 {
		t.Fatalf("%d peers", len(received))
	}
	const header = 24
	if n := received[0].Received["ping"]; n != (pings+1)*(header+8) {
		t.Errorf("by RPC, the node received %d bytes of pings", n)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if err := node.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	var hits uint64
	eventually(t, "everything to be accounted for", func() error {
		s, err := a.samples()
		if err != nil {
			return err
		}
		if before := hits; before != s.sum("peerobserver_tracepoint_hits_total") || before == 0 {
			hits = s.sum("peerobserver_tracepoint_hits_total")
			return errors.New("still hits")
		}
		return a.accounted(hits)
	})
	s := a.balance(hits)
	lost := s.sum("peerobserver_events_lost_total", `source="ebpf"`, `stage="kernel"`)
	for message, want := range map[string]uint64{"ping": pings + 1, "inv": invs} {
		got := s.sum("peerobserver_p2p_messages_total", `message="`+message+`"`, `direction="inbound"`)
		if got > want || want-got > lost {
			t.Errorf("%d messages %s, want %d, or less by at most %d that are lost", got, message, want, lost)
		}
	}
	if got := s.sum("peerobserver_p2p_messages_total", `message="pong"`, `direction="outbound"`); got > pongs || pongs-got > lost {
		t.Errorf("%d pongs, want %d, or less by at most %d that are lost", got, pongs, lost)
	}
	t.Logf("%d messages to the node and %d from it in %v: %.0f a second", pings+invs, pongs, took.Round(time.Millisecond), float64(pings+invs+pongs)/took.Seconds())
	if n := a.sink.ofKind(event.KindConnectionClosed); lost == 0 && n != 1 {
		t.Errorf("%d closed connections", n)
	}
}

// handshake connects to the node as a peer of version 1 transport.
func handshake(t *testing.T, n *regtest.Node) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", n.P2PAddress())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	address := wire.NewNetAddressIPPort(net.IPv4(127, 0, 0, 1), 0, wire.SFNodeWitness)
	version := wire.NewMsgVersion(address, address, 1, 0)
	version.ProtocolVersion = int32(wire.ProtocolVersion)
	writeMessage(t, conn, version)
	writeMessage(t, conn, wire.NewMsgWTxIdRelay())
	writeMessage(t, conn, wire.NewMsgVerAck())
	for {
		// Messages that btcd doesn't know are passed over.
		_, message, _, err := wire.ReadMessageN(conn, wire.ProtocolVersion, wire.TestNet)
		if errors.Is(err, wire.ErrUnknownMessage) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if message.Command() == wire.CmdVerAck {
			return conn
		}
	}
}

func writeMessage(t *testing.T, w interface{ Write([]byte) (int, error) }, m wire.Message) {
	t.Helper()
	// wire.TestNet is btcd's name of regtest's magic.
	if _, err := wire.WriteMessageN(w, m, wire.ProtocolVersion, wire.TestNet); err != nil {
		t.Fatal(err)
	}
}

// readUntilPong reads until the pong with a nonce, or an error, and counts pongs.
func readUntilPong(conn net.Conn, nonce uint64) (pongs uint64) {
	for {
		_, message, _, err := wire.ReadMessageN(conn, wire.ProtocolVersion, wire.TestNet)
		if err != nil && !errors.Is(err, wire.ErrUnknownMessage) {
			return pongs
		}
		if pong, ok := message.(*wire.MsgPong); ok {
			if pongs++; pong.Nonce == nonce {
				return pongs
			}
		}
	}
}

package ebpf

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/bpf"
	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

func TestMain(m *testing.M) {
	if binary := os.Getenv(childEnv); binary != "" {
		os.Exit(runUnprivileged(binary))
	}
	goleak.VerifyTestMain(m)
}

// observation is an extractor that runs, with everything that it emitted.
type observation struct {
	t         *testing.T
	extractor *Extractor
	ledger    *event.Ledger

	mu     sync.Mutex
	events []*eventpb.Event
}

func (o *observation) HandleEvent(e *event.Event) {
	decoded := new(eventpb.Event)
	if err := proto.Unmarshal(e.Data, decoded); err != nil {
		o.t.Errorf("event %d can't be decoded: %v", e.Sequence, err)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if want := uint64(len(o.events) + 1); e.Sequence != want {
		o.t.Errorf("event has number %d, want %d", e.Sequence, want)
	}
	o.events = append(o.events, decoded)
}

func (o *observation) all() []*eventpb.Event {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.events[:len(o.events):len(o.events)]
}

// observe runs an extractor until the test ends or stop is called, which returns when
// everything that the kernel recorded was emitted.
func observe(t *testing.T, config Config) (o *observation, stop func()) {
	t.Helper()
	o = &observation{t: t, ledger: event.NewLedger()}
	emitter := event.NewEmitter(event.SourceEBPF, event.Origin{NodeName: "test", BootID: 1}, event.NewStream(o), o.ledger)
	logger := slog.New(slog.NewTextHandler(testWriter{t}, nil))
	o.extractor = New(config, emitter, o.ledger, logger)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.extractor.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return o, stop
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(string(bytes.TrimSpace(p)))
	return len(p), nil
}

// eventually waits until check gives no error.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if err := regtest.Eventually(ctx, check); err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}

func noNode() Node { return Node{} }

// tracked is the observed node as a finder of nodes tells it.
type tracked struct {
	mu   sync.Mutex
	node Node
}

func track(n *regtest.Node) *tracked {
	k := new(tracked)
	k.update(n)
	return k
}

func (k *tracked) update(n *regtest.Node) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.node = Node{Executable: n.Binary()}
	if n.Running() {
		k.node.PID, k.node.StartTime = n.PID(), int64(n.PID())
	}
}

func (k *tracked) get() Node {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.node
}

func (o *observation) waitUp(up bool) {
	o.t.Helper()
	eventually(o.t, fmt.Sprintf("the source to be up: %v", up), func() error {
		if got, detail := o.ledger.Source(event.SourceEBPF).State(); got != up {
			return fmt.Errorf("up = %v: %s", got, detail)
		}
		return nil
	})
}

// conserved checks that every hit of every tracepoint is an event or counted.
func (o *observation) conserved() {
	o.t.Helper()
	var records uint64
	for _, s := range o.extractor.Status() {
		if s.GetHits() != s.GetRecords()+s.GetFiltered()+s.GetLost() {
			o.t.Errorf("%s: %d hits, but %d records + %d filtered + %d lost",
				s.GetName(), s.GetHits(), s.GetRecords(), s.GetFiltered(), s.GetLost())
		}
		records += s.GetRecords()
	}
	if events := uint64(len(o.all())); records != events {
		o.t.Errorf("%d records, but %d events", records, events)
	}
}

// messageKey is what the node's log and an event both say of a message.
type messageKey struct {
	pid     uint32
	peer    uint64
	inbound bool
	kind    string
}

type messageCount struct{ messages, bytes uint64 }

var logLine = regexp.MustCompile(` \[net\] (received: |sending )([a-z0-9]+) \((\d+) bytes\) peer=(\d+)`)

// logged reads the messages from the node's log.
func logged(t *testing.T, n *regtest.Node, pid int, counts map[messageKey]messageCount) {
	t.Helper()
	f, err := os.Open(n.LogFile())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	scanner := bufio.NewScanner(f)
	scanner.Buffer(nil, 16<<20)
	for scanner.Scan() {
		m := logLine.FindStringSubmatch(scanner.Text())
		if m == nil {
			continue
		}
		size, _ := strconv.ParseUint(m[3], 10, 64)
		peer, _ := strconv.ParseUint(m[4], 10, 64)
		key := messageKey{uint32(pid), peer, m[1] == "received: ", m[2]}
		c := counts[key]
		counts[key] = messageCount{c.messages + 1, c.bytes + size}
	}
	if err := scanner.Err(); err != nil {
		t.Fatal(err)
	}
}

// Every message that two nodes sent and received, by their own logs, is an event:
// nothing is missing and nothing is there twice.
func TestMessagesEqualTheNodesLog(t *testing.T) {
	for _, v2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("v2=%v", v2), func(t *testing.T) { testMessagesEqualLog(t, v2) })
	}
}

func testMessagesEqualLog(t *testing.T, v2 bool) {
	config := regtest.Config{V2: v2, Debug: []string{"net"}}
	// Attached by path before any node runs, so that nothing at start-up is missed.
	probe := regtest.WithTracepoints(t, config)
	binary := probe.Binary()
	if err := probe.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	// A file of our own keeps apart what other tests do at the same time.
	binary = copyFile(t, binary, filepath.Join(t.TempDir(), "bitcoind"))
	config.Binary = binary
	o, stop := observe(t, Config{Node: noNode, Binary: binary, All: true})
	o.waitUp(true)

	a, b := regtest.ForTest(t, config), regtest.ForTest(t, config)
	// Blocks that are known before the nodes meet are sent whole.
	mineLargeBlock(t, a)
	if err := b.Connect(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	makeTraffic(t, a, b)
	pids := map[*regtest.Node]int{a: a.PID(), b: b.PID()}
	for n := range pids {
		if err := n.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	o.conserved()

	want := map[messageKey]messageCount{}
	for n, pid := range pids {
		logged(t, n, pid, want)
	}
	got := map[messageKey]messageCount{}
	largestBlock, largestInv := uint64(0), uint64(0)
	for _, e := range o.all() {
		m := e.GetEbpfExtractor().GetMessage()
		if m == nil {
			continue
		}
		meta := m.GetMeta()
		key := messageKey{e.GetEbpfExtractor().GetHit().GetPid(), meta.GetPeerId(), meta.GetInbound(), meta.GetCommand()}
		c := got[key]
		got[key] = messageCount{c.messages + 1, c.bytes + meta.GetSize()}
		if m.PayloadState != nil || m.TrailingBytes != nil {
			t.Errorf("%v of %d bytes: state %v, %d trailing bytes", key, meta.GetSize(), m.GetPayloadState(), m.GetTrailingBytes())
		}
		if m.GetBlock() != nil {
			largestBlock = max(largestBlock, meta.GetSize())
		}
		largestInv = max(largestInv, uint64(len(m.GetInv().GetItems())))
	}
	total := uint64(0)
	kinds := map[string]bool{}
	for key, w := range want {
		total += w.messages
		kinds[key.kind] = true
		if g := got[key]; g != w {
			t.Errorf("%v: events have %d messages with %d bytes, the node's log %d with %d", key, g.messages, g.bytes, w.messages, w.bytes)
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			t.Errorf("%v: %d events that the node's log hasn't", key, got[key].messages)
		}
	}
	t.Logf("%d messages in %d kinds, largest block %d bytes, largest inv %d entries", total, len(want), largestBlock, largestInv)
	if total < 50_000 || largestBlock < 1_000_000 || largestInv < 50_000 || !kinds["tx"] || !kinds["addrv2"] {
		t.Errorf("traffic was too small to prove anything: %v", kinds)
	}
}

// makeTraffic lets two connected nodes exchange at least 50,000 messages: blocks, one
// of them above 1 MB, transactions, addresses, pings and an inv of 50,000 entries.
func makeTraffic(t *testing.T, a, b *regtest.Node) {
	t.Helper()
	ctx := t.Context()
	if _, err := a.SendTransactions(ctx, 500); err != nil {
		t.Fatal(err)
	}
	if err := regtest.SyncBlocks(ctx, a, b); err != nil {
		t.Fatal(err)
	}
	peer := peerOf(t, b)
	inv := []byte{0xfd, 0x50, 0xc3} // 50,000 entries
	for i := range 50_000 {
		inv = binary.LittleEndian.AppendUint32(inv, 5) // MSG_WTX
		inv = binary.BigEndian.AppendUint64(inv, uint64(i))
		inv = append(inv, make([]byte, 24)...)
	}
	send(t, b, peer, "inv", inv)
	// Addresses (BIP155): time, services, network, length of the address, address, port.
	addresses := []byte{100}
	for i := range 100 {
		addresses = binary.LittleEndian.AppendUint32(addresses, uint32(time.Now().Unix()))
		addresses = append(addresses, 9, 1, 4, 8, 8, byte(i), 1, 0x20, 0x8d)
	}
	send(t, b, peer, "addrv2", addresses)

	const workers, pings = 4, 13_000
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := w; i < pings; i += workers {
				if !send(t, b, peer, "ping", binary.LittleEndian.AppendUint64(nil, uint64(i))) {
					return
				}
			}
		})
	}
	group.Wait()
	// The last ping is answered when everything before it was handled.
	eventually(t, "the last messages to be handled", func() error {
		var list []struct {
			SentPerMessage     map[string]uint64 `json:"bytessent_per_msg"`
			ReceivedPerMessage map[string]uint64 `json:"bytesrecv_per_msg"`
		}
		if err := b.Call(ctx, "getpeerinfo", nil, &list); err != nil {
			return err
		}
		if len(list) != 1 {
			return fmt.Errorf("%d peers", len(list))
		}
		if sent, received := list[0].SentPerMessage["ping"], list[0].ReceivedPerMessage["pong"]; received < sent {
			return fmt.Errorf("%d bytes of pings sent, %d of pongs received", sent, received)
		}
		// Transactions are announced after a random delay of some seconds.
		if list[0].SentPerMessage["tx"]+list[0].ReceivedPerMessage["tx"] == 0 {
			return errors.New("no transaction exchanged")
		}
		return nil
	})
}

func peerOf(t *testing.T, n *regtest.Node) uint64 {
	t.Helper()
	peers, err := n.Peers(t.Context())
	if err != nil || len(peers) == 0 {
		t.Fatalf("peers: %v, %v", peers, err)
	}
	return uint64(peers[0].ID)
}

func send(t *testing.T, n *regtest.Node, peer uint64, kind string, payload []byte) bool {
	if err := n.Call(t.Context(), "sendmsgtopeer", []any{peer, kind, hex.EncodeToString(payload)}, nil); err != nil {
		t.Errorf("sendmsgtopeer %s: %v", kind, err)
		return false
	}
	return true
}

func copyFile(t *testing.T, from, to string) string {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return to
}

// The node is seen again after a restart, after its program was replaced by another
// build, and when it is started before or after the agent.
func TestFollowsRestartAndReplacedProgram(t *testing.T) {
	original := regtest.WithTracepoints(t, regtest.Config{})
	path := copyFile(t, original.Binary(), filepath.Join(t.TempDir(), "bitcoind"))
	node := regtest.ForTest(t, regtest.Config{Binary: path})
	finder := track(node)
	o, stop := observe(t, Config{Node: finder.get, Belongs: func(context.Context, int) bool { return true }})
	o.waitUp(true)
	seen := func(what string) {
		t.Helper()
		before := len(o.all())
		if _, err := node.Mine(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		eventually(t, "a block "+what, func() error {
			for _, e := range o.all()[before:] {
				if e.GetEbpfExtractor().GetValidation().GetBlockConnected() != nil && e.GetEbpfExtractor().GetHit().GetPid() == uint32(node.PID()) {
					return nil
				}
			}
			return fmt.Errorf("not seen; %d events", len(o.all())-before)
		})
	}
	seen("of the node that ran before the agent")
	if err := node.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	finder.update(node)
	o.waitUp(true)
	seen("after a restart")

	// An upgrade renames the new program over the old one while the node runs.
	replace(t, path)
	seen("of the old program after it was replaced")
	if err := node.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	finder.update(node)
	replacements := func(want uint64) {
		t.Helper()
		eventually(t, "the new file to be attached", func() error {
			if n := o.extractor.Replacements(); n != want {
				return fmt.Errorf("%d replacements", n)
			}
			return nil
		})
	}
	replacements(1)
	seen("of the new program")
	// And once more with the node stopped.
	if err := node.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	finder.update(node)
	replace(t, path)
	replacements(2)
	if err := node.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	finder.update(node)
	seen("of a program that was replaced while no node ran")
	stop()
	o.conserved()
}

// replace puts another file with the same program in path's place, as a package
// upgrade does.
func replace(t *testing.T, path string) {
	t.Helper()
	if err := os.Rename(copyFile(t, path, path+".new"), path); err != nil {
		t.Fatal(err)
	}
}

// A process of the same program that isn't the observed node is not recorded, and its
// hits are not counted as lost.
func TestRecordsOnlyTheObservedNode(t *testing.T) {
	mine := regtest.WithTracepoints(t, regtest.Config{})
	other := regtest.ForTest(t, regtest.Config{Binary: mine.Binary()})
	o, stop := observe(t, Config{Node: track(mine).get})
	o.waitUp(true)
	if err := other.Connect(t.Context(), mine); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Mine(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	if err := regtest.SyncBlocks(t.Context(), mine, other); err != nil {
		t.Fatal(err)
	}
	eventually(t, "three blocks", func() error {
		blocks := 0
		for _, e := range o.all() {
			if e.GetEbpfExtractor().GetValidation().GetBlockConnected() != nil {
				blocks++
			}
		}
		if blocks != 3 {
			return fmt.Errorf("%d blocks", blocks)
		}
		return nil
	})
	stop()
	for _, e := range o.all() {
		if pid := e.GetEbpfExtractor().GetHit().GetPid(); pid != uint32(mine.PID()) {
			t.Fatalf("event of process %d, want only %d", pid, mine.PID())
		}
	}
}

// A node that is started before its tracepoints are known, and none at all.
func TestWaitsForNode(t *testing.T) {
	o, stop := observe(t, Config{Node: noNode, Probes: bpf.Options{}})
	eventually(t, "the source to wait", func() error {
		if up, detail := o.ledger.Source(event.SourceEBPF).State(); up || detail != "waiting for a node" {
			return fmt.Errorf("up = %v: %s", up, detail)
		}
		return nil
	})
	stop()
	if n := len(o.all()); n != 0 {
		t.Errorf("%d events without a node", n)
	}
}

package main

import (
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/bpf/emitter"
	"github.com/peerobserver/peerobserver/proto/event"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// floodMaxMemory bounds the resident set of the program in a flood, in bytes.
const floodMaxMemory = 128 << 20

// flood is what a process fires at a tracepoint.
type flood struct {
	tracepoint string
	command    string // of emitter.Process.Fire, beside the tracepoint
	count      int    // of each thread
	threads    int
}

// Far more hits than a small ring buffer can take: for each tracepoint, hits are events
// and counted losses, to the last one; what comes out is in order and unharmed, also at a
// subscriber; and the program stays small.
func TestFloodIsAccountedFor(t *testing.T) {
	needsRoot(t)
	t.Parallel()
	path, err := emitter.Build(t.Context(), t.TempDir(), emitter.Dynamic)
	if err != nil {
		t.Fatal(err)
	}
	o := &observer{web: freeAddress(t), nats: freeAddress(t)}
	o.program = start(t, asBuilt(t), "agent", "--node.name=test", "--bitcoin.all", "--bitcoin.binary="+path,
		"--no-extractor.rpc", "--no-extractor.p2p", "--no-extractor.log", "--extractor.ebpf.ring-size=65536",
		"--web.listen-address="+o.web, "--nats.listen-address="+o.nats)
	o.ready()
	r := record(t, o.nats)

	floods := []flood{
		// The thread's n-th hit has peer id n, and n in the nonce of the ping.
		{"net:inbound_message", "type=ping size=1000", 300_000, 1},
		{"net:outbound_message", "type=ping size=8", 100_000, 2},
		{"net:inbound_connection", "size=1", 50_000, 1},
		{"mempool:added", "size=100", 200_000, 1},
		{"validation:block_connected", "size=1", 50_000, 1},
	}
	fired := map[string]uint64{}
	var mutex sync.Mutex
	var processes sync.WaitGroup
	for _, f := range floods {
		process, err := emitter.Start(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = process.Kill() })
		processes.Go(func() {
			result, err := process.Fire("%s count=%d threads=%d %s", f.tracepoint, f.count, f.threads, f.command)
			if err != nil {
				t.Errorf("%s: %v", f.tracepoint, err)
				return
			}
			if want := uint64(f.count * f.threads); result.Fired != want {
				t.Errorf("%s fired %d times (%d times the semaphore was 0), want %d", f.tracepoint, result.Fired, result.Skipped, want)
			}
			mutex.Lock()
			defer mutex.Unlock()
			fired[f.tracepoint] = result.Fired
		})
	}
	processes.Wait()

	// The agent tells its account every ten seconds.
	var a floodAccount
	eventually(t, "the account to be even", func() error {
		a = r.account()
		for _, f := range floods {
			if n := a.tracepoints[f.tracepoint].GetHits(); n != fired[f.tracepoint] {
				return fmt.Errorf("%s: %d hits, %d fired", f.tracepoint, n, fired[f.tracepoint])
			}
		}
		if a.received+a.lost != a.emitted {
			return fmt.Errorf("%d events received and %d counted as lost, but %d emitted", a.received, a.lost, a.emitted)
		}
		return nil
	})
	peak := peakMemory(t, o.cmd.Process.Pid)
	if code := o.stop(); code != exitOK {
		t.Errorf("exit code %d, want 0", code)
	}
	records := uint64(0)
	for _, f := range floods {
		s := a.tracepoints[f.tracepoint]
		if s.GetHits() != s.GetRecords()+s.GetLost()+s.GetFiltered() {
			t.Errorf("%s: %v", f.tracepoint, s)
		}
		if a.lost == 0 && a.counts[f.tracepoint] != s.GetRecords() {
			t.Errorf("%s: %d events received of %d records", f.tracepoint, a.counts[f.tracepoint], s.GetRecords())
		}
		records += s.GetRecords()
		t.Logf("%s: %d hits, %d records, %d lost in the kernel", f.tracepoint, s.GetHits(), s.GetRecords(), s.GetLost())
	}
	if a.emitted != records {
		t.Errorf("%d events of %d records", a.emitted, records)
	}
	if a.tracepoints["net:inbound_message"].GetLost() == 0 {
		t.Error("nothing was lost: this proves nothing")
	}
	for _, l := range a.otherLosses {
		t.Errorf("lost: %v", l)
	}
	if r.disorder != "" {
		t.Errorf("out of order: %s", r.disorder)
	}
	if r.wrong != "" {
		t.Errorf("not what was fired: %s", r.wrong)
	}
	t.Logf("%d events received, %d lost on the way to NATS; at most %d MiB resident", a.received, a.lost, peak>>20)
	if peak > floodMaxMemory {
		t.Errorf("%d MiB resident, want at most %d", peak>>20, floodMaxMemory>>20)
	}
}

// recording is what a subscriber makes of a flood.
type recording struct {
	mutex      sync.Mutex
	counts     map[string]uint64 // events, by tracepoint
	status     *eventpb.Status
	sequence   uint64
	kernelTime map[uint32]uint64 // of the last hit, by thread
	peer       uint64            // of the last inbound message
	disorder   string
	wrong      string
}

func record(t *testing.T, address string) *recording {
	t.Helper()
	r := &recording{counts: map[string]uint64{}, kernelTime: map[uint32]uint64{}}
	connection, err := nats.Connect("nats://" + address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(connection.Close)
	subscription, err := connection.Subscribe(">", r.take)
	if err != nil {
		t.Fatal(err)
	}
	// A flood is what this is about: nothing may be dropped here.
	if err := subscription.SetPendingLimits(-1, -1); err != nil {
		t.Fatal(err)
	}
	if err := connection.Flush(); err != nil {
		t.Fatal(err)
	}
	return r
}

// take is called for one event after the other.
func (r *recording) take(m *nats.Msg) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	e := new(eventpb.Event)
	if err := proto.Unmarshal(m.Data, e); err != nil {
		r.wrong = err.Error()
		return
	}
	if s := e.GetObserver().GetStatus(); s != nil {
		r.status = s
		return
	}
	x := e.GetEbpfExtractor()
	if x == nil {
		return
	}
	if n := e.GetSequence(); n <= r.sequence {
		r.disorder = fmt.Sprintf("number %d after %d", n, r.sequence)
	}
	r.sequence = e.GetSequence()
	thread := x.GetHit().GetTid()
	if at := e.GetKernelTimeNs(); at < r.kernelTime[thread] {
		r.disorder = fmt.Sprintf("thread %d: time %d after %d", thread, at, r.kernelTime[thread])
	}
	r.kernelTime[thread] = e.GetKernelTimeNs()
	switch {
	case x.GetMessage() != nil:
		r.takeMessage(x.GetMessage())
	case x.GetConnection().GetInbound() != nil:
		r.counts["net:inbound_connection"]++
	case x.GetMempool().GetAdded() != nil:
		r.counts["mempool:added"]++
	case x.GetValidation().GetBlockConnected() != nil:
		r.counts["validation:block_connected"]++
	default:
		r.wrong = x.String()
	}
}

func (r *recording) takeMessage(m *eventpb.MessageEvent) {
	meta := m.GetMeta()
	// Without room for its payload a message is recorded without.
	if ping := m.GetPing(); meta.GetCommand() != "ping" || ping != nil && ping.GetValue() != meta.GetPeerId() ||
		ping == nil && m.GetPayloadState() == eventpb.PayloadState_PAYLOAD_STATE_UNSPECIFIED {
		r.wrong = m.String()
	}
	if !meta.GetInbound() {
		r.counts["net:outbound_message"]++
		return
	}
	if first := r.counts["net:inbound_message"] == 0; !first && meta.GetPeerId() <= r.peer {
		r.disorder = fmt.Sprintf("hit %d after hit %d", meta.GetPeerId(), r.peer)
	}
	r.peer = meta.GetPeerId()
	r.counts["net:inbound_message"]++
}

// floodAccount is what the last status event says, beside what has been received.
type floodAccount struct {
	tracepoints             map[string]*eventpb.TracepointStatus
	counts                  map[string]uint64 // events received, by tracepoint
	received, emitted, lost uint64            // lost: after they were emitted
	otherLosses             []*eventpb.Loss
}

func (r *recording) account() floodAccount {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	a := floodAccount{tracepoints: map[string]*eventpb.TracepointStatus{}, counts: maps.Clone(r.counts)}
	for _, n := range r.counts {
		a.received += n
	}
	for _, s := range r.status.GetTracepoints() {
		a.tracepoints[s.GetName()] = s
	}
	for _, s := range r.status.GetSources() {
		if s.GetSource() == sourceEBPF {
			a.emitted = s.GetEvents()
		}
	}
	for _, l := range r.status.GetLosses() {
		switch stage := event.Stage(l.GetStage()); {
		case l.GetSource() != sourceEBPF || l.GetCount() == 0:
		case stage == event.StageQueue || stage == event.StagePublish:
			a.lost += l.GetCount()
		case stage != event.StageKernel:
			a.otherLosses = append(a.otherLosses, l)
		}
	}
	return a
}

// peakMemory is the largest resident set that a process has had, in bytes.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		peak := 0
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &peak); err == nil {
			return peak << 10
		}
	}
	t.Fatalf("process %d has no VmHWM", pid)
	return 0
}

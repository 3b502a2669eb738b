// Package ebpf is the source that sees every tracepoint hit of the node: it attaches
// the eBPF program of package bpf to the node's program file, follows the node through
// restarts and upgrades, and turns records into events.
package ebpf

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/peerobserver/peerobserver/bpf"
	"github.com/peerobserver/peerobserver/proto/event"
)

// Node is what the extractor needs to know of the observed node.
type Node struct {
	// PID is the process id; 0 when no process is known.
	PID int
	// StartTime is the UNIX time of the process's start in nanoseconds.
	StartTime int64
	// Executable is the path of the program, which may have been replaced since the
	// process was started.
	Executable string
}

// Config is what the extractor observes and how.
type Config struct {
	// Node gives the node as it is now; it is asked every ReconcileInterval.
	Node func() Node
	// Binary is the path of the program to attach to, also while no process runs it;
	// empty for that of the node.
	Binary string
	// All records every process of the program, now and later. Otherwise only
	// processes that Belongs accepts are recorded.
	All bool
	// Belongs tells whether a process of the program, other than Node's, is the
	// observed node: one that was just started, say. Its answer is kept for the
	// life of the process. Nil accepts none.
	Belongs func(ctx context.Context, pid int) bool
	// StartTime gives the UNIX time in nanoseconds at which a process was started, 0
	// when unknown.
	StartTime func(pid int) int64
	// Probes says which tracepoints are hooked.
	Probes bpf.Options
	// Program is how the eBPF program is loaded.
	Program bpf.Config
	// AfterAttach is called once, after the first attachment, with what of the kernel
	// is used; the agent drops privileges there. Nil for nothing.
	AfterAttach func(bpf.Features)
	// ReconcileInterval is how often the attachments are compared with the running
	// node; DefaultReconcileInterval when zero.
	ReconcileInterval time.Duration
}

// DefaultReconcileInterval finds a replaced program within a second.
const DefaultReconcileInterval = 500 * time.Millisecond

// Extractor is the source. Run it once at a time.
type Extractor struct {
	config  Config
	emitter *event.Emitter
	ledger  *event.Ledger
	logger  *slog.Logger
	losses  losses
	// afterAttachCalled says that Config.AfterAttach was called; Run's goroutine uses it.
	afterAttachCalled bool
	// ignored counts, by tracepoint, the records of processes that aren't observed.
	ignored [len(bpf.Counters{}.Tracepoints)]atomic.Uint64
	// mu guards what Status reads while Run works.
	mu           sync.Mutex
	program      *bpf.Program
	reports      []bpf.ProbeReport
	replacements uint64
	// base is what counters of earlier programs had reached when they were closed.
	base bpf.Counters
	// told is, by tracepoint, the number of records that Status has told of last.
	told [len(bpf.Counters{}.Tracepoints)]uint64
}

// losses are the counters of the ledger that this source feeds.
type losses struct {
	ringFull, nested, detached, malformed *event.Counter
}

// Reasons for losses in the kernel.
const (
	// reasonRingFull: the ring buffer had no room.
	reasonRingFull event.Reason = "ring_full"
	// reasonNested: more hits than the program has working memory for were under way
	// on one CPU.
	reasonNested event.Reason = "nested_hits"
	// reasonDetached: hits under way while their probe was being detached.
	reasonDetached event.Reason = "detached"
)

// New makes the extractor. It touches nothing until Run.
func New(config Config, emitter *event.Emitter, ledger *event.Ledger, logger *slog.Logger) *Extractor {
	if config.ReconcileInterval == 0 {
		config.ReconcileInterval = DefaultReconcileInterval
	}
	x := &Extractor{
		config:  config,
		emitter: emitter,
		ledger:  ledger,
		logger:  logger,
		losses: losses{
			ringFull:  ledger.Loss(event.SourceEBPF, event.StageKernel, reasonRingFull),
			nested:    ledger.Loss(event.SourceEBPF, event.StageKernel, reasonNested),
			detached:  ledger.Loss(event.SourceEBPF, event.StageKernel, reasonDetached),
			malformed: ledger.Loss(event.SourceEBPF, event.StageRead, event.ReasonMalformed),
		},
	}
	ledger.Tracepoints(x.Status)
	return x
}

// Run loads the program and emits events until ctx ends. It returns an error when
// something failed that may work the next time; what can't work without the operator's
// help is logged once and waits.
func (x *Extractor) Run(ctx context.Context) error {
	account := x.emitter.Account()
	program, err := bpf.Load(x.config.Program)
	if err != nil {
		var capability *bpf.CapabilityError
		var unsupported *bpf.UnsupportedError
		if errors.As(err, &capability) || errors.As(err, &unsupported) {
			account.Failed(err)
			x.logger.Error("tracepoints can't be seen; all other sources go on", "err", err)
			<-ctx.Done()
			return nil
		}
		return err
	}
	clock, err := newClock()
	if err != nil {
		return errors.Join(fmt.Errorf("reading the clocks: %w", err), program.Close())
	}
	x.setProgram(program)
	account.Down("waiting for a node with tracepoints")

	a := &attacher{extractor: x, program: program, attached: map[bpf.FileID]*attached{}}
	readerDone := make(chan error, 1)
	r := newRecorder(x, program.Reader(), clock)
	go func() { readerDone <- r.run(ctx) }()

	ticker := time.NewTicker(x.config.ReconcileInterval)
	defer ticker.Stop()
	for {
		a.reconcile()
		x.updateLosses()
		select {
		case <-ctx.Done():
			// Detach first: the records that are in the ring by then are still read.
			a.detachAll()
			r.stop()
			err = <-readerDone
			x.closeProgram()
			return err
		case err := <-readerDone:
			a.detachAll()
			x.closeProgram()
			return err
		case <-ticker.C:
		}
	}
}

func (x *Extractor) setProgram(p *bpf.Program) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.program = p
}

// closeProgram closes the program and keeps its counters.
func (x *Extractor) closeProgram() {
	x.updateLosses()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.base = x.counters()
	if err := x.program.Close(); err != nil {
		x.logger.Warn("closing the eBPF program", "err", err)
	}
	x.program = nil
}

// updateLosses brings the kernel's counts into the ledger.
func (x *Extractor) updateLosses() {
	x.mu.Lock()
	counters := x.counters()
	x.mu.Unlock()
	var ring, nested uint64
	for _, c := range counters.Tracepoints {
		ring += c.LostRing
		nested += c.LostScratch
	}
	x.losses.ringFull.Set(ring)
	x.losses.nested.Set(nested)
	x.losses.detached.Set(counters.UnknownSite)
}

// attacher keeps the attachments in step with the node. Run's goroutine uses it.
type attacher struct {
	extractor *Extractor
	program   *bpf.Program
	attached  map[bpf.FileID]*attached
	// lastPath is the program file of the last node that was seen.
	lastPath string
	// lastProblem is what was last reported, so that it's reported once.
	lastProblem string
	hadAny      bool
	// retired is the number of files that were targets and no longer are.
	retired uint64
}

type attached struct {
	*bpf.Attachment
	path string
	// unwanted counts, from the oldest one, the files that are no target any more; 0
	// for one that is.
	unwanted uint64
}

// maxOldFiles is how many replaced program files stay attached when every process is
// observed, or when it can't be seen which file the node runs: a process that was
// started before an upgrade still runs the old one. An attachment to a file that no
// process runs costs nothing but its place in the kernel's table.
const maxOldFiles = 4

// reconcile attaches to the program file of the running node and to the file that a
// node started next will run, and detaches from every other.
func (a *attacher) reconcile() {
	x := a.extractor
	node := x.config.Node()
	if node.Executable != "" {
		a.lastPath = node.Executable
	}
	// The file of the running process comes first, by /proc, which leads to it even
	// when its name has been taken by another or is gone.
	var targets []string
	if node.PID != 0 {
		targets = append(targets, fmt.Sprintf("/proc/%d/exe", node.PID))
	}
	if path := x.config.Binary; path != "" {
		targets = append(targets, path)
	} else if a.lastPath != "" {
		targets = append(targets, a.lastPath)
	}
	wanted := map[bpf.FileID]bool{}
	var problem, unseen error
	// running says that the file of the running node is attached.
	running := false
	for i, path := range targets {
		id, err := bpf.FileIDOf(path)
		if err != nil {
			var capability *bpf.CapabilityError
			switch {
			case errors.Is(err, os.ErrNotExist):
				// A process that just ended and a path that is being replaced come
				// again the next time.
			case i < len(targets)-1 && errors.As(err, &capability):
				// Which file another user's process runs can't be seen without
				// privilege. Its path is known all the same.
				unseen = err
			default:
				problem = errors.Join(problem, err)
			}
			continue
		}
		wanted[id] = true
		if a.attached[id] == nil {
			if err := a.attach(path); err != nil {
				problem = errors.Join(problem, err)
				continue
			}
		}
		// Where it can't be seen what the node runs, its path is taken for that.
		running = running || node.PID != 0 && (i == 0 || unseen != nil)
	}
	if unseen != nil && len(wanted) == 0 {
		problem = errors.Join(problem, unseen)
	}
	// What is attached stays until something else is: better an old file too many
	// than a gap.
	if len(wanted) > 0 && problem == nil {
		a.retire(wanted, x.config.All || unseen != nil)
	}
	a.report(node, targets, running, problem)
}

// retire detaches from files that aren't wanted any more, except from the last few of
// them where keepOld says that a process may still run one.
func (a *attacher) retire(wanted map[bpf.FileID]bool, keepOld bool) {
	keep := uint64(0)
	if keepOld {
		keep = maxOldFiles
	}
	for id, old := range a.attached {
		switch {
		case wanted[id]:
			old.unwanted = 0
		case old.unwanted == 0:
			a.retired++
			old.unwanted = a.retired
		}
	}
	for id, old := range a.attached {
		if old.unwanted != 0 && old.unwanted+keep <= a.retired {
			a.detach(id, old)
		}
	}
}

func (a *attacher) attach(path string) error {
	x := a.extractor
	executable, err := bpf.Open(path)
	if err != nil {
		return err
	}
	defer executable.Close()
	attachment, err := a.program.Attach(executable, x.config.Probes)
	if err != nil {
		return err
	}
	replaced := a.hadAny
	a.attached[attachment.ID()] = &attached{Attachment: attachment, path: path}
	hooked := 0
	for _, p := range attachment.Probes() {
		if p.State == bpf.Attached {
			hooked++
		} else if p.State == bpf.Refused {
			x.logger.Warn("tracepoint refused", "tracepoint", p.Tracepoint, "err", p.Err)
		}
	}
	x.logger.Info("attached to the node's tracepoints", "file", path, "build_id", executable.BuildID,
		"tracepoints", hooked, "link", a.program.Features().Link, "kfuncs", a.program.Features().Kfuncs)
	x.mu.Lock()
	x.reports = attachment.Probes()
	if replaced {
		x.replacements++
	}
	x.mu.Unlock()
	if replaced {
		x.logger.Info("the node's program file was replaced: attached to the new one", "file", path)
	}
	a.hadAny = true
	if !x.afterAttachCalled {
		x.afterAttachCalled = true
		if x.config.AfterAttach != nil {
			x.config.AfterAttach(a.program.Features())
		}
	}
	return nil
}

func (a *attacher) detach(id bpf.FileID, old *attached) {
	if err := old.Close(); err != nil {
		a.extractor.logger.Warn("detaching", "file", old.path, "err", err)
	}
	delete(a.attached, id)
}

func (a *attacher) detachAll() {
	for id, old := range a.attached {
		a.detach(id, old)
	}
}

// report sets the state of the source: up while a process can be seen, also when the
// program file that a node started next will run can't be attached to.
func (a *attacher) report(node Node, targets []string, running bool, problem error) {
	x := a.extractor
	account := x.emitter.Account()
	text := ""
	switch {
	case running:
	case problem != nil:
		text = problem.Error()
	case len(targets) == 0:
		text = "waiting for a node"
	case len(a.attached) == 0:
		text = "waiting for the node's program file"
	case node.PID == 0 && !x.config.All:
		text = "attached; waiting for the node to start"
	}
	if text == "" {
		hooked := 0
		x.mu.Lock()
		for _, p := range x.reports {
			if p.State == bpf.Attached {
				hooked++
			}
		}
		x.mu.Unlock()
		account.Up(fmt.Sprintf("%d tracepoints of %s", hooked, targets[len(targets)-1]))
	} else {
		account.Down(text)
	}
	text = ""
	if problem != nil {
		text = problem.Error()
	}
	if problem != nil && text != a.lastProblem {
		x.logger.Error("can't attach to the node's tracepoints", "err", problem)
	}
	a.lastProblem = text
}

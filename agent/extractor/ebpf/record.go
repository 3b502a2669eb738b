package ebpf

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"time"

	"github.com/peerobserver/peerobserver/bpf"
	"github.com/peerobserver/peerobserver/proto/event"
)

// recorder reads records and emits events. It is the hot path: one goroutine, no locks
// but the stream's, no allocation a record.
type recorder struct {
	extractor *Extractor
	reader    *bpf.Reader
	clock     *clock
	processes *processes
	encoder   *encoder
	adjusted  time.Time
	// malformed is the loss counter's value when the reader was new.
	malformed uint64
	// handled counts records since the last upkeep.
	handled  int
	stopping atomic.Bool
}

func newRecorder(x *Extractor, reader *bpf.Reader, c *clock) *recorder {
	return &recorder{
		extractor: x,
		reader:    reader,
		clock:     c,
		processes: newProcesses(x.config),
		encoder:   newEncoder(),
		malformed: x.losses.malformed.Value(),
	}
}

const (
	// adjustInterval is how often the clock is compared with the wall clock.
	adjustInterval = time.Second
	// upkeepRecords is after how many records that is looked at in a flood, in which
	// the reader never waits.
	upkeepRecords = 4096
)

// stop lets run end as soon as the ring is empty.
func (r *recorder) stop() {
	r.stopping.Store(true)
	// Nothing may come any more to wake the reader up, which looks by itself every
	// PollIdle.
}

// run reads until stop was called and the ring is empty.
func (r *recorder) run(ctx context.Context) error {
	var record bpf.Record
	for {
		// Asked first: the ring is empty for good only if it is so after stop.
		stopping := r.stopping.Load()
		ok, err := r.reader.TryRead(&record)
		if err != nil {
			if errors.Is(err, os.ErrClosed) {
				return nil
			}
			return err
		}
		if ok {
			r.handle(ctx, &record)
			if r.handled++; r.handled >= upkeepRecords {
				r.upkeep()
			}
			continue
		}
		r.upkeep()
		if stopping {
			return nil
		}
		if err := r.reader.Wait(); err != nil {
			if errors.Is(err, os.ErrClosed) {
				return nil
			}
			return err
		}
	}
}

// upkeep does what is due now and then.
func (r *recorder) upkeep() {
	r.handled = 0
	r.extractor.losses.malformed.Set(r.malformed + r.reader.Stats().Bad)
	if now := time.Now(); now.Sub(r.adjusted) >= adjustInterval {
		r.clock.adjust()
		r.adjusted = now
	}
}

func (r *recorder) handle(ctx context.Context, record *bpf.Record) {
	start, ok := r.processes.lookup(ctx, record.PID)
	if !ok {
		r.extractor.ignored[record.Tracepoint].Add(1)
		return
	}
	r.encoder.encode(record)
	r.extractor.emitter.EmitEncoded(r.encoder.buffer, event.Times{
		Kernel:    r.clock.unix(record.Time),
		NodeStart: start,
	})
}

// processes knows which processes are recorded.
type processes struct {
	config Config
	known  map[uint32]process
	// last is the process of the last record, which nearly always is the next one's.
	last    uint32
	current process
}

type process struct {
	recorded  bool
	startTime int64
	// asked is when a process that isn't recorded was last asked about: it may
	// become the observed node, when the former one ends.
	asked time.Time
}

// askAgain is how long a process stays unrecorded before it is asked about again.
const askAgain = time.Second

// maxProcesses bounds the processes that are remembered. A process id is used again
// only after tens of thousands of others, so that forgetting all is good enough.
const maxProcesses = 256

func newProcesses(config Config) *processes {
	return &processes{config: config, known: map[uint32]process{}}
}

// lookup says whether records of a process are wanted, and when it was started.
func (p *processes) lookup(ctx context.Context, pid uint32) (startTime int64, wanted bool) {
	if pid != p.last {
		known, ok := p.known[pid]
		if !ok {
			if len(p.known) >= maxProcesses {
				clear(p.known)
			}
			known = p.ask(ctx, pid)
			p.known[pid] = known
		}
		p.last, p.current = pid, known
	}
	if !p.current.recorded && time.Since(p.current.asked) >= askAgain {
		p.current = p.ask(ctx, pid)
		p.known[pid] = p.current
	}
	return p.current.startTime, p.current.recorded
}

func (p *processes) ask(ctx context.Context, pid uint32) process {
	node := p.config.Node()
	if node.PID == int(pid) {
		return process{recorded: true, startTime: node.StartTime}
	}
	if p.config.All || p.config.Belongs != nil && p.config.Belongs(ctx, int(pid)) {
		start := int64(0)
		if p.config.StartTime != nil {
			start = p.config.StartTime(int(pid))
		}
		return process{recorded: true, startTime: start}
	}
	return process{asked: time.Now()}
}

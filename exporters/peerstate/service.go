package peerstate

import (
	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/proto/event"
)

// Service is the work of the node's message thread for one received message.
type Service struct {
	// Valid says that there is one.
	Valid bool
	Type  decode.MessageType
	// Wall is the time in nanoseconds from the start of processing to the last moment
	// at which the thread is known to have been busy with it; CPU the CPU time in it.
	// HasCPU is false where the kernel doesn't give CPU times.
	Wall, CPU int64
	HasCPU    bool
}

// net:inbound_message is hit when the node begins to process a message; nothing is hit
// when it is done. The next hits on the same thread bound the time: the node handles
// messages one after the other on one thread. Between them the thread may also have
// slept, because there was nothing to do. So the time is put together from the
// segments between hits:
//
//   - A segment that ends with a change of the mempool, a connected block or an answer
//     to the peer lies within the processing and counts whole, waiting for the disk
//     included.
//   - A segment in which the thread was on the CPU nearly all the time counts whole.
//   - In any other segment the thread has slept: its CPU time counts, less a tenth of
//     the time it slept. For while it sleeps it wakes up ten times a second to look at
//     every peer (ThreadMessageHandler), and what interrupts and a hypervisor take
//     meanwhile seems to be the thread's.
//
// CPU times of two CPUs can't be compared to the microsecond; a segment in which the
// thread has moved counts without them.
//
// A message to another peer ends the work for this one, but for the messages whose
// processing itself sends to others (a new block).

// maxThreads bounds the threads that are followed; a node has one that handles
// messages, and its RPC threads touch the mempool.
const maxThreads = 64

const (
	// mostlyBusy is the time off the CPU in nanoseconds up to which a segment counts
	// as busy.
	mostlyBusy = 20_000
	// idleShare is the divisor for the part of the time asleep that is taken off.
	idleShare = 10
	// guessWithoutCPU is the longest segment in nanoseconds that counts as busy where
	// CPU times are not known.
	guessWithoutCPU = 1_000_000
)

// thread is the work that is under way on a thread.
type thread struct {
	open      bool
	of        decode.MessageType
	peer      peerKey
	last      int64
	lastCPU   uint64
	wall, cpu int64
	hasCPU    bool
	// on is the CPU of the last hit.
	on uint32
}

type service struct {
	threads map[uint64]*thread
}

func (v *service) init() { v.threads = make(map[uint64]*thread, maxThreads) }

// interrupt forgets what is under way, because hits were lost.
func (v *service) interrupt() { clear(v.threads) }

// hit takes the hit of an event of the tracepoints, of a process that was started at a
// time in UNIX nanoseconds. done is the work that has ended with it, if any, and peer the
// one whose message that was for.
func (v *service) hit(e *event.Event, d *decode.Event, start int64) (peer peerKey, done Service) {
	if d.Hit.TID == 0 || e.KernelTime == 0 {
		return peer, done
	}
	id := uint64(d.Hit.PID)<<32 | uint64(d.Hit.TID)
	t := v.threads[id]
	starts := d.Kind == event.KindMessage && d.Message.Inbound
	if t == nil {
		if !starts {
			return peer, done
		}
		if len(v.threads) >= maxThreads {
			// Threads of nodes that are gone.
			v.interrupt()
		}
		t = new(thread)
		v.threads[id] = t
	}
	if t.open {
		t.segment(e.KernelTime, d)
		if starts || (d.Kind == event.KindMessage && t.endedBy(start, &d.Message)) {
			peer, done = t.peer, Service{Valid: true, Type: t.of, Wall: t.wall, CPU: t.cpu, HasCPU: t.hasCPU}
			t.open = false
		}
	}
	if starts {
		*t = thread{
			open: true, of: d.Message.Type, peer: peerKey{start, d.Message.PeerID},
			last: e.KernelTime, lastCPU: d.Hit.ThreadCPUTime, on: d.Hit.CPU,
		}
		return peer, done
	}
	t.last, t.lastCPU, t.on = e.KernelTime, d.Hit.ThreadCPUTime, d.Hit.CPU
	return peer, done
}

// hits takes the hit of an event of the tracepoints, and notes for whom work was done.
func (s *State) hits(e *event.Event, d *decode.Event, o *Observation) {
	var peer peerKey
	peer, o.Service = s.service.hit(e, d, s.start)
	if !o.Service.Valid || !o.Service.HasCPU {
		return
	}
	if p := s.table.find(peer); p != nil {
		cpu := uint64(max(o.Service.CPU, 0)) / 1000
		p.cpu.add(s.now, cpu)
		p.cpuOf[o.Service.Type].add(s.now, cpu)
	}
}

// segment adds the time since the last hit.
func (t *thread) segment(now int64, d *decode.Event) {
	wall := max(now-t.last, 0)
	within := d.Kind != event.KindMessage || t.answers(&d.Message)
	t.hasCPU = t.hasCPU || (t.lastCPU != 0 && d.Hit.ThreadCPUTime != 0)
	if t.lastCPU == 0 || d.Hit.ThreadCPUTime == 0 || t.on != d.Hit.CPU {
		if within || wall <= guessWithoutCPU {
			t.wall += wall
		}
		return
	}
	cpu := min(max(int64(d.Hit.ThreadCPUTime-t.lastCPU), 0), wall)
	slept := wall - cpu
	switch {
	case within, slept <= max(mostlyBusy, wall/10):
		t.wall += wall
		t.cpu += cpu
	default:
		cpu = max(cpu-slept/idleShare, 0)
		t.wall += cpu
		t.cpu += cpu
	}
}

// answers is whether a sent message is of a type that the node sends only while it
// processes a message of that peer, not when it looks at all peers in between.
func (t *thread) answers(m *decode.Message) bool {
	if m.Inbound || m.PeerID != t.peer.id {
		return false
	}
	switch m.Type {
	case decode.MessagePong, decode.MessageTx, decode.MessageBlock, decode.MessageBlockTxn, decode.MessageMerkleBlock,
		decode.MessageNotFound, decode.MessageCFilter, decode.MessageCFHeaders, decode.MessageCFCheckpt,
		decode.MessageVersion, decode.MessageVerAck, decode.MessageGetBlockTxn:
		return true
	default:
		return false
	}
}

// endedBy is whether a sent message shows that the thread has turned to another peer.
func (t *thread) endedBy(start int64, m *decode.Message) bool {
	if t.peer == (peerKey{start, m.PeerID}) {
		return false
	}
	switch t.of {
	case decode.MessageBlock, decode.MessageCmpctBlock, decode.MessageBlockTxn, decode.MessageHeaders:
		return false
	default:
		return true
	}
}

package peerstate

import (
	"cmp"
	"slices"

	"github.com/peerobserver/peerobserver/exporters/decode"
	"github.com/peerobserver/peerobserver/proto/event"
)

// WorkTimes follows how long a node's message thread works for each peer, and nothing else
// of what State follows, for sinks that show it peer by peer. It belongs to one goroutine.
type WorkTimes struct {
	service service
	// now is the time of the newest event, start that of the node's process, in UNIX
	// nanoseconds.
	now, start       int64
	bootID, sequence uint64
	peers            map[uint64]*peerWork
}

// peerWork counts the work for one peer in the last minute, times in microseconds.
type peerWork struct {
	messages, wall, cpu minuteCount
	wallOf              [decode.MessageTypes]minuteCount
	hasCPU              bool
}

// PeerWork is the work for the messages of one peer in the last minute.
type PeerWork struct {
	// ID is Bitcoin Core's id of the peer, as getpeerinfo has it.
	ID       uint64
	Messages uint64
	// Wall and CPU are in seconds; CPU is valid if HasCPU says so.
	Wall, CPU float64
	HasCPU    bool
	// Type is the type of message with the most time, TypeWall that time in seconds.
	Type     decode.MessageType
	TypeWall float64
}

// NewWorkTimes makes an empty one.
func NewWorkTimes() *WorkTimes {
	w := &WorkTimes{peers: map[uint64]*peerWork{}}
	w.service.init()
	return w
}

// Observe takes the next event of the tracepoints, with what decode made of it.
func (w *WorkTimes) Observe(e *event.Event, d *decode.Event) {
	at := e.Time().UnixNano()
	if at > w.now && (w.now == 0 || at-w.now < maxLeap) {
		w.now = at
	}
	switch start := e.NodeStartTime; {
	case start != 0 && start < w.start:
		return // what is left of a process that has ended
	case start > w.start:
		// Ids of peers begin anew with the node's process.
		w.start = start
		w.service.interrupt()
		clear(w.peers)
	}
	if e.Sequence != 0 {
		if e.BootID == w.bootID && e.Sequence > w.sequence+1 {
			w.service.interrupt()
		}
		w.bootID, w.sequence = e.BootID, e.Sequence
	}
	if key, done := w.service.hit(e, d, w.start); done.Valid {
		w.add(key.id, &done)
	}
	if d.Kind == event.KindConnectionClosed {
		delete(w.peers, d.Connection.PeerID)
	}
}

func (w *WorkTimes) add(id uint64, done *Service) {
	p := w.peers[id]
	if p == nil {
		if len(w.peers) >= maxPeers {
			w.forget()
		}
		p = new(peerWork)
		w.peers[id] = p
	}
	wall := uint64(max(done.Wall, 0)) / 1000
	p.messages.add(w.now, 1)
	p.wall.add(w.now, wall)
	p.wallOf[done.Type].add(w.now, wall)
	if done.HasCPU {
		p.hasCPU = true
		p.cpu.add(w.now, uint64(max(done.CPU, 0))/1000)
	}
}

// forget drops the peers that were silent, whose end may have been lost, and any of the
// others if there are none.
func (w *WorkTimes) forget() {
	for id, p := range w.peers {
		if p.messages.rate(w.now) == 0 {
			delete(w.peers, id)
		}
	}
	for id := range w.peers {
		if len(w.peers) < maxPeers {
			return
		}
		delete(w.peers, id)
	}
}

// Now is the time of the newest event in UNIX nanoseconds.
func (w *WorkTimes) Now() int64 { return w.now }

// Peers lists the peers that sent messages in the last minute, those with the most time
// first.
func (w *WorkTimes) Peers() []PeerWork {
	list := make([]PeerWork, 0, len(w.peers))
	for id, p := range w.peers {
		// A minute that is half over holds half of what the one before counted.
		messages := uint64(p.messages.rate(w.now) + 0.5)
		if messages == 0 {
			delete(w.peers, id)
			continue
		}
		work := PeerWork{ID: id, Messages: messages, Wall: p.wall.rate(w.now) / 1e6, HasCPU: p.hasCPU}
		if p.hasCPU {
			work.CPU = p.cpu.rate(w.now) / 1e6
		}
		for t := range p.wallOf {
			if v := p.wallOf[t].rate(w.now) / 1e6; v > work.TypeWall {
				work.Type, work.TypeWall = decode.MessageType(t), v
			}
		}
		list = append(list, work)
	}
	slices.SortFunc(list, func(a, b PeerWork) int {
		return cmp.Or(cmp.Compare(b.Wall, a.Wall), cmp.Compare(a.ID, b.ID))
	})
	return list
}

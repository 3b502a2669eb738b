package node

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ChangeKind says what happened to the node that is being watched.
type ChangeKind string

// The kinds of change.
const (
	// Appeared: a node was found. After Vanished it may be the same node
	// restarted, upgraded, or another one that the options describe.
	Appeared ChangeKind = "appeared"
	// Vanished: the node's process has ended.
	Vanished ChangeKind = "vanished"
	// Updated: the file of the running program was replaced or deleted, as an
	// upgrade does before it restarts the node.
	Updated ChangeKind = "updated"
	// CookieChanged: the RPC cookie was written, rewritten or removed.
	CookieChanged ChangeKind = "cookie changed"
	// NotFound: no node can be chosen, for the reason in Change.Err. Reported
	// once for each reason.
	NotFound ChangeKind = "not found"
)

// Change is what Watch reports.
type Change struct {
	Kind ChangeKind
	// Node is the node after the change; nil for Vanished and NotFound. It is
	// not changed afterwards.
	Node *Node
	// Previous is the node before the change, if there was one.
	Previous *Node
	// Err is why there is none, with NotFound.
	Err error
}

// watchInterval is how often files are looked at while a node runs, and
// processes while none does.
const watchInterval = time.Second

// Watch finds the node that the options describe and keeps finding it: it calls
// report, from this goroutine, for every change until ctx ends. The end of the
// process is noticed at once, everything else within about a second. While a
// node runs this costs a few system calls a second; only while none runs are
// the names of all processes read.
//
// The error is that of options that can't be right, or ctx's.
func Watch(ctx context.Context, options Options, report func(Change)) error {
	return watch(ctx, options, watchInterval, report)
}

func watch(ctx context.Context, options Options, interval time.Duration, report func(Change)) error {
	f, err := newFinder(options)
	if err != nil {
		return err
	}
	w := &watcher{finder: f, interval: interval, report: report}
	for {
		n, cookie, err := w.await(ctx)
		if err != nil {
			return err
		}
		if err := w.follow(ctx, n, cookie); err != nil {
			return err
		}
	}
}

type watcher struct {
	finder   *finder
	interval time.Duration
	report   func(Change)
	last     *Node  // that vanished, nil before the first
	problem  string // last NotFound reported
}

// await returns when a node is there, with the state of its cookie at the time
// of the report: a change after that will be reported.
func (w *watcher) await(ctx context.Context) (*Node, fileState, error) {
	tick := time.NewTicker(w.interval)
	defer tick.Stop()
	for {
		n, err := w.finder.find(ctx)
		if err == nil {
			w.problem = ""
			cookie := cookieState(n)
			w.report(Change{Kind: Appeared, Node: n, Previous: w.last})
			return n, cookie, nil
		}
		if ctx.Err() != nil {
			return nil, fileState{}, ctx.Err()
		}
		if text := err.Error(); text != w.problem {
			w.problem = text
			w.report(Change{Kind: NotFound, Previous: w.last, Err: err})
		}
		select {
		case <-ctx.Done():
			return nil, fileState{}, ctx.Err()
		case <-tick.C:
		}
	}
}

// follow reports changes of a node until its process ends.
func (w *watcher) follow(ctx context.Context, n *Node, cookie fileState) error {
	ended, release := w.endOf(n)
	defer release()
	tick := time.NewTicker(w.interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ended:
			w.vanished(n)
			return nil
		case <-tick.C:
		}
		if n.PID == 0 {
			// Known by RPC alone so far; perhaps its process shows now.
			if found, err := w.finder.find(ctx); err == nil && found.PID != 0 {
				cookie := cookieState(found)
				w.report(Change{Kind: Appeared, Node: found, Previous: n})
				return w.follow(ctx, found, cookie)
			}
		} else {
			if ended == nil && !w.lives(n) {
				w.vanished(n)
				return nil
			}
			if updated := w.update(n); updated != nil {
				w.report(Change{Kind: Updated, Node: updated, Previous: n})
				n = updated
			}
		}
		if now := cookieState(n); now != cookie {
			cookie = now
			w.report(Change{Kind: CookieChanged, Node: n, Previous: n})
		}
	}
}

func (w *watcher) vanished(n *Node) {
	w.last = n
	w.report(Change{Kind: Vanished, Previous: n})
}

// lives reports whether the process of n still runs.
func (w *watcher) lives(n *Node) bool {
	stat, err := w.finder.proc.stat(n.PID)
	return err == nil && stat.alive() && stat.startTicks == n.StartTicks
}

// update returns the node as it is now if that differs, else nil.
func (w *watcher) update(n *Node) *Node {
	if n.ExecutableID == (FileID{}) {
		return nil
	}
	state := executableState(n.Executable, n.ExecutableID)
	if state == n.ExecutableState || state == ExecutableUnknown {
		return nil
	}
	updated := *n
	updated.ExecutableState = state
	return &updated
}

// cookieState is the zero fileState while there is no cookie.
func cookieState(n *Node) fileState {
	if n.CookieFile == "" {
		return fileState{}
	}
	info, err := os.Stat(n.CookieFile)
	if err != nil {
		return fileState{}
	}
	return stateOf(info)
}

// endOf returns a channel that is closed when the process ends, nil if the
// kernel doesn't tell (then the process must be looked at), and a function that
// releases what this needs.
func (w *watcher) endOf(n *Node) (<-chan struct{}, func()) {
	nothing := func() {}
	if n.PID == 0 || w.finder.proc.root != defaultProcRoot {
		return nil, nothing
	}
	// Non-blocking (Linux 5.10), the Go runtime waits for it like for a socket:
	// no thread is held.
	fd, err := unix.PidfdOpen(n.PID, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, nothing
	}
	file := os.NewFile(uintptr(fd), "pidfd")
	if !w.lives(n) {
		// The process ended, and perhaps its id is another's, before the open.
		file.Close()
		closed := make(chan struct{})
		close(closed)
		return closed, nothing
	}
	raw, err := file.SyscallConn()
	if err != nil || file.SetReadDeadline(time.Time{}) != nil {
		file.Close()
		return nil, nothing
	}
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		err := raw.Read(func(fd uintptr) bool {
			poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			count, err := unix.Poll(poll, 0)
			return err == nil && count == 1
		})
		if err == nil {
			close(ended)
		}
	}()
	return ended, func() {
		file.Close() // ends the read
		<-done
	}
}

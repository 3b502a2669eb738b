package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerobserver/peerobserver/agent/node"
	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// tracker keeps the observed node for the sources: which process it is now, and how to
// talk to it.
type tracker struct {
	options node.Options
	logger  *slog.Logger

	mu       sync.Mutex
	node     *node.Node
	client   *node.Client
	version  node.Version
	restarts uint64
	problem  error
}

func newTracker(options node.Options, logger *slog.Logger) *tracker {
	return &tracker{options: options, logger: logger}
}

// Run follows the node until ctx ends.
func (k *tracker) Run(ctx context.Context) error {
	changed := make(chan struct{}, 1)
	var versions sync.WaitGroup
	versions.Go(func() { k.askVersions(ctx, changed) })
	defer versions.Wait()
	err := node.Watch(ctx, k.options, func(change node.Change) {
		k.change(change)
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (k *tracker) change(change node.Change) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch change.Kind {
	case node.Appeared:
		if change.Previous != nil {
			k.restarts++
		}
		k.logger.Info("found the node", "node", change.Node)
		for _, missing := range change.Node.Missing {
			k.logger.Warn("not everything about the node could be found out", "what", missing.What, "reason", missing.Reason)
		}
	case node.Vanished:
		k.logger.Warn("the node ended; waiting for it to come back", "node", change.Previous)
	case node.Updated:
		k.logger.Info("the node's program file was replaced", "node", change.Node, "state", change.Node.ExecutableState)
	case node.CookieChanged:
		k.logger.Debug("the node's cookie changed", "node", change.Node)
	case node.NotFound:
		k.logger.Warn("no node yet", "err", change.Err)
	}
	k.problem = change.Err
	if change.Node != nil && change.Node.SameProcess(k.node) {
		// Its client knows how to read a new cookie.
		k.node = change.Node
		return
	}
	k.node = change.Node
	k.version = node.Version{}
	if k.client != nil {
		k.client.Close()
		k.client = nil
	}
	if k.node == nil {
		return
	}
	client, err := k.node.NewClient()
	if err != nil {
		k.logger.Error("no RPC client for the node", "err", err)
		k.problem = err
		return
	}
	k.client = client
}

// versionInterval is how often a node that doesn't answer yet is asked for its version.
const versionInterval = 2 * time.Second

// askVersions asks each node for its version, once it answers.
func (k *tracker) askVersions(ctx context.Context, changed <-chan struct{}) {
	for {
		wait := time.Duration(-1)
		if client := k.clientWithoutVersion(); client != nil {
			call, cancel := context.WithTimeout(ctx, versionInterval)
			version, err := client.Version(call)
			cancel()
			if err == nil {
				k.setVersion(client, version)
			} else {
				wait = versionInterval
			}
		}
		var again <-chan time.Time
		if wait > 0 {
			again = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-again:
		}
	}
}

func (k *tracker) clientWithoutVersion() *node.Client {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.version != (node.Version{}) {
		return nil
	}
	return k.client
}

func (k *tracker) setVersion(client *node.Client, version node.Version) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.client == client {
		k.version = version
	}
}

// current is the node as it is now, nil when there is none.
func (k *tracker) current() *node.Node {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.node
}

// rpc is the node's RPC client, nil when there is none.
func (k *tracker) rpc() *node.Client {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.client
}

// startTime is the UNIX time of the start of the node's process in nanoseconds, 0 when
// unknown.
func (k *tracker) startTime() int64 {
	if n := k.current(); n != nil && !n.StartTime.IsZero() {
		return n.StartTime.UnixNano()
	}
	return 0
}

func (k *tracker) chain() string {
	if n := k.current(); n != nil {
		return n.Chain
	}
	return ""
}

// logFile is the path of debug.log. It stays known while the node is being restarted.
func (k *tracker) logFile() string {
	if n := k.current(); n != nil {
		return n.LogFile
	}
	return ""
}

// belongs tells whether a process is the observed node, also before Watch has noticed
// it: it is when it is the one node that the options describe.
func (k *tracker) belongs(ctx context.Context, pid int) bool {
	found, err := node.FindAll(ctx, k.options)
	if err != nil {
		return false
	}
	if current := k.current(); current != nil && current.PID != pid {
		// Another process is the node; this one only runs the same program.
		for _, n := range found {
			if n.SameProcess(current) {
				return false
			}
		}
	}
	return len(found) == 1 && found[0].PID == pid
}

// startOf is the UNIX time of a process's start in nanoseconds, 0 when unknown.
func (k *tracker) startOf(ctx context.Context, pid int) int64 {
	found, err := node.FindAll(ctx, node.Options{PID: pid, ProcRoot: k.options.ProcRoot})
	if err != nil || len(found) != 1 || found[0].StartTime.IsZero() {
		return 0
	}
	return found[0].StartTime.UnixNano()
}

// status describes the node for the status event.
func (k *tracker) status() *eventpb.NodeStatus {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.node == nil {
		return nil
	}
	pid := uint32(max(k.node.PID, 0))
	// Copies: the event is encoded when the lock is no longer held.
	chain, version, restarts := k.node.Chain, k.version.Subversion, k.restarts
	status := &eventpb.NodeStatus{Pid: &pid, Chain: &chain, Version: &version, Restarts: &restarts}
	if !k.node.StartTime.IsZero() {
		start := k.node.StartTime.UnixNano()
		status.StartTimeNs = &start
	}
	if slots, known := k.node.InboundCapacity(k.version.Number); known {
		status.InboundCapacity = proto.Uint32(uint32(slots)) // at most 2³¹
	}
	return status
}

// findNode finds the node once, for commands that check and end. The error carries the
// exit code.
func findNode(ctx context.Context, options node.Options) (*node.Node, error) {
	found, err := node.Find(ctx, options)
	var several *node.SeveralError
	switch {
	case err == nil:
		return found, nil
	case errors.As(err, &several), errors.Is(err, node.ErrNotFound):
		return nil, withCode(exitNode, err)
	default:
		return nil, withCode(exitUsage, err)
	}
}

// Package regtest starts real Bitcoin nodes on regtest for tests and
// demonstrations: on loopback only, with no way to reach another host, gone
// when the process that started them is gone.
package regtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/peerobserver/peerobserver/agent/node"
)

// Config describes a node. Only Binary is required.
type Config struct {
	// Binary is the path of bitcoind.
	Binary string
	// Dir is the data directory; it is created. Empty for a temporary one that
	// Stop removes.
	Dir string
	// Args are added after our own arguments, so most of ours can be overridden.
	Args []string
	// V2 turns the BIP324 transport on. Off, a scripted peer that speaks v1
	// isn't tried with v2 first.
	V2 bool
	// AutomaticOutbound lets the node open connections by itself, to addresses
	// that it was told of. Leave it off outside a private network namespace:
	// those addresses may be other people's.
	AutomaticOutbound bool
	// Debug are the log categories (-debug=…), such as "net".
	Debug []string
	// StartTimeout bounds the time until RPC answers; default 60 s.
	StartTimeout time.Duration
}

// Node is a running regtest node. Its methods may be called from several
// goroutines, except that starting and stopping is for one at a time.
type Node struct {
	config  Config
	dir     string
	ownDir  bool // dir is a temporary one of ours
	process *process
	p2pPort int
	rpcPort int
	client  *node.Client

	coinsMutex sync.Mutex
	coins      coins
}

const (
	defaultStartTimeout = 60 * time.Second
	// Twice as long as Bitcoin Core itself waits for RPC connections to end.
	stopTimeout  = 60 * time.Second
	pollInterval = 20 * time.Millisecond
	portAttempts = 5
)

// Start starts a node and waits until its RPC answers.
func Start(ctx context.Context, config Config) (*Node, error) {
	if config.Binary == "" {
		return nil, errors.New("regtest: Config.Binary is empty")
	}
	if config.StartTimeout <= 0 {
		config.StartTimeout = defaultStartTimeout
	}
	n := &Node{config: config, dir: config.Dir}
	if n.dir == "" {
		dir, err := os.MkdirTemp("", "peer-observer-regtest-")
		if err != nil {
			return nil, fmt.Errorf("creating a data directory: %w", err)
		}
		n.dir, n.ownDir = dir, true
	}
	dir, err := filepath.Abs(n.dir)
	if err != nil {
		return nil, err
	}
	n.dir = dir
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating the data directory: %w", err)
	}
	if err := n.startOnFreePorts(ctx); err != nil {
		return nil, errors.Join(err, n.removeOwnDir())
	}
	return n, nil
}

// startOnFreePorts tries again with other ports where somebody took one
// between our look and the node's bind.
func (n *Node) startOnFreePorts(ctx context.Context) error {
	var err error
	for range portAttempts {
		var ports []int
		if ports, err = freePorts(2); err != nil {
			return err
		}
		n.p2pPort, n.rpcPort = ports[0], ports[1]
		if n.client, err = node.NewClient(node.ClientOptions{
			Address: n.RPCAddress(), CookieFile: n.CookieFile(),
		}); err != nil {
			return err
		}
		err = n.launch(ctx)
		if !errors.Is(err, errPortTaken) {
			break
		}
	}
	return err
}

var errPortTaken = errors.New("port taken")

// launch starts the process on the ports chosen and waits until it is ready.
func (n *Node) launch(ctx context.Context) error {
	// The cookie of an earlier run must not pass for that of this one.
	if err := os.Remove(n.CookieFile()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing an old cookie: %w", err)
	}
	process, err := startProcess(n.config.Binary, n.arguments(), n.dir)
	if err != nil {
		return err
	}
	n.process = process
	if err := n.waitReady(ctx); err != nil {
		process.kill()
		return err
	}
	return nil
}

// arguments is the node's command line. A regtest node of ours stays on
// loopback: no seeds, no port mapping, no outbound connections of its own.
func (n *Node) arguments() []string {
	args := []string{
		"-regtest",
		"-datadir=" + n.dir,
		"-bind=" + loopback(n.p2pPort),
		"-port=" + strconv.Itoa(n.p2pPort),
		"-rpcbind=127.0.0.1",
		"-rpcallowip=127.0.0.1",
		"-rpcport=" + strconv.Itoa(n.rpcPort),
		"-server=1",
		"-listen=1",
		"-dnsseed=0",
		"-fixedseeds=0",
		"-discover=0",
		"-listenonion=0",
		"-natpmp=0",
		// On by default on regtest, and costs most of a core under load.
		"-checkmempool=0",
		"-checkblockindex=0",
		"-persistmempool=0",
		"-fallbackfee=0.0001",
		"-printtoconsole=0",
		"-logtimemicros=1",
		"-dbcache=16",
		"-par=1",
		"-rpcthreads=4",
	}
	if n.config.V2 {
		args = append(args, "-v2transport=1")
	} else {
		args = append(args, "-v2transport=0")
	}
	if !n.config.AutomaticOutbound {
		args = append(args, "-connect=0")
	}
	for _, category := range n.config.Debug {
		args = append(args, "-debug="+category)
	}
	return append(args, n.config.Args...)
}

// waitReady returns once the node answers RPC calls.
func (n *Node) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, n.config.StartTimeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	var last error
	for {
		if last = n.client.Call(ctx, "getblockcount", nil, nil); last == nil && n.process.running() {
			return nil
		}
		select {
		case <-n.process.exited:
			output := n.process.output.String() + n.LogTail(20)
			if strings.Contains(output, "Unable to bind to") || strings.Contains(output, "Unable to bind any endpoint") ||
				strings.Contains(output, "Unable to start HTTP server") {
				return fmt.Errorf("%w: %s", errPortTaken, output)
			}
			return fmt.Errorf("%s ended before it was ready (%s):\n%s", n.config.Binary, n.process.outcome(), output)
		case <-ctx.Done():
			return fmt.Errorf("node not ready: %w\n%s", errors.Join(ctx.Err(), last), n.LogTail(20))
		case <-tick.C:
		}
	}
}

// Call calls an RPC method; see node.Client.Call.
func (n *Node) Call(ctx context.Context, method string, params, result any) error {
	return n.client.Call(ctx, method, params, result)
}

// RPC is the client that Call uses.
func (n *Node) RPC() *node.Client { return n.client }

// PID is the process id of the node, of the last run if it was stopped.
func (n *Node) PID() int { return n.process.pid() }

// Running reports whether the process lives.
func (n *Node) Running() bool { return n.process.running() }

// Exited is closed when the present process has ended.
func (n *Node) Exited() <-chan struct{} { return n.process.exited }

// Binary is the path of the node's program.
func (n *Node) Binary() string { return n.config.Binary }

// DataDir is the -datadir.
func (n *Node) DataDir() string { return n.dir }

// NetworkDir is the directory of the chain, inside DataDir.
func (n *Node) NetworkDir() string { return filepath.Join(n.dir, "regtest") }

// LogFile is the path of debug.log.
func (n *Node) LogFile() string { return filepath.Join(n.NetworkDir(), "debug.log") }

// CookieFile is the path of the RPC cookie.
func (n *Node) CookieFile() string { return filepath.Join(n.NetworkDir(), ".cookie") }

// P2PAddress is the HOST:PORT where the node accepts P2P connections.
func (n *Node) P2PAddress() string { return loopback(n.p2pPort) }

// RPCAddress is the HOST:PORT of the JSON-RPC server.
func (n *Node) RPCAddress() string { return loopback(n.rpcPort) }

// Kill ends the node at once, as a crash would. The data directory stays.
func (n *Node) Kill() {
	n.process.kill()
	n.client.Close()
}

// Stop shuts the node down, killing it if that takes longer than 60 s or ctx,
// and removes the data directory if that is a temporary one. The error says
// that it had to be killed or that something was left.
func (n *Node) Stop(ctx context.Context) error {
	// The node would wait for connections on which nothing was asked yet.
	n.client.Close()
	err := n.process.stop(ctx, stopTimeout)
	n.client.Close()
	return errors.Join(err, n.removeOwnDir())
}

func (n *Node) removeOwnDir() error {
	if !n.ownDir {
		return nil
	}
	return os.RemoveAll(n.dir)
}

// Restart shuts the node down (or starts it again after Kill) on the same ports
// and data directory.
func (n *Node) Restart(ctx context.Context) error { return n.RestartWith(ctx, nil) }

// RestartWith is Restart with the configuration changed by change; Dir stays.
func (n *Node) RestartWith(ctx context.Context, change func(*Config)) error {
	n.client.Close()
	if err := n.process.stop(ctx, stopTimeout); err != nil {
		return err
	}
	n.client.Close()
	if change != nil {
		dir := n.config.Dir
		change(&n.config)
		n.config.Dir = dir
	}
	return n.launch(ctx)
}

// LogTail returns the last lines of debug.log, at most n of them.
func (n *Node) LogTail(lines int) string { return lastLines(n.LogFile(), lines) }

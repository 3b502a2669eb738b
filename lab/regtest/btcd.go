package regtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/peerobserver/peerobserver/lab/bitcoind"
)

// BtcdConfig describes a btcd peer on regtest.
type BtcdConfig struct {
	// Binaries are the programs to run; see bitcoind.Btcd.
	Binaries bitcoind.BtcdBinaries
	// Dir is for its data and logs; empty for a temporary one that Stop removes.
	Dir string
	// Connect are addresses (HOST:PORT) it keeps connections to; none by default.
	Connect []string
	// V2 turns the BIP324 transport on.
	V2 bool
	// Args are added at the end.
	Args []string
}

// Btcd is a running btcd.
type Btcd struct {
	config  BtcdConfig
	dir     string
	ownDir  bool
	process *process
	p2pPort int
	rpcPort int
}

// The RPC login is good for one process on loopback that holds no value.
const btcdUser, btcdPassword = "regtest", "regtest"

// StartBtcd starts a btcd and waits until its RPC answers.
func StartBtcd(ctx context.Context, config BtcdConfig) (*Btcd, error) {
	b := &Btcd{config: config, dir: config.Dir}
	if b.dir == "" {
		dir, err := os.MkdirTemp("", "peer-observer-btcd-")
		if err != nil {
			return nil, fmt.Errorf("creating a data directory: %w", err)
		}
		b.dir, b.ownDir = dir, true
	}
	var err error
	for range portAttempts {
		var ports []int
		if ports, err = freePorts(2); err != nil {
			break
		}
		b.p2pPort, b.rpcPort = ports[0], ports[1]
		if b.process, err = startProcess(config.Binaries.Btcd, b.arguments(), b.dir); err != nil {
			break
		}
		if err = b.waitReady(ctx); !errors.Is(err, errPortTaken) {
			break
		}
		b.process.kill()
	}
	if err != nil {
		if b.process != nil {
			b.process.kill()
		}
		return nil, errors.Join(err, b.removeOwnDir())
	}
	return b, nil
}

func (b *Btcd) arguments() []string {
	args := []string{
		"--regtest",
		"--configfile=" + os.DevNull,
		"--datadir=" + filepath.Join(b.dir, "data"),
		"--logdir=" + filepath.Join(b.dir, "logs"),
		"--rpccert=" + filepath.Join(b.dir, "rpc.cert"),
		"--rpckey=" + filepath.Join(b.dir, "rpc.key"),
		"--listen=" + loopback(b.p2pPort),
		"--rpclisten=" + loopback(b.rpcPort),
		"--rpcuser=" + btcdUser,
		"--rpcpass=" + btcdPassword,
		"--notls",
		"--nodnsseed",
	}
	if b.config.V2 {
		args = append(args, "--v2transport")
	}
	for _, address := range b.config.Connect {
		// A host named with --connect would turn listening off; --addpeer doesn't.
		args = append(args, "--addpeer="+address)
	}
	return append(args, b.config.Args...)
}

func (b *Btcd) waitReady(ctx context.Context) error {
	return Eventually(ctx, func() error {
		if !b.process.running() {
			output := b.process.output.String()
			if strings.Contains(output, "address already in use") {
				return stopWaiting{fmt.Errorf("%w: %s", errPortTaken, output)}
			}
			return stopWaiting{fmt.Errorf("btcd ended before it was ready (%s):\n%s", b.process.outcome(), output)}
		}
		return b.Call(ctx, nil, "getblockcount")
	})
}

// Call runs a btcctl command, such as "getpeerinfo", and decodes its JSON into
// result, a pointer, or drops it where result is nil.
func (b *Btcd) Call(ctx context.Context, result any, command string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	argv := append([]string{
		"--regtest", "--notls", "--configfile=" + os.DevNull,
		"--rpcserver=" + loopback(b.rpcPort), "--rpcuser=" + btcdUser, "--rpcpass=" + btcdPassword,
		command,
	}, args...)
	cmd := exec.CommandContext(ctx, b.config.Binaries.Btcctl, argv...)
	cmd.Env = append(os.Environ(), "HOME="+b.dir) // it makes a directory there
	output, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			return fmt.Errorf("btcctl %s: %w: %s", command, err, strings.TrimSpace(string(exit.Stderr)))
		}
		return fmt.Errorf("btcctl %s: %w", command, err)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(output, result); err != nil {
		return fmt.Errorf("btcctl %s: %w", command, err)
	}
	return nil
}

// P2PAddress is the HOST:PORT where btcd accepts P2P connections.
func (b *Btcd) P2PAddress() string { return loopback(b.p2pPort) }

// PID is the process id.
func (b *Btcd) PID() int { return b.process.pid() }

// LogTail returns the last lines that btcd logged.
func (b *Btcd) LogTail(lines int) string {
	return lastLines(filepath.Join(b.dir, "logs", "regtest", "btcd.log"), lines)
}

// Stop ends btcd, killing it if that takes longer than 60 s or ctx.
func (b *Btcd) Stop(ctx context.Context) error {
	return errors.Join(b.process.stop(ctx, stopTimeout), b.removeOwnDir())
}

func (b *Btcd) removeOwnDir() error {
	if !b.ownDir {
		return nil
	}
	return os.RemoveAll(b.dir)
}

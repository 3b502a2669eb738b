package scenario

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/peerobserver/peerobserver/agent/node"
)

// Target is the node on which scenarios run, and what is beside it.
type Target struct {
	// RPC calls the node.
	RPC *node.Client
	// P2PAddress is the HOST:PORT where it accepts connections; on loopback.
	P2PAddress string
	// OnionAddress is the HOST:PORT where it accepts connections that count as from Tor; on
	// loopback, empty where there is none.
	OnionAddress string
	// PID gives the present process id of the node; nil where it isn't known.
	PID func() int
	// Restart starts the node again after it was killed, or waits for something else to
	// do so, and returns when RPC answers; nil where nothing does.
	Restart func(context.Context) error
	// AgentPID is the process id of the agent that observes the node; 0 where it isn't
	// known.
	AgentPID int
	// CookieFile is the node's RPC cookie; empty where it has none.
	CookieFile string
	// TimeScale divides every span of time that a rule looks at, for rules that were
	// scaled by the same number (alerts.Scale); 1 for the rules as they are.
	TimeScale float64

	// down is the longest time that the node was down for a background.
	down   time.Duration
	purse  purse
	beyond beyond
	// mining is held while a block is made and becomes the tip: of two that are made on the
	// same block at the same time one is lost, with its coins.
	mining sync.Mutex
}

// ErrRefused says that scenarios don't run on this target.
var ErrRefused = errors.New("scenarios run on a regtest node on loopback only")

// check refuses what isn't the operator's own regtest node.
func (t *Target) check(ctx context.Context, needs Needs) error {
	if t.RPC == nil {
		return errors.New("no RPC client")
	}
	addresses := map[string]string{"P2P": t.P2PAddress, "RPC": t.RPC.Address()}
	if t.OnionAddress != "" {
		addresses["onion"] = t.OnionAddress
	}
	for name, address := range addresses {
		parsed, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%w: %s address %q is no IP:PORT", ErrRefused, name, address)
		}
		if !parsed.Addr().Unmap().IsLoopback() {
			return fmt.Errorf("%w: %s address %s is not on loopback", ErrRefused, name, address)
		}
	}
	var info struct {
		Chain string `json:"chain"`
	}
	if err := t.RPC.Call(ctx, "getblockchaininfo", nil, &info); err != nil {
		return err
	}
	if info.Chain != "regtest" {
		return fmt.Errorf("%w: the chain of this one is %q", ErrRefused, info.Chain)
	}
	switch {
	case needs&NeedsProcess != 0 && t.PID == nil:
		return errors.New("the process of the node isn't known")
	case needs&NeedsRestart != 0 && t.Restart == nil:
		return errors.New("nothing starts the node again after it was killed")
	case needs&NeedsAgent != 0 && t.AgentPID <= 0:
		return errors.New("the process of the agent isn't known (--agent.pid)")
	case needs&NeedsCookie != 0 && t.CookieFile == "":
		return errors.New("the node has no cookie file")
	case needs&NeedsOnion != 0 && t.OnionAddress == "":
		return errors.New("the node takes no connections as from Tor (-bind=127.0.0.1:PORT=onion)")
	case needs&NeedsNamespace != 0:
		return CheckNamespace()
	}
	return nil
}

// span is a span of time of a rule, in this target's time.
func (t *Target) span(d time.Duration) time.Duration {
	if t.TimeScale <= 0 {
		return d
	}
	return time.Duration(float64(d) / t.TimeScale)
}

// wait waits for a span of a rule's time.
func (t *Target) wait(ctx context.Context, d time.Duration) error {
	return pause(ctx, t.span(d))
}

// pause waits for a time as it is.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// stopped holds a process still while do runs. It goes on in any case.
func stopped(pid int, do func() error) error {
	if pid <= 1 {
		return fmt.Errorf("process %d is not one to stop", pid)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stopping process %d: %w", pid, err)
	}
	err := do()
	if goOn := syscall.Kill(pid, syscall.SIGCONT); goOn != nil {
		err = errors.Join(err, fmt.Errorf("letting process %d go on: %w", pid, goOn))
	}
	return err
}

// kill ends the node at once, as a crash would: the blocks that it hasn't flushed to disk
// are lost, and with them the coins that they made.
func (t *Target) kill() error {
	pid := t.PID()
	if pid <= 1 {
		return fmt.Errorf("process %d is not one to kill", pid)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("killing the node: %w", err)
	}
	t.purse.mu.Lock()
	defer t.purse.mu.Unlock()
	t.purse.coins = nil
	return nil
}

// withCookie puts something else into the cookie file while do runs.
func (t *Target) withCookie(content string, do func() error) error {
	right, err := os.ReadFile(t.CookieFile)
	if err != nil {
		return err
	}
	if err := os.WriteFile(t.CookieFile, []byte(content), 0o600); err != nil {
		return err
	}
	err = do()
	return errors.Join(err, os.WriteFile(t.CookieFile, right, 0o600))
}

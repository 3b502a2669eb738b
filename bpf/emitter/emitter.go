// Package emitter builds and drives a small C program that fires Bitcoin Core's
// tracepoints on command: same names, argument types and semaphores, no node. It
// lets tests and benchmarks reach the whole path from tracepoint to event on any
// machine, with payloads, strings, threads and rates of their choice.
package emitter

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Linkage says how the program is linked.
type Linkage uint8

const (
	Dynamic Linkage = iota
	// Static needs no libraries, as in a bare initramfs.
	Static
)

// Build compiles the emitter into dir and returns its path. It needs a C compiler
// (cc) and sys/sdt.h (Debian: gcc, systemtap-sdt-dev).
func Build(ctx context.Context, dir string, l Linkage) (string, error) {
	src := filepath.Join(dir, "emitter.c")
	if err := os.WriteFile(src, []byte(source), 0o644); err != nil {
		return "", fmt.Errorf("write emitter source: %w", err)
	}
	out := filepath.Join(dir, "emitter")
	args := []string{"-O2", "-pthread", "-o", out, src}
	if l == Static {
		args = append([]string{"-static"}, args...)
	}
	if msg, err := exec.CommandContext(ctx, "cc", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile emitter (needs gcc and systemtap-sdt-dev): %w: %s", err, msg)
	}
	return out, nil
}

//go:embed c/emitter.c
var source string

// Process is a running emitter. Its methods may not be called concurrently,
// except Kill.
type Process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader

	once sync.Once
	err  error
}

// Start starts the emitter at path.
func Start(path string) (*Process, error) {
	cmd := exec.Command(path)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start emitter: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start emitter: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start emitter: %w", err)
	}
	p := &Process{cmd: cmd, in: in, out: bufio.NewReader(out)}
	if answer, err := p.Do("ping"); err != nil || answer != "pong" {
		return nil, errors.Join(fmt.Errorf("emitter answered %q: %w", answer, err), p.Kill())
	}
	return p, nil
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Do sends one command and returns the answer. See c/emitter.c for commands.
func (p *Process) Do(format string, args ...any) (string, error) {
	command := fmt.Sprintf(format, args...)
	if _, err := io.WriteString(p.in, command+"\n"); err != nil {
		return "", fmt.Errorf("command emitter: %w", err)
	}
	answer, err := p.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("read answer of emitter: %w", err)
	}
	answer = strings.TrimSuffix(answer, "\n")
	if strings.HasPrefix(answer, "error") {
		return "", fmt.Errorf("emitter refused %.80q: %s", command, answer)
	}
	return answer, nil
}

// Result is the answer to a fire command.
type Result struct {
	Fired, Skipped uint64
	CPU            time.Duration // of all threads
	Wall           time.Duration // of the longest thread
}

// Fire sends "fire" with the rest of the command and returns the result.
func (p *Process) Fire(format string, args ...any) (Result, error) {
	answer, err := p.Do("fire "+format, args...)
	if err != nil {
		return Result{}, err
	}
	var r Result
	if _, err := fmt.Sscanf(answer, "done fired=%d skipped=%d cpu_ns=%d wall_ns=%d",
		&r.Fired, &r.Skipped, &r.CPU, &r.Wall); err != nil {
		return Result{}, fmt.Errorf("answer %q of emitter: %w", answer, err)
	}
	return r, nil
}

// Semaphore returns the value of a tracepoint's semaphore.
func (p *Process) Semaphore(probe string) (int, error) {
	answer, err := p.Do("semaphore %s", probe)
	if err != nil {
		return 0, err
	}
	var n int
	if _, err := fmt.Sscanf(answer, "semaphore %d", &n); err != nil {
		return 0, fmt.Errorf("answer %q of emitter: %w", answer, err)
	}
	return n, nil
}

// Close lets the emitter end by itself and waits for it.
func (p *Process) Close() error {
	p.once.Do(func() {
		p.err = errors.Join(p.in.Close(), p.cmd.Wait())
	})
	return p.err
}

// Kill ends the emitter with SIGKILL and waits for it.
func (p *Process) Kill() error {
	err := p.cmd.Process.Kill()
	p.once.Do(func() { _ = p.cmd.Wait() })
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Random returns the size bytes that the emitter makes of a seed.
func Random(seed uint64, size int) []byte {
	b := make([]byte, size+8)
	x := seed*0x9E3779B97F4A7C15 + 1
	for i := 0; i < size; i += 8 {
		x ^= x >> 12
		x ^= x << 25
		x ^= x >> 27
		binary.LittleEndian.PutUint64(b[i:], x*0x2545F4914F6CDD1D)
	}
	return b[:size:size]
}

// Payload returns the payload of the n-th hit of a thread, counted from 0.
func Payload(seed uint64, size int, n uint64) []byte {
	b := Random(seed, size)
	if size >= 8 {
		binary.LittleEndian.PutUint64(b, n)
	}
	return b
}

// Hash returns the first (1) or second (2) 32-byte hash that goes with a seed.
func Hash(seed uint64, which int) [32]byte {
	return [32]byte(Random(seed+uint64(which), 32))
}

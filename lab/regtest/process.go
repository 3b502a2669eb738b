package regtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// process is a child that doesn't outlive us: the kernel kills it when this
// process ends in whatever way, SIGKILL included.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // of Wait, valid once exited is closed
	output *tail // standard output and error
}

// startProcess starts a program with its output kept, bounded.
func startProcess(path string, args []string, dir string) (*process, error) {
	p := &process{exited: make(chan struct{}), output: &tail{limit: 32 << 10}}
	p.cmd = exec.Command(path, args...)
	p.cmd.Dir = dir
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.WaitDelay = 5 * time.Second
	p.cmd.SysProcAttr = &syscall.SysProcAttr{
		// A group of its own: Ctrl-C at a terminal reaches us, and we stop the
		// node in an orderly way instead of both at once.
		Setpgid:   true,
		Pdeathsig: syscall.SIGKILL,
	}
	started := make(chan error, 1)
	go func() {
		// The kernel sends Pdeathsig when the *thread* that forked ends, so
		// that thread must live as long as the child: this goroutine keeps it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", path, err)
	}
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// outcome says how the process ended, such as "exit status 1".
func (p *process) outcome() string { return p.cmd.ProcessState.String() }

// kill ends the process at once and waits until it is gone.
func (p *process) kill() {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return
	}
	<-p.exited
}

// stop asks the process to end and kills it if it takes longer than grace or
// ctx. It reports a process that had to be killed.
func (p *process) stop(ctx context.Context, grace time.Duration) error {
	if !p.running() {
		return nil
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.kill()
		return fmt.Errorf("stopping process %d: %w", p.pid(), err)
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.exited:
		return nil
	case <-ctx.Done():
	case <-timer.C:
	}
	p.kill()
	return fmt.Errorf("process %d did not end on SIGTERM and was killed", p.pid())
}

// tail keeps the last bytes written to it.
type tail struct {
	mutex sync.Mutex
	limit int
	data  []byte
}

var _ io.Writer = (*tail)(nil)

func (t *tail) Write(p []byte) (int, error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.data = append(t.data, p...)
	if excess := len(t.data) - t.limit; excess > 0 {
		t.data = append(t.data[:0], t.data[excess:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return string(t.data)
}

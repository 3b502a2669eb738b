package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/alecthomas/kingpin/v2"

	"github.com/peerobserver/peerobserver/lab/scenario"
)

// envNamespace says to a process that it was started in a new network namespace.
const envNamespace = "PEER_OBSERVER_LAB_NAMESPACE"

// registerLabNamespace declares the command in whose namespace scenarios with many source
// addresses run.
func registerLabNamespace(clause *kingpin.CmdClause, handlers map[string]handler) {
	namespace := clause.Command("namespace", "Run a command, such as a shell, in a network namespace with the loopback interface only, for scenarios with many addresses; needs root. Start node, agent and Prometheus in it.")
	command := namespace.Arg("command", "The command and its arguments, after --.").Required().Strings()
	handlers[namespace.FullCommand()] = func(ctx context.Context, env *environment) error {
		if os.Getenv(envNamespace) == "" {
			return enterNamespace(ctx, env, *command)
		}
		if err := scenario.OpenNamespace(); err != nil {
			return err
		}
		return passOn(ctx, env, exec.CommandContext(ctx, (*command)[0], (*command)[1:]...))
	}
}

// enterNamespace executes this program again in a new namespace.
func enterNamespace(ctx context.Context, env *environment, command []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	child := exec.CommandContext(ctx, self, append([]string{"lab", "namespace", "--"}, command...)...)
	child.Env = append(os.Environ(), envNamespace+"=1")
	scenario.InNewNamespace(child)
	child.SysProcAttr.Pdeathsig = syscall.SIGTERM
	// The signal is sent when the thread ends that has made the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err = passOn(ctx, env, child)
	if errors.Is(err, syscall.EPERM) {
		return fmt.Errorf("making a network namespace: %w: run it as root", err)
	}
	return err
}

func passOn(_ context.Context, env *environment, command *exec.Cmd) error {
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, env.stdout, env.stderr
	// An interrupt at the terminal reaches the command itself.
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	return command.Run()
}

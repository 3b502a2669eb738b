package main

import (
	"fmt"
	"log/slog"

	"kernel.org/pub/linux/libs/security/libcap/cap"

	"github.com/peerobserver/peerobserver/bpf"
)

// neededAfterAttach are the capabilities that a running agent may need again: to find
// the program, log and cookie of a node of another user after it was restarted, and to
// listen on a low port again.
func neededAfterAttach(link bpf.LinkKind) []cap.Value {
	needed := []cap.Value{cap.DAC_READ_SEARCH, cap.SYS_PTRACE, cap.NET_BIND_SERVICE}
	if link == bpf.PerfEvent {
		// Without uprobe_multi links, attaching to a replaced program needs it again.
		needed = append(needed, cap.SYS_ADMIN)
	}
	return needed
}

// dropCapabilities gives up every capability but those that are needed after the first
// attachment and says what is left. Loading needed CAP_BPF and CAP_PERFMON; attaching
// the loaded program to another file by uprobe_multi doesn't.
func dropCapabilities(link bpf.LinkKind, logger *slog.Logger) {
	before := cap.GetProc()
	after := cap.NewSet()
	for _, c := range neededAfterAttach(link) {
		if held, err := before.GetFlag(cap.Permitted, c); err != nil || !held {
			continue
		}
		for _, flag := range []cap.Flag{cap.Permitted, cap.Effective} {
			if err := after.SetFlag(flag, true, c); err != nil {
				logger.Warn("capabilities are kept", "err", err)
				return
			}
		}
	}
	if err := after.SetProc(); err != nil {
		logger.Warn("capabilities are kept", "err", fmt.Errorf("giving them up: %w", err))
		return
	}
	logger.Info("gave up capabilities that are not needed any more", "before", before, "now", cap.GetProc())
}

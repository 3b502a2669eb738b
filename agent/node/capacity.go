package node

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Connections by which the inbound slots are fewer than the automatic connections
// (net.h: MAX_OUTBOUND_FULL_RELAY_CONNECTIONS, MAX_BLOCK_RELAY_ONLY_CONNECTIONS,
// MAX_FEELER_CONNECTIONS).
const (
	outboundFullRelay = 8
	outboundBlockOnly = 2
	feelers           = 1
)

// The -maxconnections of a node that isn't told any (net.h, DEFAULT_MAX_PEER_CONNECTIONS).
const (
	defaultConnections   = 125
	defaultConnections32 = 200 // from Bitcoin Core 32 on
	version32            = 320000
)

// File descriptors that a node keeps for other things than automatic connections
// (init.cpp): its databases, a file of captured messages, and manual connections. The
// sockets that it listens on come on top.
const reservedDescriptors = 150 + 1 + 8

// connectionLimits are what decides how many connections a node takes.
type connectionLimits struct {
	// known: the node's command line and bitcoin.conf could be read.
	known bool
	// maximum is -maxconnections; unset where the node wasn't told any.
	maximum int64
	unset   bool
	// byDescriptors is how many automatic connections the process's file descriptors
	// allow; math.MaxInt64 where that isn't known.
	byDescriptors int64
}

// InboundCapacity is how many inbound connections the node can have at once: 114 by
// default up to Bitcoin Core 31, 189 from 32 on, none if it doesn't listen. version is
// the node's, as getnetworkinfo gives it, or 0 if it isn't known. The capacity is not
// known (false) where the node's process or its settings can't be read, and where it
// runs with the default of a version that isn't known. A program made from sources
// between two releases counts as the earlier one.
//
// A node with few file descriptors takes fewer. That is known from the limit of its
// process, as it is now: one that was changed from outside after the node's start, and
// a version that keeps other numbers of descriptors for itself, make it wrong. Peers
// with the permission noban and manual connections don't add to it: the former take
// inbound slots like everybody, the latter have slots of their own.
func (n *Node) InboundCapacity(version int) (slots int, known bool) {
	l := n.limits
	switch {
	case !l.known:
		return 0, false
	case !n.Listens:
		return 0, true
	case l.unset && version <= 0:
		return 0, false
	}
	automatic := l.maximum
	if l.unset {
		automatic = defaultConnections
		if version >= version32 {
			automatic = defaultConnections32
		}
	}
	automatic = min(automatic, l.byDescriptors, math.MaxInt32)
	return int(max(0, automatic-outboundFullRelay-outboundBlockOnly-feelers)), true
}

// capacity finds what limits the node's connections (init.cpp, AppInitParameterInteraction).
// A node of which no process is seen may have been started with other settings than its
// files say.
func (in *inspector) capacity() {
	n, s := in.node, in.settings
	if _, known := paramsOf(n.Chain); !known || n.PID == 0 {
		return
	}
	_, set := s.get(n.Chain, "maxconnections")
	if in.confUnread && len(s.commandLine["maxconnections"]) == 0 {
		return
	}
	limits := connectionLimits{
		known: true, unset: !set, byDescriptors: math.MaxInt64,
		maximum: leadingInt(s.text(n.Chain, "maxconnections", "")),
	}
	wanted := min(limits.maximum, math.MaxInt32)
	if limits.unset {
		wanted = defaultConnections32 // at most, whatever the version
	}
	sockets := len(s.list(n.Chain, "bind")) + len(s.list(n.Chain, "whitebind"))
	reserved := int64(reservedDescriptors + max(sockets, 1))
	soft, hard, err := in.proc.openFiles(n.PID)
	if err != nil {
		n.miss("limit of file descriptors", "%v", err)
	} else {
		// The node raises its own limit as far as it needs and may, perhaps later than now.
		limits.byDescriptors = max(soft, min(hard, wanted+reserved)) - reserved
	}
	n.limits = limits
}

// openFiles are the soft and the hard limit of file descriptors of a process, which
// every user may read (getrlimit(2), RLIMIT_NOFILE; proc(5), limits).
func (p procfs) openFiles(pid int) (soft, hard int64, err error) {
	data, err := p.read(p.path(pid, "limits"))
	if err != nil {
		return 0, 0, fmt.Errorf("limits of the process: %s", cause(err))
	}
	for line := range strings.Lines(string(data)) {
		rest, found := strings.CutPrefix(line, "Max open files")
		if !found {
			continue
		}
		fields := strings.Fields(rest)
		if len(fields) < 2 {
			break
		}
		if soft, err = limit(fields[0]); err != nil {
			return 0, 0, err
		}
		if hard, err = limit(fields[1]); err != nil {
			return 0, 0, err
		}
		return soft, hard, nil
	}
	return 0, 0, errors.New("limits of the process: no line about open files")
}

func limit(text string) (int64, error) {
	if text == "unlimited" {
		return math.MaxInt32, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("limits of the process: %q is no number of files", text)
	}
	return min(n, math.MaxInt32), nil
}

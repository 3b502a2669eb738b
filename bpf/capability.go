package bpf

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Capability is one of Linux's capabilities, by its number.
type Capability uint8

// The capabilities that matter here, from include/uapi/linux/capability.h.
const (
	CapDACReadSearch Capability = 2
	CapSysPtrace     Capability = 19
	CapSysAdmin      Capability = 21
	CapPerfmon       Capability = 38
	CapBPF           Capability = 39
)

func (c Capability) String() string {
	switch c {
	case CapDACReadSearch:
		return "CAP_DAC_READ_SEARCH"
	case CapSysPtrace:
		return "CAP_SYS_PTRACE"
	case CapSysAdmin:
		return "CAP_SYS_ADMIN"
	case CapPerfmon:
		return "CAP_PERFMON"
	case CapBPF:
		return "CAP_BPF"
	}
	return fmt.Sprintf("capability %d", uint8(c))
}

// Cost says what the capability lets a process do, so that an operator can judge
// whether to grant it.
func (c Capability) Cost() string {
	switch c {
	case CapDACReadSearch:
		return "lets the process read any file"
	case CapSysPtrace:
		return "lets the process inspect and control processes of other users"
	case CapSysAdmin:
		return "lets the process do nearly everything root can"
	case CapPerfmon:
		return "lets eBPF programs of the process read the memory of kernel and processes"
	case CapBPF:
		return "lets the process load eBPF programs"
	}
	return ""
}

// CapabilityError says that an operation was refused for want of privilege.
type CapabilityError struct {
	Op string
	// Missing are the capabilities that would help and are not effective now.
	// It is empty if all are there and the kernel refused all the same.
	Missing []Capability
	// UserNamespace says that the process is in a user namespace, where
	// capabilities count for nothing in this matter.
	UserNamespace bool
	Err           error
}

func (e *CapabilityError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: not permitted: ", e.Op)
	switch {
	case e.UserNamespace:
		b.WriteString("the process is in a user namespace, and capabilities there don't count: run it in the initial one")
	case len(e.Missing) == 0:
		b.WriteString("the needed capabilities are there, so a security module or lockdown refuses")
	default:
		for i, c := range e.Missing {
			if i > 0 {
				b.WriteString(" and ")
			}
			fmt.Fprintf(&b, "missing %v (%s)", c, c.Cost())
		}
	}
	return b.String()
}

func (e *CapabilityError) Unwrap() error { return e.Err }

// capabilityError keeps of the wanted capabilities those that are not effective.
func capabilityError(op string, err error, wanted ...Capability) *CapabilityError {
	e := &CapabilityError{Op: op, Err: err}
	have, known := effectiveCapabilities()
	for _, c := range wanted {
		if !known || have&(1<<c) == 0 {
			e.Missing = append(e.Missing, c)
		}
	}
	e.UserNamespace = len(e.Missing) == 0 && inUserNamespace()
	return e
}

// effectiveCapabilities reads the set of the calling thread as a bit mask.
func effectiveCapabilities() (set uint64, ok bool) {
	f, err := os.Open("/proc/thread-self/status")
	if err != nil {
		return 0, false
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, found := strings.CutPrefix(s.Text(), "CapEff:"); found {
			set, err = strconv.ParseUint(strings.TrimSpace(v), 16, 64)
			return set, err == nil
		}
	}
	return 0, false
}

// inUserNamespace reports whether user ids are mapped otherwise than in the
// initial user namespace.
func inUserNamespace() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return false
	}
	f := strings.Fields(string(b))
	return len(f) != 3 || f[0] != "0" || f[1] != "0" || f[2] != "4294967295"
}

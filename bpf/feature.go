package bpf

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
)

// UnsupportedError says that the kernel lacks something that can't be done
// without.
type UnsupportedError struct {
	Missing string
	Err     error
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("needs Linux 6.1 or newer: this kernel is missing %s", e.Missing)
}

func (e *UnsupportedError) Unwrap() error { return e.Err }

// LinkKind is how the program is attached to a site.
type LinkKind uint8

const (
	// AutoLink takes UprobeMulti where the kernel has it, else PerfEvent.
	AutoLink LinkKind = iota
	// UprobeMulti is one link for all sites. CAP_BPF and CAP_PERFMON suffice.
	UprobeMulti
	// PerfEvent is one link a site. It needs CAP_SYS_ADMIN, and detaching takes
	// about a tenth of a second a site.
	PerfEvent
)

func (k LinkKind) String() string {
	switch k {
	case AutoLink:
		return "automatic"
	case UprobeMulti:
		return "uprobe_multi"
	case PerfEvent:
		return "perf_event"
	}
	return fmt.Sprintf("LinkKind(%d)", uint8(k))
}

// Features are what Load found in the kernel and uses.
type Features struct {
	Link LinkKind
	// Kfuncs says that payloads are copied in one go (Linux 6.16); without, they
	// are copied in slices and take up to 255 bytes more of the ring.
	Kfuncs bool
}

// probeKernel finds out what the kernel can do. Nothing is concluded from its
// version: distributions carry features back and switch them off.
func probeKernel(cfg Config, types *btf.Cache) (Features, error) {
	var f Features
	kernel, err := types.Kernel()
	if err != nil {
		return f, &UnsupportedError{"BTF, its own type information (CONFIG_DEBUG_INFO_BTF)", err}
	}
	for _, h := range []struct {
		fn   asm.BuiltinFunc
		name string
	}{
		{asm.FnGetAttachCookie, "attach cookies"},
		{asm.FnLoop, "bpf_loop"},
		{asm.FnRingbufReserveDynptr, "dynptr ring buffer records"},
	} {
		err := features.HaveProgramHelper(ebpf.Kprobe, h.fn)
		switch {
		case errors.Is(err, ebpf.ErrNotSupported):
			return f, &UnsupportedError{h.name, err}
		case isPermission(err):
			return f, capabilityError("load an eBPF program", err, CapBPF, CapPerfmon)
		case err != nil:
			return f, fmt.Errorf("ask the kernel for %s: %w", h.name, err)
		}
	}
	f.Kfuncs = !cfg.NoKfuncs && hasFunc(kernel, "bpf_probe_read_user_dynptr") && hasFunc(kernel, "bpf_copy_from_user_dynptr")

	f.Link = cfg.Link
	if f.Link != AutoLink {
		return f, nil
	}
	// The probe asks for a link to a directory: EBADF where the kind is known,
	// EINVAL where it isn't. No process id is involved, so EINVAL is not
	// ambiguous as it would be with a real target.
	switch err := features.HaveBPFLinkUprobeMulti(); {
	case err == nil:
		f.Link = UprobeMulti
	case errors.Is(err, ebpf.ErrNotSupported):
		f.Link = PerfEvent
	case isPermission(err):
		return f, capabilityError("ask the kernel for uprobe_multi links", err, CapBPF, CapPerfmon)
	default:
		return f, fmt.Errorf("ask the kernel for uprobe_multi links: %w", err)
	}
	return f, nil
}

func hasFunc(spec *btf.Spec, name string) bool {
	var fn *btf.Func
	return spec.TypeByName(name, &fn) == nil
}

func isPermission(err error) bool {
	return errors.Is(err, os.ErrPermission)
}

// initialPIDNamespace is the inode of the initial PID namespace, a constant of
// the kernel (PROC_PID_INIT_INO).
const initialPIDNamespace = 0xEFFFFFFC

// pidNamespace returns device and inode of the PID namespace whose ids the
// records are to have, or zeros for the initial one.
func pidNamespace() (dev, ino uint64) {
	fi, err := os.Stat("/proc/self/ns/pid")
	if err != nil {
		return 0, 0
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || st.Ino == initialPIDNamespace {
		return 0, 0
	}
	return uint64(st.Dev), st.Ino //nolint:unconvert // another type on other systems
}

package bpf

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Options says what to attach.
type Options struct {
	// Groups are the groups that are on; nil for DefaultGroups.
	Groups []Group
	// Enable and Disable switch single tracepoints on and off; Disable wins.
	Enable, Disable []ID
}

func (o Options) wants(t Tracepoint) bool {
	if slices.Contains(o.Disable, t.ID) {
		return false
	}
	groups := o.Groups
	if groups == nil {
		groups = DefaultGroups()
	}
	return slices.Contains(groups, t.Group) || slices.Contains(o.Enable, t.ID)
}

// ProbeState says what became of a tracepoint when attaching.
type ProbeState uint8

const (
	Attached ProbeState = iota + 1
	Off                 // not asked for
	Missing             // asked for, but not in the executable
	Refused             // in the executable with arguments that don't fit
)

func (s ProbeState) String() string {
	switch s {
	case Attached:
		return "attached"
	case Off:
		return "off"
	case Missing:
		return "missing"
	case Refused:
		return "refused"
	}
	return fmt.Sprintf("ProbeState(%d)", uint8(s))
}

// ProbeReport says what became of one tracepoint.
type ProbeReport struct {
	Tracepoint Tracepoint
	State      ProbeState
	Sites      int   // attached
	Err        error // why it was refused: a *MismatchError
}

// Attachment is the program attached to one executable file.
type Attachment struct {
	program *Program
	id      FileID
	report  []ProbeReport
	sites   []uint32
	links   []link.Link
}

// ErrNothingToAttach says that none of the wanted tracepoints can be attached.
var ErrNothingToAttach = errors.New("none of the wanted tracepoints can be attached")

// Attach hooks the wanted tracepoints of an executable. Those that it lacks, or
// that don't fit, are in the report and no error, unless all are. Several
// executables may be attached at once.
func (p *Program) Attach(e *Executable, o Options) (*Attachment, error) {
	a := &Attachment{program: p, id: e.ID}
	var sites []objectSite
	var offsets, semaphores []uint64
	var refused []error
	for _, probe := range e.Probes() {
		r := ProbeReport{Tracepoint: probe.Tracepoint}
		switch {
		case !o.wants(probe.Tracepoint):
			r.State = Off
		case len(probe.Sites) == 0:
			r.State = Missing
		case probe.Err != nil:
			r.State, r.Err = Refused, probe.Err
			refused = append(refused, probe.Err)
		default:
			r.State, r.Sites = Attached, len(probe.Sites)
			for _, s := range probe.Sites {
				sites = append(sites, lowerSite(probe.Tracepoint, s))
				offsets = append(offsets, s.Offset)
				semaphores = append(semaphores, s.SemaphoreOffset)
			}
		}
		a.report = append(a.report, r)
	}
	if len(sites) == 0 {
		return nil, fmt.Errorf("%s: %w", e.Path, errors.Join(append([]error{ErrNothingToAttach}, refused...)...))
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	if len(sites) > len(p.freeSites) {
		return nil, fmt.Errorf("%s has %d sites, %d more can be attached", e.Path, len(sites), len(p.freeSites))
	}
	split := len(p.freeSites) - len(sites)
	a.sites, p.freeSites = slices.Clone(p.freeSites[split:]), p.freeSites[:split]
	err := p.writeSites(a.sites, sites)
	if err == nil {
		err = a.link(e, offsets, semaphores)
	}
	if err != nil {
		return nil, errors.Join(err, a.detach())
	}
	p.attachments[a] = true
	return a, nil
}

func (p *Program) writeSites(at []uint32, sites []objectSite) error {
	for i, index := range at {
		if err := p.objects.Sites.Update(index, sites[i], ebpf.UpdateAny); err != nil {
			return fmt.Errorf("write sites of the eBPF program: %w", err)
		}
	}
	return nil
}

func (a *Attachment) link(e *Executable, offsets, semaphores []uint64) error {
	x, err := link.OpenExecutable(e.kernelPath())
	if err != nil {
		return fmt.Errorf("open %s: %w", e.Path, err)
	}
	prog := a.program.objects.OnHit
	if a.program.features.Link == UprobeMulti {
		cookies := make([]uint64, len(a.sites))
		for i, s := range a.sites {
			cookies[i] = uint64(s)
		}
		l, err := x.UprobeMulti(nil, prog, &link.UprobeMultiOptions{
			Addresses: offsets, RefCtrOffsets: semaphores, Cookies: cookies})
		if err != nil {
			return attachError(e.Path, err, CapBPF, CapPerfmon)
		}
		a.links = append(a.links, l)
		return nil
	}
	for i, s := range a.sites {
		l, err := x.Uprobe("", prog, &link.UprobeOptions{
			Address: offsets[i], RefCtrOffset: semaphores[i], Cookie: uint64(s)})
		if err != nil {
			return attachError(e.Path, err, CapSysAdmin)
		}
		a.links = append(a.links, l)
	}
	return nil
}

func attachError(path string, err error, needed ...Capability) error {
	op := "attach to " + path
	if isPermission(err) {
		return capabilityError(op, err, needed...)
	}
	return fmt.Errorf("%s: %w", op, err)
}

// Probes reports what became of each tracepoint of the table, in its order.
func (a *Attachment) Probes() []ProbeReport { return a.report }

// ID identifies the file that is attached.
func (a *Attachment) ID() FileID { return a.id }

// Close detaches. Records that are in the ring stay there.
func (a *Attachment) Close() error {
	p := a.program
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.attachments[a] {
		return nil
	}
	delete(p.attachments, a)
	return a.detach()
}

// detach closes the links, which waits for hits under way, and then frees the
// sites for others. p.mu is held.
func (a *Attachment) detach() error {
	var errs []error
	for _, l := range a.links {
		if err := l.Close(); err != nil {
			errs = append(errs, fmt.Errorf("detach: %w", err))
		}
	}
	for _, s := range a.sites {
		if err := a.program.objects.Sites.Update(s, objectSite{}, ebpf.UpdateAny); err != nil {
			errs = append(errs, fmt.Errorf("clear sites of the eBPF program: %w", err))
		}
	}
	a.program.freeSites = append(a.program.freeSites, a.sites...)
	a.links, a.sites = nil, nil
	return errors.Join(errs...)
}

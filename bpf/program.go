package bpf

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// DefaultRingSize holds a third of a second of blocks during initial block
// download at 100 MB/s, or eight of the largest messages at once, and leaves
// three quarters of the 128 MiB that the whole agent is to stay under.
const DefaultRingSize = 32 << 20

// minRingSize holds one record of the largest payload.
const minRingSize = 64 << 10

// Config is how Load sets the eBPF program up. The zero value is good.
type Config struct {
	// RingSize is the size of the ring buffer in bytes: a power of two of at
	// least 64 KiB; 0 for DefaultRingSize. A payload that doesn't fit the ring
	// is never recorded.
	RingSize int
	// Link chooses how to attach.
	Link LinkKind
	// NoKfuncs copies payloads in slices even where the kernel can do better.
	NoKfuncs bool
	// Policy is how much is kept of messages; nil for KeepAll.
	Policy *Policy
	// PollBusy and PollIdle are how long the reader sleeps between looks into
	// the ring under load and when next to nothing happens; 0 for 20 ms and
	// 100 ms. The kernel wakes it earlier when the ring fills.
	PollBusy, PollIdle time.Duration
}

// Program is the loaded eBPF program with its ring buffer. Its methods may be
// called from several goroutines.
type Program struct {
	features Features
	objects  objectObjects
	reader   *Reader

	mu          sync.Mutex
	settings    objectSettings
	freeSites   []uint32
	attachments map[*Attachment]bool
}

// Load loads the program into the kernel. Nothing is attached yet. Errors worth
// telling apart are *CapabilityError and *UnsupportedError.
func Load(cfg Config) (*Program, error) {
	if cfg.RingSize == 0 {
		cfg.RingSize = DefaultRingSize
	}
	if cfg.RingSize < minRingSize || cfg.RingSize&(cfg.RingSize-1) != 0 || cfg.RingSize > 1<<30 {
		return nil, fmt.Errorf("ring buffer of %d bytes: must be a power of two from 64 KiB to 1 GiB", cfg.RingSize)
	}
	if cfg.Policy == nil {
		all := KeepAll()
		cfg.Policy = &all
	}
	restore, err := ownMemory()
	if err != nil {
		return nil, err
	}
	defer restore()
	kernelTypes := btf.NewCache()
	f, err := probeKernel(cfg, kernelTypes)
	if err != nil {
		return nil, err
	}
	p := &Program{features: f, attachments: make(map[*Attachment]bool)}
	for i := range uint32(maxSites) {
		p.freeSites = append(p.freeSites, maxSites-1-i)
	}
	if err := p.load(cfg, kernelTypes); err != nil {
		return nil, err
	}
	if p.reader, err = newReader(p.objects.Ring, cfg); err == nil {
		err = p.SetPolicy(*cfg.Policy)
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *Program) load(cfg Config, kernelTypes *btf.Cache) error {
	spec, err := loadObject()
	if err != nil {
		return fmt.Errorf("parse the eBPF object: %w", err)
	}
	spec.Maps[objectMapRing].MaxEntries = uint32(cfg.RingSize)
	prog := spec.Programs[objectProgOnHit]
	prog.AttachType = ebpf.AttachNone
	if p.features.Link == UprobeMulti {
		prog.AttachType = ebpf.AttachTraceUprobeMulti
	}
	dev, ino := pidNamespace()
	kfuncs := uint32(0)
	if p.features.Kfuncs {
		kfuncs = 1
	}
	for name, value := range map[string]any{
		objectVarHaveKfuncs: kfuncs,
		objectVarWakeStep:   uint64(cfg.RingSize / 16),
		objectVarPidnsDev:   dev,
		objectVarPidnsIno:   ino,
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("set %s of the eBPF program: %w", name, err)
		}
	}
	if err := spec.LoadAndAssign(&p.objects, &ebpf.CollectionOptions{Cache: kernelTypes}); err != nil {
		if isPermission(err) {
			return capabilityError("load the eBPF program", err, CapBPF, CapPerfmon)
		}
		return fmt.Errorf("load the eBPF program: %w", err)
	}
	return nil
}

// Features returns what of the kernel is used.
func (p *Program) Features() Features { return p.features }

// Reader returns the reader of the program's ring buffer. There is one.
func (p *Program) Reader() *Reader { return p.reader }

// Close detaches everything and frees the program. A reader returns os.ErrClosed.
func (p *Program) Close() error {
	p.mu.Lock()
	var open []*Attachment
	for a := range p.attachments {
		open = append(open, a)
	}
	p.mu.Unlock()
	var errs []error
	for _, a := range open {
		errs = append(errs, a.Close())
	}
	if p.reader != nil {
		errs = append(errs, p.reader.Close())
	}
	return errors.Join(append(errs, p.objects.Close())...)
}

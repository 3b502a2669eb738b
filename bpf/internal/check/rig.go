// Package check proves on a running kernel that what the emitter fires is what
// the reader gets. The tests of package bpf run it on the machine's kernel, and
// the kernel test inside other kernels.
package check

import (
	"errors"
	"fmt"
	"time"

	"github.com/peerobserver/peerobserver/bpf"
	"github.com/peerobserver/peerobserver/bpf/emitter"
)

// Rig is the eBPF program attached to a running emitter.
type Rig struct {
	Path    string // of the emitter
	Program *bpf.Program
	Exe     *bpf.Executable
	Attach  *bpf.Attachment
	Emitter *emitter.Process
}

// Timeout is how long a record is waited for. It only ends a failed check;
// emulated machines are slow.
const Timeout = 60 * time.Second

// NewRig starts the emitter at path and attaches all tracepoints to it.
func NewRig(path string, cfg bpf.Config) (_ *Rig, err error) {
	r := &Rig{Path: path}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	if r.Exe, err = bpf.Open(path); err != nil {
		return nil, err
	}
	if r.Program, err = bpf.Load(cfg); err != nil {
		return nil, err
	}
	if r.Attach, err = r.Program.Attach(r.Exe, bpf.Options{Groups: bpf.Groups()}); err != nil {
		return nil, err
	}
	if r.Emitter, err = emitter.Start(path); err != nil {
		return nil, err
	}
	return r, nil
}

// Close undoes NewRig.
func (r *Rig) Close() error {
	var errs []error
	if r.Emitter != nil {
		errs = append(errs, r.Emitter.Close())
	}
	if r.Program != nil {
		errs = append(errs, r.Program.Close())
	}
	if r.Exe != nil {
		errs = append(errs, r.Exe.Close())
	}
	return errors.Join(errs...)
}

// Next reads the next record, or fails when none comes.
func (r *Rig) Next(rec *bpf.Record) error {
	return Next(r.Program.Reader(), rec)
}

// Next reads the next record of a reader, or fails when none comes.
func Next(reader *bpf.Reader, rec *bpf.Record) error {
	deadline := time.Now().Add(Timeout)
	for {
		ok, err := reader.TryRead(rec)
		if ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no record within %v", Timeout)
		}
		if err := reader.Wait(); err != nil {
			return err
		}
	}
}

// Empty fails if there is a record: for checks that nothing more was recorded.
// What was fired before the emitter answered is in the ring by then.
func (r *Rig) Empty() error {
	var rec bpf.Record
	if ok, err := r.Program.Reader().TryRead(&rec); ok || err != nil {
		return fmt.Errorf("unexpected record of tracepoint %d: %w", rec.Tracepoint, err)
	}
	return nil
}

// Fire fires and makes sure that nothing was skipped.
func (r *Rig) Fire(format string, args ...any) (emitter.Result, error) {
	res, err := r.Emitter.Fire(format, args...)
	if err == nil && (res.Skipped > 0 || res.Fired == 0) {
		err = fmt.Errorf("fire "+format+": %d fired, %d skipped", append(args, res.Fired, res.Skipped)...)
	}
	return res, err
}

// Named is a check with its name.
type Named struct {
	Name string
	Run  func(*Rig) error
}

// All returns every check. They may run one after another on one Rig.
func All() []Named {
	return []Named{
		{"payloads", Payloads},
		{"arguments", Arguments},
		{"strings", Strings},
		{"cold pages", ColdPages},
		{"wild pointers", WildPointers},
		{"limits", Limits},
		{"conservation", Conservation},
	}
}

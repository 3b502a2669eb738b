package bpf

import (
	"debug/elf"
	"fmt"
	"runtime"

	"github.com/peerobserver/peerobserver/bpf/usdt"
)

// Constants that c/tracer.c has too.
const (
	maxSites   = 256
	noRegister = 63
	noArg      = 255

	kindInteger = 0
	kindString  = 1
	kindBytes   = 2
	kindHash    = 3

	argSigned    = 1
	argIndexUXTW = 2
	argIndexSXTW = 4
)

// checkMachine refuses an executable of another architecture than ours: the
// kernel would attach, but the registers would mean something else.
func checkMachine(m elf.Machine) error {
	want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH]
	if m != want {
		return fmt.Errorf("executable is for %v, this program runs on %s", m, runtime.GOARCH)
	}
	return nil
}

// lowerSite says in the eBPF program's terms where the arguments of a site lie.
// The site has been checked against the table.
func lowerSite(t Tracepoint, s usdt.Site) objectSite {
	o := objectSite{
		Tracepoint: uint8(t.ID),
		Nargs:      uint8(len(t.Args)),
		TypeArg:    noArg,
		PayloadArg: noArg,
	}
	if t.ID == NetOutboundMessage {
		o.Direction = uint8(Outbound)
	}
	for i, a := range t.Args {
		x := lowerArg(s.Args[i])
		switch a.Kind {
		case String:
			x.Kind = kindString
			x.Max = uint16(a.Max + 1)
		case Hash:
			x.Kind = kindHash
		case Bytes:
			x.Kind = kindBytes
			x.SizeArg = uint8(a.Size)
			o.PayloadArg = uint8(i)
		}
		o.Args[i] = x
	}
	if o.PayloadArg != noArg {
		for i, a := range t.Args {
			if a.Name == "message_type" {
				o.TypeArg = uint8(i)
			}
		}
	}
	return o
}

func lowerArg(a usdt.Arg) objectArg {
	slot := func(r usdt.Register) uint8 {
		if r.Slot < 0 {
			return noRegister
		}
		return uint8(r.Slot)
	}
	x := objectArg{Disp: a.Disp, Base: slot(a.Base), Index: slot(a.Index), Scale: a.Scale}
	// Shifting to the top and back cuts the value to its width and extends it.
	width := uint8(a.Size * 8)
	x.Lsh, x.Rsh = 64-width, 64-width
	if a.Signed {
		x.Flags |= argSigned
	}
	switch a.Kind {
	case usdt.InRegister:
		x.Lsh -= a.Base.Shift
	case usdt.InMemory:
		x.Load = uint8(a.Size)
		switch {
		case a.Index.Slot < 0 || a.Index.Bits == 64:
		case a.IndexSigned:
			x.Flags |= argIndexSXTW
		default:
			x.Flags |= argIndexUXTW
		}
	}
	return x
}

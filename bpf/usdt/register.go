package usdt

import (
	"debug/elf"
	"fmt"
	"strings"
)

// Register is a general-purpose register of a traced thread.
type Register struct {
	machine elf.Machine
	// Slot is the register's index, in units of eight bytes, in the register
	// block that the kernel hands to a uprobe program: struct pt_regs on
	// x86-64, struct user_pt_regs on arm64. -1 means no register.
	Slot int8
	// Bits is how many bits of the slot the name stands for.
	Bits uint8
	// Shift is the lowest of these bits: 8 for %ah to %dh, else 0.
	Shift uint8
}

// NoRegister stands where an address has no such register, and for arm64's zero
// register, whose value is always 0.
var NoRegister = Register{Slot: -1}

// Slots on x86-64 by 64-bit name, from struct pt_regs.
const (
	slotRIP = 16
	slotRSP = 19
)

// x86Legacy are the eight registers that have names of their own for their
// parts: 64, 32, 16 and low 8 bits, then bits 8 to 15.
var x86Legacy = [...]struct {
	slot  int8
	names [5]string
}{
	{10, [5]string{"rax", "eax", "ax", "al", "ah"}},
	{5, [5]string{"rbx", "ebx", "bx", "bl", "bh"}},
	{11, [5]string{"rcx", "ecx", "cx", "cl", "ch"}},
	{12, [5]string{"rdx", "edx", "dx", "dl", "dh"}},
	{13, [5]string{"rsi", "esi", "si", "sil"}},
	{14, [5]string{"rdi", "edi", "di", "dil"}},
	{4, [5]string{"rbp", "ebp", "bp", "bpl"}},
	{slotRSP, [5]string{"rsp", "esp", "sp", "spl"}},
}

// x86Numbered are the slots of r8 to r15.
var x86Numbered = [...]int8{9, 8, 7, 6, 3, 2, 1, 0}

// x86Suffixes of the numbered registers; the low byte is written b by AT&T
// assemblers and l by Intel's manuals.
var x86Suffixes = [...]struct {
	name string
	bits uint8
}{{"", 64}, {"d", 32}, {"w", 16}, {"b", 8}, {"l", 8}}

var x86Parts = [...]struct{ bits, shift uint8 }{{64, 0}, {32, 0}, {16, 0}, {8, 0}, {8, 8}}

// x86Register looks a name without its % up.
func x86Register(name string) (Register, bool) {
	for _, l := range x86Legacy {
		for i, n := range l.names {
			if n != "" && n == name {
				p := x86Parts[i]
				return Register{elf.EM_X86_64, l.slot, p.bits, p.shift}, true
			}
		}
	}
	if name == "rip" {
		return Register{elf.EM_X86_64, slotRIP, 64, 0}, true
	}
	for i, slot := range x86Numbered {
		suffix, ok := strings.CutPrefix(name, fmt.Sprintf("r%d", 8+i))
		if !ok {
			continue
		}
		for _, s := range x86Suffixes {
			if suffix == s.name {
				return Register{elf.EM_X86_64, slot, s.bits, 0}, true
			}
		}
	}
	return Register{}, false
}

func (r Register) x86Name() string {
	for _, l := range x86Legacy {
		if l.slot != r.Slot {
			continue
		}
		for i, p := range x86Parts {
			if p.bits == r.Bits && p.shift == r.Shift {
				return l.names[i]
			}
		}
	}
	if r.Slot == slotRIP {
		return "rip"
	}
	for i, slot := range x86Numbered {
		if slot == r.Slot {
			for _, s := range x86Suffixes {
				if s.bits == r.Bits {
					return fmt.Sprintf("r%d", 8+i) + s.name
				}
			}
		}
	}
	return ""
}

// Slots on arm64, from struct user_pt_regs: x0 to x30, then these.
const (
	slotARM64SP = 31
	slotARM64PC = 32
)

// arm64Register parses x0 to x30, w0 to w30, sp, wsp, fp, lr, xzr and wzr. The
// zero registers have no slot.
func arm64Register(name string) (Register, bool) {
	reg := func(slot int8, bits uint8) (Register, bool) {
		return Register{elf.EM_AARCH64, slot, bits, 0}, true
	}
	switch name {
	case "sp":
		return reg(slotARM64SP, 64)
	case "wsp":
		return reg(slotARM64SP, 32)
	case "fp":
		return reg(29, 64)
	case "lr":
		return reg(30, 64)
	case "xzr":
		return reg(-1, 64)
	case "wzr":
		return reg(-1, 32)
	}
	if len(name) < 2 || len(name) > 3 || (len(name) == 3 && name[1] == '0') {
		return Register{}, false
	}
	var bits uint8
	switch name[0] {
	case 'x':
		bits = 64
	case 'w':
		bits = 32
	default:
		return Register{}, false
	}
	n := 0
	for _, c := range []byte(name[1:]) {
		if c < '0' || c > '9' {
			return Register{}, false
		}
		n = n*10 + int(c-'0')
	}
	if n > 30 {
		return Register{}, false
	}
	return reg(int8(n), bits)
}

func (r Register) arm64Name() string {
	prefix := "x"
	if r.Bits == 32 {
		prefix = "w"
	}
	switch r.Slot {
	case -1:
		return prefix + "zr"
	case slotARM64SP:
		if r.Bits == 32 {
			return "wsp"
		}
		return "sp"
	}
	return fmt.Sprintf("%s%d", prefix, r.Slot)
}

package usdt

import (
	"debug/elf"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func x86(slot int8) Register                 { return Register{elf.EM_X86_64, slot, 64, 0} }
func x86Part(slot int8, b, s uint8) Register { return Register{elf.EM_X86_64, slot, b, s} }
func arm(slot int8) Register                 { return Register{elf.EM_AARCH64, slot, 64, 0} }
func armW(slot int8) Register                { return Register{elf.EM_AARCH64, slot, 32, 0} }

func reg(size int, signed bool, r Register) Arg {
	return Arg{Size: size, Signed: signed, Kind: InRegister, Base: r, Index: NoRegister}
}
func constant(size int, signed bool, v int64) Arg {
	return Arg{Size: size, Signed: signed, Kind: Constant, Base: NoRegister, Index: NoRegister, Disp: v}
}
func mem(size int, signed bool, base Register, disp int64) Arg {
	return Arg{Size: size, Signed: signed, Kind: InMemory, Base: base, Index: NoRegister, Disp: disp}
}
func indexed(size int, base, index Register, scale uint8, disp int64) Arg {
	return Arg{Size: size, Kind: InMemory, Base: base, Index: index, Scale: scale, Disp: disp}
}

// Slots are those of struct pt_regs in the kernel's arch/x86/include/asm/ptrace.h
// and struct user_pt_regs in arch/arm64/include/uapi/asm/ptrace.h, counted there.
func TestParseArgs(t *testing.T) {
	sxtw := indexed(8, arm(19), armW(1), 3, 0)
	sxtw.IndexSigned = true
	for _, c := range []struct {
		machine elf.Machine
		text    string
		want    []Arg
	}{
		{elf.EM_X86_64, "", nil},
		{elf.EM_X86_64, "-8@%r14 8@%rax 8@%rbp 8@%rsp", []Arg{reg(8, true, x86(1)), reg(8, false, x86(10)), reg(8, false, x86(4)), reg(8, false, x86(19))}},
		{elf.EM_X86_64, "-4@%ebx 4@%r8d 2@%r15w 1@%sil 1@%r9b", []Arg{reg(4, true, x86Part(5, 32, 0)), reg(4, false, x86Part(9, 32, 0)), reg(2, false, x86Part(0, 16, 0)), reg(1, false, x86Part(13, 8, 0)), reg(1, false, x86Part(8, 8, 0))}},
		{elf.EM_X86_64, "1@%ah -1@%dh 2@%cx", []Arg{reg(1, false, x86Part(10, 8, 8)), reg(1, true, x86Part(12, 8, 8)), reg(2, false, x86Part(11, 16, 0))}},
		{elf.EM_X86_64, "4@%rdi", []Arg{reg(4, false, x86(14))}},
		{elf.EM_X86_64, "-4@$-7 8@$0x10 8@$18446744073709551615", []Arg{constant(4, true, -7), constant(8, false, 16), constant(8, false, -1)}},
		{elf.EM_X86_64, "8@16(%rsp) -8@-0x40(%rbp) 8@(%rdx)", []Arg{mem(8, false, x86(19), 16), mem(8, true, x86(4), -64), mem(8, false, x86(12), 0)}},
		{elf.EM_X86_64, "8@-8(%rax,%rbx,4) 8@(%r12,%r13) 8@32(,%rcx,8)", []Arg{indexed(8, x86(10), x86(5), 2, -8), indexed(8, x86(3), x86(2), 0, 0), indexed(8, NoRegister, x86(11), 3, 32)}},
		{elf.EM_X86_64, "-8@counter(%rip) 4@_ZL5table+12(%rip) 4@t-4(%rip) 8@16+t(%rip)", []Arg{
			{Size: 8, Signed: true, Kind: InMemory, Base: x86(16), Index: NoRegister, Symbol: "counter"},
			{Size: 4, Kind: InMemory, Base: x86(16), Index: NoRegister, Symbol: "_ZL5table", Disp: 12},
			{Size: 4, Kind: InMemory, Base: x86(16), Index: NoRegister, Symbol: "t", Disp: -4},
			{Size: 8, Kind: InMemory, Base: x86(16), Index: NoRegister, Symbol: "t", Disp: 16}}},
		// As gcc 12 wrote them for net:inbound_message and mempool:replaced.
		{elf.EM_X86_64, "-8@%rax 8@-144(%rbp) 8@-320(%rbp) 8@-136(%rbp) 8@%rdx 8@%r8", []Arg{reg(8, true, x86(10)), mem(8, false, x86(4), -144), mem(8, false, x86(4), -320), mem(8, false, x86(4), -136), reg(8, false, x86(12)), reg(8, false, x86(9))}},

		{elf.EM_AARCH64, "-8@x20 8@x0 -4@w3 1@w30 8@sp 8@fp 8@lr", []Arg{reg(8, true, arm(20)), reg(8, false, arm(0)), reg(4, true, armW(3)), reg(1, false, armW(30)), reg(8, false, arm(31)), reg(8, false, arm(29)), reg(8, false, arm(30))}},
		{elf.EM_AARCH64, "8@xzr 4@wzr", []Arg{reg(8, false, arm(-1)), reg(4, false, armW(-1))}},
		{elf.EM_AARCH64, "-4@5 8@#-1 4@0x7f", []Arg{constant(4, true, 5), constant(8, false, -1), constant(4, false, 127)}},
		{elf.EM_AARCH64, "8@[x0] -8@[sp, 16] 4@[x29, #-8] 8@[sp,112]", []Arg{mem(8, false, arm(0), 0), mem(8, true, arm(31), 16), mem(4, false, arm(29), -8), mem(8, false, arm(31), 112)}},
		{elf.EM_AARCH64, "8@[x0, x1] 8@[x0, x1, lsl 3] 8@[x19, w1, sxtw #3] 4@[x2, w3, uxtw 2]", []Arg{indexed(8, arm(0), arm(1), 0, 0), indexed(8, arm(0), arm(1), 3, 0), sxtw, indexed(4, arm(2), armW(3), 2, 0)}},
	} {
		got, err := ParseArgs(c.machine, c.text)
		if err != nil {
			t.Errorf("%v %q: %v", c.machine, c.text, err)
			continue
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v %q:\n got %+v\nwant %+v", c.machine, c.text, got, c.want)
		}
	}
}

func TestParseArgsRefuses(t *testing.T) {
	for machine, texts := range map[elf.Machine][]string{
		elf.EM_X86_64: {
			"%rax", "8%rax", "@%rax", "3@%rax", "16@%rax", "8f@%xmm0", "8@%xmm0", "--8@%rax", "8@", "8@%", "8@rax",
			"8@%r16", "8@%r07", "8@%r8x", "8@%rip", "8@%eax", "4@%al", "2@%ah", "8@$", "8@$x", "8@$1x", "8@$99999999999999999999",
			"8@$counter", "8@counter", "8@8", "8@(%eax)", "8@()", "8@8()", "8@8(", "8@8(%rax", "8@(%rax,%rsp,2)", "8@(%rax,%rbx,3)",
			"8@(%rax,%rbx,16)", "8@(%rax,%rbx,)", "8@(%rax,,2)", "8@(%rax,%rbx,2,1)", "8@12(%rip)", "8@(%rip)", "8@x(%rip,%rax,2)",
			"8@x@GOTPCREL(%rip)", "8@a+b(%rip)", "8@a+-1(%rip)", "8@%fs:8", "8@%fs:8(%rax)", "8@*%rax", "8@x(%rax)", "8@1_0(%rax)", "8@+8(%rax)",
			"8@%rax 8@%bogus", strings.Repeat("8@%rax ", 13),
		},
		elf.EM_AARCH64: {
			"8@x31", "8@w0", "8@x", "8@x00", "8@x01", "8@v0", "8@q1", "8@[x0", "8@x0]", "8@[w0]", "8@[x0, ]", "8@[xzr]", "8@[x0, 8]!",
			"8@[x0], 8", "8@[x0, 8, 9]", "8@[x0, w1]", "8@[x0, x1, lsl]", "8@[x0, x1, lsl 4]", "8@[x0, x1, sxtw 2]", "8@[x0, w1, lsl 2]",
			"8@[x0, sp]", "8@[x0, xzr]", "8@[x0, x1, lsl 3, 1]", "8@[x0, :lo12:sym]", "8@counter", "8@[]", "8@#", "8@",
		},
		elf.EM_RISCV: {"8@a0"},
	} {
		for _, text := range texts {
			got, err := ParseArgs(machine, text)
			var ae *ArgError
			if !errors.As(err, &ae) || got != nil {
				t.Errorf("%v %q: got %+v, %v", machine, text, got, err)
				continue
			}
			if ae.Text == "" || !strings.Contains(text, ae.Text) || !strings.Contains(err.Error(), ae.Reason) || ae.Reason == "" {
				t.Errorf("%v %q: error %q does not quote it", machine, text, err)
			}
		}
	}
}

// roundTrip checks that what was understood is written and read back the same.
func roundTrip(t *testing.T, machine elf.Machine, text string) {
	t.Helper()
	args, err := ParseArgs(machine, text)
	if err != nil {
		var ae *ArgError
		if !errors.As(err, &ae) || args != nil {
			t.Fatalf("%q: %v, %v", text, args, err)
		}
		return
	}
	var out []string
	for _, a := range args {
		out = append(out, a.Format(machine))
	}
	again, err := ParseArgs(machine, strings.Join(out, " "))
	if err != nil {
		t.Fatalf("%q written as %q: %v", text, out, err)
	}
	if !reflect.DeepEqual(args, again) {
		t.Fatalf("%q written as %q:\n got %+v\nwant %+v", text, out, again, args)
	}
}

func FuzzParseArgs(f *testing.F) {
	for _, s := range []string{"-8@%rdi 8@16(%rsp,%rax,8) 4@$5 8@c+4(%rip)", "-8@x20 8@[sp, 16] 4@5 8@[x0, w1, sxtw 3]", "1@%ah", "8@xzr"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		roundTrip(t, elf.EM_X86_64, text)
		roundTrip(t, elf.EM_AARCH64, text)
	})
}

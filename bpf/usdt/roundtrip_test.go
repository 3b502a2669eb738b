package usdt

import (
	"debug/elf"
	"math"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// drawArg draws any argument that a note of the machine can have.
func drawArg(t *rapid.T, machine elf.Machine) Arg {
	a := Arg{
		Size:   rapid.SampledFrom([]int{1, 2, 4, 8}).Draw(t, "size"),
		Signed: rapid.Bool().Draw(t, "signed"),
		Kind:   rapid.SampledFrom([]Kind{Constant, InRegister, InMemory}).Draw(t, "kind"),
		Base:   NoRegister, Index: NoRegister,
	}
	anyReg := func(label string) Register {
		if machine == elf.EM_AARCH64 {
			return Register{machine, int8(rapid.IntRange(0, 30).Draw(t, label)), 64, 0}
		}
		slots := []int8{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}
		return Register{machine, rapid.SampledFrom(slots).Draw(t, label), 64, 0}
	}
	switch a.Kind {
	case Constant:
		a.Disp = rapid.Int64().Draw(t, "constant")
	case InRegister:
		a.Base = anyReg("register")
		if a.Size <= 4 {
			a.Base.Bits = 32
		}
		if machine == elf.EM_X86_64 && a.Size <= 2 {
			a.Base.Bits = 16
		}
	case InMemory:
		a.Base = anyReg("base")
		index := rapid.Bool().Draw(t, "indexed")
		if index {
			a.Index = anyReg("index")
			a.Scale = uint8(rapid.IntRange(0, 3).Draw(t, "scale"))
		}
		if !index || machine == elf.EM_X86_64 {
			a.Disp = rapid.Int64Range(math.MinInt32, math.MaxInt32).Draw(t, "displacement")
		}
		if index && machine == elf.EM_AARCH64 && rapid.Bool().Draw(t, "narrow") {
			a.Index.Bits = 32
			a.IndexSigned = rapid.Bool().Draw(t, "extend")
		}
		if machine == elf.EM_X86_64 && !index && rapid.Bool().Draw(t, "symbol") {
			a.Base = Register{machine, slotRIP, 64, 0}
			a.Symbol = rapid.StringMatching(`[A-Za-z_.][A-Za-z0-9_.$]{0,20}`).Draw(t, "name")
		}
	}
	return a
}

func TestFormatRoundTrip(t *testing.T) {
	for _, machine := range []elf.Machine{elf.EM_X86_64, elf.EM_AARCH64} {
		rapid.Check(t, func(t *rapid.T) {
			want := drawArg(t, machine)
			text := want.Format(machine)
			got, err := ParseArgs(machine, text)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != 1 || !reflect.DeepEqual(got[0], want) {
				t.Fatalf("%q: got %+v, want %+v", text, got, want)
			}
		})
	}
}

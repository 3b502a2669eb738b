package usdt

import (
	"fmt"
	"strconv"
	"strings"
)

// parseARM64 parses an operand as gcc and clang print it: 5, x20, w3, [x0],
// [sp, 16], [x0, x1], [x0, x1, lsl 3] or [x0, w1, sxtw 2]. A # before a number
// is optional. The result is the reason why it can't.
func (a *Arg) parseARM64(s string) string {
	number := func(s string) (int64, bool) {
		return parseInt(strings.TrimPrefix(s, "#"))
	}
	if v, ok := number(s); ok {
		a.Kind, a.Disp = Constant, v
		return ""
	}
	inner, ok := strings.CutPrefix(s, "[")
	if !ok {
		r, ok := arm64Register(s)
		if !ok {
			return "operand is neither constant, general-purpose register nor address"
		}
		if int(r.Bits) < a.Size*8 {
			return fmt.Sprintf("%d-bit register holds no value of %d bytes", r.Bits, a.Size)
		}
		a.Kind, a.Base = InRegister, r
		return ""
	}
	if inner, ok = strings.CutSuffix(inner, "]"); !ok {
		return "address is not closed"
	}
	parts := strings.Split(inner, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	a.Kind = InMemory
	if a.Base, ok = arm64Register(parts[0]); !ok || a.Base.Bits != 64 || a.Base.Slot < 0 {
		return fmt.Sprintf("%q is no 64-bit register", parts[0])
	}
	if len(parts) == 1 {
		return ""
	}
	if v, ok := number(parts[1]); ok {
		if len(parts) > 2 {
			return "address goes on behind its displacement"
		}
		a.Disp = v
		return ""
	}
	if a.Index, ok = arm64Register(parts[1]); !ok || a.Index.Slot < 0 || a.Index.Slot == slotARM64SP {
		return fmt.Sprintf("%q is neither a displacement nor an index register", parts[1])
	}
	switch len(parts) {
	case 2:
		if a.Index.Bits != 64 {
			return "32-bit index without an extension"
		}
		return ""
	case 3:
	default:
		return "address has more than base, index and shift"
	}
	op, amount, _ := strings.Cut(parts[2], " ")
	switch {
	case a.Index.Bits == 64 && (op == "lsl" || op == "sxtx" || op == "uxtx"):
	case a.Index.Bits == 32 && op == "uxtw":
	case a.Index.Bits == 32 && op == "sxtw":
		a.IndexSigned = true
	default:
		return fmt.Sprintf("index extension %q does not fit the register", op)
	}
	if amount == "" {
		if op == "lsl" {
			return "shift without an amount"
		}
		return ""
	}
	v, ok := number(strings.TrimSpace(amount))
	if !ok || v < 0 || v > 3 {
		return fmt.Sprintf("shift %q is not 0 to 3", amount)
	}
	a.Scale = uint8(v)
	return ""
}

func (a Arg) formatARM64(b *strings.Builder) {
	switch a.Kind {
	case Constant:
		b.WriteString(strconv.FormatInt(a.Disp, 10))
	case InRegister:
		b.WriteString(a.Base.arm64Name())
	case InMemory:
		b.WriteByte('[')
		b.WriteString(a.Base.arm64Name())
		switch {
		case a.Index.Slot >= 0:
			b.WriteString(", ")
			b.WriteString(a.Index.arm64Name())
			switch {
			case a.Index.Bits == 64 && a.Scale == 0:
			case a.Index.Bits == 64:
				fmt.Fprintf(b, ", lsl %d", a.Scale)
			case a.IndexSigned:
				fmt.Fprintf(b, ", sxtw %d", a.Scale)
			default:
				fmt.Fprintf(b, ", uxtw %d", a.Scale)
			}
		case a.Disp != 0:
			fmt.Fprintf(b, ", %d", a.Disp)
		}
		b.WriteByte(']')
	}
}

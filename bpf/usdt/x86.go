package usdt

import (
	"fmt"
	"strconv"
	"strings"
)

// parseX86 parses an AT&T operand: $5, %rbx, 8(%rsp), 8(%rax,%rbx,4),
// (,%rbx,8) or symbol+8(%rip). The result is the reason why it can't.
func (a *Arg) parseX86(s string) string {
	if c, ok := strings.CutPrefix(s, "$"); ok {
		v, ok := parseInt(c)
		if !ok {
			return "constant is not a number"
		}
		a.Kind, a.Disp = Constant, v
		return ""
	}
	if name, ok := strings.CutPrefix(s, "%"); ok && !strings.ContainsAny(s, "(:") {
		r, ok := x86Register(name)
		if !ok || r.Slot == slotRIP {
			return "register is not a general-purpose one"
		}
		if int(r.Bits) < a.Size*8 {
			return fmt.Sprintf("%d-bit register holds no value of %d bytes", r.Bits, a.Size)
		}
		a.Kind, a.Base = InRegister, r
		return ""
	}
	disp, rest, ok := strings.Cut(s, "(")
	if !ok {
		return "operand is neither constant, register nor address"
	}
	inner, ok := strings.CutSuffix(rest, ")")
	if !ok {
		return "address is not closed"
	}
	a.Kind = InMemory
	parts := strings.Split(inner, ",")
	if len(parts) > 3 {
		return "address has more than base, index and scale"
	}
	addressRegister := func(s string) (Register, string) {
		name, ok := strings.CutPrefix(strings.TrimSpace(s), "%")
		r, known := x86Register(name)
		if !ok || !known || r.Bits != 64 {
			return NoRegister, fmt.Sprintf("%q is no 64-bit register", s)
		}
		return r, ""
	}
	var reason string
	if base := strings.TrimSpace(parts[0]); base != "" {
		if a.Base, reason = addressRegister(base); reason != "" {
			return reason
		}
	}
	if len(parts) > 1 {
		if a.Index, reason = addressRegister(parts[1]); reason != "" {
			return reason
		}
		if a.Index.Slot == slotRSP || a.Index.Slot == slotRIP {
			return "register can't be an index"
		}
	}
	if len(parts) > 2 {
		shift := strings.Index("1248", strings.TrimSpace(parts[2]))
		if len(strings.TrimSpace(parts[2])) != 1 || shift < 0 {
			return fmt.Sprintf("scale %q is not one of 1, 2, 4, 8", parts[2])
		}
		a.Scale = uint8(shift)
	}
	if a.Base.Slot < 0 && a.Index.Slot < 0 {
		return "address has no register"
	}
	if a.Base.Slot == slotRIP {
		// A bare number would count from the end of an instruction that the
		// note doesn't show.
		if a.Index.Slot >= 0 {
			return "program counter with an index"
		}
		if reason := a.parseSymbol(disp); reason != "" {
			return reason
		}
		return ""
	}
	if disp != "" {
		v, ok := parseInt(disp)
		if !ok {
			return fmt.Sprintf("displacement %q is not a number", disp)
		}
		a.Disp = v
	}
	return ""
}

// parseSymbol parses symbol, symbol+8, symbol-8 and 8+symbol.
func (a *Arg) parseSymbol(s string) string {
	if isSymbol(s) {
		a.Symbol = s
		return ""
	}
	if i := strings.LastIndexAny(s, "+-"); i > 0 {
		left, op, right := s[:i], s[i], s[i+1:]
		if v, ok := parseInt(right); ok && isSymbol(left) && right[0] != '-' {
			if op == '-' {
				v = -v
			}
			a.Symbol, a.Disp = left, v
			return ""
		}
		if v, ok := parseInt(left); ok && op == '+' && isSymbol(right) {
			a.Symbol, a.Disp = right, v
			return ""
		}
	}
	return fmt.Sprintf("%q relative to the program counter is not a symbol with an optional number", s)
}

func (a Arg) formatX86(b *strings.Builder) {
	switch a.Kind {
	case Constant:
		b.WriteByte('$')
		b.WriteString(strconv.FormatInt(a.Disp, 10))
	case InRegister:
		b.WriteByte('%')
		b.WriteString(a.Base.x86Name())
	case InMemory:
		switch {
		case a.Symbol != "":
			b.WriteString(a.Symbol)
			if a.Disp != 0 {
				fmt.Fprintf(b, "%+d", a.Disp)
			}
		case a.Disp != 0:
			b.WriteString(strconv.FormatInt(a.Disp, 10))
		}
		b.WriteByte('(')
		if a.Base.Slot >= 0 {
			b.WriteByte('%')
			b.WriteString(a.Base.x86Name())
		}
		if a.Index.Slot >= 0 {
			fmt.Fprintf(b, ",%%%s,%d", a.Index.x86Name(), 1<<a.Scale)
		}
		b.WriteByte(')')
	}
}

package usdt

import (
	"debug/elf"
	"fmt"
	"strconv"
	"strings"
)

// Kind says where an argument lies.
type Kind uint8

const (
	Constant Kind = iota + 1 // the value is Disp
	InRegister
	InMemory // at Base + Index<<Scale + Disp
)

// Arg says where one argument of a site lies and how wide it is.
type Arg struct {
	// Size is the width of the value in bytes: 1, 2, 4 or 8.
	Size int
	// Signed says that the value is to be sign-extended.
	Signed bool
	Kind   Kind
	// Base is the register of an InRegister argument, or the base register of an
	// address; NoRegister if the address has none.
	Base Register
	// Index is the index register of an address, shifted left by Scale bits;
	// NoRegister if there is none.
	Index Register
	Scale uint8
	// IndexSigned says that a 32-bit index is sign-extended rather than
	// zero-extended (arm64 only).
	IndexSigned bool
	// Disp is the constant, or the displacement of an address in bytes.
	Disp int64
	// Symbol is added to the displacement. Parse resolves it, and it is empty
	// then; an argument straight from ParseArgs may have one. Base is then the
	// program counter.
	Symbol string
}

// ArgError is an argument text that was not understood.
type ArgError struct {
	Text   string // the text, as the note has it
	Reason string
}

func (e *ArgError) Error() string {
	return fmt.Sprintf("argument %q: %s", e.Text, e.Reason)
}

// maxArgs is the number of arguments sys/sdt.h can pass.
const maxArgs = 12

// ParseArgs parses the argument text of a note, such as
// "-8@%rbx 8@16(%rsp) 4@$5" (x86-64) or "-8@x20 8@[sp, 16] 4@5" (arm64).
// The error is an *ArgError.
func ParseArgs(machine elf.Machine, text string) ([]Arg, error) {
	var args []Arg
	for _, t := range splitArgs(text) {
		if len(args) == maxArgs {
			return nil, &ArgError{Text: text, Reason: fmt.Sprintf("more than %d arguments", maxArgs)}
		}
		a, err := parseArg(machine, t)
		if err != nil {
			return nil, err
		}
		args = append(args, a)
	}
	return args, nil
}

// splitArgs splits at blanks outside brackets: arm64 addresses hold blanks.
func splitArgs(text string) []string {
	var out []string
	depth, start := 0, -1
	for i := range len(text) {
		switch c := text[i]; {
		case (c == ' ' || c == '\t') && depth <= 0:
			if start >= 0 {
				out = append(out, text[start:i])
				start = -1
			}
			continue
		case c == '[' || c == '(':
			depth++
		case c == ']' || c == ')':
			depth--
		}
		if start < 0 {
			start = i
		}
	}
	if start >= 0 {
		out = append(out, text[start:])
	}
	return out
}

func parseArg(machine elf.Machine, text string) (Arg, error) {
	size, operand, ok := strings.Cut(text, "@")
	if !ok {
		return Arg{}, &ArgError{Text: text, Reason: "no size before the operand"}
	}
	a := Arg{Base: NoRegister, Index: NoRegister}
	unsigned := strings.TrimPrefix(size, "-")
	a.Signed = unsigned != size
	switch unsigned {
	case "1", "2", "4", "8":
		a.Size = int(unsigned[0] - '0')
	default:
		return Arg{}, &ArgError{Text: text, Reason: fmt.Sprintf("size %q is not one of 1, 2, 4, 8", size)}
	}
	var reason string
	switch machine {
	case elf.EM_X86_64:
		reason = a.parseX86(operand)
	case elf.EM_AARCH64:
		reason = a.parseARM64(operand)
	default:
		reason = fmt.Sprintf("machine %v is not supported", machine)
	}
	if reason != "" {
		return Arg{}, &ArgError{Text: text, Reason: reason}
	}
	return a, nil
}

// Format writes the argument as a note of that machine has it, in one canonical
// form that ParseArgs reads back to an equal argument.
func (a Arg) Format(machine elf.Machine) string {
	var b strings.Builder
	if a.Signed {
		b.WriteByte('-')
	}
	b.WriteString(strconv.Itoa(a.Size))
	b.WriteByte('@')
	if machine == elf.EM_AARCH64 {
		a.formatARM64(&b)
	} else {
		a.formatX86(&b)
	}
	return b.String()
}

// parseInt parses a decimal, hexadecimal (0x) or octal (0) number with an
// optional sign, of at most 64 bits. Values above the signed range are taken as
// their two's complement, as assemblers print them.
func parseInt(s string) (int64, bool) {
	if s == "" || strings.ContainsRune(s, '_') || strings.HasPrefix(s, "+") {
		return 0, false
	}
	if v, err := strconv.ParseInt(s, 0, 64); err == nil {
		return v, true
	}
	if v, err := strconv.ParseUint(s, 0, 64); err == nil {
		return int64(v), true
	}
	return 0, false
}

// isSymbol reports whether s can be the name of a symbol. Names with a
// relocation suffix ("x@GOTPCREL") are excluded: they don't name the value.
func isSymbol(s string) bool {
	if s == "" || (s[0] >= '0' && s[0] <= '9') {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '.', c == '$':
		default:
			return false
		}
	}
	return true
}

package usdt

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// image builds an ELF file with one segment of code, one of data and the notes
// given, as linked at base.
type image struct {
	machine elf.Machine
	notes   []byte
	base    uint64 // address of .stapsdt.base; 0: no such section
}

const (
	textAddr, textOff = 0x401000, 0x1000
	dataAddr, dataOff = 0x603000, 0x2000
	segmentLen        = 0x1000
)

func sdtNote(pc, base, sem uint64, strs ...string) []byte {
	var desc []byte
	for _, v := range []uint64{pc, base, sem} {
		desc = binary.LittleEndian.AppendUint64(desc, v)
	}
	for _, s := range strs {
		desc = append(append(desc, s...), 0)
	}
	return rawNote("stapsdt\x00", 3, desc)
}

func rawNote(name string, typ uint32, desc []byte) []byte {
	var b []byte
	for _, v := range []uint32{uint32(len(name)), uint32(len(desc)), typ} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	b = append(b, name...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	b = append(b, desc...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func (im image) build() []byte {
	le := binary.LittleEndian
	names := []byte("\x00.note.stapsdt\x00.stapsdt.base\x00.shstrtab\x00")
	const notesOff = 0x3000
	namesOff := uint64(notesOff + len(im.notes))
	shoff := (namesOff + uint64(len(names)) + 7) &^ 7
	b := make([]byte, shoff+4*sectionSize)
	copy(b, elf.ELFMAG)
	b[elf.EI_CLASS], b[elf.EI_DATA], b[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	le.PutUint16(b[16:], uint16(elf.ET_DYN))
	le.PutUint16(b[18:], uint16(im.machine))
	le.PutUint64(b[32:], fileHeaderSize)
	le.PutUint64(b[40:], shoff)
	le.PutUint16(b[54:], segmentSize)
	le.PutUint16(b[56:], 2)
	le.PutUint16(b[58:], sectionSize)
	le.PutUint16(b[60:], 4)
	le.PutUint16(b[62:], 3)
	for i, s := range []struct {
		flags     elf.ProgFlag
		off, addr uint64
	}{{elf.PF_R | elf.PF_X, textOff, textAddr}, {elf.PF_R | elf.PF_W, dataOff, dataAddr}} {
		p := b[fileHeaderSize+i*segmentSize:]
		le.PutUint32(p, uint32(elf.PT_LOAD))
		le.PutUint32(p[4:], uint32(s.flags))
		le.PutUint64(p[8:], s.off)
		le.PutUint64(p[16:], s.addr)
		le.PutUint64(p[32:], segmentLen)
		le.PutUint64(p[40:], segmentLen)
	}
	copy(b[notesOff:], im.notes)
	copy(b[namesOff:], names)
	section := func(i int, name string, typ elf.SectionType, addr, off, size uint64) {
		s := b[shoff+uint64(i)*sectionSize:]
		le.PutUint32(s, uint32(bytes.Index(names, []byte(name+"\x00"))))
		le.PutUint32(s[4:], uint32(typ))
		le.PutUint64(s[16:], addr)
		le.PutUint64(s[24:], off)
		le.PutUint64(s[32:], size)
	}
	section(1, ".note.stapsdt", elf.SHT_NOTE, 0, notesOff, uint64(len(im.notes)))
	if im.base != 0 {
		section(2, ".stapsdt.base", elf.SHT_PROGBITS, im.base, notesOff, 1)
	}
	section(3, ".shstrtab", elf.SHT_STRTAB, 0, namesOff, uint64(len(names)))
	return b
}

func parse(b []byte) (*Executable, error) { return Parse(bytes.NewReader(b), int64(len(b))) }

func TestParseNotes(t *testing.T) {
	notes := sdtNote(textAddr+0x10, 0x5000, dataAddr+4, "net", "inbound_message", "-8@%rdi 8@$5")
	notes = append(notes, rawNote("other\x00", 3, []byte("ignored"))...)
	notes = append(notes, sdtNote(textAddr+0x20, 0x5000, 0, "net", "inbound_message", "8@%xmm0")...)
	x, err := parse(image{machine: elf.EM_X86_64, notes: notes, base: 0x5000}.build())
	if err != nil {
		t.Fatal(err)
	}
	if len(x.Sites) != 2 || x.Machine != elf.EM_X86_64 {
		t.Fatalf("%+v", x)
	}
	s := x.Sites[0]
	if s.Provider != "net" || s.Name != "inbound_message" || s.PC != textAddr+0x10 || s.Offset != textOff+0x10 ||
		s.SemaphoreOffset != dataOff+4 || len(s.Args) != 2 || s.ArgErr != nil {
		t.Errorf("%+v", s)
	}
	s = x.Sites[1]
	var ae *ArgError
	if s.Offset != textOff+0x20 || s.SemaphoreOffset != 0 || !errors.As(s.ArgErr, &ae) || ae.Text != "8@%xmm0" {
		t.Errorf("%+v", s)
	}
}

// TestParsePrelinked has the notes say addresses that the file was moved from.
func TestParsePrelinked(t *testing.T) {
	const moved = 0x200000
	notes := sdtNote(textAddr+0x10-moved, 0x5000, dataAddr+4-moved, "net", "x", "")
	x, err := parse(image{machine: elf.EM_AARCH64, notes: notes, base: 0x5000 + moved}.build())
	if err != nil {
		t.Fatal(err)
	}
	if s := x.Sites[0]; s.Offset != textOff+0x10 || s.SemaphoreOffset != dataOff+4 || s.PC != textAddr+0x10 {
		t.Errorf("%+v", s)
	}
}

func TestParseDamaged(t *testing.T) {
	good := image{machine: elf.EM_X86_64, notes: sdtNote(textAddr, 0, dataAddr, "p", "n", "8@%rax")}.build()
	if _, err := parse(good); err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func([]byte) []byte{
		"empty":                func(b []byte) []byte { return nil },
		"no magic":             func(b []byte) []byte { b[0] = 0; return b },
		"32 bits":              func(b []byte) []byte { b[elf.EI_CLASS] = 1; return b },
		"big-endian":           func(b []byte) []byte { b[elf.EI_DATA] = 2; return b },
		"object file":          func(b []byte) []byte { b[16] = 1; return b },
		"other machine":        func(b []byte) []byte { b[18] = 243; return b },
		"sections far away":    func(b []byte) []byte { binary.LittleEndian.PutUint64(b[40:], 1<<60); return b },
		"sections at the end":  func(b []byte) []byte { binary.LittleEndian.PutUint64(b[40:], ^uint64(0)); return b },
		"cut in the sections":  func(b []byte) []byte { return b[:len(b)-1] },
		"many sections":        func(b []byte) []byte { binary.LittleEndian.PutUint16(b[60:], 65535); return b },
		"names elsewhere":      func(b []byte) []byte { binary.LittleEndian.PutUint16(b[62:], 9); return b },
		"program header size":  func(b []byte) []byte { b[54] = 8; return b },
		"huge note section":    func(b []byte) []byte { shift(b, 1, 32, 1<<40); return b },
		"note name too long":   func(b []byte) []byte { b[0x3000] = 0xff; return b },
		"note cut off":         func(b []byte) []byte { b[0x3004] = 0xff; return b },
		"strings missing":      func(b []byte) []byte { b[0x3004] = 24; return b },
		"code outside segment": func(b []byte) []byte { b[0x3000+12+8+2] = 0x99; return b },
		"semaphore not data":   func(b []byte) []byte { copy(b[0x3000+12+8+16:], b[0x3000+12+8:][:8]); return b },
	} {
		b := damage(bytes.Clone(good))
		if x, err := parse(b); err == nil {
			t.Errorf("%s: no error: %+v", name, x)
		} else if !errors.Is(err, ErrFormat) && name != "other machine" {
			t.Errorf("%s: %v does not wrap ErrFormat", name, err)
		}
	}
}

// shift sets a 64-bit field of section i.
func shift(b []byte, i int, field int, v uint64) {
	shoff := binary.LittleEndian.Uint64(b[40:])
	binary.LittleEndian.PutUint64(b[shoff+uint64(i*sectionSize+field):], v)
}

// TestParseCompiled takes a program apart that the C compiler made, stripped
// and not, and position-independent or not.
func TestParseCompiled(t *testing.T) {
	dir := t.TempDir()
	src := filepath.Join(dir, "p.c")
	const code = `
#define _SDT_HAS_SEMAPHORES 1
#define SDT_USE_VARIADIC 1
#define STAP_SDT_ARG_CONSTRAINT nor
#include <sys/sdt.h>
unsigned short net_x_semaphore __attribute__((section(".probes")));
volatile long global;
int main(int argc, char **argv) { if (net_x_semaphore) STAP_PROBEV(net, x, argc, argv[0], 7); return 0; }
`
	if err := os.WriteFile(src, []byte(code), 0o644); err != nil {
		t.Fatal(err)
	}
	var want string
	for _, flags := range [][]string{{"-pie"}, {"-no-pie"}, {"-static"}, {"-pie", "-s"}} {
		out := filepath.Join(dir, "p"+strings.Join(flags, ""))
		args := append([]string{"-O2", "-Wl,--build-id", "-o", out, src}, flags...)
		if msg, err := exec.Command("cc", args...).CombinedOutput(); err != nil {
			t.Fatalf("cc (needs gcc and systemtap-sdt-dev): %v: %s", err, msg)
		}
		f, err := os.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		fi, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		x, err := Parse(f, fi.Size())
		f.Close()
		if err != nil {
			t.Fatalf("%v: %v", flags, err)
		}
		var sites []Site
		for _, s := range x.Sites { // libc has some of its own
			if s.Provider == "net" {
				sites = append(sites, s)
			}
		}
		if len(sites) != 1 || sites[0].Name != "x" || sites[0].SemaphoreOffset == 0 || len(sites[0].Args) != 3 || len(x.BuildID) != 40 {
			t.Fatalf("%v: %+v, build id %q", flags, sites, x.BuildID)
		}
		// The probed instruction is a nop; the semaphore is 0.
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if x.Machine == elf.EM_X86_64 && b[sites[0].Offset] != 0x90 {
			t.Errorf("%v: byte %#x at the site, want a nop", flags, b[sites[0].Offset])
		}
		if b[sites[0].SemaphoreOffset] != 0 || b[sites[0].SemaphoreOffset+1] != 0 {
			t.Errorf("%v: semaphore is not 0", flags)
		}
		want = sites[0].ArgText
	}
	if !strings.Contains(want, "7") {
		t.Errorf("arguments are %q", want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(image{machine: elf.EM_X86_64, notes: sdtNote(textAddr, 0, dataAddr, "p", "n", "8@x(%rip)")}.build())
	f.Add(image{machine: elf.EM_AARCH64, notes: sdtNote(textAddr, 0, 0, "p", "n", "8@[x0, 8]"), base: 1}.build())
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := parse(b)
		if err != nil {
			return
		}
		for _, s := range x.Sites {
			if s.Offset >= uint64(len(b)) || s.SemaphoreOffset >= uint64(len(b)) {
				t.Errorf("site outside the file: %+v", s)
			}
			if (s.ArgErr != nil) == (s.Args != nil) && s.ArgText != "" && s.Args != nil {
				t.Errorf("arguments and error: %+v", s)
			}
			for _, a := range s.Args {
				if a.Symbol != "" {
					t.Errorf("symbol left: %+v", a)
				}
			}
		}
	})
}

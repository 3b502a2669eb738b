package usdt

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Bounds on what is read from a file. They are far above anything a linker
// writes for a Bitcoin node and keep a hostile file from costing memory.
const (
	maxSections    = 4096
	maxSegments    = 1024
	maxNames       = 1 << 20   // section name table, bytes
	maxNotes       = 16 << 20  // .note.stapsdt, bytes
	maxBuildID     = 4096      // .note.gnu.build-id, bytes
	maxSymbolBytes = 256 << 20 // .symtab, bytes
	maxStringBytes = 512 << 20 // .strtab, bytes
)

// ErrFormat is wrapped by every error that says the file is not a well-formed
// 64-bit little-endian ELF executable or that its notes are damaged.
var ErrFormat = errors.New("malformed ELF file")

func formatError(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrFormat}, args...)...)
}

// Sizes of the 64-bit ELF structures, from the System V ABI.
const (
	fileHeaderSize = 64
	sectionSize    = 64
	segmentSize    = 56
	symbolSize     = 24
)

type section struct {
	name    string
	nameOff uint32
	typ     elf.SectionType
	addr    uint64
	off     uint64
	size    uint64
	link    uint32
}

type segment struct {
	flags  elf.ProgFlag
	off    uint64
	vaddr  uint64
	filesz uint64
}

// file is the little that is needed of an ELF file.
type file struct {
	r        io.ReaderAt
	size     uint64
	machine  elf.Machine
	sections []section
	loads    []segment
}

// read returns the n bytes at off. It fails, before allocating, when they are
// not wholly inside the file or more than limit.
func (f *file) read(what string, off, n, limit uint64) ([]byte, error) {
	if n > limit {
		return nil, formatError("%s has %d bytes, more than the %d that are read", what, n, limit)
	}
	if off > f.size || n > f.size-off {
		return nil, formatError("%s [%d, +%d] lies outside the file of %d bytes", what, off, n, f.size)
	}
	b := make([]byte, n)
	if n == 0 {
		return b, nil
	}
	if _, err := f.r.ReadAt(b, int64(off)); err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	return b, nil
}

func openELF(r io.ReaderAt, size int64) (*file, error) {
	if size < fileHeaderSize {
		return nil, formatError("%d bytes are too few", size)
	}
	f := &file{r: r, size: uint64(size)}
	h, err := f.read("file header", 0, fileHeaderSize, fileHeaderSize)
	if err != nil {
		return nil, err
	}
	if string(h[:4]) != elf.ELFMAG {
		return nil, formatError("no ELF magic")
	}
	if elf.Class(h[elf.EI_CLASS]) != elf.ELFCLASS64 || elf.Data(h[elf.EI_DATA]) != elf.ELFDATA2LSB {
		return nil, formatError("not 64-bit little-endian")
	}
	le := binary.LittleEndian
	switch t := elf.Type(le.Uint16(h[16:])); t {
	case elf.ET_EXEC, elf.ET_DYN:
	default:
		return nil, formatError("type %v is neither an executable nor a shared object", t)
	}
	f.machine = elf.Machine(le.Uint16(h[18:]))
	phoff, shoff := le.Uint64(h[32:]), le.Uint64(h[40:])
	phentsize, phnum := le.Uint16(h[54:]), le.Uint16(h[56:])
	shentsize, shnum, shstrndx := le.Uint16(h[58:]), le.Uint16(h[60:]), le.Uint16(h[62:])

	if err := f.readSegments(phoff, phentsize, phnum); err != nil {
		return nil, err
	}
	if err := f.readSections(shoff, shentsize, shnum, shstrndx); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *file) readSegments(off uint64, entsize, num uint16) error {
	if num == 0 {
		return nil
	}
	if entsize != segmentSize || num > maxSegments {
		return formatError("%d program headers of %d bytes", num, entsize)
	}
	b, err := f.read("program headers", off, uint64(num)*segmentSize, maxSegments*segmentSize)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	for ; len(b) > 0; b = b[segmentSize:] {
		if elf.ProgType(le.Uint32(b)) != elf.PT_LOAD {
			continue
		}
		f.loads = append(f.loads, segment{
			flags:  elf.ProgFlag(le.Uint32(b[4:])),
			off:    le.Uint64(b[8:]),
			vaddr:  le.Uint64(b[16:]),
			filesz: le.Uint64(b[32:]),
		})
	}
	return nil
}

func (f *file) readSections(off uint64, entsize, num, names uint16) error {
	if num == 0 {
		return nil // wholly stripped: no section, hence no note
	}
	if entsize != sectionSize || num > maxSections {
		return formatError("%d section headers of %d bytes", num, entsize)
	}
	b, err := f.read("section headers", off, uint64(num)*sectionSize, maxSections*sectionSize)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	for ; len(b) > 0; b = b[sectionSize:] {
		f.sections = append(f.sections, section{
			nameOff: le.Uint32(b),
			typ:     elf.SectionType(le.Uint32(b[4:])),
			addr:    le.Uint64(b[16:]),
			off:     le.Uint64(b[24:]),
			size:    le.Uint64(b[32:]),
			link:    le.Uint32(b[40:]),
		})
	}
	if int(names) >= len(f.sections) {
		return formatError("section name table %d of %d sections", names, len(f.sections))
	}
	n := f.sections[names]
	table, err := f.read("section name table", n.off, n.size, maxNames)
	if err != nil {
		return err
	}
	for i := range f.sections {
		s := &f.sections[i]
		// A name that can't be read is left empty: it is not one of ours.
		s.name, _, _ = cString(table, uint64(s.nameOff))
	}
	return nil
}

// section returns the first section of that name and type.
func (f *file) section(name string, typ elf.SectionType) (section, bool) {
	for _, s := range f.sections {
		if s.name == name && s.typ == typ {
			return s, true
		}
	}
	return section{}, false
}

// fileOffset converts a virtual address into an offset in the file. The byte at
// that address must come from the file and lie in a segment with all the flags.
func (f *file) fileOffset(vaddr uint64, flags elf.ProgFlag) (uint64, error) {
	for _, p := range f.loads {
		if p.flags&flags != flags || vaddr < p.vaddr || vaddr-p.vaddr >= p.filesz {
			continue
		}
		off := vaddr - p.vaddr + p.off
		if off < p.off || off >= f.size {
			return 0, formatError("address %#x maps to offset %#x outside the file", vaddr, off)
		}
		return off, nil
	}
	return 0, formatError("address %#x is in no loaded segment with flags %v", vaddr, flags)
}

// symbols returns the addresses of the named data or function symbols. Names
// that the file doesn't define are absent from the result; so is a name that
// two symbols of different addresses share, as none of them can be chosen.
func (f *file) symbols(names map[string]bool) (map[string]uint64, error) {
	found := make(map[string]uint64, len(names))
	tab, ok := f.section(".symtab", elf.SHT_SYMTAB)
	if !ok || len(names) == 0 {
		return found, nil
	}
	if int(tab.link) >= len(f.sections) {
		return nil, formatError("string table %d of %d sections", tab.link, len(f.sections))
	}
	if tab.size > maxSymbolBytes || tab.off > f.size || tab.size > f.size-tab.off {
		return nil, formatError("symbol table of %d bytes", tab.size)
	}
	strs := f.sections[tab.link]
	if strs.size > maxStringBytes || strs.off > f.size || strs.size > f.size-strs.off {
		return nil, formatError("string table of %d bytes", strs.size)
	}
	longest := 0
	for n := range names {
		longest = max(longest, len(n))
	}
	ambiguous := make(map[string]bool)
	name := make([]byte, longest+1)
	const chunk = 4096 * symbolSize
	for done := uint64(0); done+symbolSize <= tab.size; {
		n := min(uint64(chunk), (tab.size-done)/symbolSize*symbolSize)
		b, err := f.read("symbols", tab.off+done, n, chunk)
		if err != nil {
			return nil, err
		}
		done += n
		for ; len(b) > 0; b = b[symbolSize:] {
			le := binary.LittleEndian
			typ, shndx := elf.ST_TYPE(b[4]), elf.SectionIndex(le.Uint16(b[6:]))
			if shndx == elf.SHN_UNDEF || (typ != elf.STT_OBJECT && typ != elf.STT_FUNC && typ != elf.STT_NOTYPE) {
				continue
			}
			got, err := f.nameAt(strs, uint64(le.Uint32(b)), name)
			if err != nil {
				return nil, err
			}
			if !names[string(got)] {
				continue
			}
			value := le.Uint64(b[8:])
			if old, ok := found[string(got)]; ok && old != value {
				ambiguous[string(got)] = true
			}
			found[string(got)] = value
		}
	}
	for n := range ambiguous {
		delete(found, n)
	}
	return found, nil
}

// nameAt reads the string at off of a string table into buf. The result is
// empty if the string is longer than buf can hold, so that it matches nothing.
func (f *file) nameAt(strs section, off uint64, buf []byte) ([]byte, error) {
	if off >= strs.size {
		return nil, formatError("symbol name at %d of a string table of %d bytes", off, strs.size)
	}
	b := buf[:min(uint64(len(buf)), strs.size-off)]
	if _, err := f.r.ReadAt(b, int64(strs.off+off)); err != nil {
		return nil, fmt.Errorf("read symbol name: %w", err)
	}
	for i, c := range b {
		if c == 0 {
			return b[:i], nil
		}
	}
	return nil, nil
}

// cString returns the NUL-terminated string at off and the offset behind it.
func cString(b []byte, off uint64) (s string, next uint64, ok bool) {
	if off >= uint64(len(b)) {
		return "", 0, false
	}
	for i := off; i < uint64(len(b)); i++ {
		if b[i] == 0 {
			return string(b[off:i]), i + 1, true
		}
	}
	return "", 0, false
}

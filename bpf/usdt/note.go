package usdt

import (
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
)

// Site is one place in an executable where a tracepoint was compiled in.
type Site struct {
	Provider string
	Name     string
	// PC is the virtual address of the instruction to probe, as linked.
	PC uint64
	// Offset is where that instruction lies in the file, in bytes: the
	// address the kernel's uprobes take.
	Offset uint64
	// SemaphoreOffset is where the 16-bit semaphore lies in the file, in
	// bytes; 0 when the site has none and is always on.
	SemaphoreOffset uint64
	// ArgText is the text of the arguments as the note has it.
	ArgText string
	// Args are the parsed arguments; nil if ArgErr is set.
	Args []Arg
	// ArgErr says which argument text was not understood.
	ArgErr error
}

// Executable is what the notes of one ELF file say.
type Executable struct {
	Machine elf.Machine
	// BuildID is the linker's GNU build id in hexadecimal, empty if absent.
	BuildID string
	// Sites are in the order of the notes, every site of every tracepoint.
	Sites []Site
}

const (
	noteSection  = ".note.stapsdt"
	noteName     = "stapsdt\x00"
	noteType     = 3 // NT_STAPSDT
	baseSection  = ".stapsdt.base"
	buildSection = ".note.gnu.build-id"
)

// Parse reads the notes of the ELF file r of size bytes. A file without notes is
// no error: it has no sites. Damaged notes are an error, as a tracepoint could
// be missing unseen; an argument that isn't understood is the error of its site
// only.
func Parse(r io.ReaderAt, size int64) (*Executable, error) {
	f, err := openELF(r, size)
	if err != nil {
		return nil, err
	}
	switch f.machine {
	case elf.EM_X86_64, elf.EM_AARCH64:
	default:
		return nil, fmt.Errorf("machine %v is not supported: need x86-64 or arm64", f.machine)
	}
	e := &Executable{Machine: f.machine, BuildID: f.buildID()}
	for _, s := range f.sections {
		if s.name != noteSection || s.typ != elf.SHT_NOTE {
			continue
		}
		b, err := f.read(noteSection, s.off, s.size, maxNotes)
		if err != nil {
			return nil, err
		}
		sites, err := f.parseNotes(b)
		if err != nil {
			return nil, err
		}
		e.Sites = append(e.Sites, sites...)
	}
	if err := f.resolve(e.Sites); err != nil {
		return nil, err
	}
	return e, nil
}

func (f *file) buildID() string {
	s, ok := f.section(buildSection, elf.SHT_NOTE)
	if !ok {
		return ""
	}
	b, err := f.read(buildSection, s.off, s.size, maxBuildID)
	if err != nil {
		return ""
	}
	n, _, err := nextNote(b)
	if err != nil || n.name != "GNU\x00" || n.typ != 3 {
		return ""
	}
	return hex.EncodeToString(n.desc)
}

type note struct {
	name string
	typ  uint32
	desc []byte
}

// nextNote splits the first note off b. Name and descriptor are padded to four
// bytes each.
func nextNote(b []byte) (note, []byte, error) {
	if len(b) < 12 {
		return note{}, nil, formatError("note header cut off: %d bytes left", len(b))
	}
	le := binary.LittleEndian
	namesz, descsz := uint64(le.Uint32(b)), uint64(le.Uint32(b[4:]))
	n := note{typ: le.Uint32(b[8:])}
	b = b[12:]
	align := func(n uint64) uint64 { return (n + 3) &^ 3 }
	if namesz > uint64(len(b)) || align(namesz) > uint64(len(b)) {
		return note{}, nil, formatError("note name of %d bytes, %d left", namesz, len(b))
	}
	n.name, b = string(b[:namesz]), b[align(namesz):]
	if descsz > uint64(len(b)) {
		return note{}, nil, formatError("note descriptor of %d bytes, %d left", descsz, len(b))
	}
	n.desc = b[:descsz]
	return n, b[min(align(descsz), uint64(len(b))):], nil
}

func (f *file) parseNotes(b []byte) ([]Site, error) {
	var sites []Site
	for len(b) > 0 {
		n, rest, err := nextNote(b)
		if err != nil {
			return nil, err
		}
		b = rest
		if n.name != noteName || n.typ != noteType {
			continue
		}
		s, err := f.parseSite(n.desc)
		if err != nil {
			return nil, err
		}
		sites = append(sites, s)
	}
	return sites, nil
}

// parseSite reads a note's descriptor: three addresses (instruction, base,
// semaphore) and three strings (provider, name, arguments).
func (f *file) parseSite(desc []byte) (Site, error) {
	if len(desc) < 24 {
		return Site{}, formatError("tracepoint note of %d bytes", len(desc))
	}
	le := binary.LittleEndian
	pc, base, sem := le.Uint64(desc), le.Uint64(desc[8:]), le.Uint64(desc[16:])
	var s Site
	var ok bool
	at := uint64(24)
	for _, p := range []*string{&s.Provider, &s.Name, &s.ArgText} {
		if *p, at, ok = cString(desc, at); !ok {
			return Site{}, formatError("tracepoint note without its strings")
		}
	}
	// A prelinked file was moved after the note was written: the base section's
	// address tells by how much.
	if bs, ok := f.section(baseSection, elf.SHT_PROGBITS); ok && base != 0 {
		pc += bs.addr - base
		if sem != 0 {
			sem += bs.addr - base
		}
	}
	var err error
	s.PC = pc
	if s.Offset, err = f.fileOffset(pc, elf.PF_X); err != nil {
		return Site{}, fmt.Errorf("tracepoint %s:%s: %w", s.Provider, s.Name, err)
	}
	if sem != 0 {
		if s.SemaphoreOffset, err = f.fileOffset(sem, elf.PF_W); err != nil {
			return Site{}, fmt.Errorf("semaphore of tracepoint %s:%s: %w", s.Provider, s.Name, err)
		}
	}
	s.Args, s.ArgErr = ParseArgs(f.machine, s.ArgText)
	return s, nil
}

// resolve replaces symbol names in the arguments by the distance from the
// probed instruction, looking all of them up in one pass.
func (f *file) resolve(sites []Site) error {
	names := make(map[string]bool)
	for _, s := range sites {
		for _, a := range s.Args {
			if a.Symbol != "" {
				names[a.Symbol] = true
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	addrs, err := f.symbols(names)
	if err != nil {
		return err
	}
	for i := range sites {
		s := &sites[i]
		for j := range s.Args {
			a := &s.Args[j]
			if a.Symbol == "" {
				continue
			}
			addr, ok := addrs[a.Symbol]
			if !ok {
				s.ArgErr = &ArgError{Text: s.ArgText, Reason: fmt.Sprintf("symbol %q is not defined once in .symtab (stripped file?)", a.Symbol)}
				s.Args = nil
				break
			}
			// Relative to the instruction, so that it holds wherever
			// the file is loaded.
			a.Disp += int64(addr - s.PC)
			a.Symbol = ""
		}
	}
	return nil
}

package node

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
)

// maxNoteBytes bounds how much of a .note.stapsdt section is looked at. Bitcoin
// Core's has some 3 KB.
const maxNoteBytes = 1 << 20

// coreProbe is the provider and name of the tracepoint that every Bitcoin Core
// with tracepoints has (doc/tracing.md), as it stands in a note. Looking for it
// matters: statically linked C and C++ libraries bring probes of their own.
const coreProbe = "net\x00inbound_message\x00"

// HasTracepoints reports whether the ELF program at path was built with Bitcoin
// Core's USDT tracepoints. It doesn't say whether they can be attached.
func HasTracepoints(path string) (bool, error) {
	file, err := elf.Open(path)
	if err != nil {
		return false, fmt.Errorf("reading ELF sections of %s: %w", path, err)
	}
	defer file.Close()
	section := file.Section(".note.stapsdt")
	if section == nil {
		return false, nil
	}
	notes, err := io.ReadAll(io.LimitReader(section.Open(), maxNoteBytes))
	if err != nil {
		return false, fmt.Errorf("reading tracepoint notes of %s: %w", path, err)
	}
	return bytes.Contains(notes, []byte(coreProbe)), nil
}

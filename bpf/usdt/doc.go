// Package usdt finds the user-space statically defined tracepoints (USDT) of an
// ELF executable.
//
// A tracepoint made with sys/sdt.h leaves one note in the section
// .note.stapsdt for every site it was compiled into. A note names the provider,
// the tracepoint, the address of the instruction to probe, the address of the
// semaphore that switches the site on, and one text per argument that says in
// which register or at which address the argument lies and how wide it is. The
// format is that of systemtap's UserSpaceProbeImplementation page.
//
// The file is treated as hostile: every size is checked against the file and
// against a bound before anything is allocated, and no input makes the package
// panic. An argument text that is not fully understood is an error that quotes
// it; nothing is guessed.
package usdt

package scenario

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// What a program of type XDP says of a packet (linux/bpf.h).
const (
	xdpDrop = 1
	xdpPass = 2
)

// firewall drops the packets with which others than the host itself open connections to a TCP
// port, as a firewall does that forgets them: nobody is refused, and nobody gets an answer.
// Connections that are open stay so.
type firewall struct {
	program *ebpf.Program
	rule    link.Link
}

// closePort puts a firewall in front of a port of the namespace's loopback interface. It is
// gone when this process has ended, whatever the reason.
func closePort(port uint16) (*firewall, error) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return nil, err
	}
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, Instructions: dropOpenings(port), License: "MIT"})
	if err != nil {
		return nil, fmt.Errorf("loading the rule of a firewall: %w", err)
	}
	rule, err := link.AttachXDP(link.XDPOptions{Program: program, Interface: lo.Index, Flags: link.XDPGenericMode})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("putting a firewall on the loopback interface: %w", err), program.Close())
	}
	return &firewall{program: program, rule: rule}, nil
}

// open takes the firewall away.
func (f *firewall) open() error { return errors.Join(f.rule.Close(), f.program.Close()) }

// Places in a packet, from the beginning of its Ethernet header: the type of what is in it, then
// in an IPv4 header without options (RFC 791) its first byte, protocol and source, then in the
// TCP header (RFC 9293) the port of the destination and the flags.
const (
	typeAt, versionAt, protocolAt, sourceAt, portAt, flagsAt = 12, 14, 23, 26, 36, 47

	plainIPv4, protocolTCP, flagSYN, flagACK = 0x45, 6, 0x02, 0x10
)

// dropOpenings is a program that drops the first packet of connections over IPv4 to a port that
// don't come from 127.0.0.0/8.
func dropOpenings(port uint16) asm.Instructions {
	const pass = "pass"
	inOrder := func(n uint16) int32 {
		return int32(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n)))
	}
	load := func(at int16, size asm.Size) asm.Instruction { return asm.LoadMem(asm.R4, asm.R2, at, size) }
	return asm.Instructions{
		// data and data_end of struct xdp_md
		asm.LoadMem(asm.R2, asm.R1, 0, asm.Word),
		asm.LoadMem(asm.R3, asm.R1, 4, asm.Word),
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, flagsAt+1),
		asm.JGT.Reg(asm.R4, asm.R3, pass),
		load(typeAt, asm.Half), asm.JNE.Imm(asm.R4, inOrder(0x0800), pass),
		load(versionAt, asm.Byte), asm.JNE.Imm(asm.R4, plainIPv4, pass),
		load(protocolAt, asm.Byte), asm.JNE.Imm(asm.R4, protocolTCP, pass),
		load(sourceAt, asm.Byte), asm.JEq.Imm(asm.R4, 127, pass),
		load(portAt, asm.Half), asm.JNE.Imm(asm.R4, inOrder(port), pass),
		load(flagsAt, asm.Byte), asm.And.Imm(asm.R4, flagSYN|flagACK), asm.JNE.Imm(asm.R4, flagSYN, pass),
		asm.Mov.Imm(asm.R0, xdpDrop),
		asm.Return(),
		asm.Mov.Imm(asm.R0, xdpPass).WithSymbol(pass),
		asm.Return(),
	}
}

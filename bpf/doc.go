// Package bpf turns hits of Bitcoin Core's tracepoints into raw records. It finds
// the tracepoints in a node's executable, loads one eBPF program, attaches it to
// every site, and hands out what the program recorded, in order. It knows nothing
// of the P2P protocol and nothing of events.
//
//	exe, err := bpf.Open("/usr/local/bin/bitcoind")   // or /proc/PID/exe
//	prog, err := bpf.Load(bpf.Config{})
//	att, err := prog.Attach(exe, bpf.Options{})       // att.Probes() is the report
//	r := prog.Reader()
//	var rec bpf.Record
//	for {
//		if err := r.Read(&rec); err != nil { ... }   // os.ErrClosed after Close
//		switch rec.Tracepoint {
//		case bpf.NetInboundMessage:
//			peer, kind, payload := rec.Int(0), rec.Bytes(3), rec.Payload()
//		}
//	}
//
// # Attaching
//
// Probes belong to a file (an inode), not to a process or a path: every process
// that runs the file now or later is hooked, from its first instruction. A file
// that is renamed over the path, as an upgrade does, is another inode and is not
// hooked: compare FileID of /proc/PID/exe with Executable.ID, Attach the new one
// and close the old Attachment. Both write into the same ring, so the order holds
// and nothing that is in the ring is lost. Program.SetProcesses limits the records
// to some processes of the file.
//
// The kernel raises and lowers the tracepoints' semaphores, and lowers them too
// when this process is killed.
//
// # Records and losses
//
// There is one ring buffer, and the records of one thread are in the order of its
// hits. Memory that Record methods return belongs to the ring and is valid until
// the next Read or TryRead. Every hit is accounted for: for each tracepoint
//
//	hits = records + filtered + lost
//
// holds exactly (Program.Counters). A hit that finds no room for its payload is
// recorded without it (Record.Flags has Shed) before it is lost. What can't be
// read from the node's memory is left out and flagged, never replaced by what
// happens to be in the buffer.
//
// # Kernels and capabilities
//
// The floor is Linux 6.1 with BTF; features are probed, versions are not looked
// at. With uprobe_multi links (tested from 6.12 on) CAP_BPF and CAP_PERFMON are
// enough; on kernels without them perf event links need CAP_SYS_ADMIN. What is
// missing is said by *CapabilityError and *UnsupportedError.
package bpf

package main

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/peerobserver/peerobserver/bpf/usdt"
	"github.com/peerobserver/peerobserver/lab/regtest"
)

// An agent that is killed leaves nothing in the node: every semaphore is back at 0, so
// that the node makes no tracepoint arguments for nobody; and the next agent sees again.
func TestKilledAgentLeavesNodeAlone(t *testing.T) {
	t.Parallel()
	config := regtest.Config{V2: true}
	if own := regtest.Binary(t); own.HasTracepoints {
		// Semaphores are counted by file: other tests' agents must not add to them.
		config.Binary = ownBinary(t, own.Path, "bitcoind")
	}
	node := regtest.WithTracepoints(t, config)
	pid := node.PID()
	semaphores := findSemaphores(t, node)
	if raised := semaphores.raised(t); len(raised) != 0 {
		t.Fatalf("raised without an agent: %v", raised)
	}
	var names []string
	for run := range 2 {
		o := observe(t, node, nil)
		o.ready()
		events := subscribeNow(t, o.nats)
		seesBlocks(t, fmt.Sprintf("by agent %d", run+1), node, events)
		raised := semaphores.raised(t)
		if len(raised) < 10 || raised["net:inbound_message"] != 1 {
			t.Errorf("raised with an agent: %v, want at least the ten tracepoints that are on by default", raised)
		}
		if run == 0 {
			for name := range raised {
				names = append(names, name)
			}
		}
		for _, name := range names {
			if raised[name] == 0 {
				t.Errorf("%s is not raised by agent %d", name, run+1)
			}
		}
		if err := o.cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-o.done
		eventually(t, "the semaphores", func() error {
			if raised := semaphores.raised(t); len(raised) != 0 {
				return fmt.Errorf("raised after the agent was killed: %v", raised)
			}
			return nil
		})
		if _, err := node.Mine(t.Context(), 1); err != nil {
			t.Errorf("the node after its agent was killed: %v", err)
		}
		if !node.Running() || node.PID() != pid {
			t.Fatal("the node ended with its agent")
		}
	}
}

// semaphores are where a process has them in its memory.
type semaphores struct {
	pid       int
	addresses map[string]int64
}

// findSemaphores computes the address of every tracepoint's semaphore in a node.
func findSemaphores(t *testing.T, node *regtest.Node) semaphores {
	t.Helper()
	file, err := os.Open(node.Binary())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := usdt.Parse(file, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	program, err := elf.NewFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := semaphores{pid: node.PID(), addresses: map[string]int64{}}
	base := loadBase(t, node.PID(), node.Binary(), program)
	for _, site := range parsed.Sites {
		for _, segment := range program.Progs {
			if offset := site.SemaphoreOffset; segment.Type == elf.PT_LOAD && offset >= segment.Off && offset < segment.Off+segment.Filesz {
				s.addresses[site.Provider+":"+site.Name] = int64(base + segment.Vaddr + offset - segment.Off)
			}
		}
	}
	if len(s.addresses) < 10 {
		t.Fatalf("semaphores of only %d tracepoints found", len(s.addresses))
	}
	return s
}

// loadBase is what a process adds to the addresses of its program: 0 if that isn't
// position-independent.
func loadBase(t *testing.T, pid int, path string, program *elf.File) uint64 {
	t.Helper()
	if program.Type != elf.ET_DYN {
		return 0
	}
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		// START-END PERMISSIONS OFFSET DEVICE INODE PATH; the first one is the lowest.
		if fields := strings.Fields(line); len(fields) == 6 && fields[5] == path {
			var start uint64
			if _, err := fmt.Sscanf(fields[0], "%x-", &start); err != nil {
				t.Fatal(err)
			}
			return start
		}
	}
	t.Fatalf("%s isn't mapped by process %d", path, pid)
	return 0
}

// raised reads the semaphores that aren't 0.
func (s semaphores) raised(t *testing.T) map[string]int {
	t.Helper()
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", s.pid))
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	raised := map[string]int{}
	for name, address := range s.addresses {
		var value [2]byte
		if _, err := memory.ReadAt(value[:], address); err != nil {
			t.Fatalf("semaphore of %s at %#x: %v", name, address, err)
		}
		if n := binary.LittleEndian.Uint16(value[:]); n != 0 {
			raised[name] = int(n)
		}
	}
	return raised
}

package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestInboundCapacity(t *testing.T) {
	const unknown = -1
	for _, test := range []struct {
		name    string
		args    string
		config  string
		soft    string // limit of file descriptors; empty: 1024
		hard    string // empty: as soft
		version int
		want    int
	}{
		{name: "default", version: 310000, want: 114},
		{name: "default of Bitcoin Core 32", version: 320000, want: 189},
		{name: "default of a development version", version: 319900, want: 114},
		{name: "default of a version that isn't known yet", want: unknown},
		{name: "command line, whatever the version", args: "-maxconnections=40", want: 29},
		{name: "configuration file", config: "maxconnections=60\n", version: 320000, want: 49},
		{name: "command line over configuration file", args: "-maxconnections=40", config: "maxconnections=60\n", want: 29},
		{name: "section over default section", config: "maxconnections=60\n[main]\nmaxconnections=50\n", want: 39},
		{name: "fewer than it opens by itself", args: "-maxconnections=9", want: 0},
		{name: "no connections", args: "-nomaxconnections -listen", want: 0},
		{name: "does not listen", args: "-listen=0", version: 310000, want: 0},
		{name: "does not listen because of connect", args: "-connect=192.0.2.1", version: 310000, want: 0},
		{name: "blocks only makes no difference", args: "-blocksonly", version: 310000, want: 114},
		{name: "descriptors for forty", soft: "200", version: 310000, want: 29},
		{name: "descriptors for 39 besides two sockets to listen on", args: "-bind=127.0.0.1 -whitebind=127.0.0.2", soft: "200", version: 310000, want: 28},
		{name: "a soft limit that the node raises", soft: "200", hard: "4096", version: 310000, want: 114},
		{name: "a soft limit that the node raises as far as it may", args: "-maxconnections=1000", soft: "200", hard: "400", want: 229},
		{name: "no limit", args: "-maxconnections=5000", soft: "unlimited", want: 4989},
		{name: "a number out of range", args: "-maxconnections=99999999999999999999", soft: "unlimited", want: 1<<31 - 1 - 160 - 11},
		{name: "no number of descriptors", soft: "many", version: 310000, want: 114},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := dataDir(t, test.config)
			if test.soft == "" {
				test.soft = "1024"
			}
			if test.hard == "" {
				test.hard = test.soft
			}
			proc := newFakeProc(t, fakeProcess{pid: 9, comm: "bitcoind", exe: "/usr/bin/bitcoind",
				args: append([]string{"bitcoind", "-datadir=" + dir}, strings.Fields(test.args)...)})
			proc.write("9/limits", fmt.Sprintf("Limit                     Soft Limit           Hard Limit           Units\n"+
				"Max processes             10                   20                   processes\n"+
				"Max open files            %-20s %-20s files\n", test.soft, test.hard))
			n, err := Find(t.Context(), Options{ProcRoot: proc.root})
			if err != nil {
				t.Fatal(err)
			}
			slots, known := n.InboundCapacity(test.version)
			if !known {
				slots = unknown
			}
			if slots != test.want {
				t.Errorf("capacity %d, want %d; missing %v", slots, test.want, n.Missing)
			}
		})
	}
}

// What may be set where it can't be read is not known.
func TestInboundCapacityUnknown(t *testing.T) {
	dir := t.TempDir()
	// A directory in the place of the file can't be read by anybody.
	if err := os.Mkdir(filepath.Join(dir, configName), 0o755); err != nil {
		t.Fatal(err)
	}
	proc := newFakeProc(t,
		fakeProcess{pid: 9, comm: "bitcoind", exe: "/usr/bin/bitcoind", args: []string{"bitcoind", "-datadir=" + dir, "-chain=main"}},
		fakeProcess{pid: 10, comm: "bitcoind", exe: "/usr/bin/bitcoind", args: []string{"bitcoind", "-datadir=" + dir, "-chain=main", "-maxconnections=30"}})
	find := func(options Options) *Node {
		n, err := Find(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if slots, known := find(Options{ProcRoot: proc.root, PID: 9}).InboundCapacity(310000); known {
		t.Errorf("capacity %d although bitcoin.conf can't be read", slots)
	}
	if slots, known := find(Options{ProcRoot: proc.root, PID: 10}).InboundCapacity(0); !known || slots != 19 {
		t.Errorf("capacity %d (%v) by the command line, want 19", slots, known)
	}
	readable := dataDir(t, "maxconnections=40\n")
	if slots, known := inspectDataDir(Options{Datadir: readable, ProcRoot: proc.root}).InboundCapacity(310000); known {
		t.Errorf("capacity %d of a node of which no process is seen", slots)
	}
}

package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// fakeProc is a tree like /proc with the processes of a test.
type fakeProc struct {
	t    *testing.T
	root string
}

// fakeProcess describes one process of fakeProc.
type fakeProcess struct {
	pid, parent int
	comm        string
	state       string // default S
	exe         string // target of the link; empty: the link can't be read
	cwd         string
	home        string // empty: the environment can't be read
	args        []string
	ticks       uint64 // default 1000 + pid
}

func newFakeProc(t *testing.T, processes ...fakeProcess) *fakeProc {
	p := &fakeProc{t: t, root: t.TempDir()}
	p.write("stat", "cpu 1 2 3\nbtime 1700000000\n")
	for _, process := range processes {
		p.add(process)
	}
	return p
}

func (p *fakeProc) write(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p *fakeProc) link(name, target string) {
	p.t.Helper()
	if target == "" {
		return
	}
	if err := os.Symlink(target, filepath.Join(p.root, name)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *fakeProc) add(process fakeProcess) {
	if process.state == "" {
		process.state = "S"
	}
	if process.ticks == 0 {
		process.ticks = 1000 + uint64(process.pid)
	}
	dir := strconv.Itoa(process.pid) + "/"
	p.write(dir+"comm", process.comm+"\n")
	p.write(dir+"stat", fmt.Sprintf("%d (%s) %s %d 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 %d 1 1\n",
		process.pid, process.comm, process.state, process.parent, process.ticks))
	p.write(dir+"status", "Name:\tx\nUid:\t1\t1234\t1\t1\nGid:\t1\t5678\t1\t1\n")
	p.write(dir+"cmdline", strings.Join(process.args, "\x00")+"\x00")
	if process.home != "" {
		p.write(dir+"environ", "A=b\x00HOME="+process.home+"\x00")
	}
	p.link(dir+"exe", process.exe)
	p.link(dir+"cwd", process.cwd)
	p.link(dir+"root", "/")
}

func (p *fakeProc) remove(pid int) {
	p.t.Helper()
	if err := os.RemoveAll(filepath.Join(p.root, strconv.Itoa(pid))); err != nil {
		p.t.Fatal(err)
	}
}

// dataDir makes a data directory with a bitcoin.conf.
func dataDir(t *testing.T, config string) string {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "bitcoin.conf"), config)
	return dir
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFindPassesOverWhatIsNoNode(t *testing.T) {
	home := t.TempDir()
	proc := newFakeProc(t,
		fakeProcess{pid: 1, comm: "systemd", exe: "/sbin/init", args: []string{"/sbin/init"}},
		fakeProcess{pid: 2, comm: "kthreadd"},
		fakeProcess{pid: 20, comm: "bash", exe: "/bin/bash", args: []string{"bash", "-c", "bitcoind -regtest"}},
		// A script called bitcoind: the kernel gives it that name.
		fakeProcess{pid: 21, comm: "bitcoind", exe: "/bin/dash", args: []string{"/bin/sh", "/usr/local/bin/bitcoind"}},
		// The same where the program can't be seen.
		fakeProcess{pid: 22, comm: "bitcoind", args: []string{"/bin/sh", "/usr/local/bin/bitcoind"}},
		fakeProcess{pid: 23, comm: "bitcoin-cli", exe: "/usr/bin/bitcoin-cli", args: []string{"bitcoin-cli", "-regtest", "stop"}},
		fakeProcess{pid: 24, comm: "bitcoind", state: "Z", exe: "/usr/bin/bitcoind"},
		fakeProcess{pid: 30, comm: "bitcoind", exe: "/usr/bin/bitcoind", home: home, cwd: "/", args: []string{"bitcoind"}},
	)
	n, err := Find(t.Context(), Options{ProcRoot: proc.root})
	if err != nil {
		t.Fatal(err)
	}
	if n.PID != 30 || n.StartTicks != 1030 || n.StartTime.Unix() != 1700000010 || n.UID != 1234 || n.GID != 5678 {
		t.Errorf("found %+v", n)
	}
	if n.Chain != ChainMain || n.DataDir != filepath.Join(home, ".bitcoin") || n.NetworkDir != n.DataDir ||
		n.LogFile != filepath.Join(home, ".bitcoin/debug.log") || n.CookieFile != filepath.Join(home, ".bitcoin/.cookie") ||
		n.RPCAddress != "127.0.0.1:8332" || !n.Listens || len(n.P2P) != 3 || n.P2P[0].Address.String() != "0.0.0.0:8333" {
		t.Errorf("defaults %+v", n)
	}
}

func TestFindReadsTheConfiguration(t *testing.T) {
	dir := dataDir(t, "chain=signet\nrpcport=1\ndebuglogfile=logs/node.log\nincludeconf=more.conf\n[signet]\nrpcport=2222\n")
	writeFile(t, filepath.Join(dir, "more.conf"), "rpcuser=alice\nrpcpassword=geheim\nsignet.bind=10.0.0.1\n")
	proc := newFakeProc(t, fakeProcess{pid: 5, comm: "bitcoin-node", exe: "/opt/b/bitcoin-node", cwd: filepath.Dir(dir),
		home: "/home/x", args: []string{"bitcoin-node", "-datadir=" + filepath.Base(dir), "-rpcpassword=visible"}})
	n, err := Find(t.Context(), Options{ProcRoot: proc.root})
	if err != nil {
		t.Fatal(err)
	}
	if n.Chain != ChainSignet || n.NetworkDir != filepath.Join(dir, "signet") || n.LogFile != filepath.Join(dir, "signet/logs/node.log") ||
		n.RPCAddress != "127.0.0.1:2222" || n.CookieFile != "" || n.RPCUser != "alice" || n.rpcPassword != "visible" ||
		len(n.P2P) != 1 || n.P2P[0].Address.String() != "10.0.0.1:38333" {
		t.Errorf("found %+v", n)
	}
	if text := fmt.Sprintf("%v %s", n.CommandLine, n); strings.Contains(text, "visible") {
		t.Errorf("the password shows: %s", text)
	}
}

func TestSeveralNodesAreListed(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	proc := newFakeProc(t,
		fakeProcess{pid: 7, comm: "bitcoind", exe: "/usr/bin/bitcoind", args: []string{"bitcoind", "-regtest", "-datadir=" + a}},
		fakeProcess{pid: 8, comm: "bitcoind", exe: "/opt/bitcoind", args: []string{"bitcoind", "-regtest", "-datadir=" + b, "-rpcport=99"}},
		// The process that waits for pid 8 to be ready.
		fakeProcess{pid: 6, comm: "bitcoind", exe: "/opt/bitcoind", args: []string{"bitcoind", "-signet"}},
		fakeProcess{pid: 9, parent: 6, comm: "bitcoind", exe: "/opt/bitcoind", args: []string{"bitcoind", "-signet"}},
	)
	_, err := Find(t.Context(), Options{ProcRoot: proc.root, Chain: "regtest"})
	var several *SeveralError
	if !errors.As(err, &several) || len(several.Nodes) != 2 {
		t.Fatalf("error %v, want two nodes", err)
	}
	text := err.Error()
	for _, part := range []string{a, b, "pid 7", "pid 8", "--bitcoin.datadir", "--bitcoin.binary", "--bitcoin.pid", "/opt/bitcoind"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q lacks %q", text, part)
		}
	}
	if strings.Contains(text, "--bitcoin.chain") || strings.Contains(text, "\n") {
		t.Errorf("%q names a flag that doesn't choose, or is several lines", text)
	}
	for _, choice := range []Options{
		{PID: 8}, {Datadir: b}, {Datadir: filepath.Join(b, "regtest")}, {Binary: "/opt/bitcoind", Chain: "regtest"}, {RPCAddress: "127.0.0.1:99"},
	} {
		choice.ProcRoot = proc.root
		if n, err := Find(t.Context(), choice); err != nil || n.PID != 8 {
			t.Errorf("%+v finds %v (%v), want pid 8", choice, n, err)
		}
	}
	if n, err := Find(t.Context(), Options{ProcRoot: proc.root, Chain: "signet"}); err != nil || n.PID != 9 {
		t.Errorf("found %v (%v), want the node and not the process that started it", n, err)
	}
	all, err := FindAll(t.Context(), Options{ProcRoot: proc.root})
	if err != nil || len(all) != 3 {
		t.Errorf("all nodes: %v (%v), want three", all, err)
	}
	pidFile := filepath.Join(t.TempDir(), "bitcoind.pid")
	writeFile(t, pidFile, "7\n")
	if n, err := Find(t.Context(), Options{ProcRoot: proc.root, PIDFile: pidFile}); err != nil || n.PID != 7 {
		t.Errorf("by pid file %v (%v), want pid 7", n, err)
	}
}

func TestNotFoundSaysWhatWasLookedFor(t *testing.T) {
	proc := newFakeProc(t)
	for _, test := range []struct {
		options Options
		parts   []string
	}{
		{Options{}, []string{"bitcoind", "--bitcoin.pid", "--rpc.address"}},
		{Options{PID: 4711}, []string{"4711", "--bitcoin.pid"}},
		{Options{Chain: "regtest", Datadir: "/nowhere"}, []string{"--bitcoin.chain=regtest", "--bitcoin.datadir=/nowhere"}},
		{Options{RPCAddress: "192.0.2.1:8332"}, []string{"192.0.2.1:8332", "--rpc.cookie-file", "--rpc.user"}},
	} {
		test.options.ProcRoot = proc.root
		_, err := Find(t.Context(), test.options)
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%+v: error %v, want ErrNotFound", test.options, err)
			continue
		}
		for _, part := range test.parts {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q lacks %q", err, part)
			}
		}
	}
	if _, err := Find(t.Context(), Options{Chain: "moon"}); err == nil || !strings.Contains(err.Error(), "regtest") {
		t.Errorf("unknown chain: error %v, want the known ones", err)
	}
}

func TestNodeOfAnotherUser(t *testing.T) {
	home := t.TempDir()
	// Neither program nor working directory nor environment can be read.
	proc := newFakeProc(t, fakeProcess{pid: 3, comm: "bitcoind", args: []string{"/usr/bin/bitcoind", "-datadir=rel", "-testnet4"}})
	n, err := Find(t.Context(), Options{ProcRoot: proc.root})
	if err != nil {
		t.Fatal(err)
	}
	if n.Chain != ChainTestnet4 {
		t.Errorf("chain %q, want that of the command line", n.Chain)
	}
	for _, what := range []string{"executable", "working directory"} {
		index := slices.IndexFunc(n.Missing, func(m Missing) bool { return m.What == what })
		if index < 0 || !strings.Contains(n.Missing[index].Reason, "1234") {
			t.Errorf("missing %v, want %s with the user's id", n.Missing, what)
		}
	}
	if n.Executable != "/usr/bin/bitcoind" || n.ExecutableState != ExecutableUnknown || n.HasTracepoints {
		t.Errorf("executable %+v", n)
	}
	// The operator says where it is.
	n, err = Find(t.Context(), Options{ProcRoot: proc.root, Datadir: home})
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(home, "testnet4", ".cookie"); n.CookieFile != want || n.RPCAddress != "127.0.0.1:48332" {
		t.Errorf("cookie %q and address %q, want %q", n.CookieFile, n.RPCAddress, want)
	}
}

func TestNodeWithoutAProcess(t *testing.T) {
	dir := dataDir(t, "[regtest]\nrpccookiefile=my.cookie\n")
	proc := newFakeProc(t, fakeProcess{pid: 3, comm: "bitcoind", exe: "/usr/bin/bitcoind", cwd: "/", home: "/h", args: []string{"bitcoind"}})
	cookie := filepath.Join(dir, "c")
	n, err := Find(t.Context(), Options{ProcRoot: proc.root, RPCAddress: "192.0.2.7:1", CookieFile: cookie})
	if err != nil {
		t.Fatal(err)
	}
	if n.PID != 0 || n.RPCAddress != "192.0.2.7:1" || n.CookieFile != cookie {
		t.Errorf("remote node %+v, want no process", n)
	}
	if !slices.ContainsFunc(n.Missing, func(m Missing) bool { return m.What == "chain" && strings.Contains(m.Reason, "--bitcoin.chain") }) {
		t.Errorf("it doesn't say that the chain isn't known: %v", n.Missing)
	}
	n, err = Find(t.Context(), Options{ProcRoot: proc.root, RPCAddress: "192.0.2.7:1", Datadir: dir, Chain: "regtest"})
	if err != nil {
		t.Fatal(err)
	}
	if n.PID != 0 || n.CookieFile != filepath.Join(dir, "regtest", "my.cookie") || n.LogFile != filepath.Join(dir, "regtest", "debug.log") {
		t.Errorf("node by data directory %+v", n)
	}
	// A local process at that very port is the node.
	n, err = Find(t.Context(), Options{ProcRoot: proc.root, RPCAddress: "127.0.0.1:8332", RPCUser: "u", RPCPasswordFile: "/p"})
	if err != nil || n.PID != 3 || n.RPCUser != "u" || n.CookieFile != "" {
		t.Errorf("found %+v (%v), want pid 3 with a user", n, err)
	}
}

func TestRPCAddressByConfiguration(t *testing.T) {
	for _, test := range []struct {
		args string
		want string
	}{
		{"-rpcbind=0.0.0.0", "127.0.0.1:18443"}, // ignored without rpcallowip
		{"-rpcbind=10.1.1.1:9 -rpcallowip=10.0.0.0/8", "10.1.1.1:9"},
		{"-rpcbind=10.1.1.1 -rpcbind=127.0.0.1:7 -rpcallowip=::/0", "127.0.0.1:7"},
		{"-rpcbind=0.0.0.0 -rpcallowip=0.0.0.0/0 -rpcport=5", "127.0.0.1:5"},
		{"-rpcbind=[::]:6 -rpcallowip=::/0", "[::1]:6"},
		{"-rpcbind=::1 -rpcallowip=::/0", "[::1]:18443"},
		{"-server=0", ""},
	} {
		proc := newFakeProc(t, fakeProcess{pid: 3, comm: "bitcoind", exe: "/usr/bin/bitcoind", cwd: "/", home: t.TempDir(),
			args: append([]string{"bitcoind", "-regtest"}, strings.Fields(test.args)...)})
		n, err := Find(t.Context(), Options{ProcRoot: proc.root})
		if err != nil {
			t.Fatal(err)
		}
		if n.RPCAddress != test.want {
			t.Errorf("%s: address %q, want %q", test.args, n.RPCAddress, test.want)
		}
		if _, err := n.NewClient(); (err == nil) != (test.want != "") {
			t.Errorf("%s: client error %v", test.args, err)
		}
	}
}

// moveProcess moves a process from one tree to another in one step.
func moveProcess(t *testing.T, from, to *fakeProc, pid int) {
	t.Helper()
	name := strconv.Itoa(pid)
	if err := os.Rename(filepath.Join(from.root, name), filepath.Join(to.root, name)); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkScan(b *testing.B) {
	f, err := newFinder(Options{Datadir: "/nonexistent"})
	if err != nil {
		b.Fatal(err)
	}
	pids, err := f.proc.pids()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := f.candidates(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(pids)), "processes")
}

package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Options choose a node and override what is found out about it. The zero value
// finds the only node that runs on the machine.
type Options struct {
	// PID or PIDFile name the process (--bitcoin.pid, --bitcoin.pid-file).
	PID     int
	PIDFile string
	// Binary, Datadir and Chain choose among several nodes by their program's
	// path, their data directory and their chain (--bitcoin.binary and so on).
	Binary  string
	Datadir string
	Chain   string
	// RPCAddress (HOST:PORT), CookieFile, RPCUser and RPCPasswordFile override
	// what the node's configuration says (--rpc.address and so on). With
	// RPCAddress no process need be seen: the node may be on another machine or
	// in another container, and Datadir, if given, is its data directory.
	RPCAddress      string
	CookieFile      string
	RPCUser         string
	RPCPasswordFile string
	// ProcRoot is where the processes are shown; default /proc.
	ProcRoot string
}

// ErrNotFound says that no node as asked for runs here.
var ErrNotFound = errors.New("no running Bitcoin node found")

// notFoundError is ErrNotFound with what was looked for.
type notFoundError struct{ text string }

func (e *notFoundError) Error() string        { return e.text }
func (e *notFoundError) Is(target error) bool { return target == ErrNotFound }

// SeveralError says that more than one node fits, and none was chosen.
type SeveralError struct {
	Nodes []*Node
}

func (e *SeveralError) Error() string {
	list := make([]string, len(e.Nodes))
	for i, n := range e.Nodes {
		list[i] = n.String()
	}
	return fmt.Sprintf("%d Bitcoin nodes run here, choose one with %s: %s",
		len(e.Nodes), strings.Join(e.flags(), ", "), strings.Join(list, "; "))
}

// flags are those whose value differs between all of the nodes.
func (e *SeveralError) flags() []string {
	var flags []string
	for _, flag := range []struct {
		name  string
		value func(*Node) string
	}{
		{"--bitcoin.datadir", func(n *Node) string { return n.DataDir }},
		{"--bitcoin.chain", func(n *Node) string { return n.Chain }},
		{"--bitcoin.binary", func(n *Node) string { return n.Executable }},
	} {
		seen := make(map[string]bool)
		for _, n := range e.Nodes {
			if value := flag.value(n); value != "" {
				seen[value] = true
			}
		}
		if len(seen) == len(e.Nodes) {
			flags = append(flags, flag.name)
		}
	}
	return append(flags, "--bitcoin.pid")
}

// Find returns the one node that the options describe. The error is a
// *SeveralError if more than one fits, and ErrNotFound if none does.
func Find(ctx context.Context, options Options) (*Node, error) {
	f, err := newFinder(options)
	if err != nil {
		return nil, err
	}
	return f.find(ctx)
}

// FindAll returns every node that the options describe, by process id.
func FindAll(ctx context.Context, options Options) ([]*Node, error) {
	f, err := newFinder(options)
	if err != nil {
		return nil, err
	}
	return f.findAll(ctx)
}

// finder is Options after checking.
type finder struct {
	options Options
	proc    procfs
	// remote: the RPC address is that of another machine, so that no process
	// here is taken for it unless the options choose one.
	remote bool
}

func newFinder(o Options) (*finder, error) {
	if o.Chain != "" {
		chain, err := ParseChain(o.Chain)
		if err != nil {
			return nil, err
		}
		o.Chain = chain
	}
	if o.ProcRoot == "" {
		o.ProcRoot = defaultProcRoot
	}
	if o.PID < 0 {
		return nil, fmt.Errorf("--bitcoin.pid=%d is not a process id", o.PID)
	}
	if o.PID != 0 && o.PIDFile != "" {
		return nil, errors.New("--bitcoin.pid and --bitcoin.pid-file exclude each other")
	}
	f := &finder{options: o, proc: procfs{root: o.ProcRoot}}
	if o.RPCAddress != "" {
		host, _, err := net.SplitHostPort(o.RPCAddress)
		if err != nil || host == "" {
			return nil, fmt.Errorf("--rpc.address=%q is not HOST:PORT", o.RPCAddress)
		}
		f.remote = !isThisMachine(host)
	}
	return f, nil
}

// choosesProcess: the options name a process, beyond its RPC server.
func (f *finder) choosesProcess() bool {
	o := f.options
	return o.PID != 0 || o.PIDFile != "" || o.Binary != "" || o.Datadir != ""
}

func (f *finder) find(ctx context.Context) (*Node, error) {
	nodes, err := f.findAll(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case len(nodes) == 1:
		return nodes[0], nil
	case len(nodes) > 1:
		return nil, &SeveralError{Nodes: nodes}
	case f.options.RPCAddress != "" && f.options.PID == 0 && f.options.PIDFile == "" && f.options.Binary == "":
		return f.withoutProcess()
	}
	return nil, f.notFound()
}

// withoutProcess is a node of which no process is seen, as on another machine
// or in another container: its RPC server, and its data directory if that is
// named.
func (f *finder) withoutProcess() (*Node, error) {
	n := &Node{Chain: f.options.Chain, ExecutableState: ExecutableUnknown}
	if f.options.Datadir != "" {
		n = inspectDataDir(f.options)
	}
	f.options.overrideRPC(n)
	if n.CookieFile == "" && n.RPCUser == "" {
		return nil, &notFoundError{fmt.Sprintf(
			"no process of the node at %s is seen here, so its credentials can't be found: give --rpc.cookie-file, or --rpc.user and --rpc.password-file, or --bitcoin.datadir",
			n.RPCAddress)}
	}
	n.miss("process", "none is seen here: only RPC can be used")
	if n.Chain == "" {
		n.miss("chain", "it isn't known without the process: give --bitcoin.chain, which a P2P link needs")
	}
	return n, nil
}

func (f *finder) findAll(ctx context.Context) ([]*Node, error) {
	if f.remote && !f.choosesProcess() {
		return nil, nil
	}
	candidates, err := f.candidates(ctx)
	if err != nil {
		return nil, err
	}
	var found []*inspector
	for _, pid := range candidates {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		// A process that can't be inspected has ended since it was listed.
		if in, err := inspect(f.proc, f.options, pid); err == nil && f.fits(in) {
			found = append(found, in)
		}
	}
	found = withoutStarters(f.proc, found)
	// A node of which too little is known to tell counts only if no other is
	// certain.
	if slices.ContainsFunc(found, func(in *inspector) bool { return !in.assumed }) {
		found = slices.DeleteFunc(found, func(in *inspector) bool { return in.assumed })
	}
	nodes := make([]*Node, len(found))
	for i, in := range found {
		nodes[i] = in.node
	}
	slices.SortFunc(nodes, func(a, b *Node) int { return a.PID - b.PID })
	return nodes, nil
}

// candidates are processes that may be the node.
func (f *finder) candidates(ctx context.Context) ([]int, error) {
	o := f.options
	switch {
	case o.PID != 0:
		return []int{o.PID}, nil
	case o.PIDFile != "":
		pid, err := readPIDFile(o.PIDFile)
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil // the node writes it when it starts
		}
		if err != nil {
			return nil, err
		}
		return []int{pid}, nil
	}
	pids, err := f.proc.pids()
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	var candidates []int
	for _, pid := range pids {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if f.looksLikeNode(pid) {
			candidates = append(candidates, pid)
		}
	}
	return candidates, nil
}

// readPIDFile reads a process id.
func readPIDFile(path string) (int, error) {
	text, err := readConfigText(path)
	if err != nil {
		return 0, fmt.Errorf("--bitcoin.pid-file: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || pid <= 0 {
		return 0, fmt.Errorf("--bitcoin.pid-file: no process id in %s", path)
	}
	return pid, nil
}

// maxComm is the length to which the kernel cuts a process's name.
const maxComm = 15

// looksLikeNode decides by name. It is called for every process, so the cheap
// test comes first.
func (f *finder) looksLikeNode(pid int) bool {
	comm, err := f.proc.comm(pid)
	if err != nil {
		return false
	}
	binary := ""
	if f.options.Binary != "" {
		binary = filepath.Base(f.options.Binary)
	}
	isBinary := binary != "" && comm == binary[:min(len(binary), maxComm)]
	if !isNodeName(comm) && !isLoader(comm) && !isBinary {
		return false
	}
	arguments, err := f.proc.commandLine(pid)
	if err != nil || len(arguments) == 0 {
		return false
	}
	path, err := f.proc.executable(pid)
	if err != nil {
		// Another user's process. A shell that runs a script of a node's name
		// has that name too, but not as its first argument.
		path = arguments[0]
	}
	name := filepath.Base(path)
	if isLoader(name) {
		return slices.ContainsFunc(arguments[1:], func(arg string) bool { return isNodeName(filepath.Base(arg)) })
	}
	return isNodeName(name) || binary != "" && name == binary
}

// nodeName matches the names of Bitcoin Core's and Bitcoin Knots' programs, with
// a version or a packager's mark, cut to 15 bytes or not. bitcoin-cli and other
// tools don't match, nor do exporters and wrappers.
var nodeName = regexp.MustCompile(`^\.?(bitcoind|bitcoin-node|bitcoin-qt|bitcoin-gui)([-._]v?[0-9][0-9A-Za-z.+_-]*|[-._]?(wrapped|wrappe|wrapp|wrap|knots|core|debug|real|bin))?$`)

func isNodeName(name string) bool { return nodeName.MatchString(name) }

// isLoader: the dynamic loader, through which a program can be started.
func isLoader(name string) bool {
	return strings.HasPrefix(name, "ld-linux") || strings.HasPrefix(name, "ld-musl")
}

// fits applies the options that choose among nodes. It notes in the inspector
// if something is taken for right because it isn't known.
func (f *finder) fits(in *inspector) bool {
	o, n := f.options, in.node
	if o.Binary != "" && !sameFile(o.Binary, n) {
		return false
	}
	if o.Datadir != "" && n.DataDir != "" && !samePath(o.Datadir, n.DataDir) && !samePath(o.Datadir, n.NetworkDir) {
		return false
	}
	if o.Chain != "" && n.Chain != "" && o.Chain != n.Chain {
		return false
	}
	if o.RPCAddress != "" && !f.choosesProcess() {
		_, port, _ := net.SplitHostPort(o.RPCAddress)
		if in.rpcPort != 0 && port != strconv.Itoa(int(in.rpcPort)) {
			return false
		}
		in.assumed = in.assumed || in.rpcPort == 0
	}
	return true
}

// sameFile: path names the node's program, by its present file or by its path.
func sameFile(path string, n *Node) bool {
	if info, err := os.Stat(path); err == nil && n.ExecutableID != (FileID{}) && fileID(info) == n.ExecutableID {
		return true
	}
	return samePath(path, n.Executable)
}

// samePath compares two paths, following symbolic links where that works.
func samePath(a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	return canonical(a) == canonical(b)
}

func canonical(path string) string {
	if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		return resolved
	}
	return path
}

// withoutStarters drops a process that is the parent of another with the same
// command line: bitcoind -daemonwait waits for the node that it started.
func withoutStarters(proc procfs, found []*inspector) []*inspector {
	starters := make(map[int]bool)
	for _, in := range found {
		stat, err := proc.stat(in.node.PID)
		if err != nil {
			continue
		}
		for _, other := range found {
			if other.node.PID == stat.parent && slices.Equal(other.arguments, in.arguments) {
				starters[stat.parent] = true
			}
		}
	}
	return slices.DeleteFunc(found, func(in *inspector) bool { return starters[in.node.PID] })
}

// overrideRPC puts the options' RPC settings in place of the node's.
func (o Options) overrideRPC(n *Node) {
	if o.RPCAddress != "" {
		n.RPCAddress = o.RPCAddress
		n.Missing = slices.DeleteFunc(n.Missing, func(m Missing) bool { return m.What == "RPC server" })
	}
	if o.RPCUser != "" || o.RPCPasswordFile != "" || o.CookieFile != "" {
		n.Missing = slices.DeleteFunc(n.Missing, func(m Missing) bool { return m.What == "RPC cookie" })
	}
	if o.RPCUser != "" || o.RPCPasswordFile != "" {
		n.RPCUser, n.RPCPasswordFile, n.rpcPassword, n.CookieFile = o.RPCUser, o.RPCPasswordFile, "", ""
	} else if o.CookieFile != "" {
		n.CookieFile = o.CookieFile
		n.RPCUser, n.rpcPassword = "", ""
	}
}

// isThisMachine reports whether host is an address of ours. A name that isn't
// localhost counts as another machine's.
func isThisMachine(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	if address.IsLoopback() || address.IsUnspecified() {
		return true
	}
	ours, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(ours, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr().Unmap() == address.Unmap()
	})
}

// notFound says what was looked for and how to say it otherwise.
func (f *finder) notFound() error {
	o := f.options
	var text strings.Builder
	text.WriteString(ErrNotFound.Error())
	switch {
	case o.PID != 0:
		fmt.Fprintf(&text, ": no process %d (--bitcoin.pid)", o.PID)
	case o.PIDFile != "":
		fmt.Fprintf(&text, ": no process as in %s (--bitcoin.pid-file)", o.PIDFile)
	default:
		text.WriteString(": no process is called bitcoind, bitcoin-node or bitcoin-qt")
	}
	for _, filter := range []struct{ flag, value string }{
		{"--bitcoin.binary", o.Binary}, {"--bitcoin.datadir", o.Datadir},
		{"--bitcoin.chain", o.Chain}, {"--rpc.address", o.RPCAddress},
	} {
		if filter.value != "" {
			fmt.Fprintf(&text, ", with %s=%s", filter.flag, filter.value)
		}
	}
	if f.proc.hidesProcesses() {
		text.WriteString("; /proc hides other users' processes (hidepid): run as the node's user or as root")
	}
	if o == (Options{ProcRoot: o.ProcRoot}) {
		text.WriteString("; start it, name it with --bitcoin.pid or --bitcoin.binary, or give --rpc.address of one elsewhere")
	} else {
		text.WriteString("; start it or change these flags")
	}
	return &notFoundError{text.String()}
}

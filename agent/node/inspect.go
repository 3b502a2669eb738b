package node

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Bounds on configuration files.
const (
	maxConfigBytes = 1 << 20
	maxIncludes    = 64
)

const configName = "bitcoin.conf"

// inspector finds out about one process.
type inspector struct {
	proc     procfs
	options  Options
	node     *Node
	settings *settings
	// root is put before paths of the process, see procfs.fileRoot.
	root string
	// confUnread: bitcoin.conf may exist but couldn't be read, so that what
	// the command line doesn't say is not known.
	confUnread bool
	// rpcPort is the port that the node's own settings say; 0 if not known.
	rpcPort uint16
	// assumed: the options' data directory or chain were taken because the
	// node's own is not known.
	assumed bool
	// arguments is the command line with its secrets.
	arguments []string
}

// inspect returns what can be found out about the process. It fails only when
// the process is gone.
func inspect(proc procfs, options Options, pid int) (*inspector, error) {
	stat, err := proc.stat(pid)
	if err != nil {
		return nil, err
	}
	if !stat.alive() {
		return nil, fmt.Errorf("process %d is ending", pid)
	}
	in := &inspector{proc: proc, options: options, settings: newSettings(),
		node: &Node{PID: pid, StartTicks: stat.startTicks, ExecutableState: ExecutableUnknown}}
	in.node.StartTime, err = proc.startTime(stat.startTicks)
	if err != nil {
		in.node.miss("start time", "%v", err)
	}
	if in.node.UID, in.node.GID, err = proc.userIDs(pid); err != nil {
		in.node.miss("user", "%v", err)
	}
	in.root = proc.fileRoot(pid)
	if in.arguments, err = proc.commandLine(pid); err != nil {
		return nil, err
	}
	in.node.CommandLine = withoutSecrets(in.arguments)
	in.executable()
	in.settings.parseCommandLine(nodeArguments(in.arguments))
	in.configuration()
	in.network()
	in.capacity()
	in.rpc()
	if !proc.sharesNamespace(pid, "net") {
		in.node.miss("RPC address", "the node runs in another network namespace (a container): give an address that reaches it with --rpc.address")
	}
	// The process may have ended meanwhile, and its id may be another's.
	if again, err := proc.stat(pid); err != nil || again.startTicks != stat.startTicks {
		return nil, fmt.Errorf("process %d ended", pid)
	}
	return in, nil
}

// inspectDataDir returns what a data directory says about its node, of which no
// process is seen.
func inspectDataDir(options Options) *Node {
	in := &inspector{proc: procfs{root: options.ProcRoot}, options: options, settings: newSettings(),
		node: &Node{ExecutableState: ExecutableUnknown}}
	// As if the node had been started with these two arguments.
	in.settings.commandLine["datadir"] = values{{text: canonical(options.Datadir)}}
	if options.Chain != "" {
		in.settings.commandLine["chain"] = values{{text: options.Chain}}
	}
	in.configuration()
	in.network()
	in.rpc()
	return in.node
}

// nodeArguments are the arguments after the node's name. A node run through the
// dynamic loader has that name later than first.
func nodeArguments(commandLine []string) []string {
	if len(commandLine) == 0 {
		return nil
	}
	if isLoader(filepath.Base(commandLine[0])) {
		for i, arg := range commandLine[1:] {
			if isNodeName(filepath.Base(arg)) {
				return commandLine[i+2:]
			}
		}
	}
	return commandLine[1:]
}

// executable finds the program and whether its file is still the one running.
func (in *inspector) executable() {
	n := in.node
	path, err := in.proc.executable(n.PID)
	if err != nil {
		in.node.miss("executable", "%s: run as the node's user (id %d) or as root, or name it with --bitcoin.binary", cause(err), n.UID)
		if len(in.arguments) > 0 && filepath.IsAbs(in.arguments[0]) {
			n.Executable = in.arguments[0]
		}
		return
	}
	n.Executable = in.root + path
	// Through the link in /proc one gets at the running file whatever has
	// become of its path.
	link := in.proc.path(n.PID, "exe")
	info, err := os.Stat(link)
	if err != nil {
		in.node.miss("executable", "%s", cause(err))
		return
	}
	n.ExecutableID = fileID(info)
	n.ExecutableState = executableState(n.Executable, n.ExecutableID)
	if n.HasTracepoints, err = HasTracepoints(link); err != nil {
		in.node.miss("tracepoints", "%v", err)
	}
}

// executableState compares the file at path with the one that runs.
func executableState(path string, running FileID) ExecutableState {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ExecutableDeleted
	case err != nil:
		return ExecutableUnknown
	case fileID(info) == running:
		return ExecutableSame
	}
	return ExecutableReplaced
}

// configuration finds data directory, bitcoin.conf, chain, settings.json and
// log file, in the order in which the node itself does (common/init.cpp).
func (in *inspector) configuration() {
	n, s := in.node, in.settings
	// Where the configuration file is depends on the command line only.
	first := in.absolute(s.path("", "datadir", ""))
	if first == "" && in.options.Datadir != "" {
		// Where the node's own directory can't be told, the operator's word counts.
		if _, err := in.proc.home(in.node.PID); err != nil || len(s.commandLine["datadir"]) > 0 {
			first, in.assumed = canonical(in.options.Datadir), true
		}
	}
	if first == "" {
		first = in.defaultDataDir()
	}
	in.readConfig(first)

	n.DataDir = first
	chain, err := in.chain()
	if err != nil {
		n.miss("chain", "%v", err)
		return
	}
	n.Chain = chain
	if dir := in.absolute(s.path(chain, "datadir", "")); dir != "" {
		n.DataDir = dir // a datadir= in bitcoin.conf
	}
	if n.DataDir == "" {
		return
	}
	params, _ := paramsOf(chain)
	n.NetworkDir = filepath.Join(n.DataDir, params.directory)
	in.readSettingsFile()
	if name := s.path(chain, "debuglogfile", "debug.log"); name != "" {
		n.LogFile = in.below(n.NetworkDir, name)
	}
}

// chain is the node's chain; empty, with the reason noted, if it isn't known.
func (in *inspector) chain() (string, error) {
	chain, err := in.settings.chain()
	if err != nil {
		return "", err
	}
	if chain == ChainMain && in.confUnread && len(in.settings.sources("", "chain")) == 0 {
		// The file that could have said otherwise can't be read.
		if in.options.Chain != "" {
			in.assumed = true
			return ParseChain(in.options.Chain)
		}
		return "", errors.New("it may stand in the unreadable bitcoin.conf: name it with --bitcoin.chain")
	}
	return chain, nil
}

// absolute makes a path of the node's one that we can open, relative to the
// node's working directory where it isn't absolute.
func (in *inspector) absolute(path string) string {
	if path == "" {
		return ""
	}
	if filepath.IsAbs(path) {
		return in.root + filepath.Clean(path)
	}
	cwd, err := os.Readlink(in.proc.path(in.node.PID, "cwd"))
	if err != nil {
		in.node.miss("working directory", "%s: the path %s is relative to it; run as the node's user (id %d) or as root, or give the path with --bitcoin.datadir", cause(err), path, in.node.UID)
		return ""
	}
	return in.root + filepath.Join(cwd, path)
}

// below is a path that is relative to dir where it isn't absolute.
func (in *inspector) below(dir, path string) string {
	if filepath.IsAbs(path) {
		return in.root + filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

// defaultDataDir is .bitcoin in the home directory of the node's user.
func (in *inspector) defaultDataDir() string {
	home, err := in.proc.home(in.node.PID)
	if err != nil {
		// The home directory in the user database is what HOME nearly always is.
		account, lookupErr := user.LookupId(strconv.FormatUint(uint64(in.node.UID), 10))
		if lookupErr != nil || in.root != "" {
			in.node.miss("data directory", "%s: run as the node's user (id %d) or as root, or give --bitcoin.datadir", cause(err), in.node.UID)
			return ""
		}
		home = account.HomeDir
	}
	if home == "" {
		home = "/" // as the node does without HOME
	}
	return in.absolute(filepath.Join(home, ".bitcoin"))
}

// readConfig reads bitcoin.conf and the files it includes. dir is the data
// directory by the command line.
func (in *inspector) readConfig(dir string) {
	n, s := in.node, in.settings
	name := s.path("", "conf", configName)
	switch {
	case name == "":
		return // -noconf
	case filepath.IsAbs(name):
		n.ConfFile = in.root + filepath.Clean(name)
	case dir == "":
		in.confUnread = true
		return
	default:
		n.ConfFile = filepath.Join(dir, name)
	}
	if !in.readConfigFile(n.ConfFile, configName) {
		return
	}
	if len(s.commandLine["includeconf"]) > 0 {
		return // only -noincludeconf is possible there
	}
	chain, err := s.chain()
	if err != nil {
		return // reported later
	}
	var includes []string
	for _, section := range []string{chain, ""} {
		list := s.config[section]["includeconf"]
		for _, include := range list[list.cancelled():] {
			includes = append(includes, include.text)
		}
	}
	if len(includes) > maxIncludes {
		n.miss("included configuration", "more than %d includeconf", maxIncludes)
		includes = includes[:maxIncludes]
	}
	for _, include := range includes {
		if !filepath.IsAbs(include) && dir == "" {
			in.confUnread = true
			continue
		}
		in.readConfigFile(in.below(dir, include), include)
	}
}

// readConfigFile adds one file's settings and reports whether there is such a
// file that could be read.
func (in *inspector) readConfigFile(path, what string) bool {
	text, err := readConfigText(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false
	case err != nil:
		in.confUnread = true
		in.node.miss(what, "%s cannot be read (%s): run as the node's user (id %d) or give --bitcoin.chain, --rpc.address and --rpc.cookie-file", path, cause(err), in.node.UID)
		return false
	}
	if err := in.settings.parseConfig(text); err != nil {
		in.node.miss(what, "%s: %s", path, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return true
}

// readConfigText reads a regular file of at most maxConfigBytes, without
// blocking if the path is something else.
func readConfigText(path string) (string, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("not a regular file")
	}
	text, err := io.ReadAll(io.LimitReader(file, maxConfigBytes+1))
	if err != nil {
		return "", err
	}
	if len(text) > maxConfigBytes {
		return "", fmt.Errorf("more than %d bytes", maxConfigBytes)
	}
	return string(text), nil
}

// readSettingsFile reads settings.json in the chain's directory.
func (in *inspector) readSettingsFile() {
	name := in.settings.path(in.node.Chain, "settings", "settings.json")
	if name == "" {
		return
	}
	path := in.below(in.node.NetworkDir, name)
	text, err := readConfigText(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = in.settings.parseSettingsFile([]byte(text))
	}
	if err != nil {
		in.node.miss("settings.json", "%s cannot be read: %s", path, cause(err))
	}
}

// network finds where the node accepts P2P connections (init.cpp).
func (in *inspector) network() {
	n, s := in.node, in.settings
	params, known := paramsOf(n.Chain)
	if !known {
		return
	}
	binds, whiteBinds := s.list(n.Chain, "bind"), s.list(n.Chain, "whitebind")
	connect, _ := s.get(n.Chain, "connect")
	proxy := s.text(n.Chain, "proxy", "")
	// Listening is on unless something implies that it shouldn't be
	// (InitParameterInteraction); the first that applies decides.
	implied := true
	switch {
	case len(binds)+len(whiteBinds) > 0:
	case len(s.list(n.Chain, "connect")) > 0 || connect.negated,
		leadingInt(s.text(n.Chain, "maxconnections", "125")) <= 0,
		proxy != "" && proxy != "0":
		implied = false
	}
	n.Listens = s.boolean(n.Chain, "listen", implied)
	if !n.Listens {
		return
	}
	port := portNumber(s.text(n.Chain, "port", ""), params.p2pPort)
	for _, bind := range binds {
		address, onion := strings.CutSuffix(bind, "=onion")
		fallback := port
		if onion {
			fallback = port + 1
		}
		in.listener(address, fallback, onion)
	}
	for _, bind := range whiteBinds {
		if _, address, found := strings.Cut(bind, "@"); found {
			bind = address // permissions@address
		}
		in.listener(bind, port, false)
	}
	if len(binds)+len(whiteBinds) == 0 {
		n.P2P = append(n.P2P,
			Listener{Address: netip.AddrPortFrom(netip.IPv4Unspecified(), port)},
			Listener{Address: netip.AddrPortFrom(netip.IPv6Unspecified(), port)},
			Listener{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port+1), Onion: true})
	}
}

func (in *inspector) listener(text string, fallback uint16, onion bool) {
	host, port := splitHostPort(text, fallback)
	address, err := netip.ParseAddr(host)
	if err != nil {
		in.node.miss("P2P address", "bind address %q is not an IP address", text)
		return
	}
	in.node.P2P = append(in.node.P2P, Listener{Address: netip.AddrPortFrom(address, port), Onion: onion})
}

// rpc finds the RPC server and its credentials (httpserver.cpp, httprpc.cpp).
func (in *inspector) rpc() {
	n, s, o := in.node, in.settings, in.options
	params, known := paramsOf(n.Chain)
	// The graphical node has no RPC server unless told to.
	graphical := strings.HasPrefix(filepath.Base(n.Executable), "bitcoin-qt") ||
		strings.HasPrefix(filepath.Base(n.Executable), "bitcoin-gui")
	switch {
	case !known:
	case !s.boolean(n.Chain, "server", !graphical):
		n.miss("RPC server", "the node runs without one: set server=1 in %s and restart it", orUnknown(n.ConfFile))
	default:
		port := portNumber(s.text(n.Chain, "rpcport", ""), params.rpcPort)
		host := "127.0.0.1"
		if binds := s.list(n.Chain, "rpcbind"); len(binds) > 0 && len(s.list(n.Chain, "rpcallowip")) > 0 {
			host, port = reachable(binds, port)
		}
		n.RPCAddress = net.JoinHostPort(host, strconv.Itoa(int(port)))
		if !in.confUnread && n.DataDir != "" {
			in.rpcPort = port
		}
	}
	if n.Chain != "" {
		if password := s.text(n.Chain, "rpcpassword", ""); password != "" {
			n.RPCUser, n.rpcPassword = s.text(n.Chain, "rpcuser", ""), password
		} else if cookie := s.path(n.Chain, "rpccookiefile", ".cookie"); cookie == "" {
			n.miss("RPC cookie", "the node writes none (norpccookiefile): give --rpc.user and --rpc.password-file")
		} else if n.NetworkDir != "" || filepath.IsAbs(cookie) {
			n.CookieFile = in.below(n.NetworkDir, cookie)
		}
	}
	o.overrideRPC(n)
}

// reachable chooses among the addresses of -rpcbind the one that is best for a
// client on the same machine.
func reachable(binds []string, fallback uint16) (host string, port uint16) {
	for i, bind := range binds {
		bindHost, bindPort := splitHostPort(bind, fallback)
		address, err := netip.ParseAddr(bindHost)
		if err == nil && address.IsUnspecified() {
			if bindHost = "127.0.0.1"; address.Is6() {
				bindHost = "::1"
			}
		}
		local := bindHost == "localhost" || err == nil && (address.IsLoopback() || address.IsUnspecified())
		if i == 0 || local {
			host, port = bindHost, bindPort
		}
		if local {
			break
		}
	}
	return host, port
}

// splitHostPort takes HOST, HOST:PORT, IPV6 and [IPV6]:PORT apart
// (util/strencodings.cpp, SplitHostPort).
func splitHostPort(text string, fallback uint16) (host string, port uint16) {
	if address, err := netip.ParseAddr(text); err == nil {
		return address.String(), fallback
	}
	if host, portText, err := net.SplitHostPort(text); err == nil {
		return host, portNumber(portText, fallback)
	}
	return strings.Trim(text, "[]"), fallback
}

// portNumber reads a port, or takes fallback where it is none.
func portNumber(text string, fallback uint16) uint16 {
	if number := leadingInt(text); number > 0 && number <= 65535 {
		return uint16(number)
	}
	return fallback
}

// cause is an error's reason without operation and path, which the texts here
// name themselves.
func cause(err error) string {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err.Error()
	}
	return err.Error()
}

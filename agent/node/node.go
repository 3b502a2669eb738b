// Package node finds the Bitcoin node that runs on this machine and says how to
// observe it: its process and program, data directory, chain, RPC server with
// credentials, log file and P2P ports. It reads /proc, the node's command line
// and its configuration files; it needs no privileges for a node of the same
// user, and says what is missing for one of another user. It also has the
// JSON-RPC client for that node.
package node

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Node is a Bitcoin node and what is known of it. What could not be found out
// is empty, with the reason in Missing. All paths are such that this process
// can open them, also for a node in a container.
type Node struct {
	// PID is the process id; 0 if only the RPC server is known, as with a node
	// on another machine.
	PID int
	// StartTicks is the start of the process in clock ticks since boot (1/100
	// s). PID and StartTicks together identify the process until the next boot.
	StartTicks uint64
	// StartTime is StartTicks as a time, to about a second.
	StartTime time.Time
	// UID and GID are the process's effective user and group.
	UID, GID uint32
	// CommandLine are the arguments, the program's name first, without secrets.
	CommandLine []string

	// Executable is the path of the program.
	Executable string
	// ExecutableID is the device and inode of the running program, which stay
	// the same when the file at Executable is replaced.
	ExecutableID FileID
	// ExecutableState says whether Executable is still the running program.
	ExecutableState ExecutableState
	// HasTracepoints: the running program has Bitcoin Core's USDT tracepoints.
	HasTracepoints bool

	// Chain is main, test, testnet4, signet or regtest.
	Chain string
	// DataDir is the -datadir, NetworkDir the chain's directory in it.
	DataDir, NetworkDir string
	// ConfFile is the bitcoin.conf; it need not exist. Empty with -noconf.
	ConfFile string
	// LogFile is the debug.log. Empty if the node writes none (-nodebuglogfile).
	LogFile string
	// Listens: the node accepts P2P connections, on P2P.
	Listens bool
	P2P     []Listener
	limits  connectionLimits

	// RPCAddress is the HOST:PORT of the RPC server. Empty with -server=0.
	RPCAddress string
	// CookieFile is the RPC cookie; it exists while the node runs. Empty if a
	// password is used instead.
	CookieFile string
	// RPCUser with RPCPasswordFile, or with the password from the node's own
	// configuration, is used instead of a cookie.
	RPCUser         string
	RPCPasswordFile string
	rpcPassword     string

	// Missing is what could not be found out, and what to do about it.
	Missing []Missing
}

// Missing is something that could not be found out.
type Missing struct {
	// What is the thing, such as "executable" or "bitcoin.conf".
	What string
	// Reason is why, and what helps.
	Reason string
}

func (m Missing) String() string { return m.What + ": " + m.Reason }

// ExecutableState says what became of a running program's file.
type ExecutableState string

// The states of a program's file.
const (
	// ExecutableUnknown: it can't be told, for lack of permission.
	ExecutableUnknown ExecutableState = "unknown"
	// ExecutableSame: the file is the running program.
	ExecutableSame ExecutableState = "same"
	// ExecutableReplaced: another file has taken its place, as an upgrade does;
	// the node still runs the old one.
	ExecutableReplaced ExecutableState = "replaced"
	// ExecutableDeleted: there is no file at the path any more.
	ExecutableDeleted ExecutableState = "deleted"
)

// Listener is an address where a node accepts P2P connections.
type Listener struct {
	// Address may be unspecified (0.0.0.0, ::) for every interface.
	Address netip.AddrPort
	// Onion: connections that come here count as from Tor (-bind=…=onion).
	Onion bool
}

// SameProcess reports whether both are the same run of the same process.
func (n *Node) SameProcess(other *Node) bool {
	return n != nil && other != nil && n.PID != 0 && n.PID == other.PID && n.StartTicks == other.StartTicks
}

// NewClient returns a client of the node's RPC server.
func (n *Node) NewClient() (*Client, error) {
	if n.RPCAddress == "" {
		return nil, fmt.Errorf("the node has no RPC server (server=0): set server=1 in %s, or give --rpc.address", orUnknown(n.ConfFile))
	}
	return NewClient(ClientOptions{
		Address: n.RPCAddress, CookieFile: n.CookieFile,
		User: n.RPCUser, PasswordFile: n.RPCPasswordFile, Password: n.rpcPassword,
	})
}

// String describes the node in one line for people.
func (n *Node) String() string {
	if n.PID == 0 {
		return "node at RPC " + n.RPCAddress
	}
	return fmt.Sprintf("pid %d (chain %s, data directory %s, binary %s)",
		n.PID, orUnknown(n.Chain), orUnknown(n.DataDir), orUnknown(n.Executable))
}

func orUnknown(text string) string {
	if text == "" {
		return "unknown"
	}
	return text
}

func (n *Node) miss(what, format string, args ...any) {
	missing := Missing{What: what, Reason: fmt.Sprintf(format, args...)}
	if !slices.Contains(n.Missing, missing) {
		n.Missing = append(n.Missing, missing)
	}
}

// withoutSecrets replaces the values of options that are passwords.
func withoutSecrets(args []string) []string {
	clean := make([]string, len(args))
	for i, arg := range args {
		clean[i] = arg
		name, _, found := strings.Cut(arg, "=")
		switch strings.TrimLeft(name, "-") {
		case "rpcpassword", "rpcauth", "torpassword", "rpcuser":
			if found {
				clean[i] = name + "=***"
			}
		}
	}
	return clean
}

package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/peerobserver/peerobserver/agent/node"
	"github.com/peerobserver/peerobserver/lab/bitcoind"
	"github.com/peerobserver/peerobserver/lab/machine"
	"github.com/peerobserver/peerobserver/lab/regtest"
)

// binaries are the nodes that the tests run with: the machine's own, which may
// be any version, and the packaged Bitcoin Knots.
func binaries(t *testing.T) []bitcoind.Binary {
	t.Helper()
	own := regtest.Binary(t)
	knots, err := bitcoind.Knots(t.Context(), bitcoind.Options{Progress: os.Stderr})
	if err != nil {
		t.Fatalf("these tests need Bitcoin Knots too: %v", err)
	}
	if own.Path == knots.Path {
		return []bitcoind.Binary{own}
	}
	return []bitcoind.Binary{own, knots}
}

func TestFindARealNode(t *testing.T) {
	for _, binary := range binaries(t) {
		t.Run(binary.Version, func(t *testing.T) {
			running := regtest.ForTest(t, regtest.Config{Binary: binary.Path})
			n, err := node.Find(t.Context(), node.Options{Datadir: running.DataDir()})
			if err != nil {
				t.Fatal(err)
			}
			if n.PID != running.PID() || n.Chain != node.ChainRegtest || n.UID != uint32(os.Geteuid()) || n.GID != uint32(os.Getegid()) {
				t.Errorf("found %+v", n)
			}
			if age := time.Since(n.StartTime); age < -2*time.Second || age > time.Minute {
				t.Errorf("started %v ago", age)
			}
			if n.Executable != canonicalPath(t, binary.Path) || n.ExecutableState != node.ExecutableSame || n.ExecutableID.Inode == 0 {
				t.Errorf("executable %q, state %s, id %v", n.Executable, n.ExecutableState, n.ExecutableID)
			}
			if n.HasTracepoints != binary.HasTracepoints {
				t.Errorf("tracepoints %v, the file says %v", n.HasTracepoints, binary.HasTracepoints)
			}
			if n.DataDir != running.DataDir() || n.NetworkDir != running.NetworkDir() || n.LogFile != running.LogFile() || n.CookieFile != running.CookieFile() {
				t.Errorf("paths %+v", n)
			}
			if n.RPCAddress != running.RPCAddress() || len(n.P2P) != 1 || n.P2P[0].Address.String() != running.P2PAddress() || n.P2P[0].Onion {
				t.Errorf("addresses %+v", n)
			}
			if len(n.Missing) != 0 {
				t.Errorf("missing %v", n.Missing)
			}
			client, err := n.NewClient()
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			version, err := client.Version(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if knots := strings.Contains(binary.Version, "knots"); version.IsKnots() != knots || version.Major() < 29 || version.Protocol < 70016 {
				t.Errorf("version %+v of %s", version, binary)
			}
			err = client.Call(t.Context(), "nosuchmethod", nil, nil)
			if !errors.Is(err, node.ErrMethodNotFound) {
				t.Errorf("unknown method: %v, want ErrMethodNotFound", err)
			}
			var answer *node.RPCError
			err = client.Call(t.Context(), "getblockhash", []any{1 << 30}, nil)
			if !errors.As(err, &answer) || answer.Code != -8 {
				t.Errorf("a block that isn't there: %v, want code -8", err)
			}
			var info struct{ Chain string }
			if err := client.Call(t.Context(), "getblockchaininfo", map[string]any{}, &info); err != nil || info.Chain != n.Chain {
				t.Errorf("chain by RPC %q (%v), want %q", info.Chain, err, n.Chain)
			}
		})
	}
}

// The node itself says in its log for how many connections it has room.
func TestInboundCapacityOfARealNode(t *testing.T) {
	for _, binary := range binaries(t) {
		t.Run(binary.Version, func(t *testing.T) {
			running := regtest.ForTest(t, regtest.Config{Binary: binary.Path, Args: []string{"-maxconnections=40"}})
			for args, want := range map[string]int{"-maxconnections=40": 29, "-maxconnections=125": 114, "-uacomment=default": 114} {
				if err := running.RestartWith(t.Context(), func(c *regtest.Config) { c.Args = []string{args} }); err != nil {
					t.Fatal(err)
				}
				n, err := node.Find(t.Context(), node.Options{Datadir: running.DataDir()})
				if err != nil {
					t.Fatal(err)
				}
				client, err := n.NewClient()
				if err != nil {
					t.Fatal(err)
				}
				version, err := client.Version(t.Context())
				client.Close()
				if err != nil {
					t.Fatal(err)
				}
				log, err := os.ReadFile(running.LogFile())
				if err != nil {
					t.Fatal(err)
				}
				said := regexp.MustCompile(`Using at most (\d+) automatic connections`).FindAllSubmatch(log, -1)
				if len(said) == 0 {
					t.Fatal("the log doesn't say how many connections")
				}
				automatic, err := strconv.Atoi(string(said[len(said)-1][1]))
				if err != nil {
					t.Fatal(err)
				}
				if args == "-uacomment=default" {
					want = automatic - 11 // whatever this version's default is
				}
				if slots, known := n.InboundCapacity(version.Number); !known || slots != want || slots != automatic-11 {
					t.Errorf("with %s: capacity %d (%v), want %d; the node has %d automatic connections", args, slots, known, want, automatic)
				}
			}
		})
	}
}

// canonicalPath is what /proc/PID/exe shows for a program.
func canonicalPath(t *testing.T, path string) string {
	t.Helper()
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	return resolved
}

// freePort is a port of this package's own, outside those that package regtest
// takes.
func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// TestSettingsAsTheNodeReadsThem starts a node with configuration files and
// arguments in odd mixtures; what Find makes of them must lead to the node's
// RPC server, cookie and log.
func TestSettingsAsTheNodeReadsThem(t *testing.T) {
	binary := regtest.Binary(t)
	for _, test := range []struct {
		name string
		// In args and files PORT is the RPC port to find, OTHER one that must
		// lose, P2P and DIR the P2P port and the data directory.
		args  []string
		files map[string]string
		log   string // below the data directory; empty for none
	}{
		{
			name:  "section",
			files: map[string]string{"bitcoin.conf": "regtest=1\nrpcport=OTHER\n[regtest]\nrpcport=PORT\nrpcport=OTHER\nbind=127.0.0.1:P2P\n"},
			log:   "regtest/debug.log",
		},
		{
			name:  "command line over file, last wins",
			args:  []string{"-rpcport=OTHER", "--rpcport=PORT", "-debuglogfile=sub.log"},
			files: map[string]string{"bitcoin.conf": "chain=regtest\n[regtest]\nrpcport=OTHER\nbind=127.0.0.1:P2P\ndebuglogfile=other.log\n"},
			log:   "regtest/sub.log",
		},
		{
			name: "included file, dotted name, own cookie file",
			files: map[string]string{
				"bitcoin.conf": "regtest=1\nincludeconf=more.conf\nregtest.rpccookiefile=DIR/my.cookie\n",
				"more.conf":    "[regtest]\nrpcport=PORT\nbind=127.0.0.1:P2P\nnodebuglogfile=1\n",
			},
		},
		{
			name:  "negations and zombies",
			args:  []string{"-regtest", "-nobind", "-bind=127.0.0.1:P2P", "-rpcallowip=127.0.0.1", "-rpcbind=127.0.0.1:OTHER", "-norpcbind", "-rpcbind=127.0.0.1:PORT"},
			files: map[string]string{"bitcoin.conf": "noregtest=1\nnolisten=0\n"},
			log:   "regtest/debug.log",
		},
		{
			name:  "password instead of a cookie, other conf, debuglogfile named 0",
			args:  []string{"-conf=node.conf", "-debuglogfile=0"},
			files: map[string]string{"node.conf": "regtest=1\nrpcuser=u\nrpcpassword=p\nrpcpassword=q\n[regtest]\nrpcport=PORT\nbind=127.0.0.1:P2P\n"},
			log:   "regtest/0",
		},
		{
			name: "settings.json",
			files: map[string]string{
				"bitcoin.conf":          "regtest=1\n[regtest]\nbind=127.0.0.1:P2P\nrpcport=OTHER\n",
				"regtest/settings.json": `{"rpcport": "PORT"}`,
			},
			log: "regtest/debug.log",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			port, p2p := freePort(t), freePort(t)
			replace := strings.NewReplacer("PORT", strconv.Itoa(port), "OTHER", strconv.Itoa(freePort(t)),
				"P2P", strconv.Itoa(p2p), "DIR", dir)
			for name, text := range test.files {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(replace.Replace(text)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			// A relative data directory, as seen from the node's directory.
			args := []string{"-datadir=" + filepath.Base(dir), "-dnsseed=0", "-fixedseeds=0", "-connect=0", "-discover=0",
				"-listenonion=0", "-natpmp=0", "-printtoconsole=0"}
			for _, arg := range test.args {
				args = append(args, replace.Replace(arg))
			}
			cmd := exec.Command(binary.Path, args...)
			cmd.Dir = filepath.Dir(dir)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = cmd.Process.Signal(syscall.SIGTERM)
				_ = cmd.Wait()
			})
			var n *node.Node
			err := regtest.Eventually(t.Context(), func() error {
				var err error
				if n, err = node.Find(t.Context(), node.Options{Datadir: dir}); err != nil {
					return err
				}
				if n.RPCAddress != net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) {
					return fmt.Errorf("RPC address %s, want port %d", n.RPCAddress, port)
				}
				client, err := n.NewClient()
				if err != nil {
					return err
				}
				defer client.Close()
				return client.Call(t.Context(), "uptime", nil, nil)
			})
			if err != nil {
				t.Fatalf("%v\n%+v", err, n)
			}
			want := ""
			if test.log != "" {
				want = filepath.Join(dir, test.log)
				if _, err := os.Stat(want); err != nil {
					t.Errorf("the node's log: %v", err)
				}
			}
			if n.LogFile != want {
				t.Errorf("log file %q, want %q", n.LogFile, want)
			}
			if len(n.P2P) != 1 || int(n.P2P[0].Address.Port()) != p2p || !n.Listens {
				t.Errorf("P2P %v, want port %d", n.P2P, p2p)
			}
			connection, err := net.Dial("tcp", n.P2P[0].Address.String())
			if err != nil {
				t.Errorf("nobody accepts P2P connections: %v", err)
			} else {
				connection.Close()
			}
		})
	}
}

// changes collects what Watch reports.
type changes struct {
	t       *testing.T
	channel chan node.Change
}

func watch(t *testing.T, options node.Options) *changes {
	c := &changes{t: t, channel: make(chan node.Change, 100)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := node.Watch(ctx, options, func(change node.Change) { c.channel <- change }); !errors.Is(err, context.Canceled) {
			t.Errorf("Watch ends with %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return c
}

// next returns the next change of a kind, passing over those of the other
// kinds given.
func (c *changes) next(kind node.ChangeKind, pass ...node.ChangeKind) node.Change {
	c.t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case change := <-c.channel:
			if change.Kind == kind {
				return change
			}
			passed := false
			for _, other := range pass {
				passed = passed || change.Kind == other
			}
			if !passed {
				c.t.Fatalf("change %q (%v), want %q", change.Kind, change.Err, kind)
			}
		case <-deadline:
			c.t.Fatalf("no change %q", kind)
		}
	}
}

func TestWatchFollowsRestartsCookieAndUpgrade(t *testing.T) {
	// A program of our own, so that it can be replaced.
	original := regtest.Binary(t)
	data, err := os.ReadFile(original.Path)
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "bitcoind")
	install := func() {
		t.Helper()
		staged := binary + ".new"
		if err := os.WriteFile(staged, data, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(staged, binary); err != nil {
			t.Fatal(err)
		}
	}
	install()
	dir := t.TempDir()
	seen := watch(t, node.Options{Datadir: dir})
	if change := seen.next(node.NotFound); !errors.Is(change.Err, node.ErrNotFound) {
		t.Fatalf("before the start: %v", change.Err)
	}
	running := regtest.ForTest(t, regtest.Config{Binary: binary, Dir: dir})
	found := seen.next(node.Appeared)
	if found.Node.PID != running.PID() || found.Previous != nil {
		t.Fatalf("found %v, want pid %d", found.Node, running.PID())
	}

	for range 3 {
		running.Kill()
		if change := seen.next(node.Vanished, node.CookieChanged, node.NotFound); !change.Previous.SameProcess(found.Node) {
			t.Fatalf("vanished %v, want %v", change.Previous, found.Node)
		}
		if err := running.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		again := seen.next(node.Appeared, node.NotFound)
		if again.Node.PID != running.PID() || again.Node.SameProcess(found.Node) || !again.Previous.SameProcess(found.Node) {
			t.Fatalf("found %v after %v, want pid %d", again.Node, again.Previous, running.PID())
		}
		found = again
	}

	// A client made before the cookie changes keeps working, and Watch tells.
	cookie, err := os.ReadFile(running.CookieFile())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(running.CookieFile(), append(cookie, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	seen.next(node.CookieChanged)

	install()
	if change := seen.next(node.Updated, node.CookieChanged); change.Node.ExecutableState != node.ExecutableReplaced {
		t.Errorf("state %s, want replaced", change.Node.ExecutableState)
	}
	if err := os.Remove(binary); err != nil {
		t.Fatal(err)
	}
	if change := seen.next(node.Updated); change.Node.ExecutableState != node.ExecutableDeleted {
		t.Errorf("state %s, want deleted", change.Node.ExecutableState)
	}
	// It can be found afresh all the same, with what the running program is.
	n, err := node.Find(t.Context(), node.Options{Datadir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if n.ExecutableState != node.ExecutableDeleted || n.Executable != binary || n.ExecutableID != found.Node.ExecutableID || n.HasTracepoints != original.HasTracepoints {
		t.Errorf("a node without its file: %+v", n)
	}
	install()
	if err := running.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen.next(node.Vanished, node.CookieChanged, node.Updated)
	if change := seen.next(node.Appeared, node.NotFound); change.Node.ExecutableState != node.ExecutableSame || change.Node.ExecutableID == found.Node.ExecutableID {
		t.Errorf("after the upgrade: %+v", change.Node)
	}
}

func TestClientSurvivesACookieRotation(t *testing.T) {
	running := regtest.ForTest(t, regtest.Config{})
	client, err := node.NewClient(node.ClientOptions{Address: running.RPCAddress(), CookieFile: running.CookieFile()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for range 3 {
		if err := client.Call(t.Context(), "uptime", nil, nil); err != nil {
			t.Fatal(err)
		}
		if err := running.Restart(t.Context()); err != nil { // with a new cookie
			t.Fatal(err)
		}
	}
	if err := client.Call(t.Context(), "uptime", nil, nil); err != nil {
		t.Fatal(err)
	}
	running.Kill()
	if err := client.Call(t.Context(), "uptime", nil, nil); !errors.Is(err, node.ErrUnreachable) {
		t.Errorf("without a node: %v, want ErrUnreachable", err)
	}
}

// envFind makes the test binary look for a node as another user.
const envFind = "NODE_TEST_FIND_DATADIR"

func TestMain(m *testing.M) {
	if pid := os.Getenv(envFind); pid != "" {
		number, _ := strconv.Atoi(pid)
		n, err := node.Find(context.Background(), node.Options{PID: number})
		report := map[string]any{"node": n, "error": fmt.Sprint(err)}
		if err == nil {
			client, err := n.NewClient()
			if err == nil {
				err = client.Call(context.Background(), "uptime", nil, nil)
			}
			report["call"] = fmt.Sprint(err)
		}
		_ = json.NewEncoder(os.Stdout).Encode(report)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestFindAsAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		machine.Lacks(t, "root, to become another user")
	}
	running := regtest.ForTest(t, regtest.Config{})
	// A copy of this program where the other user can run it.
	dir, err := os.MkdirTemp("", "find-as-another-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "finder")
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(path, program, 0o755)); err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	cmd := exec.CommandContext(t.Context(), path)
	cmd.Dir = "/"
	cmd.Env = []string{envFind + "=" + strconv.Itoa(running.PID())}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	output, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Node        node.Node
		Error, Call string
	}
	if err := json.Unmarshal(output, &report); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	n := report.Node
	if report.Error != "<nil>" || n.PID != running.PID() || n.UID != 0 || n.Chain != node.ChainRegtest || n.RPCAddress != running.RPCAddress() || n.CookieFile != running.CookieFile() {
		t.Errorf("what the command line says is not all found: %s", output)
	}
	if text := fmt.Sprint(n.Missing); !strings.Contains(text, "executable: permission denied: run as the node's user (id 0)") {
		t.Errorf("missing %s, want the executable and why", text)
	}
	for _, part := range []string{running.CookieFile(), "user id 65534", "-rpccookieperms=group", "permission denied"} {
		if !strings.Contains(report.Call, part) {
			t.Errorf("the call's error %q lacks %q", report.Call, part)
		}
	}
}

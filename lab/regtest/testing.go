package regtest

import (
	"context"
	"fmt"
	"os"

	"github.com/peerobserver/peerobserver/lab/bitcoind"
	"github.com/peerobserver/peerobserver/lab/machine"
)

// TB is the part of testing.TB that is used here, so that programs which use
// this package don't link package testing.
type TB interface {
	Cleanup(func())
	Context() context.Context
	Errorf(format string, args ...any)
	Failed() bool
	Fatalf(format string, args ...any)
	Helper()
	Logf(format string, args ...any)
	Name() string
	Skip(args ...any)
	TempDir() string
}

// Binary returns the bitcoind that tests use, fetching one if the machine has
// none. Packages tested in parallel wait for one another. Failing to get one
// fails the test.
func Binary(t TB) bitcoind.Binary {
	t.Helper()
	binary, err := bitcoind.Find(context.Background(), bitcoind.Options{Progress: os.Stderr})
	if err != nil {
		t.Fatalf("these tests need a real Bitcoin node: %v", err)
	}
	return binary
}

// ForTest starts a node that ends with the test. Config.Binary may be empty for
// the one of Binary, Config.Dir for a temporary directory. When the test fails,
// the end of the node's log is printed.
func ForTest(t TB, config Config) *Node {
	t.Helper()
	if config.Binary == "" {
		config.Binary = Binary(t).Path
	}
	if config.Dir == "" {
		config.Dir = t.TempDir()
	}
	n, err := Start(t.Context(), config)
	if err != nil {
		t.Fatalf("starting a regtest node: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("last lines of %s:\n%s", n.LogFile(), n.LogTail(60))
		}
		// The test's own context has ended by now.
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := n.Stop(ctx); err != nil {
			t.Errorf("stopping the regtest node: %v; last lines of its log:\n%s", err, n.LogTail(60))
		}
	})
	return n
}

// NetworkForTest is StartNetwork with nodes that end with the test.
func NetworkForTest(t TB, count int, config Config) []*Node {
	t.Helper()
	nodes := make([]*Node, count)
	for i := range nodes {
		nodes[i] = ForTest(t, config)
		if i > 0 {
			if err := nodes[i].Connect(t.Context(), nodes[i-1]); err != nil {
				t.Fatalf("connecting regtest nodes: %v", err)
			}
		}
	}
	if err := wake(t.Context(), nodes); err != nil {
		t.Fatalf("mining the first block of a regtest network: %v", err)
	}
	return nodes
}

// BtcdForTest starts a btcd that ends with the test, of the version that this
// module requires; Binaries may be empty. It knows no blocks until a node that
// it is connected to tells it of some.
func BtcdForTest(t TB, config BtcdConfig) *Btcd {
	t.Helper()
	if config.Binaries.Btcd == "" {
		binaries, err := bitcoind.Btcd(t.Context(), bitcoind.Options{Progress: os.Stderr})
		if err != nil {
			t.Fatalf("this test needs btcd: %v", err)
		}
		config.Binaries = binaries
	}
	if config.Dir == "" {
		config.Dir = t.TempDir()
	}
	b, err := StartBtcd(t.Context(), config)
	if err != nil {
		t.Fatalf("starting btcd: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("last lines of btcd's log:\n%s", b.LogTail(60))
		}
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := b.Stop(ctx); err != nil {
			t.Errorf("stopping btcd: %v", err)
		}
	})
	return b
}

// WithTracepoints is ForTest with a node that has USDT tracepoints; see machine.Lacks for
// what happens where there is none.
func WithTracepoints(t TB, config Config) *Node {
	t.Helper()
	if config.Binary == "" {
		binary := Binary(t)
		if !binary.HasTracepoints {
			machine.Lacks(t, fmt.Sprintf("a bitcoind with tracepoints, such as an official release (set $%s); here is %s", bitcoind.EnvBinary, binary))
		}
		config.Binary = binary.Path
	}
	return ForTest(t, config)
}

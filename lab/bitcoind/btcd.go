package bitcoind

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/peerobserver/peerobserver/lab/lock"
)

// btcdModule is the second implementation of a Bitcoin node, written in Go by
// other people: a peer that doesn't share our reading of the protocol.
const btcdModule = "github.com/btcsuite/btcd"

// BtcdBinaries are the programs of btcd.
type BtcdBinaries struct {
	// Btcd and Btcctl are absolute paths of the node and its RPC command.
	Btcd, Btcctl string
	// Version is the module's version, such as "v0.26.2".
	Version string
}

// Btcd returns btcd in the version that this module requires, built once into
// the cache directory with the checksums of go.sum. It needs the go command and
// a working directory inside this module, which every test has.
func Btcd(ctx context.Context, o Options) (BtcdBinaries, error) {
	if err := o.complete(); err != nil {
		return BtcdBinaries{}, err
	}
	list := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", btcdModule)
	output, err := list.Output()
	if err != nil {
		return BtcdBinaries{}, fmt.Errorf("which version of %s this module requires: %w", btcdModule, commandError(err))
	}
	version := strings.TrimSpace(string(output))
	if version == "" || strings.ContainsAny(version, "/\\") {
		return BtcdBinaries{}, fmt.Errorf("%s has no usable version %q here", btcdModule, version)
	}
	dir, err := filepath.Abs(filepath.Join(o.CacheDir, "btcd-"+version))
	if err != nil {
		return BtcdBinaries{}, err
	}
	binaries := BtcdBinaries{
		Btcd:    filepath.Join(dir, "btcd"),
		Btcctl:  filepath.Join(dir, "btcctl"),
		Version: version,
	}
	if binaries.present() {
		return binaries, nil
	}
	unlock, err := lock.Take(ctx, filepath.Join(o.CacheDir, "btcd.lock"), func() {
		fmt.Fprintln(o.Progress, "btcd: another process is building it, waiting")
	})
	if err != nil {
		return BtcdBinaries{}, err
	}
	defer unlock()
	if binaries.present() {
		return binaries, nil
	}
	fmt.Fprintf(o.Progress, "btcd: building %s\n", version)
	staging, err := os.MkdirTemp(o.CacheDir, "btcd-building-")
	if err != nil {
		return BtcdBinaries{}, err
	}
	defer os.RemoveAll(staging)
	// -mod=readonly: what go.sum doesn't vouch for is not built.
	build := exec.CommandContext(ctx, "go", "build", "-mod=readonly", "-o", staging+string(filepath.Separator),
		btcdModule, btcdModule+"/cmd/btcctl")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if _, err := build.Output(); err != nil {
		return BtcdBinaries{}, fmt.Errorf("building %s %s: %w", btcdModule, version, commandError(err))
	}
	if err := os.RemoveAll(dir); err != nil {
		return BtcdBinaries{}, err
	}
	if err := os.Rename(staging, dir); err != nil {
		return BtcdBinaries{}, fmt.Errorf("installing btcd: %w", err)
	}
	return binaries, nil
}

func (b BtcdBinaries) present() bool {
	for _, path := range []string{b.Btcd, b.Btcctl} {
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			return false
		}
	}
	return true
}

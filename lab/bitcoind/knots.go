package bitcoind

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/peerobserver/peerobserver/lab/debian"
	"github.com/peerobserver/peerobserver/lab/lock"
)

// knotsDir is where the packaged Knots is installed. The programs hold the
// absolute path of their libraries, so this directory can't be moved.
func knotsDir(cache string) string { return filepath.Join(cache, "knots") }

// knotsInstalled is the path of an installed Knots, empty if there is none.
func knotsInstalled(cache string) string {
	root := debian.Installed(knotsDir(cache))
	if root == "" {
		return ""
	}
	return filepath.Join(root, "usr", "bin", "bitcoind")
}

// installKnots unpacks Debian's packaged Bitcoin Knots, with every library it
// needs; the caller holds the cache's lock.
//
// The package lives in Debian's unstable suite, whose C library is newer than a
// stable system's. So the libraries come along, and patchelf points the two
// programs at them. (Starting them through that suite's dynamic loader instead
// would work too, but then /proc/PID/exe would name the loader.)
func installKnots(ctx context.Context, o Options) (string, error) {
	dir, err := filepath.Abs(knotsDir(o.CacheDir))
	if err != nil {
		return "", err
	}
	set := debian.Set{Suite: "sid", Packages: []string{"bitcoin-knots", "patchelf"}, Dependencies: debian.Libraries}
	root, err := debian.Unpack(ctx, set, dir, o.Progress)
	if err != nil {
		return "", err
	}
	loader, err := dynamicLoader(root)
	if err != nil {
		return "", err
	}
	libraries := filepath.Dir(loader)
	for _, name := range []string{"bitcoind", "bitcoin-cli"} {
		// RPATH, not RUNPATH: the libraries' own dependencies must be found too.
		patch := exec.CommandContext(ctx, loader, "--library-path", libraries, filepath.Join(root, "usr", "bin", "patchelf"),
			"--set-interpreter", loader, "--force-rpath", "--set-rpath", libraries, filepath.Join(root, "usr", "bin", name))
		if _, err := patch.Output(); err != nil {
			return "", fmt.Errorf("pointing %s at its libraries: %w", name, commandError(err))
		}
	}
	if err := debian.Finish(dir, "etc", "usr/share", "usr/include"); err != nil {
		return "", err
	}
	fmt.Fprintln(o.Progress, "bitcoin-knots: ready")
	return knotsInstalled(o.CacheDir), nil
}

// dynamicLoader finds the dynamic loader among unpacked libraries.
func dynamicLoader(root string) (string, error) {
	for _, pattern := range []string{"usr/lib/*/ld-linux*.so.*", "usr/lib64/ld-linux*.so.*", "lib64/ld-linux*.so.*"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return "", err
		}
		for _, path := range found {
			if _, err := os.Stat(path); err == nil {
				return path, nil
			}
		}
	}
	return "", errors.New("no dynamic loader among the unpacked libraries")
}

// commandError adds what the command wrote to its standard error.
func commandError(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		text := strings.TrimSpace(string(exit.Stderr))
		return fmt.Errorf("%w: %s", err, text[strings.LastIndexByte(text, '\n')+1:])
	}
	return err
}

// Knots returns Debian's packaged Bitcoin Knots, fetching it if it isn't in the
// cache, whatever other node the machine has: for tests with a second version
// of a node.
func Knots(ctx context.Context, o Options) (Binary, error) {
	if err := o.complete(); err != nil {
		return Binary{}, err
	}
	if path := knotsInstalled(o.CacheDir); path != "" {
		if binary, err := inspect(ctx, path, OriginKnots); err == nil {
			return binary, nil
		}
	}
	unlock, err := lock.Take(ctx, filepath.Join(o.CacheDir, "lock"), func() {
		fmt.Fprintln(o.Progress, "bitcoind: another process is fetching one, waiting for it")
	})
	if err != nil {
		return Binary{}, err
	}
	defer unlock()
	path := knotsInstalled(o.CacheDir)
	if path == "" {
		if path, err = installKnots(ctx, o); err != nil {
			return Binary{}, fmt.Errorf("packaged Bitcoin Knots: %w", err)
		}
	}
	return inspect(ctx, path, OriginKnots)
}

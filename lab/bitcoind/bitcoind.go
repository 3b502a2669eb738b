// Package bitcoind gives tests, demonstrations and `make run` a Bitcoin node's
// binary: one that the machine has, one fetched earlier, or one fetched now.
// Everything fetched goes to a cache directory outside the source tree.
package bitcoind

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/peerobserver/peerobserver/agent/node"
	"github.com/peerobserver/peerobserver/lab/lock"
)

// EnvBinary is the environment variable that names the bitcoind to use. It wins
// over everything else, and it is an error if there is no such program.
const EnvBinary = "BITCOIND"

// ErrNotFound says that there is no bitcoind on this machine and none could be fetched.
var ErrNotFound = errors.New("no bitcoind")

// Origin says where a binary comes from.
type Origin string

// The origins, in the order in which they are tried.
const (
	OriginEnvironment Origin = "environment" // $BITCOIND
	OriginPath        Origin = "path"        // on $PATH
	OriginRelease     Origin = "release"     // official Bitcoin Core release, in the cache
	OriginKnots       Origin = "knots"       // Debian's packaged Bitcoin Knots, in the cache; has no tracepoints
)

// Binary is a usable bitcoind.
type Binary struct {
	// Path is the absolute path of bitcoind.
	Path string
	// CLIPath is the absolute path of the bitcoin-cli beside it; empty if none.
	CLIPath string
	Origin  Origin
	// HasTracepoints: built with Bitcoin Core's USDT tracepoints.
	HasTracepoints bool
	// Version is what `bitcoind -version` says, such as "v29.0.0".
	Version string
}

// String describes the binary in one line for people.
func (b Binary) String() string {
	tracepoints := "with tracepoints"
	if !b.HasTracepoints {
		tracepoints = "without tracepoints"
	}
	return fmt.Sprintf("%s (%s, %s, %s)", b.Path, b.Version, b.Origin, tracepoints)
}

// Options say where to look. The zero value is the normal order.
type Options struct {
	// Progress gets lines for people while something is fetched; nil drops them.
	Progress io.Writer
	// CacheDir is where fetched binaries live; default DefaultCacheDir.
	CacheDir string
	// Release says which release to fetch, from where and whose signatures to
	// demand; the zero value stands for DefaultRelease.
	Release Release
	// NoFetch uses only what is already on the machine.
	NoFetch bool
}

// DefaultCacheDir is peer-observer/bitcoind in the user's cache directory.
func DefaultCacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding a cache directory: %w", err)
	}
	return filepath.Join(base, "peer-observer", "bitcoind"), nil
}

// Find returns a bitcoind, the first of: $BITCOIND, one on PATH, one fetched
// earlier, the official release, Debian's Bitcoin Knots. Processes that need
// one at the same time wait for one another, so it is fetched once.
func Find(ctx context.Context, o Options) (Binary, error) {
	if path := os.Getenv(EnvBinary); path != "" {
		binary, err := inspect(ctx, path, OriginEnvironment)
		if err != nil {
			return Binary{}, fmt.Errorf("$%s: %w", EnvBinary, err)
		}
		return binary, nil
	}
	if path, err := exec.LookPath("bitcoind"); err == nil {
		return inspect(ctx, path, OriginPath)
	}
	if err := o.complete(); err != nil {
		return Binary{}, err
	}
	if binary, err := cached(ctx, o); err == nil {
		return binary, nil
	}
	if o.NoFetch {
		return Binary{}, fmt.Errorf("%w: set $%s, put one on PATH, or allow fetching one", ErrNotFound, EnvBinary)
	}
	return fetch(ctx, o)
}

// complete fills in defaults.
func (o *Options) complete() error {
	if o.CacheDir == "" {
		dir, err := DefaultCacheDir()
		if err != nil {
			return err
		}
		o.CacheDir = dir
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	if o.Release.Version == "" {
		o.Release = DefaultRelease()
	}
	return nil
}

// cached looks for what fetch has installed.
func cached(ctx context.Context, o Options) (Binary, error) {
	for _, place := range []struct {
		path   string
		origin Origin
	}{
		{o.Release.installed(o.CacheDir), OriginRelease},
		{knotsInstalled(o.CacheDir), OriginKnots},
	} {
		if place.path == "" {
			continue
		}
		if binary, err := inspect(ctx, place.path, place.origin); err == nil {
			return binary, nil
		}
	}
	return Binary{}, ErrNotFound
}

// fetch installs a binary into the cache, under a lock that other processes
// respect.
func fetch(ctx context.Context, o Options) (Binary, error) {
	unlock, err := lock.Take(ctx, filepath.Join(o.CacheDir, "lock"), func() {
		fmt.Fprintln(o.Progress, "bitcoind: another process is fetching one, waiting for it")
	})
	if err != nil {
		return Binary{}, err
	}
	defer unlock()
	if binary, err := cached(ctx, o); err == nil {
		return binary, nil // another process was faster
	}

	path, releaseErr := installRelease(ctx, o)
	if releaseErr == nil {
		binary, err := inspect(ctx, path, OriginRelease)
		if err == nil {
			return binary, nil
		}
		// It doesn't run here: another C library, say.
		releaseErr = errors.Join(err, os.RemoveAll(o.Release.directory(o.CacheDir)))
	}
	if ctx.Err() != nil {
		return Binary{}, ctx.Err()
	}
	// A release that came but was not what it should be is a reason to stop,
	// not to take something else quietly.
	if errors.Is(releaseErr, ErrVerification) {
		return Binary{}, releaseErr
	}
	fmt.Fprintf(o.Progress, "bitcoind: the official release can't be had here: %v\n", releaseErr)

	path, knotsErr := installKnots(ctx, o)
	if knotsErr == nil {
		// What it lacks is for the caller to say, in the words of what he does.
		fmt.Fprintln(o.Progress, "bitcoind: using Debian's Bitcoin Knots")
		return inspect(ctx, path, OriginKnots)
	}
	return Binary{}, fmt.Errorf("%w on this machine and none could be fetched (set $%s to one): release: %w; packaged Bitcoin Knots: %w",
		ErrNotFound, EnvBinary, releaseErr, knotsErr)
}

// versionLine matches the first line of `bitcoind -version`: "Bitcoin Core
// daemon version v29.0.0 bitcoind" and the like.
var versionLine = regexp.MustCompile(`\bversion (v[0-9][0-9A-Za-z.+-]*)`)

// inspect checks that path is a bitcoind that runs here.
func inspect(ctx context.Context, path string, origin Origin) (Binary, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Binary{}, err
	}
	if _, err := os.Stat(path); err != nil {
		return Binary{}, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	// Even to tell its version a node reads its configuration and rewrites its
	// settings.json: not those of the user's own node, then, and not at the same time as
	// another process that does this.
	datadir, err := os.MkdirTemp("", "bitcoind-version-")
	if err != nil {
		return Binary{}, err
	}
	defer os.RemoveAll(datadir)
	output, err := exec.CommandContext(ctx, path, "-datadir="+datadir, "-version").Output()
	if err != nil {
		return Binary{}, fmt.Errorf("running %s -version: %w", path, commandError(err))
	}
	match := versionLine.FindSubmatch(output)
	if match == nil {
		return Binary{}, fmt.Errorf("%s -version does not answer like a Bitcoin node", path)
	}
	tracepoints, err := node.HasTracepoints(path)
	if err != nil {
		tracepoints = false // a wrapper script, say: it runs, but has no tracepoints itself
	}
	binary := Binary{Path: path, Origin: origin, HasTracepoints: tracepoints, Version: string(match[1])}
	cli := filepath.Join(filepath.Dir(path), strings.Replace(filepath.Base(path), "bitcoind", "bitcoin-cli", 1))
	if _, err := os.Stat(cli); err == nil && cli != path {
		binary.CLIPath = cli
	}
	return binary, nil
}

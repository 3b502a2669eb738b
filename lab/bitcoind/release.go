package bitcoind

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// ErrVerification says that what was downloaded is not what the signers released. Nothing
// of it is kept, and nothing else is taken in its place.
var ErrVerification = errors.New("verification failed")

// Release says which Bitcoin Core release to fetch, from where, and whose
// signatures to demand.
//
// What is verified: the archive's SHA-256 is the one in SHA256SUMS, and
// SHA256SUMS carries good OpenPGP signatures by at least Threshold different
// Signers. The fingerprints of the signers' primary keys are part of this
// program; the keys themselves are fetched and are used only if they have
// these fingerprints, so it doesn't matter who hands them out. Expired and
// revoked keys don't count. What is not verified: that the signers built the
// release from its source honestly, and that Version is the newest.
type Release struct {
	// Version is the release's number, such as "31.1".
	Version string
	// BaseURL has the directories bitcoin-core-VERSION.
	BaseURL string
	// KeysURL has a file NAME.gpg for each signer. Empty to use KeysDir alone.
	KeysURL string
	// KeysDir has such files on this machine, used instead of fetched ones.
	KeysDir string
	// Signers are those whose signatures count.
	Signers []Signer
	// Threshold is how many of them must have signed.
	Threshold int
	// TLS is the configuration for the two servers; nil for the system's
	// certificate authorities.
	TLS *tls.Config
}

// Signer is somebody who builds and signs releases of Bitcoin Core.
type Signer struct {
	// Name is the file name, without .gpg, of the key among the builder keys.
	Name string
	// Fingerprint of the primary key: 40 hexadecimal digits, upper case.
	Fingerprint string
}

// DefaultRelease is the release fetched by default. Its signers are people who
// signed every release from 30.0 to 31.1, by the attestations in the Bitcoin
// Core project's guix.sigs repository; the first four are also maintainers
// whose keys are in contrib/verify-commits/trusted-keys of the source. The
// threshold is above the three that contrib/verify-binaries asks for.
func DefaultRelease() Release {
	return Release{
		Version:   "31.1",
		BaseURL:   "https://bitcoincore.org/bin",
		KeysURL:   "https://raw.githubusercontent.com/bitcoin-core/guix.sigs/main/builder-keys",
		Threshold: 4,
		Signers: []Signer{
			{"achow101", "152812300785C96444D3334D17565732E08E5E41"},
			{"fanquake", "E777299FC265DD04793070EB944D35F9AC3DB76A"},
			{"hebasto", "D1DBF2C4B96F2DEBF4C16654410108112E7EA81F"},
			{"sedited", "A8FC55F3B04BA3146F3492E79303B33A305224CB"},
			{"0xb10c", "982A193E3CE0EED535E09023188CBB2648416AD5"},
			{"guggero", "F4FC70F07310028424EFC20A8E4256593F177720"},
			{"pinheadmz", "E61773CD6E01040E2F1BD78CE7E2984B6289C93A"},
			{"sipsorcery", "9D3CC86A72F8494342EA5FD10A41BDC3F4FAFF1C"},
			{"theStack", "6A8F9C266528E25AEB1D7731C2371D91CB716EA7"},
			{"benthecarman", "0AD83877C1F0CD1EE9BD660AD7CC770B81FD22A8"},
			{"willcl-ark", "67AA5B46E7AF78053167FE343B8F814A784218F8"},
			{"marcofleon", "5B286407E1EA6FE01CF9AF48BF131C2D0536F8AC"},
		},
	}
}

// Sizes beyond which something is wrong. A release's archive has some 50 MB.
const (
	maxSumsBytes      = 1 << 20
	maxSignatureBytes = 1 << 20
	maxKeyBytes       = 1 << 20
	maxArchiveBytes   = 512 << 20
)

// Times after which a server counts as not reachable.
const (
	connectTimeout  = 5 * time.Second
	responseTimeout = 15 * time.Second
	// stallTimeout ends a download of which nothing arrives any more.
	stallTimeout = 30 * time.Second
)

// directory is where the release is installed.
func (r Release) directory(cache string) string {
	return filepath.Join(cache, "bitcoin-core-"+r.Version)
}

// installed is the path of the installed release, empty if there is none. The
// directory appears all at once, so what is there is complete.
func (r Release) installed(cache string) string {
	path := filepath.Join(r.directory(cache), "bitcoind")
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// archiveName is the release's file for this machine.
func (r Release) archiveName() (string, error) {
	if runtime.GOOS != "linux" {
		return "", fmt.Errorf("no release is fetched for %s", runtime.GOOS)
	}
	machine, known := map[string]string{
		"amd64":   "x86_64-linux-gnu",
		"arm64":   "aarch64-linux-gnu",
		"arm":     "arm-linux-gnueabihf",
		"riscv64": "riscv64-linux-gnu",
		"ppc64":   "powerpc64-linux-gnu",
	}[runtime.GOARCH]
	if !known {
		return "", fmt.Errorf("there is no release for %s", runtime.GOARCH)
	}
	return "bitcoin-" + r.Version + "-" + machine + ".tar.gz", nil
}

// check refuses a configuration that would verify nothing.
func (r Release) check() error {
	switch {
	case r.Version == "" || strings.ContainsAny(r.Version, "/\\ ") || strings.Contains(r.Version, ".."):
		return fmt.Errorf("%q is not a version", r.Version)
	case r.Threshold < 1:
		return errors.New("the threshold of signatures must be at least 1")
	case r.Threshold > len(r.Signers):
		return fmt.Errorf("%d signatures are demanded of %d signers", r.Threshold, len(r.Signers))
	}
	fingerprints := make(map[string]bool)
	for _, signer := range r.Signers {
		if len(signer.Fingerprint) != 40 || strings.Trim(signer.Fingerprint, "0123456789ABCDEF") != "" {
			return fmt.Errorf("signer %s: %q is not a fingerprint", signer.Name, signer.Fingerprint)
		}
		if signer.Name == "" || filepath.Base(signer.Name) != signer.Name {
			return fmt.Errorf("signer %q: not a file name", signer.Name)
		}
		if fingerprints[signer.Fingerprint] {
			return fmt.Errorf("signer %s: fingerprint given twice", signer.Name)
		}
		fingerprints[signer.Fingerprint] = true
	}
	return nil
}

// installRelease downloads, verifies and installs the release and returns the
// path of its bitcoind; the caller holds the cache's lock.
func installRelease(ctx context.Context, o Options) (string, error) {
	r := o.Release
	if err := r.check(); err != nil {
		return "", err
	}
	name, err := r.archiveName()
	if err != nil {
		return "", err
	}
	d := newDownloader(r.TLS, o.Progress)
	defer d.close()
	base := strings.TrimSuffix(r.BaseURL, "/") + "/bitcoin-core-" + r.Version + "/"
	fmt.Fprintf(o.Progress, "bitcoind: fetching Bitcoin Core %s from %s\n", r.Version, base)

	sums, err := d.get(ctx, base+"SHA256SUMS", maxSumsBytes)
	if err != nil {
		return "", err
	}
	signatures, err := d.get(ctx, base+"SHA256SUMS.asc", maxSignatureBytes)
	if err != nil {
		return "", err
	}
	keys, err := r.keys(ctx, d)
	if err != nil {
		return "", err
	}
	signers, rejected, err := verifySignatures(sums, signatures, keys, time.Now())
	if err != nil {
		return "", err
	}
	if len(signers) < r.Threshold {
		return "", fmt.Errorf("%w: SHA256SUMS of Bitcoin Core %s has %d good signatures of known signers (%s), %d are demanded; rejected: %v",
			ErrVerification, r.Version, len(signers), strings.Join(signers, ", "), r.Threshold, rejected)
	}
	fmt.Fprintf(o.Progress, "bitcoind: checksums signed by %s\n", strings.Join(signers, ", "))
	want, err := checksumOf(sums, name)
	if err != nil {
		return "", err
	}

	// Staged inside the cache, so that the last step is a rename.
	staging, err := os.MkdirTemp(o.CacheDir, "bitcoin-core-fetching-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(staging)
	archive := filepath.Join(staging, "archive.tar.gz")
	got, err := d.getFile(ctx, base+name, archive, maxArchiveBytes)
	if err != nil {
		return "", err
	}
	if got != want {
		return "", fmt.Errorf("%w: %s has SHA-256 %s, the signed one is %s", ErrVerification, name, got, want)
	}
	programs := filepath.Join(staging, "programs")
	if err := os.Mkdir(programs, 0o755); err != nil {
		return "", err
	}
	if err := unpack(archive, r.Version, programs); err != nil {
		return "", err
	}
	target := r.directory(o.CacheDir)
	if err := os.RemoveAll(target); err != nil {
		return "", err
	}
	if err := os.Rename(programs, target); err != nil {
		return "", fmt.Errorf("installing the release: %w", err)
	}
	fmt.Fprintf(o.Progress, "bitcoind: Bitcoin Core %s installed in %s\n", r.Version, target)
	return r.installed(o.CacheDir), nil
}

// downloader fetches files from servers that may be slow, broken or not there.
type downloader struct {
	client    *http.Client
	transport *http.Transport
	progress  io.Writer
}

func newDownloader(config *tls.Config, progress io.Writer) *downloader {
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: connectTimeout}).DialContext,
		TLSHandshakeTimeout:   connectTimeout,
		ResponseHeaderTimeout: responseTimeout,
		TLSClientConfig:       config,
		ForceAttemptHTTP2:     true,
	}
	return &downloader{
		transport: transport,
		progress:  progress,
		client: &http.Client{
			Transport: transport,
			CheckRedirect: func(request *http.Request, via []*http.Request) error {
				if len(via) >= 5 {
					return errors.New("too many redirects")
				}
				if via[0].URL.Scheme == "https" && request.URL.Scheme != "https" {
					return errors.New("redirect away from https")
				}
				return nil
			},
		},
	}
}

func (d *downloader) close() { d.transport.CloseIdleConnections() }

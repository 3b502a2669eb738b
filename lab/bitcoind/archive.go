package bitcoind

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
)

// Bounds on an archive's content. A release has some 60 entries, bitcoind some
// 15 MB (with debug information, 300 MB).
const (
	maxEntries      = 10_000
	maxProgramBytes = 512 << 20
	maxUnpacked     = 2 << 30
)

// unpack takes bitcoind and bitcoin-cli, and nothing else, out of a release's
// archive into dir. The archive has been verified; even so no path of it is
// used to write to, and one that leads outside makes it an error.
func unpack(archive, version, dir string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	bad := func(err error) error {
		return fmt.Errorf("%w: archive of Bitcoin Core %s: %w", ErrVerification, version, err)
	}
	compressed, err := gzip.NewReader(file)
	if err != nil {
		return bad(err)
	}
	limited := &io.LimitedReader{R: compressed, N: maxUnpacked}
	reader := tar.NewReader(limited)
	wanted := map[string]bool{"bitcoind": false, "bitcoin-cli": false}
	bin := path.Join("bitcoin-"+version, "bin")
	for entries := 0; ; entries++ {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return bad(err)
		}
		if entries >= maxEntries || limited.N <= 0 {
			return bad(errors.New("too large"))
		}
		if !filepath.IsLocal(header.Name) {
			return bad(fmt.Errorf("path %q leads outside", header.Name))
		}
		name := path.Base(header.Name)
		taken, want := wanted[name]
		if !want || path.Dir(path.Clean(header.Name)) != bin {
			continue
		}
		if taken {
			return bad(fmt.Errorf("%s is there twice", name))
		}
		if header.Typeflag != tar.TypeReg {
			return bad(fmt.Errorf("%s is no regular file", name))
		}
		if header.Size > maxProgramBytes {
			return bad(fmt.Errorf("%s has %d bytes", name, header.Size))
		}
		if err := writeProgram(filepath.Join(dir, name), reader, header.Size); err != nil {
			return err
		}
		wanted[name] = true
	}
	for name, taken := range wanted {
		if !taken {
			return bad(fmt.Errorf("has no %s", path.Join(bin, name)))
		}
	}
	return nil
}

func writeProgram(path string, r io.Reader, size int64) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.CopyN(file, r, size)
	return errors.Join(err, file.Close())
}

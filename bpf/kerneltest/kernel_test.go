package kerneltest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// maxAge is how old a kernel in the cache may be before a newer one is looked
// for.
const maxAge = 30 * 24 * time.Hour

// kernelImage returns the path of the kernel image of a Debian suite, from the
// cache or fetched into it.
func kernelImage(ctx context.Context, t *testing.T, suite string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no place for kernels: %w", err)
	}
	dir := filepath.Join(cache, "peer-observer", "kernels")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("no place for kernels: %w", err)
	}
	image := filepath.Join(dir, suite+".vmlinuz")
	fi, err := os.Stat(image)
	if err == nil && time.Since(fi.ModTime()) < maxAge {
		return image, nil
	}
	old := err == nil
	if err := fetchKernel(ctx, suite, image, t.TempDir()); err != nil {
		if old {
			t.Logf("taking the kernel of %v, as a newer one can't be had: %v", fi.ModTime(), err)
			return image, nil
		}
		return "", fmt.Errorf("fetch the kernel of Debian %s: %w", suite, err)
	}
	return image, nil
}

// fetchKernel downloads the cloud kernel of a suite with an apt state of its own
// in dir, so that nothing of the machine's is touched and no privilege needed.
func fetchKernel(ctx context.Context, suite, image, dir string) error {
	mirror, err := debianMirror()
	if err != nil {
		return err
	}
	for _, d := range []string{"lists/partial", "cache/archives/partial", "debs"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	source := "deb [arch=amd64"
	if _, err := os.Stat(archiveKeyring); err == nil {
		// Otherwise apt takes the keys it trusts for everything.
		source += " signed-by=" + archiveKeyring
	}
	source += "] " + mirror + " " + suite + " main\n"
	conf := fmt.Sprintf(`Dir::Etc::sourcelist "%[1]s/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "%[1]s/lists";
Dir::State::status "%[1]s/status";
Dir::Cache "%[1]s/cache";
APT::Architecture "amd64";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons-small::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons::DefaultEnabled "false";
`, dir)
	for name, content := range map[string]string{"sources.list": source, "status": "", "apt.conf": conf} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	run := func(args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Dir = filepath.Join(dir, "debs")
		cmd.Env = append(os.Environ(), "APT_CONFIG="+filepath.Join(dir, "apt.conf"), "LC_ALL=C")
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
		}
		return string(out), err
	}
	if _, err := run("apt-get", "update"); err != nil {
		return err
	}
	depends, err := run("apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts",
		"--no-breaks", "--no-replaces", "--no-enhances", "linux-image-cloud-amd64")
	if err != nil {
		return err
	}
	// The image is in the package of its version, or from 6.19 on in one named
	// linux-binary.
	packages := regexp.MustCompile(`(?m)^linux-(?:image|binary)-[0-9]\S*`).FindAllString(depends, -1)
	if len(packages) == 0 {
		return fmt.Errorf("linux-image-cloud-amd64 depends on no kernel: %s", depends)
	}
	if _, err := run(append([]string{"apt-get", "download"}, packages...)...); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(dir, "debs", "*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range debs {
		if found, err := extractKernel(ctx, deb, image); found || err != nil {
			return err
		}
	}
	return fmt.Errorf("no vmlinuz in %v", packages)
}

// archiveKeyring is where Debian's package debian-archive-keyring has its keys.
const archiveKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// debianMirror takes the address of the Debian archive from apt's own sources.
func debianMirror() (string, error) {
	out, err := exec.Command("apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)").Output()
	if err != nil {
		return "", fmt.Errorf("ask apt for its sources: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSpace(line), "|")
		if len(f) == 3 && f[0] == "Debian" && f[1] == "Debian" {
			return f[2], nil
		}
	}
	return "", errors.New("no Debian archive among apt's sources (has apt-get update been run?)")
}

// extractKernel writes the vmlinuz of a package to image, if it has one.
func extractKernel(ctx context.Context, deb, image string) (bool, error) {
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, fmt.Errorf("unpack %s: %w", deb, err)
	}
	found := false
	for r := tar.NewReader(out); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return false, errors.Join(fmt.Errorf("unpack %s: %w", deb, err), cmd.Process.Kill(), cmd.Wait())
		}
		if found || h.Typeflag != tar.TypeReg || !strings.HasPrefix(filepath.Base(h.Name), "vmlinuz") {
			continue
		}
		if err := writeAtomically(image, r); err != nil {
			return false, errors.Join(err, cmd.Process.Kill(), cmd.Wait())
		}
		found = true
	}
	if _, err := io.Copy(io.Discard, out); err != nil {
		return false, errors.Join(fmt.Errorf("unpack %s: %w", deb, err), cmd.Wait())
	}
	if err := cmd.Wait(); err != nil {
		return false, fmt.Errorf("unpack %s: %w: %s", deb, err, stderr.Bytes())
	}
	return found, nil
}

// writeAtomically writes a file so that another test never sees half of it.
func writeAtomically(path string, r io.Reader) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = io.Copy(f, r)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}

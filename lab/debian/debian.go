// Package debian unpacks packages of any suite of the Debian archive into a
// directory of its own: third-party programs for tests and demonstrations, of
// versions that the machine's own suite may not have. Nothing of the system is
// installed, changed or removed, and no privileges are needed: apt runs on a
// private state inside that directory.
package debian

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Set is a set of packages.
type Set struct {
	// Suite is the codename of the suite, such as "sid".
	Suite string
	// Packages are their names.
	Packages []string
	// Dependencies chooses what comes along of all packages that Packages depend
	// on, directly or not, by name; nil for none.
	Dependencies *regexp.Regexp
}

// Libraries matches the packages of libraries, for Set.Dependencies.
var Libraries = regexp.MustCompile(`^lib`)

const (
	// keyring is where the package debian-archive-keyring has its keys.
	keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
	// completeMark is the file that says that an installation was finished.
	completeMark = "complete"
	// timeout bounds one Unpack: package lists of some 10 MB and the packages.
	timeout = 10 * time.Minute
)

// Installed is where Finish has left the packages of dir, such as
// dir/root/usr/bin/PROGRAM; empty if they aren't there or not completely.
func Installed(dir string) string {
	if _, err := os.Stat(filepath.Join(dir, completeMark)); err != nil {
		return ""
	}
	return filepath.Join(dir, "root")
}

// Unpack replaces dir by a directory with the packages unpacked in it and
// returns the root of their files. It gives lines for people to progress. Once
// the caller has done with them what remains to be done it calls Finish.
func Unpack(ctx context.Context, set Set, dir string, progress io.Writer) (string, error) {
	for _, tool := range []string{"apt-get", "apt-cache", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("%s not found: this needs a Debian system", tool)
		}
	}
	if _, err := os.Stat(keyring); err != nil {
		return "", fmt.Errorf("%w: install debian-archive-keyring", err)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.RemoveAll(dir); err != nil { // what an interrupted run left
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	a := &archive{dir: dir, set: set}
	if err := a.configure(ctx); err != nil {
		return "", err
	}
	say := func(format string, args ...any) {
		fmt.Fprintf(progress, "%s: %s\n", set.Packages[0], fmt.Sprintf(format, args...))
	}
	say("reading the package lists of Debian %s", set.Suite)
	if _, err := a.run(ctx, dir, "apt-get", "-q", "update"); err != nil {
		return "", err
	}
	dependencies, err := a.dependencies(ctx)
	if err != nil {
		return "", err
	}
	say("downloading %s and %d packages that it needs", strings.Join(set.Packages, ", "), len(dependencies))
	debs := filepath.Join(dir, "debs")
	download := slices.Concat([]string{"apt-get", "-q", "download"}, set.Packages, dependencies)
	if _, err := a.run(ctx, debs, download...); err != nil {
		return "", err
	}
	say("unpacking")
	files, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		return "", err
	}
	root := filepath.Join(dir, "root")
	for _, file := range files {
		if _, err := a.run(ctx, dir, "dpkg-deb", "-x", file, root); err != nil {
			return "", err
		}
	}
	return root, nil
}

// Finish removes from dir what only Unpack needed, and the files named, which are
// relative to the root; after it Installed finds the rest.
func Finish(dir string, unneeded ...string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() == "root" {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
			return err
		}
	}
	for _, name := range unneeded {
		if err := os.RemoveAll(filepath.Join(dir, "root", name)); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, completeMark), nil, 0o644)
}

// archive is the Debian archive as seen by an apt with a state of its own.
type archive struct {
	dir string
	set Set
}

// configure writes apt's configuration.
func (a *archive) configure(ctx context.Context) error {
	mirror, err := mirror(ctx)
	if err != nil {
		return err
	}
	for _, name := range []string{"lists/partial", "cache/archives/partial", "debs", "none", "root"} {
		if err := os.MkdirAll(filepath.Join(a.dir, name), 0o755); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		"status-empty": "",
		"sources.list": fmt.Sprintf("deb [signed-by=%s] %s %s main\n", keyring, mirror, a.set.Suite),
		"apt.conf":     fmt.Sprintf(configuration, a.dir),
	} {
		if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// configuration is apt's, for a state inside the directory %[1]s.
const configuration = `Dir::Etc::sourcelist "%[1]s/sources.list";
Dir::Etc::sourceparts "-";
Dir::Etc::preferences "%[1]s/none/file";
Dir::Etc::preferencesparts "%[1]s/none";
Dir::State "%[1]s";
Dir::State::lists "%[1]s/lists";
Dir::State::status "%[1]s/status-empty";
Dir::Cache "%[1]s/cache";
Dir::Log "%[1]s";
APT::Sandbox::User "";
APT::Default-Release "";
Acquire::Languages "none";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::http::Timeout "10";
Acquire::https::Timeout "10";
Acquire::Retries "2";
`

// mirror is the archive that the machine itself uses for its main Debian suite.
func mirror(ctx context.Context) (string, error) {
	output, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(ORIGIN) $(CODENAME) $(REPO_URI)", "Created-By: Packages").Output()
	if err != nil {
		return "", fmt.Errorf("asking apt for its sources: %w", err)
	}
	for line := range strings.Lines(string(output)) {
		// bookworm-security and the like live elsewhere.
		if f := strings.Fields(line); len(f) == 3 && f[0] == "Debian" && !strings.Contains(f[1], "-") {
			return f[2], nil
		}
	}
	return "", errors.New("no Debian archive in this machine's apt sources (run apt-get update once?)")
}

// dependencies are the names of the packages that come along.
func (a *archive) dependencies(ctx context.Context) ([]string, error) {
	if a.set.Dependencies == nil {
		return nil, nil
	}
	output, err := a.run(ctx, a.dir, slices.Concat([]string{"apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests",
		"--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances"}, a.set.Packages)...)
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(output) {
		// Indented lines are dependencies, of which each that can be had also has
		// a line of its own.
		name := strings.TrimSuffix(line, "\n")
		if a.set.Dependencies.MatchString(name) && !strings.HasPrefix(name, " ") && !slices.Contains(a.set.Packages, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// run runs one of the programs and returns what it prints.
func (a *archive) run(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "APT_CONFIG="+filepath.Join(a.dir, "apt.conf"), "LC_ALL=C")
	// Its own process group ends with it, apt's children included.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	var problems strings.Builder
	cmd.Stderr = &problems
	output, err := cmd.Output()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(args[:min(len(args), 3)], " "), err, lastLine(problems.String()))
	}
	return string(output), nil
}

// lastLine is the last line of text that isn't blank.
func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

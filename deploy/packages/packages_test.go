// Package packages_test builds the packages and the image, looks into them, and installs
// them on a machine of their own, by the commands of docs/install.md.
package packages_test

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the repository's.
const root = "../.."

// Versions of the packages that are built here: the second is an upgrade of the first.
const (
	version = "1.2.3-rc1"
	upgrade = "1.2.3"
)

func TestPackages(t *testing.T) {
	context := t.TempDir()
	dist := filepath.Join(context, "dist")
	build(t, dist, version)

	t.Run("static programs", func(t *testing.T) { programs(t, dist) })
	t.Run("completion", func(t *testing.T) { completion(t, dist) })
	t.Run("deb", func(t *testing.T) { debs(t, dist) })
	t.Run("rpm", func(t *testing.T) { rpms(t, dist) })
	t.Run("rpm installed", func(t *testing.T) { rpmInstalled(t, dist) })
	t.Run("same bytes", func(t *testing.T) {
		again := repackage(t, dist, version, "deb rpm")
		for _, name := range []string{"peer-observer_1.2.3~rc1_amd64.deb", "peer-observer-1.2.3~rc1-1.x86_64.rpm"} {
			if read(t, filepath.Join(dist, name)) != read(t, filepath.Join(again, name)) {
				t.Errorf("%s: packaged twice, different", name)
			}
		}
	})
	t.Run("image", func(t *testing.T) { image(t, context) })
	t.Run("machine with dnf", func(t *testing.T) { withDnf(t, dist) })
	t.Run("machine", func(t *testing.T) {
		walkThrough(t, dist, repackage(t, dist, upgrade, "deb"))
	})
}

// build builds the programs and makes the packages of a version.
func build(t *testing.T, dist, version string, arguments ...string) {
	t.Helper()
	output(t, "make", append(arguments, "packages", "DIST="+dist, "PACKAGE_VERSION="+version)...)
}

// repackage makes packages of another version for amd64, with the same program.
func repackage(t *testing.T, from, version, packagers string) string {
	t.Helper()
	dist := filepath.Join(t.TempDir(), "dist")
	if err := os.Mkdir(dist, 0o755); err != nil {
		t.Fatal(err)
	}
	output(t, "cp", filepath.Join(from, "peer-observer-linux-amd64"), dist)
	build(t, dist, version, "--old-file=programs", "ARCHITECTURES=amd64", "PACKAGERS="+packagers)
	return dist
}

// programs runs the static programs, that of another architecture by emulation.
func programs(t *testing.T, dist string) {
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		path := filepath.Join(dist, "peer-observer-linux-"+arch)
		if here := output(t, "pwd"); strings.Contains(read(t, path), strings.TrimSpace(here)+"/") {
			t.Errorf("%s has paths of this machine", path)
		}
		file, err := elf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if file.Machine != machine {
			t.Errorf("%s is for %v", path, file.Machine)
		}
		for _, segment := range file.Progs {
			if segment.Type == elf.PT_INTERP || segment.Type == elf.PT_DYNAMIC {
				t.Errorf("%s isn't static: it has a segment %v", path, segment.Type)
			}
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
		out := output(t, map[string]string{"amd64": "qemu-x86_64", "arm64": "qemu-aarch64"}[arch], path, "version")
		if !strings.Contains(out, "linux/"+arch) {
			t.Errorf("the program for %s says %q", arch, out)
		}
	}
	for line := range strings.Lines(read(t, filepath.Join(dist, "SHA256SUMS"))) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		if got := fmt.Sprintf("%x", sha256.Sum256([]byte(read(t, filepath.Join(dist, name))))); got != sum {
			t.Errorf("%s has the checksum %s, not %s", name, got, sum)
		}
	}
}

// installed is what both kinds of package must have.
var installed = []string{
	"/usr/bin/peer-observer",
	"/usr/lib/systemd/system/peer-observer.service",
	"/etc/default/peer-observer",
	"/usr/share/peer-observer/systemd/closed-node.conf",
	"/usr/share/peer-observer/systemd/linux-6.1.conf",
	"/usr/share/peer-observer/alerts/thresholds.rules.yml",
	"/usr/share/peer-observer/alerts/alertmanager.example.yml",
	"/usr/share/peer-observer/alerts/runbooks/I04.md",
	"/usr/share/peer-observer/dashboards/peerobserver-fleet.json",
	"/usr/share/man/man1/peer-observer.1.gz",
	"/usr/share/bash-completion/completions/peer-observer",
	"/usr/share/fish/vendor_completions.d/peer-observer.fish",
	"/usr/share/doc/peer-observer/docs/install.md",
	"/usr/share/doc/peer-observer/README.md",
}

// debs reads the fields and files of the Debian packages.
func debs(t *testing.T, dist string) {
	for _, arch := range []string{"amd64", "arm64"} {
		path := filepath.Join(dist, "peer-observer_1.2.3~rc1_"+arch+".deb")
		fields := output(t, "dpkg-deb", "--show", "--showformat=${Package} ${Version} ${Architecture} ${Depends} ${Section}", path)
		if want := "peer-observer 1.2.3~rc1 " + arch + " passwd net"; fields != want {
			t.Errorf("fields %q, want %q", fields, want)
		}
		list := output(t, "dpkg-deb", "--contents", path)
		for _, file := range append([]string{"/usr/share/doc/peer-observer/copyright", "/usr/share/zsh/vendor-completions/_peer-observer"}, installed...) {
			if !strings.Contains(list, " ."+file+"\n") {
				t.Errorf("%s is not in %s", file, filepath.Base(path))
			}
		}
		for line := range strings.Lines(list) {
			if !strings.Contains(line, " root/root ") && !strings.Contains(line, " 0/0 ") {
				t.Errorf("not root's: %s", line)
			}
		}
		if conffiles := output(t, "dpkg-deb", "--info", path, "conffiles"); conffiles != "/etc/default/peer-observer\n" {
			t.Errorf("conffiles %q", conffiles)
		}
	}
}

// rpms reads what the rpm packages say.
func rpms(t *testing.T, dist string) {
	for _, name := range []string{"x86_64", "aarch64"} {
		path := filepath.Join(dist, "peer-observer-1.2.3~rc1-1."+name+".rpm")
		fields := output(t, "rpm", "--query", "--queryformat=%{NAME} %{VERSION} %{ARCH} %{LICENSE} %{BUILDHOST}", "--package", path)
		if want := "peer-observer 1.2.3~rc1 " + name + " MIT localhost"; fields != want {
			t.Errorf("fields %q, want %q", fields, want)
		}
		requires := strings.Fields(output(t, "rpm", "--query", "--requires", "--package", path))
		for _, want := range []string{"shadow-utils", "systemd"} {
			if !slices.Contains(requires, want) {
				t.Errorf("%s is not required: %v", want, requires)
			}
		}
		files := output(t, "rpm", "--query", "--list", "--package", path)
		for _, file := range append([]string{"/usr/share/licenses/peer-observer/LICENSE", "/usr/share/zsh/site-functions/_peer-observer"}, installed...) {
			if !strings.Contains(files, file+"\n") {
				t.Errorf("%s is not in %s", file, filepath.Base(path))
			}
		}
		if config := output(t, "rpm", "--query", "--configfiles", "--package", path); config != "/etc/default/peer-observer\n" {
			t.Errorf("configuration files %q", config)
		}
		if check := output(t, "rpm", "--checksig", "--nosignature", path); !strings.Contains(check, "digests OK") {
			t.Errorf("rpm says %q", check)
		}
	}
}

// rpmInstalled lets rpm install and remove a package, with its scripts, in a directory
// that has the files of a machine.
func rpmInstalled(t *testing.T, dist string) {
	needsRoot(t)
	machine := t.TempDir()
	output(t, "tar", "-C", machine, "-xf", archive(t))
	rpm := func(arguments ...string) {
		output(t, "rpm", append([]string{"--root=" + machine, "--nodeps"}, arguments...)...)
	}
	enabled := filepath.Join(machine, "etc/systemd/system/multi-user.target.wants/peer-observer.service")

	rpm("--install", filepath.Join(dist, "peer-observer-1.2.3~rc1-1.x86_64.rpm"))
	if out := output(t, "chroot", machine, "su", "--shell=/bin/sh", "--command=peer-observer version", "peer-observer"); !strings.Contains(out, "linux/amd64") {
		t.Errorf("the program says %q", out)
	}
	if _, err := os.Lstat(enabled); err != nil {
		t.Errorf("the service isn't enabled: %v", err)
	}
	rpm("--verify", "peer-observer")
	rpm("--erase", "peer-observer")
	for _, file := range append([]string{strings.TrimPrefix(enabled, machine)}, installed...) {
		if _, err := os.Lstat(filepath.Join(machine, file)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left after the removal (%v)", file, err)
		}
	}
}

// image builds the container's image, which needs nothing from elsewhere, and runs the
// program that is in it.
func image(t *testing.T, context string) {
	needsRoot(t)
	for _, name := range []string{"alerts", "dashboards", "LICENSE", "Containerfile", ".containerignore"} {
		output(t, "cp", "-r", name, context)
	}
	store := []string{"--root", filepath.Join(t.TempDir(), "store"), "--runroot", filepath.Join(t.TempDir(), "run"), "--storage-driver=vfs"}
	buildah := func(arguments ...string) string {
		return output(t, "buildah", append(slices.Clone(store), arguments...)...)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		buildah("build", "--isolation=chroot", "--platform=linux/"+arch, "--tag=peer-observer-"+arch, context)
		var inspected struct {
			OCIv1 struct {
				Architecture string
				Config       struct {
					User       string
					Entrypoint []string
				}
			}
		}
		if err := json.Unmarshal([]byte(buildah("inspect", "--type=image", "peer-observer-"+arch)), &inspected); err != nil {
			t.Fatal(err)
		}
		if c := inspected.OCIv1; c.Architecture != arch || c.Config.User != "65532:65532" || !slices.Equal(c.Config.Entrypoint, []string{"/peer-observer"}) {
			t.Errorf("the image for %s says %+v", arch, c)
		}
		container := strings.TrimSpace(buildah("from", "peer-observer-"+arch))
		mounted := strings.TrimSpace(buildah("mount", container))
		if arch == "amd64" {
			if out := output(t, "chroot", "--userspec=65532:65532", mounted, "/peer-observer", "version"); !strings.Contains(out, "linux/amd64") {
				t.Errorf("the program in the image says %q", out)
			}
		}
		if files := output(t, "find", mounted, "-type", "f", "-name", "*.go"); files != "" {
			t.Errorf("sources in the image: %s", files)
		}
		buildah("umount", container)
		buildah("rm", container)
	}
}

// TestSettingsAreFlags holds the variables in /etc/default/peer-observer, and the
// defaults that are shown for them, against the flags.
func TestSettingsAreFlags(t *testing.T) {
	flags := read(t, filepath.Join(root, "docs/flags.md"))
	agent := flags[strings.Index(flags, "## All commands"):strings.Index(flags, "\n## logger")]
	settings := regexp.MustCompile(`(?m)^#(PEER_OBSERVER_[A-Z0-9_]+)=(.*)$`).FindAllStringSubmatch(read(t, "peer-observer.default"), -1)
	if len(settings) < 10 {
		t.Fatalf("found only %d settings", len(settings))
	}
	for _, setting := range settings {
		row := regexp.MustCompile("(?m)^\\| `[^|]*` \\| (.*) \\| `" + setting[1] + "` \\|").FindStringSubmatch(agent)
		if row == nil {
			t.Errorf("%s is no flag of the agent", setting[1])
			continue
		}
		if value := strings.Trim(row[1], "`"); value != "–" && value != "the host's name" && value != setting[2] {
			t.Errorf("%s=%s, but the default is %s", setting[1], setting[2], value)
		}
	}
}

// TestScripts lets a shell and shellcheck read the scripts of the packages.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("scripts/*.sh")
	if err != nil || len(scripts) != 6 {
		t.Fatalf("%d scripts (%v)", len(scripts), err)
	}
	for _, script := range scripts {
		if out, err := exec.Command("shellcheck", "--shell=dash", script).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", script, err, out)
		}
	}
}

// completion asks real shells for completions.
func completion(t *testing.T, dist string) {
	directory := t.TempDir()
	output(t, "cp", filepath.Join(dist, "peer-observer-linux-amd64"), filepath.Join(directory, "peer-observer"))
	// Each completes the words that it is given, of which the last is being typed.
	shells := map[string][]string{
		"bash": {"--norc", "-c", `. completion/peer-observer.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _peer_observer; printf '%s\n' "${COMPREPLY[@]}"`, "bash"},
		"zsh": {"--no-rcs", "-c", `complete() { . completion/peer-observer.zsh; }; compadd() { print -l -- $options; }; _files() { :; }
			words=("$@"); CURRENT=$#; complete`, "zsh"},
		"fish": {"--no-config", "-c", `source completion/peer-observer.fish; complete --do-complete (string join -- " " $argv)`},
	}
	for shell, arguments := range shells {
		for _, c := range []struct{ typed, want string }{
			{"arch", "archive"},
			{"lab ru", "run"},
			{"logger --nats.ur", "--nats.url"},
			{"--extractor.rp", "--extractor.rpc.interval.uptime"},
			{"replay --bitcoin.bi", ""},
		} {
			cmd := exec.CommandContext(t.Context(), shell, append(append(slices.Clone(arguments), "peer-observer"), strings.Fields(c.typed)...)...)
			cmd.Env = append(os.Environ(), "PATH="+directory+":"+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			got := strings.Fields(string(out))
			if err != nil || c.want != "" && !slices.Contains(got, c.want) || c.want == "" && slices.Contains(got, "--bitcoin.binary") {
				t.Errorf("%s completes %q to %q (%v), want %q", shell, c.typed, got, err, c.want)
			}
		}
	}
}

// TestManualPage lets the formatter read the manual page, and complain.
func TestManualPage(t *testing.T) {
	cmd := exec.Command("groff", "-man", "-Tutf8", "-ww", "-rCHECKSTYLE=3", "-P-cbu", "peer-observer.1")
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil || complaints.Len() > 0 {
		t.Errorf("groff: %v\n%s", err, complaints.String())
	}
	for _, want := range []string{"--[no-]extractor.ebpf.messages", "PEER_OBSERVER_NATS_URL", "record-getblocktxn", "EXIT STATUS"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%s is not on the page", want)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

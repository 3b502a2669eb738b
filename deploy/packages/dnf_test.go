package packages_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// otherDistributions is the section of docs/install.md for those that have rpm packages.
const otherDistributions = "Fedora, RHEL and their relatives"

// distribution is a package that stands for those of a distribution which ours requires.
const distribution = `Name: distribution
Version: 1
Release: 1
Summary: Stands for a distribution
License: MIT
BuildArch: noarch
Provides: shadow-utils systemd
%description
Nothing.
%files
`

// withDnf types the commands for distributions with rpm packages, on a machine that has dnf
// and a node of another user.
func withDnf(t *testing.T, dist string) {
	needsRoot(t)
	directory := t.TempDir()
	spec := filepath.Join(directory, "distribution.spec")
	if err := os.WriteFile(spec, []byte(distribution), 0o644); err != nil {
		t.Fatal(err)
	}
	output(t, "rpmbuild", "--quiet", "--define=_topdir "+directory, "-bb", spec)

	script := fmt.Sprintf("mkdir root/dist; cp %s/*.rpm root/dist; cp %s/RPMS/noarch/*.rpm root\n", dist, directory)
	w := &walk{machine: newNode(t, archive(t, "dnf"), script), sections: commands(t)}
	w.run("dnf --assumeyes install ./distribution-1-1.noarch.rpm")
	w.typed(otherDistributions)
	w.sources("ebpf")
	w.confined()
	w.run("dnf --assumeyes remove peer-observer")
	if out, err := w.try("pgrep --exact peer-observer || command -v peer-observer"); err == nil {
		t.Errorf("after its removal there is %s", out)
	}
}

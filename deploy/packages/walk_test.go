package packages_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/peerobserver/peerobserver/bpf"
	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/lab/servers"
)

// commands are those of docs/install.md that are typed on the machine, by section.
func commands(t *testing.T) map[string][][]string {
	t.Helper()
	sections, section := map[string][][]string{}, ""
	inBlock := false
	for line := range strings.Lines(read(t, filepath.Join(root, "docs/install.md"))) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case inBlock && line == "```":
			inBlock = false
		case inBlock:
			last := len(sections[section]) - 1
			sections[section][last] = append(sections[section][last], line)
		case line == "```sh":
			inBlock = true
			sections[section] = append(sections[section], nil)
		case strings.HasPrefix(line, "#"):
			section = strings.TrimLeft(line, "# ")
		}
	}
	return sections
}

// walk is the walk through docs/install.md.
type walk struct {
	*machine
	sections map[string][][]string
}

// typed runs the commands of the next block of a section and gives what they printed.
func (w *walk) typed(section string) string {
	w.t.Helper()
	blocks := w.sections[section]
	if len(blocks) == 0 {
		w.t.Fatalf("docs/install.md has no further commands under %q", section)
	}
	w.sections[section] = blocks[1:]
	var out strings.Builder
	for _, line := range blocks[0] {
		out.WriteString(w.run(line))
	}
	return out.String()
}

// bitcoindUnit is a node as operators run it: a user of its own, files that nobody else
// may read, a configuration below /etc. It is alone in the world.
const bitcoindUnit = `[Service]
ExecStart=/usr/bin/bitcoind -conf=/etc/bitcoin/bitcoin.conf -datadir=/var/lib/bitcoind -connect=0 -dnsseed=0 -fixedseeds=0 -listenonion=0 -natpmp=0 -dbcache=16 -par=1 -debug=net
User=bitcoin
StateDirectory=bitcoind
StateDirectoryMode=0710
ConfigurationDirectory=bitcoin
ConfigurationDirectoryMode=0710
PrivateTmp=yes
ProtectSystem=full
ProtectHome=yes
NoNewPrivileges=yes
PrivateDevices=yes
`

// walkThrough types the commands of docs/install.md on a new machine with a node of
// another user, and looks at what came of them.
func walkThrough(t *testing.T, dist, next string) {
	needsRoot(t)
	packages := fmt.Sprintf("mkdir root/dist root/next; cp %s/*.deb root/dist; cp %s/*.deb root/next\n", dist, next)
	w := &walk{machine: newNode(t, archive(t), packages), sections: commands(t)}
	delete(w.sections, otherDistributions)

	w.contained()
	w.typed("Debian and Ubuntu")
	if usesPerfEvents(t) {
		w.typed("Kernels before 6.6")
	} else {
		delete(w.sections, "Kernels before 6.6")
	}
	w.sources("ebpf")
	report := w.typed("Debian and Ubuntu")
	for _, want := range []string{"source rpc is not live", "source p2p is not live", "source log is not live"} {
		if !strings.Contains(report, want) {
			t.Errorf("%q is not in the report: %s", want, report)
		}
	}
	w.confined()

	// A right for everything, and without it again.
	w.typed("A node whose files are closed")
	w.sources("ebpf", "rpc", "p2p", "log")
	w.run("rm /etc/systemd/system/peer-observer.service.d/closed-node.conf && systemctl daemon-reload && systemctl restart peer-observer")
	w.sources("ebpf")

	w.typed("Letting it read the node")
	w.sources("ebpf", "rpc", "p2p", "log")
	w.noCapabilities()
	if ready := w.run("curl --silent --fail http://127.0.0.1:9789/-/ready"); !strings.Contains(ready, "ready") {
		t.Errorf("it says %q", ready)
	}

	prometheus := w.prometheus()
	w.typed("Settings")
	eventually(t, "the live pages", func() error {
		out, err := w.try("curl --silent --fail http://127.0.0.1:9789/live/")
		if err == nil && !strings.Contains(out, "<html") {
			err = fmt.Errorf("no page: %.200s", out)
		}
		return err
	})
	w.mistake()
	prometheus.answers()
	w.upgraded()
	w.removed()

	for section, blocks := range w.sections {
		if len(blocks) > 0 {
			t.Errorf("docs/install.md has commands that nobody has typed, under %q: %v", section, blocks)
		}
	}
}

// contained runs the program as the image does when it is started as docs/install.md
// says: in a root of its own, as root with just these capabilities, and with the
// machine's processes and network.
func (w *walk) contained() {
	w.t.Helper()
	capabilities := "CAP_BPF CAP_PERFMON CAP_DAC_READ_SEARCH CAP_SYS_PTRACE"
	if usesPerfEvents(w.t) {
		capabilities += " CAP_SYS_ADMIN"
	}
	w.run("dpkg-deb --extract dist/*_amd64.deb /image")
	w.run(`systemd-run --quiet --unit=contained --property=RootDirectory=/image --property=MountAPIVFS=yes \
		--property="CapabilityBoundingSet=` + capabilities + `" /usr/bin/peer-observer`)
	w.sources("ebpf", "rpc", "p2p", "log")
	w.run("systemctl stop contained && rm -r /image")
}

// usesPerfEvents tells whether this kernel is one without uprobe_multi links.
func usesPerfEvents(t *testing.T) bool {
	t.Helper()
	program, err := bpf.Load(bpf.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = program.Close() }()
	return program.Features().Link != bpf.UprobeMulti
}

// newNode is a machine with a running node, from an archive; the script brings packages.
func newNode(t *testing.T, archive, packages string) *machine {
	t.Helper()
	node := regtest.Binary(t)
	if !node.HasTracepoints {
		t.Fatalf("%s has no tracepoints", node.Path)
	}
	directory := t.TempDir()
	for name, content := range map[string]string{"bitcoind.service": bitcoindUnit, "bitcoin.conf": "server=1\n"} {
		if err := os.WriteFile(filepath.Join(directory, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// Libraries that the machine lacks and the node's program needs.
	libraries := regexp.MustCompile(`=> (/\S+)`).FindAllStringSubmatch(output(t, "ldd", node.Path), -1)
	var script strings.Builder
	for _, library := range libraries {
		fmt.Fprintf(&script, "[ -e .%[1]s ] || install -D %[1]s .%[1]s\n", library[1])
	}
	fmt.Fprintf(&script, "install %s usr/bin/bitcoind\n", node.Path)
	fmt.Fprintf(&script, "install -D --mode=644 %s/bitcoin.conf etc/bitcoin/bitcoin.conf\n", directory)
	fmt.Fprintf(&script, "install -D --mode=644 %s/bitcoind.service etc/systemd/system/bitcoind.service\n", directory)
	fmt.Fprintf(&script, "install %s usr/bin/prometheus\n", servers.ForTest(t, servers.Oldest).Prometheus)
	script.WriteString(packages)
	m := newMachine(t, archive, script.String())
	m.run("useradd --system --user-group --home-dir /var/lib/bitcoind --no-create-home bitcoin && systemctl start bitcoind")
	eventually(t, "the node's cookie", func() error {
		_, err := m.try("test -s /var/lib/bitcoind/.cookie")
		return err
	})
	return m
}

// archive makes the files of a minimal Debian of this machine's release, with more packages
// if any are given, once, and keeps them where other tools are kept.
func archive(t *testing.T, more ...string) string {
	t.Helper()
	release := regexp.MustCompile(`(?m)^VERSION_CODENAME=(\S+)$`).FindStringSubmatch(read(t, "/etc/os-release"))
	if release == nil {
		t.Fatal("/etc/os-release names no release: this test needs Debian or Ubuntu")
	}
	packages := strings.Join(append([]string{"systemd,systemd-sysv,dbus,sudo,curl,procps,libsqlite3-0,libstdc++6"}, more...), ",")
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(packages))
	path := filepath.Join(cache, "peer-observer", "machines", fmt.Sprintf("%s-%x.tar", release[1], sum[:6]))
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	temporary := filepath.Join(t.TempDir(), "machine.tar")
	output(t, "mmdebstrap", "--quiet", "--variant=minbase", "--include="+packages, release[1], temporary)
	content, err := exec.Command("cp", temporary, path+".new").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, content)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return path
}

// sources waits until just these sources are live, and have given events.
func (w *walk) sources(live ...string) {
	w.t.Helper()
	eventually(w.t, fmt.Sprintf("just the sources %v to be live", live), func() error {
		metrics, err := w.try("curl --silent --fail http://127.0.0.1:9789/metrics")
		if err != nil {
			return err
		}
		for _, source := range []string{"ebpf", "rpc", "p2p", "log"} {
			up := strings.Contains(metrics, fmt.Sprintf("peerobserver_source_up{source=%q} 1\n", source)) ||
				regexp.MustCompile(`peerobserver_source_up\{[^}]*source="`+source+`"[^}]*\} 1\n`).MatchString(metrics)
			if want := slices.Contains(live, source); up != want {
				log, _ := w.try("journalctl --unit peer-observer --no-pager --lines=20 --output=cat")
				return fmt.Errorf("source %s live: %v, want %v\n%s", source, up, want, log)
			}
			// The tracepoints see what the other sources ask the node for.
			seen := regexp.MustCompile(`peerobserver_events_total\{[^}]*source="` + source + `"[^}]*\} [1-9]`).MatchString(metrics)
			if len(live) > 1 && !seen {
				return fmt.Errorf("source %s is live but has seen nothing", source)
			}
		}
		return nil
	})
}

// pid is the process id of the service on the machine.
func (w *walk) pid() string {
	w.t.Helper()
	pid := strings.TrimSpace(w.run("systemctl show --property=MainPID --value peer-observer"))
	if n, err := strconv.Atoi(pid); err != nil || n == 0 {
		w.t.Fatalf("the service's process is %q", pid)
	}
	return pid
}

// confined looks at how the service runs: as whom, and what systemd thinks of it.
func (w *walk) confined() {
	w.t.Helper()
	if user := strings.TrimSpace(w.run("ps -o user:32= -p " + w.pid())); user != "peer-observer" {
		w.t.Errorf("the service runs as %q", user)
	}
	w.noCapabilities()
	w.run("systemd-analyze verify --man=no peer-observer.service")
	// 0 is safe, 100 unsafe; a service without any of the unit's lines has 96.
	out := w.run("systemd-analyze security --no-pager --threshold=25 peer-observer.service")
	w.t.Log(strings.TrimSpace(out[strings.LastIndex(strings.TrimSpace(out), "\n")+1:]))
}

// noCapabilities checks that no thread has a capability any more.
func (w *walk) noCapabilities() {
	w.t.Helper()
	if usesPerfEvents(w.t) {
		return // it keeps CAP_SYS_ADMIN, see docs/install.md
	}
	out := w.run("cat /proc/" + w.pid() + "/task/*/status")
	if sets := regexp.MustCompile(`(?m)^Cap(Eff|Prm|Inh|Amb):\t(.*)$`).FindAllStringSubmatch(out, -1); len(sets) < 4 {
		w.t.Errorf("no capability sets in %s", out)
	} else {
		for _, set := range sets {
			if set[2] != "0000000000000000" {
				w.t.Errorf("Cap%s is %s", set[1], set[2])
			}
		}
	}
}

// mistake makes one in the settings, after which the service stays down and says why.
func (w *walk) mistake() {
	w.t.Helper()
	w.run("cp /etc/default/peer-observer settings && echo PEER_OBSERVER_RPC_USER=alice >>/etc/default/peer-observer && systemctl restart peer-observer")
	eventually(w.t, "the service to give up", func() error {
		if state := w.run("systemctl show --property=ActiveState,SubState,ExecMainStatus peer-observer"); !strings.Contains(state, "ActiveState=failed") || !strings.Contains(state, "ExecMainStatus=2") {
			return fmt.Errorf("it is %s", state)
		}
		return nil
	})
	if log := w.run("journalctl --unit peer-observer --no-pager --lines=20 --output=cat"); !strings.Contains(log, "--rpc.user needs --rpc.password-file") {
		w.t.Errorf("the log doesn't name the mistake: %s", log)
	}
	w.run("cp settings /etc/default/peer-observer && systemctl restart peer-observer")
	w.sources("ebpf", "rpc", "p2p", "log")
}

// upgraded installs the next version over the first.
func (w *walk) upgraded() {
	w.t.Helper()
	w.run("rm -r dist && mv next dist")
	before := w.pid()
	w.typed("Upgrading and removing")
	if got := w.run("dpkg-query --show --showformat='${Version} ${db:Status-Status}' peer-observer"); got != upgrade+" installed" {
		w.t.Errorf("installed: %s", got)
	}
	w.sources("ebpf", "rpc", "p2p", "log")
	if w.pid() == before {
		w.t.Error("the upgrade hasn't restarted the service")
	}
	if settings := w.run("cat /etc/default/peer-observer"); !strings.Contains(settings, "\nPEER_OBSERVER_EXPORTER_WEBSOCKET=true\n") {
		w.t.Errorf("the upgrade has lost the settings: %s", settings)
	}
}

// removed removes the package, and then all of it.
func (w *walk) removed() {
	w.t.Helper()
	const kept = "ls -d /etc/default/peer-observer /var/lib/peer-observer"
	w.typed("Upgrading and removing")
	w.run(kept)
	if out, err := w.try("pgrep --exact peer-observer"); err == nil {
		w.t.Errorf("it still runs after its removal: %s", out)
	}
	w.typed("Upgrading and removing")
	if out, err := w.try(kept); err == nil {
		w.t.Errorf("left after the purge: %s", out)
	}
	// What the administrator put there is the administrator's.
	if left := w.run("find / -xdev -name '*peer-observer*' -not -path '/root/*' -not -path '/proc/*' -not -path '/var/cache/*' -not -path '/etc/systemd/system/peer-observer.service.d*'"); left != "" {
		w.t.Errorf("left after the purge:\n%s", left)
	}
	w.run("getent passwd peer-observer")
}
